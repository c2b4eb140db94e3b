//! Asynchronous successive halving.

use super::fault::{Faults, MAX_PRUNER_OPTION};
use super::reports::Curve;
use super::rival::Question;
use serde::{Deserialize, Serialize};

/// The largest `min_early_stopping_rate`: with it the first rung is beyond every step.
pub const MAX_EARLY_STOPPING_RATE: u32 = 32;

/// Asynchronous successive halving (Li et al., "A system for massively parallel hyperparameter
/// tuning", 2020): at each rung, a trial goes on only if it is among the best
/// `1 / reduction_factor` of the trials that have reached the rung so far.
///
/// ```text
/// rung k is reached at step  min_resource * reduction_factor^(min_early_stopping_rate + k)
/// goes on  <=>  own cost <= the max(floor(n / reduction_factor), 1)-th smallest of the n costs at the rung
/// ```
///
/// Optuna's `SuccessiveHalvingPruner` (`optuna/pruners/_successive_halving.py`), and so are the defaults.
///
/// - Every trial that has reached a rung counts there: completed, pruned, failed or running.
/// - A trial's cost at a rung is that of its first report at or after the rung's step. One report may reach
///   several rungs: they are judged from the lowest on.
/// - A trial whose cost is not a number when it reaches a rung is pruned, and does not count there.
/// - `bootstrap_count`: while so many trials or fewer have reached a rung, each one is pruned there (as
///   in Optuna).
///
/// # Without notes
///
/// Optuna writes the cost at each rung into the trial when the pruner is asked; here the costs
/// are read off the reports. Both are the same as long as the pruner is asked after each report
/// and a trial stops when told to: one that went on has passed every rung that it
/// reached. One that was pruned by a report that reached several rungs at once failed at one
/// of these, and only the order of all reports would tell which: here it counts in the lowest
/// one. Steps that are no further apart than the rungs leave no such doubt.
///
/// With `min_resource` absent (Optuna's `auto`) it is the largest last step of the completed trials
/// divided by 100, at least 1, and nothing is pruned before a trial has completed. Optuna
/// remembers the first such value for the life of its process and has no notes of what was reported
/// before; here the value is that of the rivals at hand, and all of their reports count.
///
/// ```
/// use trialmill_search::pruner::{Asha, Pruner, PrunerConfig, Reports, Rival};
///
/// let asha = Asha { min_resource: Some(1), reduction_factor: 2, ..Asha::default() };
/// let pruner = Pruner::new(PrunerConfig::Asha(asha)).expect("within bounds");
/// let report = |cost| {
///     let mut reports = Reports::new(1);
///     reports.push(1, &[cost]).expect("the first report");
///     reports
/// };
/// // Rung 0 is at step 1. Of three trials one may pass, whether the others are running or not.
/// let known = [0.3, 0.2].map(report);
/// let rivals = [0, 1].map(|at| Rival { number: at, reports: &known[at as usize], end: None });
/// assert!(pruner.should_prune(&report(0.25), &rivals, 42, 2));
/// assert!(!pruner.should_prune(&report(0.1), &rivals, 42, 2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asha {
    /// The step of the first rung, but for `min_early_stopping_rate`; `None` estimates it. At least 1.
    pub min_resource: Option<u32>,
    /// One in so many trials passes a rung, and rungs are so many times further apart than the ones
    /// before. Default 4, at least 2.
    pub reduction_factor: u32,
    /// How many rungs are left out at the beginning. Default 0, at most
    /// [`MAX_EARLY_STOPPING_RATE`].
    pub min_early_stopping_rate: u32,
    /// Trials at a rung, the own one included, up to which all are pruned there. Default 0; needs a `min_resource`.
    pub bootstrap_count: u32,
}

impl Default for Asha {
    fn default() -> Self {
        Self {
            min_resource: None,
            reduction_factor: 4,
            min_early_stopping_rate: 0,
            bootstrap_count: 0,
        }
    }
}

/// Checks `bootstrap_count`, which asks for the resource of that name: an estimated one moves, and the rungs
/// with it.
pub(super) fn check_bootstrap(count: u32, resource: &str, given: Option<u32>, faults: &mut Faults) {
    faults.number("bootstrap_count", count, 0..=MAX_PRUNER_OPTION);
    if count > 0 && given.is_none() {
        let limit = format!("0, or give {resource}");
        faults.add("needs_resource", "bootstrap_count", count, limit);
    }
}

