//! The units that this process holds the leases of, and their results until these are recorded.

use crate::history::TaskHistory;
use crate::run;
use crate::running::Shared;
use crate::stop::{Signal, SignalCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::protocol::Control;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::TaskId;
use trialmill_common::trial::{EndedTrial, Outcome};
use trialmill_common::worker::WorkerCard;
use trialmill_store::UnitFlush;
use trialmill_store::rows::{Claim, HeldLease};

/// A unit under lease. Its slot, the thread that computes, the flusher and the renewal share it.
#[derive(Debug)]
pub(crate) struct HeldUnit {
    pub(crate) lease: HeldLease,
    /// First trial that was not recorded when the unit was claimed.
    pub(crate) first: u32,
    /// Trials left when it was claimed.
    pub(crate) count: u32,
    pub(crate) signal: SignalCell,
    /// The slot waits on it for a change of the signal.
    pub(crate) changed: Notify,
    /// What the task's sampler is shown; none for one that looks at nothing.
    history: OnceLock<Arc<TaskHistory>>,
    /// The trial before which history was read last.
    read_before: AtomicU32,
    /// The trial for which history was read again last, since earlier ones were missing.
    read_again: AtomicU32,
    /// Why it cannot be run here, if it cannot.
    cannot: OnceLock<Cannot>,
    claimed_at: Instant,
    /// Start of the running trial in nanoseconds after `claimed_at`, plus 1; 0 between trials.
    trial_started: AtomicU64,
    results: Mutex<Results>,
    /// The computing thread waits on it for room.
    room: Condvar,
    /// An isolated run waits on it for room: it runs on the runtime, which must not be blocked.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Results {
    /// Recorded trials of the unit, those of earlier holders included.
    recorded: u32,
    /// Ended trials that are not recorded: waiting, or in a flush.
    unrecorded: u32,
    /// Ended trials that wait for a flush.
    waiting: Vec<EndedTrial>,
    /// Steps of an assessment that are done and not in a flush.
    steps: u32,
    /// Steps of an assessment that were done since the claim: waiting, in a flush, or recorded.
    done: u32,
    /// The result document of a run, which is written with its trial, or that of an assessment, which
    /// is written with its steps.
    document: Option<serde_json::Value>,
    /// Ended trials since the claim: waiting, in a flush, or recorded.
    ended: u32,
    /// Bytes of the trials waiting and in a flush.
    bytes: usize,
    /// Bytes of the trials in the flush under way.
    flushing_bytes: usize,
    /// Set once, by the slot: how the unit is left after the waiting trials.
    end: Option<UnitEnd>,
    /// Why it is left so.
    why: Option<String>,
    settled: Option<oneshot::Sender<Settled>>,
    /// The computing thread was given up: what it still brings is ignored.
    abandoned: bool,
    interrupted_at: Option<Instant>,
}

impl Results {
    fn step(&mut self, steps: u32, document: serde_json::Value) {
        self.steps += steps;
        self.done += steps;
        self.document = Some(document);
    }

    fn is_full(&self, bound: usize, share: u32) -> bool {
        self.bytes >= bound || self.unrecorded >= share
    }
}

/// Why a unit cannot be run here.
#[derive(Debug)]
pub(crate) struct Cannot {
    /// How it is handed back.
    end: UnitEnd,
    /// In words that name the worker.
    why: String,
    /// Whether it is a failure of this worker, of which too many in a row are a quarantine.
    own: bool,
}

impl Cannot {
    /// This worker fails; another one may do better.
    pub(crate) fn here(shared: &Shared, why: &str) -> Self {
        Self {
            own: true,
            ..Self::anywhere(shared, why)
        }
    }

    /// The unit, or the store's rows of it, are at fault as far as can be seen from here.
    pub(crate) fn anywhere(shared: &Shared, why: &str) -> Self {
        let WorkerCard { name, version, .. } = &shared.card;
        Self {
            end: UnitEnd::Unable,
            why: format!("worker {name} of build {version}: {why}"),
            own: false,
        }
    }

    /// This build cannot read the task; another one may.
    pub(crate) fn this_build(shared: &Shared, why: &str) -> Self {
        Self {
            end: UnitEnd::OtherBuild,
            ..Self::anywhere(shared, why)
        }
    }

    /// The reason, if it is a failure of this worker.
    pub(crate) fn own(&self) -> Option<&str> {
        self.own.then_some(self.why.as_str())
    }
}

/// What became of a unit's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Everything is recorded and the lease is given up.
    Recorded,
    /// The lease was superseded, or the worker gave up: the results since the last flush are gone
    /// and their trials run again.
    Dropped,
}

