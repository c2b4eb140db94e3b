//! Bars that could have been: the days of a market in another order.
//!
//! What a search finds in bars whose days were shuffled is what it finds by luck: their returns, the
//! way in which symbols move together and what holding them gives over the whole stretch are those
//! of the real bars; what one day says of the days after it is gone. Aronson (2006),
//! "Evidence-Based Technical Analysis", chapter 5; Masters (2020), "Permutation and Randomization
//! Tests for Trading System Development", on the permutation of bars.

use super::bootstrap::block_length;
use crate::bars::{BarFaults, BarSeries, Columns, midnight};
use crate::synthetic::Random;
use chrono::NaiveDate;
use std::sync::Arc;

/// The longest block, in days: about a month. Of returns that hang together for longer, a block
/// would carry whole trades over, and a shuffled market would have what the real one has.
pub const MAX_BLOCK: f64 = 20.0;

/// Series made ready to be shuffled any number of times.
///
/// The days on which any of them has a bar are shuffled in blocks, all series together. A day's bar
/// keeps its open, high, low and close as ratios to the close before it in its series; its volume
/// goes with it (so that a suspended day stays one), and a series without a bar on a day has none
/// where that day goes. Each series begins and ends where it did and stays what it was outside the
/// shuffled stretches:
///
/// - a bar without a close before it, the first of its series, stays;
/// - days stay within their stretch, and in it between the first and last days of all series, so that
///   no share trades before it was listed or after it was gone. Where many shares of a set were
///   listed at different times, less is shuffled, and the test has less power.
///
/// Blocks have the [`block_length`] of the mean return over all series, rounded and at most
/// [`MAX_BLOCK`]; where the first one begins is drawn anew each time.
///
/// ```
/// use chrono::NaiveDate;
/// use std::sync::Arc;
/// use trialmill_backtest::synthetic::{Kind, series};
/// use trialmill_backtest::trust::luck::Shuffler;
///
/// let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a date of the calendar");
/// let bars = Arc::new(series(Kind::Trending, 7, 0, day(2019, 1, 1), day(2022, 12, 31))?);
/// let shuffler = Shuffler::new(vec![Arc::clone(&bars)], &[(day(2020, 1, 1), day(2022, 12, 31))]);
/// let other = &shuffler.shuffled(42).expect("prices stay within their bounds")[0];
/// let last = bars.rows() - 1;
/// assert_eq!(other.time(), bars.time());
/// assert_eq!(other.close()[..100], bars.close()[..100]);
/// assert_ne!(other.close()[500], bars.close()[500]);
/// assert!((other.close()[last] / bars.close()[last] - 1.0).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Shuffler {
    series: Vec<Arc<BarSeries>>,
    /// The days on which any series has a bar.
    days: Vec<i64>,
    /// Where a stretch of days that stay among themselves ends and the next begins, and whether it
    /// is shuffled.
    stretches: Vec<(std::ops::Range<usize>, bool)>,
    block: usize,
}

impl Shuffler {
    /// For stretches of days, both ends included; what is in none of them stays.
    #[must_use]
    pub fn new(series: Vec<Arc<BarSeries>>, stretches: &[(NaiveDate, NaiveDate)]) -> Self {
        let mut days: Vec<i64> = series.iter().flat_map(|s| s.time()).copied().collect();
        days.sort_unstable();
        days.dedup();
        let row = |time: i64| days.partition_point(|day| *day < time);
        let shuffled: Vec<_> = stretches
            .iter()
            .map(|(first, last)| {
                let next = last.succ_opt().unwrap_or(*last);
                row(midnight(*first))..row(midnight(next))
            })
            .collect();
        let mut cuts = vec![0, days.len()];
        cuts.extend(shuffled.iter().flat_map(|rows| [rows.start, rows.end]));
        for one in &series {
            let (first, last) = (row(one.first_time()), row(one.last_time()));
            // The first bar of a series stands alone.
            cuts.extend([first, first + 1, last + 1]);
        }
        cuts.sort_unstable();
        cuts.dedup();
        let stretches: Vec<_> = cuts
            .windows(2)
            .map(|cut| {
                let rows = cut[0]..cut[1];
                let inside =
                    |of: &std::ops::Range<usize>| of.start <= rows.start && rows.end <= of.end;
                let moves = shuffled.iter().any(inside);
                (rows, moves)
            })
            .collect();
        let block = block_rows(&series, &days, &stretches);
        Self {
            series,
            days,
            stretches,
            block,
        }
    }

