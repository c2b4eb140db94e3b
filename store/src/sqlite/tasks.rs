//! The task row: its ledger, submission, and what users ask of a task.

use super::columns::{json, maybe_json, maybe_named, micros, named, seconds, to_json};
use super::{Tx, derive, keys, read, tidy, workers};
use crate::error::StoreError;
use crate::front;
use crate::keep::KEY_AGE;
use crate::keys::submitted;
use crate::pack::{pinned_text, snapshot_id};
use crate::rows::{ControlOutcome, Idempotency, MadeBefore, NewTask, Submitted, TaskError};
use rusqlite::{OptionalExtension, Row, named_params, params};
use std::collections::VecDeque;
use trialmill_common::key::Quota;
use trialmill_common::protocol::{
    Best, Copied, Effects, Ledger, MAX_AHEAD, NotAllowed, Run, StopRules, WindowLedger, unit_kind,
};
use trialmill_common::state::{StopReason, TaskId, TaskState};
use trialmill_search::pareto::Front;

/// What the protocol reads and writes of a task row.
pub(super) struct Head {
    pub ledger: Ledger,
    pub pool: String,
    /// Whether a unit was ever claimed.
    pub started: bool,
    was: TaskState,
    /// The windows as they are stored.
    windows: Vec<WindowLedger>,
    /// The front as it is stored; empty where it was not read.
    front: Front,
    started_at: Option<i64>,
    active_seconds: f64,
    active_since: Option<i64>,
    not_before: Option<i64>,
}

/// The columns of the protocol's part, but for the front: not the request and what was made of it, which may be long.
const HEAD: &str = "state, stop_requested, stop_reason, parallelism, direction, n_trials, planned,
    next_number, next_unit, open_units, completed, pruned, failed, infeasible, best_number,
    best_value, seq, kind, adaptive, gave_up, stop_target, stop_patience, stop_aims, since_best,
    targets_reached, copied_trials, copied_units, passed_units, passed_trials, assessed, by_client,
    searched, windows, started_at, pool, active_seconds, active_since, not_before";

/// Reads the protocol's part of a task row.
pub(super) fn head(tx: &Tx, id: TaskId) -> Result<Option<Head>, StoreError> {
    let mut statement = tx
        .connection
        .prepare_cached(&format!("select {HEAD} from tasks where id = ?1"))?;
    let mut rows = statement.query([id.to_string()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let mut ledger = ledger(row)?;
    if ledger.copied.lies_ahead() {
        ledger.copied.ahead = runs_ahead(tx, id, &ledger.copied)?;
    }
    if row.get::<_, u32>("windows")? > 0 {
        ledger.windows = windows(tx, id)?;
    }
    let started_at: Option<i64> = row.get("started_at")?;
    Ok(Some(Head {
        front: Front::default(),
        windows: ledger.windows.clone(),
        pool: row.get("pool")?,
        started: started_at.is_some(),
        was: ledger.state,
        ledger,
        started_at,
        active_seconds: row.get("active_seconds")?,
        active_since: row.get("active_since")?,
        not_before: row.get("not_before")?,
    }))
}

/// Reads the front of a task that keeps one, for trials to be recorded.
pub(super) fn read_front(tx: &Tx, id: TaskId, head: &mut Head) -> Result<(), StoreError> {
    if !head.ledger.rules.keep_front() {
        return Ok(());
    }
    let mut statement = tx
        .connection
        .prepare_cached("select front from tasks where id = ?1")?;
    let packed: Option<Vec<u8>> = statement.query_row([id.to_string()], |row| row.get(0))?;
    let objectives = head.ledger.rules.aims.len();
    head.front = front::unpack(&packed.unwrap_or_default(), objectives)?;
    head.ledger.front = head.front.clone();
    Ok(())
}

/// The next copied runs that lie ahead. Their units never change.
fn runs_ahead(tx: &Tx, id: TaskId, copied: &Copied) -> Result<VecDeque<Run>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select first, count from units where task_id = ?1 and number >= ?2 and number < ?3
         order by number limit ?4",
    )?;
    let of = params![id.to_string(), copied.passed_units, copied.units, MAX_AHEAD];
    let mut rows = statement.query(of)?;
    let mut runs = VecDeque::new();
    while let Some(row) = rows.next()? {
        runs.push_back(Run {
            first: row.get("first")?,
            count: row.get("count")?,
        });
    }
    Ok(runs)
}