impl HeldUnit {
    pub(crate) fn new(claim: &Claim) -> Self {
        Self {
            lease: claim.lease,
            first: claim.first,
            count: claim.count,
            signal: SignalCell::default(),
            changed: Notify::new(),
            history: OnceLock::new(),
            read_before: AtomicU32::new(u32::MAX),
            read_again: AtomicU32::new(u32::MAX),
            cannot: OnceLock::new(),
            claimed_at: Instant::now(),
            trial_started: AtomicU64::new(0),
            results: Mutex::new(Results {
                recorded: claim.recorded,
                ..Results::default()
            }),
            room: Condvar::new(),
            freed: Notify::new(),
        }
    }

    pub(crate) fn task(&self) -> TaskId {
        self.lease.unit.task
    }

    pub(crate) fn worked(&self) -> Duration {
        self.claimed_at.elapsed()
    }

    pub(crate) fn claimed_at(&self) -> Instant {
        self.claimed_at
    }

    /// Raises the signal and wakes whoever waits for it.
    pub(crate) fn raise(&self, signal: Signal) {
        if self.signal.raise(signal) {
            let mut results = self.results();
            if signal >= Signal::Interrupt {
                results.interrupted_at.get_or_insert_with(Instant::now);
            }
            if let (Signal::Lost, Some(history)) = (signal, self.history.get()) {
                history.over(self.lease);
            }
            drop(results);
            self.room.notify_all();
            self.freed.notify_one();
            self.changed.notify_one();
        }
    }

    /// What the store told this holder.
    pub(crate) fn obey(&self, control: Control) {
        match control {
            Control::Run => {}
            Control::Pause => self.raise(Signal::HandBack),
            Control::Stop => {
                reach(FailPoint::StopObeyed);
                self.raise(Signal::Stop);
            }
        }
    }

    // ---- the computing side ------------------------------------------------------------------

    /// The next trial without a result, if any is left.
    pub(crate) fn next_trial(&self) -> Option<u32> {
        let ended = self.results().ended;
        (ended < self.count).then(|| self.first + ended)
    }

    /// From now on the unit's trials are part of this history: what is known when it is claimed.
    pub(crate) fn show(&self, history: &Arc<TaskHistory>) {
        history.claimed(self.lease);
        // The slot shows it once.
        drop(self.history.set(Arc::clone(history)));
        // Lost before there was a history to leave.
        if self.signal.get() == Signal::Lost {
            history.over(self.lease);
        }
    }

    /// What the task's sampler is shown, if it looks at anything.
    pub(crate) fn history(&self) -> Option<&Arc<TaskHistory>> {
        self.history.get()
    }

    /// History was read for the point of this trial.
    pub(crate) fn history_is_read(&self, number: u32) {
        self.read_before.store(number, Ordering::Release);
    }

    /// Whether history is to be read for the point of this trial.
    pub(crate) fn needs_history(&self, number: u32) -> bool {
        let shared = self.history.get().is_some_and(|h| !h.is_sequential());
        shared && self.read_before.load(Ordering::Acquire) != number
    }

    /// Whether history is to be read once more for this trial, since earlier ones are missing in it.
    pub(crate) fn reads_again(&self, number: u32) -> bool {
        self.read_again.swap(number, Ordering::AcqRel) != number
    }

    /// How many trials may be unrecorded, the next one included.
    fn share(&self) -> u32 {
        self.history.get().map_or(u32::MAX, |h| h.share())
    }

