//! What a search takes on the disk of PostgreSQL, and how long removing it takes: a random search
//! over five floats, recorded as a worker records it, on the database of `DATABASE_URL` (whose
//! schema must be current, and which should be used by nobody else).
//!
//! `cargo run --release -p trialmill-store --example disk -- [TRIALS] [PER_FLUSH] [METRICS] [STATS]`
//!
//! `METRICS` is how many metrics each trial has: 1 for a test function, 20 for a backtest (23 of a
//! pair). `STATS` is how many doubles of statistics it has: 0 for a test function, else 35, which
//! are 280 bytes of the 284 that a backtest keeps.

#![expect(clippy::print_stdout, reason = "figures are for the person who asked")]

use std::error::Error;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};
use trialmill_common::protocol::StopRules;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::{Direction, Priority, TaskId, TaskKind, WorkerId};
use trialmill_common::trial::{EndedTrial, Evaluation, Outcome};
use trialmill_search::{ParamValue, Point};
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::rows::{NewTask, Snapshot, UnitRef};
use trialmill_store::{Keep, Store, Timing, UnitFlush};
use uuid::Uuid;

const TABLES: [&str; 5] = ["tasks", "units", "trials", "running_trials", "task_events"];

fn task(n_trials: u32) -> NewTask {
    NewTask {
        id: TaskId(Uuid::now_v7()),
        kind: TaskKind::HyperparameterOptimization,
        name: "disk".to_owned(),
        strategy: "sphere".to_owned(),
        stock_codes: vec![],
        pool: format!("disk-{}", Uuid::new_v4().simple()),
        request: serde_json::json!({}),
        spec: serde_json::json!({}),
        resolved: serde_json::json!({}),
        warnings: vec![],
        seed: 1,
        n_trials,
        planned: n_trials,
        parallelism: Some(4),
        adaptive: false,
        direction: Direction::Minimize,
        timeout: None,
        priority: Priority::Normal,
        not_before: None,
        snapshot: Snapshot::default(),
        engine: "e1".to_owned(),
        submitted_by: None,
        rules: StopRules::default(),
        windows: Vec::new(),
        assessed: false,
        by_client: false,
        origin: None,
    }
}

/// A value with all its digits, as a real one has.
fn digits(number: u32, place: u32) -> f64 {
    let mixed = (u64::from(number) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = mixed.rotate_left(place * 7) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in a double")]
    let fraction = mixed as f64 / (1_u64 << 53) as f64;
    fraction
}

fn ended(number: u32, metrics: u32, stats: u32) -> EndedTrial {
    let named = |place| (format!("some_metric_{place:02}"), Ok(digits(number, place)));
    let metrics: Vec<_> = match metrics {
        1 => vec![("value".to_owned(), Ok(digits(number, 9)))],
        many => (0..many).map(named).collect(),
    };
    EndedTrial {
        number,
        point: Point::new(
            (0..5)
                .map(|p| ParamValue::Float(digits(number, p)))
                .collect(),
        ),
        outcome: Outcome::Completed(Evaluation {
            values: vec![digits(number, 9)],
            stats: (stats > 0).then(|| {
                (0..stats)
                    .flat_map(|p| digits(number, p).to_le_bytes())
                    .collect()
            }),
            metrics,
            ..Evaluation::default()
        }),
        reports: None,
        duration_ms: 0.1,
        window: None,
    }
}

async fn sizes(client: &Client) -> Result<Vec<i64>, tokio_postgres::Error> {
    let mut sizes = Vec::new();
    for table in TABLES {
        let query = "select pg_total_relation_size($1::text::regclass)";
        sizes.push(client.query_one(query, &[&table]).await?.get(0));
    }
    Ok(sizes)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u32| match arguments.get(place) {
        Some(text) => text.parse::<u32>(),
        None => Ok(default),
    };
    let (n_trials, per_flush, metrics) = (number(0, 1_000_000)?, number(1, 2_000)?, number(2, 1)?);
    let stats = number(3, if metrics > 1 { 35 } else { 0 })?;
    #[expect(clippy::disallowed_methods, reason = "a bench has no config.rs")]
    let url = std::env::var("DATABASE_URL")?;
    let store = PgStore::connect(&url, PgOptions::default(), Timing::default()).await?;
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let before = sizes(&client).await?;
    let task = task(n_trials);
    let id = task.id;
    store.submit(task, None).await?;
    let worker = WorkerId(Uuid::new_v4());
    let began = Instant::now();
    let mut unit = 0;
    // Units in their order, each closed when its last trial is recorded, as long as there are any.
    while let Some(claim) = store.claim(UnitRef { task: id, unit }, worker).await? {
        let mut done = 0;
        while done < claim.count {
            let count = per_flush.min(claim.count - done);
            let first = claim.first + done;
            let flush = UnitFlush {
                lease: claim.lease,
                recorded_before: done,
                trials: (first..first + count)
                    .map(|n| ended(n, metrics, stats))
                    .collect(),
                steps: 0,
                end: if done + count == claim.count {
                    UnitEnd::Close
                } else {
                    UnitEnd::Keep
                },
                result: None,
                why: None,
            };
            store.record(id, &[flush]).await?;
            done += count;
        }
        unit += 1;
    }
    println!(
        "recorded: {n_trials} trials in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    client.batch_execute("vacuum analyze").await?;
    for ((table, now), was) in TABLES.iter().zip(sizes(&client).await?).zip(before) {
        let grown = now - was;
        #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
        let (mib, each) = (
            grown as f64 / 1_048_576.0,
            grown as f64 / f64::from(n_trials),
        );
        println!("{table:16} {mib:9.1} MiB   {each:7.1} bytes per trial");
    }
    let began = Instant::now();
    store.delete(id).await?;
    println!(
        "deleted: the task is gone after {:.2} s",
        began.elapsed().as_secs_f64()
    );
    let (mut rounds, mut longest, mut trials) = (0, Duration::ZERO, 0);
    loop {
        let round = Instant::now();
        let tidied = store.tidy(&Keep::default()).await?;
        (rounds, trials) = (rounds + 1, trials + tidied.trials);
        longest = longest.max(round.elapsed());
        if !tidied.more {
            break;
        }
    }
    println!(
        "deleted: its other {trials} trials in {rounds} rounds, {:.1} s in all, the longest round {} ms",
        began.elapsed().as_secs_f64(),
        longest.as_millis()
    );
    drop(client);
    connection.await??;
    Ok(())
}
