//! Rejection: a point that breaks a constraint is drawn again, but not for ever.

use std::sync::{Arc, OnceLock};

use crate::point::Point;
use crate::sobol::SobolSequence;
use crate::space::Space;

/// How often random search draws a point for one trial before it falls back on the probe points.
pub const MAX_DRAWS: u32 = 10_000;

/// How many points [`Space::feasible_point`] looks at.
pub const PROBE_POINTS: u32 = 10_000;

impl Space {
    /// An allowed point: the first of the [`PROBE_POINTS`] first points of the Sobol sequence of
    /// seed 0 that keeps every constraint. `None` when none of them does: then no sampler is
    /// likely to find one, and a search should be refused.
    ///
    /// ```
    /// use trialmill_search::{Domain, SpaceBuilder};
    ///
    /// let narrow = |constraint: &str| {
    ///     SpaceBuilder::default()
    ///         .parameter("x", Domain::Float { low: 0.0, high: 1.0, step: None, log: false })
    ///         .constraint(constraint)
    ///         .build()
    ///         .expect("the constraint reads x")
    /// };
    /// assert!(narrow("x > 0.99").feasible_point().is_some());
    /// assert!(narrow("x > 2").feasible_point().is_none());
    /// ```
    #[must_use]
    pub fn feasible_point(&self) -> Option<Point> {
        let sequence = SobolSequence::new(self, 0, 0);
        (0..PROBE_POINTS)
            .map(|index| sequence.point(self, index))
            .find(|point| self.allows(point))
    }

    /// The allowed probe points (one may come twice), beginning at another one for each trial
    /// `number`. Constraints are evaluated the first time only.
    pub(crate) fn probed_points(&self, number: u32) -> impl Iterator<Item = Point> {
        let allowed = self.probes.0.get_or_init(|| {
            let sequence = SobolSequence::new(self, 0, 0);
            let is_allowed = |index: &u16| self.allows(&sequence.point(self, u32::from(*index)));
            (0..PROBE_INDICES).filter(is_allowed).collect()
        });
        let first = number as usize % allowed.len().max(1);
        let (before, from) = allowed.split_at(first);
        let sequence = SobolSequence::new(self, 0, 0);
        let indices = from.iter().chain(before);
        indices.map(move |index| sequence.point(self, u32::from(*index)))
    }
}

/// [`PROBE_POINTS`] as what an index of one is.
const PROBE_INDICES: u16 = 10_000;
const _: () = assert!(PROBE_INDICES as u32 == PROBE_POINTS);

/// The indices of the allowed probe points of a space, once they were needed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probes(OnceLock<Arc<[u16]>>);

impl Probes {
    /// The most bytes that the indices take.
    pub(crate) const MOST_BYTES: usize = size_of::<u16>() * PROBE_INDICES as usize;
}

/// They follow from the rest of the space: whether they were needed already makes no difference.
impl PartialEq for Probes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The first allowed one of up to [`MAX_DRAWS`] points that `draw` gives; then a probe point that
/// `number` selects; `None` if there is no allowed probe point.
pub(crate) fn first_allowed(
    space: &Space,
    number: u32,
    mut draw: impl FnMut() -> Point,
) -> Option<Point> {
    (0..MAX_DRAWS)
        .map(|_| draw())
        .find(|point| space.allows(point))
        .or_else(|| space.probed_points(number).next())
}
