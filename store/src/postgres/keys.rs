//! Keys of the API, what they have in work, and the audit.

use super::PgError;
use crate::MAX_PAGE;
use crate::keys::{AuditEvent, AuditRow, KeyCensus, KeyPage, KeyRow, NewKey, created};
use crate::rows::NewTask;
use deadpool_postgres::{GenericClient, Object, Transaction};
use tokio_postgres::Row;
use trialmill_common::key::{Load, OverQuota, Quota};

const KEY: &str = "id, name, scopes, max_active_tasks, max_backlog_trials, created_by, created_at,
    expires_at, revoked_at, last_used_at";

/// A count, or a bound that a constraint keeps positive.
fn count_of(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn key_row(row: &Row) -> KeyRow {
    let bound = |column| row.get::<_, Option<i64>>(column).map(count_of);
    let scopes: Vec<String> = row.get(2);
    KeyRow {
        id: row.get(0),
        name: row.get(1),
        // A scope that only a later build knows allows nothing here.
        scopes: scopes.iter().filter_map(|name| name.parse().ok()).collect(),
        quota: Quota {
            active_tasks: bound(3),
            backlog_trials: bound(4),
        },
        created_by: row.get(5),
        created_at: row.get(6),
        expires_at: row.get(7),
        revoked_at: row.get(8),
        last_used_at: row.get(9),
    }
}

pub(super) async fn create(client: &mut Object, new: &NewKey) -> Result<Option<KeyRow>, PgError> {
    let tx = client.transaction().await?;
    let draft = &new.draft;
    let bound = |bound: Option<u64>| bound.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let scopes: Vec<&str> = draft.scopes.iter().map(|scope| scope.name()).collect();
    let insert = format!(
        "insert into api_keys (name, hash, scopes, max_active_tasks, max_backlog_trials,
            created_by, expires_at)
         values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))
         on conflict (name) where revoked_at is null do nothing returning {KEY}"
    );
    let row = tx
        .query_opt(
            &insert,
            &[
                &draft.name,
                &new.hash.as_slice(),
                &scopes,
                &bound(draft.quota.active_tasks),
                &bound(draft.quota.backlog_trials),
                &new.created_by,
                &draft.expires_in.map(|life| life.as_secs_f64()),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let row = key_row(&row);
    write_events(&tx, &[created(new)]).await?;
    tx.commit().await?;
    Ok(Some(row))
}

pub(super) async fn revoke(
    client: &mut Object,
    name: &str,
    by: &str,
) -> Result<Option<KeyRow>, PgError> {
    if name.contains('\0') {
        return Ok(None);
    }
    let tx = client.transaction().await?;
    let revoke = format!(
        "update api_keys set revoked_at = now()
         where name = $1 and revoked_at is null returning {KEY}"
    );
    let Some(row) = tx.query_opt(&revoke, &[&name]).await? else {
        return Ok(None);
    };
    let row = key_row(&row);
    write_events(&tx, &[AuditEvent::once(by, "key.revoke", name)]).await?;
    tx.commit().await?;
    Ok(Some(row))
}

pub(super) async fn list(client: &mut Object) -> Result<KeyPage, PgError> {
    let list = format!(
        "select {KEY} from api_keys
         order by revoked_at desc nulls first, name, id limit $1"
    );
    let rows = client.query(&list, &[&i64::from(MAX_PAGE)]).await?;
    let total = client
        .query_one("select count(*) from api_keys", &[])
        .await?;
    Ok(KeyPage {
        keys: rows.iter().map(key_row).collect(),
        total: count_of(total.get(0)),
    })
}

pub(super) async fn by_hash(
    client: &mut Object,
    hash: &[u8; 32],
) -> Result<Option<KeyRow>, PgError> {
    let find = format!(
        "select {KEY} from api_keys
         where hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())"
    );
    let row = client.query_opt(&find, &[&hash.as_slice()]).await?;
    Ok(row.as_ref().map(key_row))
}

pub(super) async fn census(client: &mut Object) -> Result<KeyCensus, PgError> {
    let row = client
        .query_one(
            "select count(*), count(*) filter (where 'admin' = any(scopes)
                and (expires_at is null or expires_at > now()))
             from api_keys where revoked_at is null",
            &[],
        )
        .await?;
    Ok(KeyCensus {
        kept: count_of(row.get(0)),
        live_admins: count_of(row.get(1)),
    })
}

