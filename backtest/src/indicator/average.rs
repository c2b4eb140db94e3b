//! Moving averages: simple, exponential, Wilder's.

use super::WindowSums;

/// What the seed of a recursive indicator may still weigh after [`settling_rows`].
pub const SEED_WEIGHT: f64 = 1e-9;

/// How an exponential average begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seed {
    /// With the simple mean of the first `period` values, as TA-Lib does; undefined before.
    Mean,
    /// With the first value, as pandas' `ewm(adjust=False)` does; defined from the first row on,
    /// though the first values hardly average anything.
    FirstValue,
}

/// Simple moving average: `sma[t] = (x[t-window+1] + ... + x[t]) / window`, NaN while the window
/// is not full. Exact but for one rounding ([`WindowSums`]).
///
/// ```
/// let sma = trialmill_backtest::indicator::sma(&[1.0, 2.0, 6.0], 2);
/// assert!(sma[0].is_nan());
/// assert_eq!(sma[1..], [1.5, 4.0]);
/// ```
///
/// # Panics
/// As [`WindowSums::new`] and [`WindowSums::mean`].
#[must_use]
pub fn sma(values: &[f64], window: usize) -> Vec<f64> {
    let sums = WindowSums::new(values);
    (0..values.len())
        .map(|t| {
            if t + 1 < window {
                f64::NAN
            } else {
                sums.mean(t, window)
            }
        })
        .collect()
}

/// The sum of the last `window` values, oldest first; NaN while the window is not full or holds a
/// NaN. Takes `window` additions a row, in passes that the compiler turns into vector code.
///
/// # Panics
/// If `window` is 0.
#[must_use]
pub fn window_sum(values: &[f64], window: usize) -> Vec<f64> {
    assert!(window > 0, "window is 0; it must be 1 or more");
    let mut sums = vec![f64::NAN; values.len()];
    let first = window - 1;
    if let Some(full) = sums.get_mut(first..) {
        full.fill(0.0);
        for age in (0..window).rev() {
            for (sum, value) in full.iter_mut().zip(&values[first - age..]) {
                *sum += value;
            }
        }
    }
    sums
}

/// Exponential moving average: `ema[t] = ema[t-1] + a (x[t] - ema[t-1])` with `a = 2 / (period + 1)`,
/// seeded as told. NaN before the seed.
///
/// Source: TA-Lib `EMA` (mean), pandas `ewm(span=period, adjust=False).mean()` (first value).
///
/// ```
/// use trialmill_backtest::indicator::{Seed, ema};
///
/// assert_eq!(ema(&[2.0, 4.0, 9.0], 3, Seed::FirstValue), [2.0, 3.0, 6.0]);
/// assert_eq!(ema(&[2.0, 4.0, 9.0, 1.0], 3, Seed::Mean)[2..], [5.0, 3.0]);
/// ```
///
/// # Panics
/// If `period` is 0.
#[must_use]
pub fn ema(values: &[f64], period: usize, seed: Seed) -> Vec<f64> {
    assert!(period > 0, "period is 0; it must be 1 or more");
    let seed_rows = match seed {
        Seed::Mean => period,
        Seed::FirstValue => 1,
    };
    smooth(values, seed_rows, ema_weight(period))
}

/// The weight of the newest value in an exponential average, `2 / (period + 1)`.
fn ema_weight(period: usize) -> f64 {
    2.0 / (period as f64 + 1.0)
}

/// `y[t] = y[t-1] + weight (x[t] - y[t-1])` after the mean of the first `seed_rows` values; NaN
/// before it.
pub(super) fn smooth(values: &[f64], seed_rows: usize, weight: f64) -> Vec<f64> {
    let mut smoothed = vec![f64::NAN; values.len()];
    if values.len() < seed_rows {
        return smoothed;
    }
    // Shifted by the first value, so that the mean of equal values is that value to the last bit.
    let first = values[0];
    let above: f64 = values[..seed_rows].iter().map(|value| value - first).sum();
    let mut average = first + above / seed_rows as f64;
    smoothed[seed_rows - 1] = average;
    for (smoothed, value) in smoothed.iter_mut().zip(values).skip(seed_rows) {
        average += weight * (value - average);
        *smoothed = average;
    }
    smoothed
}

