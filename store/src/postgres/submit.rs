//! Submission: task, first units, snapshot, idempotency key and event in one transaction.

use super::task::{self, int};
use super::{PgError, derive, keys};
use crate::front;
use crate::keys::submitted;
use crate::pack::{pinned_text, snapshot_id};
use crate::rows::{Idempotency, MadeBefore, NewTask, Submitted, TaskRow};
use deadpool_postgres::{Object, Transaction};
use std::time::Duration;
use tokio_postgres::types::Json;
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::key::Quota;
use trialmill_common::protocol::Ledger;
use trialmill_common::state::TaskId;

pub(super) async fn submit(
    client: &mut Object,
    new: &NewTask,
    idempotency: Option<&Idempotency>,
    quota: Quota,
    lease: Duration,
) -> Result<Submitted, PgError> {
    let tx = client.transaction().await?;
    if let Some(earlier) = match idempotency {
        Some(idempotency) => take_key(&tx, idempotency, new.id).await?,
        None => None,
    } {
        return Ok(earlier);
    }
    let snapshot = match new.snapshot.is_empty() {
        true => None,
        false => Some(pin(&tx, new).await?),
    };
    let live_slots = task::live_slots(&tx, &new.pool, lease).await?;
    match new.origin {
        Some(origin) if origin.how.copies() => {
            if let Some(over) = keys::is_full(&tx, new, quota).await? {
                return Ok(Submitted::OverQuota(over));
            }
            let ledger = Ledger::accepted(new.plan());
            insert_task(&tx, new, &ledger, snapshot.as_deref()).await?;
            if !derive::begin(&tx, new, origin, live_slots).await? {
                return Ok(Submitted::NoOrigin);
            }
        }
        _ => {
            let (ledger, effects) = Ledger::submitted(new.plan(), live_slots);
            insert_task(&tx, new, &ledger, snapshot.as_deref()).await?;
            task::save_windows(&tx, new.id, &[], &ledger.windows).await?;
            task::insert_units(&tx, new.id, &effects, new.not_before).await?;
            task::insert_events(&tx, new.id, 0, &effects).await?;
        }
    }
    let row = own_row(&tx, new.id).await?;
    keys::write_events(&tx, &[submitted(new)]).await?;
    // Last, since it locks what all submissions of the key share. Without a commit nothing was done.
    if let Some(over) = keys::over_quota(&tx, new, quota).await? {
        return Ok(Submitted::OverQuota(over));
    }
    reach(FailPoint::SubmitCommitting);
    tx.commit().await?;
    reach(FailPoint::SubmitCommitted);
    Ok(Submitted::Created(Box::new(row)))
}

async fn own_row(tx: &Transaction<'_>, id: TaskId) -> Result<TaskRow, PgError> {
    let row = task::read(&**tx, id).await?;
    Ok(row.expect("inserted in this transaction"))
}

