//! Grid search: every combination once, in a shuffled order.

use std::collections::BTreeSet;

use crate::fault::SpaceFault;
use crate::history::History;
use crate::lattice::{Lattice, MAX_GRID_POINTS, code_of, is_small, point_of, size_of_bounded};
use crate::point::Point;
use crate::sampler::{HistoryNeed, Sampler};
use crate::space::Space;

/// Every allowed combination of every parameter's values, each visited once.
///
/// The order is a seeded Fisher-Yates shuffle, so that a search with fewer trials than points still
/// covers the whole space instead of one corner of it. Points that break a constraint are left
/// out, and so are repetitions: where parameters are absent, their values do not count.
#[derive(Debug, Clone)]
pub struct Grid {
    lattice: Lattice,
}

impl Grid {
    /// Lists the points, evaluating every constraint for each, and shuffles them. `initial` points
    /// are left out: they are visited before.
    ///
    /// # Errors
    /// All of [`Grid::faults`].
    pub fn new(space: &Space, seed: u64, initial: &[Point]) -> Result<Self, Vec<SpaceFault>> {
        let faults = Self::faults(space);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut lattice = Lattice::new(space)
            .expect("a space without these faults can be listed")
            .shuffled(seed);
        if !initial.is_empty() {
            let visited: BTreeSet<u64> = initial.iter().map(|p| code_of(space, p)).collect();
            lattice.retain(|code| !visited.contains(&code));
        }
        Ok(Self { lattice })
    }

    /// What keeps a grid from covering `space`: `grid_needs_step` for each float without a step
    /// (unless low equals high), `grid_too_large` for more than [`MAX_GRID_POINTS`] points, counted
    /// before constraints are applied (or for a product of all sizes beyond 2^64).
    #[must_use]
    pub fn faults(space: &Space) -> Vec<SpaceFault> {
        let endless = space
            .parameters()
            .iter()
            .filter(|parameter| parameter.domain().size().is_none());
        let mut faults: Vec<SpaceFault> = endless
            .map(|parameter| SpaceFault {
                param: parameter.name().to_owned(),
                field: "step",
                index: None,
                position: None,
                allowed: Vec::new(),
                code: "grid_needs_step",
                value: "null".to_owned(),
                limit: "a step above 0".to_owned(),
                detail: format!(
                    "parameter {}: a grid needs a step to list the values of a float; give one, or \
                     use method random",
                    parameter.name()
                ),
            })
            .collect();
        let size = size_of_bounded(space);
        if !is_small(space) || size > u128::from(u64::MAX) {
            let conditional = space.parameters().iter().any(|p| p.when().is_some());
            let (least, size) = match (conditional, faults.is_empty()) {
                // Not all combinations of values are points, and counting stopped at the limit.
                (true, _) => ("more than ", u128::from(MAX_GRID_POINTS)),
                (false, false) => ("at least ", size),
                (false, true) => ("", size),
            };
            faults.push(SpaceFault {
                param: String::new(),
                field: "",
                index: None,
                position: None,
                allowed: Vec::new(),
                code: "grid_too_large",
                value: size.to_string(),
                limit: MAX_GRID_POINTS.to_string(),
                detail: format!(
                    "the grid has {least}{size} points and may have {MAX_GRID_POINTS}; widen the \
                     steps, fix some parameters, or use method random"
                ),
            });
        }
        faults
    }
}

impl Sampler for Grid {
    fn history_need(&self) -> HistoryNeed {
        HistoryNeed::None
    }

    fn size_limit(&self) -> Option<u64> {
        Some(self.lattice.codes().len() as u64)
    }

    fn ask(&self, space: &Space, _: &History<'_>, _seed: u64, number: u32) -> Option<Point> {
        let code = *self.lattice.codes().get(usize::try_from(number).ok()?)?;
        Some(point_of(space, code))
    }
}
