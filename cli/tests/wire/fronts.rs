//! Searches with several objectives, through API, RabbitMQ, PostgreSQL and workers that are killed.
//! The oracles: the function itself, and each listed trial compared with each.

use crate::{DIMENSIONS, sleeping};
use serde_json::{Value, json};
use trialmill_chaos::client::TASKS;
use trialmill_chaos::cluster::Cluster;

const METRICS: [&str; 2] = ["f1", "f2"];

fn values(trial: &Value) -> [f64; 2] {
    METRICS.map(|metric| trial["values"][metric].as_f64().expect("a value"))
}

/// The trials that no other one dominates, by number.
fn front(trials: &[Value]) -> Vec<&Value> {
    let dominated = |own: [f64; 2]| {
        trials.iter().map(values).any(|other| {
            other[0] <= own[0] && other[1] <= own[1] && (other[0] < own[0] || other[1] < own[1])
        })
    };
    trials
        .iter()
        .filter(|trial| !dominated(values(trial)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_is_that_of_the_recorded_trials_whatever_is_killed() {
    let mut cluster = Cluster::start("fronts", 2).await;
    let mut request = sleeping(400, 0.01, 31);
    request["strategy_name"] = json!("schaffer");
    request["objective_config"] = json!({"objective_metric": METRICS});
    request["optimization_method"] = json!("motpe");
    let id = cluster.submit(&request).await;
    cluster.progress(&id, 50).await;
    cluster.replace_worker();
    cluster.progress(&id, 50).await;
    let (code, running) = cluster.get(&format!("{TASKS}/{id}/pareto-front")).await;
    assert_eq!(code, 200, "{running:#}");
    assert!(running["size"].as_u64() > Some(0), "{running:#}");
    cluster.replace_worker();
    let status = cluster.ended(&id).await;
    assert_eq!(status["stop_reason"], "n_trials", "{status:#}");
    assert_eq!(status["best_score"], Value::Null);

    let trials = cluster.trials(&id).await;
    assert_eq!(trials.len(), 400);
    for trial in &trials {
        let x = DIMENSIONS.map(|name| trial["params"][name].as_f64().expect("a float"));
        let sum = |from: f64| x.iter().map(|x| (x - from) * (x - from)).sum::<f64>();
        assert_eq!(values(trial), [sum(0.0), sum(2.0)], "{trial:#}");
    }
    let mut expected = front(&trials);
    expected.sort_by(|a, b| values(a)[0].total_cmp(&values(b)[0]));
    let (_, told) = cluster.get(&format!("{TASKS}/{id}/pareto-front")).await;
    let items = told["items"].as_array().expect("a list");
    let numbers: Vec<_> = items.iter().map(|item| &item["trial_number"]).collect();
    assert_eq!(
        numbers,
        expected.iter().map(|t| &t["number"]).collect::<Vec<_>>()
    );
    assert_eq!(told["selected"], expected[0]["number"]);
    assert_eq!(status["best_values"], expected[0]["values"]);
    let near = |trial: &&&Value| {
        DIMENSIONS.iter().all(|name| {
            let x = trial["params"][name].as_f64().expect("a float");
            (-1.0..=3.0).contains(&x)
        })
    };
    // The front lies between the two minima, where 400 trials of TPE come near to it.
    let share = expected.iter().filter(near).count() as f64 / expected.len() as f64;
    assert!(
        share > 0.8 && expected.len() > 10,
        "{share} of {}",
        expected.len()
    );

    let shown = cluster.cli(&["show", &id]);
    let said = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line = format!(
        "front     {} trials that no other one dominates",
        expected.len()
    );
    assert!(said.contains(&line), "{said}");
    assert!(
        said.contains(&format!("selected  #{}", told["selected"])),
        "{said}"
    );
    let best = cluster.cli(&["best", &id]);
    let said = String::from_utf8_lossy(&best.stdout).into_owned();
    assert!(
        said.contains(&format!("one of the front of {}", expected.len())),
        "{said}"
    );
    cluster.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_picks_from_the_front_of_a_search_on_bars() {
    let mut cluster = Cluster::start("selected", 0).await;
    cluster.set("TRIALMILL_LUCK_SECONDS", "0");
    cluster.start_worker();
    let made = cluster.cli(&["data", "generate"]);
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let request = json!({
        "task_name": "a front on bars", "strategy_name": "moving_average",
        "stock_codes": ["SYN01.SZ", "SYN02.SZ"],
        "start_date": "2015-01-01", "end_date": "2022-12-31",
        "param_space": {
            "short_window": {"type": "int", "low": 2, "high": 20},
            "long_window": {"type": "int", "low": 21, "high": 80},
        },
        "objective_config": {"objective_metric": ["sharpe", "max_drawdown"]},
        "optimization_method": "nsga2", "parallelism": 1, "n_trials": 60, "seed": 7,
        "validation": {"method": "holdout", "length": "12mo",
            "selection": {"metric": "calmar", "subject_to": ["n_trades >= 5"]}},
        "backtest_config": {"market": "plain"},
    });
    let id = cluster.submit(&request).await;
    let status = cluster.ended(&id).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    let trials = cluster.trials(&id).await;
    let metric = |trial: &Value, name: &str| trial["metrics"][name].as_f64();
    let kept: Vec<&Value> = trials
        .iter()
        .filter(|trial| trial["infeasible"].is_null() && metric(trial, "n_trades") >= Some(5.0))
        .filter(|trial| metric(trial, "calmar_ratio").is_some())
        .collect();
    let costs = |trial: &Value| {
        let value = |name: &str| trial["values"][name].as_f64().expect("a value");
        [-value("sharpe_ratio"), value("max_drawdown")]
    };
    let is_free = |trial: &&&Value| {
        let own = costs(trial);
        !kept.iter().map(|other| costs(other)).any(|other| {
            other[0] <= own[0] && other[1] <= own[1] && (other[0] < own[0] || other[1] < own[1])
        })
    };
    // The first of equals: numbers ascend.
    let picked = kept.iter().filter(is_free).reduce(|best, next| {
        if metric(next, "calmar_ratio") > metric(best, "calmar_ratio") {
            next
        } else {
            best
        }
    });
    let picked = picked.expect("a trial with five trades");
    let (_, task) = cluster.get(&format!("{TASKS}/{id}")).await;
    let result = &task["result"];
    assert_eq!(
        result["best"]["trial_number"], picked["number"],
        "{result:#}"
    );
    assert_eq!(status["best_values"], picked["values"]);
    assert_eq!(status["best_params"], Value::Null);
    let (_, front) = cluster.get(&format!("{TASKS}/{id}/pareto-front")).await;
    assert_eq!(front["selected"], picked["number"]);
    assert_eq!(result["pareto_front"], front["items"]);
    assert!(result["holdout"]["sharpe_ratio"].is_number(), "{result:#}");
    let pbo = result["trust"]["pbo"]["reason"].as_str().expect("none");
    assert!(pbo.contains("calmar_ratio decides"), "{pbo}");
    assert!(
        result["trust"]["deflated_sharpe"]["value"].is_number(),
        "{result:#}"
    );
    let shares = result["param_importance"]["max_drawdown"].as_object();
    assert_eq!(shares.map(|shares| shares.len()), Some(2), "{result:#}");
    cluster.verify();
}
