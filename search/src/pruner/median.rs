//! The median stopping rule.

use super::fault::Faults;
use super::percentile::Percentile;
use super::rival::Question;
use serde::{Deserialize, Serialize};

/// Prunes a trial whose best cost so far is worse than the median of the completed trials' costs at
/// this step: [`Percentile`] at 50, where everything else is said.
///
/// Golovin et al., "Google Vizier", 2017, section 3.2 compares with running averages; this
/// form is Optuna's `MedianPruner` (`optuna/pruners/_median.py`), and so are the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Median {
    /// Completed trials before which nothing is pruned. Default 5, at most [`MAX_PRUNER_OPTION`](super::MAX_PRUNER_OPTION).
    pub n_startup_trials: u32,
    /// Steps before which no trial is pruned. Default 0, at most [`MAX_PRUNER_OPTION`](super::MAX_PRUNER_OPTION).
    pub n_warmup_steps: u32,
    /// Steps from one check to the next, from the end of the warm-up on. Default 1, at least 1.
    pub interval_steps: u32,
    /// Completed trials with a report at this step below which nothing is pruned. Default 1, at least 1.
    pub n_min_trials: u32,
}

impl Default for Median {
    fn default() -> Self {
        Self {
            n_startup_trials: 5,
            n_warmup_steps: 0,
            interval_steps: 1,
            n_min_trials: 1,
        }
    }
}

impl Median {
    fn percentile(&self) -> Percentile {
        Percentile {
            percentile: 50.0,
            n_startup_trials: self.n_startup_trials,
            n_warmup_steps: self.n_warmup_steps,
            interval_steps: self.interval_steps,
            n_min_trials: self.n_min_trials,
        }
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        self.percentile().check(faults);
    }

    pub(super) fn prunes(&self, question: &Question<'_>) -> bool {
        self.percentile().prunes(question)
    }
}
