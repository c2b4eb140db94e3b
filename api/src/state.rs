//! What every handler may reach.

use crate::access::{Access, AccessSettings, Caller};
use crate::key::ApiKey;
use crate::limits::{COPIES_AT_A_TIME, MAX_EVENT_STREAMS};
use crate::tasks::{Checks, ClientStudies, Insights, Partners, Tails};
use std::sync::Arc;
use tokio::sync::Semaphore;
use trialmill_broker::Broker;
use trialmill_store::Store;
use trialmill_store::keys::AuditEvent;

/// The state of the router. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The wake-up call: read for its state and depth only, the relay publishes.
    pub broker: Arc<dyn Broker>,
    /// Who may do what.
    pub(crate) access: Arc<Access>,
    /// One permit per watcher of events.
    pub(crate) streams: Arc<Semaphore>,
    /// One permit per submission that copies trials.
    pub(crate) copies: Arc<Semaphore>,
    /// What watchers of events wait for.
    pub(crate) tails: Tails,
    /// Where submitted tasks are checked.
    pub(crate) checks: Checks,
    /// Where partners of pairs are chosen.
    pub(crate) partners: Partners,
    /// Where it is looked at what trials show.
    pub(crate) insights: Insights,
    /// What is known of searches whose trials clients run.
    pub(crate) studies: ClientStudies,
}

impl AppState {
    /// State without a key of the environment: for a loopback address. Requests need a key once
    /// there is one in the store that is not revoked.
    pub fn new(store: Arc<dyn Store>, broker: Arc<dyn Broker>) -> Self {
        Self {
            tails: Tails::new(Arc::clone(&store)),
            store,
            broker,
            access: Arc::new(Access::new(AccessSettings::default())),
            streams: Arc::new(Semaphore::new(MAX_EVENT_STREAMS)),
            copies: Arc::new(Semaphore::new(COPIES_AT_A_TIME)),
            checks: Checks::new(),
            partners: Partners::new(),
            insights: Insights::new(),
            studies: ClientStudies::new(),
        }
    }

    /// Every request but those for health and documentation must carry this key, or one of the
    /// store.
    #[must_use]
    pub fn with_key(self, key: Option<ApiKey>) -> Self {
        self.with_access(AccessSettings {
            environment: key,
            ..AccessSettings::default()
        })
    }

    /// Guards the routes by these settings.
    #[must_use]
    pub fn with_access(mut self, settings: AccessSettings) -> Self {
        self.access = Arc::new(Access::new(settings));
        self
    }

    /// Lets every request do everything: for routes that are called from within the process only.
    #[must_use]
    pub fn trusting(mut self) -> Self {
        self.access = Arc::new(Access::trusting());
        self
    }

    /// Writes to the audit what a caller has done. That it is done stays so when this fails, which
    /// the log tells.
    pub(crate) async fn tell(&self, caller: &Caller, action: &str, target: impl Into<String>) {
        let event = AuditEvent::once(caller.key(), action, target);
        let (key, target) = (event.key.clone(), event.target.clone());
        if let Err(error) = self.store.audit(&[event]).await {
            tracing::warn!(key, action, target, %error, "done, and not written to the audit");
        }
    }
}
