//! The queue of the embedded mode: everything in one process, nothing durable.
//!
//! It is gone with the process, as a broker whose disk was wiped; the database has the units and the
//! relay publishes them again, told by [`Broker::emptied`].

use crate::{
    Broker, BrokerError, BrokerState, Consumer, DELIVERY_LIMIT_CODE, DeadLetter, DeadLetters,
    Delivery, Emptied, MAX_DEAD_LISTED, PublishError, QueueDepth, check_pool,
    contract::check_consumer_name,
    dead::{shown, too_often},
    rabbit::DELIVERY_LIMIT,
};
use async_trait::async_trait;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Semaphore, watch};
use trialmill_common::message::{SCHEMA_VERSION, UnitMessage};
use uuid::Uuid;

/// Most dead letters that are kept: the oldest goes first. They are for an operator's eye, and die
/// with the process anyway.
const MAX_DEAD: usize = 1_000;

/// The in-process broker. Cheap to make; share it in an `Arc`.
///
/// Each pool's queue holds at most the bound given to [`InProcessBroker::new`]; a publish above it
/// is refused and the unit stays due. Messages that consumers give back may exceed the bound by the
/// number of consumers.
///
/// ```
/// use trialmill_broker::{Broker, Consumer, InProcessBroker};
/// use trialmill_common::message::UnitMessage;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let broker = InProcessBroker::new(1024);
/// let message = UnitMessage::new(uuid::Uuid::from_u128(7), 0);
/// assert_eq!(broker.publish("default", &[message.clone()]).await, [Ok(())]);
/// let mut slot = broker.consume("default", "slot-00").await.unwrap();
/// assert_eq!(slot.next().await.message, message);
/// slot.ack().await;
/// # }
/// ```
#[derive(Debug)]
pub struct InProcessBroker {
    pools: Mutex<HashMap<String, Arc<Pool>>>,
    bound: usize,
    state: watch::Sender<BrokerState>,
    emptied: watch::Sender<Emptied>,
    dead: Arc<Mutex<VecDeque<DeadLetter>>>,
}

/// One pool's queue. There is a permit in `ready` for each waiting message: a consumer that gets one
/// finds a message, and a wait that is dropped gives its permit to the next in line.
#[derive(Debug)]
struct Pool {
    name: String,
    waiting: Mutex<VecDeque<Waiting>>,
    ready: Semaphore,
    consumers: Mutex<u32>,
    /// Of the whole broker.
    dead: Arc<Mutex<VecDeque<DeadLetter>>>,
}

/// A message in a queue, or in a consumer's hands.
#[derive(Debug)]
struct Waiting {
    message: UnitMessage,
    /// How often a consumer gave it back.
    returns: i64,
}

impl Pool {
    fn push(&self, message: UnitMessage) {
        let fresh = Waiting {
            message,
            returns: 0,
        };
        lock(&self.waiting).push_back(fresh);
        self.ready.add_permits(1);
    }

    /// As RabbitMQ does: a message that comes back too often is put aside.
    fn give_back(&self, returned: Waiting) {
        let returns = returned.returns + 1;
        if returns <= DELIVERY_LIMIT {
            lock(&self.waiting).push_front(Waiting {
                returns,
                ..returned
            });
            self.ready.add_permits(1);
            return;
        }
        let (_, body) = returned.message.encode();
        let mut dead = lock(&self.dead);
        if dead.len() == MAX_DEAD {
            dead.pop_front();
        }
        dead.push_back(DeadLetter {
            id: Uuid::new_v4().simple().to_string(),
            code: DELIVERY_LIMIT_CODE.to_owned(),
            reason: too_often(DELIVERY_LIMIT),
            pool: Some(self.name.clone()),
            unit: Some(returned.message),
            schema: Some(SCHEMA_VERSION),
            body: shown(&body),
            bytes: body.len(),
        });
    }
}

impl InProcessBroker {
    /// A broker whose queues hold at most `bound` messages each. A pool's queue comes into being at
    /// the first publish, look or consumer, and [`Broker::emptied`] fires then.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            pools: Mutex::new(HashMap::new()),
            bound,
            state: watch::Sender::new(BrokerState::Connected),
            emptied: watch::Sender::new(Emptied::new()),
            dead: Arc::default(),
        }
    }

    fn pool(&self, name: &str) -> Result<Arc<Pool>, BrokerError> {
        check_pool(name)?;
        let mut pools = lock(&self.pools);
        if let Some(pool) = pools.get(name) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(Pool {
            name: name.to_owned(),
            dead: Arc::clone(&self.dead),
            waiting: Mutex::new(VecDeque::new()),
            ready: Semaphore::new(0),
            consumers: Mutex::new(0),
        });
        pools.insert(name.to_owned(), Arc::clone(&pool));
        self.tell_emptied(name);
        Ok(pool)
    }

    fn tell_emptied(&self, pool: &str) {
        self.emptied
            .send_modify(|counts| *counts.entry(pool.to_owned()).or_default() += 1);
    }

    fn is_closed(&self) -> bool {
        *self.state.borrow() != BrokerState::Connected
    }
}

