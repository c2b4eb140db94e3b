//! What every broker does. Each function is one law; `conformance!` makes a test of each.

use std::{collections::BTreeSet, future::Future, time::Duration};
use trialmill_broker::{
    Broker, BrokerError, Consumer, DELIVERY_LIMIT_CODE, DeadLetter, Delivery, MAX_DEAD_LISTED,
    PublishError, QueueDepth,
};
use trialmill_common::message::{UnitMessage, UnitNote};
use uuid::Uuid;

/// Far above what anything here takes, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Waits until a look at the broker gives what is expected; it publishes its counts with a delay.
pub async fn depth_becomes(broker: &dyn Broker, pool: &str, expected: QueueDepth) {
    within(&format!("depth {expected:?} of {pool}"), async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while broker.depth(pool).await.unwrap() != expected {
            pace.tick().await;
        }
    })
    .await;
}

pub fn unit(number: u32) -> UnitMessage {
    let note = UnitNote {
        task_name: Some("ICBC/CCB pair".to_owned()),
        ..UnitNote::default()
    };
    UnitMessage::new(Uuid::from_u128(0x0192_f3a4), number).with_note(note)
}

pub async fn publish(broker: &dyn Broker, pool: &str, numbers: impl IntoIterator<Item = u32>) {
    let answers = try_publish(broker, pool, numbers).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

pub async fn try_publish(
    broker: &dyn Broker,
    pool: &str,
    numbers: impl IntoIterator<Item = u32>,
) -> Vec<Result<(), PublishError>> {
    let messages: Vec<_> = numbers.into_iter().map(unit).collect();
    let answers = within("publish", broker.publish(pool, &messages)).await;
    assert_eq!(answers.len(), messages.len());
    answers
}

pub async fn consumer(broker: &dyn Broker, pool: &str, slot: u32) -> Box<dyn Consumer> {
    broker
        .consume(
            pool,
            &format!("trialmill-worker.test.{pool}.slot-{slot:02}"),
        )
        .await
        .unwrap()
}

pub async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    within("next message", consumer.next()).await
}

fn fresh(number: u32) -> Delivery {
    Delivery {
        message: unit(number),
        redelivered: false,
    }
}

fn again(number: u32) -> Delivery {
    Delivery {
        message: unit(number),
        redelivered: true,
    }
}

pub async fn a_message_is_delivered_once_and_acknowledged(broker: &dyn Broker, pool: &str) {
    let mut slot = consumer(broker, pool, 0).await;
    publish(broker, pool, [7]).await;
    assert_eq!(next(&mut slot).await, fresh(7));
    slot.ack().await;
    publish(broker, pool, [8]).await;
    assert_eq!(next(&mut slot).await, fresh(8));
    slot.ack().await;
    within("close", slot.close()).await;
    depth_becomes(
        broker,
        pool,
        QueueDepth {
            ready: 0,
            consumers: 0,
        },
    )
    .await;
}

pub async fn a_duplicate_is_delivered_as_often_as_it_was_published(
    broker: &dyn Broker,
    pool: &str,
) {
    publish(broker, pool, [3, 3]).await;
    let mut slot = consumer(broker, pool, 0).await;
    for _ in 0..2 {
        assert_eq!(next(&mut slot).await, fresh(3));
        slot.ack().await;
    }
}

pub async fn each_message_goes_to_one_of_several_consumers(broker: &dyn Broker, pool: &str) {
    let mut slots = Vec::new();
    for slot in 0..4 {
        slots.push(consumer(broker, pool, slot).await);
    }
    let (found, mut seen) = tokio::sync::mpsc::channel(64);
    let workers: Vec<_> = slots
        .into_iter()
        .map(|mut slot| {
            let found = found.clone();
            tokio::spawn(async move {
                loop {
                    let delivery = slot.next().await;
                    slot.ack().await;
                    found.send(delivery).await.unwrap();
                }
            })
        })
        .collect();
    publish(broker, pool, 0..40).await;
    let mut numbers = BTreeSet::new();
    for _ in 0..40 {
        let delivery = within("a message", seen.recv()).await.unwrap();
        assert!(
            numbers.insert(delivery.message.unit),
            "{delivery:?} came twice"
        );
    }
    workers.iter().for_each(tokio::task::JoinHandle::abort);
    for worker in workers {
        assert!(worker.await.unwrap_err().is_cancelled());
    }
    depth_becomes(
        broker,
        pool,
        QueueDepth {
            ready: 0,
            consumers: 0,
        },
    )
    .await;
    assert_eq!(numbers, (0..40).collect());
}

