//! The truth: tasks, units, trials, events, workers and market data.
//!
//! [`Store`] is one trait of domain operations, each one transaction. PostgreSQL
//! ([`postgres::PgStore`]) and SQLite ([`sqlite::SqliteStore`]) answer it alike: one conformance
//! suite compares both, step by step, with the model in [`trialmill_common::protocol::board`].
//! This is the only crate that names a database.
//!
//! Lock order in every transaction: unit, trials, task, new units and events. Everything runs
//! under READ COMMITTED with conditional updates; the decisions are those of
//! [`trialmill_common::protocol::Ledger`].

mod error;
mod front;
mod keep;
pub mod keys;
mod migrate;
mod pack;
pub mod postgres;
pub mod rows;
pub mod sqlite;
pub mod verify;

pub use error::StoreError;
pub use keep::{KEY_AGE, Keep, TIDY_ROWS, Tidied, WORKER_AGE};
pub use migrate::schema_version;

use async_trait::async_trait;
use keys::{AuditEvent, AuditRow, KeyCensus, KeyPage, KeyRow, NewKey};
use rows::{
    Claim, ControlOutcome, DueUnit, EarlierWork, Enqueued, EventRow, HeldLease, HistoryPage,
    HistoryRow, Idempotency, LeaseOutcome, MadeBefore, NewReport, NewTask, RecordInfo, Reported,
    RunningRow, SeriesInfo, Snapshot, Stored, Submitted, TaskFilter, TaskPage, TaskRow,
    TrialFilter, TrialRow, UnitRef, UnitSummary, WorkerRow,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::watch;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::market::RecordChange;
use trialmill_common::key::Quota;
use trialmill_common::protocol::Control;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::state::{StopReason, TaskId, WorkerId};
use trialmill_common::trial::{EndedTrial, RunningTrial};
use trialmill_common::worker::WorkerCard;

/// What a store is told once, at its start.
#[derive(Debug, Clone)]
pub struct Timing {
    /// How long a lease lasts without renewal. Default 30 s.
    pub lease: Duration,
    /// How long a due unit is left to the relay that took it before it is due again, until the
    /// broker has confirmed it. Default 30 s.
    pub publish_grace: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            publish_grace: Duration::from_secs(30),
        }
    }
}

/// The results of one unit, as its holder hands them in.
#[derive(Debug, Clone)]
pub struct UnitFlush {
    /// The lease written under.
    pub lease: HeldLease,
    /// Trials of the unit recorded before this flush; makes a repeated flush harmless.
    pub recorded_before: u32,
    /// The trials that ended, in order, following the recorded ones without a gap.
    pub trials: Vec<EndedTrial>,
    /// Steps of an assessment that were done, following those recorded before; 0 for units of trials.
    pub steps: u32,
    /// How the unit is left.
    pub end: UnitEnd,
    /// The result document of a task that is one run, with the trial that it belongs to; or how far an
    /// assessment has come, with the steps, and at last what it found. At most [`MAX_RESULT_BYTES`] as
    /// JSON. Written with the trials or steps or not at all.
    pub result: Option<serde_json::Value>,
    /// Why the unit is left with [`UnitEnd::Unable`] or [`UnitEnd::OtherBuild`], in a sentence that
    /// names the worker; cut at [`MAX_REASON_CHARS`]. Nothing for the other ends.
    pub why: Option<String>,
}

/// What a flush answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// One answer per unit, in order.
    pub written: Vec<Written>,
    /// What the holders of this task's leases are to do next.
    pub control: Control,
}

/// What the reaper found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Units whose lease had expired and that are queued (or void) again.
    pub expired: Vec<UnitRef>,
    /// Tasks that failed because a unit of them could be run by nobody.
    pub given_up: Vec<TaskId>,
    /// Tasks asked to stop because their time ran out.
    pub timed_out: Vec<TaskId>,
    /// Tasks that were alive without an open unit: a fault of ours, repaired.
    pub repaired: Vec<TaskId>,
}

