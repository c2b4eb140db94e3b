//! Retry, clone and extend, as a client sees them.

use crate::service::{Answer, Holder, Service, TASKS, id_of, sphere};
use serde_json::{Value, json};
use trialmill_common::state::StopReason;
use trialmill_store::Store;

async fn post(service: &Service, path: &str, body: Option<&Value>, key: Option<&str>) -> Answer {
    let mut request = service.http.post(format!("{}{path}", service.base));
    if let Some(body) = body {
        request = request.json(body);
    }
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    Answer::of(request.send().await.unwrap()).await
}

/// What each trial is, by number: parameters, values, state.
async fn trials(service: &Service, path: &str) -> Vec<(u64, Value, Value, Value)> {
    let answer = service.get(&format!("{path}/trials")).await;
    let items = answer.body["items"].as_array().unwrap().iter();
    items
        .map(|t| {
            let number = t["number"].as_u64().unwrap();
            (
                number,
                t["params"].clone(),
                t["values"].clone(),
                t["state"].clone(),
            )
        })
        .collect()
}

/// The trials of an undisturbed run.
async fn undisturbed(service: &Service, n_trials: u32) -> Vec<(u64, Value, Value, Value)> {
    let path = service.accepted(&sphere(n_trials)).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(n_trials, &[], true).await;
    trials(service, &path).await
}

/// A task of 8 trials that was cancelled after 6, of which 1 and 4 failed.
async fn broken(service: &Service) -> String {
    let path = service.accepted(&sphere(8)).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(6, &[1, 4], false).await;
    let stop = service.store.stop(id_of(&path), StopReason::Cancelled);
    stop.await.unwrap();
    holder.record(0, &[], true).await;
    assert_eq!(service.get(&path).await.body["status"], "cancelled");
    path
}

#[tokio::test]
async fn a_retry_runs_what_failed_or_is_missing_and_gives_the_trials_of_an_undisturbed_run() {
    let service = Service::start().await;
    let path = broken(&service).await;
    let before = service.get(&path).await.body;
    let answer = post(&service, &format!("{path}/retry"), None, None).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let place = answer.header("location").unwrap().to_owned();
    assert!(place.starts_with(TASKS), "{place}");
    let origin = json!({"task_id": before["task_id"], "how": "retry", "copied_trials": 4});
    assert_eq!(answer.body["origin"], origin);
    assert_eq!(answer.body["status"], "queued");
    assert_eq!(answer.body["seed"], 42);
    assert_eq!(answer.body["resolved"]["reproducible"], true);
    let status = service.get(&format!("{place}/status")).await.body;
    assert_eq!(
        (&status["completed_trials"], &status["failed_trials"]),
        (&json!(4), &json!(0))
    );
    assert_eq!(
        status["trials_per_second"],
        Value::Null,
        "copied ones took no time"
    );
    // Three copied runs are the units 0 to 2; the gaps come one after the other.
    for (unit, count) in [(3, 1), (4, 1), (5, 2)] {
        let mut holder = Holder::claim_unit(&service.store, &place, unit).await;
        holder.record(count, &[], true).await;
    }
    let status = service.get(&format!("{place}/status")).await.body;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["stop_reason"], "n_trials");
    assert_eq!(
        trials(&service, &place).await,
        undisturbed(&service, 8).await
    );
    assert_eq!(
        service.get(&path).await.body,
        before,
        "terminal is terminal"
    );
    assert_eq!(service.store.verify().await.unwrap(), []);
    let listed = service.get(TASKS).await.body;
    let items = listed["items"].as_array().unwrap();
    assert!(items.iter().any(|task| task["origin"] == origin));
    service.stop().await;
}

#[tokio::test]
async fn an_extension_goes_on_to_the_total_and_gives_the_trials_of_a_run_of_that_size() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(5)).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(5, &[], true).await;
    let longer = json!({"n_trials": 9, "task_name": "longer"});
    let answer = post(&service, &format!("{path}/extend"), Some(&longer), None).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.body["task_name"], "longer");
    assert_eq!(answer.body["n_trials"], 9);
    assert_eq!(answer.body["origin"]["copied_trials"], 5);
    let place = answer.header("location").unwrap().to_owned();
    let task = service.get(&place).await.body;
    assert_eq!(task["request"]["n_trials"], 9);
    let mut holder = Holder::claim_unit(&service.store, &place, 1).await;
    holder.record(4, &[], true).await;
    assert_eq!(
        trials(&service, &place).await,
        undisturbed(&service, 9).await
    );
    assert_eq!(service.store.verify().await.unwrap(), []);
    service.stop().await;
}

