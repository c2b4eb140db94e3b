//! Which of two finished trials is better.

use std::cmp::{Ordering, Reverse};

use crate::history::{FinishedTrial, TrialEnd};

/// Where a trial stands among the finished ones: the smaller, the better.
///
/// Completed by cost; then pruned, those that got farther first, and of equally far ones by their last cost,
/// at the end those of which nothing is known; then infeasible by how much they are so. The earlier of
/// equals first. An undefined cost is worse than every other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    class: Class,
    cost: f64,
    pub(crate) number: u32,
}

/// In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Completed,
    /// After so many steps.
    Pruned(Reverse<u32>),
    PrunedSomewhere,
    Infeasible,
}

impl Standing {
    /// `None` for a failed trial, which says nothing.
    pub(crate) fn of(trial: &FinishedTrial) -> Option<Self> {
        let (class, cost) = match &trial.end {
            TrialEnd::Completed(costs) => {
                let cost = costs.first().copied().unwrap_or(f64::NAN);
                (Class::Completed, cost)
            }
            TrialEnd::Pruned(Some(last)) => (Class::Pruned(Reverse(last.step)), last.cost),
            TrialEnd::Pruned(None) => (Class::PrunedSomewhere, 0.0),
            TrialEnd::Infeasible { violation } => (Class::Infeasible, *violation),
            TrialEnd::Failed => return None,
        };
        // One NaN and one zero: the signs of both would make an order where none is meant.
        let cost = if cost.is_nan() { f64::NAN } else { cost + 0.0 };
        Some(Self {
            class,
            cost,
            number: trial.number,
        })
    }

    /// The same where completed trials have several costs and `best` of them (their numbers in ascending
    /// order) are wanted: those come before the others.
    pub(crate) fn among(trial: &FinishedTrial, best: Option<&[u32]>) -> Option<Self> {
        let mut standing = Self::of(trial)?;
        if let (Some(best), TrialEnd::Completed(_)) = (best, &trial.end) {
            let is_best = best.binary_search(&trial.number).is_ok();
            standing.cost = if is_best { 0.0 } else { 1.0 };
        }
        Some(standing)
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        self.compare_outcome(other)
            .then(self.number.cmp(&other.number))
    }

    /// As [`compare`](Self::compare), but equal outcomes are equal whichever came first.
    pub(crate) fn compare_outcome(&self, other: &Self) -> Ordering {
        self.class
            .cmp(&other.class)
            .then(self.cost.total_cmp(&other.cost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Point;
    use crate::history::LastReport;

    #[test]
    fn pruned_trials_stand_between_completed_and_infeasible_ones_the_farthest_first() {
        let pruned = |step, cost| TrialEnd::Pruned(Some(LastReport { step, cost }));
        let best_first = [
            TrialEnd::completed(vec![-1.0]),
            TrialEnd::completed(vec![1e308]),
            TrialEnd::completed(vec![f64::NAN]),
            pruned(u32::MAX, 9.0),
            pruned(3, f64::NEG_INFINITY),
            pruned(3, -1.0),
            pruned(3, 2.0),
            pruned(3, -f64::NAN),
            pruned(0, -5.0),
            TrialEnd::Pruned(None),
            TrialEnd::Infeasible { violation: 0.1 },
            TrialEnd::Infeasible {
                violation: f64::INFINITY,
            },
        ];
        // Their numbers would say the opposite.
        let standings: Vec<Standing> = (0..)
            .zip(&best_first)
            .map(|(at, end)| FinishedTrial {
                number: 100 - at,
                point: Point::new(Vec::new()),
                end: end.clone(),
            })
            .filter_map(|trial| Standing::of(&trial))
            .collect();
        assert_eq!(standings.len(), best_first.len());
        for (at, standing) in standings.iter().enumerate() {
            for worse in &standings[at + 1..] {
                assert!(
                    standing.compare_outcome(worse).is_lt(),
                    "{standing:?}, {worse:?}"
                );
            }
        }
        let same = [
            standings[7],
            Standing {
                number: 1,
                ..standings[7]
            },
        ];
        assert!(same[0].compare_outcome(&same[1]).is_eq());
        assert!(same[0].compare(&same[1]).is_gt(), "the earlier of equals");
    }
}
