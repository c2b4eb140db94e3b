//! The bodies of answers: wire types, apart from the domain, with their schemas.

mod access;
mod insight;

pub use access::{AuditAnswer, AuditList, KeyAnswer, KeyCreated, KeyList};
pub use insight::{
    FigureAnswer, FrontAnswer, FrontMember, HypervolumeAnswer, ImportanceAnswer, ObjectiveAnswer,
    ParameterImportance, TargetImportance, TrialsRead, VolumePoint,
};

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use trialmill_common::fault::{Fault, Warning};
use trialmill_common::state::TaskKind;
use trialmill_common::trial::Failure;
use trialmill_store::rows::TaskError;
use uuid::Uuid;

/// Parameters by name, fixed ones included: numbers, strings, booleans or null.
pub type Parameters = BTreeMap<String, Value>;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FaultAnswer {
    /// JSON pointer (RFC 6901) to the faulty value of the body. `?name` is a parameter of the
    /// query, `#name` a header, and `{name}` a part of the path.
    pub pointer: String,
    /// A stable word for programs.
    pub code: String,
    /// The value found, cut to a readable length.
    pub value: Value,
    /// The limit that was passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Value>,
    /// What would be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// Character position of a fault inside an expression, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// A sentence that says what to do.
    pub detail: String,
}

impl From<Fault> for FaultAnswer {
    fn from(fault: Fault) -> Self {
        Self {
            pointer: fault.pointer,
            code: fault.code,
            value: fault.value,
            limit: fault.limit,
            allowed: fault.allowed,
            position: fault.position,
            detail: fault.detail,
        }
    }
}

/// Something the client should know about an accepted request.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WarningAnswer {
    /// A stable word for programs.
    pub code: String,
    /// JSON pointer to what it is about.
    pub pointer: String,
    /// The sentence.
    pub detail: String,
}

impl From<&Warning> for WarningAnswer {
    fn from(warning: &Warning) -> Self {
        Self {
            code: warning.code.clone(),
            pointer: warning.pointer.clone(),
            detail: warning.detail.clone(),
        }
    }
}

/// Why a trial failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FailureAnswer {
    /// The kind, such as `panic`, `trial_timeout`, `worker_crashed`.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// The chain of causes, outermost first.
    pub causes: Vec<String>,
    /// What can be done about it.
    pub hint: String,
    /// The worker that ran it.
    pub worker: String,
}

impl From<&Failure> for FailureAnswer {
    fn from(failure: &Failure) -> Self {
        Self {
            kind: failure.kind.name().to_owned(),
            message: failure.message.clone(),
            causes: failure.causes.clone(),
            hint: failure.hint.clone(),
            worker: failure.worker.clone(),
        }
    }
}

/// Why a task failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ErrorAnswer {
    /// For programs, such as `every_trial_failed`.
    pub kind: String,
    /// The sentence.
    pub message: String,
    /// Number of the trial that failed first.
    pub trial_number: Option<u32>,
    /// Its failure.
    pub first_failure: Option<FailureAnswer>,
}

impl From<&TaskError> for ErrorAnswer {
    fn from(error: &TaskError) -> Self {
        Self {
            kind: error.kind.clone(),
            message: error.message.clone(),
            trial_number: error.trial_number,
            first_failure: error.first_failure.as_ref().map(FailureAnswer::from),
        }
    }
}

/// Where to go from a task.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Links {
    /// The task.
    #[serde(rename = "self")]
    pub this: String,
    /// Its status.
    pub status: String,
    /// Its trials; a search has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials: Option<String>,
    /// Its best trial; a search has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<String>,
    /// The trials that no other one dominates; a search has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pareto_front: Option<String>,
    /// Which parameters matter; of a search it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param_importance: Option<String>,
    /// Its events (SSE).
    pub events: String,
    /// Why it moves or does not.
    pub explain: String,
    /// POST ends it.
    pub cancel: String,
}

