use crate::faulty_store::Mood;
use crate::service::{Answer, Service, TASKS, announce, sphere};
use serde_json::{Value, json};
use trialmill_backtest::synthetic::{self, Kind};
use trialmill_broker::Broker;
use trialmill_store::Store;

#[tokio::test]
async fn a_sound_request_is_stored_and_answered_with_its_place() {
    let service = Service::start().await;
    let answer = service.submit(&sphere(10)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.body["task_id"].as_str().unwrap();
    assert_eq!(
        answer.header("location"),
        Some(format!("{TASKS}/{id}").as_str())
    );
    assert_eq!(answer.body["status"], "queued");
    assert_eq!(answer.body["seed"], 42);
    assert_eq!(answer.body["n_trials"], 10);
    assert_eq!(answer.body["task_type"], "hyperparameter_optimization");
    assert_eq!(answer.body["resolved"]["sampler"], "random");
    assert_eq!(answer.body["resolved"]["data_snapshot"], Value::Null);
    assert_eq!(
        answer.body["links"]["status"],
        format!("{TASKS}/{id}/status")
    );
    let stored = service.get(answer.header("location").unwrap()).await;
    assert_eq!(stored.status, 200);
    assert_eq!(stored.body["request"], sphere(10));
    service.stop().await;
}

#[tokio::test]
async fn a_seed_is_drawn_and_said_when_the_request_has_none() {
    let service = Service::start().await;
    let mut request = sphere(10);
    request["seed"] = Value::Null;
    let first = service.submit(&request).await.body["seed"]
        .as_u64()
        .unwrap();
    let second = service.submit(&request).await.body["seed"]
        .as_u64()
        .unwrap();
    assert!(first < 1 << 53 && second < 1 << 53);
    assert_ne!(first, second, "two tasks drew the same 53 bits");
}

#[tokio::test]
async fn a_task_that_nobody_can_run_now_is_accepted_with_a_warning() {
    let service = Service::start().await;
    let codes = |answer: &Answer| -> Vec<String> {
        let warnings = answer.body["warnings"].as_array().unwrap().iter();
        warnings
            .map(|warning| warning["code"].as_str().unwrap().to_owned())
            .collect()
    };
    let lonely = service.submit(&sphere(3)).await;
    assert!(
        codes(&lonely).contains(&"no_live_worker".to_owned()),
        "{}",
        lonely.body
    );
    announce(&service.store, &["moving_average"]).await;
    let incapable = service.submit(&sphere(3)).await;
    assert!(
        codes(&incapable).contains(&"no_capable_worker".to_owned()),
        "{}",
        incapable.body
    );
    announce(&service.store, &["sphere"]).await;
    let fine = service.submit(&sphere(3)).await;
    assert!(
        !codes(&fine).iter().any(|code| code.ends_with("_worker")),
        "{}",
        fine.body
    );
}

#[tokio::test]
async fn the_same_key_and_body_give_the_same_task_and_another_body_is_refused() {
    let service = Service::start().await;
    let key = [("Idempotency-Key", "4f1c-once")];
    let first = service.submit_with(&sphere(10), &key).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.header("idempotent-replayed"), None);
    let again = service.submit_with(&sphere(10), &key).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.body["task_id"], first.body["task_id"]);
    service
        .submit_with(&sphere(11), &key)
        .await
        .problem(409, "conflict");
    assert_eq!(service.get(TASKS).await.body["total"], 1);
}

