//! What a sampler may know of the trials before: the finished ones and those under way.

use std::fmt;
use std::ops::Deref;

use crate::point::Point;

/// How a trial ended, as far as a sampler cares.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialEnd {
    /// It has a value for each objective, in the study's order. Values are **costs**: smaller is
    /// better. The caller negates what it maximizes, once, so that no sampler knows directions.
    Completed(Costs),
    /// It completed, but broke a result constraint or has an undefined metric: ranks last.
    Infeasible {
        /// By how much the result constraints are broken in sum, above 0; infinity where a metric
        /// is undefined ([`Expression::violation`](crate::Expression::violation)). Infeasible
        /// trials are ranked by it, the smallest first, as Optuna ranks them.
        violation: f64,
    },
    /// It was stopped early because it was not promising. What it reported last, if that is known.
    Pruned(Option<LastReport>),
    /// It failed and says nothing about its point.
    Failed,
}

impl TrialEnd {
    /// It completed with these costs.
    ///
    /// ```
    /// use trialmill_search::TrialEnd;
    ///
    /// let TrialEnd::Completed(costs) = TrialEnd::completed(vec![0.5, -7.0]) else { unreachable!() };
    /// assert_eq!(costs[..], [0.5, -7.0]);
    /// ```
    #[must_use]
    pub fn completed(costs: impl Into<Costs>) -> Self {
        Self::Completed(costs.into())
    }
}

/// The last report of a pruned trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastReport {
    /// Its step.
    pub step: u32,
    /// The cost so far, of one objective; not a number where there was none.
    pub cost: f64,
}

/// The costs of a trial: a slice of them. One alone lies where the trial does, so that a long history of one objective is read
/// without a way to each cost.
#[derive(Clone, PartialEq)]
pub struct Costs(Kept);

#[derive(Clone, PartialEq)]
enum Kept {
    One(f64),
    Other(Box<[f64]>),
}

impl Deref for Costs {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        match &self.0 {
            Kept::One(cost) => std::slice::from_ref(cost),
            Kept::Other(costs) => costs,
        }
    }
}

impl From<Vec<f64>> for Costs {
    fn from(costs: Vec<f64>) -> Self {
        Self(match costs[..] {
            [cost] => Kept::One(cost),
            _ => Kept::Other(costs.into()),
        })
    }
}

impl AsRef<[f64]> for Costs {
    fn as_ref(&self) -> &[f64] {
        self
    }
}

impl FromIterator<f64> for Costs {
    fn from_iter<T: IntoIterator<Item = f64>>(costs: T) -> Self {
        Self::from(Vec::from_iter(costs))
    }
}

impl fmt::Debug for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A trial that has ended and is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedTrial {
    /// Its number within the study.
    pub number: u32,
    /// What it evaluated.
    pub point: Point,
    /// How it ended.
    pub end: TrialEnd,
}

/// A trial whose result is not known yet.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningTrial {
    /// Its number within the study.
    pub number: u32,
    /// What it is evaluating.
    pub point: Point,
}

/// The trials shown to a sampler: as many as its
/// [`HistoryNeed`](crate::HistoryNeed) asks for, ordered by number.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// Recorded trials.
    pub finished: &'a [FinishedTrial],
    /// Trials under way anywhere.
    pub running: &'a [RunningTrial],
}

impl History<'_> {
    /// No trial at all: what a history-free sampler is given.
    pub const EMPTY: History<'static> = History {
        finished: &[],
        running: &[],
    };
}