impl Links {
    /// The links of the task of that kind at this path.
    #[must_use]
    pub fn of(task: &str, kind: TaskKind) -> Self {
        let to = |what: &str| format!("{task}/{what}");
        let searches = kind == TaskKind::HyperparameterOptimization;
        Self {
            this: task.to_owned(),
            status: to("status"),
            trials: searches.then(|| to("trials")),
            best: searches.then(|| to("best")),
            pareto_front: searches.then(|| to("pareto-front")),
            param_importance: searches.then(|| to("param-importance")),
            events: to("events"),
            explain: to("explain"),
            cancel: to("cancel"),
        }
    }
}

/// The task that another one was made from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OriginAnswer {
    /// Its identity; it may be deleted by now.
    pub task_id: Uuid,
    /// `retry`, `clone` or `extend`.
    pub how: String,
    /// Trials that were copied from it.
    pub copied_trials: u32,
}

/// An accepted task.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Accepted {
    /// Identity.
    pub task_id: Uuid,
    /// The user's name for it.
    pub task_name: String,
    /// Kind, such as `hyperparameter_optimization`.
    pub task_type: String,
    /// State; `queued` when it is new.
    pub status: String,
    /// The task that it was made from by retry, clone or extend; null for any other.
    pub origin: Option<OriginAnswer>,
    /// Ended trials as a part of the planned ones, 0 to 1; while the result is assessed, how much of the
    /// assessment is done: it begins again at 0.
    pub progress: f64,
    /// Symbols.
    pub stock_codes: Vec<String>,
    /// Trials asked for.
    pub n_trials: u32,
    /// Seed, chosen when the request had none.
    pub seed: u64,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// Why it failed; null for a new task.
    pub error: Option<ErrorAnswer>,
    /// What was decided for the user: sampler, reproducible, `data_snapshot`, ...
    pub resolved: Value,
    /// What the user should know.
    pub warnings: Vec<WarningAnswer>,
    /// Where to go from here.
    pub links: Links,
}

/// A task in a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskSummary {
    /// Identity.
    pub task_id: Uuid,
    /// The user's name for it.
    pub task_name: String,
    /// Kind.
    pub task_type: String,
    /// Strategy or test function.
    pub strategy_name: String,
    /// Symbols.
    pub stock_codes: Vec<String>,
    /// State: queued, running, paused, completed, failed or cancelled.
    pub status: String,
    /// `searching` while trials of a search run, `assessing` while its result is assessed; null when it
    /// does not run or is no search.
    pub phase: Option<String>,
    /// Why it ended (completed), or why it was asked to end (before that).
    pub stop_reason: Option<String>,
    /// The task that it was made from by retry, clone or extend; null for any other.
    pub origin: Option<OriginAnswer>,
    /// Ended trials as a part of the planned ones, 0 to 1; while the result is assessed, how much of the
    /// assessment is done.
    pub progress: f64,
    /// Trials asked for.
    pub n_trials: u32,
    /// Trials that have values, infeasible ones included.
    pub completed_trials: u32,
    /// Trials that failed.
    pub failed_trials: u32,
    /// Objective value of the best feasible trial; null with several objectives.
    pub best_score: Option<f64>,
    /// Its number; null with several objectives.
    pub best_trial_number: Option<u32>,
    /// `high`, `normal` or `low`.
    pub priority: String,
    /// The user's own labels.
    pub labels: BTreeMap<String, String>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When its first unit was claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error: Option<ErrorAnswer>,
}

/// A page of tasks, newest first.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskList {
    /// The tasks.
    pub items: Vec<TaskSummary>,
    /// How many tasks match in all.
    pub total: u64,
    /// The `cursor` of the next page; null when this page was not full.
    pub next_cursor: Option<Uuid>,
}

