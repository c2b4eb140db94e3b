//! Days on which none of several symbols trades.

use crate::bars::{BarSeries, midnight};
use chrono::NaiveDate;
use std::collections::BTreeMap;

/// The days of several daily series, and whether any of them traded on each.
#[derive(Clone, Debug, Default)]
pub struct TradedDays(BTreeMap<i64, bool>);

impl TradedDays {
    /// Adds the days of a series from `first` to `last`.
    pub fn add(&mut self, series: &BarSeries, first: NaiveDate, last: NaiveDate) {
        for row in series.rows_between(midnight(first), midnight(last)) {
            *self.0.entry(series.time()[row]).or_default() |= !series.is_suspended(row);
        }
    }

    /// How many days there are bars for though no symbol traded, between the first and the last day
    /// on which one did: the engine takes them for trading days on which all were suspended, so that
    /// purchases that were for such a day expire.
    #[must_use]
    pub fn idle(&self) -> usize {
        let traded = |(_, traded): &(&i64, &bool)| **traded;
        let first = self.0.iter().find(traded).map(|(day, _)| *day);
        let last = self.0.iter().rfind(traded).map(|(day, _)| *day);
        match (first, last) {
            (Some(first), Some(last)) => {
                let within = self.0.range(first..=last);
                within.filter(|(_, traded)| !**traded).count()
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bars::{Columns, Frequency};

    #[test]
    fn days_count_where_there_are_bars_and_nobody_trades() {
        let series = |symbol: &str, days: &[(i64, f64)]| {
            let flat = vec![10.0; days.len()];
            let columns = Columns {
                time: days.iter().map(|(day, _)| day * 86_400).collect(),
                open: flat.clone(),
                high: flat.clone(),
                low: flat.clone(),
                close: flat,
                volume: days.iter().map(|(_, volume)| *volume).collect(),
            };
            BarSeries::new(symbol, Frequency::Daily, columns).unwrap()
        };
        let day = |d| NaiveDate::from_ymd_opt(1970, 1, d).unwrap();
        // Day 0 lies before all trading, day 7 after it; on 2 one symbol trades, on 4 none has a bar.
        let one = series(
            "A",
            &[
                (0, 0.0),
                (1, 1.0),
                (2, 0.0),
                (3, 0.0),
                (5, 0.0),
                (6, 1.0),
                (7, 0.0),
            ],
        );
        let other = series("B", &[(2, 1.0), (3, 0.0)]);
        let mut days = TradedDays::default();
        assert_eq!(days.idle(), 0);
        days.add(&one, day(1), day(31));
        assert_eq!(days.idle(), 3);
        days.add(&other, day(1), day(31));
        assert_eq!(days.idle(), 2);
        let mut early = TradedDays::default();
        early.add(&one, day(1), day(4));
        assert_eq!(early.idle(), 0, "nothing trades later in the period");
    }
}
