//! The bars of one backtest, prepared once and shared by all its trials.

mod actions;
mod fundamentals;
mod over;
mod session;

use crate::bars::{BarSeries, Frequency};
use crate::cointegration::{PairError, PairSums};
use crate::indicator::WindowSums;
use crate::market::{Payout, Status};
use crate::strategy::{BarView, PairView, YieldView};
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use thiserror::Error;

use fundamentals::Yields;
use over::Source;
pub(crate) use session::Session;

/// The fewest calendar rows a backtest is defined for: a return needs two.
pub const MIN_ROWS: usize = 2;

/// Joint rows over which the half-life of a pair is estimated, the signal row being the last.
pub const FORMATION_ROWS: usize = 500;

/// Why bars cannot be backtested together.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum DatasetError {
    /// No series was given.
    #[error("there is no series; a backtest needs at least one symbol")]
    NoSeries,
    /// A symbol came twice.
    #[error("symbol {symbol} is there twice; name each symbol once")]
    DuplicateSymbol {
        /// The symbol.
        symbol: String,
    },
    /// Two series are spaced differently.
    #[error(
        "{symbol} has bars of {} and {other} of {}; all symbols of a backtest need the same",
        .frequency.name(), .of_other.name()
    )]
    MixedFrequencies {
        /// The symbol.
        symbol: String,
        /// Its frequency.
        frequency: Frequency,
        /// A symbol of another frequency.
        other: String,
        /// That frequency.
        of_other: Frequency,
    },
    /// Too few trading days within the dates.
    #[error(
        "{rows} trading day(s) from {first} to {last} over all symbols; at least {MIN_ROWS} are \
         needed: widen the dates or import more bars"
    )]
    TooFewRows {
        /// Trading days found.
        rows: usize,
        /// First date asked for.
        first: NaiveDate,
        /// Last date asked for.
        last: NaiveDate,
    },
    /// No pair was given.
    #[error("there is no pair; name a partner for each stock code")]
    NoPairs,
    /// A pair names a symbol whose bars were not given.
    #[error("the pair {y}/{x} needs the bars of {missing}, which are not there")]
    MissingLeg {
        /// The stock code.
        y: String,
        /// Its partner.
        x: String,
        /// The one without bars.
        missing: String,
    },
    /// A symbol is its own partner.
    #[error("{symbol} cannot be its own partner; name another symbol")]
    OwnPartner {
        /// The symbol.
        symbol: String,
    },
    /// A pair came twice.
    #[error("the pair {y}/{x} is there twice; name each pair once")]
    DuplicatePair {
        /// The stock code.
        y: String,
        /// Its partner.
        x: String,
    },
    /// A dividend or bonus that cannot be one of these bars.
    #[error("the corporate action of {symbol} on {ex_date}: {reason}")]
    Action {
        /// The symbol.
        symbol: String,
        /// Its ex-date.
        ex_date: NaiveDate,
        /// What is wrong and what to do.
        reason: &'static str,
    },
    /// The prices of a pair cannot be compared.
    #[error("the pair {y}/{x}: {reason}")]
    Pair {
        /// The stock code.
        y: String,
        /// Its partner.
        x: String,
        /// What is wrong.
        reason: PairError,
    },
}

/// A pair made ready: the days on which both legs traded, all of their history, and what can be
/// computed of them without knowing any parameter.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Index of the stock code into the symbols.
    pub(crate) y: usize,
    /// Index of its partner.
    pub(crate) x: usize,
    joined: Arc<Joined>,
    /// The joint rows within the period.
    period: Range<usize>,
    /// For each joint row of the period, its row of the calendar.
    pub(crate) calendar_row: Vec<u32>,
}

/// The joint rows of a pair, whatever the period.
#[derive(Debug)]
struct Joined {
    time: Vec<i64>,
    y_close: Vec<f64>,
    x_close: Vec<f64>,
    sums: PairSums,
    /// The half-life over the [`FORMATION_ROWS`] joint rows ending with each row; NaN where there
    /// is none.
    half_life: Vec<f64>,
}