/// How a task stands.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskStatus {
    /// Identity.
    pub task_id: Uuid,
    /// The user's name for it.
    pub task_name: String,
    /// Kind.
    pub task_type: String,
    /// State: queued, running, paused, completed, failed or cancelled.
    pub status: String,
    /// `searching` while trials of a search run, `assessing` while its result is assessed; null when it
    /// does not run or is no search.
    pub phase: Option<String>,
    /// Why it ended (completed), or why it was asked to end (before that).
    pub stop_reason: Option<String>,
    /// The task that it was made from by retry, clone or extend; null for any other.
    pub origin: Option<OriginAnswer>,
    /// Ended trials as a part of the planned ones, 0 to 1.
    pub progress: f64,
    /// Trials asked for.
    pub n_trials: u32,
    /// Trials that have values, infeasible ones included.
    pub completed_trials: u32,
    /// Units leased now, each of which runs one trial at a time; 0 while the result is assessed.
    pub running_trials: u32,
    /// Trials stopped by a pruner.
    pub pruned_trials: u32,
    /// Trials that failed.
    pub failed_trials: u32,
    /// Completed trials that may not win.
    pub infeasible_trials: u32,
    /// Objective value of the best feasible trial; null with several objectives.
    pub best_score: Option<f64>,
    /// Its number; null with several objectives.
    pub best_trial_number: Option<u32>,
    /// Its parameters; null with several objectives.
    pub best_params: Option<Parameters>,
    /// Its objective values by metric. With several objectives those of the trial whose parameters are to be
    /// used: while it runs, of the one that leads by the first objective. Null while there is none.
    pub best_values: Option<BTreeMap<String, f64>>,
    /// Window of a walk-forward search; null without one.
    pub window: Option<u16>,
    /// Ended trials, without copied ones, per second during which trials were run: without pauses and the
    /// assessment; null before the first.
    pub trials_per_second: Option<f64>,
    /// Expected seconds until the last trial has ended at this rate, never beyond the task's timeout; the
    /// assessment is not in it. Null while nothing runs, while the result is assessed, and before a
    /// trial has ended.
    pub eta_seconds: Option<f64>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When its first unit was claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error: Option<ErrorAnswer>,
}

/// A task with its request and, when it is completed, its result.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskAnswer {
    /// How it stands.
    #[serde(flatten)]
    pub status: TaskStatus,
    /// Strategy or test function.
    pub strategy_name: String,
    /// Symbols.
    pub stock_codes: Vec<String>,
    /// `high`, `normal` or `low`.
    pub priority: String,
    /// The user's own labels.
    pub labels: BTreeMap<String, String>,
    /// The request as it came in.
    pub request: Value,
    /// What was decided for the user.
    pub resolved: Value,
    /// Warnings of the submission.
    pub warnings: Vec<WarningAnswer>,
    /// The result of a completed task, else null.
    pub result: Option<ResultAnswer>,
    /// Where to go from here.
    pub links: Links,
}

/// The result of a task, by its kind.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ResultAnswer {
    /// Of a search.
    Search(Box<TaskResult>),
    /// Of a backtest: metrics, trades, equity and drawdown, monthly returns, results per symbol;
    /// of a replay, `replay: {task_id, trial_number, identical, recorded, replayed}` too.
    Run(Value),
}

/// What came out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskResult {
    /// One sentence on how far to trust it.
    pub verdict: Verdict,
    /// The best feasible trial, with several objectives the selected one; null when there is none.
    pub best: Option<BestTrial>,
    /// The feasible trials that no other one dominates, as `pareto-front` has them: of the search whose
    /// parameters are to be used, at most 1,000. With one objective it is the best trial.
    pub pareto_front: Vec<FrontMember>,
    /// For each objective how much each parameter matters, as parts of 1 (PED-ANOVA, as `param-importance`
    /// has them), or `{"value": null, "reason": ...}`.
    pub param_importance: BTreeMap<String, Value>,
    /// Whether trades were filled at the closing price that gave the signal (`fill: close`), which
    /// nobody knows in time: then no figure is attainable.
    pub looks_ahead: bool,
    /// What it is to be compared with.
    pub baselines: Baselines,
    /// What the picks of a walk-forward gave on days that had no say in them, joined: `from`, `to`,
    /// `sharpe_ratio`, `sharpe_ci95`, `in_sample_mean_sharpe`. As the fields that follow, it is
    /// `{"value": null, "reason": ...}` where there is none (docs/trust.md).
    pub out_of_sample: Value,
    /// The windows of a walk-forward in order: `index`, `train`, `test`, `trial_number`, `params`,
    /// `in_sample`, `test_result`; empty for other methods.
    pub windows: Vec<Value>,
    /// The best trial on the stretch that no trial saw: `from`, `to`, `sharpe_ratio`,
    /// `earlier_looks`.
    pub holdout: Value,
    /// How far luck explains it: `deflated_sharpe`, `pbo`, `luck`, `neighbourhood`.
    pub trust: Value,
    /// What became of the orders, under the rules of a market.
    pub execution: Value,
    /// What it takes to get the same again.
    pub reproducibility: Reproducibility,
    /// How it was found.
    pub optimization_metadata: OptimizationMetadata,
}

