//! What time does: expired leases, tasks out of time, and what should not be.

use super::PgError;
use super::control;
use super::task::{self, count, int};
use super::units::{self, Loss};
use crate::Reaped;
use crate::rows::{TaskError, UnitRef};
use deadpool_postgres::{Object, Transaction};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::protocol::Effects;
use trialmill_common::protocol::unable::MOST_UNABLE;
use trialmill_common::state::{StopReason, TaskId, UnitState};

/// Units reaped in one call; the next call takes the next ones.
const UNITS_PER_ROUND: i64 = 1_000;

pub(super) async fn reap(client: &mut Object, lease: Duration) -> Result<Reaped, PgError> {
    Ok(Reaped {
        expired: expired_units(client, lease).await?,
        given_up: give_up(client).await?,
        timed_out: timeouts(client).await?,
        repaired: repair(client, lease).await?,
    })
}

/// Queues expired units again (void, where their task is ending), one transaction per task.
async fn expired_units(client: &mut Object, lease: Duration) -> Result<Vec<UnitRef>, PgError> {
    // After a restart of the server nobody could renew: holders get one full lease to do so.
    let rows = client
        .query(
            "select task_id, number from units
             where state = 'leased' and lease_until < now()
                and now() > pg_postmaster_start_time() + make_interval(secs => $1)
             order by lease_until limit $2",
            &[&lease.as_secs_f64(), &UNITS_PER_ROUND],
        )
        .await?;
    let mut by_task: BTreeMap<TaskId, Vec<i32>> = BTreeMap::new();
    for row in &rows {
        by_task
            .entry(TaskId(row.get(0)))
            .or_default()
            .push(int(count(row, 1)));
    }
    let mut reaped = Vec::new();
    for (id, numbers) in by_task {
        // A task that cannot be read, or that another transaction holds, must not keep the others
        // from being reaped.
        match reap_task(client, id, &numbers).await {
            Ok(units) => reaped.extend(units),
            Err(PgError::Database(e)) if client.is_closed() => return Err(e.into()),
            Err(e) => skipped(id, "its expired units", e),
        }
    }
    Ok(reaped)
}

async fn reap_task(
    client: &mut Object,
    id: TaskId,
    numbers: &[i32],
) -> Result<Vec<UnitRef>, PgError> {
    let tx = client.transaction().await?;
    // A row that is locked now is being written by its holder, who lives.
    let rows = tx
        .query(
            "select number, lease_token, crashes, count, owner, unable, unable_by, unable_by_others
             from units
             where task_id = $1 and number = any($2)
                and state = 'leased' and lease_until < now()
             order by number for no key update skip locked",
            &[&id.0, &numbers],
        )
        .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut expired = Vec::with_capacity(rows.len());
    for row in &rows {
        let unit = UnitRef {
            task: id,
            unit: count(row, 0),
        };
        let loss = Loss {
            token: row.get(1),
            crashes: count(row, 2),
            count: count(row, 3),
            owner: row.get(4),
            unable: units::unable(row, 5),
        };
        loss.charge(&tx, unit).await?;
        expired.push(unit);
    }
    let Some(mut locked) = task::lock(&tx, id).await? else {
        return Ok(Vec::new());
    };
    let mut effects = Effects::default();
    let mut queued = Vec::new();
    let mut void = Vec::new();
    for unit in &expired {
        let again = locked.ledger.unit_lost(unit.unit, &mut effects);
        if again { &mut queued } else { &mut void }.push(int(unit.unit));
    }
    // The first loss is due at once; a unit that keeps losing its workers waits longer each time,
    // so that it cannot bring down a whole fleet in a minute.
    tx.execute(
        "update units set state = 'queued', lease_token = lease_token + 1, owner = null,
            lease_until = null, crashes = crashes + 1, publish_at = now() + make_interval(
                secs => case when crashes = 0 then 0 else least(60, 2 ^ least(crashes, 6)) end)
         where task_id = $1 and number = any($2)",
        &[&id.0, &queued],
    )
    .await?;
    tx.execute(
        "update units set state = 'void', lease_token = lease_token + 1, owner = null,
            lease_until = null, crashes = crashes + 1
         where task_id = $1 and number = any($2)",
        &[&id.0, &void],
    )
    .await?;
    tx.execute(
        "delete from running_trials where task_id = $1 and unit = any($2)",
        &[&id.0, &void],
    )
    .await?;
    locked.save(&tx, &effects).await?;
    reach(FailPoint::ReapCommitting);
    tx.commit().await?;
    reach(FailPoint::ReapCommitted);
    Ok(expired)
}

/// Fails tasks of which a unit can be run by nobody.
async fn give_up(client: &mut Object) -> Result<Vec<TaskId>, PgError> {
    let rows = client
        .query(
            "select distinct u.task_id from units u join tasks t on t.id = u.task_id
             where u.state = 'queued' and u.unable > 0 and u.unable >= $1
                and t.state in ('queued', 'running') and t.stop_requested is null
             order by u.task_id",
            &[&int(MOST_UNABLE)],
        )
        .await?;
    let mut failed = Vec::new();
    for row in rows {
        let id = TaskId(row.get(0));
        match give_task_up(client, id).await {
            Ok(true) => failed.push(id),
            // One worker only could not run it, or the task is paused or ending.
            Ok(false) => {}
            Err(PgError::Database(e)) if client.is_closed() => return Err(e.into()),
            Err(e) => skipped(id, "its end", e),
        }
    }
    Ok(failed)
}

