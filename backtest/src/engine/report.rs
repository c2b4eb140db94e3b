//! What a backtest gives.

use crate::market::Execution;
use std::sync::Arc;

/// Whether a position gains when the price rises or when it falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Bought first, sold later.
    Long,
    /// Sold first, bought back later.
    Short,
}

/// A closed position in one symbol, or, under the rules of a market, the part of it that was sold on
/// one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trade {
    /// Index into [`Report::symbols`].
    pub symbol: u32,
    /// Index into [`Report::pairs`] if it was a leg of a pair.
    pub pair: Option<u32>,
    /// Long or short.
    pub side: Side,
    /// Calendar row on which it was opened.
    pub entry_row: u32,
    /// Calendar row on which it was closed.
    pub exit_row: u32,
    /// Shares, above 0.
    pub shares: f64,
    /// Price of the opening before costs.
    pub entry_price: f64,
    /// Price of the closing before costs.
    pub exit_price: f64,
    /// Cash paid for the purchase (the closing, if short), costs included.
    pub paid: f64,
    /// Cash received for the sale (the opening, if short), costs taken off; the dividends of the
    /// shares sold are in it.
    pub received: f64,
}

impl Trade {
    /// What it brought after all costs.
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
    /// Index into [`Report::pairs`] if it is a leg of a pair.
    pub pair: Option<u32>,
    /// Long or short.
    pub side: Side,
    /// Calendar row on which it was opened.
    pub entry_row: u32,
    /// Shares, above 0.
    pub shares: f64,
    /// Price of the opening before costs.
    pub entry_price: f64,
    /// Cash of the opening, costs included: paid if long, received if short. Dividends since are
    /// taken off.
    pub cash: f64,
    /// What it adds to the equity at the last close: below 0 if short.
    pub value: f64,
}

impl OpenPosition {
    /// What it has brought so far, the costs of closing it not counted.
    #[must_use]
    pub fn profit(&self) -> f64 {
        match self.side {
            Side::Long => self.value - self.cash,
            Side::Short => self.value + self.cash,
        }
    }
}

/// Shares of one symbol that did not change from row to row, under the rules of a market.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// Index into [`Report::symbols`].
    pub symbol: u32,
    /// Shares, above 0.
    pub shares: f64,
    /// The first row at whose close they were held.
    pub from_row: u32,
    /// The row after the last one.
    pub to_row: u32,
}

/// The legs of a pair, as indices into [`Report::symbols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairLegs {
    /// The stock code.
    pub y: u32,
    /// Its partner.
    pub x: u32,
}

/// A book that was lost: on this row short positions had cost all there was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ruin {
    /// The calendar row at whose close everything was closed.
    pub row: u32,
    /// Cash that was missing after that, 0 or more. It is not part of the equity, which stays at 0.
    pub shortfall: f64,
}

/// What a book is compared with: the equity of [`hold`](super::hold).
#[derive(Clone, Debug, PartialEq)]
pub struct Benchmark {
    /// Equity at the close of each row.
    pub equity: Vec<f64>,
    /// Its returns from one row to the next: one less.
    pub returns: Vec<f64>,
}

impl Benchmark {
    /// The curve with its returns.
    #[must_use]
    pub fn new(equity: Vec<f64>) -> Self {
        let returns = crate::metrics::returns_of(&equity, false);
        Self { equity, returns }
    }
}

/// What a backtest gives; metrics are computed from it by [`crate::metrics`].
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Calendar, in exchange-local seconds; row `t` of `equity` belongs to row `t` of it.
    pub time: Arc<[i64]>,
    /// Symbols, ascending.
    pub symbols: Arc<[String]>,
    /// The pairs traded, ascending; empty for a strategy over single symbols.
    pub pairs: Vec<PairLegs>,
    /// Cash and positions at the close of each row, after the fills of that row. Above 0, but for
    /// [`Self::ruin`].
    pub equity: Vec<f64>,
    /// What holding gives on the same rows, once it was computed.
    pub benchmark: Option<Arc<Benchmark>>,
    /// Closed positions by exit row, then in the order of the symbols or pairs.
    pub trades: Vec<Trade>,
    /// How many consecutive [`Self::trades`] are one round trip: 2 if both legs of a pair are
    /// opened and closed together, else 1.
    pub legs_per_trip: usize,
    /// Positions open at the end, in the order of the symbols or pairs.
    pub open_positions: Vec<OpenPosition>,
    /// Cash at the end, the proceeds of open short sales included.
    pub cash: f64,
    /// Entry signals inside the period, over all symbols or pairs; those ignored while held and
    /// those without a row left to fill them included.
    pub entry_signals: usize,
    /// Exit signals inside the period, counted in the same way.
    pub exit_signals: usize,
    /// What became of the orders, under the rules of a market; none under `plain`, where every order
    /// is done.
    pub execution: Option<Execution>,
    /// What was held from row to row, under the rules of a market, by the order of the symbols or
    /// pairs, then of time: a position's shares change by partial sales and bonus shares. Empty under
    /// `plain`, where [`Self::trades`] and [`Self::open_positions`] tell it.
    pub held: Vec<Held>,
    /// Positions opened; two for a pair of which both legs are opened.
    pub entries: usize,
    /// Positions closed; under the rules of a market, sales done, of which a position may take
    /// several.
    pub exits: usize,
    /// Entries not done because no cash was left (at most 1e-9 of the equity, which is rounding).
    /// Under the rules of a market they are in [`Self::execution`] instead.
    pub entries_without_cash: usize,
    /// Entries not done because the rule did not admit them: the half-life of a pair was too long
    /// or did not exist.
    pub entries_not_admitted: usize,
    /// Entries of a pair that the rule admitted, not done because the hedge ratio of the signal's
    /// row was not above 0.
    pub entries_not_hedged: usize,
    /// Value of all purchases and sales at their fill prices, slippage included.
    pub traded_value: f64,
    /// Fees paid, taxes included.
    pub commission: f64,
    /// Paid through slippage.
    pub slippage: f64,
    /// Mean over the rows of the value of all positions, short ones counted with their magnitude,
    /// as a share of the equity.
    pub exposure: f64,
    /// Whether, and when, short positions used up the book.
    pub ruin: Option<Ruin>,
    /// Cash at the start.
    pub initial_cash: f64,
    /// As configured.
    pub risk_free_rate: f64,
    /// As configured.
    pub periods_per_year: f64,
    /// Whether fills used prices of the signal's own row
    /// ([`Fill::looks_ahead`](crate::config::Fill::looks_ahead)).
    pub looks_ahead: bool,
}

impl Report {
    /// The profits of the closed round trips after all costs, in the order of their closing.
    pub fn round_trips(&self) -> impl ExactSizeIterator<Item = f64> {
        let trips = self.trades.chunks(self.legs_per_trip);
        trips.map(|legs| legs.iter().map(Trade::profit).sum())
    }
}
