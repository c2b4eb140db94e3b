use crate::service::{Answer, Service, TASKS, sphere};
use trialmill_api::ApiKey;

const KEY: &str = "pL2rWq8vT5yNc7bXh3mKj6dZs9fGa4eR";

#[tokio::test]
async fn with_a_key_every_route_but_health_and_documentation_needs_it() {
    let service = Service::start_with(Some(ApiKey::new(KEY).unwrap())).await;
    for open in ["/healthz", "/readyz", "/openapi.json", "/docs"] {
        assert_eq!(service.get(open).await.status, 200, "{open}");
    }
    for closed in [
        TASKS,
        "/api/v1/workers",
        "/api/v1/nothing",
        "/nothing",
        "//api/v1/workers",
    ] {
        let answer = service.get(closed).await;
        answer.problem(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    service
        .submit(&sphere(3))
        .await
        .problem(401, "unauthorized");
    let bearer = format!("bearer {KEY}");
    let accepted = service
        .submit_with(&sphere(3), &[("Authorization", &bearer)])
        .await;
    assert_eq!(accepted.status, 201, "{}", accepted.text);
}

#[tokio::test]
async fn another_key_or_scheme_is_refused() {
    let service = Service::start_with(Some(ApiKey::new(KEY).unwrap())).await;
    let wrong = format!("Bearer {}", KEY.to_lowercase());
    for value in [
        wrong.as_str(),
        &format!("Basic {KEY}"),
        KEY,
        "Bearer",
        "Bearer ",
    ] {
        let request = service.http.get(format!("{}{TASKS}", service.base));
        let request = request.header("Authorization", value);
        Answer::of(request.send().await.unwrap())
            .await
            .problem(401, "unauthorized");
    }
}
