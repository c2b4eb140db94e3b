//! What an objective has to know of a task, whatever its kind.

use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::time::Duration;
use trialmill_backtest::strategy;
use trialmill_common::objective::TestFunction;
use trialmill_common::spec::{
    BacktestSettings, ResultConstraint, RunSpec, Scope, Target, TaskSpec,
};

/// What an objective has to know of a task, whatever its kind.
#[derive(Debug, Clone)]
pub struct Subject {
    pub(super) strategy_name: String,
    pub(super) first: NaiveDate,
    pub(super) last: NaiveDate,
    /// The first and last trading day of each segment; empty for the one stretch of days.
    pub(super) segments: Vec<(NaiveDate, NaiveDate)>,
    pub(super) scope: Scope,
    pub(super) backtest: BacktestSettings,
    /// Stock code to partner.
    pub(super) pairs: BTreeMap<String, String>,
    pub(super) objectives: Vec<Target>,
    pub(super) result_constraints: Vec<ResultConstraint>,
    /// Seconds after which an evaluation fails.
    pub(super) time_limit: f64,
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
            segments: run.segments.clone(),
            scope: run.scope,
            backtest: run.backtest.clone(),
            pairs: run.pairs.clone(),
            objectives,
            result_constraints,
            time_limit: run.time_limit,
        }
    }
}

impl Subject {
    /// Of a search, for the trial of this number and all others that see the same days.
    #[must_use]
    pub fn of_trial(spec: &TaskSpec, number: u32) -> Self {
        let (first, last) = spec.days_of(number);
        Self {
            strategy_name: spec.strategy_name.clone(),
            first,
            last,
            segments: spec.segments(),
            scope: spec.scope,
            backtest: spec.backtest.clone(),
            pairs: spec.pairs.clone(),
            objectives: spec.objectives.clone(),
            result_constraints: spec.result_constraints.clone(),
            time_limit: spec.trial_timeout,
        }
    }

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

    /// Whether an evaluation is one backtest.
    pub(super) fn is_one_backtest(&self) -> bool {
        self.scope == Scope::Portfolio && self.segments.is_empty()
    }

    /// Whether each stock code is traded with its partner.
    pub(super) fn is_paired(&self) -> bool {
        strategy::find(&self.strategy_name).is_some_and(|strategy| strategy.info().legs == 2)
    }

    /// The same with one stock code alone, and its partner.
    pub(super) fn with_only(&self, code: &str) -> Self {
        let mut pairs = self.pairs.clone();
        pairs.retain(|stock, _| stock == code);
        Self {
            pairs,
            ..self.clone()
        }
    }
}
