//! The state of the search after some trials: replayed from them, generation by generation.

use super::categories::Categories;
use super::constants::{Constants, default_population};
use super::coordinates::Coordinates;
use super::gaussian::Gaussian;
use super::margin::{Cell, Margins};
use super::noise::inner_unit;
use crate::axis::Axis;
use crate::history::FinishedTrial;
use crate::normal;
use crate::standing::Standing;
use crate::stream::Stream;

/// The standard deviation that a run starts with, as a part of each range.
const FIRST_SIGMA: f64 = 1.0 / 6.0;

/// A run has converged when no coordinate without steps deviates by more than this part of its range.
const CONVERGED: f64 = 1e-5;

/// How often the population doubles.
const MOST_DOUBLINGS: u32 = 10;

/// One run of CMA-ES: from a start to its convergence, after which another one starts.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// How many runs came before.
    index: u32,
    constants: Constants,
    pub(super) gaussian: Gaussian,
    margins: Margins,
    pub(super) categories: Categories,
    best: Option<Standing>,
    /// Generations since the best trial of the run.
    idle: usize,
}

/// A trial with the rank that it has at the end of the search.
pub(super) type Ranked<'a> = (Standing, &'a FinishedTrial);

impl Run {
    fn start(coordinates: &Coordinates, seed: u64, index: u32) -> Self {
        let lambda = default_population(coordinates.dimensions()) << index.min(MOST_DOUBLINGS);
        let count = coordinates.numbers.len();
        let mean = if index == 0 {
            vec![0.5; count]
        } else {
            let mut stream = Stream::for_sampler(seed, index, "cmaes_restart");
            (0..count).map(|_| stream.unit_f64()).collect()
        };
        let choices: Vec<usize> = coordinates
            .choices
            .iter()
            .map(|(_, count)| *count)
            .collect();
        let discrete = coordinates.discrete();
        Self {
            index,
            constants: Constants::new(count, lambda),
            gaussian: Gaussian::new(mean, FIRST_SIGMA),
            margins: Margins::new(count, discrete),
            categories: Categories::new(&choices, discrete),
            best: None,
            idle: 0,
        }
    }

