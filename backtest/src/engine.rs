//! The engine: one book over all symbols or pairs, row by row.
//!
//! On each calendar row, in this order: fills that are due (first whatever closes a position, then
//! whatever opens one, each in the order of the symbols or pairs), then valuation at the close; a
//! symbol without a bar is valued at its last close. A purchase at price `p` costs
//! `shares p (1 + slippage)(1 + commission)`, a sale brings `shares p (1 - slippage)(1 - commission)`.
//! How much an entry gets is told at [`Position`]. An entry while held and an exit while out are
//! ignored. What is open at the end is valued at the last close and stays open.
//!
//! # Pairs
//! The rows of a pair are the days on which both legs traded. A signal of one of them is filled on
//! the next of them (on the same one with [`Fill::Close`]), so that both legs are always dealt
//! together: if one of them does not trade, the order waits for the day on which both do. Positions belong to a pair and a leg: two
//! pairs that share a symbol do not mix.
//!
//! An entry whose hedge ratio on the signal's row is not above 0 is not done, in either form: the
//! legs then move against each other, and what lies below the line is not cheap beside the other.
//! Such an order still closes the opposite leg. The same holds for one that the rule does not admit.
//!
//! Long only, an entry buys the leg that is cheap with what the pair is given; the entry of the
//! other leg sells it first, on the same row (leg rotation). This is a bet on one stock at a time,
//! not a neutral position: [`crate::result`] says how much of the holding of both legs is in it.
//!
//! With `allow_short` an entry is market-neutral: it buys the cheap leg and sells the other one
//! short, their values in the proportion `y : x = 1 : hedge_ratio` of the signal's row, both
//! together worth what the pair is given. The proceeds of a short sale are cash but are never spent: what is free is the equity
//! less the value of all positions, so that an entry never brings the book beyond its own equity.
//! There is no interest and no lending fee. Nothing is rebalanced until the exit, and gross exposure
//! may drift beyond the equity as prices move. A book whose equity is 0 or less at a close is closed
//! there, at those prices, and stays at 0: [`Report::ruin`].
//!
//! # Rules of a market
//! Under [`Market::CnA`] and [`Market::Us`] an order is for the next row of the calendar; a symbol
//! that does not trade on it is suspended. On each row, in this order:
//!
//! - dividends and bonus shares of what is held ([`Dataset::with_actions`]);
//! - sales, those that wait and new ones alike. A sale is blocked by limit-down, by
//!   suspension and by the volume of the row ([`VOLUME_SHARE`](crate::market::VOLUME_SHARE)); what is
//!   left of it waits and is tried on every row until it is done or an entry takes it back;
//! - purchases, of the most shares that the budget pays with all fees and the
//!   [lot](crate::market::Lot) allows. A purchase is blocked by limit-up, suspension, volume, too
//!   little cash for a lot, or the other leg of its pair, and then expires.
//!
//! A deal of `n` shares at price `p` is worth `v = n p (1 + slippage)`, a sale
//! `v = n p (1 - slippage)`; a purchase costs `v` and the fees of `v`, a sale brings `v` less them
//! (not below 0). Limits: `round(reference (100 +- percent) / 100)` in fen, half up, judged on `p`;
//! the reference is the close of the bar before, less what the share has given since.
//! [`crate::market`] has the figures, [`Report::execution`] what became of the orders.
//!
//! No position is opened and closed on one row, which is T+1 for daily bars: a slot has one signal a
//! row, and an entry takes back a sale that waits.
//!
//! The first bars of a series may be those of a new share: without a
//! [`Status`](crate::market::Status) that tells, no limit is judged on them.
//!
//! # Two forms
//! [`mod@reference`] is the engine to read. [`run`] and [`Backtest::trial`] give the same reports,
//! bit for bit, in a fraction of the time.

mod book;
mod by_rules;
mod fast;
mod orders;
pub mod reference;
mod report;
mod venue;

pub use crate::config::{BacktestConfig, ConfigFault, Fill, Market, Position};
pub use crate::dataset::{Dataset, DatasetError};
pub use report::{Benchmark, Held, OpenPosition, PairLegs, Report, Ruin, Side, Trade};

