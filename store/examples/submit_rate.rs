//! What a submission costs while its key has many active tasks: on the PostgreSQL of `DATABASE_URL`
//! (whose schema must be current), with and without bounds to keep to.
//!
//! `cargo run --release -p trialmill-store --example submit_rate -- [TASKS]`

#![expect(clippy::print_stdout, reason = "figures are for the person who asked")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use trialmill_common::key::Quota;
use trialmill_common::protocol::StopRules;
use trialmill_common::state::{Direction, Priority, TaskId, TaskKind};
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::rows::{NewTask, Snapshot, Submitted};
use trialmill_store::{Store, StoreError, Timing};
use uuid::Uuid;

/// Submissions per measurement.
const SAMPLES: usize = 300;
/// Submissions at a time while the key is filled.
const SENDERS: usize = 8;

fn task(key: &str) -> NewTask {
    NewTask {
        id: TaskId(Uuid::now_v7()),
        kind: TaskKind::HyperparameterOptimization,
        name: "submit rate".to_owned(),
        strategy: "sphere".to_owned(),
        stock_codes: vec![],
        pool: "submit-rate".to_owned(),
        request: serde_json::json!({}),
        spec: serde_json::json!({}),
        resolved: serde_json::json!({}),
        warnings: vec![],
        seed: 1,
        n_trials: 100,
        planned: 100,
        parallelism: Some(1),
        adaptive: false,
        direction: Direction::Minimize,
        timeout: None,
        priority: Priority::Normal,
        not_before: None,
        snapshot: Snapshot::default(),
        engine: "e1".to_owned(),
        submitted_by: Some(key.to_owned()),
        rules: StopRules::default(),
        windows: Vec::new(),
        assessed: false,
        by_client: false,
        origin: None,
    }
}

async fn measure(store: &dyn Store, key: &str, what: &str, quota: Quota) -> Result<(), StoreError> {
    let mut took = Vec::with_capacity(SAMPLES);
    let mut refused = 0;
    for _ in 0..SAMPLES {
        let began = Instant::now();
        let answer = store.submit_within(task(key), None, quota).await?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
        refused += u32::from(matches!(answer, Submitted::OverQuota(_)));
    }
    took.sort_by(f64::total_cmp);
    let at = |part: usize| took[(SAMPLES - 1) * part / 100];
    println!(
        "{what:<44} median {:6.2} ms   p99 {:6.2} ms   refused {refused}",
        at(50),
        at(99)
    );
    Ok(())
}

async fn rounds(store: &dyn Store, key: &str, active: u64) -> Result<(), StoreError> {
    let bounds = |active_tasks, backlog_trials| Quota {
        active_tasks: Some(active_tasks),
        backlog_trials: Some(backlog_trials),
    };
    let high = bounds(1_000_000, 1_000_000_000);
    let at = |what: &str| format!("{active} active: {what}");
    measure(store, key, &at("no bound"), Quota::NONE).await?;
    measure(store, key, &at("both bounds, far away"), high).await?;
    measure(store, key, &at("no bound, again"), Quota::NONE).await?;
    measure(store, key, &at("both bounds, far away, again"), high).await?;
    measure(store, key, &at("tasks at the bound"), bounds(1, 1)).await?;
    let full = bounds(1_000_000, 1);
    measure(store, key, &at("backlog full, counted exactly"), full).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tasks = match std::env::args().nth(1) {
        Some(text) => text.parse::<usize>()?,
        None => 100_000,
    };
    #[expect(clippy::disallowed_methods, reason = "an example has no config.rs")]
    let url = std::env::var("DATABASE_URL")?;
    let store: Arc<dyn Store> =
        Arc::new(PgStore::connect(&url, PgOptions::default(), Timing::default()).await?);
    let key = format!("submit-rate-{}", Uuid::new_v4().simple());
    rounds(store.as_ref(), &key, 0).await?;
    let began = Instant::now();
    let fill = (0..SENDERS).map(|_| {
        let (store, key) = (Arc::clone(&store), key.clone());
        tokio::spawn(async move {
            let bounds = Quota {
                active_tasks: Some(1_000_000),
                backlog_trials: Some(1_000_000_000),
            };
            for _ in 0..tasks / SENDERS {
                store.submit_within(task(&key), None, bounds).await?;
            }
            Ok::<_, StoreError>(())
        })
    });
    for sender in fill.collect::<Vec<_>>() {
        sender.await??;
    }
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of tasks")]
    let rate = tasks as f64 / seconds;
    println!("{tasks} tasks of one key accepted in {seconds:.0} s: {rate:.0} per second");
    rounds(store.as_ref(), &key, tasks as u64)
        .await
        .map_err(Into::into)
}