/// The searches of a task, in order.
fn windows(tx: &Tx, id: TaskId) -> Result<Vec<WindowLedger>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select first, count, next_number, ended, open_units from task_windows
         where task_id = ?1 order by number",
    )?;
    let mut rows = statement.query([id.to_string()])?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next()? {
        windows.push(WindowLedger {
            first: row.get("first")?,
            count: row.get("count")?,
            next: row.get("next_number")?,
            ended: row.get("ended")?,
            open: row.get("open_units")?,
        });
    }
    Ok(windows)
}

/// Writes the windows of a new task, and of an old one those that changed.
fn save_windows(
    tx: &Tx,
    id: TaskId,
    before: &[WindowLedger],
    after: &[WindowLedger],
) -> Result<(), StoreError> {
    let mut insert = tx.connection.prepare_cached(
        "insert into task_windows (task_id, number, first, count, next_number, ended, open_units)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         on conflict (task_id, number) do update set next_number = excluded.next_number,
            ended = excluded.ended, open_units = excluded.open_units",
    )?;
    for (index, window) in after.iter().enumerate() {
        if before.get(index) != Some(window) {
            insert.execute(params![
                id.to_string(),
                u32::try_from(index).expect("windows are few"),
                window.first,
                window.count,
                window.next,
                window.ended,
                window.open
            ])?;
        }
    }
    Ok(())
}

/// Reads the ledger out of a row of `tasks`.
pub(super) fn ledger(row: &Row) -> Result<Ledger, StoreError> {
    let best: Option<u32> = row.get("best_number")?;
    let value: Option<f64> = row.get("best_value")?;
    Ok(Ledger {
        state: named(row, "state")?,
        stop_requested: maybe_named(row, "stop_requested")?,
        stop_reason: maybe_named(row, "stop_reason")?,
        parallelism: row.get("parallelism")?,
        direction: named(row, "direction")?,
        n_trials: row.get("n_trials")?,
        planned: row.get("planned")?,
        next_number: row.get("next_number")?,
        next_unit: row.get("next_unit")?,
        open_units: row.get("open_units")?,
        completed: row.get("completed")?,
        pruned: row.get("pruned")?,
        failed: row.get("failed")?,
        infeasible: row.get("infeasible")?,
        best: best
            .zip(value)
            .map(|(number, value)| Best { number, value }),
        seq: row.get("seq")?,
        kind: unit_kind(named(row, "kind")?),
        adaptive: row.get("adaptive")?,
        gave_up: row.get("gave_up")?,
        rules: StopRules {
            target: row.get("stop_target")?,
            patience: row.get("stop_patience")?,
            aims: maybe_json(row, "stop_aims")?.unwrap_or_default(),
        },
        since_best: row.get("since_best")?,
        front: Front::default(),
        reached: row.get("targets_reached")?,
        copied: Copied {
            trials: row.get("copied_trials")?,
            units: row.get("copied_units")?,
            passed_units: row.get("passed_units")?,
            passed_trials: row.get("passed_trials")?,
            ahead: VecDeque::new(),
        },
        windows: Vec::new(),
        assessed: row.get("assessed")?,
        by_client: row.get("by_client")?,
        searched: maybe_named(row, "searched")?,
    })
}

