//! Margins: no integer is ever given up.

use super::gaussian::Gaussian;
use crate::axis::Lattice;
use crate::normal;

/// Keeps a probability of leaving the mean's cell on each axis with steps: CMA-ES with margin (Hamano,
/// Saito, Nomura and Shirakawa, GECCO 2022), in the form of CatCMA with margin (Hamano and others,
/// arXiv 2504.07884), where a probability may only grow again when a good trial has left the
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
/// leave a draw unchanged with probability 0.73 (arXiv 2504.07884).
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Axis;
    use crate::domain::Domain;

    fn lattice(high: i64, log: bool) -> Lattice {
        let domain = Domain::Int {
            low: 1,
            high,
            step: 1,
            log,
        };
        match Axis::of(&domain) {
            Some(Axis::Lattice(lattice)) => lattice,
            other => panic!("{other:?}"),
        }
    }

    /// Mean, sigma, stretch and probability of leaving, and whether a good trial has left.
    type Before = (f64, f64, f64, f64, bool);

    fn corrected(lattice: &Lattice, before: Before, discrete: usize) -> (Gaussian, Margins) {
        let (mean, sigma, stretch, leaving, left) = before;
        let mut gaussian = Gaussian::new(vec![mean], sigma);
        gaussian.stretch[0] = stretch;
        let mut margins = Margins::new(1, discrete);
        margins.leaving[0] = leaving;
        margins.correct(&mut gaussian, 0, lattice, left);
        (gaussian, margins)
    }

    #[test]
    fn corrections_are_those_of_another_program() {
        // Of `cmaes.CatCMAwM` 0.13.1 (Python): five values, three discrete parameters.
        const CASES: [(Before, [f64; 3]); 7] = [
            (
                (0.5, 0.01, 1.0, 0.4, true),
                [0.5, 6.072_194_568_715_11, 0.099_588_665_390_629_83],
            ),
            (
                (0.5, 0.01, 1.0, 0.4, false),
                [0.5, 6.072_194_568_715_11, 0.099_588_665_390_629_83],
            ),
            (
                (0.56, 0.05, 1.0, 0.3, true),
                [
                    0.532_930_165_301_503_1,
                    1.614_355_655_524_377_7,
                    0.252_804_393_613_458_74,
                ],
            ),
            (
                (0.05, 0.02, 1.0, 0.45, true),
                [0.1, 3.894_387_622_112_604_6, 0.099_588_665_390_629_83],
            ),
            (
                (0.97, 0.05, 1.3, 0.2, false),
                [0.9, 1.557_755_048_845_041_3, 0.099_588_665_390_629_83],
            ),
            (
                (0.42, 0.3, 1.0, 0.35, false),
                [0.484_042_781_286_228_7, 0.352_642_064_290_967_9, 0.35],
            ),
            (
                (0.15, 0.04, 1.0, 0.499_999_99, true),
                [
                    0.102_640_309_447_184_83,
                    1.947_193_811_056_302_3,
                    0.105_649_773_666_855_13,
                ],
            ),
        ];
        for (before, expected) in CASES {
            let (gaussian, margins) = corrected(&lattice(5, false), before, 3);
            let got = [gaussian.mean[0], gaussian.stretch[0], margins.leaving[0]];
            for (got, expected) in got.iter().zip(expected) {
                assert!(
                    (got - expected).abs() < 1e-7,
                    "{before:?}: {got} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn the_probability_of_leaving_the_value_of_the_mean_is_never_below_the_margin() {
        for (log, values) in [
            (false, 2),
            (false, 5),
            (false, 1000),
            (true, 40),
            (true, 1 << 20),
        ] {
            let lattice = lattice(values, log);
            for k in 0..60 {
                let mean = f64::from(k) * 0.03 - 0.4;
                for sigma in [1e-6, 1e-4, 0.01, 0.1, 0.33] {
                    for left in [false, true] {
                        let before = (mean, sigma, 1.0, 0.3, left);
                        let (gaussian, margins) = corrected(&lattice, before, 4);
                        let cell = Cell::of(&lattice, gaussian.mean[0]);
                        let to = |end: f64| (end - gaussian.mean[0]) / gaussian.deviation(0);
                        let below = cell.below.map_or(0.0, |end| normal::below(to(end)));
                        let above = cell.above.map_or(0.0, |end| normal::below(-to(end)));
                        let leaving = below + above;
                        assert!(
                            leaving >= margins.least * (1.0 - 1e-6),
                            "{values} values, log {log}, {before:?}: {leaving} of {}",
                            margins.least
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn all_margins_together_change_a_draw_with_one_probability() {
        for discrete in [1, 2, 7, 100] {
            let stay = 1.0 - least_probability(discrete);
            let all = libm::pow(stay, discrete as f64);
            assert!((all - 0.73).abs() < 1e-12);
        }
        assert!(least_probability(0) < 0.5);
    }
}
