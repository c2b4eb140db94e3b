//! How units are handed out, recorded and ended: the decisions, as pure functions.
//!
//! [`Ledger`] is the part of a task's row that the protocol reads and writes. Every operation of a
//! store locks that row last in its transaction, calls one method here, and writes back what
//! changed together with the [`Effects`]: so PostgreSQL, SQLite and the model in [`board`] decide
//! by the same lines. What is left to a store is the guard of a unit (state and token), which the
//! conformance suite compares with [`board`] step by step.

pub mod board;
mod copied;
mod rules;
pub mod unable;
mod windows;

pub use copied::{COPY_BATCH, Copied, CopiedBatch, Derivation, Derived, MAX_AHEAD, Run};
pub use rules::{Admission, Aim, MAX_FRONT, StopRules};
pub use windows::WindowLedger;

use crate::state::{Direction, StopReason, TaskKind, TaskState, UnitKind};
use rules::Score;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;
use trialmill_search::pareto::Front;

/// Most trials in one unit.
pub const MAX_UNIT_TRIALS: u32 = 10_000;
/// Fewest and most open units of a task that names no parallelism.
pub const OPEN_UNITS: std::ops::RangeInclusive<u32> = 8..=256;
/// Fewest trials that an adaptive sampler may be blind to.
pub const MIN_UNSEEN: u32 = 8;

/// How many trials may be started and not yet seen by an adaptive sampler, over all workers, when
/// `finished` of the task have ended: a twentieth of them, at least [`MIN_UNSEEN`]. Speed may not
/// make the search blind.
///
/// ```
/// use trialmill_common::protocol::most_unseen;
///
/// assert_eq!((most_unseen(0), most_unseen(179), most_unseen(10_000)), (8, 8, 500));
/// ```
#[must_use]
pub fn most_unseen(finished: u32) -> u32 {
    (finished / 20).max(MIN_UNSEEN)
}

/// Most units of an adaptive search whose request names no `parallelism`. More would draw more
/// blindly, and each would have to record and read after every trial for longer.
pub const ADAPTIVE_UNITS: u32 = 32;

/// Most units of an adaptive search that may be open when `recorded` of its trials are recorded: one
/// for each trial that may be unseen, at most `parallelism` ([`ADAPTIVE_UNITS`] where it names none).
///
/// Who is live has no part in it, so that [`unseen_share`] holds whoever comes and goes.
#[must_use]
pub fn most_adaptive_units(parallelism: Option<u32>, recorded: u32) -> u32 {
    let most = parallelism.unwrap_or(ADAPTIVE_UNITS).max(1);
    most.min(most_unseen(recorded))
}

/// How many trials an open unit of an adaptive search may have started and not recorded, when it
/// knows of `recorded` trials of the task; at least 1.
///
/// Neither this nor [`most_adaptive_units`] falls as trials are recorded. So at every time, however
/// little a unit knows: open units x their shares <= [`most_unseen`].
///
/// ```
/// use trialmill_common::protocol::{most_adaptive_units, unseen_share};
///
/// assert_eq!((most_adaptive_units(Some(3), 0), unseen_share(Some(3), 0)), (3, 2));
/// assert_eq!((most_adaptive_units(None, 400), unseen_share(None, 400)), (20, 1));
/// ```
#[must_use]
pub fn unseen_share(parallelism: Option<u32>, recorded: u32) -> u32 {
    most_unseen(recorded) / most_adaptive_units(parallelism, recorded)
}

/// What the units of a task of this kind are for, before anything is assessed.
#[must_use]
pub fn unit_kind(kind: TaskKind) -> UnitKind {
    match kind {
        TaskKind::HyperparameterOptimization => UnitKind::Trials,
        TaskKind::Backtest | TaskKind::Training | TaskKind::Prediction => UnitKind::Run,
    }
}

/// How many steps an assess unit counts its progress in: it is a percentage.
pub const ASSESS_STEPS: u32 = 100;

/// What a task is when it is submitted, as far as the protocol cares.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What its units are for.
    pub kind: UnitKind,
    /// Which way is better for the first objective.
    pub direction: Direction,
    /// Trials the user asked for; 1 for a run.
    pub n_trials: u32,
    /// Trials that will be handed out: fewer where the space has fewer points.
    pub planned: u32,
    /// Most units open at a time; none = as workers allow.
    pub parallelism: Option<u32>,
    /// Whether its sampler reads history.
    pub adaptive: bool,
    /// When it ends itself.
    pub rules: StopRules,
    /// The numbers of each of its searches, in order and without gaps, from 0 to `planned`; empty for
    /// a task that is one search. Such a task has no rules and takes over no trials.
    pub windows: Vec<Range<u32>>,
    /// Whether its result is assessed when its trials have ended.
    pub assessed: bool,
    /// Whether its trials are run by clients, who ask for one at a time: each is a unit of its own.
    pub by_client: bool,
}

/// The protocol's part of a task row.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// State of the task.
    pub state: TaskState,
    /// Why it was asked to end early, if it was.
    pub stop_requested: Option<StopReason>,
    /// Why it ended (completed tasks only).
    pub stop_reason: Option<StopReason>,
    /// What its units are for.
    pub kind: UnitKind,
    /// Most units open at a time; none = as workers allow.
    pub parallelism: Option<u32>,
    /// Whether its sampler reads history: then no more units are open than [`most_adaptive_units`].
    pub adaptive: bool,
    /// Which way is better for the first objective.
    pub direction: Direction,
    /// Trials the user asked for.
    pub n_trials: u32,
    /// Trials that will be handed out: fewer than `n_trials` where the space has fewer points.
    pub planned: u32,
    /// The first trial number that is in no unit yet.
    pub next_number: u32,
    /// The number of the next unit.
    pub next_unit: u32,
    /// Units that are queued or leased.
    pub open_units: u32,
    /// Rows with end `completed`.
    pub completed: u32,
    /// Rows with end `pruned`.
    pub pruned: u32,
    /// Rows with end `failed`.
    pub failed: u32,
    /// Completed rows that may not win.
    pub infeasible: u32,
    /// The best feasible completed row; the lowest number among equals.
    pub best: Option<Best>,
    /// When it ends itself.
    pub rules: StopRules,
    /// Trials that have ended since the best one, in the order in which they were recorded; where
    /// several objectives have patience, since the last one that joined the front.
    pub since_best: u32,
    /// The front of several objectives that have patience, with costs, until the task has ended. A store reads it
    /// when trials are to be recorded only.
    pub front: Front,
    /// Whether a trial reached the targets of several objectives.
    pub reached: bool,
    /// Trials that were taken over from another task.
    pub copied: Copied,
    /// Its searches, in the order of their numbers; empty for a task that is one search. Then
    /// [`Self::next_number`] says how many numbers are handed out, over all of them.
    pub windows: Vec<WindowLedger>,
    /// Whether its result is assessed when its trials have ended.
    pub assessed: bool,
    /// Whether its trials are run by clients: then each is a unit of its own.
    pub by_client: bool,
    /// Why the search ended, while its result is assessed: the unit that does so is open.
    pub searched: Option<StopReason>,
    /// Number of the last event.
    pub seq: i64,
    /// Whether it failed because a unit of it could not be run by anyone.
    pub gave_up: bool,
}

/// The best trial so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its trial number.
    pub number: u32,
    /// Its first objective value.
    pub value: f64,
}

