//! What a trial evaluates: parameters in, an [`Outcome`] out.
//!
//! Knows strategies, metrics and the test functions; knows no lease, no store and no message.

use crate::stop::StopSource;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::engine::{BacktestConfig, Dataset, RunError, run};
use trialmill_backtest::metrics;
use trialmill_backtest::strategy::{self, ParamFault, ParamValue, Params, Strategy};
use trialmill_common::objective::{FUNCTION_METRIC, TestFunction};
use trialmill_common::spec::{BacktestSettings, TaskSpec};
use trialmill_common::trial::{Evaluation, Failure, FailureKind, Outcome};
use trialmill_search::{Choice, Point};

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
    spec: Arc<TaskSpec>,
    work: Work,
}

enum Work {
    Function(TestFunction),
    Backtest {
        strategy: &'static dyn Strategy,
        data: Dataset,
        config: BacktestConfig,
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
    pub fn prepare(spec: Arc<TaskSpec>, series: Vec<Arc<BarSeries>>) -> Self {
        let work = match TestFunction::named(&spec.strategy_name) {
            Some(function) => Work::Function(function),
            None => backtest(&spec, series),
        };
        Self { spec, work }
    }

    /// An evaluator that fails each trial for want of its market data.
    #[must_use]
    pub fn without_data(spec: Arc<TaskSpec>, message: String) -> Self {
        let hint = "import the bars again and submit the task again";
        let kind = FailureKind::MarketData;
        Self {
            spec,
            work: Work::Unusable {
                kind,
                message,
                causes: Vec::new(),
                hint,
            },
        }
    }

    /// An evaluator that fails each trial because preparing the task panicked, with this text.
    pub(crate) fn panicked(spec: Arc<TaskSpec>, text: &str) -> Self {
        Self {
            spec,
            work: Work::Unusable {
                kind: FailureKind::Panic,
                message: format!("preparing the task panicked: {text}"),
                causes: Vec::new(),
                hint: "report it with the task; no trial of it can run on this build",
            },
        }
    }

    /// Whether the strategy of a task reads bars.
    #[must_use]
    pub fn needs_bars(spec: &TaskSpec) -> bool {
        TestFunction::named(&spec.strategy_name).is_none()
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
        point: &Point,
        stop: &StopSource<'_>,
        worker: &str,
    ) -> Result<Outcome, Interrupted> {
        let parameters = self.spec.named(point);
        let result = catch_unwind(AssertUnwindSafe(|| self.attempt(&parameters, stop)));
        let trouble = match result {
            Ok(Ok(evaluation)) => return Ok(Outcome::Completed(evaluation)),
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
            Trouble::Stopped if stop.is_overdue() => return Ok(timed_out(&self.spec, worker)),
            Trouble::Stopped => return Err(Interrupted),
            Trouble::Infeasible(reason) => {
                let infeasible = Some(reason);
                return Ok(Outcome::Completed(Evaluation {
                    infeasible,
                    ..Evaluation::default()
                }));
            }
            Trouble::Fails {
                kind,
                message,
                causes,
                hint,
            } => (kind, message, causes, hint),
        };
        let (hint, worker) = (hint.to_owned(), worker.to_owned());
        Ok(Outcome::Failed(Failure {
            kind,
            message,
            causes,
            hint,
            worker,
        }))
    }

    fn attempt(
        &self,
        parameters: &BTreeMap<String, Choice>,
        stop: &StopSource<'_>,
    ) -> Result<Evaluation, Trouble> {
        match &self.work {
            Work::Function(function) => {
                let value = call(*function, parameters, stop)?;
                judge(&self.spec, vec![(FUNCTION_METRIC.to_owned(), Ok(value))])
            }
            Work::Backtest {
                strategy,
                data,
                config,
            } => {
                let params = strategy_params(parameters)?;
                let report = run(data, *strategy, &params, config, &|| stop.asked())?;
                let metrics = metrics::evaluate_all(&report)
                    .into_iter()
                    .map(|(m, value)| (m.name().to_owned(), value.map_err(|u| u.reason.to_owned())))
                    .collect();
                judge(&self.spec, metrics)
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
            RunError::Config(_) => invalid(error.to_string()),
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

/// The failure of a trial that ran into its deadline.
pub(crate) fn timed_out(spec: &TaskSpec, worker: &str) -> Outcome {
    Outcome::Failed(Failure {
        kind: FailureKind::TrialTimeout,
        message: format!("it ran longer than trial_timeout, {} s", spec.trial_timeout),
        causes: Vec::new(),
        hint: "raise trial_timeout, or keep the search away from parameters that take so long"
            .to_owned(),
        worker: worker.to_owned(),
    })
}

fn backtest(spec: &TaskSpec, series: Vec<Arc<BarSeries>>) -> Work {
    let unusable = |kind, message, hint| Work::Unusable {
        kind,
        message,
        causes: vec![],
        hint,
    };
    let Some(strategy) = strategy::find(&spec.strategy_name) else {
        let message = format!("this worker has no strategy named {}", spec.strategy_name);
        let hint = "start workers of a build that announces it, and submit the task again";
        return unusable(FailureKind::InvalidParameters, message, hint);
    };
    let config = match backtest_config(&spec.backtest) {
        Ok(config) => config,
        Err(message) => {
            let hint = "submit it again with another backtest_config";
            return unusable(FailureKind::InvalidParameters, message, hint);
        }
    };
    match Dataset::new(series, spec.start_date, spec.end_date) {
        Ok(data) => Work::Backtest {
            strategy,
            data,
            config,
        },
        Err(error) => {
            let hint = "submit it again with other dates or symbols, or import more bars";
            unusable(FailureKind::MarketData, error.to_string(), hint)
        }
    }
}

fn backtest_config(settings: &BacktestSettings) -> Result<BacktestConfig, String> {
    let fill = serde_json::from_value(settings.fill.clone().into())
        .map_err(|error| format!("backtest_config.fill is {:?}: {error}", settings.fill))?;
    Ok(BacktestConfig {
        initial_cash: settings.initial_cash,
        commission_rate: settings.commission_rate,
        slippage_rate: settings.slippage_rate,
        fill,
        risk_free_rate: settings.risk_free_rate,
        periods_per_year: settings.periods_per_year,
        ..BacktestConfig::default()
    })
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
    spec: &TaskSpec,
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
        spec.objectives.iter().map(|o| find(&o.metric)).collect();
    let broken = spec.result_constraints.iter().find_map(|constraint| {
        let (metric, bound) = (&constraint.metric, constraint.bound);
        match find(metric) {
            Ok(value) if constraint.op.holds(value, bound) => None,
            Ok(value) => {
                let op = constraint.op.symbol();
                Some(format!(
                    "{metric} is {value}, which breaks {metric} {op} {bound}"
                ))
            }
            Err(reason) => Some(reason),
        }
    });
    let (values, infeasible) = match values {
        Ok(values) => (values, broken),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    Ok(Evaluation {
        values,
        metrics,
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
        let Ok(evaluation) = judge(&sphere_spec(), metrics) else {
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
