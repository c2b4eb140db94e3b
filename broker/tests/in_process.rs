//! The in-process queue against the conformance suite, and what only it has: a bound.

mod conformance;

use conformance::{consumer, next, publish, unit};
use trialmill_broker::{Broker, InProcessBroker, PublishError};

struct Fixture(InProcessBroker);

impl Fixture {
    async fn new() -> Self {
        Self(InProcessBroker::new(1024))
    }

    fn broker(&self) -> &dyn Broker {
        &self.0
    }

    fn pool(&self) -> &'static str {
        "default"
    }

    async fn clean_up(self) {}
}

conformance!(Fixture::new);

#[tokio::test]
async fn a_publish_above_the_bound_is_refused_and_room_is_made_by_consuming() {
    let broker = InProcessBroker::new(2);
    let answers = broker
        .publish("default", &[unit(0), unit(1), unit(2)])
        .await;
    let full = PublishError::Full {
        pool: "default".to_owned(),
        limit: 2,
    };
    assert_eq!(answers, [Ok(()), Ok(()), Err(full.clone())]);
    let mut slot = consumer(&broker, "default", 0).await;
    assert_eq!(next(&mut slot).await.message, unit(0));
    publish(&broker, "default", [3]).await;
    assert_eq!(broker.publish("default", &[unit(4)]).await, [Err(full)]);
    // What a consumer gives back is never lost, also above the bound.
    drop(slot);
    assert_eq!(broker.depth("default").await.unwrap().ready, 3);
}

#[tokio::test]
async fn a_queue_is_reported_as_emptied_once() {
    let broker = InProcessBroker::new(8);
    publish(&broker, "default", [0, 1]).await;
    drop(consumer(&broker, "default", 0).await);
    broker.depth("default").await.unwrap();
    assert_eq!(broker.emptied().borrow().get("default"), Some(&1));
}
