//! Trials that a task takes over from another one when it is accepted: retry and extend.
//!
//! A copied trial is a row of the new task like any other, with its counter, its event and its
//! unit. Each run of consecutive copied numbers is one unit that is closed from the start; these
//! units are numbered from 0 in the order of their trials. The numbers between them are handed out
//! in order, as in any task: [`Ledger::next_number`] stops before a run that lies ahead and steps
//! over it. So nothing lists the gaps, however many there are, and what is recorded of a unit stays
//! a prefix.

use super::{Effects, Event, Ledger, Plan, Tally, runs};
use std::collections::VecDeque;

/// Copied trials that one event tells of, and that a store copies at a time. Enough that a million
/// are 100 events, and few enough that watchers and samplers read them in pages.
pub const COPY_BATCH: u32 = 10_000;

/// Copied runs ahead that a store reads with the ledger: more than units can be opened at once, so
/// that opening never meets the end of what was read.
pub const MAX_AHEAD: u32 = 1 + 256;

/// A run of consecutive copied numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first number.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// What a task took over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copied {
    /// Copied trials.
    pub trials: u32,
    /// Their units: those with the numbers below this.
    pub units: u32,
    /// Of these, the ones that [`Ledger::next_number`] has stepped over: the first so many.
    pub passed_units: u32,
    /// The trials of those.
    pub passed_trials: u32,
    /// The next runs that lie ahead, each beyond [`Ledger::next_number`]: at least [`MAX_AHEAD`] or
    /// all of them, for whoever is to open units. Read from the units, not stored with the task.
    pub ahead: VecDeque<Run>,
}

impl Copied {
    /// Copied trials that lie ahead.
    #[must_use]
    pub fn trials_ahead(&self) -> u32 {
        self.trials - self.passed_trials
    }

    /// Whether some run lies ahead: then a store reads which.
    #[must_use]
    pub fn lies_ahead(&self) -> bool {
        self.passed_units < self.units
    }

    /// Whether some run lies beyond those that were read.
    pub(super) fn lies_beyond_ahead(&self) -> bool {
        let read = u32::try_from(self.ahead.len()).unwrap_or(u32::MAX);
        self.passed_units.saturating_add(read) < self.units
    }
}

/// A task that begins with trials of another one, while they are copied.
#[derive(Debug)]
pub struct Derivation {
    ledger: Ledger,
    effects: Effects,
    runs: VecDeque<Run>,
}

/// Where a batch of copied trials belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedBatch {
    /// The event that tells of them.
    pub seq: i64,
    /// The unit of each, in order.
    pub units: Vec<u32>,
}

/// A task that has begun with trials of another one.
#[derive(Debug)]
pub struct Derived {
    /// Its row.
    pub ledger: Ledger,
    /// Its events and its queued units.
    pub effects: Effects,
    /// Its closed units, numbered from 0: each recorded whole.
    pub closed: Vec<Run>,
}

impl Derivation {
    /// Accepts the task.
    #[must_use]
    pub fn begin(plan: Plan) -> Self {
        let mut ledger = Ledger::accepted(plan);
        let mut effects = Effects::default();
        ledger.say(&mut effects, Event::Accepted);
        Self {
            ledger,
            effects,
            runs: VecDeque::new(),
        }
    }

    /// Copies trials, at most [`COPY_BATCH`], in the order of their numbers and beyond those that
    /// were copied before; each below the planned number.
    pub fn copy(&mut self, trials: &[(u32, Tally)]) -> CopiedBatch {
        let mut units = Vec::with_capacity(trials.len());
        for &(number, ref tally) in trials {
            match self.runs.back_mut() {
                Some(run) if run.first + run.count == number => run.count += 1,
                _ => self.runs.push_back(Run {
                    first: number,
                    count: 1,
                }),
            }
            self.ledger.count(number, tally);
            self.ledger.copied.trials += 1;
            units.push(length(&self.runs) - 1);
        }
        let numbers = runs(trials.iter().map(|(number, _)| *number));
        let best = self.ledger.best;
        self.ledger
            .say(&mut self.effects, Event::Trials { numbers, best });
        CopiedBatch {
            seq: self.ledger.seq,
            units,
        }
    }

    /// Hands out what was not copied. A task of which nothing is left, or whose own rule is met by
    /// what was copied, has ended.
    #[must_use]
    pub fn finish(self, live_slots: u32) -> Derived {
        let Self {
            mut ledger,
            mut effects,
            runs,
        } = self;
        let closed: Vec<Run> = runs.iter().copied().collect();
        ledger.copied.units = length(&runs);
        ledger.next_unit = ledger.copied.units;
        ledger.copied.ahead = runs;
        ledger.obey_rules(&mut effects);
        ledger.pass_copied();
        ledger.refill(live_slots, &mut effects);
        ledger.settle(&mut effects);
        // Nothing was open before.
        effects.withdraws = false;
        Derived {
            ledger,
            effects,
            closed,
        }
    }
}

fn length(runs: &VecDeque<Run>) -> u32 {
    u32::try_from(runs.len()).expect("no more runs than trials")
}
