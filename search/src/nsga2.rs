//! NSGA-II: a genetic algorithm that keeps the trials of the best fronts.

mod selection;
mod variation;

use selection::{Individual, survivors};
use variation::child;

use crate::history::{FinishedTrial, History, TrialEnd};
use crate::pareto::Merit;
use crate::point::Point;
use crate::random::Random;
use crate::sampler::{HistoryNeed, Sampler};
use crate::space::Space;
use crate::stream::Stream;
use crate::unseen::Unseen;

/// The trials of a generation, and the parents of the next. Optuna has 50; with 20 the search learns
/// two and a half times as often, which was better up to a thousand trials on both problems with
/// several objectives (docs/benchmarks/search.md).
const POPULATION: usize = 20;

/// How many children are made for one trial where they are known or not allowed, before points are drawn
/// at random.
const CHILDREN: usize = 100;

/// How many random points are tried after that.
const RANDOM_DRAWS: usize = 100;

/// NSGA-II (Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic
/// algorithm: NSGA-II", IEEE Transactions on Evolutionary Computation 6, 2002). For one objective it
/// is a plain genetic algorithm that keeps the best.
///
/// - The finished trials that say something (completed, or infeasible by how much), in the order of
///   their numbers, are cut into generations of 20. Failed and pruned trials are in none, and
///   running ones are not waited for: a generation is the first 20 that have ended, and the rest of the
///   history the next. The first is drawn at random.
/// - The parents are the best 20 of the parents before and the generation that has just become full:
///   front by front ([constrained dominance](Merit::dominates), so infeasible trials come last), and of
///   the last front that fits those with the largest [crowding
///   distance](crate::pareto::crowding_distances).
/// - A child has two parents, each the better of two drawn at random (by front, then by crowding
///   distance). With probability 0.9 it takes each parameter from either one with equal chance, else all
///   from the first. Then each parameter changes with probability 1 / d: a number to one nearby (polynomial
///   mutation with index 20), a choice, or a number whose neighbours are too far apart for that, to any. The
///   paper's simulated binary crossover was no better than the exchange and would serve numbers only.
/// - A child that breaks a constraint, or is a point of the known history, is made again, with as
///   many changes more as there were attempts before it ([`Unseen`]).
/// - The point follows from space, history, seed and number alone; the order in which the history
///   lists trials does not matter. Parents are chosen anew from the whole history each time:
///   the time is linear in the number of trials.
#[derive(Debug, Clone)]
pub struct Nsga2 {
    unseen: Unseen,
}

impl Nsga2 {
    /// Prepares what depends on the space alone.
    #[must_use]
    pub fn new(space: &Space, seed: u64) -> Self {
        Self {
            unseen: Unseen::new(space, seed),
        }
    }
}

impl Sampler for Nsga2 {
    fn history_need(&self) -> HistoryNeed {
        HistoryNeed::All
    }

    fn size_limit(&self) -> Option<u64> {
        self.unseen.size_limit()
    }

    fn ask(&self, space: &Space, history: &History<'_>, seed: u64, number: u32) -> Option<Point> {
        if self.unseen.is_exhausted(number) {
            return None;
        }
        let parents = parents(history.finished);
        let mut stream = Stream::for_sampler(seed, number, "nsga2");
        let attempts = if parents.is_empty() { 0 } else { CHILDREN };
        let children = (0..attempts).map(|attempt| child(space, &parents, &mut stream, attempt));
        let mut proposals =
            children.chain(Random::points(space, seed, number, "nsga2_random").take(RANDOM_DRAWS));
        let most = attempts + RANDOM_DRAWS;
        self.unseen
            .first(space, history, number, most, || proposals.next())
    }
}

/// The parents of the next child, the best front first; none while the first generation is not full.
fn parents(finished: &[FinishedTrial]) -> Vec<Individual<'_>> {
    let mut known: Vec<(u32, Merit<'_>, &Point)> = finished
        .iter()
        .filter_map(|trial| Some((trial.number, merit(&trial.end)?, &trial.point)))
        .collect();
    // Next to nothing where they are in order already, as they mostly are.
    known.sort_by_key(|(number, _, _)| *number);
    let generations = known.chunks_exact(POPULATION);
    generations.fold(Vec::new(), |parents, generation| {
        let new = generation.iter().map(|(_, merit, point)| (*merit, *point));
        let old = parents
            .iter()
            .map(|parent: &Individual<'_>| (parent.merit, parent.point));
        survivors(&old.chain(new).collect::<Vec<_>>(), POPULATION)
    })
}

/// A completed trial without any cost says as little as a pruned one.
fn merit(end: &TrialEnd) -> Option<Merit<'_>> {
    Merit::of(end).filter(|merit| *merit != Merit::Feasible(&[]))
}
