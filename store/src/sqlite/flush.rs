//! Results of units, in one transaction: the same decisions as the model's `Board::record`.

use super::columns::{maybe_worker, micros, to_json, unable};
use super::{Tx, tasks, workers};
use crate::error::StoreError;
use crate::pack::{TrialColumns, result_text};
use crate::{Recorded, UnitFlush};
use rusqlite::{named_params, params};
use std::time::Duration;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::protocol::unable::{OTHER_BUILD_PAUSE, Unable};
use trialmill_common::protocol::{Closed, Control, Effects, Ledger, Rest, Tally};
use trialmill_common::state::{TaskId, UnitKind, UnitState, WorkerId};

/// The columns of a unit that guard a write.
struct Unit {
    kind: UnitKind,
    first: u32,
    count: u32,
    recorded: u32,
    crashes: u32,
    state: UnitState,
    token: i64,
    owner: Option<WorkerId>,
    unable: Unable<WorkerId>,
}

/// What the flushes of one call add up to.
#[derive(Default)]
struct Sum {
    tallies: Vec<(u32, Tally)>,
    closed: Vec<(u32, Closed)>,
}

/// Records results of several units of `task` and leaves each unit as told.
pub(super) fn record(tx: &Tx, task: TaskId, flushes: &[UnitFlush]) -> Result<Recorded, StoreError> {
    let Some(mut head) = tasks::head(tx, task)? else {
        // The task was deleted: its leases are as good as superseded.
        let written = vec![Written::Fenced; flushes.len()];
        return Ok(Recorded {
            written,
            control: Control::Stop,
        });
    };
    if flushes.iter().any(|flush| !flush.trials.is_empty()) {
        tasks::read_front(tx, task, &mut head)?;
    }
    // What is written is decided first: a trial of this very flush may end the task.
    let before = head.ledger.stop_requested.is_some();
    let mut admission = head.ledger.admission();
    let mut answers = Vec::with_capacity(flushes.len());
    for flush in flushes {
        let mut answer = answer(tx, task, flush, &head.ledger)?;
        if let Answer::Write(_, columns) = &mut answer {
            let tallies = columns.iter().map(|c| (c.number, c.tally()));
            let admitted = admission.admit(tallies);
            columns.truncate(admitted);
        }
        answers.push(answer);
    }
    let stopping = before || admission.is_met();
    let seq = head.ledger.seq + 1;
    let mut sum = Sum::default();
    let mut written = Vec::with_capacity(flushes.len());
    for (flush, answer) in flushes.iter().zip(answers) {
        written.push(match answer {
            Answer::Fenced => Written::Fenced,
            Answer::Repeated(unit) => {
                if flush.end == UnitEnd::Keep {
                    // Nothing but the lease: a flush renews it, the first time and the second.
                    keep(tx, flush, unit.recorded)?;
                }
                Written::Recorded
            }
            Answer::Write(unit, columns) => {
                write(tx, flush, &unit, &columns, stopping, seq, &mut sum)?
            }
        });
    }
    let closed: Vec<Closed> = sum.closed.iter().map(|(_, closed)| *closed).collect();
    let live_slots = if closed.is_empty() {
        0
    } else {
        workers::live_slots(tx, &head.pool)?
    };
    let mut effects = head.ledger.recorded(&sum.tallies, &closed, live_slots);
    if effects.withdraws {
        let voided = tasks::void_queued(tx, task)?;
        head.ledger.withdrawn(voided, &mut effects);
    }
    if !sum.tallies.is_empty() || !closed.is_empty() {
        tasks::save(tx, task, &head, &effects)?;
        for (unit, closed) in &sum.closed {
            leave_announced(tx, task, *unit, closed.rest, &effects)?;
        }
    }
    Ok(Recorded {
        written,
        control: head.ledger.control(),
    })
}

/// What becomes of one unit's part of a flush.
enum Answer {
    Fenced,
    /// Written before, by an attempt whose commit was unknown.
    Repeated(Unit),
    /// These trials are recorded.
    Write(Unit, Vec<TrialColumns>),
}

fn length(trials: usize) -> u32 {
    u32::try_from(trials).expect("a unit has at most u32 trials")
}