/// How far to trust a result.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Verdict {
    /// For programs: `in_sample_only` without validation.
    pub code: String,
    /// The sentence.
    pub text: String,
}

/// The best trial of a result.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BestTrial {
    /// Its number.
    pub trial_number: u32,
    /// Its window, for walk-forward.
    pub window: Option<u16>,
    /// Its parameters.
    pub params: Parameters,
    /// Its objective values by metric.
    pub values: BTreeMap<String, f64>,
    /// Every metric: a number, or `{"value": null, "reason": ...}`.
    pub metrics: Value,
    /// The metrics with the period that they are of: `from` and `to`.
    pub in_sample: Value,
    /// What the trades were, for a strategy of pairs; else null.
    pub pair: Option<PairAnswer>,
}

/// What a strategy of pairs was, seen against holding its legs. Each figure is a number, or
/// `{"value": null, "reason": ...}`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PairAnswer {
    /// Each stock with its partner.
    pub pairs: BTreeMap<String, String>,
    /// The form in words: a rotation between the legs, or market-neutral.
    pub form: String,
    /// Slope of the returns on those of the equal-weight hold of both legs.
    pub beta: Value,
    /// Total return of that hold, as a fraction.
    pub hold_return: Value,
    /// Total return less that of the hold.
    pub excess_return: Value,
    /// As the metric `exposure`.
    pub exposure: Value,
}

/// What a result is to be compared with.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Baselines {
    /// First and last day of what judges the result: the joined test windows of a walk-forward, the
    /// held-out stretch, or else the days of the search; null for a test function.
    pub period: Option<[NaiveDate; 2]>,
    /// Holding all symbols for equal shares, of pairs both legs: `sharpe_ratio` on those days, and for
    /// a strategy of pairs `total_return` on the days of the search, each a number or
    /// `{"value": null, "reason": ...}`; null for a test function.
    pub equal_weight_hold: Option<Value>,
    /// The trial of the default parameters; null when the request gave none.
    pub default_params: Option<DefaultParams>,
}

/// The trial of the default parameters.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DefaultParams {
    /// Its number; of a walk-forward the first trial of the last window.
    pub trial_number: u32,
    /// Annualized, on the days that judge the result.
    pub sharpe_ratio: Value,
    /// The defaults.
    pub params: Parameters,
    /// Its objective values by metric; empty unless it has some.
    pub values: BTreeMap<String, f64>,
    /// Every metric: a number, or `{"value": null, "reason": ...}`; null if it failed.
    pub metrics: Value,
    /// Why it may not win; null if it is feasible.
    pub infeasible: Option<String>,
    /// Why it failed.
    pub failure: Option<FailureAnswer>,
}

/// What it takes to get the same trials again.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Reproducibility {
    /// Seed.
    pub seed: u64,
    /// The pinned market data, `b3:` and hex; null for a test function.
    pub data_snapshot: Option<String>,
    /// Revision of the engine that computed the trials.
    pub engine: String,
    /// Processor family of the build that accepted the task; null for tasks of older builds.
    pub target: Option<String>,
    /// The command that repeats the best trial, or why there is none.
    pub replay: Value,
}

/// How the result was found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OptimizationMetadata {
    /// The sampler.
    pub method: String,
    /// Seconds during which its trials were run: without pauses, and without the assessment.
    pub duration_seconds: f64,
}

