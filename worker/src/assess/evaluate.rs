//! One backtest of one parameter set, judged as a trial of the task is.

use super::Stopped;
use std::collections::BTreeMap;
use trialmill_backtest::engine::{Backtest, Report, RunError};
use trialmill_backtest::metrics;
use trialmill_backtest::strategy::{self, ParamFault, ParamValue, Params, Strategy};
use trialmill_common::spec::{Broken, TaskSpec};
use trialmill_common::trial::Evaluation;
use trialmill_search::Choice;

/// Runs parameters of a task.
pub(super) struct Evaluator<'a> {
    spec: &'a TaskSpec,
    strategy: &'static dyn Strategy,
}

/// A run that has a report.
pub(super) struct Ran {
    pub(super) report: Report,
    pub(super) evaluation: Evaluation,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NoReport {
    /// These parameters do not go together in the strategy: no fault of the data.
    Unsuitable(String),
    /// Anything else.
    Failed(String),
}

impl NoReport {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Unsuitable(reason) | Self::Failed(reason) => reason,
        }
    }
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(spec: &'a TaskSpec) -> Result<Self, String> {
        let name = &spec.strategy_name;
        match strategy::find(name) {
            Some(strategy) => Ok(Self { spec, strategy }),
            None => Err(format!("this build has no strategy named {name}")),
        }
    }

    /// Runs parameters over the period of a backtest.
    pub(super) fn run(
        &self,
        backtest: &Backtest,
        parameters: &BTreeMap<String, Choice>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Result<Ran, NoReport>, Stopped> {
        let params = match strategy_params(parameters) {
            Ok(params) => params,
            Err(reason) => return Ok(Err(NoReport::Failed(reason))),
        };
        match backtest.trial(self.strategy, &params, stop) {
            Ok(report) => {
                let evaluation = self.judge(&report);
                Ok(Ok(Ran { report, evaluation }))
            }
            Err(RunError::Stopped) => Err(Stopped),
            Err(RunError::Params(faults)) => Ok(Err(match faults.as_slice() {
                [ParamFault::Unsuitable { reason }] => NoReport::Unsuitable(reason.clone()),
                _ => NoReport::Failed(RunError::Params(faults).to_string()),
            })),
            Err(other) => Ok(Err(NoReport::Failed(other.to_string()))),
        }
    }

    /// Takes the objectives out of the metrics and holds the result constraints against them.
    fn judge(&self, report: &Report) -> Evaluation {
        let metrics: Vec<(String, Result<f64, String>)> = metrics::evaluate_all(report)
            .into_iter()
            .map(|(metric, value)| {
                let value = value.map_err(|undefined| undefined.reason.to_owned());
                (metric.name().to_owned(), value)
            })
            .collect();
        let find = |wanted: &str| match metrics.iter().find(|(name, _)| name == wanted) {
            Some((_, Ok(value))) => Ok(*value),
            Some((_, Err(reason))) => Err(format!("{wanted} is undefined: {reason}")),
            None => Err(format!("{wanted} is undefined: there is no such metric")),
        };
        let objectives = self.spec.objectives.iter();
        let values: Result<Vec<f64>, String> = objectives.map(|o| find(&o.metric)).collect();
        let constraints = self.spec.result_constraints.iter();
        let broken: Vec<Broken> = constraints.filter_map(|limit| limit.judge(&find)).collect();
        let violation: f64 = broken.iter().map(|one| one.violation).sum();
        let reason = broken.into_iter().next().map(|first| first.reason);
        let (values, infeasible, violation) = match values {
            Ok(values) => (values, reason, violation),
            Err(undefined) => (Vec::new(), Some(undefined), f64::INFINITY),
        };
        let counts = infeasible.is_some() && violation > 0.0 && violation.is_finite();
        Evaluation {
            values,
            metrics,
            violation: counts.then_some(violation),
            infeasible,
            stats: None,
        }
    }
}

fn strategy_params(parameters: &BTreeMap<String, Choice>) -> Result<Params, String> {
    let mut params = Params::new();
    for (name, choice) in parameters {
        let value = match choice {
            Choice::Int(value) => ParamValue::Int(*value),
            Choice::Float(value) => ParamValue::Float(*value),
            Choice::Text(value) => ParamValue::Text(value.clone()),
            Choice::Null | Choice::Bool(_) => {
                return Err(format!("{name} is {choice}; a strategy takes numbers"));
            }
        };
        params = params.with(name, value);
    }
    Ok(params)
}

/// The value of a metric of an evaluation, or why it has none.
pub(super) fn metric(evaluation: &Evaluation, name: &str) -> Result<f64, String> {
    match evaluation.metrics.iter().find(|(known, _)| known == name) {
        Some((_, Ok(value))) if value.is_finite() => Ok(*value),
        Some((_, Ok(value))) => Err(format!("{name} is {value}")),
        Some((_, Err(reason))) => Err(reason.clone()),
        None => Err(format!("{name} was not computed")),
    }
}
