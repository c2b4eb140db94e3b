//! A slot: one message at a time, one unit, one thread.
//!
//! message -> claim -> trials in order -> end of the unit -> acknowledgement. Whatever goes wrong
//! before the claim leaves the unit queued in the store, and after it the lease decides; so the
//! message is acknowledged in every case but one: a worker that leaves before the claim gives it
//! back.

use crate::assessor;
use crate::backoff::Backoff;
use crate::cpu::Lane;
use crate::isolate::Isolated;
use crate::job::Job;
use crate::quarantine::count_own_failure;
use crate::running::{Phase, Shared, WorkerFault};
use crate::stop::Signal;
use crate::task::{PrepareError, PreparedTask};
use crate::trials::{Announced, Batch, Halt, Limits};
use crate::unit::{Cannot, HeldUnit, Settled};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::sleep_until;
use tracing::Instrument;
use trialmill_broker::{Consumer, Delivery};
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::{TaskId, UnitKind};
use trialmill_common::trial::RunningTrial;
use trialmill_store::StoreError;
use trialmill_store::rows::{Claim, UnitRef};

/// One slot of a worker.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    lane: Lane,
    number: u32,
    /// `host:pid/slot-07`, for failures.
    worker: Arc<str>,
    /// Names its consumer at the broker.
    tag: String,
    phase: watch::Receiver<Phase>,
    quarantine: watch::Receiver<Option<String>>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It is acknowledged.
    Done,
    /// It is given back: the worker takes no units now.
    GivenBack,
}

impl Slot {
    pub(crate) fn new(shared: Arc<Shared>, number: u32, tag: String) -> std::io::Result<Self> {
        let lane = Lane::spawn(number)?;
        let worker = format!("{}/slot-{number:02}", shared.card.name).into();
        let phase = shared.phase.subscribe();
        let quarantine = shared.health.quarantine();
        Ok(Self {
            shared,
            lane,
            number,
            worker,
            tag,
            phase,
            quarantine,
        })
    }

    /// Works until the worker drains, and not while it is in quarantine.
    pub(crate) async fn run(mut self) {
        loop {
            let healthy = async {
                let quarantine = &mut self.quarantine;
                let _ = quarantine.wait_for(Option::is_none).await;
            };
            tokio::select! {
                biased;
                _ = self.phase.wait_for(|phase| *phase > Phase::Running) => return,
                () = healthy => {}
            }
            let pool = &self.shared.options.pool;
            let consumer = match self.shared.broker.consume(pool, &self.tag).await {
                Ok(consumer) => consumer,
                Err(error) => {
                    // Only for names that were checked when the worker started.
                    let fault = WorkerFault::SlotEnded(error.to_string());
                    return self.shared.fail(fault);
                }
            };
            self.consume(consumer).await;
        }
    }

    /// Takes messages until the worker drains or goes into quarantine.
    async fn consume(&mut self, mut consumer: Box<dyn Consumer>) {
        loop {
            let delivery = tokio::select! {
                biased;
                _ = self.phase.wait_for(|phase| *phase > Phase::Running) => break,
                _ = self.quarantine.wait_for(Option::is_some) => break,
                delivery = consumer.next() => delivery,
            };
            if self.take(consumer.as_mut(), &delivery).await == Taken::GivenBack {
                break;
            }
        }
        // Closing gives an unacknowledged message back.
        consumer.close().await;
    }

    async fn take(&mut self, consumer: &mut dyn Consumer, delivery: &Delivery) -> Taken {
        let unit = UnitRef {
            task: TaskId(delivery.message.task),
            unit: delivery.message.unit,
        };
        reach(FailPoint::SlotDelivered);
        match self.claim(unit).await {
            Claimed::Unit(claim) => {
                reach(FailPoint::ClaimCommitted);
                let span = tracing::info_span!("unit", task.id = %unit.task, unit = unit.unit);
                self.run_unit(consumer, &claim).instrument(span).await;
                reach(FailPoint::UnitSettled);
            }
            Claimed::Nothing => {}
            Claimed::Leaving => return Taken::GivenBack,
        }
        consumer.ack().await;
        reach(FailPoint::SlotAcknowledged);
        Taken::Done
    }

