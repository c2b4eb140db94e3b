//! The store on PostgreSQL (13 or newer; tried on 15).
//!
//! Connections: a pool for operations, one session of its own for renewals and the relay's
//! advisory lock (a full pool must not cost a lease), and one that listens. Every connection has
//! its timeouts set; one that reports a read-only or stopping server leaves the pool.

mod address;
mod checks;
mod control;
mod derive;
mod history;
mod keys;
mod link;
mod market;
mod reads;
mod record;
mod records;
mod session;
mod submit;
mod task;
mod tidy;
mod timers;
mod units;
mod workers;

use crate::error::StoreError;
use crate::keys::{AuditEvent, AuditRow, KeyCensus, KeyPage, KeyRow, NewKey};
use crate::rows::{
    Claim, ControlOutcome, DueUnit, EarlierWork, Enqueued, EventRow, HeldLease, HistoryPage,
    HistoryRow, Idempotency, LeaseOutcome, MadeBefore, NewReport, NewTask, RecordInfo, Reported,
    RunningRow, SeriesInfo, Snapshot, Stored, Submitted, TaskFilter, TaskPage, TaskRow,
    TrialFilter, TrialRow, UnitRef, UnitSummary, WorkerRow,
};
use crate::verify::Violation;
use crate::{Keep, Leadership, Reaped, Recorded, Store, Tidied, Timing, UnitFlush, migrate};
use async_trait::async_trait;
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use link::Link;
use session::Session;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_postgres::error::SqlState;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::market::RecordChange;
use trialmill_common::key::Quota;
use trialmill_common::protocol::Control;
use trialmill_common::state::{StopReason, TaskId, WorkerId};
use trialmill_common::trial::RunningTrial;
use trialmill_common::worker::WorkerCard;
use trialmill_tls::Trust;

pub use address::CA_SETTING;

/// The channel on which stores tell each other that something changed.
const CHANNEL: &str = "trialmill";
/// Wake-ups of one process are gathered for this long after a commit.
const WAKE_AFTER: Duration = Duration::from_millis(50);
/// A transaction that lost against another is repeated this often before the caller hears of it.
const MAX_REPEATS: u32 = 8;

/// How a store uses its database.
#[derive(Debug, Clone)]
pub struct PgOptions {
    /// Connections for operations. An API wants eight, a worker two.
    pub pool_size: usize,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    /// How long to wait for a connection, a new one or a free one.
    pub connect_timeout: Duration,
    /// A statement that takes longer is cancelled; below half a lease, so that a hanging flush
    /// cannot outlive it.
    pub statement_timeout: Duration,
    /// Whose certificates are believed where TLS is spoken. With a file of authorities TLS is
    /// demanded unless the address has an `sslmode`; without, `sslmode` is `prefer`.
    pub trust: Trust,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            pool_size: 8,
            application_name: "trialmill".to_owned(),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(14),
            trust: Trust::system(CA_SETTING),
        }
    }
}

/// Runs one operation on a pooled connection, again when its transaction lost against another.
/// (A macro: a closure that borrows both its connection and its surroundings has no nameable
/// future that is `Send`.)
macro_rules! run {
    ($store:expr, |$client:ident| $operation:expr) => {{
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut object = $store.connection().await?;
            let $client = &mut object;
            match $operation.await {
                Ok(answer) => break Ok::<_, StoreError>(answer),
                Err(failure) => $store.again(object, failure, attempt)?,
            }
        }
    }};
}

