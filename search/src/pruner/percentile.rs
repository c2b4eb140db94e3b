//! Comparison with a percentile of the completed trials.

use super::fault::{Faults, MAX_PRUNER_OPTION};
use super::interval::is_checked;
use super::reports::least;
use super::rival::Question;
use serde::{Deserialize, Serialize};

/// Prunes a trial whose best cost so far is worse than the `percentile` of the completed trials' costs
/// at this step.
///
/// ```text
/// prune  <=>  min(own costs up to step)  >  percentile of { cost at step of each completed trial }
/// ```
///
/// The percentile is interpolated linearly between the two nearest costs, as by `numpy.percentile`. Optuna's
/// `PercentilePruner` (`optuna/pruners/_percentile.py`), and so are the defaults.
///
/// - Costs that are not a number are left out on both sides; a trial whose own costs are all so is
///   pruned, and one is not pruned where no number is left to compare with. (They count for
///   `n_min_trials`.)
/// - A percentile between two infinite costs, or an infinite and a finite one, may be not a number:
///   then the trial goes on.
/// - The best trial so far at a step is never pruned there.
///
/// ```
/// use trialmill_search::pruner::{Percentile, Pruner, PrunerConfig};
///
/// // Keep the best quarter; decide at steps 10, 20, 30, ...
/// let percentile = Percentile { n_warmup_steps: 10, interval_steps: 10, ..Percentile::new(25.0) };
/// assert!(Pruner::new(PrunerConfig::Percentile(percentile)).is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// Which part of the trials is kept, in percent: 0 to 100, both included.
    pub percentile: f64,
    /// Completed trials before which nothing is pruned. At most [`MAX_PRUNER_OPTION`].
    pub n_startup_trials: u32,
    /// Steps before which no trial is pruned. At most [`MAX_PRUNER_OPTION`].
    pub n_warmup_steps: u32,
    /// Steps from one check to the next, from the end of the warm-up on; a check without a report
    /// waits for the next one. At least 1.
    pub interval_steps: u32,
    /// Completed trials with a report at this step below which nothing is pruned. At least 1.
    pub n_min_trials: u32,
}

impl Percentile {
    /// This percentile, from 5 completed trials on, at every step.
    #[must_use]
    pub const fn new(percentile: f64) -> Self {
        Self {
            percentile,
            n_startup_trials: 5,
            n_warmup_steps: 0,
            interval_steps: 1,
            n_min_trials: 1,
        }
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        faults.float("percentile", self.percentile, 0.0..=100.0);
        faults.number(
            "n_startup_trials",
            self.n_startup_trials,
            0..=MAX_PRUNER_OPTION,
        );
        faults.number("n_warmup_steps", self.n_warmup_steps, 0..=MAX_PRUNER_OPTION);
        faults.number("interval_steps", self.interval_steps, 1..=MAX_PRUNER_OPTION);
        faults.number("n_min_trials", self.n_min_trials, 1..=MAX_PRUNER_OPTION);
    }

    pub(super) fn prunes(&self, question: &Question<'_>) -> bool {
        let own = question.own;
        let trials = question.completed().count();
        let Some((step, _)) = own.last() else {
            return false;
        };
        if trials == 0
            || trials < self.n_startup_trials as usize
            || !is_checked(own, self.n_warmup_steps, self.interval_steps)
        {
            return false;
        }
        let Some(best) = least(own.costs) else {
            return true;
        };
        let at_step = question.completed().filter_map(|curve| curve.at(step));
        let mut costs: Vec<f64> = at_step.collect();
        if costs.len() < self.n_min_trials as usize {
            return false;
        }
        costs.retain(|cost| !cost.is_nan());
        costs.sort_by(f64::total_cmp);
        // False also where the percentile is not a number.
        percentile_of(&costs, self.percentile).is_some_and(|percentile| best > percentile)
    }
}

/// The percentile of sorted costs, with the roundings of `numpy.percentile` (its `_lerp`).
pub(super) fn percentile_of(sorted: &[f64], percentile: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = last as f64 * (percentile / 100.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and not above the last position"
    )]
    let below = position as usize;
    let part = position - below as f64;
    let (a, b) = (sorted[below.min(last)], sorted[(below + 1).min(last)]);
    Some(if part < 0.5 {
        a + (b - a) * part
    } else {
        b - (b - a) * (1.0 - part)
    })
}
