//! Grid search: every combination once, in a shuffled order.

use std::collections::BTreeSet;

use crate::fault::SpaceFault;
use crate::history::History;
use crate::lattice::{
    Lattice, MAX_GRID_POINTS, code_of, is_conditional, is_small, most_points, point_of,
    size_of_bounded,
};
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
    /// Lists the points, evaluating every constraint for each, and shuffles them.
    ///
    /// # Errors
    /// All of [`Grid::faults`].
    pub fn new(space: &Space, seed: u64) -> Result<Self, Vec<SpaceFault>> {
        let lattice = Lattice::new(space).ok_or_else(|| Self::faults(space))?;
        Ok(Self {
            lattice: lattice.shuffled(seed),
        })
    }

    /// What keeps a grid from covering `space`: `grid_needs_step` for each float without a step
    /// (unless low equals high), `grid_too_large` for more than [`MAX_GRID_POINTS`] points, counted
    /// before constraints are applied (or for a product of all sizes beyond 2^64), `grid_too_costly`
    /// where fewer points are too many to evaluate long conditions and constraints for
    /// ([`MAX_LISTING_WORK`](crate::MAX_LISTING_WORK)).
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
        let product = size_of_bounded(space);
        if !is_small(space) || product > u128::from(u64::MAX) {
            let most = most_points(space);
            let (least, size) = match (is_conditional(space), faults.is_empty()) {
                // Not all combinations of values are points, and counting stopped at the limit.
                (true, _) => ("more than ", u128::from(most)),
                (false, false) => ("at least ", product),
                (false, true) => ("", product),
            };
            let costly = most < MAX_GRID_POINTS && size <= u128::from(MAX_GRID_POINTS);
            let (code, limit, reason, advice) = if costly {
                let nodes = space.expression_nodes();
                let reason = format!(
                    ", because each is checked against the {nodes} values and operators of the \
                     conditions and constraints"
                );
                ("grid_too_costly", most, reason, "simplify these, widen")
            } else {
                ("grid_too_large", MAX_GRID_POINTS, String::new(), "widen")
            };
            faults.push(SpaceFault {
                param: String::new(),
                field: "",
                index: None,
                position: None,
                allowed: Vec::new(),
                code,
                value: size.to_string(),
                limit: limit.to_string(),
                detail: format!(
                    "the grid has {least}{size} points and may have {limit}{reason}; {advice} the \
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

    fn leave_out(&mut self, space: &Space, initial: &[Point]) {
        let visited: BTreeSet<u64> = initial.iter().map(|p| code_of(space, p)).collect();
        self.lattice.retain(|code| !visited.contains(&code));
    }

    fn ask(&self, space: &Space, _: &History<'_>, _seed: u64, number: u32) -> Option<Point> {
        let code = *self.lattice.codes().get(usize::try_from(number).ok()?)?;
        Some(point_of(space, code))
    }
}
