//! Which trials the model reads, and their values in a form it can fit.

use crate::history::{History, TrialEnd};
use crate::point::Point;

/// How far a value may lie above the best, in units of how far the middle one does: what is worse
/// is merely bad, and how bad it is must not hide the differences among the good.
const FARTHEST: f64 = 5.0;

/// The largest violation in units of the middle one; larger ones count as this.
const FARTHEST_VIOLATION: f64 = 3.0;

/// Between what a feasible trial counts as and the least that an infeasible one does, in the same unit.
const GAP: f64 = 0.125;

/// Where the edge of what is feasible lies between both: nearer to the feasible ones, for the best place often lies on it
/// and a trial beyond it is lost.
const EDGE: f64 = GAP / 4.0;

/// A deviation, as a part of the largest value, that is of rounding alone.
const ROUNDING: f64 = 1e-13;

/// Trials as the model reads them, those that matter most first.
#[derive(Debug)]
pub(super) struct Observations<'a> {
    pub(super) points: Vec<&'a Point>,
    pub(super) numbers: Vec<u32>,
    pub(super) values: Vec<f64>,
    /// How many of the values are known, and not put in place of one that is not.
    pub(super) known: usize,
}

/// How many finished trials say something: all but the failed ones.
pub(crate) fn informative(history: &History<'_>) -> usize {
    let trials = history.finished.iter();
    trials.filter(|trial| trial.end != TrialEnd::Failed).count()
}

/// The positions of at most `most` of `numbers`, which are those of trials that come the best
/// first: the first half of them, then the latest of the others. In their order.
pub(super) fn thinned(numbers: &[u32], most: usize) -> Vec<usize> {
    if numbers.len() <= most {
        return (0..numbers.len()).collect();
    }
    let best = most / 2;
    let mut others: Vec<usize> = (best..numbers.len()).collect();
    others.sort_by_key(|at| std::cmp::Reverse(numbers[*at]));
    others.truncate(most - best);
    others.sort_unstable();
    (0..best).chain(others).collect()
}

impl<'a> Observations<'a> {
    /// The costs of at most `most` of the finished trials; empty where none has one. Pruned trials, and those whose cost is no
    /// finite number, come last and are as bad as the worst cost. Infeasible ones are left out.
    pub(super) fn of_costs(history: &History<'a>, most: usize) -> Self {
        // The best first: those with a cost, then the others.
        let mut ranked: Vec<(Option<f64>, u32, &Point)> = history
            .finished
            .iter()
            .filter_map(|trial| {
                let cost = match &trial.end {
                    TrialEnd::Completed(costs) => costs.first().copied().filter(|c| c.is_finite()),
                    TrialEnd::Pruned(_) => None,
                    TrialEnd::Infeasible { .. } | TrialEnd::Failed => return None,
                };
                Some((cost, trial.number, &trial.point))
            })
            .collect();
        let cost = |of: Option<f64>| of.map_or(f64::INFINITY, |cost| cost + 0.0);
        ranked.sort_by(|a, b| cost(a.0).total_cmp(&cost(b.0)).then(a.1.cmp(&b.1)));
        let numbers: Vec<u32> = ranked.iter().map(|(_, number, _)| *number).collect();
        let kept: Vec<_> = thinned(&numbers, most)
            .into_iter()
            .map(|at| ranked[at])
            .collect();
        let costs: Vec<f64> = kept.iter().map_while(|(cost, ..)| *cost).collect();
        if costs.is_empty() {
            return Self::NONE;
        }
        let mut values = above_best(&costs);
        let worst = values.last().copied().unwrap_or(0.0);
        values.resize(kept.len(), worst);
        Self {
            points: kept.iter().map(|(_, _, point)| *point).collect(),
            numbers: kept.iter().map(|(_, number, _)| *number).collect(),
            values: standardized(&values),
            known: costs.len(),
        }
    }

    const NONE: Self = Self {
        points: Vec::new(),
        numbers: Vec::new(),
        values: Vec::new(),
        known: 0,
    };

