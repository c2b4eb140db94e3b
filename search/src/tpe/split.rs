//! Which trials count as good.

use super::several;
use super::trials::Trials;
use crate::history::{History, TrialEnd};
use crate::standing::Standing;

/// The most trials in the good set.
const MOST_GOOD: usize = 25;

/// How many of a hundred finished trials are good.
const GOOD_PERCENT: usize = 15;

/// The trials before, divided into good and bad, each in the order of their numbers.
#[derive(Debug)]
pub(super) struct Split<'a> {
    /// The best 15 % of the finished trials, rounded up, at most 25.
    pub(super) good: Trials<'a>,
    /// How many of the good ones are better than each, which equals share; empty where none is said to be, as on
    /// a front.
    pub(super) ranks: Vec<usize>,
    /// The other finished trials and all that are running: a worker keeps away from where others
    /// are already looking ("constant liar").
    pub(super) bad: Trials<'a>,
    /// How many finished trials say something: all but the failed ones.
    pub(super) informative: usize,
    /// Whether trials have more than one cost.
    pub(super) several: bool,
    /// Of every finished trial, in the order of the history, the hash of its point: for
    /// [`Unseen::first_of`](crate::Unseen::first_of), so that a long history is read once.
    pub(super) hashes: Vec<u64>,
}

impl<'a> Split<'a> {
    /// Divides a history, whatever the order in which it lists the trials. Trial `asking` itself is left
    /// out of the running ones.
    pub(super) fn of(history: &History<'a>, asking: u32) -> Self {
        Self::with(GOOD_PERCENT, history, asking)
    }

    /// The same with so many good ones of a hundred, rounded up: with 10 as Optuna 5.0 does (`_split_trials`).
    ///
    /// A long history is read once: each trial is weighed against the best so far as it comes.
    pub(super) fn with(percent: usize, history: &History<'a>, asking: u32) -> Self {
        let mut bad = Trials::with_capacity(*history, history.finished.len());
        let mut hashes = Vec::with_capacity(history.finished.len());
        let mut best = Best::default();
        let mut objectives = 0;
        for (place, trial) in (0..).zip(history.finished) {
            hashes.push(trial.point.hash());
            let Some(standing) = Standing::of(trial) else {
                continue;
            };
            bad.push(place, trial.number);
            best.offer(standing);
            if let TrialEnd::Completed(costs) = &trial.end {
                objectives = objectives.max(costs.len());
            }
        }
        let informative = bad.len();
        let count = (informative * percent).div_ceil(100).min(MOST_GOOD);
        let several = objectives > 1;
        if several {
            let leading = several::best(history.finished, objectives, count);
            best = Best::default();
            for trial in history.finished {
                if let Some(standing) = Standing::among(trial, Some(&leading)) {
                    best.offer(standing);
                }
            }
        }
        bad.sort();
        let best = best.first(count);
        let numbers = best.numbers();
        let good = bad.take_out(&numbers);
        let ranks = if several {
            Vec::new()
        } else {
            best.ranks(&numbers)
        };
        bad.add_running(asking);
        Self {
            good,
            ranks,
            bad,
            informative,
            several,
            hashes,
        }
    }
}

/// The [`MOST_GOOD`] best of the trials offered.
#[derive(Default)]
struct Best {
    /// These, and others that came after `bar` was set and are better than it.
    kept: Vec<Standing>,
    /// One that has so many better ones already.
    bar: Option<Standing>,
}

impl Best {
    /// So many are kept before it is looked which of them are the best.
    const ROOM: usize = 4 * MOST_GOOD;

    fn offer(&mut self, standing: Standing) {
        if self.bar.is_some_and(|bar| standing.compare(&bar).is_gt()) {
            return;
        }
        self.kept.push(standing);
        if self.kept.len() == Self::ROOM {
            let (_, last, _) = self
                .kept
                .select_nth_unstable_by(MOST_GOOD - 1, Standing::compare);
            self.bar = Some(*last);
            self.kept.truncate(MOST_GOOD);
        }
    }

    /// The first `count` of them, the best first.
    fn first(mut self, count: usize) -> First {
        self.kept.sort_unstable_by(Standing::compare);
        self.kept.truncate(count);
        First(self.kept)
    }
}

/// Some trials, the best first.
struct First(Vec<Standing>);

