//! Strategies: named trading rules that turn the bars of one symbol, or of a pair of symbols, into
//! entries and exits.
//!
//! A strategy knows nothing of cash, costs or the rest of the book. Row `t` of its signals may
//! depend on rows at or before `t` only; a test over every strategy holds it to that.

mod bollinger;
mod cci;
mod cointegration;
mod crossing;
mod kdj;
#[cfg(test)]
mod laws;
mod macd;
mod mean_reversion;
mod moving_average;
mod obv;
mod rsi;
mod stochastic;
mod value_factor;

pub use bollinger::{Bollinger, BollingerRule};
pub use cci::CommodityChannel;
pub use cointegration::Cointegration;
pub use kdj::Kdj;
pub use macd::Macd;
pub use mean_reversion::MeanReversion;
pub use moving_average::{MovingAverage, MovingAverageRule};
pub use obv::OnBalanceVolume;
pub use rsi::{Rsi, RsiRule};
pub use stochastic::Stochastic;
pub use value_factor::ValueFactor;

use crate::cointegration::{NoFit, PairSums, WindowFit};
use crate::indicator::WindowSums;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// What a rule wants after the close of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// Nothing.
    #[default]
    None,
    /// To be long; ignored while long.
    Enter,
    /// To be out; ignored while out.
    Exit,
}

/// The kind of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// A whole number.
    Int,
    /// A real number.
    Float,
}

/// A parameter of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ParamInfo {
    /// Its name in requests.
    pub name: &'static str,
    /// Whole or real.
    pub kind: ParamKind,
    /// Taken when a request leaves it out.
    pub default: f64,
    /// Smallest accepted.
    pub min: f64,
    /// Largest accepted.
    pub max: f64,
    /// What it does, with its unit.
    pub description: &'static str,
}

/// What a strategy says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StrategyInfo {
    /// Its name in requests.
    pub key: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// The family, such as `trend`.
    pub category: &'static str,
    /// The rule in words.
    pub description: &'static str,
    /// The rule as a formula.
    pub formula: &'static str,
    /// How many symbols one position of it concerns: 1, or 2 for a pair strategy, which needs a
    /// partner for each stock code. [`Strategy::rule`] gives the [`TradingRule`] that goes with it.
    pub legs: u8,
    /// Whether it reads what companies reported ([`BarView::yields`]): then each of its symbols needs
    /// imported fundamentals, and a market that pins them (`cn_a`, `us`).
    pub reads_fundamentals: bool,
    /// Its parameters, in the order of importance.
    pub parameters: &'static [ParamInfo],
    /// Names that requests to the service this replaces may carry and that did nothing there, each
    /// with the sentence that refuses it.
    pub retired: &'static [(&'static str, &'static str)],
}

/// The value of a parameter as a request gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// A whole number.
    Int(i64),
    /// A real number; a whole one also serves an integer parameter.
    Float(f64),
    /// A choice; no strategy built so far takes one.
    Text(String),
}

impl std::fmt::Display for ParamValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v:?}"),
            Self::Text(v) => write!(f, "{v:?}"),
        }
    }
}

