//! Which trials the model reads, and their values in a form it can fit.

use crate::history::{History, TrialEnd};
use crate::point::Point;

/// How far a value may lie above the best, in units of how far the middle one does: what is worse
/// is merely bad, and how bad it is must not hide the differences among the good.
const FARTHEST: f64 = 5.0;

/// A deviation, as a part of the largest value, that is of rounding alone.
const ROUNDING: f64 = 1e-13;

/// Trials as the model reads them, the best first.
#[derive(Debug)]
pub(super) struct Observations<'a> {
    pub(super) points: Vec<&'a Point>,
    pub(super) numbers: Vec<u32>,
    pub(super) values: Vec<f64>,
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
    /// At most `most` of the finished trials; empty where none has a cost. Pruned and infeasible
    /// trials, and those whose cost is no finite number, come last and are as bad as the worst
    /// cost.
    pub(super) fn of(history: &History<'a>, most: usize) -> Self {
        // The best first: those with a cost, then the others.
        let mut ranked: Vec<(Option<f64>, u32, &Point)> = history
            .finished
            .iter()
            .filter_map(|trial| {
                let cost = match &trial.end {
                    TrialEnd::Completed(costs) => costs.first().copied().filter(|c| c.is_finite()),
                    TrialEnd::Pruned | TrialEnd::Infeasible { .. } => None,
                    TrialEnd::Failed => return None,
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
            return Self {
                points: Vec::new(),
                numbers: Vec::new(),
                values: Vec::new(),
            };
        }
        let mut values = above_best(&costs);
        let worst = values.last().copied().unwrap_or(0.0);
        values.resize(kept.len(), worst);
        Self {
            points: kept.iter().map(|(_, _, point)| *point).collect(),
            numbers: kept.iter().map(|(_, number, _)| *number).collect(),
            values: standardized(&values),
        }
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
    let largest = largest(values);
    if largest == 0.0 {
        return vec![0.0; values.len()];
    }
    let count = values.len() as f64;
    let mean = values.iter().map(|value| value / largest).sum::<f64>() / count;
    let off = || values.iter().map(|value| value / largest - mean);
    let deviation = (off().map(|off| off * off).sum::<f64>() / count).sqrt();
    if deviation < ROUNDING {
        return vec![0.0; values.len()];
    }
    off().map(|off| off / deviation).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::FinishedTrial;

    fn observed(ends: &[TrialEnd], most: usize) -> (Vec<u32>, Vec<f64>) {
        let trials = ends.iter().zip(0..).map(|(end, number)| FinishedTrial {
            number,
            point: Point::new(Vec::new()),
            end: end.clone(),
        });
        let finished: Vec<FinishedTrial> = trials.collect();
        let history = History {
            finished: &finished,
            running: &[],
        };
        let of = Observations::of(&history, most);
        assert_eq!(of.points.len(), of.values.len());
        (of.numbers, of.values)
    }

    fn cost(cost: f64) -> TrialEnd {
        TrialEnd::Completed(vec![cost])
    }

    #[test]
    fn values_are_standardized_and_those_without_a_cost_are_as_bad_as_the_worst() {
        let ends = [
            cost(3.0),
            TrialEnd::Pruned,
            cost(1.0),
            TrialEnd::Failed,
            TrialEnd::Infeasible { violation: 1.0 },
            cost(f64::NAN),
            cost(2.0),
        ];
        let (numbers, values) = observed(&ends, 100);
        assert_eq!(numbers, [2, 6, 0, 1, 4, 5]);
        assert!(values[0] < values[1] && values[1] < values[2]);
        assert!(values[2..].iter().all(|value| *value == values[2]));
        assert!(values.iter().sum::<f64>().abs() < 1e-12);
        assert!((values.iter().map(|v| v * v).sum::<f64>() - 6.0).abs() < 1e-12);
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
            observed(&[TrialEnd::Pruned, TrialEnd::Failed], 100).0,
            [0; 0]
        );
        assert_eq!(observed(&[TrialEnd::Completed(Vec::new())], 100).0, [0; 0]);
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
