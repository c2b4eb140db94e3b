//! Bars laid over a period, and the same bars over another one.

use super::fundamentals::Yields;
use super::{Dataset, DatasetError, Instrument, Joined, MIN_ROWS, Pair};
use crate::bars::{BarSeries, SECONDS_PER_DAY, midnight};
use crate::indicator::WindowSums;
use crate::market::Payout;
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// What a symbol has whatever the period is; as in [`Instrument`].
pub(super) struct Source {
    pub(super) bars: Arc<BarSeries>,
    pub(super) raw: Option<Arc<BarSeries>>,
    pub(super) payouts: Vec<(usize, Payout)>,
    pub(super) close_sums: Arc<WindowSums>,
    pub(super) yields: Option<Arc<Yields>>,
}

impl Source {
    /// The bars as traded.
    fn traded(&self) -> &BarSeries {
        self.raw.as_deref().unwrap_or(&self.bars)
    }
}

impl Dataset {
    /// The same symbols, pairs, dividends, reports and statuses over the days from `first` to `last`, both
    /// included, which need not lie within the period of this data: what
    /// [`Self::new`] or [`Self::with_pairs`] would give for those days. Bars and sums over them are
    /// shared, so that many periods of one history take little more memory than one.
    ///
    /// # Errors
    /// [`DatasetError::TooFewRows`].
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn over(&self, first: NaiveDate, last: NaiveDate) -> Result<Self, DatasetError> {
        let sources = self.instruments.iter().map(|instrument| Source {
            bars: Arc::clone(&instrument.bars),
            raw: instrument.raw.clone(),
            payouts: instrument.payouts.clone(),
            close_sums: Arc::clone(&instrument.close_sums),
            yields: instrument.yields.clone(),
        });
        let mut data = Self::laid(sources.collect(), Arc::clone(&self.suspended), first, last)?;
        data.statuses.clone_from(&self.statuses);
        data.place_payouts();
        let pairs = self.pairs.iter();
        data.pairs = pairs
            .map(|pair| data.place_pair(pair.y, pair.x, Arc::clone(&pair.joined)))
            .collect();
        Ok(data)
    }

    /// The calendar rows on which the symbol with the fewest of them trades; of data with pairs the
    /// days on which both legs of a pair do.
    #[must_use]
    pub fn fewest_rows(&self) -> usize {
        let of_symbols = self.instruments.iter().map(|i| i.period.len());
        let of_pairs = self.pairs.iter().map(|pair| pair.period.len());
        let fewest = if self.pairs.is_empty() {
            of_symbols.min()
        } else {
            of_pairs.min()
        };
        fewest.unwrap_or(0)
    }

    /// Lays symbols, ascending, over the period.
    pub(super) fn laid(
        sources: Vec<Source>,
        suspended: Arc<[i64]>,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Self, DatasetError> {
        let (from, to) = (midnight(first), midnight(last) + SECONDS_PER_DAY - 1);
        let periods: Vec<Range<usize>> = sources
            .iter()
            .map(|source| source.bars.rows_between(from, to))
            .collect();
        let mut calendar: Vec<i64> = sources
            .iter()
            .zip(&periods)
            .flat_map(|(source, period)| &source.bars.time()[period.clone()])
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

        let mut idle_before = vec![false; calendar.len()];
        for day in suspended.iter() {
            // A day on which another symbol traded is a row of the calendar.
            if let Err(row) = calendar.binary_search(day)
                && (1..calendar.len()).contains(&row)
            {
                idle_before[row] = true;
            }
        }

        let symbols = sources.iter().map(|source| source.bars.symbol().to_owned());
        let cells = calendar.len() * sources.len();
        let mut data = Self {
            symbols: symbols.collect(),
            instruments: Vec::with_capacity(sources.len()),
            pairs: Vec::new(),
            open_at: vec![0.0; cells],
            close_at: vec![0.0; cells],
            close_columns: Vec::with_capacity(cells),
            idle_before,
            suspended,
            statuses: BTreeMap::new(),
            payouts: Vec::new(),
            calendar: calendar.into(),
        };
        for (number, (source, period)) in sources.into_iter().zip(periods).enumerate() {
            data.place(number, source, period);
        }
        Ok(data)
    }

    /// Puts the prices of symbol `number` on the calendar.
    fn place(&mut self, number: usize, source: Source, period: Range<usize>) {
        let width = self.symbols.len();
        let bars = source.traded();
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
            self.close_columns.push(last_close);
        }
        let Source {
            bars,
            raw,
            payouts,
            close_sums,
            yields,
        } = source;
        self.instruments.push(Instrument {
            bars,
            raw,
            payouts,
            close_sums,
            yields,
            period,
            calendar_row,
        });
    }

    /// Finds the joint rows of a pair on the calendar.
    pub(super) fn place_pair(&self, y: usize, x: usize, joined: Arc<Joined>) -> Pair {
        // Every joint day is a day of each leg, so those of the period are in the calendar.
        let (first, last) = (self.calendar[0], self.calendar[self.rows() - 1]);
        let time = &joined.time;
        let period =
            time.partition_point(|&day| day < first)..time.partition_point(|&day| day <= last);
        let mut calendar_row = Vec::with_capacity(period.len());
        let mut row = 0;
        for day in &time[period.clone()] {
            row += self.calendar[row..].partition_point(|other| other < day);
            calendar_row.push(u32::try_from(row).expect("a calendar is shorter than 2^32"));
        }
        Pair {
            y,
            x,
            joined,
            period,
            calendar_row,
        }
    }
}