impl From<i64> for ParamValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for ParamValue {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for ParamValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for ParamValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// Parameter values by name; what is left out takes its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(pub BTreeMap<String, ParamValue>);

impl Params {
    /// No values: every default.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// These values and one more, replacing an earlier one of that name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<ParamValue>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }
}

impl<K: Into<String>, V: Into<ParamValue>> FromIterator<(K, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(values: I) -> Self {
        Self(
            values
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// Why parameters do not fit a strategy.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ParamFault {
    /// A name that the strategy does not have.
    #[error("{name:?} is not a parameter of {strategy}; it has {}", .allowed.join(", "))]
    Unknown {
        /// The name given.
        name: String,
        /// The strategy's key.
        strategy: &'static str,
        /// The names it has.
        allowed: Vec<&'static str>,
    },
    /// A name of the service this replaces that the strategy no longer has.
    #[error("{name} is no longer a parameter of {strategy}: {reason}")]
    Retired {
        /// The name given.
        name: &'static str,
        /// The strategy's key.
        strategy: &'static str,
        /// Why, and what to use instead.
        reason: &'static str,
    },
    /// A value of another kind.
    #[error("{name} is {value}; it must be {wanted}")]
    WrongKind {
        /// The parameter.
        name: &'static str,
        /// The value given.
        value: ParamValue,
        /// `a whole number` or `a number`.
        wanted: &'static str,
    },
    /// A value outside the range.
    #[error("{name} is {value}; it must be in {min} to {max}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// The value given.
        value: ParamValue,
        /// Smallest accepted.
        min: f64,
        /// Largest accepted.
        max: f64,
    },
    /// Values that are sound alone but not together. A search meets them in the normal course of
    /// things: such a point is infeasible, not a failure.
    #[error("{reason}")]
    Unsuitable {
        /// The sentence to show.
        reason: String,
    },
}

impl ParamFault {
    /// The parameter of the fault; `None` where several are involved.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Unknown { name, .. } => Some(name),
            Self::Retired { name, .. }
            | Self::WrongKind { name, .. }
            | Self::OutOfRange { name, .. } => Some(name),
            Self::Unsuitable { .. } => None,
        }
    }
}

/// What a unit of price buys of a company on the rows of a [`BarView`], by the reports that were
/// announced on earlier days; NaN where a figure was not known yet. Prices are those as traded.
#[derive(Clone, Copy, Debug)]
pub struct YieldView<'a> {
    /// Earnings of twelve months, by price: the inverse of the price earnings ratio.
    pub earnings: &'a [f64],
    /// Book value by price.
    pub book: &'a [f64],
    /// Sales of twelve months, by price.
    pub sales: &'a [f64],
    /// EBITDA of twelve months, by price and net debt.
    pub ebitda: &'a [f64],
}

/// The bars that a rule sees, warm-up rows first. All slices have one length.
#[derive(Clone, Copy, Debug)]
pub struct BarView<'a> {
    /// Exchange-local seconds.
    pub time: &'a [i64],
    /// Opening prices.
    pub open: &'a [f64],
    /// Highest prices.
    pub high: &'a [f64],
    /// Lowest prices.
    pub low: &'a [f64],
    /// Closing prices.
    pub close: &'a [f64],
    /// Volumes.
    pub volume: &'a [f64],
    /// What was known of the company, against its price; nothing if nothing ever was.
    pub yields: Option<YieldView<'a>>,
    pub(crate) close_sums: &'a WindowSums,
    /// Row of the sums that is row 0 of this view.
    pub(crate) first: usize,
}

impl BarView<'_> {
    /// The number of rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.time.len()
    }

    /// The simple moving average of the close for the rows from `from` on: the mean of the `window`
    /// closes ending with each of them. The same bits as [`crate::indicator::sma`], in constant
    /// time a row. Empty if the view has no row `from`.
    ///
    /// # Panics
    /// If the window is 0 or reaches before row 0 of this view.
    pub fn close_sma(&self, from: usize, window: usize) -> impl Iterator<Item = f64> {
        assert!(
            window <= from + 1,
            "row {from} has no window of {window} rows"
        );
        let rows = self.first + from..self.first + self.rows();
        self.close_sums.means(rows, window)
    }
}

/// The side of a pair that a rule wants to be long of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// The stock code, the dependent variable of the regression.
    Y,
    /// Its partner.
    X,
}

impl Leg {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Y => Self::X,
            Self::X => Self::Y,
        }
    }
}

/// What a pair rule wants after the close of a joint row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PairSignal {
    /// Nothing.
    #[default]
    None,
    /// To be long of one leg (and, where short sales are allowed, short of the other), and out of
    /// the opposite position. Ignored while that position is held.
    Enter {
        /// The leg to be long of.
        long: Leg,
        /// Value of `x` for one unit of value of `y`: the slope of `ln y` on `ln x`.
        hedge_ratio: f64,
        /// Whether the position may be opened. A refused entry closes the opposite position, is
        /// counted, and opens nothing.
        admitted: bool,
    },
    /// To be out of both legs; ignored while out.
    Exit,
}

