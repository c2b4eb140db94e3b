//! On-balance volume (Granville 1963, "New Key to Stock Market Profits").

use super::window_sum;

/// The volume of each row with the sign of its move; 0 for the first row, which has no move.
fn changes(close: &[f64], volume: &[f64]) -> Vec<f64> {
    assert!(
        close.len() == volume.len(),
        "close has {} rows and volume {}; they must have as many",
        close.len(),
        volume.len()
    );
    let mut changes = vec![0.0; close.len()];
    let after_first = changes.iter_mut().zip(volume).skip(1);
    for ((change, volume), pair) in after_first.zip(close.windows(2)) {
        if pair[1] > pair[0] {
            *change = *volume;
        } else if pair[1] < pair[0] {
            *change = -volume;
        }
    }
    changes
}

/// On-balance volume: `obv[0] = volume[0]`, afterwards the volume is added where the close rises,
/// subtracted where it falls. Its level means nothing, it is that of the first row.
///
/// Source: TA-Lib `OBV`.
///
/// # Panics
/// If the columns differ in length.
#[must_use]
pub fn on_balance_volume(close: &[f64], volume: &[f64]) -> Vec<f64> {
    let mut level = volume.first().copied().unwrap_or_default();
    let mut levels = changes(close, volume);
    for row in &mut levels {
        level += *row;
        *row = level;
    }
    levels
}

/// How far [`on_balance_volume`] lies above its simple average over `window` rows, as a fraction of
/// the volume traded in them: -1 to 1. NaN while there are not `window` rows, and where nothing was
/// traded.
///
/// `OBV[t] - SMA(OBV, window)[t] = sum over j of (window - 1 - j) / window s[t-j]`, for `j` from 0 to
/// `window - 2` and `s` the volume with the sign of its row's move. In that form the level cancels,
/// so that the value depends on the window alone.
///
/// # Panics
/// If `window` is 0 or the columns differ in length.
#[must_use]
pub fn volume_above_average(close: &[f64], volume: &[f64], window: usize) -> Vec<f64> {
    let mut values = window_sum(volume, window);
    let changes = changes(close, volume);
    let mut above = vec![0.0; values.len()];
    if let Some(above) = above.get_mut(window - 1..) {
        for age in 0..window - 1 {
            let weight = (window - 1 - age) as f64;
            for (above, change) in above.iter_mut().zip(&changes[window - 1 - age..]) {
                *above += weight * change;
            }
        }
    }
    for (value, above) in values.iter_mut().zip(above) {
        // 0 / 0 is NaN where nothing was traded.
        *value = above / (window as f64 * *value);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::tests::bars;
    use crate::synthetic::Random;

    #[test]
    fn volume_is_added_where_the_close_rises_and_subtracted_where_it_falls() {
        let obv = on_balance_volume(&[5.0, 6.0, 6.0, 4.0, 7.0], &[10.0, 3.0, 9.0, 4.0, 1.0]);
        assert_eq!(obv, [10.0, 13.0, 13.0, 9.0, 10.0]);
        assert!(on_balance_volume(&[], &[]).is_empty());
    }

    #[test]
    fn the_gap_is_that_of_the_running_volume_to_its_average() {
        let (_, _, close) = bars(400, 71);
        let mut random = Random::new(72);
        let volume: Vec<f64> = (0..400).map(|_| (random.uniform() * 1e6).floor()).collect();
        let obv = on_balance_volume(&close, &volume);
        for window in [1, 2, 5, 20, 60] {
            let got = volume_above_average(&close, &volume, window);
            assert!(got[..window - 1].iter().all(|v| v.is_nan()));
            for t in window - 1..400 {
                let rows = t + 1 - window..=t;
                let mean = obv[rows.clone()].iter().sum::<f64>() / window as f64;
                let traded: f64 = volume[rows].iter().sum();
                let naive = (obv[t] - mean) / traded;
                assert!((got[t] - naive).abs() < 1e-12, "window {window} row {t}");
                assert!(got[t].abs() <= 1.0);
            }
        }
    }

    #[test]
    fn without_volume_there_is_no_value() {
        let close: Vec<f64> = (1..30).map(f64::from).collect();
        let none = vec![0.0; 29];
        assert!(
            volume_above_average(&close, &none, 5)
                .iter()
                .all(|v| v.is_nan())
        );
        assert!(
            volume_above_average(&close[..2], &none[..2], 5)
                .iter()
                .all(|v| v.is_nan())
        );
    }
}
