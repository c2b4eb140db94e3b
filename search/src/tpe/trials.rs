//! Some of the trials of a history.

use crate::history::History;
use crate::point::Point;

/// Some trials of a history in the order of their numbers, each as its place there: of a long history the
/// places of all are a fraction of what the trials take.
#[derive(Debug)]
pub(super) struct Trials<'a> {
    history: History<'a>,
    /// Running trials have the places after the finished ones.
    places: Vec<u32>,
    /// The largest number that was pushed; nothing once one came out of order.
    last: Option<u32>,
}

impl<'a> Trials<'a> {
    /// No trial yet, with room for so many.
    pub(super) fn with_capacity(history: History<'a>, count: usize) -> Self {
        Self {
            history,
            places: Vec::with_capacity(count),
            last: Some(0),
        }
    }

    /// Adds the finished trial at a place, which has this number.
    pub(super) fn push(&mut self, place: u32, number: u32) {
        self.places.push(place);
        self.last = self.last.filter(|last| *last <= number).map(|_| number);
    }

    /// Brings them into the order of their numbers, as they mostly are.
    pub(super) fn sort(&mut self) {
        if self.last.is_none() {
            let history = self.history;
            self.places.sort_by_key(|place| number_at(history, *place));
        }
    }

    /// Takes the trials with these numbers out; these are ascending and all there.
    pub(super) fn take_out(&mut self, numbers: &[u32]) -> Self {
        let (history, places) = (self.history, &mut self.places);
        let at =
            |number: &u32| places.partition_point(|place| number_at(history, *place) < *number);
        let taken: Vec<usize> = numbers.iter().map(at).collect();
        let out = Self {
            history,
            places: taken.iter().map(|at| places[*at]).collect(),
            last: None,
        };
        // What lies between two of them moves up by as many as were taken before it.
        for (before, at) in taken.iter().enumerate() {
            let end = taken.get(before + 1).copied().unwrap_or(places.len());
            places.copy_within(at + 1..end, at - before);
        }
        places.truncate(places.len() - taken.len());
        out
    }

    /// Adds the running trials but for trial `asking`.
    pub(super) fn add_running(&mut self, asking: u32) {
        let history = self.history;
        let after = u32::try_from(history.finished.len()).expect("trials are numbered by u32");
        let running = (after..).zip(history.running);
        let running = running.map(|(place, trial)| (trial.number, place));
        let mut running: Vec<(u32, u32)> =
            running.filter(|(number, _)| *number != asking).collect();
        if running.is_empty() {
            return;
        }
        running.sort_unstable();
        // Few of them are read to find where the others belong.
        let mut all = Vec::with_capacity(self.places.len() + running.len());
        let mut from = 0;
        for (number, place) in running {
            let rest = &self.places[from..];
            let before = rest.partition_point(|place| number_at(history, *place) < number);
            all.extend_from_slice(&rest[..before]);
            all.push(place);
            from += before;
        }
        all.extend_from_slice(&self.places[from..]);
        self.places = all;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The point of the trial with so many before it.
    pub(super) fn point(&self, at: usize) -> &'a Point {
        let place = self.places[at] as usize;
        let finished = self.history.finished;
        match place.checked_sub(finished.len()) {
            None => &finished[place].point,
            Some(running) => &self.history.running[running].point,
        }
    }

    /// Their numbers.
    #[cfg(test)]
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        let places = self.places.iter();
        places.map(|place| number_at(self.history, *place))
    }
}

fn number_at(history: History<'_>, place: u32) -> u32 {
    let place = place as usize;
    match place.checked_sub(history.finished.len()) {
        None => history.finished[place].number,
        Some(running) => history.running[running].number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FinishedTrial, RunningTrial, TrialEnd};

    #[test]
    fn finished_and_running_trials_are_in_the_order_of_their_numbers_however_they_are_listed() {
        let point = || Point::new(Vec::new());
        let finished = [8, 3, 5, 1, 9].map(|number| FinishedTrial {
            number,
            point: point(),
            end: TrialEnd::Failed,
        });
        let running = [7, 2, 11, 4].map(|number| RunningTrial {
            number,
            point: point(),
        });
        let history = History {
            finished: &finished,
            running: &running,
        };
        let mut trials = Trials::with_capacity(history, finished.len());
        for (place, trial) in (0..).zip(&finished) {
            trials.push(place, trial.number);
        }
        trials.sort();
        let numbers = |trials: &Trials<'_>| trials.numbers().collect::<Vec<_>>();
        assert_eq!(numbers(&trials), [1, 3, 5, 8, 9]);
        let taken = trials.take_out(&[1, 8]);
        assert_eq!(
            (numbers(&taken), numbers(&trials)),
            (vec![1, 8], vec![3, 5, 9])
        );
        trials.add_running(11);
        assert_eq!(numbers(&trials), [2, 3, 4, 5, 7, 9]);
        let at = |at: usize| std::ptr::from_ref(trials.point(at));
        assert_eq!(
            (at(0), at(5)),
            (&raw const running[1].point, &raw const finished[4].point)
        );
        // Nobody but who asks is running.
        let alone = History {
            running: &running[..1],
            ..history
        };
        let mut trials = Trials::with_capacity(alone, 0);
        trials.add_running(7);
        assert_eq!(trials.len(), 0);
        trials.add_running(8);
        assert_eq!(numbers(&trials), [7]);
    }
}