    /// The length of a block, in days.
    #[must_use]
    pub fn block(&self) -> usize {
        self.block
    }

    /// How many days may move.
    #[must_use]
    pub fn movable(&self) -> usize {
        let moved = self.stretches.iter().filter(|(_, moves)| *moves);
        moved.map(|(rows, _)| rows.len()).sum()
    }

    /// The series with their days in the order that a seed gives.
    ///
    /// # Errors
    /// If a price leaves the bounds of a series on the way: moves of very different years follow each
    /// other.
    pub fn shuffled(&self, seed: u64) -> Result<Vec<Arc<BarSeries>>, BarFaults> {
        let sources = self.sources(seed);
        let series = self.series.iter();
        series.map(|one| self.reordered(one, &sources)).collect()
    }

    /// For each day, the day that takes its place.
    fn sources(&self, seed: u64) -> Vec<usize> {
        let mut random = Random::new(seed);
        let mut sources = Vec::with_capacity(self.days.len());
        for (rows, moves) in &self.stretches {
            if !moves || rows.len() < 2 {
                sources.extend(rows.clone());
                continue;
            }
            let offset = below(&mut random, self.block);
            let mut blocks = Vec::new();
            let mut from = rows.start;
            let mut to = (rows.start + self.block - offset).min(rows.end);
            while from < rows.end {
                blocks.push(from..to);
                from = to;
                to = (to + self.block).min(rows.end);
            }
            for left in (1..blocks.len()).rev() {
                let other = below(&mut random, left + 1);
                blocks.swap(left, other);
            }
            sources.extend(blocks.into_iter().flatten());
        }
        sources
    }

    fn reordered(
        &self,
        bars: &Arc<BarSeries>,
        sources: &[usize],
    ) -> Result<Arc<BarSeries>, BarFaults> {
        // For each day, the bar of this series on it.
        let mut bar_of = vec![None; self.days.len()];
        let mut row = 0;
        for (bar, time) in bars.time().iter().enumerate() {
            row += self.days[row..].partition_point(|day| day < time);
            bar_of[row] = Some(bar);
        }
        let mut columns = Columns::default();
        let mut close = 0.0;
        for (row, source) in sources.iter().enumerate() {
            let Some(bar) = bar_of[*source] else { continue };
            // After the price that it came after, a bar stays what it is to the bit.
            let scale = bar
                .checked_sub(1)
                .map_or(1.0, |before| close / bars.close()[before]);
            columns.time.push(self.days[row]);
            columns.open.push(bars.open()[bar] * scale);
            columns.high.push(bars.high()[bar] * scale);
            columns.low.push(bars.low()[bar] * scale);
            columns.close.push(bars.close()[bar] * scale);
            columns.volume.push(bars.volume()[bar]);
            close = bars.close()[bar] * scale;
        }
        BarSeries::new(bars.symbol(), bars.frequency(), columns).map(Arc::new)
    }
}

/// The block length that suits the mean return over all series on the days that move.
fn block_rows(
    series: &[Arc<BarSeries>],
    days: &[i64],
    stretches: &[(std::ops::Range<usize>, bool)],
) -> usize {
    let mut sums = vec![(0.0, 0_u32); days.len()];
    for one in series {
        let mut row = 0;
        let closes = one.close().windows(2).zip(&one.time()[1..]);
        for (pair, time) in closes {
            row += days[row..].partition_point(|day| day < time);
            sums[row].0 += pair[1] / pair[0] - 1.0;
            sums[row].1 += 1;
        }
    }
    let moved = stretches.iter().filter(|(_, moves)| *moves);
    let returns: Vec<f64> = moved
        .flat_map(|(rows, _)| &sums[rows.clone()])
        .filter(|(_, count)| *count > 0)
        .map(|(sum, count)| sum / f64::from(*count))
        .collect();
    whole(block_length(&returns).min(MAX_BLOCK).round()).max(1)
}

