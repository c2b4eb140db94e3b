//! Non-dominated sorting: trials by rank.

use std::cmp::Ordering;

use super::dominance::{Merit, dominates};

/// The trials by rank: the first front holds those that no other dominates, each next one those that
/// only trials of the fronts before dominate. Each front lists positions in `merits`, in ascending
/// order; together they hold every position once. Infeasible trials come behind all others, by
/// violation.
///
/// These are the fronts of the fast non-dominated sort of NSGA-II (Deb, Pratap, Agarwal and
/// Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002, p. 184), found by
/// efficient non-dominated sorting with binary search (ENS-BS: Zhang, Tian, Cheng and Jin, 2015,
/// pp. 201-213), which looks at fewer pairs: O(n log n) for two objectives, at most O(m n^2) for m.
///
/// ```
/// use trialmill_search::pareto::{Merit, fronts};
///
/// let merits = [
///     Merit::Infeasible(0.5),
///     Merit::Feasible(&[2.0, 2.0]),
///     Merit::Feasible(&[1.0, 3.0]),
///     Merit::Feasible(&[3.0, 3.0]),
/// ];
/// assert_eq!(fronts(&merits), [vec![1, 2], vec![3], vec![0]]);
/// ```
#[must_use]
pub fn fronts(merits: &[Merit<'_>]) -> Vec<Vec<usize>> {
    let (mut feasible, mut infeasible) = (Vec::new(), Vec::new());
    let mut positions = Vec::new();
    for (position, merit) in merits.iter().enumerate() {
        match merit {
            Merit::Feasible(costs) => {
                feasible.push(*costs);
                positions.push(position);
            }
            Merit::Infeasible(violation) => infeasible.push((*violation, position)),
        }
    }
    let mut fronts = leading_fronts(&feasible, feasible.len());
    for place in fronts.iter_mut().flatten() {
        *place = positions[*place];
    }
    // Stable: of one violation in the order of their positions.
    infeasible.sort_by(|a, b| a.0.total_cmp(&b.0));
    let alike = infeasible.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq());
    fronts.extend(alike.map(|front| front.iter().map(|(_, position)| *position).collect()));
    fronts
}

/// The first fronts of `costs`, as many as it takes to hold `enough` of them: the ones beyond are
/// not told apart, which saves most of the work.
pub(crate) fn leading_fronts<C: AsRef<[f64]>>(costs: &[C], enough: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    // In this order nothing dominates what comes before it.
    order.sort_by(|a, b| by_each_objective(costs[*a].as_ref(), costs[*b].as_ref()));
    let mut fronts: Vec<Vec<usize>> = Vec::new();
    let mut held = 0;
    for position in order {
        let own = costs[position].as_ref();
        // What a front dominates, all fronts before it dominate too.
        let rank = fronts.partition_point(|front| is_dominated(costs, front, own));
        match fronts.get_mut(rank) {
            Some(front) => front.push(position),
            None if held < enough => fronts.push(vec![position]),
            None => continue,
        }
        held += 1;
        // The last front goes as soon as those before it are enough.
        while let Some(last) = fronts.pop_if(|last| held - last.len() >= enough) {
            held -= last.len();
        }
    }
    for front in &mut fronts {
        front.sort_unstable();
    }
    fronts
}

/// Whether a member of `front`, whose members all come before `own`, dominates it. The latest
/// members are the likeliest; of two objectives the last decides: it has the smallest second cost.
fn is_dominated<C: AsRef<[f64]>>(costs: &[C], front: &[usize], own: &[f64]) -> bool {
    let looked_at = if own.len() <= 2 { 1 } else { front.len() };
    let latest = front.iter().rev().take(looked_at);
    latest
        .map(|member| costs[*member].as_ref())
        .any(|member| dominates(member, own))
}

fn by_each_objective(a: &[f64], b: &[f64]) -> Ordering {
    // One zero: the sign of the other would make an order where none is meant.
    let pairs = a.iter().zip(b);
    let different = pairs.map(|(a, b)| (a + 0.0).total_cmp(&(b + 0.0)));
    let first = different.into_iter().find(|order| order.is_ne());
    first.unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    /// The definition: take away what nothing left dominates, again and again.
    fn by_definition(merits: &[Merit<'_>]) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = (0..merits.len()).collect();
        let mut fronts = Vec::new();
        while !left.is_empty() {
            let free = |own: &usize| !left.iter().any(|o| merits[*o].dominates(&merits[*own]));
            let (front, rest): (Vec<usize>, Vec<usize>) = left.iter().copied().partition(free);
            fronts.push(front);
            left = rest;
        }
        fronts
    }

    #[test]
    fn fronts_are_those_of_the_definition() {
        let mut deepest = 0;
        for (seed, count) in (0..).zip([0, 1, 2, 3, 10, 60, 150]) {
            for objectives in 1..6 {
                for levels in [None, Some(2), Some(5)] {
                    let costs = samples::costs(seed, count, objectives, levels);
                    // Every fifth is infeasible; some equally so.
                    let merit = |(at, costs): (usize, &'_ Vec<f64>)| (at, costs.clone());
                    let rows: Vec<(usize, Vec<f64>)> =
                        costs.iter().enumerate().map(merit).collect();
                    let merits: Vec<Merit<'_>> = rows
                        .iter()
                        .map(|(at, costs)| match at % 5 {
                            4 => Merit::Infeasible((at % 3) as f64 + 1.0),
                            _ => Merit::Feasible(costs),
                        })
                        .collect();
                    let found = fronts(&merits);
                    assert_eq!(
                        found,
                        by_definition(&merits),
                        "{count} x {objectives} {levels:?}"
                    );
                    deepest = deepest.max(found.len());
                }
            }
        }
        assert!(deepest > 20, "at most {deepest} fronts test too little");
    }

    #[test]
    fn the_leading_fronts_are_the_first_ones_that_hold_enough() {
        for objectives in 1..5 {
            for levels in [None, Some(4)] {
                let costs = samples::costs(7, 120, objectives, levels);
                let all = leading_fronts(&costs, costs.len());
                for enough in [1, 2, 12, 40, 120] {
                    let mut held = 0;
                    let needed = all.iter().take_while(|front| {
                        let before = held;
                        held += front.len();
                        before < enough
                    });
                    let needed: Vec<Vec<usize>> = needed.cloned().collect();
                    assert_eq!(
                        leading_fronts(&costs, enough),
                        needed,
                        "{enough} of {objectives}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_negative_zero_is_a_zero() {
        let costs = [[0.0, 1.0], [-0.0, 2.0], [0.0, 1.0], [-0.0, 0.5]];
        assert_eq!(leading_fronts(&costs, 4), [vec![3], vec![0, 2], vec![1]]);
    }
}
