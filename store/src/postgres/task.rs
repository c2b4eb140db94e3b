//! Reading and writing a task row, and the ledger in it.

use super::PgError;
use crate::error::StoreError;
use crate::front;
use crate::rows::{Origin, Priority, TaskError, TaskRow};
use deadpool_postgres::{GenericClient, Object, Transaction};
use std::collections::VecDeque;
use std::str::FromStr;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use trialmill_common::protocol::{
    Aim, Best, Copied, Effects, Ledger, MAX_AHEAD, Run, StopRules, WindowLedger, unit_kind,
};
use trialmill_common::state::{TaskId, TaskState};
use trialmill_search::pareto::Front;

/// A column of type `integer` for a number of ours; all of them are bounded far below its range.
pub(super) fn int(number: u32) -> i32 {
    i32::try_from(number).expect("trial and unit numbers are below 2^31")
}

/// A number of ours from a column of type `integer`.
pub(super) fn count(row: &Row, column: usize) -> u32 {
    u32::try_from(row.get::<_, i32>(column)).expect("constraints keep it from being negative")
}

/// A state or kind from its name.
pub(super) fn named<T>(row: &Row, column: usize) -> Result<T, PgError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let name: &str = row.get(column);
    name.parse().map_err(|e: T::Err| {
        let what = format!("column {}", row.columns()[column].name());
        PgError::Store(StoreError::Unreadable {
            what,
            why: e.to_string(),
        })
    })
}

fn maybe_named<T>(row: &Row, column: usize) -> Result<Option<T>, PgError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let absent = row.get::<_, Option<&str>>(column).is_none();
    if absent {
        Ok(None)
    } else {
        named(row, column).map(Some)
    }
}

/// The columns of the ledger, in the order in which [`ledger`] reads them.
const LEDGER: &str = "t.state, t.stop_requested, t.stop_reason, t.parallelism, t.direction,
    t.n_trials, t.planned, t.next_number, t.next_unit, t.open_units, t.completed, t.pruned,
    t.failed, t.infeasible, t.best_number, t.best_value, t.seq, t.kind, t.adaptive, t.gave_up,
    t.stop_target, t.stop_patience, t.since_best, t.copied_trials, t.copied_units, t.passed_units,
    t.passed_trials, t.assessed, t.searched, t.by_client, t.stop_aims, t.targets_reached";
const LEDGER_COLUMNS: usize = 32;

fn ledger(row: &Row) -> Result<Ledger, PgError> {
    let best = match (row.get::<_, Option<i32>>(14), row.get::<_, Option<f64>>(15)) {
        (Some(_), Some(value)) => Some(Best {
            number: count(row, 14),
            value,
        }),
        _ => None,
    };
    Ok(Ledger {
        state: named(row, 0)?,
        stop_requested: maybe_named(row, 1)?,
        stop_reason: maybe_named(row, 2)?,
        parallelism: row.get::<_, Option<i32>>(3).map(|_| count(row, 3)),
        direction: named(row, 4)?,
        n_trials: count(row, 5),
        planned: count(row, 6),
        next_number: count(row, 7),
        next_unit: count(row, 8),
        open_units: count(row, 9),
        completed: count(row, 10),
        pruned: count(row, 11),
        failed: count(row, 12),
        infeasible: count(row, 13),
        best,
        seq: row.get(16),
        kind: unit_kind(named(row, 17)?),
        adaptive: row.get(18),
        gave_up: row.get(19),
        rules: StopRules {
            target: row.get(20),
            patience: row.get::<_, Option<i32>>(21).map(|_| count(row, 21)),
            aims: aims(row, 30)?,
        },
        since_best: count(row, 22),
        front: Front::default(),
        reached: row.get(31),
        copied: Copied {
            trials: count(row, 23),
            units: count(row, 24),
            passed_units: count(row, 25),
            passed_trials: count(row, 26),
            ahead: VecDeque::new(),
        },
        windows: Vec::new(),
        assessed: row.get(27),
        by_client: row.get(29),
        searched: maybe_named(row, 28)?,
    })
}

