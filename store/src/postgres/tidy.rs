//! Retention: what is no longer kept, removed a few thousand rows at a time.
//!
//! Each step is a transaction of its own under one advisory lock that it does not wait for: of
//! several processes one works. Nothing here touches a task that has not ended.

use super::PgError;
use super::task::int;
use crate::keep::{AUDIT_AGE, KEY_AGE, Keep, TIDY_ROWS, TIDY_TASKS, Tidied, WORKER_AGE};
use deadpool_postgres::{Object, Transaction};
use trialmill_common::state::TaskId;

/// Advisory lock of whoever removes.
const TIDY_LOCK: i64 = 0x7472_6961_6c6d_0003;

pub(super) async fn tidy(client: &mut Object, keep: &Keep) -> Result<Tidied, PgError> {
    let mut tidied = Tidied::default();
    let full = u64::from(TIDY_ROWS);
    if let Some(tx) = begin(client).await? {
        tidied.keys = keys(&tx).await?;
        tidied.workers = workers(&tx).await?;
        tidied.audit = audit(&tx).await?;
        tx.commit().await?;
    }
    tidied.more |= tidied.keys.max(tidied.workers).max(tidied.audit) >= full;
    if let Some(tx) = begin(client).await? {
        tidied.more |= events(&tx, keep, &mut tidied.events).await?;
        tx.commit().await?;
    }
    if let Some(tx) = begin(client).await? {
        tidied.more |= tasks(&tx, keep, &mut tidied).await?;
        tx.commit().await?;
    }
    if let Some(tx) = begin(client).await? {
        tidied.more |= trials(&tx, &mut tidied.trials).await?;
        tx.commit().await?;
    }
    Ok(tidied)
}

/// A transaction of the one process that removes now; nothing if that is another.
async fn begin(client: &mut Object) -> Result<Option<Transaction<'_>>, PgError> {
    let tx = client.transaction().await?;
    let lock = "select pg_try_advisory_xact_lock($1)";
    let mine: bool = tx.query_one(lock, &[&TIDY_LOCK]).await?.get(0);
    Ok(mine.then_some(tx))
}

async fn keys(tx: &Transaction<'_>) -> Result<u64, PgError> {
    let remove = "delete from idempotency_keys where (scope, key) in (
        select scope, key from idempotency_keys
        where created_at < now() - make_interval(secs => $1) order by created_at limit $2)";
    let rows = i64::from(TIDY_ROWS);
    Ok(tx.execute(remove, &[&KEY_AGE.as_secs_f64(), &rows]).await?)
}

/// Workers that are gone, unless none that was seen later can run all that they could.
async fn workers(tx: &Transaction<'_>) -> Result<u64, PgError> {
    let remove = "delete from workers where id in (
        select w.id from workers w
        where w.seen_at < now() - make_interval(secs => $1)
            and exists (select from workers n where n.strategies @> w.strategies
                and (n.seen_at, n.id) > (w.seen_at, w.id))
            and not exists (select from units u where u.state = 'leased' and u.owner = w.id)
        limit $2)";
    let rows = i64::from(TIDY_ROWS);
    Ok(tx
        .execute(remove, &[&WORKER_AGE.as_secs_f64(), &rows])
        .await?)
}

/// Old events of the audit. Only the oldest are looked at: they were written in the order of their
/// numbers.
async fn audit(tx: &Transaction<'_>) -> Result<u64, PgError> {
    let remove = "delete from audit_events where id in (
        select id from (select id, at from audit_events order by id limit $2) oldest
        where at < now() - make_interval(secs => $1))";
    let rows = i64::from(TIDY_ROWS);
    Ok(tx
        .execute(remove, &[&AUDIT_AGE.as_secs_f64(), &rows])
        .await?)
}

/// Events of tasks that ended long ago. Returns whether there is more.
async fn events(tx: &Transaction<'_>, keep: &Keep, removed: &mut u64) -> Result<bool, PgError> {
    let due = tx
        .query(
            "select id from tasks
             where completed_at < now() - make_interval(secs => $1) and not events_trimmed
             order by completed_at limit $2 for no key update skip locked",
            &[&keep.events.as_secs_f64(), &i64::from(TIDY_TASKS)],
        )
        .await?;
    let mut left = i64::from(TIDY_ROWS);
    for row in &due {
        let trimmed = trim_events(tx, TaskId(row.get(0)), left).await?;
        *removed += trimmed.events;
        left -= i64::try_from(trimmed.events).unwrap_or(left);
        if left <= 0 || !trimmed.done {
            return Ok(true);
        }
    }
    Ok(due.len() >= TIDY_TASKS as usize)
}

