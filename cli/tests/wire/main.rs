//! The whole path with real processes and real kills: API, RabbitMQ, PostgreSQL and workers.
//!
//! The oracle is no database: a history-free search says by itself which parameters each trial
//! has, and the objective says what they are worth. Whatever dies, exactly these trials must be
//! recorded, each once.

#![expect(clippy::print_stderr, reason = "tests say where the logs are")]

mod adaptive;
mod clients;
mod dead_queue;
mod fronts;
mod hostile;
mod mission;
mod panel;
mod secrets;
mod windows;

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, midnight};
use trialmill_chaos::cluster::Cluster;
use trialmill_search::{Choice, Domain, History, Method as Sampler, Space, Study};

const DIMENSIONS: [&str; 3] = ["x0", "x1", "x2"];

/// A search over three floats whose trials take `seconds` each.
fn sleeping(n_trials: u32, seconds: f64, seed: u64) -> Value {
    let mut space: serde_json::Map<String, Value> = DIMENSIONS
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                json!({"type": "float", "low": -5.0, "high": 5.0}),
            )
        })
        .collect();
    let pause = json!({"type": "float", "low": 0.0, "high": 60.0, "default": seconds,
        "enabled": false});
    space.insert("seconds".to_owned(), pause);
    json!({
        "task_name": "wire", "strategy_name": "sleep", "stock_codes": [],
        "start_date": "2023-01-01", "end_date": "2023-12-31", "param_space": space,
        "objective_config": {"objective_metric": "value"}, "optimization_method": "random",
        "n_trials": n_trials, "seed": seed,
    })
}

/// What an undisturbed run gives: parameters and value by number.
fn expected(n_trials: u32, seed: u64) -> Vec<(BTreeMap<String, f64>, f64)> {
    let domain = Domain::Float {
        low: -5.0,
        high: 5.0,
        step: None,
        log: false,
    };
    let space = Space::new(DIMENSIONS.map(|name| (name.to_owned(), domain.clone()))).unwrap();
    let study = Study::new(space, Sampler::Random, seed).unwrap();
    (0..n_trials)
        .map(|number| {
            let point = study.ask(&History::EMPTY, number).unwrap();
            let named: BTreeMap<String, f64> = study
                .space()
                .named(&point)
                .map(|(name, value)| match value {
                    Choice::Float(value) => (name.to_owned(), value),
                    other => panic!("{name} is {other:?}"),
                })
                .collect();
            let value = named.values().map(|x| x * x).sum();
            (named, value)
        })
        .collect()
}

