//! SQLite: the embedded store, one file for one process.
//!
//! One connection lives on a thread of its own, named `sqlite`; an operation is a closure sent to
//! it over a bounded channel, with its answer on the way back. Dropping the last handle ends the
//! thread once what was sent before is done.
//!
//! Limits of this store: times have a step of one millisecond, names are searched without regard
//! to case for ASCII letters only, and the file serves one process at a time.

mod columns;
mod derive;
mod file;
mod flush;
mod holder;
mod keys;
mod market;
mod read;
mod records;
mod relay;
mod tasks;
mod tidy;
mod timers;
mod workers;

use crate::error::StoreError;
use crate::keys::{AuditEvent, AuditRow, KeyCensus, KeyPage, KeyRow, NewKey};
use crate::rows::{
    Claim, ControlOutcome, DueUnit, EarlierWork, Enqueued, EventRow, HeldLease, HistoryPage,
    HistoryRow, Idempotency, LeaseOutcome, MadeBefore, NewReport, NewTask, RecordInfo, Reported,
    RunningRow, SeriesInfo, Snapshot, Stored, Submitted, TaskFilter, TaskPage, TaskRow,
    TrialFilter, TrialRow, UnitRef, UnitSummary, WorkerRow,
};
use crate::verify::{RULES, Violation};
use crate::{Keep, Leadership, Reaped, Recorded, Store, Tidied, Timing, UnitFlush};
use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::market::RecordChange;
use trialmill_common::key::Quota;
use trialmill_common::protocol::Control;
use trialmill_common::state::{StopReason, TaskId, WorkerId};
use trialmill_common::trial::RunningTrial;
use trialmill_common::worker::WorkerCard;

/// Operations that wait for the connection before their senders wait too.
const QUEUED_OPERATIONS: usize = 64;

/// Statements kept prepared: all of this store fit.
const PREPARED_STATEMENTS: usize = 128;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The embedded store.
///
/// ```
/// use trialmill_store::{Store, Timing, sqlite::SqliteStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), trialmill_store::StoreError> {
/// let store = SqliteStore::open_in_memory(Timing::default())?;
/// store.writable().await?;
/// assert!(store.verify().await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SqliteStore {
    jobs: mpsc::Sender<Job>,
    timing: Timing,
    changed: Arc<watch::Sender<u64>>,
    led: Arc<Mutex<BTreeSet<String>>>,
}

impl SqliteStore {
    /// Opens the file, creates or migrates its tables, and locks it until the last handle is
    /// dropped. What an earlier process had leased is queued again: nobody else can hold it.
    /// Blocks for as long as that takes, and up to a second while another process holds the file.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when another process has the file open, or when it cannot be
    /// written; [`StoreError::Refused`] when it is no database of ours.
    pub fn open(path: impl AsRef<Path>, timing: Timing) -> Result<Self, StoreError> {
        Self::start(file::open(path.as_ref())?, timing)
    }

    /// An empty store that is gone when its last handle is dropped.
    ///
    /// # Errors
    /// When SQLite has no memory left for it.
    pub fn open_in_memory(timing: Timing) -> Result<Self, StoreError> {
        Self::start(file::open_in_memory()?, timing)
    }

    /// Another handle to the same connection that counts leases and graces by other durations.
    #[must_use]
    pub fn with_timing(&self, timing: Timing) -> Self {
        Self {
            timing,
            ..self.clone()
        }
    }

    fn start(mut connection: Connection, timing: Timing) -> Result<Self, StoreError> {
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUED_OPERATIONS);
        let work = move || {
            while let Some(job) = queue.blocking_recv() {
                // A panic is a fault of ours. Its transaction was rolled back while unwinding and
                // its caller is told (its answer is dropped); the other operations go on.
                if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
                    tracing::error!("an operation of the SQLite store panicked");
                }
            }
        };
        std::thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(work)
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let changed = Arc::new(watch::Sender::new(0));
        Ok(Self {
            jobs,
            timing,
            changed,
            led: Arc::default(),
        })
    }

    /// Runs `operation` in one transaction on the connection's thread.
    async fn transact<T: Send + 'static>(
        &self,
        behavior: TransactionBehavior,
        operation: impl FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let timing = self.timing.clone();
        let changed = Arc::clone(&self.changed);
        let job: Job = Box::new(move |connection| {
            let done = in_transaction(connection, behavior, &timing, operation);
            let done = done.map(|(value, news)| {
                if news {
                    changed.send_modify(|count| *count += 1);
                }
                value
            });
            // A caller that stopped waiting does not undo what was committed.
            drop(answer.send(done));
        });
        if self.jobs.send(job).await.is_err() {
            return Err(StoreError::Refused(
                "the thread of the SQLite store has ended".into(),
            ));
        }
        answered.await.unwrap_or_else(|_| {
            Err(StoreError::Refused(
                "the operation panicked; its log line says where".into(),
            ))
        })
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.transact(TransactionBehavior::Immediate, operation)
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.transact(TransactionBehavior::Deferred, operation)
            .await
    }
}

