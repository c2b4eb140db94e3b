//! How the trials of a task are divided among its windows.

use super::fault::PlanFault;
use std::ops::Range;

/// Fewest trials of a window. Below it a search has hardly begun (an adaptive sampler draws its
/// first ten blindly), and what is picked is chance.
pub const MIN_WINDOW_TRIALS: u32 = 20;

/// The trial numbers of each window, in order and without a gap: `n_trials` divided evenly, the
/// remainder one each to the first windows. Where a space has only so many `points`, no window
/// gets more.
///
/// # Errors
/// When a window would get fewer than `least` and does not visit every point either.
pub(super) fn split(
    n_trials: u32,
    windows: u16,
    points: Option<u64>,
    least: u32,
) -> Result<Vec<Range<u32>>, PlanFault> {
    let count = u32::from(windows);
    let points = points.map_or(u32::MAX, |points| u32::try_from(points).unwrap_or(u32::MAX));
    let least = least.min(points);
    if n_trials / count < least {
        return Err(PlanFault::TooFewTrials {
            n_trials,
            windows,
            least,
        });
    }
    let mut next = 0;
    let of_window = |index| {
        let share = n_trials / count + u32::from(index < n_trials % count);
        let first = next;
        next += share.min(points);
        first..next
    };
    Ok((0..count).map(of_window).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_goes_to_the_first_windows() {
        assert_eq!(split(100, 3, None, 20).unwrap(), [0..34, 34..67, 67..100]);
        assert_eq!(split(60, 3, None, 20).unwrap(), [0..20, 20..40, 40..60]);
    }

    #[test]
    fn too_few_trials_are_refused_with_the_number_needed() {
        let fault = split(179, 9, None, 20).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "n_trials is 179, and each of 9 windows needs at least 20 trials; ask for 180 or more, \
             or take fewer windows (a longer test or train)"
        );
        assert!(split(180, 9, None, 20).is_ok());
    }

    #[test]
    fn a_small_space_needs_no_more_trials_than_it_has_points() {
        assert_eq!(split(100, 2, Some(12), 20).unwrap(), [0..12, 12..24]);
        assert_eq!(split(25, 2, Some(12), 20).unwrap(), [0..12, 12..24]);
        assert!(split(23, 2, Some(12), 20).is_err());
        assert_eq!(split(100, 2, Some(u64::MAX), 20).unwrap(), [0..50, 50..100]);
    }
}
