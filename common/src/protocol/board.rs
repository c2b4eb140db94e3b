//! The protocol as a model: one task, its units and trials, in memory.
//!
//! A store must answer every operation as this does. Time is reduced to what the protocol needs
//! of it: a lease is live or expired, and [`Board::expire`] is the clock.

use super::unable::Unable;
use super::{
    Closed, Control, Derivation, Effects, Event, Ledger, NewUnit, NotAllowed, Plan, Rest, Tally,
};
use crate::state::{StopReason, UnitKind, UnitState};
use std::collections::BTreeMap;
use trialmill_search::pareto::dominates;

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
    /// What it is for.
    pub kind: UnitKind,
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
    /// Steps of an assessment that were done, after those recorded before; 0 for units of trials.
    pub steps: u32,
    /// How the unit is left.
    pub end: UnitEnd,
}

/// What became of one unit's part of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is recorded, now or by an earlier attempt of the same flush.
    Recorded,
    /// A rule of the task's own was met by a trial of the flush. What follows that trial is not
    /// recorded, and the unit is closed: the holder drops it. A repetition is fenced.
    Ended,
    /// The lease was superseded: nothing was written, the holder drops its results.
    Fenced,
}

impl UnitEnd {
    /// Whether the unit is over, whatever becomes of its rest.
    #[must_use]
    pub fn closes(self) -> bool {
        matches!(self, Self::Close | Self::Split)
    }

    /// How a unit of a task that is ending (`stopping`) is left: nobody may claim it, so handing it
    /// back closes it.
    #[must_use]
    pub fn under(self, stopping: bool) -> Self {
        match self {
            end if stopping && end.is_handed_back() => Self::Close,
            end => end,
        }
    }
}

/// What becomes of one unit's part of a flush.
enum Answer {
    Fenced,
    /// Written before, by an attempt whose commit was unknown.
    Repeated,
    /// So many of its trials are recorded.
    Write(usize),
}

fn end(flush: &Flush, stopping: bool) -> UnitEnd {
    flush.end.under(stopping)
}

