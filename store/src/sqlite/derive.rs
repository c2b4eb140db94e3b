//! A task that begins with trials of another one: copied in the transaction that accepts it.

use super::columns::named;
use super::{Tx, tasks};
use crate::error::StoreError;
use crate::rows::{NewTask, Origin};
use rusqlite::params;
use trialmill_common::protocol::{COPY_BATCH, Derivation, Run, Tally};

/// Whether the task that trials are copied from is there and has ended.
pub(super) fn is_there(tx: &Tx, origin: Origin) -> Result<bool, StoreError> {
    let there = tx
        .connection
        .prepare_cached(
            "select 1 from tasks where id = ?1 and state in ('completed', 'failed', 'cancelled')",
        )?
        .exists([origin.task.to_string()])?;
    Ok(there)
}

/// Copies the trials of the origin, which [`is_there`], and opens what is left. The row of the new
/// task is there, as [`trialmill_common::protocol::Ledger::accepted`] has it.
pub(super) fn begin(
    tx: &Tx,
    new: &NewTask,
    origin: Origin,
    live_slots: u32,
) -> Result<(), StoreError> {
    let mut derivation = Derivation::begin(new.plan());
    let mut after = -1;
    loop {
        let trials = batch(tx, origin, after)?;
        let Some((last, _)) = trials.last() else {
            break;
        };
        after = i64::from(*last);
        let copied = derivation.copy(&trials);
        let mut copy = tx.connection.prepare_cached(
            "insert into trials (task_id, seq, number, unit, outcome, window_number, params, value,
                more_values, infeasible, violation, metrics, failure, stats, reports, duration_ms,
                ended_at)
             select ?1, ?3, number, ?5, outcome, window_number, params, value, more_values,
                infeasible, violation, metrics, failure, stats, reports, duration_ms, ended_at
             from trials where task_id = ?2 and number = ?4",
        )?;
        let (id, from) = (new.id.to_string(), origin.task.to_string());
        for ((number, _), unit) in trials.iter().zip(&copied.units) {
            copy.execute(params![id, from, copied.seq, number, unit])?;
        }
    }
    let derived = derivation.finish(live_slots);
    insert_closed(tx, new, &derived.closed)?;
    let mut head = tasks::head(tx, new.id)?.expect("inserted before");
    head.ledger = derived.ledger;
    let copied = &head.ledger.copied;
    tx.connection
        .prepare_cached("update tasks set copied_trials = ?2, copied_units = ?3 where id = ?1")?
        .execute(params![new.id.to_string(), copied.trials, copied.units])?;
    tasks::save(tx, new.id, &head, &derived.effects)
}

/// The next trials to copy, in the order of their numbers.
fn batch(tx: &Tx, origin: Origin, after: i64) -> Result<Vec<(u32, Tally)>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select number, outcome, infeasible is not null as unfit, value, more_values from trials
         where task_id = ?1 and number > ?2 order by number",
    )?;
    let mut rows = statement.query(params![origin.task.to_string(), after])?;
    let mut trials = Vec::new();
    while trials.len() < COPY_BATCH as usize
        && let Some(row) = rows.next()?
    {
        let end = named(row, "outcome")?;
        if origin.how.copies_end(end) {
            let more: Option<Vec<u8>> = row.get("more_values")?;
            let (unfit, value) = (row.get("unfit")?, row.get("value")?);
            let tally = crate::pack::tally(end, unfit, value, more.as_deref());
            trials.push((row.get("number")?, tally));
        }
    }
    Ok(trials)
}

/// The units of copied runs: numbered from 0, recorded whole.
fn insert_closed(tx: &Tx, new: &NewTask, runs: &[Run]) -> Result<(), StoreError> {
    let mut insert = tx.connection.prepare_cached(
        "insert into units (task_id, number, kind, first, count, recorded, state, created_at)
         values (?1, ?2, 'trials', ?3, ?4, ?4, 'closed', ?5)",
    )?;
    for (number, run) in (0_u32..).zip(runs) {
        insert.execute(params![
            new.id.to_string(),
            number,
            run.first,
            run.count,
            tx.now
        ])?;
    }
    Ok(())
}
