//! What a trial evaluates: parameters in, an [`Outcome`] out.
//!
//! Knows strategies, metrics and the test functions; knows no lease, no store and no message.

mod aggregate;
mod backtest;
mod breakdown;
mod function;
mod panel;
mod pooled;
mod subject;
mod trouble;

pub use breakdown::{Breakdown, SegmentFigures, Shown, SymbolFigures};
pub use subject::Subject;

use crate::bars::PinnedData;
use crate::prune;
use crate::stop::StopSource;
use backtest::{Figures, figures, metric_figures, strategy_params};
use panel::{Panel, Scored};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use trialmill_backtest::engine::{Backtest, Report};
use trialmill_backtest::result::BacktestResult;
use trialmill_backtest::strategy::{self, Strategy};
use trialmill_backtest::trust::TrialStats;
use trialmill_common::judge::judge;
use trialmill_common::objective::TestFunction;
use trialmill_common::spec::TaskSpec;
use trialmill_common::trial::{Evaluation, Failure, FailureKind, Outcome};
use trialmill_search::Choice;
use trialmill_search::pruner::Reports;
use trouble::Reason;
pub(crate) use trouble::Trouble;

/// Every objective of this build: what a worker announces.
#[must_use]
pub fn names() -> Vec<String> {
    let strategies = strategy::all().iter().map(|s| s.info().key.to_owned());
    strategies
        .chain(TestFunction::ALL.iter().map(|f| f.name().to_owned()))
        .collect()
}

/// The evaluator of one task, shared by its trials.
pub struct Objective {
    subject: Subject,
    work: Work,
}

enum Work {
    Function(TestFunction),
    One {
        strategy: &'static dyn Strategy,
        backtest: Box<Backtest>,
    },
    Several(Box<Panel>),
    /// No trial of the task can be evaluated, each for this reason.
    Unusable(Reason),
}

impl Work {
    fn prepare(subject: &Subject, data: &PinnedData) -> Result<Self, Reason> {
        if let Some(function) = TestFunction::named(&subject.strategy_name) {
            return Ok(Self::Function(function));
        }
        let strategy = strategy::find(&subject.strategy_name).ok_or_else(|| Reason {
            kind: FailureKind::InvalidParameters,
            message: format!(
                "this worker has no strategy named {}",
                subject.strategy_name
            ),
            hint: "start workers of a build that announces it, and submit the task again",
        })?;
        let config = subject.backtest.config();
        let config = config.map_err(|error| Reason::config(error.to_string()))?;
        if !subject.is_one_backtest() {
            let panel = Panel::prepare(subject, strategy, data, &config)?;
            return Ok(Self::Several(Box::new(panel)));
        }
        let backtest = Box::new(backtest::prepare(subject, data, config)?);
        Ok(Self::One { strategy, backtest })
    }
}

/// What was computed on the way to an evaluation.
enum Computed {
    Value,
    One(Report),
    Several(Scored),
}

