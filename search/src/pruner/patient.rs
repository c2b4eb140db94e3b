//! Patience: another pruner speaks only about trials that have stopped improving.

use super::config::PrunerConfig;
use super::fault::{Faults, MAX_PRUNER_OPTION};
use super::reports::least;
use super::rival::Question;
use serde::{Deserialize, Serialize};

/// Prunes a trial if its last `patience + 1` reports are all worse than its best one before
/// them by more than `min_delta`, and the pruner within would prune it, too.
///
/// ```text
/// not improving  <=>  min(costs before the last patience + 1) + min_delta  <  min(the last patience + 1)
/// ```
///
/// Costs that are not a number are left out; where nothing is left on a side the trial goes on, as
/// it does while it has at most `patience + 1` reports. Optuna's `PatientPruner`
/// (`optuna/pruners/_patient.py`).
///
/// Departures from Optuna:
/// - It wraps no second [`Patient`].
/// - Around [`Asha`](super::Asha) or [`Hyperband`](super::Hyperband), a rung is judged at the report
///   that reaches it. If the trial was still improving then, it passes; Optuna, which notes a rung when the
///   inner pruner is asked, would judge it later by a later cost.
///
/// ```
/// use trialmill_search::pruner::{Patient, Pruner, PrunerConfig, Reports};
///
/// // Without a pruner within, this is early stopping.
/// let patient = Patient { wrapped: None, patience: 1, min_delta: 0.0 };
/// let pruner = Pruner::new(PrunerConfig::Patient(patient)).expect("within bounds");
/// let mut reports = Reports::new(1);
/// for (step, cost, pruned) in [(0, 0.5, false), (1, 0.6, false), (2, 0.7, true)] {
///     reports.push(step, &[cost]).expect("the steps ascend");
///     assert_eq!(pruner.should_prune(&reports, &[], 42, 0), pruned);
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Patient {
    /// The pruner that is asked once patience is out; `None` prunes then without asking.
    pub wrapped: Option<Box<PrunerConfig>>,
    /// How many reports in a row may fail to improve after the first that did. At most
    /// [`MAX_PRUNER_OPTION`].
    pub patience: u32,
    /// By how much the costs must be worse to count as such. Finite and not negative.
    pub min_delta: f64,
}

impl Patient {
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.number("patience", self.patience, 0..=MAX_PRUNER_OPTION);
        faults.float("min_delta", self.min_delta, 0.0..=f64::MAX);
        match self.wrapped.as_deref() {
            None => {}
            Some(PrunerConfig::Patient(_)) => {
                faults.add("nested_patient", "wrapped", "patient", "any other pruner");
            }
            Some(wrapped) => faults.in_wrapped(|faults| wrapped.check(faults)),
        }
    }

    pub(super) fn prunes(&self, question: &Question<'_>) -> bool {
        let waited = self.patience as usize + 1;
        let before = question.own.before_last(waited).costs;
        let after = &question.own.costs[before.len()..];
        let (Some(before), Some(after)) = (least(before), least(after)) else {
            return false;
        };
        before + self.min_delta < after
            && (self.wrapped.as_ref()).is_none_or(|wrapped| wrapped.prunes(question))
    }
}