/// What a recorded trial adds to the counters.
#[derive(Debug, Clone, PartialEq)]
pub enum Tally {
    /// Completed and feasible, with its values, one per objective.
    Values(Vec<f64>),
    /// Completed, but may not win.
    Infeasible,
    /// Pruned.
    Pruned,
    /// Failed.
    Failed,
}

impl Tally {
    /// Completed and feasible, with the value of its one objective.
    #[must_use]
    pub fn value(value: f64) -> Self {
        Self::Values(vec![value])
    }
}

/// A unit to insert: queued and due at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewUnit {
    /// Its number within the task.
    pub number: u32,
    /// What it is for.
    pub kind: UnitKind,
    /// First trial number.
    pub first: u32,
    /// Number of trials.
    pub count: u32,
    /// 1 for the rest of a unit that lost a worker, which is run in isolation too; else 0.
    pub crashes: u32,
}

/// A unit that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Its first trial.
    pub first: u32,
    /// What it left undone, if anything.
    pub rest: Option<Rest>,
}

/// The trials of a unit that were not recorded when it closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// First unrecorded trial.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Crashes of the unit. The rest is isolated if there was one; how many there were, and so how
    /// long it waits after the next, is not inherited: its holder lived to close it.
    pub crashes: u32,
}

/// What an operation adds besides the changed row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effects {
    /// Units to insert.
    pub units: Vec<NewUnit>,
    /// Events to append, numbered from the ledger's new `seq` backwards.
    pub events: Vec<Event>,
    /// The task ends itself: its queued units are to be withdrawn and [`Ledger::withdrawn`] told of
    /// it, in the same transaction.
    pub withdraws: bool,
}

/// One entry of a task's history, as it is stored and sent to watchers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The task was accepted.
    Accepted,
    /// Its first unit was claimed.
    Started,
    /// Trials were recorded.
    Trials {
        /// Runs of consecutive numbers: (first, count).
        numbers: Vec<(u32, u32)>,
        /// The best trial after them.
        best: Option<Best>,
    },
    /// No new trial will start until it is resumed.
    Paused,
    /// Trials start again.
    Resumed,
    /// It was asked to end early.
    Stopping {
        /// Why.
        reason: StopReason,
    },
    /// A lease expired; the unit runs again, isolated.
    UnitLost {
        /// The unit.
        unit: u32,
    },
    /// It reached a terminal state. Always the last event.
    Ended {
        /// The terminal state.
        state: TaskState,
        /// Why, for a completed task.
        stop_reason: Option<StopReason>,
    },
}

/// What the holder of a lease is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Go on.
    Run,
    /// End the running trial, start no other, hand the unit back.
    Pause,
    /// Stop at once and close the unit; what is not recorded is abandoned.
    Stop,
}

impl Control {
    /// What the holders of a task in this state are to do; `stopping`: it was asked to end.
    #[must_use]
    pub fn of(state: TaskState, stopping: bool) -> Self {
        if stopping || state.is_terminal() {
            Self::Stop
        } else if state == TaskState::Paused {
            Self::Pause
        } else {
            Self::Run
        }
    }
}

/// An operation that a task's state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {state} cannot be {wanted}")]
pub struct NotAllowed {
    /// The state it is in.
    pub state: TaskState,
    /// What was asked, such as "paused".
    pub wanted: &'static str,
}

impl Ledger {
    /// A task as it is when it was just accepted, with its first units.
    #[must_use]
    pub fn submitted(plan: Plan, live_slots: u32) -> (Self, Effects) {
        let mut ledger = Self::accepted(plan);
        let mut effects = Effects::default();
        ledger.say(&mut effects, Event::Accepted);
        ledger.refill(live_slots, &mut effects);
        (ledger, effects)
    }

    /// A task before anything of it was said, handed out or copied.
    #[must_use]
    pub fn accepted(plan: Plan) -> Self {
        Self {
            state: TaskState::Queued,
            stop_requested: None,
            stop_reason: None,
            kind: plan.kind,
            parallelism: plan.parallelism,
            adaptive: plan.adaptive,
            direction: plan.direction,
            n_trials: plan.n_trials,
            planned: plan.planned.min(plan.n_trials),
            next_number: 0,
            next_unit: 0,
            open_units: 0,
            completed: 0,
            pruned: 0,
            failed: 0,
            infeasible: 0,
            best: None,
            rules: plan.rules,
            since_best: 0,
            front: Front::default(),
            reached: false,
            copied: Copied::default(),
            windows: plan.windows.into_iter().map(WindowLedger::new).collect(),
            assessed: plan.assessed,
            by_client: plan.by_client,
            searched: None,
            seq: 0,
            gave_up: false,
        }
    }

    /// Trials that have ended.
    #[must_use]
    pub fn ended(&self) -> u32 {
        self.completed + self.pruned + self.failed
    }

