//! What time does: leases run out, and so does the time of tasks.

use super::columns::{maybe_worker, task_id, to_json, unable};
use super::{Tx, tasks, workers};
use crate::Reaped;
use crate::error::StoreError;
use crate::rows::{ControlOutcome, TaskError, UnitRef};
use rusqlite::{ToSql, params};
use trialmill_common::protocol::Effects;
use trialmill_common::protocol::unable::{MOST_UNABLE, Unable};
use trialmill_common::state::{StopReason, TaskId, WorkerId};

/// Queues expired units again, stops tasks whose time ran out, repairs what should not be.
pub(super) fn reap(tx: &Tx) -> Result<Reaped, StoreError> {
    let mut reaped = Reaped::default();
    for unit in expired(tx)? {
        lose(tx, unit)?;
        reaped.expired.push(unit);
    }
    for task in hopeless(tx)? {
        if give_up(tx, task)? {
            reaped.given_up.push(task);
        }
    }
    let timed_out = tasks_where(
        tx,
        "timeout_seconds is not null and stop_requested is null and active_seconds
            + coalesce((?1 - active_since) / 1e6, 0) > timeout_seconds
            and state = 'running' and searched is null",
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
    let loss = Loss::of(tx, unit)?;
    let crashes = loss.crashes;
    let mut effects = Effects::default();
    let again = head.ledger.unit_lost(unit.unit, &mut effects);
    if again {
        loss.charge(tx, unit)?;
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

/// Takes back what was charged for the loss of a worker that lives after all: it was frozen or
/// starved.
pub(super) fn uncharge(tx: &Tx, worker: WorkerId) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "update running_trials set lost_workers = replace(lost_workers, ?1, ''),
                crashes = max(0, crashes - (length(lost_workers)
                    - length(replace(lost_workers, ?1, ''))) / length(?1))
             where lost_workers <> '' and instr(lost_workers, ?1) > 0",
        )?
        .execute([format!("{worker},")])?;
    Ok(())
}

/// A unit as it was when it lost its worker.
pub(super) struct Loss {
    /// Token of the lost lease.
    pub token: i64,
    /// Workers lost before this one.
    pub crashes: u32,
    /// Trials of the unit.
    pub count: u32,
    /// The worker that is lost.
    pub owner: Option<WorkerId>,
    /// How often it could not be run before.
    pub unable: Unable<WorkerId>,
}

impl Loss {
    fn of(tx: &Tx, unit: UnitRef) -> Result<Self, StoreError> {
        let mut statement = tx.connection.prepare_cached(
            "select crashes, count, lease_token, owner, unable, unable_by, unable_by_others
             from units where task_id = ?1 and number = ?2",
        )?;
        let mut rows = statement.query(params![unit.task.to_string(), unit.unit])?;
        let row = rows.next()?.ok_or_else(|| StoreError::Unreadable {
            what: format!("unit {} of task {}", unit.unit, unit.task),
            why: "its row is gone in the transaction that found it".to_owned(),
        })?;
        Ok(Self {
            token: row.get("lease_token")?,
            crashes: row.get("crashes")?,
            count: row.get("count")?,
            owner: maybe_worker(row, "owner")?,
            unable: unable(row)?,
        })
    }

    /// Charges the loss of a worker to the trial it had announced under its lease, if that trial
    /// ran alone: the unit was isolated by an earlier loss, or has one trial only. A unit runs its
    /// trials in order: the last one announced is the one that ran. A worker that comes back takes
    /// the charge away again ([`uncharge`]).
    ///
    /// A unit that was isolated announces each trial before it starts. Lost without one, it took
    /// its worker down before any trial, or its worker died for a reason of its own: that is
    /// counted on the unit.
    pub(super) fn charge(&self, tx: &Tx, unit: UnitRef) -> Result<(), StoreError> {
        let task = unit.task.to_string();
        if self.crashes > 0 || self.count == 1 {
            tx.connection
                .prepare_cached(
                    "update running_trials set crashes = crashes + 1,
                        lost_workers = lost_workers || coalesce(?4 || ',', '')
                     where task_id = ?1 and unit = ?2 and lease_token = ?3
                        and number = (select max(number) from running_trials
                            where task_id = ?1 and unit = ?2 and lease_token = ?3)",
                )?
                .execute(params![
                    task,
                    unit.unit,
                    self.token,
                    self.owner.map(|owner| owner.to_string())
                ])?;
        }
        let Some(owner) = self.owner.filter(|_| self.crashes > 0) else {
            return Ok(());
        };
        let after = self.unable.again(owner);
        tx.connection
            .prepare_cached(
                "update units set unable = ?3, unable_by = ?4, unable_by_others = ?5,
                    unable_reason = 'its worker '
                        || coalesce((select name from workers where id = ?6), ?6)
                        || ' was lost with it before any trial of it began'
                 where task_id = ?1 and number = ?2 and not exists (
                    select 1 from running_trials
                    where task_id = ?1 and unit = ?2 and lease_token = ?7)",
            )?
            .execute(params![
                task,
                unit.unit,
                after.times,
                after.by.map(|worker| worker.to_string()),
                after.by_others,
                owner.to_string(),
                self.token
            ])?;
        Ok(())
    }
}

/// Tasks with a queued unit that could not be run so often that it may be too often.
fn hopeless(tx: &Tx) -> Result<Vec<TaskId>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select distinct task_id from units
         where state = 'queued' and unable > 0 and unable >= ?1 order by task_id",
    )?;
    let mut rows = statement.query([MOST_UNABLE])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(task_id(&row.get::<_, String>(0)?)?);
    }
    Ok(found)
}

/// Fails a task of which a unit can be run by nobody; whether that is so.
fn give_up(tx: &Tx, id: TaskId) -> Result<bool, StoreError> {
    let Some(mut head) = tasks::head(tx, id)? else {
        return Ok(false);
    };
    let task = id.to_string();
    let mut statement = tx.connection.prepare_cached(
        "select number, unable, unable_by, unable_by_others, unable_reason from units
         where task_id = ?1 and state = 'queued' and unable > 0 order by number",
    )?;
    let mut rows = statement.query([&task])?;
    let mut error = None;
    while let (None, Some(row)) = (&error, rows.next()?) {
        let unable = unable(row)?;
        if unable.is_too_often() {
            let reason: Option<String> = row.get("unable_reason")?;
            let (unit, times) = (row.get("number")?, unable.times);
            let reason = reason.as_deref();
            error = Some(TaskError::of_unable(unit, times, unable.by_others, reason));
        }
    }
    let Some(error) = error else {
        return Ok(false);
    };
    let open = head.ledger.open_units;
    let Ok(effects) = head.ledger.give_up(open) else {
        return Ok(false);
    };
    tx.connection
        .prepare_cached(
            "update units set state = 'void', lease_token = lease_token + 1, owner = null,
                lease_until = null, publish_at = null
             where task_id = ?1 and state in ('queued', 'leased')",
        )?
        .execute([&task])?;
    tx.connection
        .prepare_cached("update tasks set error = ?2 where id = ?1")?
        .execute(params![task, to_json(&error)])?;
    tracing::error!(
        task.id = task,
        error = error.message,
        "nobody can run this task; it failed"
    );
    tasks::save(tx, id, &head, &effects)?;
    Ok(true)
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
