//! A checked task: what a request means once every fault is excluded and every default filled in.
//!
//! The only way to one is [`crate::draft`] (a request) or [`TaskSpec::from_json`] (a row that was
//! written from one), so past these two nobody re-checks.

mod run;

pub use run::{RecordedTrial, Replay, RunSpec};

use crate::state::Direction;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trialmill_search::{Choice, Domain, Method, Point, Space};

/// Most trials of one task.
pub const MAX_TRIALS: u32 = 1_000_000;
/// Largest seed: every integer up to it is exact in JSON readers that know only doubles.
pub const MAX_SEED: u64 = (1 << 53) - 1;

/// An optimization as a worker runs it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    /// The user's name for it.
    pub task_name: String,
    /// Key of the strategy or test function.
    pub strategy_name: String,
    /// Symbols, as given, each once; empty for a test function.
    pub stock_codes: Vec<String>,
    /// First day that is traded.
    pub start_date: NaiveDate,
    /// Last day that is traded.
    pub end_date: NaiveDate,
    /// The searched parameters.
    pub space: Space,
    /// Parameters that are not searched: disabled ones at their default.
    pub fixed: BTreeMap<String, Choice>,
    /// Points that the first trials take, in order, before the sampler is asked.
    pub first_points: Vec<Point>,
    /// The sampler.
    pub method: Method,
    /// Seed of every random stream of the task.
    pub seed: u64,
    /// Trials asked for.
    pub n_trials: u32,
    /// Most units open at a time.
    pub parallelism: Option<u32>,
    /// Unpaused seconds after which the task ends.
    pub timeout: Option<f64>,
    /// Seconds after which one trial fails.
    pub trial_timeout: f64,
    /// What is optimized; the first objective decides the best trial.
    pub objectives: Vec<Target>,
    /// Bounds on metrics; a trial that breaks one is infeasible.
    pub result_constraints: Vec<ResultConstraint>,
    /// How a backtest is done.
    pub backtest: BacktestSettings,
    /// Symbol to partner, for strategies with two legs; the snapshot pins both series.
    pub pairs: BTreeMap<String, String>,
}

/// One objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Canonical name of the metric.
    pub metric: String,
    /// Which way is better.
    pub direction: Direction,
}

/// `metric op bound`, such as `n_trades >= 10`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultConstraint {
    /// Canonical name of the metric.
    pub metric: String,
    /// The comparison.
    pub op: Comparison,
    /// The bound.
    pub bound: f64,
}

/// A comparison of a metric with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// More than.
    #[serde(rename = ">")]
    MoreThan,
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
    /// Less than.
    #[serde(rename = "<")]
    LessThan,
}

impl Comparison {
    /// How it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::AtLeast => ">=",
            Self::MoreThan => ">",
            Self::AtMost => "<=",
            Self::LessThan => "<",
        }
    }

    /// Whether `value` keeps the bound. NaN keeps none.
    #[must_use]
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::AtLeast => value >= bound,
            Self::MoreThan => value > bound,
            Self::AtMost => value <= bound,
            Self::LessThan => value < bound,
        }
    }
}

/// The part of `backtest_config` that this build knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BacktestSettings {
    /// Cash at the start, in currency.
    pub initial_cash: f64,
    /// Commission per side, as a fraction of the value traded.
    pub commission_rate: f64,
    /// Slippage per side, as a fraction of the price.
    pub slippage_rate: f64,
    /// When a signal is filled: `next_open`, `next_close` or `close`.
    pub fill: String,
    /// Yearly risk-free rate, as a fraction.
    pub risk_free_rate: f64,
    /// Rows per year, for annualization.
    pub periods_per_year: f64,
}

impl Default for BacktestSettings {
    fn default() -> Self {
        Self {
            initial_cash: 100_000.0,
            commission_rate: 0.0003,
            slippage_rate: 0.0001,
            fill: "next_open".to_owned(),
            risk_free_rate: 0.0,
            periods_per_year: 252.0,
        }
    }
}

