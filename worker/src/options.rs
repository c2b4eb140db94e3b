//! How a worker works: its size and its time limits.

use std::path::PathBuf;
use std::time::Duration;
use trialmill_common::worker::DEFAULT_POOL;

/// What a worker is told once, at its start.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Trials run at a time: slots, each with a thread of its own. At least 1.
    pub slots: u32,
    /// The pool whose queue is consumed.
    pub pool: String,
    /// How long a lease lasts; must be the store's. Renewed every third of it. 30 s.
    pub lease: Duration,
    /// How long running trials may go on after a drain has begun. 30 s.
    pub drain: Duration,
    /// How often results are written while units run. 1 s.
    pub flush: Duration,
    /// A unit that worked this long is split after its current trial. 10 s.
    pub unit_limit: Duration,
    /// After this long a unit's message is acknowledged before its work is done. 300 s.
    pub ack_early: Duration,
    /// A trial expected to take longer is announced before it starts. 1 s. What is expected is
    /// the mean of the task's trials in this process; before the first, only a function that
    /// waits by nature (`sleep`) counts as slow, so the first slow backtest is not announced.
    pub slow_trial: Duration,
    /// How long a trial may ignore its deadline (or an interruption) until its thread is given
    /// up, or its process killed. 10 s.
    pub stuck_grace: Duration,
    /// Bound of the cached bars, in bytes: half for the series, half for the prepared tasks.
    /// What running units use is held beyond it, and of each assessment the shuffled markets that are
    /// searched side by side: as much again, or one of them. 256 MiB.
    pub cache_bytes: u64,
    /// Bound of the recorded trials kept for adaptive samplers, in bytes. What running units use is
    /// held beyond it. 256 MiB.
    pub history_bytes: u64,
    /// Bound of the results of one slot that are not recorded yet, in bytes; a slot waits at it.
    /// 4 MiB.
    pub unrecorded_bytes: usize,
    /// Limit of the address space of an isolated child, in bytes. 2 GiB.
    pub trial_memory_bytes: u64,
    /// Most time of one processor that the luck test of a search may be expected to take with its fewest
    /// shuffled markets; none: no luck test. 600 s.
    pub luck: Duration,
    /// How long after a run of failures of its own a worker tests itself for the first time; later
    /// pauses are longer. 5 s.
    pub quarantine: Duration,
    /// The program run as an isolated child: one whose `main` begins with
    /// [`crate::child::main_if_child`]. None: this process's own.
    pub child_program: Option<PathBuf>,
}

impl WorkerOptions {
    /// The defaults, with that many slots.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        Self {
            slots: slots.max(1),
            pool: DEFAULT_POOL.to_owned(),
            lease: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            flush: Duration::from_secs(1),
            unit_limit: Duration::from_secs(10),
            ack_early: Duration::from_secs(300),
            slow_trial: Duration::from_secs(1),
            stuck_grace: Duration::from_secs(10),
            cache_bytes: 256 << 20,
            history_bytes: 256 << 20,
            unrecorded_bytes: 4 << 20,
            trial_memory_bytes: 2 << 30,
            luck: Duration::from_secs(600),
            quarantine: Duration::from_secs(5),
            child_program: None,
        }
    }
}
