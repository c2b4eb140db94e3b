//! At which reports a pruner looks: after a warm-up, then once in each interval.

use super::reports::Curve;

/// Whether the last report is the first one at or after a checkpoint. Checkpoints are at
/// `n_warmup_steps + k * interval_steps`; where nothing is reported at one, the next report is checked
/// (Optuna's `_is_first_in_interval_step`).
pub(super) fn is_checked(own: Curve<'_>, n_warmup_steps: u32, interval_steps: u32) -> bool {
    let Some((step, _)) = own.last() else {
        return false;
    };
    let Some(since) = step.checked_sub(n_warmup_steps) else {
        return false;
    };
    let checkpoint = step - since % interval_steps;
    let previous = own.before_last(1).last();
    previous.is_none_or(|(previous, _)| previous < checkpoint)
}
