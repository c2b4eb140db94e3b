//! The protocol as a model: one task, its units and trials, in memory.
//!
//! A store must answer every operation as this does. Time is reduced to what the protocol needs
//! of it: a lease is live or expired, and [`Board::expire`] is the clock.

use super::unable::Unable;
use super::{Control, Effects, Event, Ledger, NewUnit, NotAllowed, Rest, Tally};
use crate::state::{StopReason, UnitState};
use std::collections::BTreeMap;

/// The right to write a unit's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseToken {
    /// The unit.
    pub unit: u32,
    /// Raised by every claim, reaping, hand-back and void: older tokens write nothing.
    pub token: i64,
}

/// A unit of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unit {
    /// First trial number.
    pub first: u32,
    /// Number of trials.
    pub count: u32,
    /// Trials recorded: always a prefix, since a unit runs its trials in order.
    pub recorded: u32,
    /// State.
    pub state: UnitState,
    /// Fencing token.
    pub token: i64,
    /// Whether the lease has run out (leased units).
    pub expired: bool,
    /// Workers it lost.
    pub crashes: u32,
    /// How often in a row it could not be run.
    pub unable: Unable<u8>,
    /// The worker that holds it (leased units).
    pub owner: u8,
    /// Whether its holder has announced a trial that is not recorded.
    pub announced: bool,
}

impl Unit {
    /// Its worker is lost. One that was isolated and had no trial announced took its worker down
    /// before any trial, or its worker died for a reason of its own: enough of these are too many.
    fn lose(&mut self) {
        if self.crashes > 0 && !self.announced {
            self.unable = self.unable.again(self.owner);
        }
        self.crashes += 1;
        self.token += 1;
        self.expired = false;
        self.announced = false;
    }
}

/// What a claim gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// The lease.
    pub lease: LeaseToken,
    /// First trial that is not recorded.
    pub first: u32,
    /// Trials left.
    pub count: u32,
    /// Trials recorded before.
    pub recorded: u32,
    /// Workers it lost.
    pub crashes: u32,
}

/// How a flush leaves the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnitEnd {
    /// The lease goes on.
    Keep,
    /// Done, or stopped. What is not recorded is abandoned when the task is being stopped; else it
    /// becomes a new unit, as by `Split`: a trial is never lost by a worker's mistake.
    Close,
    /// Worked long enough: the rest becomes a new unit.
    Split,
    /// The rest stays in this unit, which is queued again; nothing is charged.
    HandBack,
    /// Like `HandBack`, but the unit is isolated from now on: a trial of it cannot be run in
    /// the worker's own process.
    Isolate,
    /// Like `HandBack`, but the holder cannot run it at all, for a reason that is not a trial's: it
    /// is tried again later, and too many of these in a row end the task
    /// ([`unable`](super::unable)).
    Unable,
    /// Like `HandBack`, but it wants a worker of another build, which may come at any time: it is
    /// tried again after a pause, and nothing is counted.
    OtherBuild,
}

impl UnitEnd {
    /// Whether the unit is queued again, its trials left as they are.
    #[must_use]
    pub fn is_handed_back(self) -> bool {
        match self {
            Self::HandBack | Self::Isolate | Self::Unable | Self::OtherBuild => true,
            Self::Keep | Self::Close | Self::Split => false,
        }
    }
}

/// The part of a flush that concerns one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Flush {
    /// The lease written under.
    pub lease: LeaseToken,
    /// Trials of the unit that were recorded before this flush: what makes a repeated flush
    /// harmless.
    pub recorded_before: u32,
    /// The trials that ended, in order, following the recorded ones.
    pub trials: Vec<Tally>,
    /// How the unit is left.
    pub end: UnitEnd,
}

/// What became of one unit's part of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is recorded, now or by an earlier attempt of the same flush.
    Recorded,
    /// The lease was superseded: nothing was written, the holder drops its results.
    Fenced,
}