/// A trial.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TrialAnswer {
    /// Number below `n_trials`.
    pub number: u32,
    /// `completed`, `pruned`, `failed`, or `running` for an announced slow trial.
    pub state: String,
    /// Parameters by name.
    pub params: Parameters,
    /// Objective values by metric; empty unless it is completed with values.
    pub values: BTreeMap<String, f64>,
    /// Whether trades were filled at the closing price that gave the signal (`fill: close`), which
    /// nobody knows in time: then no figure is attainable.
    pub looks_ahead: bool,
    /// Every metric: a number, or `{"value": null, "reason": ...}`; null for a failed trial.
    pub metrics: Value,
    /// Why it may not win; null for a feasible trial.
    pub infeasible: Option<String>,
    /// Why it failed.
    pub failure: Option<FailureAnswer>,
    /// What it reported while it ran, in the order of the steps; null in lists.
    pub reports: Option<Vec<ReportedStep>>,
    /// Duration of the evaluation; null while it runs.
    pub duration_ms: Option<f64>,
    /// Window, for walk-forward.
    pub window: Option<u16>,
    /// When a slow trial was announced; null for one that has ended.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was recorded; null while it runs.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What a trial reported at a step.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReportedStep {
    /// The step.
    pub step: u32,
    /// Its objective values then, by metric.
    pub values: BTreeMap<String, f64>,
}

/// A trial for a client to run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AskAnswer {
    /// The task.
    pub task_id: Uuid,
    /// Number of the trial.
    pub trial_number: u32,
    /// The parameters to run it with.
    pub params: Parameters,
    /// To be sent along with every report of it and with its end.
    pub lease: String,
    /// For so long nothing need be heard of it; each report begins this time anew.
    pub lease_seconds: f64,
    /// How often another client was given it and was not heard of again.
    pub lost_before: u32,
}

/// Answer to a report.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReportAnswer {
    /// The task.
    pub task_id: Uuid,
    /// Number of the trial.
    pub trial_number: u32,
    /// Whether the task's pruner would stop it now: then tell its end with state pruned.
    pub should_prune: bool,
    /// `run`; `pause`: end it and ask for no other now; `stop`: the task is ending.
    pub control: String,
    /// For so long nothing need be heard of it from now on.
    pub lease_seconds: f64,
}

/// Answer to the end of a trial.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TellAnswer {
    /// The task.
    pub task_id: Uuid,
    /// Number of the trial.
    pub trial_number: u32,
    /// `completed`, `pruned` or `failed`, as it is recorded.
    pub state: String,
    /// Why it may not win; null for a feasible trial.
    pub infeasible: Option<String>,
    /// `run`: ask for the next; `pause`: not now; `stop`: the task is ending or has ended.
    pub control: String,
}

/// A point that a trial will take.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EnqueuedAnswer {
    /// The task.
    pub task_id: Uuid,
    /// Number of the trial that takes it.
    pub trial_number: u32,
    /// The parameters.
    pub params: Parameters,
}

/// A page of trials in the order of their numbers.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TrialList {
    /// The trials.
    pub items: Vec<TrialAnswer>,
    /// The `cursor` of the next page; null when this page was not full.
    pub next_cursor: Option<u32>,
}

/// Why a task moves or does not.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Explanation {
    /// Identity.
    pub task_id: Uuid,
    /// State.
    pub status: String,
    /// The reasons, the one to act on first.
    pub reasons: Vec<Reason>,
    /// The numbers behind them.
    pub units: UnitCounts,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reason {
    /// A stable word for programs.
    pub code: String,
    /// The sentence.
    pub text: String,
    /// What to do; null when nothing is to be done.
    pub remedy: Option<String>,
}

/// Units and slots, counted.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct UnitCounts {
    /// Queued units of the task.
    pub queued: u32,
    /// Leased units of the task.
    pub leased: u32,
    /// Queued units that the broker holds a message of.
    pub published: u32,
    /// Queued units that wait to be published.
    pub due: u32,
    /// Leased units whose lease has expired.
    pub expired: u32,
    /// Workers lost by open units.
    pub crashes: u32,
    /// Queued units of other tasks that come before.
    pub ahead: u32,
    /// Live slots of the pool.
    pub live_slots: u32,
    /// Those that can run this task's strategy.
    pub capable_slots: u32,
    /// Those that hold a lease now.
    pub busy_slots: u32,
    /// Slots of the pool whose workers are heard of, but in quarantine.
    pub quarantined_slots: u32,
    /// How often in a row a unit could not be run by the workers that had it.
    pub unable: u32,
}