/// What the rules know of several objectives.
fn aims(row: &Row, column: usize) -> Result<Vec<Aim>, PgError> {
    let Some(Json(aims)) = row.get::<_, Option<Json<serde_json::Value>>>(column) else {
        return Ok(Vec::new());
    };
    serde_json::from_value(aims).map_err(|e| {
        PgError::Store(StoreError::Unreadable {
            what: "column stop_aims".to_owned(),
            why: e.to_string(),
        })
    })
}

/// A task whose row is locked until the transaction ends.
pub(super) struct Locked {
    pub id: TaskId,
    pub ledger: Ledger,
    /// Whether a unit was ever claimed.
    pub started: bool,
    pub pool: String,
    not_before: Option<chrono::DateTime<chrono::Utc>>,
    was: TaskState,
    /// The windows as they are stored.
    windows: Vec<WindowLedger>,
    /// The front as it is stored; empty where it was not read.
    front: Front,
    seq: i64,
}

/// Locks the row of a task, last in the lock order.
pub(super) async fn lock(tx: &Transaction<'_>, id: TaskId) -> Result<Option<Locked>, PgError> {
    let query = format!(
        "select {LEDGER}, t.started_at is not null, t.pool, t.not_before, t.windows from tasks t
         where t.id = $1 for no key update"
    );
    let statement = tx.prepare_cached(&query).await?;
    let Some(row) = tx.query_opt(&statement, &[&id.0]).await? else {
        return Ok(None);
    };
    let mut ledger = ledger(&row)?;
    if ledger.copied.lies_ahead() {
        ledger.copied.ahead = runs_ahead(tx, id, &ledger.copied).await?;
    }
    if count(&row, LEDGER_COLUMNS + 3) > 0 {
        ledger.windows = windows(tx, id).await?;
    }
    Ok(Some(Locked {
        id,
        started: row.get(LEDGER_COLUMNS),
        pool: row.get(LEDGER_COLUMNS + 1),
        not_before: row.get(LEDGER_COLUMNS + 2),
        was: ledger.state,
        windows: ledger.windows.clone(),
        front: Front::default(),
        seq: ledger.seq,
        ledger,
    }))
}

/// The searches of a task, in order. Their rows change under the lock of the task's.
async fn windows(tx: &Transaction<'_>, id: TaskId) -> Result<Vec<WindowLedger>, PgError> {
    let statement = tx
        .prepare_cached(
            "select first, count, next_number, ended, open_units from task_windows
             where task_id = $1 order by number",
        )
        .await?;
    let rows = tx.query(&statement, &[&id.0]).await?;
    let window = |row| WindowLedger {
        first: count(row, 0),
        count: count(row, 1),
        next: count(row, 2),
        ended: count(row, 3),
        open: count(row, 4),
    };
    Ok(rows.iter().map(window).collect())
}

/// Writes the windows of a new task, and of an old one those that changed.
pub(super) async fn save_windows(
    tx: &Transaction<'_>,
    id: TaskId,
    before: &[WindowLedger],
    after: &[WindowLedger],
) -> Result<(), PgError> {
    let changed: Vec<(usize, &WindowLedger)> = after
        .iter()
        .enumerate()
        .filter(|(index, window)| before.get(*index) != Some(window))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&WindowLedger) -> u32| -> Vec<i32> {
        changed.iter().map(|(_, window)| int(of(window))).collect()
    };
    let numbers: Vec<i32> = changed
        .iter()
        .map(|(index, _)| i32::try_from(*index).expect("windows are few"))
        .collect();
    let statement = tx
        .prepare_cached(
            "insert into task_windows
                (task_id, number, first, count, next_number, ended, open_units)
             select $1, n.* from unnest($2::int4[], $3::int4[], $4::int4[], $5::int4[],
                $6::int4[], $7::int4[]) as n
             on conflict (task_id, number) do update
                set next_number = excluded.next_number, ended = excluded.ended,
                    open_units = excluded.open_units",
        )
        .await?;
    tx.execute(
        &statement,
        &[
            &id.0,
            &numbers,
            &column(|w| w.first),
            &column(|w| w.count),
            &column(|w| w.next),
            &column(|w| w.ended),
            &column(|w| w.open),
        ],
    )
    .await?;
    Ok(())
}

