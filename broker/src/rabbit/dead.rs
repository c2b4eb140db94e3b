//! Dead letters: looking at them without taking them away, and taking one away.
//!
//! AMQP has no way to read a message in place. Each look takes messages from the head of the queue
//! on a channel of its own and gives them back: the broker then has them in their order. Only what
//! an operator asked for by its id is acknowledged, so whatever happens in between (a crash, a
//! second look, a lost connection) no other message can be lost; a message that another look holds
//! at that moment is not seen, and is looked for again.
//!
//! A quorum queue counts how often a message came back, and brokers from 4.0 on throw a message of
//! a queue without a limit of its own away after 20 returns. So a message that came back
//! [`MAX_LOOKS`] times is replaced by a copy, whose count starts anew.

use super::{
    Shared,
    consumer::{schema_of, whole_number},
    publisher::{PERSISTENT, judge, mandatory},
    topology::{DEAD_QUEUE, DELIVERY_LIMIT, WORK_EXCHANGE, declare_dead},
};
use crate::{
    BrokerError, DELIVERY_LIMIT_CODE, DeadLetter, DeadLetters, MAX_DEAD_LISTED, MAX_DEAD_SEARCHED,
    dead::{shown, too_often},
};
use lapin::{
    BasicProperties, Channel,
    message::BasicGetMessage,
    options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use trialmill_common::message::{SCHEMA_HEADER, UnitMessage};
use uuid::Uuid;

/// Header: why it is dead, in a sentence.
const REASON: &str = "x-trialmill-reason";
/// Header: the kind of reason.
const FAULT: &str = "x-trialmill-fault";
/// Header: the queue it came from.
const QUEUE: &str = "x-trialmill-queue";
/// Header: its own version header, which it must not carry as long as it is dead.
const FIRST_SCHEMA: &str = "x-trialmill-first-schema";
/// Header of a quorum queue: how often the message came back.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// After this many returns a copy takes the place of a dead letter: half of what brokers from 4.0
/// on bear.
const MAX_LOOKS: i64 = 10;
/// How often dead letters are looked for that are not found, or may not all be: another process may
/// hold them while it looks, for some milliseconds.
const SEARCHES: u32 = 4;
/// Time between two of these.
const SEARCH_PAUSE: Duration = Duration::from_millis(200);
/// The longest that one command on dead letters may take: below the time the API has for an answer.
const LONGEST: Duration = Duration::from_secs(20);

/// What becomes of the dead letter that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Replay,
    Discard,
}

impl Shared {
    /// See [`crate::Broker::dead`].
    pub(super) async fn dead(&self, limit: u32) -> Result<DeadLetters, BrokerError> {
        const OPERATION: &str = "looking at the dead letters";
        let limit = limit.min(MAX_DEAD_LISTED);
        self.on_dead_queue(OPERATION, async |channel: &Channel| {
            let mut found = DeadLetters {
                letters: Vec::new(),
                total: declare_dead(channel).await?,
            };
            let mut worn = Vec::new();
            while found.letters.len() < limit as usize
                && let Some(message) = get(channel).await?
            {
                let letter = letter(&message);
                if looks(&message) >= MAX_LOOKS {
                    worn.push((message, letter.clone()));
                }
                found.letters.push(letter);
            }
            for (message, letter) in worn {
                renew(channel, &message, &letter, &self.app_id()).await?;
            }
            let listed = u32::try_from(found.letters.len()).unwrap_or(u32::MAX);
            found.total = found.total.max(listed);
            Ok(found)
        })
        .await
    }

    /// See [`crate::Broker::replay_dead`].
    pub(super) async fn replay_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError> {
        self.find_dead("replaying a dead letter", id, Fate::Replay)
            .await
    }

    /// See [`crate::Broker::discard_dead`].
    pub(super) async fn discard_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError> {
        self.find_dead("discarding a dead letter", id, Fate::Discard)
            .await
    }

    /// See [`crate::Broker::discard_all_dead`].
    pub(super) async fn discard_all_dead(&self, pool: Option<&str>) -> Result<u32, BrokerError> {
        let mut discarded = 0;
        for attempt in 1..=SEARCHES {
            let found = self
                .on_dead_queue("discarding dead letters", async |channel: &Channel| {
                    declare_dead(channel).await?;
                    let mut discarded = 0;
                    // Not as many as the broker counts: its number is behind what a look has given
                    // back.
                    for _ in 0..MAX_DEAD_SEARCHED {
                        let Some(message) = get(channel).await? else {
                            break;
                        };
                        if pool.is_none() || letter(&message).pool.as_deref() == pool {
                            message.acker.ack(BasicAckOptions::default()).await?;
                            discarded += 1;
                        }
                    }
                    Ok(discarded)
                })
                .await?;
            discarded += found;
            if attempt < SEARCHES {
                sleep(SEARCH_PAUSE).await;
            }
        }
        Ok(discarded)
    }

