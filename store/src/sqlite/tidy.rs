//! Retention: what is no longer kept, removed a few thousand rows at a time, each step in a
//! transaction of its own. Nothing here touches a task that has not ended.

use super::Tx;
use super::columns::{micros, task_id};
use crate::error::StoreError;
use crate::keep::{AUDIT_AGE, KEY_AGE, Keep, TIDY_ROWS, TIDY_TASKS, Tidied, WORKER_AGE};
use rusqlite::params;
use std::time::Duration;
use trialmill_common::state::TaskId;

fn before(tx: &Tx, age: Duration) -> i64 {
    tx.now.saturating_sub(micros(age))
}

fn removed(rows: usize) -> u64 {
    u64::try_from(rows).expect("a count of rows")
}

/// Idempotency keys, old events of the audit (only the oldest are looked at: they were written in
/// the order of their numbers), and workers that are gone, unless none that was seen later can run
/// all that they could.
pub(super) fn keys_audit_and_workers(tx: &Tx) -> Result<Tidied, StoreError> {
    let keys = tx
        .connection
        .prepare_cached(
            "delete from idempotency_keys where (scope, key) in (
                select scope, key from idempotency_keys where created_at < ?1
                order by created_at limit ?2)",
        )?
        .execute(params![before(tx, KEY_AGE), TIDY_ROWS])?;
    let workers = tx
        .connection
        .prepare_cached(
            "delete from workers where id in (
                select w.id from workers w
                where w.seen_at < ?1
                    and exists (select 1 from workers n
                        where (n.seen_at, n.id) > (w.seen_at, w.id)
                            and not exists (select 1 from json_each(w.strategies) s
                                where s.value not in (select value from json_each(n.strategies))))
                    and not exists (select 1 from units u
                        where u.state = 'leased' and u.owner = w.id)
                limit ?2)",
        )?
        .execute(params![before(tx, WORKER_AGE), TIDY_ROWS])?;
    let audit = tx
        .connection
        .prepare_cached(
            "delete from audit_events where id in (
                select id from (select id, at from audit_events order by id limit ?2)
                where at < ?1)",
        )?
        .execute(params![before(tx, AUDIT_AGE), TIDY_ROWS])?;
    Ok(Tidied {
        keys: removed(keys),
        workers: removed(workers),
        audit: removed(audit),
        more: keys.max(workers).max(audit) >= TIDY_ROWS as usize,
        ..Tidied::default()
    })
}

/// Events of tasks that ended long ago.
pub(super) fn events(tx: &Tx, keep: &Keep) -> Result<Tidied, StoreError> {
    let due = ended(
        tx,
        "completed_at < ?1 and not events_trimmed",
        before(tx, keep.events),
    )?;
    let mut tidied = Tidied {
        more: due.len() >= TIDY_TASKS as usize,
        ..Tidied::default()
    };
    let mut left = TIDY_ROWS;
    for (id, _) in due {
        let (events, done) = trim_events(tx, id, left)?;
        tidied.events += u64::from(events);
        left = left.saturating_sub(events);
        if left == 0 || !done {
            tidied.more = true;
            break;
        }
    }
    Ok(tidied)
}

/// Tasks that ended too long ago.
pub(super) fn tasks(tx: &Tx, keep: &Keep) -> Result<Tidied, StoreError> {
    let Some(age) = keep.tasks else {
        return Ok(Tidied::default());
    };
    let due = ended(tx, "completed_at < ?1", before(tx, age))?;
    let mut tidied = Tidied {
        more: due.len() >= TIDY_TASKS as usize,
        ..Tidied::default()
    };
    let mut left = TIDY_ROWS;
    for (id, mut trimmed) in due {
        if !trimmed {
            let (events, done) = trim_events(tx, id, left)?;
            tidied.events += u64::from(events);
            left = left.saturating_sub(events);
            trimmed = done;
        }
        if trimmed {
            let trials = remove_task(tx, id)?;
            tidied.trials += u64::from(trials);
            tidied.tasks += 1;
            left = left.saturating_sub(trials);
        }
        if left == 0 || !trimmed {
            tidied.more = true;
            break;
        }
    }
    Ok(tidied)
}