fn length(trials: &[Tally]) -> u32 {
    u32::try_from(trials.len()).expect("a unit has at most u32 trials")
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

    /// A task that begins with `copied` trials of another one, in the order of their numbers.
    #[must_use]
    pub fn derive(plan: Plan, copied: &[(u32, Tally)], live_slots: u32) -> Self {
        let mut derivation = Derivation::begin(plan);
        if !copied.is_empty() {
            derivation.copy(copied);
        }
        let derived = derivation.finish(live_slots);
        let mut board = Self {
            ledger: derived.ledger,
            started: false,
            units: BTreeMap::new(),
            trials: copied.iter().cloned().collect(),
            events: Vec::new(),
            live_slots,
        };
        for (number, run) in (0..).zip(derived.closed) {
            let unit = Unit {
                kind: board.ledger.kind,
                first: run.first,
                count: run.count,
                recorded: run.count,
                state: UnitState::Closed,
                token: 0,
                expired: false,
                crashes: 0,
                unable: Unable::default(),
                owner: 0,
                announced: false,
            };
            board.units.insert(number, unit);
        }
        board.apply(derived.effects);
        board
    }

    fn apply(&mut self, effects: Effects) {
        for NewUnit {
            number,
            kind,
            first,
            count,
            crashes,
        } in effects.units
        {
            let unit = Unit {
                kind,
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
        // What is written is decided first: a trial of this very flush may end the task.
        let mut admission = self.ledger.admission();
        let answers: Vec<Answer> = flushes
            .iter()
            .map(|flush| match self.answer(flush) {
                Answer::Write(_) => {
                    let first = flush.recorded_before + self.units[&flush.lease.unit].first;
                    Answer::Write(admission.admit((first..).zip(flush.trials.iter().cloned())))
                }
                answer => answer,
            })
            .collect();
        let stopping = self.ledger.stop_requested.is_some() || admission.is_met();
        let mut rows: Vec<(u32, Tally)> = Vec::new();
        let mut closed: Vec<Closed> = Vec::new();
        let mut written = Vec::with_capacity(flushes.len());
        for (flush, answer) in flushes.iter().zip(answers) {
            written.push(match answer {
                Answer::Fenced => Written::Fenced,
                Answer::Repeated => {
                    if flush.end == UnitEnd::Keep {
                        let unit = self.units.get_mut(&flush.lease.unit);
                        unit.expect("it answered").expired = false;
                    }
                    Written::Recorded
                }
                Answer::Write(admitted) => {
                    self.write(flush, admitted, stopping, &mut rows, &mut closed)
                }
            });
        }
        for (number, tally) in &rows {
            let twice = self.trials.insert(*number, tally.clone());
            assert!(twice.is_none(), "trial {number} recorded twice");
        }
        let mut effects = self.ledger.recorded(&rows, &closed, self.live_slots);
        if effects.withdraws {
            let voided = self.void_queued();
            self.ledger.withdrawn(voided, &mut effects);
        }
        self.apply(effects);
        written
    }

    /// What becomes of a flush, but for the task's own rules.
    fn answer(&self, flush: &Flush) -> Answer {
        let Some(unit) = self.units.get(&flush.lease.unit) else {
            return Answer::Fenced;
        };
        if unit.token != flush.lease.token {
            return Answer::Fenced;
        }
        let after = flush.recorded_before + length(&flush.trials) + flush.steps;
        let stopping = self.ledger.closes_units(unit.kind);
        match unit.state {
            UnitState::Closed if unit.recorded == after && end(flush, stopping).closes() => {
                Answer::Repeated
            }
            UnitState::Leased if unit.recorded == flush.recorded_before => Answer::Write(0),
            UnitState::Leased if flush.end == UnitEnd::Keep && unit.recorded == after => {
                Answer::Repeated
            }
            _ => Answer::Fenced,
        }
    }

    /// Writes the first `admitted` trials of a flush and leaves the unit.
    fn write(
        &mut self,
        flush: &Flush,
        admitted: usize,
        stopping: bool,
        rows: &mut Vec<(u32, Tally)>,
        closed: &mut Vec<Closed>,
    ) -> Written {
        let cut = admitted < flush.trials.len();
        let end = if cut {
            UnitEnd::Close
        } else {
            end(flush, stopping)
        };
        let unit = self.units.get_mut(&flush.lease.unit);
        let unit = unit.expect("its flush may be written");
        let first = unit.first + unit.recorded;
        let trials = &flush.trials[..admitted];
        rows.extend((first..).zip(trials.iter().cloned()));
        unit.recorded += length(trials) + flush.steps;
        unit.expired = false;
        if admitted > 0 || flush.steps > 0 {
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
                closed.push(Closed {
                    first: unit.first,
                    rest: (left > 0).then_some(rest),
                });
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
        if cut {
            Written::Ended
        } else {
            Written::Recorded
        }
    }

    /// Withdraws the queued units; how many.
    fn void_queued(&mut self) -> u32 {
        let queued = |unit: &&mut Unit| unit.state == UnitState::Queued;
        let mut voided = 0;
        for unit in self.units.values_mut().filter(queued) {
            unit.state = UnitState::Void;
            unit.token += 1;
            voided += 1;
        }
        voided
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
        let voided = after.void_queued();
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

    /// What may be wrong with what the rules know of several objectives.
    fn faults_of_aims(&self) -> [(bool, &'static str); 2] {
        let (ledger, rules) = (&self.ledger, &self.ledger.rules);
        let values = self.trials.values().filter_map(|tally| match tally {
            Tally::Values(values) => Some(values.as_slice()),
            _ => None,
        });
        let reached = values.clone().any(|values| rules.reached(values));
        let costs: Vec<Vec<f64>> = values.map(|values| rules.costs(values)).collect();
        // A task that has ended has no use for its front.
        let keeps = rules.keep_front() && !ledger.state.is_terminal();
        let is_on_front = |own: &&Vec<f64>| keeps && !costs.iter().any(|one| dominates(one, own));
        let is_member = |own: &Vec<f64>| ledger.front.has(own);
        let front: Vec<&Vec<f64>> = costs.iter().filter(is_on_front).collect();
        let mut members = ledger.front.members().iter();
        let is_front = front.iter().all(|own| is_member(own))
            && members.all(|member| front.contains(&&member.costs));
        [
            (reached != ledger.reached, "the targets"),
            (!is_front, "the front"),
        ]
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
        let completed = tallied(|t| matches!(t, Tally::Values(_) | Tally::Infeasible));
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
            if let Tally::Values(values) = tally
                && let Some(value) = values.first()
                && *number >= ledger.best_from()
                && best.is_none_or(|(_, b)| ledger.direction.better(*value, b))
            {
                best = Some((*number, *value));
            }
        }
        say(
            best != ledger.best.map(|b| (b.number, b.value)),
            format!("best row is {best:?}"),
        );
        for (wrong, what) in self.faults_of_aims() {
            say(wrong, what.to_owned());
        }
        let mut owners: BTreeMap<u32, usize> = BTreeMap::new();
        // Copied trials of units that lie ahead.
        let mut beyond = 0;
        let copied = &ledger.copied;
        let of_trials = |(_, unit): &(&u32, &Unit)| unit.kind != UnitKind::Assess;
        for (number, unit) in self.units.iter().filter(of_trials) {
            let ahead = (copied.passed_units..copied.units).contains(number);
            say(
                ahead && unit.first <= ledger.next_number,
                format!("unit {number} lies ahead of {}", ledger.next_number),
            );
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
                beyond += u32::from(ahead);
            }
        }
        for (number, count) in &owners {
            say(
                *count != 1,
                format!("trial {number} belongs to {count} units"),
            );
        }
        let undisturbed = ledger.stop_requested.is_none() && ledger.searched.is_none();
        if undisturbed && !ledger.gave_up {
            let dense = if ledger.windows.is_empty() {
                let below = owners.keys().copied().filter(|n| *n < ledger.next_number);
                below.eq(0..ledger.next_number)
            } else {
                let handed_out = ledger.windows.iter().flat_map(|w| w.first..w.next);
                owners.keys().copied().eq(handed_out)
            };
            say(
                !dense,
                format!("numbers below {} are not all owned", ledger.next_number),
            );
        }
        say(
            beyond != copied.trials_ahead(),
            format!("{beyond} copied trials lie ahead"),
        );
        for window in &ledger.windows {
            let ended = self.trials.range(window.first..window.end()).count();
            say(
                ended != window.ended as usize,
                format!("{ended} trials of {window:?} have ended"),
            );
            let of_window = |u: &&Unit| (window.first..window.end()).contains(&u.first);
            let open_rows = self.units.values().filter(open).filter(of_window).count();
            say(
                undisturbed && !ledger.gave_up && open_rows != window.open as usize,
                format!("{open_rows} units of {window:?} are open"),
            );
        }
        let assessing = self.units.values().filter(open);
        let assessing = assessing.filter(|u| u.kind == UnitKind::Assess).count();
        say(
            assessing != usize::from(ledger.searched.is_some()),
            format!("{assessing} open assessments, {:?}", ledger.searched),
        );
        let met = ledger.met_rule();
        say(
            met.is_some() && ledger.stop_requested.is_none() && ledger.searched.is_none(),
            format!("{met:?} and nobody stopped it"),
        );
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