/// The store on PostgreSQL.
pub struct PgStore {
    pool: Pool,
    link: Link,
    session: Session,
    timing: Timing,
    changed: Arc<watch::Sender<u64>>,
    wake: Arc<Notify>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for PgStore {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl PgStore {
    /// Brings the schema of a database to this build's version. One process migrates at a time.
    ///
    /// # Errors
    /// When the database cannot be reached, or a migration fails (it is rolled back).
    pub async fn migrate(url: &str) -> Result<(), StoreError> {
        Self::migrate_trusting(url, Trust::system(CA_SETTING)).await
    }

    /// The same where TLS has authorities of its own.
    ///
    /// # Errors
    /// As [`PgStore::migrate`].
    pub async fn migrate_trusting(url: &str, trust: Trust) -> Result<(), StoreError> {
        // A migration may take longer than any operation.
        let options = PgOptions {
            application_name: "trialmill-migrate".to_owned(),
            statement_timeout: Duration::from_secs(3600),
            trust,
            ..PgOptions::default()
        };
        let link = Link::new(url, &options)?;
        let connected = link.connect().await;
        let (mut client, connection) =
            connected.map_err(|error| link::at_start(link.fault(&error)))?;
        let connection = tokio::spawn(connection);
        client
            .batch_execute(&format!(
                "select pg_advisory_lock({})",
                session::MIGRATION_LOCK
            ))
            .await
            .map_err(store_error)?;
        let outcome = migrate::on_postgres::migrations::runner()
            .run_async(&mut client)
            .await;
        drop(client);
        // The connection ends with its client; whether it ended well no longer matters.
        let _ = connection.await;
        outcome
            .map(drop)
            .map_err(|e| StoreError::Refused(Box::new(e)))
    }

    /// Opens a database whose schema is at least this build's.
    ///
    /// # Errors
    /// When the address is malformed, the database cannot be reached or its TLS is not accepted, or
    /// its schema is older.
    pub async fn connect(
        url: &str,
        options: PgOptions,
        timing: Timing,
    ) -> Result<Self, StoreError> {
        let link = Link::new(url, &options)?;
        let manager = Manager::from_connect(
            link.config().clone(),
            link.clone(),
            ManagerConfig {
                recycling_method: RecyclingMethod::Verified,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(options.pool_size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(options.connect_timeout))
            .create_timeout(Some(options.connect_timeout))
            .recycle_timeout(Some(options.connect_timeout))
            .build()
            .map_err(|e| StoreError::Address(e.to_string()))?;
        let changed = Arc::new(watch::Sender::new(0));
        let wake = Arc::new(Notify::new());
        let tasks = vec![
            tokio::spawn(session::listen(link.clone(), changed.clone())),
            tokio::spawn(wake_others(pool.clone(), wake.clone())),
        ];
        let store = Self {
            pool,
            session: Session::new(link.clone()),
            link,
            timing,
            changed,
            wake,
            tasks,
        };
        store.check_schema().await.map_err(link::at_start)?;
        Ok(store)
    }

    async fn check_schema(&self) -> Result<(), StoreError> {
        let found = run!(self, |client| checks::schema_version(client))?;
        let oldest = run!(self, |client| checks::oldest_build(client))?;
        let version = |number: i32| u32::try_from(number).unwrap_or(0);
        migrate::check(version(found), oldest.map(version))
    }

    async fn connection(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|e| match e {
            PoolError::Backend(e) => self.link.pool_fault(&e),
            other => StoreError::Unavailable(Box::new(other)),
        })
    }

    /// Decides after a failed attempt: `Ok` to repeat the operation, else its failure.
    fn again(&self, client: Object, failure: PgError, attempt: u32) -> Result<(), StoreError> {
        if let PgError::Database(e) = &failure
            && leaves_the_pool(e)
        {
            drop(Object::take(client));
        }
        match StoreError::from(failure) {
            StoreError::Conflict(e) if attempt < MAX_REPEATS => {
                tracing::debug!(attempt, error = %e, "repeating a transaction");
                Ok(())
            }
            failure => Err(failure),
        }
    }

    /// Something was committed that the relay or watchers wait for: wakes this process now and
    /// the others soon.
    fn committed(&self) {
        self.changed.send_modify(|n| *n += 1);
        self.wake.notify_one();
    }
}

/// Tells other processes of commits, once per [`WAKE_AFTER`] however many there were.
async fn wake_others(pool: Pool, wake: Arc<Notify>) {
    loop {
        wake.notified().await;
        tokio::time::sleep(WAKE_AFTER).await;
        // A lost wake-up costs a poll interval, nothing else.
        if let Ok(client) = pool.get().await {
            let sent = client
                .execute("select pg_notify($1, '')", &[&CHANNEL])
                .await;
            if let Err(e) = sent {
                tracing::debug!(error = %e, "wake-up not sent");
            }
        }
    }
}

/// Why an operation on a connection ended: the database, or a row that cannot be read.
#[derive(Debug)]
enum PgError {
    Database(tokio_postgres::Error),
    Store(StoreError),
}

impl From<tokio_postgres::Error> for PgError {
    fn from(e: tokio_postgres::Error) -> Self {
        Self::Database(e)
    }
}

impl From<StoreError> for PgError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<PgError> for StoreError {
    fn from(e: PgError) -> Self {
        match e {
            PgError::Database(e) => store_error(e),
            PgError::Store(e) => e,
        }
    }
}

/// Whether a connection that reported this is of no more use: its server is read-only or
/// stopping, or has ended the session.
fn leaves_the_pool(e: &tokio_postgres::Error) -> bool {
    e.code().is_some_and(|code| {
        *code == SqlState::READ_ONLY_SQL_TRANSACTION
            || code.code().starts_with("57P0")
            || code.code().starts_with("25P")
    })
}

/// What a failure of the database means for the caller.
fn store_error(e: tokio_postgres::Error) -> StoreError {
    let Some(code) = e.code() else {
        // No SQLSTATE: the connection failed, or a value has no place in a column's type.
        let source = std::error::Error::source(&e);
        let connection = e.is_closed() || source.is_none_or(|s| s.is::<std::io::Error>());
        return match connection {
            true => StoreError::Unavailable(link::with_causes(&e).into()),
            false => StoreError::Refused(Box::new(e)),
        };
    };
    let conflict = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ];
    // Class 08: connection; 53: resources; 57: operator intervention (shutdown, timeout);
    // 58: system error; 55P03: a lock was not had in time; 25P: the session was ended for
    // being idle; 25006: the server has become read-only. A cancelled statement (57014) is here
    // too: what took too long may not take too long later.
    let away = ["08", "53", "55P", "57", "58", "25P"]
        .iter()
        .any(|class| code.code().starts_with(class));
    if conflict.contains(code) {
        StoreError::Conflict(Box::new(e))
    } else if away || *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        StoreError::Unavailable(link::with_causes(&e).into())
    } else {
        let what = e.as_db_error().map_or_else(
            || e.to_string(),
            |db| {
                let at = db
                    .constraint()
                    .map(|c| format!(" (constraint {c})"))
                    .unwrap_or_default();
                format!("{}{at}, SQLSTATE {}", db.message(), code.code())
            },
        );
        StoreError::Refused(what.into())
    }
}

#[async_trait]
impl Store for PgStore {
    async fn submit_within(
        &self,
        task: NewTask,
        idempotency: Option<Idempotency>,
        quota: Quota,
    ) -> Result<Submitted, StoreError> {
        let lease = self.timing.lease;
        let answer = run!(self, |client| submit::submit(
            client,
            &task,
            idempotency.as_ref(),
            quota,
            lease
        ))?;
        self.committed();
        Ok(answer)
    }