/// Tasks that ended before a time, oldest first, and whether their events are trimmed.
fn ended(tx: &Tx, condition: &str, time: i64) -> Result<Vec<(TaskId, bool)>, StoreError> {
    let query = format!(
        "select id, events_trimmed from tasks where completed_at is not null and {condition}
         order by completed_at limit ?2"
    );
    let mut statement = tx.connection.prepare_cached(&query)?;
    let mut rows = statement.query(params![time, TIDY_TASKS])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((task_id(&row.get::<_, String>(0)?)?, row.get(1)?));
    }
    Ok(found)
}

/// Removes the oldest events of an ended task, at most `most`, and never the last: it says how the
/// task ended. Returns how many, and whether only the last one is left.
fn trim_events(tx: &Tx, id: TaskId, most: u32) -> Result<(u32, bool), StoreError> {
    let id = id.to_string();
    let most = most.max(1);
    let (from, done): (i64, bool) = tx
        .connection
        .prepare_cached(
            "update tasks set events_from = max(events_from, min(events_from + ?2, seq)),
                events_trimmed = events_from + ?2 >= seq
             where id = ?1 returning events_from, events_trimmed",
        )?
        .query_row(params![id, most], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let events = tx
        .connection
        .prepare_cached("delete from task_events where task_id = ?1 and seq < ?2")?
        .execute(params![id, from])?;
    Ok((u32::try_from(events).unwrap_or(most), done))
}

/// Removes some events of an ended task, so that the transaction that removes it has few rows.
/// Returns whether there are more.
pub(super) fn trim_before_delete(tx: &Tx, id: TaskId) -> Result<bool, StoreError> {
    let ended = tx
        .connection
        .prepare_cached("select 1 from tasks where id = ?1 and completed_at is not null")?
        .exists([id.to_string()])?;
    Ok(ended && !trim_events(tx, id, TIDY_ROWS)?.1)
}

/// Removes the row of an ended task, what hangs on it, and its first trials; how many of these. If
/// there are more, they are left to [`trials`]. Its snapshot stays, others may pin it.
pub(super) fn remove_task(tx: &Tx, id: TaskId) -> Result<u32, StoreError> {
    let id = id.to_string();
    tx.connection
        .prepare_cached(
            "insert into deleted_tasks (task_id, next_number, deleted_at)
             select id, ?2, ?3 from tasks where id = ?1 and planned > ?2
             on conflict do nothing",
        )?
        .execute(params![id, TIDY_ROWS, tx.now])?;
    let trials = tx
        .connection
        .prepare_cached("delete from trials where task_id = ?1 and number < ?2")?
        .execute(params![id, TIDY_ROWS])?;
    // A key of a task that is gone is free, and goes with its day.
    tx.connection
        .execute("delete from tasks where id = ?1", [&id])?;
    Ok(u32::try_from(trials).unwrap_or(TIDY_ROWS))
}

/// Trials of removed tasks.
pub(super) fn trials(tx: &Tx) -> Result<Tidied, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select task_id, next_number from deleted_tasks order by deleted_at limit ?1",
    )?;
    let mut rows = statement.query([TIDY_TASKS])?;
    let mut due: Vec<(String, u32)> = Vec::new();
    while let Some(row) = rows.next()? {
        due.push((row.get(0)?, row.get(1)?));
    }
    drop(rows);
    let mut tidied = Tidied {
        more: due.len() >= TIDY_TASKS as usize,
        ..Tidied::default()
    };
    for (id, next) in due {
        let until = next.saturating_add(TIDY_ROWS);
        let trials = tx
            .connection
            .prepare_cached(
                "delete from trials where task_id = ?1 and number >= ?2 and number < ?3",
            )?
            .execute(params![id, next, until])?;
        tidied.trials += removed(trials);
        let done = tx
            .connection
            .prepare_cached(
                "delete from deleted_tasks where task_id = ?1 and not exists (
                    select 1 from trials where task_id = ?1 and number >= ?2)",
            )?
            .execute(params![id, until])?
            > 0;
        if !done {
            tx.connection
                .prepare_cached("update deleted_tasks set next_number = ?2 where task_id = ?1")?
                .execute(params![id, until])?;
        }
        if !done || tidied.trials >= u64::from(TIDY_ROWS) {
            tidied.more = true;
            break;
        }
    }
    Ok(tidied)
}