    /// Claims, however long the store is away.
    async fn claim(&mut self, unit: UnitRef) -> Claimed {
        let store = Arc::clone(&self.shared.store);
        let worker = self.shared.card.id;
        match until_known(&mut self.phase, "claim", || store.claim(unit, worker)).await {
            Known::Answer(Some(claim)) => Claimed::Unit(Box::new(claim)),
            Known::Answer(None) => Claimed::Nothing,
            Known::Refused(error) => {
                tracing::error!(task.id = %unit.task, unit = unit.unit, %error, "a claim was refused");
                Claimed::Nothing
            }
            Known::Leaving => Claimed::Leaving,
        }
    }

    async fn run_unit(&mut self, consumer: &mut dyn Consumer, claim: &Claim) {
        let unit = Arc::new(HeldUnit::new(claim));
        self.shared.held.insert(Arc::clone(&unit));
        // Inserted first, then looked at: whichever way a drain comes between, one side sees it.
        match *self.phase.borrow() {
            Phase::Running => {}
            Phase::Finishing => unit.raise(Signal::HandBack),
            Phase::Interrupting | Phase::GivingUp => unit.raise(Signal::Interrupt),
        }
        if self.shared.health.is_quarantined() {
            unit.raise(Signal::HandBack);
        }
        tracing::debug!(
            first = claim.first,
            count = claim.count,
            crashes = claim.crashes,
            "claimed"
        );
        let end = match claim.unit_kind {
            UnitKind::Assess => self.assess(consumer, claim, &unit).await,
            UnitKind::Trials | UnitKind::Run => self.run_trials(consumer, claim, &unit).await,
        };
        let own = unit.cannot().and_then(Cannot::own);
        match own {
            Some(why) => count_own_failure(&self.shared, why),
            None if unit.has_brought_something() => self.shared.health.worked(),
            None => {}
        }
        if unit.signal.get() == Signal::Lost {
            self.shared.held.remove(unit.lease);
            return;
        }
        if let UnitEnd::Close = end {
            reach(FailPoint::UnitDone);
        }
        let settled = unit.end(end);
        self.shared.flush_now.ask(unit.task());
        let settled = settled.await.unwrap_or(Settled::Dropped);
        tracing::debug!(
            ?end,
            ?settled,
            worked_ms = unit.worked().as_millis(),
            "unit ended"
        );
    }

    async fn run_trials(
        &mut self,
        consumer: &mut dyn Consumer,
        claim: &Claim,
        unit: &Arc<HeldUnit>,
    ) -> UnitEnd {
        let Some(task) = self.prepare(claim, unit).await else {
            return UnitEnd::HandBack;
        };
        if let (Job::Search(spec), true) = (&task.job, task.looks_back()) {
            let histories = &self.shared.histories;
            unit.show(&histories.of(unit.task(), spec, claim.first));
            read_history(&self.shared, &self.lane, unit, claim.first).await;
        }
        let announced = Arc::new(announced(claim, &task.job));
        let kept = Arc::clone(&task);
        let end = self.work(consumer, claim, unit, task, announced).await;
        self.shared.tasks.keep(unit.task(), kept).await;
        end
    }