/// One symbol: its tradable bars and where they lie on the common calendar.
#[derive(Debug)]
pub(crate) struct Instrument {
    /// Tradable rows only, earlier and later than the period too: what signals are computed from.
    bars: Arc<BarSeries>,
    /// The same rows as traded, if those are adjusted.
    raw: Option<Arc<BarSeries>>,
    /// What a share gives before the deals of a bar, bars ascending.
    payouts: Vec<(usize, Payout)>,
    close_sums: Arc<WindowSums>,
    /// What was known of the company, if anything ever was; rows of `bars`.
    yields: Option<Arc<Yields>>,
    /// The rows of `bars` within the period.
    pub(crate) period: Range<usize>,
    /// For each row of the period, its row of the calendar.
    pub(crate) calendar_row: Vec<u32>,
}

/// Symbols and dates made ready: suspended days taken out, one calendar over all symbols, the
/// prices of every symbol on every calendar row. Immutable, so that trials share it.
///
/// Suspended days (see [`BarSeries::is_suspended`]) are dropped: neither indicators nor fills see
/// them. The calendar is the union of the remaining days of all symbols inside the period. On a
/// calendar row without a bar a symbol is valued at its last close.
///
/// Rows before the period stay available to indicators. Symbols are kept in ascending order, so
/// that the order of a request changes nothing. A symbol without a bar in the period is kept and
/// counts for the equal weights.
///
/// [`Self::with_pairs`] also joins the legs of pairs by date.
#[derive(Debug)]
pub struct Dataset {
    symbols: Arc<[String]>,
    calendar: Arc<[i64]>,
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) pairs: Vec<Pair>,
    /// `calendar rows x symbols`, row by row: the open, or the last close where there is no bar,
    /// or 0 before the first bar of the period.
    pub(crate) open_at: Vec<f64>,
    /// The same for the close.
    pub(crate) close_at: Vec<f64>,
    /// The closes once more, symbol by symbol: what values a whole holding at once.
    close_columns: Vec<f64>,
    /// For each calendar row, whether a day lies between it and the row before for which a series
    /// has a bar, and on which none traded.
    pub(crate) idle_before: Vec<bool>,
    /// The days on which a series has a bar without trading, of all history.
    suspended: Arc<[i64]>,
    statuses: BTreeMap<String, Status>,
    /// What each share of a symbol gives on a calendar row, before its deals: rows ascending, then
    /// symbols.
    pub(crate) payouts: Vec<(u32, usize, Payout)>,
}

