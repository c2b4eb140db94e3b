//! The rules by which a task ends itself: a target that is good enough, and patience that runs out.

use super::{Best, Tally};
use crate::state::{Direction, StopReason};
use serde::{Deserialize, Serialize};

/// When a search ends before all of its trials have: `stop` of a request.
///
/// ```
/// use trialmill_common::protocol::{Best, StopRules};
/// use trialmill_common::state::{Direction, StopReason};
///
/// let rules = StopRules { target: Some(2.0), patience: Some(50) };
/// let best = |value| Some(Best { number: 7, value });
/// let met = |best, since_best| rules.met(Direction::Maximize, best, since_best);
/// assert_eq!(met(best(1.9), 49), None);
/// assert_eq!(met(best(2.0), 0), Some(StopReason::TargetReached));
/// assert_eq!(met(best(1.9), 50), Some(StopReason::NoImprovement));
/// assert_eq!(met(None, 0), None, "patience begins with the first best trial");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct StopRules {
    /// The best value is at least this (at most, where smaller is better).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// So many trials have ended since the best one, none of them better; at least 1. However they
    /// ended: failed, pruned and infeasible trials count too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
}

impl StopRules {
    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.target.is_none() && self.patience.is_none()
    }

    /// The rule that is met, the target first. Without a best trial none is.
    #[must_use]
    pub fn met(
        &self,
        direction: Direction,
        best: Option<Best>,
        since_best: u32,
    ) -> Option<StopReason> {
        let best = best?;
        let reached = |target| !direction.better(target, best.value);
        if self.target.is_some_and(reached) {
            return Some(StopReason::TargetReached);
        }
        let exhausted = |patience| since_best >= patience;
        self.patience
            .is_some_and(exhausted)
            .then_some(StopReason::NoImprovement)
    }
}

/// The best trial and how many have ended since: what rules are about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    pub(super) direction: Direction,
    pub(super) best: Option<Best>,
    pub(super) since_best: u32,
}

impl Score {
    /// Takes in one ended trial. A tie is no improvement; the lowest number has it.
    pub(super) fn take(&mut self, number: u32, tally: Tally) {
        let Tally::Value(value) = tally else {
            self.since_best += u32::from(self.best.is_some());
            return;
        };
        match self.best {
            Some(best) if !self.direction.better(value, best.value) => {
                self.since_best += 1;
                if value == best.value && number < best.number {
                    self.best = Some(Best { number, value });
                }
            }
            _ => {
                self.best = Some(Best { number, value });
                self.since_best = 0;
            }
        }
    }
}

/// How many trials of a flush are recorded: all of them, or those up to the one with which the task
/// ends itself. What came after it in the same flush is left out, so that a sequential search
/// records the same trials however its results are gathered into flushes.
#[derive(Debug, Clone, Copy)]
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
                self.score.take(number, tally);
                let Score {
                    direction,
                    best,
                    since_best,
                } = self.score;
                self.met = self.rules.met(direction, best, since_best).is_some();
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
