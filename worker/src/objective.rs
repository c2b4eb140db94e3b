//! What a trial evaluates: parameters in, an [`Outcome`] out.
//!
//! Knows strategies, metrics and the test functions; knows no lease, no store and no message.

use crate::stop::StopSource;
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trialmill_backtest::bars::{BarSeries, Frequency};
use trialmill_backtest::engine::{Backtest, Dataset, Report, RunError};
use trialmill_backtest::metrics;
use trialmill_backtest::result::BacktestResult;
use trialmill_backtest::strategy::{self, ParamFault, ParamValue, Params, Strategy};
use trialmill_common::objective::{
    BETA, EXCESS_RETURN, FUNCTION_METRIC, HOLD_RETURN, TestFunction,
};
use trialmill_common::spec::{
    BacktestSettings, Broken, ResultConstraint, RunSpec, Target, TaskSpec,
};
use trialmill_common::trial::{Evaluation, Failure, FailureKind, Outcome};
use trialmill_search::Choice;

/// Every objective of this build: what a worker announces.
#[must_use]
pub fn names() -> Vec<String> {
    let strategies = strategy::all().iter().map(|s| s.info().key.to_owned());
    strategies
        .chain(TestFunction::ALL.iter().map(|f| f.name().to_owned()))
        .collect()
}

/// What an objective has to know of a task, whatever its kind.
#[derive(Debug, Clone)]
pub struct Subject {
    strategy_name: String,
    first: NaiveDate,
    last: NaiveDate,
    backtest: BacktestSettings,
    /// Stock code to partner.
    pairs: BTreeMap<String, String>,
    objectives: Vec<Target>,
    result_constraints: Vec<ResultConstraint>,
    /// Seconds after which an evaluation fails.
    time_limit: f64,
}

impl Subject {
    /// What a trial of a search evaluates: on the days of its training window.
    #[must_use]
    pub fn of_trial(spec: &TaskSpec, number: u32) -> Self {
        let (first, last) = spec.days_of(number);
        Self {
            strategy_name: spec.strategy_name.clone(),
            first,
            last,
            backtest: spec.backtest.clone(),
            pairs: spec.pairs.clone(),
            objectives: spec.objectives.clone(),
            result_constraints: spec.result_constraints.clone(),
            time_limit: spec.trial_timeout,
        }
    }
}

/// The values of a run are those of the trial that it repeats, or its total return.
impl From<&RunSpec> for Subject {
    fn from(run: &RunSpec) -> Self {
        let (objectives, result_constraints) = match &run.replay_of {
            Some(replay) => (replay.objectives.clone(), replay.result_constraints.clone()),
            None => (vec![RunSpec::target()], Vec::new()),
        };
        Self {
            strategy_name: run.strategy_name.clone(),
            first: run.start_date,
            last: run.end_date,
            backtest: run.backtest.clone(),
            pairs: run.pairs.clone(),
            objectives,
            result_constraints,
            time_limit: run.time_limit,
        }
    }
}

impl Subject {
    /// Whether it reads bars.
    #[must_use]
    pub fn needs_bars(&self) -> bool {
        TestFunction::named(&self.strategy_name).is_none()
    }

    /// What this build has not got of it, in words: its strategy may be of a newer one.
    #[must_use]
    pub fn missing_here(&self) -> Option<String> {
        let name = &self.strategy_name;
        let known = TestFunction::named(name).is_some() || strategy::find(name).is_some();
        (!known).then(|| format!("this build has no strategy named {name}; a newer one may"))
    }

    /// The time limit of one evaluation.
    #[must_use]
    pub fn time_limit(&self) -> Duration {
        Duration::try_from_secs_f64(self.time_limit).unwrap_or(Duration::from_secs(86_400))
    }
}

/// The evaluator of one task, shared by its trials.
pub struct Objective {
    subject: Subject,
    work: Work,
}

