//! A book for each symbol, through API, RabbitMQ, PostgreSQL and a real worker.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use trialmill_chaos::cluster::Cluster;

const CODES: [&str; 4] = ["SYN01.SZ", "000001.SZ", "SYN03.SZ", "SYN02.SZ"];

fn request() -> Value {
    json!({
        "task_name": "a book each", "strategy_name": "moving_average", "stock_codes": CODES,
        "start_date": "2015-01-01", "end_date": "2022-12-31",
        "scope": "per_symbol", "aggregate": "median",
        "param_space": {
            "short_window": {"type": "int", "low": 2, "high": 20, "default": 5},
            "long_window": {"type": "int", "low": 21, "high": 80, "default": 30},
            "signal_threshold": {"type": "float", "low": 0.0, "high": 0.01, "default": 0.0,
                "enabled": false},
        },
        "objective_config": {"objective_metric": "sharpe_ratio"},
        "optimization_method": "random", "n_trials": 40, "seed": 7,
        "backtest_config": {"market": "plain"},
    })
}

/// Posts a backtest.
async fn backtest(cluster: &Cluster, request: &Value) -> String {
    let (code, _, accepted) = cluster.post("/api/v1/tasks", request).await;
    assert_eq!(code, 201, "{accepted:#}");
    accepted["task_id"].as_str().expect("an id").to_owned()
}

/// The document of a backtest that has ended.
async fn document(cluster: &mut Cluster, id: &str) -> Value {
    let path = format!("/api/v1/tasks/{id}");
    cluster
        .wait("the backtest ends", async |cluster| {
            cluster.get(&path).await.1["status"] == "completed"
        })
        .await;
    cluster.get(&path).await.1["result"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_with_a_book_for_each_symbol_completes_and_its_best_trial_is_repeatable() {
    let mut cluster = Cluster::start("panel", 1).await;
    let made = cluster.cli(&["data", "generate"]);
    let told = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{told}");
    let (code, _, accepted) = cluster.post("/api/v1/optimization/tasks", &request()).await;
    assert_eq!(code, 201, "{accepted:#}");
    assert_eq!(accepted["resolved"]["scope"], "per_symbol", "{accepted:#}");
    assert_eq!(accepted["resolved"]["aggregate"], "median", "{accepted:#}");
    let id = accepted["task_id"].as_str().expect("an id").to_owned();
    let status = cluster.ended(&id).await;
    assert_eq!(status["completed_trials"], 40, "{status:#}");
    let best = status["best_trial_number"].as_u64().expect("a best trial");
    let (_, task) = cluster.get(&format!("/api/v1/tasks/{id}")).await;
    let of_best = &task["result"]["best"]["metrics"];
    assert!(of_best.get("per_symbol").is_none(), "{of_best:#}");
    // The defaults are judged in the same way.
    let of_defaults = &task["result"]["baselines"]["default_params"];
    assert_eq!(of_defaults["trial_number"], 0, "{task:#}");

    let replay = cluster.cli(&["replay", &id, &best.to_string(), "--json"]);
    let told = String::from_utf8_lossy(&replay.stderr);
    assert!(replay.status.success(), "{told}");
    let replayed: Value = serde_json::from_slice(&replay.stdout).expect("one document");
    let result = &replayed["result"];
    assert_eq!(result["replay"]["identical"], true, "{result:#}");
    assert_eq!(&result["metrics"], of_best);
    let each = result["per_symbol"].as_array().expect("a list");
    let symbols: Vec<&str> = each.iter().filter_map(|e| e["symbol"].as_str()).collect();
    let ascending: Vec<&str> = BTreeSet::from(CODES).into_iter().collect();
    assert_eq!(symbols, ascending);
    let sharpe = |metrics: &Value| metrics["sharpe_ratio"].as_f64().expect("it traded");
    let mut sharpes: Vec<f64> = each.iter().map(|e| sharpe(&e["metrics"])).collect();
    sharpes.sort_by(f64::total_cmp);
    assert_eq!(sharpe(of_best), (sharpes[1] + sharpes[2]) / 2.0);

    // A backtest of its own, over all of them and over one alone.
    let mut one = json!({
        "task_type": "backtest", "task_name": "the best one", "strategy_name": "moving_average",
        "start_date": "2015-01-01", "end_date": "2022-12-31", "stock_codes": CODES,
        "strategy_config": task["result"]["best"]["params"],
        "scope": "per_symbol", "aggregate": "median", "backtest_config": {"market": "plain"},
    });
    let id = backtest(&cluster, &one).await;
    let all = document(&mut cluster, &id).await;
    assert_eq!(&all["metrics"], of_best);
    assert_eq!(all["per_symbol"], result["per_symbol"]);
    let fields = one.as_object_mut().expect("an object");
    fields.remove("scope");
    fields.remove("aggregate");
    fields.insert("stock_codes".to_owned(), json!([symbols[0]]));
    let id = backtest(&cluster, &one).await;
    let alone = document(&mut cluster, &id).await;
    assert_eq!(alone["metrics"], each[0]["metrics"]);
    assert!(alone["equity"].is_array(), "{alone:#}");
    cluster.verify();
}
