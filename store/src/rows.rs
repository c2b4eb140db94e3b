//! What goes into a store and what comes out of it.

use chrono::{DateTime, NaiveDate, Utc};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use trialmill_common::fault::Warning;
use trialmill_common::key::OverQuota;
use trialmill_common::protocol::{Control, Event, Ledger, NotAllowed, Plan, StopRules, unit_kind};
pub use trialmill_common::state::Priority;
use trialmill_common::state::{
    Direction, OriginHow, TaskId, TaskKind, TaskState, TrialEnd, UnitKind, WorkerId,
};
use trialmill_common::trial::Failure;
use trialmill_common::worker::WorkerCard;

/// A unit of a task, as messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitRef {
    /// The task.
    pub task: TaskId,
    /// Number of the unit within the task.
    pub unit: u32,
}

/// A lease as its holder carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeldLease {
    /// The unit.
    pub unit: UnitRef,
    /// Fencing token.
    pub token: i64,
}

/// The task that another one was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// That task. It may be deleted by now.
    pub task: TaskId,
    /// How the other one was made.
    pub how: OriginHow,
}

/// A task to be stored: everything is decided but its rows.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Identity, drawn by the caller.
    pub id: TaskId,
    /// Kind.
    pub kind: TaskKind,
    /// The user's name for it.
    pub name: String,
    /// Strategy or test function.
    pub strategy: String,
    /// Symbols, for lists.
    pub stock_codes: Vec<String>,
    /// Pool of workers that can run it.
    pub pool: String,
    /// The request as it came in.
    pub request: serde_json::Value,
    /// The checked form, as [`trialmill_common::spec::TaskSpec::to_json`] gives it.
    pub spec: serde_json::Value,
    /// What was decided for the user: sampler, snapshot, reproducible, ...
    pub resolved: serde_json::Value,
    /// What the user should know.
    pub warnings: Vec<Warning>,
    /// Seed.
    pub seed: u64,
    /// Trials asked for.
    pub n_trials: u32,
    /// Trials that will be handed out.
    pub planned: u32,
    /// Most open units.
    pub parallelism: Option<u32>,
    /// Whether its sampler reads history.
    pub adaptive: bool,
    /// Direction of the first objective.
    pub direction: Direction,
    /// Unpaused seconds after which it ends.
    pub timeout: Option<f64>,
    /// Order between tasks.
    pub priority: Priority,
    /// Not before this time.
    pub not_before: Option<DateTime<Utc>>,
    /// The market data that it pins. Empty for test functions.
    pub snapshot: Snapshot,
    /// Revision of the engine that the results belong to.
    pub engine: String,
    /// Who submitted it: the name of the API key.
    pub submitted_by: Option<String>,
    /// When it ends itself.
    pub rules: StopRules,
    /// The trial numbers of each of its searches; empty for a task that is one search.
    pub windows: Vec<Range<u32>>,
    /// Whether its result is assessed when its trials have ended.
    pub assessed: bool,
    /// Whether its trials are run by clients.
    pub by_client: bool,
    /// The task that it is made from. Where trials are copied that task has ended, and its space is
    /// that of this one.
    pub origin: Option<Origin>,
}

/// The market data that a task pins when it is accepted: what is imported later changes nothing for
/// it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Symbol to the hash of its series.
    pub series: BTreeMap<String, [u8; 32]>,
    /// Symbol to the hash of its record, where there was one and the task's market asks for it.
    pub records: BTreeMap<String, [u8; 32]>,
}

impl Snapshot {
    /// Whether nothing is pinned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.records.is_empty()
    }
}

/// Series alone.
impl From<BTreeMap<String, [u8; 32]>> for Snapshot {
    fn from(series: BTreeMap<String, [u8; 32]>) -> Self {
        Self {
            series,
            records: BTreeMap::new(),
        }
    }
}

impl NewTask {
    /// What the protocol needs of it.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan {
            kind: unit_kind(self.kind),
            direction: self.direction,
            n_trials: self.n_trials,
            planned: self.planned,
            parallelism: self.parallelism,
            adaptive: self.adaptive,
            rules: self.rules.clone(),
            windows: self.windows.clone(),
            assessed: self.assessed,
            by_client: self.by_client,
        }
    }
}

/// An `Idempotency-Key` with the hash of the body it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Scope: the API key's name, or "" without keys.
    pub scope: String,
    /// The key, as sent.
    pub key: String,
    /// Hash of the body.
    pub body_hash: [u8; 32],
}

/// Answer to a submission.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// A new task.
    Created(Box<TaskRow>),
    /// The task that the same key and body made before.
    Repeated(Box<TaskRow>),
    /// The key was used with another body.
    KeyConflict,
    /// Nothing was stored: its API key has too much in work.
    OverQuota(OverQuota),
    /// The task whose trials were to be copied is not there, or has not ended.
    NoOrigin,
}