#[tokio::test]
async fn a_repeated_request_is_answered_even_when_it_would_be_refused_now() {
    let service = Service::start().await;
    let bars = |year| {
        let day = |month, day| chrono::NaiveDate::from_ymd_opt(year, month, day).unwrap();
        synthetic::series(Kind::RandomWalk, 7, 0, day(1, 1), day(12, 31)).unwrap()
    };
    service
        .store
        .put_series(&[bars(2022)], "a test")
        .await
        .unwrap();
    let mut request = sphere(10);
    request["strategy_name"] = json!("moving_average");
    request["stock_codes"] = json!([bars(2022).symbol()]);
    request["start_date"] = json!("2022-01-01");
    request["end_date"] = json!("2022-12-31");
    request["param_space"] = json!({
        "short_window": {"type": "int", "low": 2, "high": 5},
        "long_window": {"type": "int", "low": 6, "high": 20},
    });
    request["objective_config"] = json!({"objective_metric": "sharpe_ratio"});
    let key = [("Idempotency-Key", "once")];
    let first = service.submit_with(&request, &key).await;
    assert_eq!(first.status, 201, "{}", first.text);
    service
        .store
        .put_series(&[bars(2010)], "a test")
        .await
        .unwrap();
    service
        .submit(&request)
        .await
        .problem(422, "invalid_request");
    let again = service.submit_with(&request, &key).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.body["task_id"], first.body["task_id"]);
    service
        .submit_with(&json!({"n_trials": 0}), &key)
        .await
        .problem(409, "conflict");
    assert_eq!(service.get(TASKS).await.body["total"], 1);
}

#[tokio::test]
async fn labels_come_back_with_the_task_and_in_the_list() {
    let service = Service::start().await;
    let mut request = sphere(2);
    request["labels"] = json!({"team": "quant", "阶段": "一"});
    let labelled = service.accepted(&request).await;
    assert_eq!(
        service.get(&labelled).await.body["labels"],
        request["labels"]
    );
    request["labels"] = Value::Null;
    let bare = service.accepted(&request).await;
    assert_eq!(service.get(&bare).await.body["labels"], json!({}));
    let listed = service.get(TASKS).await.body;
    assert_eq!(listed["items"][0]["labels"], json!({}));
    assert_eq!(listed["items"][1]["labels"]["team"], "quant");
}

#[tokio::test]
async fn an_unusable_idempotency_key_is_refused_and_nothing_is_stored() {
    let service = Service::start().await;
    for key in ["", "has space", &"k".repeat(256)] {
        let answer = service
            .submit_with(&sphere(10), &[("Idempotency-Key", key)])
            .await;
        answer.problem(422, "invalid_request");
        let place = (
            "#Idempotency-Key".to_owned(),
            "bad_idempotency_key".to_owned(),
        );
        assert_eq!(answer.faults(), [place]);
    }
    assert_eq!(service.get(TASKS).await.body["total"], 0);
    let longest = service
        .submit_with(&sphere(10), &[("Idempotency-Key", &"k".repeat(255))])
        .await;
    assert_eq!(longest.status, 201);
}

