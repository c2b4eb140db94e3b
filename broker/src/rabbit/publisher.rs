//! Publishing with confirms, and looking at a queue.

use super::{
    Shared,
    dead::{Obituary, dead_properties, new_id},
    topology::{DEAD_EXCHANGE, WORK_EXCHANGE, work_queue},
};
use crate::{BrokerError, BrokerState, PublishError, QueueDepth};
use lapin::{
    BasicProperties, Channel, Confirmation, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::message::{HeaderValue, MessageFault, UnitMessage};

/// The channels on the publishing connection, opened when they are first needed.
#[derive(Default)]
pub(super) struct Publisher {
    /// In confirm mode.
    confirms: Mutex<Option<Channel>>,
    /// For passive declares, which close their channel when the queue is absent.
    looks: Mutex<Option<Channel>>,
    /// Held by whoever looks at the dead letters.
    pub(super) dead: Mutex<()>,
}

/// The broker persists messages with this delivery mode.
pub(super) const PERSISTENT: u8 = 2;

impl Shared {
    /// See [`crate::Broker::publish`].
    pub(super) async fn publish_units(
        &self,
        pool: &str,
        messages: &[UnitMessage],
    ) -> Vec<Result<(), PublishError>> {
        match self.board.publish() {
            BrokerState::Connected => {}
            BrokerState::Disconnected { reason, .. } => {
                return vec![Err(PublishError::Unavailable { reason }); messages.len()];
            }
            BrokerState::Blocked { reason } => {
                return vec![Err(PublishError::Blocked { reason }); messages.len()];
            }
        }
        let deadline = Instant::now() + self.options.publish_timeout;
        let after = self.options.publish_timeout;
        let late = PublishError::Timeout { after };
        let not_ready = PublishError::NotReady { after };
        let ready = timeout_at(deadline, async {
            let channel = self.confirm_channel().await?;
            let stamp = self
                .topology
                .ensure(&channel, pool)
                .await
                .map_err(failed(pool))?;
            Ok((channel, stamp))
        });
        let (channel, stamp) = match ready.await {
            Ok(Ok(ready)) => ready,
            Ok(Err(error)) => return vec![Err(error); messages.len()],
            Err(_) => {
                self.publisher.confirms.lock().await.take();
                return vec![Err(not_ready); messages.len()];
            }
        };

        let app_id = self.app_id();
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            let send = send_unit(&channel, pool, message, &app_id);
            sent.push(match timeout_at(deadline, send).await {
                Ok(result) => result.map_err(failed(pool)),
                Err(_) => Err(not_ready.clone()),
            });
        }
        reach(FailPoint::RelayPublished);
        let mut answers = Vec::with_capacity(sent.len());
        for confirm in sent {
            answers.push(match confirm {
                Ok(confirm) => match timeout_at(deadline, confirm).await {
                    Ok(confirmation) => judge(pool, confirmation),
                    Err(_) => Err(late.clone()),
                },
                Err(error) => Err(error),
            });
        }

        if answers.contains(&Err(late)) || answers.contains(&Err(not_ready)) {
            // The confirms that never came would stay in the channel's books for ever.
            self.publisher.confirms.lock().await.take();
        }
        if answers
            .iter()
            .any(|answer| matches!(answer, Err(PublishError::Unroutable { .. })))
        {
            self.topology.doubt(pool, stamp).await;
            let again = self.topology.ensure(&channel, pool);
            if !matches!(
                timeout(self.options.operation_timeout, again).await,
                Ok(Ok(_))
            ) {
                tracing::warn!(pool, "the queue is gone and could not be declared again");
            }
        }
        answers
    }

    /// Puts a message that cannot be decoded where an operator finds it, with its reason. No header of
    /// the original is taken along: some of them steer the broker.
    pub(super) async fn bury(
        &self,
        pool: &str,
        body: &[u8],
        schema: Option<i64>,
        fault: &MessageFault,
    ) -> Result<(), PublishError> {
        let properties = dead_properties(&Obituary {
            id: &new_id(),
            code: fault.code(),
            reason: &fault.to_string(),
            queue: Some(&work_queue(pool)),
            schema,
            app_id: &self.app_id(),
        });
        let publish = async {
            let channel = self.confirm_channel().await?;
            let confirm = channel
                .basic_publish(
                    DEAD_EXCHANGE.into(),
                    pool.into(),
                    mandatory(),
                    body,
                    properties,
                )
                .await
                .map_err(failed(pool))?;
            judge(pool, confirm.await)
        };
        timeout(self.options.publish_timeout, publish)
            .await
            .unwrap_or(Err(PublishError::Timeout {
                after: self.options.publish_timeout,
            }))
    }

    /// See [`crate::Broker::depth`].
    pub(super) async fn depth(&self, pool: &str) -> Result<QueueDepth, BrokerError> {
        const OPERATION: &str = "looking at a queue";
        let after = self.options.operation_timeout;
        timeout(after, async {
            let passive = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let look = |channel: Channel| async move {
                let name = work_queue(pool).as_str().into();
                channel
                    .queue_declare(name, passive, FieldTable::default())
                    .await
            };
            let channel = self.look_channel().await?;
            let stamp = self.topology.ensure(&channel, pool).await;
            let queue = match stamp {
                Ok(stamp) => match look(channel).await {
                    Err(error) if error.is_amqp_soft_error() => {
                        // The queue is gone: declare it again, which tells those who wait for it.
                        self.topology.doubt(pool, stamp).await;
                        let channel = self.look_channel().await?;
                        match self.topology.ensure(&channel, pool).await {
                            Ok(_) => look(channel).await,
                            Err(error) => Err(error),
                        }
                    }
                    other => other,
                },
                Err(error) => Err(error),
            };
            let queue = queue.map_err(|error| BrokerError::Failed {
                operation: OPERATION,
                reason: error.to_string(),
            })?;
            Ok(QueueDepth {
                ready: queue.message_count(),
                consumers: queue.consumer_count(),
            })
        })
        .await
        .unwrap_or(Err(BrokerError::Timeout {
            operation: OPERATION,
            after,
        }))
    }

    /// See [`crate::Broker::replace_queue`].
    pub(super) async fn replace_queue(&self, pool: &str) -> Result<(), BrokerError> {
        const OPERATION: &str = "replacing a queue";
        let refused = |reason| BrokerError::Failed {
            operation: OPERATION,
            reason,
        };
        let after = self.options.operation_timeout;
        let late = BrokerError::Timeout {
            operation: OPERATION,
            after,
        };
        // A channel of its own: one that waits for a dead queue answers nothing else.
        let (channel, stamp) = timeout(after, async {
            let unavailable = |reason| BrokerError::Unavailable { reason };
            let channel = self.publish_channel().await.map_err(unavailable)?;
            let stamp = self.topology.ensure(&channel, pool).await;
            Ok((channel, stamp.map_err(|error| refused(error.to_string()))?))
        })
        .await
        .map_err(|_| late.clone())??;
        let name = work_queue(pool).as_str().into();
        let deleted = channel.queue_delete(name, QueueDeleteOptions::default());
        timeout(after, deleted)
            .await
            .map_err(|_| late.clone())?
            .map_err(|error| refused(error.to_string()))?;
        self.topology.doubt(pool, stamp).await;
        timeout(after, self.topology.ensure(&channel, pool))
            .await
            .map_err(|_| late)?
            .map_err(|error| refused(error.to_string()))?;
        Ok(())
    }

    async fn confirm_channel(&self) -> Result<Channel, PublishError> {
        let mut place = self.publisher.confirms.lock().await;
        let fault = |reason| PublishError::Unavailable { reason };
        if let Some(channel) = place
            .as_ref()
            .filter(|channel| channel.status().connected())
        {
            return Ok(channel.clone());
        }
        let channel = self.publish_channel().await.map_err(fault)?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(|error| fault(error.to_string()))?;
        *place = Some(channel.clone());
        Ok(channel)
    }

    async fn look_channel(&self) -> Result<Channel, BrokerError> {
        let mut place = self.publisher.looks.lock().await;
        if let Some(channel) = place
            .as_ref()
            .filter(|channel| channel.status().connected())
        {
            return Ok(channel.clone());
        }
        let channel = self
            .publish_channel()
            .await
            .map_err(|reason| BrokerError::Unavailable { reason })?;
        *place = Some(channel.clone());
        Ok(channel)
    }

    /// A new channel on the publishing connection, or why there is none.
    pub(super) async fn publish_channel(&self) -> Result<Channel, String> {
        let connection = self.publish.borrow().clone();
        match connection {
            Some(connection) => connection
                .create_channel()
                .await
                .map_err(|error| error.to_string()),
            None => Err(match self.board.publish() {
                BrokerState::Disconnected { reason, .. } => reason,
                _ => "the connection has just ended".to_owned(),
            }),
        }
    }

    pub(super) fn app_id(&self) -> String {
        format!("{}/{}", self.options.product, self.options.version)
    }
}