enum Work {
    Function(TestFunction),
    Backtest {
        strategy: &'static dyn Strategy,
        backtest: Box<Backtest>,
    },
    /// No trial of the task can be evaluated, each for this reason.
    Unusable {
        kind: FailureKind,
        message: String,
        causes: Vec<String>,
        hint: &'static str,
    },
}

/// The trial was stopped before it ended: it is no row and runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl Objective {
    /// Makes the evaluator ready. `series` are the pinned bars, empty for a test function.
    ///
    /// Whatever is wrong with them becomes the failure of each trial, with its reason.
    #[must_use]
    pub fn prepare(subject: Subject, series: Vec<Arc<BarSeries>>) -> Self {
        let work = match TestFunction::named(&subject.strategy_name) {
            Some(function) => Work::Function(function),
            None => backtest(&subject, series),
        };
        Self { subject, work }
    }

    /// An evaluator that fails each trial for want of its market data.
    #[must_use]
    pub fn without_data(subject: Subject, message: String) -> Self {
        let hint = "import the bars again and submit the task again";
        let kind = FailureKind::MarketData;
        Self {
            subject,
            work: Work::Unusable {
                kind,
                message,
                causes: Vec::new(),
                hint,
            },
        }
    }

    /// An evaluator that fails each trial because preparing the task panicked, with this text.
    pub(crate) fn panicked(subject: Subject, text: &str) -> Self {
        Self {
            subject,
            work: Work::Unusable {
                kind: FailureKind::Panic,
                message: format!("preparing the task panicked: {text}"),
                causes: Vec::new(),
                hint: "report it with the task; no trial of it can run on this build",
            },
        }
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
            Work::Function(_) | Work::Backtest { .. } | Work::Unusable { .. } => false,
        }
    }

    /// Whether a child process would tell more than this one: not if nothing is evaluated at all.
    #[must_use]
    pub fn can_be_isolated(&self) -> bool {
        !matches!(self.work, Work::Unusable { .. })
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

    /// The same, and what a single backtest shows besides; nothing for a test function.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn evaluate_in_full(
        &self,
        parameters: &BTreeMap<String, Choice>,
        stop: &StopSource<'_>,
        worker: &str,
    ) -> Result<(Outcome, Option<BacktestResult>), Interrupted> {
        let attempt = || {
            let (evaluation, report) = self.attempt(parameters, stop)?;
            let result = match (&self.work, report) {
                (Work::Backtest { backtest, .. }, Some(report)) => {
                    Some(BacktestResult::new(&report, backtest.data()))
                }
                _ => None,
            };
            Ok((evaluation, result))
        };
        match self.guarded(attempt, stop, worker)? {
            Ok((evaluation, result)) => Ok((Outcome::Completed(evaluation), result)),
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
            Err(payload) => Trouble::Fails {
                kind: FailureKind::Panic,
                message: format!("the objective panicked: {}", panic_text(payload.as_ref())),
                causes: Vec::new(),
                hint: "the other trials are not affected; report it with these parameters, or \
                       keep the search away from them",
            },
        };
        let (kind, message, causes, hint) = match trouble {
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
            Trouble::Fails {
                kind,
                message,
                causes,
                hint,
            } => (kind, message, causes, hint),
        };
        let (hint, worker) = (hint.to_owned(), worker.to_owned());
        Ok(Err(Outcome::Failed(Failure {
            kind,
            message,
            causes,
            hint,
            worker,
        })))
    }

    fn attempt(
        &self,
        parameters: &BTreeMap<String, Choice>,
        stop: &StopSource<'_>,
    ) -> Result<(Evaluation, Option<Report>), Trouble> {
        match &self.work {
            Work::Function(function) => {
                let value = call(*function, parameters, stop)?;
                let metrics = vec![(FUNCTION_METRIC.to_owned(), Ok(value))];
                Ok((judge(&self.subject, metrics)?, None))
            }
            Work::Backtest { strategy, backtest } => {
                let params = strategy_params(parameters)?;
                let report = backtest.trial(*strategy, &params, &|| stop.asked())?;
                let metrics = metrics::evaluate_all(&report)
                    .into_iter()
                    .map(|(m, value)| (m.name().to_owned(), value.map_err(|u| u.reason.to_owned())))
                    .chain(beside_holding(&report))
                    .collect();
                Ok((judge(&self.subject, metrics)?, Some(report)))
            }
            Work::Unusable {
                kind,
                message,
                causes,
                hint,
            } => Err(Trouble::Fails {
                kind: *kind,
                message: message.clone(),
                causes: causes.clone(),
                hint,
            }),
        }
    }
}

