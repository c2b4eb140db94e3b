//! The queues and exchanges: what they are called, what they are made of, and who knows that they exist.
//!
//! Arguments are set once and never changed: a queue with other arguments needs another name (`.v2`).

use crate::Emptied;
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

/// The exchange that all work goes through; the routing key is the pool.
pub const WORK_EXCHANGE: &str = "trialmill.work";
/// The exchange for what cannot be decoded or was delivered too often; the routing key is the pool.
pub const DEAD_EXCHANGE: &str = "trialmill.dead";
/// The queue behind [`DEAD_EXCHANGE`], one for all pools. Normally empty.
pub const DEAD_QUEUE: &str = "trialmill.dead.v1";
/// After this many returns to the queue the broker itself dead-letters a message. Set explicitly:
/// the default differs between broker versions.
pub const DELIVERY_LIMIT: i64 = 20;

/// How long a queue that was lost is left lost. RabbitMQ 3.10.8 forgets to tell a busy consumer that
/// its queue was deleted when another has its name a moment later: the consumer stays, without an
/// end and without a message. A second is far longer than it needs to tell them all.
const LOST_FOR: Duration = Duration::from_secs(1);

/// The queue of a pool.
#[must_use]
pub fn work_queue(pool: &str) -> String {
    format!("trialmill.work.{pool}.v1")
}

/// What this process believes to exist at the broker.
///
/// A belief has a stamp: who was disappointed by it withdraws it by that stamp, so that of many
/// slots that lose the same queue only the first declares it again.
#[derive(Debug)]
pub(super) struct Topology {
    beliefs: Mutex<Beliefs>,
    emptied: watch::Sender<Emptied>,
}

#[derive(Debug, Default)]
struct Beliefs {
    last_stamp: u64,
    /// Every pool ever used here, with the stamp of its declaration while it is believed in.
    pools: BTreeMap<String, Option<u64>>,
    /// Pools whose queue was there and is not believed in any more.
    lost: BTreeSet<String>,
}

impl Topology {
    pub(super) fn new(pools: &[String]) -> Self {
        let pools = pools.iter().map(|pool| (pool.clone(), None)).collect();
        Self {
            beliefs: Mutex::new(Beliefs {
                last_stamp: 0,
                pools,
                lost: BTreeSet::new(),
            }),
            emptied: watch::Sender::new(Emptied::new()),
        }
    }

    pub(super) fn emptied(&self) -> watch::Receiver<Emptied> {
        self.emptied.subscribe()
    }

    /// Declares a pool's queue and its surroundings unless they are believed to exist; the stamp of
    /// the belief.
    pub(super) async fn ensure(&self, channel: &Channel, pool: &str) -> lapin::Result<u64> {
        let mut beliefs = self.beliefs.lock().await;
        if let Some(Some(stamp)) = beliefs.pools.get(pool) {
            return Ok(*stamp);
        }
        // Known from now on, so that a new connection declares it even if this attempt fails.
        beliefs.pools.insert(pool.to_owned(), None);
        // Whoever else wants it waits for the lock, and finds it declared.
        if beliefs.lost.remove(pool) {
            sleep(LOST_FOR).await;
        }
        let ready = declare(channel, pool).await?;
        if ready == 0 {
            self.emptied
                .send_modify(|counts| *counts.entry(pool.to_owned()).or_default() += 1);
        }
        beliefs.last_stamp += 1;
        let stamp = beliefs.last_stamp;
        beliefs.pools.insert(pool.to_owned(), Some(stamp));
        Ok(stamp)
    }

    /// Withdraws the belief in a pool's queue, if it is still the one with this stamp.
    pub(super) async fn doubt(&self, pool: &str, stamp: u64) {
        let mut beliefs = self.beliefs.lock().await;
        if let Some(belief) = beliefs.pools.get_mut(pool)
            && *belief == Some(stamp)
        {
            *belief = None;
            beliefs.lost.insert(pool.to_owned());
        }
    }

    /// Withdraws all beliefs: behind a new connection may be a broker with an empty disk.
    pub(super) async fn doubt_all(&self) {
        self.beliefs
            .lock()
            .await
            .pools
            .values_mut()
            .for_each(|belief| *belief = None);
    }

    /// Every pool used so far.
    pub(super) async fn pools(&self) -> Vec<String> {
        self.beliefs.lock().await.pools.keys().cloned().collect()
    }
}

/// Declares everything a pool needs; how many messages wait in its queue.
async fn declare(channel: &Channel, pool: &str) -> lapin::Result<u32> {
    let queue = work_queue(pool);
    for exchange in [WORK_EXCHANGE, DEAD_EXCHANGE] {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_declare(
                exchange.into(),
                ExchangeKind::Direct,
                durable,
                FieldTable::default(),
            )
            .await?;
    }
    declare_dead(channel).await?;
    bind(channel, DEAD_QUEUE, DEAD_EXCHANGE, pool).await?;

    let mut arguments = quorum();
    arguments.insert(
        "x-dead-letter-exchange".into(),
        AMQPValue::LongString(DEAD_EXCHANGE.into()),
    );
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongLongInt(DELIVERY_LIMIT),
    );
    let declared = channel
        .queue_declare(queue.as_str().into(), durable(), arguments)
        .await?;
    bind(channel, &queue, WORK_EXCHANGE, pool).await?;
    Ok(declared.message_count())
}

/// Declares the queue of the dead letters; how many wait in it.
pub(super) async fn declare_dead(channel: &Channel) -> lapin::Result<u32> {
    let declared = channel
        .queue_declare(DEAD_QUEUE.into(), durable(), quorum())
        .await?;
    Ok(declared.message_count())
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    arguments
}

fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    }
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    let [queue, exchange, key]: [ShortString; 3] = [queue.into(), exchange.into(), key.into()];
    channel
        .queue_bind(
            queue,
            exchange,
            key,
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
}