impl Dataset {
    /// Prepares the series for the period from `first` to `last`, both days included whole. The
    /// bars of all of them have one spacing, whichever it is; requests are held to daily ones.
    ///
    /// # Errors
    /// The first reason found why these series and dates cannot be backtested.
    ///
    /// # Panics
    /// If the calendar has 2^32 rows or more, which no set of series in memory reaches.
    pub fn new(
        mut series: Vec<Arc<BarSeries>>,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Self, DatasetError> {
        if series.is_empty() {
            return Err(DatasetError::NoSeries);
        }
        series.sort_by(|a, b| a.symbol().cmp(b.symbol()));
        if let Some(pair) = series
            .windows(2)
            .find(|pair| pair[0].symbol() == pair[1].symbol())
        {
            return Err(DatasetError::DuplicateSymbol {
                symbol: pair[0].symbol().to_owned(),
            });
        }
        let of_first = series[0].frequency();
        if let Some(other) = series.iter().find(|s| s.frequency() != of_first) {
            return Err(DatasetError::MixedFrequencies {
                symbol: series[0].symbol().to_owned(),
                frequency: of_first,
                other: other.symbol().to_owned(),
                of_other: other.frequency(),
            });
        }
        let mut suspended = Vec::new();
        for one in &mut series {
            if let Some(tradable) = one.without_suspended_rows() {
                let days = (0..one.rows()).filter(|&row| one.is_suspended(row));
                suspended.extend(days.map(|row| one.time()[row]));
                *one = Arc::new(tradable);
            }
        }
        let sources = series.into_iter().map(|bars| Source {
            close_sums: Arc::new(WindowSums::new(bars.close())),
            bars,
            raw: None,
            payouts: Vec::new(),
            yields: None,
        });
        Self::laid(sources.collect(), suspended.into(), first, last)
    }

    /// Prepares pairs of a stock code `y` and its partner `x`, each named once, for the period from
    /// `first` to `last`. Series that belong to no pair are left out. Two pairs may share a symbol.
    ///
    /// The rows of a pair are the days on which both legs traded, suspended days taken out first;
    /// rows before the period stay available. What every trial needs of a pair is computed here,
    /// once. The pairs are kept in ascending order of `y`, then `x`.
    ///
    /// # Errors
    /// The first reason found why these series, pairs and dates cannot be backtested.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn with_pairs(
        mut series: Vec<Arc<BarSeries>>,
        pairs: &[(String, String)],
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Self, DatasetError> {
        let mut pairs: Vec<&(String, String)> = pairs.iter().collect();
        pairs.sort();
        if pairs.is_empty() {
            return Err(DatasetError::NoPairs);
        }
        if let Some(twice) = pairs.windows(2).find(|two| two[0] == two[1]) {
            let (y, x) = twice[0].clone();
            return Err(DatasetError::DuplicatePair { y, x });
        }
        for (y, x) in &pairs {
            if y == x {
                return Err(DatasetError::OwnPartner { symbol: y.clone() });
            }
            if let Some(missing) = [y, x]
                .into_iter()
                .find(|leg| series.iter().all(|s| s.symbol() != leg.as_str()))
            {
                let (y, x, missing) = (y.clone(), x.clone(), missing.clone());
                return Err(DatasetError::MissingLeg { y, x, missing });
            }
        }
        series.retain(|s| {
            pairs
                .iter()
                .any(|(y, x)| s.symbol() == y || s.symbol() == x)
        });
        let mut data = Self::new(series, first, last)?;
        for (y, x) in pairs {
            let pair = data.join(y, x).map_err(|reason| DatasetError::Pair {
                y: y.clone(),
                x: x.clone(),
                reason,
            })?;
            data.pairs.push(pair);
        }
        Ok(data)
    }

    /// Joins two symbols that are there by date.
    fn join(&self, y_symbol: &str, x_symbol: &str) -> Result<Pair, PairError> {
        let number = |symbol: &str| {
            let place = self.symbols.binary_search_by(|s| s.as_str().cmp(symbol));
            place.expect("the symbols were checked and are ascending")
        };
        let (y, x) = (number(y_symbol), number(x_symbol));
        let (y_bars, x_bars) = (&self.instruments[y].bars, &self.instruments[x].bars);
        let (mut time, mut y_close, mut x_close) = (Vec::new(), Vec::new(), Vec::new());
        let mut x_row = 0;
        for (y_row, &day) in y_bars.time().iter().enumerate() {
            x_row += x_bars.time()[x_row..].partition_point(|&other| other < day);
            if x_bars.time().get(x_row) == Some(&day) {
                time.push(day);
                y_close.push(y_bars.close()[y_row]);
                x_close.push(x_bars.close()[x_row]);
            }
        }
        let sums = PairSums::new(&y_close, &x_close)?;
        let half_life = (0..time.len())
            .map(|row| {
                let estimate = if row + 1 < FORMATION_ROWS {
                    None
                } else {
                    sums.half_life(row, FORMATION_ROWS)
                };
                estimate.unwrap_or(f64::NAN)
            })
            .collect();
        let joined = Joined {
            time,
            y_close,
            x_close,
            sums,
            half_life,
        };
        Ok(self.place_pair(y, x, Arc::new(joined)))
    }

    /// Adds what is known of the listing and the treatment of shares, by symbol; symbols that are
    /// not of this data are ignored. Only the market `cn_a` reads it.
    #[must_use]
    pub fn with_statuses(mut self, mut statuses: BTreeMap<String, Status>) -> Self {
        statuses.retain(|symbol, _| self.symbols.binary_search(symbol).is_ok());
        self.statuses = statuses;
        self
    }

    /// What is known of the listing and the treatment of a share.
    #[must_use]
    pub fn status(&self, symbol: &str) -> Option<&Status> {
        self.statuses.get(symbol)
    }

    /// The spacing of the bars.
    #[must_use]
    pub fn frequency(&self) -> Frequency {
        self.instruments[0].bars.frequency()
    }

    /// The symbols, ascending.
    #[must_use]
    pub const fn symbols(&self) -> &Arc<[String]> {
        &self.symbols
    }

    /// The trading days of the period over all symbols, in exchange-local seconds, ascending.
    #[must_use]
    pub const fn calendar(&self) -> &Arc<[i64]> {
        &self.calendar
    }

    /// The number of calendar rows, at least [`MIN_ROWS`].
    #[must_use]
    pub fn rows(&self) -> usize {
        self.calendar.len()
    }

    /// The pairs, ascending: indices of stock code and partner into [`Self::symbols`]. Empty for
    /// data without pairs.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (usize, usize)> {
        self.pairs.iter().map(|pair| (pair.y, pair.x))
    }