/// What a pair strategy was, seen against holding both legs: metrics of a trial that no request can
/// ask for. None for strategies of one leg.
fn beside_holding(report: &Report) -> Vec<(String, Result<f64, String>)> {
    if report.pairs.is_empty() {
        return Vec::new();
    }
    let found = metrics::compare(report);
    let of = |value: Option<f64>| value.ok_or("holding both legs was not computed");
    let beta = match found.map(|found| found.beta) {
        Some(None) => Err("holding both legs has no variance"),
        Some(Some(beta)) if !beta.is_finite() => Err("holding both legs hardly varies"),
        beta => of(beta.flatten()),
    };
    let hold_return = of(found.map(|found| found.hold_return));
    let excess_return = of(found.map(|found| found.excess_return));
    [
        (BETA, beta),
        (HOLD_RETURN, hold_return),
        (EXCESS_RETURN, excess_return),
    ]
    .map(|(name, value)| (name.to_owned(), value.map_err(str::to_owned)))
    .into()
}

/// Why there is no evaluation.
enum Trouble {
    Stopped,
    Infeasible(String),
    Fails {
        kind: FailureKind,
        message: String,
        causes: Vec<String>,
        hint: &'static str,
    },
}

impl From<RunError> for Trouble {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Stopped => Self::Stopped,
            RunError::Params(faults) => match faults.as_slice() {
                [ParamFault::Unsuitable { reason }] => Self::Infeasible(reason.clone()),
                _ => invalid(RunError::Params(faults).to_string()),
            },
            RunError::Config(_) | RunError::NotShares { .. } => invalid(error.to_string()),
        }
    }
}

fn invalid(message: String) -> Trouble {
    Trouble::Fails {
        kind: FailureKind::InvalidParameters,
        message,
        causes: Vec::new(),
        hint: "submit it again with a space and a backtest_config that the strategy accepts",
    }
}

fn backtest(subject: &Subject, series: Vec<Arc<BarSeries>>) -> Work {
    let unusable = |kind, message, hint| Work::Unusable {
        kind,
        message,
        causes: vec![],
        hint,
    };
    let Some(strategy) = strategy::find(&subject.strategy_name) else {
        let message = format!(
            "this worker has no strategy named {}",
            subject.strategy_name
        );
        let hint = "start workers of a build that announces it, and submit the task again";
        return unusable(FailureKind::InvalidParameters, message, hint);
    };
    let invalid = |message| {
        let hint = "submit it again with another backtest_config";
        unusable(FailureKind::InvalidParameters, message, hint)
    };
    let config = match subject.backtest.config() {
        Ok(config) => config,
        Err(error) => return invalid(error.to_string()),
    };
    let (first, last) = (subject.first, subject.last);
    let data = if strategy.info().legs == 2 {
        let pairs: Vec<_> = subject.pairs.clone().into_iter().collect();
        Dataset::with_pairs(series, &pairs, first, last)
    } else {
        Dataset::new(series, first, last)
    };
    let data = match data.map_err(|error| error.to_string()) {
        Ok(data) if data.frequency() == Frequency::Daily => Ok(data),
        Ok(data) => Err(format!(
            "the bars are spaced {}; only daily ones (1d) can be backtested by a task",
            data.frequency().name()
        )),
        Err(message) => Err(message),
    };
    let data = match data {
        Ok(data) => data,
        Err(message) => {
            let hint = "submit it again with other dates or symbols, or import more bars";
            return unusable(FailureKind::MarketData, message, hint);
        }
    };
    match Backtest::new(data, config) {
        Ok(backtest) => Work::Backtest {
            strategy,
            backtest: Box::new(backtest),
        },
        Err(error) => invalid(error.to_string()),
    }
}

