//! Keys of the API, what they have in work, and the audit.

use super::Tx;
use super::columns::{json, maybe_time, micros, time, to_json};
use crate::MAX_PAGE;
use crate::error::StoreError;
use crate::keys::{AuditEvent, AuditRow, KeyCensus, KeyPage, KeyRow, NewKey, created};
use crate::rows::NewTask;
use rusqlite::{OptionalExtension, Row, ToSql, named_params, params};
use trialmill_common::key::{Load, OverQuota, Quota};

fn key_row(row: &Row) -> Result<KeyRow, StoreError> {
    let bound = |column: &str| {
        let bound: Option<i64> = row.get(column)?;
        Ok::<_, StoreError>(bound.map(i64::cast_unsigned))
    };
    let scopes: Vec<String> = json(row, "scopes")?;
    Ok(KeyRow {
        id: row.get("id")?,
        name: row.get("name")?,
        // A scope that only a later build knows allows nothing here.
        scopes: scopes.iter().filter_map(|name| name.parse().ok()).collect(),
        quota: Quota {
            active_tasks: bound("max_active_tasks")?,
            backlog_trials: bound("max_backlog_trials")?,
        },
        created_by: row.get("created_by")?,
        created_at: time(row, "created_at")?,
        expires_at: maybe_time(row, "expires_at")?,
        revoked_at: maybe_time(row, "revoked_at")?,
        last_used_at: maybe_time(row, "last_used_at")?,
    })
}

/// Runs a query for at most one key.
fn one(tx: &Tx, query: &str, values: &[&dyn ToSql]) -> Result<Option<KeyRow>, StoreError> {
    let mut statement = tx.connection.prepare_cached(query)?;
    let mut rows = statement.query(values)?;
    let key = rows.next()?.map(key_row).transpose()?;
    // To the end, as a statement that writes must be run.
    while rows.next()?.is_some() {}
    Ok(key)
}

/// Stores a key; nothing when its name is taken.
pub(super) fn create(tx: &Tx, new: &NewKey) -> Result<Option<KeyRow>, StoreError> {
    let draft = &new.draft;
    let bound = |bound: Option<u64>| bound.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let inserted = tx
        .connection
        .prepare_cached(
            "insert into api_keys (name, hash, scopes, max_active_tasks, max_backlog_trials,
                created_by, created_at, expires_at)
             values (:name, :hash, :scopes, :tasks, :trials, :by, :now, :expires)
             on conflict (name) where revoked_at is null do nothing",
        )?
        .execute(named_params! {
            ":name": draft.name,
            ":hash": new.hash,
            ":scopes": to_json(&draft.scopes),
            ":tasks": bound(draft.quota.active_tasks),
            ":trials": bound(draft.quota.backlog_trials),
            ":by": new.created_by,
            ":now": tx.now,
            ":expires": draft.expires_in.map(|life| tx.now.saturating_add(micros(life))),
        })?;
    if inserted == 0 {
        return Ok(None);
    }
    write_events(tx, &[created(new)])?;
    let made = "select * from api_keys where name = ?1 and revoked_at is null";
    one(tx, made, &[&draft.name])
}

/// Revokes the key of this name.
pub(super) fn revoke(tx: &Tx, name: &str, by: &str) -> Result<Option<KeyRow>, StoreError> {
    let revoke = "update api_keys set revoked_at = ?2
         where name = ?1 and revoked_at is null returning *";
    let revoked = one(tx, revoke, &[&name, &tx.now])?;
    if revoked.is_some() {
        write_events(tx, &[AuditEvent::once(by, "key.revoke", name)])?;
    }
    Ok(revoked)
}

/// The keys, revoked ones last.
pub(super) fn list(tx: &Tx) -> Result<KeyPage, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select * from api_keys order by revoked_at desc nulls first, name, id limit ?1",
    )?;
    let mut rows = statement.query([MAX_PAGE])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(key_row(row)?);
    }
    let total: i64 = tx
        .connection
        .prepare_cached("select count(*) from api_keys")?
        .query_row([], |row| row.get(0))?;
    Ok(KeyPage {
        keys,
        total: total.cast_unsigned(),
    })
}

