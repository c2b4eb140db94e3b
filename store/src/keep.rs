//! How long what is kept.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Age after which an idempotency key no longer counts, and is removed.
pub const KEY_AGE: Duration = DAY;
/// Time after which a worker that is gone is removed. Of those that ran the same objectives the one
/// seen last stays: submissions ask whether any worker ever announced an objective.
pub const WORKER_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most rows of one kind that one transaction of [`crate::Store::tidy`] removes: some tens of
/// milliseconds of work.
pub const TIDY_ROWS: u32 = 5_000;
/// Most tasks that one transaction of [`crate::Store::tidy`] looks at.
pub(crate) const TIDY_TASKS: u32 = 100;

/// How long what ended is kept. What is not named here is kept for ever: tasks, trials and results
/// are the user's, and bars may be pinned by any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Events of a task after its end; the last one stays as long as the task. Default 30 days.
    pub events: Duration,
    /// Ended tasks with their trials and results, after their end. Default: for ever.
    pub tasks: Option<Duration>,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            events: DAY * 30,
            tasks: None,
        }
    }
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Events of ended tasks.
    pub events: u64,
    /// Idempotency keys.
    pub keys: u64,
    /// Rows of workers that are gone.
    pub workers: u64,
    /// Tasks.
    pub tasks: u64,
    /// Trials of removed tasks.
    pub trials: u64,
    /// Whether there is more to remove at once.
    pub more: bool,
}

impl Tidied {
    /// Whether nothing was removed.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
