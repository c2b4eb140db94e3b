//! The KDJ oscillator of the Chinese terminals.

use super::raw_stochastic;

/// K and D before anything is known of a price.
const MIDDLE: f64 = 50.0;

/// The three lines of [`kdj`], one value a row, NaN before the first full window.
#[derive(Clone, Debug, PartialEq)]
pub struct Kdj {
    /// Smoothed place of the close in its range, 0 to 100.
    pub k: Vec<f64>,
    /// K smoothed once more, 0 to 100.
    pub d: Vec<f64>,
    /// `3 K - 2 D`: below 0 and above 100 at extremes.
    pub j: Vec<f64>,
}

/// `K[t] = K[t-1] + (RSV[t] - K[t-1]) / k_smooth`, `D[t] = D[t-1] + (K[t] - D[t-1]) / d_smooth`,
/// `J = 3 K - 2 D`, where RSV is [`raw_stochastic`] over `period` rows and K and D are 50 before the
/// first full window. With 9, 3, 3 the KDJ of the usual terminals, `SMA(RSV, 3, 1)` in their
/// notation.
///
/// A row whose window has no range says nothing: K and D stay as they were.
///
/// # Panics
/// If a period is 0 or the columns differ in length.
#[must_use]
pub fn kdj(
    high: &[f64],
    low: &[f64],
    close: &[f64],
    period: usize,
    k_smooth: usize,
    d_smooth: usize,
) -> Kdj {
    assert!(
        k_smooth > 0 && d_smooth > 0,
        "k_smooth {k_smooth} and d_smooth {d_smooth} must be 1 or more"
    );
    let mut k = raw_stochastic(high, low, close, period);
    let mut d = vec![f64::NAN; k.len()];
    let mut j = vec![f64::NAN; k.len()];
    let (k_weight, d_weight) = (1.0 / k_smooth as f64, 1.0 / d_smooth as f64);
    let (mut k_now, mut d_now) = (MIDDLE, MIDDLE);
    for ((k, d), j) in k.iter_mut().zip(&mut d).zip(&mut j).skip(period - 1) {
        let place = *k;
        if !place.is_nan() {
            k_now += k_weight * (place - k_now);
            d_now += d_weight * (k_now - d_now);
        }
        (*k, *d, *j) = (k_now, d_now, 3.0 * k_now - 2.0 * d_now);
    }
    Kdj { k, d, j }
}

#[cfg(test)]
#[expect(
    clippy::needless_range_loop,
    reason = "formulas are written with row numbers"
)]
mod tests {
    use super::*;
    use crate::indicator::tests::bars;

    #[test]
    fn it_agrees_with_the_recurrence_of_the_textbooks() {
        let (high, low, close) = bars(400, 51);
        for (period, m, n) in [(9, 3, 3), (5, 2, 10), (30, 10, 2)] {
            let got = kdj(&high, &low, &close, period, m, n);
            let place = raw_stochastic(&high, &low, &close, period);
            let (mut k, mut d) = (50.0, 50.0);
            for t in 0..close.len() {
                if t + 1 < period {
                    assert!(got.k[t].is_nan() && got.d[t].is_nan() && got.j[t].is_nan());
                    continue;
                }
                let (m, n) = (m as f64, n as f64);
                k = (m - 1.0) / m * k + place[t] / m;
                d = (n - 1.0) / n * d + k / n;
                assert!((got.k[t] - k).abs() < 1e-10, "row {t}");
                assert!((got.d[t] - d).abs() < 1e-10, "row {t}");
                assert!((got.j[t] - (3.0 * k - 2.0 * d)).abs() < 1e-9, "row {t}");
            }
        }
    }

    #[test]
    fn a_price_that_stands_leaves_the_lines_where_they_were() {
        let (mut high, mut low, mut close) = bars(60, 52);
        for column in [&mut high, &mut low, &mut close] {
            column.extend([20.0; 30]);
        }
        let got = kdj(&high, &low, &close, 9, 3, 3);
        let stood = 60 + 8;
        assert!(got.k[stood..].iter().all(|k| *k == got.k[stood]));
        assert_eq!(got.j[stood], got.j[89]);
        let flat = kdj(&[1.0; 12], &[1.0; 12], &[1.0; 12], 9, 3, 3);
        assert_eq!(flat.k[8..], [50.0; 4]);
    }
}