/// One task and all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// The task row.
    pub ledger: Ledger,
    /// Whether a unit was ever claimed.
    pub started: bool,
    /// Units by number.
    pub units: BTreeMap<u32, Unit>,
    /// Ended trials by number.
    pub trials: BTreeMap<u32, Tally>,
    /// Events in order.
    pub events: Vec<Event>,
    /// Live slots of all workers.
    pub live_slots: u32,
}

impl Board {
    /// A freshly submitted task.
    #[must_use]
    pub fn submit((ledger, effects): (Ledger, Effects), live_slots: u32) -> Self {
        let mut board = Self {
            ledger,
            started: false,
            units: BTreeMap::new(),
            trials: BTreeMap::new(),
            events: Vec::new(),
            live_slots,
        };
        board.apply(effects);
        board
    }

    fn apply(&mut self, effects: Effects) {
        for NewUnit {
            number,
            first,
            count,
            crashes,
            ..
        } in effects.units
        {
            let unit = Unit {
                first,
                count,
                recorded: 0,
                state: UnitState::Queued,
                token: 0,
                expired: false,
                crashes,
                unable: Unable::default(),
                owner: 0,
                announced: false,
            };
            assert!(
                self.units.insert(number, unit).is_none(),
                "unit numbers are unique"
            );
        }
        self.events.extend(effects.events);
    }

    /// A worker asks for a unit it was told of.
    pub fn claim(&mut self, number: u32, worker: u8) -> Option<Claimed> {
        if !self.ledger.claimable() {
            return None;
        }
        let unit = self.units.get_mut(&number)?;
        let free =
            unit.state == UnitState::Queued || unit.state == UnitState::Leased && unit.expired;
        if !free {
            return None;
        }
        // Taking over an expired lease is a loss of its worker, found by the claim, not the reaper.
        if unit.state == UnitState::Leased {
            unit.lose();
        } else {
            unit.token += 1;
        }
        unit.state = UnitState::Leased;
        unit.expired = false;
        unit.announced = false;
        unit.owner = worker;
        let claimed = Claimed {
            lease: LeaseToken {
                unit: number,
                token: unit.token,
            },
            first: unit.first + unit.recorded,
            count: unit.count - unit.recorded,
            recorded: unit.recorded,
            crashes: unit.crashes,
        };
        self.started = true;
        let effects = self.ledger.claimed();
        self.apply(effects);
        Some(claimed)
    }

    /// Results of several units of this task, in one transaction.
    pub fn record(&mut self, flushes: &[Flush]) -> Vec<Written> {
        let mut written = Vec::with_capacity(flushes.len());
        let mut rows: Vec<(u32, Tally)> = Vec::new();
        let mut closed: Vec<Option<Rest>> = Vec::new();
        let stopping = self.ledger.stop_requested.is_some();
        for flush in flushes {
            // Nobody may claim a unit of a task that is ending: handing it back closes it.
            let end = if stopping && flush.end.is_handed_back() {
                UnitEnd::Close
            } else {
                flush.end
            };
            written.push(self.write(flush, end, &mut rows, &mut closed));
        }
        for (number, tally) in &rows {
            let twice = self.trials.insert(*number, *tally);
            assert!(twice.is_none(), "trial {number} recorded twice");
        }
        let effects = self.ledger.recorded(&rows, &closed, self.live_slots);
        self.apply(effects);
        written
    }