/// What becomes of a flush, but for the task's own rules.
fn answer(tx: &Tx, task: TaskId, flush: &UnitFlush, ledger: &Ledger) -> Result<Answer, StoreError> {
    if flush.lease.unit.task != task {
        return Ok(Answer::Fenced);
    }
    let Some(unit) = read_unit(tx, flush)? else {
        return Ok(Answer::Fenced);
    };
    if unit.token != flush.lease.token {
        return Ok(Answer::Fenced);
    }
    let after = flush.recorded_before + length(flush.trials.len()) + flush.steps;
    let end = flush.end.under(ledger.closes_units(unit.kind));
    Ok(match unit.state {
        UnitState::Closed if end.closes() && unit.recorded == after => Answer::Repeated(unit),
        UnitState::Leased if unit.recorded == flush.recorded_before => {
            let number = flush.lease.unit.unit;
            let columns = flush.trials.iter().map(|t| TrialColumns::of(t, number));
            Answer::Write(unit, columns.collect())
        }
        UnitState::Leased if end == UnitEnd::Keep && unit.recorded == after => {
            Answer::Repeated(unit)
        }
        _ => Answer::Fenced,
    })
}

/// Writes the admitted trials of a flush and leaves the unit.
fn write(
    tx: &Tx,
    flush: &UnitFlush,
    unit: &Unit,
    admitted: &[TrialColumns],
    stopping: bool,
    seq: i64,
    sum: &mut Sum,
) -> Result<Written, StoreError> {
    let cut = admitted.len() < flush.trials.len();
    let end = if cut {
        UnitEnd::Close
    } else {
        flush.end.under(stopping)
    };
    let after = unit.recorded + length(admitted.len()) + flush.steps;
    insert_trials(tx, flush.lease.unit.task, admitted, seq, &mut sum.tallies)?;
    if let Some(result) = &flush.result {
        insert_result(tx, flush.lease.unit.task, result)?;
    }
    leave_unit(tx, flush, unit, end, after)?;
    if end.closes() {
        let rest = Rest {
            first: unit.first + after,
            count: unit.count - after,
            crashes: unit.crashes,
        };
        sum.closed.push((
            flush.lease.unit.unit,
            Closed {
                first: unit.first,
                rest: (rest.count > 0).then_some(rest),
            },
        ));
    }
    Ok(if cut {
        Written::Ended
    } else {
        Written::Recorded
    })
}

fn read_unit(tx: &Tx, flush: &UnitFlush) -> Result<Option<Unit>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select kind, first, count, recorded, crashes, state, lease_token, owner, unable, unable_by,
            unable_by_others
         from units
         where task_id = ?1 and number = ?2",
    )?;
    let unit = flush.lease.unit;
    let mut rows = statement.query(params![unit.task.to_string(), unit.unit])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Unit {
        kind: super::columns::named(row, "kind")?,
        first: row.get("first")?,
        count: row.get("count")?,
        recorded: row.get("recorded")?,
        crashes: row.get("crashes")?,
        state: super::columns::named(row, "state")?,
        token: row.get("lease_token")?,
        owner: maybe_worker(row, "owner")?,
        unable: unable(row)?,
    }))
}

/// Inserts the rows of ended trials; their announcements are over.
fn insert_trials(
    tx: &Tx,
    task: TaskId,
    trials: &[TrialColumns],
    seq: i64,
    tallies: &mut Vec<(u32, Tally)>,
) -> Result<(), StoreError> {
    let task = task.to_string();
    let mut insert = tx.connection.prepare_cached(
        "insert into trials (task_id, number, unit, outcome, window_number, params, value,
            more_values, infeasible, violation, metrics, failure, stats, reports, duration_ms, seq,
            ended_at)
         values (:task, :number, :unit, :outcome, :window, :params, :value, :more_values,
            :infeasible, :violation, :metrics, :failure, :stats, :reports, :duration_ms, :seq,
            :ended_at)",
    )?;
    let mut forget = tx
        .connection
        .prepare_cached("delete from running_trials where task_id = ?1 and number = ?2")?;
    let mut taken = tx
        .connection
        .prepare_cached("delete from enqueued_trials where task_id = ?1 and number = ?2")?;
    for columns in trials {
        insert.execute(named_params! {
            ":task": task,
            ":number": columns.number,
            ":unit": columns.unit,
            ":outcome": columns.end.name(),
            ":window": columns.window,
            ":params": columns.params,
            ":value": columns.value,
            ":more_values": columns.more_values,
            ":infeasible": columns.infeasible,
            ":violation": columns.violation,
            ":metrics": columns.metrics.as_ref().map(to_json),
            ":failure": columns.failure.as_ref().map(to_json),
            ":stats": columns.stats,
            ":reports": columns.reports,
            ":duration_ms": columns.duration_ms,
            ":seq": seq,
            ":ended_at": tx.now,
        })?;
        forget.execute(params![task, columns.number])?;
        taken.execute(params![task, columns.number])?;
        tallies.push((columns.number, columns.tally()));
    }
    Ok(())
}

