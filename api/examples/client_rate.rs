//! How many trials a second clients can ask for and tell, over HTTP on loopback: a service in this process on the
//! PostgreSQL of `DATABASE_URL` (whose schema must be current), or on a file of SQLite where that is not set.
//!
//! `cargo run --release -p trialmill-api --example client_rate -- [TRIALS] [CLIENTS] [SAMPLER]`

#![expect(clippy::print_stdout, reason = "figures are for the person who asked")]

use serde_json::{Value, json};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use trialmill_api::{AppState, router, serve};
use trialmill_broker::InProcessBroker;
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::sqlite::SqliteStore;
use trialmill_store::{Store, Timing};

const TASKS: &str = "/api/v1/optimization/tasks";

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let trials: u32 = arguments.first().map_or(Ok(1_000), |text| text.parse())?;
    let clients: u32 = arguments.get(1).map_or(Ok(1), |text| text.parse())?;
    let sampler = arguments.get(2).map_or("tpe", String::as_str);
    let folder = tempfile::tempdir()?;
    #[expect(clippy::disallowed_methods, reason = "a bench has no config.rs")]
    let url = std::env::var("DATABASE_URL").ok();
    let store: Arc<dyn Store> = match &url {
        Some(url) => {
            Arc::new(PgStore::connect(url, PgOptions::default(), Timing::default()).await?)
        }
        None => Arc::new(SqliteStore::open(
            folder.path().join("bench.sqlite3"),
            Timing::default(),
        )?),
    };
    let state = AppState::new(Arc::clone(&store), Arc::new(InProcessBroker::new(16))).trusting();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}{TASKS}", listener.local_addr()?);
    tokio::spawn(serve(listener, router(state), std::future::pending()));
    trialmill_tls::install_default();
    let http = reqwest::Client::new();
    let range = json!({"type": "float", "low": -5.0, "high": 5.0});
    let space: Value = (0..5).map(|k| (format!("x{k}"), range.clone())).collect();
    let request = json!({
        "task_name": "client_rate", "strategy_name": "client", "param_space": space,
        "objective_config": {"objective_metric": "sphere", "direction": "minimize"},
        "optimization_method": sampler, "n_trials": trials, "parallelism": clients, "seed": 1,
    });
    let task: Value = http.post(&base).json(&request).send().await?.json().await?;
    let id = task["task_id"].as_str().ok_or("it is accepted")?.to_owned();
    let began = Instant::now();
    let work = (0..clients).map(|_| tokio::spawn(run(http.clone(), format!("{base}/{id}"))));
    let mut asked = Vec::new();
    for client in work.collect::<Vec<_>>() {
        asked.extend(client.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    asked.sort_unstable();
    let at = |percent: usize| asked[(asked.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{}, {sampler}, {clients} clients: {} trials in {seconds:.2} s, {:.0} trials/s; an ask takes {:.2} ms (half), \
         {:.2} ms (99 of 100)",
        if url.is_some() {
            "PostgreSQL"
        } else {
            "SQLite"
        },
        asked.len(),
        asked.len() as f64 / seconds,
        at(50),
        at(99)
    );
    Ok(())
}

type Failed = Box<dyn Error + Send + Sync>;

/// Asks and tells until the task has ended; how long each ask took.
async fn run(http: reqwest::Client, task: String) -> Result<Vec<Duration>, Failed> {
    let mut asked = Vec::new();
    loop {
        let began = Instant::now();
        let answer = http.post(format!("{task}/ask")).send().await?;
        let status = answer.status().as_u16();
        let trial: Value = answer.json().await?;
        if status == 409 {
            if trial["errors"][0]["code"] == "task_ended" {
                return Ok(asked);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        asked.push(began.elapsed());
        let params = trial["params"]
            .as_object()
            .ok_or_else(|| trial.to_string())?;
        let value: f64 = params
            .values()
            .filter_map(Value::as_f64)
            .map(|x| x * x)
            .sum();
        let told = json!({"lease": trial["lease"], "values": value});
        let path = format!("{task}/trials/{}/tell", trial["trial_number"]);
        let told = http.post(path).json(&told).send().await?;
        if !told.status().is_success() {
            return Err(told.text().await?.into());
        }
    }
}
