//! CMA-ES: covariance matrix adaptation, with margins for integers and categories.

mod categories;
mod cholesky;
mod constants;
mod coordinates;
mod gaussian;
mod margin;
mod noise;
mod run;

use std::sync::Arc;

use coordinates::Coordinates;
use noise::{independent, mirrored_orthogonal};
use run::{Ranked, Run};

use crate::history::History;
use crate::point::Point;
use crate::sampler::{HistoryNeed, Sampler};
use crate::space::Space;
use crate::standing::Standing;
use crate::stream::Stream;
use crate::unseen::Unseen;

/// How often a point is drawn anew when it is known or not allowed.
const DRAWS: usize = 200;

/// CMA-ES (Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772): points are drawn from
/// a normal distribution that moves towards the better trials and takes the shape of where they lie. With
/// margins for integers and a distribution of their own for categories (CatCMA with margin: Hamano
/// and others, arXiv 2504.07884).
///
/// **State.** None is stored: the distribution is replayed from the finished trials. Those that did not
/// fail are taken in the order of their numbers; the first `lambda` of them are the first generation, the next
/// `lambda` the second, and so on; what is left over waits. So failed, lost and running trials cost a sample
/// and hold nothing up, and it does not matter which distribution a point was drawn from, or whether it
/// was (an initial point): a generation is ranked and learnt from as it is, with every step bounded to a
/// plausible length (Hansen, "Injecting external solutions into CMA-ES", arXiv 1110.4181). When a trial
/// ends late, the generations from its number on are formed anew.
///
/// - `lambda` is 4 + floor(3 ln d), for d parameters with more than one value. The first
///   distribution has its mean in the middle and a deviation of a sixth of each range (of its
///   logarithm where the domain says so).
/// - Within a generation, completed trials rank by cost, then pruned ones, those that got to a later step first and those of
///   one step by the cost there, then infeasible ones by how infeasible they are; the earlier of equals first.
/// - A run ends when no parameter without steps deviates by more than 1e-5 of its range, when its best trial
///   is 10 + 30 d / lambda generations old, or when its covariances degenerate. Then another one starts
///   anywhere, with twice the population (IPOP: Auger and Hansen, "A restart CMA evolution strategy with
///   increasing population size", CEC 2005).
/// - Integers and floats with steps are places on their scale that are rounded: the probability of leaving the
///   value that the mean is rounded to never falls below a margin. A point says which value it has and
///   not what was rounded; where that is the mean's, a place is drawn again from the distribution within it.
/// - Each choice of a category keeps a least probability. With k integers and categories, all margins
///   together change a draw with probability 0.27.
/// - A draw outside a range is moved to its end, so that an optimum in a corner is reached. Draws that break a
///   constraint or that a known trial has are replaced, up to 200 times ([`Unseen`]).
/// - A parameter that is absent from a trial says nothing, and is replayed as if drawn by chance.
/// - Trials come in pairs of opposite draws, and pairs orthogonal to each other: this is no
///   part of the tutorial, and was worth more than everything else that was tried
///   (docs/benchmarks/search.md).
///
/// Costs enter by their order alone: whatever keeps it (a factor, a logarithm) changes no point. One
/// objective only: of several costs it reads the first.
///
/// ```
/// use trialmill_search::{
///     Domain, FinishedTrial, History, Method, ParamValue, Space, Study, TrialEnd,
/// };
///
/// let line = |name: &str| {
///     (name.to_owned(), Domain::Float { low: -5.0, high: 5.0, step: None, log: false })
/// };
/// let space = Space::new([line("x"), line("y")])?;
/// let study = Study::new(space, Method::CmaEs, 42)?;
/// let mut finished = Vec::new();
/// let mut best = f64::INFINITY;
/// for number in 0..150 {
///     let history = History { finished: &finished, running: &[] };
///     let point = study.ask(&history, number).expect("there are endless points");
///     let [ParamValue::Float(x), ParamValue::Float(y)] = *point.values() else { unreachable!() };
///     let cost = (x - 1.0) * (x - 1.0) + 100.0 * (x + y) * (x + y);
///     best = best.min(cost);
///     finished.push(FinishedTrial { number, point, end: TrialEnd::completed(vec![cost]) });
/// }
/// assert!(best < 1e-3, "{best}");
/// # Ok::<(), Vec<trialmill_search::SpaceFault>>(())
/// ```
#[derive(Debug, Clone)]
pub struct CmaEs {
    unseen: Arc<Unseen>,
    coordinates: Coordinates,
}

impl CmaEs {
    /// Prepares what depends on the space alone.
    #[must_use]
    pub fn new(space: &Space, seed: u64) -> Self {
        Self::sharing(space, Arc::new(Unseen::new(space, seed)))
    }

    pub(crate) fn sharing(space: &Space, unseen: Arc<Unseen>) -> Self {
        Self {
            unseen,
            coordinates: Coordinates::of(space),
        }
    }

    /// The point that a standard normal vector becomes, with choices drawn from `stream`.
    fn point(&self, space: &Space, run: &Run, noise: &[f64], stream: &mut Stream) -> Point {
        let places = run.gaussian.draw(noise);
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
        if self.unseen.is_exhausted(number) {
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
        let count = self.coordinates.numbers.len();
        let mut planned = Some(mirrored_orthogonal(seed, number, count));
        self.unseen.first(space, history, number, DRAWS, || {
            let noise = planned.take();
            let noise = noise.unwrap_or_else(|| independent(&mut stream, count));
            Some(self.point(space, &run, &noise, &mut stream))
        })
    }
}
