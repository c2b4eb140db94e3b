//! CMA-ES: covariance matrix adaptation, with margins for integers and categories.

mod categories;
mod cholesky;
mod constants;
mod coordinates;
mod gaussian;
mod margin;
mod run;

use coordinates::Coordinates;
use run::{Ranked, Run, inner_unit};

use crate::axis::Axis;
use crate::history::History;
use crate::normal;
use crate::point::Point;
use crate::sampler::{HistoryNeed, Sampler};
use crate::space::Space;
use crate::standing::Standing;
use crate::stream::Stream;
use crate::unseen::Unseen;

/// How often a point is drawn anew when it is known or not allowed.
const DRAWS: usize = 200;

/// How often a draw outside the ranges is replaced before it is moved to the border.
const DRAWS_INSIDE: usize = 50;

/// CMA-ES.
#[derive(Debug, Clone)]
pub struct CmaEs {
    unseen: Unseen,
    coordinates: Coordinates,
}

impl CmaEs {
    /// Prepares what depends on the space alone.
    #[must_use]
    pub fn new(space: &Space, seed: u64) -> Self {
        Self {
            unseen: Unseen::new(space, seed),
            coordinates: Coordinates::of(space),
        }
    }

    fn draw(&self, space: &Space, run: &Run, stream: &mut Stream) -> Point {
        let axes = &self.coordinates.numbers;
        let is_inside = |places: &Vec<f64>| {
            axes.iter().zip(places).all(|((_, axis), place)| match axis {
                Axis::Line(_) => (0.0..=1.0).contains(place),
                Axis::Lattice(_) | Axis::Choices(_) => true,
            })
        };
        let mut places = Vec::new();
        for _ in 0..DRAWS_INSIDE {
            let z: Vec<f64> = axes.iter().map(|_| normal::inverse(inner_unit(stream))).collect();
            places = run.gaussian.draw(&z);
            if is_inside(&places) {
                break;
            }
        }
        let choices = 0..self.coordinates.choices.len();
        let choices: Vec<usize> = choices
            .map(|parameter| run.categories.choice(parameter, stream.unit_f64()))
            .collect();
        self.coordinates.point(space, &places, &choices)
    }
}

impl Sampler for CmaEs {
    fn history_need(&self) -> HistoryNeed {
        HistoryNeed::All
    }

    fn size_limit(&self) -> Option<u64> {
        self.unseen.size_limit()
    }

    fn ask(&self, space: &Space, history: &History<'_>, seed: u64, number: u32) -> Option<Point> {
        if self
            .size_limit()
            .is_some_and(|limit| u64::from(number) >= limit)
        {
            return None;
        }
        let trials = history.finished.iter();
        let mut trials: Vec<Ranked<'_>> = trials
            .filter_map(|trial| Some((Standing::of(trial)?, trial)))
            .collect();
        // Next to nothing where they are in order already, as they mostly are.
        trials.sort_by_key(|(standing, _)| standing.number);
        let run = Run::after(&self.coordinates, &trials, seed);
        let mut stream = Stream::for_sampler(seed, number, "cmaes");
        self.unseen.first(space, history, number, DRAWS, || {
            Some(self.draw(space, &run, &mut stream))
        })
    }
}