/// Writes the changed ledger with its effects: the new units, the events, the times that follow
/// from the change of state, and what a terminal state asks for.
pub(super) fn save(tx: &Tx, id: TaskId, head: &Head, effects: &Effects) -> Result<(), StoreError> {
    let ledger = &head.ledger;
    let running = ledger.state == TaskState::Running;
    let ended = ledger.state.is_terminal() && !head.was.is_terminal();
    let started_at = head.started_at.or(running.then_some(tx.now));
    let (active_seconds, active_since) = if ledger.searches() {
        (head.active_seconds, head.active_since.or(Some(tx.now)))
    } else {
        let since = head
            .active_since
            .map_or(0.0, |since| seconds(since, tx.now));
        (head.active_seconds + since, None)
    };
    let error = if ended && ledger.state == TaskState::Failed {
        Some(to_json(&task_error(tx, id, ledger)?))
    } else {
        None
    };
    tx.connection
        .prepare_cached(
            "update tasks set state = :state, stop_requested = :stop_requested,
                stop_reason = :stop_reason, next_number = :next_number, next_unit = :next_unit,
                open_units = :open_units, completed = :completed, pruned = :pruned,
                failed = :failed, infeasible = :infeasible, best_number = :best_number,
                best_value = :best_value, seq = :seq, gave_up = :gave_up, started_at = :started_at,
                active_seconds = :active_seconds, active_since = :active_since,
                completed_at = coalesce(completed_at, :completed_at),
                error = coalesce(error, :error), since_best = :since_best,
                passed_units = :passed_units, passed_trials = :passed_trials,
                searched = :searched, targets_reached = :targets_reached
             where id = :id",
        )?
        .execute(named_params! {
            ":state": ledger.state.name(),
            ":stop_requested": ledger.stop_requested.map(StopReason::name),
            ":stop_reason": ledger.stop_reason.map(StopReason::name),
            ":next_number": ledger.next_number,
            ":next_unit": ledger.next_unit,
            ":open_units": ledger.open_units,
            ":completed": ledger.completed,
            ":pruned": ledger.pruned,
            ":failed": ledger.failed,
            ":infeasible": ledger.infeasible,
            ":best_number": ledger.best.map(|best| best.number),
            ":best_value": ledger.best.map(|best| best.value),
            ":seq": ledger.seq,
            ":gave_up": ledger.gave_up,
            ":started_at": started_at,
            ":active_seconds": active_seconds,
            ":active_since": active_since,
            ":completed_at": ended.then_some(tx.now),
            ":error": error,
            ":since_best": ledger.since_best,
            ":passed_units": ledger.copied.passed_units,
            ":passed_trials": ledger.copied.passed_trials,
            ":searched": ledger.searched.map(StopReason::name),
            ":targets_reached": ledger.reached,
            ":id": id.to_string(),
        })?;
    if ended {
        tx.connection
            .prepare_cached("delete from running_trials where task_id = ?1")?
            .execute([id.to_string()])?;
        tx.connection
            .prepare_cached("delete from enqueued_trials where task_id = ?1")?
            .execute([id.to_string()])?;
    }
    if ended || ledger.front != head.front {
        let packed = (!ended).then(|| front::pack(&ledger.front));
        tx.connection
            .prepare_cached("update tasks set front = ?2 where id = ?1 and front is not ?2")?
            .execute(params![id.to_string(), packed])?;
    }
    save_windows(tx, id, &head.windows, &ledger.windows)?;
    let due = head.not_before.unwrap_or(tx.now).max(tx.now);
    append(tx, id, ledger.seq, effects, due)
}

/// Inserts new units, due at `due`, and the events that end at `seq`.
fn append(tx: &Tx, id: TaskId, seq: i64, effects: &Effects, due: i64) -> Result<(), StoreError> {
    let id = id.to_string();
    let mut insert = tx.connection.prepare_cached(
        "insert into units
            (task_id, number, kind, first, count, crashes, state, publish_at, created_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, 'queued', ?7, ?8)",
    )?;
    for unit in &effects.units {
        insert.execute(params![
            id,
            unit.number,
            unit.kind.name(),
            unit.first,
            unit.count,
            unit.crashes,
            due,
            tx.now
        ])?;
    }
    let mut insert = tx.connection.prepare_cached(
        "insert into task_events (task_id, seq, at, event) values (?1, ?2, ?3, ?4)",
    )?;
    for (event, number) in effects.events.iter().rev().zip((1..=seq).rev()) {
        insert.execute(params![id, number, tx.now, to_json(event)])?;
    }
    if !effects.units.is_empty() || !effects.events.is_empty() {
        tx.news.set(true);
    }
    Ok(())
}