#[async_trait]
impl Broker for InProcessBroker {
    async fn publish(&self, pool: &str, messages: &[UnitMessage]) -> Vec<Result<(), PublishError>> {
        if self.is_closed() {
            let closed = PublishError::Unavailable {
                reason: CLOSED.to_owned(),
            };
            return vec![Err(closed); messages.len()];
        }
        let queue = match self.pool(pool) {
            Ok(queue) => queue,
            Err(error) => return vec![Err(error.into()); messages.len()],
        };
        messages
            .iter()
            .map(|message| {
                if lock(&queue.waiting).len() >= self.bound {
                    return Err(PublishError::Full {
                        pool: pool.to_owned(),
                        limit: self.bound,
                    });
                }
                queue.push(message.clone());
                Ok(())
            })
            .collect()
    }

    async fn consume(
        &self,
        pool: &str,
        consumer_name: &str,
    ) -> Result<Box<dyn Consumer>, BrokerError> {
        check_consumer_name(consumer_name)?;
        let pool = self.pool(pool)?;
        *lock(&pool.consumers) += 1;
        Ok(Box::new(InProcessConsumer {
            pool,
            current: None,
        }))
    }

    async fn depth(&self, pool: &str) -> Result<QueueDepth, BrokerError> {
        let pool = self.pool(pool)?;
        let ready = u32::try_from(lock(&pool.waiting).len()).unwrap_or(u32::MAX);
        let consumers = *lock(&pool.consumers);
        Ok(QueueDepth { ready, consumers })
    }

    async fn replace_queue(&self, pool: &str) -> Result<(), BrokerError> {
        let queue = self.pool(pool)?;
        // A permit that a consumer has is for a message that it is about to take.
        while let Ok(permit) = queue.ready.try_acquire() {
            permit.forget();
            lock(&queue.waiting).pop_front();
        }
        self.tell_emptied(pool);
        Ok(())
    }

    async fn dead(&self, limit: u32) -> Result<DeadLetters, BrokerError> {
        let dead = lock(&self.dead);
        let limit = limit.min(MAX_DEAD_LISTED) as usize;
        Ok(DeadLetters {
            letters: dead.iter().take(limit).cloned().collect(),
            total: u32::try_from(dead.len()).unwrap_or(u32::MAX),
        })
    }

    async fn replay_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError> {
        let Some(letter) = self.discard_dead(id).await? else {
            return Ok(None);
        };
        if let (Some(pool), Some(unit)) = (&letter.pool, &letter.unit) {
            self.pool(pool)?.push(unit.clone());
        }
        Ok(Some(letter))
    }

    async fn discard_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError> {
        let mut dead = lock(&self.dead);
        let place = dead.iter().position(|letter| letter.id == id);
        Ok(place.and_then(|place| dead.remove(place)))
    }

    async fn discard_all_dead(&self, pool: Option<&str>) -> Result<u32, BrokerError> {
        let mut dead = lock(&self.dead);
        let before = dead.len();
        dead.retain(|letter| pool.is_some() && letter.pool.as_deref() != pool);
        Ok(u32::try_from(before - dead.len()).unwrap_or(u32::MAX))
    }

    fn state(&self) -> watch::Receiver<BrokerState> {
        self.state.subscribe()
    }

    fn emptied(&self) -> watch::Receiver<Emptied> {
        self.emptied.subscribe()
    }

    async fn close(&self) {
        self.state.send_replace(BrokerState::Disconnected {
            since: std::time::Instant::now(),
            reason: CLOSED.to_owned(),
        });
    }
}

const CLOSED: &str = "closed by this process";

struct InProcessConsumer {
    pool: Arc<Pool>,
    current: Option<Waiting>,
}

impl InProcessConsumer {
    /// An unacknowledged message goes back to the head of the queue, above the bound if need be.
    fn give_back(&mut self) {
        if let Some(returned) = self.current.take() {
            self.pool.give_back(returned);
        }
    }
}

#[async_trait]
impl Consumer for InProcessConsumer {
    async fn next(&mut self) -> Delivery {
        self.give_back();
        let permit = self
            .pool
            .ready
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let taken = lock(&self.pool.waiting)
            .pop_front()
            .expect("there is a waiting message for each permit");
        permit.forget();
        let delivery = Delivery {
            message: taken.message.clone(),
            redelivered: taken.returns > 0,
        };
        self.current = Some(taken);
        delivery
    }

    async fn ack(&mut self) {
        self.current = None;
    }

    async fn ack_early(&mut self) {
        self.current = None;
    }

    async fn close(self: Box<Self>) {}

    fn restarts(&self) -> u64 {
        0
    }
}

impl Drop for InProcessConsumer {
    fn drop(&mut self) {
        self.give_back();
        *lock(&self.pool.consumers) -= 1;
    }
}

/// No code that holds one of these locks can panic half-way, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
