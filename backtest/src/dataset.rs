//! The bars of one backtest, prepared once and shared by all its trials.

use crate::bars::{BarSeries, Frequency, midnight};
use crate::indicator::WindowSums;
use crate::strategy::BarView;
use chrono::NaiveDate;
use std::ops::Range;
use std::sync::Arc;
use thiserror::Error;

/// The fewest calendar rows a backtest is defined for: a return needs two.
pub const MIN_ROWS: usize = 2;

/// Why bars cannot be backtested together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
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
    /// A series is not daily.
    #[error("{symbol} has bars of {}; only daily bars (1d) can be backtested", .frequency.name())]
    NotDaily {
        /// The symbol.
        symbol: String,
        /// Its frequency.
        frequency: Frequency,
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
}

/// One symbol: its tradable bars and where they lie on the common calendar.
#[derive(Debug)]
pub(crate) struct Instrument {
    /// Tradable rows only, earlier and later than the period too.
    bars: Arc<BarSeries>,
    close_sums: WindowSums,
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
#[derive(Debug)]
pub struct Dataset {
    symbols: Arc<[String]>,
    calendar: Arc<[i64]>,
    pub(crate) instruments: Vec<Instrument>,
    /// `calendar rows x symbols`, row by row: the open, or the last close where there is no bar,
    /// or 0 before the first bar of the period.
    pub(crate) open_at: Vec<f64>,
    /// The same for the close.
    pub(crate) close_at: Vec<f64>,
}

impl Dataset {
    /// Prepares the series for the period from `first` to `last`, both included.
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
        if let Some(other) = series.iter().find(|s| s.frequency() != Frequency::Daily) {
            let (symbol, frequency) = (other.symbol().to_owned(), other.frequency());
            return Err(DatasetError::NotDaily { symbol, frequency });
        }
        for one in &mut series {
            if let Some(tradable) = one.without_suspended_rows() {
                *one = Arc::new(tradable);
            }
        }
        let periods: Vec<Range<usize>> = series
            .iter()
            .map(|s| s.rows_between(midnight(first), midnight(last)))
            .collect();

        let mut calendar: Vec<i64> = series
            .iter()
            .zip(&periods)
            .flat_map(|(s, p)| &s.time()[p.clone()])
            .copied()
            .collect();
        calendar.sort_unstable();
        calendar.dedup();
        if calendar.len() < MIN_ROWS {
            return Err(DatasetError::TooFewRows {
                rows: calendar.len(),
                first,
                last,
            });
        }

        let symbols: Arc<[String]> = series.iter().map(|s| s.symbol().to_owned()).collect();
        let cells = calendar.len() * series.len();
        let mut data = Self {
            symbols,
            instruments: Vec::with_capacity(series.len()),
            open_at: vec![0.0; cells],
            close_at: vec![0.0; cells],
            calendar: calendar.into(),
        };
        for (number, (bars, period)) in series.into_iter().zip(periods).enumerate() {
            data.place(number, bars, period);
        }
        Ok(data)
    }

    /// Puts the prices of symbol `number` on the calendar.
    fn place(&mut self, number: usize, bars: Arc<BarSeries>, period: Range<usize>) {
        let width = self.symbols.len();
        let mut calendar_row = Vec::with_capacity(period.len());
        let mut next = period.start;
        let mut last_close = 0.0;
        for (row, &time) in self.calendar.iter().enumerate() {
            let cell = row * width + number;
            if next < period.end && bars.time()[next] == time {
                last_close = bars.close()[next];
                self.open_at[cell] = bars.open()[next];
                calendar_row.push(u32::try_from(row).expect("a calendar is shorter than 2^32"));
                next += 1;
            } else {
                self.open_at[cell] = last_close;
            }
            self.close_at[cell] = last_close;
        }
        let close_sums = WindowSums::new(bars.close());
        self.instruments.push(Instrument {
            bars,
            close_sums,
            period,
            calendar_row,
        });
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
            .map(|i| i.bars.memory_bytes() + i.close_sums.memory_bytes() + i.calendar_row.len() * 4)
            .sum();
        of_symbols + (self.open_at.len() + self.close_at.len() + self.calendar.len()) * 8
    }
}

impl Instrument {
    /// The bars of the period behind at most `warm_up` earlier ones, and how many those are.
    pub(crate) fn view(&self, warm_up: usize) -> (BarView<'_>, usize) {
        let earlier = warm_up.min(self.period.start);
        let first = self.period.start - earlier;
        let rows = first..self.period.end;
        let view = BarView {
            time: &self.bars.time()[rows.clone()],
            open: &self.bars.open()[rows.clone()],
            high: &self.bars.high()[rows.clone()],
            low: &self.bars.low()[rows.clone()],
            close: &self.bars.close()[rows.clone()],
            volume: &self.bars.volume()[rows],
            close_sums: &self.close_sums,
            first,
        };
        (view, earlier)
    }
}