fn strategy_params(parameters: &BTreeMap<String, Choice>) -> Result<Params, Trouble> {
    let mut params = Params::new();
    for (name, choice) in parameters {
        let value = match choice {
            Choice::Int(value) => ParamValue::Int(*value),
            Choice::Float(value) => ParamValue::Float(*value),
            Choice::Text(value) => ParamValue::Text(value.clone()),
            Choice::Null | Choice::Bool(_) => {
                return Err(invalid(format!(
                    "{name} is {choice}; a strategy takes numbers"
                )));
            }
        };
        params = params.with(name, value);
    }
    Ok(params)
}

/// Takes the objectives out of the metrics and holds the result constraints against them.
fn judge(
    subject: &Subject,
    metrics: Vec<(String, Result<f64, String>)>,
) -> Result<Evaluation, Trouble> {
    // The one place that every number passes: -0 + 0 is 0, so that no store has to keep a sign of
    // zero and all give the same bits.
    let unsigned_zero = |value: Result<f64, String>| value.map(|value| value + 0.0);
    let metrics: Vec<_> = metrics
        .into_iter()
        .map(|(name, value)| (name, unsigned_zero(value)))
        .collect();
    if let Some((name, value)) = metrics.iter().find_map(|(name, value)| match value {
        Ok(value) if !value.is_finite() => Some((name, value)),
        _ => None,
    }) {
        return Err(Trouble::Fails {
            kind: FailureKind::NonFiniteValue,
            message: format!("{name} is {value}; a trial needs finite numbers"),
            causes: Vec::new(),
            hint: "keep the search away from parameters for which the objective is undefined",
        });
    }
    let find = |wanted: &str| match metrics.iter().find(|(name, _)| name == wanted) {
        Some((_, Ok(value))) => Ok(*value),
        Some((_, Err(reason))) => Err(format!("{wanted} is undefined: {reason}")),
        None => Err(format!(
            "{wanted} is undefined: the objective gives no such metric"
        )),
    };
    let values: Result<Vec<f64>, String> =
        subject.objectives.iter().map(|o| find(&o.metric)).collect();
    let broken: Vec<Broken> = subject
        .result_constraints
        .iter()
        .filter_map(|constraint| constraint.judge(&find))
        .collect();
    let violation = broken.iter().map(|one| one.violation).sum();
    let reason = broken.into_iter().next().map(|first| first.reason);
    let (values, infeasible, violation) = match values {
        Ok(values) => (values, reason, violation),
        Err(undefined) => (Vec::new(), Some(undefined), f64::INFINITY),
    };
    Ok(Evaluation {
        values,
        metrics,
        violation: Some(violation).filter(|v| infeasible.is_some() && *v > 0.0 && v.is_finite()),
        infeasible,
        stats: None,
    })
}

/// The numeric value of a parameter.
fn number(choice: &Choice) -> Option<f64> {
    match choice {
        #[expect(
            clippy::cast_precision_loss,
            reason = "the search's integers stay below 2^53"
        )]
        Choice::Int(value) => Some(*value as f64),
        Choice::Float(value) => Some(*value),
        Choice::Null | Choice::Bool(_) | Choice::Text(_) => None,
    }
}

/// Sum of the squares of the numeric parameters but `except`, in the order of their names.
fn sphere(parameters: &BTreeMap<String, Choice>, except: &str) -> f64 {
    let searched = parameters
        .iter()
        .filter(|(name, _)| name.as_str() != except);
    searched
        .filter_map(|(_, choice)| number(choice))
        .map(|x| x * x)
        .sum()
}

