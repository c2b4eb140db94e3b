//! A symbol on a day on which it traded, as the rules of a market ask for it.

use super::{Dataset, Instrument};
use crate::bars::BarSeries;

/// What a symbol's own bars say of a calendar row on which it traded.
pub(crate) struct Session {
    /// Its bar: how many there were before it, suspended days not counted.
    pub(crate) bar: usize,
    /// The close of the bar before it, less what the share has given since: the ex-right reference.
    pub(crate) before: Option<f64>,
    pub(crate) high: f64,
    pub(crate) low: f64,
    /// None if the series has no volume at all.
    pub(crate) volume: Option<f64>,
    /// The first day of the series.
    pub(crate) first_time: i64,
}

impl Dataset {
    /// The bar of a symbol on a calendar row, if it traded on it.
    pub(crate) fn session(&self, symbol: usize, row: u32) -> Option<Session> {
        let instrument = &self.instruments[symbol];
        let place = instrument.calendar_row.binary_search(&row).ok()?;
        let bar = instrument.period.start + place;
        let bars = instrument.raw.as_deref().unwrap_or(&instrument.bars);
        Some(Session {
            bar,
            before: instrument.reference(bars, bar),
            high: bars.high()[bar],
            low: bars.low()[bar],
            volume: bars.has_volume().then(|| bars.volume()[bar]),
            first_time: bars.first_time(),
        })
    }
}

impl Instrument {
    /// The close of the bar before, less what the share has given since.
    pub(super) fn reference(&self, raw: &BarSeries, bar: usize) -> Option<f64> {
        let before = raw.close()[bar.checked_sub(1)?];
        let first = self.payouts.partition_point(|(of, _)| *of < bar);
        let of_bar = self.payouts[first..]
            .iter()
            .take_while(|(of, _)| *of == bar);
        Some(of_bar.fold(before, |close, (_, payout)| payout.ex_right(close)))
    }
}
