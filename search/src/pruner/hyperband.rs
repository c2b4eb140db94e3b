//! Hyperband: successive halving in several brackets.

use super::asha::{Rungs, check_bootstrap};
use super::fault::{Faults, MAX_PRUNER_OPTION};
use super::rival::Question;
use crate::stream::Stream;
use serde::{Deserialize, Serialize};

/// Hyperband (Li et al., "Hyperband: a novel bandit-based approach to hyperparameter optimization", 2018):
/// each trial belongs to a bracket, and competes by [`Asha`](super::Asha) with the trials of its
/// bracket only; bracket `b` leaves out the first `b` rungs. Whether it is better to stop many trials early or
/// few late then need not be known.
///
/// ```text
/// brackets  B = floor(log(max_resource / min_resource) to base reduction_factor) + 1
/// weight of bracket b = ceil(B * reduction_factor^s / (s + 1)),  s = B - 1 - b
/// ```
///
/// Optuna's `HyperbandPruner` (`optuna/pruners/_hyperband.py`), and so are the defaults.
/// What is said of rungs, of costs that are not numbers and of `bootstrap_count` at
/// [`Asha`](super::Asha) holds here, too.
///
/// - With `max_resource` absent (Optuna's `auto`) it is the largest last step of the completed trials plus
///   1, and nothing is pruned before a trial has completed. Optuna remembers the first such value and has no
///   notes of what was reported before; here it is that of the rivals at hand, and all of their
///   reports count.
/// - If that is less than `min_resource` there is no bracket, and nothing is pruned.
///
/// Departures from Optuna:
/// - The bracket of a trial is drawn by weight from its own stream, keyed by (seed, trial number); Optuna
///   takes the CRC-32 of the study's name and the trial's number.
/// - The number of brackets is exact. Optuna divides floating logarithms and so loses a bracket for
///   some powers, such as `243 = 3^5` and `1000 = 10^3`.
///
/// ```
/// use trialmill_search::pruner::{Hyperband, Pruner, PrunerConfig};
///
/// let hyperband = Hyperband { max_resource: Some(81), ..Hyperband::default() };
/// assert!(Pruner::new(PrunerConfig::Hyperband(hyperband)).is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hyperband {
    /// The step of the first rung of the first bracket. Default 1, at least 1.
    pub min_resource: u32,
    /// The steps of a trial that runs to its end; `None` estimates them. At least `min_resource`.
    pub max_resource: Option<u32>,
    /// One in so many trials passes a rung. Default 3, at least 2.
    pub reduction_factor: u32,
    /// Trials at a rung, the own one included, up to which all are pruned there. Default 0; needs a `max_resource`.
    pub bootstrap_count: u32,
}

impl Default for Hyperband {
    fn default() -> Self {
        Self {
            min_resource: 1,
            max_resource: None,
            reduction_factor: 3,
            bootstrap_count: 0,
        }
    }
}

impl Hyperband {
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.number("min_resource", self.min_resource, 1..=MAX_PRUNER_OPTION);
        if let Some(max_resource) = self.max_resource {
            faults.number("max_resource", max_resource, 1..=MAX_PRUNER_OPTION);
            if max_resource < self.min_resource {
                let limit = format!("at least min_resource ({})", self.min_resource);
                faults.add("below_minimum", "max_resource", max_resource, limit);
            }
        }
        faults.number(
            "reduction_factor",
            self.reduction_factor,
            2..=MAX_PRUNER_OPTION,
        );
        check_bootstrap(
            self.bootstrap_count,
            "max_resource",
            self.max_resource,
            faults,
        );
    }

    pub(super) fn prunes(&self, question: &Question<'_>) -> bool {
        self.prunes_in(question, |number, weights| {
            bracket(question.seed, number, weights)
        })
    }

    /// With brackets by any draw, which is given a trial's number and the weights.
    pub(super) fn prunes_in(
        &self,
        question: &Question<'_>,
        bracket: impl Fn(u32, &[u64]) -> usize + Copy,
    ) -> bool {
        let estimate = || Some(question.longest_completed()?.saturating_add(1));
        let Some(max_resource) = self.max_resource.or_else(estimate) else {
            return false;
        };
        let weights = self.weights(max_resource);
        if weights.is_empty() {
            return false;
        }
        let own = bracket(question.number, &weights);
        let rungs = Rungs {
            min_resource: self.min_resource,
            reduction_factor: self.reduction_factor,
            left_out: u32::try_from(own).expect("there are at most 33 brackets"),
            bootstrap_count: self.bootstrap_count,
        };
        let rivals = question.rivals();
        let rivals = rivals.filter(|(rival, _)| bracket(rival.number, &weights) == own);
        let rivals = rivals.map(|(rival, curve)| (curve, rival.is_pruned()));
        rungs.prune(question.own, &rivals)
    }

    /// The weight of each bracket; none where a trial is shorter than the first rung.
    pub(super) fn weights(&self, max_resource: u32) -> Vec<u64> {
        let factor = u64::from(self.reduction_factor);
        let (least, most) = (u64::from(self.min_resource), u64::from(max_resource));
        if most < least {
            return Vec::new();
        }
        let halvings =
            (1..).take_while(|s| least.saturating_mul(factor.saturating_pow(*s)) <= most);
        let last = halvings.last().unwrap_or(0);
        let brackets = u64::from(last) + 1;
        (0..=last)
            .rev()
            .map(|s| (brackets * factor.pow(s)).div_ceil(u64::from(s) + 1))
            .collect()
    }
}

/// The bracket of a trial: one draw from its stream, by weight.
fn bracket(seed: u64, number: u32, weights: &[u64]) -> usize {
    let drawn = Stream::for_pruner(seed, number, "hyperband").below(weights.iter().sum());
    let ends = weights.iter().scan(0, |end, weight| {
        *end += weight;
        Some(*end)
    });
    ends.take_while(|end| *end <= drawn).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_are_spread_over_the_brackets_by_weight() {
        let weights = Hyperband::default().weights(81);
        assert_eq!(weights, [81, 34, 15, 8, 5]);
        let mut counts = [0_u32; 5];
        for number in 0..14_300 {
            counts[bracket(42, number, &weights)] += 1;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            let expected = *weight as f64 * 100.0;
            let off = (f64::from(*count) - expected).abs();
            assert!(off < 4.0 * expected.sqrt(), "{count} instead of {expected}");
        }
    }

    #[test]
    fn the_bracket_of_a_trial_is_the_recorded_one() {
        let weights = Hyperband::default().weights(81);
        let brackets = [0, 1, 2, 3, 4, 5, 6, 999_999].map(|number| bracket(42, number, &weights));
        assert_eq!(brackets, [0, 1, 1, 1, 0, 0, 2, 2]);
    }

    #[test]
    fn a_trial_shorter_than_the_first_rung_has_no_bracket() {
        let hyperband = Hyperband {
            min_resource: 10,
            ..Hyperband::default()
        };
        assert!(hyperband.weights(9).is_empty());
        assert_eq!(hyperband.weights(10), [1]);
    }
}