    async fn find_dead(
        &self,
        operation: &'static str,
        id: &str,
        fate: Fate,
    ) -> Result<Option<DeadLetter>, BrokerError> {
        for attempt in 1..=SEARCHES {
            let found = self
                .on_dead_queue(operation, async |channel: &Channel| {
                    declare_dead(channel).await?;
                    for _ in 0..MAX_DEAD_SEARCHED {
                        let Some(message) = get(channel).await? else {
                            return Ok(None);
                        };
                        let letter = letter(&message);
                        if letter.id != id {
                            continue;
                        }
                        if fate == Fate::Replay {
                            self.revive(channel, &message, &letter).await?;
                        }
                        message.acker.ack(BasicAckOptions::default()).await?;
                        return Ok(Some(letter));
                    }
                    Ok(None)
                })
                .await?;
            if found.is_some() {
                return Ok(found);
            }
            if attempt < SEARCHES {
                sleep(SEARCH_PAUSE).await;
            }
        }
        Ok(None)
    }

    /// Runs `look` on a channel of its own and gives back what it got and did not acknowledge. One
    /// look of this process at a time, so that its looks do not hide messages from each other.
    async fn on_dead_queue<T>(
        &self,
        operation: &'static str,
        look: impl AsyncFnOnce(&Channel) -> Result<T, DeadError>,
    ) -> Result<T, BrokerError> {
        let failed = |reason: String| BrokerError::Failed { operation, reason };
        let looking = async {
            let _alone = self.publisher.dead.lock().await;
            let channel = self
                .publish_channel()
                .await
                .map_err(|reason| BrokerError::Unavailable { reason })?;
            let outcome = look(&channel).await;
            // A channel that a failure closed has given everything back already. A closing would do
            // so too, but at some moment after its answer: the next look could miss a message.
            if channel.status().connected() {
                let back = channel.basic_nack(EVERYTHING_GOT, give_back()).await;
                back.map_err(|error| failed(error.to_string()))?;
                let closed = channel.close(200, "looked".into()).await;
                closed.map_err(|error| failed(error.to_string()))?;
            }
            outcome.map_err(|error| failed(error.0))
        };
        timeout(LONGEST, looking)
            .await
            .unwrap_or(Err(BrokerError::Timeout {
                operation,
                after: LONGEST,
            }))
    }

    /// Publishes a dead letter to the queue that it came from. Its headers are made anew: those of
    /// a consumed message may steer the broker.
    async fn revive(
        &self,
        channel: &Channel,
        message: &BasicGetMessage,
        letter: &DeadLetter,
    ) -> Result<(), DeadError> {
        let Some(pool) = &letter.pool else {
            return Err(DeadError(
                "it does not say from which queue it came; discard it".to_owned(),
            ));
        };
        if let Some(unit) = &letter.unit {
            let sent = self.publish_units(pool, std::slice::from_ref(unit)).await;
            return match sent.into_iter().next() {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => Err(DeadError(error.to_string())),
                None => Err(DeadError("there is no answer to the publish".to_owned())),
            };
        }
        // Its queue must be there: a message of ours would have declared it.
        self.topology.ensure(channel, pool).await?;
        let mut headers = FieldTable::default();
        if let Some(schema) = letter.schema {
            headers.insert(SCHEMA_HEADER.into(), AMQPValue::LongLongInt(schema));
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_type("trialmill.unit".into())
            .with_app_id(self.app_id().as_str().into())
            .with_headers(headers);
        publish(channel, WORK_EXCHANGE, pool, &message.data, properties).await
    }
}

/// Why a look failed, in words.
#[derive(Debug)]
struct DeadError(String);

impl From<lapin::Error> for DeadError {
    fn from(error: lapin::Error) -> Self {
        Self(error.to_string())
    }
}

/// The delivery tag that stands for all messages of a channel that are not acknowledged.
const EVERYTHING_GOT: u64 = 0;

fn give_back() -> BasicNackOptions {
    BasicNackOptions {
        multiple: true,
        requeue: true,
    }
}

async fn get(channel: &Channel) -> lapin::Result<Option<BasicGetMessage>> {
    channel
        .basic_get(DEAD_QUEUE.into(), BasicGetOptions::default())
        .await
}

/// Publishes with a confirm; the message is there afterwards, or an error says why not.
async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), DeadError> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let [exchange, key]: [ShortString; 2] = [exchange.into(), key.into()];
    let shown = key.to_string();
    let confirm = channel
        .basic_publish(exchange, key, mandatory(), body, properties)
        .await?;
    judge(&shown, confirm.await).map_err(|error| DeadError(error.to_string()))
}

