//! A real store behind a line that can be cut: every operation fails as unavailable while it is,
//! and, if asked, a flush is done but its answer lost. It can also lock one task's row, refuse
//! several units in one flush, and leave announcements without an answer.

use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::market::RecordChange;
use trialmill_common::key::Quota;
use trialmill_common::protocol::board::Written;
use trialmill_common::protocol::{Control, most_unseen};
use trialmill_common::state::{StopReason, TaskId, WorkerId};
use trialmill_common::trial::RunningTrial;
use trialmill_common::worker::WorkerCard;
use trialmill_store::keys::{AuditEvent, AuditRow, KeyCensus, KeyPage, KeyRow, NewKey};
use trialmill_store::rows::{
    Claim, ControlOutcome, DueUnit, EarlierWork, Enqueued, EventRow, HeldLease, HistoryPage,
    HistoryRow, Idempotency, LeaseOutcome, NewReport, NewTask, RecordInfo, Reported, RunningRow,
    SeriesInfo, Snapshot, Stored, Submitted, TaskFilter, TaskPage, TaskRow, TrialFilter, TrialRow,
    UnitRef, UnitSummary, WorkerRow,
};
use trialmill_store::sqlite::SqliteStore;
use trialmill_store::verify::Violation;
use trialmill_store::{Keep, Leadership, Reaped, Recorded, Store, StoreError, Tidied, UnitFlush};

pub struct Flaky {
    store: Arc<SqliteStore>,
    cut: AtomicBool,
    /// How many flushes are still to be done without an answer.
    lost_answers: AtomicU32,
    /// How many flushes were refused because the line was cut, or lost their answer.
    pub refused_flushes: watch::Sender<u32>,
    /// The task whose flushes fail as if its row were locked.
    pub locked: Mutex<Option<TaskId>>,
    /// Whether flushes of more than one unit are refused for good.
    pub refuse_together: AtomicBool,
    /// Whether announcements of workers get no answer.
    pub silent_announcements: AtomicBool,
    /// How many slow trials were announced.
    pub announced: watch::Sender<u32>,
    /// How often history was read.
    pub histories: AtomicU32,
    /// What an adaptive sampler could not see, by task.
    pub unseen: tokio::sync::Mutex<BTreeMap<TaskId, Unseen>>,
}

/// The announced trials of a task that are not recorded.
#[derive(Default)]
pub struct Unseen {
    started: BTreeSet<u32>,
    pub recorded: BTreeSet<u32>,
    /// Most at a time.
    pub largest: usize,
    /// How many there were, of how many recorded ones, whenever these were too many.
    pub too_many: Vec<(usize, usize)>,
}

impl Unseen {
    fn starts(&mut self, number: u32) {
        self.started.insert(number);
        let (unseen, recorded) = (self.started.len(), self.recorded.len());
        self.largest = self.largest.max(unseen);
        if unseen > most_unseen(u32::try_from(recorded).unwrap()) as usize {
            self.too_many.push((unseen, recorded));
        }
    }

    fn is_recorded(&mut self, flush: &UnitFlush) {
        for trial in &flush.trials {
            self.started.remove(&trial.number);
            self.recorded.insert(trial.number);
        }
    }
}

impl Flaky {
    pub fn new(store: Arc<SqliteStore>) -> Self {
        Self {
            store,
            cut: AtomicBool::new(false),
            lost_answers: AtomicU32::new(0),
            refused_flushes: watch::Sender::new(0),
            locked: Mutex::new(None),
            refuse_together: AtomicBool::new(false),
            silent_announcements: AtomicBool::new(false),
            announced: watch::Sender::new(0),
            histories: AtomicU32::new(0),
            unseen: tokio::sync::Mutex::default(),
        }
    }

    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    pub fn lose_answers(&self, count: u32) {
        self.lost_answers.store(count, Ordering::SeqCst);
    }

    fn line(&self) -> Result<&SqliteStore, StoreError> {
        if self.cut.load(Ordering::SeqCst) {
            Err(away())
        } else {
            Ok(&self.store)
        }
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("the line is cut".into())
}

#[async_trait]
impl Store for Flaky {
    async fn submit_within(
        &self,
        task: NewTask,
        idempotency: Option<Idempotency>,
        quota: Quota,
    ) -> Result<Submitted, StoreError> {
        self.line()?.submit_within(task, idempotency, quota).await
    }

    async fn create_key(&self, key: NewKey) -> Result<Option<KeyRow>, StoreError> {
        self.line()?.create_key(key).await
    }

    async fn keys(&self) -> Result<KeyPage, StoreError> {
        self.line()?.keys().await
    }