pub async fn an_unacknowledged_message_goes_back_when_its_consumer_is_dropped(
    broker: &dyn Broker,
    pool: &str,
) {
    publish(broker, pool, [1]).await;
    let mut first = consumer(broker, pool, 0).await;
    assert_eq!(next(&mut first).await, fresh(1));
    drop(first);
    let mut second = consumer(broker, pool, 1).await;
    assert_eq!(next(&mut second).await, again(1));
    second.ack().await;
}

pub async fn an_unacknowledged_message_goes_back_when_its_consumer_is_closed(
    broker: &dyn Broker,
    pool: &str,
) {
    publish(broker, pool, [1]).await;
    let mut first = consumer(broker, pool, 0).await;
    assert_eq!(next(&mut first).await, fresh(1));
    within("close", first.close()).await;
    depth_becomes(
        broker,
        pool,
        QueueDepth {
            ready: 1,
            consumers: 0,
        },
    )
    .await;
    let mut second = consumer(broker, pool, 1).await;
    assert_eq!(next(&mut second).await, again(1));
    second.ack().await;
}

pub async fn asking_for_the_next_message_gives_an_unacknowledged_one_back(
    broker: &dyn Broker,
    pool: &str,
) {
    publish(broker, pool, [1]).await;
    let mut slot = consumer(broker, pool, 0).await;
    assert_eq!(next(&mut slot).await, fresh(1));
    assert_eq!(next(&mut slot).await, again(1));
    slot.ack().await;
    assert_eq!(slot.restarts(), 0);
    drop(slot);
    depth_becomes(
        broker,
        pool,
        QueueDepth {
            ready: 0,
            consumers: 0,
        },
    )
    .await;
}

pub async fn a_dropped_wait_loses_no_message_and_no_progress(broker: &dyn Broker, pool: &str) {
    let mut slot = consumer(broker, pool, 0).await;
    for number in 0..5 {
        let publishing = publish(broker, pool, [number]);
        tokio::pin!(publishing);
        let mut published = false;
        let delivery = within("a message between dropped waits", async {
            let mut pace = tokio::time::interval(Duration::from_millis(1));
            loop {
                tokio::select! {
                    biased;
                    delivery = slot.next() => break delivery,
                    () = &mut publishing, if !published => published = true,
                    _ = pace.tick() => {}
                }
            }
        })
        .await;
        if !published {
            publishing.await;
        }
        assert_eq!(delivery, fresh(number));
        slot.ack().await;
    }
}

pub async fn after_an_early_acknowledgement_a_slot_takes_nothing_until_it_asks(
    broker: &dyn Broker,
    pool: &str,
) {
    let mut busy = consumer(broker, pool, 0).await;
    publish(broker, pool, [1]).await;
    assert_eq!(next(&mut busy).await, fresh(1));
    within("early ack", busy.ack_early()).await;
    // It is acknowledged: a second acknowledgement has nothing to do.
    busy.ack().await;
    publish(broker, pool, [2, 3]).await;
    let mut free = consumer(broker, pool, 1).await;
    for number in [2, 3] {
        assert_eq!(next(&mut free).await, fresh(number));
        free.ack().await;
    }
    within("close", free.close()).await;
    publish(broker, pool, [4]).await;
    assert_eq!(next(&mut busy).await, fresh(4));
    busy.ack().await;
    assert_eq!(busy.restarts(), 0);
    drop(busy);
    depth_becomes(
        broker,
        pool,
        QueueDepth {
            ready: 0,
            consumers: 0,
        },
    )
    .await;
}

pub async fn depth_shows_waiting_messages_and_consumers(broker: &dyn Broker, pool: &str) {
    publish(broker, pool, 0..3).await;
    depth_becomes(
        broker,
        pool,
        QueueDepth {
            ready: 3,
            consumers: 0,
        },
    )
    .await;
    let mut slot = consumer(broker, pool, 0).await;
    next(&mut slot).await;
    depth_becomes(
        broker,
        pool,
        QueueDepth {
            ready: 2,
            consumers: 1,
        },
    )
    .await;
}