/// The next copied runs that lie ahead. Their units never change.
async fn runs_ahead(
    tx: &Transaction<'_>,
    id: TaskId,
    copied: &Copied,
) -> Result<VecDeque<Run>, PgError> {
    let statement = tx
        .prepare_cached(
            "select first, count from units
             where task_id = $1 and number >= $2 and number < $3 order by number limit $4",
        )
        .await?;
    let rows = tx
        .query(
            &statement,
            &[
                &id.0,
                &int(copied.passed_units),
                &int(copied.units),
                &i64::from(MAX_AHEAD),
            ],
        )
        .await?;
    let run = |row| Run {
        first: count(row, 0),
        count: count(row, 1),
    };
    Ok(rows.iter().map(run).collect())
}

impl Locked {
    /// Reads the front of a task that keeps one, for trials to be recorded.
    pub async fn read_front(&mut self, tx: &Transaction<'_>) -> Result<(), PgError> {
        if !self.ledger.rules.keep_front() {
            return Ok(());
        }
        let statement = tx
            .prepare_cached("select front from tasks where id = $1")
            .await?;
        let row = tx.query_one(&statement, &[&self.id.0]).await?;
        let packed: Option<&[u8]> = row.get(0);
        self.front = front::unpack(packed.unwrap_or_default(), self.ledger.rules.aims.len())?;
        self.ledger.front = self.front.clone();
        Ok(())
    }

    /// Writes the changed ledger with its new units and events.
    pub async fn save(&self, tx: &Transaction<'_>, effects: &Effects) -> Result<(), PgError> {
        insert_units(tx, self.id, effects, self.not_before).await?;
        insert_events(tx, self.id, self.seq, effects).await?;
        save_windows(tx, self.id, &self.windows, &self.ledger.windows).await?;
        let l = &self.ledger;
        let ends = l.state.is_terminal() && !self.was.is_terminal();
        let front = (l.front != self.front && !ends).then(|| front::pack(&l.front));
        let statement = tx
            .prepare_cached(
                "update tasks set state = $2, stop_requested = $3, stop_reason = $4,
                    next_number = $5, next_unit = $6, open_units = $7, completed = $8,
                    pruned = $9, failed = $10, infeasible = $11, best_number = $12,
                    best_value = $13, seq = $14, gave_up = $18,
                    started_at = case when $15 then coalesce(started_at, now())
                        else started_at end,
                    completed_at = case when $16 then now() else completed_at end,
                    active_seconds = active_seconds + case when $17 then 0
                        else coalesce(extract(epoch from now() - active_since), 0) end,
                    active_since = case when $17 then coalesce(active_since, now()) end,
                    since_best = $19, passed_units = $20, passed_trials = $21, searched = $22,
                    targets_reached = $23, front = case when $24 then $25 else front end
                 where id = $1",
            )
            .await?;
        let running = l.state == TaskState::Running;
        tx.execute(
            &statement,
            &[
                &self.id.0,
                &l.state.name(),
                &l.stop_requested.map(|r| r.name()),
                &l.stop_reason.map(|r| r.name()),
                &int(l.next_number),
                &int(l.next_unit),
                &int(l.open_units),
                &int(l.completed),
                &int(l.pruned),
                &int(l.failed),
                &int(l.infeasible),
                &l.best.map(|b| int(b.number)),
                &l.best.map(|b| b.value),
                &l.seq,
                &running,
                &ends,
                &l.searches(),
                &l.gave_up,
                &int(l.since_best),
                &int(l.copied.passed_units),
                &int(l.copied.passed_trials),
                &l.searched.map(|r| r.name()),
                &l.reached,
                &(ends || front.is_some()),
                &front,
            ],
        )
        .await?;
        if ends {
            self.end(tx).await?;
        }
        Ok(())
    }

