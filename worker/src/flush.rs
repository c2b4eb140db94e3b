//! Writing results: one flusher per process, one flush per task at a time.
//!
//! A flush whose fate is unknown is repeated as it is until it is known; meanwhile results wait in
//! their units, and a unit at its bound waits with them. So an outage of the database loses
//! nothing, and holds back no more than the bound. Tasks do not wait for one another: one whose
//! row is locked is passed over until its own flush is known. Nor do they hurry one another: out of
//! turn only the tasks are written that asked for it ([`FlushNow`]).

use crate::backoff::Backoff;
use crate::running::{Phase, Shared};
use crate::unit::HeldUnit;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::state::TaskId;
use trialmill_store::{Recorded, StoreError, UnitFlush};

/// About the most bytes of one call of the store, so that each is short. A unit's part is never
/// cut: one that is larger goes alone.
const CALL_BYTES: usize = 8 << 20;

/// The tasks whose results are to be written before their time.
#[derive(Debug, Default)]
pub(crate) struct FlushNow {
    tasks: Mutex<BTreeSet<TaskId>>,
    asked: Notify,
}

impl FlushNow {
    /// Asks the flusher to write what this task has now.
    pub(crate) fn ask(&self, task: TaskId) {
        self.lock().insert(task);
        self.asked.notify_one();
    }

