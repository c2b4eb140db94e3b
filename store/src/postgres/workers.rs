//! Workers: who they are and whether they live.

use super::PgError;
use super::task::{count, int};
use crate::rows::{Quarantine, WorkerRow};
use deadpool_postgres::Object;
use std::time::Duration;
use tokio_postgres::types::Json;
use trialmill_common::state::WorkerId;
use trialmill_common::worker::{Speaks, WorkerCard};

pub(super) async fn announce(client: &mut Object, card: &WorkerCard) -> Result<(), PgError> {
    client
        .execute(
            "insert into workers (id, name, slots, pool, strategies, version, speaks)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (id) do update set name = excluded.name, slots = excluded.slots,
                pool = excluded.pool, strategies = excluded.strategies,
                version = excluded.version, speaks = excluded.speaks, seen_at = now(), left_at = null",
            &[
                &card.id.0,
                &card.name,
                &int(card.slots),
                &card.pool,
                &card.strategies,
                &card.version,
                &card.speaks.map(Json),
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn leave(client: &mut Object, worker: WorkerId) -> Result<(), PgError> {
    client
        .execute(
            "update workers set left_at = now() where id = $1",
            &[&worker.0],
        )
        .await?;
    Ok(())
}

pub(super) async fn quarantine(
    client: &mut Object,
    worker: WorkerId,
    reason: Option<&str>,
) -> Result<(), PgError> {
    client
        .execute(
            "update workers set quarantine = $2,
                quarantined_at = case when $2::text is not null
                    then coalesce(quarantined_at, now()) end
             where id = $1",
            &[&worker.0, &reason.map(crate::cut_reason)],
        )
        .await?;
    Ok(())
}

pub(super) async fn list(client: &mut Object, lease: Duration) -> Result<Vec<WorkerRow>, PgError> {
    let rows = client
        .query(
            "select w.id, w.name, w.slots, w.pool, w.strategies, w.version,
                w.left_at is null and w.seen_at > now() - make_interval(secs => $1) as live,
                (select count(*) from units u where u.state = 'leased' and u.owner = w.id)::int4,
                w.started_at, w.seen_at, w.speaks, w.quarantined_at, w.quarantine
             from workers w where w.seen_at > now() - interval '1 day'
             order by live desc, w.name, w.id limit 1000",
            &[&lease.as_secs_f64()],
        )
        .await?;
    let worker = |row: &tokio_postgres::Row| WorkerRow {
        card: WorkerCard {
            id: WorkerId(row.get(0)),
            name: row.get(1),
            slots: count(row, 2),
            pool: row.get(3),
            strategies: row.get(4),
            version: row.get(5),
            // Of a build whose words are others: unknown.
            speaks: row
                .try_get::<_, Option<Json<Speaks>>>(10)
                .ok()
                .flatten()
                .map(|json| json.0),
        },
        live: row.get(6),
        leased_units: count(row, 7),
        started_at: row.get(8),
        seen_at: row.get(9),
        quarantine: row.get::<_, Option<_>>(11).map(|since| Quarantine {
            since,
            reason: row.get::<_, Option<String>>(12).unwrap_or_default(),
        }),
    };
    Ok(rows.iter().map(worker).collect())
}

pub(super) async fn ever_announced(client: &mut Object, strategy: &str) -> Result<bool, PgError> {
    // A text with a NUL is in no column: PostgreSQL refuses even to compare it.
    if strategy.contains('\0') {
        return Ok(false);
    }
    let row = client
        .query_one(
            "select exists (select from workers where $1 = any(strategies))",
            &[&strategy],
        )
        .await?;
    Ok(row.get(0))
}
