//! The flush: results of several units of one task in one transaction.
//!
//! Row locks in order: the units, the task, then what is new. The model's
//! [`trialmill_common::protocol::board::Board::record`] says what must come of it.

use super::PgError;
use super::control;
use super::task::{self, count, int, named};
use super::units::pause;
use crate::pack::{TrialColumns, result_text};
use crate::{Recorded, UnitFlush};
use deadpool_postgres::{Object, Transaction};
use std::collections::HashMap;
use std::time::Duration;
use tokio_postgres::types::Json;
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::protocol::unable::Unable;
use trialmill_common::protocol::{Closed, Control, NewUnit, Rest};
use trialmill_common::state::{TaskId, UnitKind, UnitState};
use uuid::Uuid;

/// A unit as its row says, locked.
struct UnitRow {
    kind: UnitKind,
    state: UnitState,
    token: i64,
    first: u32,
    count: u32,
    recorded: u32,
    crashes: u32,
    owner: Option<Uuid>,
    unable: Unable<Uuid>,
}

/// What becomes of one unit's part of a flush.
enum Answer<'a> {
    Fenced,
    /// Written before, by an attempt whose commit was unknown.
    Repeated(&'a UnitRow),
    /// These trials are recorded.
    Write(&'a UnitRow, Vec<TrialColumns>),
}

/// What becomes of the units' rows.
#[derive(Default)]
struct UnitChanges {
    numbers: Vec<i32>,
    states: Vec<&'static str>,
    recorded: Vec<i32>,
    /// Added to the token: a unit that is handed back fences its former holder.
    raised: Vec<i64>,
    crashed: Vec<i32>,
    unable: Vec<i32>,
    unable_by: Vec<Option<Uuid>>,
    unable_by_others: Vec<bool>,
    reasons: Vec<Option<String>>,
    /// Seconds until a queued unit is due.
    pauses: Vec<f64>,
}

/// How a unit's row is left.
struct Left {
    state: UnitState,
    recorded: u32,
    /// Added to the token.
    raised: i64,
    /// Added to the crashes.
    crashed: i32,
    unable: Unable<Uuid>,
    end: UnitEnd,
}

pub(super) async fn record(
    client: &mut Object,
    task: TaskId,
    flushes: &[UnitFlush],
    lease: Duration,
) -> Result<Recorded, PgError> {
    let tx = client.transaction().await?;
    let units = lock_units(&tx, task, flushes).await?;
    let Some(mut locked) = task::lock(&tx, task).await? else {
        // The task was deleted: there is nothing to write to.
        let written = vec![Written::Fenced; flushes.len()];
        return Ok(Recorded {
            written,
            control: Control::Stop,
        });
    };
    if flushes.iter().any(|flush| !flush.trials.is_empty()) {
        locked.read_front(&tx).await?;
    }
    // What is written is decided first: a trial of this very flush may end the task.
    let before = locked.ledger.stop_requested.is_some();
    let mut admission = locked.ledger.admission();
    let answers: Vec<Answer<'_>> = flushes
        .iter()
        .map(|flush| {
            let unit = units.get(&flush.lease.unit.unit);
            match unit {
                Some(unit) if accepts(unit, flush) => {
                    let number = flush.lease.unit.unit;
                    let trials = flush.trials.iter();
                    let mut columns: Vec<_> = trials.map(|t| TrialColumns::of(t, number)).collect();
                    let tallies = columns.iter().map(|c| (c.number, c.tally()));
                    columns.truncate(admission.admit(tallies));
                    Answer::Write(unit, columns)
                }
                Some(unit) => {
                    let end = flush.end.under(locked.ledger.closes_units(unit.kind));
                    match is_repeated(unit, flush, end) {
                        true => Answer::Repeated(unit),
                        false => Answer::Fenced,
                    }
                }
                None => Answer::Fenced,
            }
        })
        .collect();
    let stopping = before || admission.is_met();
    let mut written = Vec::with_capacity(flushes.len());
    let mut columns: Vec<TrialColumns> = Vec::new();
    let mut closed: Vec<Closed> = Vec::new();
    let mut left_units: Vec<i32> = Vec::new();
    let mut changes = UnitChanges::default();
    let mut results: Vec<&serde_json::Value> = Vec::new();
    for (flush, answer) in flushes.iter().zip(answers) {
        let (unit, trials) = match answer {
            Answer::Fenced => {
                written.push(Written::Fenced);
                continue;
            }
            Answer::Repeated(unit) => {
                written.push(Written::Recorded);
                if flush.end == UnitEnd::Keep {
                    // Nothing but the lease: a flush renews it, the first time and the second.
                    let left = Left {
                        state: UnitState::Leased,
                        recorded: unit.recorded,
                        raised: 0,
                        crashed: 0,
                        unable: unit.unable,
                        end: UnitEnd::Keep,
                    };
                    changes.add(flush, &left);
                }
                continue;
            }
            Answer::Write(unit, trials) => (unit, trials),
        };
        let cut = trials.len() < flush.trials.len();
        let end = match cut {
            true => UnitEnd::Close,
            false => flush.end.under(stopping),
        };
        written.push(match cut {
            true => Written::Ended,
            false => Written::Recorded,
        });
        let number = flush.lease.unit.unit;
        let trial_count = u32::try_from(trials.len()).expect("bounded by a unit");
        let after = unit.recorded + trial_count + flush.steps;
        columns.extend(trials);
        results.extend(&flush.result);
        let left = unit.count - after;
        let (state, raised, crashed) = match end {
            UnitEnd::Keep => (UnitState::Leased, 0, 0),
            UnitEnd::Close | UnitEnd::Split => {
                let rest = Rest {
                    first: unit.first + after,
                    count: left,
                    crashes: unit.crashes,
                };
                closed.push(Closed {
                    first: unit.first,
                    rest: (left > 0).then_some(rest),
                });
                (UnitState::Closed, 0, 0)
            }
            UnitEnd::HandBack | UnitEnd::Unable | UnitEnd::OtherBuild => (UnitState::Queued, 1, 0),
            UnitEnd::Isolate => (UnitState::Queued, 1, 1),
        };
        if state == UnitState::Closed {
            left_units.push(int(number));
        }
        // A recorded trial proves that it can be run.
        let unable = match flush.trials.is_empty() && flush.steps == 0 {
            true => unit.unable,
            false => Unable::default(),
        };
        let unable = match (end, unit.owner) {
            (UnitEnd::Unable, Some(owner)) => unable.again(owner),
            _ => unable,
        };
        let left = Left {
            state,
            recorded: after,
            raised,
            crashed,
            unable,
            end,
        };
        changes.add(flush, &left);
    }
    if changes.numbers.is_empty() {
        // Dropped, it would hold the units past the answer, and who asks next would pass over them.
        tx.rollback().await?;
        return Ok(Recorded {
            written,
            control: locked.ledger.control(),
        });
    }
    changes.write(&tx, task, lease).await?;
    if changes.raised.contains(&1) {
        reach(FailPoint::HandingBack);
    }
    let live_slots = match closed.is_empty() || locked.ledger.parallelism.is_some() {
        true => 0,
        false => task::live_slots(&tx, &locked.pool, lease).await?,
    };
    let tallies: Vec<_> = columns.iter().map(|c| (c.number, c.tally())).collect();
    // The event that tells of the trials is the first of this operation.
    let seq = locked.ledger.seq + 1;
    if tallies.is_empty() && closed.is_empty() {
        // Leases were renewed or given back, or an assessment went on: the task's row is as it was.
        insert_result(&tx, task, results.last().copied()).await?;
        let assesses = !results.is_empty();
        if assesses {
            reach(FailPoint::AssessCommitting);
        }
        tx.commit().await?;
        if assesses {
            reach(FailPoint::AssessCommitted);
        }
        return Ok(Recorded {
            written,
            control: locked.ledger.control(),
        });
    }
    let mut effects = locked.ledger.recorded(&tallies, &closed, live_slots);
    if effects.withdraws {
        let voided = control::void_queued(&tx, task).await?;
        locked.ledger.withdrawn(voided, &mut effects);
    }
    insert_trials(&tx, task, seq, &columns).await?;
    insert_result(&tx, task, results.last().copied()).await?;
    locked.save(&tx, &effects).await?;
    forget_announced(&tx, task, &columns, &left_units, &effects.units).await?;
    let ends = locked.ledger.state.is_terminal();
    reach(FailPoint::RecordCommitting);
    if !closed.is_empty() {
        reach(FailPoint::UnitClosing);
    }
    if ends {
        reach(FailPoint::TaskEnding);
    }
    tx.commit().await?;
    reach(FailPoint::RecordCommitted);
    if ends {
        reach(FailPoint::TaskEnded);
    }
    Ok(Recorded {
        written,
        control: locked.ledger.control(),
    })
}

/// Whether this flush may be written.
fn accepts(unit: &UnitRow, flush: &UnitFlush) -> bool {
    unit.token == flush.lease.token
        && unit.state == UnitState::Leased
        && unit.recorded == flush.recorded_before
}

/// Whether this very flush was written before, its commit having been unknown to the holder.
fn is_repeated(unit: &UnitRow, flush: &UnitFlush, end: UnitEnd) -> bool {
    let trials = u32::try_from(flush.trials.len()).unwrap_or(u32::MAX);
    let after = (flush.recorded_before + flush.steps).saturating_add(trials);
    let state = match end {
        UnitEnd::Keep => UnitState::Leased,
        UnitEnd::Close | UnitEnd::Split => UnitState::Closed,
        UnitEnd::HandBack | UnitEnd::Isolate | UnitEnd::Unable | UnitEnd::OtherBuild => {
            return false;
        }
    };
    unit.token == flush.lease.token && unit.state == state && unit.recorded == after
}

async fn lock_units(
    tx: &Transaction<'_>,
    task: TaskId,
    flushes: &[UnitFlush],
) -> Result<HashMap<u32, UnitRow>, PgError> {
    let numbers: Vec<i32> = flushes.iter().map(|f| int(f.lease.unit.unit)).collect();
    let statement = tx
        .prepare_cached(
            "select number, state, lease_token, first, count, recorded, crashes, owner, unable,
                unable_by, unable_by_others, kind
             from units
             where task_id = $1 and number = any($2) order by number for no key update",
        )
        .await?;
    let rows = tx.query(&statement, &[&task.0, &numbers]).await?;
    rows.iter()
        .map(|row| {
            let unit = UnitRow {
                state: named(row, 1)?,
                token: row.get(2),
                first: count(row, 3),
                count: count(row, 4),
                recorded: count(row, 5),
                crashes: count(row, 6),
                owner: row.get(7),
                unable: super::units::unable(row, 8),
                kind: named(row, 11)?,
            };
            Ok((count(row, 0), unit))
        })
        .collect()
}

impl UnitChanges {
    fn add(&mut self, flush: &UnitFlush, left: &Left) {
        self.numbers.push(int(flush.lease.unit.unit));
        self.states.push(left.state.name());
        self.recorded.push(int(left.recorded));
        self.raised.push(left.raised);
        self.crashed.push(left.crashed);
        self.unable.push(int(left.unable.times));
        self.unable_by.push(left.unable.by);
        self.unable_by_others.push(left.unable.by_others);
        let told = matches!(left.end, UnitEnd::Unable | UnitEnd::OtherBuild);
        let why = flush.why.as_deref().filter(|_| told);
        self.reasons.push(why.map(crate::cut_reason));
        self.pauses
            .push(pause(left.end, &left.unable).as_secs_f64());
    }

    async fn write(
        &self,
        tx: &Transaction<'_>,
        task: TaskId,
        lease: Duration,
    ) -> Result<(), PgError> {
        let statement = tx
            .prepare_cached(
                "update units u set state = c.state, recorded = c.recorded,
                    lease_token = u.lease_token + c.raised, crashes = u.crashes + c.crashed,
                    owner = case when c.state = 'leased' then u.owner end,
                    lease_until = case when c.state = 'leased'
                        then now() + make_interval(secs => $7) end,
                    publish_at = case when c.state = 'queued'
                        then now() + make_interval(secs => c.pause) end,
                    unable = c.unable, unable_by = c.unable_by,
                    unable_by_others = c.unable_by_others,
                    unable_reason = coalesce(c.reason,
                        case when c.recorded = u.recorded then u.unable_reason end)
                 from unnest($2::int4[], $3::text[], $4::int4[], $5::int8[], $6::int4[],
                    $8::int4[], $9::uuid[], $10::bool[], $11::text[], $12::float8[])
                    as c (number, state, recorded, raised, crashed, unable, unable_by,
                        unable_by_others, reason, pause)
                 where u.task_id = $1 and u.number = c.number",
            )
            .await?;
        tx.execute(
            &statement,
            &[
                &task.0,
                &self.numbers,
                &self.states,
                &self.recorded,
                &self.raised,
                &self.crashed,
                &lease.as_secs_f64(),
                &self.unable,
                &self.unable_by,
                &self.unable_by_others,
                &self.reasons,
                &self.pauses,
            ],
        )
        .await?;
        Ok(())
    }
}

async fn insert_trials(
    tx: &Transaction<'_>,
    task: TaskId,
    seq: i64,
    rows: &[TrialColumns],
) -> Result<(), PgError> {
    if rows.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i32> = rows.iter().map(|r| int(r.number)).collect();
    let units: Vec<i32> = rows.iter().map(|r| int(r.unit)).collect();
    let outcomes: Vec<&str> = rows.iter().map(|r| r.end.name()).collect();
    let windows: Vec<Option<i16>> = rows
        .iter()
        .map(|r| r.window.and_then(|w| i16::try_from(w).ok()))
        .collect();
    let params: Vec<&[u8]> = rows.iter().map(|r| r.params.as_slice()).collect();
    let values: Vec<Option<f64>> = rows.iter().map(|r| r.value).collect();
    let more: Vec<Option<&[u8]>> = rows.iter().map(|r| r.more_values.as_deref()).collect();
    let infeasible: Vec<Option<&str>> = rows.iter().map(|r| r.infeasible.as_deref()).collect();
    let violations: Vec<Option<f64>> = rows.iter().map(|r| r.violation).collect();
    let metrics: Vec<Option<Json<_>>> = rows.iter().map(|r| r.metrics.as_ref().map(Json)).collect();
    let failures: Vec<Option<Json<_>>> =
        rows.iter().map(|r| r.failure.as_ref().map(Json)).collect();
    let stats: Vec<Option<&[u8]>> = rows.iter().map(|r| r.stats.as_deref()).collect();
    let reports: Vec<Option<&[u8]>> = rows.iter().map(|r| r.reports.as_deref()).collect();
    let durations: Vec<f64> = rows.iter().map(|r| r.duration_ms).collect();
    let statement = tx
        .prepare_cached(
            "insert into trials (task_id, seq, number, unit, outcome, window_number, params,
                value, more_values, infeasible, violation, metrics, failure, stats, duration_ms,
                reports)
             select $1, $2, n.* from unnest($3::int4[], $4::int4[], $5::text[], $6::int2[],
                $7::bytea[], $8::float8[], $9::bytea[], $10::text[], $11::float8[],
                $12::jsonb[], $13::jsonb[], $14::bytea[], $15::float8[], $16::bytea[]) as n",
        )
        .await?;
    tx.execute(
        &statement,
        &[
            &task.0,
            &seq,
            &numbers,
            &units,
            &outcomes,
            &windows,
            &params,
            &values,
            &more,
            &infeasible,
            &violations,
            &metrics,
            &failures,
            &stats,
            &durations,
            &reports,
        ],
    )
    .await?;
    Ok(())
}

