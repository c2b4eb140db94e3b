//! One slot's consumer, which comes back whatever ends it.
//!
//! There is no task behind it: while a slot works, nobody asks for a message, and so a consumer that
//! lost its connection meanwhile does not fetch one that a free slot could take. Whatever takes more
//! than one step is a future kept in the consumer, so that a dropped `next` is continued by the next
//! one instead of starting over.

use super::{Shared, backoff::Backoff, topology::work_queue};
use crate::{Consumer, Delivery};
use async_trait::async_trait;
use futures::{StreamExt, future::BoxFuture};
use lapin::{
    Acker, Channel,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};
use trialmill_common::message::{SCHEMA_HEADER, UnitMessage};

pub(super) struct RabbitConsumer {
    shared: Arc<Shared>,
    pool: String,
    tag: String,
    session: Option<Session>,
    step: Option<BoxFuture<'static, Step>>,
    current: Option<Acker>,
    backoff: Backoff,
    restarts: u64,
    /// The last look found messages in the queue although none came.
    suspicious: bool,
}

/// A channel with its consumer. Dropping it closes the channel, and what it holds goes back.
struct Session {
    channel: Channel,
    /// `None` after an early acknowledgement, until the next message is wanted.
    stream: Option<lapin::Consumer>,
    /// Of the belief in the queue that is consumed from.
    stamp: u64,
}

/// How a step that `next` had to wait for came out.
enum Step {
    /// There is a session again, or why not.
    Opened(Result<Box<Session>, String>),
    /// A message that cannot be decoded was put aside, or why not.
    Buried(Result<(), String>),
    /// How many messages wait in the queue while none comes, or why that cannot be told.
    Looked(Result<u32, String>),
}

impl RabbitConsumer {
    pub(super) fn new(shared: Arc<Shared>, pool: &str, tag: &str) -> Self {
        let backoff = Backoff::new(shared.options.backoff_least, shared.options.backoff_most);
        Self {
            shared,
            pool: pool.to_owned(),
            tag: tag.to_owned(),
            session: None,
            step: None,
            current: None,
            backoff,
            restarts: 0,
            suspicious: false,
        }
    }

    /// Gives up the session after an end that was not asked for. The next one begins after a wait.
    fn restart(&mut self, reason: &str) {
        self.restarts += 1;
        self.suspicious = false;
        let wait = self.backoff.wait();
        tracing::warn!(
            consumer = %self.tag,
            pool = %self.pool,
            %reason,
            restarts = self.restarts,
            wait_ms = wait.as_millis(),
            "the consumer ended and is started again"
        );
        self.current = None;
        let doubtful = self.session.take().map(|session| session.stamp);
        self.step = Some(self.opening(wait, doubtful));
    }