    /// The close of a symbol on every calendar row: the last one where there is no bar, 0 before
    /// the first bar of the period.
    ///
    /// # Panics
    /// If there is no symbol of that index.
    #[must_use]
    pub fn closes(&self, symbol: usize) -> &[f64] {
        &self.close_columns[symbol * self.rows()..(symbol + 1) * self.rows()]
    }

    /// Symbols that have no tradable bar in the period.
    pub fn symbols_without_rows(&self) -> impl Iterator<Item = &str> {
        self.symbols
            .iter()
            .zip(&self.instruments)
            .filter(|(_, instrument)| instrument.period.is_empty())
            .map(|(symbol, _)| symbol.as_str())
    }

    /// Bytes taken in memory, the bars shared with others included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of_symbols: usize = self
            .instruments
            .iter()
            .map(|i| {
                let raw = i.raw.as_ref().map_or(0, |raw| raw.memory_bytes());
                let of_yields = i.yields.as_ref().map_or(0, |y| 4 * 8 * y.earnings.len());
                let bars = i.bars.memory_bytes() + raw + of_yields;
                bars + i.close_sums.memory_bytes() + i.calendar_row.len() * 4
            })
            .sum();
        let of_pairs: usize = self.pairs.iter().map(Pair::memory_bytes).sum();
        of_symbols + of_pairs + (3 * self.open_at.len() + self.calendar.len()) * 8 + self.rows()
    }
}

impl Pair {
    /// The joint rows of the period behind at most `warm_up` earlier ones, and how many those are.
    pub(crate) fn view(&self, warm_up: usize) -> (PairView<'_>, usize) {
        let earlier = warm_up.min(self.period.start);
        let first = self.period.start - earlier;
        let rows = first..self.period.end;
        let view = PairView {
            time: &self.joined.time[rows.clone()],
            y_close: &self.joined.y_close[rows.clone()],
            x_close: &self.joined.x_close[rows.clone()],
            half_life: &self.joined.half_life[rows],
            sums: &self.joined.sums,
            first,
        };
        (view, earlier)
    }

    fn memory_bytes(&self) -> usize {
        let joined = &self.joined;
        let of_row = size_of_val(&joined.time[..])
            + size_of_val(&joined.y_close[..])
            + size_of_val(&joined.x_close[..])
            + size_of_val(&joined.half_life[..]);
        of_row + size_of_val(&self.calendar_row[..]) + joined.sums.memory_bytes()
    }
}

impl Instrument {
    /// The bars of the period behind at most `warm_up` earlier ones, and how many those are.
    pub(crate) fn view(&self, warm_up: usize) -> (BarView<'_>, usize) {
        let earlier = warm_up.min(self.period.start);
        let first = self.period.start - earlier;
        let rows = first..self.period.end;
        let yields = self.yields.as_deref().map(|yields| YieldView {
            earnings: &yields.earnings[rows.clone()],
            book: &yields.book[rows.clone()],
            sales: &yields.sales[rows.clone()],
            ebitda: &yields.ebitda[rows.clone()],
        });
        let view = BarView {
            time: &self.bars.time()[rows.clone()],
            open: &self.bars.open()[rows.clone()],
            high: &self.bars.high()[rows.clone()],
            low: &self.bars.low()[rows.clone()],
            close: &self.bars.close()[rows.clone()],
            volume: &self.bars.volume()[rows],
            yields,
            close_sums: &self.close_sums,
            first,
        };
        (view, earlier)
    }
}
