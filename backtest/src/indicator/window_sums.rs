//! Running sums that forget: the mean of any window, the same bits wherever the column begins.

use std::ops::Range;

/// The longest window of a simple moving average, in rows.
pub const MAX_WINDOW: usize = 100_000;

/// The largest magnitude that can be summed.
pub const MAX_VALUE: f64 = 1e12;

/// Fixed-point scale of the sums: 2^70 exactly. A power of two, so that scaling never rounds.
const SCALE: f64 = 1_180_591_620_717_411_303_424.0;

/// Running sums of a column in 128-bit fixed point, from which the mean of any window comes in
/// constant time.
///
/// A floating-point running sum drifts, and its last bits depend on where it was begun. Here each
/// value is turned into an integer multiple of 2^-70 (exact above 2^-18, truncated toward zero
/// below) and integers add exactly: the sum of a window depends on the values in it and on nothing
/// else, whatever was loaded before it. The mean is that sum rounded once to `f64` and divided
/// once, which keeps it within one unit in the last place of the true mean.
///
/// ```
/// use trialmill_backtest::indicator::WindowSums;
///
/// let sums = WindowSums::new(&[1.0, 2.0, 6.0]);
/// assert_eq!(sums.mean(2, 3), 3.0);
/// assert_eq!(sums.mean(2, 2), 4.0);
/// ```
#[derive(Clone, Debug)]
pub struct WindowSums {
    /// `before[t]` is the sum of the values of rows below `t`, modulo 2^128. Differences are exact
    /// as long as the window's own sum fits, which [`MAX_VALUE`] and [`MAX_WINDOW`] see to.
    before: Vec<i128>,
}

impl WindowSums {
    /// Sums up a column.
    ///
    /// # Panics
    /// If a value is not finite or beyond [`MAX_VALUE`] in magnitude; the prices of a
    /// [`BarSeries`](crate::bars::BarSeries) never are.
    #[must_use]
    pub fn new(values: &[f64]) -> Self {
        let mut before = Vec::with_capacity(values.len() + 1);
        let mut sum = 0i128;
        before.push(sum);
        for &value in values {
            sum = sum.wrapping_add(fixed_point(value));
            before.push(sum);
        }
        Self { before }
    }

    /// The number of values.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.before.len() - 1
    }

    /// The mean of the `window` values that end with row `t`.
    ///
    /// # Panics
    /// If the window is 0 or above [`MAX_WINDOW`], begins before row 0 or ends after the last.
    #[must_use]
    #[inline]
    pub fn mean(&self, t: usize, window: usize) -> f64 {
        assert!(
            window > 0 && window <= MAX_WINDOW,
            "window {window} is not in 1..={MAX_WINDOW}"
        );
        let sum = self.before[t + 1].wrapping_sub(self.before[t + 1 - window]);
        to_float(sum) / window as f64
    }

    /// The means of `window` values ending with each of `rows`, in order: the same bits as
    /// [`Self::mean`], at a third of the time.
    ///
    /// # Panics
    /// As [`Self::mean`] for the first and the last row, if there are rows.
    pub(crate) fn means(&self, rows: Range<usize>, window: usize) -> impl Iterator<Item = f64> {
        assert!(
            window > 0 && window <= MAX_WINDOW,
            "window {window} is not in 1..={MAX_WINDOW}"
        );
        let (after, before) = if rows.is_empty() {
            (&[][..], &[][..])
        } else {
            let (start, end) = (rows.start + 1, rows.end + 1);
            (
                &self.before[start..end],
                &self.before[start - window..end - window],
            )
        };
        let divisor = window as f64;
        after
            .iter()
            .zip(before)
            .map(move |(a, b)| to_float(a.wrapping_sub(*b)) / divisor)
    }

    /// Bytes taken in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.before.len() * std::mem::size_of::<i128>()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the fraction below 2^-70 is meant to go; the assertion keeps the rest within 2^110"
)]
fn fixed_point(value: f64) -> i128 {
    assert!(
        value.abs() <= MAX_VALUE,
        "value {value} is not within +-{MAX_VALUE:e}"
    );
    (value * SCALE) as i128
}

/// Twice a 64-bit conversion instead of the library's 128-bit one: a third of its time, and the
/// lower half is too small against the upper to round twice where it would show.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of 65 and 63 bits are cut on purpose; |sum| is below 2^127"
)]
fn to_float(sum: i128) -> f64 {
    const LOW_BITS: u32 = 63;
    const HALF: f64 = 9_223_372_036_854_775_808.0; // 2^63
    let high = (sum >> LOW_BITS) as i64;
    let low = (sum & ((1 << LOW_BITS) - 1)) as i64;
    (high as f64 * HALF + low as f64) / SCALE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::sma;
    use crate::synthetic::Random;

    fn prices(rows: usize, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..rows)
            .map(|_| (random.uniform() * 2e5).round() / 100.0 + 0.01)
            .collect()
    }

    #[test]
    fn the_average_agrees_with_naive_recomputation() {
        let x = prices(3_000, 1);
        for window in [1, 2, 5, 7, 20, 51, 200, 3_000] {
            let got = sma(&x, window);
            for t in 0..x.len() {
                if t + 1 < window {
                    assert!(got[t].is_nan());
                    continue;
                }
                let naive = x[t + 1 - window..=t].iter().sum::<f64>() / window as f64;
                assert!(
                    (got[t] - naive).abs() <= 1e-12 * naive,
                    "row {t} window {window}"
                );
            }
        }
    }

    #[test]
    fn rows_outside_the_window_do_not_change_a_bit() {
        let x = prices(400, 2);
        for window in [3, 20, 100] {
            let all = sma(&x, window);
            for start in [0, 1, 17, 150] {
                let part = sma(&x[start..350], window);
                for t in window - 1..part.len() {
                    assert_eq!(part[t].to_bits(), all[start + t].to_bits());
                }
            }
            let mut wild = x.clone();
            wild[0] = 1e12;
            let after = sma(&wild, window);
            for t in window..x.len() {
                assert_eq!(after[t].to_bits(), all[t].to_bits());
            }
        }
    }

    #[test]
    fn a_huge_value_leaves_no_trace_once_it_has_left_the_window() {
        let mut x = vec![1e12; 3];
        x.extend(vec![0.1; 10]);
        let got = sma(&x, 3);
        assert!((got[12] - 0.1).abs() < 1e-16, "{}", got[12]);
    }

    #[test]
    fn means_of_a_range_are_the_means_of_its_rows() {
        let x = prices(100, 4);
        let sums = WindowSums::new(&x);
        let got: Vec<f64> = sums.means(30..80, 7).collect();
        let wanted: Vec<f64> = (30..80).map(|t| sums.mean(t, 7)).collect();
        assert_eq!(got, wanted);
        assert_eq!(WindowSums::new(&[1.0]).means(0..0, 1).count(), 0);
    }

    #[test]
    fn tiny_and_negative_values_keep_their_digits() {
        let got = sma(&[1e-9, 3e-9, -2e-9], 2);
        assert!((got[1] / 2e-9 - 1.0).abs() < 1e-11);
        assert!((got[2] / 0.5e-9 - 1.0).abs() < 1e-11);
    }

    #[test]
    #[should_panic(expected = "is not within")]
    fn a_value_that_cannot_be_summed_exactly_panics() {
        let _ = WindowSums::new(&[f64::NAN]);
    }
}
