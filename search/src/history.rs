//! What a sampler may know of the trials before: the finished ones and those under way.

use crate::point::Point;

/// How a trial ended, as far as a sampler cares.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialEnd {
    /// It has a value for each objective, in the study's order. Values are **costs**: smaller is
    /// better. The caller negates what it maximizes, once, so that no sampler knows directions.
    Completed(Vec<f64>),
    /// It completed, but broke a result constraint or has an undefined metric: ranks last.
    Infeasible {
        /// By how much the result constraints are broken in sum, above 0; infinity where a metric
        /// is undefined ([`Expression::violation`](crate::Expression::violation)). Infeasible
        /// trials are ranked by it, the smallest first, as Optuna ranks them.
        violation: f64,
    },
    /// It was stopped early because it was not promising.
    Pruned,
    /// It failed and says nothing about its point.
    Failed,
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
