//! One evaluation of one parameter set, and how it ended.

use crate::state::TrialEnd;
use serde::{Deserialize, Serialize};
use trialmill_search::Point;
use trialmill_search::pruner::Reports;

/// A trial that has ended: what becomes one row, once.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedTrial {
    /// Number below `n_trials`.
    pub number: u32,
    /// The point of the task's space that was evaluated.
    pub point: Point,
    /// How it ended.
    pub outcome: Outcome,
    /// What it reported while it ran: values, not costs. Nothing where it reported nothing.
    pub reports: Option<Reports>,
    /// Time from start to end of the evaluation, in milliseconds.
    pub duration_ms: f64,
    /// The training window it belongs to (walk-forward), from 0.
    pub window: Option<u16>,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It has one value per objective, each finite unless it is infeasible.
    Completed(Evaluation),
    /// A pruner stopped it after some reports.
    Pruned(Evaluation),
    /// It has no value but a reason.
    Failed(Failure),
}

impl Outcome {
    /// The name of the end.
    #[must_use]
    pub fn end(&self) -> TrialEnd {
        match self {
            Self::Completed(_) => TrialEnd::Completed,
            Self::Pruned(_) => TrialEnd::Pruned,
            Self::Failed(_) => TrialEnd::Failed,
        }
    }
}

/// What an objective gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluation {
    /// One value per objective, in the request's order; empty when infeasible for want of a value.
    pub values: Vec<f64>,
    /// Every metric that was computed: its value, or why it has none.
    pub metrics: Vec<(String, Result<f64, String>)>,
    /// Why the trial may not win: a broken result constraint or an undefined metric.
    pub infeasible: Option<String>,
    /// By how much an infeasible trial breaks its result constraints, in sum: above 0 and finite.
    /// Nothing where that is infinite, because a metric is undefined, and for a feasible trial.
    pub violation: Option<f64>,
    /// The statistics for the trust figures, packed; see the store's column `stats`.
    pub stats: Option<Vec<u8>>,
}

impl Evaluation {
    /// The violation as it is recorded: nothing unless the trial is infeasible and its violation
    /// is above 0 and finite. Samplers are told the same before and after a trial is recorded, so
    /// both sides go through here.
    #[must_use]
    pub fn recorded_violation(&self) -> Option<f64> {
        self.infeasible.as_ref()?;
        self.violation.filter(|v| *v > 0.0 && v.is_finite())
    }
}

/// Why a trial failed, in the words of the user's own world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind, for programs and filters.
    pub kind: FailureKind,
    /// What happened, in a sentence.
    pub message: String,
    /// The chain of causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What the user can do about it.
    pub hint: String,
    /// The worker that ran it: host, process and slot.
    pub worker: String,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The code of the objective panicked.
    Panic,
    /// It ran longer than `trial_timeout`.
    TrialTimeout,
    /// It returned NaN or an infinity.
    NonFiniteValue,
    /// Its process died three times (abort, stack overflow, out of memory).
    WorkerCrashed,
    /// The objective refused these parameters.
    InvalidParameters,
    /// The pinned market data could not be read.
    MarketData,
    /// The client that ran it told so.
    ToldByClient,
}

impl FailureKind {
    /// The name used in columns and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::TrialTimeout => "trial_timeout",
            Self::NonFiniteValue => "non_finite_value",
            Self::WorkerCrashed => "worker_crashed",
            Self::InvalidParameters => "invalid_parameters",
            Self::MarketData => "market_data",
            Self::ToldByClient => "told_by_client",
        }
    }
}

/// A slow trial that is announced before it starts, so that it can be seen, counts as pending,
/// and keeps its parameters when it is claimed again.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningTrial {
    /// Number below `n_trials`.
    pub number: u32,
    /// The unit it belongs to.
    pub unit: u32,
    /// Its parameters, kept through crashes.
    pub point: Point,
    /// How often its process died while it ran alone.
    pub crashes: u32,
}

/// A trial whose process died this often fails with [`FailureKind::WorkerCrashed`].
pub const MAX_TRIAL_CRASHES: u32 = 3;
