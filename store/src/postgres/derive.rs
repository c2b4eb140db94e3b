//! A task that begins with trials of another one: copied in the transaction that accepts it.

use super::PgError;
use super::task::{self, Locked, count, int, named};
use crate::rows::{NewTask, Origin};
use deadpool_postgres::Transaction;
use trialmill_common::protocol::{COPY_BATCH, Derivation, Run, Tally};
use trialmill_common::state::TrialEnd;

/// Closed units that are inserted at a time: bounds a statement to well below a second.
const UNITS_PER_INSERT: usize = 50_000;

/// Copies the trials of the origin and opens what is left. The row of the new task is there, as
/// [`trialmill_common::protocol::Ledger::accepted`] has it. False: the origin is gone.
///
/// The origin has ended, so its trials stand still; its row is locked against being deleted.
pub(super) async fn begin(
    tx: &Transaction<'_>,
    new: &NewTask,
    origin: Origin,
    live_slots: u32,
) -> Result<bool, PgError> {
    let lock = "select 1 from tasks where id = $1
        and state in ('completed', 'failed', 'cancelled') for share";
    if tx.query_opt(lock, &[&origin.task.0]).await?.is_none() {
        return Ok(false);
    }
    let mut derivation = Derivation::begin(new.plan());
    let mut after = -1;
    loop {
        let trials = batch(tx, origin, after).await?;
        let Some((last, _)) = trials.last() else {
            break;
        };
        after = int(*last);
        let copied = derivation.copy(&trials);
        let numbers: Vec<i32> = trials.iter().map(|(number, _)| int(*number)).collect();
        let units: Vec<i32> = copied.units.iter().copied().map(int).collect();
        // The bounds tell the planner that it is about a range of the primary key, not the table.
        let statement = tx
            .prepare_cached(
                "insert into trials (task_id, seq, number, unit, outcome, window_number, params,
                    value, more_values, infeasible, violation, metrics, failure, stats,
                    reports, duration_ms, ended_at)
                 select $1, $3, t.number, c.unit, t.outcome, t.window_number, t.params, t.value,
                    t.more_values, t.infeasible, t.violation, t.metrics, t.failure, t.stats, t.reports,
                    t.duration_ms, t.ended_at
                 from trials t join unnest($4::int4[], $5::int4[]) as c (number, unit)
                    on c.number = t.number
                 where t.task_id = $2 and t.number between $6 and $7",
            )
            .await?;
        tx.execute(
            &statement,
            &[
                &new.id.0,
                &origin.task.0,
                &copied.seq,
                &numbers,
                &units,
                &numbers[0],
                &after,
            ],
        )
        .await?;
    }
    let derived = derivation.finish(live_slots);
    insert_closed(tx, new, &derived.closed).await?;
    let mut locked: Locked = task::lock(tx, new.id).await?.expect("inserted before");
    locked.ledger = derived.ledger;
    let copied = &locked.ledger.copied;
    tx.execute(
        "update tasks set copied_trials = $2, copied_units = $3 where id = $1",
        &[&new.id.0, &int(copied.trials), &int(copied.units)],
    )
    .await?;
    locked.save(tx, &derived.effects).await?;
    Ok(true)
}

/// The next trials to copy, in the order of their numbers.
async fn batch(
    tx: &Transaction<'_>,
    origin: Origin,
    after: i32,
) -> Result<Vec<(u32, Tally)>, PgError> {
    let ends: Vec<&str> = TrialEnd::ALL
        .iter()
        .filter(|end| origin.how.copies_end(**end))
        .map(|end| end.name())
        .collect();
    let statement = tx
        .prepare_cached(
            "select number, outcome, infeasible is not null, value, more_values from trials
             where task_id = $1 and number > $2 and outcome = any($3)
             order by number limit $4",
        )
        .await?;
    let rows = tx
        .query(
            &statement,
            &[&origin.task.0, &after, &ends, &i64::from(COPY_BATCH)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let tally = crate::pack::tally(named(row, 1)?, row.get(2), row.get(3), row.get(4));
            Ok((count(row, 0), tally))
        })
        .collect()
}

/// The units of copied runs: numbered from 0, recorded whole.
async fn insert_closed(tx: &Transaction<'_>, new: &NewTask, runs: &[Run]) -> Result<(), PgError> {
    let statement = tx
        .prepare_cached(
            "insert into units (task_id, number, kind, first, count, recorded, state)
             select $1, r.number, 'trials', r.first, r.count, r.count, 'closed'
             from unnest($2::int4[], $3::int4[], $4::int4[]) as r (number, first, count)",
        )
        .await?;
    let mut number = 0;
    for runs in runs.chunks(UNITS_PER_INSERT) {
        let numbers: Vec<i32> = (number..).take(runs.len()).collect();
        number += i32::try_from(runs.len()).expect("a chunk is small");
        let firsts: Vec<i32> = runs.iter().map(|run| int(run.first)).collect();
        let counts: Vec<i32> = runs.iter().map(|run| int(run.count)).collect();
        tx.execute(&statement, &[&new.id.0, &numbers, &firsts, &counts])
            .await?;
    }
    Ok(())
}
