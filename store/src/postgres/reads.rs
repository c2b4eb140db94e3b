//! Lists and pages.

use super::PgError;
use super::task::{self, count, int, named};
use crate::error::StoreError;
use crate::pack::{read_failure, read_result, unpack_values};
use crate::rows::{
    EarlierWork, EventRow, RunningRow, TaskFilter, TaskPage, TrialFilter, TrialRow, UnitSummary,
};
use crate::{EARLIER_TASKS, MAX_PAGE};
use deadpool_postgres::Object;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use trialmill_common::spec::MAX_TRIALS;
use trialmill_common::state::{TaskId, WorkerId};

fn page(limit: u32) -> i64 {
    i64::from(limit.clamp(1, MAX_PAGE))
}

pub(super) async fn tasks(client: &mut Object, filter: &TaskFilter) -> Result<TaskPage, PgError> {
    let matching = "(cardinality($1::text[]) = 0 or t.state = any($1))
        and ($2::text is null or t.kind = $2) and ($3::text is null or t.strategy = $3)
        and ($4::text is null or strpos(lower(t.name), lower($4)) > 0)";
    // A text with a NUL is in no column: PostgreSQL refuses even to compare it.
    let texts = [&filter.strategy, &filter.name_contains];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Ok(TaskPage {
            tasks: Vec::new(),
            total: 0,
        });
    }
    let states: Vec<&str> = filter.states.iter().map(|s| s.name()).collect();
    let kind = filter.kind.map(|k| k.name());
    let before = filter.before.map(|id| id.0);
    let columns = task::listed_columns();
    let list = format!(
        "select {columns} from tasks t
         where {matching} and ($5::uuid is null or t.id < $5) order by t.id desc limit $6"
    );
    let total = format!("select count(*) from tasks t where {matching}");
    let (strategy, name) = (&filter.strategy, &filter.name_contains);
    let rows = client
        .query(
            &list,
            &[&states, &kind, strategy, name, &before, &page(filter.limit)],
        )
        .await?;
    let total = client
        .query_one(&total, &[&states, &kind, strategy, name])
        .await?;
    Ok(TaskPage {
        tasks: rows.iter().map(task::task_row).collect::<Result<_, _>>()?,
        total: u64::try_from(total.get::<_, i64>(0)).expect("a count"),
    })
}

const TRIAL: &str = "number, outcome, unit, window_number, params, value, more_values, infeasible,
    metrics, failure, stats, duration_ms, ended_at, violation, reports";

fn trial_row(row: &Row) -> Result<TrialRow, PgError> {
    let number = count(row, 0);
    let failure = match row.get::<_, Option<Json<serde_json::Value>>>(9) {
        None => None,
        Some(Json(failure)) => Some(read_failure(failure, &format!("trial {number}"))?),
    };
    let more: Option<Vec<u8>> = row.get(6);
    Ok(TrialRow {
        number,
        end: named(row, 1)?,
        unit: count(row, 2),
        window: row
            .get::<_, Option<i16>>(3)
            .and_then(|w| u16::try_from(w).ok()),
        params: row.get(4),
        values: unpack_values(row.get(5), more.as_deref()),
        infeasible: row.get(7),
        violation: row.get(13),
        metrics: row
            .get::<_, Option<Json<serde_json::Value>>>(8)
            .map(|json| json.0),
        failure,
        stats: row.get(10),
        reports: row.get(14),
        duration_ms: row.get(11),
        ended_at: row.get(12),
    })
}

pub(super) async fn trials(
    client: &mut Object,
    id: TaskId,
    filter: &TrialFilter,
) -> Result<Vec<TrialRow>, PgError> {
    // The end is written out, so that the index of trials that did not complete can be used.
    let end = filter.end.map(|end| end.name());
    let end = end.map_or_else(String::new, |end| format!("and outcome = '{end}'"));
    let query = format!(
        "select {TRIAL} from trials where task_id = $1 and number > $2 {end}
         order by number limit $3"
    );
    if filter
        .after
        .is_some_and(|after| i32::try_from(after).is_err())
    {
        return Ok(Vec::new());
    }
    let after = filter.after.map_or(-1, int);
    // In the order of an index: of a task whose million rows the server has not analysed yet it
    // believes to have a few, and would read and sort them all.
    let tx = client.transaction().await?;
    tx.batch_execute("set local enable_sort = off; set local enable_bitmapscan = off")
        .await?;
    let statement = tx.prepare_cached(&query).await?;
    let rows = tx
        .query(&statement, &[&id.0, &after, &page(filter.limit)])
        .await?;
    tx.commit().await?;
    rows.iter().map(trial_row).collect()
}

