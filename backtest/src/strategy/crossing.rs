//! Signals where a value crosses a level.

use super::Signal;

/// Enters where the value rises through `low`, exits where it falls through `high`:
/// enter: `v[t-1] <= low and v[t] > low`; exit: `v[t-1] >= high and v[t] < high`.
///
/// Undefined values (NaN) compare as false, so that a crossing needs both rows defined. With `low`
/// at most `high` no row is both.
pub(super) fn write_crossings(values: &[f64], low: f64, high: f64, signals: &mut [Signal]) {
    for (pair, signal) in values.windows(2).zip(signals.iter_mut().skip(1)) {
        let (before, now) = (pair[0], pair[1]);
        if before <= low && now > low {
            *signal = Signal::Enter;
        } else if before >= high && now < high {
            *signal = Signal::Exit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossing_needs_both_rows_and_starts_on_the_level_or_beyond() {
        let values = [
            f64::NAN,
            0.5,
            1.0,
            1.1,
            0.9,
            3.0,
            2.9,
            3.1,
            f64::NAN,
            2.0,
            0.0,
            1.0,
        ];
        let mut signals = [Signal::None; 12];
        write_crossings(&values, 1.0, 3.0, &mut signals);
        let mut wanted = [Signal::None; 12];
        wanted[3] = Signal::Enter;
        wanted[5] = Signal::Enter;
        wanted[6] = Signal::Exit;
        assert_eq!(signals, wanted);
    }
}
