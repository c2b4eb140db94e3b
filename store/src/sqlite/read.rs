//! Reading tasks, trials and events.

use super::Tx;
use super::columns::{
    json, maybe_hash, maybe_json, maybe_time, maybe_worker, named, seconds, time, to_json, uuid,
};
use super::tasks;
use crate::error::StoreError;
use crate::pack::{EventRanges, check_kept, read_result, unpack_values};
use crate::rows::{
    EarlierWork, EventRow, HistoryPage, HistoryRow, Origin, Priority, RunningRow, TaskFilter,
    TaskPage, TaskRow, TrialFilter, TrialRow,
};
use crate::{EARLIER_TASKS, HISTORY_PAGE, MAX_PAGE};
use rusqlite::types::ToSql;
use rusqlite::{OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use trialmill_common::state::{TaskId, TaskState, TrialEnd};

const TASK_COLUMNS: &str = "t.*, (select count(*) from units u
    where u.task_id = t.id and u.state = 'leased') as leased_units,
    iif(t.searched is null, null, (select max(u.recorded) from units u
        where u.task_id = t.id and u.kind = 'assess')) as assessed_percent";

fn task_row(tx: &Tx, row: &Row) -> Result<TaskRow, StoreError> {
    let active_since: Option<i64> = row.get("active_since")?;
    let active: f64 = row.get("active_seconds")?;
    Ok(TaskRow {
        id: TaskId(uuid(&row.get::<_, String>("id")?, "id")?),
        kind: named(row, "kind")?,
        name: row.get("name")?,
        strategy: row.get("strategy")?,
        stock_codes: json(row, "stock_codes")?,
        pool: row.get("pool")?,
        request: json(row, "request")?,
        spec: json(row, "spec")?,
        resolved: json(row, "resolved")?,
        warnings: json(row, "warnings")?,
        seed: row.get::<_, i64>("seed")?.cast_unsigned(),
        ledger: tasks::ledger(row)?,
        assessed_percent: row.get("assessed_percent")?,
        leased_units: row.get("leased_units")?,
        active_seconds: active + active_since.map_or(0.0, |since| seconds(since, tx.now)),
        timeout: row.get("timeout_seconds")?,
        priority: Priority::from_rank(row.get("priority")?),
        not_before: maybe_time(row, "not_before")?,
        snapshot: maybe_hash(row, "snapshot_id")?,
        engine: row.get("engine")?,
        created_at: time(row, "created_at")?,
        started_at: maybe_time(row, "started_at")?,
        completed_at: maybe_time(row, "completed_at")?,
        error: maybe_json(row, "error")?,
        origin: match row.get::<_, Option<String>>("origin_task")? {
            None => None,
            Some(task) => Some(Origin {
                task: TaskId(uuid(&task, "origin_task")?),
                how: named(row, "origin_how")?,
            }),
        },
    })
}

/// One task.
pub(super) fn task(tx: &Tx, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
    let query = format!("select {TASK_COLUMNS} from tasks t where t.id = ?1");
    let mut statement = tx.connection.prepare_cached(&query)?;
    let mut rows = statement.query([id.to_string()])?;
    rows.next()?.map(|row| task_row(tx, row)).transpose()
}

/// A page of tasks, newest first. Ids are UUIDv7: their order as text is that of creation.
pub(super) fn tasks(tx: &Tx, filter: &TaskFilter) -> Result<TaskPage, StoreError> {
    let matches = "(?1 = '[]' or t.state in (select value from json_each(?1)))
        and (?2 is null or t.kind = ?2)
        and (?3 is null or t.strategy = ?3)
        and (?4 is null or instr(lower(t.name), lower(?4)) > 0)";
    let states = to_json(
        &filter
            .states
            .iter()
            .map(|s| TaskState::name(*s))
            .collect::<Vec<_>>(),
    );
    let kind = filter.kind.map(trialmill_common::state::TaskKind::name);
    let before = filter.before.map(|id| id.to_string());
    let total: i64 = tx
        .connection
        .prepare_cached(&format!("select count(*) from tasks t where {matches}"))?
        .query_row(
            params![states, kind, filter.strategy, filter.name_contains],
            |row| row.get(0),
        )?;
    let mut statement = tx.connection.prepare_cached(&format!(
        "select {TASK_COLUMNS} from tasks t where {matches} and (?5 is null or t.id < ?5)
         order by t.id desc limit ?6"
    ))?;
    let limit = filter.limit.min(MAX_PAGE);
    let values: [&dyn ToSql; 6] = [
        &states,
        &kind,
        &filter.strategy,
        &filter.name_contains,
        &before,
        &limit,
    ];
    let mut rows = statement.query(values)?;
    let mut page = Vec::new();
    while let Some(row) = rows.next()? {
        page.push(TaskRow {
            spec: serde_json::Value::Null,
            resolved: serde_json::Value::Null,
            warnings: Vec::new(),
            ..task_row(tx, row)?
        });
    }
    Ok(TaskPage {
        tasks: page,
        total: total.cast_unsigned(),
    })
}

