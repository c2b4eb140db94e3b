//! What every handler may reach.

use crate::key::ApiKey;
use crate::limits::MAX_EVENT_STREAMS;
use crate::tasks::{Checks, Partners};
use std::sync::Arc;
use tokio::sync::Semaphore;
use trialmill_broker::Broker;
use trialmill_store::Store;

/// The state of the router. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The wake-up call: read for its state and depth only, the relay publishes.
    pub broker: Arc<dyn Broker>,
    /// The key that requests must carry; none on loopback.
    pub key: Option<ApiKey>,
    /// One permit per watcher of events.
    pub(crate) streams: Arc<Semaphore>,
    /// Where submitted tasks are checked.
    pub(crate) checks: Checks,
    /// Where partners of pairs are chosen.
    pub(crate) partners: Partners,
}

impl AppState {
    /// State without a key: for a loopback address only.
    pub fn new(store: Arc<dyn Store>, broker: Arc<dyn Broker>) -> Self {
        Self {
            store,
            broker,
            key: None,
            streams: Arc::new(Semaphore::new(MAX_EVENT_STREAMS)),
            checks: Checks::new(),
            partners: Partners::new(),
        }
    }

    /// Every request but those for health and documentation must carry this key.
    #[must_use]
    pub fn with_key(mut self, key: Option<ApiKey>) -> Self {
        self.key = key;
        self
    }
}