/// Replaces a dead letter by a copy of the same identity, which goes to the end of the queue.
async fn renew(
    channel: &Channel,
    message: &BasicGetMessage,
    letter: &DeadLetter,
    app_id: &str,
) -> Result<(), DeadError> {
    let queue = letter.pool.as_deref().map(super::work_queue);
    let properties = dead_properties(&Obituary {
        id: &letter.id,
        code: &letter.code,
        reason: &letter.reason,
        queue: queue.as_deref(),
        schema: letter.schema,
        app_id,
    });
    // Straight to the queue: the binding of a pool that is no more may be gone.
    publish(channel, "", DEAD_QUEUE, &message.data, properties).await?;
    message.acker.ack(BasicAckOptions::default()).await?;
    Ok(())
}

/// What a dead letter says of itself.
pub(super) struct Obituary<'a> {
    pub(super) id: &'a str,
    pub(super) code: &'a str,
    pub(super) reason: &'a str,
    pub(super) queue: Option<&'a str>,
    pub(super) schema: Option<i64>,
    pub(super) app_id: &'a str,
}

/// The properties of a dead letter of ours.
pub(super) fn dead_properties(of: &Obituary<'_>) -> BasicProperties {
    let mut headers = FieldTable::default();
    let texts = [
        (REASON, Some(of.reason)),
        (FAULT, Some(of.code)),
        (QUEUE, of.queue),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            headers.insert(name.into(), AMQPValue::LongString(text.into()));
        }
    }
    if let Some(schema) = of.schema {
        headers.insert(FIRST_SCHEMA.into(), AMQPValue::LongLongInt(schema));
    }
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_type("trialmill.dead".into())
        .with_message_id(of.id.into())
        .with_app_id(of.app_id.into())
        .with_headers(headers)
}

/// A new identity.
pub(super) fn new_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// How often the message came back to its queue.
fn looks(message: &BasicGetMessage) -> i64 {
    let headers = message.properties.headers().as_ref();
    headers
        .and_then(|table| whole_number(table.inner().get(DELIVERY_COUNT)?))
        .unwrap_or_default()
}

/// The dead letter that a message is.
fn letter(message: &BasicGetMessage) -> DeadLetter {
    let headers = message.properties.headers().as_ref();
    let text = |name: &str| text_of(headers?.inner().get(name)?);
    let whole = |name: &str| whole_number(headers?.inner().get(name)?);
    let death = headers.and_then(first_death);
    let queue = text(QUEUE).or_else(|| death.as_ref()?.queue.clone());
    let schema = whole(FIRST_SCHEMA).or_else(|| schema_of(headers));
    let told = death.as_ref().and_then(|death| death.reason.clone());
    let code = text(FAULT).or(told).unwrap_or_else(|| "unknown".to_owned());
    let reason = text(REASON).unwrap_or_else(|| match code.as_str() {
        DELIVERY_LIMIT_CODE => too_often(DELIVERY_LIMIT),
        "unknown" => {
            "it does not say why; who put it here is not a build of this program".to_owned()
        }
        other => format!("the broker put it aside: {other}"),
    });
    DeadLetter {
        id: identity(message),
        code,
        reason,
        pool: queue.as_deref().and_then(pool_of).map(str::to_owned),
        unit: UnitMessage::decode(schema, &message.data).ok(),
        schema,
        body: shown(&message.data),
        bytes: message.data.len(),
    }
}

/// The identity of a dead letter: ours if it has one, else a hash of what does not change while it
/// is dead. Two that are the same in everything have the same, and either may be meant.
fn identity(message: &BasicGetMessage) -> String {
    let given = message.properties.message_id().as_ref();
    let given = given.map(|id| id.as_str()).unwrap_or_default();
    let digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if given.len() == 32 && digits(given) {
        return given.to_owned();
    }
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(given.as_bytes());
    add(message.routing_key.as_str().as_bytes());
    if let Some(headers) = message.properties.headers() {
        for (name, value) in headers.inner() {
            if name.as_str() != DELIVERY_COUNT {
                add(name.as_str().as_bytes());
                add(format!("{value:?}").as_bytes());
            }
        }
    }
    add(&message.data);
    let hash = hasher.finalize();
    hash.to_hex()[..32].to_owned()
}

/// The pool whose queue this is.
fn pool_of(queue: &str) -> Option<&str> {
    queue.strip_prefix("trialmill.work.")?.strip_suffix(".v1")
}

fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// What the broker wrote when it dead-lettered a message itself, the latest first.
struct Death {
    reason: Option<String>,
    queue: Option<String>,
}

fn first_death(headers: &FieldTable) -> Option<Death> {
    let AMQPValue::FieldArray(deaths) = headers.inner().get("x-death")? else {
        return None;
    };
    let AMQPValue::FieldTable(latest) = deaths.as_slice().first()? else {
        return None;
    };
    let text = |name: &str| text_of(latest.inner().get(name)?);
    Some(Death {
        reason: text("reason"),
        queue: text("queue"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_of_ours_has_a_pool_and_another_has_none() {
        assert_eq!(pool_of(&super::super::work_queue("gpu.v1")), Some("gpu.v1"));
        assert_eq!(pool_of("trialmill.dead.v1"), None);
    }
}