/// A worker process.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WorkerAnswer {
    /// Identity, drawn at its start.
    pub worker_id: Uuid,
    /// Host and process.
    pub name: String,
    /// Pool.
    pub pool: String,
    /// Whether it was heard of within a lease.
    pub live: bool,
    /// Trials it runs at a time.
    pub slots: u32,
    /// Units it holds now.
    pub leased_units: u32,
    /// Objectives it can evaluate.
    pub strategies: Vec<String>,
    /// Version of its build.
    pub version: String,
    /// First seen.
    pub started_at: DateTime<Utc>,
    /// Last heard of.
    pub seen_at: DateTime<Utc>,
    /// Since when and why it takes no units; null when it takes some. It tests itself, and its slots
    /// do not count as live meanwhile.
    pub quarantine: Option<QuarantineAnswer>,
    /// Versions of what it reads; null for a build that does not say.
    pub speaks: Option<SpeaksAnswer>,
}

/// The quarantine of a worker.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct QuarantineAnswer {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why, in the worker's words.
    pub reason: String,
}

/// Versions of what a worker reads.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SpeaksAnswer {
    /// Schema of the database.
    pub schema: u32,
    /// Newest stored form of a task.
    pub form: u32,
    /// Newest wire form of a message.
    pub message: u32,
}

/// A message that nobody could use.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DeadLetterAnswer {
    /// Its identity as long as it is dead.
    pub id: String,
    /// The kind of reason, such as `malformed`, `unknown_schema` or `delivery_limit`.
    pub code: String,
    /// Why it is dead.
    pub reason: String,
    /// The pool whose queue it came from; null when it does not say.
    pub pool: Option<String>,
    /// The task it names; null when this build cannot read it.
    pub task_id: Option<Uuid>,
    /// The unit it names; null when this build cannot read it.
    pub unit: Option<u32>,
    /// Version of its wire form; null when it has none.
    pub schema: Option<i64>,
    /// Its body as text, cut at 4,096 bytes.
    pub body: String,
    /// Length of the whole body, in bytes.
    pub bytes: u64,
}

/// Dead letters, oldest first.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DeadList {
    /// Those that were looked at, of the pool that was asked for.
    pub items: Vec<DeadLetterAnswer>,
    /// How many there are of all pools, as the broker counts them.
    pub total: u32,
}

/// How many dead letters were removed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Discarded {
    /// How many.
    pub discarded: u32,
}

/// Workers seen within the last day, live ones first.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WorkerList {
    /// The workers.
    pub items: Vec<WorkerAnswer>,
}

/// The queue of a pool.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct QueueAnswer {
    /// Pool.
    pub pool: String,
    /// Messages that no consumer holds; null when the broker did not answer.
    pub ready: Option<u32>,
    /// Consumers of all processes; null when the broker did not answer.
    pub consumers: Option<u32>,
    /// Why there is no answer.
    pub reason: Option<String>,
    /// Live slots of the pool, as announced to the database.
    pub live_slots: u32,
    /// Units that live workers of the pool hold.
    pub leased_units: u32,
    /// Seconds until the next queued unit is published; null when none is queued.
    pub next_due_seconds: Option<f64>,
}

/// The broker and its queues. The queue is a wake-up call: what is to be done is in the database.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct QueueList {
    /// State of the connection to the broker.
    pub broker: BrokerAnswer,
    /// One per pool that workers or this service know.
    pub items: Vec<QueueAnswer>,
}

/// The broker as this process sees it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BrokerAnswer {
    /// `connected`, `disconnected` or `blocked`.
    pub state: String,
    /// Why, unless connected.
    pub reason: Option<String>,
}

/// A stored series of daily or intraday bars.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SeriesAnswer {
    /// Symbol.
    pub symbol: String,
    /// Hash of its bytes, `b3:` and hex.
    pub hash: String,
    /// Bar frequency, such as `1d`.
    pub frequency: String,
    /// Rows.
    pub rows: u32,
    /// First day.
    pub first_date: NaiveDate,
    /// Last day.
    pub last_date: NaiveDate,
    /// Where it came from.
    pub source: String,
    /// When it was stored.
    pub stored_at: DateTime<Utc>,
    /// What is known of the symbol beside its bars; null where no table told.
    pub record: Option<RecordAnswer>,
}