    /// Whether the unrecorded results are at `bound` bytes, or as many as the sampler may be blind
    /// to, and nobody is told to leave.
    pub(crate) fn is_full(&self, bound: usize) -> bool {
        let share = self.share();
        self.results().is_full(bound, share) && self.signal.get() == Signal::Run
    }

    /// Waits until that is over, or the signal is raised; `full` is told at every turn. Blocks the
    /// thread: only for the CPU pool.
    pub(crate) fn wait_for_room(&self, bound: usize, full: impl Fn()) {
        let share = self.share();
        let mut results = self.results();
        while results.is_full(bound, share) && self.signal.get() == Signal::Run {
            full();
            results = self
                .room
                .wait(results)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same on the runtime. For one waiter.
    pub(crate) async fn room(&self, bound: usize, full: impl Fn()) {
        while self.is_full(bound) {
            full();
            self.freed.notified().await;
        }
    }

    pub(crate) fn trial_begins(&self, at: Instant) {
        let nanos = at.duration_since(self.claimed_at).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX - 1);
        self.trial_started.store(nanos + 1, Ordering::Release);
    }

    pub(crate) fn trial_is_over(&self) {
        self.trial_started.store(0, Ordering::Release);
    }

    /// Adds a result. False: nobody wants it any more. `half_full` is told when a flush is due
    /// before its time.
    pub(crate) fn push(
        &self,
        trial: EndedTrial,
        document: Option<serde_json::Value>,
        bound: usize,
        half_full: impl Fn(),
    ) -> bool {
        let bytes = weight(&trial) + document.as_ref().map_or(0, run::length);
        let mut results = self.results();
        if results.abandoned {
            return false;
        }
        debug_assert_eq!(
            trial.number,
            self.first + results.ended,
            "trials end in order"
        );
        // Before a flush can see it, and under the lock that a loss of the lease takes.
        if let Some(history) = self.history.get() {
            history.ended(self.lease, &trial);
        }
        let before = results.bytes;
        results.waiting.push(trial);
        results.document = document.or(results.document.take());
        results.ended += 1;
        results.unrecorded += 1;
        results.bytes += bytes;
        let crossed = before < bound / 2 && results.bytes >= bound / 2;
        drop(results);
        if crossed {
            half_full();
        }
        true
    }

    /// Steps of an assessment are done; `document` says how far it has come. False: nobody wants it
    /// any more.
    pub(crate) fn assessed(&self, steps: u32, document: serde_json::Value) -> bool {
        let mut results = self.results();
        if results.abandoned {
            return false;
        }
        results.step(steps, document);
        true
    }

    /// All of an assessment that was left at the claim is done, whatever was told of it since.
    pub(crate) fn assessed_whole(&self, document: serde_json::Value) {
        let mut results = self.results();
        if !results.abandoned {
            let left = self.count - results.done;
            results.step(left, document);
        }
    }

    // ---- the slot's side ---------------------------------------------------------------------

    /// When the running trial must be over, however it is written: `limit` after its start, or
    /// `grace` after it was interrupted. Without a running trial: `limit` from now.
    pub(crate) fn patience_ends(&self, limit: Duration, grace: Duration) -> Instant {
        let by_trial = match self.trial_started.load(Ordering::Acquire) {
            0 => Instant::now() + limit,
            nanos => self.claimed_at + Duration::from_nanos(nanos - 1) + limit,
        };
        match self.results().interrupted_at {
            Some(at) => by_trial.min(at + grace),
            None => by_trial,
        }
    }

    /// Gives the computing thread up: its results so far stay, later ones are refused.
    pub(crate) fn abandon_thread(&self) {
        self.results().abandoned = true;
    }

    /// The unit is to be handed back, since it cannot be run here. The first reason stands.
    pub(crate) fn cannot_run(&self, cannot: Cannot) {
        tracing::error!(
            why = cannot.why,
            "the unit cannot be run here; handing it back"
        );
        // A second reason adds nothing to the first.
        drop(self.cannot.set(cannot));
        self.raise(Signal::HandBack);
    }

    /// Why it cannot be run here, if it cannot.
    pub(crate) fn cannot(&self) -> Option<&Cannot> {
        self.cannot.get()
    }

    /// Whether a trial has ended, or a step of an assessment, since the claim.
    pub(crate) fn has_brought_something(&self) -> bool {
        let results = self.results();
        results.ended > 0 || results.done > 0
    }

    /// Sets how the unit is left: handed back as told by [`Self::cannot_run`], if it was. The
    /// flusher answers through the receiver.
    pub(crate) fn end(&self, end: UnitEnd) -> oneshot::Receiver<Settled> {
        let (sender, receiver) = oneshot::channel();
        let (end, why) = match (end, self.cannot.get()) {
            (UnitEnd::HandBack, Some(cannot)) => (cannot.end, Some(cannot.why.clone())),
            (end, _) => (end, None),
        };
        let mut results = self.results();
        results.end = Some(end);
        results.why = why;
        results.settled = Some(sender);
        receiver
    }

    // ---- the flusher's side ------------------------------------------------------------------

    /// What is to be written now, if anything, and about how many bytes it is.
    pub(crate) fn take_flush(&self) -> Option<(UnitFlush, usize)> {
        let mut results = self.results();
        if results.waiting.is_empty() && results.steps == 0 && results.end.is_none() {
            return None;
        }
        results.flushing_bytes = results.bytes;
        let flush = UnitFlush {
            lease: self.lease,
            recorded_before: results.recorded,
            trials: std::mem::take(&mut results.waiting),
            steps: std::mem::take(&mut results.steps),
            end: results.end.unwrap_or(UnitEnd::Keep),
            result: results.document.take(),
            why: results.why.clone(),
        };
        Some((flush, results.flushing_bytes))
    }

    /// A flush is known to be recorded.
    pub(crate) fn flush_recorded(&self, flush: &UnitFlush) {
        let count = u32::try_from(flush.trials.len()).expect("a unit has at most u32 trials");
        let mut results = self.results();
        results.recorded += count + flush.steps;
        results.unrecorded -= count;
        if let Some(history) = self.history.get() {
            history.recorded(&flush.trials);
            if flush.end != UnitEnd::Keep {
                history.over(self.lease);
            }
        }
        results.bytes -= results.flushing_bytes;
        results.flushing_bytes = 0;
        let settled = if flush.end == UnitEnd::Keep {
            None
        } else {
            results.settled.take()
        };
        drop(results);
        self.room.notify_all();
        self.freed.notify_one();
        if let Some(settled) = settled {
            let _ = settled.send(Settled::Recorded);
        }
    }

    /// The unit is no longer ours: its results are dropped, its slot stops.
    pub(crate) fn drop_results(&self) {
        let mut results = self.results();
        results.waiting.clear();
        results.abandoned = true;
        let settled = results.settled.take();
        drop(results);
        self.raise(Signal::Lost);
        if let Some(settled) = settled {
            let _ = settled.send(Settled::Dropped);
        }
    }

    /// No code that holds this lock can panic half-way, so a poisoned one is whole.
    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About the bytes that a result takes here and on its way to the store.
fn weight(trial: &EndedTrial) -> usize {
    let fixed = size_of::<EndedTrial>() + trial.point.values().len() * 24;
    fixed
        + match &trial.outcome {
            Outcome::Completed(e) | Outcome::Pruned(e) => {
                e.values.len() * 8
                    + e.metrics
                        .iter()
                        .map(|(name, _)| name.len() + 64)
                        .sum::<usize>()
                    + e.stats.as_ref().map_or(0, Vec::len)
            }
            Outcome::Failed(failure) => failure.message.len() + failure.hint.len() + 128,
        }
}

/// All units under lease of this process.
#[derive(Debug, Default)]
pub(crate) struct HeldUnits {
    units: Mutex<BTreeMap<HeldLease, Arc<HeldUnit>>>,
}

impl HeldUnits {
    pub(crate) fn insert(&self, unit: Arc<HeldUnit>) {
        self.lock().insert(unit.lease, unit);
    }

    pub(crate) fn remove(&self, lease: HeldLease) {
        self.lock().remove(&lease);
    }

    pub(crate) fn all(&self) -> Vec<Arc<HeldUnit>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HeldLease, Arc<HeldUnit>>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
