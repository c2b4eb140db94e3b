//! The connections that are not pooled: renewals and the advisory lock on one session, and the
//! listener.

use super::link::Link;
use super::units::UNCHARGE;
use super::{CHANNEL, PgError, store_error};
use crate::error::StoreError;
use crate::rows::{HeldLease, LeaseOutcome};
use crate::{Leadership, postgres::task};
use futures::future::poll_fn;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio_postgres::{AsyncMessage, Client};
use trialmill_common::protocol::Control;
use trialmill_common::state::{TaskState, WorkerId};

/// Class of the advisory locks of the relays, one per pool.
const RELAY_LOCK: i32 = 0x7472_696d;
/// The server ends a session that is silent for this long, and its locks with it: a renewal or a
/// relay's question comes more often.
const SILENCE: &str = "30s";
/// A leader that is not answered within this time no longer counts on its lock.
const QUESTION: Duration = Duration::from_secs(5);
/// Advisory lock of whoever migrates.
pub(super) const MIGRATION_LOCK: i64 = 0x7472_6961_6c6d_0002;

/// One connection that is opened when it is needed and opened again when it is lost.
pub(super) struct Session {
    link: Link,
    client: Mutex<Option<Arc<Client>>>,
    /// Pools that this process relays.
    led: Arc<std::sync::Mutex<BTreeSet<String>>>,
}

impl Session {
    pub fn new(link: Link) -> Self {
        Self {
            link,
            client: Mutex::new(None),
            led: Arc::default(),
        }
    }

    async fn client(&self) -> Result<Arc<Client>, StoreError> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        // The time limit is on the whole of it: what accepts a connection may still not answer.
        let opened = tokio::time::timeout(QUESTION, open_session(&self.link)).await;
        let client = opened.map_err(|late| StoreError::Unavailable(Box::new(late)))??;
        let client = Arc::new(client);
        *slot = Some(client.clone());
        Ok(client)
    }

    /// Forgets a connection that failed, so that the next operation opens another.
    async fn forget(&self, failed: &Arc<Client>) {
        let mut slot = self.client.lock().await;
        if slot
            .as_ref()
            .is_some_and(|client| Arc::ptr_eq(client, failed))
        {
            *slot = None;
        }
    }

    /// Tries to take the relay's lock of a pool, which lives as long as the connection.
    pub async fn lead(&self, pool: &str) -> Result<Option<Box<dyn Leadership>>, StoreError> {
        // A session may take its own lock twice; this process must not.
        let fresh = self
            .led
            .lock()
            .expect("no panic while held")
            .insert(pool.to_owned());
        if !fresh {
            return Ok(None);
        }
        let attempt = self.try_lock(pool).await;
        if !matches!(attempt, Ok(Some(_))) {
            self.led.lock().expect("no panic while held").remove(pool);
        }
        let leadership = |client| {
            let (pool, led) = (pool.to_owned(), self.led.clone());
            Box::new(RelayLock { client, pool, led }) as Box<dyn Leadership>
        };
        Ok(attempt?.map(leadership))
    }

    async fn try_lock(&self, pool: &str) -> Result<Option<Arc<Client>>, StoreError> {
        let client = self.client().await?;
        let lock = "select pg_try_advisory_lock($1, hashtext($2))";
        let asked = async { client.query_one(lock, &[&RELAY_LOCK, &pool]).await };
        let failure = match tokio::time::timeout(QUESTION, asked).await {
            Ok(Ok(row)) => return Ok(row.get::<_, bool>(0).then_some(client)),
            Ok(Err(e)) => store_error(e),
            Err(late) => StoreError::Unavailable(Box::new(late)),
        };
        self.forget(&client).await;
        Err(failure)
    }

    /// Renews in one statement; a unit whose row is locked at the moment is being written by its
    /// own holder's flush, which renews it too. Who renews was not lost with any trial.
    pub async fn renew(
        &self,
        worker: WorkerId,
        leases: &[HeldLease],
        lease: Duration,
    ) -> Result<Vec<LeaseOutcome>, StoreError> {
        let client = self.client().await?;
        let tasks: Vec<_> = leases.iter().map(|l| l.unit.task.0).collect();
        let units: Vec<i32> = leases.iter().map(|l| task::int(l.unit.unit)).collect();
        let tokens: Vec<i64> = leases.iter().map(|l| l.token).collect();
        let seconds = lease.as_secs_f64();
        let seen = "update workers set seen_at = now(), left_at = null where id = $1";
        let renew = "
            update units u set lease_until = now() + make_interval(secs => $4)
            from (
                select u.task_id, u.number from units u
                join unnest($1::uuid[], $2::int4[], $3::int8[]) as held (task_id, number, token)
                    on u.task_id = held.task_id and u.number = held.number
                    and u.lease_token = held.token
                where u.state = 'leased'
                order by u.task_id, u.number
                for no key update of u skip locked) mine
            where u.task_id = mine.task_id and u.number = mine.number";
        let control = "
            select u.task_id, u.number, u.lease_token, t.state, t.stop_requested is not null
            from unnest($1::uuid[], $2::int4[]) as held (task_id, number)
            join units u on u.task_id = held.task_id and u.number = held.number
            join tasks t on t.id = u.task_id
            where u.state = 'leased'";
        let answer = async {
            client.execute(seen, &[&worker.0]).await?;
            client.execute(UNCHARGE, &[&worker.0]).await?;
            if leases.is_empty() {
                return Ok(Vec::new());
            }
            client
                .execute(renew, &[&tasks, &units, &tokens, &seconds])
                .await?;
            client.query(control, &[&tasks, &units]).await
        };
        // A connection that swallows bytes must not cost the lease.
        let rows = match tokio::time::timeout((lease / 2).max(QUESTION / 5), answer).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(e)) => {
                self.forget(&client).await;
                return Err(store_error(e));
            }
            Err(late) => {
                self.forget(&client).await;
                return Err(StoreError::Unavailable(Box::new(late)));
            }
        };
        let mut held = HashMap::new();
        for row in rows {
            let state: TaskState = task::named(&row, 3).map_err(PgError::into_store)?;
            let stopping: bool = row.get(4);
            let control = Control::of(state, stopping);
            let key: (uuid::Uuid, i32, i64) = (row.get(0), row.get(1), row.get(2));
            held.insert(key, control);
        }
        let outcome = |l: &HeldLease| {
            let key = (l.unit.task.0, task::int(l.unit.unit), l.token);
            held.get(&key)
                .map_or(LeaseOutcome::Lost, |control| LeaseOutcome::Held(*control))
        };
        Ok(leases.iter().map(outcome).collect())
    }
}

