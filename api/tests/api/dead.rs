use crate::service::Service;
use serde_json::{Value, json};
use trialmill_broker::{Broker, MAX_DEAD_LISTED};
use trialmill_common::message::UnitMessage;
use uuid::Uuid;

const DEAD: &str = "/api/v1/dead";
const TASK: Uuid = Uuid::from_u128(0x0192_f3a4);

/// Gives the messages of these units back until they are dead.
pub async fn let_die(service: &Service, pool: &str, units: u32) {
    let messages: Vec<_> = (0..units)
        .map(|unit| UnitMessage::new(TASK, unit))
        .collect();
    for sent in service.broker.publish(pool, &messages).await {
        sent.unwrap();
    }
    let before = service.broker.dead(MAX_DEAD_LISTED).await.unwrap().total;
    let mut slot = service.broker.consume(pool, "slot").await.unwrap();
    while service.broker.dead(MAX_DEAD_LISTED).await.unwrap().total < before + units {
        tokio::select! {
            biased;
            _ = slot.next() => {}
            () = tokio::task::yield_now() => {}
        }
    }
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn dead_letters_are_listed_with_their_reason_replayed_and_discarded() {
    let service = Service::start().await;
    let empty = service.get(DEAD).await;
    assert_eq!(
        (empty.status, &empty.body),
        (200, &json!({"items": [], "total": 0}))
    );
    let_die(&service, "default", 3).await;
    let listed = service.get(DEAD).await.body;
    assert_eq!(listed["total"], 3);
    let first = &listed["items"][0];
    assert_eq!(first["code"], "delivery_limit");
    assert_eq!(
        (&first["task_id"], &first["unit"]),
        (&json!(TASK), &json!(0))
    );
    assert_eq!(
        (&first["pool"], &first["schema"]),
        (&json!("default"), &json!(1))
    );
    assert!(
        first["reason"]
            .as_str()
            .unwrap()
            .contains("more than 20 times")
    );
    assert!(first["body"].as_str().unwrap().contains("task_id"));
    let found = ids(&listed);
    assert_eq!(
        ids(&service.get(&format!("{DEAD}?limit=2")).await.body),
        found[..2]
    );

    let replayed = service.post(&format!("{DEAD}/{}/replay", found[1])).await;
    assert_eq!((replayed.status, &replayed.body["unit"]), (200, &json!(1)));
    assert_eq!(service.broker.depth("default").await.unwrap().ready, 1);
    let discarded = service
        .delete(&format!("{DEAD}/{}", found[0].to_uppercase()))
        .await;
    assert_eq!(
        (discarded.status, &discarded.body["id"]),
        (200, &json!(found[0]))
    );
    assert_eq!(ids(&service.get(DEAD).await.body), found[2..]);
    for gone in &found[..2] {
        let again = service.delete(&format!("{DEAD}/{gone}")).await;
        again.problem(404, "not_found");
        let again = service.post(&format!("{DEAD}/{gone}/replay")).await;
        again.problem(404, "not_found");
    }
}

#[tokio::test]
async fn all_dead_letters_are_discarded_or_those_of_a_pool() {
    let service = Service::start().await;
    let_die(&service, "default", 2).await;
    let_die(&service, "gpu", 1).await;
    let gpu = service.get(&format!("{DEAD}?pool=gpu")).await.body;
    assert_eq!((ids(&gpu).len(), &gpu["total"]), (1, &json!(3)));
    let answer = service.delete(&format!("{DEAD}?pool=gpu")).await;
    assert_eq!(answer.body, json!({"discarded": 1}));
    let answer = service.delete(DEAD).await;
    assert_eq!(answer.body, json!({"discarded": 2}));
    assert_eq!(service.get(DEAD).await.body["total"], 0);
}

#[tokio::test]
async fn what_is_no_dead_letter_is_refused_with_every_fault() {
    let service = Service::start().await;
    let answer = service.get(&format!("{DEAD}?limit=0&pool=a%20b")).await;
    answer.problem(422, "invalid_request");
    let places: Vec<String> = answer.faults().into_iter().map(|fault| fault.0).collect();
    assert_eq!(places, ["?limit", "?pool"]);
    for id in ["1", "../..", &"z".repeat(32)] {
        let path = format!("{DEAD}/{}", id.replace('/', "%2f"));
        service.delete(&path).await.problem(422, "invalid_request");
    }
    let answer = service.delete(&format!("{DEAD}?limit=3")).await;
    answer.problem(422, "invalid_request");
}
