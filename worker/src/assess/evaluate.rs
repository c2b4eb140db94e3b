//! Runs of one parameter set, judged as a trial of the task is.

use super::{MakeBacktest, Stopped};
use crate::objective::{self, Ground, Tried, Trouble};
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::engine::{Backtest, Report};
use trialmill_backtest::strategy::{self, Strategy};
use trialmill_common::spec::TaskSpec;
use trialmill_common::trial::Evaluation;
use trialmill_common::validation::Window;
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

    /// What the trials of a window were run on, made of some bars.
    pub(super) fn ground(
        &self,
        make: &MakeBacktest<'_>,
        series: &[Arc<BarSeries>],
        window: &Window,
    ) -> Result<Ground, String> {
        let backtest = make(series, window.train.first, window.train.last)?;
        Ground::new(self.spec, self.strategy, backtest)
    }

    /// Runs a trial.
    pub(super) fn trial(
        &self,
        ground: &Ground,
        parameters: &BTreeMap<String, Choice>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Result<Tried, NoReport>, Stopped> {
        as_run(ground.trial(self.spec, parameters, stop))
    }

    /// Runs parameters over the period of a backtest.
    pub(super) fn run(
        &self,
        backtest: &Backtest,
        parameters: &BTreeMap<String, Choice>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Result<Ran, NoReport>, Stopped> {
        let ran = objective::again(self.spec, self.strategy, backtest, parameters, stop);
        as_run(ran.map(|(report, evaluation)| Ran { report, evaluation }))
    }
}

/// What came of a run: stopped, without a report, or with one.
fn as_run<T>(ran: Result<T, Trouble>) -> Result<Result<T, NoReport>, Stopped> {
    match ran {
        Ok(ran) => Ok(Ok(ran)),
        Err(Trouble::Stopped) => Err(Stopped),
        Err(Trouble::Infeasible(reason)) => Ok(Err(NoReport::Unsuitable(reason))),
        Err(Trouble::Fails(reason)) => Ok(Err(NoReport::Failed(reason.message))),
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