pub(super) async fn trial(
    client: &mut Object,
    id: TaskId,
    number: u32,
) -> Result<Option<TrialRow>, PgError> {
    let Ok(number) = i32::try_from(number) else {
        return Ok(None);
    };
    let query = format!("select {TRIAL} from trials where task_id = $1 and number = $2");
    let row = client.query_opt(&query, &[&id.0, &number]).await?;
    row.as_ref().map(trial_row).transpose()
}

/// The announced trials of a task whose units are held: those that run now.
pub(super) const RUNNING: &str =
    "select r.number, r.unit, r.params, r.crashes, r.started_at, u.owner, r.reports,
        greatest(0, extract(epoch from now() - r.started_at))::float8
     from running_trials r
     join units u on u.task_id = r.task_id and u.number = r.unit and u.state = 'leased'
     where r.task_id = $1 and r.number >= $2 and r.number < $3 order by r.number";

/// A row of [`RUNNING`].
pub(super) fn running_row(row: &Row) -> RunningRow {
    RunningRow {
        number: count(row, 0),
        unit: count(row, 1),
        params: row.get(2),
        crashes: count(row, 3),
        started_at: row.get(4),
        worker: row.get::<_, Option<uuid::Uuid>>(5).map(WorkerId),
        reports: row.get(6),
        age: Duration::from_secs_f64(row.get(7)),
    }
}

/// The ends of a range of trials as the database counts.
pub(super) fn ends(numbers: &Range<u32>) -> [i32; 2] {
    [numbers.start, numbers.end].map(|end| int(end.min(MAX_TRIALS)))
}

pub(super) async fn running_trials(
    client: &mut Object,
    id: TaskId,
    numbers: &Range<u32>,
) -> Result<Vec<RunningRow>, PgError> {
    let statement = client.prepare_cached(RUNNING).await?;
    let [first, end] = ends(numbers);
    let rows = client.query(&statement, &[&id.0, &first, &end]).await?;
    Ok(rows.iter().map(running_row).collect())
}

/// The result document of a run.
pub(super) async fn run_result(
    client: &mut Object,
    id: TaskId,
) -> Result<Option<serde_json::Value>, PgError> {
    let query = "select result::text from runs where task_id = $1";
    let row = client.query_opt(query, &[&id.0]).await?;
    let read = |row: Row| read_result(row.get(0));
    Ok(row.map(read).transpose()?)
}

/// Days are compared as text: a date of the calendar has four digits of a year.
pub(super) async fn earlier_work(client: &mut Object, id: TaskId) -> Result<EarlierWork, PgError> {
    let row = client
        .query_one(
            "with mine as (
                select id, kind, stock_codes, spec ->> 'start_date' as first,
                    case when origin_how <> 'clone' then origin_task end as taken_over,
                    spec ->> 'end_date' as last,
                    spec #>> '{validation,plan,holdout,from}' as held_from,
                    spec #>> '{validation,plan,holdout,to}' as held_to
                from tasks where id = $1),
             others as (
                select case when o.id is not distinct from mine.taken_over then 0
                        else o.completed + o.pruned - o.copied_trials end as trials,
                    o.state = 'completed' and o.assessed as looked,
                    o.spec ->> 'start_date' as first, o.spec ->> 'end_date' as last,
                    o.spec #>> '{validation,plan,holdout,from}' as held_from,
                    o.spec #>> '{validation,plan,holdout,to}' as held_to
                from mine join tasks o on o.id < mine.id and o.kind = mine.kind
                    and o.stock_codes && mine.stock_codes
                order by o.id desc limit $2)
             select coalesce(sum(greatest(o.trials, 0)) filter (
                    where o.first <= mine.last and o.last >= mine.first), 0)::int8,
                count(*) filter (where o.looked and o.held_from <= mine.held_to
                    and o.held_to >= mine.held_from)::int4
             from mine left join others o on true",
            &[&id.0, &i64::from(EARLIER_TASKS)],
        )
        .await?;
    Ok(EarlierWork {
        trials: u64::try_from(row.get::<_, i64>(0)).expect("a sum of counts"),
        holdout_looks: count(&row, 1),
    })
}

