//! A worker at work: starting it, draining it.

use crate::child;
use crate::flush::{self, FlushNow};
use crate::history::Histories;
use crate::idle::{BorrowedSlots, IdleSlots};
use crate::objective;
use crate::options::WorkerOptions;
use crate::quarantine::{self, Health};
use crate::renew;
use crate::slot::Slot;
use crate::stop::Signal;
use crate::task::TaskCache;
use crate::unit::HeldUnits;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use trialmill_broker::{Broker, BrokerError, check_pool};
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::message::SCHEMA_VERSION;
use trialmill_common::spec::FORM_VERSION;
use trialmill_common::state::WorkerId;
use trialmill_common::worker::{Speaks, WorkerCard};
use trialmill_store::{Store, StoreError, schema_version};
use uuid::Uuid;

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not take the announcement.
    #[error("the worker could not be announced: {0}")]
    Store(#[from] StoreError),
    /// The pool's name cannot be one.
    #[error("the queue cannot be consumed: {0}")]
    Broker(#[from] BrokerError),
    /// Isolated trials could not run.
    #[error(
        "no program for isolated trials: main of this program does not begin with \
         trialmill_worker::child::main_if_child, and WorkerOptions::child_program names no other"
    )]
    NoChildProgram,
    /// The system gave no thread.
    #[error("a thread of the CPU pool could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why a worker cannot go on and must be restarted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerFault {
    /// As many threads as it has slots were lost to trials that ignore their deadline.
    #[error(
        "{abandoned} threads are lost to trials that ignore their deadline, as many as there are \
         slots; the worker must be restarted"
    )]
    ThreadsLost {
        /// Threads lost.
        abandoned: u32,
    },
    /// The system gave no new thread.
    #[error("a thread of the CPU pool could not be started: {0}")]
    NoThread(String),
    /// A slot panicked: a fault of this program.
    #[error("a slot of the worker ended: {0}")]
    SlotEnded(String),
}

/// The phases of a worker's life; only forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    /// Nothing new; running trials end.
    Finishing,
    /// Running trials are interrupted.
    Interrupting,
    /// What is not recorded is left behind.
    GivingUp,
}

/// The beat of the renewal: how often it went round, and whether the store answered last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Rounds since the start.
    pub turns: u64,
    /// Whether the store answered in the last round.
    pub database: bool,
}

/// What the parts of a worker share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) health: Health,
    pub(crate) options: WorkerOptions,
    pub(crate) card: WorkerCard,
    pub(crate) held: HeldUnits,
    pub(crate) tasks: TaskCache,
    pub(crate) histories: Histories,
    pub(crate) flush_now: Arc<FlushNow>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) beat: watch::Sender<Beat>,
    fault: watch::Sender<Option<WorkerFault>>,
    abandoned: AtomicU32,
    idle: IdleSlots,
}

impl Shared {
    /// At most `most` slots that hold no unit, as far as no other assessment has borrowed them: for one
    /// step, at the end of which a unit that came to one of them has its processor alone again.
    pub(crate) fn borrow_idle_slots(&self, most: u32) -> BorrowedSlots<'_> {
        let held = u32::try_from(self.held.all().len()).unwrap_or(u32::MAX);
        self.idle
            .borrow(self.options.slots.saturating_sub(held), most)
    }

    /// The first fault stands.
    pub(crate) fn fail(&self, fault: WorkerFault) {
        self.fault.send_if_modified(|now| {
            let first = now.is_none();
            now.get_or_insert(fault);
            first
        });
    }

    pub(crate) fn count_abandoned_thread(&self) {
        let abandoned = self.abandoned.fetch_add(1, Ordering::AcqRel) + 1;
        if abandoned >= self.options.slots {
            self.fail(WorkerFault::ThreadsLost { abandoned });
        }
    }

    fn enter(&self, phase: Phase, signal: Signal) {
        self.phase.send_replace(phase);
        for unit in self.held.all() {
            unit.raise(signal);
        }
    }
}

/// A worker at work. It needs a tokio runtime and starts none.
///
/// Dropped without [`RunningWorker::drain`] it stops at once, as if its process had died: its
/// units run again when their leases have expired.
pub struct RunningWorker {
    shared: Arc<Shared>,
    slots: JoinSet<()>,
    flusher: JoinHandle<()>,
    slots_ended: watch::Sender<bool>,
    renewal: JoinHandle<()>,
    upkeep: JoinHandle<()>,
}

