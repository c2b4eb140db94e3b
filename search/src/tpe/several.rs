//! Which trials are good where there are several objectives.

use crate::history::{FinishedTrial, TrialEnd};
use crate::pareto::{greedy_subset, leading_fronts};

/// How far beyond the largest cost of a front the reference point lies, as a part of the front's range:
/// its ends count, but not for much.
const BEYOND: f64 = 0.1;

/// The numbers of the best `count` completed trials, or of all of them, in ascending order.
///
/// Whole fronts as long as they fit; of the next one a part with a large hypervolume, chosen greedily with
/// the costs as parts of that front's range. Optuna 5.0 (`_split_complete_trials_multi_objective`)
/// does the same, but with a reference point a tenth of the worst value, not of the range, beyond it, which
/// depends on where zero is.
pub(super) fn best(finished: &[FinishedTrial], objectives: usize, count: usize) -> Vec<u32> {
    let mut completed: Vec<(u32, &[f64])> = finished
        .iter()
        .filter_map(|trial| match &trial.end {
            TrialEnd::Completed(costs) if costs.len() == objectives => {
                Some((trial.number, &costs[..]))
            }
            _ => None,
        })
        .collect();
    // Of equals the earliest is chosen, so the order of the history must not matter.
    completed.sort_by_key(|(number, _)| *number);
    let costs: Vec<&[f64]> = completed.iter().map(|(_, costs)| *costs).collect();
    let mut chosen: Vec<usize> = Vec::with_capacity(count);
    for front in leading_fronts(&costs, count) {
        let left = count - chosen.len();
        if front.len() <= left {
            chosen.extend(front);
        } else {
            let members: Vec<&[f64]> = front.iter().map(|at| costs[*at]).collect();
            let reference = vec![1.0 + BEYOND; objectives];
            let part = greedy_subset(&parts_of_range(&members), &reference, left);
            chosen.extend(part.into_iter().map(|at| front[at]));
        }
    }
    let mut numbers: Vec<u32> = chosen.into_iter().map(|at| completed[at].0).collect();
    numbers.sort_unstable();
    numbers
}

/// The costs as parts of their range in each objective; 0 where there is no range.
fn parts_of_range(costs: &[&[f64]]) -> Vec<Vec<f64>> {
    let objectives = costs.first().map_or(0, |costs| costs.len());
    // Halves: the difference of two floats may be beyond the largest one.
    let ranges = (0..objectives).map(|objective| {
        let all = costs.iter().map(|costs| 0.5 * costs[objective]);
        let low = all.clone().fold(f64::INFINITY, f64::min);
        let high = all.fold(f64::NEG_INFINITY, f64::max);
        (low, high - low)
    });
    let ranges: Vec<(f64, f64)> = ranges.collect();
    let parts = costs.iter().map(|costs| {
        let both = costs.iter().zip(&ranges);
        let parts = both.map(|(cost, (low, range))| {
            if *range > 0.0 {
                (0.5 * cost - low) / range
            } else {
                0.0
            }
        });
        parts.collect()
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pareto::{Merit, dominates, fronts, hypervolume};
    use crate::{Point, Stream};

    fn completed(costs: &[Vec<f64>]) -> Vec<FinishedTrial> {
        let trials = costs.iter().zip(0..).map(|(costs, number)| FinishedTrial {
            number,
            point: Point::new(Vec::new()),
            end: TrialEnd::completed(costs.clone()),
        });
        trials.collect()
    }

    fn drawn(seed: u64, objectives: usize) -> Vec<Vec<f64>> {
        let mut stream = Stream::for_study(seed, "several");
        let mut row = || (0..objectives).map(|_| stream.unit_f64()).collect();
        (0..60).map(|_| row()).collect()
    }

    #[test]
    fn better_fronts_are_taken_whole_and_the_last_in_part() {
        for objectives in 2..5 {
            let costs = drawn(4, objectives);
            let merits: Vec<Merit<'_>> = costs.iter().map(|costs| Merit::Feasible(costs)).collect();
            let fronts = fronts(&merits);
            let rank = |at: &usize| fronts.iter().position(|front| front.contains(at)).unwrap();
            for count in [1, 6, 20, 60, 70] {
                let best: Vec<usize> = best(&completed(&costs), objectives, count)
                    .into_iter()
                    .map(|number| number as usize)
                    .collect();
                assert_eq!(best.len(), count.min(60));
                let worst = best.iter().map(rank).max().unwrap();
                for at in fronts[..worst].iter().flatten() {
                    assert!(
                        best.contains(at),
                        "trial {at} of a better front is left out"
                    );
                }
            }
        }
    }

    #[test]
    fn the_part_of_a_front_has_nearly_the_largest_volume_there_is() {
        let costs: Vec<Vec<f64>> = drawn(8, 2)
            .into_iter()
            .map(|row| vec![row[0], 1.0 - row[0]])
            .collect();
        let trials = completed(&costs[..12]);
        assert!(!dominates(&costs[0], &costs[1]) && !dominates(&costs[1], &costs[0]));
        let low = |k: usize| costs[..12].iter().map(|c| c[k]).fold(1.0, f64::min);
        let high = |k: usize| costs[..12].iter().map(|c| c[k]).fold(0.0, f64::max);
        let reference: Vec<f64> = (0..2).map(|k| high(k) + 0.1 * (high(k) - low(k))).collect();
        let volume = |members: &[usize]| {
            let members: Vec<&Vec<f64>> = members.iter().map(|at| &costs[*at]).collect();
            hypervolume(&members, &reference)
        };
        let mut largest: f64 = 0.0;
        for a in 0..12 {
            for b in 0..a {
                for c in 0..b {
                    largest = largest.max(volume(&[a, b, c]));
                }
            }
        }
        let chosen = best(&trials, 2, 3)
            .into_iter()
            .map(|number| number as usize);
        let found = volume(&chosen.collect::<Vec<_>>());
        assert!(found > 0.9 * largest, "{found} of {largest}");
    }

    #[test]
    fn units_and_zero_points_of_objectives_do_not_matter() {
        for objectives in 2..5 {
            let costs = drawn(6, objectives);
            // Powers of two, so that nothing is rounded away.
            let moved: Vec<Vec<f64>> = costs
                .iter()
                .map(|row| {
                    row.iter()
                        .zip(1..)
                        .map(|(c, k)| c * f64::from(1 << k))
                        .collect()
                })
                .collect();
            let of = |costs: &[Vec<f64>]| best(&completed(costs), objectives, 9);
            assert_eq!(of(&costs), of(&moved));
            let far: Vec<Vec<f64>> = costs
                .iter()
                .map(|row| row.iter().map(|c| (c * 1e6).round() - 3e9).collect())
                .collect();
            let near: Vec<Vec<f64>> = costs
                .iter()
                .map(|row| row.iter().map(|c| (c * 1e6).round()).collect())
                .collect();
            assert_eq!(of(&far), of(&near));
        }
    }
}
