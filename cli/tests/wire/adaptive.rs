//! Searches that look at their own results, through API, RabbitMQ, PostgreSQL and workers that are
//! killed. With `parallelism: 1` the oracle is the sampler itself: asked for each trial with the
//! earlier ones as its history, it must give the recorded parameters.

use crate::{DIMENSIONS, FIRST_DAY, LAST_DAY, real_series, sleeping};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use trialmill_chaos::cluster::Cluster;
use trialmill_search::{Choice, Domain, FinishedTrial, History, Method, Space, Study, TrialEnd};

/// Parameters and values of all trials, by number.
async fn results(cluster: &Cluster, id: &str) -> Vec<(Value, Value)> {
    let trials = cluster.trials(id).await.into_iter().zip(0..);
    trials
        .map(|(mut trial, number)| {
            assert_eq!(trial["number"], number, "dense and in order");
            assert_eq!(trial["state"], "completed", "{trial:#}");
            (trial["params"].take(), trial["values"].take())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_tpe_search_is_the_same_whatever_is_killed() {
    let mut cluster = Cluster::start("tpe", 2).await;
    let (n_trials, seed) = (400, 21);
    let mut request = sleeping(n_trials, 0.01, seed);
    request["optimization_method"] = json!("tpe");
    request["parallelism"] = json!(1);
    let id = cluster.submit(&request).await;
    for _ in 0..3 {
        cluster.progress(&id, 30).await;
        cluster.replace_worker();
        cluster.replace_worker();
    }
    cluster.services(&["kill", "pg"]);
    cluster.services(&["start", "pg"]);
    cluster.progress(&id, 30).await;
    cluster.replace_worker();
    let status = cluster.ended(&id).await;
    assert_eq!(status["stop_reason"], "n_trials", "{status:#}");
    let domain = Domain::Float {
        low: -5.0,
        high: 5.0,
        step: None,
        log: false,
    };
    let space = Space::new(DIMENSIONS.map(|name| (name.to_owned(), domain.clone()))).unwrap();
    let study = Study::new(space, Method::Tpe, seed).unwrap();
    let mut finished: Vec<FinishedTrial> = Vec::new();
    for (number, (params, values)) in (0..).zip(results(&cluster, &id).await) {
        let history = History {
            finished: &finished,
            running: &[],
        };
        let point = study.ask(&history, number).unwrap();
        let named: BTreeMap<&str, Choice> = study.space().named(&point).collect();
        let mut value = 0.0;
        for (name, choice) in named {
            let Choice::Float(x) = choice else {
                panic!("{name} is {choice:?}");
            };
            assert_eq!(params[name].as_f64(), Some(x), "{name} of trial {number}");
            value += x * x;
        }
        assert_eq!(values["value"].as_f64(), Some(value), "trial {number}");
        let end = TrialEnd::completed(vec![value]);
        finished.push(FinishedTrial { number, point, end });
    }
    assert_eq!(finished.len(), n_trials as usize);
    cluster.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parallel_tpe_search_records_every_trial_once_whatever_is_killed() {
    let mut cluster = Cluster::start("tpe-parallel", 3).await;
    let (n_trials, seed) = (1_500, 22);
    let mut request = sleeping(n_trials, 0.005, seed);
    request["optimization_method"] = json!("tpe");
    let id = cluster.submit(&request).await;
    for _ in 0..3 {
        cluster.progress(&id, 40).await;
        cluster.replace_worker();
    }
    let status = cluster.ended(&id).await;
    assert_eq!(status["stop_reason"], "n_trials", "{status:#}");
    assert_eq!(status["failed_trials"], 0, "{status:#}");
    assert_eq!(results(&cluster, &id).await.len(), n_trials as usize);
    let best = status["best_score"].as_f64().expect("a value");
    assert!(best < 0.05, "it finds the minimum at 0: {best}");
    cluster.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_tpe_search_on_real_bars_is_the_same_with_workers_killed() {
    let Some((file, series)) = real_series(50) else {
        return;
    };
    let codes: Vec<&str> = series.iter().map(|s| s.symbol()).collect();
    let mut cluster = Cluster::start("tpe-bars", 2).await;
    let stored = cluster.cli(&["data", "import", &file]);
    assert!(
        stored.status.success(),
        "{}",
        String::from_utf8_lossy(&stored.stderr)
    );
    let request = json!({
        "task_name": "real bars, in order", "strategy_name": "moving_average",
        "stock_codes": codes, "start_date": FIRST_DAY, "end_date": LAST_DAY,
        "param_space": {
            "short_window": {"type": "int", "low": 5, "high": 50},
            "long_window": {"type": "int", "low": 20, "high": 200},
        },
        "objective_config": {"objective_metric": "sharpe_ratio"},
        "result_constraints": ["max_drawdown <= 0.5"],
        "optimization_method": "tpe", "parallelism": 1, "n_trials": 1_000, "seed": 7,
    });
    let undisturbed = cluster.submit(&request).await;
    let status = cluster.ended(&undisturbed).await;
    assert_eq!(status["stop_reason"], "n_trials", "{status:#}");
    let disturbed = cluster.submit(&request).await;
    for _ in 0..2 {
        cluster.progress(&disturbed, 100).await;
        cluster.replace_worker();
        cluster.replace_worker();
    }
    let status = cluster.ended(&disturbed).await;
    assert_eq!(status["stop_reason"], "n_trials", "{status:#}");
    let expected = results(&cluster, &undisturbed).await;
    let found = results(&cluster, &disturbed).await;
    assert_eq!(expected.len(), 1_000);
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "trial {number}");
    }
    cluster.verify();
}