    /// The run that the next trial belongs to, after all complete generations of these trials, which
    /// are ordered by number.
    pub(super) fn after(coordinates: &Coordinates, trials: &[Ranked<'_>], seed: u64) -> Self {
        let mut run = Self::start(coordinates, seed, 0);
        let mut rest = trials;
        while let Some((generation, later)) = rest.split_at_checked(run.constants.lambda) {
            rest = later;
            let going = run.learn(coordinates, generation, seed);
            if !going || run.has_converged(coordinates) {
                run = Self::start(coordinates, seed, run.index.saturating_add(1));
            }
        }
        run
    }

    /// Learns from a generation. `false` if no distribution is left.
    fn learn(&mut self, coordinates: &Coordinates, generation: &[Ranked<'_>], seed: u64) -> bool {
        let mut ranked = generation.to_vec();
        ranked.sort_by(|a, b| a.0.compare(&b.0));
        self.note_best(ranked.first().map(|(standing, _)| *standing));

        let good = ranked.iter().zip(&self.constants.weights);
        let good: Vec<_> = good
            .take(self.constants.mu)
            .map(|((_, trial), weight)| (*weight, coordinates.choices_of(&trial.point)))
            .collect();
        self.categories.update(&good);

        let cells = self.cells_of_mean(coordinates);
        let mut left = vec![false; cells.len()];
        let mut draws = Vec::with_capacity(ranked.len());
        for (rank, (_, trial)) in ranked.iter().enumerate() {
            let reading = self.places(coordinates, &cells, trial, seed);
            if rank < self.constants.mu {
                for (left, (_, leaves)) in left.iter_mut().zip(&reading) {
                    *left |= leaves;
                }
            }
            draws.push(reading.into_iter().map(|(place, _)| place).collect());
        }
        if !cells.is_empty() && !self.gaussian.update(&self.constants, &draws) {
            return false;
        }
        for (at, (_, axis)) in coordinates.numbers.iter().enumerate() {
            if let Axis::Lattice(lattice) = axis {
                self.margins
                    .correct(&mut self.gaussian, at, lattice, left[at]);
            }
        }
        true
    }

    /// The cell that the mean lies in, with the probabilities below its ends, for each coordinate
    /// with steps.
    fn cells_of_mean(&self, coordinates: &Coordinates) -> Vec<Option<(Cell, f64, f64)>> {
        let axes = coordinates.numbers.iter().enumerate();
        let cells = axes.map(|(at, (_, axis))| {
            let Axis::Lattice(lattice) = axis else {
                return None;
            };
            let (mean, deviation) = (self.gaussian.mean[at], self.gaussian.deviation(at));
            let cell = Cell::of(lattice, mean);
            let below = |end: f64| normal::below((end - mean) / deviation);
            let (low, high) = (cell.below.map_or(0.0, below), cell.above.map_or(1.0, below));
            Some((cell, low, high))
        });
        cells.collect()
    }

    /// Where a trial lies in each coordinate, and whether that is another cell than the mean's.
    ///
    /// A point says in which cell it lies and not where. In the mean's cell, where the normal distribution
    /// has a place for it, it is drawn there again; elsewhere it counts as the middle, as the good trials do in
    /// CatCMA with margin ("integer centering"). An absent value is drawn from the whole
    /// distribution: it says nothing, and selection then moves nothing.
    fn places(
        &self,
        coordinates: &Coordinates,
        cells: &[Option<(Cell, f64, f64)>],
        trial: &FinishedTrial,
        seed: u64,
    ) -> Vec<(f64, bool)> {
        let mut stream = None;
        let mut unit = || {
            let new = || Stream::for_sampler(seed, trial.number, "cmaes_place");
            inner_unit(stream.get_or_insert_with(new))
        };
        let axes = coordinates.numbers.iter().zip(cells).enumerate();
        let places = axes.map(|(at, ((position, axis), cell))| {
            let place = axis.place(trial.point.values()[*position]);
            let mut between = |low: f64, high: f64| {
                let z = normal::inverse(low + unit() * (high - low));
                self.gaussian.mean[at] + self.gaussian.deviation(at) * z.clamp(-9.0, 9.0)
            };
            match (place, axis, cell) {
                (None, _, _) => (between(0.0, 1.0), false),
                (Some(number), Axis::Lattice(lattice), Some((cell, low, high))) => {
                    if number == cell.number {
                        (between(*low, *high), false)
                    } else {
                        (lattice.middle(number), true)
                    }
                }
                (Some(place), _, _) => (place, false),
            }
        });
        places.collect()
    }

    fn note_best(&mut self, best: Option<Standing>) {
        let is_better = |best: &Standing| {
            let known = self.best.as_ref();
            known.is_none_or(|known| best.compare_outcome(known).is_lt())
        };
        if let Some(best) = best.filter(is_better) {
            self.best = Some(best);
            self.idle = 0;
        } else {
            self.idle += 1;
        }
    }

    /// Whether nothing more is to be expected of this run: it is narrow, or nothing better was
    /// found for long.
    fn has_converged(&self, coordinates: &Coordinates) -> bool {
        let count = self.gaussian.mean.len();
        let most_idle = 10 + (30 * count).div_ceil(self.constants.lambda);
        let axes = coordinates.numbers.iter().enumerate();
        // Steps have their margin, which keeps them wide; they count for nothing beside others.
        let mut lines = axes.filter(|(_, (_, axis))| matches!(axis, Axis::Line(_)));
        let has_lines = lines.clone().next().is_some();
        let is_narrow = has_lines && lines.all(|(at, _)| self.gaussian.deviation(at) < CONVERGED);
        self.idle >= most_idle || is_narrow
    }
}