#[tokio::test]
async fn an_extension_says_what_auto_will_do_in_all_of_its_trials() {
    let service = Service::start().await;
    let mut request = sphere(5);
    request["optimization_method"] = json!("auto");
    let path = service.accepted(&request).await;
    let plan = |task: &Value| {
        let plan = task["resolved"]["sampler_plan"].as_str();
        plan.unwrap().to_owned()
    };
    let before = plan(&service.get(&path).await.body);
    assert!(before.starts_with("sobol (too few trials"), "{before}");
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(5, &[], true).await;
    let more = json!({"n_trials": 400});
    let answer = post(&service, &format!("{path}/extend"), Some(&more), None).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let after = plan(&answer.body);
    assert!(after.contains("alone after 150 results"), "{after}");
    service.stop().await;
}

#[tokio::test]
async fn a_clone_is_the_same_request_with_what_the_body_changes() {
    let service = Service::start().await;
    let path = broken(&service).await;
    let clone = format!("{path}/clone");
    let same = post(&service, &clone, None, None).await;
    assert_eq!(same.status, 201, "{}", same.text);
    assert_eq!(same.body["origin"]["copied_trials"], 0);
    let place = same.header("location").unwrap();
    let mut holder = Holder::claim(&service.store, place).await;
    holder.record(8, &[], true).await;
    assert_eq!(
        trials(&service, place).await,
        undisturbed(&service, 8).await
    );

    let other = json!({"seed": 7, "task_name": "another"});
    let other = post(&service, &clone, Some(&other), None).await;
    assert_eq!(
        (&other.body["seed"], &other.body["task_name"]),
        (&json!(7), &json!("another"))
    );
    let task = service.get(other.header("location").unwrap()).await.body;
    assert_eq!(
        (&task["request"]["seed"], &task["seed"]),
        (&json!(7), &Value::Null)
    );
    let stored = service.store.task(id_of(other.header("location").unwrap()));
    let stored = stored.await.unwrap().unwrap();
    assert_eq!(
        (
            stored.spec["seed"].as_u64(),
            stored.spec["version"].as_u64()
        ),
        (Some(7), Some(2))
    );
    // A running task can be cloned; the clone of a clone is one of the same request.
    let of_clone = format!("{}/clone", other.header("location").unwrap());
    let again = post(&service, &of_clone, None, None).await;
    assert_eq!(again.body["seed"], 7);
    service.stop().await;
}

#[tokio::test]
async fn the_same_key_and_body_make_one_task_even_when_the_origin_is_gone() {
    let service = Service::start().await;
    let path = broken(&service).await;
    let retry = format!("{path}/retry");
    let first = post(&service, &retry, None, Some("once")).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let named = json!({"task_name": "x"});
    post(&service, &retry, Some(&named), Some("once"))
        .await
        .problem(409, "conflict");
    // The same bytes to another route are another request.
    post(&service, &format!("{path}/clone"), None, Some("once"))
        .await
        .problem(409, "conflict");
    assert_eq!(service.delete(&path).await.status, 204);
    let again = post(&service, &retry, None, Some("once")).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.body["task_id"], first.body["task_id"]);
    post(&service, &retry, None, None)
        .await
        .problem(404, "not_found");
    service.stop().await;
}

