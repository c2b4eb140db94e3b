//! The engine: one book over all symbols, long or flat, row by row. Written to be read; whatever is
//! faster must equal it bit for bit.
//!
//! On each calendar row, in this order: fills that are due (exits first, then entries, each in the
//! order of the symbols), then valuation at the close. A purchase at price `p` costs
//! `shares p (1 + slippage)(1 + commission)`, a sale brings `shares p (1 - slippage)(1 - commission)`.
//! An entry while long and an exit while flat are ignored. What is open at the end is valued at the
//! last close and stays open.

pub use crate::config::{BacktestConfig, ConfigFault, Fill};
pub use crate::dataset::{Dataset, DatasetError};

use crate::strategy::{BarView, ParamFault, Params, Rule, Signal, Strategy, TradingRule};
use std::sync::Arc;
use thiserror::Error;

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum RunError {
    /// The parameters do not fit the strategy.
    #[error("{}", join(.0))]
    Params(Vec<ParamFault>),
    /// The configuration cannot be used.
    #[error("{}", join(.0))]
    Config(Vec<ConfigFault>),
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

/// A closed round trip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trade {
    /// Index into [`Report::symbols`].
    pub symbol: u32,
    /// Calendar row of the purchase.
    pub entry_row: u32,
    /// Calendar row of the sale.
    pub exit_row: u32,
    /// Shares bought and sold.
    pub shares: f64,
    /// Price of the purchase before costs.
    pub entry_price: f64,
    /// Price of the sale before costs.
    pub exit_price: f64,
    /// Cash paid, costs included.
    pub paid: f64,
    /// Cash received, costs taken off.
    pub received: f64,
}

impl Trade {
    /// Cash after the sale less cash before the purchase.
    #[must_use]
    pub fn profit(&self) -> f64 {
        self.received - self.paid
    }
}

/// A position that is open after the last row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenPosition {
    /// Index into [`Report::symbols`].
    pub symbol: u32,
    /// Calendar row of the purchase.
    pub entry_row: u32,
    /// Shares held.
    pub shares: f64,
    /// Price of the purchase before costs.
    pub entry_price: f64,
    /// Cash paid, costs included.
    pub paid: f64,
    /// Value at the last close.
    pub value: f64,
}

/// What a backtest gives; metrics are computed from it by [`crate::metrics`].
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Calendar, in exchange-local seconds; row `t` of `equity` belongs to row `t` of it.
    pub time: Arc<[i64]>,
    /// Symbols, ascending.
    pub symbols: Arc<[String]>,
    /// Cash and positions at the close of each row, after the fills of that row.
    pub equity: Vec<f64>,
    /// Closed round trips, by exit row, then symbol.
    pub trades: Vec<Trade>,
    /// Positions open at the end, by symbol.
    pub open_positions: Vec<OpenPosition>,
    /// Cash at the end.
    pub cash: f64,
    /// Entry signals inside the period, over all symbols; those ignored while long and those
    /// without a row left to fill them included.
    pub entry_signals: usize,
    /// Exit signals inside the period, counted in the same way.
    pub exit_signals: usize,
    /// Purchases done.
    pub entries: usize,
    /// Sales done.
    pub exits: usize,
    /// Purchases not done because no cash was left.
    pub entries_without_cash: usize,
    /// Value of all purchases and sales at their fill prices, slippage included.
    pub traded_value: f64,
    /// Fees paid.
    pub commission: f64,
    /// Paid through slippage.
    pub slippage: f64,
    /// Mean over the rows of the share of equity that is in positions.
    pub exposure: f64,
    /// Cash at the start.
    pub initial_cash: f64,
    /// As configured.
    pub risk_free_rate: f64,
    /// As configured.
    pub periods_per_year: f64,
    /// Whether fills used prices of the signal's own row ([`Fill::looks_ahead`]).
    pub looks_ahead: bool,
}

/// Runs a strategy over the data.
///
/// `stop` is asked before each symbol's signals and before each calendar row; make it as cheap as
/// an atomic load.
///
/// # Errors
/// Faults of the parameters or the configuration, all of them; [`RunError::Stopped`] after `stop`
/// gave true.
pub fn run(
    data: &Dataset,
    strategy: &dyn Strategy,
    params: &Params,
    config: &BacktestConfig,
    stop: &dyn Fn() -> bool,
) -> Result<Report, RunError> {
    match strategy.rule(params).map_err(RunError::Params)? {
        TradingRule::Single(rule) => run_rule(data, rule.as_ref(), config, stop),
        TradingRule::Pair(_) => Err(RunError::Config(vec![ConfigFault::NotBuilt {
            field: "partners",
            detail: "the strategy trades pairs and the data has none",
        }])),
    }
}

