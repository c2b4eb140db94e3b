//! Costs must stay within a range.

use super::fault::{Faults, MAX_PRUNER_OPTION};
use super::interval::is_checked;
use super::rival::Question;
use serde::{Deserialize, Serialize};

/// Prunes a trial whose last cost is below `lower`, above `upper`, or not a number.
///
/// Optuna's `ThresholdPruner` (`optuna/pruners/_threshold.py`). Optuna compares values as they
/// are reported; here both bounds are **costs**, so whoever maximizes negates them and swaps
/// the two. With several objectives the bounds are those of each one.
///
/// ```
/// use trialmill_search::pruner::{Pruner, PrunerConfig, Reports, Threshold};
///
/// let threshold = Threshold { upper: Some(1.0), ..Threshold::default() };
/// let pruner = Pruner::new(PrunerConfig::Threshold(threshold)).expect("has a bound");
/// let mut reports = Reports::new(1);
/// reports.push(0, &[0.9]).expect("the first report");
/// assert!(!pruner.should_prune(&reports, &[], 42, 0));
/// reports.push(1, &[1.1]).expect("1 comes after 0");
/// assert!(pruner.should_prune(&reports, &[], 42, 0));
///
/// assert!(Pruner::new(PrunerConfig::Threshold(Threshold::default())).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The least cost allowed; one of the two bounds must be given. Finite.
    pub lower: Option<f64>,
    /// The greatest cost allowed, not below `lower`. Finite.
    pub upper: Option<f64>,
    /// Steps before which no trial is pruned. At most [`MAX_PRUNER_OPTION`].
    pub n_warmup_steps: u32,
    /// Steps from one check to the next, from the end of the warm-up on. At least 1.
    pub interval_steps: u32,
}

/// No bounds yet; every step is checked.
impl Default for Threshold {
    fn default() -> Self {
        Self {
            lower: None,
            upper: None,
            n_warmup_steps: 0,
            interval_steps: 1,
        }
    }
}

impl Threshold {
    pub(super) fn check(&self, faults: &mut Faults) {
        for (field, bound) in [("lower", self.lower), ("upper", self.upper)] {
            if let Some(bound) = bound {
                faults.finite(field, bound);
            }
        }
        match (self.lower, self.upper) {
            (None, None) => {
                faults.add("bounds_missing", "lower", "absent", "lower, upper or both");
            }
            (Some(lower), Some(upper)) if lower > upper => {
                let limit = format!("at most upper ({upper:?})");
                faults.add("bounds_crossed", "lower", format!("{lower:?}"), limit);
            }
            _ => {}
        }
        faults.number("n_warmup_steps", self.n_warmup_steps, 0..=MAX_PRUNER_OPTION);
        faults.number("interval_steps", self.interval_steps, 1..=MAX_PRUNER_OPTION);
    }

    pub(super) fn prunes(&self, question: &Question<'_>) -> bool {
        let own = question.own;
        let Some((_, cost)) = own.last() else {
            return false;
        };
        is_checked(own, self.n_warmup_steps, self.interval_steps)
            && (cost.is_nan()
                || self.lower.is_some_and(|lower| cost < lower)
                || self.upper.is_some_and(|upper| cost > upper))
    }
}