/// What an idempotency key made: the hash of the body it came with, and the task.
pub type MadeBefore = ([u8; 32], Box<TaskRow>);

/// A task as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// Identity.
    pub id: TaskId,
    /// Kind.
    pub kind: TaskKind,
    /// The user's name for it.
    pub name: String,
    /// Strategy or test function.
    pub strategy: String,
    /// Symbols.
    pub stock_codes: Vec<String>,
    /// Pool.
    pub pool: String,
    /// The request as it came in.
    pub request: serde_json::Value,
    /// The checked form.
    pub spec: serde_json::Value,
    /// What was decided for the user.
    pub resolved: serde_json::Value,
    /// Warnings of the submission.
    pub warnings: Vec<Warning>,
    /// Seed.
    pub seed: u64,
    /// The protocol's part, without its windows.
    pub ledger: Ledger,
    /// How much of the assessment is done, in percent, while it runs.
    pub assessed_percent: Option<u32>,
    /// Units leased now: each runs one trial at a time.
    pub leased_units: u32,
    /// Seconds during which its trials were run ([`Ledger::searches`]), for `timeout`.
    pub active_seconds: f64,
    /// Limit of these seconds.
    pub timeout: Option<f64>,
    /// Order between tasks.
    pub priority: Priority,
    /// Not before this time.
    pub not_before: Option<DateTime<Utc>>,
    /// Pinned snapshot.
    pub snapshot: Option<[u8; 32]>,
    /// Engine revision.
    pub engine: String,
    /// When it was accepted (the database's clock, like all times).
    pub created_at: DateTime<Utc>,
    /// When its first unit was claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When it reached a terminal state.
    pub completed_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error: Option<TaskError>,
    /// The task that it was made from.
    pub origin: Option<Origin>,
}

/// Why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TaskError {
    /// For programs, such as `every_trial_failed`.
    pub kind: String,
    /// The sentence.
    pub message: String,
    /// The first trial's failure, with its cause chain and hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<Failure>,
    /// Number of the trial that failed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_number: Option<u32>,
}

impl TaskError {
    /// Why a task failed of which a unit could be run by nobody.
    #[must_use]
    pub fn of_unable(unit: u32, times: u32, by_others: bool, reason: Option<&str>) -> Self {
        let workers = if by_others {
            "several workers"
        } else {
            "one worker"
        };
        let reason = reason.unwrap_or("no reason is known");
        Self {
            kind: "no_worker_can_run_it".to_owned(),
            message: format!(
                "its unit {unit} could not be run {times} times in a row, by {workers}; the last \
                 time: {reason}. The trials that had ended are kept"
            ),
            first_failure: None,
            trial_number: None,
        }
    }

    /// Why a task ended as failed, from its ledger and the first trial that failed.
    #[must_use]
    pub fn of_end(ledger: &Ledger, first: Option<(u32, Failure)>) -> Self {
        let Some((number, failure)) = first else {
            return Self {
                kind: "timeout_before_any_trial".to_owned(),
                message: "the task ran out of time before any trial ended; give it a longer \
                          timeout, or more workers"
                    .to_owned(),
                first_failure: None,
                trial_number: None,
            };
        };
        Self {
            kind: "every_trial_failed".to_owned(),
            message: format!(
                "all {} trials failed; trial {number} with: {}",
                ledger.ended(),
                failure.message
            ),
            first_failure: Some(failure),
            trial_number: Some(number),
        }
    }
}

/// Which tasks to list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only these states; all when empty.
    pub states: Vec<TaskState>,
    /// Only this kind.
    pub kind: Option<TaskKind>,
    /// Only this strategy.
    pub strategy: Option<String>,
    /// Only names that contain this text, ignoring case.
    pub name_contains: Option<String>,
    /// Tasks older than this one (the cursor).
    pub before: Option<TaskId>,
    /// At most this many; bounded by [`crate::MAX_PAGE`].
    pub limit: u32,
}

/// A page of tasks.
#[derive(Debug, Clone)]
pub struct TaskPage {
    /// Newest first, without what is long and only shown of one task: `spec` and `resolved` are null,
    /// `warnings` is empty.
    pub tasks: Vec<TaskRow>,
    /// How many tasks the filter matches in all.
    pub total: u64,
}

/// Which trials to list.
#[derive(Debug, Clone, Default)]
pub struct TrialFilter {
    /// Numbers above this one (the cursor).
    pub after: Option<u32>,
    /// Only this end.
    pub end: Option<TrialEnd>,
    /// At most this many; bounded by [`crate::MAX_PAGE`].
    pub limit: u32,
}

