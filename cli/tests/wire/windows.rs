//! Walk-forwards with a held-out stretch, through API, RabbitMQ, PostgreSQL and workers that are
//! killed. Their bars are random walks, invented and imported as a user would.
//!
//! The oracles: an undisturbed search of the same request, the listed trials for who is picked, and
//! backtests of the picks for what judged them.

use chrono::NaiveDate;
use serde_json::{Value, json};
use trialmill_backtest::synthetic::{GroupKind, group};
use trialmill_chaos::assessed::csv;
use trialmill_chaos::client::TASKS;
use trialmill_chaos::cluster::Cluster;

const CODES: [&str; 2] = ["000001.SZ", "SYN01.SZ"];
/// Two years to train on, one to test, and the last of seven years held out.
const WINDOWS: usize = 5;
/// Walks in which the best of each window is worth little afterwards, so that a luck test is over
/// after some forty shuffled markets.
const WALKS: u64 = 9;

/// Stores the random walks of a seed, over those that are there.
fn import(cluster: &Cluster, seed: u64) {
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    let (first, last) = (day("2014-01-01"), day("2021-12-31"));
    let walks = group(GroupKind::RandomWalk, seed, CODES.len(), first, last).unwrap();
    let path = cluster.file("walks.csv", &csv(&walks));
    let stored = cluster.cli(&["data", "import", &path]);
    let told = String::from_utf8_lossy(&stored.stderr);
    assert!(stored.status.success(), "{told}");
}

/// A cluster with bars and two workers that may take so many seconds for a luck test.
async fn cluster(name: &str, luck_seconds: &str) -> Cluster {
    let mut cluster = Cluster::start(name, 0).await;
    cluster.set("TRIALMILL_LUCK_SECONDS", luck_seconds);
    for _ in 0..2 {
        cluster.start_worker();
    }
    import(&cluster, WALKS);
    cluster
}

/// Its sampler knows no history, so that its trials are the same whoever runs them, and when.
fn request(n_trials: usize, subject_to: &[String]) -> Value {
    json!({
        "task_name": "windows", "strategy_name": "moving_average", "stock_codes": CODES,
        "start_date": "2015-01-01", "end_date": "2021-12-31",
        "param_space": {
            "short_window": {"type": "int", "low": 2, "high": 20},
            "long_window": {"type": "int", "low": 21, "high": 80},
            "signal_threshold": {"type": "float", "low": 0.0, "high": 0.01, "default": 0.0,
                "enabled": false},
        },
        "objective_config": {"objective_metric": "sharpe_ratio"},
        "validation": {
            "method": "walk_forward", "train": "24mo", "test": "12mo", "embargo": "5d",
            "holdout": "12mo",
            "selection": {"metric": "sharpe_ratio", "subject_to": subject_to},
        },
        "optimization_method": "random", "n_trials": n_trials, "seed": 5,
        "backtest_config": {"market": "plain"},
    })
}

/// The task with its result, once it has completed.
async fn completed(cluster: &mut Cluster, id: &str) -> Value {
    let status = cluster.ended(id).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    assert_eq!(status["failed_trials"], 0, "{status:#}");
    cluster.get(&format!("{TASKS}/{id}")).await.1
}

fn number(figure: &Value) -> f64 {
    figure
        .as_f64()
        .unwrap_or_else(|| panic!("{figure} is no number"))
}

fn windows(task: &Value) -> &[Value] {
    task["result"]["windows"].as_array().expect("a list")
}

/// The numbers of the picks, in a task whose every window has one.
fn picks(task: &Value) -> Vec<usize> {
    let number = |window: &Value| window["trial_number"].as_u64().expect("a pick");
    let numbers = windows(task).iter().map(number);
    numbers.map(|n| usize::try_from(n).unwrap()).collect()
}

/// Of the listed trials of a window the one to pick: the best, and the first of equals.
fn best_of(trials: &[Value], window: usize, keeps: impl Fn(&Value) -> bool) -> Option<&Value> {
    let sharpe = |trial: &Value| trial["metrics"]["sharpe_ratio"].as_f64();
    trials
        .iter()
        .filter(|trial| trial["window"] == window && trial["infeasible"].is_null())
        .filter(|trial| sharpe(trial).is_some() && keeps(trial))
        .reduce(|best, next| {
            if sharpe(next) > sharpe(best) {
                next
            } else {
                best
            }
        })
}

/// The same trials to the last digit, whoever ran them.
fn assert_same_trials(found: &[Value], expected: &[Value]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        for field in ["number", "window", "params", "values", "metrics"] {
            let (found, expected) = (&found[field], &expected[field]);
            assert_eq!(found.to_string(), expected.to_string(), "{field}");
        }
    }
}