    /// What a lease holder is to do.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::of(self.state, self.stop_requested.is_some())
    }

    /// Whether units of this task may be claimed.
    #[must_use]
    pub fn claimable(&self) -> bool {
        matches!(self.state, TaskState::Queued | TaskState::Running)
            && self.stop_requested.is_none()
    }

    /// The first trial number from `least` on that nobody was given: of those in `queued` units, which nobody
    /// holds, or in no unit yet. Those in `taken` have their parameters already. Nothing where none is left, or only
    /// beyond copied trials that were not read.
    ///
    /// # Errors
    /// When no trial of the task will start any more.
    pub fn first_free(
        &self,
        least: u32,
        queued: &[Range<u32>],
        taken: &BTreeSet<u32>,
    ) -> Result<Option<u32>, NotAllowed> {
        if self.state.is_terminal() || self.stop_requested.is_some() || self.searched.is_some() {
            return Err(NotAllowed {
                state: self.state,
                wanted: "given a trial to run",
            });
        }
        let mut from = self.next_number;
        let mut gaps = Vec::new();
        for run in &self.copied.ahead {
            gaps.push(from..run.first);
            from = run.first + run.count;
        }
        if !self.copied.lies_beyond_ahead() {
            gaps.push(from..self.planned);
        }
        let free = |run: Range<u32>| {
            let mut run = run.start.max(least)..run.end;
            run.find(|number| !taken.contains(number))
        };
        Ok(queued.iter().cloned().chain(gaps).filter_map(free).min())
    }

    /// Whether its trials are being run: its clock (`timeout`, trials a second) goes while they are, and
    /// neither before, nor while it is paused or its result is assessed.
    #[must_use]
    pub fn searches(&self) -> bool {
        self.state == TaskState::Running && self.searched.is_none()
    }

    /// Whether a unit of this kind is over when it is handed back: the task is ending, or the search
    /// has ended that the unit was for.
    #[must_use]
    pub fn closes_units(&self, kind: UnitKind) -> bool {
        self.stop_requested.is_some() || kind != UnitKind::Assess && self.searched.is_some()
    }

    /// A unit was claimed.
    pub fn claimed(&mut self) -> Effects {
        let mut effects = Effects::default();
        if self.state == TaskState::Queued {
            self.state = TaskState::Running;
            self.say(&mut effects, Event::Started);
        }
        effects
    }

    /// How many trials of a flush are to be recorded, asked unit by unit before
    /// [`Ledger::recorded`] is told of them.
    #[must_use]
    pub fn admission(&self) -> Admission {
        let rules = match self.stop_requested {
            None => self.rules.clone(),
            // It ends already: what has ended by now is recorded.
            Some(_) => StopRules::default(),
        };
        // Not of a sequential search that met its rule with the last trial of an earlier flush: how
        // its results were gathered must not show.
        let by_rule = matches!(
            self.stop_requested,
            Some(StopReason::TargetReached | StopReason::NoImprovement)
        );
        Admission {
            rules,
            score: Score {
                front: self.front.clone(),
                ..self.score()
            },
            met: by_rule && self.parallelism == Some(1),
        }
    }

    /// Trials were recorded and `closed` units ended, each with what it left undone.
    ///
    /// Numbers must be those of the rows inserted in the same transaction, no more than
    /// [`Ledger::admission`] admits.
    pub fn recorded(
        &mut self,
        trials: &[(u32, Tally)],
        closed: &[Closed],
        live_slots: u32,
    ) -> Effects {
        let mut effects = Effects::default();
        for (number, tally) in trials {
            self.count(*number, tally);
        }
        if !trials.is_empty() {
            let numbers = runs(trials.iter().map(|(number, _)| *number));
            let best = self.best;
            self.say(&mut effects, Event::Trials { numbers, best });
            self.obey_rules(&mut effects);
        }
        for Closed { first, rest } in closed {
            self.open_units -= 1;
            if let Some(window) = self.window_mut(*first) {
                window.open = window.open.saturating_sub(1);
            }
            // An assessment leaves no trials behind.
            let rest = rest.filter(|_| self.searched.is_none());
            if let (Some(rest), Control::Run | Control::Pause) = (rest, self.control()) {
                self.open(rest, &mut effects);
            }
        }
        if !closed.is_empty() {
            self.refill(live_slots, &mut effects);
            self.settle(&mut effects);
        }
        effects
    }

    /// `voided` queued units were withdrawn, as [`Effects::withdraws`] asks.
    pub fn withdrawn(&mut self, voided: u32, effects: &mut Effects) {
        self.open_units -= voided;
        self.settle(effects);
    }

    /// A leased unit lost its worker. Returns whether the unit is queued again (else it is void).
    pub fn unit_lost(&mut self, unit: u32, effects: &mut Effects) -> bool {
        self.say(effects, Event::UnitLost { unit });
        if self.stop_requested.is_none() {
            return true;
        }
        self.open_units -= 1;
        self.settle(effects);
        false
    }

    /// A unit of the task can be run by nobody ([`unable`]): the task fails at once, or, if its search
    /// has ended, completes without an assessment. Its `withdrawn`
    /// open units, queued and leased, are void; what their holders had not recorded is lost, which
    /// at most costs a second's results of a task that has no end to wait for.
    ///
    /// # Errors
    /// When the task does not run: it is paused, is ending for another reason, or has ended.
    pub fn give_up(&mut self, withdrawn: u32) -> Result<Effects, NotAllowed> {
        if !self.claimable() {
            return Err(NotAllowed {
                state: self.state,
                wanted: "given up",
            });
        }
        let mut effects = Effects::default();
        self.open_units -= withdrawn;
        if let Some(reason) = self.searched {
            // What was found stands; only nobody could say what it is worth.
            self.finish(reason, &mut effects);
            return Ok(effects);
        }
        self.state = TaskState::Failed;
        self.front = Front::default();
        self.gave_up = true;
        let (state, stop_reason) = (self.state, None);
        self.say(&mut effects, Event::Ended { state, stop_reason });
        Ok(effects)
    }

    /// Whether the task may be asked to end for this reason.
    ///
    /// # Errors
    /// When it has ended, or when its search has and only the assessment is left, which nobody but a
    /// user cuts short.
    pub fn may_stop(&self, reason: StopReason) -> Result<(), NotAllowed> {
        let cancelled = reason == StopReason::Cancelled;
        if self.state.is_terminal() || self.searched.is_some() && !cancelled {
            return Err(NotAllowed {
                state: self.state,
                wanted: if cancelled {
                    "cancelled"
                } else {
                    "asked to end early"
                },
            });
        }
        Ok(())
    }

    /// The task is asked to end early; `voided` queued units were withdrawn.
    ///
    /// # Errors
    /// As [`Self::may_stop`].
    pub fn stop(&mut self, reason: StopReason, voided: u32) -> Result<Effects, NotAllowed> {
        self.may_stop(reason)?;
        let mut effects = Effects::default();
        self.open_units -= voided;
        // A user's cancel outranks every other reason; the first of the others stands.
        let first = self.stop_requested.is_none();
        if first || reason == StopReason::Cancelled && self.stop_requested != Some(reason) {
            self.stop_requested = Some(reason);
            self.say(&mut effects, Event::Stopping { reason });
        }
        self.settle(&mut effects);
        Ok(effects)
    }

    /// No new trial is to start.
    ///
    /// # Errors
    /// When the task has ended or is ending.
    pub fn pause(&mut self) -> Result<Effects, NotAllowed> {
        let mut effects = Effects::default();
        match self.state {
            TaskState::Queued | TaskState::Running if self.stop_requested.is_none() => {
                self.state = TaskState::Paused;
                self.say(&mut effects, Event::Paused);
                Ok(effects)
            }
            TaskState::Paused => Ok(effects),
            state => Err(NotAllowed {
                state,
                wanted: "paused",
            }),
        }
    }

    /// Trials may start again. `started` tells whether a unit was ever claimed.
    ///
    /// # Errors
    /// When the task has ended or is ending.
    pub fn resume(&mut self, started: bool, live_slots: u32) -> Result<Effects, NotAllowed> {
        let mut effects = Effects::default();
        match self.state {
            TaskState::Paused if self.stop_requested.is_none() => {
                self.state = if started {
                    TaskState::Running
                } else {
                    TaskState::Queued
                };
                self.say(&mut effects, Event::Resumed);
                self.refill(live_slots, &mut effects);
                Ok(effects)
            }
            TaskState::Queued | TaskState::Running => Ok(effects),
            state => Err(NotAllowed {
                state,
                wanted: "resumed",
            }),
        }
    }

    /// A task that should have an open unit and has none: opens what is left, or ends it.
    pub fn repaired(&mut self, live_slots: u32) -> Effects {
        let mut effects = Effects::default();
        if self.searched.is_some() && self.stop_requested.is_none() {
            self.open_assessment(&mut effects);
            return effects;
        }
        self.refill(live_slots, &mut effects);
        self.settle(&mut effects);
        effects
    }

    fn count(&mut self, number: u32, tally: &Tally) {
        if number >= self.best_from() {
            let mut score = Score {
                front: std::mem::take(&mut self.front),
                ..self.score()
            };
            score.take(&self.rules, number, tally);
            (self.best, self.since_best) = (score.best, score.since_best);
            (self.front, self.reached) = (score.front, score.reached);
        }
        if let Some(window) = self.window_mut(number) {
            window.ended += 1;
        }
        match tally {
            Tally::Values(_) => self.completed += 1,
            Tally::Infeasible => {
                self.completed += 1;
                self.infeasible += 1;
            }
            Tally::Pruned => self.pruned += 1,
            Tally::Failed => self.failed += 1,
        }
    }

    /// What the rules are about, but for the front.
    fn score(&self) -> Score {
        Score {
            direction: self.direction,
            best: self.best,
            front: Front::default(),
            reached: self.reached,
            since_best: self.since_best,
        }
    }

    /// The rule of its own that is met, the target first.
    #[must_use]
    pub fn met_rule(&self) -> Option<StopReason> {
        self.score().met(&self.rules)
    }

    /// Asks the task to end when a rule of its own is met, unless it ends already.
    fn obey_rules(&mut self, effects: &mut Effects) {
        if let (Some(reason), None) = (self.met_rule(), self.stop_requested) {
            self.stop_requested = Some(reason);
            self.say(effects, Event::Stopping { reason });
            effects.withdraws = true;
        }
    }

    /// Steps over the copied runs that come next.
    fn pass_copied(&mut self) {
        let copied = &mut self.copied;
        while let Some(run) = copied.ahead.front()
            && run.first == self.next_number
        {
            self.next_number += run.count;
            copied.passed_units += 1;
            copied.passed_trials += run.count;
            copied.ahead.pop_front();
        }
    }

    /// The end of the numbers that may be handed out in one piece: the next copied run, or the end.
    /// Nothing when runs lie ahead that were not read.
    fn gap_end(&self) -> Option<u32> {
        match self.copied.ahead.front() {
            Some(run) => Some(run.first),
            None if self.copied.lies_ahead() => None,
            None => Some(self.planned),
        }
    }

    /// Most units that may be open now.
    fn open_limit(&self, live_slots: u32) -> u32 {
        if self.adaptive && self.windows.is_empty() {
            return most_adaptive_units(self.parallelism, self.ended());
        }
        self.parallelism.unwrap_or_else(|| {
            live_slots
                .saturating_mul(2)
                .clamp(*OPEN_UNITS.start(), *OPEN_UNITS.end())
        })
    }

    /// Opens units up to the limit. The smaller the remainder, the smaller the unit, so that the
    /// last ones end together; a sequential search is one unit, whose trials run in order.
    fn refill(&mut self, live_slots: u32, effects: &mut Effects) {
        if !self.claimable() || self.searched.is_some() {
            return;
        }
        let limit = self.open_limit(live_slots);
        if !self.windows.is_empty() {
            return self.refill_windows(limit, effects);
        }
        while self.open_units < limit && self.next_number < self.planned {
            let Some(end) = self.gap_end() else { return };
            let handed_out = self.next_number + self.copied.trials_ahead();
            let remaining = self.planned.saturating_sub(handed_out);
            let share = if self.by_client {
                1
            } else if limit == 1 {
                remaining
            } else {
                (remaining / (2 * limit)).clamp(1, MAX_UNIT_TRIALS)
            };
            let count = share.min(end.saturating_sub(self.next_number));
            if count == 0 {
                // An older build has handed out copied numbers; nothing more can be made of it.
                return;
            }
            let first = self.next_number;
            self.next_number += count;
            self.pass_copied();
            self.open(
                Rest {
                    first,
                    count,
                    crashes: 0,
                },
                effects,
            );
        }
    }

    fn open(&mut self, rest: Rest, effects: &mut Effects) {
        effects.units.push(NewUnit {
            number: self.next_unit,
            kind: self.kind,
            first: rest.first,
            count: rest.count,
            crashes: rest.crashes.min(1),
        });
        self.next_unit += 1;
        self.open_units += 1;
        if let Some(window) = self.window_mut(rest.first) {
            window.open += 1;
        }
    }

    /// Ends the task when nothing is left and nothing is open: its search first, and when that is to
    /// be assessed, the task with the assessment.
    fn settle(&mut self, effects: &mut Effects) {
        let exhausted = self.next_number == self.planned || self.searched.is_some();
        let over = self.open_units == 0 && (self.stop_requested.is_some() || exhausted);
        if self.state.is_terminal() || !over {
            return;
        }
        let reason = match (self.stop_requested, self.searched) {
            (Some(reason), _) | (None, Some(reason)) => reason,
            (None, None) if self.planned < self.n_trials => StopReason::SpaceExhausted,
            (None, None) => StopReason::NTrials,
        };
        let cancelled = reason == StopReason::Cancelled;
        let all_failed = self.failed == self.ended();
        if self.assessed && self.searched.is_none() && !cancelled && !all_failed {
            // Whoever claims the unit finds a task that goes on.
            self.searched = Some(reason);
            self.stop_requested = None;
            if self.state == TaskState::Paused {
                // A pause holds trials back, and there are none left.
                self.state = TaskState::Running;
            }
            return self.open_assessment(effects);
        }
        self.finish(reason, effects);
    }

    /// The end of the task, and why its search ended.
    fn finish(&mut self, reason: StopReason, effects: &mut Effects) {
        let was_asked = !matches!(reason, StopReason::NTrials | StopReason::SpaceExhausted);
        if self.searched.take().is_some() && was_asked {
            self.stop_requested = Some(reason);
        }
        if reason == StopReason::Cancelled {
            self.state = TaskState::Cancelled;
        } else if self.failed == self.ended() {
            self.state = TaskState::Failed;
        } else {
            self.state = TaskState::Completed;
            self.stop_reason = Some(reason);
        }
        // Nobody asks for it any more.
        self.front = Front::default();
        let (state, stop_reason) = (self.state, self.stop_reason);
        self.say(effects, Event::Ended { state, stop_reason });
    }

    /// The unit that assesses the result; it stands behind all trials.
    fn open_assessment(&mut self, effects: &mut Effects) {
        effects.units.push(NewUnit {
            number: self.next_unit,
            kind: UnitKind::Assess,
            first: self.planned,
            count: ASSESS_STEPS,
            crashes: 0,
        });
        self.next_unit += 1;
        self.open_units += 1;
    }

    fn say(&mut self, effects: &mut Effects, event: Event) {
        self.seq += 1;
        effects.events.push(event);
    }
}

