//! Relative strength index (Wilder 1978, "New Concepts in Technical Trading Systems").

use super::average::{smooth, window_sum};

/// Wilder's relative strength index, in 0 to 100:
/// `rsi[t] = 100 G[t] / (G[t] + L[t])`, where `G` and `L` are Wilder's averages of the gains
/// `max(x[t] - x[t-1], 0)` and of the losses `max(x[t-1] - x[t], 0)`: the mean of the first `period`
/// at row `period`, afterwards `G[t] = G[t-1] + (gain[t] - G[t-1]) / period`.
///
/// NaN before row `period`, and as long as the price never moved (TA-Lib gives 0 there, which would
/// be an oversold price).
///
/// # Panics
/// If `period` is 0.
#[must_use]
pub fn relative_strength_index(values: &[f64], period: usize) -> Vec<f64> {
    assert!(period > 0, "period is 0; it must be 1 or more");
    let mut index = vec![f64::NAN; values.len()];
    if values.len() <= period {
        return index;
    }
    let (mut gain, mut loss) = (0.0, 0.0);
    for pair in values[..=period].windows(2) {
        let change = pair[1] - pair[0];
        gain += change.max(0.0);
        loss += (-change).max(0.0);
    }
    gain /= period as f64;
    loss /= period as f64;
    index[period] = share(gain, loss);
    let weight = 1.0 / period as f64;
    for (index, pair) in index[period + 1..]
        .iter_mut()
        .zip(values[period..].windows(2))
    {
        let change = pair[1] - pair[0];
        gain += weight * (change.max(0.0) - gain);
        loss += weight * ((-change).max(0.0) - loss);
        *index = share(gain, loss);
    }
    index
}

/// The index with plain means of the last `period` gains and losses in place of Wilder's averages
/// (Cutler's variant). No strategy uses it: a service that mixed the two had an objective that
/// jumped at one period.
///
/// NaN before row `period` and where nothing moved within the window.
///
/// # Panics
/// If `period` is 0.
#[must_use]
pub fn rsi_of_simple_means(values: &[f64], period: usize) -> Vec<f64> {
    let moves = |sign: f64| {
        let moves: Vec<f64> = values
            .windows(2)
            .map(|pair| (sign * (pair[1] - pair[0])).max(0.0))
            .collect();
        window_sum(&moves, period)
    };
    let of_sums = moves(1.0)
        .into_iter()
        .zip(moves(-1.0))
        .map(|(gain, loss)| share(gain, loss));
    values
        .iter()
        .take(1)
        .map(|_| f64::NAN)
        .chain(of_sums)
        .collect()
}

fn share(gain: f64, loss: f64) -> f64 {
    // 0 / 0 is NaN where nothing moved.
    100.0 * (gain / (gain + loss))
}

/// Wilder's average: the mean of the first `period` values, then `y += (x - y) / period`.
pub(super) fn wilder(values: &[f64], period: usize) -> Vec<f64> {
    assert!(period > 0, "period is 0; it must be 1 or more");
    smooth(values, period, 1.0 / period as f64)
}

#[cfg(test)]
#[expect(
    clippy::needless_range_loop,
    reason = "formulas are written with row numbers"
)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    fn walk(rows: usize, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        let mut x = 30.0;
        (0..rows)
            .map(|_| {
                x *= 1.0 + 0.02 * random.normal();
                x
            })
            .collect()
    }

    #[test]
    fn it_agrees_with_wilders_own_recurrence() {
        let x = walk(600, 8);
        for period in [1, 2, 5, 14, 28, 50] {
            let got = relative_strength_index(&x, period);
            let n = period as f64;
            assert!(got[..period].iter().all(|v| v.is_nan()));
            let (mut up, mut down) = (0.0, 0.0);
            for t in 1..x.len() {
                let (gain, loss) = ((x[t] - x[t - 1]).max(0.0), (x[t - 1] - x[t]).max(0.0));
                if t <= period {
                    up += gain / n;
                    down += loss / n;
                } else {
                    up = (up * (n - 1.0) + gain) / n;
                    down = (down * (n - 1.0) + loss) / n;
                }
                if t >= period {
                    let naive = 100.0 - 100.0 / (1.0 + up / down);
                    assert!((got[t] - naive).abs() < 1e-10, "{period} {t}");
                }
            }
        }
    }

    #[test]
    fn the_variant_of_simple_means_agrees_with_naive_recomputation() {
        let x = walk(200, 9);
        let got = rsi_of_simple_means(&x, 14);
        assert!(got[..14].iter().all(|v| v.is_nan()));
        for t in 14..x.len() {
            let moves: Vec<f64> = (t - 13..=t).map(|s| x[s] - x[s - 1]).collect();
            let up: f64 = moves.iter().filter(|m| **m > 0.0).sum();
            let all: f64 = moves.iter().map(|m| m.abs()).sum();
            assert!((got[t] - 100.0 * up / all).abs() < 1e-10, "row {t}");
        }
        // Both begin with the same means.
        assert!((got[14] - relative_strength_index(&x, 14)[14]).abs() < 1e-10);
    }

    #[test]
    fn a_price_that_only_rises_is_at_100_and_one_that_stands_is_nowhere() {
        let rising: Vec<f64> = (1..40).map(f64::from).collect();
        let index = relative_strength_index(&rising, 14);
        assert!(index[14..].iter().all(|v| *v == 100.0));
        assert!(
            relative_strength_index(&[5.0; 40], 14)
                .iter()
                .all(|v| v.is_nan())
        );
        assert!(
            rsi_of_simple_means(&[5.0; 40], 14)
                .iter()
                .all(|v| v.is_nan())
        );
        assert_eq!(relative_strength_index(&rising[..14], 14).len(), 14);
        assert!(rsi_of_simple_means(&[], 14).is_empty());
    }
}