fn trial_row(row: &Row) -> Result<TrialRow, StoreError> {
    let more: Option<Vec<u8>> = row.get("more_values")?;
    Ok(TrialRow {
        number: row.get("number")?,
        end: named(row, "outcome")?,
        unit: row.get("unit")?,
        window: row.get("window_number")?,
        params: row.get("params")?,
        values: unpack_values(row.get("value")?, more.as_deref()),
        infeasible: row.get("infeasible")?,
        violation: row.get("violation")?,
        metrics: maybe_json(row, "metrics")?,
        failure: maybe_json(row, "failure")?,
        stats: row.get("stats")?,
        reports: row.get("reports")?,
        duration_ms: row.get("duration_ms")?,
        ended_at: time(row, "ended_at")?,
    })
}

/// Ended trials in the order of their numbers.
pub(super) fn trials(
    tx: &Tx,
    id: TaskId,
    filter: &TrialFilter,
) -> Result<Vec<TrialRow>, StoreError> {
    // The end is written out, so that the index of trials that did not complete can be used.
    let end = filter.end.map(TrialEnd::name);
    let end = end.map_or_else(String::new, |end| format!("and outcome = '{end}'"));
    let mut statement = tx.connection.prepare_cached(&format!(
        "select * from trials where task_id = ?1 and number > ?2 {end} order by number limit ?3",
    ))?;
    let after = filter.after.map_or(-1, i64::from);
    let limit = filter.limit.min(MAX_PAGE);
    let mut rows = statement.query(params![id.to_string(), after, limit])?;
    let mut trials = Vec::new();
    while let Some(row) = rows.next()? {
        trials.push(trial_row(row)?);
    }
    Ok(trials)
}

/// One ended trial.
pub(super) fn trial(tx: &Tx, id: TaskId, number: u32) -> Result<Option<TrialRow>, StoreError> {
    let mut statement = tx
        .connection
        .prepare_cached("select * from trials where task_id = ?1 and number = ?2")?;
    let mut rows = statement.query(params![id.to_string(), number])?;
    rows.next()?.map(trial_row).transpose()
}

/// The announced trials with these numbers whose units are held: those that run now.
pub(super) fn running_trials(
    tx: &Tx,
    id: TaskId,
    numbers: &Range<u32>,
) -> Result<Vec<RunningRow>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select r.*, u.owner from running_trials r
         join units u on u.task_id = r.task_id and u.number = r.unit and u.state = 'leased'
         where r.task_id = ?1 and r.number >= ?2 and r.number < ?3 order by r.number",
    )?;
    let mut rows = statement.query((id.to_string(), numbers.start, numbers.end))?;
    let mut running = Vec::new();
    while let Some(row) = rows.next()? {
        running.push(RunningRow {
            number: row.get("number")?,
            unit: row.get("unit")?,
            params: row.get("params")?,
            crashes: row.get("crashes")?,
            started_at: time(row, "started_at")?,
            worker: maybe_worker(row, "owner")?,
            reports: row.get("reports")?,
            age: Duration::from_micros(
                tx.now
                    .saturating_sub(row.get("started_at")?)
                    .try_into()
                    .unwrap_or(0),
            ),
        });
    }
    Ok(running)
}