impl First {
    /// How many are better than each of these numbers, which are all of them in ascending order.
    fn ranks(&self, numbers: &[u32]) -> Vec<usize> {
        let mut ranks = vec![0; numbers.len()];
        let mut first_equal = 0;
        for (place, standing) in self.0.iter().enumerate() {
            if standing.compare_outcome(&self.0[first_equal]).is_ne() {
                first_equal = place;
            }
            ranks[numbers.partition_point(|number| *number < standing.number)] = first_equal;
        }
        ranks
    }

    /// Their numbers in ascending order.
    fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.0.iter().map(|standing| standing.number).collect();
        numbers.sort_unstable();
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FinishedTrial, Point, Stream};

    type Found = (Vec<u32>, Vec<u32>, Vec<usize>, bool);

    fn finished(ends: Vec<TrialEnd>) -> Vec<FinishedTrial> {
        let trial = |(number, end)| FinishedTrial {
            number,
            point: Point::new(Vec::new()),
            end,
        };
        (0..).zip(ends).map(trial).collect()
    }

    fn split(ends: Vec<TrialEnd>) -> Found {
        split_of(&finished(ends))
    }

    fn split_of(finished: &[FinishedTrial]) -> Found {
        let history = History {
            finished,
            running: &[],
        };
        let split = Split::of(&history, u32::MAX);
        let numbers = |set: &Trials<'_>| set.numbers().collect();
        let (good, bad) = (numbers(&split.good), numbers(&split.bad));
        (good, bad, split.ranks, split.several)
    }

    #[test]
    fn the_good_ones_are_those_that_sorting_gives() {
        let mut stream = Stream::for_study(3, "split");
        for count in [0, 1, 9, 10, 11, 240, 250, 251, 2_000] {
            // Few values, so that many are equal.
            let mut draw = || (stream.unit_f64() * 40.0).floor();
            let costs: Vec<f64> = (0..count).map(|_| draw()).collect();
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by(|a, b| costs[*a].total_cmp(&costs[*b]).then(a.cmp(b)));
            let best = &order[..(3 * count).div_ceil(20).min(MOST_GOOD)];
            let mut good = best.to_vec();
            good.sort_unstable();
            let ends: Vec<TrialEnd> = costs
                .iter()
                .map(|cost| TrialEnd::completed(vec![*cost]))
                .collect();
            let (found, bad, ranks, several) = split(ends.clone());
            // However they are listed.
            let mut listed = finished(ends);
            listed.sort_by_key(|trial| trial.number.wrapping_mul(0x9e37_79b9));
            assert_eq!(
                split_of(&listed),
                (found.clone(), bad.clone(), ranks.clone(), several)
            );
            assert!(!several);
            let better =
                |number: &usize| best.iter().filter(|b| costs[**b] < costs[*number]).count();
            let expected: Vec<usize> = good.iter().map(better).collect();
            assert_eq!(ranks, expected, "{count}");
            assert!(
                found.iter().map(|n| *n as usize).eq(good.iter().copied()),
                "{count}"
            );
            assert_eq!(found.len() + bad.len(), count);
            assert!(bad.is_sorted() && bad.iter().all(|number| !found.contains(number)));
        }
    }

    #[test]
    fn trials_that_are_no_better_than_others_share_their_rank() {
        let undefined = || TrialEnd::Infeasible {
            violation: f64::INFINITY,
        };
        let (good, _, ranks, _) = split((0..40).map(|_| undefined()).collect());
        assert_eq!((good, ranks), ((0..6).collect(), vec![0; 6]));
        let (_, _, ranks, _) = split((0..40).map(|_| TrialEnd::Pruned(None)).collect());
        assert_eq!(ranks, [0; 6]);
        let mut ends: Vec<TrialEnd> = (0..40).map(|_| undefined()).collect();
        ends[30] = TrialEnd::Infeasible { violation: 2.0 };
        ends[31] = TrialEnd::completed(vec![5.0]);
        let (good, _, ranks, _) = split(ends);
        assert_eq!(good, [0, 1, 2, 3, 30, 31]);
        assert_eq!(ranks, [2, 2, 2, 2, 1, 0]);
    }

    #[test]
    fn one_objective_is_not_several() {
        let of = |costs: &[&[f64]]| {
            let ends = costs
                .iter()
                .map(|costs| TrialEnd::completed(costs.to_vec()));
            split(ends.collect()).3
        };
        assert!(!of(&[&[1.0], &[]]));
        assert!(of(&[&[1.0, 2.0], &[]]));
        assert!(!of(&[]));
    }
}