/// Uniform below `bound`, for bounds far below 2^52.
fn below(random: &mut Random, bound: usize) -> usize {
    whole(random.uniform() * bound as f64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of days: not below 0, and far below 2^52"
)]
fn whole(number: f64) -> usize {
    number as usize
}

/// The probability that shuffled markets alone give a search as good as the real one:
/// `(1 + as_good) / (1 + permutations)`, the real one being one of those that could have been.
/// Phipson, Smyth (2010), "Permutation p-values should never be zero", Statistical Applications in
/// Genetics and Molecular Biology 9(1).
///
/// ```
/// use trialmill_backtest::trust::luck::p_value;
/// assert_eq!(p_value(0, 39), 0.025);
/// assert_eq!(p_value(39, 39), 1.0);
/// ```
#[must_use]
pub fn p_value(as_good: u32, permutations: u32) -> f64 {
    (1.0 + f64::from(as_good)) / (1.0 + f64::from(permutations))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Kind, series};

    fn day(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).unwrap()
    }

    fn invented(index: usize, first: NaiveDate, last: NaiveDate) -> Arc<BarSeries> {
        Arc::new(series(Kind::RandomWalk, 5, index, first, last).unwrap())
    }

    fn changes(bars: &BarSeries) -> Vec<f64> {
        bars.close().windows(2).map(|w| w[1] / w[0]).collect()
    }

    fn same_set(a: &[f64], b: &[f64]) -> bool {
        let sorted = |values: &[f64]| {
            let mut values = values.to_vec();
            values.sort_by(f64::total_cmp);
            values
        };
        let (a, b) = (sorted(a), sorted(b));
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a / b - 1.0).abs() < 1e-12)
    }

    #[test]
    fn the_days_of_a_stretch_come_in_another_order_and_none_is_lost() {
        let bars = invented(0, day(2018, 1, 1), day(2022, 12, 30));
        let (first, last) = (day(2019, 1, 1), day(2021, 12, 31));
        let shuffler = Shuffler::new(vec![Arc::clone(&bars)], &[(first, last)]);
        let shuffled = shuffler.shuffled(3).unwrap();
        let other = &shuffled[0];
        assert_eq!(other.time(), bars.time());
        let rows = bars.rows_between(midnight(first), midnight(last));
        assert_eq!(shuffler.movable(), rows.len());
        // To the bit before, and but for rounding after.
        assert_eq!(other.open()[..rows.start], bars.open()[..rows.start]);
        let after = rows.end..bars.rows();
        for (a, b) in other.close()[after.clone()]
            .iter()
            .zip(&bars.close()[after])
        {
            assert!((a / b - 1.0).abs() < 1e-9, "{a} {b}");
        }
        let (real, moved) = (changes(&bars), changes(other));
        let inside = rows.start - 1..rows.end - 1;
        assert!(same_set(&real[inside.clone()], &moved[inside.clone()]));
        let stayed = inside.filter(|row| (real[*row] / moved[*row] - 1.0).abs() < 1e-12);
        assert!(stayed.count() < rows.len() / 10);
        assert_ne!(shuffler.shuffled(4).unwrap()[0].close(), other.close());
        assert_eq!(shuffler.shuffled(3).unwrap()[0].close(), other.close());
    }

    #[test]
    fn a_bar_goes_with_its_shape_and_volume() {
        let bars = invented(0, day(2020, 1, 1), day(2021, 12, 31));
        let whole = (day(2020, 1, 1), day(2021, 12, 31));
        let other = &Shuffler::new(vec![Arc::clone(&bars)], &[whole])
            .shuffled(1)
            .unwrap()[0];
        let shapes = |bars: &BarSeries| -> Vec<[f64; 4]> {
            (1..bars.rows())
                .map(|row| {
                    let before = bars.close()[row - 1];
                    let (open, high) = (bars.open()[row], bars.high()[row]);
                    [
                        open / before,
                        high / before,
                        bars.low()[row] / before,
                        bars.volume()[row],
                    ]
                })
                .collect()
        };
        let (real, moved) = (shapes(&bars), shapes(other));
        for shape in &moved {
            let close = |a: &[f64; 4]| {
                a.iter()
                    .zip(shape)
                    .all(|(a, b)| (a / b - 1.0).abs() < 1e-12)
            };
            assert!(real.iter().any(close), "{shape:?}");
        }
        assert_eq!(other.close()[0], bars.close()[0]);
    }

    #[test]
    fn symbols_move_together_and_stay_listed_when_they_were() {
        let whole = (day(2018, 1, 1), day(2022, 12, 30));
        let old = invented(0, whole.0, whole.1);
        // The same days of the same symbol, listed later and gone earlier.
        let rows = 400..900;
        let mut columns = Columns::default();
        for row in rows.clone() {
            columns.time.push(old.time()[row]);
            columns.open.push(2.0 * old.open()[row]);
            columns.high.push(2.0 * old.high()[row]);
            columns.low.push(2.0 * old.low()[row]);
            columns.close.push(2.0 * old.close()[row]);
            columns.volume.push(old.volume()[row]);
        }
        let young = BarSeries::new("YOUNG", old.frequency(), columns).unwrap();
        let shuffler = Shuffler::new(vec![Arc::clone(&old), Arc::new(young)], &[whole]);
        let shuffled = shuffler.shuffled(9).unwrap();
        let (a, b) = (&shuffled[0], &shuffled[1]);
        assert_eq!(b.time(), &old.time()[rows.clone()]);
        let (a, b) = (changes(a), changes(b));
        for (a, b) in a[rows.start..rows.end - 1].iter().zip(&b) {
            assert!((a / b - 1.0).abs() < 1e-12, "{a} {b}");
        }
        assert!(same_set(
            &changes(&old)[..rows.start - 1],
            &a[..rows.start - 1]
        ));
    }

    #[test]
    fn a_suspended_day_and_a_day_without_a_bar_go_where_their_day_goes() {
        let whole = (day(2020, 1, 1), day(2020, 12, 31));
        let full = invented(0, whole.0, whole.1);
        let mut columns = Columns::default();
        for row in (0..full.rows()).filter(|row| *row != 100) {
            columns.time.push(full.time()[row]);
            columns.open.push(full.open()[row]);
            columns.high.push(full.high()[row]);
            columns.low.push(full.low()[row]);
            columns.close.push(full.close()[row]);
            columns
                .volume
                .push(if row == 50 { 0.0 } else { full.volume()[row] });
        }
        let gap = Arc::new(BarSeries::new("GAP", full.frequency(), columns).unwrap());
        let shuffler = Shuffler::new(vec![Arc::clone(&full), gap], &[whole]);
        let shuffled = shuffler.shuffled(2).unwrap();
        let of = |volume: f64| {
            shuffled[0]
                .volume()
                .iter()
                .position(|v| *v == volume)
                .unwrap()
        };
        let gone = of(full.volume()[100]);
        assert_ne!(gone, 100);
        let times = shuffled[1].time();
        assert!(!times.contains(&full.time()[gone]) && times.contains(&full.time()[100]));
        let still = full.time()[of(full.volume()[50])];
        let row = times.binary_search(&still).unwrap();
        assert!(shuffled[1].is_suspended(row));
        assert_eq!(shuffled[1].suspended_rows(), 1);
    }

    #[test]
    fn what_hangs_together_moves_in_longer_blocks() {
        let mut random = Random::new(1);
        let (mut shock, mut price) = (0.0, 10.0);
        let mut columns = Columns::default();
        for row in 0..1_000_i64 {
            shock = 0.7 * shock + 0.01 * random.normal();
            price *= 1.0 + shock;
            columns.time.push(row * 86_400);
            for column in [
                &mut columns.open,
                &mut columns.high,
                &mut columns.low,
                &mut columns.close,
            ] {
                column.push(price);
            }
            columns.volume.push(1.0);
        }
        let frequency = crate::bars::Frequency::Daily;
        let smooth = Arc::new(BarSeries::new("SMOOTH", frequency, columns).unwrap());
        let ever = (day(1970, 1, 1), day(2030, 1, 1));
        let block = |bars: &Arc<BarSeries>| Shuffler::new(vec![Arc::clone(bars)], &[ever]).block();
        let rough = block(&invented(0, day(2018, 1, 1), day(2022, 12, 30)));
        let smooth = block(&smooth);
        assert!(rough <= 4 && (6..=20).contains(&smooth), "{rough} {smooth}");
    }
}
