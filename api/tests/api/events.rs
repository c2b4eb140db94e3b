use crate::service::{Holder, Service, sphere};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// (id, event, data) of every event of a stream's text; comments are left out.
fn parse(text: &str) -> Vec<(i64, String, Value)> {
    text.split("\n\n")
        .filter(|block| block.lines().any(|line| line.starts_with("id:")))
        .map(|block| {
            let field = |name: &str| {
                let line = block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap();
                line.trim_start_matches(':').trim().to_owned()
            };
            let data = serde_json::from_str(&field("data")).unwrap();
            (field("id").parse().unwrap(), field("event"), data)
        })
        .collect()
}

async fn watch(service: &Service, path: &str, last: Option<i64>) -> reqwest::Response {
    let mut request = service.http.get(format!("{}{path}/events", service.base));
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last.to_string());
    }
    request.send().await.unwrap()
}

/// No stream of these tests takes this long.
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_watcher_sees_every_event_once_in_order_and_the_stream_ends_with_the_task() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(4)).await;
    let stream = watch(&service, &path, None).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let reader = tokio::spawn(stream.text());
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(2, &[], false).await;
    holder.record(2, &[], true).await;
    let text = timeout(LIMIT, reader).await.unwrap().unwrap().unwrap();
    let events = parse(&text);
    let names: Vec<&str> = events.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names, ["accepted", "started", "trials", "trials", "ended"]);
    let ids: Vec<i64> = events.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    assert_eq!(events[2].2["numbers"], serde_json::json!([[0, 2]]));
    assert_eq!(events[4].2["state"], "completed");
    service.stop().await;
}

#[tokio::test]
async fn a_watcher_that_comes_back_goes_on_after_the_event_it_saw_last() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(4)).await;
    Holder::claim(&service.store, &path)
        .await
        .record(4, &[], true)
        .await;
    let text = timeout(LIMIT, watch(&service, &path, Some(2)).await.text())
        .await
        .unwrap()
        .unwrap();
    let ids: Vec<i64> = parse(&text).iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids, [3, 4]);
    assert_eq!(watch(&service, &path, Some(4)).await.status(), 204);
}

#[tokio::test]
async fn a_watcher_that_is_ahead_of_its_task_sees_what_comes() {
    // The database was set back, or the number is of another task.
    let service = Service::start().await;
    let path = service.accepted(&sphere(4)).await;
    let stream = watch(&service, &path, Some(1_000)).await;
    let reader = tokio::spawn(stream.text());
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(4, &[], true).await;
    let text = timeout(LIMIT, reader).await.unwrap().unwrap().unwrap();
    let names: Vec<String> = parse(&text).into_iter().map(|event| event.1).collect();
    assert_eq!(names, ["started", "trials", "ended"]);
}

#[tokio::test]
async fn an_event_id_that_is_none_is_refused() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(4)).await;
    let answer = crate::service::Answer::of(watch(&service, &path, Some(-1)).await).await;
    answer.problem(422, "invalid_request");
    assert_eq!(answer.faults()[0].0, "#Last-Event-ID");
}

#[tokio::test]
async fn shutdown_ends_the_streams_of_tasks_that_go_on() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(4)).await;
    let mut stream = watch(&service, &path, None).await;
    let first = timeout(LIMIT, stream.chunk())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(String::from_utf8_lossy(&first).contains("event: accepted"));
    timeout(LIMIT, service.stop()).await.unwrap();
    assert_eq!(timeout(LIMIT, stream.chunk()).await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn a_watcher_of_a_deleted_task_is_let_go() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(4)).await;
    let stream = watch(&service, &path, Some(1_000)).await;
    service.post(&format!("{path}/cancel")).await;
    assert_eq!(service.delete(&path).await.status, 204);
    let text = timeout(LIMIT, stream.text()).await.unwrap().unwrap();
    assert_eq!(parse(&text), []);
}

#[tokio::test]
async fn a_watcher_is_told_which_events_are_no_longer_kept() {
    let service = Service::start().await;
    let path = service.accepted(&sphere(4)).await;
    Holder::claim(&service.store, &path)
        .await
        .record(4, &[], true)
        .await;
    let keep = trialmill_store::Keep {
        events: Duration::ZERO,
        tasks: None,
    };
    // What ended within this very millisecond is not older than nothing.
    while trialmill_store::Store::tidy(&service.store, &keep)
        .await
        .unwrap()
        .events
        == 0
    {}
    for (last, from) in [(None, 1), (Some(1), 2)] {
        let stream = watch(&service, &path, last).await;
        let text = timeout(LIMIT, stream.text()).await.unwrap().unwrap();
        let events = parse(&text);
        let told: Vec<_> = events
            .iter()
            .map(|(id, name, _)| (*id, name.as_str()))
            .collect();
        assert_eq!(told, [(3, "trimmed"), (4, "ended")]);
        assert_eq!(
            (&events[0].2["from"], &events[0].2["to"]),
            (&from.into(), &3.into())
        );
    }
    // Whoever saw the last one before it is told of nothing that it missed.
    let text = watch(&service, &path, Some(3)).await.text();
    let text = timeout(LIMIT, text).await.unwrap().unwrap();
    assert_eq!(parse(&text).len(), 1);
    assert_eq!(watch(&service, &path, Some(4)).await.status(), 204);
}