impl TaskSpec {
    /// Trials that will be handed out: fewer than asked for where the space has fewer points.
    #[must_use]
    pub fn planned(&self, size_limit: Option<u64>) -> u32 {
        match size_limit {
            Some(size) => u32::try_from(size).map_or(self.n_trials, |size| size.min(self.n_trials)),
            None => self.n_trials,
        }
    }

    /// The named parameters of a point, fixed ones included: what an objective and a user see.
    #[must_use]
    pub fn named(&self, point: &Point) -> BTreeMap<String, Choice> {
        let searched = self
            .space
            .named(point)
            .map(|(name, value)| (name.to_owned(), value));
        self.fixed.clone().into_iter().chain(searched).collect()
    }

    /// The form stored with the task.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(SpecForm::from(self)).expect("every field has a JSON form")
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When the row was written by another version, or damaged: the message says what is wrong.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, UnreadableSpec> {
        let form = SpecForm::deserialize(value).map_err(|e| UnreadableSpec(e.to_string()))?;
        form.try_into()
    }
}

/// A stored task that this build cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored task cannot be read by this build: {0}")]
pub struct UnreadableSpec(pub String);

const FORM_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct SpecForm {
    version: u32,
    task_name: String,
    strategy_name: String,
    stock_codes: Vec<String>,
    start_date: NaiveDate,
    end_date: NaiveDate,
    space: Vec<(String, DomainForm)>,
    fixed: BTreeMap<String, Choice>,
    first_points: Vec<BTreeMap<String, Choice>>,
    method: String,
    seed: u64,
    n_trials: u32,
    parallelism: Option<u32>,
    timeout: Option<f64>,
    trial_timeout: f64,
    objectives: Vec<Target>,
    result_constraints: Vec<ResultConstraint>,
    backtest: BacktestSettings,
    #[serde(default)]
    pairs: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum DomainForm {
    Float {
        low: f64,
        high: f64,
        step: Option<f64>,
        log: bool,
    },
    Int {
        low: i64,
        high: i64,
        step: i64,
        log: bool,
    },
    Categorical {
        choices: Vec<Choice>,
    },
}

impl From<&TaskSpec> for SpecForm {
    fn from(spec: &TaskSpec) -> Self {
        let domain = |domain: &Domain| match domain.clone() {
            Domain::Float {
                low,
                high,
                step,
                log,
            } => DomainForm::Float {
                low,
                high,
                step,
                log,
            },
            Domain::Int {
                low,
                high,
                step,
                log,
            } => DomainForm::Int {
                low,
                high,
                step,
                log,
            },
            Domain::Categorical { choices } => DomainForm::Categorical { choices },
        };
        let parameters = spec.space.parameters().iter();
        let named = |point| {
            spec.space
                .named(point)
                .map(|(name, value)| (name.to_owned(), value))
                .collect()
        };
        Self {
            version: FORM_VERSION,
            task_name: spec.task_name.clone(),
            strategy_name: spec.strategy_name.clone(),
            stock_codes: spec.stock_codes.clone(),
            start_date: spec.start_date,
            end_date: spec.end_date,
            space: parameters
                .map(|p| (p.name().to_owned(), domain(p.domain())))
                .collect(),
            fixed: spec.fixed.clone(),
            first_points: spec.first_points.iter().map(named).collect(),
            method: spec.method.name().to_owned(),
            seed: spec.seed,
            n_trials: spec.n_trials,
            parallelism: spec.parallelism,
            timeout: spec.timeout,
            trial_timeout: spec.trial_timeout,
            objectives: spec.objectives.clone(),
            result_constraints: spec.result_constraints.clone(),
            backtest: spec.backtest.clone(),
            pairs: spec.pairs.clone(),
        }
    }
}

impl TryFrom<SpecForm> for TaskSpec {
    type Error = UnreadableSpec;

    fn try_from(form: SpecForm) -> Result<Self, UnreadableSpec> {
        let unreadable = |what: String| UnreadableSpec(what);
        if form.version != FORM_VERSION {
            return Err(unreadable(format!(
                "it has form version {}, this build reads {FORM_VERSION}",
                form.version
            )));
        }
        let domain = |form| match form {
            DomainForm::Float {
                low,
                high,
                step,
                log,
            } => Domain::Float {
                low,
                high,
                step,
                log,
            },
            DomainForm::Int {
                low,
                high,
                step,
                log,
            } => Domain::Int {
                low,
                high,
                step,
                log,
            },
            DomainForm::Categorical { choices } => Domain::Categorical { choices },
        };
        let domains = form
            .space
            .into_iter()
            .map(|(name, form)| (name, domain(form)));
        let space = Space::new(domains).map_err(|faults| unreadable(faults[0].to_string()))?;
        let method = form
            .method
            .parse::<Method>()
            .map_err(|e| unreadable(e.to_string()))?;
        let first_points = form
            .first_points
            .iter()
            .map(|named| space.point_from_named(named))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|faults| unreadable(faults[0].to_string()))?;
        Ok(Self {
            task_name: form.task_name,
            strategy_name: form.strategy_name,
            stock_codes: form.stock_codes,
            start_date: form.start_date,
            end_date: form.end_date,
            space,
            fixed: form.fixed,
            first_points,
            method,
            seed: form.seed,
            n_trials: form.n_trials,
            parallelism: form.parallelism,
            timeout: form.timeout,
            trial_timeout: form.trial_timeout,
            objectives: form.objectives,
            result_constraints: form.result_constraints,
            backtest: form.backtest,
            pairs: form.pairs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> TaskSpec {
        let space = Space::new([
            (
                "rate".to_owned(),
                Domain::Float {
                    low: 1e-5,
                    high: 0.1,
                    step: None,
                    log: true,
                },
            ),
            (
                "kind".to_owned(),
                Domain::Categorical {
                    choices: vec![Choice::Text("a".into())],
                },
            ),
        ])
        .unwrap();
        let named = [
            ("rate".to_owned(), Choice::Float(0.1 + 0.2 - 0.299)),
            ("kind".to_owned(), Choice::Text("a".into())),
        ];
        let first = space
            .point_from_named(&named.into_iter().collect())
            .unwrap();
        TaskSpec {
            task_name: "测试超参优化".to_owned(),
            strategy_name: "sphere".to_owned(),
            stock_codes: vec![],
            start_date: NaiveDate::from_ymd_opt(2023, 1, 1).unwrap(),
            end_date: NaiveDate::from_ymd_opt(2023, 12, 31).unwrap(),
            space,
            fixed: BTreeMap::from([("period".to_owned(), Choice::Int(20))]),
            first_points: vec![first],
            method: Method::Random,
            seed: MAX_SEED,
            n_trials: 10,
            parallelism: Some(1),
            timeout: None,
            trial_timeout: 300.0,
            objectives: vec![Target {
                metric: "value".into(),
                direction: Direction::Minimize,
            }],
            result_constraints: vec![ResultConstraint {
                metric: "value".into(),
                op: Comparison::AtMost,
                bound: 1e300,
            }],
            backtest: BacktestSettings::default(),
            pairs: BTreeMap::new(),
        }
    }

    #[test]
    fn the_stored_form_gives_the_same_task_bit_for_bit() {
        let spec = example();
        let text = spec.to_json().to_string();
        let back = TaskSpec::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(back, spec);
    }

    #[test]
    fn a_form_of_another_version_is_refused_by_name() {
        let mut form = example().to_json();
        form["version"] = 2.into();
        let refused = TaskSpec::from_json(&form).unwrap_err().to_string();
        assert!(
            refused.contains("form version 2, this build reads 1"),
            "{refused}"
        );
    }
}
