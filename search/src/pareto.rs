//! Several objectives at once: which trials are worth keeping, and how much they are worth
//! together.
//!
//! Values are **costs**, as everywhere in this crate: smaller is better in each objective, and the
//! caller negates what it maximizes ([`TrialEnd`](crate::TrialEnd)). No cost is NaN or infinite; one
//! that is leads to no panic, but to no meaning either.
//!
//! | what | item |
//! |---|---|
//! | one trial against another | [`dominates`], [`Merit`] |
//! | all trials, rank by rank | [`fronts`] |
//! | how lonely a trial is on its front | [`crowding_distances`] |
//! | the trials that nothing dominates, kept up as trials end | [`Front`] |
//! | how much a set of trials is worth | [`hypervolume`], [`contributions`], [`reference_point`] |
//! | the same after every trial | [`HypervolumeHistory`] |

mod crowding;
mod dominance;
mod front;
mod hypervolume;
mod progress;
mod sort;

pub use crowding::crowding_distances;
pub use dominance::{Merit, dominates};
pub use front::{Front, Member};
pub use hypervolume::{contributions, hypervolume, reference_point};
pub use progress::HypervolumeHistory;
pub use sort::fronts;

pub(crate) use hypervolume::greedy_subset;
pub(crate) use sort::leading_fronts;

/// Random costs for the tests of this module.
#[cfg(test)]
mod samples {
    use crate::Stream;

    /// `count` rows of costs; with `levels`, from that many values only, so that many are equal.
    pub(super) fn costs(
        seed: u64,
        count: usize,
        objectives: usize,
        levels: Option<u32>,
    ) -> Vec<Vec<f64>> {
        let mut stream = Stream::for_study(seed, "costs");
        let mut cost = || match levels {
            Some(levels) => stream.below(u64::from(levels)) as f64,
            None => stream.unit_f64(),
        };
        let mut row = || (0..objectives).map(|_| cost()).collect();
        (0..count).map(|_| row()).collect()
    }
}