async fn assert_exact(cluster: &mut Cluster, id: &str, n_trials: u32, seed: u64) {
    let status = cluster.ended(id).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    assert_eq!(status["stop_reason"], "n_trials");
    assert_eq!(status["failed_trials"], 0, "{status:#}");
    let trials = cluster.trials(id).await;
    let expected = expected(n_trials, seed);
    assert_eq!(trials.len(), expected.len());
    for (number, (trial, (params, value))) in trials.iter().zip(&expected).enumerate() {
        assert_eq!(trial["number"], number);
        for (name, x) in params {
            assert_eq!(trial["params"][name].as_f64(), Some(*x), "trial {number}");
        }
        assert_eq!(
            trial["values"]["value"].as_f64(),
            Some(*value),
            "trial {number}"
        );
    }
    let best = expected
        .iter()
        .map(|(_, v)| *v)
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(&b.1));
    assert_eq!(
        status["best_trial_number"].as_u64(),
        best.map(|(n, _)| n as u64)
    );
    cluster.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_every_trial_is_recorded_once() {
    let mut cluster = Cluster::start("kills", 3).await;
    let (n_trials, seed) = (2_500, 11);
    let id = cluster.submit(&sleeping(n_trials, 0.01, seed)).await;
    cluster.progress(&id, 50).await;
    cluster.replace_worker();
    cluster.progress(&id, 50).await;
    cluster.kill_api();
    cluster.replace_worker();
    cluster.start_api().await;
    cluster.progress(&id, 50).await;
    cluster.services(&["kill", "rabbitmq"]);
    cluster.services(&["start", "rabbitmq"]);
    cluster.progress(&id, 50).await;
    cluster.services(&["kill", "pg"]);
    cluster.services(&["start", "pg"]);
    cluster.progress(&id, 50).await;
    let queue = "/api/queues/%2F/trialmill.work.default.v1";
    cluster.management(Method::DELETE, queue, json!({})).await;
    cluster.progress(&id, 50).await;
    cluster.replace_worker();
    assert_exact(&mut cluster, &id, n_trials, seed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_accepted_without_the_broker_and_refused_without_the_database() {
    let mut cluster = Cluster::start("outage", 2).await;
    let (n_trials, seed) = (600, 12);
    cluster.services(&["kill", "rabbitmq"]);
    let id = cluster.submit(&sleeping(n_trials, 0.01, seed)).await;
    cluster.services(&["wipe", "rabbitmq"]);
    cluster.progress(&id, 20).await;
    cluster.services(&["kill", "pg"]);
    let (status, retry, problem) = cluster
        .post("/api/v1/optimization/tasks", &sleeping(1, 0.0, 1))
        .await;
    assert_eq!(status, 503, "{problem:#}");
    assert!(retry.is_some(), "503 says when to try again");
    cluster.services(&["start", "pg"]);
    cluster.progress(&id, 20).await;
    // The broker comes back with an empty disk in mid-run.
    cluster.services(&["wipe", "rabbitmq"]);
    assert_exact(&mut cluster, &id, n_trials, seed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_that_wakes_after_its_lease_writes_nothing() {
    use rustix::process::Signal;
    let mut cluster = Cluster::start("zombie", 2).await;
    let (n_trials, seed) = (2_000, 13);
    let id = cluster.submit(&sleeping(n_trials, 0.01, seed)).await;
    cluster.progress(&id, 50).await;
    cluster.signal_worker(0, Signal::STOP);
    // A stopped worker gives nothing back: once it holds no unit, they were taken from it.
    cluster
        .wait(
            "its units are taken from the stopped worker",
            async |cluster| {
                let (_, workers) = cluster.get("/api/v1/workers").await;
                let workers = workers["items"].as_array().expect("items");
                let taken = |w: &&Value| w["live"] == false && w["leased_units"] == 0;
                workers.iter().filter(taken).count() == 1
            },
        )
        .await;
    let status = cluster.status(&id).await;
    assert_eq!(
        status["status"], "running",
        "it wakes in the middle of the work"
    );
    cluster.signal_worker(0, Signal::CONT);
    assert_exact(&mut cluster, &id, n_trials, seed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_delivered_twice_and_for_units_long_done_change_nothing() {
    let mut cluster = Cluster::start("duplicates", 3).await;
    let (n_trials, seed) = (600, 14);
    let id = cluster.submit(&sleeping(n_trials, 0.01, seed)).await;
    for round in 0..4 {
        cluster.progress(&id, 20).await;
        for unit in 0..12 {
            cluster.publish_unit(&id, unit + round).await;
        }
    }
    assert_exact(&mut cluster, &id, n_trials, seed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_end_hands_its_units_back_uncharged() {
    use rustix::process::Signal;
    let mut cluster = Cluster::start("drain", 2).await;
    let (n_trials, seed) = (600, 15);
    let id = cluster.submit(&sleeping(n_trials, 0.01, seed)).await;
    for _ in 0..2 {
        cluster.progress(&id, 50).await;
        cluster.start_worker();
        cluster.signal_worker(0, Signal::TERM);
        assert_eq!(cluster.worker_exit(0).await, Some(0));
    }
    let (_, explained) = cluster
        .get(&format!("/api/v1/optimization/tasks/{id}/explain"))
        .await;
    assert_eq!(
        explained["units"]["crashes"], 0,
        "nothing is charged: {explained:#}"
    );
    assert_exact(&mut cluster, &id, n_trials, seed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_unit_is_acknowledged_early_and_its_slot_consumes_again_afterwards() {
    let mut cluster = Cluster::start("early", 0).await;
    cluster.set("TRIALMILL_ACK_EARLY_SECONDS", "1");
    cluster.start_worker();
    let (n_trials, seed) = (300, 16);
    let mut request = sleeping(n_trials, 0.02, seed);
    request["parallelism"] = json!(1);
    let consumers = async |cluster: &Cluster| {
        let (_, queues) = cluster.get("/api/v1/queues").await;
        queues["items"][0]["consumers"].as_u64()
    };
    cluster
        .wait("both slots consume", async |c| {
            consumers(c).await == Some(2)
        })
        .await;
    let id = cluster.submit(&request).await;
    // The message is gone, the work goes on: no acknowledgement timeout can touch it.
    cluster
        .wait("the busy slot has left", async |c| {
            consumers(c).await == Some(1)
        })
        .await;
    assert_eq!(cluster.status(&id).await["status"], "running");
    cluster
        .wait("it consumes again", async |c| consumers(c).await == Some(2))
        .await;
    assert_exact(&mut cluster, &id, n_trials, seed).await;
}

/// The days of the searches on real bars.
const FIRST_DAY: &str = "2010-01-04";
const LAST_DAY: &str = "2019-12-31";

/// The file of real bars, and some of its series that cover the days, with a year before them; none
/// where the file is not.
fn real_series(count: usize) -> Option<(String, Vec<Arc<BarSeries>>)> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/data/ashare_daily_all.parquet"
    );
    if !std::path::Path::new(file).exists() {
        eprintln!("skipped: the real bars are not here (../shared/data)");
        return None;
    }
    let day = |text: &str| midnight(text.parse().unwrap());
    let imported = trialmill_ingest::read_file(std::path::Path::new(file)).unwrap();
    let series: Vec<_> = imported
        .series
        .into_iter()
        .filter(|s| !["000001.SH", "000300.SH", "000016.SH"].contains(&s.symbol()))
        .filter(|s| s.first_time() <= day("2009-01-05") && s.last_time() >= day(LAST_DAY))
        .take(count)
        .map(Arc::new)
        .collect();
    assert_eq!(series.len(), count);
    Some((file.to_owned(), series))
}

/// Three workers on real bars: 50 series and ten years, run again by hand at the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_on_real_bars_gives_what_its_best_parameters_give_again() {
    use chrono::NaiveDate;
    use trialmill_backtest::{engine, metrics, strategy};

    let Some((file, series)) = real_series(50) else {
        return;
    };
    let (first, last) = (FIRST_DAY, LAST_DAY);
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    let codes: Vec<&str> = series.iter().map(|s| s.symbol()).collect();
    assert_eq!(codes.len(), 50);

    let mut cluster = Cluster::start("bars", 3).await;
    let stored = cluster.cli(&["data", "import", &file]);
    assert!(
        stored.status.success(),
        "{}",
        String::from_utf8_lossy(&stored.stderr)
    );
    let request = json!({
        "task_name": "real bars", "strategy_name": "moving_average", "stock_codes": codes,
        "start_date": first, "end_date": last,
        "param_space": {
            "short_window": {"type": "int", "low": 5, "high": 50},
            "long_window": {"type": "int", "low": 20, "high": 200},
        },
        "objective_config": {"objective_metric": "sharpe_ratio"},
        "optimization_method": "random", "n_trials": 1000, "seed": 7,
        "backtest_config": {"market": "plain"},
    });
    let path = cluster.file("task.json", &request.to_string());
    let watched = cluster.cli(&["submit", &path, "--watch", "--json"]);
    let error = String::from_utf8_lossy(&watched.stderr);
    assert!(watched.status.success(), "{error}");

    let (_, page) = cluster.get("/api/v1/optimization/tasks").await;
    let id = page["items"][0]["task_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let status = cluster.ended(&id).await;
    assert_eq!(status["completed_trials"], 1000, "{status:#}");
    assert_eq!(status["stop_reason"], "n_trials");
    let best = status["best_params"].as_object().expect("parameters");
    let mut params = strategy::Params::new();
    for (name, value) in best {
        params = params.with(name, value.as_i64().expect("integers"));
    }
    let data = engine::Dataset::new(series, day(first), day(last)).unwrap();
    let rule = strategy::find("moving_average").expect("built in");
    let config = engine::BacktestConfig::default();
    let report = engine::run(&data, rule, &params, &config, &|| false).unwrap();
    let number = status["best_trial_number"].as_u64().expect("a number");
    let (_, trial) = cluster
        .get(&format!("/api/v1/optimization/tasks/{id}/trials/{number}"))
        .await;
    for (metric, value) in metrics::evaluate_all(&report) {
        let recorded = &trial["metrics"][metric.name()];
        match value {
            Ok(value) => assert_eq!(recorded.as_f64(), Some(value), "{}", metric.name()),
            Err(_) => assert!(
                recorded["reason"].is_string(),
                "{}: {recorded}",
                metric.name()
            ),
        }
    }
    assert_eq!(trial["metrics"]["sharpe_ratio"], status["best_score"]);
    cluster.verify();
}

/// What each misbehaving function's trials fail with, where its `x` is at least 8.
#[cfg(feature = "misbehave")]
const MISBEHAVING: [(&str, &str); 6] = [
    ("panic", "panic"),
    ("nan", "non_finite_value"),
    ("endless", "trial_timeout"),
    ("stuck", "trial_timeout"),
    ("abort", "worker_crashed"),
    ("memory", "worker_crashed"),
];

#[cfg(feature = "misbehave")]
#[tokio::test(flavor = "multi_thread")]
async fn each_bad_trial_fails_alone_with_its_reason_even_when_it_takes_its_worker_down() {
    let mut cluster = Cluster::start("misbehave", 0).await;
    cluster.set("TRIALMILL_MEMORY_MB", "1500");
    cluster.set("TRIALMILL_TRIAL_MEMORY_MB", "400");
    for _ in 0..2 {
        cluster.start_worker();
    }
    let fixed = |value: f64| json!({"type": "float", "low": 0.0, "high": 10.0, "default": value, "enabled": false});
    let mut tasks = Vec::new();
    for (function, kind) in MISBEHAVING {
        let id = cluster
            .submit(&json!({
                "task_name": function, "strategy_name": function, "stock_codes": [],
                "start_date": "2023-01-01", "end_date": "2023-12-31",
                "param_space": {"x": {"type": "int", "low": 0, "high": 9}, "trigger": fixed(9.0)},
                "objective_config": {"objective_metric": "value"},
                "optimization_method": "grid", "n_trials": 10, "trial_timeout": 1.0, "seed": 5,
            }))
            .await;
        tasks.push((function, kind, id));
    }
    for (function, kind, id) in tasks {
        let status = cluster.ended(&id).await;
        assert_eq!(status["status"], "completed", "{function}: {status:#}");
        assert_eq!(status["failed_trials"], 1, "{function}: {status:#}");
        for trial in cluster.trials(&id).await {
            let x = trial["params"]["x"].as_i64().expect("an integer");
            if x == 9 {
                assert_eq!(trial["failure"]["kind"], kind, "{function}: {trial:#}");
                for field in ["message", "hint", "worker"] {
                    let text = trial["failure"][field].as_str().expect("a text");
                    assert!(!text.is_empty(), "{function} has a {field}: {trial:#}");
                }
            } else {
                assert_eq!(trial["state"], "completed", "{function}: {trial:#}");
            }
        }
    }
    cluster.verify();
}
