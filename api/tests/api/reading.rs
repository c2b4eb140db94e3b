use crate::service::{Answer, Holder, Service, TASKS, announce, id_of, sphere};
use serde_json::{Value, json};
use trialmill_store::Store;

fn codes(answer: &Answer) -> Vec<String> {
    let reasons = answer.body["reasons"].as_array().unwrap().iter();
    reasons
        .map(|reason| reason["code"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_status_follows_a_task_from_its_queue_to_its_end() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(4)).await;
    let status = format!("{path}/status");
    let queued = service.get(&status).await.body;
    assert_eq!(
        (&queued["status"], &queued["phase"]),
        (&json!("queued"), &Value::Null)
    );
    assert_eq!(queued["trials_per_second"], Value::Null);
    service
        .get(&format!("{path}/best"))
        .await
        .problem(404, "not_found");

    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(2, &[0], false).await;
    let running = service.get(&status).await.body;
    assert_eq!(running["status"], "running");
    assert_eq!(running["phase"], "searching");
    assert_eq!(running["progress"], 0.5);
    assert_eq!(running["running_trials"], 1);
    assert_eq!(
        (&running["completed_trials"], &running["failed_trials"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(running["best_trial_number"], 1);
    assert_eq!(
        codes(&service.get(&format!("{path}/explain")).await),
        ["running"]
    );

    holder.record(2, &[], true).await;
    let task = service.get(&path).await.body;
    assert_eq!(task["status"], "completed");
    assert_eq!(task["stop_reason"], "n_trials");
    assert_eq!(task["progress"], 1.0);
    assert_eq!(task["eta_seconds"], Value::Null);
    let result = &task["result"];
    assert_eq!(result["verdict"]["code"], "in_sample_only");
    assert_eq!(result["best"]["params"], task["best_params"]);
    assert_eq!(result["best"]["values"]["value"], task["best_score"]);
    assert_eq!(result["reproducibility"]["seed"], 42);
    assert_eq!(result["optimization_metadata"]["method"], "random");
    let best = service.get(&format!("{path}/best")).await.body;
    let (x, n) = (
        best["params"]["x"].as_f64().unwrap(),
        best["params"]["n"].as_f64().unwrap(),
    );
    let named_in_order = n * n + x * x;
    assert_eq!(best["values"]["value"].as_f64().unwrap(), named_in_order);
    assert_eq!(
        codes(&service.get(&format!("{path}/explain")).await),
        ["ended"]
    );
    service.stop().await;
}

#[tokio::test]
async fn trials_come_in_pages_by_number_and_by_state() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(7)).await;
    Holder::claim(&service.store, &path)
        .await
        .record(7, &[2, 5], true)
        .await;
    let mut numbers = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = service
            .get(&format!("{path}/trials?limit=3{cursor}"))
            .await
            .body;
        let items = page["items"].as_array().unwrap();
        numbers.extend(items.iter().map(|trial| trial["number"].as_u64().unwrap()));
        match page["next_cursor"].as_u64() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    let failed = service
        .get(&format!("{path}/trials?state=failed"))
        .await
        .body;
    let failed = failed["items"].as_array().unwrap();
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[0]["failure"]["kind"], "panic");
    assert_eq!(failed[0]["failure"]["causes"], json!(["the len is 3"]));
    assert_eq!(failed[0]["values"], json!({}));
    let one = service.get(&format!("{path}/trials/5")).await.body;
    assert_eq!(
        (&one["reports"], &failed[1]["reports"]),
        (&json!([]), &json!(null))
    );
    let mut listed = one.clone();
    listed["reports"] = json!(null);
    assert_eq!(listed, failed[1]);
    let running = service
        .get(&format!("{path}/trials?state=running"))
        .await
        .body;
    assert_eq!(running["items"], json!([]));
    service
        .get(&format!("{path}/trials/7"))
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn tasks_are_listed_newest_first_with_their_true_number() {
    let service = Service::start().await;
    let mut paths = Vec::new();
    for n in 1..=5 {
        paths.push(service.accepted(&sphere(n)).await);
    }
    service.post(&format!("{}/cancel", paths[0])).await;
    let first = service.get(&format!("{TASKS}?limit=2")).await.body;
    assert_eq!(first["total"], 5);
    assert_eq!(first["items"][0]["n_trials"], 5);
    let next = first["next_cursor"].as_str().unwrap();
    let second = service
        .get(&format!("{TASKS}?limit=2&cursor={next}"))
        .await
        .body;
    assert_eq!(second["items"][0]["n_trials"], 3);
    let cancelled = service
        .get("/api/v1/tasks?status=cancelled,failed")
        .await
        .body;
    assert_eq!(
        (&cancelled["total"], &cancelled["items"][0]["n_trials"]),
        (&json!(1), &json!(1))
    );
    let named = service
        .get("/api/v1/tasks?name=SPHERE&strategy_name=sphere")
        .await
        .body;
    assert_eq!(named["total"], 5);
    assert_eq!(
        service.get("/api/v1/tasks?task_type=training").await.body["total"],
        0
    );
}

#[tokio::test]
async fn every_fault_of_a_query_is_told_at_once() {
    let service = Service::start().await;
    let query = "status=queued,exploded&task_type=dance&cursor=x&limit=0";
    let answer = service.get(&format!("/api/v1/tasks?{query}")).await;
    answer.problem(422, "invalid_request");
    let places: Vec<String> = answer
        .faults()
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect();
    assert_eq!(places, ["?status", "?task_type", "?cursor", "?limit"]);
    let unknown = service.get("/api/v1/tasks?stauts=queued").await;
    assert!(
        unknown.problem(422, "invalid_request")["detail"]
            .as_str()
            .unwrap()
            .contains("stauts")
    );
    let path = service.accepted(&sphere(3)).await;
    let trials = service
        .get(&format!("{path}/trials?state=lost&cursor=-1&limit=1001"))
        .await;
    let places: Vec<String> = trials
        .faults()
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect();
    assert_eq!(places, ["?state", "?cursor", "?limit"]);
}

#[tokio::test]
async fn a_paused_task_says_so_and_goes_on_when_it_is_resumed() {
    let service = Service::start().await;
    announce(&service.store, &["sphere"]).await;
    let path = service.accepted(&sphere(3)).await;
    let paused = service.post(&format!("{path}/pause")).await;
    assert_eq!(
        (paused.status, &paused.body["status"]),
        (200, &json!("paused"))
    );
    let explained = service.get(&format!("{path}/explain")).await;
    assert_eq!(codes(&explained), ["paused"]);
    let remedy = explained.body["reasons"][0]["remedy"].as_str().unwrap();
    assert!(remedy.contains(&format!("POST {path}/resume")), "{remedy}");
    service.delete(&path).await.problem(409, "conflict");
    assert_eq!(
        service.post(&format!("{path}/resume")).await.body["status"],
        "queued"
    );
    assert_eq!(
        codes(&service.get(&format!("{path}/explain")).await),
        ["about_to_start"]
    );
}

#[tokio::test]
async fn a_cancelled_task_stays_cancelled_and_can_be_deleted() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(3)).await;
    assert_eq!(
        service.post(&format!("{path}/cancel")).await.body["status"],
        "cancelled"
    );
    let again = service.post(&format!("{path}/cancel")).await;
    assert!(
        again.problem(409, "conflict")["detail"]
            .as_str()
            .unwrap()
            .contains("cancelled")
    );
    service
        .post(&format!("{path}/resume"))
        .await
        .problem(409, "conflict");
    assert_eq!(service.delete(&path).await.status, 204);
    service.get(&path).await.problem(404, "not_found");
    service.delete(&path).await.problem(404, "not_found");
    assert!(service.store.task(id_of(&path)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_failed_task_carries_the_first_failure() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(2)).await;
    Holder::claim(&service.store, &path)
        .await
        .record(2, &[0, 1], true)
        .await;
    let status = service.get(&format!("{path}/status")).await.body;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["error"]["first_failure"]["kind"], "panic");
    assert_eq!(status["error"]["trial_number"], 0);
}