    /// Waits, withdraws the belief in a queue that failed, and makes a session on whatever
    /// connection there is then.
    fn opening(&self, wait: Duration, doubtful: Option<u64>) -> BoxFuture<'static, Step> {
        let (shared, pool, tag) = (
            Arc::clone(&self.shared),
            self.pool.clone(),
            self.tag.clone(),
        );
        Box::pin(async move {
            sleep(wait).await;
            if let Some(stamp) = doubtful {
                shared.topology.doubt(&pool, stamp).await;
            }
            Step::Opened(open(&shared, &pool, &tag).await.map(Box::new))
        })
    }

    /// Consumes again on the channel of a session whose consumer was cancelled by us.
    fn resuming(&self, channel: Channel, stamp: u64) -> BoxFuture<'static, Step> {
        let (shared, pool, tag) = (
            Arc::clone(&self.shared),
            self.pool.clone(),
            self.tag.clone(),
        );
        Box::pin(async move {
            Step::Opened(
                consume(&shared, channel, &pool, &tag, stamp)
                    .await
                    .map(Box::new),
            )
        })
    }

    fn burying(&self, delivery: lapin::message::Delivery) -> BoxFuture<'static, Step> {
        let (shared, pool) = (Arc::clone(&self.shared), self.pool.clone());
        Box::pin(async move {
            let fault = match decode(&delivery) {
                Err(fault) => fault,
                Ok(_) => return Step::Buried(Err("the message is readable".to_owned())),
            };
            let schema = schema_of(delivery.properties.headers().as_ref());
            tracing::warn!(pool, reason = %fault, "a message goes to the dead-letter queue");
            if let Err(error) = shared.bury(&pool, &delivery.data, schema, &fault).await {
                return Step::Buried(Err(error.to_string()));
            }
            Step::Buried(acknowledge(&shared, &delivery.acker).await)
        })
    }

    /// Asks the queue whether it has what does not come.
    fn looking(&self, channel: Channel) -> BoxFuture<'static, Step> {
        let (shared, queue) = (Arc::clone(&self.shared), work_queue(&self.pool));
        Box::pin(async move {
            let passive = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let asked = channel.queue_declare(queue.into(), passive, FieldTable::default());
            let found = in_time(&shared, asked).await;
            Step::Looked(found.map(|queue| queue.message_count()))
        })
    }

    fn finish(&mut self, step: Step) {
        match step {
            Step::Opened(Ok(session)) => self.session = Some(*session),
            Step::Opened(Err(reason)) => {
                let wait = self.backoff.wait();
                tracing::warn!(
                    consumer = %self.tag,
                    pool = %self.pool,
                    %reason,
                    wait_ms = wait.as_millis(),
                    "the consumer could not be started"
                );
                self.step = Some(self.opening(wait, None));
            }
            Step::Buried(Ok(())) => {}
            // The message stays unacknowledged and goes back with the channel; the broker counts
            // its returns and dead-letters it by itself in the end.
            Step::Buried(Err(reason)) => self.restart(&reason),
            Step::Looked(Ok(0)) => self.suspicious = false,
            // What was published a moment ago may be on its way: once is chance.
            Step::Looked(Ok(_)) if !self.suspicious => self.suspicious = true,
            Step::Looked(Ok(waiting)) => {
                self.restart(&format!(
                    "{waiting} messages wait in the queue and none comes"
                ));
            }
            Step::Looked(Err(reason)) => self.restart(&reason),
        }
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn next(&mut self) -> Delivery {
        if self.current.take().is_some() {
            self.session = None;
        }
        loop {
            if let Some(step) = &mut self.step {
                let outcome = step.await;
                self.step = None;
                self.finish(outcome);
                continue;
            }
            let Some(session) = &mut self.session else {
                self.step = Some(self.opening(Duration::ZERO, None));
                continue;
            };
            let Some(stream) = &mut session.stream else {
                let (channel, stamp) = (session.channel.clone(), session.stamp);
                self.session = None;
                self.step = Some(self.resuming(channel, stamp));
                continue;
            };
            // A consumer may be deaf without an end (see `topology::LOST_FOR`).
            let patience = match self.suspicious {
                true => self.shared.options.second_look,
                false => self.shared.options.first_look,
            };
            let Ok(delivery) = timeout(patience, stream.next()).await else {
                let channel = session.channel.clone();
                self.step = Some(self.looking(channel));
                continue;
            };
            match delivery {
                // Held back in the client when its channel closed: the broker has it again.
                Some(Ok(delivery)) if !delivery.acker.usable() => {}
                Some(Ok(delivery)) => match decode(&delivery) {
                    Ok(message) => {
                        self.backoff.reset();
                        self.suspicious = false;
                        self.current = Some(delivery.acker);
                        return Delivery {
                            message,
                            redelivered: delivery.redelivered,
                        };
                    }
                    Err(_) => self.step = Some(self.burying(delivery)),
                },
                Some(Err(error)) => self.restart(&error.to_string()),
                None => self.restart("the broker cancelled the consumer"),
            }
        }
    }

    async fn ack(&mut self) {
        let Some(acker) = self.current.take() else {
            return;
        };
        if let Err(reason) = acknowledge(&self.shared, &acker).await {
            tracing::debug!(consumer = %self.tag, %reason, "an acknowledgement came too late");
            self.restart(&reason);
        }
    }

    async fn ack_early(&mut self) {
        let Some(acker) = self.current.take() else {
            return;
        };
        let Some(session) = &mut self.session else {
            return;
        };
        let tag = self.tag.as_str().into();
        let cancel = session
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        // Until the cancel is confirmed an acknowledgement would fetch the next message.
        let outcome = match in_time(&self.shared, cancel).await {
            Ok(()) => {
                session.stream = None;
                acknowledge(&self.shared, &acker).await
            }
            Err(reason) => Err(reason),
        };
        if let Err(reason) = outcome {
            tracing::debug!(consumer = %self.tag, %reason, "an early acknowledgement came too late");
            self.restart(&reason);
        }
    }

    async fn close(mut self: Box<Self>) {
        self.step = None;
        let Some(session) = self.session.take() else {
            return;
        };
        let goodbye = async {
            let tag = self.tag.as_str().into();
            session
                .channel
                .basic_cancel(tag, BasicCancelOptions::default())
                .await?;
            session.channel.close(200, "the slot is done".into()).await
        };
        if let Err(reason) = in_time(&self.shared, goodbye).await {
            tracing::debug!(consumer = %self.tag, %reason, "the consumer was already gone");
        }
    }

    fn restarts(&self) -> u64 {
        self.restarts
    }
}

