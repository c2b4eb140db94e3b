//! Rejection: a point that breaks a constraint is drawn again, but not for ever.

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

    /// One of the allowed probe points, another one for each trial while they last.
    pub(crate) fn probed_point(&self, number: u32) -> Option<Point> {
        let sequence = SobolSequence::new(self, 0, 0);
        let mut allowed: Vec<Point> = (0..PROBE_POINTS)
            .map(|index| sequence.point(self, index))
            .filter(|point| self.allows(point))
            .collect();
        if allowed.is_empty() {
            return None;
        }
        let chosen = number as usize % allowed.len();
        Some(allowed.swap_remove(chosen))
    }
}

/// The first allowed one of up to [`MAX_DRAWS`] points that `draw` gives; then a probe point that `number` selects; `None` if there is no allowed probe point.
pub(crate) fn first_allowed(
    space: &Space,
    number: u32,
    mut draw: impl FnMut() -> Point,
) -> Option<Point> {
    (0..MAX_DRAWS)
        .map(|_| draw())
        .find(|point| space.allows(point))
        .or_else(|| space.probed_point(number))
}