/// A transaction and what its operations need to know.
struct Tx<'a> {
    connection: &'a Connection,
    /// SQLite's clock at the start of the transaction, in microseconds since 1970.
    now: i64,
    /// Length of a lease in microseconds.
    lease: i64,
    /// Grace of a publish in microseconds.
    grace: i64,
    /// Whether the commit is news for watchers or the relay.
    news: Cell<bool>,
}

/// Runs `operation` and commits; returns its answer and whether it was news.
fn in_transaction<T>(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    timing: &Timing,
    operation: impl FnOnce(&Tx) -> Result<T, StoreError>,
) -> Result<(T, bool), StoreError> {
    let transaction = connection.transaction_with_behavior(behavior)?;
    let now = transaction
        .prepare_cached("select cast(round(unixepoch('subsec') * 1000) as integer) * 1000")?
        .query_row([], |row| row.get(0))?;
    let tx = Tx {
        connection: &transaction,
        now,
        lease: columns::micros(timing.lease),
        grace: columns::micros(timing.publish_grace),
        news: Cell::new(false),
    };
    let value = operation(&tx)?;
    let news = tx.news.get();
    transaction.commit()?;
    Ok((value, news))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match error.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Conflict(Box::new(error)),
            Some(
                Code::DiskFull
                | Code::SystemIoFailure
                | Code::CannotOpen
                | Code::ReadOnly
                | Code::PermissionDenied
                | Code::OutOfMemory,
            ) => Self::Unavailable(Box::new(error)),
            _ => Self::Refused(Box::new(error)),
        }
    }
}

/// The one relay of the process.
struct Led(Arc<Mutex<BTreeSet<String>>>, String);

#[async_trait]
impl Leadership for Led {
    async fn holds(&self) -> bool {
        true
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        let mut led = self.0.lock().expect("no panic while held");
        led.remove(&self.1);
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn submit_within(
        &self,
        task: NewTask,
        idempotency: Option<Idempotency>,
        quota: Quota,
    ) -> Result<Submitted, StoreError> {
        self.write(move |tx| tasks::submit(tx, &task, idempotency.as_ref(), quota))
            .await
    }

    async fn idempotent(&self, scope: &str, key: &str) -> Result<Option<MadeBefore>, StoreError> {
        let (scope, key) = (scope.to_owned(), key.to_owned());
        self.read(move |tx| tasks::made_before(tx, &scope, &key))
            .await
    }

    async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        self.read(move |tx| read::task(tx, id)).await
    }

    async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, StoreError> {
        self.read(move |tx| read::tasks(tx, &filter)).await
    }

    async fn stop(&self, id: TaskId, reason: StopReason) -> Result<ControlOutcome, StoreError> {
        self.write(move |tx| tasks::stop(tx, id, reason)).await
    }

    async fn pause(&self, id: TaskId) -> Result<ControlOutcome, StoreError> {
        self.write(move |tx| tasks::pause(tx, id)).await
    }

    async fn resume(&self, id: TaskId) -> Result<ControlOutcome, StoreError> {
        self.write(move |tx| tasks::resume(tx, id)).await
    }

    async fn delete(&self, id: TaskId) -> Result<ControlOutcome, StoreError> {
        // Few rows to a transaction, so that a long task does not hold the connection for long.
        while self
            .write(move |tx| tidy::trim_before_delete(tx, id))
            .await?
        {}
        self.write(move |tx| tasks::delete(tx, id)).await
    }

    async fn trials(&self, id: TaskId, filter: TrialFilter) -> Result<Vec<TrialRow>, StoreError> {
        self.read(move |tx| read::trials(tx, id, &filter)).await
    }

    async fn trial(&self, id: TaskId, number: u32) -> Result<Option<TrialRow>, StoreError> {
        self.read(move |tx| read::trial(tx, id, number)).await
    }

    async fn running_trials(
        &self,
        id: TaskId,
        numbers: Range<u32>,
    ) -> Result<Vec<RunningRow>, StoreError> {
        self.read(move |tx| read::running_trials(tx, id, &numbers))
            .await
    }

    async fn history(
        &self,
        id: TaskId,
        after: i64,
        numbers: Range<u32>,
    ) -> Result<HistoryPage, StoreError> {
        self.read(move |tx| read::history(tx, id, after, &numbers))
            .await
    }