pub(super) async fn events(
    client: &mut Object,
    id: TaskId,
    after: i64,
    limit: u32,
) -> Result<Vec<EventRow>, PgError> {
    let statement = client
        .prepare_cached(
            "select seq, at, event from task_events
             where task_id = $1 and seq > $2 order by seq limit $3",
        )
        .await?;
    let rows = client
        .query(&statement, &[&id.0, &after, &page(limit)])
        .await?;
    rows.iter()
        .map(|row| {
            let Json(event) = row.get::<_, Json<serde_json::Value>>(2);
            let seq: i64 = row.get(0);
            let event = serde_json::from_value(event).map_err(|e| StoreError::Unreadable {
                what: format!("event {seq} of task {id}"),
                why: e.to_string(),
            })?;
            Ok(EventRow {
                seq,
                at: row.get(1),
                event,
            })
        })
        .collect()
}

pub(super) async fn last_events(
    client: &mut Object,
    ids: &[TaskId],
) -> Result<BTreeMap<TaskId, i64>, PgError> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let statement = client
        .prepare_cached("select id, seq from tasks where id = any($1)")
        .await?;
    let rows = client.query(&statement, &[&ids]).await?;
    Ok(rows
        .iter()
        .map(|row| (TaskId(row.get(0)), row.get(1)))
        .collect())
}

pub(super) async fn unit_summary(
    client: &mut Object,
    id: TaskId,
    lease: Duration,
) -> Result<UnitSummary, PgError> {
    let row = client
        .query_opt(
            "with mine as (select * from units where task_id = $1),
             t as (select * from tasks where id = $1),
             heard as (select w.* from workers w join t on t.pool = w.pool
                where w.left_at is null and w.seen_at > now() - make_interval(secs => $2)),
             live as (select * from heard where quarantined_at is null),
             worst as (select unable, unable_reason from mine
                where state in ('queued', 'leased') and unable_reason is not null
                order by unable desc, number limit 1)
             select
                (select count(*) from mine where state = 'queued')::int4,
                (select count(*) from mine where state = 'leased')::int4,
                (select count(*) from mine where state = 'queued' and publishes > 0
                    and publish_at > now())::int4,
                (select count(*) from mine where state = 'queued' and publish_at <= now())::int4,
                (select count(*) from mine where state = 'leased' and lease_until < now())::int4,
                (select coalesce(sum(crashes), 0) from mine
                    where state in ('queued', 'leased'))::int4,
                -- Open units are counted in their task: not one by one, there may be very many.
                ((select coalesce(sum(o.open_units), 0) from tasks o, t
                    where o.pool = t.pool and o.state in ('queued', 'running')
                        and (o.not_before is null or o.not_before <= now())
                        and (o.priority, o.id) < (t.priority, t.id))
                 - (select count(*) from units u join tasks o on o.id = u.task_id, t
                    where u.state = 'leased' and o.pool = t.pool
                        and o.state in ('queued', 'running')
                        and (o.not_before is null or o.not_before <= now())
                        and (o.priority, o.id) < (t.priority, t.id)))::int4,
                (select coalesce(sum(slots), 0) from live)::int4,
                (select coalesce(sum(slots), 0) from live, t
                    where t.strategy = any(live.strategies))::int4,
                (select count(*) from units u join live on live.id = u.owner
                    where u.state = 'leased')::int4,
                (select coalesce(sum(slots), 0) from heard
                    where quarantined_at is not null)::int4,
                coalesce((select unable from worst), 0),
                (select unable_reason from worst)
             from t",
            &[&id.0, &lease.as_secs_f64()],
        )
        .await?;
    Ok(row.map_or_else(UnitSummary::default, |row| UnitSummary {
        queued: count(&row, 0),
        leased: count(&row, 1),
        published: count(&row, 2),
        due: count(&row, 3),
        expired: count(&row, 4),
        crashes: count(&row, 5),
        ahead: count(&row, 6),
        live_slots: count(&row, 7),
        capable_slots: count(&row, 8),
        busy_slots: count(&row, 9),
        quarantined_slots: count(&row, 10),
        unable: count(&row, 11),
        unable_reason: row.get(12),
    }))
}