/// After how many rows the seed of a recursive average whose newest value weighs `weight` itself
/// weighs at most [`SEED_WEIGHT`]: the smallest `n` with `(1 - weight)^n <= SEED_WEIGHT`.
///
/// ```
/// use trialmill_backtest::indicator::settling_rows;
///
/// assert_eq!(settling_rows(2.0 / 27.0), 270); // an exponential average of 26
/// assert_eq!(settling_rows(1.0 / 14.0), 280); // Wilder's of 14
/// ```
///
/// # Panics
/// If `weight` is not above 1e-6 and at most 1.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the weight is above 1e-6, which keeps the count between 0 and 2.1e7"
)]
pub fn settling_rows(weight: f64) -> usize {
    assert!(
        weight > 1e-6 && weight <= 1.0,
        "weight {weight} is not above 1e-6 and at most 1"
    );
    libm::ceil(libm::log(SEED_WEIGHT) / libm::log1p(-weight)) as usize
}

#[cfg(test)]
#[expect(
    clippy::needless_range_loop,
    reason = "formulas are written with row numbers"
)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn an_exponential_average_is_the_weighted_sum_of_all_values_and_its_seed() {
        let mut random = Random::new(3);
        let x: Vec<f64> = (0..120).map(|_| 10.0 + random.normal()).collect();
        for period in [1, 2, 9, 26, 60] {
            let a = 2.0 / (period as f64 + 1.0);
            for seed in [Seed::Mean, Seed::FirstValue] {
                let got = ema(&x, period, seed);
                let first = match seed {
                    Seed::Mean => period - 1,
                    Seed::FirstValue => 0,
                };
                let begin = x[..=first].iter().sum::<f64>() / (first + 1) as f64;
                for t in 0..x.len() {
                    if t < first {
                        assert!(got[t].is_nan());
                        continue;
                    }
                    let mut naive = begin * (1.0 - a).powi(i32::try_from(t - first).unwrap());
                    for s in first + 1..=t {
                        naive += a * x[s] * (1.0 - a).powi(i32::try_from(t - s).unwrap());
                    }
                    assert!((got[t] - naive).abs() < 1e-12 * naive.abs(), "{period} {t}");
                }
            }
        }
        assert!(ema(&[1.0, 2.0], 3, Seed::Mean).iter().all(|v| v.is_nan()));
        assert!(ema(&[], 3, Seed::FirstValue).is_empty());
    }

    #[test]
    fn a_seed_is_forgotten_after_the_settling_rows_and_not_before() {
        for period in [2, 5, 9, 26, 50] {
            let weight = ema_weight(period);
            let rows = settling_rows(weight);
            let impulse = |rows: usize| {
                let mut x = vec![0.0; rows + 1];
                x[0] = 1.0;
                ema(&x, period, Seed::FirstValue)[rows]
            };
            assert!(impulse(rows) <= SEED_WEIGHT * (1.0 + 1e-9), "{period}");
            assert!(impulse(rows - 1) > SEED_WEIGHT, "{period}");
        }
        assert_eq!(settling_rows(1.0), 0);
    }

    #[test]
    fn a_window_sum_recovers_from_an_undefined_value() {
        let sums = window_sum(&[1.0, f64::NAN, 3.0, 4.0, 5.0], 2);
        assert!(sums[..3].iter().all(|sum| sum.is_nan()));
        assert_eq!(sums[3..], [7.0, 9.0]);
        assert!(window_sum(&[1.0], 4)[0].is_nan());
    }
}
