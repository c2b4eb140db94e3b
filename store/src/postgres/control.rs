//! Pause, resume, stop and delete.

use super::PgError;
use super::task::{self, Locked};
use super::tidy;
use crate::TIDY_ROWS;
use crate::rows::ControlOutcome;
use deadpool_postgres::{Object, Transaction};
use std::collections::HashMap;
use std::time::Duration;
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::protocol::{Control, Effects, NotAllowed};
use trialmill_common::state::{StopReason, TaskId, TaskState};

async fn finish(
    tx: Transaction<'_>,
    locked: &Locked,
    decision: Result<Effects, NotAllowed>,
    committing: FailPoint,
) -> Result<ControlOutcome, PgError> {
    match decision {
        Err(refusal) => Ok(ControlOutcome::NotAllowed(refusal)),
        Ok(effects) => {
            locked.save(&tx, &effects).await?;
            let row = task::read(&*tx, locked.id).await?;
            reach(committing);
            tx.commit().await?;
            Ok(ControlOutcome::Done(Box::new(row.expect("locked above"))))
        }
    }
}

pub(super) async fn stop(
    client: &mut Object,
    id: TaskId,
    reason: StopReason,
) -> Result<ControlOutcome, PgError> {
    let tx = client.transaction().await?;
    match stop_within(&tx, id, reason).await? {
        None => Ok(ControlOutcome::NotFound),
        Some((locked, decision)) => {
            let stopped = finish(tx, &locked, decision, FailPoint::StopCommitting).await?;
            reach(FailPoint::StopCommitted);
            Ok(stopped)
        }
    }
}

/// Withdraws the queued units and asks the task to end. Units are locked before the task; those
/// that a flush inserted while this waited for the task's row are withdrawn after it.
pub(super) async fn stop_within(
    tx: &Transaction<'_>,
    id: TaskId,
    reason: StopReason,
) -> Result<Option<(Locked, Result<Effects, NotAllowed>)>, PgError> {
    let mut before = void_queued(tx, id).await?;
    let cancelled = reason == StopReason::Cancelled;
    if cancelled {
        before += void_leased(tx, id, "").await?;
    }
    let Some(mut locked) = task::lock(tx, id).await? else {
        return Ok(None);
    };
    let mut voided = before + void_queued(tx, id).await?;
    if cancelled {
        // Claimed meanwhile. Whoever writes to one now has it locked and waits for the task: it is told.
        voided += void_leased(tx, id, "skip locked").await?;
    }
    let decision = locked.ledger.stop(reason, voided);
    Ok(Some((locked, decision)))
}

/// What the holders of leases of each task are to do; to stop where the task is gone.
pub(super) async fn controls(
    client: &mut Object,
    tasks: &[TaskId],
) -> Result<Vec<Control>, PgError> {
    let ids: Vec<uuid::Uuid> = tasks.iter().map(|id| id.0).collect();
    let statement = client
        .prepare_cached(
            "select state, stop_requested is not null, id from tasks where id = any($1)",
        )
        .await?;
    let mut found = HashMap::new();
    for row in client.query(&statement, &[&ids]).await? {
        let state: TaskState = task::named(&row, 0)?;
        let id: uuid::Uuid = row.get(2);
        found.insert(id, Control::of(state, row.get(1)));
    }
    let answer = |id| found.get(id).copied().unwrap_or(Control::Stop);
    Ok(ids.iter().map(answer).collect())
}

/// Withdraws the leased units of a task, if its trials are run by clients.
async fn void_leased(tx: &Transaction<'_>, id: TaskId, locked: &str) -> Result<u32, PgError> {
    let query = format!(
        "update units u set state = 'void', lease_token = lease_token + 1, owner = null,
                lease_until = null
             from (select l.number from units l join tasks t on t.id = l.task_id
                where l.task_id = $1 and l.state = 'leased' and t.by_client
                order by l.number for no key update of l {locked}) l
             where u.task_id = $1 and u.number = l.number and u.state = 'leased'"
    );
    let voided = tx.execute(&query, &[&id.0]).await?;
    Ok(u32::try_from(voided).expect("units of one task are few"))
}

pub(super) async fn void_queued(tx: &Transaction<'_>, id: TaskId) -> Result<u32, PgError> {
    let voided = tx
        .execute(
            "update units u set state = 'void', lease_token = u.lease_token + 1,
                publish_at = null
             from (select number from units where task_id = $1 and state = 'queued'
                order by number for no key update) q
             where u.task_id = $1 and u.number = q.number and u.state = 'queued'",
            &[&id.0],
        )
        .await?;
    tx.execute(
        "delete from running_trials r using units u
         where r.task_id = $1 and u.task_id = $1 and u.number = r.unit and u.state = 'void'",
        &[&id.0],
    )
    .await?;
    Ok(u32::try_from(voided).expect("units of one task are few"))
}

pub(super) async fn pause(client: &mut Object, id: TaskId) -> Result<ControlOutcome, PgError> {
    let tx = client.transaction().await?;
    let Some(mut locked) = task::lock(&tx, id).await? else {
        return Ok(ControlOutcome::NotFound);
    };
    let decision = locked.ledger.pause();
    finish(tx, &locked, decision, FailPoint::PauseCommitting).await
}

pub(super) async fn resume(
    client: &mut Object,
    id: TaskId,
    lease: Duration,
) -> Result<ControlOutcome, PgError> {
    let tx = client.transaction().await?;
    tx.execute(
        "update units u set publish_at = now(), publishes = 0 from tasks t
         where u.task_id = $1 and t.id = u.task_id and t.state = 'paused'
            and u.state = 'queued' and (t.not_before is null or t.not_before <= now())",
        &[&id.0],
    )
    .await?;
    let Some(mut locked) = task::lock(&tx, id).await? else {
        return Ok(ControlOutcome::NotFound);
    };
    let live_slots = task::live_slots(&tx, &locked.pool, lease).await?;
    let decision = locked.ledger.resume(locked.started, live_slots);
    finish(tx, &locked, decision, FailPoint::ResumeCommitting).await
}

/// Removes some events of an ended task, so that the transaction that removes it has few rows.
/// Returns whether there are more.
pub(super) async fn trim_before_delete(client: &mut Object, id: TaskId) -> Result<bool, PgError> {
    let tx = client.transaction().await?;
    let Some(locked) = task::lock(&tx, id).await? else {
        return Ok(false);
    };
    if !locked.ledger.state.is_terminal() {
        return Ok(false);
    }
    let trimmed = tidy::trim_events(&tx, id, i64::from(TIDY_ROWS)).await?;
    tx.commit().await?;
    Ok(!trimmed.done)
}

pub(super) async fn delete(client: &mut Object, id: TaskId) -> Result<ControlOutcome, PgError> {
    let tx = client.transaction().await?;
    let Some(locked) = task::lock(&tx, id).await? else {
        return Ok(ControlOutcome::NotFound);
    };
    let state = locked.ledger.state;
    if !state.is_terminal() {
        return Ok(ControlOutcome::NotAllowed(NotAllowed {
            state,
            wanted: "deleted",
        }));
    }
    let row = task::read(&*tx, id).await?.expect("locked above");
    tidy::remove_task(&tx, id).await?;
    tx.commit().await?;
    Ok(ControlOutcome::Done(Box::new(row)))
}