impl PgError {
    fn into_store(self) -> StoreError {
        self.into()
    }
}

async fn open_session(link: &Link) -> Result<Client, StoreError> {
    let connected = link.connect().await;
    let (client, connection) = connected.map_err(|error| link.fault(&error))?;
    tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, "the session connection ended");
        }
    });
    client
        .batch_execute(&format!("set idle_session_timeout = '{SILENCE}'"))
        .await
        .map_err(store_error)?;
    Ok(client)
}

/// The relay's advisory lock, tied to the session that took it.
struct RelayLock {
    client: Arc<Client>,
    pool: String,
    led: Arc<std::sync::Mutex<BTreeSet<String>>>,
}

#[async_trait::async_trait]
impl Leadership for RelayLock {
    async fn holds(&self) -> bool {
        // Asking also keeps the session from being ended for silence.
        let asked = self.client.batch_execute("select 1");
        matches!(tokio::time::timeout(QUESTION, asked).await, Ok(Ok(())))
    }
}

impl Drop for RelayLock {
    fn drop(&mut self) {
        self.led
            .lock()
            .expect("no panic while held")
            .remove(&self.pool);
        let (client, pool) = (self.client.clone(), std::mem::take(&mut self.pool));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let unlock = "select pg_advisory_unlock($1, hashtext($2))";
                // If this fails the session is gone, and the lock with it.
                let _ = client.execute(unlock, &[&RELAY_LOCK, &pool]).await;
            });
        }
    }
}

/// Turns notifications into changes of the watch, for ever; a change is also reported whenever
/// the connection comes (back), since something may have been missed.
pub(super) async fn listen(link: Link, changed: Arc<watch::Sender<u64>>) {
    let mut pause = Duration::from_millis(100);
    loop {
        let opened = tokio::time::timeout(QUESTION, link.connect()).await;
        if let Ok(Ok((client, mut connection))) = opened {
            pause = Duration::from_millis(100);
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            let driver = tokio::spawn(async move {
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notification(_) = message {
                        // The receiver lives as long as this connection is listened to.
                        let _ = sender.send(());
                    }
                }
            });
            if client
                .batch_execute(&format!("listen {CHANNEL}"))
                .await
                .is_ok()
            {
                changed.send_modify(|n| *n += 1);
                while receiver.recv().await.is_some() {
                    while receiver.try_recv().is_ok() {}
                    changed.send_modify(|n| *n += 1);
                }
            }
            driver.abort();
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}
