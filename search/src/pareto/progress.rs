//! The hypervolume after every trial.

use super::front::Front;
use super::hypervolume;

/// How the hypervolume grows as trials end: a [`Front`] and the volume of its members.
///
/// Each trial costs the comparison with the front's members; only one that joins the front costs
/// the volume that it alone adds, at most O(n^(m-1) log n) with n members and m objectives
/// (O(n log n) for two: 0.1 ms with a thousand members, 1 ms with ten thousand). The sum is that of [`hypervolume`](super::hypervolume) but for rounding.
///
/// ```
/// use trialmill_search::pareto::HypervolumeHistory;
///
/// let mut history = HypervolumeHistory::new(vec![1.0, 1.0]);
/// assert_eq!(history.add(0, &[0.0, 0.5]), 0.5);
/// assert_eq!(history.add(1, &[0.5, 0.0]), 0.75);
/// assert_eq!(history.add(2, &[0.9, 0.9]), 0.75);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HypervolumeHistory {
    reference: Vec<f64>,
    front: Front,
    volume: f64,
}

impl HypervolumeHistory {
    /// Without trials, up to this reference point.
    #[must_use]
    pub fn new(reference: Vec<f64>) -> Self {
        Self {
            reference,
            front: Front::default(),
            volume: 0.0,
        }
    }

    /// Takes a feasible trial in, and returns the volume with it.
    pub fn add(&mut self, number: u32, costs: &[f64]) -> f64 {
        let before: Vec<&[f64]> = self.members();
        let is_new = !before
            .iter()
            .any(|member| super::dominates(member, costs) || *member == costs);
        let gain = if is_new {
            hypervolume::gain(costs, before.into_iter(), &self.reference)
        } else {
            0.0
        };
        if self.front.add(number, costs) {
            self.volume += gain;
        }
        self.volume
    }

    fn members(&self) -> Vec<&[f64]> {
        let members = self.front.members().iter();
        members.map(|member| member.costs.as_slice()).collect()
    }

    /// The volume of the trials so far.
    #[must_use]
    pub fn volume(&self) -> f64 {
        self.volume
    }

    /// The trials so far that no other one dominates.
    #[must_use]
    pub fn front(&self) -> &Front {
        &self.front
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn the_volume_after_each_trial_is_that_of_all_trials_so_far() {
        for objectives in 1..5 {
            for levels in [None, Some(4)] {
                let costs = samples::costs(17, 80, objectives, levels);
                let reference = vec![levels.map_or(0.95, |_| 3.5); objectives];
                let mut history = HypervolumeHistory::new(reference.clone());
                let mut last = 0.0;
                for (number, own) in costs.iter().enumerate() {
                    let found = history.add(u32::try_from(number).unwrap(), own);
                    let expected = hypervolume::hypervolume(&costs[..=number], &reference);
                    assert!(
                        (found - expected).abs() < 1e-10,
                        "{found} is not {expected}"
                    );
                    assert!(found >= last, "{found} after {last}");
                    last = found;
                }
                assert_eq!(history.volume(), last);
            }
        }
    }
}
