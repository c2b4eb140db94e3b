//! Searches whose trials are run by clients: ask, report, tell; points that users want tried; and searches that
//! begin with the trials of earlier ones.

use crate::service::{Answer, Holder, Service, TASKS, announce, id_of, sphere};
use serde_json::{Value, json};
use trialmill_common::spec::TaskSpec;
use trialmill_search::{FinishedTrial, History, LastReport, TrialEnd};
use trialmill_store::Store;

fn client(n_trials: u32) -> Value {
    json!({
        "task_name": "a net of our own",
        "strategy_name": "client",
        "param_space": {
            "rate": {"type": "float", "low": 1e-5, "high": 0.1, "log": true},
            "layers": {"type": "int", "low": 1, "high": 6},
            "kind": {"type": "categorical", "choices": ["relu", "tanh"]},
        },
        "objective_config": {"objective_metric": "loss", "direction": "minimize"},
        "optimization_method": "tpe",
        "seed": 42,
        "n_trials": n_trials,
    })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

/// What the client's objective gives.
fn loss(params: &Value) -> f64 {
    let rate = params["rate"].as_f64().unwrap().log10() + 3.0;
    let layers = params["layers"].as_f64().unwrap() - 3.0;
    let kind = if params["kind"] == "relu" { 0.0 } else { 0.5 };
    rate * rate + layers * layers / 4.0 + kind
}

async fn post(service: &Service, path: &str, body: Value) -> Answer {
    service.ask("", "POST", path, &body).await
}

/// A trial that is asked for and given.
async fn asked(service: &Service, path: &str) -> Value {
    let answer = service.post(&format!("{path}/ask")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

/// The code of the one reason for a conflict.
fn refused(answer: &Answer) -> String {
    let problem = answer.problem(409, "conflict");
    problem["errors"][0]["code"].as_str().unwrap().to_owned()
}

async fn told(service: &Service, path: &str, trial: &Value, what: Value) -> Answer {
    let number = &trial["trial_number"];
    let mut body = what;
    body["lease"] = trial["lease"].clone();
    post(service, &format!("{path}/trials/{number}/tell"), body).await
}

async fn reported(service: &Service, path: &str, trial: &Value, what: Value) -> Answer {
    let number = &trial["trial_number"];
    let mut body = what;
    body["lease"] = trial["lease"].clone();
    post(service, &format!("{path}/trials/{number}/report"), body).await
}

#[tokio::test]
async fn a_search_at_the_client_is_the_one_that_a_worker_would_have_done() {
    let service = Service::start().await;
    let body = with(client(30), "parallelism", json!(1));
    let answer = service.submit(&body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.body["warnings"], json!([]), "no worker is missed");
    assert_eq!(answer.body["resolved"]["reproducible"], true);
    let path = answer.header("location").unwrap().to_owned();
    let explained = service.get(&format!("{path}/explain")).await.body;
    assert_eq!(explained["reasons"][0]["code"], "waits_for_clients");
    // Another process over the same database: what it knows it has read.
    let other = service.beside().await;
    let row = service.store.task(id_of(&path)).await.unwrap().unwrap();
    let spec = TaskSpec::from_json(&row.spec).unwrap();
    let study = spec.study(0).unwrap();
    let mut finished: Vec<FinishedTrial> = Vec::new();
    for number in 0..30 {
        let service = if number % 3 == 0 { &other } else { &service };
        let trial = asked(service, &path).await;
        assert_eq!(trial["trial_number"], number);
        assert_eq!(
            (&trial["lease_seconds"], &trial["lost_before"]),
            (&json!(300.0), &json!(0))
        );
        let again = service.post(&format!("{path}/ask")).await;
        assert_eq!(refused(&again), "all_running");
        assert_eq!(again.header("retry-after"), Some("1"));
        let history = History {
            finished: &finished,
            running: &[],
        };
        let point = study.ask(&history, number).unwrap();
        assert_eq!(trial["params"], json!(spec.named(&point)), "trial {number}");
        let value = loss(&trial["params"]);
        let running = service.get(&format!("{path}/trials/{number}")).await.body;
        assert_eq!(
            (&running["state"], &running["params"]),
            (&json!("running"), &trial["params"])
        );
        let what = match number % 3 {
            0 => json!({"values": value}),
            1 => json!({"values": [value]}),
            _ => json!({"values": {"loss": value, "accuracy": 1.0 - value / 100.0}}),
        };
        let told = told(service, &path, &trial, what).await;
        assert_eq!(told.status, 200, "{}", told.text);
        let control = if number == 29 { "stop" } else { "run" };
        assert_eq!(
            told.body,
            json!({"task_id": trial["task_id"], "trial_number": number, "state": "completed",
                "infeasible": null, "control": control})
        );
        let end = TrialEnd::completed(vec![value]);
        finished.push(FinishedTrial { number, point, end });
    }
    let over = service.post(&format!("{path}/ask")).await;
    assert_eq!(refused(&over), "task_ended");
    let task = service.get(&path).await.body;
    assert_eq!(task["status"], "completed");
    let best = finished
        .iter()
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .unwrap();
    assert_eq!(task["best_trial_number"], best.number);
    assert_eq!(task["best_score"], cost(best));
    assert!(cost(best) < 0.3, "{}", cost(best));
    let row = service.get(&format!("{path}/trials/2")).await.body;
    assert!(row["metrics"]["accuracy"].is_number());
    let replayed = service.post(&format!("{path}/trials/2/replay")).await;
    replayed.problem(409, "conflict");
    assert_eq!(service.store.verify().await.unwrap(), vec![]);
    other.stop().await;
    service.stop().await;
}

#[tokio::test]
async fn the_next_point_follows_from_what_pruned_trials_reported_last() {
    let service = Service::start().await;
    let path = service
        .accepted(&with(client(30), "parallelism", json!(1)))
        .await;
    let row = service.store.task(id_of(&path)).await.unwrap().unwrap();
    let spec = TaskSpec::from_json(&row.spec).unwrap();
    let study = spec.study(0).unwrap();
    let mut finished: Vec<FinishedTrial> = Vec::new();
    for number in 0..30 {
        let trial = asked(&service, &path).await;
        let history = History {
            finished: &finished,
            running: &[],
        };
        let point = study.ask(&history, number).unwrap();
        assert_eq!(trial["params"], json!(spec.named(&point)), "trial {number}");
        let value = loss(&trial["params"]);
        // Hardly one completes: which of the others is good is decided by their reports.
        let end = if number == 4 {
            told(&service, &path, &trial, json!({"values": value})).await;
            TrialEnd::completed(vec![value])
        } else {
            let step = 3 * (number % 3);
            for step in [0, step] {
                let report = json!({"step": step, "values": value});
                let answer = reported(&service, &path, &trial, report).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
            }
            told(&service, &path, &trial, json!({"state": "pruned"})).await;
            TrialEnd::Pruned(Some(LastReport { step, cost: value }))
        };
        finished.push(FinishedTrial { number, point, end });
    }
    assert_eq!(service.store.verify().await.unwrap(), vec![]);
    service.stop().await;
}

#[tokio::test]
async fn a_front_that_clients_search_ends_at_its_targets() {
    let service = Service::start().await;
    let mut body = client(30);
    body["objective_config"] = json!({
        "objective_metric": ["loss", "accuracy"], "direction": ["minimize", "maximize"],
    });
    body["stop"] = json!({"target": [0.5, 0.9], "patience": 20});
    let path = service.accepted(&body).await;
    let values = [[0.4, 0.8], [0.6, 0.95], [0.5, 0.9]];
    for (number, values) in values.iter().enumerate() {
        let trial = asked(&service, &path).await;
        let answer = told(&service, &path, &trial, json!({"values": values})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let control = if number == 2 { "stop" } else { "run" };
        assert_eq!(answer.body["control"], control);
    }
    let task = service.get(&path).await.body;
    assert_eq!(
        (&task["status"], &task["stop_reason"]),
        (&json!("completed"), &json!("target_reached"))
    );
    assert_eq!(service.store.verify().await.unwrap(), vec![]);
    service.stop().await;
}

fn cost(trial: &FinishedTrial) -> f64 {
    match &trial.end {
        TrialEnd::Completed(costs) => costs[0],
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn clients_side_by_side_are_never_given_the_same_and_what_they_tell_is_kept_once() {
    let service = Service::start().await;
    let path = service
        .accepted(&with(client(40), "parallelism", json!(8)))
        .await;
    let work = async || {
        let mut done = Vec::new();
        loop {
            let answer = service.post(&format!("{path}/ask")).await;
            if answer.status == 409 {
                match refused(&answer).as_str() {
                    "task_ended" => return done,
                    "all_running" => continue,
                    other => panic!("{other}"),
                }
            }
            let trial = answer.body;
            let what = json!({"values": loss(&trial["params"])});
            for _ in 0..2 {
                // The answer was lost, and the client tells again.
                let told = told(&service, &path, &trial, what.clone()).await;
                assert_eq!(told.status, 200, "{}", told.text);
            }
            done.push(trial["trial_number"].as_u64().unwrap());
        }
    };
    let (a, b, c) = tokio::join!(work(), work(), work());
    let mut all = [a, b, c].concat();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<u64>>());
    assert_eq!(service.store.verify().await.unwrap(), vec![]);
    service.stop().await;
}

#[tokio::test]
async fn what_a_client_tells_wrongly_is_refused_with_every_fault_and_nothing_is_lost() {
    let service = Service::start().await;
    let body =
        json!({"objective_metric": ["loss", "sharpe"], "direction": ["minimize", "maximize"]});
    let body = with(client(4), "objective_config", body);
    let body = with(body, "result_constraints", json!(["megabytes <= 80"]));
    let body = with(body, "optimization_method", json!("nsga2"));
    let path = service.accepted(&body).await;
    let sent = post(&service, &format!("{path}/ask"), json!({"count": 2})).await;
    assert_eq!(sent.faults(), [(String::new(), "unknown_field".to_owned())]);
    let trial = asked(&service, &path).await;
    let number = &trial["trial_number"];
    let tell = format!("{path}/trials/{number}/tell");
    let wrong =
        json!({"lease": "mine", "state": "done", "value": 1, "values": {"loss": "low", "los": 1}});
    let fault = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    let mut faults = post(&service, &tell, wrong).await.faults();
    faults.sort();
    assert_eq!(
        faults,
        [
            fault("/lease", "malformed"),
            fault("/state", "unknown_value"),
            fault("/value", "unknown_field"),
        ]
    );
    for (what, expected) in [
        (json!({"values": 1.0}), vec![fault("/values", "wrong_type")]),
        (
            json!({"values": [1.0]}),
            vec![fault("/values", "wrong_length")],
        ),
        (
            json!({"values": {"loss": "low"}}),
            vec![
                fault("/values/sharpe_ratio", "required"),
                fault("/values/loss", "wrong_type"),
            ],
        ),
        (json!({}), vec![fault("/values", "required")]),
        (
            json!({"state": "failed"}),
            vec![fault("/error", "required")],
        ),
        (
            json!({"state": "failed", "error": "no memory", "values": [1, 2]}),
            vec![fault("/values", "not_for_this_state")],
        ),
    ] {
        assert_eq!(told(&service, &path, &trial, what).await.faults(), expected);
    }
    // A lease of nobody, and a trial that is not there.
    let mut strange = trial.clone();
    strange["lease"] = json!("1.0.0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3d");
    let answer = told(&service, &path, &strange, json!({"values": [1, 2]})).await;
    assert_eq!(refused(&answer), "lease_lost");
    strange["trial_number"] = json!(99);
    let answer = told(&service, &path, &strange, json!({"values": [1, 2]})).await;
    answer.problem(404, "not_found");
    // Infeasible, by an alias, with a null.
    let what = json!({"values": {"loss": 0.5, "sharpe": 1.25, "megabytes": 96, "notes": null}});
    let told_first = told(&service, &path, &trial, what.clone()).await;
    assert_eq!(told_first.status, 200, "{}", told_first.text);
    let why = "megabytes is 96, which breaks megabytes <= 80";
    assert_eq!(told_first.body["infeasible"], why);
    assert_eq!(
        told(&service, &path, &trial, what).await.body,
        told_first.body
    );
    let other = told(&service, &path, &trial, json!({"values": [0.25, 1.25]})).await;
    assert_eq!(refused(&other), "already_ended");
    let row = service.get(&format!("{path}/trials/0")).await.body;
    assert_eq!(row["values"], json!({"loss": 0.5, "sharpe_ratio": 1.25}));
    let notes = json!({"value": null, "reason": "its client told null"});
    assert_eq!(row["metrics"]["notes"], notes);
    // Without what a constraint names it is infeasible; failed is failed.
    let trial = asked(&service, &path).await;
    let answer = told(&service, &path, &trial, json!({"values": [1, 2]})).await;
    assert!(
        answer.body["infeasible"]
            .as_str()
            .unwrap()
            .starts_with("megabytes is undefined")
    );
    let trial = asked(&service, &path).await;
    let failed = json!({"state": "failed", "error": "out of memory in batch 7"});
    assert_eq!(
        told(&service, &path, &trial, failed).await.body["state"],
        "failed"
    );
    let failure = service.get(&format!("{path}/trials/2")).await.body["failure"].clone();
    assert_eq!(failure["kind"], "told_by_client");
    assert_eq!(failure["message"], "out of memory in batch 7");
    assert_eq!(service.store.verify().await.unwrap(), vec![]);
    service.stop().await;
}

#[tokio::test]
async fn reports_tell_a_client_when_its_trial_should_stop_and_stay_with_the_trial() {
    let service = Service::start().await;
    let pruner = json!({"name": "median", "n_startup_trials": 2});
    let body = with(client(4), "pruner", pruner);
    let body = with(body, "optimization_method", json!("random"));
    let path = service.accepted(&body).await;
    let step = |step: u32, value: f64| json!({"step": step, "values": value});
    // Two that run to their ends, at 0.5 and 0.3 in the second step.
    for values in [[0.9, 0.5], [0.7, 0.3]] {
        let trial = asked(&service, &path).await;
        for (at, value) in (1..).zip(values) {
            let answer = reported(&service, &path, &trial, step(at, value)).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(
                (&answer.body["should_prune"], &answer.body["control"]),
                (&json!(false), &json!("run"))
            );
        }
        told(&service, &path, &trial, json!({"values": values[1]})).await;
    }
    let trial = asked(&service, &path).await;
    let good = reported(&service, &path, &trial, step(1, 0.75)).await;
    assert_eq!(good.body["should_prune"], false, "the median is 0.8");
    for wrong in [step(1, 0.76), step(0, 0.1)] {
        let answer = reported(&service, &path, &trial, wrong).await;
        let fault = ("/step".to_owned(), "step_not_ascending".to_owned());
        assert_eq!(answer.faults(), [fault]);
    }
    let alive = reported(&service, &path, &trial, json!({})).await;
    assert_eq!(alive.body["should_prune"], false);
    for _ in 0..2 {
        // The answer was lost, and the client reports again.
        let bad = reported(&service, &path, &trial, step(2, 0.45)).await;
        assert_eq!(bad.body["should_prune"], true, "the median is 0.4");
    }
    let running = service.get(&format!("{path}/trials/2")).await.body;
    let all = json!([
        {"step": 1, "values": {"loss": 0.75}},
        {"step": 2, "values": {"loss": 0.45}},
    ]);
    assert_eq!(running["reports"], all);
    let answer = told(&service, &path, &trial, json!({"state": "pruned"})).await;
    assert_eq!(answer.body["state"], "pruned");
    let row = service.get(&format!("{path}/trials/2")).await.body;
    assert_eq!((&row["state"], &row["reports"]), (&json!("pruned"), &all));
    assert_eq!(
        row["values"],
        json!({"loss": 0.45}),
        "those of its last report"
    );
    let status = service.get(&format!("{path}/status")).await.body;
    assert_eq!(
        (&status["pruned_trials"], &status["best_score"]),
        (&json!(1), &json!(0.3))
    );
    let late = reported(&service, &path, &trial, step(3, 0.1)).await;
    assert_eq!(refused(&late), "lease_lost");
    assert_eq!(service.store.verify().await.unwrap(), vec![]);
    service.stop().await;
}

#[tokio::test]
async fn a_trial_of_which_nothing_is_heard_goes_to_the_next_and_fails_when_that_is_lost_as_well() {
    let service = Service::start().await;
    let body = with(client(2), "trial_timeout", json!(0.000_001));
    let path = service.accepted(&with(body, "parallelism", json!(1))).await;
    let first = asked(&service, &path).await;
    let mut before = first.clone();
    for lost in 1..3 {
        // The lease is over as soon as it is given.
        let next = asked(&service, &path).await;
        assert_eq!(
            (&next["trial_number"], &next["lost_before"]),
            (&json!(0), &json!(lost))
        );
        assert_eq!(next["params"], first["params"]);
        let late = told(&service, &path, &before, json!({"values": 1})).await;
        assert_eq!(refused(&late), "lease_lost");
        before = next;
    }
    let next = asked(&service, &path).await;
    assert_eq!(next["trial_number"], 1, "the other one has failed");
    let row = service.get(&format!("{path}/trials/0")).await.body;
    assert_eq!(row["failure"]["kind"], "trial_timeout");
    assert!(
        row["failure"]["message"]
            .as_str()
            .unwrap()
            .contains("asked for 3 times")
    );
    service.post(&format!("{path}/cancel")).await;
    let status = service.get(&format!("{path}/status")).await.body;
    assert_eq!(
        status["status"], "cancelled",
        "no silent client is waited for"
    );
    assert_eq!(service.store.verify().await.unwrap(), vec![]);
    service.stop().await;
}

#[tokio::test]
async fn a_paused_or_foreign_task_gives_no_trials() {
    let service = Service::start().await;
    let path = service.accepted(&client(4)).await;
    service.post(&format!("{path}/pause")).await;
    assert_eq!(
        refused(&service.post(&format!("{path}/ask")).await),
        "task_paused"
    );
    service.post(&format!("{path}/resume")).await;
    asked(&service, &path).await;
    let later = with(client(4), "not_before", json!("2120-01-01T00:00:00Z"));
    let path = service.accepted(&later).await;
    assert_eq!(
        refused(&service.post(&format!("{path}/ask")).await),
        "not_before"
    );
    let path = service.accepted(&sphere(4)).await;
    assert_eq!(
        refused(&service.post(&format!("{path}/ask")).await),
        "not_at_client"
    );
    let tell = post(&service, &format!("{path}/trials/0/tell"), json!({})).await;
    assert_eq!(refused(&tell), "not_at_client");
    service
        .post(&format!("{TASKS}/019a3f0e-8c2b-7d51-9d55-1f0f6a1c2b3d/ask"))
        .await
        .problem(404, "not_found");
    service.stop().await;
}

#[tokio::test]
async fn a_point_of_the_users_is_what_the_next_trial_takes() {
    let service = Service::start().await;
    announce(&service.store, &["sphere"]).await;
    let path = service
        .accepted(&with(client(4), "parallelism", json!(1)))
        .await;
    let at = format!("{path}/trials");
    let wrong = json!({"params": {"rate": 5, "layers": 2.5, "knd": "relu"}, "n": 1});
    let mut faults = post(&service, &at, wrong).await.faults();
    faults.sort();
    let fault = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    assert_eq!(
        faults,
        [
            fault("/n", "unknown_field"),
            fault("/params/kind", "missing_parameter"),
            fault("/params/knd", "unknown_parameter"),
            fault("/params/layers", "wrong_type"),
            fault("/params/rate", "out_of_range"),
        ]
    );
    let mine = json!({"rate": 0.01, "layers": 5, "kind": "tanh"});
    let answer = post(&service, &at, json!({"params": mine})).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(
        (&answer.body["trial_number"], &answer.body["params"]),
        (&json!(0), &mine)
    );
    let second = post(&service, &at, json!({"params": mine})).await;
    assert_eq!(second.body["trial_number"], 1);
    for _ in 0..2 {
        let trial = asked(&service, &path).await;
        assert_eq!(trial["params"], mine);
        told(&service, &path, &trial, json!({"values": loss(&mine)})).await;
    }
    let trial = asked(&service, &path).await;
    assert_ne!(trial["params"], mine);
    // Of a search by workers the same, as long as a number is left.
    let path = service.accepted(&sphere(4)).await;
    let at = format!("{path}/trials");
    let mut holder = Holder::claim(&service.store, &path).await;
    let mine = json!({"params": {"x": 0.25, "n": 3}});
    assert_eq!(
        refused(&post(&service, &at, mine.clone()).await),
        "none_left"
    );
    holder.record(4, &[], true).await;
    post(&service, &at, mine).await.problem(409, "conflict");
    let grid = json!({"name": "grid", "sample": true});
    let mut small = with(sphere(4), "optimization_method", grid);
    small["param_space"]["x"]["step"] = json!(0.5);
    let path = service.accepted(&small).await;
    let answer = post(
        &service,
        &format!("{path}/trials"),
        json!({"params": {"x": 0.5, "n": 3}}),
    )
    .await;
    assert_eq!(refused(&answer), "visits_each_point_once");
    service.stop().await;
}

#[tokio::test]
async fn a_search_begins_with_the_trials_of_the_tasks_that_it_names() {
    let service = Service::start().await;
    let earlier = service.accepted(&sphere(40)).await;
    let mut holder = Holder::claim(&service.store, &earlier).await;
    holder.record(40, &[3, 7], true).await;
    let origin = id_of(&earlier).to_string();
    let tpe = with(sphere(8), "optimization_method", json!("tpe"));
    let warm = with(tpe.clone(), "warm_start_from", json!([origin]));
    let answer = service.submit(&warm).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(
        answer.body["resolved"]["prior_trials"], 38,
        "two have failed"
    );
    let stored = service
        .store
        .task(id_of(answer.header("location").unwrap()))
        .await;
    let spec = TaskSpec::from_json(&stored.unwrap().unwrap().spec).unwrap();
    assert_eq!(spec.prior.len(), 38);
    let rows = service
        .get(&format!("{earlier}/trials?limit=1000"))
        .await
        .body;
    let rows = rows["items"].as_array().unwrap();
    let good = rows.iter().filter(|row| row["state"] == "completed");
    for (row, prior) in good.zip(&spec.prior) {
        assert_eq!(json!(spec.named(&prior.point)), row["params"]);
        assert_eq!(
            prior.end,
            TrialEnd::completed(vec![row["values"]["value"].as_f64().unwrap()])
        );
    }
    // A narrower space leaves trials out and says so.
    let mut narrow = warm.clone();
    narrow["param_space"]["x"]["low"] = json!(0.0);
    let answer = service.submit(&narrow).await;
    let kept = answer.body["resolved"]["prior_trials"].as_u64().unwrap();
    assert!((5..35).contains(&kept), "{kept}");
    let warnings = answer.body["warnings"].as_array().unwrap();
    assert!(
        warnings
            .iter()
            .any(|w| w["code"] == "earlier_trials_left_out"),
        "{warnings:?}"
    );
    let nobody = "019a3f0e-8c2b-7d51-9d55-1f0f6a1c2b3d";
    let mut other = with(tpe, "warm_start_from", json!([nobody, origin]));
    let answer = service.submit(&other).await;
    let unknown = ("/warm_start_from/0".to_owned(), "unknown_task".to_owned());
    assert_eq!(answer.faults(), [unknown]);
    other["warm_start_from"] = json!([origin]);
    other["objective_config"]["direction"] = json!("maximize");
    let answer = service.submit(&other).await;
    let objectives = (
        "/warm_start_from/0".to_owned(),
        "other_objectives".to_owned(),
    );
    assert_eq!(answer.faults(), [objectives]);
    service.stop().await;
}

/// The block of code in a page of the documentation.
fn script() -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients.md"));
    let page = page.unwrap();
    let (_, from) = page.split_once("```python\n").expect("a script");
    let (script, _) = from.split_once("```").expect("its end");
    script.to_owned()
}

#[tokio::test]
async fn the_script_of_the_documentation_searches_to_its_end() {
    let service = Service::start().await;
    let run = tokio::process::Command::new("python3")
        .args(["-c", &script()])
        .env("TRIALMILL_URL", &service.base)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let id = String::from_utf8(run.stdout).unwrap();
    let task = service.get(&format!("{TASKS}/{}", id.trim())).await.body;
    assert_eq!(task["status"], "completed");
    let (completed, pruned) = (&task["completed_trials"], &task["pruned_trials"]);
    assert_eq!(completed.as_u64().unwrap() + pruned.as_u64().unwrap(), 40);
    assert!(pruned.as_u64().unwrap() > 0, "{task}");
    assert!(
        task["best_score"].as_f64().unwrap() < 0.5,
        "{}",
        task["best_score"]
    );
    assert_eq!(service.store.verify().await.unwrap(), vec![]);
    service.stop().await;
}