/// What tables beside the bars say of a symbol: tasks under `cn_a` and `us` pin it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RecordAnswer {
    /// Hash of its bytes, `b3:` and hex.
    pub hash: String,
    /// The listing day, if it is known.
    pub listed: Option<NaiveDate>,
    /// The first day on which it was listed no longer, if it is known.
    pub delisted: Option<NaiveDate>,
    /// Times under special treatment (ST, *ST).
    pub special_treatments: u32,
    /// Dividends, bonus shares and splits.
    pub actions: u32,
    /// Reports of fundamentals.
    pub reports: u32,
    /// Where the latest part of it came from.
    pub source: String,
    /// When it was stored.
    pub stored_at: DateTime<Utc>,
}

/// The current series of every symbol, by symbol.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SeriesList {
    /// The series, at most 10,000 of them.
    pub items: Vec<SeriesAnswer>,
    /// How many there are.
    pub total: usize,
}

/// A parameter of a strategy.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ParameterAnswer {
    /// Its name in requests.
    pub name: String,
    /// `int` or `float`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Taken when a request leaves it out.
    pub default: f64,
    /// Smallest accepted.
    pub min: f64,
    /// Largest accepted.
    pub max: f64,
    /// What it does.
    pub description: String,
}

/// What a trial can evaluate.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StrategyAnswer {
    /// Its `strategy_name` in requests.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// `strategy` on bars, `test_function` without market data, or `client`: what clients run themselves.
    pub kind: String,
    /// The family, such as `trend`.
    pub category: String,
    /// What it does.
    pub description: String,
    /// As a formula; null for a test function.
    pub formula: Option<String>,
    /// How many symbols one position concerns: 1, or 2 for a pair, whose partner is chosen at the
    /// submission; null for a test function.
    pub legs: Option<u8>,
    /// Its parameters; a test function takes whatever the space has.
    pub parameters: Vec<ParameterAnswer>,
    /// Names of older clients that are refused, each with the reason.
    pub retired_parameters: Vec<RetiredParameter>,
}

/// A parameter that a strategy no longer has.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RetiredParameter {
    /// The name.
    pub name: String,
    /// Why, and what to use instead.
    pub reason: String,
}

/// The strategies of this build.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StrategyList {
    /// The strategies.
    pub items: Vec<StrategyAnswer>,
}

/// A sampler.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SamplerAnswer {
    /// Its name in `optimization_method`.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Whether the same request gives the same trials with any parallelism.
    pub repeatable_in_parallel: bool,
    /// Whether it searches with several objectives.
    pub several_objectives: bool,
}

/// The samplers of this build.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SamplerList {
    /// The samplers.
    pub items: Vec<SamplerAnswer>,
    /// The one that a request gets which names none.
    pub default: String,
}

/// A metric.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MetricAnswer {
    /// Its name in requests and results.
    pub name: String,
    /// Another accepted name.
    pub alias: Option<String>,
    /// Which way is better: `maximize` or `minimize`.
    pub direction: String,
    /// What the number is.
    pub unit: String,
    /// A usual size; weighted sums divide by it.
    pub scale: f64,
    /// The definition.
    pub formula: String,
    /// Where it comes from.
    pub source: String,
    /// When it has no value.
    pub undefined: String,
}

/// A known name that cannot be asked for.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RefusedMetricAnswer {
    /// The name.
    pub name: String,
    /// Why, and what to use instead.
    pub hint: String,
}

/// The metrics of this build.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MetricList {
    /// What can be asked for.
    pub items: Vec<MetricAnswer>,
    /// What is known and refused.
    pub refused: Vec<RefusedMetricAnswer>,
}

/// The process lives.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// Version of the build.
    pub version: String,
}

/// Whether requests can be served.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Readiness {
    /// `ready`; `degraded` when tasks are accepted but the broker cannot wake workers.
    pub status: String,
    /// `ok`: it takes writes.
    pub database: String,
    /// The broker.
    pub broker: BrokerAnswer,
}
