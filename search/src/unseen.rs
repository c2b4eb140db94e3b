//! No point twice: what an adaptive sampler does when its model proposes a known point.

use std::collections::BTreeSet;

use crate::history::{History, RunningTrial};
use crate::lattice::{Lattice, code_of, point_of};
use crate::point::Point;
use crate::space::Space;

/// Turns proposals into an allowed point that no known trial has.
///
/// Prepared once per study (it lists the points of a space that can be listed, at most
/// [`MAX_GRID_POINTS`](crate::MAX_GRID_POINTS)), asked once per trial. What it gives follows from
/// its arguments and the seed alone.
#[derive(Debug, Clone)]
pub struct Unseen {
    /// Shuffled, so that what is left when a model has run dry is visited without order.
    lattice: Option<Lattice>,
}

impl Unseen {
    /// Lists the points of `space`, if that can be done.
    #[must_use]
    pub fn new(space: &Space, seed: u64) -> Self {
        Self {
            lattice: Lattice::new(space).map(|lattice| lattice.shuffled(seed)),
        }
    }

    /// How many different allowed points there are; `None` when they cannot be listed (a float
    /// without step, more than [`MAX_GRID_POINTS`](crate::MAX_GRID_POINTS) points before
    /// constraints, or more than [`MAX_LISTING_WORK`](crate::MAX_LISTING_WORK) to list them).
    #[must_use]
    pub fn size_limit(&self) -> Option<u64> {
        let lattice = self.lattice.as_ref()?;
        Some(lattice.codes().len() as u64)
    }

    /// Whether trial `number` comes after every point.
    #[must_use]
    pub fn is_exhausted(&self, number: u32) -> bool {
        let limit = self.size_limit();
        limit.is_some_and(|limit| u64::from(number) >= limit)
    }

    /// The first of up to `draws` proposals that is allowed and that no other trial of the history
    /// has, however that trial ended.
    ///
    /// When there is none: the first unknown point of the listed ones, or `None` when every one is
    /// known, for the space is exhausted. When the points cannot be listed: the first unknown one
    /// of the allowed probe points ([`Space::feasible_point`]), beginning at another one for each
    /// trial; then the last allowed proposal or a probe point, although it is known; `None` only
    /// if there is no such point either.
    ///
    /// A trial numbered `asking` that the history shows as running is the one that asks.
    pub fn first(
        &self,
        space: &Space,
        history: &History<'_>,
        asking: u32,
        draws: usize,
        draw: impl FnMut() -> Option<Point>,
    ) -> Option<Point> {
        self.first_of(space, history, None, asking, draws, draw)
    }

    /// The same for who has read the history already: `hashes` are those of the points of its finished trials, in its order.
    pub(crate) fn first_of(
        &self,
        space: &Space,
        history: &History<'_>,
        hashes: Option<&[u64]>,
        asking: u32,
        draws: usize,
        mut draw: impl FnMut() -> Option<Point>,
    ) -> Option<Point> {
        let is_finished = |point: &Point| {
            let hash = point.hash();
            match hashes {
                Some(hashes) => {
                    let mut each = hashes.iter().zip(history.finished);
                    each.any(|(known, trial)| *known == hash && trial.point == *point)
                }
                None => history.finished.iter().any(|trial| trial.point == *point),
            }
        };
        let is_known = |point: &Point| {
            is_finished(point) || others(history.running, asking).any(|known| known == point)
        };
        let mut last_allowed = None;
        for _ in 0..draws {
            let Some(point) = draw() else { continue };
            if !space.allows(&point) {
                continue;
            }
            if !is_known(&point) {
                return Some(point);
            }
            last_allowed = Some(point);
        }
        let Some(lattice) = &self.lattice else {
            let unknown = |point: &Point| !is_known(point);
            return space
                .probed_points(asking)
                .find(unknown)
                .or(last_allowed)
                .or_else(|| space.probed_points(asking).next());
        };
        let finished = history.finished.iter().map(|trial| &trial.point);
        let known: BTreeSet<u64> = finished
            .chain(others(history.running, asking))
            .map(|point| code_of(space, point))
            .collect();
        let mut left = lattice.codes().iter().filter(|code| !known.contains(code));
        left.next().map(|code| point_of(space, *code))
    }
}

/// The points of running trials but for the one that asks.
fn others(running: &[RunningTrial], asking: u32) -> impl Iterator<Item = &Point> {
    let others = running.iter().filter(move |trial| trial.number != asking);
    others.map(|trial| &trial.point)
}
