//! What a finished search is worth: from its ended trials and its bars to the document of
//! [`Assessment`].
//!
//! Pure: chance is the seed of the task, time is told by the durations of its trials. Knows no
//! lease, no store and no message. It is done in steps, so that what was done can be kept between
//! two of them and survives whoever does it; the first gives every figure but the luck test, each
//! of the others one shuffled market or several, each on a thread of its own, the last one the document. docs/trust.md says what each figure
//! is.

mod chance;
mod evaluate;
mod judged;
mod luck;
mod pick;
mod search;
#[cfg(test)]
mod tests;

pub use search::search_alone;

use chance::Chance;
use evaluate::Evaluator;
use judged::Judgement;
use luck::{Bounds, Plan as LuckPlan};
use pick::Picks;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::engine::Backtest;
use trialmill_backtest::trust::luck::p_value;
use trialmill_common::assessment::{
    Assessment, Computed, Evidence, Judged, Luck, OutOfSampleEvidence, Trust, says_luck, value_of,
    verdict,
};
use trialmill_common::spec::TaskSpec;
use trialmill_common::trial::EndedTrial;
use trialmill_common::validation::Validation;
use trialmill_search::Choice;

pub use luck::{EASY_LUCK_SECONDS, MIN_PERMUTATIONS, MOST_LUCK_SECONDS, MOST_PERMUTATIONS};

/// Makes the backtest of some bars from a first to a last day, both included; earlier rows stay
/// readable to indicators. Shuffled bars come through it too.
pub type MakeBacktest<'a> = dyn Fn(&[Arc<BarSeries>], chrono::NaiveDate, chrono::NaiveDate) -> Result<Backtest, String>
    + Sync
    + 'a;

/// Says whether to stop; asked from every thread that computes.
pub type StopAsked<'a> = dyn Fn() -> bool + Sync + 'a;

/// The bars of a task and how they are backtested.
pub struct Market<'a> {
    /// The series that the task has pinned, partners included.
    pub series: Vec<Arc<BarSeries>>,
    /// Makes their backtests.
    pub backtest: &'a MakeBacktest<'a>,
}

/// A task whose last trial has ended.
pub struct Case<'a> {
    /// What it was.
    pub spec: &'a TaskSpec,
    /// Its ended trials by number. Of the metrics only those are read that [`metrics_read`] names.
    pub trials: &'a [EndedTrial],
    /// The default parameters of its request; those of its strategy if there are none.
    pub default_params: Option<BTreeMap<String, Choice>>,
    /// Completed and pruned trials of earlier tasks on overlapping symbols and dates.
    pub prior_trials: u32,
    /// How often results on its held-out stretch were looked at before.
    pub earlier_looks: u32,
    /// Its bars; none for a test function.
    pub market: Option<Market<'a>>,
    /// How much the luck test may take.
    pub bounds: Bounds,
}

pub use luck::Bounds as LuckBounds;

/// The metrics of a task's trials that an assessment reads.
#[must_use]
pub fn metrics_read(spec: &TaskSpec) -> Vec<String> {
    pick::metrics_read(spec)
}

/// It was told to stop: nothing of the step is kept, and it can be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the assessment was stopped")]
pub struct Stopped;

/// The version of [`Progress`]: what another version wrote is begun anew.
const VERSION: u32 = 1;

/// What was done of an assessment: to be kept between two steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    version: u32,
    /// Everything but the luck test; none before the first step.
    ground: Option<Box<Assessment>>,
    /// How the luck test is done, or why not; known after the first step.
    luck: Option<Computed<LuckPlan>>,
    /// Shuffled markets that were searched.
    searched: u32,
    /// Those that gave a search at least as good.
    as_good: u32,
}

impl Progress {
    const START: Self = Self {
        version: VERSION,
        ground: None,
        luck: None,
        searched: 0,
        as_good: 0,
    };
}

/// An assessment under way.
pub struct Assessing<'a> {
    case: &'a Case<'a>,
    progress: Progress,
}

