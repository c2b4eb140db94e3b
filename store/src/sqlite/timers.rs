//! What time does: leases run out, and so does the time of tasks.

use super::columns::task_id;
use super::{Tx, tasks, workers};
use crate::Reaped;
use crate::error::StoreError;
use crate::rows::{ControlOutcome, UnitRef};
use rusqlite::{ToSql, params};
use trialmill_common::protocol::Effects;
use trialmill_common::state::{StopReason, TaskId};

/// Queues expired units again, stops tasks whose time ran out, repairs what should not be.
pub(super) fn reap(tx: &Tx) -> Result<Reaped, StoreError> {
    let mut reaped = Reaped::default();
    for unit in expired(tx)? {
        lose(tx, unit)?;
        reaped.expired.push(unit);
    }
    let timed_out = tasks_where(
        tx,
        "timeout_seconds is not null and stop_requested is null and active_seconds
            + coalesce((?1 - active_since) / 1e6, 0) > timeout_seconds
            and state = 'running'",
        &[&tx.now],
    )?;
    for task in timed_out {
        if let ControlOutcome::Done(_) = tasks::stop(tx, task, StopReason::Timeout)? {
            reaped.timed_out.push(task);
        }
    }
    let stranded = tasks_where(
        tx,
        "open_units = 0 and state in ('queued', 'running', 'paused')
            and (state <> 'paused' or next_number = planned or stop_requested is not null)",
        &[],
    )?;
    for task in stranded {
        repair(tx, task)?;
        reaped.repaired.push(task);
    }
    Ok(reaped)
}

fn tasks_where(tx: &Tx, condition: &str, values: &[&dyn ToSql]) -> Result<Vec<TaskId>, StoreError> {
    let query = format!("select id from tasks where {condition} order by id");
    let mut statement = tx.connection.prepare_cached(&query)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(task_id(&row.get::<_, String>(0)?)?);
    }
    Ok(found)
}

fn expired(tx: &Tx) -> Result<Vec<UnitRef>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select task_id, number from units where state = 'leased' and lease_until <= ?1
         order by task_id, number",
    )?;
    let mut rows = statement.query([tx.now])?;
    let mut units = Vec::new();
    while let Some(row) = rows.next()? {
        units.push(UnitRef {
            task: task_id(&row.get::<_, String>(0)?)?,
            unit: row.get(1)?,
        });
    }
    Ok(units)
}

/// A unit lost its worker: it runs again, isolated, or is void when its task is ending.
fn lose(tx: &Tx, unit: UnitRef) -> Result<(), StoreError> {
    let Some(mut head) = tasks::head(tx, unit.task)? else {
        return Ok(());
    };
    let task = unit.task.to_string();
    let (crashes, count, token): (u32, u32, i64) = tx
        .connection
        .prepare_cached(
            "select crashes, count, lease_token from units where task_id = ?1 and number = ?2",
        )?
        .query_row(params![task, unit.unit], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let mut effects = Effects::default();
    let again = head.ledger.unit_lost(unit.unit, &mut effects);
    if again {
        charge_lost(tx, unit, token, crashes, count)?;
    } else {
        tx.connection
            .prepare_cached("delete from running_trials where task_id = ?1 and unit = ?2")?
            .execute(params![task, unit.unit])?;
    }
    tx.connection
        .prepare_cached(
            "update units set state = ?3, lease_token = lease_token + 1, crashes = crashes + 1,
                owner = null, lease_until = null, publish_at = ?4, publishes = 0
             where task_id = ?1 and number = ?2",
        )?
        .execute(params![
            task,
            unit.unit,
            if again { "queued" } else { "void" },
            again.then_some(tx.now.saturating_add(wait_after(crashes)))
        ])?;
    tasks::save(tx, unit.task, &head, &effects)
}

/// How long a unit waits after losing a worker, in microseconds: not at all the first time, then
/// longer each time, so that it cannot bring down a whole fleet in a minute.
fn wait_after(crashes_before: u32) -> i64 {
    match crashes_before {
        0 => 0,
        n => 1_000_000 * (1_i64 << n.min(6)).min(60),
    }
}

/// Charges the loss of a worker to the trial it had announced under its lease, if that trial ran
/// alone: the unit was isolated by an earlier loss, or has one trial only. A unit runs its trials
/// in order: the last one announced is the one that ran.
pub(super) fn charge_lost(
    tx: &Tx,
    unit: UnitRef,
    token: i64,
    crashes_before: u32,
    count: u32,
) -> Result<(), StoreError> {
    if crashes_before > 0 || count == 1 {
        tx.connection
            .prepare_cached(
                "update running_trials set crashes = crashes + 1
                 where task_id = ?1 and unit = ?2 and lease_token = ?3
                    and number = (select max(number) from running_trials
                        where task_id = ?1 and unit = ?2 and lease_token = ?3)",
            )?
            .execute(params![unit.task.to_string(), unit.unit, token])?;
    }
    Ok(())
}

/// A task that is alive without an open unit is a fault of ours: it is said aloud, and the task is
/// refilled, or ends.
fn repair(tx: &Tx, task: TaskId) -> Result<(), StoreError> {
    tracing::error!(%task, "a task was alive without an open unit; repaired");
    let Some(mut head) = tasks::head(tx, task)? else {
        return Ok(());
    };
    let live_slots = workers::live_slots(tx, &head.pool)?;
    let effects = head.ledger.repaired(live_slots);
    tasks::save(tx, task, &head, &effects)
}