/// Waits for a connection and makes a session on it.
async fn open(shared: &Shared, pool: &str, tag: &str) -> Result<Session, String> {
    let mut slot = shared.consume.subscribe();
    let connection = match slot.wait_for(Option::is_some).await {
        Ok(connection) => connection.clone().expect("waited until it is there"),
        Err(_) => return Err("the broker is closed".to_owned()),
    };
    let (channel, stamp) = in_time(shared, async {
        let channel = connection.create_channel().await?;
        let stamp = shared.topology.ensure(&channel, pool).await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        Ok((channel, stamp))
    })
    .await?;
    consume(shared, channel, pool, tag, stamp).await
}

async fn consume(
    shared: &Shared,
    channel: Channel,
    pool: &str,
    tag: &str,
    stamp: u64,
) -> Result<Session, String> {
    let queue = work_queue(pool);
    let stream = channel.basic_consume(
        queue.as_str().into(),
        tag.into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    match in_time(shared, stream).await {
        Ok(stream) => Ok(Session {
            channel,
            stream: Some(stream),
            stamp,
        }),
        Err(reason) => {
            // Most likely the queue was deleted since it was declared. (If it is there and dead, who
            // relays replaces it.)
            shared.topology.doubt(pool, stamp).await;
            Err(reason)
        }
    }
}

/// `Ok(false)` means that the channel is closed: the message went back to the queue.
async fn acknowledge(shared: &Shared, acker: &Acker) -> Result<(), String> {
    match in_time(shared, acker.ack(BasicAckOptions::default())).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("the channel was closed before the acknowledgement".to_owned()),
        Err(reason) => Err(reason),
    }
}

async fn in_time<T>(
    shared: &Shared,
    operation: impl Future<Output = lapin::Result<T>>,
) -> Result<T, String> {
    match timeout(shared.options.operation_timeout, operation).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "no answer within {:?}",
            shared.options.operation_timeout
        )),
    }
}

fn decode(
    delivery: &lapin::message::Delivery,
) -> Result<UnitMessage, trialmill_common::message::MessageFault> {
    let schema = schema_of(delivery.properties.headers().as_ref());
    UnitMessage::decode(schema, &delivery.data)
}

/// The version of a message's wire form, by its header.
pub(super) fn schema_of(headers: Option<&FieldTable>) -> Option<i64> {
    headers.and_then(|table| whole_number(table.inner().get(SCHEMA_HEADER)?))
}

/// Other clients write whole numbers in other widths.
pub(super) fn whole_number(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}