impl<'a> Assessing<'a> {
    /// Begins, or goes on from what was kept.
    #[must_use]
    pub fn new(case: &'a Case<'a>, kept: Option<Progress>) -> Self {
        let kept = kept.filter(|kept| kept.version == VERSION);
        Self {
            case,
            progress: kept.unwrap_or(Progress::START),
        }
    }

    /// What is to be kept.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// How many steps there are in all: at most, until the last one is done. The luck test may turn
    /// out in the first step to be none, and it ends before its time when luck is known to do as well.
    #[must_use]
    pub fn steps_total(&self) -> u32 {
        let shuffles = match &self.progress.luck {
            None => luck::affordable(self.case).unwrap_or(0),
            Some(Computed::Found(plan)) if !self.is_over(plan) => plan.permutations,
            Some(_) => self.progress.searched,
        };
        1 + shuffles
    }

    /// How many were done.
    #[must_use]
    pub fn steps_done(&self) -> u32 {
        u32::from(self.progress.ground.is_some()) + self.progress.searched
    }

    /// Does the next step or, in the luck test, up to `at_once` of them side by side, each beyond the
    /// first on a thread of its own; gives the document after the last one. The document does not
    /// depend on `at_once`.
    ///
    /// # Errors
    /// [`Stopped`] after `stop` gave true, which is asked as often as a backtest asks it.
    pub fn step(
        &mut self,
        at_once: u32,
        stop: &StopAsked<'_>,
    ) -> Result<Option<Assessment>, Stopped> {
        if self.progress.ground.is_none() {
            let (ground, luck) = ground(self.case, stop)?;
            self.progress.luck = Some(luck);
            self.progress.ground = Some(Box::new(ground));
        } else if let Some(Computed::Found(plan)) = self.progress.luck.clone()
            && !self.is_over(&plan)
        {
            let first = self.progress.searched;
            let last = plan.permutations.min(first + at_once.max(1));
            let search = |index| luck::search_shuffled(self.case, &plan, index, stop);
            let found = side_by_side(first..last, search);
            for as_good in found.into_iter().collect::<Result<Vec<_>, _>>()? {
                match as_good {
                    // One after the other it would have ended here: what was searched beyond is
                    // not counted.
                    _ if self.is_over(&plan) => break,
                    Ok(as_good) => {
                        self.progress.searched += 1;
                        self.progress.as_good += u32::from(as_good);
                    }
                    Err(reason) => {
                        self.progress.luck = Some(Computed::missing(reason));
                        break;
                    }
                }
            }
        }
        Ok(self.document())
    }

    /// Every figure but the luck test, after the first step; its verdict is the one without it.
    #[must_use]
    pub fn without_luck(&self) -> Option<&Assessment> {
        self.progress.ground.as_deref()
    }

    /// Of the shuffled markets searched so far, those that gave a search at least as good, and all.
    #[must_use]
    pub const fn luck_so_far(&self) -> (u32, u32) {
        (self.progress.as_good, self.progress.searched)
    }

    fn is_over(&self, plan: &LuckPlan) -> bool {
        plan.is_over(self.progress.searched, self.progress.as_good)
    }

    /// The document, once every step is done.
    fn document(&self) -> Option<Assessment> {
        let ground = self.progress.ground.as_deref()?;
        let (searched, as_good) = (self.progress.searched, self.progress.as_good);
        let luck = match self.progress.luck.as_ref()? {
            Computed::Found(plan) if !self.is_over(plan) => return None,
            Computed::Found(_) => {
                let p_value = p_value(as_good, searched);
                Computed::Found(Luck {
                    p_value,
                    permutations: searched,
                    says: says_luck(p_value, as_good, searched),
                })
            }
            Computed::Missing { reason, .. } => Computed::missing(reason.as_str()),
        };
        let mut document = ground.clone();
        document.trust.luck = luck;
        document.verdict = verdict(&evidence(self.case.spec, &document));
        Some(document)
    }
}