    async fn idempotent(&self, scope: &str, key: &str) -> Result<Option<MadeBefore>, StoreError> {
        run!(self, |client| submit::made_before(client, scope, key))
    }

    async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        run!(self, |client| task::find(client, id))
    }

    async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, StoreError> {
        run!(self, |client| reads::tasks(client, &filter))
    }

    async fn stop(&self, id: TaskId, reason: StopReason) -> Result<ControlOutcome, StoreError> {
        let answer = run!(self, |client| control::stop(client, id, reason))?;
        self.committed();
        Ok(answer)
    }

    async fn pause(&self, id: TaskId) -> Result<ControlOutcome, StoreError> {
        let answer = run!(self, |client| control::pause(client, id))?;
        self.committed();
        Ok(answer)
    }

    async fn resume(&self, id: TaskId) -> Result<ControlOutcome, StoreError> {
        let lease = self.timing.lease;
        let answer = run!(self, |client| control::resume(client, id, lease))?;
        self.committed();
        Ok(answer)
    }

    async fn delete(&self, id: TaskId) -> Result<ControlOutcome, StoreError> {
        // Few rows to a transaction, so that a long task does not hold one for long.
        while run!(self, |client| control::trim_before_delete(client, id))? {}
        run!(self, |client| control::delete(client, id))
    }

