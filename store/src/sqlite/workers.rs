//! Workers, and what stands in the way of a task's units.

use super::Tx;
use super::columns::{json, maybe_json, maybe_time, time, to_json, uuid};
use crate::error::StoreError;
use crate::rows::{Quarantine, UnitSummary, WorkerRow};
use rusqlite::params;
use trialmill_common::state::{TaskId, WorkerId};
use trialmill_common::worker::WorkerCard;

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Slots of the live workers of a pool: seen within a lease and not gone.
pub(super) fn live_slots(tx: &Tx, pool: &str) -> Result<u32, StoreError> {
    let slots = tx
        .connection
        .prepare_cached(
            "select coalesce(sum(slots), 0) from workers
             where pool = ?1 and left_at is null and quarantined_at is null and seen_at > ?2",
        )?
        .query_row(params![pool, tx.now.saturating_sub(tx.lease)], |row| {
            row.get(0)
        })?;
    Ok(slots)
}

/// A worker starts, or says again who it is.
pub(super) fn announce(tx: &Tx, card: &WorkerCard) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "insert into workers
                (id, name, slots, pool, strategies, version, started_at, seen_at, speaks)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8)
             on conflict (id) do update set name = excluded.name, slots = excluded.slots,
                pool = excluded.pool, strategies = excluded.strategies,
                version = excluded.version, speaks = excluded.speaks, seen_at = excluded.seen_at, left_at = null",
        )?
        .execute(params![
            card.id.to_string(),
            card.name,
            card.slots,
            card.pool,
            to_json(&card.strategies),
            card.version,
            tx.now,
            card.speaks.as_ref().map(to_json)
        ])?;
    tx.news.set(true);
    Ok(())
}

/// A worker leaves.
pub(super) fn leave(tx: &Tx, worker: WorkerId) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached("update workers set left_at = ?2 where id = ?1")?
        .execute(params![worker.to_string(), tx.now])?;
    Ok(())
}

/// A worker takes no units for this reason, or takes units again.
pub(super) fn quarantine(
    tx: &Tx,
    worker: WorkerId,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "update workers set quarantine = ?2, quarantined_at = case when ?2 is not null
                then coalesce(quarantined_at, ?3) end
             where id = ?1",
        )?
        .execute(params![
            worker.to_string(),
            reason.map(crate::cut_reason),
            tx.now
        ])?;
    Ok(())
}

/// Workers seen within the last day, live ones first.
pub(super) fn workers(tx: &Tx) -> Result<Vec<WorkerRow>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select w.*, w.left_at is null and w.seen_at > ?1 as live,
            (select count(*) from units u where u.owner = w.id and u.state = 'leased')
                as leased_units
         from workers w where w.seen_at > ?2 order by live desc, w.seen_at desc, w.id",
    )?;
    let mut rows = statement.query([tx.now.saturating_sub(tx.lease), tx.now - DAY])?;
    let mut workers = Vec::new();
    while let Some(row) = rows.next()? {
        workers.push(WorkerRow {
            card: WorkerCard {
                id: WorkerId(uuid(&row.get::<_, String>("id")?, "id")?),
                name: row.get("name")?,
                slots: row.get("slots")?,
                pool: row.get("pool")?,
                strategies: json(row, "strategies")?,
                version: row.get("version")?,
                // Of a build whose words are others: unknown.
                speaks: maybe_json(row, "speaks").ok().flatten(),
            },
            live: row.get("live")?,
            leased_units: row.get("leased_units")?,
            started_at: time(row, "started_at")?,
            seen_at: time(row, "seen_at")?,
            quarantine: maybe_time(row, "quarantined_at")?
                .map(|since| {
                    let reason: Option<String> = row.get("quarantine")?;
                    Ok::<_, StoreError>(Quarantine {
                        since,
                        reason: reason.unwrap_or_default(),
                    })
                })
                .transpose()?,
        });
    }
    Ok(workers)
}