/// What one step removed of a task's events.
pub(super) struct Trimmed {
    pub events: u64,
    /// Whether only the last one is left.
    pub done: bool,
}

/// Removes the oldest events of an ended task whose row is locked, at most `most`, and never the
/// last: it says how the task ended.
pub(super) async fn trim_events(
    tx: &Transaction<'_>,
    id: TaskId,
    most: i64,
) -> Result<Trimmed, PgError> {
    let row = tx
        .query_one(
            "update tasks set events_from = greatest(events_from, least(events_from + $2, seq)),
                events_trimmed = events_from + $2 >= seq
             where id = $1
             returning events_from, events_trimmed",
            &[&id.0, &most.max(1)],
        )
        .await?;
    let from: i64 = row.get(0);
    let remove = "delete from task_events where task_id = $1 and seq < $2";
    let events = tx.execute(remove, &[&id.0, &from]).await?;
    Ok(Trimmed {
        events,
        done: row.get(1),
    })
}

/// Tasks that ended too long ago. Returns whether there is more.
async fn tasks(tx: &Transaction<'_>, keep: &Keep, tidied: &mut Tidied) -> Result<bool, PgError> {
    let Some(age) = keep.tasks else {
        return Ok(false);
    };
    let due = tx
        .query(
            "select id, events_trimmed from tasks
             where completed_at < now() - make_interval(secs => $1)
             order by completed_at limit $2 for update skip locked",
            &[&age.as_secs_f64(), &i64::from(TIDY_TASKS)],
        )
        .await?;
    let mut left = i64::from(TIDY_ROWS);
    for row in &due {
        let (id, mut trimmed) = (TaskId(row.get(0)), row.get::<_, bool>(1));
        if !trimmed {
            let step = trim_events(tx, id, left).await?;
            tidied.events += step.events;
            left -= i64::try_from(step.events).unwrap_or(left);
            trimmed = step.done;
        }
        if !trimmed {
            return Ok(true);
        }
        let trials = remove_task(tx, id).await?;
        tidied.trials += trials;
        tidied.tasks += 1;
        left -= i64::try_from(trials).unwrap_or(left);
        if left <= 0 {
            return Ok(true);
        }
    }
    Ok(due.len() >= TIDY_TASKS as usize)
}

/// Removes the row of an ended task, what hangs on it, and its first trials; how many of these. If
/// there are more, they are left to [`trials`].
pub(super) async fn remove_task(tx: &Transaction<'_>, id: TaskId) -> Result<u64, PgError> {
    let rows = int(TIDY_ROWS);
    tx.execute(
        "insert into deleted_tasks (task_id, next_number)
         select id, $2 from tasks where id = $1 and planned > $2 on conflict do nothing",
        &[&id.0, &rows],
    )
    .await?;
    let remove = "delete from trials where task_id = $1 and number < $2";
    let trials = tx.execute(remove, &[&id.0, &rows]).await?;
    // A key of a task that is gone is free, and goes with its day.
    tx.execute("delete from tasks where id = $1", &[&id.0])
        .await?;
    Ok(trials)
}

/// Trials of removed tasks. Returns whether there is more.
async fn trials(tx: &Transaction<'_>, removed: &mut u64) -> Result<bool, PgError> {
    let due = tx
        .query(
            "select task_id, next_number from deleted_tasks order by deleted_at limit $1
             for update skip locked",
            &[&i64::from(TIDY_TASKS)],
        )
        .await?;
    let rows = int(TIDY_ROWS);
    for row in &due {
        let (id, next): (uuid::Uuid, i32) = (row.get(0), row.get(1));
        let until = next.saturating_add(rows);
        *removed += tx
            .execute(
                "delete from trials where task_id = $1 and number >= $2 and number < $3",
                &[&id, &next, &until],
            )
            .await?;
        let done = tx
            .execute(
                "delete from deleted_tasks where task_id = $1 and not exists (
                    select from trials where task_id = $1 and number >= $2)",
                &[&id, &until],
            )
            .await?;
        if done == 0 {
            tx.execute(
                "update deleted_tasks set next_number = $2 where task_id = $1",
                &[&id, &until],
            )
            .await?;
        }
        if done == 0 || *removed >= u64::from(TIDY_ROWS) {
            return Ok(true);
        }
    }
    Ok(due.len() >= TIDY_TASKS as usize)
}