/// The joint rows of a pair that a rule sees, warm-up rows first: days on which both legs traded.
/// All slices have one length.
#[derive(Clone, Copy, Debug)]
pub struct PairView<'a> {
    /// Exchange-local seconds.
    pub time: &'a [i64],
    /// Closing prices of the stock code.
    pub y_close: &'a [f64],
    /// Closing prices of its partner.
    pub x_close: &'a [f64],
    /// The half-life, in joint rows, of the spread over the
    /// [`FORMATION_ROWS`](crate::dataset::FORMATION_ROWS) joint rows that end with each row; NaN
    /// where the spread does not return or there are not as many rows yet.
    pub half_life: &'a [f64],
    pub(crate) sums: &'a PairSums,
    /// Row of the sums that is row 0 of this view.
    pub(crate) first: usize,
}

impl PairView<'_> {
    /// The line of `ln y` on `ln x` fitted on the `window` rows that end with `row`, and the
    /// z-score of that row.
    ///
    /// # Errors
    /// [`NoFit`] if the window has no line or no spread.
    ///
    /// # Panics
    /// As [`PairSums::fit`], and if the window reaches before row 0 of this view.
    pub fn fit(&self, row: usize, window: usize) -> Result<WindowFit, NoFit> {
        assert!(
            window <= row + 1,
            "row {row} has no window of {window} rows"
        );
        self.sums.fit(self.first + row, window)
    }

    /// The number of joint rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.time.len()
    }
}

/// A strategy over two symbols with its parameters read and checked.
pub trait PairRule: Send + Sync {
    /// How many joint rows before the first traded one are needed so that this one can already
    /// signal.
    fn warm_up_rows(&self) -> usize;

    /// Writes the signal of every joint row of `pair` to the same row of `signals`, which has as
    /// many rows and holds [`PairSignal::None`] throughout.
    fn signals(&self, pair: &PairView<'_>, signals: &mut [PairSignal]);
}

/// A strategy with its parameters read and checked.
pub enum TradingRule {
    /// Trades each symbol by itself.
    Single(Box<dyn Rule>),
    /// Trades pairs of symbols.
    Pair(Box<dyn PairRule>),
}

impl TradingRule {
    /// A rule for single symbols.
    #[must_use]
    pub fn single(rule: impl Rule + 'static) -> Self {
        Self::Single(Box::new(rule))
    }

    /// A rule for pairs.
    #[must_use]
    pub fn pair(rule: impl PairRule + 'static) -> Self {
        Self::Pair(Box::new(rule))
    }
}

/// A strategy over one symbol with its parameters read and checked.
pub trait Rule: Send + Sync {
    /// How many rows before the first traded row are needed so that this row can already signal.
    fn warm_up_rows(&self) -> usize;

    /// Writes the signal of every row of `bars` to the same row of `signals`, which has as many
    /// rows and holds [`Signal::None`] throughout.
    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]);
}

/// A named trading rule.
pub trait Strategy: Send + Sync {
    /// Its description.
    fn info(&self) -> &'static StrategyInfo;

    /// Reads and checks parameters.
    ///
    /// # Errors
    /// Every fault. A sole [`ParamFault::Unsuitable`] means that each value is in range but that
    /// they do not go together.
    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>>;
}

static ALL: &[&dyn Strategy] = &[
    &MovingAverage,
    &Rsi,
    &Macd,
    &Bollinger,
    &Stochastic,
    &CommodityChannel,
    &Kdj,
    &OnBalanceVolume,
    &MeanReversion,
    &Cointegration,
    &ValueFactor,
];

/// Every strategy.
#[must_use]
pub fn all() -> &'static [&'static dyn Strategy] {
    ALL
}

/// The strategy of that key.
#[must_use]
pub fn find(key: &str) -> Option<&'static dyn Strategy> {
    let named = |strategy: &&&dyn Strategy| strategy.info().key == key;
    ALL.iter().find(named).copied()
}

