//! What operators look at: health, workers, queues.

use crate::answer::{
    BrokerAnswer, Health, QuarantineAnswer, QueueAnswer, QueueList, Readiness, SpeaksAnswer,
    WorkerAnswer, WorkerList,
};
use crate::docs::{open, operation};
use crate::problem::Problem;
use crate::state::AppState;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use std::collections::BTreeSet;
use trialmill_broker::BrokerState;
use trialmill_common::worker::DEFAULT_POOL;
use trialmill_store::rows::WorkerRow;

pub(crate) fn routes() -> ApiRouter<AppState> {
    let doc = |name: &str, summary| operation(name.to_owned(), "Operations", summary);
    ApiRouter::new()
        .api_route(
            "/healthz",
            get_with(health, move |op| {
                open(doc("healthz", "Whether the process lives")(op))
            }),
        )
        .api_route(
            "/readyz",
            get_with(ready, |op| {
                open(doc("readyz", "Whether tasks can be accepted")(op)).description(
                    "Writes to the database. 503 while it takes no writes; a broker that is down \
                     is reported and does not count, because tasks are accepted without it.",
                )
            }),
        )
        .api_route(
            "/api/v1/workers",
            get_with(
                workers,
                doc("workers", "Workers of the last day, live ones first"),
            ),
        )
        .api_route(
            "/api/v1/queues",
            get_with(
                queues,
                doc("queues", "Depth of the queues, and the units behind them"),
            ),
        )
}

async fn health() -> Json<Health> {
    Json(Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

async fn ready(State(state): State<AppState>) -> Result<Json<Readiness>, Problem> {
    state.store.writable().await?;
    let broker = broker(&state);
    let status = if broker.state == "connected" {
        "ready"
    } else {
        "degraded"
    };
    Ok(Json(Readiness {
        status: status.to_owned(),
        database: "ok".to_owned(),
        broker,
    }))
}

fn broker(state: &AppState) -> BrokerAnswer {
    let (state, reason) = match state.broker.state().borrow().clone() {
        BrokerState::Connected => ("connected", None),
        BrokerState::Disconnected { reason, .. } => ("disconnected", Some(reason)),
        BrokerState::Blocked { reason } => ("blocked", Some(reason)),
    };
    BrokerAnswer {
        state: state.to_owned(),
        reason,
    }
}

async fn workers(State(state): State<AppState>) -> Result<Json<WorkerList>, Problem> {
    let items = state
        .store
        .workers()
        .await?
        .into_iter()
        .map(worker)
        .collect();
    Ok(Json(WorkerList { items }))
}

fn worker(row: WorkerRow) -> WorkerAnswer {
    WorkerAnswer {
        worker_id: row.card.id.0,
        name: row.card.name,
        pool: row.card.pool,
        live: row.live,
        slots: row.card.slots,
        leased_units: row.leased_units,
        strategies: row.card.strategies,
        version: row.card.version,
        started_at: row.started_at,
        seen_at: row.seen_at,
        quarantine: row.quarantine.map(|quarantine| QuarantineAnswer {
            since: quarantine.since,
            reason: quarantine.reason,
        }),
        speaks: row.card.speaks.map(|speaks| SpeaksAnswer {
            schema: speaks.schema,
            form: speaks.form,
            message: speaks.message,
        }),
    }
}

async fn queues(State(state): State<AppState>) -> Result<Json<QueueList>, Problem> {
    let workers = state.store.workers().await?;
    let mut pools: BTreeSet<&str> = workers.iter().map(|row| row.card.pool.as_str()).collect();
    pools.insert(DEFAULT_POOL);
    let mut items = Vec::with_capacity(pools.len());
    for pool in pools {
        items.push(queue(&state, pool, &workers).await?);
    }
    Ok(Json(QueueList {
        broker: broker(&state),
        items,
    }))
}

async fn queue(
    state: &AppState,
    pool: &str,
    workers: &[WorkerRow],
) -> Result<QueueAnswer, Problem> {
    let live = || {
        workers
            .iter()
            .filter(|row| row.live && row.quarantine.is_none() && row.card.pool == pool)
    };
    let due = state.store.next_due(pool).await?;
    let depth = state.broker.depth(pool).await;
    Ok(QueueAnswer {
        pool: pool.to_owned(),
        ready: depth.as_ref().ok().map(|depth| depth.ready),
        consumers: depth.as_ref().ok().map(|depth| depth.consumers),
        reason: depth.err().map(|error| error.to_string()),
        live_slots: live().map(|row| row.card.slots).sum(),
        leased_units: live().map(|row| row.leased_units).sum(),
        next_due_seconds: due.map(|due| due.as_secs_f64()),
    })
}