impl RunningWorker {
    /// Announces the worker and starts its slots.
    ///
    /// # Errors
    /// When the store is not there, the pool's name is none, the system gives no threads, or
    /// there is no program for isolated trials.
    /// The broker need not be there: slots wait for it.
    pub async fn start(
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
        options: WorkerOptions,
    ) -> Result<Self, StartError> {
        if options.child_program.is_none() && !child::this_program_asks() {
            return Err(StartError::NoChildProgram);
        }
        let options = WorkerOptions {
            slots: options.slots.max(1),
            ..options
        };
        let id = Uuid::new_v4();
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let card = WorkerCard {
            id: WorkerId(id),
            name: format!("{host}:{}", std::process::id()),
            slots: options.slots,
            pool: options.pool.clone(),
            strategies: objective::names(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            speaks: Some(speaks()),
        };
        check_pool(&card.pool)?;
        store.announce(&card).await?;
        let shared = Arc::new(Shared {
            tasks: TaskCache::new(Arc::clone(&store), options.cache_bytes),
            histories: Histories::new(options.history_bytes),
            store,
            broker,
            health: Health::new(),
            options,
            card,
            held: HeldUnits::default(),
            flush_now: Arc::default(),
            phase: watch::Sender::new(Phase::Running),
            beat: watch::Sender::new(Beat {
                turns: 0,
                database: true,
            }),
            fault: watch::Sender::new(None),
            abandoned: AtomicU32::new(0),
            idle: IdleSlots::default(),
        });
        let short = &id.simple().to_string()[..4];
        let mut slots = JoinSet::new();
        for number in 0..shared.options.slots {
            let tag = format!("trialmill-worker.{host}.{short}.slot-{number:02}");
            slots.spawn(Slot::new(Arc::clone(&shared), number, tag)?.run());
        }
        let slots_ended = watch::Sender::new(false);
        let flusher = tokio::spawn(flush::run(Arc::clone(&shared), slots_ended.subscribe()));
        let renewal = tokio::spawn(renew::run(Arc::clone(&shared)));
        let upkeep = tokio::spawn(quarantine::run(Arc::clone(&shared)));
        let (slots_number, pool) = (shared.options.slots, &shared.options.pool);
        tracing::info!(worker.id = %shared.card.id, slots = slots_number, pool, "worker started");
        Ok(Self {
            shared,
            slots,
            flusher,
            slots_ended,
            renewal,
            upkeep,
        })
    }

    /// What the worker said of itself.
    #[must_use]
    pub fn card(&self) -> &WorkerCard {
        &self.shared.card
    }

    /// The beat of the renewal: a worker whose beat stands still is dead.
    #[must_use]
    pub fn beat(&self) -> watch::Receiver<Beat> {
        self.shared.beat.subscribe()
    }

    /// Why the worker takes no units now, if it does not: after a run of failures of its own it
    /// tests itself until it passes.
    #[must_use]
    pub fn quarantine(&self) -> watch::Receiver<Option<String>> {
        self.shared.health.quarantine()
    }

    /// Waits until the worker cannot go on: drain it then, and restart the process. Cancel safe.
    pub async fn failed(&mut self) -> WorkerFault {
        let mut fault = self.shared.fault.subscribe();
        tokio::select! {
            told = fault.wait_for(Option::is_some) => match told.as_deref() {
                Ok(Some(fault)) => fault.clone(),
                _ => unreachable!("the sender is held here, and the wait is for a fault"),
            },
            ended = self.slots.join_next() => {
                let why = match ended {
                    Some(Err(error)) => error.to_string(),
                    Some(Ok(())) | None => "without being asked to".to_owned(),
                };
                let fault = WorkerFault::SlotEnded(why);
                self.shared.fail(fault.clone());
                fault
            }
        }
    }

    /// Leaves in good order: takes nothing new, lets running trials end within the grace period,
    /// interrupts the others, hands every unit back and writes every result. Nothing is charged
    /// to the trials that run again.
    ///
    /// When the store is away, results are kept until another grace period has passed.
    pub async fn drain(mut self) {
        let shared = Arc::clone(&self.shared);
        let grace = shared.options.drain;
        tracing::info!(units = shared.held.all().len(), "worker drains");
        if !shared.held.all().is_empty() {
            reach(FailPoint::DrainBegun);
        }
        shared.enter(Phase::Finishing, Signal::HandBack);
        if !self.slots_end_within(grace).await {
            shared.enter(Phase::Interrupting, Signal::Interrupt);
            if !self
                .slots_end_within(shared.options.stuck_grace + grace)
                .await
            {
                shared.enter(Phase::GivingUp, Signal::Interrupt);
                self.slots_end_within(GIVING_UP).await;
            }
        }
        self.slots.abort_all();
        self.slots_ended.send_replace(true);
        let flusher = &mut self.flusher;
        if tokio::time::timeout(grace + GIVING_UP, flusher)
            .await
            .is_err()
        {
            tracing::warn!("the last results could not be written; their trials run again");
        }
        self.renewal.abort();
        self.upkeep.abort();
        reach(FailPoint::HandedBack);
        let leave = shared.store.leave(shared.card.id);
        match tokio::time::timeout(GIVING_UP, leave).await {
            Ok(Ok(())) => tracing::info!("worker left"),
            Ok(Err(error)) => tracing::warn!(%error, "the worker could not sign off"),
            Err(_) => tracing::warn!("the worker could not sign off: the store did not answer"),
        }
    }

    async fn slots_end_within(&mut self, time: Duration) -> bool {
        let slots = &mut self.slots;
        tokio::time::timeout(time, async { while slots.join_next().await.is_some() {} })
            .await
            .is_ok()
    }
}

/// The versions of what this build reads.
fn speaks() -> Speaks {
    Speaks {
        schema: schema_version(),
        form: FORM_VERSION,
        message: u32::try_from(SCHEMA_VERSION).expect("versions are small and positive"),
    }
}

/// How long the last steps of a drain may take each.
const GIVING_UP: Duration = Duration::from_secs(2);

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.flusher.abort();
        self.renewal.abort();
        self.upkeep.abort();
        // The threads of the CPU pool end with their current trial.
        for unit in self.shared.held.all() {
            unit.raise(Signal::Lost);
        }
    }
}