#[tokio::test]
async fn explain_tells_what_stands_in_the_way() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(3)).await;
    let explain = format!("{path}/explain");
    assert_eq!(codes(&service.get(&explain).await), ["no_live_worker"]);
    announce(&service.store, &["moving_average"]).await;
    assert_eq!(codes(&service.get(&explain).await), ["no_capable_worker"]);
    announce(&service.store, &["sphere"]).await;
    assert_eq!(codes(&service.get(&explain).await), ["about_to_start"]);
    let behind = service.accepted(&sphere(3)).await;
    let explained = service.get(&format!("{behind}/explain")).await;
    assert_eq!(codes(&explained), ["waiting_behind"]);
    assert_eq!(explained.body["units"]["ahead"], 1);
    let mut later = sphere(3);
    later["not_before"] = json!("2199-01-01T00:00:00Z");
    let later = service.accepted(&later).await;
    let found = codes(&service.get(&format!("{later}/explain")).await);
    assert!(found.contains(&"not_before".to_owned()), "{found:?}");
}

#[tokio::test]
async fn operators_see_workers_and_queues() {
    let service = Service::start().await;
    announce(&service.store, &["sphere"]).await;
    let workers = service.get("/api/v1/workers").await.body;
    assert_eq!(workers["items"][0]["live"], true);
    assert_eq!(workers["items"][0]["slots"], 2);
    service.accepted(&sphere(3)).await;
    let queues = service.get("/api/v1/queues").await.body;
    assert_eq!(queues["broker"]["state"], "connected");
    assert_eq!(queues["items"][0]["pool"], "default");
    assert_eq!(queues["items"][0]["ready"], 0);
    assert_eq!(queues["items"][0]["live_slots"], 2);
    assert_eq!(queues["items"][0]["next_due_seconds"], 0.0);
}