/// Why a task failed, from its first failed trial.
fn task_error(tx: &Tx, id: TaskId, ledger: &Ledger) -> Result<TaskError, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select number, failure from trials where task_id = ?1 and outcome = 'failed'
         order by number limit 1",
    )?;
    let mut rows = statement.query([id.to_string()])?;
    let first = match rows.next()? {
        Some(row) => Some((row.get("number")?, json(row, "failure")?)),
        None => None,
    };
    Ok(TaskError::of_end(ledger, first))
}

/// Stores a task with its first units, its key and its first event.
pub(super) fn submit(
    tx: &Tx,
    task: &NewTask,
    idempotency: Option<&Idempotency>,
    quota: Quota,
) -> Result<Submitted, StoreError> {
    tx.connection
        .prepare_cached("delete from idempotency_keys where created_at <= ?1")?
        .execute([tx.now - micros(KEY_AGE)])?;
    if let Some(key) = idempotency
        && let Some(answer) = repeated(tx, key)?
    {
        return Ok(answer);
    }
    let copied_from = task.origin.filter(|origin| origin.how.copies());
    if let Some(origin) = copied_from
        && !derive::is_there(tx, origin)?
    {
        return Ok(Submitted::NoOrigin);
    }
    if let Some(over) = keys::over_quota(tx, task, quota)? {
        return Ok(Submitted::OverQuota(over));
    }
    if let Some(key) = idempotency {
        tx.connection
            .prepare_cached(
                "insert into idempotency_keys (scope, key, body_hash, task_id, created_at)
                 values (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                key.scope,
                key.key,
                key.body_hash,
                task.id.to_string(),
                tx.now
            ])?;
    }
    let snapshot = (!task.snapshot.is_empty()).then(|| snapshot_id(&task.snapshot));
    if let Some(snapshot) = snapshot {
        let pinned = [&task.snapshot.series, &task.snapshot.records].map(pinned_text);
        tx.connection
            .prepare_cached(
                "insert into snapshots (id, series, records, created_at) values (?1, ?2, ?3, ?4)
                 on conflict do nothing",
            )?
            .execute(params![
                snapshot,
                to_json(&pinned[0]),
                to_json(&pinned[1]),
                tx.now
            ])?;
    }
    let live_slots = workers::live_slots(tx, &task.pool)?;
    keys::write_events(tx, &[submitted(task)])?;
    match copied_from {
        Some(origin) => {
            insert(tx, task, snapshot, &Ledger::accepted(task.plan()))?;
            derive::begin(tx, task, origin, live_slots)?;
        }
        None => {
            let (ledger, effects) = Ledger::submitted(task.plan(), live_slots);
            insert(tx, task, snapshot, &ledger)?;
            save_windows(tx, task.id, &[], &ledger.windows)?;
            let not_before = task
                .not_before
                .map_or(tx.now, |time| time.timestamp_micros());
            append(tx, task.id, ledger.seq, &effects, not_before.max(tx.now))?;
        }
    }
    Ok(Submitted::Created(Box::new(present(tx, task.id)?)))
}