use crate::market::{Security, security};
use crate::strategy::{BarView, PairRule, ParamFault, Params, Rule, Signal, Strategy, TradingRule};
use book::Layout;
use std::sync::Arc;
use thiserror::Error;

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum RunError {
    /// The parameters do not fit the strategy.
    #[error("{}", join(.0))]
    Params(Vec<ParamFault>),
    /// The configuration cannot be used, or not with this strategy and data.
    #[error("{}", join(.0))]
    Config(Vec<ConfigFault>),
    /// The market deals in shares of its own exchanges only.
    #[error(
        "the rules of cn_a are those of A-shares, and {} is none; leave it out, or use plain",
        .symbols.join(", ")
    )]
    NotShares {
        /// The symbols that are something else: indices, funds, shares of other exchanges.
        symbols: Vec<String>,
    },
    /// `stop` said so; nothing is kept.
    #[error("the backtest was stopped before its last row")]
    Stopped,
}

fn join(faults: &[impl ToString]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Data, assumptions and the benchmark made ready for any number of trials, which may share it.
///
/// ```
/// use chrono::NaiveDate;
/// use std::sync::Arc;
/// use trialmill_backtest::engine::{Backtest, BacktestConfig, Dataset};
/// use trialmill_backtest::strategy::{self, Params};
/// use trialmill_backtest::synthetic::{Kind, series};
///
/// let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a date of the calendar");
/// let bars = series(Kind::Trending, 7, 0, day(2019, 1, 1), day(2022, 12, 31))?;
/// let data = Dataset::new(vec![Arc::new(bars)], day(2020, 1, 1), day(2022, 12, 31))?;
/// let backtest = Backtest::new(data, BacktestConfig::default())?;
/// let rule = strategy::find("moving_average").expect("a built-in strategy");
/// for window in [5, 10, 15] {
///     let params = Params::new().with("short_window", window).with("long_window", 40);
///     let report = backtest.trial(rule, &params, &|| false)?;
///     assert_eq!(report.equity.len(), backtest.data().rows());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Backtest {
    data: Dataset,
    config: BacktestConfig,
    benchmark: Arc<Benchmark>,
}

impl Backtest {
    /// Checks the configuration and computes what holding gives.
    ///
    /// # Errors
    /// Faults of the configuration; [`RunError::NotShares`].
    pub fn new(data: Dataset, config: BacktestConfig) -> Result<Self, RunError> {
        let benchmark = Arc::new(Benchmark::new(hold(&data, &config)?.equity));
        Ok(Self {
            data,
            config,
            benchmark,
        })
    }

    /// The data.
    #[must_use]
    pub const fn data(&self) -> &Dataset {
        &self.data
    }

    /// What holding gives.
    #[must_use]
    pub fn benchmark(&self) -> &Benchmark {
        &self.benchmark
    }

    /// The assumptions.
    #[must_use]
    pub const fn config(&self) -> &BacktestConfig {
        &self.config
    }

    /// Runs a strategy: the report of [`run`], without computing the benchmark again.
    ///
    /// `stop` is asked before each symbol's (or pair's) signals and before each row on which orders,
    /// waiting sales or dividends are due; make it as cheap as an atomic load.
    ///
    /// # Errors
    /// As [`run`].
    pub fn trial(
        &self,
        strategy: &dyn Strategy,
        params: &Params,
        stop: &dyn Fn() -> bool,
    ) -> Result<Report, RunError> {
        let mut report = trade(&self.data, strategy, params, &self.config, stop)?;
        report.benchmark = Some(Arc::clone(&self.benchmark));
        Ok(report)
    }
}

/// Runs a strategy over the data, and [`hold`] beside it as the benchmark. For more than one run
/// over the same data, [`Backtest`] computes the benchmark once.
///
/// `stop` is asked as by [`Backtest::trial`].
///
/// # Errors
/// Faults of the parameters, or of the configuration, all of them; [`RunError::NotShares`]; a pair strategy needs data with
/// pairs ([`Dataset::with_pairs`]). [`RunError::Stopped`] after `stop` gave true.
pub fn run(
    data: &Dataset,
    strategy: &dyn Strategy,
    params: &Params,
    config: &BacktestConfig,
    stop: &dyn Fn() -> bool,
) -> Result<Report, RunError> {
    let mut report = trade(data, strategy, params, config, stop)?;
    report.benchmark = Some(Arc::new(Benchmark::new(hold(data, config)?.equity)));
    Ok(report)
}