    /// By how much at most `most` of the finished trials are infeasible, and the level below which a trial is
    /// feasible; nothing where no trial is infeasible, or all are by as much. The best feasible and the least infeasible ones come
    /// first, in turns.
    ///
    /// Of a feasible trial nobody knows how far from infeasible it is: it counts as 0. An infeasible one counts as [`GAP`] and
    /// its violation, in units of the middle one of those that are finite.
    pub(super) fn of_violations(history: &History<'a>, most: usize) -> Option<(Self, f64)> {
        // What is no number ranks last on all machines: its sign is not the same on all.
        let finite_or = |value: f64| {
            if value.is_finite() {
                value + 0.0
            } else {
                f64::INFINITY
            }
        };
        let (mut feasible, mut infeasible) = (Vec::new(), Vec::new());
        for trial in history.finished {
            let (list, rank) = match &trial.end {
                TrialEnd::Completed(costs) => (
                    &mut feasible,
                    costs.first().map_or(f64::INFINITY, |cost| finite_or(*cost)),
                ),
                TrialEnd::Infeasible { violation } => (&mut infeasible, finite_or(*violation)),
                TrialEnd::Pruned(_) | TrialEnd::Failed => continue,
            };
            list.push((rank, trial.number, &trial.point));
        }
        for list in [&mut feasible, &mut infeasible] {
            list.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        }
        let finite = infeasible.partition_point(|(violation, ..)| violation.is_finite());
        let middle = infeasible.get(finite / 2)?.0;
        let feasible = feasible
            .iter()
            .map(|&(_, number, point)| (0.0, number, point));
        let infeasible = infeasible
            .iter()
            .map(|&(violation, number, point)| (GAP + relative(violation, middle), number, point));
        let ranked = in_turns(feasible.collect(), infeasible.collect());
        let numbers: Vec<u32> = ranked.iter().map(|(_, number, _)| *number).collect();
        let kept = thinned(&numbers, most);
        let values: Vec<f64> = kept.iter().map(|at| ranked[*at].0).collect();
        if values.iter().all(|value| *value == values[0]) {
            return None;
        }
        let scale = Scale::of(&values);
        let observations = Self {
            points: kept.iter().map(|at| ranked[*at].2).collect(),
            numbers: kept.iter().map(|at| numbers[*at]).collect(),
            known: values.len(),
            values: values.iter().map(|value| scale.at(*value)).collect(),
        };
        Some((observations, scale.at(EDGE)))
    }
}

