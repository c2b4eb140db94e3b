//! Margins: no integer is ever given up.

use super::gaussian::Gaussian;
use crate::axis::Lattice;
use crate::normal;

/// Keeps a probability of leaving the mean's cell on each axis with steps: CMA-ES with margin (Hamano,
/// Saito, Nomura and Shirakawa, GECCO 2022), in the form of CatCMA with margin (Hamano and others,
/// arXiv 2504.07884, section 4), where a probability may only grow again when a good trial has left the
/// cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Margins {
    /// The least probability of leaving the cell of the mean.
    pub(super) least: f64,
    /// For each coordinate, the probability of leaving that its last correction gave it.
    leaving: Vec<f64>,
}

/// A cell that is narrower than this part of its range needs no margin: the distribution is never
/// narrower.
const NARROWEST_CELL: f64 = 1e-8;

/// Probabilities are held this far from 0 and 1/2, where deviations are infinite or 0.
const NEARLY: f64 = 1e-8;

/// The least probability of change that each of so many discrete parameters keeps: together they
/// leave a draw unchanged with probability 0.73 (arXiv 2504.07884, section 5.1).
pub(super) fn least_probability(discrete: usize) -> f64 {
    1.0 - libm::pow(0.73, 1.0 / discrete.max(1) as f64)
}

impl Margins {
    pub(super) fn new(coordinates: usize, discrete: usize) -> Self {
        Self {
            least: least_probability(discrete),
            leaving: vec![0.5 - NEARLY; coordinates],
        }
    }

    /// Moves the mean and widens the distribution of one coordinate, where needed. `left` says
    /// whether one of the good trials has left the cell of the mean that they were compared with.
    pub(super) fn correct(
        &mut self,
        gaussian: &mut Gaussian,
        at: usize,
        lattice: &Lattice,
        left: bool,
    ) {
        let cell = Cell::of(lattice, gaussian.mean[at]);
        match (cell.below, cell.above) {
            (Some(below), Some(above)) if above - below < NARROWEST_CELL => {}
            (Some(below), Some(above)) => self.correct_inside(gaussian, at, below, above, left),
            (Some(below), None) => self.correct_at_end(gaussian, at, &cell, below, left),
            (None, Some(above)) => self.correct_at_end(gaussian, at, &cell, above, left),
            (None, None) => {}
        }
    }

    /// In the first or last cell, which reaches on for ever: only one side to leave by.
    fn correct_at_end(
        &mut self,
        gaussian: &mut Gaussian,
        at: usize,
        cell: &Cell,
        exit: f64,
        left: bool,
    ) {
        let inward = if cell.below.is_none() { -1.0 } else { 1.0 };
        if (cell.middle - exit).abs() < NARROWEST_CELL {
            return;
        }
        let distance = (gaussian.mean[at] - exit).abs() / gaussian.deviation(at);
        let mut leaving = normal::below(-distance).max(self.least);
        if !left {
            leaving = leaving.min(self.leaving[at]);
        }
        let leaving = leaving.clamp(NEARLY, 0.5 - NEARLY);
        // From the middle of the cell the exit is in reach.
        let reach = -normal::inverse(self.least) * gaussian.narrow_deviation(at);
        let least_stretch = (cell.middle - exit).abs() / reach;
        gaussian.stretch[at] = gaussian.stretch[at].max(least_stretch);
        let distance = -normal::inverse(leaving) * gaussian.deviation(at);
        gaussian.mean[at] = exit + inward * distance;
        self.leaving[at] = leaving;
    }

    fn correct_inside(
        &mut self,
        gaussian: &mut Gaussian,
        at: usize,
        below: f64,
        above: f64,
        left: bool,
    ) {
        let least = self.least / 2.0;
        let (mean, deviation) = (gaussian.mean[at], gaussian.deviation(at));
        let low = normal::below((below - mean) / deviation);
        let high = normal::below((mean - above) / deviation);
        let stay = 1.0 - low - high;
        let (mut low, mut high) = (low.max(least), high.max(least));
        let least_stay = if left { least } else { 1.0 - self.leaving[at] };
        let stay = if left { stay } else { stay.max(least_stay) };
        let spare = low + high + stay - 2.0 * least - least_stay;
        if spare > NEARLY {
            let share = (1.0 - low - high - stay) / spare;
            low += share * (low - least);
            high += share * (high - least);
        }
        let low = low.clamp(NEARLY, 0.5 - NEARLY);
        let high = high.clamp(NEARLY, 0.5 - NEARLY);
        let (to_low, to_high) = (-normal::inverse(low), -normal::inverse(high));
        let both = to_low + to_high;
        gaussian.stretch[at] = (above - below) / (both * gaussian.narrow_deviation(at));
        gaussian.mean[at] = (below * to_high + above * to_low) / both;
        self.leaving[at] = low + high;
    }
}

/// The values that are rounded to one of a lattice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    pub(super) number: f64,
    pub(super) middle: f64,
    /// Where it ends; the first and the last one do not end outwards.
    pub(super) below: Option<f64>,
    pub(super) above: Option<f64>,
}

impl Cell {
    /// The cell that a place lies in.
    pub(super) fn of(lattice: &Lattice, place: f64) -> Self {
        let number = lattice.nearest(place);
        let (below, above) = lattice.ends(number);
        let last = lattice.nearest(1.0);
        Self {
            number,
            middle: lattice.middle(number),
            below: (number > 0.0).then_some(below),
            above: (number < last).then_some(above),
        }
    }
}
