//! A store that can be told to be away, to panic, or never to answer.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::market::RecordChange;
use trialmill_common::key::Quota;
use trialmill_common::protocol::Control;
use trialmill_common::state::{StopReason, TaskId, WorkerId};
use trialmill_common::trial::RunningTrial;
use trialmill_common::worker::WorkerCard;
use trialmill_store::keys::*;
use trialmill_store::rows::*;
use trialmill_store::verify::Violation;
use trialmill_store::{Keep, Leadership, Reaped, Recorded, Store, StoreError, Tidied, UnitFlush};

/// How the store behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    Away,
    Panicking,
    Silent,
    Refusing,
    /// Well, but for what is written to the audit, which waits for a change of mood.
    HoldingAudit,
}

pub struct FaultyStore<S> {
    inner: S,
    mood: watch::Sender<Mood>,
}

/// Changes the mood of a store that was given away.
#[derive(Clone)]
pub struct MoodSwitch(watch::Sender<Mood>);

impl MoodSwitch {
    pub fn set(&self, mood: Mood) {
        self.0.send_replace(mood);
    }
}

impl<S> FaultyStore<S> {
    pub fn new(inner: S) -> (Self, MoodSwitch) {
        let mood = watch::Sender::new(Mood::Well);
        let switch = MoodSwitch(mood.clone());
        (Self { inner, mood }, switch)
    }

    async fn gate(&self, operation: &str) -> Result<(), StoreError> {
        let mut mood = self.mood.subscribe();
        let now = *mood.borrow_and_update();
        match now {
            Mood::Well => Ok(()),
            Mood::Away => Err(StoreError::Unavailable("connection refused".into())),
            Mood::Panicking => panic!("a secret detail of the store"),
            Mood::Silent => std::future::pending().await,
            Mood::Refusing => Err(StoreError::Refused("a secret statement".into())),
            Mood::HoldingAudit => {
                if operation == "audit" {
                    mood.changed().await.expect("the store itself can send");
                }
                Ok(())
            }
        }
    }
}

macro_rules! gated {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl<S: Store> Store for FaultyStore<S> {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$answer, StoreError> {
                self.gate(stringify!($name)).await?;
                self.inner.$name($($arg),*).await
            })*

            fn changed(&self) -> watch::Receiver<u64> {
                self.inner.changed()
            }
        }
    };
}

gated! {
    submit_within(task: NewTask, idempotency: Option<Idempotency>, quota: Quota) -> Submitted;
    idempotent(scope: &str, key: &str) -> Option<([u8; 32], Box<TaskRow>)>;
    task(id: TaskId) -> Option<TaskRow>;
    tasks(filter: TaskFilter) -> TaskPage;
    stop(id: TaskId, reason: StopReason) -> ControlOutcome;
    pause(id: TaskId) -> ControlOutcome;
    resume(id: TaskId) -> ControlOutcome;
    delete(id: TaskId) -> ControlOutcome;
    trials(id: TaskId, filter: TrialFilter) -> Vec<TrialRow>;
    trial(id: TaskId, number: u32) -> Option<TrialRow>;
    running_trials(id: TaskId, numbers: std::ops::Range<u32>) -> Vec<RunningRow>;
    history(id: TaskId, after: i64, numbers: std::ops::Range<u32>) -> HistoryPage;
    outcomes(id: TaskId, numbers: std::ops::Range<u32>, limit: u32) -> Vec<HistoryRow>;
    earlier_work(id: TaskId) -> EarlierWork;
    run_result(id: TaskId) -> Option<serde_json::Value>;
    events(id: TaskId, after: i64, limit: u32) -> Vec<EventRow>;
    last_events(ids: &[TaskId]) -> BTreeMap<TaskId, i64>;
    lead(pool: &str) -> Option<Box<dyn Leadership>>;
    take_due(pool: &str) -> Vec<DueUnit>;
    published(units: &[UnitRef]) -> ();
    queue_emptied(pool: &str) -> u64;
    next_due(pool: &str) -> Option<Duration>;
    claim(unit: UnitRef, worker: WorkerId) -> Option<Claim>;
    start_trial(lease: HeldLease, trial: &RunningTrial) -> Option<Control>;
    claim_next(task: TaskId, holder: WorkerId, lease: Duration) -> Option<Claim>;
    report(lease: HeldLease, holder: WorkerId, go_on: Duration, report: Option<NewReport>) -> Reported;
    enqueue(task: TaskId, from: u32, params: &[u8]) -> Enqueued;
    charge_crash(lease: HeldLease, number: u32, crashes: u32) -> Option<u32>;
    record(task: TaskId, flushes: &[UnitFlush]) -> Recorded;
    renew(worker: WorkerId, leases: &[HeldLease]) -> Vec<LeaseOutcome>;
    controls(tasks: &[TaskId]) -> Vec<Control>;
    reap() -> Reaped;
    tidy(keep: &Keep) -> Tidied;
    announce(card: &WorkerCard) -> ();
    leave(worker: WorkerId) -> ();
    quarantine(worker: WorkerId, reason: Option<&str>) -> ();
    workers() -> Vec<WorkerRow>;
    ever_announced(strategy: &str) -> bool;
    unit_summary(id: TaskId) -> UnitSummary;
    put_market_data(series: &[BarSeries], changes: &[RecordChange], source: &str) -> Stored;
    records_info(symbols: &[String]) -> Vec<RecordInfo>;
    record_bytes(hashes: &[[u8; 32]]) -> Vec<Vec<u8>>;
    series_info(symbols: &[String]) -> Vec<SeriesInfo>;
    series_bytes(hashes: &[[u8; 32]]) -> Vec<Vec<u8>>;
    snapshot(id: [u8; 32]) -> Option<Snapshot>;
    create_key(key: NewKey) -> Option<KeyRow>;
    keys() -> KeyPage;
    revoke_key(name: &str, by: &str) -> Option<KeyRow>;
    key_by_hash(hash: [u8; 32]) -> Option<KeyRow>;
    key_census() -> KeyCensus;
    touch_key(id: i64) -> ();
    audit(events: &[AuditEvent]) -> ();
    audit_page(before: Option<i64>, limit: u32) -> Vec<AuditRow>;
    verify() -> Vec<Violation>;
    writable() -> ();
}