#[tokio::test]
async fn what_cannot_be_made_from_a_task_is_refused_with_its_reason() {
    let service = Service::start().await;
    let said = |answer: &Answer, what: &str| {
        let detail = answer.problem(409, "conflict")["detail"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(detail.contains(what), "{detail}");
    };
    let path = service.accepted(&sphere(4)).await;
    let more = json!({"n_trials": 9});
    let (retry, extend) = (format!("{path}/retry"), format!("{path}/extend"));
    said(
        &post(&service, &retry, None, None).await,
        "is queued; retry takes a task that has ended",
    );
    said(
        &post(&service, &extend, Some(&more), None).await,
        "cancel it first",
    );
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(4, &[], true).await;
    said(&post(&service, &retry, None, None).await, "all 4 trials");
    let short = post(
        &service,
        &extend,
        Some(&json!({"n_trials": 4, "seed": 1})),
        None,
    )
    .await;
    short.problem(422, "invalid_request");
    let faults = [("/seed", "unknown_field"), ("/n_trials", "out_of_range")];
    let faults = faults.map(|(pointer, code)| (pointer.to_owned(), code.to_owned()));
    assert_eq!(short.faults(), faults);
    let none = post(&service, &extend, None, None).await;
    assert_eq!(
        none.faults(),
        [("/n_trials".to_owned(), "required".to_owned())]
    );
    let request = service.http.post(format!("{}{extend}", service.base));
    let text = request.body("n_trials=9").send().await.unwrap();
    Answer::of(text)
        .await
        .problem(415, "unsupported_media_type");
    service.stop().await;
}

#[tokio::test]
async fn a_task_that_ended_by_its_own_rule_is_extended_without_it() {
    let service = Service::start().await;
    let mut body = sphere(50);
    // Everything is at most this.
    body["stop"] = json!({"target": 1000.0});
    let path = service.accepted(&body).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(5, &[], false).await;
    let task = service.get(&path).await.body;
    assert_eq!(task["stop_reason"], "target_reached", "{task}");
    assert_eq!(
        (&task["status"], &task["completed_trials"]),
        (&json!("completed"), &json!(1))
    );
    let refused = post(&service, &format!("{path}/retry"), None, None).await;
    let detail = refused.problem(409, "conflict")["detail"].as_str().unwrap();
    assert!(
        detail.contains("ended by its own rule (target_reached)"),
        "{detail}"
    );
    let more = json!({"n_trials": 51});
    let longer = post(&service, &format!("{path}/extend"), Some(&more), None).await;
    assert_eq!(longer.status, 201, "{}", longer.text);
    let warnings = longer.body["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|w| w["code"] == "stop_rules_dropped"));
    let place = longer.header("location").unwrap();
    assert_eq!(
        service.get(place).await.body["request"]["stop"],
        Value::Null
    );
    let mut holder = Holder::claim_unit(&service.store, place, 1).await;
    holder.record(50, &[], true).await;
    assert_eq!(
        trials(&service, place).await,
        undisturbed(&service, 51).await
    );
    service.stop().await;
}

#[tokio::test]
async fn a_space_that_is_visited_whole_is_not_extended() {
    let service = Service::start().await;
    let mut body = sphere(20);
    body["param_space"] = json!({"n": {"type": "int", "low": 1, "high": 9}});
    body["optimization_method"] = json!("grid");
    let path = service.accepted(&body).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(9, &[], true).await;
    let more = json!({"n_trials": 30});
    let refused = post(&service, &format!("{path}/extend"), Some(&more), None).await;
    let detail = refused.problem(409, "conflict")["detail"].as_str().unwrap();
    assert!(detail.contains("all 9 points"), "{detail}");
    service.stop().await;
}

#[tokio::test]
async fn a_backtest_is_cloned_and_retried_but_not_extended() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(2)).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(2, &[], true).await;
    // The replay of a trial is a task of the kind backtest.
    let replay = post(&service, &format!("{path}/trials/0/replay"), None, None).await;
    let run = replay.header("location").unwrap().to_owned();
    let more = json!({"n_trials": 2});
    let refused = post(&service, &format!("{run}/extend"), Some(&more), None).await;
    let detail = refused.problem(409, "conflict")["detail"].as_str().unwrap();
    assert!(
        detail.contains("one trial, and none can be added"),
        "{detail}"
    );
    let seeded = post(
        &service,
        &format!("{run}/clone"),
        Some(&json!({"seed": 1})),
        None,
    )
    .await;
    assert_eq!(
        seeded.faults(),
        [("/seed".to_owned(), "not_for_a_backtest".to_owned())]
    );
    let cloned = post(&service, &format!("{run}/clone"), None, None).await;
    assert_eq!(
        (cloned.status, &cloned.body["task_type"]),
        (201, &json!("backtest"))
    );
    post(&service, &format!("{run}/cancel"), None, None).await;
    let retried = post(&service, &format!("{run}/retry"), None, None).await;
    assert_eq!(retried.status, 201, "{}", retried.text);
    let (first, second) = (service.get(&run).await.body, {
        let place = retried.header("location").unwrap();
        service.get(place).await.body
    });
    assert_eq!(
        first["resolved"]["replay_of"],
        second["resolved"]["replay_of"]
    );
    // Under the prefix of optimizations there is no such task.
    let id = first["task_id"].as_str().unwrap();
    post(&service, &format!("{TASKS}/{id}/clone"), None, None)
        .await
        .problem(404, "not_found");
    service.stop().await;
}
