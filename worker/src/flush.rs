//! Writing results: one flusher per process, one flush per task at a time.
//!
//! A flush whose fate is unknown is repeated as it is until it is known; meanwhile results wait in
//! their units, and a unit at its bound waits with them. So an outage of the database loses
//! nothing, and holds back no more than the bound.

use crate::backoff::Backoff;
use crate::running::{Phase, Shared};
use crate::unit::HeldUnit;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::state::TaskId;
use trialmill_store::UnitFlush;

/// Flushes until `slots_ended`; then once more for what is left.
pub(crate) async fn run(shared: Arc<Shared>, mut slots_ended: watch::Receiver<bool>) {
    loop {
        let ended = tokio::select! {
            biased;
            _ = slots_ended.wait_for(|ended| *ended) => true,
            () = shared.flush_now.notified() => false,
            () = tokio::time::sleep(shared.options.flush) => false,
        };
        flush_all(&shared).await;
        if ended {
            return;
        }
    }
}

async fn flush_all(shared: &Shared) {
    let mut tasks: BTreeMap<TaskId, Flushing> = BTreeMap::new();
    for unit in shared.held.all() {
        if let Some(flush) = unit.take_flush() {
            let flushing = tasks.entry(unit.task()).or_default();
            flushing.flushes.push(flush);
            flushing.units.push(unit);
        }
    }
    futures::future::join_all(tasks.into_iter().map(|(task, f)| f.write(shared, task))).await;
}

/// The flush of one task: its parts and their units, in the same order.
#[derive(Default)]
struct Flushing {
    flushes: Vec<UnitFlush>,
    units: Vec<Arc<HeldUnit>>,
}

impl Flushing {
    async fn write(self, shared: &Shared, task: TaskId) {
        let mut backoff = Backoff::new();
        let mut phase = shared.phase.subscribe();
        let recorded = loop {
            let error = match shared.store.record(task, &self.flushes).await {
                Ok(recorded) => break recorded,
                Err(error) => error,
            };
            let trials: usize = self.flushes.iter().map(|f| f.trials.len()).sum();
            if !error.is_transient() {
                // Ours to repair: the leases run out, and the trials run again elsewhere.
                tracing::error!(task.id = %task, trials, %error, "results were refused and dropped");
                return self.drop_all(shared);
            }
            tracing::warn!(task.id = %task, trials, %error, "results could not be recorded yet");
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase == Phase::GivingUp) => {
                    tracing::warn!(task.id = %task, trials, "left with unrecorded results; they run again");
                    return self.drop_all(shared);
                }
                () = tokio::time::sleep(backoff.delay()) => {}
            }
        };
        for ((unit, flush), written) in self.units.iter().zip(&self.flushes).zip(&recorded.written)
        {
            match written {
                Written::Recorded => {
                    if flush.end != UnitEnd::Keep {
                        shared.held.remove(unit.lease);
                    }
                    unit.flush_recorded(flush);
                }
                Written::Fenced => {
                    tracing::info!(task.id = %task, unit = unit.lease.unit.unit, "the lease was superseded");
                    shared.held.remove(unit.lease);
                    unit.drop_results();
                }
            }
        }
        for unit in shared.held.all() {
            if unit.task() == task {
                unit.obey(recorded.control);
            }
        }
    }

    fn drop_all(&self, shared: &Shared) {
        for unit in &self.units {
            shared.held.remove(unit.lease);
            unit.drop_results();
        }
    }
}