    /// Says what the search of a task is worth.
    async fn assess(
        &mut self,
        consumer: &mut dyn Consumer,
        claim: &Claim,
        unit: &Arc<HeldUnit>,
    ) -> UnitEnd {
        if claim.count == 0 {
            // An earlier holder was lost between its last step and the end of the unit: what it found
            // is written.
            return UnitEnd::Close;
        }
        if claim.crashes >= assessor::MOST_CRASHES {
            let crashes = claim.crashes;
            assessor::give_up(unit, &format!("{crashes} workers were lost over it"));
            return UnitEnd::Close;
        }
        let Some(task) = self.prepare(claim, unit).await else {
            return UnitEnd::HandBack;
        };
        let Job::Search(spec) = &task.job else {
            assessor::give_up(unit, "only a search can be assessed");
            return UnitEnd::Close;
        };
        let Some(found) = assessor::read(&self.shared, unit, spec).await else {
            return UnitEnd::HandBack;
        };
        reach(FailPoint::AssessRead);
        let (on_thread, held, recorded) = (Arc::clone(&task), Arc::clone(unit), claim.recorded);
        let shared = Arc::clone(&self.shared);
        let run = move || assessor::run(&shared, &on_thread, &held, recorded, &found);
        let mut job = std::pin::pin!(self.lane.run(run));
        let ack_at = unit.claimed_at() + self.shared.options.ack_early;
        let halt = tokio::select! {
            halt = &mut job => halt,
            () = sleep_until(ack_at.into()) => {
                consumer.ack_early().await;
                reach(FailPoint::AcknowledgedEarly);
                job.await
            }
        };
        halt.map_or(UnitEnd::HandBack, |halt| self.left(&halt, unit))
    }

    /// Makes the task ready. `None`: hand the unit back.
    async fn prepare(&mut self, claim: &Claim, unit: &HeldUnit) -> Option<Arc<PreparedTask>> {
        let mut backoff = Backoff::new();
        loop {
            let error = match self.shared.tasks.get(claim, &self.lane).await {
                Ok(task) => return Some(task),
                Err(error) => error,
            };
            match &error {
                PrepareError::Store(cause) if cause.is_transient() => {}
                PrepareError::Unreadable(why) => {
                    unit.cannot_run(Cannot::this_build(&self.shared, why));
                }
                PrepareError::Store(_) | PrepareError::Panicked => {
                    let why = format!("the task cannot be made ready: {error}");
                    unit.cannot_run(Cannot::here(&self.shared, &why));
                }
            }
            if unit.signal.get() > Signal::Run {
                return None;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.delay()) => {}
                () = unit.changed.notified() => {}
            }
        }
    }

    /// Runs the trials and says how the unit is left.
    async fn work(
        &mut self,
        consumer: &mut dyn Consumer,
        claim: &Claim,
        unit: &Arc<HeldUnit>,
        task: Arc<PreparedTask>,
        announced: Arc<Announced>,
    ) -> UnitEnd {
        let options = &self.shared.options;
        let batch = Batch {
            unit: Arc::clone(unit),
            task,
            announced,
            worker: Arc::clone(&self.worker),
            limits: Limits {
                unit: options.unit_limit,
                slow_trial: options.slow_trial,
                unrecorded_bytes: options.unrecorded_bytes,
            },
            flush_now: Arc::clone(&self.shared.flush_now),
        };
        let ack_at = unit.claimed_at() + options.ack_early;
        if claim.crashes > 0 && batch.task.objective.can_be_isolated() {
            let shared = Arc::clone(&self.shared);
            let mut isolated = Isolated::new(shared, batch, &self.lane);
            let mut running = std::pin::pin!(isolated.run());
            let halt = tokio::select! {
                halt = &mut running => halt,
                () = sleep_until(ack_at.into()) => {
                    consumer.ack_early().await;
                    reach(FailPoint::AcknowledgedEarly);
                    running.await
                }
            };
            return self.left(&halt, unit);
        }
        let mut acked = false;
        let mut started = None;
        loop {
            let limit = batch.task.trial_timeout() + self.shared.options.stuck_grace;
            let on_thread = batch.clone();
            let mut job = self.lane.run(move || on_thread.run(started));
            let halt = loop {
                let patience = unit.patience_ends(limit, self.shared.options.stuck_grace);
                tokio::select! {
                    biased;
                    halt = &mut job => break halt.ok(),
                    // The signal counts from now on: look at the patience again.
                    () = unit.changed.notified() => {}
                    () = sleep_until(ack_at.into()), if !acked => {
                        acked = true;
                        consumer.ack_early().await;
                        reach(FailPoint::AcknowledgedEarly);
                    }
                    () = sleep_until(patience.into()) => {
                        let now = std::time::Instant::now();
                        if unit.patience_ends(limit, self.shared.options.stuck_grace) <= now {
                            break None;
                        }
                    }
                }
            };
            match halt {
                Some(Halt::Announce(trial)) => {
                    started = Some(trial.number);
                    self.announce(unit, &trial).await;
                }
                Some(Halt::ReadHistory(number)) => {
                    read_history(&self.shared, &self.lane, unit, number).await;
                }
                Some(halt) => return self.left(&halt, unit),
                None => return self.give_thread_up(unit),
            }
        }
    }

    /// Announces a slow trial; what the store answers reaches the thread through the signal.
    async fn announce(&self, unit: &HeldUnit, trial: &RunningTrial) {
        start_trial(&self.shared, unit, trial).await;
    }

    /// How a unit is left after its loop returned.
    fn left(&self, halt: &Halt, unit: &HeldUnit) -> UnitEnd {
        if let Halt::NoPoint(why) = halt {
            let why = format!("a trial has no point: {why}");
            unit.cannot_run(Cannot::anywhere(&self.shared, &why));
        }
        left(halt, unit)
    }

    /// The thread ignores its deadline, or died: another one takes its place.
    fn give_thread_up(&mut self, unit: &HeldUnit) -> UnitEnd {
        unit.abandon_thread();
        tracing::error!("a trial ignores its deadline; its thread is given up, the unit isolated");
        match Lane::spawn(self.number) {
            Ok(lane) => self.lane = lane,
            Err(error) => self.shared.fail(WorkerFault::NoThread(error.to_string())),
        }
        self.shared.count_abandoned_thread();
        count_own_failure(
            &self.shared,
            "a thread was given up to a trial that ignores its deadline",
        );
        match unit.signal.get() {
            Signal::Stop => UnitEnd::Close,
            Signal::Run | Signal::HandBack | Signal::Interrupt | Signal::Lost => UnitEnd::Isolate,
        }
    }
}