    async fn revoke_key(&self, name: &str, by: &str) -> Result<Option<KeyRow>, StoreError> {
        self.line()?.revoke_key(name, by).await
    }

    async fn key_by_hash(&self, hash: [u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        self.line()?.key_by_hash(hash).await
    }

    async fn key_census(&self) -> Result<KeyCensus, StoreError> {
        self.line()?.key_census().await
    }

    async fn touch_key(&self, id: i64) -> Result<(), StoreError> {
        self.line()?.touch_key(id).await
    }

    async fn audit(&self, events: &[AuditEvent]) -> Result<(), StoreError> {
        self.line()?.audit(events).await
    }

    async fn audit_page(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        self.line()?.audit_page(before, limit).await
    }

    async fn idempotent(
        &self,
        scope: &str,
        key: &str,
    ) -> Result<Option<([u8; 32], Box<TaskRow>)>, StoreError> {
        self.line()?.idempotent(scope, key).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        self.line()?.task(id).await
    }

    async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, StoreError> {
        self.line()?.tasks(filter).await
    }

    async fn stop(&self, id: TaskId, reason: StopReason) -> Result<ControlOutcome, StoreError> {
        self.line()?.stop(id, reason).await
    }

    async fn pause(&self, id: TaskId) -> Result<ControlOutcome, StoreError> {
        self.line()?.pause(id).await
    }

    async fn resume(&self, id: TaskId) -> Result<ControlOutcome, StoreError> {
        self.line()?.resume(id).await
    }

    async fn delete(&self, id: TaskId) -> Result<ControlOutcome, StoreError> {
        self.line()?.delete(id).await
    }

    async fn trials(&self, id: TaskId, filter: TrialFilter) -> Result<Vec<TrialRow>, StoreError> {
        self.line()?.trials(id, filter).await
    }

    async fn trial(&self, id: TaskId, number: u32) -> Result<Option<TrialRow>, StoreError> {
        self.line()?.trial(id, number).await
    }

    async fn running_trials(
        &self,
        id: TaskId,
        numbers: std::ops::Range<u32>,
    ) -> Result<Vec<RunningRow>, StoreError> {
        self.line()?.running_trials(id, numbers).await
    }

    async fn history(
        &self,
        id: TaskId,
        after: i64,
        numbers: std::ops::Range<u32>,
    ) -> Result<HistoryPage, StoreError> {
        self.histories.fetch_add(1, Ordering::SeqCst);
        self.line()?.history(id, after, numbers).await
    }

    async fn outcomes(
        &self,
        id: TaskId,
        numbers: std::ops::Range<u32>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        self.line()?.outcomes(id, numbers, limit).await
    }

    async fn earlier_work(&self, id: TaskId) -> Result<EarlierWork, StoreError> {
        self.line()?.earlier_work(id).await
    }

    async fn run_result(&self, id: TaskId) -> Result<Option<serde_json::Value>, StoreError> {
        self.line()?.run_result(id).await
    }

    async fn events(
        &self,
        id: TaskId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        self.line()?.events(id, after, limit).await
    }

    async fn last_events(&self, ids: &[TaskId]) -> Result<BTreeMap<TaskId, i64>, StoreError> {
        self.line()?.last_events(ids).await
    }

    async fn lead(&self, pool: &str) -> Result<Option<Box<dyn Leadership>>, StoreError> {
        self.line()?.lead(pool).await
    }

    async fn take_due(&self, pool: &str) -> Result<Vec<DueUnit>, StoreError> {
        self.line()?.take_due(pool).await
    }

    async fn published(&self, units: &[UnitRef]) -> Result<(), StoreError> {
        self.line()?.published(units).await
    }

    async fn queue_emptied(&self, pool: &str) -> Result<u64, StoreError> {
        self.line()?.queue_emptied(pool).await
    }

    async fn next_due(&self, pool: &str) -> Result<Option<Duration>, StoreError> {
        self.line()?.next_due(pool).await
    }

    async fn claim(&self, unit: UnitRef, worker: WorkerId) -> Result<Option<Claim>, StoreError> {
        self.line()?.claim(unit, worker).await
    }

    async fn claim_next(
        &self,
        task: TaskId,
        holder: WorkerId,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        self.line()?.claim_next(task, holder, lease).await
    }

    async fn report(
        &self,
        lease: HeldLease,
        holder: WorkerId,
        go_on: Duration,
        report: Option<NewReport>,
    ) -> Result<Reported, StoreError> {
        self.line()?.report(lease, holder, go_on, report).await
    }

    async fn enqueue(
        &self,
        task: TaskId,
        from: u32,
        params: &[u8],
    ) -> Result<Enqueued, StoreError> {
        self.line()?.enqueue(task, from, params).await
    }

    async fn start_trial(
        &self,
        lease: HeldLease,
        trial: &RunningTrial,
    ) -> Result<Option<Control>, StoreError> {
        let mut unseen = self.unseen.lock().await;
        let of_task = unseen.entry(lease.unit.task).or_default();
        of_task.starts(trial.number);
        drop(unseen);
        let control = self.line()?.start_trial(lease, trial).await?;
        self.announced.send_modify(|count| *count += 1);
        Ok(control)
    }

    async fn charge_crash(
        &self,
        lease: HeldLease,
        number: u32,
        crashes: u32,
    ) -> Result<Option<u32>, StoreError> {
        self.line()?.charge_crash(lease, number, crashes).await
    }

    async fn record(&self, task: TaskId, flushes: &[UnitFlush]) -> Result<Recorded, StoreError> {
        if self.cut.load(Ordering::SeqCst) {
            self.refused_flushes.send_modify(|count| *count += 1);
        }
        if *self.locked.lock().unwrap() == Some(task) {
            self.refused_flushes.send_modify(|count| *count += 1);
            return Err(StoreError::Conflict("the row is locked".into()));
        }
        if flushes.len() > 1 && self.refuse_together.load(Ordering::SeqCst) {
            self.refused_flushes.send_modify(|count| *count += 1);
            return Err(StoreError::Refused("not these together".into()));
        }
        // Held meanwhile: whoever knows of the record can start a trial only after it is counted.
        let mut unseen = self.unseen.lock().await;
        let recorded = self.line()?.record(task, flushes).await?;
        for (flush, written) in flushes.iter().zip(&recorded.written) {
            if *written == Written::Recorded {
                unseen.entry(task).or_default().is_recorded(flush);
            }
        }
        drop(unseen);
        let lose = |left: u32| left.checked_sub(1);
        if self
            .lost_answers
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose)
            .is_ok()
        {
            self.refused_flushes.send_modify(|count| *count += 1);
            return Err(away());
        }
        Ok(recorded)
    }