pub async fn a_queue_that_comes_into_being_is_reported_as_emptied(broker: &dyn Broker, pool: &str) {
    let mut emptied = broker.emptied();
    assert_eq!(emptied.borrow().get(pool), None);
    broker.depth(pool).await.unwrap();
    within(
        "emptied",
        emptied.wait_for(|pools| pools.contains_key(pool)),
    )
    .await
    .unwrap();
}

pub async fn a_replaced_queue_is_empty_and_said_to_be_and_its_consumers_come_back(
    broker: &dyn Broker,
    pool: &str,
) {
    publish(broker, pool, [1, 2, 3]).await;
    let mut slot = consumer(broker, pool, 0).await;
    assert_eq!(next(&mut slot).await, fresh(1));
    let times = |broker: &dyn Broker| broker.emptied().borrow().get(pool).copied();
    let before = times(broker).unwrap_or_default();
    within("the replacement", broker.replace_queue(pool))
        .await
        .unwrap();
    assert_eq!(times(broker), Some(before + 1));
    assert_eq!(broker.depth(pool).await.unwrap().ready, 0);
    // Too late, or of a message that is no more.
    slot.ack().await;
    publish(broker, pool, [4]).await;
    assert_eq!(next(&mut slot).await.message, unit(4));
    slot.ack().await;
}

pub async fn names_that_cannot_be_a_queue_are_refused(broker: &dyn Broker, pool: &str) {
    for bad in ["", "a b", "späth", "a/b", "#", &"x".repeat(101)] {
        assert!(
            matches!(
                broker.depth(bad).await,
                Err(BrokerError::BadPoolName { .. })
            ),
            "{bad}"
        );
        let answers = try_publish(broker, bad, [1, 2]).await;
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer, Err(PublishError::Name(_))))
        );
    }
    for bad in [String::new(), "x".repeat(256)] {
        let refused = broker.consume(pool, &bad).await.map(drop);
        assert!(
            matches!(refused, Err(BrokerError::BadConsumerName { .. })),
            "{bad}"
        );
    }
}

pub async fn after_close_a_publish_is_refused(broker: &dyn Broker, pool: &str) {
    publish(broker, pool, [1]).await;
    within("close", broker.close()).await;
    let answers = try_publish(broker, pool, [2]).await;
    assert!(
        matches!(answers[..], [Err(PublishError::Unavailable { .. })]),
        "{answers:?}"
    );
}

/// The dead letters of a pool, once there are `count`: the queue is shared, and what another look
/// holds is not seen.
pub async fn dead_becomes(broker: &dyn Broker, pool: &str, count: usize) -> Vec<DeadLetter> {
    within(&format!("{count} dead letters of {pool}"), async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            let found = broker.dead(MAX_DEAD_LISTED).await.unwrap();
            let of_pool = |letter: &DeadLetter| letter.pool.as_deref() == Some(pool);
            let ours: Vec<_> = found.letters.into_iter().filter(of_pool).collect();
            if ours.len() == count {
                return ours;
            }
        }
    })
    .await
}

/// Takes messages and gives each back until all of them are dead.
pub async fn let_die(broker: &dyn Broker, pool: &str, numbers: &[u32]) -> Vec<DeadLetter> {
    publish(broker, pool, numbers.iter().copied()).await;
    let mut slot = consumer(broker, pool, 0).await;
    let tired = async {
        loop {
            next(&mut slot).await;
        }
    };
    let dead = tokio::select! {
        () = tired => unreachable!("it never ends"),
        dead = dead_becomes(broker, pool, numbers.len()) => dead,
    };
    within("close", slot.close()).await;
    dead
}