    fn write(
        &mut self,
        flush: &Flush,
        end: UnitEnd,
        rows: &mut Vec<(u32, Tally)>,
        closed: &mut Vec<Option<Rest>>,
    ) -> Written {
        let Some(unit) = self.units.get_mut(&flush.lease.unit) else {
            return Written::Fenced;
        };
        if unit.token != flush.lease.token {
            return Written::Fenced;
        }
        let count = u32::try_from(flush.trials.len()).expect("a unit has at most u32 trials");
        let after = flush.recorded_before + count;
        let closing = matches!(end, UnitEnd::Close | UnitEnd::Split);
        match unit.state {
            UnitState::Closed if closing && unit.recorded == after => return Written::Recorded,
            UnitState::Leased if unit.recorded == flush.recorded_before => {}
            UnitState::Leased if end == UnitEnd::Keep && unit.recorded == after => {
                unit.expired = false;
                return Written::Recorded;
            }
            _ => return Written::Fenced,
        }
        let first = unit.first + unit.recorded;
        rows.extend((first..).zip(flush.trials.iter().copied()));
        unit.recorded = after;
        unit.expired = false;
        if count > 0 {
            unit.unable = Unable::default();
            unit.announced = false;
        }
        let left = unit.count - unit.recorded;
        match end {
            UnitEnd::Keep => {}
            UnitEnd::Close | UnitEnd::Split => {
                unit.state = UnitState::Closed;
                let rest = Rest {
                    first: unit.first + unit.recorded,
                    count: left,
                    crashes: unit.crashes,
                };
                closed.push((left > 0).then_some(rest));
            }
            UnitEnd::HandBack | UnitEnd::Isolate | UnitEnd::Unable | UnitEnd::OtherBuild => {
                unit.state = UnitState::Queued;
                unit.token += 1;
                unit.crashes += u32::from(end == UnitEnd::Isolate);
                if end == UnitEnd::Unable {
                    unit.unable = unit.unable.again(unit.owner);
                }
                unit.announced = false;
            }
        }
        Written::Recorded
    }

    /// The holder lives: returns what it is to do, or nothing when the lease was superseded.
    pub fn renew(&mut self, lease: LeaseToken) -> Option<Control> {
        let unit = self.units.get_mut(&lease.unit)?;
        if unit.state != UnitState::Leased || unit.token != lease.token {
            return None;
        }
        unit.expired = false;
        Some(self.ledger.control())
    }

    /// The holder announces its next trial.
    pub fn announce(&mut self, lease: LeaseToken) -> Option<Control> {
        let unit = self.units.get_mut(&lease.unit)?;
        if unit.state != UnitState::Leased || unit.token != lease.token {
            return None;
        }
        let control = self.ledger.control();
        unit.announced |= control == Control::Run;
        Some(control)
    }

    /// Time passes over the lease of a unit.
    pub fn expire(&mut self, number: u32) {
        if let Some(unit) = self.units.get_mut(&number) {
            unit.expired = unit.state == UnitState::Leased;
        }
    }

    /// Expired units are queued again, or void when their task is being stopped; then a task with
    /// a unit that nobody can run is given up.
    pub fn reap(&mut self) -> usize {
        let expired: Vec<u32> = self
            .units
            .iter()
            .filter(|(_, u)| u.state == UnitState::Leased && u.expired)
            .map(|(n, _)| *n)
            .collect();
        for number in &expired {
            let mut effects = Effects::default();
            let again = self.ledger.unit_lost(*number, &mut effects);
            let unit = self.units.get_mut(number).expect("listed above");
            unit.state = if again {
                UnitState::Queued
            } else {
                UnitState::Void
            };
            unit.lose();
            self.apply(effects);
        }
        let hopeless = |u: &Unit| u.state == UnitState::Queued && u.unable.is_too_often();
        if self.units.values().any(hopeless) {
            self.give_up();
        }
        expired.len()
    }

    fn give_up(&mut self) {
        let open: Vec<u32> = self
            .units
            .iter()
            .filter(|(_, u)| matches!(u.state, UnitState::Queued | UnitState::Leased))
            .map(|(n, _)| *n)
            .collect();
        let withdrawn = u32::try_from(open.len()).expect("unit numbers are u32");
        let Ok(effects) = self.ledger.give_up(withdrawn) else {
            return;
        };
        for number in open {
            let unit = self.units.get_mut(&number).expect("listed above");
            unit.state = UnitState::Void;
            unit.token += 1;
            unit.expired = false;
            unit.announced = false;
        }
        self.apply(effects);
    }

    /// Asks the task to end early.
    ///
    /// # Errors
    /// When it has ended.
    pub fn stop(&mut self, reason: StopReason) -> Result<(), NotAllowed> {
        let mut after = self.clone();
        let mut voided = 0;
        for unit in after
            .units
            .values_mut()
            .filter(|u| u.state == UnitState::Queued)
        {
            unit.state = UnitState::Void;
            unit.token += 1;
            voided += 1;
        }
        let effects = after.ledger.stop(reason, voided)?;
        after.apply(effects);
        *self = after;
        Ok(())
    }