/// Every window has its days, its share of the trials, and the best of them as its pick.
fn assert_windows(task: &Value, trials: &[Value]) {
    let each = trials.len() / WINDOWS;
    for (number, trial) in trials.iter().enumerate() {
        assert_eq!(trial["number"], number, "dense and in order");
        assert_eq!(trial["window"], number / each, "{trial:#}");
        assert_eq!(trial["state"], "completed", "{trial:#}");
    }
    assert_eq!(windows(task).len(), WINDOWS);
    for (index, window) in windows(task).iter().enumerate() {
        let (from, judged) = (2015 + index, 2017 + index);
        let train = json!([format!("{from}-01-01"), format!("{}-12-31", from + 1)]);
        let test = match index + 1 {
            WINDOWS => Value::Null,
            _ => json!([format!("{judged}-01-01"), format!("{judged}-12-31")]),
        };
        assert_eq!(window["index"], index);
        assert_eq!(
            (&window["train"], &window["test"]),
            (&train, &test),
            "{index}"
        );
        let pick = best_of(trials, index, |_| true).expect("some trial trades");
        assert_eq!(window["trial_number"], pick["number"], "{window:#}");
        assert_eq!(window["params"], pick["params"], "{window:#}");
        let sharpe = &window["in_sample"]["sharpe_ratio"];
        assert_eq!(sharpe, &pick["metrics"]["sharpe_ratio"], "{window:#}");
    }
}

