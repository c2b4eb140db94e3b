//! The searches that a task is made of: the windows of a walk-forward.
//!
//! Each window has its own trial numbers, which follow each other without a gap, and its numbers are
//! handed out in order. No unit reaches over two windows. They run side by side: a later one begins
//! as soon as there are units that an earlier one may not have.

use super::{Effects, Ledger, MAX_UNIT_TRIALS, Rest, most_adaptive_units};
use std::ops::Range;

/// One window, as far as the protocol cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLedger {
    /// Its first trial number.
    pub first: u32,
    /// How many trials it has.
    pub count: u32,
    /// The first of its numbers that is in no unit yet.
    pub next: u32,
    /// How many of its trials have ended.
    pub ended: u32,
    /// How many of its units are queued or leased, while the task goes on.
    pub open: u32,
}

impl WindowLedger {
    /// A window of which nothing is handed out.
    #[must_use]
    pub fn new(trials: Range<u32>) -> Self {
        Self {
            first: trials.start,
            count: trials.end - trials.start,
            next: trials.start,
            ended: 0,
            open: 0,
        }
    }

    /// The number after its last.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.first + self.count
    }
}

impl Ledger {
    /// The window of a trial; none for a task that is one search.
    pub(super) fn window_mut(&mut self, number: u32) -> Option<&mut WindowLedger> {
        let index = self
            .windows
            .partition_point(|window| window.end() <= number);
        self.windows.get_mut(index)
    }

    /// The first trial that may be the best of the task: what is found in an earlier window is tested
    /// there, and only the last one says what to deploy.
    #[must_use]
    pub fn best_from(&self) -> u32 {
        self.windows.last().map_or(0, |window| window.first)
    }

    /// Opens units up to `limit`, in the order of the windows. Of an adaptive search no window has
    /// more of them than its own ended trials allow.
    pub(super) fn refill_windows(&mut self, limit: u32, effects: &mut Effects) {
        for index in 0..self.windows.len() {
            while self.open_units < limit {
                let remaining_task = self.planned.saturating_sub(self.next_number);
                let window = &mut self.windows[index];
                let most = if self.adaptive {
                    most_adaptive_units(self.parallelism, window.ended).min(limit)
                } else {
                    limit
                };
                let remaining = window.end() - window.next;
                if remaining == 0 || window.open >= most {
                    break;
                }
                // The last units of an adaptive window end together, and so do those of a task whose
                // windows need not wait for each other.
                let share = if self.adaptive {
                    remaining / (2 * most)
                } else {
                    remaining_task / (2 * limit)
                };
                let count = if limit == 1 {
                    remaining
                } else {
                    share.clamp(1, MAX_UNIT_TRIALS).min(remaining)
                };
                let first = window.next;
                window.next += count;
                self.next_number += count;
                let rest = Rest {
                    first,
                    count,
                    crashes: 0,
                };
                self.open(rest, effects);
            }
        }
    }
}