enum Claimed {
    Unit(Box<Claim>),
    Nothing,
    Leaving,
}

/// How a unit is left after its loop returned.
fn left(halt: &Halt, unit: &HeldUnit) -> UnitEnd {
    match (halt, unit.signal.get()) {
        (Halt::Done, _) | (_, Signal::Stop) => UnitEnd::Close,
        (Halt::WorkedLong, Signal::Run) => UnitEnd::Split,
        (
            Halt::WorkedLong
            | Halt::Signalled
            | Halt::Announce(_)
            | Halt::ReadHistory(_)
            | Halt::NoPoint(_),
            _,
        ) => UnitEnd::HandBack,
    }
}

/// The trials that an earlier holder announced. Points that cannot be read are left out: they are
/// drawn again, and a sampler without history gives the same.
fn announced(claim: &Claim, job: &Job) -> Announced {
    let unpack = |trial: &trialmill_store::rows::AnnouncedTrial| {
        let point = job.unpack(&trial.params);
        if let Err(error) = &point {
            tracing::warn!(trial.number = trial.number, %error, "an announced point cannot be read; it is drawn again");
        }
        (trial.number, (point.ok(), trial.crashes))
    };
    claim.announced.iter().map(unpack).collect()
}

/// Announces a slow trial, however long the store is away; the answer becomes the unit's signal.
pub(crate) async fn start_trial(shared: &Shared, unit: &HeldUnit, trial: &RunningTrial) {
    let mut backoff = Backoff::new();
    loop {
        reach(FailPoint::TrialAnnouncing);
        match shared.store.start_trial(unit.lease, trial).await {
            Ok(Some(control)) => {
                reach(FailPoint::TrialAnnounced);
                return unit.obey(control);
            }
            Ok(None) => return unit.raise(Signal::Lost),
            Err(error) if error.is_transient() => {
                tracing::warn!(trial.number = trial.number, %error, "a trial could not be announced yet");
            }
            Err(error) => {
                let why = format!("trial {} cannot be announced: {error}", trial.number);
                return unit.cannot_run(Cannot::anywhere(shared, &why));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.delay()) => {}
            () = unit.changed.notified() => {}
        }
        if unit.signal.get() > Signal::Run {
            return;
        }
    }
}

