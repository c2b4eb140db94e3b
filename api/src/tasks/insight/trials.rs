//! The ended trials of one search, as far as they are read.

use crate::answer::TrialsRead;
use std::ops::Range;
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::{TaskId, TrialEnd};
use trialmill_store::rows::HistoryRow;
use trialmill_store::{Store, StoreError};

/// A feasible trial with its values.
pub(super) struct Feasible {
    pub(super) number: u32,
    /// Its packed point.
    pub(super) params: Vec<u8>,
    /// Its values as costs, of which less is better.
    pub(super) costs: Vec<f64>,
}

/// Trials of a search, by number.
pub(super) struct Trials {
    pub(super) feasible: Vec<Feasible>,
    read: u32,
    pub(super) complete: bool,
}

impl Trials {
    /// The first `most` ended trials with these numbers.
    pub(super) async fn read(
        store: &dyn Store,
        task: TaskId,
        spec: &TaskSpec,
        numbers: Range<u32>,
        most: u32,
    ) -> Result<Self, StoreError> {
        let mut trials = Self {
            feasible: Vec::new(),
            read: 0,
            complete: false,
        };
        let mut next = numbers.start;
        loop {
            let left = most - trials.read;
            // With none left one more says whether there are more.
            let page = store.outcomes(task, next..numbers.end, left.max(1)).await?;
            let Some(last) = page.last().map(|row| row.number) else {
                trials.complete = true;
                return Ok(trials);
            };
            if left == 0 {
                return Ok(trials);
            }
            next = last + 1;
            trials.read += u32::try_from(page.len()).expect("no more than were asked for");
            let feasible = page.into_iter().filter_map(|row| feasible(spec, row));
            trials.feasible.extend(feasible);
        }
    }

    /// These, all that there are.
    #[cfg(test)]
    pub(super) fn of(feasible: Vec<Feasible>) -> Self {
        Self {
            read: u32::try_from(feasible.len()).expect("a few"),
            feasible,
            complete: true,
        }
    }

    /// How many there were, in an answer.
    pub(super) fn told(&self) -> TrialsRead {
        TrialsRead {
            read: self.read,
            used: u32::try_from(self.feasible.len()).expect("no more than were read"),
            complete: self.complete,
        }
    }
}

fn feasible(spec: &TaskSpec, row: HistoryRow) -> Option<Feasible> {
    let has_values = row.values.len() == spec.objectives.len();
    let counts = row.end == TrialEnd::Completed && !row.infeasible && has_values;
    counts.then(|| Feasible {
        number: row.number,
        costs: spec.costs(&row.values),
        params: row.params,
    })
}