    /// No new trial starts.
    ///
    /// # Errors
    /// When it has ended or is ending.
    pub fn pause(&mut self) -> Result<(), NotAllowed> {
        let effects = self.ledger.pause()?;
        self.apply(effects);
        Ok(())
    }

    /// Trials start again.
    ///
    /// # Errors
    /// When it has ended or is ending.
    pub fn resume(&mut self) -> Result<(), NotAllowed> {
        let effects = self.ledger.resume(self.started, self.live_slots)?;
        self.apply(effects);
        Ok(())
    }

    /// What is wrong with the rows, in words: what `verify` asks of a database.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut say = |wrong: bool, what: String| {
            if wrong {
                faults.push(what);
            }
        };
        let ledger = &self.ledger;
        let open = |u: &&Unit| matches!(u.state, UnitState::Queued | UnitState::Leased);
        let open_rows = self.units.values().filter(open).count();
        say(
            open_rows != ledger.open_units as usize,
            format!(
                "open_units is {} but {open_rows} units are open",
                ledger.open_units
            ),
        );
        if let Some(limit) = ledger.parallelism {
            say(
                open_rows > limit as usize,
                format!("{open_rows} open units, parallelism {limit}"),
            );
        }
        let tallied = |f: fn(&Tally) -> bool| self.trials.values().filter(|t| f(t)).count();
        let completed = tallied(|t| matches!(t, Tally::Value(_) | Tally::Infeasible));
        say(
            completed != ledger.completed as usize,
            format!("completed rows {completed}"),
        );
        say(
            tallied(|t| *t == Tally::Failed) != ledger.failed as usize,
            "failed".to_owned(),
        );
        say(
            tallied(|t| *t == Tally::Pruned) != ledger.pruned as usize,
            "pruned".to_owned(),
        );
        say(
            tallied(|t| *t == Tally::Infeasible) != ledger.infeasible as usize,
            "infeasible".to_owned(),
        );
        let mut best: Option<(u32, f64)> = None;
        for (number, tally) in &self.trials {
            if let Tally::Value(value) = tally
                && best.is_none_or(|(_, b)| ledger.direction.better(*value, b))
            {
                best = Some((*number, *value));
            }
        }
        say(
            best != ledger.best.map(|b| (b.number, b.value)),
            format!("best row is {best:?}"),
        );
        let mut owners: BTreeMap<u32, usize> = BTreeMap::new();
        for unit in self.units.values() {
            let recorded = unit.first..unit.first + unit.recorded;
            for number in recorded.clone() {
                say(
                    !self.trials.contains_key(&number),
                    format!("trial {number} has no row"),
                );
            }
            let owned = if open(&unit) {
                unit.first..unit.first + unit.count
            } else {
                recorded
            };
            for number in owned {
                *owners.entry(number).or_default() += 1;
            }
        }
        for (number, count) in &owners {
            say(
                *count != 1,
                format!("trial {number} belongs to {count} units"),
            );
        }
        if ledger.stop_requested.is_none() && !ledger.gave_up {
            let dense = owners.keys().copied().eq(0..ledger.next_number);
            say(
                !dense,
                format!("numbers below {} are not all owned", ledger.next_number),
            );
        }
        if ledger.state.is_terminal() {
            say(open_rows > 0, "terminal with open units".to_owned());
            if ledger.stop_reason == Some(StopReason::NTrials) {
                let dense = self.trials.keys().copied().eq(0..ledger.n_trials);
                say(!dense, "n_trials without all trials".to_owned());
            }
            let last = matches!(self.events.last(), Some(Event::Ended { .. }));
            say(!last, "the last event is not the end".to_owned());
        } else if ledger.state != crate::state::TaskState::Paused {
            say(open_rows == 0, "alive without an open unit".to_owned());
        }
        let events = i64::try_from(self.events.len()).expect("fits");
        say(
            events != ledger.seq,
            format!("seq {} with {events} events", ledger.seq),
        );
        faults
    }
}
