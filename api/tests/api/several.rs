//! Searches with several objectives, and what the trials of a search show: front, importance, pictures.

use crate::service::{Answer, Holder, Service, announce, sphere};
use chrono::NaiveDate;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use trialmill_backtest::synthetic::{self, Kind};
use trialmill_common::trial::{Evaluation, Outcome};
use trialmill_search::Choice;
use trialmill_store::Store;

/// A search for the front of a function with two values.
fn schaffer(n_trials: u32) -> Value {
    let mut body = sphere(n_trials);
    body["strategy_name"] = json!("schaffer");
    body["objective_config"] = json!({"objective_metric": ["f1", "f2"]});
    body
}

/// The numeric values of parameters.
fn numbers(parameters: BTreeMap<String, Choice>) -> Vec<f64> {
    let number = |value: Choice| match value {
        Choice::Float(x) => x,
        #[expect(clippy::cast_precision_loss, reason = "small integers")]
        Choice::Int(n) => n as f64,
        other => panic!("{other:?}"),
    };
    parameters.into_values().map(number).collect()
}

/// What the function gives; every fifth trial is infeasible.
fn outcome(number: u32, parameters: BTreeMap<String, Choice>) -> Outcome {
    let x = numbers(parameters);
    let sum = |from: f64| x.iter().map(|x| (x - from) * (x - from)).sum::<f64>();
    let (f1, f2) = (sum(0.0), sum(2.0));
    Outcome::Completed(Evaluation {
        values: vec![f1, f2],
        metrics: vec![("f1".to_owned(), Ok(f1)), ("f2".to_owned(), Ok(f2))],
        infeasible: (number % 5 == 4).then(|| "f1 is too much".to_owned()),
        ..Evaluation::default()
    })
}

async fn trials(service: &Service, path: &str) -> Vec<Value> {
    let page = service.get(&format!("{path}/trials?limit=1000")).await.body;
    page["items"].as_array().unwrap().clone()
}

/// The numbers of the trials that no other one dominates, each compared with each.
fn brute_force(trials: &[Value]) -> Vec<u64> {
    let feasible = || {
        trials
            .iter()
            .filter(|t| t["state"] == "completed" && t["infeasible"].is_null())
    };
    let values =
        |trial: &Value| ["f1", "f2"].map(|metric| trial["values"][metric].as_f64().unwrap());
    let dominated = |trial: &&Value| {
        let own = values(trial);
        feasible().map(values).any(|other| {
            other[0] <= own[0] && other[1] <= own[1] && (other[0] < own[0] || other[1] < own[1])
        })
    };
    let free = feasible().filter(|trial| !dominated(trial));
    free.map(|trial| trial["number"].as_u64().unwrap())
        .collect()
}