/// Reads what the others have recorded, for the point of trial `number`, however long the store is
/// away. What cannot be read makes the unit be handed back, after a pause.
pub(crate) async fn read_history(shared: &Shared, lane: &Lane, unit: &HeldUnit, number: u32) {
    let Some(history) = unit.history() else {
        return;
    };
    let mut backoff = Backoff::new();
    loop {
        let error = match history.read_on(shared.store.as_ref(), lane).await {
            Ok(()) => return unit.history_is_read(number),
            Err(error) => error,
        };
        if error.is_transient() {
            tracing::warn!(%error, "the history could not be read yet");
            tokio::select! {
                () = tokio::time::sleep(backoff.delay()) => {}
                () = unit.changed.notified() => {}
            }
        } else {
            let why = format!("the history cannot be read: {error}");
            unit.cannot_run(Cannot::anywhere(shared, &why));
        }
        if unit.signal.get() > Signal::Run {
            return;
        }
    }
}

/// What repeating an operation came to.
enum Known<T> {
    Answer(T),
    Refused(StoreError),
    Leaving,
}

/// Repeats an operation while the store is away, until the worker leaves.
async fn until_known<T, F: Future<Output = Result<T, StoreError>>>(
    phase: &mut watch::Receiver<Phase>,
    what: &'static str,
    mut operation: impl FnMut() -> F,
) -> Known<T> {
    let mut backoff = Backoff::new();
    loop {
        match operation().await {
            Ok(answer) => return Known::Answer(answer),
            Err(error) if error.is_transient() => {
                tracing::warn!(what, %error, "the store is away; trying again");
            }
            Err(error) => return Known::Refused(error),
        }
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase > Phase::Running) => return Known::Leaving,
            () = tokio::time::sleep(backoff.delay()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::sphere_spec;
    use trialmill_common::state::TaskKind;
    use trialmill_search::{History, Study};
    use trialmill_store::rows::{AnnouncedTrial, HeldLease};

    #[test]
    fn an_announced_point_that_cannot_be_read_is_left_to_the_sampler_with_its_crashes() {
        let spec = sphere_spec();
        let study = Study::new(spec.space.clone(), spec.method, spec.seed).unwrap();
        let point = study.ask(&History::EMPTY, 3).unwrap();
        let trial = |number, params, crashes| AnnouncedTrial {
            number,
            params,
            crashes,
        };
        let claim = Claim {
            lease: HeldLease {
                unit: UnitRef {
                    task: TaskId(uuid::Uuid::from_u128(1)),
                    unit: 0,
                },
                token: 1,
            },
            first: 3,
            count: 2,
            recorded: 0,
            crashes: 1,
            kind: TaskKind::HyperparameterOptimization,
            unit_kind: UnitKind::Trials,
            window: None,
            spec: spec.to_json(),
            snapshot: None,
            announced: vec![
                trial(3, spec.space.pack(&point), 0),
                trial(4, b"no point".to_vec(), 2),
            ],
        };
        let job = Job::Search(Arc::new(spec));
        let announced = announced(&claim, &job);
        assert_eq!(announced[&3], (Some(point), 0));
        assert_eq!(announced[&4], (None, 2));
    }
}