/// Runs of consecutive numbers, as (first, count), in ascending order.
fn runs(numbers: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => runs.push((number, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(n_trials: u32, parallelism: Option<u32>) -> Plan {
        Plan {
            kind: UnitKind::Trials,
            direction: Direction::Minimize,
            n_trials,
            planned: n_trials,
            parallelism,
            adaptive: false,
            rules: StopRules::default(),
            windows: Vec::new(),
            assessed: false,
            by_client: false,
        }
    }

    fn submitted(n: u32, parallelism: Option<u32>) -> (Ledger, Effects) {
        Ledger::submitted(plan(n, parallelism), 4)
    }

    #[test]
    fn no_more_units_of_an_adaptive_search_are_open_than_trials_may_be_unseen() {
        for parallelism in [None, Some(3), Some(64)] {
            let adaptive = Plan {
                adaptive: true,
                ..plan(5_000, parallelism)
            };
            let (mut ledger, effects) = Ledger::submitted(adaptive, 100);
            let mut open: std::collections::VecDeque<NewUnit> = effects.units.into();
            let mut most = 0;
            while let Some(unit) = open.pop_front() {
                let trials: Vec<_> = (unit.first..unit.first + unit.count)
                    .map(|number| (number, Tally::value(1.0)))
                    .collect();
                open.extend(ledger.recorded(&trials, &closed(None), 100).units);
                let allowed = most_unseen(ledger.ended()).min(parallelism.unwrap_or(256));
                assert!(
                    ledger.open_units <= allowed,
                    "{} of {allowed}",
                    ledger.open_units
                );
                most = most.max(ledger.open_units);
            }
            assert_eq!(ledger.ended(), 5_000);
            let reached = match parallelism {
                Some(3) => most == 3,
                _ => most > MIN_UNSEEN,
            };
            assert!(reached, "{parallelism:?}: {most}");
        }
    }

    #[test]
    fn the_shares_of_all_open_units_are_never_more_than_may_be_unseen() {
        for parallelism in [
            None,
            Some(1),
            Some(2),
            Some(3),
            Some(7),
            Some(64),
            Some(1_000),
        ] {
            let mut before = (1, 1);
            for recorded in 0..30_000 {
                let units = most_adaptive_units(parallelism, recorded);
                let share = unseen_share(parallelism, recorded);
                assert!(units * share <= most_unseen(recorded), "{recorded}");
                assert!(units >= before.0 && share >= before.1, "{recorded}");
                before = (units, share);
            }
        }
    }

    #[test]
    fn the_rest_of_a_unit_that_lost_workers_is_isolated_and_begins_its_count_anew() {
        for (crashes, inherited) in [(0, 0), (1, 1), (7, 1)] {
            let (mut ledger, _) = submitted(10, Some(1));
            let rest = Rest {
                first: 4,
                count: 6,
                crashes,
            };
            let trials = [0, 1, 2, 3].map(|number| (number, Tally::value(1.0)));
            let effects = ledger.recorded(&trials, &closed(Some(rest)), 1);
            let units: Vec<_> = effects.units.iter().map(|u| (u.first, u.crashes)).collect();
            assert_eq!(units, [(4, inherited)]);
        }
    }

    #[test]
    fn a_run_is_one_unit_of_its_own_kind() {
        let run = Plan {
            kind: UnitKind::Run,
            ..plan(1, None)
        };
        let (mut ledger, effects) = Ledger::submitted(run, 4);
        assert_eq!(effects.units.len(), 1);
        assert_eq!(
            (effects.units[0].kind, effects.units[0].count),
            (UnitKind::Run, 1)
        );
        ledger.recorded(&[(0, Tally::value(1.0))], &closed(None), 4);
        assert_eq!(ledger.state, TaskState::Completed);
    }

    #[test]
    fn units_shrink_towards_the_end_and_cover_every_number_once() {
        let (mut ledger, effects) = submitted(1000, Some(4));
        let mut open: std::collections::VecDeque<NewUnit> = effects.units.into();
        let mut next = 0;
        let mut sizes = Vec::new();
        while let Some(unit) = open.pop_front() {
            assert_eq!(unit.first, next, "dense and in order");
            next += unit.count;
            sizes.push(unit.count);
            let trials: Vec<_> = (0..unit.count)
                .map(|i| (unit.first + i, Tally::value(1.0)))
                .collect();
            open.extend(ledger.recorded(&trials, &closed(None), 4).units);
            assert!(open.len() <= 4);
        }
        assert_eq!(next, 1000);
        assert_eq!(sizes[0], 125);
        assert_eq!(*sizes.last().unwrap(), 1);
        assert_eq!(ledger.state, TaskState::Completed);
        assert_eq!(ledger.stop_reason, Some(StopReason::NTrials));
        assert_eq!(
            ledger.best,
            Some(Best {
                number: 0,
                value: 1.0
            })
        );
    }

    #[test]
    fn a_sequential_search_is_one_unit_with_the_whole_remainder() {
        let (_, effects) = submitted(50_000, Some(1));
        assert_eq!(effects.units.len(), 1);
        assert_eq!(effects.units[0].count, 50_000);
    }

    #[test]
    fn a_task_whose_every_trial_failed_is_failed() {
        let (mut ledger, _) = submitted(2, Some(1));
        ledger.recorded(&[(0, Tally::Failed), (1, Tally::Failed)], &closed(None), 1);
        assert_eq!(ledger.state, TaskState::Failed);
    }

    #[test]
    fn a_space_with_fewer_points_than_trials_ends_as_exhausted() {
        let (mut ledger, effects) = Ledger::submitted(
            Plan {
                direction: Direction::Maximize,
                planned: 6,
                ..plan(100, Some(1))
            },
            1,
        );
        assert_eq!(effects.units[0].count, 6);
        let trials: Vec<_> = (0..6).map(|n| (n, Tally::value(f64::from(n)))).collect();
        ledger.recorded(&trials, &closed(None), 1);
        assert_eq!(ledger.stop_reason, Some(StopReason::SpaceExhausted));
        assert_eq!(ledger.best.unwrap().number, 5);
    }

    #[test]
    fn ties_go_to_the_lowest_number_whatever_the_order_of_arrival() {
        let (mut ledger, _) = submitted(10, Some(2));
        ledger.recorded(&[(7, Tally::value(0.5))], &[], 2);
        ledger.recorded(&[(3, Tally::value(0.5))], &[], 2);
        ledger.recorded(&[(5, Tally::value(0.5))], &[], 2);
        assert_eq!(ledger.best.unwrap().number, 3);
    }

    #[test]
    fn a_rule_ends_the_task_with_the_trial_that_meets_it_and_admits_none_after_it() {
        let value = |(number, value)| (number, Tally::value(value));
        let trials = [(0, 9.0), (1, 4.0), (2, 3.0), (3, 3.0), (4, 5.0), (5, 1.0)].map(value);
        let rules = |target, patience| StopRules {
            target,
            patience,
            aims: Vec::new(),
        };
        for (rules, admitted, reason) in [
            (rules(Some(3.0), None), 3, Some(StopReason::TargetReached)),
            (rules(None, Some(2)), 5, Some(StopReason::NoImprovement)),
            (
                rules(Some(2.0), Some(3)),
                6,
                Some(StopReason::TargetReached),
            ),
            (rules(Some(0.5), Some(3)), 6, None),
        ] {
            let plan = Plan {
                rules: rules.clone(),
                ..plan(10, Some(2))
            };
            let (mut ledger, effects) = Ledger::submitted(plan, 1);
            let open = effects.units.len();
            let mut admission = ledger.admission();
            assert_eq!(admission.admit(trials.clone()), admitted, "{rules:?}");
            assert_eq!(admission.is_met(), reason.is_some());
            let mut effects = ledger.recorded(&trials[..admitted], &closed(None), 1);
            assert_eq!(ledger.stop_requested, reason, "{rules:?}");
            assert_eq!(effects.withdraws, reason.is_some());
            if reason.is_some() {
                ledger.withdrawn(u32::try_from(open).unwrap() - 1, &mut effects);
                assert_eq!(ledger.stop_reason, reason);
                assert!(matches!(effects.events.last(), Some(Event::Ended { .. })));
            }
        }
    }

    #[test]
    fn patience_begins_with_the_first_best_trial_and_counts_every_end() {
        let rules = StopRules {
            patience: Some(3),
            ..StopRules::default()
        };
        let plan = Plan {
            rules,
            ..plan(10, Some(1))
        };
        let (mut ledger, _) = Ledger::submitted(plan, 1);
        let ends = [
            (0, Tally::Failed),
            (1, Tally::Infeasible),
            (2, Tally::Failed),
            (3, Tally::value(1.0)),
            (4, Tally::Failed),
            (5, Tally::Pruned),
        ];
        ledger.recorded(&ends, &[], 1);
        assert_eq!((ledger.stop_requested, ledger.since_best), (None, 2));
        ledger.recorded(&[(6, Tally::Infeasible)], &[], 1);
        assert_eq!(ledger.stop_requested, Some(StopReason::NoImprovement));
    }

    /// Rules of two objectives, the first to be maximized and the second to be minimized.
    fn of_two(targets: [Option<f64>; 2], patience: Option<u32>) -> StopRules {
        let directions = [Direction::Maximize, Direction::Minimize];
        let aims = directions.into_iter().zip(targets);
        StopRules {
            patience,
            aims: aims
                .map(|(direction, target)| Aim { direction, target })
                .collect(),
            ..StopRules::default()
        }
    }

    fn of_two_plan(rules: StopRules) -> Plan {
        Plan {
            direction: Direction::Maximize,
            rules,
            ..plan(5_000, Some(2))
        }
    }

    #[test]
    fn targets_of_several_objectives_are_reached_by_one_trial_or_not_at_all() {
        let values = [[2.0, 9.0], [0.5, 0.1], [1.0, 0.5], [1.5, 0.2]];
        let trials: Vec<_> = (0..)
            .zip(values)
            .map(|(number, values)| (number, Tally::Values(values.to_vec())))
            .collect();
        for (targets, reached) in [
            ([Some(1.0), Some(0.5)], Some(2)),
            ([Some(1.2), Some(0.5)], Some(3)),
            ([Some(2.0), None], Some(0)),
            ([None, Some(0.1)], Some(1)),
            ([Some(2.0), Some(0.1)], None),
        ] {
            let (mut ledger, _) = Ledger::submitted(of_two_plan(of_two(targets, None)), 1);
            let mut admission = ledger.admission();
            let admitted = admission.admit(trials.clone());
            assert_eq!(admitted, reached.map_or(4, |at| at + 1), "{targets:?}");
            ledger.recorded(&trials[..admitted], &[], 1);
            let reason = reached.map(|_| StopReason::TargetReached);
            assert_eq!((ledger.stop_requested, ledger.met_rule()), (reason, reason));
            assert_eq!(ledger.front, Front::default(), "nobody asked for patience");
        }
        let mut derivation = Derivation::begin(of_two_plan(of_two([Some(1.0), Some(0.5)], None)));
        derivation.copy(&trials);
        let reached = derivation.finish(4).ledger;
        assert_eq!(reached.stop_reason, Some(StopReason::TargetReached));
    }

    #[test]
    fn patience_of_several_objectives_counts_from_the_last_trial_that_joined_the_front() {
        let (mut ledger, _) = Ledger::submitted(of_two_plan(of_two([None; 2], Some(3))), 1);
        let mut tell = |number, tally| {
            ledger.recorded(&[(number, tally)], &[], 1);
            (ledger.since_best, ledger.stop_requested.is_some())
        };
        let values = |first, second| Tally::Values(vec![first, second]);
        assert_eq!(tell(0, Tally::Failed), (0, false), "nothing to wait for");
        assert_eq!(tell(1, values(1.0, 1.0)), (0, false));
        assert_eq!(tell(2, values(1.0, 1.0)), (1, false), "no new values");
        assert_eq!(tell(3, values(0.5, 0.5)), (0, false), "a trade-off");
        assert_eq!(tell(4, values(0.9, 1.0)), (1, false), "trial 1 is better");
        assert_eq!(tell(5, Tally::Infeasible), (2, false));
        assert_eq!(tell(6, values(2.0, 0.5)), (0, false), "better than both");
        assert_eq!(tell(7, values(1.0, 1.0)), (1, false));
        assert_eq!(tell(8, Tally::Pruned), (2, false));
        assert_eq!(tell(9, values(1.9, 0.5)), (3, true));
        assert_eq!(ledger.stop_requested, Some(StopReason::NoImprovement));
        assert_eq!(ledger.front.members().len(), 1);
    }

    #[test]
    fn a_front_beyond_its_limit_prolongs_a_search_and_is_no_longer() {
        let (mut ledger, _) = Ledger::submitted(of_two_plan(of_two([None; 2], Some(2))), 1);
        let most = u32::try_from(MAX_FRONT).unwrap();
        let along = |number: u32| vec![f64::from(number), f64::from(number)];
        let mut tell = |number, values| {
            ledger.recorded(&[(number, Tally::Values(values))], &[], 1);
            (ledger.since_best, ledger.front.members().len())
        };
        for number in 0..most {
            assert_eq!(tell(number, along(number)), (0, number as usize + 1));
        }
        assert_eq!(tell(most, along(most)), (0, MAX_FRONT));
        assert_eq!(tell(most + 1, along(most)), (0, MAX_FRONT), "forgotten");
        assert_eq!(tell(most + 2, along(7)), (1, MAX_FRONT), "remembered");
        assert_eq!(tell(most + 3, vec![1e9, -1.0]), (0, 1), "best of all");
        assert_eq!(tell(most + 4, along(7)), (1, 1));
        assert_eq!(tell(most + 5, along(8)), (2, 1));
        assert_eq!(ledger.stop_requested, Some(StopReason::NoImprovement));
    }

    #[test]
    fn the_gaps_between_copied_trials_are_handed_out_in_order_and_nothing_else() {
        let mut derivation = Derivation::begin(plan(20, Some(2)));
        let copied = [2, 3, 4, 9, 18, 19].map(|number| (number, Tally::value(1.0)));
        let batch = derivation.copy(&copied);
        assert_eq!((batch.seq, batch.units), (2, vec![0, 0, 0, 1, 2, 2]));
        let Derived {
            mut ledger,
            effects,
            closed: copied_units,
        } = derivation.finish(1);
        let run = |first, count| Run { first, count };
        assert_eq!(copied_units, [run(2, 3), run(9, 1), run(18, 2)]);
        let mut open: std::collections::VecDeque<NewUnit> = effects.units.into();
        let mut handed = Vec::new();
        while let Some(unit) = open.pop_front() {
            assert!(unit.number >= 3);
            handed.extend(unit.first..unit.first + unit.count);
            let trials: Vec<_> = (unit.first..unit.first + unit.count)
                .map(|number| (number, Tally::value(2.0)))
                .collect();
            open.extend(ledger.recorded(&trials, &closed(None), 1).units);
            assert!(open.len() <= 2);
        }
        let expected: Vec<u32> = [0..2, 5..9, 10..18].into_iter().flatten().collect();
        assert_eq!(handed, expected);
        assert_eq!(ledger.stop_reason, Some(StopReason::NTrials));
        assert_eq!((ledger.completed, ledger.copied.trials), (20, 6));
        assert_eq!(ledger.best.unwrap().number, 2);
    }

    #[test]
    fn a_task_of_copied_trials_alone_has_ended_and_so_has_one_whose_target_they_reach() {
        let copied = [0, 1, 2].map(|number| (number, Tally::value(f64::from(number))));
        let derived = |n_trials, rules| {
            let plan = Plan {
                rules,
                ..plan(n_trials, None)
            };
            let mut derivation = Derivation::begin(plan);
            derivation.copy(&copied);
            derivation.finish(4)
        };
        let whole = derived(3, StopRules::default());
        assert_eq!(whole.ledger.stop_reason, Some(StopReason::NTrials));
        let target = StopRules {
            target: Some(0.5),
            ..StopRules::default()
        };
        let reached = derived(50, target);
        assert_eq!(reached.ledger.stop_reason, Some(StopReason::TargetReached));
        assert_eq!(reached.effects.units, []);
        assert!(!reached.effects.withdraws);
        let goes_on = derived(50, StopRules::default());
        assert_eq!(goes_on.effects.units[0].first, 3);
    }

    #[test]
    fn runs_that_were_not_read_are_never_handed_out() {
        let mut derivation = Derivation::begin(plan(10, Some(1)));
        derivation.copy(&[4, 6].map(|number| (number, Tally::value(1.0))));
        let mut ledger = derivation.finish(0).ledger;
        assert_eq!((ledger.next_number, ledger.open_units), (5, 1));
        ledger.open_units = 0;
        ledger.copied.ahead.clear();
        assert_eq!(ledger.repaired(0).units, []);
    }

    fn assessed(n_trials: u32) -> (Ledger, Effects) {
        let plan = Plan {
            assessed: true,
            ..plan(n_trials, Some(1))
        };
        Ledger::submitted(plan, 1)
    }

    /// The percentages of an assessment are no trials.
    const ASSESSED: [Closed; 1] = [Closed {
        first: 2,
        rest: None,
    }];

    #[test]
    fn a_search_that_has_ended_is_assessed_before_its_task_ends() {
        let (mut ledger, _) = assessed(2);
        let trials = [0, 1].map(|number| (number, Tally::value(1.0)));
        let effects = ledger.recorded(&trials, &closed(None), 1);
        let unit = effects.units[0];
        assert_eq!(
            (unit.kind, unit.first, unit.count),
            (UnitKind::Assess, 2, 100)
        );
        assert_eq!(ledger.searched, Some(StopReason::NTrials));
        assert!(ledger.claimable() && !ledger.state.is_terminal());
        assert_eq!(
            ledger.stop(StopReason::Timeout, 1).unwrap_err().state,
            ledger.state
        );
        assert_eq!(ledger.repaired(1).units.len(), 1);
        ledger.open_units = 1;
        ledger.recorded(&[], &ASSESSED, 1);
        assert_eq!(ledger.state, TaskState::Completed);
        assert_eq!(ledger.stop_reason, Some(StopReason::NTrials));
        assert_eq!((ledger.searched, ledger.stop_requested), (None, None));
    }

    #[test]
    fn a_search_that_was_ended_early_is_assessed_too_and_opens_no_trial_again() {
        let (mut ledger, _) = assessed(9);
        ledger.recorded(&[(0, Tally::value(1.0))], &[], 1);
        ledger.stop(StopReason::Timeout, 0).unwrap();
        let rest = Rest {
            first: 1,
            count: 8,
            crashes: 0,
        };
        let effects = ledger.recorded(&[], &closed(Some(rest)), 1);
        assert_eq!(effects.units.len(), 1);
        assert_eq!(effects.units[0].kind, UnitKind::Assess);
        assert!(ledger.claimable());
        ledger.pause().unwrap();
        assert_eq!(ledger.resume(true, 4).unwrap().units, []);
        ledger.recorded(&[], &ASSESSED, 1);
        assert_eq!(ledger.stop_reason, Some(StopReason::Timeout));
        assert_eq!(ledger.stop_requested, Some(StopReason::Timeout));
    }

    #[test]
    fn what_was_cancelled_or_failed_is_not_assessed_and_an_assessment_can_be_cancelled() {
        let (mut cancelled, _) = assessed(2);
        cancelled.stop(StopReason::Cancelled, 1).unwrap();
        assert_eq!(cancelled.state, TaskState::Cancelled);
        let (mut failed, _) = assessed(1);
        failed.recorded(&[(0, Tally::Failed)], &closed(None), 1);
        assert_eq!(failed.state, TaskState::Failed);
        let (mut late, _) = assessed(1);
        late.recorded(&[(0, Tally::value(1.0))], &closed(None), 1);
        late.stop(StopReason::Cancelled, 1).unwrap();
        assert_eq!((late.state, late.searched), (TaskState::Cancelled, None));
        assert_eq!(late.stop_requested, Some(StopReason::Cancelled));
    }

    #[test]
    fn windows_are_handed_out_side_by_side_and_no_unit_reaches_over_two() {
        for (adaptive, parallelism) in [
            (false, None),
            (true, None),
            (true, Some(3)),
            (false, Some(1)),
        ] {
            let plan = Plan {
                adaptive,
                windows: vec![0..30, 30..50, 50..70],
                ..plan(70, parallelism)
            };
            let (mut ledger, effects) = Ledger::submitted(plan, 16);
            let mut open: std::collections::VecDeque<NewUnit> = effects.units.into();
            if adaptive && parallelism.is_none() {
                // Eight of each window, since a window's model knows nothing of the others.
                assert_eq!(
                    ledger.windows.iter().map(|w| w.open).collect::<Vec<_>>(),
                    [8, 8, 8]
                );
            }
            let mut seen = [false; 70];
            while let Some(unit) = open.pop_front() {
                let end = unit.first + unit.count;
                let within = |w: &WindowLedger| w.first <= unit.first && end <= w.end();
                assert!(ledger.windows.iter().any(within), "{unit:?}");
                let trials: Vec<_> = (unit.first..end)
                    .map(|number| {
                        assert!(!std::mem::replace(&mut seen[number as usize], true));
                        // The earlier the window, the better its values: they are not the best.
                        (number, Tally::value(f64::from(number)))
                    })
                    .collect();
                let closed = [Closed {
                    first: unit.first,
                    rest: None,
                }];
                open.extend(ledger.recorded(&trials, &closed, 16).units);
                assert_eq!(ledger.open_units as usize, open.len());
                assert!(parallelism.is_none_or(|most| ledger.open_units <= most));
                for window in &ledger.windows {
                    let most = most_adaptive_units(parallelism, window.ended);
                    assert!(!adaptive || window.open <= most, "{window:?}");
                }
            }
            assert!(seen.iter().all(|seen| *seen));
            assert_eq!(ledger.stop_reason, Some(StopReason::NTrials));
            assert_eq!(ledger.best.unwrap().number, 50);
            assert_eq!(ledger.next_number, 70);
        }
    }

    fn at_client(n_trials: u32, parallelism: Option<u32>) -> Plan {
        Plan {
            by_client: true,
            ..plan(n_trials, parallelism)
        }
    }

    #[test]
    fn a_task_that_clients_run_has_units_of_one_trial_each() {
        for adaptive in [false, true] {
            for parallelism in [None, Some(1), Some(3), Some(200)] {
                let plan = Plan {
                    adaptive,
                    ..at_client(1_000, parallelism)
                };
                let (mut ledger, effects) = Ledger::submitted(plan, 4);
                let mut open: std::collections::VecDeque<NewUnit> = effects.units.into();
                let mut handed = Vec::new();
                let mut most = 0;
                while let Some(unit) = open.pop_front() {
                    most = most.max(ledger.open_units);
                    let allowed = match (adaptive, parallelism) {
                        (true, _) => most_adaptive_units(parallelism, ledger.ended()),
                        (false, parallelism) => parallelism.unwrap_or(*OPEN_UNITS.start()),
                    };
                    assert!(ledger.open_units <= allowed, "{parallelism:?} {adaptive}");
                    assert_eq!((unit.kind, unit.count), (UnitKind::Trials, 1));
                    handed.push(unit.first);
                    let trial = [(unit.first, Tally::value(1.0))];
                    open.extend(ledger.recorded(&trial, &closed(None), 4).units);
                }
                assert!(handed.into_iter().eq(0..1_000), "in order, each once");
                assert_eq!(ledger.stop_reason, Some(StopReason::NTrials));
                let bound = match (adaptive, parallelism) {
                    (_, Some(few @ ..=3)) => few,
                    (true, None) => ADAPTIVE_UNITS,
                    // When 953 have ended, the last 47 are open.
                    (true, Some(_)) => most_unseen(953),
                    (false, parallelism) => parallelism.unwrap_or(*OPEN_UNITS.start()),
                };
                assert_eq!(most, bound, "{parallelism:?} {adaptive}");
            }
        }
    }

    #[test]
    fn a_task_that_clients_run_hands_out_the_gaps_between_copied_trials_one_by_one() {
        let mut derivation = Derivation::begin(at_client(10, Some(2)));
        derivation.copy(&[1, 2, 5, 9].map(|number| (number, Tally::value(1.0))));
        let Derived {
            mut ledger,
            effects,
            ..
        } = derivation.finish(1);
        let mut open: std::collections::VecDeque<NewUnit> = effects.units.into();
        let mut handed = Vec::new();
        while let Some(unit) = open.pop_front() {
            assert_eq!(unit.count, 1);
            handed.push(unit.first);
            let trial = [(unit.first, Tally::value(2.0))];
            open.extend(ledger.recorded(&trial, &closed(None), 1).units);
        }
        assert_eq!(handed, [0, 3, 4, 6, 7, 8]);
        assert_eq!(ledger.state, TaskState::Completed);
    }

    /// The first free number of a task that goes on.
    fn free(ledger: &Ledger, queued: &[Range<u32>], taken: &[u32]) -> Option<u32> {
        let taken = taken.iter().copied().collect();
        ledger.first_free(0, queued, &taken).unwrap()
    }

    #[test]
    fn the_first_free_trial_is_the_lowest_that_nobody_holds_and_that_has_no_parameters() {
        let (ledger, effects) = Ledger::submitted(at_client(10, Some(3)), 4);
        let queued: Vec<_> = effects
            .units
            .iter()
            .map(|u| u.first..u.first + u.count)
            .collect();
        assert_eq!((queued.len(), ledger.next_number), (3, 3));
        assert_eq!(free(&ledger, &queued, &[]), Some(0));
        assert_eq!(free(&ledger, &queued, &[0, 2, 5]), Some(1));
        assert_eq!(free(&ledger, &queued, &[0, 1, 2]), Some(3));
        assert_eq!(free(&ledger, &queued, &[0, 1, 2, 3, 4]), Some(5));
        // Whoever holds the others: they are in no queued unit.
        assert_eq!(free(&ledger, &queued[2..], &[]), Some(2));
        assert_eq!(free(&ledger, &[], &[]), Some(3));
        // Queued units come in any order, and may be rests that are older than others.
        let rests = [7..9, 1..2];
        assert_eq!(free(&ledger, &rests, &[]), Some(1));
        assert_eq!(free(&ledger, &rests, &[1]), Some(3));
        assert_eq!(free(&ledger, &[], &[3, 4, 5, 6, 7, 8]), Some(9));
        assert_eq!(free(&ledger, &[], &[3, 4, 5, 6, 7, 8, 9]), None);
        let every: Vec<u32> = (0..10).collect();
        assert_eq!(free(&ledger, &queued, &every), None);
    }

    #[test]
    fn nothing_is_free_once_all_is_handed_out_and_held() {
        let (ledger, effects) = Ledger::submitted(at_client(3, None), 4);
        assert_eq!((effects.units.len(), ledger.next_number), (3, 3));
        assert_eq!(free(&ledger, &[], &[]), None);
        assert_eq!(free(&ledger, &[2..3, 0..0], &[]), Some(2));
        // A space with fewer points than trials has no trials beyond them.
        let few = Plan {
            planned: 4,
            ..at_client(100, Some(1))
        };
        let (few, _) = Ledger::submitted(few, 4);
        assert_eq!(free(&few, &[], &[1, 2]), Some(3));
        assert_eq!(free(&few, &[], &[1, 2, 3]), None);
    }

    #[test]
    fn a_copied_trial_is_never_free_nor_is_what_lies_beyond_runs_that_were_not_read() {
        let mut derivation = Derivation::begin(at_client(12, Some(1)));
        derivation.copy(&[2, 3, 6, 10, 11].map(|number| (number, Tally::value(1.0))));
        let mut ledger = derivation.finish(1).ledger;
        assert_eq!((ledger.next_number, ledger.copied.ahead.len()), (1, 3));
        let all = |ledger: &Ledger| {
            let mut taken = Vec::new();
            while let Some(number) = free(ledger, &[], &taken) {
                taken.push(number);
            }
            taken
        };
        assert_eq!(all(&ledger), [1, 4, 5, 7, 8, 9]);
        assert_eq!(free(&ledger, std::slice::from_ref(&(0..1)), &[]), Some(0));
        // Where a run begins that was not read, nobody knows.
        ledger.copied.ahead.pop_back();
        assert_eq!(all(&ledger), [1, 4, 5]);
        ledger.copied.ahead.clear();
        assert_eq!(all(&ledger), [0; 0]);
    }

    #[test]
    fn a_task_that_starts_no_trial_any_more_has_none_to_give_and_says_so() {
        let none =
            |ledger: &Ledger| ledger.first_free(0, std::slice::from_ref(&(0..1)), &BTreeSet::new());
        let (mut ledger, _) = Ledger::submitted(at_client(5, Some(1)), 4);
        ledger.claimed();
        assert_eq!(none(&ledger), Ok(Some(0)));
        ledger.pause().unwrap();
        assert_eq!(none(&ledger), Ok(Some(0)), "it will go on");
        let refused = |state| {
            Err(NotAllowed {
                state,
                wanted: "given a trial to run",
            })
        };
        let mut ending = ledger.clone();
        ending.resume(true, 4).unwrap();
        ending.stop(StopReason::Timeout, 0).unwrap();
        assert_eq!(
            ending.state,
            TaskState::Running,
            "a client still holds a trial"
        );
        assert_eq!(none(&ending), refused(TaskState::Running));
        ledger.stop(StopReason::Cancelled, 1).unwrap();
        assert_eq!(none(&ledger), refused(TaskState::Cancelled));
        let (mut searched, _) = assessed(1);
        searched.recorded(&[(0, Tally::value(1.0))], &closed(None), 1);
        assert!(!searched.state.is_terminal());
        assert_eq!(none(&searched), refused(searched.state));
    }

    #[test]
    fn terminal_is_terminal() {
        let (mut ledger, _) = submitted(2, Some(1));
        ledger.stop(StopReason::Cancelled, 1).unwrap();
        assert_eq!(ledger.state, TaskState::Cancelled);
        assert!(ledger.stop(StopReason::Cancelled, 0).is_err());
        assert!(ledger.pause().is_err());
        assert!(ledger.resume(true, 1).is_err());
    }

    fn closed(rest: Option<Rest>) -> [Closed; 1] {
        [Closed { first: 0, rest }]
    }

    #[test]
    fn runs_join_neighbours() {
        assert_eq!(runs([3, 1, 2, 7].into_iter()), vec![(1, 3), (7, 1)]);
    }
}