    async fn renew(
        &self,
        worker: WorkerId,
        leases: &[HeldLease],
    ) -> Result<Vec<LeaseOutcome>, StoreError> {
        self.line()?.renew(worker, leases).await
    }

    async fn controls(&self, tasks: &[TaskId]) -> Result<Vec<Control>, StoreError> {
        self.line()?.controls(tasks).await
    }

    async fn reap(&self) -> Result<Reaped, StoreError> {
        self.line()?.reap().await
    }

    async fn tidy(&self, keep: &Keep) -> Result<Tidied, StoreError> {
        self.line()?.tidy(keep).await
    }

    async fn quarantine(&self, worker: WorkerId, reason: Option<&str>) -> Result<(), StoreError> {
        self.line()?.quarantine(worker, reason).await
    }

    async fn announce(&self, card: &WorkerCard) -> Result<(), StoreError> {
        if self.silent_announcements.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.line()?.announce(card).await
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.line()?.leave(worker).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        self.line()?.workers().await
    }

    async fn ever_announced(&self, strategy: &str) -> Result<bool, StoreError> {
        self.line()?.ever_announced(strategy).await
    }

    async fn unit_summary(&self, id: TaskId) -> Result<UnitSummary, StoreError> {
        self.line()?.unit_summary(id).await
    }

    async fn put_market_data(
        &self,
        series: &[BarSeries],
        changes: &[RecordChange],
        source: &str,
    ) -> Result<Stored, StoreError> {
        self.line()?.put_market_data(series, changes, source).await
    }

    async fn series_info(&self, symbols: &[String]) -> Result<Vec<SeriesInfo>, StoreError> {
        self.line()?.series_info(symbols).await
    }

    async fn series_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<Vec<u8>>, StoreError> {
        self.line()?.series_bytes(hashes).await
    }

    async fn records_info(&self, symbols: &[String]) -> Result<Vec<RecordInfo>, StoreError> {
        self.line()?.records_info(symbols).await
    }

    async fn record_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<Vec<u8>>, StoreError> {
        self.line()?.record_bytes(hashes).await
    }

    async fn snapshot(&self, id: [u8; 32]) -> Result<Option<Snapshot>, StoreError> {
        self.line()?.snapshot(id).await
    }

    async fn verify(&self) -> Result<Vec<Violation>, StoreError> {
        self.line()?.verify().await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        self.line()?.writable().await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.store.changed()
    }
}
