//! How long what is kept.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Age after which an idempotency key no longer counts, and is removed.
pub const KEY_AGE: Duration = DAY;
/// Time after which a worker that is gone is removed. Of those that ran the same objectives the one
/// seen last stays: submissions ask whether any worker ever announced an objective.
pub const WORKER_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Age after which an event of the audit is removed: what happened within a year can be looked up
/// at its end.
pub const AUDIT_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);
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

/// The longest time that can be asked for: a hundred years.
const MOST_DAYS: u64 = 36_500;

impl Keep {
    /// What `TRIALMILL_KEEP_EVENTS_DAYS` and `TRIALMILL_KEEP_TASKS_DAYS` ask for.
    ///
    /// ```
    /// use trialmill_store::Keep;
    ///
    /// assert_eq!(Keep::of_days(None, None), Ok(Keep::default()));
    /// let year = Keep::of_days(Some("7"), Some("365")).unwrap();
    /// assert_eq!(year.tasks.unwrap() / 365, year.events / 7);
    /// assert_eq!(Keep::of_days(Some("-1"), Some("0")).unwrap_err().len(), 2);
    /// ```
    ///
    /// # Errors
    /// Every mistake, one sentence each.
    pub fn of_days(events: Option<&str>, tasks: Option<&str>) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut days = |name: &str, text: Option<&str>, least: u64| {
            let text = text?;
            let number = text.trim().parse().ok();
            let number = number.filter(|days| (least..=MOST_DAYS).contains(days));
            if number.is_none() {
                faults.push(format!(
                    "{name} is '{text}'; it must be a whole number from {least} to {MOST_DAYS}"
                ));
            }
            number.map(|days| DAY * u32::try_from(days).expect("bounded above"))
        };
        let events = days("TRIALMILL_KEEP_EVENTS_DAYS", events, 0);
        // Not 0: results would be gone before anybody has seen them.
        let tasks = days("TRIALMILL_KEEP_TASKS_DAYS", tasks, 1);
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            events: events.unwrap_or(Self::default().events),
            tasks,
        })
    }
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
    /// Events of the audit.
    pub audit: u64,
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