/// The first of each, then the second of each, and so on; what is left of the longer one at the end.
fn in_turns<T>(a: Vec<T>, b: Vec<T>) -> Vec<T> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    loop {
        let pair = [a.next(), b.next()];
        if pair.iter().all(Option::is_none) {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

/// A violation in units of the `middle` one, at most [`FARTHEST_VIOLATION`], which infinite ones are; also where the middle one is 0.
fn relative(violation: f64, middle: f64) -> f64 {
    if violation < FARTHEST_VIOLATION * middle && middle.is_finite() {
        violation.max(0.0) / middle
    } else {
        FARTHEST_VIOLATION
    }
}

/// Costs in ascending order as multiples of how far the middle one lies above the best, at most
/// [`FARTHEST`]. The best is 0. Where the middle one is the best, the unit is another, and nothing
/// is cut off.
fn above_best(costs: &[f64]) -> Vec<f64> {
    let largest = largest(costs);
    if largest == 0.0 {
        return vec![0.0; costs.len()];
    }
    // Parts of the largest cost: differences of 1e308 and -1e308 are no numbers.
    let best = costs[0] / largest;
    let middle = costs[costs.len() / 2] / largest - best;
    let above = costs.iter().map(|cost| {
        let above = cost / largest - best;
        if middle > 0.0 {
            (above / middle).min(FARTHEST)
        } else {
            above
        }
    });
    above.collect()
}

/// With mean 0 and variance 1; all 0 where all are one.
fn standardized(values: &[f64]) -> Vec<f64> {
    let scale = Scale::of(values);
    values.iter().map(|value| scale.at(*value)).collect()
}

/// What some values become with mean 0 and variance 1.
struct Scale {
    largest: f64,
    mean: f64,
    deviation: f64,
}

impl Scale {
    fn of(values: &[f64]) -> Self {
        let largest = largest(values);
        let count = values.len() as f64;
        let mean = values.iter().map(|value| value / largest).sum::<f64>() / count;
        let off = values.iter().map(|value| value / largest - mean);
        let deviation = (off.map(|off| off * off).sum::<f64>() / count).sqrt();
        Self {
            largest,
            mean,
            deviation,
        }
    }

    /// A value on this scale; 0 where all were one.
    fn at(&self, value: f64) -> f64 {
        if self.largest == 0.0 || self.deviation < ROUNDING {
            return 0.0;
        }
        (value / self.largest - self.mean) / self.deviation
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::FinishedTrial;

    fn finished(ends: &[TrialEnd]) -> Vec<FinishedTrial> {
        let trials = ends.iter().zip(0..).map(|(end, number)| FinishedTrial {
            number,
            point: Point::new(Vec::new()),
            end: end.clone(),
        });
        trials.collect()
    }

    fn observed(ends: &[TrialEnd], most: usize) -> (Vec<u32>, Vec<f64>) {
        let finished = finished(ends);
        let history = History {
            finished: &finished,
            running: &[],
        };
        let of = Observations::of_costs(&history, most);
        assert_eq!(of.points.len(), of.values.len());
        (of.numbers, of.values)
    }

    fn cost(cost: f64) -> TrialEnd {
        TrialEnd::completed(vec![cost])
    }

    #[test]
    fn values_are_standardized_and_those_without_a_cost_are_as_bad_as_the_worst() {
        let ends = [
            cost(3.0),
            TrialEnd::Pruned(None),
            cost(1.0),
            TrialEnd::Failed,
            TrialEnd::Infeasible { violation: 1.0 },
            cost(f64::NAN),
            cost(2.0),
        ];
        let (numbers, values) = observed(&ends, 100);
        assert_eq!(
            numbers,
            [2, 6, 0, 1, 5],
            "the infeasible one is not among them"
        );
        assert!(values[0] < values[1] && values[1] < values[2]);
        assert!(values[2..].iter().all(|value| *value == values[2]));
        assert!(values.iter().sum::<f64>().abs() < 1e-12);
        assert!((values.iter().map(|v| v * v).sum::<f64>() - 5.0).abs() < 1e-12);
    }

    fn violations(ends: &[TrialEnd], most: usize) -> Option<(Vec<u32>, Vec<f64>, f64)> {
        let finished = finished(ends);
        let history = History {
            finished: &finished,
            running: &[],
        };
        let (of, edge) = Observations::of_violations(&history, most)?;
        assert_eq!(of.points.len(), of.values.len());
        assert!(of.values.iter().all(|value| value.is_finite()) && edge.is_finite());
        Some((of.numbers, of.values, edge))
    }

    fn infeasible(violation: f64) -> TrialEnd {
        TrialEnd::Infeasible { violation }
    }

    #[test]
    fn feasible_trials_lie_on_one_side_of_the_edge_and_infeasible_ones_on_the_other_by_how_much() {
        let ends = [
            cost(3.0),
            infeasible(2.0),
            infeasible(f64::INFINITY),
            TrialEnd::Pruned(None),
            cost(1.0),
            infeasible(1e-9),
            TrialEnd::Failed,
            infeasible(4.0),
            infeasible(1e300),
        ];
        let (numbers, values, edge) = violations(&ends, 100).unwrap();
        // The best feasible one, the least infeasible one, and so on.
        assert_eq!(numbers, [4, 5, 0, 1, 7, 8, 2]);
        // The middle violation is 4: in its units 0, and 1/8 and a little, 1/2, 1, 3 and 3 more.
        let raw = [0.0, GAP, 0.0, GAP + 0.5, GAP + 1.0, GAP + 3.0, GAP + 3.0];
        let unit = (values[3] - values[0]) / (raw[3] - raw[0]);
        for (value, raw) in values.iter().zip(raw) {
            assert!(
                ((value - values[0]) / unit - raw).abs() < 1e-8,
                "{value} {raw}"
            );
        }
        assert!(((edge - values[0]) / unit - GAP / 4.0).abs() < 1e-8);
        assert!(values.iter().sum::<f64>().abs() < 1e-12);
    }

    #[test]
    fn where_nothing_is_infeasible_nothing_is_said_of_it() {
        assert_eq!(violations(&[], 100), None);
        let others = [cost(1.0), TrialEnd::Pruned(None), TrialEnd::Failed];
        assert_eq!(violations(&others, 100), None);
    }

    #[test]
    fn any_violations_become_finite_numbers() {
        for (all, alike) in [
            (vec![f64::INFINITY; 3], true),
            (vec![f64::INFINITY, 1.0, f64::INFINITY], false),
            (vec![0.0; 3], true),
            (vec![0.0, 0.0, 1.0], true),
            (vec![5e-324, 5e-324, f64::MAX], false),
            (vec![f64::MAX; 3], true),
            (vec![f64::NAN, 1.0, -f64::NAN], false),
        ] {
            let ends: Vec<TrialEnd> = all.iter().map(|v| infeasible(*v)).collect();
            assert_eq!(violations(&ends, 100).is_none(), alike, "{all:?}");
            let with_one = [&ends[..], &[cost(1.0)]].concat();
            let (numbers, values, edge) = violations(&with_one, 100).unwrap();
            assert_eq!(numbers[0], 3);
            assert!(
                values[0] < edge && values[1..].iter().all(|value| edge < *value),
                "{all:?}"
            );
        }
    }

    #[test]
    fn among_many_infinite_violations_finite_ones_keep_their_order() {
        let mut ends = vec![infeasible(f64::INFINITY); 20];
        ends.extend([4.0, 1.0, 2.0].map(infeasible));
        let (numbers, values, _) = violations(&ends, 100).unwrap();
        assert_eq!(numbers[..4], [21, 22, 20, 0]);
        assert!(values[..4].is_sorted_by(|a, b| a < b), "{values:?}");
        assert!(values[3..].iter().all(|value| *value == values[3]));
    }

    #[test]
    fn the_sign_of_what_is_no_number_ranks_nothing() {
        for sign in [1.0, -1.0] {
            let ends = [
                cost(sign * f64::NAN),
                cost(2.0),
                infeasible(sign * f64::NAN),
                infeasible(1.0),
            ];
            assert_eq!(violations(&ends, 100).unwrap().0, [1, 3, 0, 2]);
        }
    }

    #[test]
    fn of_many_the_best_of_both_sides_and_the_latest_are_kept() {
        let ends = (0..20).map(|k| match k % 2 {
            0 => cost(f64::from(k)),
            _ => infeasible(f64::from(k)),
        });
        let (numbers, ..) = violations(&ends.collect::<Vec<_>>(), 8).unwrap();
        assert_eq!(numbers, [0, 1, 2, 3, 16, 17, 18, 19]);
    }

    #[test]
    fn an_outlier_does_not_flatten_the_others() {
        let ordinary: Vec<TrialEnd> = (0..20).map(|k| cost(f64::from(k))).collect();
        let wild = [&ordinary[..], &[cost(1e300)]].concat();
        let (_, values) = observed(&wild, 100);
        // The middle of 21 is 10: the outlier counts as 50, and 0 to 19 stay apart.
        assert!(values[19] - values[0] > 0.37 * (values[20] - values[0]));
    }

    #[test]
    fn any_costs_become_finite_numbers() {
        for costs in [
            vec![1e308, -1e308, 1e308],
            vec![f64::MAX; 4],
            vec![f64::MIN_POSITIVE, 5e-324, 0.0],
            vec![0.0, -0.0],
            vec![1e308, 1.0, 2.0, 3.0],
            vec![5e-324, 1e308],
            vec![f64::INFINITY, 1.0, f64::NEG_INFINITY],
        ] {
            let ends: Vec<TrialEnd> = costs.iter().map(|c| cost(*c)).collect();
            let (_, values) = observed(&ends, 100);
            assert!(
                values.iter().all(|value| value.is_finite()),
                "{costs:?}: {values:?}"
            );
            assert_eq!(values.len(), costs.len());
        }
        assert_eq!(observed(&vec![cost(f64::MAX); 3], 100).1, [0.0; 3]);
    }

    #[test]
    fn without_a_cost_there_is_nothing_to_learn() {
        assert_eq!(observed(&[], 100).0, [0; 0]);
        assert_eq!(
            observed(&[TrialEnd::Pruned(None), TrialEnd::Failed], 100).0,
            [0; 0]
        );
        assert_eq!(observed(&[TrialEnd::completed(Vec::new())], 100).0, [0; 0]);
    }

    #[test]
    fn of_many_trials_the_best_and_the_latest_are_kept() {
        // The best come first: costs fall with the number until 5 and rise from there.
        let ends: Vec<TrialEnd> = (0..20).map(|k| cost((f64::from(k) - 5.2).abs())).collect();
        let (numbers, _) = observed(&ends, 8);
        assert_eq!(numbers, [5, 6, 4, 7, 16, 17, 18, 19]);
        assert_eq!(observed(&ends, 20).0.len(), 20);
    }
}