#[tokio::test]
async fn the_catalogues_name_what_this_build_has() {
    let service = Service::start().await;
    let names = |answer: &Answer, key: &str| -> Vec<String> {
        let items = answer.body["items"].as_array().unwrap().iter();
        items
            .map(|item| item[key].as_str().unwrap().to_owned())
            .collect()
    };
    let strategies = names(&service.get("/api/v1/strategies").await, "key");
    assert!(
        strategies.contains(&"moving_average".to_owned()),
        "{strategies:?}"
    );
    assert!(strategies.contains(&"sphere".to_owned()), "{strategies:?}");
    assert_eq!(
        names(&service.get("/api/v1/samplers").await, "name"),
        [
            "auto", "random", "grid", "sobol", "tpe", "gp", "cmaes", "nsga2"
        ]
    );
    let items = service.get("/api/v1/strategies").await.body["items"].clone();
    let of = |key: &str| {
        let mut items = items.as_array().unwrap().iter();
        items.find(|item| item["key"] == key).unwrap().clone()
    };
    assert_eq!(of("cointegration")["legs"], 2);
    assert_eq!(of("moving_average")["legs"], 1);
    let retired = &of("bollinger")["retired_parameters"][0];
    assert_eq!(retired["name"], "entry_threshold");
    assert!(retired["reason"].as_str().unwrap().len() > 10);
    let metrics = service.get("/api/v1/metrics-catalogue").await;
    assert!(names(&metrics, "name").contains(&"sharpe_ratio".to_owned()));
    assert_eq!(
        service.get("/api/v1/market-data").await.body,
        json!({"items": [], "total": 0})
    );
    service
        .get("/api/v1/market-data/600000.SH")
        .await
        .problem(404, "not_found");
    let default = service.get("/api/v1/samplers").await.body["default"].clone();
    let mut request = sphere(30);
    request
        .as_object_mut()
        .unwrap()
        .remove("optimization_method");
    let resolved = service.submit(&request).await.body["resolved"].clone();
    assert_eq!(resolved["sampler"], default);
    let plan = resolved["sampler_plan"].as_str().unwrap();
    assert!(plan.starts_with("gp while it foretells"), "{plan}");
    request["optimization_method"] = json!("tpe");
    let resolved = service.submit(&request).await.body["resolved"].clone();
    assert_eq!(resolved["sampler_plan"], Value::Null);
}