/// The trial was stopped before it ended: it is no row and runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl Objective {
    /// Makes the evaluator ready. `data` is what the task has pinned, empty for a test function.
    ///
    /// Whatever is wrong with them becomes the failure of each trial, with its reason.
    #[must_use]
    pub fn prepare(subject: Subject, data: &PinnedData) -> Self {
        let work = Work::prepare(&subject, data).unwrap_or_else(Work::Unusable);
        Self { subject, work }
    }

    /// An evaluator that fails each trial for want of its market data.
    #[must_use]
    pub fn without_data(subject: Subject, message: String) -> Self {
        let work = Work::Unusable(Reason {
            kind: FailureKind::MarketData,
            message,
            hint: "import the bars again and submit the task again",
        });
        Self { subject, work }
    }

    /// An evaluator that fails each trial because preparing the task panicked, with this text.
    pub(crate) fn panicked(subject: Subject, text: &str) -> Self {
        let work = Work::Unusable(Reason {
            kind: FailureKind::Panic,
            message: format!("preparing the task panicked: {text}"),
            hint: "report it with the task; no trial of it can run on this build",
        });
        Self { subject, work }
    }

    /// What it knows of its task.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Whether its trials are taken for slow until one was measured: those that wait by nature.
    #[must_use]
    pub fn is_slow_by_nature(&self) -> bool {
        match &self.work {
            Work::Function(TestFunction::Sleep) => true,
            #[cfg(feature = "misbehave")]
            Work::Function(TestFunction::Endless | TestFunction::Stuck) => true,
            Work::Function(_) | Work::One { .. } | Work::Several(_) | Work::Unusable(_) => false,
        }
    }

    /// Why nothing can be evaluated, if so.
    pub(crate) fn unusable(&self) -> Option<&str> {
        match &self.work {
            Work::Unusable(reason) => Some(&reason.message),
            Work::Function(_) | Work::One { .. } | Work::Several(_) => None,
        }
    }

    /// Whether a child process would tell more than this one: not if nothing is evaluated at all.
    #[must_use]
    pub fn can_be_isolated(&self) -> bool {
        !matches!(self.work, Work::Unusable(_))
    }

    /// Evaluates one trial. A panic becomes a failure of this trial.
    ///
    /// `worker` names the worker and slot in a failure.
    ///
    /// # Errors
    /// [`Interrupted`] when `stop` said so for another reason than the deadline.
    pub fn evaluate(
        &self,
        parameters: &BTreeMap<String, Choice>,
        stop: &StopSource<'_>,
        worker: &str,
    ) -> Result<Outcome, Interrupted> {
        let attempt = || {
            self.attempt(parameters, stop)
                .map(|(evaluation, _)| evaluation)
        };
        match self.guarded(attempt, stop, worker)? {
            Ok(evaluation) => Ok(Outcome::Completed(evaluation)),
            Err(outcome) => Ok(outcome),
        }
    }

    /// The same for a trial that reports on the way, where it has a way: after each of its segments, in the order
    /// of their indices in `order`, the values of its objectives so far (not a number where there is none). It ends
    /// [pruned](crate::prune::pruned) where `prunes` says so of its reports.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub(crate) fn evaluate_reporting(
        &self,
        parameters: &BTreeMap<String, Choice>,
        stop: &StopSource<'_>,
        worker: &str,
        order: &[u32],
        prunes: &mut dyn FnMut(&Reports) -> bool,
    ) -> Result<(Outcome, Reports), Interrupted> {
        let objectives = self.subject.objectives.len();
        let Work::Several(panel) = &self.work else {
            let outcome = self.evaluate(parameters, stop, worker)?;
            return Ok((outcome, Reports::new(objectives)));
        };
        let mut reports = Reports::new(objectives);
        let attempt = || {
            let params = strategy_params(parameters)?;
            let goes_on = |figures: Figures, is_last| {
                let values = self.values(&figures);
                let step = u32::try_from(reports.len()).unwrap_or(u32::MAX);
                reports.push(step, &values).expect("each step is the next");
                is_last || !prunes(&reports)
            };
            let stopped = || stop.asked();
            let Some(scored) = panel.trial_in_order(&params, &stopped, order, goes_on)? else {
                return Ok(None);
            };
            let evaluation = self.judge(scored.figures)?;
            Ok(Some(keeping(evaluation, scored.stats)))
        };
        let outcome = match self.guarded(attempt, stop, worker)? {
            Ok(Some(evaluation)) => Outcome::Completed(evaluation),
            Ok(None) => prune::pruned(&reports),
            Err(outcome) => outcome,
        };
        Ok((outcome, reports))
    }

    /// The values of the objectives among some figures; not a number where there is none.
    fn values(&self, figures: &Figures) -> Vec<f64> {
        let value = |metric: &str| {
            let found = figures.iter().find(|(name, _)| *name == metric);
            found.and_then(|(_, value)| value.as_ref().ok().copied())
        };
        let objectives = self.subject.objectives.iter();
        objectives
            .map(|target| value(&target.metric).map_or(f64::NAN, |value| value + 0.0))
            .collect()
    }

    /// The same, and what a run shows besides; nothing for a test function.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn evaluate_in_full(
        &self,
        parameters: &BTreeMap<String, Choice>,
        stop: &StopSource<'_>,
        worker: &str,
    ) -> Result<(Outcome, Option<Shown>), Interrupted> {
        let attempt = || {
            let (evaluation, computed) = self.attempt(parameters, stop)?;
            let shown = match (&self.work, computed) {
                (Work::One { backtest, .. }, Computed::One(report)) => {
                    let result = BacktestResult::new(&report, backtest.data());
                    Some(Shown::One(Box::new(result)))
                }
                (Work::Several(panel), Computed::Several(scored)) => {
                    Some(Shown::Several(panel.breakdown(&scored)))
                }
                _ => None,
            };
            Ok((evaluation, shown))
        };
        match self.guarded(attempt, stop, worker)? {
            Ok((evaluation, shown)) => Ok((Outcome::Completed(evaluation), shown)),
            Err(outcome) => Ok((outcome, None)),
        }
    }

    /// The failure of a trial that ran into its deadline.
    pub(crate) fn timed_out(&self, worker: &str) -> Outcome {
        let seconds = self.subject.time_limit;
        Outcome::Failed(Failure {
            kind: FailureKind::TrialTimeout,
            message: format!("it ran longer than trial_timeout, {seconds} s"),
            causes: Vec::new(),
            hint: "raise trial_timeout, or keep the search away from parameters that take so long"
                .to_owned(),
            worker: worker.to_owned(),
        })
    }

    /// What `attempt` gives, or the outcome that its trouble stands for.
    fn guarded<T>(
        &self,
        attempt: impl FnOnce() -> Result<T, Trouble>,
        stop: &StopSource<'_>,
        worker: &str,
    ) -> Result<Result<T, Outcome>, Interrupted> {
        let trouble = match catch_unwind(AssertUnwindSafe(attempt)) {
            Ok(Ok(found)) => return Ok(Ok(found)),
            Ok(Err(trouble)) => trouble,
            Err(payload) => Trouble::Fails(Reason {
                kind: FailureKind::Panic,
                message: format!("the objective panicked: {}", panic_text(payload.as_ref())),
                hint: "the other trials are not affected; report it with these parameters, or \
                       keep the search away from them",
            }),
        };
        let reason = match trouble {
            Trouble::Stopped if stop.is_overdue() => {
                return Ok(Err(self.timed_out(worker)));
            }
            Trouble::Stopped => return Err(Interrupted),
            Trouble::Infeasible(reason) => {
                let infeasible = Some(reason);
                return Ok(Err(Outcome::Completed(Evaluation {
                    infeasible,
                    ..Evaluation::default()
                })));
            }
            Trouble::Fails(reason) => reason,
        };
        Ok(Err(Outcome::Failed(Failure {
            kind: reason.kind,
            message: reason.message,
            causes: Vec::new(),
            hint: reason.hint.to_owned(),
            worker: worker.to_owned(),
        })))
    }

    fn attempt(
        &self,
        parameters: &BTreeMap<String, Choice>,
        stop: &StopSource<'_>,
    ) -> Result<(Evaluation, Computed), Trouble> {
        match &self.work {
            Work::Function(function) => {
                let figures = function::call(*function, parameters, stop)?;
                Ok((self.judge(figures)?, Computed::Value))
            }
            Work::One { strategy, backtest } => {
                let params = strategy_params(parameters)?;
                let report = backtest.trial(*strategy, &params, &|| stop.asked())?;
                let evaluation = self.judge(figures(&report, &self.subject.objectives))?;
                let stats = TrialStats::of(&report);
                Ok((keeping(evaluation, stats), Computed::One(report)))
            }
            Work::Several(panel) => {
                let params = strategy_params(parameters)?;
                let scored = panel.trial(&params, &|| stop.asked())?;
                let evaluation = self.judge(scored.figures.clone())?;
                let stats = scored.stats.clone();
                Ok((keeping(evaluation, stats), Computed::Several(scored)))
            }
            Work::Unusable(reason) => Err(Trouble::Fails(reason.clone())),
        }
    }

    fn judge(&self, figures: Figures) -> Result<Evaluation, Trouble> {
        let subject = &self.subject;
        let judged = judge(&subject.objectives, &subject.result_constraints, figures);
        Ok(judged?)
    }
}

