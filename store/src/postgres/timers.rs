//! What time does: expired leases, tasks out of time, and what should not be.

use super::PgError;
use super::control;
use super::task::{self, count, int};
use crate::Reaped;
use crate::rows::UnitRef;
use deadpool_postgres::Object;
use std::collections::BTreeMap;
use std::time::Duration;
use trialmill_common::protocol::Effects;
use trialmill_common::state::{StopReason, TaskId};

/// Units reaped in one call; the next call takes the next ones.
const UNITS_PER_ROUND: i64 = 1_000;

pub(super) async fn reap(client: &mut Object, lease: Duration) -> Result<Reaped, PgError> {
    Ok(Reaped {
        expired: expired_units(client, lease).await?,
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
        reaped.extend(reap_task(client, id, &numbers).await?);
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
            "select number from units where task_id = $1 and number = any($2)
                and state = 'leased' and lease_until < now()
             order by number for no key update skip locked",
            &[&id.0, &numbers],
        )
        .await?;
    let expired: Vec<u32> = rows.iter().map(|row| count(row, 0)).collect();
    if expired.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<i32> = expired.iter().copied().map(int).collect();
    // A unit runs its trials one at a time: the one announced trial of a unit that was already
    // isolated, or has no other, is the one that took its worker down.
    tx.execute(
        "update running_trials r set crashes = r.crashes + 1 from units u
         where r.task_id = $1 and r.unit = any($2) and u.task_id = r.task_id
            and u.number = r.unit and (u.crashes > 0 or u.count = 1)",
        &[&id.0, &numbers],
    )
    .await?;
    let Some(mut locked) = task::lock(&tx, id).await? else {
        return Ok(Vec::new());
    };
    let mut effects = Effects::default();
    let mut queued = Vec::new();
    let mut void = Vec::new();
    for unit in &expired {
        let again = locked.ledger.unit_lost(*unit, &mut effects);
        if again { &mut queued } else { &mut void }.push(int(*unit));
    }
    for (numbers, state, due) in [(queued, "queued", true), (void, "void", false)] {
        tx.execute(
            "update units set state = $3, lease_token = lease_token + 1, crashes = crashes + 1,
                owner = null, lease_until = null, publish_at = case when $4 then now() end
             where task_id = $1 and number = any($2)",
            &[&id.0, &numbers, &state, &due],
        )
        .await?;
    }
    locked.save(&tx, &effects).await?;
    tx.commit().await?;
    Ok(expired
        .into_iter()
        .map(|unit| UnitRef { task: id, unit })
        .collect())
}

/// Asks tasks to end whose unpaused seconds are used up.
async fn timeouts(client: &mut Object) -> Result<Vec<TaskId>, PgError> {
    let rows = client
        .query(
            "select id from tasks
             where timeout_seconds is not null and stop_requested is null
                and state = 'running'
                and active_seconds + coalesce(extract(epoch from now() - active_since), 0)
                    > timeout_seconds
             order by id",
            &[],
        )
        .await?;
    let mut stopped = Vec::new();
    for row in rows {
        let id = TaskId(row.get(0));
        let tx = client.transaction().await?;
        let Some((locked, decision)) = control::stop_within(&tx, id, StopReason::Timeout).await?
        else {
            continue;
        };
        // It may have ended, or been stopped, since it was listed.
        if let Ok(effects) = decision {
            locked.save(&tx, &effects).await?;
            tx.commit().await?;
            stopped.push(id);
        }
    }
    Ok(stopped)
}

/// Opens units for a task that is alive without one. That is a fault of ours: it is counted and
/// said aloud, and the task goes on.
async fn repair(client: &mut Object, lease: Duration) -> Result<Vec<TaskId>, PgError> {
    let rows = client
        .query(
            "select id from tasks
             where open_units = 0 and state in ('queued', 'running', 'paused')
                and (state <> 'paused' or next_number = planned)
             order by id",
            &[],
        )
        .await?;
    let mut repaired = Vec::new();
    for row in rows {
        let id = TaskId(row.get(0));
        let tx = client.transaction().await?;
        let Some(mut locked) = task::lock(&tx, id).await? else {
            continue;
        };
        if locked.ledger.open_units > 0 || locked.ledger.state.is_terminal() {
            continue;
        }
        let live_slots = task::live_slots(&tx, &locked.pool, lease).await?;
        let effects = locked.ledger.repaired(live_slots);
        locked.save(&tx, &effects).await?;
        tx.commit().await?;
        tracing::error!(task.id = %id, "a live task had no open unit; repaired");
        repaired.push(id);
    }
    Ok(repaired)
}