/// The key with this hash, if it is valid.
pub(super) fn by_hash(tx: &Tx, hash: [u8; 32]) -> Result<Option<KeyRow>, StoreError> {
    let find = "select * from api_keys
         where hash = ?1 and revoked_at is null and (expires_at is null or expires_at > ?2)";
    one(tx, find, &[&hash, &tx.now])
}

/// How many keys there are.
pub(super) fn census(tx: &Tx) -> Result<KeyCensus, StoreError> {
    let (kept, live_admins): (i64, i64) = tx
        .connection
        .prepare_cached(
            "select count(*), count(*) filter (where (expires_at is null or expires_at > ?1)
                and exists (select 1 from json_each(scopes) where value = 'admin'))
             from api_keys where revoked_at is null",
        )?
        .query_row([tx.now], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(KeyCensus {
        kept: kept.cast_unsigned(),
        live_admins: live_admins.cast_unsigned(),
    })
}

/// The key is used now.
pub(super) fn touch(tx: &Tx, id: i64) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached("update api_keys set last_used_at = ?2 where id = ?1")?
        .execute([id, tx.now])?;
    Ok(())
}

/// Whether the task that this transaction is to insert would be too much for its key. Nobody else
/// writes meanwhile.
pub(super) fn over_quota(
    tx: &Tx,
    task: &NewTask,
    quota: Quota,
) -> Result<Option<OverQuota>, StoreError> {
    if quota.is_none() {
        return Ok(None);
    }
    let key = task.submitted_by.as_deref().unwrap_or_default();
    let (active, planned): (i64, i64) = tx
        .connection
        .prepare_cached("select active_tasks, planned_trials from key_loads where key = ?1")?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .unwrap_or_default();
    let new_trials = u64::from(task.planned);
    let load = Load {
        active_tasks: active.cast_unsigned() + 1,
        backlog_trials: planned.cast_unsigned() + new_trials,
    };
    let Err(over) = quota.check(load) else {
        return Ok(None);
    };
    if let OverQuota::ActiveTasks { .. } = over {
        return Ok(Some(over));
    }
    // Those that have ended are in the planned ones; they are counted only when it matters.
    let exact: i64 = tx
        .connection
        .prepare_cached(
            "select coalesce(sum(planned - completed - pruned - failed), 0) from tasks
             where state in ('queued', 'running', 'paused') and coalesce(submitted_by, '') = ?1",
        )?
        .query_row([key], |row| row.get(0))?;
    let backlog_trials = exact.cast_unsigned() + new_trials;
    Ok(quota
        .check(Load {
            backlog_trials,
            ..load
        })
        .err())
}

/// Writes events of the audit.
pub(super) fn write_events(tx: &Tx, events: &[AuditEvent]) -> Result<(), StoreError> {
    let mut insert = tx.connection.prepare_cached(
        "insert into audit_events (at, key, action, target, detail, times)
         values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for event in events {
        insert.execute(params![
            tx.now,
            event.key,
            event.action,
            event.target,
            event.detail,
            event.times
        ])?;
    }
    Ok(())
}

/// Events of the audit, latest first.
pub(super) fn events(
    tx: &Tx,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditRow>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select * from audit_events where ?1 is null or id < ?1 order by id desc limit ?2",
    )?;
    let mut rows = statement.query(params![before, limit.clamp(1, MAX_PAGE)])?;
    let mut page = Vec::new();
    while let Some(row) = rows.next()? {
        page.push(AuditRow {
            id: row.get("id")?,
            at: time(row, "at")?,
            event: AuditEvent {
                key: row.get("key")?,
                action: row.get("action")?,
                target: row.get("target")?,
                detail: row.get("detail")?,
                times: row.get("times")?,
            },
        });
    }
    Ok(page)
}