async fn send_unit(
    channel: &Channel,
    pool: &str,
    message: &UnitMessage,
    app_id: &str,
) -> lapin::Result<PublisherConfirm> {
    let (fields, body) = message.encode();
    let mut headers = FieldTable::default();
    for (name, value) in fields {
        let value = match value {
            HeaderValue::Integer(number) => AMQPValue::LongLongInt(number),
            HeaderValue::Text(text) => AMQPValue::LongString(text.into()),
        };
        headers.insert(name.into(), value);
    }
    let task = message.task.to_string();
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_type("trialmill.unit".into())
        .with_message_id(format!("{task}/{}", message.unit).as_str().into())
        .with_correlation_id(task.as_str().into())
        .with_app_id(app_id.into())
        .with_headers(headers);
    channel
        .basic_publish(
            WORK_EXCHANGE.into(),
            pool.into(),
            mandatory(),
            &body,
            properties,
        )
        .await
}

/// Without `mandatory` a message that no queue takes is confirmed and thrown away.
pub(super) fn mandatory() -> BasicPublishOptions {
    BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    }
}

/// Only an acknowledgement without a returned message is success: what no queue took is
/// acknowledged as well.
pub(super) fn judge(
    pool: &str,
    confirmation: lapin::Result<Confirmation>,
) -> Result<(), PublishError> {
    match confirmation {
        Ok(Confirmation::Ack(None)) => Ok(()),
        Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
            Err(PublishError::Unroutable {
                pool: pool.to_owned(),
            })
        }
        Ok(Confirmation::Nack(None)) => Err(PublishError::Refused {
            pool: pool.to_owned(),
        }),
        Ok(Confirmation::NotRequested) => Err(PublishError::Failed {
            pool: pool.to_owned(),
            reason: "the channel is not in confirm mode".to_owned(),
        }),
        Err(error) => Err(failed(pool)(error)),
    }
}

fn failed(pool: &str) -> impl Fn(lapin::Error) -> PublishError + '_ {
    move |error| PublishError::Failed {
        pool: pool.to_owned(),
        reason: error.to_string(),
    }
}
