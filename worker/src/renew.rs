//! Keeping leases: one batch for all of them, on a task of its own that waits for no computation.
//! It also tells the store that the worker lives.

use crate::backoff::jittered;
use crate::running::Shared;
use crate::stop::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::protocol::Control;
use trialmill_common::state::TaskId;
use trialmill_store::rows::{HeldLease, LeaseOutcome};

/// How often holders ask whether their tasks are cancelled or paused. A long trial hears of it in no
/// other way before its lease is renewed; asking reads one row a task.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Renews leases and asks for orders, until it is aborted.
pub(crate) async fn run(shared: Arc<Shared>) {
    tokio::join!(renew(&shared), ask(&shared));
}

/// Tells units of a cancel or a pause soon after it was committed. What goes wrong here is found and
/// told by the renewal.
async fn ask(shared: &Shared) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let units = shared.held.all();
        let tasks: BTreeSet<TaskId> = units.iter().map(|unit| unit.task()).collect();
        let tasks: Vec<TaskId> = tasks.into_iter().collect();
        if tasks.is_empty() {
            continue;
        }
        if let Ok(controls) = shared.store.controls(&tasks).await {
            let told: BTreeMap<TaskId, Control> = tasks.into_iter().zip(controls).collect();
            for unit in units {
                if let Some(control) = told.get(&unit.task()) {
                    unit.obey(*control);
                }
            }
        }
    }
}

/// Renews every third of a lease. After a failure it tries again after a tenth of one.
async fn renew(shared: &Shared) {
    let lease = shared.options.lease;
    let mut failing = false;
    loop {
        let wait: Duration = if failing {
            jittered(lease / 10)
        } else {
            lease / 3
        };
        tokio::time::sleep(wait).await;
        let units = shared.held.all();
        let leases: Vec<HeldLease> = units.iter().map(|unit| unit.lease).collect();
        if !leases.is_empty() {
            reach(FailPoint::RenewBegun);
        }
        let answer = shared.store.renew(shared.card.id, &leases).await;
        shared.beat.send_modify(|beat| {
            beat.turns += 1;
            beat.database = answer.is_ok();
        });
        match answer {
            Ok(outcomes) => {
                if !leases.is_empty() {
                    reach(FailPoint::RenewAnswered);
                }
                if std::mem::take(&mut failing) {
                    tracing::info!("the store answers again");
                    // The row of this worker may have been swept meanwhile.
                    // A busy store must not cost the leases: it gets a moment only.
                    let announce = shared.store.announce(&shared.card);
                    let announced = tokio::time::timeout(lease / 10, announce).await;
                    let fault = match announced {
                        Ok(Ok(())) => None,
                        Ok(Err(error)) => Some(error.to_string()),
                        Err(_) => Some("the store did not answer in time".to_owned()),
                    };
                    if let Some(error) = fault {
                        tracing::warn!(error, "the worker could not be announced again");
                        failing = true;
                    }
                }
                for (unit, outcome) in units.iter().zip(outcomes) {
                    match outcome {
                        LeaseOutcome::Held(control) => unit.obey(control),
                        LeaseOutcome::Lost => unit.raise(Signal::Lost),
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(leases = leases.len(), %error, "leases could not be renewed");
                }
            }
        }
    }
}