/// Runs a rule whose parameters are read already.
///
/// # Errors
/// Faults of the configuration; [`RunError::Stopped`] after `stop` gave true.
pub fn run_rule(
    data: &Dataset,
    rule: &dyn Rule,
    config: &BacktestConfig,
    stop: &dyn Fn() -> bool,
) -> Result<Report, RunError> {
    config.check().map_err(RunError::Config)?;
    let orders = Orders::of(data, rule, config.fill, stop)?;
    let fill_prices = match config.fill {
        Fill::NextOpen => &data.open_at,
        Fill::NextClose | Fill::Close => &data.close_at,
    };
    let width = data.symbols().len();
    let mut book = Book::new(width, config);
    let mut equity = Vec::with_capacity(data.rows());
    let mut exposure = 0.0;
    for (row, number) in (0u32..).zip(0..data.rows()) {
        if stop() {
            return Err(RunError::Stopped);
        }
        let cells = number * width..(number + 1) * width;
        let due = orders.due(number);
        if !due.is_empty() {
            let prices = &fill_prices[cells.clone()];
            for order in due.iter().filter(|order| !order.enter) {
                book.sell(order.symbol, row, prices);
            }
            let mut entries = due.iter().filter(|order| order.enter).peekable();
            if entries.peek().is_some() {
                let share = (book.cash + book.invested(prices)) / width as f64;
                for order in entries {
                    book.buy(order.symbol, row, prices, share);
                }
            }
        }
        let invested = book.invested(&data.close_at[cells]);
        let value = book.cash + invested;
        exposure += invested / value;
        equity.push(value);
    }
    let last = &data.close_at[(data.rows() - 1) * width..];
    Ok(Report {
        time: Arc::clone(data.calendar()),
        symbols: Arc::clone(data.symbols()),
        exposure: exposure / equity.len() as f64,
        equity,
        open_positions: book.open_positions(last),
        trades: book.trades,
        cash: book.cash,
        entry_signals: orders.entry_signals,
        exit_signals: orders.exit_signals,
        entries: book.entries,
        exits: book.exits,
        entries_without_cash: book.entries_without_cash,
        traded_value: book.traded_value,
        commission: book.commission,
        slippage: book.slippage,
        initial_cash: config.initial_cash,
        risk_free_rate: config.risk_free_rate,
        periods_per_year: config.periods_per_year,
        looks_ahead: config.fill.looks_ahead(),
    })
}

/// Buys every symbol after its first row of the period for an equal share and holds it: what a
/// strategy has to beat. Fills and costs are those of the configuration.
///
/// # Errors
/// Faults of the configuration.
pub fn hold(data: &Dataset, config: &BacktestConfig) -> Result<Report, RunError> {
    struct Hold;
    impl Rule for Hold {
        fn warm_up_rows(&self) -> usize {
            0
        }
        fn signals(&self, _: &BarView<'_>, signals: &mut [Signal]) {
            if let Some(first) = signals.first_mut() {
                *first = Signal::Enter;
            }
        }
    }
    run_rule(data, &Hold, config, &|| false)
}

#[derive(Clone, Copy)]
struct Order {
    symbol: u32,
    enter: bool,
}

/// All orders of a run by the calendar row on which they are due, then by symbol.
struct Orders {
    orders: Vec<Order>,
    /// Orders of row `t` are `first[t]..first[t + 1]`.
    first: Vec<usize>,
    entry_signals: usize,
    exit_signals: usize,
}

