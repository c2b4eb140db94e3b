//! The rules by which a task ends itself: a target that is good enough, and patience that runs out.

use super::{Best, Tally};
use crate::state::{Direction, StopReason};
use serde::{Deserialize, Serialize};
use trialmill_search::pareto::Front;

/// Most trials of a front that patience remembers: what a flush reads and writes stays below 70 kB. A
/// front beyond it forgets whoever comes last, so that trials which are no better may still count as
/// better, and the search goes on longer; it never ends earlier.
pub const MAX_FRONT: usize = 1_000;

/// When a search ends before all of its trials have: `stop` of a request.
///
/// ```
/// use trialmill_common::protocol::{Aim, StopRules};
/// use trialmill_common::state::Direction;
///
/// let one = StopRules { target: Some(2.0), patience: Some(50), aims: Vec::new() };
/// assert!(!one.is_empty());
/// let aim = |direction, target| Aim { direction, target };
/// let several = StopRules {
///     aims: vec![aim(Direction::Maximize, Some(1.5)), aim(Direction::Minimize, None)],
///     ..StopRules::default()
/// };
/// assert!(several.reached(&[1.6, 0.9]) && !several.reached(&[1.4, 0.1]));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StopRules {
    /// The best value is at least this (at most, where smaller is better). Of one objective; those of
    /// several are in [`Self::aims`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// So many trials have ended since the best one, none of them better; at least 1. However they
    /// ended: failed, pruned and infeasible trials count too. Of several objectives: since the last
    /// one that joined the Pareto front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// Several objectives, in order; empty for one, and where there is no rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aims: Vec<Aim>,
}

/// One of several objectives, as the rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Aim {
    /// Which way is better.
    pub direction: Direction,
    /// What its value has to be at least (at most, where smaller is better), together with those of
    /// the others, in one trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
}

impl StopRules {
    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patience.is_none() && !self.has_target()
    }

    /// Whether they ask for the front of several objectives.
    #[must_use]
    pub fn keep_front(&self) -> bool {
        self.patience.is_some() && !self.aims.is_empty()
    }

    fn has_target(&self) -> bool {
        self.target.is_some() || self.aims.iter().any(|aim| aim.target.is_some())
    }

    /// Whether a feasible trial with these values, one per objective, reaches every target of several
    /// objectives. Not without one.
    #[must_use]
    pub fn reached(&self, values: &[f64]) -> bool {
        let reaches = |(aim, value): (&Aim, &f64)| {
            let within = |target| aim.direction.cost(*value) <= aim.direction.cost(target);
            aim.target.is_none_or(within)
        };
        let is_aimed = self.aims.iter().any(|aim| aim.target.is_some());
        let is_whole = self.aims.len() == values.len();
        is_aimed && is_whole && self.aims.iter().zip(values).all(reaches)
    }

    /// The costs of a trial with these values, one per objective.
    pub(super) fn costs(&self, values: &[f64]) -> Vec<f64> {
        let pairs = self.aims.iter().zip(values);
        pairs
            .map(|(aim, value)| aim.direction.cost(*value))
            .collect()
    }
}

/// What rules are about: the best trial, and how many have ended since there was a better one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    pub(super) direction: Direction,
    pub(super) best: Option<Best>,
    pub(super) front: Front,
    pub(super) reached: bool,
    pub(super) since_best: u32,
}

impl Score {
    /// Takes in one ended trial.
    pub(super) fn take(&mut self, rules: &StopRules, number: u32, tally: &Tally) {
        let Tally::Values(values) = tally else {
            self.since_best += u32::from(self.best.is_some());
            return;
        };
        self.reached = self.reached || rules.reached(values);
        let leads = self.lead(number, values.first().copied().unwrap_or(f64::NAN));
        let improves = if rules.keep_front() {
            // One with the costs of a member is no better.
            let costs = rules.costs(values);
            self.front.add_within(MAX_FRONT, number, &costs)
        } else {
            leads
        };
        self.since_best = if improves { 0 } else { self.since_best + 1 };
    }

    /// Whether a trial has a better first value than all before. A tie is no improvement; the lowest
    /// number has it.
    fn lead(&mut self, number: u32, value: f64) -> bool {
        match self.best {
            Some(best) if !self.direction.better(value, best.value) => {
                if value == best.value && number < best.number {
                    self.best = Some(Best { number, value });
                }
                false
            }
            _ => {
                self.best = Some(Best { number, value });
                true
            }
        }
    }

    /// The rule that is met, the target first. Without a best trial none is.
    pub(super) fn met(&self, rules: &StopRules) -> Option<StopReason> {
        let best = self.best?;
        let reached = |target| !self.direction.better(target, best.value);
        if self.reached || rules.target.is_some_and(reached) {
            return Some(StopReason::TargetReached);
        }
        let exhausted = |patience| self.since_best >= patience;
        rules
            .patience
            .is_some_and(exhausted)
            .then_some(StopReason::NoImprovement)
    }
}

/// How many trials of a flush are recorded: all of them, or those up to the one with which the task
/// ends itself. What came after it in the same flush is left out, so that a sequential search
/// records the same trials however its results are gathered into flushes.
#[derive(Debug, Clone)]
pub struct Admission {
    pub(super) rules: StopRules,
    pub(super) score: Score,
    pub(super) met: bool,
}

impl Admission {
    /// How many of these trials are recorded, which follow those that were asked about before.
    pub fn admit(&mut self, trials: impl IntoIterator<Item = (u32, Tally)>) -> usize {
        let mut admitted = 0;
        for (number, tally) in trials {
            if self.met {
                break;
            }
            admitted += 1;
            if !self.rules.is_empty() {
                self.score.take(&self.rules, number, &tally);
                self.met = self.score.met(&self.rules).is_some();
            }
        }
        admitted
    }

    /// Whether a rule was met by one of them.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.met
    }
}
