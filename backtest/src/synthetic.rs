//! Invented daily bars: a pure function of a seed, for demonstrations and tests. No market.
//!
//! Prices switch between trends that rise, fall and stand, so that a rule which follows trends has
//! something to find; [`Kind::RandomWalk`] has nothing to find. [`group`] invents several series at
//! once, among them, if wanted, two that stay together.

use crate::bars::{BarSeries, Columns, Frequency, midnight};
use crate::market::Fundamentals;
use chrono::{Datelike, Months, NaiveDate, Weekday};
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

/// The first series of a [`group`]: the code of a real stock, with invented prices.
pub const GROUP_SYMBOL: &str = "000001.SZ";
/// How far `ln` [`GROUP_SYMBOL`] moves its cointegrated partner.
pub const GROUP_HEDGE_RATIO: f64 = 0.9;
/// What is left after one day of a distance between the two: a half-life of 8 days.
const SPREAD_MEMORY: f64 = 0.917;
/// Standard deviation of the daily change of that distance; its own is about 2.5 times that.
const SPREAD_VOLATILITY: f64 = 0.016;

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
    let days = days_within(first, last)?;
    Ok(walk(kind, seed, index, symbol(index), &days))
}

/// What a [`group`] of series has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKind {
    /// `SYN01.SZ` stays with [`GROUP_SYMBOL`]: `ln SYN01 = a + 0.9 ln 000001 + spread`, where of a
    /// spread half is left after 8 days, at a standard deviation of about 4 %. An edge, built into
    /// the prices. The others have trends of their own.
    Cointegrated,
    /// Independent random walks: nothing to find.
    RandomWalk,
}