/// One backtest of a task's parameters on other days or bars than its trials had, judged as they were;
/// without what a pair was beside holding, which no objective can ask for.
pub(crate) fn again(
    spec: &TaskSpec,
    strategy: &dyn Strategy,
    backtest: &Backtest,
    parameters: &BTreeMap<String, Choice>,
    stop: &dyn Fn() -> bool,
) -> Result<(Report, Evaluation), Trouble> {
    let params = strategy_params(parameters)?;
    let report = backtest.trial(strategy, &params, stop)?;
    let figures = metric_figures(&report, &spec.objectives);
    let evaluation = judge(&spec.objectives, &spec.result_constraints, figures)?;
    Ok((report, evaluation))
}

/// What trials of a portfolio are run on: one backtest, or one for each segment of a cross-validation.
pub(crate) enum Ground {
    One {
        strategy: &'static dyn Strategy,
        backtest: Box<Backtest>,
    },
    Segments(Box<Panel>),
}

/// A trial that was run again.
pub(crate) struct Tried {
    pub(crate) evaluation: Evaluation,
    pub(crate) stats: Option<TrialStats>,
    /// The days of all its backtests.
    pub(crate) days: usize,
    /// Whether it opened a position at all.
    pub(crate) trades: bool,
}

impl Ground {
    /// Of the trials of a task, on the days of a backtest.
    ///
    /// # Errors
    /// What keeps a segment from being backtested, in a sentence.
    pub(crate) fn new(
        spec: &TaskSpec,
        strategy: &'static dyn Strategy,
        backtest: Backtest,
    ) -> Result<Self, String> {
        let segments = spec.segments();
        if segments.is_empty() {
            let backtest = Box::new(backtest);
            return Ok(Self::One { strategy, backtest });
        }
        let panel = Panel::of_segments(spec, strategy, &segments, &backtest);
        Ok(Self::Segments(Box::new(
            panel.map_err(|reason| reason.message)?,
        )))
    }