    async fn outcomes(
        &self,
        id: TaskId,
        numbers: Range<u32>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        self.read(move |tx| read::outcomes(tx, id, &numbers, limit))
            .await
    }

    async fn earlier_work(&self, id: TaskId) -> Result<EarlierWork, StoreError> {
        self.read(move |tx| read::earlier_work(tx, id)).await
    }

    async fn run_result(&self, id: TaskId) -> Result<Option<serde_json::Value>, StoreError> {
        self.read(move |tx| read::run_result(tx, id)).await
    }

    async fn events(
        &self,
        id: TaskId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        self.read(move |tx| read::events(tx, id, after, limit))
            .await
    }

    async fn last_events(&self, ids: &[TaskId]) -> Result<BTreeMap<TaskId, i64>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |tx| read::last_events(tx, &ids)).await
    }

    async fn lead(&self, pool: &str) -> Result<Option<Box<dyn Leadership>>, StoreError> {
        let mut led = self.led.lock().expect("no panic while held");
        let fresh = led.insert(pool.to_owned());
        let held = || Led(Arc::clone(&self.led), pool.to_owned());
        Ok(fresh.then(|| Box::new(held()) as Box<dyn Leadership>))
    }

    async fn take_due(&self, pool: &str) -> Result<Vec<DueUnit>, StoreError> {
        let pool = pool.to_owned();
        self.write(move |tx| relay::take_due(tx, &pool)).await
    }

    async fn published(&self, units: &[UnitRef]) -> Result<(), StoreError> {
        let units = units.to_vec();
        self.write(move |tx| relay::published(tx, &units)).await
    }

    async fn queue_emptied(&self, pool: &str) -> Result<u64, StoreError> {
        let pool = pool.to_owned();
        self.write(move |tx| relay::queue_emptied(tx, &pool)).await
    }

    async fn next_due(&self, pool: &str) -> Result<Option<Duration>, StoreError> {
        let pool = pool.to_owned();
        self.read(move |tx| relay::next_due(tx, &pool)).await
    }

    async fn claim(&self, unit: UnitRef, worker: WorkerId) -> Result<Option<Claim>, StoreError> {
        let claim = move |tx: &Tx<'_>| holder::claim(tx, unit, worker, tx.lease);
        self.write(claim).await
    }

    async fn claim_next(
        &self,
        task: TaskId,
        holder: WorkerId,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        self.write(move |tx| holder::claim_next(tx, task, holder, lease))
            .await
    }

    async fn report(
        &self,
        lease: HeldLease,
        holder: WorkerId,
        go_on: Duration,
        report: Option<NewReport>,
    ) -> Result<Reported, StoreError> {
        self.write(move |tx| holder::report(tx, lease, holder, go_on, report.as_ref()))
            .await
    }

    async fn enqueue(
        &self,
        task: TaskId,
        from: u32,
        params: &[u8],
    ) -> Result<Enqueued, StoreError> {
        let params = params.to_vec();
        self.write(move |tx| holder::enqueue(tx, task, from, &params))
            .await
    }

    async fn start_trial(
        &self,
        lease: HeldLease,
        trial: &RunningTrial,
    ) -> Result<Option<Control>, StoreError> {
        let trial = trial.clone();
        self.write(move |tx| holder::start_trial(tx, lease, &trial))
            .await
    }

    async fn charge_crash(
        &self,
        lease: HeldLease,
        number: u32,
        crashes: u32,
    ) -> Result<Option<u32>, StoreError> {
        self.write(move |tx| holder::charge_crash(tx, lease, number, crashes))
            .await
    }

    async fn record(&self, task: TaskId, flushes: &[UnitFlush]) -> Result<Recorded, StoreError> {
        let flushes = flushes.to_vec();
        self.write(move |tx| flush::record(tx, task, &flushes))
            .await
    }

    async fn renew(
        &self,
        worker: WorkerId,
        leases: &[HeldLease],
    ) -> Result<Vec<LeaseOutcome>, StoreError> {
        let leases = leases.to_vec();
        self.write(move |tx| holder::renew(tx, worker, &leases))
            .await
    }

    async fn controls(&self, tasks: &[TaskId]) -> Result<Vec<Control>, StoreError> {
        let tasks = tasks.to_vec();
        self.read(move |tx| holder::controls(tx, &tasks)).await
    }

    async fn reap(&self) -> Result<Reaped, StoreError> {
        self.write(timers::reap).await
    }

    async fn tidy(&self, keep: &Keep) -> Result<Tidied, StoreError> {
        let keep = *keep;
        let keys = self.write(tidy::keys_audit_and_workers).await?;
        let events = self.write(move |tx| tidy::events(tx, &keep)).await?;
        let tasks = self.write(move |tx| tidy::tasks(tx, &keep)).await?;
        let trials = self.write(tidy::trials).await?;
        Ok(Tidied {
            events: events.events + tasks.events,
            keys: keys.keys,
            workers: keys.workers,
            audit: keys.audit,
            tasks: tasks.tasks,
            trials: tasks.trials + trials.trials,
            more: keys.more || events.more || tasks.more || trials.more,
        })
    }

    async fn announce(&self, card: &WorkerCard) -> Result<(), StoreError> {
        let card = card.clone();
        self.write(move |tx| workers::announce(tx, &card)).await
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.write(move |tx| workers::leave(tx, worker)).await
    }

    async fn quarantine(&self, worker: WorkerId, reason: Option<&str>) -> Result<(), StoreError> {
        let reason = reason.map(str::to_owned);
        self.write(move |tx| workers::quarantine(tx, worker, reason.as_deref()))
            .await
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        self.read(workers::workers).await
    }

    async fn ever_announced(&self, strategy: &str) -> Result<bool, StoreError> {
        let strategy = strategy.to_owned();
        self.read(move |tx| workers::ever_announced(tx, &strategy))
            .await
    }

    async fn unit_summary(&self, id: TaskId) -> Result<UnitSummary, StoreError> {
        self.read(move |tx| workers::unit_summary(tx, id)).await
    }

    async fn put_market_data(
        &self,
        series: &[BarSeries],
        changes: &[RecordChange],
        source: &str,
    ) -> Result<Stored, StoreError> {
        let packed: Vec<_> = series.iter().map(market::PackedSeries::of).collect();
        let (changes, source) = (changes.to_vec(), source.to_owned());
        self.write(move |tx| {
            Ok(Stored {
                series: market::put_series(tx, &packed, &source)?,
                records: records::put(tx, &changes, &source)?,
            })
        })
        .await
    }

    async fn series_info(&self, symbols: &[String]) -> Result<Vec<SeriesInfo>, StoreError> {
        let symbols = symbols.to_vec();
        self.read(move |tx| market::series_info(tx, &symbols)).await
    }

    async fn series_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<Vec<u8>>, StoreError> {
        let hashes = hashes.to_vec();
        self.read(move |tx| market::series_bytes(tx, &hashes)).await
    }

    async fn records_info(&self, symbols: &[String]) -> Result<Vec<RecordInfo>, StoreError> {
        let symbols = symbols.to_vec();
        self.read(move |tx| records::info(tx, &symbols)).await
    }

    async fn record_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<Vec<u8>>, StoreError> {
        let hashes = hashes.to_vec();
        self.read(move |tx| records::bytes(tx, &hashes)).await
    }

    async fn snapshot(&self, id: [u8; 32]) -> Result<Option<Snapshot>, StoreError> {
        self.read(move |tx| market::snapshot(tx, &id)).await
    }

    async fn create_key(&self, key: NewKey) -> Result<Option<KeyRow>, StoreError> {
        self.write(move |tx| keys::create(tx, &key)).await
    }

    async fn keys(&self) -> Result<KeyPage, StoreError> {
        self.read(keys::list).await
    }

    async fn revoke_key(&self, name: &str, by: &str) -> Result<Option<KeyRow>, StoreError> {
        let (name, by) = (name.to_owned(), by.to_owned());
        self.write(move |tx| keys::revoke(tx, &name, &by)).await
    }

    async fn key_by_hash(&self, hash: [u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        self.read(move |tx| keys::by_hash(tx, hash)).await
    }

    async fn key_census(&self) -> Result<KeyCensus, StoreError> {
        self.read(keys::census).await
    }

    async fn touch_key(&self, id: i64) -> Result<(), StoreError> {
        self.write(move |tx| keys::touch(tx, id)).await
    }

    async fn audit(&self, events: &[AuditEvent]) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.write(move |tx| keys::write_events(tx, &events)).await
    }

    async fn audit_page(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        self.read(move |tx| keys::events(tx, before, limit)).await
    }

    async fn verify(&self) -> Result<Vec<Violation>, StoreError> {
        let ask = |tx: &Tx| {
            let mut found = Vec::new();
            for &(rule, query) in RULES {
                let mut statement = tx.connection.prepare_cached(query)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    found.push(Violation {
                        rule,
                        task_id: row.get(0)?,
                        detail: row.get(1)?,
                    });
                }
            }
            Ok(found)
        };
        self.read(ask).await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        // Rewrites the header of the file: it reaches the disk, and means nothing.
        self.write(|tx| Ok(tx.connection.pragma_update(None, "user_version", 1)?))
            .await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