pub async fn a_message_given_back_too_often_is_dead_and_says_why(broker: &dyn Broker, pool: &str) {
    let dead = let_die(broker, pool, &[5]).await;
    let [letter] = &dead[..] else {
        panic!("one is dead, not {dead:?}");
    };
    assert_eq!(letter.unit, Some(unit(5)));
    assert_eq!(
        (letter.code.as_str(), letter.schema),
        (DELIVERY_LIMIT_CODE, Some(1))
    );
    assert!(letter.reason.contains("more than 20 times"), "{letter:?}");
    assert!(letter.body.contains("ICBC/CCB pair"), "{letter:?}");
    assert_eq!(letter.bytes, letter.body.len());
    assert!(letter.id.len() == 32 && letter.id.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(
        broker.discard_dead(&letter.id).await.unwrap().as_ref(),
        Some(letter)
    );
}

pub async fn a_dead_letter_stays_as_it_is_until_it_is_discarded(broker: &dyn Broker, pool: &str) {
    let dead = let_die(broker, pool, &[1, 2]).await;
    assert_ne!(dead[0].id, dead[1].id);
    // However often it is looked at.
    for _ in 0..25 {
        let mut again = dead_becomes(broker, pool, 2).await;
        again.sort_by_key(|letter| dead.iter().position(|d| d.id == letter.id));
        assert_eq!(again, dead);
    }
    assert_eq!(broker.discard_dead("f".repeat(32).as_str()).await, Ok(None));
    assert_eq!(
        broker.discard_dead(&dead[0].id).await,
        Ok(Some(dead[0].clone()))
    );
    assert_eq!(broker.discard_dead(&dead[0].id).await, Ok(None));
    assert_eq!(dead_becomes(broker, pool, 1).await, dead[1..]);
    assert_eq!(
        broker.discard_dead(&dead[1].id).await,
        Ok(Some(dead[1].clone()))
    );
}

pub async fn a_replayed_dead_letter_is_delivered_like_a_new_one(broker: &dyn Broker, pool: &str) {
    let dead = let_die(broker, pool, &[7]).await;
    assert_eq!(
        broker.replay_dead(&dead[0].id).await,
        Ok(Some(dead[0].clone()))
    );
    assert_eq!(broker.replay_dead(&dead[0].id).await, Ok(None));
    let mut slot = consumer(broker, pool, 0).await;
    assert_eq!(next(&mut slot).await, fresh(7));
    slot.ack().await;
    dead_becomes(broker, pool, 0).await;
}

pub async fn discarding_all_of_a_pool_leaves_the_other_pools_theirs(
    broker: &dyn Broker,
    pool: &str,
) {
    let kept = let_die(broker, pool, &[1]).await;
    let other = format!("{pool}-other");
    let_die(broker, &other, &[2, 3]).await;
    // What another look holds at this moment stays and is discarded by the next one.
    within("all of a pool discarded", async {
        let mut discarded = 0;
        while discarded < 2 {
            discarded += broker.discard_all_dead(Some(&other)).await.unwrap();
        }
        assert_eq!(discarded, 2);
    })
    .await;
    assert_eq!(dead_becomes(broker, pool, 1).await, kept);
    assert!(broker.discard_dead(&kept[0].id).await.unwrap().is_some());
}

/// One test per law, each with a broker and a pool of its own from `$fixture(name)`, which has
/// `broker()`, `pool()` and `clean_up()`.
#[macro_export]
macro_rules! conformance {
    ($fixture:path) => {
        $crate::conformance!($fixture;
            a_message_is_delivered_once_and_acknowledged,
            a_duplicate_is_delivered_as_often_as_it_was_published,
            each_message_goes_to_one_of_several_consumers,
            an_unacknowledged_message_goes_back_when_its_consumer_is_dropped,
            an_unacknowledged_message_goes_back_when_its_consumer_is_closed,
            asking_for_the_next_message_gives_an_unacknowledged_one_back,
            a_dropped_wait_loses_no_message_and_no_progress,
            after_an_early_acknowledgement_a_slot_takes_nothing_until_it_asks,
            depth_shows_waiting_messages_and_consumers,
            a_queue_that_comes_into_being_is_reported_as_emptied,
            a_replaced_queue_is_empty_and_said_to_be_and_its_consumers_come_back,
            names_that_cannot_be_a_queue_are_refused,
            after_close_a_publish_is_refused,
            a_message_given_back_too_often_is_dead_and_says_why,
            a_dead_letter_stays_as_it_is_until_it_is_discarded,
            a_replayed_dead_letter_is_delivered_like_a_new_one,
            discarding_all_of_a_pool_leaves_the_other_pools_theirs,
        );
    };
    ($fixture:path; $($law:ident,)*) => {
        $(
            #[tokio::test]
            async fn $law() {
                let fixture = $fixture().await;
                conformance::$law(fixture.broker(), fixture.pool()).await;
                fixture.clean_up().await;
            }
        )*
    };
}