pub(super) async fn touch(client: &mut Object, id: i64) -> Result<(), PgError> {
    let touch = "update api_keys set last_used_at = now() where id = $1";
    client.execute(touch, &[&id]).await?;
    Ok(())
}

/// Whether the key of a task has as many active ones as it may already. Read without a lock, before
/// costly work; [`over_quota`] decides.
pub(super) async fn is_full(
    tx: &Transaction<'_>,
    task: &NewTask,
    quota: Quota,
) -> Result<Option<OverQuota>, PgError> {
    let key = task.submitted_by.as_deref().unwrap_or_default();
    let statement = tx
        .prepare_cached("select active_tasks from key_loads where key = $1")
        .await?;
    let row = tx.query_opt(&statement, &[&key]).await?;
    let active_tasks = row.map_or(0, |row| count_of(row.get(0)));
    let load = Load {
        active_tasks: active_tasks + 1,
        backlog_trials: 0,
    };
    Ok(quota.check(load).err())
}

/// Whether the task that this transaction has inserted is too much for its key. From here to the
/// commit the submissions of the key wait for each other.
pub(super) async fn over_quota(
    tx: &Transaction<'_>,
    task: &NewTask,
    quota: Quota,
) -> Result<Option<OverQuota>, PgError> {
    if quota.is_none() {
        return Ok(None);
    }
    tx.batch_execute("set constraints tasks_load_begun immediate")
        .await?;
    let key = task.submitted_by.as_deref().unwrap_or_default();
    let statement = tx
        .prepare_cached("select active_tasks, planned_trials from key_loads where key = $1")
        .await?;
    let row = tx.query_one(&statement, &[&key]).await?;
    let load = Load {
        active_tasks: count_of(row.get(0)),
        backlog_trials: count_of(row.get(1)),
    };
    let Err(over) = quota.check(load) else {
        return Ok(None);
    };
    if let OverQuota::ActiveTasks { .. } = over {
        return Ok(Some(over));
    }
    // Those that have ended are in the planned ones; they are counted only when it matters.
    let exact = tx
        .query_one(
            "select coalesce(sum(planned - completed - pruned - failed), 0)::int8 from tasks
             where state in ('queued', 'running', 'paused') and coalesce(submitted_by, '') = $1",
            &[&key],
        )
        .await?;
    let backlog_trials = count_of(exact.get(0));
    Ok(quota
        .check(Load {
            backlog_trials,
            ..load
        })
        .err())
}

/// Writes events within a transaction, or alone.
pub(super) async fn write_events(
    client: &impl GenericClient,
    events: &[AuditEvent],
) -> Result<(), PgError> {
    fn column(events: &[AuditEvent], of: fn(&AuditEvent) -> &str) -> Vec<String> {
        // A text with a NUL is in no column; what is told of it does not depend on it.
        let text = |event| of(event).replace('\0', "\u{fffd}");
        events.iter().map(text).collect()
    }
    let statement = client
        .prepare_cached(
            "insert into audit_events (key, action, target, detail, times)
             select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int8[])",
        )
        .await?;
    let times: Vec<i64> = events.iter().map(|event| event.times.into()).collect();
    client
        .execute(
            &statement,
            &[
                &column(events, |event| &event.key),
                &column(events, |event| &event.action),
                &column(events, |event| &event.target),
                &column(events, |event| &event.detail),
                &times,
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn events(
    client: &mut Object,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditRow>, PgError> {
    let rows = client
        .query(
            "select id, at, key, action, target, detail, times from audit_events
             where $1::int8 is null or id < $1 order by id desc limit $2",
            &[&before, &i64::from(limit.clamp(1, MAX_PAGE))],
        )
        .await?;
    let event = |row: &Row| AuditRow {
        id: row.get(0),
        at: row.get(1),
        event: AuditEvent {
            key: row.get(2),
            action: row.get(3),
            target: row.get(4),
            detail: row.get(5),
            times: u32::try_from(row.get::<_, i64>(6)).unwrap_or(u32::MAX),
        },
    };
    Ok(rows.iter().map(event).collect())
}