/// What a key made within a day.
pub(super) async fn made_before(
    client: &mut Object,
    scope: &str,
    key: &str,
) -> Result<Option<MadeBefore>, PgError> {
    let row = client
        .query_opt(
            "select body_hash, task_id from idempotency_keys
             where scope = $1 and key = $2 and created_at >= now() - interval '24 hours'",
            &[&scope, &key],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let hash: Vec<u8> = row.get(0);
    let task = task::find(client, TaskId(row.get(1))).await?;
    Ok(hash.try_into().ok().zip(task.map(Box::new)))
}

/// Takes an idempotency key, or answers with what it made before.
///
/// Two submissions with one key at the same time wait for each other at its primary key; what the
/// first made is then read by a new statement, since the waiting one cannot see it.
async fn take_key(
    tx: &Transaction<'_>,
    idempotency: &Idempotency,
    id: TaskId,
) -> Result<Option<Submitted>, PgError> {
    let Idempotency {
        scope,
        key,
        body_hash,
    } = idempotency;
    let body_hash = body_hash.as_slice();
    loop {
        let taken = tx
            .execute(
                "insert into idempotency_keys (scope, key, body_hash, task_id)
                 values ($1, $2, $3, $4) on conflict (scope, key) do nothing",
                &[scope, key, &body_hash, &id.0],
            )
            .await?;
        if taken == 1 {
            return Ok(None);
        }
        let earlier = tx
            .query_opt(
                "select body_hash = $3, task_id, created_at < now() - interval '24 hours'
                 from idempotency_keys where scope = $1 and key = $2 for update",
                &[scope, key, &body_hash],
            )
            .await?;
        // It was removed in between: try to take it again.
        let Some(row) = earlier else { continue };
        let task = task::read(&**tx, TaskId(row.get(1))).await?;
        match task {
            // A key that is a day old, or whose task was deleted, is free again.
            Some(task) if !row.get::<_, bool>(2) => {
                let same_body: bool = row.get(0);
                return Ok(Some(match same_body {
                    true => Submitted::Repeated(Box::new(task)),
                    false => Submitted::KeyConflict,
                }));
            }
            _ => {
                tx.execute(
                    "update idempotency_keys
                     set body_hash = $3, task_id = $4, created_at = now()
                     where scope = $1 and key = $2",
                    &[scope, key, &body_hash, &id.0],
                )
                .await?;
                return Ok(None);
            }
        }
    }
}

/// Stores the snapshot that the task pins.
async fn pin(tx: &Transaction<'_>, new: &NewTask) -> Result<Vec<u8>, PgError> {
    let id = snapshot_id(&new.snapshot).to_vec();
    let pinned = [&new.snapshot.series, &new.snapshot.records].map(pinned_text);
    tx.execute(
        "insert into snapshots (id, series, records) values ($1, $2, $3)
         on conflict (id) do nothing",
        &[&id, &Json(&pinned[0]), &Json(&pinned[1])],
    )
    .await?;
    Ok(id)
}

async fn insert_task(
    tx: &Transaction<'_>,
    new: &NewTask,
    ledger: &Ledger,
    snapshot: Option<&[u8]>,
) -> Result<(), PgError> {
    let statement = tx
        .prepare_cached(
            "insert into tasks (id, kind, name, strategy, stock_codes, pool, request, spec,
                resolved, warnings, seed, priority, not_before, timeout_seconds, snapshot_id,
                engine, submitted_by, state, parallelism, direction, n_trials, planned,
                next_number, next_unit, open_units, seq, adaptive, stop_target, stop_patience,
                origin_task, origin_how, windows, assessed, by_client, stop_aims)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33,
                $34, $35)",
        )
        .await?;
    let seed = i64::try_from(new.seed).expect("seeds are below 2^53");
    tx.execute(
        &statement,
        &[
            &new.id.0,
            &new.kind.name(),
            &new.name,
            &new.strategy,
            &new.stock_codes,
            &new.pool,
            &Json(&new.request),
            &Json(&new.spec),
            &Json(&new.resolved),
            &Json(&new.warnings),
            &seed,
            &new.priority.rank(),
            &new.not_before,
            &new.timeout,
            &snapshot,
            &new.engine,
            &new.submitted_by,
            &ledger.state.name(),
            &ledger.parallelism.map(int),
            &ledger.direction.name(),
            &int(ledger.n_trials),
            &int(ledger.planned),
            &int(ledger.next_number),
            &int(ledger.next_unit),
            &int(ledger.open_units),
            &ledger.seq,
            &ledger.adaptive,
            &ledger.rules.target,
            &ledger.rules.patience.map(int),
            &new.origin.map(|origin| origin.task.0),
            &new.origin.map(|origin| origin.how.name()),
            &i32::try_from(ledger.windows.len()).expect("windows are few"),
            &ledger.assessed,
            &ledger.by_client,
            &front::aims(&ledger.rules).map(Json),
        ],
    )
    .await?;
    Ok(())
}
