//! What the relay and the worker slots may rely on, whichever broker runs.

use crate::{BrokerError, DeadLetter, DeadLetters, PublishError};
use async_trait::async_trait;
use std::{collections::BTreeMap, time::Instant};
use tokio::sync::watch;
use trialmill_common::message::UnitMessage;

/// The longest pool name, in bytes: with its prefix and suffix it stays well below the 255 bytes of
/// an AMQP name.
pub const MAX_POOL_NAME_BYTES: usize = 100;

/// How often each pool's queue was found absent or empty when it was declared.
///
/// A watch value, so that nothing is lost between two looks: remember the map seen last, and a pool
/// whose count grew lost its messages; its queued units are to be made due at once.
pub type Emptied = BTreeMap<String, u64>;

/// A queue of wake-up calls, one per pool of workers that offer the same things.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Publishes messages to a pool and waits for all confirms; answer `i` is for message `i`.
    ///
    /// Only `Ok` means that the broker holds the message durably *and* found a queue for it. Returns
    /// within the publish timeout, also when the broker is blocked; at once when it is not connected.
    async fn publish(&self, pool: &str, messages: &[UnitMessage]) -> Vec<Result<(), PublishError>>;

    /// A consumer with one message at a time. Succeeds while the broker is down: the consumer waits
    /// for the connection in [`Consumer::next`].
    ///
    /// # Errors
    /// A pool or consumer name that cannot be one.
    async fn consume(
        &self,
        pool: &str,
        consumer_name: &str,
    ) -> Result<Box<dyn Consumer>, BrokerError>;

    /// How many messages wait in a pool's queue and how many consumers it has. An absent queue is
    /// declared again (and reported by [`Broker::emptied`]).
    ///
    /// # Errors
    /// The broker is not connected or did not answer in time.
    async fn depth(&self, pool: &str) -> Result<QueueDepth, BrokerError>;

    /// Deletes a pool's queue with the messages in it and declares it anew, which
    /// [`Broker::emptied`] tells of. Every unit is in the database, so what is lost is published
    /// again; consumers of all processes come back. The remedy for a queue that is there and answers
    /// nobody; a queue of dead letters, which holds what is nowhere else, is never deleted.
    ///
    /// # Errors
    /// The broker is not connected, did not answer in time or refused; the queue may be gone all the
    /// same, and is then declared again by whoever uses it next.
    async fn replace_queue(&self, pool: &str) -> Result<(), BrokerError>;

    /// The first `limit` (at most [`MAX_DEAD_LISTED`](crate::MAX_DEAD_LISTED)) dead letters of all
    /// pools, oldest first. They stay where they are.
    ///
    /// # Errors
    /// The broker is not connected or did not answer in time.
    async fn dead(&self, limit: u32) -> Result<DeadLetters, BrokerError>;

    /// Puts a dead letter back into the queue of its pool and removes it; what it was, or nothing
    /// when there is none of this id. Whoever cannot read it puts it aside again.
    ///
    /// # Errors
    /// The broker is not connected, did not answer in time or did not take the message; then the
    /// letter is still there.
    async fn replay_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError>;

    /// Removes a dead letter for good; what it was, or nothing when there is none of this id.
    ///
    /// # Errors
    /// The broker is not connected or did not answer in time.
    async fn discard_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError>;

    /// Removes the dead letters of a pool (of all pools without one); how many. At most
    /// [`MAX_DEAD_SEARCHED`](crate::MAX_DEAD_SEARCHED) are looked at; what dies meanwhile may go
    /// with them.
    ///
    /// # Errors
    /// The broker is not connected or did not answer in time; some may be removed all the same.
    async fn discard_all_dead(&self, pool: Option<&str>) -> Result<u32, BrokerError>;

    /// The state of the connection, now and whenever it changes.
    fn state(&self) -> watch::Receiver<BrokerState>;

    /// Which pools lost or never had their messages; see [`Emptied`]. Fires also when the queue was
    /// simply idle: making units due that nobody has claimed is harmless.
    fn emptied(&self) -> watch::Receiver<Emptied>;

    /// Ends the connections in good order. From then on publishes are refused, and consumers that
    /// still exist get nothing new.
    async fn close(&self);
}

/// One slot's place at a pool's queue. Dropping it gives its unacknowledged message back.
#[async_trait]
pub trait Consumer: Send {
    /// The next message. Never ends by itself: after an error, a deleted queue or a lost connection
    /// it comes back, however long that takes.
    ///
    /// Cancel safe: dropping the future loses no message and no progress towards a connection. A
    /// delivery that is still unacknowledged when `next` is called is given back to the queue first.
    async fn next(&mut self) -> Delivery;

    /// Acknowledges the current delivery; without one, does nothing. An acknowledgement that comes
    /// too late is no error: the message is delivered again, which is harmless.
    ///
    /// From now on the broker may hand the slot its next message, whether it asks or not: a slot
    /// that does not call [`Consumer::next`] soon is to close, or to acknowledge early instead.
    async fn ack(&mut self);

    /// Acknowledges the current delivery before its work is done, and takes no further message until
    /// [`Consumer::next`] is called again. The slot keeps working under its lease, beyond the reach
    /// of any acknowledgement timeout.
    async fn ack_early(&mut self);

    /// Ends the consumer; what it holds goes back to the queue.
    async fn close(self: Box<Self>);

    /// How often the consumer ended without being asked to and came back.
    fn restarts(&self) -> u64;
}

/// A message handed to a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What it names.
    pub message: UnitMessage,
    /// Whether the broker handed it out before. A hint for the log; the claim decides.
    pub redelivered: bool,
}

/// What a passive look at a queue shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages that no consumer holds.
    pub ready: u32,
    /// Consumers of all processes.
    pub consumers: u32,
}

/// The state of a broker as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// Messages can be published and consumed.
    Connected,
    /// There is no connection; attempts go on in the background.
    Disconnected {
        /// Since when, by the monotonic clock.
        since: Instant,
        /// Why, without secrets.
        reason: String,
    },
    /// Connected, but the broker takes no messages for want of memory or disk.
    Blocked {
        /// What the broker said.
        reason: String,
    },
}

/// Checks that a pool's name can be part of a queue's name.
///
/// # Errors
/// [`BrokerError::BadPoolName`] for an empty or too long name or one with other characters than
/// ASCII letters, digits, `-`, `_` and `.`.
pub fn check_pool(name: &str) -> Result<(), BrokerError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=MAX_POOL_NAME_BYTES).contains(&name.len()) && name.bytes().all(legal) {
        Ok(())
    } else {
        Err(BrokerError::BadPoolName {
            name: name.chars().take(MAX_POOL_NAME_BYTES).collect(),
            limit: MAX_POOL_NAME_BYTES,
        })
    }
}

/// Checks that a consumer's name can be an AMQP consumer tag (1 to 255 bytes).
pub(crate) fn check_consumer_name(name: &str) -> Result<(), BrokerError> {
    const LIMIT: usize = 255;
    if (1..=LIMIT).contains(&name.len()) {
        Ok(())
    } else {
        Err(BrokerError::BadConsumerName {
            bytes: name.len(),
            limit: LIMIT,
        })
    }
}
