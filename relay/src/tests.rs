//! When a queue is replaced, and above all when it is not. The queue is the in-process one; what it answers is
//! written down beforehand, since a real broker gives these answers only by rare accidents
//! (`cli/tests/wire/dead_queue.rs` has the one that can be brought about).

use super::*;
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::watch;
use trialmill_broker::{
    BrokerError, Consumer, DeadLetter, DeadLetters, Emptied, InProcessBroker, QueueDepth,
};

/// A queue with its answers to looks and publishes; those that are not written down are those of a sound one.
struct Answering {
    queue: InProcessBroker,
    looks: Mutex<VecDeque<bool>>,
    publishes: Mutex<VecDeque<PublishError>>,
    published: AtomicU32,
    replaced: AtomicU32,
}

impl Answering {
    fn new(looks: &[bool], publishes: &[PublishError]) -> Self {
        Self {
            queue: InProcessBroker::new(8),
            looks: Mutex::new(looks.iter().copied().collect()),
            publishes: Mutex::new(publishes.iter().cloned().collect()),
            published: AtomicU32::new(0),
            replaced: AtomicU32::new(0),
        }
    }
}

#[async_trait]
impl Broker for Answering {
    async fn publish(&self, pool: &str, messages: &[UnitMessage]) -> Vec<Result<(), PublishError>> {
        self.published.fetch_add(1, Ordering::Relaxed);
        let written = self.publishes.lock().unwrap().pop_front();
        match written {
            Some(error) => vec![Err(error); messages.len()],
            None => self.queue.publish(pool, messages).await,
        }
    }

    async fn consume(&self, pool: &str, name: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        self.queue.consume(pool, name).await
    }

    async fn depth(&self, pool: &str) -> Result<QueueDepth, BrokerError> {
        let written = self.looks.lock().unwrap().pop_front();
        match written {
            Some(false) => Err(BrokerError::Timeout {
                operation: "looking at a queue",
                after: Duration::from_secs(10),
            }),
            Some(true) | None => self.queue.depth(pool).await,
        }
    }

    async fn replace_queue(&self, pool: &str) -> Result<(), BrokerError> {
        self.replaced.fetch_add(1, Ordering::Relaxed);
        self.queue.replace_queue(pool).await
    }

    async fn dead(&self, limit: u32) -> Result<DeadLetters, BrokerError> {
        self.queue.dead(limit).await
    }

    async fn replay_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError> {
        self.queue.replay_dead(id).await
    }

    async fn discard_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError> {
        self.queue.discard_dead(id).await
    }

    async fn discard_all_dead(&self, pool: Option<&str>) -> Result<u32, BrokerError> {
        self.queue.discard_all_dead(pool).await
    }

    fn state(&self) -> watch::Receiver<BrokerState> {
        self.queue.state()
    }

    fn emptied(&self) -> watch::Receiver<Emptied> {
        self.queue.emptied()
    }

    async fn close(&self) {
        self.queue.close().await;
    }
}

/// A lead that holds for so many questions.
struct Lead(AtomicU32);

#[async_trait]
impl Leadership for Lead {
    async fn holds(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }
}

fn late() -> PublishError {
    PublishError::Timeout {
        after: Duration::from_secs(10),
    }
}

/// After a batch that nobody confirmed: how often it was published again, and how often the queue was replaced.
async fn after_silence(looks: &[bool], publishes: &[PublishError], holds: u32) -> (u32, u32) {
    let broker = Answering::new(looks, publishes);
    let message = UnitMessage::new(uuid::Uuid::from_u128(1), 0);
    replace_if_dead(&broker, "p", &Lead(AtomicU32::new(holds)), &message).await;
    let count = |of: &AtomicU32| of.load(Ordering::Relaxed);
    (count(&broker.published), count(&broker.replaced))
}

#[tokio::test]
async fn a_queue_that_confirms_nothing_twice_while_the_broker_answers_is_replaced() {
    assert_eq!(after_silence(&[true, true], &[late()], 2).await, (1, 1));
}

#[tokio::test]
async fn a_broker_that_is_gone_stalled_or_slow_keeps_its_queue() {
    let after = Duration::from_secs(10);
    // Nobody answers the look before, or the one after.
    assert_eq!(after_silence(&[false], &[late()], 2).await, (0, 0));
    assert_eq!(after_silence(&[true, false], &[late()], 2).await, (1, 0));
    // The second publish is confirmed, or has another end than silence.
    assert_eq!(after_silence(&[], &[], 2).await, (1, 0));
    let reason = || "why".to_owned();
    for end in [
        PublishError::NotReady { after },
        PublishError::Unavailable { reason: reason() },
        PublishError::Blocked { reason: reason() },
        PublishError::Unroutable { pool: reason() },
        PublishError::Refused { pool: reason() },
    ] {
        let found = after_silence(&[true, true], std::slice::from_ref(&end), 2).await;
        assert_eq!(found, (1, 0), "{end:?}");
    }
}

#[tokio::test]
async fn who_no_longer_leads_publishes_and_replaces_nothing() {
    assert_eq!(after_silence(&[], &[late()], 0).await, (0, 0));
    assert_eq!(after_silence(&[], &[late()], 1).await, (1, 0));
}

#[test]
fn a_batch_is_unanswered_if_every_message_was_sent_and_none_confirmed() {
    let after = Duration::from_secs(10);
    let not_ready = PublishError::NotReady { after };
    assert!(all_unanswered(&[Err(late()), Err(late())]));
    assert!(!all_unanswered(&[]));
    assert!(!all_unanswered(&[Err(late()), Ok(())]));
    assert!(!all_unanswered(&[Err(late()), Err(not_ready)]));
}
