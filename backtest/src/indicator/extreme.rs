//! Highest and lowest values of a window.

/// The highest of the last `window` values; NaN while the window is not full. Exact.
///
/// # Panics
/// If `window` is 0.
#[must_use]
pub fn rolling_max(values: &[f64], window: usize) -> Vec<f64> {
    extreme(values, window, |a, b| if a > b { a } else { b })
}

/// The lowest of the last `window` values; NaN while the window is not full. Exact.
///
/// # Panics
/// If `window` is 0.
#[must_use]
pub fn rolling_min(values: &[f64], window: usize) -> Vec<f64> {
    extreme(values, window, |a, b| if a < b { a } else { b })
}

/// Doubles the rows that each value stands for until they are the window: about `log2(window)`
/// passes without a branch, whatever the values do.
fn extreme(values: &[f64], window: usize, pick: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    assert!(window > 0, "window is 0; it must be 1 or more");
    let mut best = values.to_vec();
    let mut covered = 1;
    while covered < window {
        let step = covered.min(window - covered);
        // From the end, so that the row `step` before is still that of the pass before.
        for t in (step..best.len()).rev() {
            best[t] = pick(best[t], best[t - step]);
        }
        covered += step;
    }
    let undefined = (window - 1).min(best.len());
    best[..undefined].fill(f64::NAN);
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn extremes_agree_with_a_look_at_every_row_of_the_window() {
        let mut random = Random::new(31);
        let x: Vec<f64> = (0..400).map(|_| (random.normal() * 8.0).round()).collect();
        for window in [1, 2, 3, 5, 8, 9, 14, 31, 64, 400] {
            let (max, min) = (rolling_max(&x, window), rolling_min(&x, window));
            for t in 0..x.len() {
                if t + 1 < window {
                    assert!(max[t].is_nan() && min[t].is_nan());
                    continue;
                }
                let part = &x[t + 1 - window..=t];
                assert_eq!(max[t], part.iter().copied().fold(f64::MIN, f64::max));
                assert_eq!(min[t], part.iter().copied().fold(f64::MAX, f64::min));
            }
        }
        assert!(rolling_max(&x[..3], 10).iter().all(|v| v.is_nan()));
        assert!(rolling_min(&[], 10).is_empty());
    }
}