/// Whether any worker ever announced this objective.
pub(super) fn ever_announced(tx: &Tx, strategy: &str) -> Result<bool, StoreError> {
    let found = tx
        .connection
        .prepare_cached(
            "select 1 from workers w, json_each(w.strategies) s where s.value = ?1 limit 1",
        )?
        .exists([strategy])?;
    Ok(found)
}

/// What stands in the way of a task's units; all zero for a task that is not there.
pub(super) fn unit_summary(tx: &Tx, id: TaskId) -> Result<UnitSummary, StoreError> {
    let mut summary = UnitSummary::default();
    let id = id.to_string();
    let mut units = tx.connection.prepare_cached(
        "select coalesce(sum(u.state = 'queued'), 0), coalesce(sum(u.state = 'leased'), 0),
            coalesce(sum(u.state = 'queued' and u.publishes > 0), 0),
            coalesce(sum(u.state = 'queued' and u.publish_at <= ?2
                and t.state in ('queued', 'running') and t.stop_requested is null
                and (t.not_before is null or t.not_before <= ?2)), 0),
            coalesce(sum(u.state = 'leased' and u.lease_until <= ?2), 0),
            coalesce(sum(u.crashes), 0)
         from units u join tasks t on t.id = u.task_id
         where u.task_id = ?1 and u.state in ('queued', 'leased')",
    )?;
    let mut rows = units.query(params![id, tx.now])?;
    if let Some(row) = rows.next()? {
        summary.queued = row.get(0)?;
        summary.leased = row.get(1)?;
        summary.published = row.get(2)?;
        summary.due = row.get(3)?;
        summary.expired = row.get(4)?;
        summary.crashes = row.get(5)?;
    }
    let mut ahead = tx.connection.prepare_cached(
        "with ranked as (
            select t.id, t.pool, t.state, t.stop_requested, t.not_before, t.priority,
                sum(t.open_units) over (partition by coalesce(t.submitted_by, '')) as key_open,
                t.open_units
            from tasks t where t.state in ('queued', 'running', 'paused'))
         select count(*) from ranked mine
         join ranked t on t.pool = mine.pool and t.id <> mine.id
            and (t.priority, t.key_open, t.open_units, t.id)
                < (mine.priority, mine.key_open, mine.open_units, mine.id)
         join units u on u.task_id = t.id and u.state = 'queued'
         where mine.id = ?1 and t.state in ('queued', 'running') and t.stop_requested is null
            and (t.not_before is null or t.not_before <= ?2)",
    )?;
    summary.ahead = ahead.query_row(params![id, tx.now], |row| row.get(0))?;
    let mut slots = tx.connection.prepare_cached(
        "select coalesce(sum(iif(w.quarantined_at is null, w.slots, 0)), 0),
            coalesce(sum(case when w.quarantined_at is null and exists (select 1 from json_each(w.strategies) s
                where s.value = t.strategy) then w.slots else 0 end), 0),
            coalesce(sum(iif(w.quarantined_at is null, (select count(*) from units u
                where u.owner = w.id and u.state = 'leased'), 0)), 0),
            coalesce(sum(iif(w.quarantined_at is null, 0, w.slots)), 0)
         from tasks t join workers w on w.pool = t.pool
         where t.id = ?1 and w.left_at is null and w.seen_at > ?2",
    )?;
    let mut rows = slots.query(params![id, tx.now.saturating_sub(tx.lease)])?;
    if let Some(row) = rows.next()? {
        summary.live_slots = row.get(0)?;
        summary.capable_slots = row.get(1)?;
        summary.busy_slots = row.get(2)?;
        summary.quarantined_slots = row.get(3)?;
    }
    let mut worst = tx.connection.prepare_cached(
        "select unable, unable_reason from units
         where task_id = ?1 and state in ('queued', 'leased') and unable_reason is not null
         order by unable desc, number limit 1",
    )?;
    let mut rows = worst.query([&id])?;
    if let Some(row) = rows.next()? {
        summary.unable = row.get(0)?;
        summary.unable_reason = row.get(1)?;
    }
    Ok(summary)
}