    /// Waits until some task asks; takes those that have. Cancel safe. For one waiter.
    async fn asked(&self) -> BTreeSet<TaskId> {
        self.asked.notified().await;
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<TaskId>> {
        // A set is whole at every time.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a round writes.
enum Round {
    Every,
    Only(BTreeSet<TaskId>),
}

impl Round {
    fn has(&self, task: TaskId) -> bool {
        match self {
            Self::Every => true,
            Self::Only(tasks) => tasks.contains(&task),
        }
    }
}

/// Flushes until `slots_ended`; then until nothing is left.
pub(crate) async fn run(shared: Arc<Shared>, mut slots_ended: watch::Receiver<bool>) {
    let mut writes = FuturesUnordered::new();
    // The tasks of `writes`, and whether a round has passed them over.
    let mut in_flight: BTreeMap<TaskId, bool> = BTreeMap::new();
    let mut due = Instant::now() + shared.options.flush;
    let mut ended = false;
    loop {
        let round = tokio::select! {
            _ = slots_ended.wait_for(|ended| *ended), if !ended => {
                ended = true;
                Round::Every
            }
            Some(task) = writes.next() => {
                // Passed over meanwhile, it has waited long enough.
                let again = in_flight.remove(&task).unwrap_or(false) || ended;
                Round::Only(again.then_some(task).into_iter().collect())
            }
            tasks = shared.flush_now.asked() => Round::Only(tasks),
            () = tokio::time::sleep_until(due) => Round::Every,
        };
        if let Round::Every = round {
            due = Instant::now() + shared.options.flush;
        }
        for (task, passed_over) in &mut in_flight {
            *passed_over |= round.has(*task);
        }
        let due_now = |task| round.has(task) && !in_flight.contains_key(&task);
        for (task, parts) in take(&shared, due_now) {
            in_flight.insert(task, false);
            writes.push(write(Arc::clone(&shared), task, parts));
        }
        if ended && writes.is_empty() {
            return;
        }
    }
}

/// What is to be written now, by task, of the tasks that are due.
fn take(shared: &Shared, is_due: impl Fn(TaskId) -> bool) -> BTreeMap<TaskId, Vec<Part>> {
    let mut tasks: BTreeMap<TaskId, Vec<Part>> = BTreeMap::new();
    for unit in shared.held.all() {
        if !is_due(unit.task()) {
            continue;
        }
        if let Some((flush, bytes)) = unit.take_flush() {
            let part = Part { flush, bytes, unit };
            tasks.entry(part.unit.task()).or_default().push(part);
        }
    }
    tasks
}

/// One unit's part of a flush.
struct Part {
    flush: UnitFlush,
    bytes: usize,
    unit: Arc<HeldUnit>,
}

/// What goes to the store in one call: flushes and their units, in the same order.
#[derive(Default)]
struct Call {
    flushes: Vec<UnitFlush>,
    units: Vec<Arc<HeldUnit>>,
}

impl Call {
    fn push(&mut self, flush: UnitFlush, unit: Arc<HeldUnit>) {
        self.flushes.push(flush);
        self.units.push(unit);
    }

    /// The same, each unit in a call of its own.
    fn each_alone(self) -> impl DoubleEndedIterator<Item = Self> {
        self.flushes
            .into_iter()
            .zip(self.units)
            .map(|(flush, unit)| Self {
                flushes: vec![flush],
                units: vec![unit],
            })
    }

    fn trials(&self) -> usize {
        self.flushes.iter().map(|f| f.trials.len()).sum()
    }

    fn drop_all(&self, shared: &Shared) {
        for unit in &self.units {
            shared.held.remove(unit.lease);
            unit.drop_results();
        }
    }
}

/// Cuts the parts into calls of at most `bound` bytes, between units only.
fn calls(parts: Vec<Part>, bound: usize) -> VecDeque<Call> {
    let mut calls = VecDeque::new();
    let mut call = Call::default();
    let mut bytes = 0;
    for part in parts {
        if !call.units.is_empty() && bytes + part.bytes > bound {
            calls.push_back(std::mem::take(&mut call));
            bytes = 0;
        }
        bytes += part.bytes;
        call.push(part.flush, part.unit);
    }
    calls.push_back(call);
    calls
}

/// Writes the parts of one task, call after call; returns the task.
async fn write(shared: Arc<Shared>, task: TaskId, parts: Vec<Part>) -> TaskId {
    let mut calls = calls(parts, CALL_BYTES);
    while let Some(call) = calls.pop_front() {
        let trials = call.trials();
        match until_known(&shared, task, &call).await {
            Known::Recorded(recorded) => settle(&shared, task, &call, &recorded),
            Known::Refused(error) if call.units.len() > 1 => {
                let units = call.units.len();
                tracing::error!(task.id = %task, units, trials, %error, "results were refused; each unit is written alone");
                for alone in call.each_alone().rev() {
                    calls.push_front(alone);
                }
            }
            Known::Refused(error) => {
                // Ours to repair: the lease runs out, and the trials run again elsewhere.
                let unit = call.units.first().map(|unit| unit.lease.unit.unit);
                tracing::error!(task.id = %task, unit, trials, %error, "results were refused and dropped");
                call.drop_all(&shared);
            }
            Known::GivingUp => {
                tracing::warn!(task.id = %task, trials, "left with unrecorded results; they run again");
                call.drop_all(&shared);
            }
        }
    }
    task
}

/// What repeating a call came to.
enum Known {
    Recorded(Recorded),
    Refused(StoreError),
    GivingUp,
}

async fn until_known(shared: &Shared, task: TaskId, call: &Call) -> Known {
    let mut backoff = Backoff::new();
    let mut phase = shared.phase.subscribe();
    loop {
        reach(FailPoint::RecordBegun);
        let error = match shared.store.record(task, &call.flushes).await {
            Ok(recorded) => return Known::Recorded(recorded),
            Err(error) if !error.is_transient() => return Known::Refused(error),
            Err(error) => error,
        };
        let trials = call.trials();
        tracing::warn!(task.id = %task, trials, %error, "results could not be recorded yet");
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase == Phase::GivingUp) => return Known::GivingUp,
            () = tokio::time::sleep(backoff.delay()) => {}
        }
    }
}

/// Tells the units what became of their parts, and all units of the task what to do next.
fn settle(shared: &Shared, task: TaskId, call: &Call, recorded: &Recorded) {
    for ((unit, flush), written) in call.units.iter().zip(&call.flushes).zip(&recorded.written) {
        match written {
            Written::Recorded => {
                if flush.end != UnitEnd::Keep {
                    shared.held.remove(unit.lease);
                }
                unit.flush_recorded(flush);
            }
            // What follows the trial that ended the task is not wanted, and the unit is closed.
            Written::Ended => {
                shared.held.remove(unit.lease);
                unit.drop_results();
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

#[cfg(test)]
mod tests {
    use super::*;
    use trialmill_common::state::{TaskKind, UnitKind};
    use trialmill_store::rows::{Claim, HeldLease, UnitRef};

    #[test]
    fn calls_are_cut_between_units_and_hold_no_more_than_the_bound() {
        let part = |number: u32, bytes: usize| {
            let unit = UnitRef {
                task: TaskId(uuid::Uuid::from_u128(1)),
                unit: number,
            };
            let claim = Claim {
                lease: HeldLease { unit, token: 1 },
                first: number,
                count: 1,
                recorded: 0,
                crashes: 0,
                kind: TaskKind::HyperparameterOptimization,
                unit_kind: UnitKind::Trials,
                window: None,
                spec: serde_json::Value::Null,
                snapshot: None,
                announced: vec![],
            };
            let unit = Arc::new(HeldUnit::new(&claim));
            drop(unit.end(UnitEnd::HandBack));
            let (flush, _) = unit.take_flush().expect("its end is to be written");
            Part { flush, bytes, unit }
        };
        let parts = [3, 3, 3, 10, 1].into_iter().zip(0..);
        let parts = parts.map(|(bytes, number)| part(number, bytes)).collect();
        let units: Vec<Vec<u32>> = calls(parts, 6)
            .iter()
            .map(|call| call.flushes.iter().map(|f| f.lease.unit.unit).collect())
            .collect();
        assert_eq!(units, [vec![0, 1], vec![2], vec![3], vec![4]]);
    }
}