    /// What a terminal state leaves behind: no announced or enqueued trial, and the reason of a failure.
    async fn end(&self, tx: &Transaction<'_>) -> Result<(), PgError> {
        for waiting in ["running_trials", "enqueued_trials"] {
            let delete = format!("delete from {waiting} where task_id = $1");
            tx.execute(&delete, &[&self.id.0]).await?;
        }
        if self.ledger.state != TaskState::Failed {
            return Ok(());
        }
        let first = tx
            .query_opt(
                "select number, failure from trials where task_id = $1 and outcome = 'failed'
                 order by number limit 1",
                &[&self.id.0],
            )
            .await?;
        // A failure of a kind that only a newer build knows does not keep the task from ending.
        let first = first.and_then(|row| {
            let number = count(&row, 0);
            let Json(failure) = row.get::<_, Json<serde_json::Value>>(1);
            let failure = crate::pack::read_failure(failure, &format!("trial {number}")).ok()?;
            Some((number, failure))
        });
        let error = TaskError::of_end(&self.ledger, first);
        tx.execute(
            "update tasks set error = $2 where id = $1",
            &[&self.id.0, &Json(&error)],
        )
        .await?;
        Ok(())
    }
}

/// Inserts the units that a decision opened, due now or at `not_before`.
pub(super) async fn insert_units(
    tx: &Transaction<'_>,
    id: TaskId,
    effects: &Effects,
    not_before: Option<chrono::DateTime<chrono::Utc>>,
) -> Result<(), PgError> {
    if effects.units.is_empty() {
        return Ok(());
    }
    let units = &effects.units;
    let numbers: Vec<i32> = units.iter().map(|u| int(u.number)).collect();
    let kinds: Vec<&str> = units.iter().map(|u| u.kind.name()).collect();
    let firsts: Vec<i32> = units.iter().map(|u| int(u.first)).collect();
    let counts: Vec<i32> = units.iter().map(|u| int(u.count)).collect();
    let crashes: Vec<i32> = units.iter().map(|u| int(u.crashes)).collect();
    let statement = tx
        .prepare_cached(
            "insert into units (task_id, number, kind, first, count, crashes, state, publish_at)
             select $1, n.number, n.kind, n.first, n.count, n.crashes, 'queued',
                greatest(now(), $7)
             from unnest($2::int4[], $3::text[], $4::int4[], $5::int4[], $6::int4[])
                as n (number, kind, first, count, crashes)",
        )
        .await?;
    tx.execute(
        &statement,
        &[
            &id.0,
            &numbers,
            &kinds,
            &firsts,
            &counts,
            &crashes,
            &not_before,
        ],
    )
    .await?;
    Ok(())
}

/// Appends the events of a decision, numbered from `seq`.
pub(super) async fn insert_events(
    tx: &Transaction<'_>,
    id: TaskId,
    seq: i64,
    effects: &Effects,
) -> Result<(), PgError> {
    if effects.events.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = (seq + 1..).take(effects.events.len()).collect();
    let events: Vec<Json<_>> = effects.events.iter().map(Json).collect();
    let statement = tx
        .prepare_cached(
            "insert into task_events (task_id, seq, event)
             select $1, n.seq, n.event from unnest($2::int8[], $3::jsonb[]) as n (seq, event)",
        )
        .await?;
    tx.execute(&statement, &[&id.0, &numbers, &events]).await?;
    Ok(())
}

/// Slots of the workers of a pool that were heard of within a lease and take units.
pub(super) async fn live_slots(
    tx: &impl GenericClient,
    pool: &str,
    lease: std::time::Duration,
) -> Result<u32, PgError> {
    let statement = tx
        .prepare_cached(
            "select coalesce(sum(slots), 0)::int4 from workers
             where pool = $1 and left_at is null and quarantined_at is null and seen_at > now() - make_interval(secs => $2)",
        )
        .await?;
    let row = tx
        .query_one(&statement, &[&pool, &lease.as_secs_f64()])
        .await?;
    Ok(count(&row, 0))
}

