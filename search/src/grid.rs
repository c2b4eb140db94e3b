//! Grid search: every combination once, in a shuffled order.

use crate::fault::SpaceFault;
use crate::history::History;
use crate::point::Point;
use crate::sampler::{HistoryNeed, Sampler};
use crate::space::Space;
use crate::stream::Stream;

/// The largest grid: the most trials a task may have, and 4 MB for the order of visits.
pub const MAX_GRID_POINTS: u64 = 1_000_000;

/// Every combination of every parameter's values, each visited once.
///
/// The order is a seeded Fisher-Yates shuffle, so that a search with fewer trials than points still
/// covers the whole space instead of one corner of it. A point's position in the unshuffled grid is
/// a mixed-radix number whose last digit is the last parameter.
#[derive(Debug, Clone)]
pub struct Grid {
    order: Vec<u32>,
}

impl Grid {
    /// Builds the order of visits.
    ///
    /// # Errors
    /// All of [`Grid::faults`].
    pub fn new(space: &Space, seed: u64) -> Result<Self, Vec<SpaceFault>> {
        let faults = Self::faults(space);
        if !faults.is_empty() {
            return Err(faults);
        }
        let size = u32::try_from(size_of_bounded(space))
            .expect("the faults above hold the size to MAX_GRID_POINTS");
        Ok(Self {
            order: shuffled(size, seed),
        })
    }

    /// What keeps a grid from covering `space`: `grid_needs_step` for each float without a step
    /// (unless low equals high), `grid_too_large` for more than [`MAX_GRID_POINTS`] points.
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
        if size > u128::from(MAX_GRID_POINTS) {
            let least = if faults.is_empty() { "" } else { "at least " };
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

/// The product of the sizes of all parameters that have one; `u128::MAX` if it is beyond that.
fn size_of_bounded(space: &Space) -> u128 {
    let sizes = space
        .parameters()
        .iter()
        .filter_map(|parameter| parameter.domain().size());
    sizes.fold(1, |product: u128, size| {
        product.saturating_mul(u128::from(size))
    })
}

fn shuffled(size: u32, seed: u64) -> Vec<u32> {
    let mut stream = Stream::for_study(seed, "grid_order");
    let mut order: Vec<u32> = (0..size).collect();
    for last in (1..order.len()).rev() {
        let other = usize::try_from(stream.below(last as u64 + 1))
            .expect("a draw not above `last` fits what `last` fits");
        order.swap(last, other);
    }
    order
}

impl Sampler for Grid {
    fn history_need(&self) -> HistoryNeed {
        HistoryNeed::None
    }

    fn size_limit(&self) -> Option<u64> {
        Some(self.order.len() as u64)
    }

    fn ask(&self, space: &Space, _: &History<'_>, _seed: u64, number: u32) -> Option<Point> {
        let mut rest = u64::from(*self.order.get(usize::try_from(number).ok()?)?);
        let mut values: Vec<_> = space
            .parameters()
            .iter()
            .rev()
            .map(|parameter| {
                let size = parameter
                    .domain()
                    .size()
                    .expect("Grid::new refused endless domains");
                let value = parameter.domain().value_at(rest % size);
                rest /= size;
                value
            })
            .collect();
        values.reverse();
        Some(Point::new(values))
    }
}