#[tokio::test]
async fn every_fault_of_a_request_is_told_at_once_with_its_place() {
    let service = Service::start().await;
    let mut request = sphere(10);
    request["n_trails"] = json!(5);
    request["n_trials"] = json!(0);
    request["start_date"] = json!("2023-13-01");
    request["param_space"]["x"]["low"] = json!(9.0);
    request.as_object_mut().unwrap().remove("task_name");
    let answer = service.submit(&request).await;
    answer.problem(422, "invalid_request");
    let places: Vec<String> = answer
        .faults()
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect();
    for pointer in ["/n_trails", "/n_trials", "/start_date", "/task_name"] {
        assert!(
            places.contains(&pointer.to_owned()),
            "{pointer} in {places:?}"
        );
    }
    assert!(
        places
            .iter()
            .any(|place| place.starts_with("/param_space/x")),
        "{places:?}"
    );
    assert_eq!(service.get(TASKS).await.body["total"], 0);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_one_fault() {
    let service = Service::start().await;
    for body in ["", "{", "{\"seed\": 1e400}", "\u{0}", &"[".repeat(5000)] {
        let request = service.http.post(format!("{}{TASKS}", service.base));
        let request = request
            .header("content-type", "application/json")
            .body(body.to_owned());
        let answer = Answer::of(request.send().await.unwrap()).await;
        answer.problem(422, "invalid_request");
        assert_eq!(
            answer.faults(),
            [(String::new(), "invalid_json".to_owned())]
        );
    }
}

#[tokio::test]
async fn missing_market_data_is_a_fault_of_the_symbol() {
    let service = Service::start().await;
    let mut request = sphere(10);
    request["strategy_name"] = json!("moving_average");
    request["stock_codes"] = json!(["600000.SH"]);
    request["param_space"] = json!({
        "short_window": {"type": "int", "low": 2, "high": 50},
        "long_window": {"type": "int", "low": 5, "high": 200},
    });
    request["objective_config"] = json!({"objective_metric": "sharpe_ratio"});
    let answer = service.submit(&request).await;
    answer.problem(422, "invalid_request");
    assert!(
        answer
            .faults()
            .iter()
            .any(|(pointer, _)| pointer == "/stock_codes/0"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn the_general_route_takes_a_task_type_and_refuses_kinds_that_are_not_built() {
    let service = Service::start().await;
    let post = |body: Value| {
        let request = service
            .http
            .post(format!("{}/api/v1/tasks", service.base))
            .json(&body);
        async { Answer::of(request.send().await.unwrap()).await }
    };
    let mut request = sphere(5);
    request["task_type"] = json!("hyperparameter_optimization");
    let accepted = post(request.clone()).await;
    assert_eq!(accepted.status, 201, "{}", accepted.text);
    let path = accepted.header("location").unwrap();
    assert!(path.starts_with("/api/v1/tasks/"), "{path}");
    let id = path.rsplit('/').next().unwrap();
    assert_eq!(service.get(&format!("{TASKS}/{id}")).await.status, 200);
    request["task_type"] = json!("training");
    let refused = post(request).await;
    refused.problem(422, "invalid_request");
    assert_eq!(refused.faults()[0].0, "/task_type");
}

#[tokio::test]
async fn a_large_body_is_refused_with_the_limit_even_when_it_is_64_megabytes() {
    let service = Service::start().await;
    for bytes in [1024 * 1024 + 1, 64 * 1024 * 1024] {
        let request = service.http.post(format!("{}{TASKS}", service.base));
        let request = request
            .header("content-type", "application/json")
            .body(vec![b' '; bytes]);
        let answer = Answer::of(request.send().await.unwrap()).await;
        let problem = answer.problem(413, "body_too_large");
        assert!(
            problem["detail"].as_str().unwrap().contains("1048576"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn another_content_type_is_refused_and_named() {
    let service = Service::start().await;
    let request = service.http.post(format!("{}{TASKS}", service.base));
    let request = request
        .header("content-type", "text/yaml")
        .body("task_name: x");
    let answer = Answer::of(request.send().await.unwrap()).await;
    let problem = answer.problem(415, "unsupported_media_type");
    assert!(
        problem["detail"].as_str().unwrap().contains("text/yaml"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_task_is_accepted_while_the_broker_is_down() {
    let service = Service::start().await;
    service.broker.close().await;
    let ready = service.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.body["status"]),
        (200, &json!("degraded"))
    );
    assert_eq!(ready.body["broker"]["state"], "disconnected");
    let path = service.accepted(&sphere(5)).await;
    let explained = service.get(&format!("{path}/explain")).await;
    let codes: Vec<&str> = explained.body["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["no_live_worker", "broker_down"]);
}

#[tokio::test]
async fn a_submission_without_the_database_can_be_repeated_later() {
    let service = Service::start().await;
    let key = [("Idempotency-Key", "again")];
    service.mood.set(Mood::Away);
    let away = service.submit_with(&sphere(5), &key).await;
    away.problem(503, "unavailable");
    assert_eq!(away.header("retry-after"), Some("5"));
    service.mood.set(Mood::Well);
    assert_eq!(service.submit_with(&sphere(5), &key).await.status, 201);
}