    async fn trials(&self, id: TaskId, filter: TrialFilter) -> Result<Vec<TrialRow>, StoreError> {
        run!(self, |client| reads::trials(client, id, &filter))
    }

    async fn trial(&self, id: TaskId, number: u32) -> Result<Option<TrialRow>, StoreError> {
        run!(self, |client| reads::trial(client, id, number))
    }

    async fn running_trials(
        &self,
        id: TaskId,
        numbers: Range<u32>,
    ) -> Result<Vec<RunningRow>, StoreError> {
        run!(self, |client| reads::running_trials(client, id, &numbers))
    }

    async fn history(
        &self,
        id: TaskId,
        after: i64,
        numbers: Range<u32>,
    ) -> Result<HistoryPage, StoreError> {
        run!(self, |client| history::history(client, id, after, &numbers))
    }

    async fn outcomes(
        &self,
        id: TaskId,
        numbers: Range<u32>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        run!(self, |client| history::outcomes(
            client, id, &numbers, limit
        ))
    }

    async fn earlier_work(&self, id: TaskId) -> Result<EarlierWork, StoreError> {
        run!(self, |client| reads::earlier_work(client, id))
    }

    async fn run_result(&self, id: TaskId) -> Result<Option<serde_json::Value>, StoreError> {
        run!(self, |client| reads::run_result(client, id))
    }

    async fn events(
        &self,
        id: TaskId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        run!(self, |client| reads::events(client, id, after, limit))
    }

    async fn last_events(&self, ids: &[TaskId]) -> Result<BTreeMap<TaskId, i64>, StoreError> {
        run!(self, |client| reads::last_events(client, ids))
    }

    async fn lead(&self, pool: &str) -> Result<Option<Box<dyn Leadership>>, StoreError> {
        self.session.lead(pool).await
    }

    async fn take_due(&self, pool: &str) -> Result<Vec<DueUnit>, StoreError> {
        let timing = &self.timing;
        run!(self, |client| units::take_due(client, pool, timing))
    }

    async fn published(&self, units: &[UnitRef]) -> Result<(), StoreError> {
        run!(self, |client| units::published(client, units))
    }

    async fn queue_emptied(&self, pool: &str) -> Result<u64, StoreError> {
        let due = run!(self, |client| units::queue_emptied(client, pool))?;
        if due > 0 {
            self.committed();
        }
        Ok(due)
    }

    async fn next_due(&self, pool: &str) -> Result<Option<Duration>, StoreError> {
        run!(self, |client| units::next_due(client, pool))
    }

    async fn claim(&self, unit: UnitRef, worker: WorkerId) -> Result<Option<Claim>, StoreError> {
        let lease = self.timing.lease;
        run!(self, |client| units::claim(client, unit, worker, lease))
    }

    async fn claim_next(
        &self,
        task: TaskId,
        holder: WorkerId,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        run!(self, |client| units::claim_next(
            client, task, holder, lease
        ))
    }

    async fn report(
        &self,
        lease: HeldLease,
        holder: WorkerId,
        go_on: Duration,
        report: Option<NewReport>,
    ) -> Result<Reported, StoreError> {
        let report = report.as_ref();
        run!(self, |client| units::report(
            client, lease, holder, go_on, report
        ))
    }

    async fn enqueue(
        &self,
        task: TaskId,
        from: u32,
        params: &[u8],
    ) -> Result<Enqueued, StoreError> {
        run!(self, |client| units::enqueue(client, task, from, params))
    }

    async fn start_trial(
        &self,
        lease: HeldLease,
        trial: &RunningTrial,
    ) -> Result<Option<Control>, StoreError> {
        run!(self, |client| units::start_trial(client, lease, trial))
    }

    async fn charge_crash(
        &self,
        lease: HeldLease,
        number: u32,
        crashes: u32,
    ) -> Result<Option<u32>, StoreError> {
        run!(self, |client| units::charge_crash(
            client, lease, number, crashes
        ))
    }

    async fn record(&self, task: TaskId, flushes: &[UnitFlush]) -> Result<Recorded, StoreError> {
        let lease = self.timing.lease;
        let answer = run!(self, |client| record::record(client, task, flushes, lease))?;
        self.committed();
        Ok(answer)
    }

