//! The check of a request on a thread of its own: it is pure, but it may list the million points of
//! a space and evaluate conditions for each, and the runtime's threads answer everybody.

use crate::limits::CHECK_THREADS;
use crate::problem::Problem;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Semaphore;
use trialmill_common::draft::{Accepted, MarketView, Surroundings, check_optimization, check_task};
use trialmill_common::state::TaskKind;

/// What the check must know, owned: see [`Surroundings`].
pub(super) struct Known {
    pub(super) market: MarketView,
    pub(super) announced: BTreeSet<String>,
    pub(super) live_slots: u32,
    pub(super) drawn_seed: u64,
}

/// The threads for checks.
#[derive(Clone)]
pub(crate) struct Checks {
    threads: Arc<Semaphore>,
}

impl Checks {
    pub(crate) fn new() -> Self {
        Self {
            threads: Arc::new(Semaphore::new(CHECK_THREADS)),
        }
    }

    /// Checks a body under the route of `kind` ([`check_task`] without one), and gives it back.
    pub(super) async fn run(
        &self,
        kind: Option<TaskKind>,
        body: Value,
        known: Known,
    ) -> Result<(Accepted, Value), Problem> {
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let check = move || {
            // Held to the end of the check, also when the client has gone meanwhile.
            let _permit = permit;
            let around = Surroundings {
                market: &known.market,
                announced: &known.announced,
                live_slots: known.live_slots,
                drawn_seed: known.drawn_seed,
            };
            let accepted = match kind {
                Some(TaskKind::HyperparameterOptimization) => check_optimization(&body, &around),
                Some(TaskKind::Backtest | TaskKind::Training | TaskKind::Prediction) | None => {
                    check_task(&body, &around)
                }
            };
            accepted.map(|accepted| (accepted, body))
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the bounded pool is the worker's; here the permits bound the threads"
        )]
        let checked = tokio::task::spawn_blocking(check);
        let checked = checked.await.map_err(|error| {
            tracing::error!(error = %error, "the check of a request panicked");
            Problem::internal()
        })?;
        checked.map_err(Problem::invalid)
    }
}
