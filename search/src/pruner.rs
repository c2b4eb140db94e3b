//! Pruners: whether a trial that is still running should go on.
//!
//! A trial reports its costs at ascending steps ([`Reports`]); after each report a [`Pruner`] is
//! asked whether the trial is worth its time. The answer is a pure function of the trial's own
//! reports, those of its [`Rival`]s (in any order), the seed and the trial's number: no pruner
//! keeps notes, so any worker can ask at any time, after any crash.
//!
//! | name | a trial is pruned when |
//! |---|---|
//! | `none` | never |
//! | `median` | its best cost is worse than the median of the completed trials at this step ([`Median`]) |
//! | `percentile` | the same with another percentile ([`Percentile`]) |
//! | `asha`, `successive_halving` | it is not among the best part of those that reached a rung ([`Asha`]) |
//! | `hyperband` | the same, in one of several brackets that begin to halve later and later ([`Hyperband`]) |
//! | `patient` | it has stopped improving, and the pruner within would prune it ([`Patient`]) |
//! | `threshold` | its cost leaves a range ([`Threshold`]) |
//! | `wilcoxon` | a signed-rank test says that it is worse than the best trial ([`Wilcoxon`]) |
//!
//! All of them are those of Optuna 5.0.0 (`optuna/pruners`), decision by decision: the tests replay recorded
//! studies. What differs is written at each one; common to all is:
//!
//! - Costs: smaller is better, as in a [`History`](crate::History).
//! - With several objectives a trial is pruned only if every objective alone would prune it. (Optuna
//!   refuses to prune then.)
//! - Which rivals count is told by [`RivalNeed`]. An infeasible trial has completed, as in Optuna.
//! - Nobody asks about a trial that has no report: the answer is no.
//!
//! # Example
//!
//! ```
//! use trialmill_search::TrialEnd;
//! use trialmill_search::pruner::{Median, Pruner, PrunerConfig, Reports, Rival};
//!
//! let reports = |costs: [f64; 2]| {
//!     let mut reports = Reports::new(1);
//!     for (step, cost) in (0..).zip(costs) {
//!         reports.push(step, &[cost]).expect("the steps ascend");
//!     }
//!     reports
//! };
//! let median = Median { n_startup_trials: 3, ..Median::default() };
//! let pruner = Pruner::new(PrunerConfig::Median(median)).expect("within bounds");
//!
//! let known = [[0.9, 0.5], [0.8, 0.3], [0.7, 0.4]].map(reports);
//! let end = TrialEnd::completed(vec![0.3]);
//! let rivals: Vec<Rival<'_>> = (0..)
//!     .zip(&known)
//!     .map(|(number, reports)| Rival { number, reports, end: Some(&end) })
//!     .collect();
//!
//! // The median at step 1 is 0.4; a trial is measured by the best that it has reported.
//! assert!(pruner.should_prune(&reports([0.9, 0.6]), &rivals, 42, 3));
//! assert!(!pruner.should_prune(&reports([0.4, 0.6]), &rivals, 42, 3));
//! ```

mod asha;
mod config;
mod fault;
mod hyperband;
mod interval;
mod median;
mod order;
mod patient;
mod percentile;
mod reports;
mod rival;
mod signed_rank;
mod threshold;
mod wilcoxon;

#[cfg(test)]
mod oracle;

pub use asha::{Asha, MAX_EARLY_STOPPING_RATE};
pub use config::{PrunerConfig, PrunerKind, UnknownPruner};
pub use fault::{MAX_PRUNER_OPTION, PrunerFault};
pub use hyperband::Hyperband;
pub use median::Median;
pub use order::step_order;
pub use patient::Patient;
pub use percentile::Percentile;
pub use reports::{ReportFault, Reports};
pub use rival::{Rival, RivalNeed};
pub use threshold::Threshold;
pub use wilcoxon::Wilcoxon;

use rival::Question;

/// A pruner whose options are within their bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Pruner(PrunerConfig);

impl Pruner {
    /// Checks the options.
    ///
    /// # Errors
    /// All of [`PrunerConfig::faults`].
    pub fn new(config: PrunerConfig) -> Result<Self, Vec<PrunerFault>> {
        let faults = config.faults();
        if faults.is_empty() {
            Ok(Self(config))
        } else {
            Err(faults)
        }
    }

    /// The options that it was made of.
    #[must_use]
    pub fn config(&self) -> &PrunerConfig {
        &self.0
    }

    /// Whether trial `number` should stop, now that it has made the last of its `own` reports.
    ///
    /// `rivals` are the other trials of the study, at least those of [`PrunerConfig::need`], in any order;
    /// one with this trial's number is not counted. `seed` is that of the study.
    #[must_use]
    pub fn should_prune(
        &self,
        own: &Reports,
        rivals: &[Rival<'_>],
        seed: u64,
        number: u32,
    ) -> bool {
        let prunes = |objective| {
            self.0.prunes(&Question {
                own: own.curve(objective),
                rivals,
                objective,
                seed,
                number,
            })
        };
        !own.is_empty() && own.objectives() > 0 && (0..own.objectives()).all(prunes)
    }
}
