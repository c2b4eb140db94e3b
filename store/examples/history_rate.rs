//! How fast the history of a task is written, read, and copied into a retry: trials per second, on
//! the PostgreSQL of `DATABASE_URL` (whose schema must be current) or, without arguments to say so,
//! on a SQLite file. One trial in FAIL_EVERY fails (0: only the last).
//!
//! `cargo run --release -p trialmill-store --example history_rate -- postgres|sqlite [TRIALS] [PER_FLUSH] [FAIL_EVERY]`

#![expect(clippy::print_stdout, reason = "figures are for the person who asked")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use trialmill_common::protocol::StopRules;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::{
    Direction, OriginHow, Priority, StopReason, TaskId, TaskKind, WorkerId,
};
use trialmill_common::trial::{EndedTrial, Evaluation, Failure, FailureKind, Outcome};
use trialmill_search::{ParamValue, Point};
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::rows::{NewTask, Origin, Snapshot, Submitted, UnitRef};
use trialmill_store::sqlite::SqliteStore;
use trialmill_store::{Keep, Store, Timing, UnitFlush};
use uuid::Uuid;

fn task_of(n_trials: u32) -> NewTask {
    NewTask {
        id: TaskId(Uuid::now_v7()),
        kind: TaskKind::HyperparameterOptimization,
        name: "history rate".to_owned(),
        strategy: "sphere".to_owned(),
        stock_codes: vec![],
        pool: format!("history-rate-{}", Uuid::new_v4().simple()),
        request: serde_json::json!({}),
        spec: serde_json::json!({}),
        resolved: serde_json::json!({}),
        warnings: vec![],
        seed: 1,
        n_trials,
        planned: n_trials,
        parallelism: Some(1),
        adaptive: true,
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

fn ended(number: u32, fails: bool) -> EndedTrial {
    let x = f64::from(number);
    let outcome = if fails {
        Outcome::Failed(Failure {
            kind: FailureKind::Panic,
            message: "planted".to_owned(),
            causes: vec![],
            hint: String::new(),
            worker: "here".to_owned(),
        })
    } else {
        Outcome::Completed(Evaluation {
            values: vec![x],
            metrics: vec![("value".to_owned(), Ok(x))],
            ..Evaluation::default()
        })
    };
    EndedTrial {
        number,
        point: Point::new(vec![ParamValue::Float(x); 5]),
        outcome,
        reports: None,
        duration_ms: 0.1,
        window: None,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u32| match arguments.get(place) {
        Some(text) => text.parse::<u32>(),
        None => Ok(default),
    };
    let (n_trials, per_flush) = (number(1, 500_000)?, number(2, 1_000)?);
    let fail_every = number(3, 0)?;
    let fails = |number: u32| match fail_every {
        0 => number + 1 == n_trials,
        every => number % every == every - 1,
    };
    let folder = tempfile::tempdir()?;
    let store: Arc<dyn Store> = match arguments.first().map(String::as_str) {
        Some("postgres") => {
            #[expect(clippy::disallowed_methods, reason = "a bench has no config.rs")]
            let url = std::env::var("DATABASE_URL")?;
            Arc::new(PgStore::connect(&url, PgOptions::default(), Timing::default()).await?)
        }
        _ => Arc::new(SqliteStore::open(
            folder.path().join("rate.db"),
            Timing::default(),
        )?),
    };
    let task = task_of(n_trials);
    let id = task.id;
    store.submit(task, None).await?;
    let unit = UnitRef { task: id, unit: 0 };
    let claim = store.claim(unit, WorkerId(Uuid::new_v4())).await?;
    let claim = claim.ok_or("the unit of a new task is free")?;
    let began = Instant::now();
    let mut first = 0;
    while first < n_trials {
        let last = (first + per_flush).min(n_trials);
        let flush = UnitFlush {
            lease: claim.lease,
            recorded_before: first,
            trials: (first..last).map(|n| ended(n, fails(n))).collect(),
            steps: 0,
            end: if last == n_trials {
                UnitEnd::Close
            } else {
                UnitEnd::Keep
            },
            result: None,
            why: None,
        };
        store.record(id, &[flush]).await?;
        first = last;
    }
    let rate = |trials: usize, began: Instant| {
        #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
        let trials = trials as f64;
        trials / began.elapsed().as_secs_f64()
    };
    println!("written: {:.0} trials/s", rate(n_trials as usize, began));
    for _ in 0..3 {
        let began = Instant::now();
        let (mut seq, mut read, mut pages) = (0, 0, 0);
        loop {
            let page = store.history(id, seq, 0..u32::MAX).await?;
            read += page.trials.len();
            seq = page.seq;
            pages += 1;
            if page.complete {
                break;
            }
        }
        let rate = rate(read, began);
        println!("read: {rate:.0} trials/s, {read} trials in {pages} pages");
        let began = Instant::now();
        for _ in 0..100 {
            store.history(id, seq, 0..u32::MAX).await?;
        }
        let micros = began.elapsed().as_micros() / 100;
        println!("nothing new: {micros} us");
    }
    let retry = NewTask {
        origin: Some(Origin {
            task: id,
            how: OriginHow::Retry,
        }),
        ..task_of(n_trials)
    };
    let began = Instant::now();
    let Submitted::Created(row) = store.submit(retry, None).await? else {
        return Err("the retry was not accepted".into());
    };
    let (copied, units) = (row.ledger.copied.trials, row.ledger.copied.units);
    println!(
        "copied: {:.0} trials/s, {copied} trials in {units} runs, {:.1} s",
        rate(copied as usize, began),
        began.elapsed().as_secs_f64()
    );
    for what in ["status", "claim"] {
        let began = Instant::now();
        if what == "status" {
            store.task(row.id).await?;
        } else {
            let unit = UnitRef {
                task: row.id,
                unit: units,
            };
            store.claim(unit, WorkerId(Uuid::new_v4())).await?;
        }
        println!("{what} of the retry: {} us", began.elapsed().as_micros());
    }
    store.stop(row.id, StopReason::Cancelled).await?;
    store.delete(row.id).await?;
    store.delete(id).await?;
    while store.tidy(&Keep::default()).await?.more {}
    Ok(())
}
