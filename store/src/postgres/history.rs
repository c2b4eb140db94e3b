//! History in bulk: what a sampler may know.

use super::PgError;
use super::reads::{RUNNING, ends, running_row};
use super::task::{count, int, named};
use crate::HISTORY_PAGE;
use crate::error::StoreError;
use crate::pack::{EventRanges, check_kept, unpack_values};
use crate::rows::{HistoryPage, HistoryRow};
use deadpool_postgres::Object;
use futures::TryStreamExt;
use std::ops::Range;
use std::pin::pin;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use trialmill_common::spec::MAX_TRIALS;
use trialmill_common::state::TaskId;

/// Events that one page looks at.
const EVENTS: i64 = 20_000;

/// The page after event `after`.
///
/// Four statements, each with a snapshot of its own: what runs, then the units, then the events,
/// then their trials. Each later one may see more, never less; the trials are those of the events
/// that were seen, and are committed with them ([`crate::Store::history`]).
pub(super) async fn history(
    client: &mut Object,
    id: TaskId,
    after: i64,
    numbers: &Range<u32>,
) -> Result<HistoryPage, PgError> {
    let running = client.prepare_cached(RUNNING).await?;
    let open_units = client
        .prepare_cached("select open_units, events_from from tasks where id = $1")
        .await?;
    let events = client
        .prepare_cached(
            "select seq, event->'numbers' from task_events
             where task_id = $1 and seq > $2 order by seq limit $3",
        )
        .await?;
    // Sent together and answered in this order: nothing new costs one round trip.
    let of_task: [&(dyn ToSql + Sync); 1] = [&id.0];
    let [first, end] = ends(numbers);
    let of_running: [&(dyn ToSql + Sync); 3] = [&id.0, &first, &end];
    let of_events: [&(dyn ToSql + Sync); 3] = [&id.0, &after, &EVENTS];
    let (running, open_units, events) = futures::try_join!(
        client.query(&running, &of_running),
        client.query_opt(&open_units, &of_task),
        client.query(&events, &of_events),
    )?;
    if let Some(task) = &open_units {
        check_kept(id, after, task.get(1))?;
    }
    let mut ranges = EventRanges::after(after);
    for event in &events {
        let runs: Option<Json<Vec<(u32, u32)>>> =
            event.try_get(1).map_err(|e| StoreError::Unreadable {
                what: format!("event {} of task {id}", event.get::<_, i64>(0)),
                why: e.to_string(),
            })?;
        let runs = runs.map_or_else(Vec::new, |runs| runs.0);
        if !ranges.take(event.get(0), &runs, numbers) {
            break;
        }
    }
    let complete = !ranges.is_full() && i64::try_from(events.len()).is_ok_and(|n| n < EVENTS);
    let (seq, expected) = (ranges.seq, ranges.trials());
    let trials = match expected {
        0 => Vec::new(),
        _ => trials(client, id, &ranges.joined(), expected).await?,
    };
    Ok(HistoryPage {
        trials,
        seq,
        complete,
        running: running.iter().map(running_row).collect(),
        open_units: open_units.map_or(0, |row| count(&row, 0)),
    })
}

/// The ended trials with some numbers, in order, at most `limit`.
pub(super) async fn outcomes(
    client: &mut Object,
    id: TaskId,
    numbers: &Range<u32>,
    limit: u32,
) -> Result<Vec<HistoryRow>, PgError> {
    let statement = client
        .prepare_cached(
            "select number, outcome, infeasible is not null, params, value, more_values, violation,
                reports
             from trials where task_id = $1 and number >= $2 and number < $3
             order by number limit $4",
        )
        .await?;
    let (first, end) = (int(numbers.start), int(numbers.end.min(MAX_TRIALS)));
    let limit = i64::from(limit.min(HISTORY_PAGE));
    let values: [&(dyn ToSql + Sync); 4] = [&id.0, &first, &end, &limit];
    let mut rows = pin!(client.query_raw(&statement, values).await?);
    let mut trials = Vec::new();
    while let Some(row) = rows.try_next().await? {
        trials.push(history_row(&row)?);
    }
    Ok(trials)
}

/// The trials of some ranges of numbers, in order.
async fn trials(
    client: &Object,
    id: TaskId,
    ranges: &[(u32, u32)],
    expected: usize,
) -> Result<Vec<HistoryRow>, PgError> {
    let firsts: Vec<i32> = ranges.iter().map(|(first, _)| int(*first)).collect();
    let lasts: Vec<i32> = ranges.iter().map(|(_, last)| int(*last)).collect();
    let statement = client
        .prepare_cached(
            "select t.number, t.outcome, t.infeasible is not null, t.params, t.value,
                t.more_values, t.violation, t.reports
             from unnest($2::int4[], $3::int4[]) as r (first, last)
             cross join lateral (
                select * from trials
                where task_id = $1 and number between r.first and r.last
                order by number) t",
        )
        .await?;
    let values: [&(dyn ToSql + Sync); 3] = [&id.0, &firsts, &lasts];
    let mut rows = pin!(client.query_raw(&statement, values).await?);
    let mut trials = Vec::with_capacity(expected);
    while let Some(row) = rows.try_next().await? {
        trials.push(history_row(&row)?);
    }
    // A sort of all rows there would cost more than the rest of the query, and the ranges are
    // almost certainly joined in their order.
    if !trials.is_sorted_by_key(|trial| trial.number) {
        trials.sort_unstable_by_key(|trial| trial.number);
    }
    if trials.len() != expected {
        // Trials are removed only with their task, and then their events are gone too.
        return Err(PgError::Store(StoreError::Conflict(
            format!("task {id} was deleted while its history was read").into(),
        )));
    }
    Ok(trials)
}

fn history_row(row: &Row) -> Result<HistoryRow, PgError> {
    Ok(HistoryRow {
        number: count(row, 0),
        end: named(row, 1)?,
        infeasible: row.get(2),
        params: row.get(3),
        values: unpack_values(row.get(4), row.get(5)),
        violation: row.get(6),
        reports: row.get(7),
    })
}