/// Invents `count` series: [`GROUP_SYMBOL`], then `SYN01.SZ`, `SYN02.SZ`, ... The prices have
/// nothing to do with the stock of that code.
///
/// ```
/// use chrono::NaiveDate;
/// use trialmill_backtest::synthetic::{GroupKind, group};
///
/// let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a date of the calendar");
/// let bars = group(GroupKind::Cointegrated, 7, 4, day(2013, 1, 4), day(2023, 12, 29))?;
/// let symbols: Vec<&str> = bars.iter().map(|series| series.symbol()).collect();
/// assert_eq!(symbols, ["000001.SZ", "SYN01.SZ", "SYN02.SZ", "SYN03.SZ"]);
/// # Ok::<(), trialmill_backtest::synthetic::SyntheticError>(())
/// ```
///
/// # Errors
/// [`SyntheticError::NoDays`] if no business day lies within the dates.
///
/// # Panics
/// As [`series`].
pub fn group(
    kind: GroupKind,
    seed: u64,
    count: usize,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Vec<BarSeries>, SyntheticError> {
    let days = days_within(first, last)?;
    let alone = match kind {
        GroupKind::Cointegrated => Kind::Trending,
        GroupKind::RandomWalk => Kind::RandomWalk,
    };
    let mut group: Vec<BarSeries> = Vec::with_capacity(count);
    for index in 0..count {
        let bars = match (kind, index) {
            (_, 0) => walk(alone, seed, 0, GROUP_SYMBOL.to_owned(), &days),
            (GroupKind::Cointegrated, 1) => companion(seed, symbol(1), &days, &group[0]),
            _ => walk(alone, seed, index, symbol(index), &days),
        };
        group.push(bars);
    }
    Ok(group)
}

/// A series that goes its own way.
fn walk(kind: Kind, seed: u64, index: usize, symbol: String, days: &[NaiveDate]) -> BarSeries {
    let mut random = stream(seed, index);
    let start = libm::log(15.0 + 45.0 * random.uniform());
    let base_volume = 1e6 * (1.0 + 9.0 * random.uniform());
    let mut drift = trend(kind, &mut random);
    bars(
        symbol,
        days,
        &mut random,
        start,
        base_volume,
        |random, _| {
            if random.uniform() < 1.0 / MEAN_REGIME_DAYS {
                drift = trend(kind, random);
            }
            let gap = 0.3 * DAILY_VOLATILITY * random.normal();
            let daytime = drift + DAILY_VOLATILITY * 0.954 * random.normal();
            (gap, daytime)
        },
    )
}

/// A series that stays with another one, as [`GroupKind::Cointegrated`] says.
fn companion(seed: u64, symbol: String, days: &[NaiveDate], other: &BarSeries) -> BarSeries {
    let mut random = stream(seed, 1);
    let start = libm::log(15.0 + 45.0 * random.uniform());
    let base_volume = 1e6 * (1.0 + 9.0 * random.uniform());
    let (mut spread, mut before) = (0.0, libm::log(other.close()[0]));
    bars(
        symbol,
        days,
        &mut random,
        start,
        base_volume,
        |random, row| {
            let now = libm::log(other.close()[row]);
            let spread_before = spread;
            spread = SPREAD_MEMORY * spread + SPREAD_VOLATILITY * random.normal();
            let change = GROUP_HEDGE_RATIO * (now - before) + spread - spread_before;
            before = now;
            let gap = 0.3 * DAILY_VOLATILITY * random.normal();
            (gap, change - gap)
        },
    )
}

fn days_within(first: NaiveDate, last: NaiveDate) -> Result<Vec<NaiveDate>, SyntheticError> {
    let days = business_days(first, last);
    if days.is_empty() {
        return Err(SyntheticError::NoDays { first, last });
    }
    Ok(days)
}

/// The random numbers of a series; two rounds of mixing, so that neighbouring seeds and indices
/// share nothing.
const fn stream(seed: u64, index: usize) -> Random {
    let mut mix = Random::new(seed);
    Random::new(mix.bits() ^ Random::new(index as u64).bits())
}

/// Bars around a path of log prices; `step` gives the overnight and the daytime change of a row.
fn bars(
    symbol: String,
    days: &[NaiveDate],
    random: &mut Random,
    mut log_price: f64,
    base_volume: f64,
    mut step: impl FnMut(&mut Random, usize) -> (f64, f64),
) -> BarSeries {
    let mut columns = Columns::default();
    for (row, &day) in days.iter().enumerate() {
        let (gap, daytime) = step(random, row);
        let open = tick(libm::exp(log_price + gap));
        log_price =
            libm::log(libm::exp(log_price + gap + daytime).clamp(PRICE_BOUNDS.0, PRICE_BOUNDS.1));
        let close = tick(libm::exp(log_price));
        let reach = |random: &mut Random| 0.4 * DAILY_VOLATILITY * random.normal().abs();
        let high = tick(open.max(close) * (1.0 + reach(random)));
        let low = tick(open.min(close) / (1.0 + reach(random)));
        columns.time.push(midnight(day));
        columns.open.push(open);
        columns.close.push(close);
        columns.high.push(high.max(open).max(close));
        columns.low.push(low.min(open).min(close));
        columns
            .volume
            .push((base_volume * libm::exp(0.3 * random.normal())).round());
    }
    BarSeries::new(symbol, Frequency::Daily, columns)
        .expect("prices are clamped and rounded into the accepted range, days ascend")
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

/// Invented reports of a company, one a quarter from `first` to `last`: figures per share that go
/// their own ways from report to report, all above 0.
///
/// ```
/// let day = |text: &str| text.parse().expect("a date");
/// let reports = trialmill_backtest::synthetic::reports("A", 7, day("2020-01-31"), day("2020-12-31"));
/// assert_eq!(reports.len(), 4);
/// assert!(reports.iter().all(|report| report.check().is_ok()));
/// ```
#[must_use]
pub fn reports(symbol: &str, seed: u64, first: NaiveDate, last: NaiveDate) -> Vec<Fundamentals> {
    let mut random = Random::new(seed);
    let mut figures = [3.0, 30.0, 60.0, 6.0, 10.0];
    let days = (0..).map_while(|quarter| {
        let day = first.checked_add_months(Months::new(3 * quarter))?;
        (day <= last).then_some(day)
    });
    let report = |announced| {
        let moved = figures.map(|figure| figure * (1.0 + 0.1 * random.normal()).clamp(0.5, 1.5));
        figures = moved;
        Fundamentals::new(symbol, announced, figures.map(Some))
    };
    days.map(report).collect()
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
    fn a_group_names_its_series_and_only_the_wanted_pair_stays_together() {
        use crate::cointegration::{Lags, engle_granger};
        let make = |kind, seed| group(kind, seed, 4, day(2013, 1, 4), day(2023, 12, 29)).unwrap();
        let three_years = |bars: &BarSeries| {
            let rows = bars.rows_between(midnight(day(2020, 1, 1)), midnight(day(2022, 12, 31)));
            let logs = bars.close()[rows].iter().map(|price| libm::log(*price));
            logs.collect::<Vec<_>>()
        };
        let p_values = |kind, seed| {
            let logs: Vec<_> = make(kind, seed).iter().map(three_years).collect();
            let test =
                |other: &Vec<f64>| engle_granger(&logs[0], other, Lags::Aic).unwrap().p_value;
            logs[1..].iter().map(test).collect::<Vec<_>>()
        };
        for seed in 1..20 {
            let p = p_values(GroupKind::Cointegrated, seed);
            assert!(p[0] < 0.05 / 6.0, "seed {seed}: {p:?}");
        }
        let p = p_values(GroupKind::Cointegrated, 7);
        assert!(p[0] < 1e-4 && p[1] > 0.05 && p[2] > 0.05, "{p:?}");
        let p = p_values(GroupKind::RandomWalk, 7);
        assert!(p.iter().all(|p| *p > 0.05), "{p:?}");
        // The others are those that `series` gives under the same index.
        let alone = series(Kind::Trending, 7, 2, day(2013, 1, 4), day(2023, 12, 29)).unwrap();
        assert_eq!(make(GroupKind::Cointegrated, 7)[2], alone);
        let short = group(
            GroupKind::Cointegrated,
            7,
            2,
            day(2013, 1, 4),
            day(2014, 1, 4),
        )
        .unwrap();
        assert_eq!(
            short[1].close(),
            &make(GroupKind::Cointegrated, 7)[1].close()[..short[1].rows()]
        );
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