/// The right to relay: held by one process at a time, given up when it is dropped.
#[async_trait]
pub trait Leadership: Send + Sync {
    /// Whether it still holds. To be asked every few seconds: a holder that is not heard of for
    /// half a minute (frozen, cut off) loses it.
    async fn holds(&self) -> bool;
}

/// The domain operations. Each is one transaction; each may fail with
/// [`StoreError::is_transient`], after which it can be repeated as it was.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // ---- tasks -----------------------------------------------------------------------------

    /// Stores a task with its first units, its idempotency key, its first event and that of the
    /// audit (a retry or an extension with the trials that it copies), unless its key (`submitted_by`) would have more in work than `quota` allows.
    /// Submissions that race are counted one after the other. A repeated one is answered first.
    async fn submit_within(
        &self,
        task: NewTask,
        idempotency: Option<Idempotency>,
        quota: Quota,
    ) -> Result<Submitted, StoreError>;

    /// The same without any bound.
    async fn submit(
        &self,
        task: NewTask,
        idempotency: Option<Idempotency>,
    ) -> Result<Submitted, StoreError> {
        self.submit_within(task, idempotency, Quota::NONE).await
    }

    /// What an idempotency key made within a day: the hash of its body and the task, if that is
    /// still there. A repeated request is answered with it before anything of it is checked.
    async fn idempotent(&self, scope: &str, key: &str) -> Result<Option<MadeBefore>, StoreError>;

    /// One task, or nothing.
    async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError>;

    /// Tasks, newest first, by keyset cursor, with the true total of the filter.
    async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, StoreError>;

    /// Asks a task to end early: queued units are void, leased ones are told by their next write
    /// or renewal. Those of clients, who may not be heard of for long, are void too when a user cancels. [`ControlOutcome::NotAllowed`] when it has ended.
    async fn stop(&self, id: TaskId, reason: StopReason) -> Result<ControlOutcome, StoreError>;

    /// No new trial starts until [`Store::resume`].
    async fn pause(&self, id: TaskId) -> Result<ControlOutcome, StoreError>;

    /// Trials start again; queued units are due at once.
    async fn resume(&self, id: TaskId) -> Result<ControlOutcome, StoreError>;

    /// Removes an ended task and everything that belongs to it. Of more than [`TIDY_ROWS`] trials
    /// the rest is removed by [`Store::tidy`], and until then belongs to no task.
    async fn delete(&self, id: TaskId) -> Result<ControlOutcome, StoreError>;

    // ---- trials and events -----------------------------------------------------------------

    /// Ended trials in the order of their numbers, after `filter.after`, at most `filter.limit`.
    async fn trials(&self, id: TaskId, filter: TrialFilter) -> Result<Vec<TrialRow>, StoreError>;

    /// One ended trial.
    async fn trial(&self, id: TaskId, number: u32) -> Result<Option<TrialRow>, StoreError>;

    /// The announced trials with these numbers that run now, in the order of their numbers.
    async fn running_trials(
        &self,
        id: TaskId,
        numbers: Range<u32>,
    ) -> Result<Vec<RunningRow>, StoreError>;

    /// What a sampler may know of the trials with these `numbers` beyond event `after` (0:
    /// everything), in pages of about [`HISTORY_PAGE`] trials. Read on after [`HistoryPage::seq`] until a page is complete.
    ///
    /// No trial is missed: trials, their event and the task's `seq` are written in one
    /// transaction that holds the task's row lock since it read `seq`. So events are committed in
    /// the order of their numbers, and who sees event `n` sees every trial of the events up to
    /// `n`.
    ///
    /// It is for tasks that run: of one that has ended the events may be gone
    /// ([`Store::tidy`]), and then this is [`StoreError::Refused`]; its trials are in
    /// [`Store::trials`].
    async fn history(
        &self,
        id: TaskId,
        after: i64,
        numbers: Range<u32>,
    ) -> Result<HistoryPage, StoreError>;

    /// What a sampler may know of the ended trials with these `numbers`, in the order of the numbers, at most
    /// `limit` of them (and [`HISTORY_PAGE`]). Unlike [`Store::history`] it is for tasks that have ended,
    /// too, however long ago; of one that runs, a trial may be missing that ended before another.
    async fn outcomes(
        &self,
        id: TaskId,
        numbers: Range<u32>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError>;

    /// The result document of a task: of one run, or of an assessment as far as it has come.
    async fn run_result(&self, id: TaskId) -> Result<Option<serde_json::Value>, StoreError>;

    /// What tasks that were submitted earlier looked at of the symbols and days of this one. Trials that
    /// were taken over from another task do not count, neither its own (they are among its trials) nor
    /// those of others; at most the [`EARLIER_TASKS`] latest tasks with a
    /// common symbol are looked at.
    async fn earlier_work(&self, id: TaskId) -> Result<EarlierWork, StoreError>;

    /// Events with a sequence number above `after`, in order, at most `limit`. Their numbers are
    /// dense, but for those that were removed some time after the task's end: then the first is
    /// not `after + 1`.
    async fn events(&self, id: TaskId, after: i64, limit: u32)
    -> Result<Vec<EventRow>, StoreError>;

    /// The number of the last event of each of these tasks; those that are gone are left out.
    async fn last_events(&self, ids: &[TaskId]) -> Result<BTreeMap<TaskId, i64>, StoreError>;

    // ---- units: the relay ------------------------------------------------------------------

    /// Tries to become the one relay of a pool; nothing when another process is.
    async fn lead(&self, pool: &str) -> Result<Option<Box<dyn Leadership>>, StoreError>;

    /// Takes due units of a pool, at most `2 x live slots` (at least [`MIN_IN_FLIGHT`]) published
    /// and unclaimed at a time, ordered by priority, fewest open units of the key, then of the
    /// task, then age; each is not due again for [`Timing::publish_grace`].
    async fn take_due(&self, pool: &str) -> Result<Vec<DueUnit>, StoreError>;

    /// The broker has confirmed these: they are due again after 1, 2, 4 ... 30 minutes only.
    async fn published(&self, units: &[UnitRef]) -> Result<(), StoreError>;

    /// The queue of a pool is empty or new: every unit that was published to it is due at once.
    async fn queue_emptied(&self, pool: &str) -> Result<u64, StoreError>;

    /// How long until the next queued unit of the pool is due (zero: now), if there is any.
    async fn next_due(&self, pool: &str) -> Result<Option<Duration>, StoreError>;

    // ---- units: the holder -----------------------------------------------------------------

    /// Takes the lease of a unit, if it is free and its task runs. Nothing: acknowledge and
    /// forget the message.
    async fn claim(&self, unit: UnitRef, worker: WorkerId) -> Result<Option<Claim>, StoreError>;

    /// Takes the lease of the first free unit of a task, for so long: what a client's request for a trial comes
    /// to. `holder` names the client from then on. Nothing: no unit is free, or the task does not run.
    async fn claim_next(
        &self,
        task: TaskId,
        holder: WorkerId,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError>;

    /// The client that holds this lease lives: it goes on for so long from now. What was charged as if the
    /// client were lost is taken back, and a report of the trial is kept, if there is one.
    async fn report(
        &self,
        lease: HeldLease,
        holder: WorkerId,
        go_on: Duration,
        report: Option<NewReport>,
    ) -> Result<Reported, StoreError>;

    /// Has the first trial from number `from` on that nobody was given take this point (packed). It runs in its
    /// turn. From then on the request alone does not say what the search tries: `resolved.reproducible` is false.
    async fn enqueue(&self, task: TaskId, from: u32, params: &[u8])
    -> Result<Enqueued, StoreError>;

    /// Announces a slow trial before it starts. Its row keeps the parameters through crashes.
    /// `None`: the lease was superseded.
    async fn start_trial(
        &self,
        lease: HeldLease,
        trial: &RunningTrial,
    ) -> Result<Option<Control>, StoreError>;

    /// Charges a crash to an announced trial whose isolated child died: it has now had `crashes`
    /// of them (so that a repetition charges nothing more). Returns the count, or nothing when
    /// the lease was superseded.
    async fn charge_crash(
        &self,
        lease: HeldLease,
        number: u32,
        crashes: u32,
    ) -> Result<Option<u32>, StoreError>;

    /// Records results of several units of one task and leaves each unit as told.
    async fn record(&self, task: TaskId, flushes: &[UnitFlush]) -> Result<Recorded, StoreError>;

    /// The worker lives, and holds these leases: one answer each, in order. What was charged to
    /// trials as if it were lost is taken back.
    async fn renew(
        &self,
        worker: WorkerId,
        leases: &[HeldLease],
    ) -> Result<Vec<LeaseOutcome>, StoreError>;

    /// What the holders of leases of these tasks are to do now: one answer each, in order. Reads
    /// only, so that it can be asked often: between two renewals a cancel would take long.
    async fn controls(&self, tasks: &[TaskId]) -> Result<Vec<Control>, StoreError>;

    // ---- timers ----------------------------------------------------------------------------

    /// Queues expired units again, ends tasks that nobody can run, stops tasks whose time ran out,
    /// repairs what should not be.
    async fn reap(&self) -> Result<Reaped, StoreError>;

    /// Removes what is no longer kept, in a few small transactions; [`Tidied::more`] says whether to
    /// call again soon. Several processes may: one of them works, the others find nothing to do.
    async fn tidy(&self, keep: &Keep) -> Result<Tidied, StoreError>;

    // ---- workers ---------------------------------------------------------------------------

    /// A worker starts (or says again who it is).
    async fn announce(&self, card: &WorkerCard) -> Result<(), StoreError>;

    /// A worker leaves: its slots no longer count as live.
    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError>;

    /// A worker takes no units any more, for this reason, or takes units again (`None`). The first
    /// reason keeps its time.
    async fn quarantine(&self, worker: WorkerId, reason: Option<&str>) -> Result<(), StoreError>;

    /// Workers seen within the last day, live ones first.
    async fn workers(&self) -> Result<Vec<WorkerRow>, StoreError>;

    /// Whether any worker, live or gone, ever announced this objective.
    async fn ever_announced(&self, strategy: &str) -> Result<bool, StoreError>;

    /// What stands in the way of a task's units, in numbers.
    async fn unit_summary(&self, id: TaskId) -> Result<UnitSummary, StoreError>;

    // ---- market data -----------------------------------------------------------------------

    /// Stores series under the hash of their bytes and makes them the current ones of their
    /// symbols, and changes records ([`Record::changed`](trialmill_backtest::market::Record::changed)
    /// of the current one) and stores them likewise; all of it or nothing. Imports of records that
    /// race are done one after the other, so that none loses what another has changed.
    async fn put_market_data(
        &self,
        series: &[BarSeries],
        changes: &[RecordChange],
        source: &str,
    ) -> Result<Stored, StoreError>;

    /// Series alone; returns the hash of each.
    async fn put_series(
        &self,
        series: &[BarSeries],
        source: &str,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        let stored = self.put_market_data(series, &[], source);
        Ok(stored.await?.series)
    }

    /// Changes of records alone; returns the hash of the record after each.
    async fn put_records(
        &self,
        changes: &[RecordChange],
        source: &str,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        let stored = self.put_market_data(&[], changes, source);
        Ok(stored.await?.records)
    }

    /// The current series of the given symbols (all symbols when empty); absent ones are left out.
    async fn series_info(&self, symbols: &[String]) -> Result<Vec<SeriesInfo>, StoreError>;

    /// The bytes of series by hash, as [`BarSeries::from_bytes`] reads them, in order.
    async fn series_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<Vec<u8>>, StoreError>;

    /// The current records of the given symbols (all symbols when empty); absent ones are left out.
    async fn records_info(&self, symbols: &[String]) -> Result<Vec<RecordInfo>, StoreError>;

    /// The bytes of records by hash, as
    /// [`Record::from_bytes`](trialmill_backtest::market::Record::from_bytes) reads them, in order.
    async fn record_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<Vec<u8>>, StoreError>;

    /// What a snapshot pins.
    async fn snapshot(&self, id: [u8; 32]) -> Result<Option<Snapshot>, StoreError>;

    // ---- keys ------------------------------------------------------------------------------

    /// Stores a key and its event of the audit. Nothing: another key that is not revoked has its
    /// name.
    async fn create_key(&self, key: NewKey) -> Result<Option<KeyRow>, StoreError>;

    /// The keys, revoked ones too.
    async fn keys(&self) -> Result<KeyPage, StoreError>;

    /// Revokes the key of this name, with its event of the audit; `by` did it. Nothing: no key
    /// that is not revoked has the name.
    async fn revoke_key(&self, name: &str, by: &str) -> Result<Option<KeyRow>, StoreError>;

    /// The key with this SHA-256, if it is neither revoked nor expired.
    async fn key_by_hash(&self, hash: [u8; 32]) -> Result<Option<KeyRow>, StoreError>;

    /// How many keys there are.
    async fn key_census(&self) -> Result<KeyCensus, StoreError>;

    /// The key is used now.
    async fn touch_key(&self, id: i64) -> Result<(), StoreError>;

    /// Writes events of the audit.
    async fn audit(&self, events: &[AuditEvent]) -> Result<(), StoreError>;

    /// Events of the audit with a lower number than `before`, latest first, at most `limit`.
    async fn audit_page(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError>;

    // ---- operations ------------------------------------------------------------------------

    /// What is wrong in the database, one sentence each: promises 3 to 5 in SQL. Empty is good.
    async fn verify(&self) -> Result<Vec<verify::Violation>, StoreError>;

    /// Whether the database takes writes now.
    async fn writable(&self) -> Result<(), StoreError>;

    /// Changes whenever something was committed that watchers or the relay wait for. It may
    /// change for nothing, and it may miss a change of another process while the connection to
    /// the database is down: wait on it with a timeout.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// Most points of one task that may be [enqueued](Store::enqueue) and wait for their trials.
pub const MAX_ENQUEUED: u32 = 1_000;

/// Longest reason for which a unit is given back or a worker is in quarantine, in characters; a
/// longer one is cut.
pub const MAX_REASON_CHARS: usize = 1_000;

/// A reason as it is stored.
fn cut_reason(reason: &str) -> String {
    // A NUL is in no text of PostgreSQL.
    let legal = |c: &char| *c != '\0';
    reason
        .chars()
        .filter(legal)
        .take(MAX_REASON_CHARS)
        .collect()
}

/// Units that may be published and unclaimed even when no worker is live, so that operators and
/// autoscalers see that there is work.
pub const MIN_IN_FLIGHT: u32 = 8;

/// Most tasks that [`Store::earlier_work`] counts: the stored form of each is read.
pub const EARLIER_TASKS: u32 = 10_000;

/// Largest page of tasks, trials or events.
pub const MAX_PAGE: u32 = 1_000;

/// A page of [`Store::history`] covers no further event once it has this many trials.
pub const HISTORY_PAGE: u32 = 50_000;

/// Longest result document of a run, as JSON text. A longer one is refused
/// ([`StoreError::Refused`]) with the whole flush: who makes it sees to it that it is shorter.
pub const MAX_RESULT_BYTES: usize = 64 << 20;
