//! The in-process queue, delivering everything twice.

use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::watch;
use trialmill_broker::{
    Broker, BrokerError, BrokerState, Consumer, DeadLetter, DeadLetters, Emptied, InProcessBroker,
    PublishError, QueueDepth,
};
use trialmill_common::message::UnitMessage;

pub struct Doubling(pub Arc<InProcessBroker>);

#[async_trait]
impl Broker for Doubling {
    async fn publish(&self, pool: &str, messages: &[UnitMessage]) -> Vec<Result<(), PublishError>> {
        self.0.publish(pool, messages).await;
        self.0.publish(pool, messages).await
    }

    async fn consume(&self, pool: &str, name: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        self.0.consume(pool, name).await
    }

    async fn depth(&self, pool: &str) -> Result<QueueDepth, BrokerError> {
        self.0.depth(pool).await
    }

    async fn replace_queue(&self, pool: &str) -> Result<(), BrokerError> {
        self.0.replace_queue(pool).await
    }

    async fn dead(&self, limit: u32) -> Result<DeadLetters, BrokerError> {
        self.0.dead(limit).await
    }

    async fn replay_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError> {
        self.0.replay_dead(id).await
    }

    async fn discard_dead(&self, id: &str) -> Result<Option<DeadLetter>, BrokerError> {
        self.0.discard_dead(id).await
    }

    async fn discard_all_dead(&self, pool: Option<&str>) -> Result<u32, BrokerError> {
        self.0.discard_all_dead(pool).await
    }

    fn state(&self) -> watch::Receiver<BrokerState> {
        self.0.state()
    }

    fn emptied(&self) -> watch::Receiver<Emptied> {
        self.0.emptied()
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