async fn insert_result(
    tx: &Transaction<'_>,
    task: TaskId,
    result: Option<&serde_json::Value>,
) -> Result<(), PgError> {
    let Some(result) = result else { return Ok(()) };
    let text = result_text(result)?;
    let statement = tx
        .prepare_cached(
            "insert into runs (task_id, result) values ($1, $2::text::json)
             on conflict (task_id) do update
                set result = excluded.result, recorded_at = excluded.recorded_at",
        )
        .await?;
    tx.execute(&statement, &[&task.0, &text]).await?;
    Ok(())
}

/// Removes the announcements of trials that ended, and what was enqueued for them. Those of a closed unit that did not end go with
/// the rest to its new unit, and keep their
/// parameters, announced under no lease; without a rest they are abandoned.
async fn forget_announced(
    tx: &Transaction<'_>,
    task: TaskId,
    ended: &[TrialColumns],
    closed: &[i32],
    opened: &[NewUnit],
) -> Result<(), PgError> {
    let numbers: Vec<i32> = ended.iter().map(|r| int(r.number)).collect();
    if !closed.is_empty() {
        let units: Vec<i32> = opened.iter().map(|u| int(u.number)).collect();
        let firsts: Vec<i32> = opened.iter().map(|u| int(u.first)).collect();
        let counts: Vec<i32> = opened.iter().map(|u| int(u.count)).collect();
        let statement = tx
            .prepare_cached(
                "update running_trials r set unit = n.unit, lease_token = 0
                 from unnest($3::int4[], $4::int4[], $5::int4[]) as n (unit, first, count)
                 where r.task_id = $1 and r.unit = any($2)
                    and r.number >= n.first and r.number < n.first + n.count",
            )
            .await?;
        tx.execute(&statement, &[&task.0, &closed, &units, &firsts, &counts])
            .await?;
    }
    let statement = tx
        .prepare_cached(
            "delete from running_trials
             where task_id = $1 and (number = any($2) or unit = any($3))",
        )
        .await?;
    tx.execute(&statement, &[&task.0, &numbers, &closed])
        .await?;
    let statement = tx
        .prepare_cached("delete from enqueued_trials where task_id = $1 and number = any($2)")
        .await?;
    tx.execute(&statement, &[&task.0, &numbers]).await?;
    Ok(())
}