/// Values of the declared parameters in their order, each of its kind and within its range.
///
/// # Errors
/// Every unknown name and unfit value.
fn read(info: &'static StrategyInfo, params: &Params) -> Result<Vec<f64>, Vec<ParamFault>> {
    let mut faults: Vec<ParamFault> = params
        .0
        .keys()
        .filter(|name| info.parameters.iter().all(|p| p.name != name.as_str()))
        .map(|name| {
            let retired = info.retired.iter().find(|(retired, _)| retired == name);
            match retired {
                Some(&(name, reason)) => ParamFault::Retired {
                    name,
                    strategy: info.key,
                    reason,
                },
                None => ParamFault::Unknown {
                    name: name.clone(),
                    strategy: info.key,
                    allowed: info.parameters.iter().map(|p| p.name).collect(),
                },
            }
        })
        .collect();
    let mut values = Vec::with_capacity(info.parameters.len());
    for parameter in info.parameters {
        let Some(value) = params.0.get(parameter.name) else {
            values.push(parameter.default);
            continue;
        };
        match read_one(parameter, value) {
            Ok(number) => values.push(number),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(values)
    } else {
        Err(faults)
    }
}

fn read_one(parameter: &ParamInfo, value: &ParamValue) -> Result<f64, ParamFault> {
    let (name, min, max) = (parameter.name, parameter.min, parameter.max);
    let wrong_kind = |wanted| ParamFault::WrongKind {
        name,
        value: value.clone(),
        wanted,
    };
    let number = match value {
        // Beyond 2^53 the float is not the integer, but then it is out of every range as well.
        ParamValue::Int(v) => *v as f64,
        ParamValue::Float(v) if parameter.kind == ParamKind::Float || v.fract() == 0.0 => *v,
        ParamValue::Float(_) | ParamValue::Text(_) => {
            return Err(wrong_kind(match parameter.kind {
                ParamKind::Int => "a whole number",
                ParamKind::Float => "a number",
            }));
        }
    };
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(ParamFault::OutOfRange {
            name,
            value: value.clone(),
            min,
            max,
        })
    }
}

/// The row count that a checked integer parameter stands for.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the declared range of every window is within 0 to 2^31"
)]
fn rows(value: f64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_declares_itself_soundly() {
        for strategy in all() {
            let info = strategy.info();
            assert!(std::ptr::eq(find(info.key).unwrap().info(), info));
            assert!(!info.description.is_empty() && !info.formula.is_empty());
            for p in info.parameters {
                assert!(
                    p.min <= p.default && p.default <= p.max,
                    "{}.{}",
                    info.key,
                    p.name
                );
                assert!(!p.description.is_empty(), "{}.{}", info.key, p.name);
            }
            match strategy.rule(&Params::new()) {
                Ok(TradingRule::Single(_)) => assert_eq!(info.legs, 1, "{}", info.key),
                Ok(TradingRule::Pair(_)) => assert_eq!(info.legs, 2, "{}", info.key),
                Err(faults) => panic!("{}: defaults must do: {faults:?}", info.key),
            }
        }
        assert!(find("golden_goose").is_none());
    }

    #[test]
    fn every_fault_of_the_parameters_is_told_at_once() {
        let params = Params::new()
            .with("short_windo", 5)
            .with("short_window", 2.5)
            .with("long_window", 500)
            .with("signal_threshold", "high");
        let faults = find("moving_average").unwrap().rule(&params).err().unwrap();
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "\"short_windo\" is not a parameter of moving_average; it has short_window, \
                 long_window, signal_threshold",
                "short_window is 2.5; it must be a whole number",
                "long_window is 500; it must be in 5 to 200",
                "signal_threshold is \"high\"; it must be a number",
            ]
        );
    }

    #[test]
    fn a_whole_float_serves_an_integer_parameter_and_nan_serves_none() {
        let strategy = find("moving_average").unwrap();
        assert!(
            strategy
                .rule(&Params::new().with("short_window", 7.0))
                .is_ok()
        );
        for odd in [f64::NAN, f64::INFINITY, -0.5] {
            for name in ["short_window", "signal_threshold"] {
                assert!(
                    strategy.rule(&Params::new().with(name, odd)).is_err(),
                    "{name} {odd}"
                );
            }
        }
    }
}