fn call(
    function: TestFunction,
    parameters: &BTreeMap<String, Choice>,
    stop: &StopSource<'_>,
) -> Result<f64, Trouble> {
    #[cfg(feature = "misbehave")]
    const TRIGGER: &str = "trigger";
    #[cfg(feature = "misbehave")]
    {
        let of = |name: &str| parameters.get(name).and_then(number);
        let triggered = of("x").is_some_and(|x| x >= of(TRIGGER).unwrap_or(0.0));
        let well_behaved = matches!(function, TestFunction::Sphere | TestFunction::Sleep);
        if !well_behaved && !triggered {
            return Ok(sphere(parameters, TRIGGER));
        }
    }
    match function {
        TestFunction::Sphere => Ok(sphere(parameters, "")),
        TestFunction::Sleep => {
            const SECONDS: &str = "seconds";
            let seconds = parameters.get(SECONDS).and_then(number).unwrap_or(0.1);
            let wait = Duration::try_from_secs_f64(seconds).map_err(|error| {
                invalid(format!(
                    "{SECONDS} is {seconds}, which is no time to wait: {error}"
                ))
            })?;
            wait_for(wait, stop)?;
            Ok(sphere(parameters, SECONDS))
        }
        #[cfg(feature = "misbehave")]
        TestFunction::Panic => panic!("a panic on purpose at {parameters:?}"),
        #[cfg(feature = "misbehave")]
        TestFunction::Endless => {
            wait_for(Duration::MAX, stop)?;
            Ok(0.0)
        }
        #[cfg(feature = "misbehave")]
        TestFunction::Stuck => loop {
            std::thread::park_timeout(Duration::from_secs(1));
        },
        #[cfg(feature = "misbehave")]
        TestFunction::Nan => Ok(f64::NAN),
        #[cfg(feature = "misbehave")]
        TestFunction::Abort => std::process::abort(),
        #[cfg(feature = "misbehave")]
        TestFunction::Memory => {
            let mut taken: Vec<Vec<u8>> = Vec::new();
            loop {
                taken.push(std::hint::black_box(vec![1; 16 << 20]));
            }
        }
    }
}

/// Waits, asking every few milliseconds whether to stop.
fn wait_for(wait: Duration, stop: &StopSource<'_>) -> Result<(), Trouble> {
    const QUESTION: Duration = Duration::from_millis(5);
    let begin = Instant::now();
    loop {
        if stop.asked_now() {
            return Err(Trouble::Stopped);
        }
        let left = wait.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::park_timeout(left.min(QUESTION));
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
    use trialmill_common::spec::Target;
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
        objectives: vec![Target {
            metric: FUNCTION_METRIC.to_owned(),
            direction: Direction::Minimize,
        }],
        result_constraints: vec![],
        backtest: BacktestSettings::default(),
        pairs: BTreeMap::new(),
        stop: trialmill_common::protocol::StopRules::default(),
        copies: false,
        validation: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_zero_is_recorded_as_zero() {
        let metrics = vec![
            (FUNCTION_METRIC.to_owned(), Ok(-0.0)),
            ("other".to_owned(), Ok(-0.0)),
            ("third".to_owned(), Ok(-1.5)),
        ];
        let Ok(evaluation) = judge(&Subject::of_trial(&sphere_spec(), 0), metrics) else {
            panic!("finite metrics are an evaluation");
        };
        let bits = |value: f64| value.to_bits();
        assert_eq!(
            evaluation
                .values
                .iter()
                .copied()
                .map(bits)
                .collect::<Vec<_>>(),
            [0]
        );
        let metrics: Vec<u64> = evaluation
            .metrics
            .into_iter()
            .map(|(_, v)| bits(v.unwrap()))
            .collect();
        assert_eq!(metrics, [0, 0, bits(-1.5)]);
    }
}