/// What a key made within a day: the hash of its body and the task.
pub(super) fn made_before(
    tx: &Tx,
    scope: &str,
    key: &str,
) -> Result<Option<MadeBefore>, StoreError> {
    let found: Option<([u8; 32], String)> = tx
        .connection
        .prepare_cached(
            "select body_hash, task_id from idempotency_keys
             where scope = ?1 and key = ?2 and created_at > ?3",
        )?
        .query_row(params![scope, key, tx.now - micros(KEY_AGE)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((body_hash, id)) = found else {
        return Ok(None);
    };
    let task = present(tx, super::columns::task_id(&id)?)?;
    Ok(Some((body_hash, Box::new(task))))
}

fn repeated(tx: &Tx, key: &Idempotency) -> Result<Option<Submitted>, StoreError> {
    let made = made_before(tx, &key.scope, &key.key)?;
    Ok(made.map(|(body_hash, task)| {
        if body_hash == key.body_hash {
            Submitted::Repeated(task)
        } else {
            Submitted::KeyConflict
        }
    }))
}

fn insert(
    tx: &Tx,
    task: &NewTask,
    snapshot: Option<[u8; 32]>,
    ledger: &Ledger,
) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "insert into tasks (id, kind, name, strategy, stock_codes, pool, request, spec,
                resolved, warnings, seed, priority, not_before, timeout_seconds, snapshot_id,
                engine, submitted_by, state, parallelism, direction, n_trials, planned,
                next_number, next_unit, open_units, seq, adaptive, created_at, stop_target,
                stop_patience, stop_aims, origin_task, origin_how, windows, assessed, by_client)
             values (:id, :kind, :name, :strategy, :stock_codes, :pool, :request, :spec,
                :resolved, :warnings, :seed, :priority, :not_before, :timeout_seconds,
                :snapshot_id, :engine, :submitted_by, :state, :parallelism, :direction,
                :n_trials, :planned, :next_number, :next_unit, :open_units, :seq, :adaptive,
                :created_at, :stop_target, :stop_patience, :stop_aims, :origin_task, :origin_how,
                :windows, :assessed, :by_client)",
        )?
        .execute(named_params! {
            ":id": task.id.to_string(),
            ":kind": task.kind.name(),
            ":name": task.name,
            ":strategy": task.strategy,
            ":stock_codes": to_json(&task.stock_codes),
            ":pool": task.pool,
            ":request": to_json(&task.request),
            ":spec": to_json(&task.spec),
            ":resolved": to_json(&task.resolved),
            ":warnings": to_json(&task.warnings),
            ":seed": task.seed.cast_signed(),
            ":priority": task.priority.rank(),
            ":not_before": task.not_before.map(|time| time.timestamp_micros()),
            ":timeout_seconds": task.timeout,
            ":snapshot_id": snapshot,
            ":engine": task.engine,
            ":submitted_by": task.submitted_by,
            ":state": ledger.state.name(),
            ":parallelism": ledger.parallelism,
            ":direction": ledger.direction.name(),
            ":n_trials": ledger.n_trials,
            ":planned": ledger.planned,
            ":next_number": ledger.next_number,
            ":next_unit": ledger.next_unit,
            ":open_units": ledger.open_units,
            ":seq": ledger.seq,
            ":adaptive": ledger.adaptive,
            ":created_at": tx.now,
            ":stop_target": ledger.rules.target,
            ":stop_patience": ledger.rules.patience,
            ":stop_aims": front::aims(&ledger.rules).map(|aims| to_json(&aims)),
            ":origin_task": task.origin.map(|origin| origin.task.to_string()),
            ":origin_how": task.origin.map(|origin| origin.how.name()),
            ":windows": u32::try_from(ledger.windows.len()).expect("windows are few"),
            ":assessed": ledger.assessed,
            ":by_client": ledger.by_client,
        })?;
    Ok(())
}

/// The row of a task that this transaction has just touched.
fn present(tx: &Tx, id: TaskId) -> Result<crate::rows::TaskRow, StoreError> {
    read::task(tx, id)?.ok_or_else(|| StoreError::Unreadable {
        what: format!("task {id}"),
        why: "its row is gone, though another row names it".to_owned(),
    })
}

