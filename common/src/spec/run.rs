//! One checked backtest: the parameters are given, nothing is searched.
//!
//! A task of the kind `backtest`, and the replay of a trial. The only ways to one are
//! [`crate::draft::check_task`], [`RunSpec::replaying`] and [`RunSpec::from_json`].

use super::{
    BacktestSettings, ResultConstraint, Scope, Target, TaskSpec, UnreadableSpec, check_version,
};
use crate::state::{Direction, TaskId, TrialEnd};
use crate::trial::FailureKind;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trialmill_search::{Choice, Point};

/// A backtest (or one evaluation of a test function) as a worker runs it: one unit of the kind
/// `run`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The user's name for it.
    pub task_name: String,
    /// Key of the strategy; of a test function only in a replay.
    pub strategy_name: String,
    /// Symbols, as given, each once; empty for a test function.
    pub stock_codes: Vec<String>,
    /// First day that is traded.
    pub start_date: NaiveDate,
    /// Last day that is traded.
    pub end_date: NaiveDate,
    /// Parameters by name; what is left out takes the strategy's default.
    pub params: BTreeMap<String, Choice>,
    /// How the backtest is done.
    pub backtest: BacktestSettings,
    /// Symbol to partner, for strategies with two legs; the snapshot pins both series.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pairs: BTreeMap<String, String>,
    /// Whether its symbols share one book.
    #[serde(default, skip_serializing_if = "Scope::is_portfolio")]
    pub scope: Scope,
    /// The first and last trading day of each segment that it is scored over, in order; empty where
    /// it is one stretch of days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<(NaiveDate, NaiveDate)>,
    /// Seconds after which it fails.
    pub time_limit: f64,
    /// The trial that is repeated, for a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<Replay>,
}

/// The trial that a replay repeats, and what was recorded of it: the values are compared by their
/// bits, a failure by its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// The task of the trial.
    pub task: TaskId,
    /// The number of the trial.
    pub trial_number: u32,
    /// The objectives of the task, in the order of the recorded values.
    pub objectives: Vec<Target>,
    /// The result constraints of the task: they decide whether the repetition is infeasible.
    pub result_constraints: Vec<ResultConstraint>,
    /// What was recorded.
    pub recorded: RecordedTrial,
}

/// An ended trial, as far as a repetition can be compared with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedTrial {
    /// How it ended.
    pub end: TrialEnd,
    /// One finite value per objective; empty where there was none.
    pub values: Vec<f64>,
    /// Why it may not win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infeasible: Option<String>,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureKind>,
}

/// Newest version of a run's stored form: one that repeats a trial with a weighted sum of metrics, of which an
/// older build has no value.
const WEIGHTED_RUN_FORM_VERSION: u32 = 4;
/// The version of a run that pins reports of fundamentals, which an older build cannot read.
const REPORTS_RUN_FORM_VERSION: u32 = 3;
/// The version of a run that trades under the rules of a market, or is several
/// backtests. An older build would trade as if there were none, in one book over all days.
const RUN_FORM_VERSION: u32 = 2;
/// The version of a run that is none of this.
const PLAIN_RUN_FORM_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct RunForm {
    version: u32,
    #[serde(flatten)]
    run: RunSpec,
}

impl RunSpec {
    /// The repetition of an ended trial of `task`: its parameters, the fixed ones included, on the
    /// symbols, settings and scope of the task and the days or segments that the trial saw. The
    /// snapshot to pin is that of the task.
    #[must_use]
    pub fn replaying(
        task: TaskId,
        spec: &TaskSpec,
        trial_number: u32,
        point: &Point,
        recorded: RecordedTrial,
    ) -> Self {
        let (start_date, end_date) = spec.days_of(trial_number);
        Self {
            task_name: spec.task_name.clone(),
            strategy_name: spec.strategy_name.clone(),
            stock_codes: spec.stock_codes.clone(),
            start_date,
            end_date,
            params: spec.named(point),
            backtest: spec.backtest.clone(),
            pairs: spec.pairs.clone(),
            scope: spec.scope,
            segments: spec.segments(),
            time_limit: spec.trial_timeout,
            replay_of: Some(Replay {
                task,
                trial_number,
                objectives: spec.objectives.clone(),
                result_constraints: spec.result_constraints.clone(),
                recorded,
            }),
        }
    }

