//! Commodity channel index (Lambert 1980).

/// The constant with which Lambert put most values within -100 to 100.
const SCALE: f64 = 0.015;

/// `cci[t] = (p[t] - mean) / (0.015 mean|p - mean|)` with the typical price
/// `p = (high + low + close) / 3` and means over the last `period` rows. NaN while the window is not
/// full and where the typical price did not move within it.
///
/// The mean absolute deviation is about each window's own mean, so that it takes `period` steps a
/// row, in passes that the compiler turns into vector code. Values are shifted by the newest of the
/// window, as for the standard deviation.
///
/// Source: TA-Lib `CCI`.
///
/// # Panics
/// If `period` is 0 or the columns differ in length.
#[must_use]
pub fn commodity_channel_index(
    high: &[f64],
    low: &[f64],
    close: &[f64],
    period: usize,
) -> Vec<f64> {
    assert!(period > 0, "period is 0; it must be 1 or more");
    assert!(
        high.len() == low.len() && low.len() == close.len(),
        "the columns have {}, {} and {} rows; they must have as many",
        high.len(),
        low.len(),
        close.len()
    );
    let n = period as f64;
    let typical: Vec<f64> = high
        .iter()
        .zip(low)
        .zip(close)
        .map(|((high, low), close)| (high + low + close) / 3.0)
        .collect();
    let mut index = vec![f64::NAN; close.len()];
    let first = period - 1;
    let Some(newest) = typical.get(first..) else {
        return index;
    };
    let older = |age: usize| newest.iter().zip(&typical[first - age..]);
    let mut means = vec![0.0; newest.len()];
    for age in 1..period {
        for (mean, (new, old)) in means.iter_mut().zip(older(age)) {
            *mean += old - new;
        }
    }
    for mean in &mut means {
        *mean /= n;
    }
    let mut scatters = vec![0.0; newest.len()];
    for age in 0..period {
        for ((scatter, mean), (new, old)) in scatters.iter_mut().zip(&means).zip(older(age)) {
            *scatter += ((old - new) - mean).abs();
        }
    }
    for ((index, mean), scatter) in index[first..].iter_mut().zip(means).zip(scatters) {
        // 0 / 0 is NaN where nothing moved.
        *index = -mean / (SCALE * (scatter / n));
    }
    index
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
    fn it_agrees_with_naive_recomputation() {
        let (high, low, close) = bars(500, 61);
        let typical = |t: usize| (high[t] + low[t] + close[t]) / 3.0;
        for period in [2, 5, 20, 50] {
            let got = commodity_channel_index(&high, &low, &close, period);
            assert!(got[..period - 1].iter().all(|v| v.is_nan()));
            for t in period - 1..close.len() {
                let window: Vec<f64> = (t + 1 - period..=t).map(typical).collect();
                let mean = window.iter().sum::<f64>() / period as f64;
                let scatter = window.iter().map(|p| (p - mean).abs()).sum::<f64>() / period as f64;
                let naive = (typical(t) - mean) / (0.015 * scatter);
                assert!((got[t] - naive).abs() < 1e-8, "{period} {t}: {naive}");
            }
        }
    }

    #[test]
    fn a_price_that_stands_has_no_value() {
        let still = [0.1; 30];
        let index = commodity_channel_index(&still, &still, &still, 5);
        assert!(index.iter().all(|v| v.is_nan()));
        assert!(commodity_channel_index(&still[..3], &still[..3], &still[..3], 5)[2].is_nan());
    }
}