/// The result document of a run.
pub(super) fn run_result(tx: &Tx, id: TaskId) -> Result<Option<serde_json::Value>, StoreError> {
    let text: Option<String> = tx
        .connection
        .prepare_cached("select result from runs where task_id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    text.as_deref().map(read_result).transpose()
}

/// What was looked at before a task. Days are compared as text: a date of the calendar has four digits
/// of a year.
pub(super) fn earlier_work(tx: &Tx, id: TaskId) -> Result<EarlierWork, StoreError> {
    let (trials, holdout_looks): (i64, u32) = tx
        .connection
        .prepare_cached(
            "with mine as (
                select id, kind, stock_codes, spec ->> '$.start_date' as first,
                    case when origin_how <> 'clone' then origin_task end as taken_over,
                    spec ->> '$.end_date' as last,
                    spec ->> '$.validation.plan.holdout.from' as held_from,
                    spec ->> '$.validation.plan.holdout.to' as held_to
                from tasks where id = ?1),
             others as (
                select iif(o.id is mine.taken_over, 0,
                        o.completed + o.pruned - o.copied_trials) as trials,
                    o.state = 'completed' and o.assessed as looked,
                    o.spec ->> '$.start_date' as first, o.spec ->> '$.end_date' as last,
                    o.spec ->> '$.validation.plan.holdout.from' as held_from,
                    o.spec ->> '$.validation.plan.holdout.to' as held_to
                from mine join tasks o on o.id < mine.id and o.kind = mine.kind
                    and exists (select 1 from json_each(o.stock_codes) a
                        join json_each(mine.stock_codes) b on a.value = b.value)
                order by o.id desc limit ?2)
             select coalesce(sum(max(o.trials, 0)) filter (
                    where o.first <= mine.last and o.last >= mine.first), 0),
                count(*) filter (where o.looked and o.held_from <= mine.held_to
                    and o.held_to >= mine.held_from)
             from mine left join others o on true",
        )?
        .query_row(params![id.to_string(), EARLIER_TASKS], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok(EarlierWork {
        trials: u64::try_from(trials).expect("a sum of counts"),
        holdout_looks,
    })
}

/// What a sampler may know after an event: one page, in one transaction.
pub(super) fn history(
    tx: &Tx,
    id: TaskId,
    after: i64,
    numbers: &Range<u32>,
) -> Result<HistoryPage, StoreError> {
    let running = running_trials(tx, id, numbers)?;
    let task: Option<(u32, i64)> = tx
        .connection
        .prepare_cached("select open_units, events_from from tasks where id = ?1")?
        .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((_, events_from)) = task {
        check_kept(id, after, events_from)?;
    }
    let mut ranges = EventRanges::after(after);
    let mut events = tx.connection.prepare_cached(
        "select seq, event ->> '$.numbers' as numbers from task_events
         where task_id = ?1 and seq > ?2 order by seq",
    )?;
    let mut rows = events.query(params![id.to_string(), after])?;
    while let Some(row) = rows.next()? {
        let runs: Vec<(u32, u32)> = maybe_json(row, "numbers")?.unwrap_or_default();
        if !ranges.take(row.get("seq")?, &runs, numbers) {
            break;
        }
    }
    let (seq, complete) = (ranges.seq, !ranges.is_full());
    let mut trials = Vec::with_capacity(ranges.trials());
    let mut of_range = tx.connection.prepare_cached(
        "select number, outcome, infeasible is not null, params, value, more_values, violation,
            reports
         from trials where task_id = ?1 and number between ?2 and ?3 order by number",
    )?;
    for (first, last) in ranges.joined() {
        let mut rows = of_range.query(params![id.to_string(), first, last])?;
        while let Some(row) = rows.next()? {
            trials.push(history_row(row)?);
        }
    }
    Ok(HistoryPage {
        trials,
        seq,
        complete,
        running,
        open_units: task.map_or(0, |(open_units, _)| open_units),
    })
}

fn history_row(row: &Row) -> Result<HistoryRow, StoreError> {
    let more: Option<Vec<u8>> = row.get(5)?;
    Ok(HistoryRow {
        number: row.get(0)?,
        end: named(row, "outcome")?,
        infeasible: row.get(2)?,
        params: row.get(3)?,
        values: unpack_values(row.get(4)?, more.as_deref()),
        violation: row.get(6)?,
        reports: row.get(7)?,
    })
}

/// The ended trials with some numbers, in order, at most `limit`.
pub(super) fn outcomes(
    tx: &Tx,
    id: TaskId,
    numbers: &Range<u32>,
    limit: u32,
) -> Result<Vec<HistoryRow>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select number, outcome, infeasible is not null, params, value, more_values, violation,
            reports
         from trials where task_id = ?1 and number >= ?2 and number < ?3 order by number limit ?4",
    )?;
    let limit = limit.min(HISTORY_PAGE);
    let mut rows = statement.query(params![id.to_string(), numbers.start, numbers.end, limit])?;
    let mut trials = Vec::new();
    while let Some(row) = rows.next()? {
        trials.push(history_row(row)?);
    }
    Ok(trials)
}

/// Events after a sequence number, in order.
pub(super) fn events(
    tx: &Tx,
    id: TaskId,
    after: i64,
    limit: u32,
) -> Result<Vec<EventRow>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select seq, at, event from task_events where task_id = ?1 and seq > ?2
         order by seq limit ?3",
    )?;
    let mut rows = statement.query(params![id.to_string(), after, limit.min(MAX_PAGE)])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(EventRow {
            seq: row.get("seq")?,
            at: time(row, "at")?,
            event: json(row, "event")?,
        });
    }
    Ok(events)
}

pub(super) fn last_events(tx: &Tx, ids: &[TaskId]) -> Result<BTreeMap<TaskId, i64>, StoreError> {
    let mut statement = tx
        .connection
        .prepare_cached("select seq from tasks where id = ?1")?;
    let mut last = BTreeMap::new();
    for id in ids {
        let seq = statement
            .query_row([id.to_string()], |row| row.get(0))
            .optional()?;
        last.extend(seq.map(|seq| (*id, seq)));
    }
    Ok(last)
}