fn trade(
    data: &Dataset,
    strategy: &dyn Strategy,
    params: &Params,
    config: &BacktestConfig,
    stop: &dyn Fn() -> bool,
) -> Result<Report, RunError> {
    checked(data, strategy, params, config, |trading| {
        let layout = trading.layout(data, config);
        fast::trade(data, trading, &layout, config, stop)
    })
}

/// Buys every symbol after its first row of the period for an equal share and holds it: what a
/// strategy has to beat. For data with pairs: every leg of every pair, so that a symbol which is in
/// two pairs has two shares. Fills and costs are those of the configuration, whatever its
/// `position`.
///
/// # Errors
/// Faults of the configuration; [`RunError::NotShares`].
pub fn hold(data: &Dataset, config: &BacktestConfig) -> Result<Report, RunError> {
    check(data, config)?;
    let hold = Hold::under(config.market);
    let config = &equal_weight(config);
    let trading = Trading::Symbols(&hold);
    fast::trade(data, &trading, &hold_layout(data), config, &|| false)
}

fn equal_weight(config: &BacktestConfig) -> BacktestConfig {
    BacktestConfig {
        position: Position::EqualWeight,
        ..config.clone()
    }
}

fn hold_layout(data: &Dataset) -> Layout {
    if data.pairs.is_empty() {
        Layout::of_symbols(data)
    } else {
        Layout::of_legs(data)
    }
}

struct Hold {
    /// Whether it asks again on every row: under the rules of a market its chance may come later.
    again: bool,
}

impl Hold {
    const fn under(market: Market) -> Self {
        Self {
            again: market.has_rules(),
        }
    }
}

impl Rule for Hold {
    fn warm_up_rows(&self) -> usize {
        0
    }

    fn signals(&self, _: &BarView<'_>, signals: &mut [Signal]) {
        if self.again {
            signals.fill(Signal::Enter);
        } else if let Some(first) = signals.first_mut() {
            *first = Signal::Enter;
        }
    }
}

/// What is traded by a rule.
enum Trading<'a> {
    /// Each holding by itself.
    Symbols(&'a dyn Rule),
    /// Each pair of the data.
    Pairs(&'a dyn PairRule),
}

impl Trading<'_> {
    fn layout(&self, data: &Dataset, config: &BacktestConfig) -> Layout {
        match self {
            Self::Symbols(_) => Layout::of_symbols(data),
            Self::Pairs(_) => Layout::of_pairs(data, config.allow_short),
        }
    }
}

/// Checks the configuration, and whether its market deals in the symbols of the data.
fn check(data: &Dataset, config: &BacktestConfig) -> Result<(), RunError> {
    config.check().map_err(RunError::Config)?;
    if data.has_actions() && !config.market.has_rules() {
        return Err(RunError::Config(vec![ConfigFault::NotBuilt {
            field: "market",
            detail: "the data has dividends or bonus shares, which plain does not pay; use cn_a or \
                     us, or data without them",
        }]));
    }
    if config.market != Market::CnA {
        return Ok(());
    }
    let is_share = |symbol: &&String| matches!(security(symbol), Security::Share(_));
    let others = data.symbols().iter().filter(|symbol| !is_share(symbol));
    let symbols: Vec<String> = others.cloned().collect();
    if symbols.is_empty() {
        Ok(())
    } else {
        Err(RunError::NotShares { symbols })
    }
}

/// Checks everything about a run, then does it.
fn checked(
    data: &Dataset,
    strategy: &dyn Strategy,
    params: &Params,
    config: &BacktestConfig,
    run: impl FnOnce(&Trading<'_>) -> Result<Report, RunError>,
) -> Result<Report, RunError> {
    let rule = strategy.rule(params).map_err(RunError::Params)?;
    check(data, config)?;
    let legs = strategy.info().legs;
    config.check_for(legs).map_err(RunError::Config)?;
    match &rule {
        TradingRule::Single(rule) => run(&Trading::Symbols(rule.as_ref())),
        TradingRule::Pair(_) if data.pairs.is_empty() => {
            Err(RunError::Config(vec![ConfigFault::NotBuilt {
                field: "partners",
                detail: "the strategy trades pairs and the data was prepared without any; name a \
                         partner for each stock code",
            }]))
        }
        TradingRule::Pair(rule) => run(&Trading::Pairs(rule.as_ref())),
    }
}