/// Does the work of each index at the same time, the first on this thread; what came of each, in order. Of
/// the first ones only, where the system gives no more threads.
fn side_by_side<T: Send>(indices: Range<u32>, work: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let mut indices = indices;
        let here = indices.next();
        let start = |index| {
            let thread = std::thread::Builder::new().name(format!("trialmill-luck-{index}"));
            thread.spawn_scoped(scope, move || work(index)).ok()
        };
        let others: Vec<_> = indices.map_while(start).collect();
        let mut done: Vec<T> = here.map(work).into_iter().collect();
        for other in others {
            done.push(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    })
}

/// All but the luck test, and how that is to be done.
fn ground(
    case: &Case<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<(Assessment, Computed<LuckPlan>), Stopped> {
    const FUNCTION: &str = "a test function has no days and no returns";
    const PER_SYMBOL: &str = "a book for each symbol has no returns of its own";
    let picks = Picks::of(case);
    let best = picks.best(case);
    let (judgement, chance, luck) = match &case.market {
        None => (
            Judgement::missing(&picks, case, FUNCTION),
            Chance::missing(FUNCTION),
            Computed::missing(FUNCTION),
        ),
        Some(_) if case.spec.scope.aggregate().is_some() => (
            Judgement::missing(&picks, case, PER_SYMBOL),
            Chance::missing(PER_SYMBOL),
            Computed::missing(PER_SYMBOL),
        ),
        Some(market) => match Evaluator::new(case.spec) {
            Err(reason) => (
                Judgement::missing(&picks, case, &reason),
                Chance::missing(&reason),
                Computed::missing(reason),
            ),
            Ok(evaluator) => {
                let judgement = Judgement::of(case, market, &evaluator, &picks, stop)?;
                let chance = Chance::of(case, market, &evaluator, &picks, stop)?;
                let luck = luck::plan(case, &picks, &judgement).into();
                (judgement, chance, luck)
            }
        },
    };
    let trust = Trust {
        deflated_sharpe: chance.deflated,
        pbo: chance.overfit,
        luck: Computed::missing("not computed yet"),
        neighbourhood: chance.neighbourhood,
    };
    let mut document = Assessment {
        verdict: verdict(&Evidence::default()),
        best,
        baselines: judgement.baselines,
        out_of_sample: judgement.out_of_sample,
        windows: judgement.windows,
        holdout: judgement.holdout,
        trust,
        execution: judgement.execution,
    };
    document.verdict = verdict(&evidence(case.spec, &document));
    Ok((document, luck))
}

/// What the verdict rests on.
fn evidence(spec: &TaskSpec, document: &Assessment) -> Evidence {
    let config = spec.backtest.config();
    let trades = !spec.stock_codes.is_empty();
    let best = document.best.as_ref();
    let holdout = document.holdout.found();
    let held_out = holdout.and_then(|held| value_of(&held.sharpe_ratio));
    let judged = match (document.out_of_sample.found(), holdout) {
        (Some(joined), _) => Judged::Windows {
            joined: OutOfSampleEvidence {
                sharpe: value_of(&joined.sharpe_ratio),
                interval: joined.sharpe_ci95.found().map(|[low, high]| (*low, *high)),
            },
            holdout: held_out,
        },
        (None, Some(held)) => Judged::Holdout {
            sharpe: held_out,
            earlier_looks: held.earlier_looks,
        },
        (None, None) => Judged::Nothing,
    };
    let baselines = document.baselines.found();
    let trust = &document.trust;
    Evidence {
        has_best: best.is_some(),
        looks_ahead: trades && config.is_ok_and(|config| config.fill.looks_ahead()),
        in_sample: best.and_then(|best| value_of(&best.in_sample.sharpe_ratio)),
        judged,
        holding: baselines.and_then(|lines| value_of(&lines.equal_weight_hold.sharpe_ratio)),
        luck: trust.luck.found().map(|luck| luck.p_value),
        deflated: trust.deflated_sharpe.found().map(|found| found.value),
    }
}

/// The method of a task's validation.
fn method(spec: &TaskSpec) -> &Validation {
    const NONE: &Validation = &Validation::None;
    spec.validation
        .as_ref()
        .map_or(NONE, |validated| &validated.method)
}