impl Orders {
    fn of(
        data: &Dataset,
        rule: &dyn Rule,
        fill: Fill,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, RunError> {
        let delay = match fill {
            Fill::Close => 0,
            Fill::NextOpen | Fill::NextClose => 1,
        };
        let mut given: Vec<(u32, Order)> = Vec::new();
        let mut signals = Vec::new();
        let (mut entry_signals, mut exit_signals) = (0, 0);
        for (symbol, instrument) in (0u32..).zip(&data.instruments) {
            if stop() {
                return Err(RunError::Stopped);
            }
            let (view, warm_up) = instrument.view(rule.warm_up_rows());
            signals.clear();
            signals.resize(view.rows(), Signal::None);
            rule.signals(&view, &mut signals);
            // Signals of the warm-up rows are before the period and not traded; a signal without a
            // row to fill it is only counted.
            for (row, signal) in signals[warm_up..].iter().enumerate() {
                let enter = match signal {
                    Signal::None => continue,
                    Signal::Enter => true,
                    Signal::Exit => false,
                };
                *(if enter {
                    &mut entry_signals
                } else {
                    &mut exit_signals
                }) += 1;
                if let Some(&due) = instrument.calendar_row.get(row + delay) {
                    given.push((due, Order { symbol, enter }));
                }
            }
        }
        // A counting sort: stable, so that the orders of a row stay in the order of the symbols.
        let mut first = vec![0; data.rows() + 1];
        for (row, _) in &given {
            first[*row as usize + 1] += 1;
        }
        for row in 0..data.rows() {
            first[row + 1] += first[row];
        }
        let mut next = first.clone();
        let mut orders = vec![
            Order {
                symbol: 0,
                enter: false
            };
            given.len()
        ];
        for (row, order) in given {
            let place = &mut next[row as usize];
            orders[*place] = order;
            *place += 1;
        }
        Ok(Self {
            orders,
            first,
            entry_signals,
            exit_signals,
        })
    }

    fn due(&self, row: usize) -> &[Order] {
        &self.orders[self.first[row]..self.first[row + 1]]
    }
}

#[derive(Clone, Copy, Default)]
struct Purchase {
    row: u32,
    price: f64,
    paid: f64,
}

/// Cash, positions and what they cost.
struct Book {
    cash: f64,
    /// Shares by symbol, 0 while flat.
    shares: Vec<f64>,
    /// The purchase of each open position.
    purchases: Vec<Purchase>,
    commission_rate: f64,
    slippage_rate: f64,
    trades: Vec<Trade>,
    entries: usize,
    exits: usize,
    entries_without_cash: usize,
    traded_value: f64,
    commission: f64,
    slippage: f64,
}

impl Book {
    fn new(symbols: usize, config: &BacktestConfig) -> Self {
        Self {
            cash: config.initial_cash,
            shares: vec![0.0; symbols],
            purchases: vec![Purchase::default(); symbols],
            commission_rate: config.commission_rate,
            slippage_rate: config.slippage_rate,
            trades: Vec::new(),
            entries: 0,
            exits: 0,
            entries_without_cash: 0,
            traded_value: 0.0,
            commission: 0.0,
            slippage: 0.0,
        }
    }

    /// The value of all positions at these prices, one for each symbol, added up in their order.
    fn invested(&self, prices: &[f64]) -> f64 {
        self.shares
            .iter()
            .zip(prices)
            .map(|(shares, price)| shares * price)
            .sum()
    }

    fn buy(&mut self, symbol: u32, row: u32, prices: &[f64], share: f64) {
        let number = symbol as usize;
        if self.shares[number] > 0.0 {
            return;
        }
        let paid = share.min(self.cash);
        if paid <= 0.0 {
            self.entries_without_cash += 1;
            return;
        }
        let price = prices[number];
        let dealt_at = price * (1.0 + self.slippage_rate);
        let shares = paid / (dealt_at * (1.0 + self.commission_rate));
        self.cash -= paid;
        self.shares[number] = shares;
        self.purchases[number] = Purchase { row, price, paid };
        self.entries += 1;
        self.count_costs(shares, price, dealt_at);
    }

    fn sell(&mut self, symbol: u32, row: u32, prices: &[f64]) {
        let number = symbol as usize;
        let shares = std::mem::take(&mut self.shares[number]);
        if shares <= 0.0 {
            return;
        }
        let price = prices[number];
        let dealt_at = price * (1.0 - self.slippage_rate);
        let received = shares * dealt_at * (1.0 - self.commission_rate);
        self.cash += received;
        let bought = self.purchases[number];
        self.trades.push(Trade {
            symbol,
            entry_row: bought.row,
            exit_row: row,
            shares,
            entry_price: bought.price,
            exit_price: price,
            paid: bought.paid,
            received,
        });
        self.exits += 1;
        self.count_costs(shares, price, dealt_at);
    }

    fn count_costs(&mut self, shares: f64, price: f64, dealt_at: f64) {
        let value = shares * dealt_at;
        self.traded_value += value;
        self.commission += value * self.commission_rate;
        self.slippage += shares * (dealt_at - price).abs();
    }

    fn open_positions(&self, last: &[f64]) -> Vec<OpenPosition> {
        (0u32..)
            .zip(&self.shares)
            .zip(self.purchases.iter().zip(last))
            .filter(|((_, shares), _)| **shares > 0.0)
            .map(|((symbol, &shares), (bought, price))| OpenPosition {
                symbol,
                entry_row: bought.row,
                shares,
                entry_price: bought.price,
                paid: bought.paid,
                value: shares * price,
            })
            .collect()
    }
}