async fn give_task_up(client: &mut Object, id: TaskId) -> Result<bool, PgError> {
    let tx = client.transaction().await?;
    let rows = tx
        .query(
            "select number, unable, unable_by, unable_by_others, unable_reason, state from units
             where task_id = $1 and state in ('queued', 'leased') order by number
             for no key update",
            &[&id.0],
        )
        .await?;
    // What is leased may still succeed.
    let queued = |row: &&Row| row.get::<_, &str>(5) == UnitState::Queued.name();
    let mut queued = rows.iter().filter(queued);
    let hopeless = queued.find(|row| units::unable(row, 1).is_too_often());
    let Some(hopeless) = hopeless else {
        return Ok(false);
    };
    let unable = units::unable(hopeless, 1);
    let reason: Option<&str> = hopeless.get(4);
    let error = TaskError::of_unable(count(hopeless, 0), unable.times, unable.by_others, reason);
    // Units before the task; those that a flush inserted while this waited for the task's row after
    // it, as a stop does.
    let before = withdraw(&tx, id).await?;
    let Some(mut locked) = task::lock(&tx, id).await? else {
        return Ok(false);
    };
    let withdrawn = before + withdraw(&tx, id).await?;
    let Ok(effects) = locked.ledger.give_up(withdrawn) else {
        return Ok(false);
    };
    locked.save(&tx, &effects).await?;
    tx.execute(
        "update tasks set error = $2 where id = $1",
        &[&id.0, &Json(&error)],
    )
    .await?;
    tx.commit().await?;
    tracing::error!(task.id = %id, error = error.message, "nobody can run this task; it failed");
    Ok(true)
}

/// Withdraws every open unit; how many there were.
async fn withdraw(tx: &Transaction<'_>, id: TaskId) -> Result<u32, PgError> {
    let withdrawn = tx
        .execute(
            "update units u set state = 'void', lease_token = u.lease_token + 1, owner = null,
                lease_until = null, publish_at = null
             from (select number from units
                where task_id = $1 and state in ('queued', 'leased')
                order by number for no key update) o
             where u.task_id = $1 and u.number = o.number and u.state in ('queued', 'leased')",
            &[&id.0],
        )
        .await?;
    Ok(u32::try_from(withdrawn).expect("units of one task are few"))
}

/// Asks tasks to end whose time for trials is used up.
async fn timeouts(client: &mut Object) -> Result<Vec<TaskId>, PgError> {
    let rows = client
        .query(
            "select id from tasks
             where timeout_seconds is not null and stop_requested is null
                and state = 'running' and searched is null
                and active_seconds + coalesce(extract(epoch from now() - active_since), 0)
                    > timeout_seconds
             order by id",
            &[],
        )
        .await?;
    let mut stopped = Vec::new();
    for row in rows {
        let id = TaskId(row.get(0));
        match time_out(client, id).await {
            Ok(true) => stopped.push(id),
            // It has ended, or was stopped, since it was listed.
            Ok(false) => {}
            Err(PgError::Database(e)) if client.is_closed() => return Err(e.into()),
            Err(e) => skipped(id, "its timeout", e),
        }
    }
    Ok(stopped)
}

async fn time_out(client: &mut Object, id: TaskId) -> Result<bool, PgError> {
    let tx = client.transaction().await?;
    let Some((locked, Ok(effects))) = control::stop_within(&tx, id, StopReason::Timeout).await?
    else {
        return Ok(false);
    };
    locked.save(&tx, &effects).await?;
    reach(FailPoint::TimeoutCommitting);
    tx.commit().await?;
    Ok(true)
}

/// Says which task a timer could not serve; the next round tries again.
fn skipped(id: TaskId, what: &str, error: PgError) {
    let error = crate::StoreError::from(error);
    tracing::warn!(task.id = %id, %error, "the reaper could not see to {what}; it goes on");
}

/// Opens units for a task that is alive without one. That is a fault of ours: it is counted and
/// said aloud, and the task goes on.
async fn repair(client: &mut Object, lease: Duration) -> Result<Vec<TaskId>, PgError> {
    let rows = client
        .query(
            "select id from tasks
             where open_units = 0 and state in ('queued', 'running', 'paused')
                and (state <> 'paused' or next_number = planned or stop_requested is not null)
             order by id",
            &[],
        )
        .await?;
    let mut repaired = Vec::new();
    for row in rows {
        let id = TaskId(row.get(0));
        match repair_task(client, id, lease).await {
            Ok(true) => repaired.push(id),
            Ok(false) => {}
            Err(PgError::Database(e)) if client.is_closed() => return Err(e.into()),
            Err(e) => skipped(id, "its repair", e),
        }
    }
    Ok(repaired)
}

async fn repair_task(client: &mut Object, id: TaskId, lease: Duration) -> Result<bool, PgError> {
    let tx = client.transaction().await?;
    let Some(mut locked) = task::lock(&tx, id).await? else {
        return Ok(false);
    };
    if locked.ledger.open_units > 0 || locked.ledger.state.is_terminal() {
        return Ok(false);
    }
    let live_slots = task::live_slots(&tx, &locked.pool, lease).await?;
    let effects = locked.ledger.repaired(live_slots);
    locked.save(&tx, &effects).await?;
    tx.commit().await?;
    tracing::error!(task.id = %id, "a live task had no open unit; repaired");
    Ok(true)
}
