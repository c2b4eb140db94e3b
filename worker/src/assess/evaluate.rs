//! One backtest of one parameter set, judged as a trial of the task is.

use super::Stopped;
use crate::objective::{self, Trouble};
use std::collections::BTreeMap;
use trialmill_backtest::engine::{Backtest, Report};
use trialmill_backtest::strategy::{self, Strategy};
use trialmill_common::spec::TaskSpec;
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
        match objective::again(self.spec, self.strategy, backtest, parameters, stop) {
            Ok((report, evaluation)) => Ok(Ok(Ran { report, evaluation })),
            Err(Trouble::Stopped) => Err(Stopped),
            Err(Trouble::Infeasible(reason)) => Ok(Err(NoReport::Unsuitable(reason))),
            Err(Trouble::Fails(reason)) => Ok(Err(NoReport::Failed(reason.message))),
        }
    }
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
