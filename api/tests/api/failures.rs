use crate::faulty_store::{FaultyStore, Mood};
use crate::service::{Service, TASKS, sphere};
use axum::body::{Body, Bytes};
use futures::StreamExt;
use std::sync::Arc;
use tower::ServiceExt;
use trialmill_api::{AppState, Class, router};
use trialmill_broker::InProcessBroker;
use trialmill_store::Timing;
use trialmill_store::sqlite::SqliteStore;

#[tokio::test]
async fn without_the_database_the_process_lives_and_is_not_ready() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(3)).await;
    service.mood.set(Mood::Away);
    assert_eq!(service.get("/healthz").await.status, 200);
    for path in [
        "/readyz",
        TASKS,
        &path,
        &format!("{path}/events"),
        "/api/v1/workers",
    ] {
        let answer = service.get(path).await;
        let problem = answer.problem(503, "unavailable");
        assert_eq!(problem["instance"], path);
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert!(
            !answer.text.contains("connection refused"),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_panic_and_a_fault_of_ours_are_500_without_internals() {
    let service = Service::start().await;
    for mood in [Mood::Panicking, Mood::Refusing] {
        service.mood.set(mood);
        let answer = service.get(TASKS).await;
        answer.problem(500, "internal");
        assert!(!answer.text.contains("secret"), "{}", answer.text);
    }
    service.mood.set(Mood::Well);
    assert_eq!(service.get(TASKS).await.status, 200);
}

#[tokio::test]
async fn what_does_not_exist_is_a_problem_that_names_the_path() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(3)).await;
    for missing in [
        "/nothing",
        "/api/v1/models",
        &format!("{path}/export"),
        &format!("{path}/elsewhere"),
    ] {
        let answer = service.get(missing).await;
        let problem = answer.problem(404, "not_found");
        assert!(
            problem["detail"].as_str().unwrap().contains(missing),
            "{problem}"
        );
    }
    let unknown = format!("{TASKS}/019a3f0e-8c2b-7d51-9d55-1f0f6a1c2b3d");
    service.get(&unknown).await.problem(404, "not_found");
    service
        .post(&format!("{unknown}/cancel"))
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn a_path_that_cannot_name_anything_says_what_would() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(3)).await;
    let bad_id = service.get(&format!("{TASKS}/latest/status")).await;
    bad_id.problem(422, "invalid_request");
    assert_eq!(
        bad_id.faults(),
        [("{id}".to_owned(), "not_a_uuid".to_owned())]
    );
    let bad_number = service.get(&format!("{path}/trials/-1")).await;
    bad_number.problem(422, "invalid_request");
    assert_eq!(
        bad_number.faults(),
        [("{n}".to_owned(), "not_a_number".to_owned())]
    );
    service
        .get("/api/v1/market-data/%FF")
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn another_method_is_a_problem_with_the_allowed_ones() {
    let service = Service::start().await;
    let answer = service.delete(TASKS).await;
    answer.problem(405, "method_not_allowed");
    let allowed = answer.header("allow").unwrap();
    assert!(
        allowed.contains("POST") && allowed.contains("GET"),
        "{allowed}"
    );
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let service = Service::start().await;
    let big = "x".repeat(17 * 1024);
    let answer = service
        .submit_with(&sphere(3), &[("x-padding", &big)])
        .await;
    answer.problem(431, "headers_too_large");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_given_up() {
    let store = SqliteStore::open_in_memory(Timing::default()).unwrap();
    let (store, mood) = FaultyStore::new(store);
    mood.set(Mood::Silent);
    let state = AppState::new(Arc::new(store), Arc::new(InProcessBroker::new(8)));
    let request = axum::http::Request::get(TASKS).body(Body::empty()).unwrap();
    let begun = tokio::time::Instant::now();
    let response = router(state).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 504);
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_complete_in_time_is_a_problem_of_its_own() {
    let store = SqliteStore::open_in_memory(Timing::default()).unwrap();
    // Nobody asks the store for keys, whose thread knows nothing of the paused clock.
    let state = AppState::new(Arc::new(store), Arc::new(InProcessBroker::new(8))).trusting();
    let begun = Bytes::from_static(b"{\"task_name\": ");
    let body = futures::stream::iter([Ok::<_, std::io::Error>(begun)]);
    let body = Body::from_stream(body.chain(futures::stream::pending()));
    let request = axum::http::Request::post(TASKS)
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let begun = tokio::time::Instant::now();
    let response = router(state).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 408);
    assert_eq!(begun.elapsed().as_secs(), 20);
    let bytes = axum::body::to_bytes(response.into_body(), 10_000).await;
    let problem: serde_json::Value = serde_json::from_slice(&bytes.unwrap()).unwrap();
    assert_eq!(problem["type"], "urn:trialmill:problem:body_too_slow");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("not complete after 20 s"), "{detail}");
}

#[test]
fn every_class_of_problem_has_its_own_name_and_status() {
    let mut names: Vec<_> = Class::ALL.iter().map(|class| class.name()).collect();
    let mut statuses: Vec<_> = Class::ALL.iter().map(|class| class.status()).collect();
    names.sort_unstable();
    names.dedup();
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(
        (names.len(), statuses.len()),
        (Class::ALL.len(), Class::ALL.len())
    );
}