/// An ended trial as it is stored. Parameters are packed; the task's space unpacks them.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialRow {
    /// Number.
    pub number: u32,
    /// How it ended.
    pub end: TrialEnd,
    /// Unit that it was recorded by.
    pub unit: u32,
    /// Window, for walk-forward.
    pub window: Option<u16>,
    /// Packed parameters ([`trialmill_search::Space::unpack`]).
    pub params: Vec<u8>,
    /// Objective values; empty unless completed with values.
    pub values: Vec<f64>,
    /// Why it may not win.
    pub infeasible: Option<String>,
    /// By how much it breaks its result constraints; nothing where that is infinite.
    pub violation: Option<f64>,
    /// Metrics by name: a number, or `{"value": null, "reason": ...}`.
    pub metrics: Option<serde_json::Value>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Statistics for the trust figures.
    pub stats: Option<Vec<u8>>,
    /// What it reported while it ran ([`trialmill_common::reports::unpack`]).
    pub reports: Option<Vec<u8>>,
    /// Duration of the evaluation in milliseconds.
    pub duration_ms: f64,
    /// When it was recorded.
    pub ended_at: DateTime<Utc>,
}

/// An ended trial, as far as a sampler cares.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRow {
    /// Number.
    pub number: u32,
    /// How it ended.
    pub end: TrialEnd,
    /// Whether it completed but may not win.
    pub infeasible: bool,
    /// Packed parameters ([`trialmill_search::Space::unpack`]).
    pub params: Vec<u8>,
    /// Objective values, as the objective gave them; empty unless it has values.
    pub values: Vec<f64>,
    /// By how much it breaks its result constraints; nothing where that is infinite.
    pub violation: Option<f64>,
    /// What it reported while it ran ([`trialmill_common::reports::unpack`]).
    pub reports: Option<Vec<u8>>,
}

/// What was recorded of a task after a point of its history.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistoryPage {
    /// The trials of the events that the page covers, in the order of their numbers. No other
    /// page has one of them.
    pub trials: Vec<HistoryRow>,
    /// The last event that the page covers: read on after it.
    pub seq: i64,
    /// Whether the page reaches the last event that was committed when it was read.
    pub complete: bool,
    /// The announced trials that ran before the trials were read: one that ended in between is
    /// both here and there. In the order of their numbers.
    pub running: Vec<RunningRow>,
    /// Units of the task that were queued or leased. 0 for a task that is not there.
    pub open_units: u32,
}

/// An announced trial that runs now.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningRow {
    /// Number.
    pub number: u32,
    /// Unit.
    pub unit: u32,
    /// Packed parameters.
    pub params: Vec<u8>,
    /// How often its process died.
    pub crashes: u32,
    /// When it was announced.
    pub started_at: DateTime<Utc>,
    /// How long ago that was when it was read.
    pub age: Duration,
    /// Worker that holds the unit, if any; of a trial that a client runs, what the client was told it is.
    pub worker: Option<WorkerId>,
    /// What it reported so far ([`trialmill_common::reports::unpack`]).
    pub reports: Option<Vec<u8>>,
}

/// A report of a running trial, to be kept with those before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReport {
    /// The trial.
    pub number: u32,
    /// Bytes of the reports before, as their sender knew them.
    pub before: usize,
    /// What is added to them ([`trialmill_common::reports::pack`]).
    pub added: Vec<u8>,
}

/// Answer to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// The lease goes on, the report is kept; do this next.
    Kept(Control),
    /// Nothing is kept: there are other reports by now than its sender knew of.
    Overtaken,
    /// Nothing is kept: the lease was superseded.
    Lost,
}

/// Answer to a point that a user wants tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// The trial with this number takes it.
    For(u32),
    /// Every number is given out.
    NoneLeft,
    /// [`crate::MAX_ENQUEUED`] points wait already.
    Full,
    /// No such task.
    NotFound,
    /// The state of the task forbids it.
    NotAllowed(NotAllowed),
}

/// One event of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// Its number within the task: dense from 1.
    pub seq: i64,
    /// When it was committed.
    pub at: DateTime<Utc>,
    /// What happened.
    pub event: Event,
}

/// A unit that the relay is to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueUnit {
    /// The unit.
    pub unit: UnitRef,
    /// For the operator's eye: the task's name.
    pub task_name: String,
    /// First trial that is not recorded.
    pub first_trial: u32,
    /// Trials left.
    pub trials: u32,
}

