//! RabbitMQ, from 3.10 (tested) to 4.x (by its documentation).
//!
//! Two connections per process, one to publish and one to consume, each with a name that an
//! operator can read; the second is made when something is first consumed. Per slot there is one
//! channel with one consumer and a prefetch of 1: in the management screen the unacknowledged
//! messages are the units at work, and the consumer tags are the slots.
//!
//! Limit: slots never share a channel, so a process can have as many slots as the broker allows
//! channels on a connection (2047 by default), less one. Above some 64 slots a process shows that
//! many channels.

mod backoff;
mod board;
mod consumer;
mod dead;
mod link;
mod options;
mod publisher;
mod topology;
mod urls;

pub use options::RabbitOptions;
pub use topology::{DEAD_EXCHANGE, DEAD_QUEUE, DELIVERY_LIMIT, WORK_EXCHANGE, work_queue};
pub use urls::{AmqpUrls, CA_SETTING};

use crate::{
    Broker, BrokerError, BrokerState, Consumer, DeadLetter, DeadLetters, Emptied, PublishError,
    QueueDepth, check_pool, contract::check_consumer_name,
};
use async_trait::async_trait;
use board::StateBoard;
use link::{Role, Slot};
use publisher::Publisher;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::{sync::watch, task::JoinHandle};
use topology::Topology;
use trialmill_common::message::UnitMessage;

/// Directives of a log filter that a program adds to what its operator asks for: at `trace` the AMQP
/// client logs the frames that it sends, that with the password among them.
pub const LOG_LIMITS: [&str; 2] = ["lapin::io_loop=debug", "lapin::frames=debug"];

/// A RabbitMQ broker, or a cluster of them.
///
/// Dropping it ends its connections in the background; [`Broker::close`] waits for that.
///
/// ```no_run
/// use trialmill_broker::{Broker, RabbitBroker, RabbitOptions};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let urls = "amqp://worker:secret@rabbit-1,amqp://worker:secret@rabbit-2".parse()?;
/// let options = RabbitOptions::new(urls, "trialmill-worker", "0.1.0", "trialmill-worker@host:4711");
/// let broker = RabbitBroker::start(options);
/// let mut slot = broker.consume("default", "trialmill-worker.host.3f9a.slot-00").await?;
/// let delivery = slot.next().await;
/// # Ok(()) }
/// ```
pub struct RabbitBroker {
    shared: Arc<Shared>,
    consume_slot: OnceLock<()>,
    links: Mutex<Vec<JoinHandle<()>>>,
}

/// What the broker, its consumers and the tasks that keep its connections up have in common.
struct Shared {
    options: RabbitOptions,
    board: StateBoard,
    topology: Topology,
    publish: Arc<Slot>,
    consume: Arc<Slot>,
    publisher: Publisher,
    closing: watch::Sender<bool>,
}

impl RabbitBroker {
    /// Starts to connect in the background and returns at once, whether there is a broker or not.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(options: RabbitOptions) -> Self {
        let shared = Arc::new(Shared {
            topology: Topology::new(&options.pools),
            board: StateBoard::new(),
            publish: Arc::new(watch::Sender::new(None)),
            consume: Arc::new(watch::Sender::new(None)),
            publisher: Publisher::default(),
            closing: watch::Sender::new(false),
            options,
        });
        let broker = Self {
            shared,
            consume_slot: OnceLock::new(),
            links: Mutex::new(Vec::new()),
        };
        broker.keep_up(Role::Publish);
        broker
    }

    fn keep_up(&self, role: Role) {
        let slot = match role {
            Role::Publish => &self.shared.publish,
            Role::Consume => &self.shared.consume,
        };
        let link = link::supervise(Arc::clone(&self.shared), role, Arc::clone(slot));
        self.links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(tokio::spawn(link));
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn publish(&self, pool: &str, messages: &[UnitMessage]) -> Vec<Result<(), PublishError>> {
        if let Err(error) = check_pool(pool) {
            return vec![Err(error.into()); messages.len()];
        }
        self.shared.publish_units(pool, messages).await
    }

    async fn consume(
        &self,
        pool: &str,
        consumer_name: &str,
    ) -> Result<Box<dyn Consumer>, BrokerError> {
        check_pool(pool)?;
        check_consumer_name(consumer_name)?;
        self.consume_slot
            .get_or_init(|| self.keep_up(Role::Consume));
        Ok(Box::new(consumer::RabbitConsumer::new(
            Arc::clone(&self.shared),
            pool,
            consumer_name,
        )))
    }

    async fn depth(&self, pool: &str) -> Result<QueueDepth, BrokerError> {
        check_pool(pool)?;
        self.shared.depth(pool).await
    }

    async fn replace_queue(&self, pool: &str) -> Result<(), BrokerError> {
        check_pool(pool)?;
        self.shared.replace_queue(pool).await
    }

    async fn dead(&self, limit: u32) -> Result<DeadLetters, BrokerError> {
        self.shared.dead(limit).await
    }

    async fn replay_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError> {
        self.shared.replay_dead(id).await
    }

    async fn discard_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError> {
        self.shared.discard_dead(id).await
    }

    async fn discard_all_dead(&self, pool: Option<&str>) -> Result<u32, BrokerError> {
        self.shared.discard_all_dead(pool).await
    }

    fn state(&self) -> watch::Receiver<BrokerState> {
        self.shared.board.subscribe()
    }

    fn emptied(&self) -> watch::Receiver<Emptied> {
        self.shared.topology.emptied()
    }

    async fn close(&self) {
        self.shared.closing.send_replace(true);
        let links = std::mem::take(&mut *self.links.lock().unwrap_or_else(PoisonError::into_inner));
        for link in links {
            if let Err(error) = link.await {
                tracing::error!(%error, "a task that keeps a broker connection up has died");
            }
        }
    }
}

impl Drop for RabbitBroker {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
    }
}
