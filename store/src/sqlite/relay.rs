//! The relay's part: which units to publish, and when again.

use super::Tx;
use super::columns::task_id;
use crate::MIN_IN_FLIGHT;
use crate::error::StoreError;
use crate::rows::{DueUnit, UnitRef};
use crate::sqlite::workers::live_slots;
use rusqlite::params;
use std::time::Duration;

/// Takes due units up to the bound of units in flight. A task's place in the line counts what is
/// already being served, then its own units in order; the same for the key that submitted it. So
/// tasks and keys take turns.
pub(super) fn take_due(tx: &Tx, pool: &str) -> Result<Vec<DueUnit>, StoreError> {
    let bound = live_slots(tx, pool)?.saturating_mul(2).max(MIN_IN_FLIGHT);
    let mut statement = tx.connection.prepare_cached(
        "with served as (
            select u.task_id, count(*) as units from units u join tasks t on t.id = u.task_id
            where t.pool = ?1 and (u.state = 'leased'
                or u.state = 'queued' and u.publishes > 0 and u.publish_at > ?2)
            group by u.task_id),
        in_flight as (
            select count(*) as units from units u join tasks t on t.id = u.task_id
            where t.pool = ?1 and u.state = 'queued' and u.publishes > 0 and u.publish_at > ?2
                and t.state in ('queued', 'running')),
        line as (
            select u.task_id, u.number, t.priority, coalesce(t.submitted_by, '') as key, t.name,
                u.first + u.recorded as first_trial, u.count - u.recorded as trials,
                coalesce(s.units, 0)
                    + row_number() over (partition by u.task_id order by u.number) as place
            from units u join tasks t on t.id = u.task_id
            left join served s on s.task_id = u.task_id
            where u.state = 'queued' and u.publish_at <= ?2 and t.pool = ?1
                and t.state in ('queued', 'running') and t.stop_requested is null),
        ordered as (
            select l.*, row_number() over (
                partition by l.key order by l.priority, l.place, l.task_id) as key_place
            from line l)
        select task_id, number, name, first_trial, trials from ordered
        order by priority, key_place, place, task_id, number
        limit max(0, ?3 - (select units from in_flight))",
    )?;
    let mut rows = statement.query(params![pool, tx.now, bound])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.push(DueUnit {
            unit: UnitRef {
                task: task_id(&row.get::<_, String>(0)?)?,
                unit: row.get(1)?,
            },
            task_name: row.get(2)?,
            first_trial: row.get(3)?,
            trials: row.get(4)?,
        });
    }
    let mut postpone = tx.connection.prepare_cached(
        "update units set publish_at = ?3, publishes = publishes + 1
         where task_id = ?1 and number = ?2",
    )?;
    let again = tx.now.saturating_add(tx.grace);
    for unit in &due {
        postpone.execute(params![unit.unit.task.to_string(), unit.unit.unit, again])?;
    }
    Ok(due)
}

/// The broker has confirmed these. A claim sets `publishes` to 0: a unit that was claimed and
/// handed back meanwhile is due, and stays so, for its message is consumed.
pub(super) fn published(tx: &Tx, units: &[UnitRef]) -> Result<(), StoreError> {
    let mut postpone = tx.connection.prepare_cached(
        "update units set publish_at = ?3 + min(1 << min(publishes - 1, 5), 30) * 60000000
         where task_id = ?1 and number = ?2 and state = 'queued' and publishes > 0",
    )?;
    for unit in units {
        postpone.execute(params![unit.task.to_string(), unit.unit, tx.now])?;
    }
    Ok(())
}

/// Every published unit of the pool is due at once. Those that were not published cannot be lost: they
/// are to start later, or wait because they have lost workers.
pub(super) fn queue_emptied(tx: &Tx, pool: &str) -> Result<u64, StoreError> {
    let count = tx
        .connection
        .prepare_cached(
            "update units set publish_at = ?2, publishes = 0
             where state = 'queued' and publishes > 0 and publish_at > ?2 and task_id in (
                select id from tasks where pool = ?1
                    and (not_before is null or not_before <= ?2))",
        )?
        .execute(params![pool, tx.now])?;
    if count > 0 {
        tx.news.set(true);
    }
    Ok(count as u64)
}

/// How long until the next unit of the pool is due.
pub(super) fn next_due(tx: &Tx, pool: &str) -> Result<Option<Duration>, StoreError> {
    let next: Option<i64> = tx
        .connection
        .prepare_cached(
            "select min(u.publish_at)
             from units u join tasks t on t.id = u.task_id
             where u.state = 'queued' and t.pool = ?1 and t.stop_requested is null
                and t.state in ('queued', 'running')",
        )?
        .query_row([pool], |row| row.get(0))?;
    Ok(next.map(|next| Duration::from_micros((next - tx.now).max(0).unsigned_abs())))
}