/// What a claim gives: all that a worker needs to run the unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The lease.
    pub lease: HeldLease,
    /// First trial that is not recorded.
    pub first: u32,
    /// Trials left.
    pub count: u32,
    /// Trials of the unit recorded before.
    pub recorded: u32,
    /// Workers that the unit has lost: above 0 its trials run in a child process.
    pub crashes: u32,
    /// What kind of task it belongs to.
    pub kind: TaskKind,
    /// What the unit is for.
    pub unit_kind: UnitKind,
    /// The window of its trials, of a task that has several.
    pub window: Option<u16>,
    /// The checked task.
    pub spec: serde_json::Value,
    /// Pinned snapshot.
    pub snapshot: Option<[u8; 32]>,
    /// Trials of this unit that have their parameters already: announced ones that did not end, and those
    /// that a user has enqueued.
    pub announced: Vec<AnnouncedTrial>,
}

/// What was looked at before a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EarlierWork {
    /// Completed and pruned trials of earlier searches with a symbol and a day in common.
    pub trials: u64,
    /// Earlier searches that ended with an assessment on a held-out stretch that has a day in common
    /// with that of the task.
    pub holdout_looks: u32,
}

/// A trial that was announced by an earlier holder of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedTrial {
    /// Number.
    pub number: u32,
    /// Packed parameters: reused as they are.
    pub params: Vec<u8>,
    /// How often its process died while it ran alone.
    pub crashes: u32,
}

/// Answer to the renewal of one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// It holds; do this next.
    Held(Control),
    /// It was superseded: drop the unit and its results.
    Lost,
}

/// Answer to pause, resume, stop and delete.
#[derive(Debug, Clone, PartialEq)]
pub enum ControlOutcome {
    /// Done; the task as it is now (as it was, after a delete).
    Done(Box<TaskRow>),
    /// No such task.
    NotFound,
    /// Its state forbids it.
    NotAllowed(NotAllowed),
}

/// A worker as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// What it said of itself.
    pub card: WorkerCard,
    /// Whether it was heard of within a lease.
    pub live: bool,
    /// Units it holds now.
    pub leased_units: u32,
    /// First seen.
    pub started_at: DateTime<Utc>,
    /// Last heard of.
    pub seen_at: DateTime<Utc>,
    /// Since when and why it takes no units, if it does not: its slots do not count as live.
    pub quarantine: Option<Quarantine>,
}

/// The quarantine of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why, in the worker's words.
    pub reason: String,
}

/// What stands in the way of a task's units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitSummary {
    /// Queued units of the task.
    pub queued: u32,
    /// Leased units of the task.
    pub leased: u32,
    /// Queued units whose message the broker has confirmed and nobody has claimed.
    pub published: u32,
    /// Queued units that are due for the relay now.
    pub due: u32,
    /// Leased units whose lease has expired.
    pub expired: u32,
    /// Workers lost by open units.
    pub crashes: u32,
    /// Queued units of other tasks of the pool that come before.
    pub ahead: u32,
    /// Live slots of the pool.
    pub live_slots: u32,
    /// Live slots of the pool that announced this task's strategy.
    pub capable_slots: u32,
    /// Slots of the pool that hold a lease now.
    pub busy_slots: u32,
    /// Slots of the pool whose workers are heard of, but in quarantine.
    pub quarantined_slots: u32,
    /// How often in a row the open unit with the most failures could not be run.
    pub unable: u32,
    /// Why it was given back last; with `unable` 0 a unit wants a worker of another build.
    pub unable_reason: Option<String>,
}

/// A stored series of a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesInfo {
    /// Symbol.
    pub symbol: String,
    /// Hash of its bytes.
    pub hash: [u8; 32],
    /// Bar frequency, such as `1d`.
    pub frequency: String,
    /// Rows.
    pub rows: u32,
    /// First day.
    pub first: NaiveDate,
    /// Last day.
    pub last: NaiveDate,
    /// Where it came from, such as the file's name.
    pub source: String,
    /// When it was stored.
    pub stored_at: DateTime<Utc>,
}

/// The current record of a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordInfo {
    /// Symbol.
    pub symbol: String,
    /// Hash of its bytes.
    pub hash: [u8; 32],
    /// Listing day, if it is known.
    pub listed: Option<NaiveDate>,
    /// The first day on which it was listed no longer, if it is known.
    pub delisted: Option<NaiveDate>,
    /// Times under special treatment.
    pub treatments: u32,
    /// Corporate actions.
    pub actions: u32,
    /// Reports of fundamentals.
    pub reports: u32,
    /// Where the latest part of it came from, such as the file's name.
    pub source: String,
    /// When it was stored.
    pub stored_at: DateTime<Utc>,
}

impl RecordInfo {
    /// Whether anything of its listing or treatment is known.
    #[must_use]
    pub const fn has_status(&self) -> bool {
        self.listed.is_some() || self.delisted.is_some() || self.treatments > 0
    }
}

/// The hashes of what [`crate::Store::put_market_data`] has stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Of each series, in order.
    pub series: Vec<[u8; 32]>,
    /// Of the record after each change, in order.
    pub records: Vec<[u8; 32]>,
}
