//! Invented daily bars: a pure function of a seed, for demonstrations and tests. No market.
//!
//! Prices switch between trends that rise, fall and stand, so that a rule which follows trends has
//! something to find; [`Kind::RandomWalk`] has nothing to find.

use crate::bars::{BarSeries, Columns, Frequency, midnight};
use chrono::{Datelike, NaiveDate, Weekday};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Trends last this many days on average.
const MEAN_REGIME_DAYS: f64 = 60.0;
/// Mean log return a day while a trend rises or falls.
const TREND_DRIFT: f64 = 0.002_5;
/// Standard deviation of the daily log return.
const DAILY_VOLATILITY: f64 = 0.013;
/// Prices are rounded to this, as on the Chinese exchanges.
const TICKS_PER_UNIT: f64 = 100.0;
/// Prices are held within these bounds.
const PRICE_BOUNDS: (f64, f64) = (0.10, 1e6);

/// What the prices do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Trends that switch at random.
    Trending,
    /// Independent returns of mean 0.
    RandomWalk,
}

/// Why a synthetic series cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SyntheticError {
    /// No business day lies within the dates.
    #[error("no business day from {first} to {last}; give a later last date")]
    NoDays {
        /// First date asked for.
        first: NaiveDate,
        /// Last date asked for.
        last: NaiveDate,
    },
}

/// A small pseudo-random generator: `SplitMix64` (Steele, Lea, Flood 2014, "Fast splittable
/// pseudorandom number generators"). Good enough to invent prices; not for anything else.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator that is a function of the seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1), never an end: the middle of one of 2^52 equal cells.
    pub fn uniform(&mut self) -> f64 {
        const CELL: f64 = 1.0 / 4_503_599_627_370_496.0; // 2^-52
        ((self.bits() >> 12) as f64 + 0.5) * CELL
    }

    /// Standard normal (Box and Muller 1958, cosine half).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform(), self.uniform());
        (-2.0 * libm::log(u)).sqrt() * libm::cos(std::f64::consts::TAU * v)
    }
}

/// The name of synthetic series `index`: `SYN00.SZ`, `SYN01.SZ`, ...
#[must_use]
pub fn symbol(index: usize) -> String {
    format!("SYN{index:02}.SZ")
}

/// Monday to Friday from `first` to `last`, both included; no holidays.
#[must_use]
pub fn business_days(first: NaiveDate, last: NaiveDate) -> Vec<NaiveDate> {
    first
        .iter_days()
        .take_while(|day| *day <= last)
        .filter(|day| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun))
        .collect()
}

/// Invents the daily bars of series `index`.
///
/// The same arguments give the same bits on every machine; series of other indices do not change
/// it, and a later `last` only adds rows.
///
/// ```
/// use chrono::NaiveDate;
/// use trialmill_backtest::synthetic::{Kind, series};
///
/// let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a date of the calendar");
/// let bars = series(Kind::Trending, 7, 0, day(2020, 1, 1), day(2020, 12, 31))?;
/// assert_eq!((bars.symbol(), bars.rows()), ("SYN00.SZ", 262));
/// # Ok::<(), trialmill_backtest::synthetic::SyntheticError>(())
/// ```
///
/// # Errors
/// [`SyntheticError::NoDays`] if no business day lies within the dates.
///
/// # Panics
/// If the dates lie outside 1800 to 2200, where no bar series is accepted.
pub fn series(
    kind: Kind,
    seed: u64,
    index: usize,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<BarSeries, SyntheticError> {
    let days = business_days(first, last);
    if days.is_empty() {
        return Err(SyntheticError::NoDays { first, last });
    }
    // Two rounds of mixing, so that neighbouring seeds and indices share nothing.
    let mut mix = Random::new(seed);
    let mut random = Random::new(mix.bits() ^ Random::new(index as u64).bits());
    let mut columns = Columns::default();
    let mut log_price = libm::log(15.0 + 45.0 * random.uniform());
    let base_volume = 1e6 * (1.0 + 9.0 * random.uniform());
    let mut drift = trend(kind, &mut random);
    for day in days {
        if random.uniform() < 1.0 / MEAN_REGIME_DAYS {
            drift = trend(kind, &mut random);
        }
        let gap = 0.3 * DAILY_VOLATILITY * random.normal();
        let daytime = drift + DAILY_VOLATILITY * 0.954 * random.normal();
        let open = tick(libm::exp(log_price + gap));
        log_price =
            libm::log(libm::exp(log_price + gap + daytime).clamp(PRICE_BOUNDS.0, PRICE_BOUNDS.1));
        let close = tick(libm::exp(log_price));
        let reach = |random: &mut Random| 0.4 * DAILY_VOLATILITY * random.normal().abs();
        let high = tick(open.max(close) * (1.0 + reach(&mut random)));
        let low = tick(open.min(close) / (1.0 + reach(&mut random)));
        columns.time.push(midnight(day));
        columns.open.push(open);
        columns.close.push(close);
        columns.high.push(high.max(open).max(close));
        columns.low.push(low.min(open).min(close));
        columns
            .volume
            .push((base_volume * libm::exp(0.3 * random.normal())).round());
    }
    Ok(BarSeries::new(symbol(index), Frequency::Daily, columns)
        .expect("prices are clamped and rounded into the accepted range, days ascend"))
}

fn trend(kind: Kind, random: &mut Random) -> f64 {
    let draw = random.uniform();
    match kind {
        Kind::RandomWalk => 0.0,
        Kind::Trending if draw < 0.4 => TREND_DRIFT,
        Kind::Trending if draw < 0.75 => -TREND_DRIFT,
        Kind::Trending => 0.0,
    }
}

fn tick(price: f64) -> f64 {
    (price.clamp(PRICE_BOUNDS.0, PRICE_BOUNDS.1) * TICKS_PER_UNIT).round() / TICKS_PER_UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let make = |seed, index| {
            series(
                Kind::Trending,
                seed,
                index,
                day(2013, 1, 4),
                day(2023, 12, 29),
            )
            .unwrap()
        };
        assert_eq!(make(7, 0).to_bytes(), make(7, 0).to_bytes());
        assert_ne!(make(7, 0).close(), make(8, 0).close());
        assert_ne!(make(7, 0).close(), make(7, 1).close());
    }

    #[test]
    fn a_later_last_date_only_adds_rows() {
        let short = series(Kind::Trending, 3, 2, day(2020, 1, 1), day(2020, 6, 30)).unwrap();
        let long = series(Kind::Trending, 3, 2, day(2020, 1, 1), day(2021, 6, 30)).unwrap();
        assert_eq!(short.close(), &long.close()[..short.rows()]);
    }

    #[test]
    fn hundreds_of_long_series_are_all_accepted_and_stay_plausible() {
        for index in 0..200 {
            let bars =
                series(Kind::Trending, 1, index, day(2010, 1, 1), day(2023, 12, 31)).unwrap();
            let moves = bars.close().windows(2).map(|w| (w[1] / w[0] - 1.0).abs());
            assert!(moves.fold(0.0, f64::max) < 0.2, "series {index}");
        }
    }

    #[test]
    fn weekends_are_left_out_and_an_empty_stretch_is_an_error() {
        let days = business_days(day(2024, 3, 1), day(2024, 3, 10));
        assert_eq!(days.len(), 6);
        assert!(series(Kind::RandomWalk, 1, 0, day(2024, 3, 2), day(2024, 3, 3)).is_err());
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut random = Random::new(5);
        let draws: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(
            mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03,
            "{mean} {variance}"
        );
    }
}
