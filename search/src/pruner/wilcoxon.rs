//! A signed-rank test against the best trial.

use super::fault::{Faults, MAX_PRUNER_OPTION};
use super::reports::Curve;
use super::rival::Question;
use super::signed_rank::p_greater;
use serde::{Deserialize, Serialize};

/// Prunes a trial that is worse than the best completed one by a Wilcoxon signed-rank test over
/// the steps that both have reported.
///
/// For objectives that are a mean over parts (segments of a window, stocks): step `k` must be the same part
/// in all trials, see [`step_order`](super::step_order), and its cost the part's own, not a running mean.
///
/// ```text
/// d = own cost - best trial's cost, at each common step
/// prune  <=>  p-value of "d is centred above 0"  <  p_threshold,  and  mean(own)  >  mean(best)
/// ```
///
/// Optuna's `WilcoxonPruner` (`optuna/pruners/_wilcoxon.py`), and so are the defaults. The p-value is that of
/// `scipy.stats.wilcoxon(d, alternative="greater", zero_method="zsplit")`: exact up to 50 steps without ties
/// and zeros and up to 13 with them, a normal approximation (corrected for ties, not for
/// continuity) beyond.
///
/// - The best trial is the feasible completed one with the least final cost, of equals the one with
///   the least number (in Optuna's memory the first that completed).
/// - The means are over all reports of each trial, not only over common steps.
/// - Nothing is pruned when a report of either trial is infinite or not a number.
/// - The test is repeated at each step, so more trials than `p_threshold` are pruned wrongly;
///   a smaller threshold keeps that down (Pocock's correction).
///
/// ```
/// use trialmill_search::TrialEnd;
/// use trialmill_search::pruner::{Pruner, PrunerConfig, Reports, Rival, Wilcoxon};
///
/// let pruner = Pruner::new(PrunerConfig::Wilcoxon(Wilcoxon::default())).expect("within bounds");
/// let reports = |shift: f64, steps: u32| {
///     let mut reports = Reports::new(1);
///     for step in 0..steps {
///         reports.push(step, &[shift * f64::from(step + 1)]).expect("the steps ascend");
///     }
///     reports
/// };
/// let (best, end) = (reports(1.0, 8), TrialEnd::completed(vec![4.5]));
/// let rivals = [Rival { number: 0, reports: &best, end: Some(&end) }];
/// // Of 2^n equally likely signs only one is as bad: p is 1/8 after three steps, 1/16 after four.
/// assert!(!pruner.should_prune(&reports(3.0, 3), &rivals, 42, 1));
/// assert!(pruner.should_prune(&reports(3.0, 4), &rivals, 42, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Wilcoxon {
    /// The p-value below which a trial is pruned. Default 0.1, from 0 (never) to 1.
    pub p_threshold: f64,
    /// Common steps below which no trial is pruned; there must be two in any case. Default 2, at most
    /// [`MAX_PRUNER_OPTION`].
    pub n_startup_steps: u32,
}

impl Default for Wilcoxon {
    fn default() -> Self {
        Self {
            p_threshold: 0.1,
            n_startup_steps: 2,
        }
    }
}

impl Wilcoxon {
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.float("p_threshold", self.p_threshold, 0.0..=1.0);
        faults.number(
            "n_startup_steps",
            self.n_startup_steps,
            0..=MAX_PRUNER_OPTION,
        );
    }

    pub(super) fn prunes(&self, question: &Question<'_>) -> bool {
        let own = question.own;
        let Some(best) = question.best() else {
            return false;
        };
        if !own.is_finite() || !best.is_finite() {
            return false;
        }
        let differences: Vec<f64> = own.common(best).map(|(own, best)| own - best).collect();
        differences.len() >= (self.n_startup_steps as usize).max(2)
            && p_greater(&differences) < self.p_threshold
            && mean(own) > mean(best)
    }
}

fn mean(curve: Curve<'_>) -> f64 {
    curve.costs.iter().sum::<f64>() / curve.costs.len() as f64
}
