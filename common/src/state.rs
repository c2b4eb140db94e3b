//! The names of things that have a life: kinds, states and reasons, as they are written in
//! columns, JSON and logs.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Identity of a task: a UUIDv7, so that ids sort by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub Uuid);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of a worker process: drawn anew at each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub Uuid);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name that is in none of the states or kinds this build knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} '{name}' is not known to this build; it knows {known}")]
pub struct UnknownName {
    /// What was being read, such as "task state".
    pub what: &'static str,
    /// The name that was found.
    pub name: String,
    /// The names that are known, comma separated.
    pub known: String,
}

macro_rules! named {
    ($(#[$doc:meta])* $what:literal $type:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $type { $($(#[$vdoc])* #[serde(rename = $name)] $variant),+ }

        impl $type {
            /// Every variant, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in columns, JSON and logs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;
            fn from_str(name: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|v| v.name() == name).ok_or_else(|| UnknownName {
                    what: $what,
                    name: name.to_owned(),
                    known: Self::ALL.iter().map(|v| v.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

named! {
    /// What kind of work a task is. Each has its executor, found by an exhaustive match: a kind
    /// without one does not compile.
    "task kind" TaskKind {
        /// A search over a parameter space.
        HyperparameterOptimization = "hyperparameter_optimization",
        /// One backtest of given parameters.
        Backtest = "backtest",
        /// Training of a model.
        Training = "training",
        /// Prediction by a trained model.
        Prediction = "prediction",
    }
}

named! {
    /// The state of a task. Terminal is terminal.
    "task state" TaskState {
        /// Accepted; no unit of it has been claimed yet.
        Queued = "queued",
        /// Some unit was claimed.
        Running = "running",
        /// Starts no new trial until it is resumed.
        Paused = "paused",
        /// Ended with a [`StopReason`].
        Completed = "completed",
        /// It could not go on, or every trial failed.
        Failed = "failed",
        /// Ended at the user's wish.
        Cancelled = "cancelled",
    }
}

impl TaskState {
    /// Whether the task has ended for good.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

named! {
    /// Why a task ended, or why it was asked to end early.
    "stop reason" StopReason {
        /// All trials ended.
        NTrials = "n_trials",
        /// The time for the trials of the task ran out.
        Timeout = "timeout",
        /// The best value reached the target.
        TargetReached = "target_reached",
        /// No improvement for the given number of trials.
        NoImprovement = "no_improvement",
        /// The space has fewer points than trials were asked for.
        SpaceExhausted = "space_exhausted",
        /// The user cancelled.
        Cancelled = "cancelled",
    }
}

named! {
    /// How a task was made from another one.
    "origin" OriginHow {
        /// The ended trials that did not fail were copied; the others run again.
        Retry = "retry",
        /// The same request again, from its first trial.
        Clone = "clone",
        /// Every ended trial was copied; more are added.
        Extend = "extend",
    }
}

impl OriginHow {
    /// Whether trials of the origin are copied.
    #[must_use]
    pub fn copies(self) -> bool {
        matches!(self, Self::Retry | Self::Extend)
    }

    /// Whether a trial that ended so is copied.
    #[must_use]
    pub fn copies_end(self, end: TrialEnd) -> bool {
        match self {
            Self::Retry => end != TrialEnd::Failed,
            Self::Clone => false,
            Self::Extend => true,
        }
    }
}

named! {
    /// What a unit is for.
    "unit kind" UnitKind {
        /// A run of trials of an optimization.
        Trials = "trials",
        /// The trust figures after the last trial.
        Assess = "assess",
        /// The whole of a backtest, training or prediction task.
        Run = "run",
    }
}

named! {
    /// The state of a unit. Open is queued or leased.
    "unit state" UnitState {
        /// Waits for a worker.
        Queued = "queued",
        /// A worker holds its lease.
        Leased = "leased",
        /// Done; every recorded trial of it is in the table of trials.
        Closed = "closed",
        /// Withdrawn before it ran, because its task was stopped.
        Void = "void",
    }
}

named! {
    /// How a trial ended. Interrupted is not an end: such a trial runs again.
    "trial end" TrialEnd {
        /// It has values (and may be infeasible).
        Completed = "completed",
        /// A pruner stopped it.
        Pruned = "pruned",
        /// It has a reason instead of values.
        Failed = "failed",
    }
}

named! {
    /// Which way is better.
    "direction" Direction {
        /// Larger is better.
        Maximize = "maximize",
        /// Smaller is better.
        Minimize = "minimize",
    }
}

named! {
    /// Order between tasks.
    "priority" Priority {
        /// Before the others.
        High = "high",
        /// The default.
        Normal = "normal",
        /// When nothing else is due.
        Low = "low",
    }
}

named! {
    /// What a key of the API may do; each includes what stands before it.
    "scope" KeyScope {
        /// Look at everything.
        Read = "read",
        /// Submit tasks, and pause, resume and cancel them.
        Submit = "submit",
        /// Delete, and manage keys.
        Admin = "admin",
    }
}

impl Priority {
    /// The value of the column: 0 is first.
    #[must_use]
    pub fn rank(self) -> i16 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }

    /// Reads the column; anything unknown is normal.
    #[must_use]
    pub fn from_rank(rank: i16) -> Self {
        match rank {
            0 => Self::High,
            2 => Self::Low,
            _ => Self::Normal,
        }
    }
}

impl Direction {
    /// Whether `a` is strictly better than `b`.
    #[must_use]
    pub fn better(self, a: f64, b: f64) -> bool {
        match self {
            Self::Maximize => a > b,
            Self::Minimize => a < b,
        }
    }

    /// A value as a cost, of which less is better.
    ///
    /// ```
    /// use trialmill_common::state::Direction;
    ///
    /// assert_eq!(Direction::Maximize.cost(1.5), -1.5);
    /// assert!(Direction::Maximize.cost(0.0).is_sign_positive());
    /// ```
    #[must_use]
    pub fn cost(self, value: f64) -> f64 {
        match self {
            Self::Minimize => value,
            // Not the negation: of a zero that would be a negative zero.
            Self::Maximize => 0.0 - value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_its_variant() {
        for state in TaskState::ALL {
            assert_eq!(state.name().parse::<TaskState>().as_ref(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        let unknown = "exploded".parse::<TaskState>().unwrap_err();
        assert!(unknown.to_string().contains("queued, running, paused"));
    }
}
