//! Units that their holders cannot run: given back with a reason, or lost with their worker before a
//! trial of theirs began.
//!
//! Such a unit is tried again, later each time. If nobody can run it, its task cannot go on and
//! fails ([`Ledger::give_up`](super::Ledger::give_up)): without that rule it would be tried for ever.
//! One bad machine must not end a task that the others can run, so the word of one worker alone
//! counts half. A recorded trial of the unit proves that it can be run, and the count starts anew.

use std::time::Duration;

/// After this many failures in a row, by at least two workers, the unit's task fails: with the
/// pauses between them that takes about half a minute, in which a machine that is short of memory
/// for a moment recovers.
pub const MOST_UNABLE: u32 = 5;
/// The same when all of them were of one worker: about five minutes.
pub const MOST_UNABLE_BY_ONE: u32 = 10;
/// How long a unit that wants a worker of another build is left alone: such a worker may come with
/// the next restart of a rolling upgrade, and meanwhile the others do not toss it between them.
pub const OTHER_BUILD_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause before a unit is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often in a row a unit could not be run, and whether by more than one worker. `W` is the
/// identity of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unable<W> {
    /// How often in a row.
    pub times: u32,
    /// The worker that could not run it first; none before that.
    pub by: Option<W>,
    /// Whether another worker could not run it either.
    pub by_others: bool,
}

impl<W> Default for Unable<W> {
    fn default() -> Self {
        Self {
            times: 0,
            by: None,
            by_others: false,
        }
    }
}

impl<W: PartialEq + Copy> Unable<W> {
    /// This worker could not run it (either).
    ///
    /// ```
    /// use trialmill_common::protocol::unable::{MOST_UNABLE, MOST_UNABLE_BY_ONE, Unable};
    ///
    /// let by = |workers: &[u8]| workers.iter().fold(Unable::default(), |u, w| u.again(*w));
    /// assert!(!by(&[1; MOST_UNABLE as usize]).is_too_often());
    /// assert!(by(&[1, 1, 1, 1, 2]).is_too_often());
    /// assert!(by(&[1; MOST_UNABLE_BY_ONE as usize]).is_too_often());
    /// ```
    #[must_use]
    pub fn again(self, worker: W) -> Self {
        Self {
            times: self.times + 1,
            by: self.by.or(Some(worker)),
            by_others: self.by_others || self.by.is_some_and(|first| first != worker),
        }
    }

    /// Whether nobody is to try any more.
    #[must_use]
    pub fn is_too_often(&self) -> bool {
        let most = if self.by_others {
            MOST_UNABLE
        } else {
            MOST_UNABLE_BY_ONE
        };
        self.times >= most
    }

    /// How long the unit is left alone after the last failure: 1, 2, 4 ... 60 seconds.
    #[must_use]
    pub fn pause(&self) -> Duration {
        let doubled = 1_u64 << self.times.saturating_sub(1).min(6);
        Duration::from_secs(doubled).min(LONGEST_PAUSE)
    }
}