/// The columns of a whole task row, in the order in which [`task_row`] reads them.
fn columns() -> String {
    columns_with("t.spec, t.resolved, t.warnings")
}

/// The columns of a row of a list: without what is long and only shown of one task.
pub(super) fn listed_columns() -> String {
    columns_with("'null'::jsonb, 'null'::jsonb, '[]'::jsonb")
}

fn columns_with(long: &str) -> String {
    format!(
        "{LEDGER}, t.id, t.kind, t.name, t.strategy, t.stock_codes, t.pool, t.request, {long},
         t.seed, t.timeout_seconds, t.priority, t.not_before,
         t.snapshot_id, t.engine, t.created_at, t.started_at, t.completed_at, t.error,
         t.active_seconds + coalesce(extract(epoch from now() - t.active_since), 0)::float8,
         (select count(*) from units u where u.task_id = t.id and u.state = 'leased')::int4,
         t.origin_task, t.origin_how,
         case when t.searched is not null then (select max(u.recorded) from units u
            where u.task_id = t.id and u.kind = 'assess') end"
    )
}

pub(super) fn task_row(row: &Row) -> Result<TaskRow, PgError> {
    let at = |offset: usize| LEDGER_COLUMNS + offset;
    let json = |column: usize| row.get::<_, Json<serde_json::Value>>(column).0;
    let id = TaskId(row.get(at(0)));
    let read = |what: &str, e: &dyn std::fmt::Display| {
        let what = format!("{what} of task {id}");
        PgError::Store(StoreError::Unreadable {
            what,
            why: e.to_string(),
        })
    };
    let warnings = serde_json::from_value(json(at(9))).map_err(|e| read("the warnings", &e))?;
    let error = match row.get::<_, Option<Json<serde_json::Value>>>(at(19)) {
        None => None,
        Some(Json(error)) => {
            Some(serde_json::from_value(error).map_err(|e| read("the error", &e))?)
        }
    };
    let snapshot = match row.get::<_, Option<Vec<u8>>>(at(14)) {
        None => None,
        Some(bytes) => Some(
            bytes
                .try_into()
                .map_err(|_| read("the snapshot", &"not 32 bytes"))?,
        ),
    };
    let origin = match row.get::<_, Option<uuid::Uuid>>(at(22)) {
        None => None,
        Some(task) => Some(Origin {
            task: TaskId(task),
            how: named(row, at(23))?,
        }),
    };
    Ok(TaskRow {
        ledger: ledger(row)?,
        id,
        kind: named(row, at(1))?,
        name: row.get(at(2)),
        strategy: row.get(at(3)),
        stock_codes: row.get(at(4)),
        pool: row.get(at(5)),
        request: json(at(6)),
        spec: json(at(7)),
        resolved: json(at(8)),
        warnings,
        seed: u64::try_from(row.get::<_, i64>(at(10))).map_err(|e| read("the seed", &e))?,
        timeout: row.get(at(11)),
        priority: Priority::from_rank(row.get(at(12))),
        not_before: row.get(at(13)),
        snapshot,
        engine: row.get(at(15)),
        created_at: row.get(at(16)),
        started_at: row.get(at(17)),
        completed_at: row.get(at(18)),
        error,
        active_seconds: row.get(at(20)),
        leased_units: count(row, at(21)),
        assessed_percent: row
            .get::<_, Option<i32>>(at(24))
            .map(|_| count(row, at(24))),
        origin,
    })
}

/// One task.
pub(super) async fn find(client: &mut Object, id: TaskId) -> Result<Option<TaskRow>, PgError> {
    let client: &tokio_postgres::Client = client;
    read(client, id).await
}

pub(super) async fn read(
    client: &impl tokio_postgres::GenericClient,
    id: TaskId,
) -> Result<Option<TaskRow>, PgError> {
    let query = format!("select {} from tasks t where t.id = $1", columns());
    let row = client.query_opt(&query, &[&id.0]).await?;
    row.as_ref().map(task_row).transpose()
}