/// Applies one decision to a task's ledger; a refusal changes nothing.
fn control(
    tx: &Tx,
    id: TaskId,
    decide: impl FnOnce(&mut Head) -> Result<Effects, NotAllowed>,
) -> Result<ControlOutcome, StoreError> {
    let Some(mut head) = head(tx, id)? else {
        return Ok(ControlOutcome::NotFound);
    };
    match decide(&mut head) {
        Ok(effects) => {
            save(tx, id, &head, &effects)?;
            Ok(ControlOutcome::Done(Box::new(present(tx, id)?)))
        }
        Err(refused) => Ok(ControlOutcome::NotAllowed(refused)),
    }
}

/// Withdraws the queued units and asks the task to end.
pub(super) fn stop(tx: &Tx, id: TaskId, reason: StopReason) -> Result<ControlOutcome, StoreError> {
    if let Some(head) = head(tx, id)?
        && let Err(refused) = head.ledger.may_stop(reason)
    {
        return Ok(ControlOutcome::NotAllowed(refused));
    }
    let voided = void_queued(tx, id)?;
    let cancelled = reason == StopReason::Cancelled;
    let voided = match head(tx, id)? {
        Some(head) if head.ledger.by_client && cancelled => voided + void_leased(tx, id)?,
        _ => voided,
    };
    control(tx, id, |head| head.ledger.stop(reason, voided))
}

/// Withdraws the leased units of a task whose trials clients run; how many.
fn void_leased(tx: &Tx, id: TaskId) -> Result<u32, StoreError> {
    let voided = tx
        .connection
        .prepare_cached(
            "update units set state = 'void', lease_token = lease_token + 1, owner = null,
                lease_until = null
             where task_id = ?1 and state = 'leased'",
        )?
        .execute([id.to_string()])?;
    Ok(u32::try_from(voided).expect("unit numbers are u32"))
}

/// Withdraws the queued units; how many.
pub(super) fn void_queued(tx: &Tx, id: TaskId) -> Result<u32, StoreError> {
    tx.connection
        .prepare_cached(
            "delete from running_trials where task_id = ?1 and unit in (
                select number from units where task_id = ?1 and state = 'queued')",
        )?
        .execute([id.to_string()])?;
    let voided = tx
        .connection
        .prepare_cached(
            "update units set state = 'void', lease_token = lease_token + 1, publish_at = null
             where task_id = ?1 and state = 'queued'",
        )?
        .execute([id.to_string()])?;
    Ok(u32::try_from(voided).expect("unit numbers are u32"))
}

/// No new trial starts.
pub(super) fn pause(tx: &Tx, id: TaskId) -> Result<ControlOutcome, StoreError> {
    control(tx, id, |head| head.ledger.pause())
}

/// Trials start again. Messages of the units were acknowledged and forgotten while the task was
/// paused: they are due at once.
pub(super) fn resume(tx: &Tx, id: TaskId) -> Result<ControlOutcome, StoreError> {
    let Some(before) = head(tx, id)? else {
        return Ok(ControlOutcome::NotFound);
    };
    let live_slots = workers::live_slots(tx, &before.pool)?;
    if before.was == TaskState::Paused {
        tx.connection
            .prepare_cached(
                "update units set publish_at = ?2, publishes = 0
                 where task_id = ?1 and state = 'queued' and exists (select 1 from tasks t
                    where t.id = ?1 and (t.not_before is null or t.not_before <= ?2))",
            )?
            .execute(params![id.to_string(), tx.now])?;
    }
    control(tx, id, |head| head.ledger.resume(head.started, live_slots))
}

/// Removes an ended task and everything that belongs to it; its snapshot stays, others may pin it.
pub(super) fn delete(tx: &Tx, id: TaskId) -> Result<ControlOutcome, StoreError> {
    let Some(task) = read::task(tx, id)? else {
        return Ok(ControlOutcome::NotFound);
    };
    if !task.ledger.state.is_terminal() {
        let state = task.ledger.state;
        return Ok(ControlOutcome::NotAllowed(NotAllowed {
            state,
            wanted: "deleted",
        }));
    }
    tidy::remove_task(tx, id)?;
    Ok(ControlOutcome::Done(Box::new(task)))
}