impl Asha {
    pub(super) fn check(&self, faults: &mut Faults) {
        if let Some(min_resource) = self.min_resource {
            faults.number("min_resource", min_resource, 1..=MAX_PRUNER_OPTION);
        }
        faults.number(
            "reduction_factor",
            self.reduction_factor,
            2..=MAX_PRUNER_OPTION,
        );
        let rate = self.min_early_stopping_rate;
        faults.number("min_early_stopping_rate", rate, 0..=MAX_EARLY_STOPPING_RATE);
        check_bootstrap(
            self.bootstrap_count,
            "min_resource",
            self.min_resource,
            faults,
        );
    }

    pub(super) fn prunes(&self, question: &Question<'_>) -> bool {
        let estimate = || Some((question.longest_completed()? / 100).max(1));
        let Some(min_resource) = self.min_resource.or_else(estimate) else {
            return false;
        };
        let rungs = Rungs {
            min_resource,
            reduction_factor: self.reduction_factor,
            left_out: self.min_early_stopping_rate,
            bootstrap_count: self.bootstrap_count,
        };
        let rivals = question.rivals();
        let rivals = rivals.map(|(rival, curve)| (curve, rival.is_pruned()));
        rungs.prune(question.own, &rivals)
    }
}

/// One ladder of rungs: all of [`Asha`], or a bracket of [`Hyperband`](super::Hyperband).
pub(super) struct Rungs {
    pub(super) min_resource: u32,
    pub(super) reduction_factor: u32,
    pub(super) left_out: u32,
    pub(super) bootstrap_count: u32,
}

impl Rungs {
    /// Whether the last report of `own` reaches a rung and fails there. Each rival comes with whether it
    /// was pruned.
    pub(super) fn prune<'a>(
        &self,
        own: Curve<'a>,
        rivals: &(impl Iterator<Item = (Curve<'a>, bool)> + Clone),
    ) -> bool {
        let Some((step, cost)) = own.last() else {
            return false;
        };
        let earlier = own.before_last(1);
        let reached = (0..)
            .skip_while(|rung| self.position_at(earlier, *rung).is_some())
            .take_while(|rung| self.step_of(*rung) <= u64::from(step));
        for rung in reached {
            if cost.is_nan() {
                return true;
            }
            let others = rivals.clone();
            let others =
                others.filter_map(|(rival, was_pruned)| self.cost_at(rival, rung, was_pruned));
            let mut costs: Vec<f64> = others.chain([cost]).collect();
            if costs.len() <= self.bootstrap_count as usize {
                return true;
            }
            costs.sort_by(f64::total_cmp);
            // The first trials at a rung, fewer than would let one pass, keep the best of them.
            let passing = (costs.len() / self.reduction_factor as usize).max(1);
            if cost > costs[passing - 1] {
                return true;
            }
        }
        false
    }

    /// The step at which a rung is reached; beyond every step where it would be too large.
    fn step_of(&self, rung: u32) -> u64 {
        let factor = u64::from(self.reduction_factor).saturating_pow(self.left_out + rung);
        factor.saturating_mul(u64::from(self.min_resource))
    }

    /// The position of the report that reached a rung.
    fn position_at(&self, curve: Curve<'_>, rung: u32) -> Option<usize> {
        let needed = self.step_of(rung);
        let first = curve
            .steps
            .partition_point(|step| u64::from(*step) < needed);
        (first..curve.costs.len()).find(|position| !curve.costs[*position].is_nan())
    }

    /// The cost with which a rival counts at a rung.
    fn cost_at(&self, rival: Curve<'_>, rung: u32, was_pruned: bool) -> Option<f64> {
        let position = self.position_at(rival, rung)?;
        // The last report of a pruned trial counts in the lowest rung that it reached.
        let failed_below = was_pruned
            && position + 1 == rival.costs.len()
            && rung > 0
            && self.position_at(rival, rung - 1) == Some(position);
        (!failed_below).then(|| rival.costs[position])
    }
}