    /// What the value of a run is that repeats no trial: a figure that every backtest has.
    #[must_use]
    pub fn target() -> Target {
        Target::new("total_return", Direction::Maximize)
    }

    /// The form stored with the task.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let several = !self.scope.is_portfolio() || !self.segments.is_empty();
        let objectives = self.replay_of.iter().flat_map(|replay| &replay.objectives);
        let weighs = objectives
            .into_iter()
            .any(|target| !target.weights.is_empty());
        let form = RunForm {
            version: if weighs {
                WEIGHTED_RUN_FORM_VERSION
            } else if self.backtest.pins_reports {
                REPORTS_RUN_FORM_VERSION
            } else if several || self.backtest.market.has_rules() {
                RUN_FORM_VERSION
            } else {
                PLAIN_RUN_FORM_VERSION
            },
            run: self.clone(),
        };
        serde_json::to_value(form).expect("every field has a JSON form")
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When the row was written by another version, or damaged: the message says what is wrong.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, UnreadableSpec> {
        check_version(value, PLAIN_RUN_FORM_VERSION..=WEIGHTED_RUN_FORM_VERSION)?;
        let form = RunForm::deserialize(value).map_err(|e| UnreadableSpec(e.to_string()))?;
        Ok(form.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> RunSpec {
        RunSpec {
            task_name: "重放".to_owned(),
            strategy_name: "cointegration".to_owned(),
            stock_codes: vec!["000001.SZ".to_owned()],
            start_date: NaiveDate::from_ymd_opt(2018, 1, 1).unwrap(),
            end_date: NaiveDate::from_ymd_opt(2020, 12, 31).unwrap(),
            params: BTreeMap::from([
                ("entry_threshold".to_owned(), Choice::Float(0.1 + 0.2)),
                ("lookback_period".to_owned(), Choice::Int(60)),
            ]),
            backtest: BacktestSettings::default(),
            pairs: BTreeMap::from([("000001.SZ".to_owned(), "600000.SH".to_owned())]),
            scope: Scope::default(),
            segments: Vec::new(),
            time_limit: 300.0,
            replay_of: Some(Replay {
                task: TaskId(uuid::Uuid::from_u128(7)),
                trial_number: 3,
                objectives: vec![Target::new("sharpe_ratio", Direction::Maximize)],
                result_constraints: Vec::new(),
                recorded: RecordedTrial {
                    end: TrialEnd::Completed,
                    values: vec![f64::from_bits(0x3ff0_0000_0000_0001)],
                    infeasible: None,
                    failure: None,
                },
            }),
        }
    }

    #[test]
    fn the_stored_form_gives_the_same_run_bit_for_bit() {
        let mut ruled = example();
        ruled.backtest.market = trialmill_backtest::config::Market::CnA;
        let mut reported = ruled.clone();
        reported.backtest.pins_reports = true;
        let alone = RunSpec {
            scope: Scope::PerSymbol(crate::spec::Aggregate::Median),
            ..example()
        };
        let (start, end) = (example().start_date, example().end_date);
        let segmented = RunSpec {
            segments: vec![(start, start), (end, end)],
            ..example()
        };
        let mut weighed = reported.clone();
        let part = crate::spec::Weight {
            metric: trialmill_backtest::metrics::Metric::Volatility,
            weight: 0.1 + 0.2,
        };
        if let Some(replay) = &mut weighed.replay_of {
            replay.objectives = vec![Target::custom(vec![part])];
        }
        for (run, version) in [
            (weighed, 4),
            (example(), 1),
            (ruled, 2),
            (alone, 2),
            (segmented, 2),
            (reported, 3),
        ] {
            let form = run.to_json();
            assert_eq!(form["version"], version);
            let text = form.to_string();
            let back = RunSpec::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(back, run);
        }
    }

    #[test]
    fn a_run_of_another_version_is_refused_by_name() {
        let mut form = example().to_json();
        form["version"] = 9.into();
        let refused = RunSpec::from_json(&form).unwrap_err().to_string();
        assert!(
            refused.contains("form version 9, this build reads 1 to 4"),
            "{refused}"
        );
    }
}