/// The figures beside the windows are of these windows, and each is there or says why not.
fn assert_figures(task: &Value, n_trials: usize, prior_trials: usize, earlier_looks: u32) {
    let result = &task["result"];
    let last = picks(task)[WINDOWS - 1];
    let best = &result["best"];
    assert_eq!(best["trial_number"], last, "the newest window is deployed");
    assert_eq!(best["window"], WINDOWS - 1);
    assert_eq!(task["best_trial_number"], last);

    let joined = &result["out_of_sample"];
    let days = json!([joined["from"], joined["to"]]);
    assert_eq!(days, json!(["2017-01-01", "2020-12-31"]));
    assert_eq!(result["baselines"]["period"], days);
    assert!(joined["sharpe_ratio"].is_number(), "{joined:#}");
    let interval = &joined["sharpe_ci95"];
    assert!(number(&interval[0]) < number(&interval[1]), "{joined:#}");
    let tested = &windows(task)[..WINDOWS - 1];
    let in_sample = tested
        .iter()
        .map(|w| number(&w["in_sample"]["sharpe_ratio"]));
    let mean = in_sample.sum::<f64>() / tested.len() as f64;
    assert_eq!(number(&joined["in_sample_mean_sharpe"]), mean);

    let held = &result["holdout"];
    let days = json!([held["from"], held["to"]]);
    assert_eq!(days, json!(["2021-01-01", "2021-12-31"]));
    assert!(held["sharpe_ratio"].is_number(), "{held:#}");
    assert_eq!(held["earlier_looks"], earlier_looks, "{held:#}");

    let trust = &result["trust"];
    for name in ["deflated_sharpe", "pbo", "luck", "neighbourhood"] {
        let (says, reason) = (&trust[name]["says"], &trust[name]["reason"]);
        let told = says.as_str().or(reason.as_str()).unwrap_or_default();
        assert!(!told.is_empty(), "{name}: {trust:#}");
    }
    let deflated = &trust["deflated_sharpe"];
    assert_eq!(deflated["n_trials"], n_trials, "{deflated:#}");
    assert_eq!(deflated["prior_trials"], prior_trials, "{deflated:#}");
    let used = trust["pbo"]["trials_used"].as_u64().expect("a count");
    assert!((20..=n_trials / WINDOWS).contains(&usize::try_from(used).unwrap()));
    assert!(trust["pbo"]["caution"].is_null(), "it follows no finds");
    // In random walks there is nothing to find, and shuffled ones give as much.
    let verdict = &result["verdict"];
    assert!(number(&trust["luck"]["p_value"]) >= 0.25, "{trust:#}");
    assert_eq!(verdict["code"], "luck", "{verdict:#}");
    let text = verdict["text"].as_str().expect("a sentence");
    assert!(text.ends_with("Do not trade it."), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_forward_whose_workers_die_in_trials_and_assessment_ends_as_an_undisturbed_one() {
    let mut cluster = cluster("windows", "600").await;
    let n_trials = 2_500;
    let request = request(n_trials, &[]);
    let id = cluster.submit(&request).await;
    cluster.progress(&id, 100).await;
    cluster.replace_worker();
    let mut seen = 0.0;
    cluster
        .wait("some shuffled markets are searched", async |cluster| {
            let status = cluster.status(&id).await;
            assert_eq!(status["status"], "running", "{status:#}");
            seen = number(&status["progress"]);
            status["phase"] == "assessing" && seen >= 0.05
        })
        .await;
    // One of the two holds the assessment.
    cluster.replace_worker();
    cluster.replace_worker();
    let mut lowest = f64::INFINITY;
    cluster
        .wait("another worker ends the assessment", async |cluster| {
            let status = cluster.status(&id).await;
            if status["phase"] == "assessing" {
                lowest = lowest.min(number(&status["progress"]));
            }
            status["status"] != "running"
        })
        .await;
    assert!(
        (seen..1.0).contains(&lowest),
        "what was done is not lost: {seen} was done, then {lowest}"
    );
    let task = completed(&mut cluster, &id).await;
    let trials = cluster.trials(&id).await;
    assert_eq!(trials.len(), n_trials);
    assert_windows(&task, &trials);
    assert_figures(&task, n_trials, 0, 0);

    // The same once more, undisturbed: only what it says of the task before it differs.
    let undisturbed = cluster.submit(&request).await;
    let again = completed(&mut cluster, &undisturbed).await;
    assert_same_trials(&cluster.trials(&undisturbed).await, &trials);
    assert_figures(&again, n_trials, n_trials, 1);
    let (first, mut second) = (&task["result"], again["result"].clone());
    second["holdout"]["earlier_looks"] = json!(0);
    let mut parts = vec![
        "/best",
        "/baselines",
        "/out_of_sample",
        "/windows",
        "/holdout",
        "/execution",
        "/trust/pbo",
        "/trust/neighbourhood",
    ];
    // For how many shuffled markets there is time depends on how busy the machine is.
    let markets = |result: &Value| result["trust"]["luck"]["permutations"].clone();
    if markets(first) == markets(&second) {
        parts.extend(["/trust/luck", "/verdict"]);
    }
    for part in parts {
        let text = |result: &Value| result.pointer(part).map(Value::to_string);
        assert!(text(first).is_some(), "{part}");
        assert_eq!(text(first), text(&second), "{part}");
    }
    let deflated = |result: &Value| number(&result["trust"]["deflated_sharpe"]["value"]);
    assert!(
        deflated(&second) < deflated(first),
        "twice the attempts ask for more"
    );
    cluster.verify();
}

/// Posts what makes a run; the task of the run once that has completed.
async fn run(cluster: &Cluster, path: &str, body: &Value) -> Value {
    let (code, _, accepted) = cluster.post(path, body).await;
    assert_eq!(code, 201, "{accepted:#}");
    let id = accepted["task_id"].as_str().expect("an id");
    let path = format!("/api/v1/tasks/{id}");
    let mut task = Value::Null;
    cluster
        .wait("the run ends", async |cluster| {
            task = cluster.get(&path).await.1;
            let state = task["status"].as_str().expect("a state");
            !["queued", "running"].contains(&state)
        })
        .await;
    assert_eq!(task["status"], "completed", "{task:#}");
    task
}

/// The result of a backtest of its own on some days.
async fn backtest(cluster: &Cluster, params: &Value, days: [&Value; 2]) -> Value {
    let request = json!({
        "task_type": "backtest", "task_name": "a pick alone", "strategy_name": "moving_average",
        "stock_codes": CODES, "start_date": days[0], "end_date": days[1],
        "strategy_config": params, "backtest_config": {"market": "plain"},
    });
    run(cluster, "/api/v1/tasks", &request).await["result"].take()
}

/// Runs every pick on its test window and joins what they gave: the Sharpe ratio.
async fn joined_by_hand(cluster: &Cluster, windows: &[Value]) -> f64 {
    let mut returns = Vec::new();
    for window in windows.iter().filter(|window| !window["test"].is_null()) {
        let is_cash = window["trial_number"].is_null();
        // Without a pick only its days are asked for, and these any parameters tell.
        let params = if is_cash {
            json!({"short_window": 5, "long_window": 30})
        } else {
            window["params"].clone()
        };
        let days = [&window["test"][0], &window["test"][1]];
        let found = backtest(cluster, &params, days).await;
        if !is_cash {
            for metric in ["sharpe_ratio", "n_trades"] {
                let (found, told) = (&found["metrics"][metric], &window["test_result"][metric]);
                assert_eq!(found.to_string(), told.to_string(), "{window:#}");
            }
        }
        // Each window begins with its cash.
        let mut before = number(&found["initial_cash"]);
        for equity in found["equity"].as_array().expect("a list") {
            let equity = number(equity);
            returns.push(if is_cash { 0.0 } else { equity / before - 1.0 });
            before = equity;
        }
    }
    // As everywhere, the first row of all has no return.
    let returns = &returns[1..];
    let count = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / count;
    let squares: f64 = returns.iter().map(|r| (r - mean) * (r - mean)).sum();
    mean / (squares / (count - 1.0)).sqrt() * 252_f64.sqrt()
}

fn assert_joined(task: &Value, by_hand: f64) {
    let told = number(&task["result"]["out_of_sample"]["sharpe_ratio"]);
    assert!((told - by_hand).abs() < 1e-12, "{told}, by hand {by_hand}");
}

/// Replays the pick of every window, which gives what is recorded; the whole documents.
async fn replays(cluster: &Cluster, id: &str, task: &Value, trials: &[Value]) -> Vec<String> {
    let mut documents = Vec::new();
    for pick in picks(task) {
        let path = format!("{TASKS}/{id}/trials/{pick}/replay");
        let replay = run(cluster, &path, &json!({})).await;
        let pinned = |task: &Value| task["resolved"]["data_snapshot"].to_string();
        assert_eq!(pinned(&replay), pinned(task));
        let result = &replay["result"];
        assert_eq!(result["replay"]["identical"], true, "{result:#}");
        assert_eq!(
            result["metrics"].to_string(),
            trials[pick]["metrics"].to_string(),
            "trial {pick}"
        );
        documents.push(result.to_string());
    }
    documents
}

#[tokio::test(flavor = "multi_thread")]
async fn picks_and_what_judged_them_are_repeatable_whoever_runs_them_and_whatever_is_imported() {
    let mut cluster = cluster("picks", "0").await;
    let request = request(150, &[]);
    let id = cluster.submit(&request).await;
    let task = completed(&mut cluster, &id).await;
    let trials = cluster.trials(&id).await;
    assert_windows(&task, &trials);
    // Nobody who ran them is left.
    cluster.replace_worker();
    cluster.replace_worker();
    let first = replays(&cluster, &id, &task, &trials).await;
    let by_hand = joined_by_hand(&cluster, windows(&task)).await;
    assert_joined(&task, by_hand);
    let (best, held) = (&task["result"]["best"], &task["result"]["holdout"]);
    let found = backtest(&cluster, &best["params"], [&held["from"], &held["to"]]).await;
    assert_eq!(
        found["metrics"]["sharpe_ratio"].to_string(),
        held["sharpe_ratio"].to_string()
    );

    // Other prices of the same symbols on the same days: a search from now on is on these.
    import(&cluster, WALKS + 1);
    let later = cluster.submit(&request).await;
    completed(&mut cluster, &later).await;
    let others = cluster.trials(&later).await;
    for pick in picks(&task) {
        assert_eq!(others[pick]["params"], trials[pick]["params"]);
        assert_ne!(others[pick]["metrics"], trials[pick]["metrics"]);
    }
    let again = replays(&cluster, &id, &task, &trials).await;
    assert_eq!(again, first, "the task has pinned its bars");
    cluster.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_moves_the_pick_to_the_best_that_keeps_it_or_leaves_the_window_in_cash() {
    let mut cluster = cluster("limits", "0").await;
    let id = cluster.submit(&request(150, &[])).await;
    let plain = completed(&mut cluster, &id).await;
    let trials = cluster.trials(&id).await;
    assert_windows(&plain, &trials);
    let drawdown = |trial: &Value| number(&trial["metrics"]["max_drawdown"]);
    let mut drawdowns: Vec<f64> = picks(&plain)
        .iter()
        .map(|n| drawdown(&trials[*n]))
        .collect();
    drawdowns.sort_by(f64::total_cmp);
    // Half of the picks keep it, and the one that it is taken from does not.
    let limit = drawdowns[WINDOWS / 2];

    let limited = request(150, &[format!("max_drawdown < {limit}")]);
    let id = cluster.submit(&limited).await;
    let task = completed(&mut cluster, &id).await;
    // The limit is on the picks and not on the search.
    assert_same_trials(&cluster.trials(&id).await, &trials);
    let (mut kept, mut moved, mut cash) = (0, 0, 0);
    for (index, (window, before)) in windows(&task).iter().zip(windows(&plain)).enumerate() {
        let expected = best_of(&trials, index, |trial| drawdown(trial) < limit);
        let Some(pick) = expected else {
            cash += 1;
            assert!(window["trial_number"].is_null(), "{window:#}");
            assert_eq!(window["params"], json!({}));
            let reason = window["test_result"]["reason"].as_str().expect("a reason");
            assert!(reason.contains("spent in cash"), "{reason}");
            continue;
        };
        assert_eq!(window["trial_number"], pick["number"], "{window:#}");
        assert_eq!(window["params"], pick["params"], "{window:#}");
        if window["trial_number"] == before["trial_number"] {
            kept += 1;
        } else {
            moved += 1;
        }
    }
    assert!(
        kept > 0 && moved > 0 && cash > 0,
        "{limit} tests too little: {kept} picks kept, {moved} moved, {cash} windows in cash"
    );
    let by_hand = joined_by_hand(&cluster, windows(&task)).await;
    assert_joined(&task, by_hand);
    cluster.verify();
}
