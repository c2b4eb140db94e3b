//! How many independent attempts correlated ones amount to.

use super::{BLOCKS, NoFigure, TrialStats};

/// The number of independent trials that have as much to offer by luck as these:
/// `r + (1 - r) trials`, with `r` the mean correlation of two of them, held to 0 to 1. Bailey, Lopez
/// de Prado (2014), "The deflated Sharpe ratio", appendix A.3.
///
/// Correlations are those of the trials' sums over [`BLOCKS`] blocks, which is what is kept of them:
/// rough for a single pair, fair for the mean over many. Trials whose blocks are all alike, such as
/// those that never traded, are left out. Parameters that differ little give trials that differ
/// little: a thousand of them are far fewer attempts.
///
/// ```
/// use trialmill_backtest::trust::{TrialStats, independent::effective_trials};
/// let returns: Vec<f64> = (0..320).map(|t| f64::from(t * t % 11)).collect();
/// let one = TrialStats::of_returns(&returns, 0.0).expect("320 returns are enough");
/// assert_eq!(effective_trials(&vec![one; 500])?, 1.0);
/// # Ok::<(), trialmill_backtest::trust::NoFigure>(())
/// ```
///
/// # Errors
/// For fewer than two trials that differ from block to block.
pub fn effective_trials(trials: &[TrialStats]) -> Result<f64, NoFigure> {
    let directions: Vec<[f64; BLOCKS]> = trials.iter().filter_map(direction).collect();
    if directions.len() < 2 {
        let reason = format!("{} trials that moved; needs 2", directions.len());
        return Err(NoFigure::new(reason));
    }
    let count = directions.len() as f64;
    // Of unit vectors, |sum|^2 is their number and twice the sum of all correlations.
    let mut total = [0.0; BLOCKS];
    for direction in &directions {
        for (total, part) in total.iter_mut().zip(direction) {
            *total += part;
        }
    }
    let square: f64 = total.iter().map(|part| part * part).sum();
    let correlation = ((square - count) / (count * (count - 1.0))).clamp(0.0, 1.0);
    Ok((correlation + (1.0 - correlation) * count).max(1.0))
}

/// The block means less their mean, as a vector of length 1. Nothing where rounding is all there is.
fn direction(trial: &TrialStats) -> Option<[f64; BLOCKS]> {
    let means: [f64; BLOCKS] =
        std::array::from_fn(|block| trial.sums[block] / trial.returns_in(block) as f64);
    let centre = means.iter().sum::<f64>() / BLOCKS as f64;
    let apart = means.map(|mean| mean - centre);
    let length = apart.iter().map(|part| part * part).sum::<f64>().sqrt();
    let size = means
        .iter()
        .fold(0.0_f64, |size, mean| size.max(mean.abs()));
    (length > 1e-12 * size).then(|| apart.map(|part| part / length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    fn trials(count: usize, own: f64, common: f64) -> Vec<TrialStats> {
        let mut random = Random::new(21);
        let shared: Vec<f64> = (0..800).map(|_| random.normal()).collect();
        let one = |_| {
            let returns: Vec<f64> = shared
                .iter()
                .map(|shared| common * shared + own * random.normal())
                .collect();
            TrialStats::of_returns(&returns, 0.0).unwrap()
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn independent_trials_all_count_and_correlated_ones_by_their_correlation() {
        let apart = effective_trials(&trials(400, 1.0, 0.0)).unwrap();
        assert!(apart > 390.0, "{apart}");
        // Correlation 1/2: half of them, and a half.
        let half = effective_trials(&trials(400, 1.0, 1.0)).unwrap();
        assert!((120.0..280.0).contains(&half), "{half}");
        let alike = effective_trials(&trials(400, 1e-9, 1.0)).unwrap();
        assert!(alike < 1.001, "{alike}");
    }

    #[test]
    fn trials_that_never_moved_do_not_count() {
        let still = TrialStats::of_returns(&[0.0; 64], 0.000_1).unwrap();
        let none = effective_trials(&[still.clone(), still]).unwrap_err();
        assert_eq!(none.to_string(), "0 trials that moved; needs 2");
    }
}
