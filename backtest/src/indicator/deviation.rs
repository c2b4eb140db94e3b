//! How far values scatter within a window.

use super::sma;

/// Rows worked on together: their sums stay in the nearest cache.
const BLOCK: usize = 512;

/// Calls `row(t, mean - x[t], deviation)` for every row `t` with a full window.
///
/// Values are shifted by the newest of their window before they are squared ("shifted data", Chan,
/// Golub and LeVeque 1983): nothing large cancels, a window without movement gives exactly 0, and
/// unlike a running sum the result depends on the window only. `window` passes over short blocks,
/// each of which the compiler turns into vector code, cost less than one pass with a loop inside.
fn scatter(values: &[f64], window: usize, ddof: usize, mut row: impl FnMut(usize, f64, f64)) {
    assert!(
        window > ddof,
        "window {window} must be above ddof {ddof}: the divisor is window - ddof"
    );
    let n = window as f64;
    let divisor = (window - ddof) as f64;
    let (mut sums, mut squares) = ([0.0; BLOCK], [0.0; BLOCK]);
    let mut first = window - 1;
    while first < values.len() {
        let rows = BLOCK.min(values.len() - first);
        let newest = &values[first..first + rows];
        let (sums, squares) = (&mut sums[..rows], &mut squares[..rows]);
        sums.fill(0.0);
        squares.fill(0.0);
        for age in 1..window {
            let older = &values[first - age..first - age + rows];
            for (((sum, square), old), new) in
                sums.iter_mut().zip(&mut *squares).zip(older).zip(newest)
            {
                let gap = old - new;
                *sum += gap;
                *square += gap * gap;
            }
        }
        for (t, (sum, square)) in (first..).zip(sums.iter().zip(&*squares)) {
            let about_mean = (square - sum * sum / n).max(0.0);
            row(t, sum / n, (about_mean / divisor).sqrt());
        }
        first += rows;
    }
}

/// Rolling standard deviation: `sqrt(sum((x - mean)^2) / (window - ddof))` over the last `window`
/// values; `ddof` 1 is that of a sample (pandas), 0 that of a population (TA-Lib). NaN while the
/// window is not full; exactly 0 where all its values are equal.
///
/// ```
/// let sd = trialmill_backtest::indicator::rolling_deviation(&[1.0, 3.0, 3.0], 2, 0);
/// assert!(sd[0].is_nan());
/// assert_eq!(sd[1..], [1.0, 0.0]);
/// ```
///
/// # Panics
/// If `window` is not above `ddof`.
#[must_use]
pub fn rolling_deviation(values: &[f64], window: usize, ddof: usize) -> Vec<f64> {
    let mut deviations = vec![f64::NAN; values.len()];
    scatter(values, window, ddof, |t, _, deviation| {
        deviations[t] = deviation;
    });
    deviations
}

/// How many standard deviations a value lies above the mean of its window:
/// `z[t] = (x[t] - mean[t]) / deviation[t]`. NaN while the window is not full and where all its
/// values are equal.
///
/// # Panics
/// If `window` is not above `ddof`.
#[must_use]
pub fn z_score(values: &[f64], window: usize, ddof: usize) -> Vec<f64> {
    let mut scores = vec![f64::NAN; values.len()];
    scatter(values, window, ddof, |t, mean_above, deviation| {
        // 0 / 0 is NaN where nothing moved.
        scores[t] = -mean_above / deviation;
    });
    scores
}

/// The three lines of [`bollinger_bands`], one value a row, NaN while the window is not full.
#[derive(Clone, Debug, PartialEq)]
pub struct BollingerBands {
    /// Middle line plus `width` deviations.
    pub upper: Vec<f64>,
    /// The simple moving average.
    pub middle: Vec<f64>,
    /// Middle line less `width` deviations.
    pub lower: Vec<f64>,
}

/// Bollinger bands (Bollinger 2001, "Bollinger on Bollinger Bands"):
/// `middle = SMA(x, window)`, `upper, lower = middle +- width deviation`.
///
/// A value is at or below the lower band exactly where its [`z_score`] is at most `-width`, which is
/// what rules ask; `%b = (x - lower) / (upper - lower) = (z / width + 1) / 2`.
///
/// # Panics
/// If `window` is not above `ddof`; as [`sma`] else.
#[must_use]
pub fn bollinger_bands(values: &[f64], window: usize, width: f64, ddof: usize) -> BollingerBands {
    let deviations = rolling_deviation(values, window, ddof);
    let middle = sma(values, window);
    let band = |side: f64| {
        let pairs = middle.iter().zip(&deviations);
        pairs.map(|(m, d)| m + side * width * d).collect()
    };
    BollingerBands {
        upper: band(1.0),
        lower: band(-1.0),
        middle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn the_deviation_agrees_with_two_passes_over_each_window() {
        let mut random = Random::new(21);
        let x: Vec<f64> = (0..1_500)
            .map(|t| if t < 700 { 1e6 } else { 3.0 } + random.normal())
            .collect();
        for (window, ddof) in [(2, 1), (5, 0), (20, 1), (60, 0), (1_400, 1)] {
            let got = rolling_deviation(&x, window, ddof);
            assert!(got[..window - 1].iter().all(|v| v.is_nan()));
            for t in window - 1..x.len() {
                let part = &x[t + 1 - window..=t];
                let mean = part.iter().sum::<f64>() / window as f64;
                let squares: f64 = part.iter().map(|v| (v - mean) * (v - mean)).sum();
                let naive = (squares / (window - ddof) as f64).sqrt();
                assert!(
                    (got[t] - naive).abs() < 1e-9 * naive,
                    "window {window} row {t}"
                );
            }
        }
    }

    #[test]
    fn rows_outside_the_window_do_not_change_a_bit_and_stillness_is_exactly_zero() {
        let mut random = Random::new(22);
        let mut x: Vec<f64> = (0..900).map(|_| 7.0 + random.normal()).collect();
        x[400..460].fill(0.1);
        let all = z_score(&x, 20, 1);
        for start in [1, 37, 380] {
            let part = z_score(&x[start..880], 20, 1);
            for t in 19..part.len() {
                assert_eq!(part[t].to_bits(), all[start + t].to_bits());
            }
        }
        let deviations = rolling_deviation(&x, 20, 1);
        assert!(deviations[419..460].iter().all(|d| *d == 0.0));
        assert!(all[419..460].iter().all(|z| z.is_nan()));
    }

    #[test]
    fn a_value_is_outside_its_bands_where_its_score_says_so() {
        let mut random = Random::new(23);
        let x: Vec<f64> = (0..800).map(|_| 50.0 + random.normal()).collect();
        let (bands, scores) = (bollinger_bands(&x, 20, 1.5, 1), z_score(&x, 20, 1));
        let mut outside = 0;
        for t in 19..x.len() {
            let middle = (bands.upper[t] + bands.lower[t]) / 2.0;
            assert!((middle - bands.middle[t]).abs() < 1e-12 * middle);
            assert_eq!(x[t] <= bands.lower[t], scores[t] <= -1.5, "row {t}");
            assert_eq!(x[t] >= bands.upper[t], scores[t] >= 1.5, "row {t}");
            outside += usize::from(scores[t].abs() >= 1.5);
        }
        assert!(outside > 50, "{outside} rows test too little");
    }

    #[test]
    #[should_panic(expected = "window 1 must be above ddof 1")]
    fn a_window_without_a_divisor_panics() {
        let _ = rolling_deviation(&[1.0, 2.0], 1, 1);
    }
}