    async fn renew(
        &self,
        worker: WorkerId,
        leases: &[HeldLease],
    ) -> Result<Vec<LeaseOutcome>, StoreError> {
        self.session.renew(worker, leases, self.timing.lease).await
    }

    async fn controls(&self, tasks: &[TaskId]) -> Result<Vec<Control>, StoreError> {
        run!(self, |client| control::controls(client, tasks))
    }

    async fn reap(&self) -> Result<Reaped, StoreError> {
        let lease = self.timing.lease;
        let reaped = run!(self, |client| timers::reap(client, lease))?;
        if reaped != Reaped::default() {
            self.committed();
        }
        Ok(reaped)
    }

    async fn tidy(&self, keep: &Keep) -> Result<Tidied, StoreError> {
        run!(self, |client| tidy::tidy(client, keep))
    }

    async fn announce(&self, card: &WorkerCard) -> Result<(), StoreError> {
        run!(self, |client| workers::announce(client, card))?;
        self.committed();
        Ok(())
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        run!(self, |client| workers::leave(client, worker))
    }

    async fn quarantine(&self, worker: WorkerId, reason: Option<&str>) -> Result<(), StoreError> {
        run!(self, |client| workers::quarantine(client, worker, reason))
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        let lease = self.timing.lease;
        run!(self, |client| workers::list(client, lease))
    }

    async fn ever_announced(&self, strategy: &str) -> Result<bool, StoreError> {
        run!(self, |client| workers::ever_announced(client, strategy))
    }

    async fn unit_summary(&self, id: TaskId) -> Result<UnitSummary, StoreError> {
        let lease = self.timing.lease;
        run!(self, |client| reads::unit_summary(client, id, lease))
    }

    async fn put_market_data(
        &self,
        series: &[BarSeries],
        changes: &[RecordChange],
        source: &str,
    ) -> Result<Stored, StoreError> {
        run!(self, |client| market::put(client, series, changes, source))
    }

    async fn series_info(&self, symbols: &[String]) -> Result<Vec<SeriesInfo>, StoreError> {
        run!(self, |client| market::series_info(client, symbols))
    }

    async fn series_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<Vec<u8>>, StoreError> {
        run!(self, |client| market::series_bytes(client, hashes))
    }

    async fn records_info(&self, symbols: &[String]) -> Result<Vec<RecordInfo>, StoreError> {
        run!(self, |client| records::info(client, symbols))
    }

    async fn record_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<Vec<u8>>, StoreError> {
        run!(self, |client| records::bytes(client, hashes))
    }

    async fn snapshot(&self, id: [u8; 32]) -> Result<Option<Snapshot>, StoreError> {
        run!(self, |client| market::snapshot(client, id))
    }

    async fn create_key(&self, key: NewKey) -> Result<Option<KeyRow>, StoreError> {
        run!(self, |client| keys::create(client, &key))
    }

    async fn keys(&self) -> Result<KeyPage, StoreError> {
        run!(self, |client| keys::list(client))
    }

    async fn revoke_key(&self, name: &str, by: &str) -> Result<Option<KeyRow>, StoreError> {
        run!(self, |client| keys::revoke(client, name, by))
    }

    async fn key_by_hash(&self, hash: [u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        run!(self, |client| keys::by_hash(client, &hash))
    }

    async fn key_census(&self) -> Result<KeyCensus, StoreError> {
        run!(self, |client| keys::census(client))
    }

    async fn touch_key(&self, id: i64) -> Result<(), StoreError> {
        run!(self, |client| keys::touch(client, id))
    }

    async fn audit(&self, events: &[AuditEvent]) -> Result<(), StoreError> {
        run!(self, |client| keys::write_events(&*client, events))
    }

    async fn audit_page(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        run!(self, |client| keys::events(client, before, limit))
    }

    async fn verify(&self) -> Result<Vec<Violation>, StoreError> {
        run!(self, |client| checks::verify(client))
    }

    async fn writable(&self) -> Result<(), StoreError> {
        run!(self, |client| checks::writable(client))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
