//! The stochastic oscillator (Lane 1984).

use super::{rolling_max, rolling_min, window_sum};

/// The two lines of a stochastic oscillator, one value a row, NaN while undefined.
#[derive(Clone, Debug, PartialEq)]
pub struct Stochastic {
    /// Where the close lies in the range, 0 to 100.
    pub k: Vec<f64>,
    /// The mean of the last `k`.
    pub d: Vec<f64>,
}

/// Where the close lies between the lowest low and the highest high of the last `period` rows:
/// `100 (close - LL) / (HH - LL)`, in 0 to 100. Also called fast %K or RSV. NaN while the window is
/// not full and where it has no range (TA-Lib gives 0 there, which would be the lowest price).
///
/// # Panics
/// If `period` is 0 or the columns differ in length.
#[must_use]
pub fn raw_stochastic(high: &[f64], low: &[f64], close: &[f64], period: usize) -> Vec<f64> {
    assert!(
        high.len() == low.len() && low.len() == close.len(),
        "the columns have {}, {} and {} rows; they must have as many",
        high.len(),
        low.len(),
        close.len()
    );
    let highest = rolling_max(high, period);
    let mut values = rolling_min(low, period);
    for ((value, highest), close) in values.iter_mut().zip(highest).zip(close) {
        let lowest = *value;
        *value = 100.0 * ((close - lowest) / (highest - lowest));
    }
    values
}

/// The fast oscillator: `k` is [`raw_stochastic`], `d` the simple mean of its last `d_period` values.
///
/// Source: TA-Lib `STOCHF`, which leaves out `k` before `d` begins; here it is given.
///
/// # Panics
/// If a period is 0 or the columns differ in length.
#[must_use]
pub fn stochastic_fast(
    high: &[f64],
    low: &[f64],
    close: &[f64],
    k_period: usize,
    d_period: usize,
) -> Stochastic {
    let k = raw_stochastic(high, low, close, k_period);
    let d = mean(&k, d_period);
    Stochastic { k, d }
}

/// The slow oscillator: `k` is the fast `d` over `slowing` rows, `d` the simple mean of its last
/// `d_period` values.
///
/// Source: TA-Lib `STOCH`, which leaves out `k` before `d` begins; here it is given.
///
/// # Panics
/// If a period is 0 or the columns differ in length.
#[must_use]
pub fn stochastic_slow(
    high: &[f64],
    low: &[f64],
    close: &[f64],
    k_period: usize,
    slowing: usize,
    d_period: usize,
) -> Stochastic {
    let k = stochastic_fast(high, low, close, k_period, slowing).d;
    let d = mean(&k, d_period);
    Stochastic { k, d }
}

fn mean(values: &[f64], window: usize) -> Vec<f64> {
    let mut means = window_sum(values, window);
    for mean in &mut means {
        *mean /= window as f64;
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::tests::bars;

    #[test]
    fn it_agrees_with_naive_recomputation_and_stays_within_0_and_100() {
        let (high, low, close) = bars(500, 41);
        for (k_period, d_period) in [(14, 3), (5, 2), (30, 10)] {
            let fast = stochastic_fast(&high, &low, &close, k_period, d_period);
            let slow = stochastic_slow(&high, &low, &close, k_period, d_period, 3);
            let k = |t: usize| {
                let rows = t + 1 - k_period..=t;
                let top = high[rows.clone()].iter().copied().fold(f64::MIN, f64::max);
                let bottom = low[rows].iter().copied().fold(f64::MAX, f64::min);
                100.0 * (close[t] - bottom) / (top - bottom)
            };
            let d = |t: usize| (t + 1 - d_period..=t).map(k).sum::<f64>() / d_period as f64;
            assert!(fast.k[..k_period - 1].iter().all(|v| v.is_nan()));
            assert!(fast.d[..k_period + d_period - 2].iter().all(|v| v.is_nan()));
            for t in k_period + d_period..close.len() {
                assert!((fast.k[t] - k(t)).abs() < 1e-10);
                assert!((0.0..=100.0).contains(&fast.k[t]));
                assert!((fast.d[t] - d(t)).abs() < 1e-10);
                assert_eq!(slow.k[t].to_bits(), fast.d[t].to_bits());
                let slow_d = (d(t - 2) + d(t - 1) + d(t)) / 3.0;
                assert!((slow.d[t] - slow_d).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn a_window_without_a_range_has_no_value_and_is_forgotten_afterwards() {
        let mut close = vec![5.0; 20];
        close.extend((0..20).map(|t| 6.0 + f64::from(t % 3)));
        let fast = stochastic_fast(&close, &close, &close, 5, 3);
        assert!(fast.k[..20].iter().all(|v| v.is_nan()));
        assert!(fast.d[..22].iter().all(|v| v.is_nan()));
        assert!(fast.d[22..].iter().all(|v| v.is_finite()));
    }
}
