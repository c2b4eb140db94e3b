//! What must be in order before a worker takes work: a missing thing shows here, never in a trial.

use crate::objective::names;
use trialmill_backtest::strategy::{self, Params};
use trialmill_broker::{Broker, BrokerState};
use trialmill_store::{Store, StoreError};

/// What keeps a worker from starting.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The database does not take writes.
    #[error("the database takes no writes: {0}")]
    NotWritable(#[source] StoreError),
    /// A strategy does not accept its own defaults.
    #[error("strategy {strategy} refuses its own default parameters: {fault}")]
    Strategy {
        /// Its key.
        strategy: &'static str,
        /// What it said.
        fault: String,
    },
}

/// What a preflight found in order, and what it warns of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// Objectives that can be evaluated.
    pub strategies: Vec<String>,
    /// Why the broker cannot be used now: work waits in the database meanwhile.
    pub broker: Option<String>,
}

/// Checks the store and every strategy. The schema was checked when the store was opened.
///
/// # Errors
/// The first thing that keeps a worker from working.
pub async fn preflight(
    store: &dyn Store,
    broker: &dyn Broker,
) -> Result<Preflight, PreflightError> {
    store
        .writable()
        .await
        .map_err(PreflightError::NotWritable)?;
    for strategy in strategy::all() {
        strategy
            .rule(&Params::new())
            .map_err(|faults| PreflightError::Strategy {
                strategy: strategy.info().key,
                fault: faults
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; "),
            })?;
    }
    let broker = match &*broker.state().borrow() {
        BrokerState::Connected => None,
        BrokerState::Disconnected { reason, .. } => Some(format!("not connected: {reason}")),
        BrokerState::Blocked { reason } => Some(format!("takes no messages: {reason}")),
    };
    Ok(Preflight {
        strategies: names(),
        broker,
    })
}