    /// A trial of a task, as its workers run it; see [`again`] for what it leaves out.
    pub(crate) fn trial(
        &self,
        spec: &TaskSpec,
        parameters: &BTreeMap<String, Choice>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Tried, Trouble> {
        match self {
            Self::One { strategy, backtest } => {
                let (report, evaluation) = again(spec, *strategy, backtest, parameters, stop)?;
                Ok(Tried {
                    evaluation,
                    stats: TrialStats::of(&report),
                    days: report.equity.len(),
                    trades: report.entries > 0,
                })
            }
            Self::Segments(panel) => {
                let scored = panel.trial(&strategy_params(parameters)?, stop)?;
                let figures = scored.figures;
                Ok(Tried {
                    evaluation: judge(&spec.objectives, &spec.result_constraints, figures)?,
                    stats: scored.stats,
                    days: panel.days(),
                    trades: scored.entries > 0,
                })
            }
        }
    }
}

/// The evaluation with what is kept of its returns.
fn keeping(evaluation: Evaluation, stats: Option<TrialStats>) -> Evaluation {
    Evaluation {
        stats: stats.map(|stats| stats.to_bytes()),
        ..evaluation
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
        .to_owned()
}

/// A search over the sphere, for unit tests.
#[cfg(test)]
pub(crate) fn sphere_spec() -> TaskSpec {
    use trialmill_common::spec::{BacktestSettings, Target};
    use trialmill_common::state::Direction;
    use trialmill_search::{Domain, Method, Space};
    let x = Domain::Float {
        low: -1.0,
        high: 1.0,
        step: None,
        log: false,
    };
    TaskSpec {
        task_name: "a sphere".to_owned(),
        strategy_name: "sphere".to_owned(),
        stock_codes: vec![],
        start_date: "2020-01-01".parse().unwrap(),
        end_date: "2022-12-31".parse().unwrap(),
        space: Space::new(vec![("x".to_owned(), x)]).unwrap(),
        fixed: BTreeMap::new(),
        first_points: vec![],
        method: Method::Random,
        seed: 42,
        n_trials: 10,
        parallelism: None,
        timeout: None,
        trial_timeout: 300.0,
        objectives: vec![Target::new(
            trialmill_common::objective::FUNCTION_METRIC,
            Direction::Minimize,
        )],
        result_constraints: vec![],
        backtest: BacktestSettings::default(),
        pairs: BTreeMap::new(),
        stop: trialmill_common::protocol::StopRules::default(),
        copies: false,
        validation: None,
        scope: trialmill_common::spec::Scope::default(),
        pruner: trialmill_search::pruner::PrunerConfig::None,
        prior: Vec::new(),
    }
}