/// The result document of a run.
fn insert_result(tx: &Tx, task: TaskId, result: &serde_json::Value) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "insert into runs (task_id, result, recorded_at) values (?1, ?2, ?3)
             on conflict (task_id) do update
                set result = excluded.result, recorded_at = excluded.recorded_at",
        )?
        .execute(params![task.to_string(), result_text(result)?, tx.now])?;
    Ok(())
}

/// Writes how many trials are recorded of a unit whose lease goes on.
fn keep(tx: &Tx, flush: &UnitFlush, recorded: u32) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "update units set recorded = ?3, lease_until = ?4
             where task_id = ?1 and number = ?2",
        )?
        .execute(params![
            flush.lease.unit.task.to_string(),
            flush.lease.unit.unit,
            recorded,
            tx.now.saturating_add(tx.lease)
        ])?;
    Ok(())
}

/// Writes how many trials are recorded and how the unit is left.
fn leave_unit(
    tx: &Tx,
    flush: &UnitFlush,
    row: &Unit,
    end: UnitEnd,
    after: u32,
) -> Result<(), StoreError> {
    let unit = flush.lease.unit;
    let task = unit.task.to_string();
    let unable = leave_unable(tx, flush, row, end)?;
    let pause = match end {
        UnitEnd::Unable => unable.pause(),
        UnitEnd::OtherBuild => OTHER_BUILD_PAUSE,
        UnitEnd::Keep | UnitEnd::Close | UnitEnd::Split | UnitEnd::HandBack | UnitEnd::Isolate => {
            Duration::ZERO
        }
    };
    match end {
        UnitEnd::Keep => return keep(tx, flush, after),
        UnitEnd::Close | UnitEnd::Split => tx
            .connection
            .prepare_cached(
                "update units set recorded = ?3, state = 'closed', owner = null,
                    lease_until = null
                 where task_id = ?1 and number = ?2",
            )?
            .execute(params![task, unit.unit, after])?,
        UnitEnd::HandBack | UnitEnd::Isolate | UnitEnd::Unable | UnitEnd::OtherBuild => {
            tx.news.set(true);
            tx.connection
                .prepare_cached(
                    "update units set recorded = ?3, state = 'queued', owner = null,
                        lease_until = null, lease_token = lease_token + 1, publish_at = ?4,
                        publishes = 0, crashes = crashes + ?5
                     where task_id = ?1 and number = ?2",
                )?
                .execute(params![
                    task,
                    unit.unit,
                    after,
                    tx.now.saturating_add(micros(pause)),
                    end == UnitEnd::Isolate
                ])?
        }
    };
    Ok(())
}

/// Writes how often the unit could not be run, and why: a recorded trial proves that it can be.
fn leave_unable(
    tx: &Tx,
    flush: &UnitFlush,
    row: &Unit,
    end: UnitEnd,
) -> Result<Unable<WorkerId>, StoreError> {
    let progress = !flush.trials.is_empty() || flush.steps > 0;
    let before = if progress {
        Unable::default()
    } else {
        row.unable
    };
    let (after, told) = match (end, row.owner) {
        (UnitEnd::Unable, Some(owner)) => (before.again(owner), true),
        (end, _) => (before, end == UnitEnd::OtherBuild),
    };
    if after == row.unable && !progress && !told {
        return Ok(after);
    }
    let why = flush.why.as_deref().filter(|_| told).map(crate::cut_reason);
    tx.connection
        .prepare_cached(
            "update units set unable = ?3, unable_by = ?4, unable_by_others = ?5,
                unable_reason = coalesce(?6, iif(?7, null, unable_reason))
             where task_id = ?1 and number = ?2",
        )?
        .execute(params![
            flush.lease.unit.task.to_string(),
            flush.lease.unit.unit,
            after.times,
            after.by.map(|worker| worker.to_string()),
            after.by_others,
            why,
            progress
        ])?;
    Ok(after)
}

/// Announced trials of a closed unit follow its rest into the new unit, which runs them again
/// with the same parameters; where there is no new unit they are abandoned.
fn leave_announced(
    tx: &Tx,
    task: TaskId,
    unit: u32,
    rest: Option<Rest>,
    effects: &Effects,
) -> Result<(), StoreError> {
    let opened = rest.and_then(|rest| effects.units.iter().find(|new| new.first == rest.first));
    match opened {
        Some(new) => tx
            .connection
            .prepare_cached("update running_trials set unit = ?3, lease_token = 0 where task_id = ?1 and unit = ?2")?
            .execute(params![task.to_string(), unit, new.number])?,
        None => tx
            .connection
            .prepare_cached("delete from running_trials where task_id = ?1 and unit = ?2")?
            .execute(params![task.to_string(), unit])?,
    };
    Ok(())
}
