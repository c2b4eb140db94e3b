//! Average true range (Wilder 1978, "New Concepts in Technical Trading Systems").

use super::rsi::wilder;

/// True range: `max(high[t], close[t-1]) - min(low[t], close[t-1])`, in units of price. NaN at
/// row 0, which has no close before it.
///
/// # Panics
/// If the columns differ in length.
#[must_use]
pub fn true_range(high: &[f64], low: &[f64], close: &[f64]) -> Vec<f64> {
    assert!(
        high.len() == low.len() && low.len() == close.len(),
        "the columns have {}, {} and {} rows; they must have as many",
        high.len(),
        low.len(),
        close.len()
    );
    let ranges = high.iter().zip(low).skip(1).zip(close);
    let ranges = ranges.map(|((high, low), before)| high.max(*before) - low.min(*before));
    close
        .iter()
        .take(1)
        .map(|_| f64::NAN)
        .chain(ranges)
        .collect()
}

/// Wilder's average of the true range: the mean of the first `period` true ranges at row `period`,
/// afterwards `atr[t] = atr[t-1] + (range[t] - atr[t-1]) / period`. NaN before.
///
/// # Panics
/// If `period` is 0 or the columns differ in length.
#[must_use]
pub fn average_true_range(high: &[f64], low: &[f64], close: &[f64], period: usize) -> Vec<f64> {
    let mut ranges = true_range(high, low, close);
    if let Some(after_first) = ranges.get_mut(1..) {
        let averages = wilder(after_first, period);
        after_first.copy_from_slice(&averages);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_definition_by_hand() {
        let (high, low, close) = (
            [10.0, 12.0, 11.0, 9.0, 8.0],
            [9.0, 10.5, 10.0, 7.0, 7.5],
            [9.5, 11.0, 10.0, 8.0, 8.0],
        );
        let ranges = true_range(&high, &low, &close);
        assert!(ranges[0].is_nan());
        assert_eq!(ranges[1..], [2.5, 1.0, 3.0, 0.5]);
        let average = average_true_range(&high, &low, &close, 2);
        assert!(average[..2].iter().all(|v| v.is_nan()));
        assert_eq!(average[2..], [1.75, 2.375, 1.4375]);
        assert!(average_true_range(&[], &[], &[], 2).is_empty());
        assert!(average_true_range(&[1.0], &[1.0], &[1.0], 2)[0].is_nan());
    }
}