fn members(front: &Value) -> Vec<u64> {
    let items = front["items"].as_array().unwrap().iter();
    let mut numbers: Vec<u64> = items
        .map(|item| item["trial_number"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn the_front_is_what_nothing_dominates_while_it_runs_and_when_it_has_ended() {
    let service = Service::start().await;
    let path = service.accepted(&schaffer(60)).await;
    let at = format!("{path}/pareto-front");
    let none = service.get(&at).await.body;
    assert_eq!((&none["size"], &none["items"]), (&json!(0), &json!([])));
    assert_eq!(none["hypervolume"]["reason"], "no trial is feasible so far");
    let mut holder = Holder::claim(&service.store, &path).await;
    for count in [20, 40] {
        let closes = count == 40;
        holder.hand_in(count, outcome, closes).await;
        let front = service.get(&at).await.body;
        let trials = trials(&service, &path).await;
        let expected = brute_force(&trials);
        assert_eq!(members(&front), expected);
        assert_eq!(front["size"], expected.len());
        let used = trials.iter().filter(|t| t["infeasible"].is_null()).count();
        assert_eq!(
            front["trials"],
            json!({"read": trials.len(), "used": used, "complete": true})
        );
        // The best by the first objective first, and it is the one to be used.
        let values = |item: &Value| item["objectives"]["f1"].as_f64().unwrap();
        let items = front["items"].as_array().unwrap();
        assert!(items.is_sorted_by(|a, b| values(a) <= values(b)));
        assert_eq!(front["selected"], items[0]["trial_number"]);
        let status = service.get(&format!("{path}/status")).await.body;
        for field in ["best_score", "best_trial_number", "best_params"] {
            assert_eq!(status[field], Value::Null, "{field}");
        }
        assert_eq!(status["best_values"], items[0]["objectives"]);
        let best = service.get(&format!("{path}/best")).await.body;
        assert_eq!(best["number"], front["selected"]);
        assert_eq!(best["params"], items[0]["params"]);
        let volume = &front["hypervolume"];
        let history = volume["history"].as_array().unwrap();
        let of = |point: &Value| point["hypervolume"].as_f64().unwrap();
        assert!(history.is_sorted_by(|a, b| of(a) < of(b)));
        assert_eq!(
            of(history.last().unwrap()),
            volume["value"].as_f64().unwrap()
        );
        let all = |metric: &str| {
            let feasible = trials.iter().filter(|t| t["infeasible"].is_null());
            let values: Vec<f64> = feasible
                .map(|t| t["values"][metric].as_f64().unwrap())
                .collect();
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.into_iter().fold(f64::NEG_INFINITY, f64::max);
            high + (high - low) / 10.0
        };
        for metric in ["f1", "f2"] {
            let told = volume["reference_point"][metric].as_f64().unwrap();
            assert!((told - all(metric)).abs() < 1e-9, "{told}");
        }
        let figure = service.get(&format!("{path}/figures/history")).await.body;
        assert_eq!(figure["data"]["points"], volume["history"]);
        assert_eq!(figure["objective"], Value::Null);
    }
    let task = service.get(&path).await.body;
    let front = service.get(&at).await.body;
    let result = &task["result"];
    assert_eq!(result["pareto_front"], front["items"]);
    assert_eq!(result["best"]["trial_number"], front["selected"]);
    assert_eq!(task["best_values"], result["best"]["values"]);
    let importance = result["param_importance"].as_object().unwrap();
    assert_eq!(importance.keys().collect::<Vec<_>>(), ["f1", "f2"]);
    let shares = importance["f1"].as_object().unwrap().values();
    let sum: f64 = shares.map(|share| share.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{importance:?}");
    let listed = service.get("/api/v1/tasks").await.body;
    assert_eq!(listed["items"][0]["best_score"], Value::Null);
    // Of one objective it is the best trial.
    let single = service.accepted(&sphere(10)).await;
    let mut holder = Holder::claim(&service.store, &single).await;
    holder.record(10, &[3], true).await;
    let front = service.get(&format!("{single}/pareto-front")).await.body;
    let status = service.get(&format!("{single}/status")).await.body;
    assert_eq!(
        members(&front),
        [status["best_trial_number"].as_u64().unwrap()]
    );
    assert_eq!(front["items"][0]["objectives"], status["best_values"]);
    assert_eq!(front["hypervolume"]["value"], Value::Null);
    service.stop().await;
}

#[tokio::test]
async fn an_extended_front_begins_with_the_copied_trials_and_all_of_their_values() {
    let service = Service::start().await;
    let path = service.accepted(&schaffer(30)).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.hand_in(30, outcome, true).await;
    let body = json!({"n_trials": 50});
    let extended = service
        .ask("", "POST", &format!("{path}/extend"), &body)
        .await;
    assert_eq!(extended.status, 201, "{}", extended.text);
    let longer = extended.header("location").unwrap();
    let fronts = [path.as_str(), longer].map(|path| format!("{path}/pareto-front"));
    let (old, new) = (
        service.get(&fronts[0]).await.body,
        service.get(&fronts[1]).await.body,
    );
    assert_eq!((&old["items"], &old["size"]), (&new["items"], &new["size"]));
    assert_eq!(new["trials"]["read"], 30);
    let status = service.get(&format!("{longer}/status")).await.body;
    assert_eq!(status["best_values"], new["items"][0]["objectives"]);
    service.stop().await;
}

#[tokio::test]
async fn a_search_ends_when_its_front_stands_still_and_is_extended_without_that_rule() {
    let service = Service::start().await;
    let mut body = schaffer(60);
    body["stop"] = json!({"patience": 4, "target": [null, -1.0]});
    body["parallelism"] = json!(1);
    let path = service.accepted(&body).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    let the_same = |_, _| {
        Outcome::Completed(Evaluation {
            values: vec![1.0, 2.0],
            ..Evaluation::default()
        })
    };
    holder.hand_in(20, the_same, false).await;
    let task = service.get(&path).await.body;
    assert_eq!(task["stop_reason"], "no_improvement", "{task}");
    assert_eq!(
        (&task["completed_trials"], &task["status"]),
        (&json!(5), &json!("completed"))
    );
    assert_eq!(task["request"]["stop"], body["stop"]);
    let retry = service
        .ask("", "POST", &format!("{path}/retry"), &json!({}))
        .await;
    let detail = retry.problem(409, "conflict")["detail"].as_str().unwrap();
    assert!(
        detail.contains("ended by its own rule (no_improvement)"),
        "{detail}"
    );
    let more = json!({"n_trials": 61});
    let longer = service
        .ask("", "POST", &format!("{path}/extend"), &more)
        .await;
    assert_eq!(longer.status, 201, "{}", longer.text);
    let warnings = longer.body["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|w| w["code"] == "stop_rules_dropped"));
    service.stop().await;
}

#[tokio::test]
async fn a_front_without_a_feasible_trial_is_empty() {
    let service = Service::start().await;
    let path = service.accepted(&schaffer(4)).await;
    let broken = |number, parameters| {
        let Outcome::Completed(found) = outcome(number, parameters) else {
            panic!("it completes");
        };
        Outcome::Completed(Evaluation {
            infeasible: Some("f1 is too much".to_owned()),
            ..found
        })
    };
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.hand_in(4, broken, true).await;
    let front = service.get(&format!("{path}/pareto-front")).await.body;
    assert_eq!(
        (&front["size"], &front["selected"]),
        (&json!(0), &Value::Null)
    );
    let task = service.get(&path).await.body;
    assert_eq!(task["status"], "completed");
    assert_eq!(task["best_values"], Value::Null);
    assert_eq!(task["result"]["pareto_front"], json!([]));
    let reason = "0 completed trials; needs 20";
    let untold = json!({"value": null, "reason": reason});
    assert_eq!(
        task["result"]["param_importance"],
        json!({"f1": untold, "f2": untold})
    );
    let best = service.get(&format!("{path}/best")).await;
    best.problem(404, "not_found");
}

#[tokio::test]
async fn importances_say_which_parameter_matters_for_which_objective() {
    let service = Service::start().await;
    let path = service.accepted(&schaffer(80)).await;
    // The first depends on one parameter, the second on the other.
    let apart = |_, parameters: BTreeMap<String, Choice>| {
        let x = numbers(parameters);
        Outcome::Completed(Evaluation {
            values: vec![x[0], x[1] * x[1]],
            ..Evaluation::default()
        })
    };
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.hand_in(12, apart, false).await;
    let at = format!("{path}/param-importance");
    let few = service.get(&at).await.body;
    for target in few["targets"].as_array().unwrap() {
        assert_eq!(target["parameters"], Value::Null);
        assert_eq!(target["reason"], "12 completed trials; needs 20");
    }
    holder.hand_in(68, apart, true).await;
    for method in ["ped_anova", "fanova"] {
        let told = service.get(&format!("{at}?method={method}")).await.body;
        assert_eq!(told["method"], method);
        let targets = told["targets"].as_array().unwrap();
        for (target, (metric, first)) in targets.iter().zip([("f1", "n"), ("f2", "x")]) {
            assert_eq!(target["metric"], metric);
            let leads = &target["parameters"][0];
            assert_eq!(leads["name"], first, "{told:#}");
            assert!(leads["share"].as_f64().unwrap() > 0.6, "{told:#}");
        }
        let one = service
            .get(&format!("{at}?method={method}&target=f2"))
            .await
            .body;
        assert_eq!(one["targets"], json!([targets[1]]));
    }
    let wrong = service
        .get(&format!("{at}?method=fanovaa&target=f3&window=1"))
        .await;
    wrong.problem(422, "invalid_request");
    let faults = [
        ("?window", "no_windows"),
        ("?method", "unknown_name"),
        ("?target", "unknown_name"),
    ];
    assert_eq!(
        wrong.faults(),
        faults.map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
    );
    assert!(
        wrong.text.contains("did you mean fanova?"),
        "{}",
        wrong.text
    );
    service.stop().await;
}

fn points(figure: &Answer) -> &Vec<Value> {
    assert_eq!(figure.status, 200, "{}", figure.text);
    figure.body["data"]["points"].as_array().unwrap()
}

#[tokio::test]
async fn pictures_show_the_values_of_the_trials_as_they_are() {
    let service = Service::start().await;
    let mut body = schaffer(40);
    body["objective_config"]["direction"] = json!(["minimize", "maximize"]);
    let path = service.accepted(&body).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.hand_in(40, outcome, true).await;
    let all = trials(&service, &path).await;
    let feasible: Vec<&Value> = all.iter().filter(|t| t["infeasible"].is_null()).collect();
    let figure = async |rest: &str| service.get(&format!("{path}/figures/{rest}")).await;

    let slice = figure("slice?target=f2").await;
    assert_eq!(
        slice.body["objective"],
        json!({"metric": "f2", "direction": "maximize"})
    );
    let slices = slice.body["data"].as_array().unwrap();
    for (slice, name) in slices.iter().zip(["n", "x"]) {
        assert_eq!(slice["name"], name);
        let expected: Vec<Value> = feasible
            .iter()
            .map(|t| {
                json!({"number": t["number"], "value": t["params"][name], "objective": t["values"]["f2"]})
            })
            .collect();
        assert_eq!(slice["points"], json!(expected));
    }
    let lines = figure("parallel_coordinate").await.body["data"].clone();
    assert_eq!(lines["axes"], json!(["n", "x"]));
    assert_eq!(lines["lines"].as_array().unwrap().len(), feasible.len());
    let contour = figure("contour?x=x").await;
    assert_eq!(
        (&contour.body["data"]["x"], &contour.body["data"]["y"]),
        (&json!("x"), &json!("n"))
    );
    let one = &points(&contour)[0];
    assert_eq!(one["objective"], feasible[0]["values"]["f1"]);
    assert_eq!(one["x"], feasible[0]["params"]["x"]);
    // Of the second objective, which is wanted large, the largest is the best.
    let ranked = figure("rank?target=f2").await;
    let largest = points(&ranked)
        .iter()
        .max_by(|a, b| {
            let of = |point: &Value| point["objective"].as_f64().unwrap();
            of(a).total_cmp(&of(b))
        })
        .unwrap();
    assert_eq!(largest["rank"], 0.0);
    let history = figure("history?target=f2").await;
    let mut best = f64::NEG_INFINITY;
    for (point, trial) in points(&history).iter().zip(&feasible) {
        best = best.max(trial["values"]["f2"].as_f64().unwrap());
        assert_eq!(
            *point,
            json!({"number": trial["number"], "objective": trial["values"]["f2"], "best": best})
        );
    }
    let edf = figure("edf").await;
    let points = points(&edf);
    assert!(points.is_sorted_by(|a, b| a["objective"].as_f64() < b["objective"].as_f64()));
    assert_eq!(points.last().unwrap()["share"], 1.0);

    for (rest, fault) in [
        ("slices", ("{name}", "unknown_name", "did you mean slice?")),
        (
            "slice?x=n",
            ("?x", "not_for_this_figure", "only a contour has x"),
        ),
        ("contour?x=m", ("?x", "unknown_name", "use n, x")),
        ("contour?x=n&y=n", ("?y", "duplicate", "x and y are both n")),
    ] {
        let refused = figure(rest).await;
        refused.problem(422, "invalid_request");
        let (pointer, code, says) = fault;
        assert_eq!(refused.faults(), [(pointer.to_owned(), code.to_owned())]);
        assert!(refused.text.contains(says), "{}", refused.text);
    }
    service.stop().await;
}

#[tokio::test]
async fn what_a_picture_has_no_room_for_is_left_out_and_said_so() {
    let service = Service::start().await;
    let mut body = sphere(2_100);
    let parameter = json!({"type": "float", "low": -5.0, "high": 5.0});
    let space = (0..100).map(|k| (format!("x{k}"), parameter.clone()));
    body["param_space"] = space.collect::<serde_json::Map<_, _>>().into();
    let path = service.accepted(&body).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(2_100, &[7], true).await;
    let rank = service.get(&format!("{path}/figures/rank")).await.body;
    assert_eq!(
        rank["trials"],
        json!({"read": 2_000, "used": 1_999, "complete": false})
    );
    let numbers = rank["data"]["points"].as_array().unwrap();
    assert_eq!(numbers.last().unwrap()["number"], 1_999);
    let front = service.get(&format!("{path}/pareto-front")).await.body;
    // Of one objective it is the best trial, which the task knows.
    assert_eq!(
        front["trials"],
        json!({"read": 1, "used": 1, "complete": true})
    );
    let status = service.get(&format!("{path}/status")).await.body;
    assert_eq!(
        front["items"][0]["trial_number"],
        status["best_trial_number"]
    );
    service.stop().await;
}

#[tokio::test]
async fn each_window_of_a_walk_forward_has_a_front_of_its_own() {
    let service = Service::start().await;
    announce(&service.store, &["moving_average"]).await;
    let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
    let bars = synthetic::series(Kind::RandomWalk, 7, 0, day(2018, 1, 1), day(2021, 12, 31));
    let bars = bars.unwrap();
    let symbol = bars.symbol().to_owned();
    service.store.put_series(&[bars], "a test").await.unwrap();
    let path = service
        .accepted(&json!({
            "task_name": "windows", "strategy_name": "moving_average", "stock_codes": [symbol],
            "start_date": "2018-01-01", "end_date": "2021-12-31",
            "param_space": {"short_window": {"type": "int", "low": 5, "high": 20},
                "long_window": {"type": "int", "low": 30, "high": 90}},
            "objective_config": {"objective_metric": ["sharpe_ratio", "max_drawdown"]},
            "optimization_method": "random", "parallelism": 1, "n_trials": 60, "seed": 5,
            "validation": {"method": "walk_forward", "train": "2y", "test": "1y",
                "selection": {"metric": "sharpe_ratio", "subject_to": ["max_drawdown <= 0.20"]}},
        }))
        .await;
    let task = service.get(&path).await.body;
    assert_eq!(task["resolved"]["windows"].as_array().unwrap().len(), 3);
    let mut holder = Holder::claim(&service.store, &path).await;
    let values = |number: u32, _| {
        let number = f64::from(number);
        Outcome::Completed(Evaluation {
            values: vec![number / 10.0, number / 100.0],
            ..Evaluation::default()
        })
    };
    holder.hand_in(20, values, true).await;
    let at = format!("{path}/pareto-front");
    let first = service.get(&format!("{at}?window=0")).await.body;
    // Each is better by one objective and worse by the other.
    assert_eq!(members(&first), (0..20).collect::<Vec<u64>>());
    assert_eq!(
        (&first["window"], &first["items"][0]["window"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(
        first["selected"],
        Value::Null,
        "its selection waits for the assessment"
    );
    assert_eq!(first["items"][0]["trial_number"], 19);
    let last = service.get(&at).await.body;
    assert_eq!((&last["window"], &last["size"]), (&json!(2), &json!(0)));
    let beyond = service.get(&format!("{at}?window=3")).await;
    beyond.problem(422, "invalid_request");
    assert_eq!(beyond.body["errors"][0]["limit"], "0 to 2");
    service.stop().await;
}
