//! GP: Bayesian optimization with a Gaussian process and the expected improvement.

mod acquisition;
mod cholesky;
mod encoding;
mod fit;
mod improvement;
mod kernel;
mod minimize;
mod model;
mod observations;
mod posterior;
mod trust;

use std::sync::Arc;

pub(crate) use model::Model;
pub(crate) use observations::informative;

use crate::history::History;
use crate::point::Point;
use crate::random::Random;
use crate::sampler::{HistoryNeed, Sampler};
use crate::sobol::SobolSequence;
use crate::space::Space;
use crate::stream::Stream;
use crate::unseen::Unseen;

/// Finished trials, failed ones aside, before which points are those of a Sobol sequence.
pub(crate) const START_UP: usize = 10;

/// How many random points are tried when no other is new.
const RANDOM_DRAWS: usize = 100;

/// Bayesian optimization: a Gaussian process is fitted to the trials so far, and the point is taken
/// where it expects most improvement (Jones, Schonlau and Welch, "Efficient global optimization of
/// expensive black-box functions", 1998). For smooth objectives, few parameters and small budgets;
/// a suggestion takes some 20 to 50 ms, with a hundred parameters 150, however many trials there
/// are; up to twice that where some are infeasible.
///
/// - While fewer than 10 trials have finished (failed ones not counted), points are those of a
///   scrambled Sobol sequence.
/// - Covariance: Matérn 5/2 with a length scale per parameter. Numbers lie on their range as part
///   of it, of the logarithm where the domain says so, stepped values in the middle of their cells;
///   choices are at a Hamming distance of 1; an absent parameter has a place of its own.
/// - Length scales, signal and noise are those of the highest posterior density (`gp/fit.rs` has
///   the priors).
/// - Costs are standardized. What lies more than five times as far above the best as the middle one
///   counts as that far; pruned trials count as the worst completed one.
/// - Infeasible trials say nothing of the cost. Where there are any, a second process is fitted to by how much each trial is
///   infeasible (`gp/observations.rs` has the form), and the expected improvement is multiplied by the
///   probability of being feasible (Schonlau, Welch and Jones, "Global versus local search in constrained optimization of computer
///   models", 1998; Gardner et al., "Bayesian optimization with inequality constraints", ICML 2014). While fewer than
///   five trials have a cost, that probability alone is searched for.
/// - The logarithm of the expected improvement on the best cost is searched from 600 candidates;
///   the five best are improved by its gradient and, where values are separate, one parameter at a
///   time. Every point looked at is rounded to the values of its parameters and keeps conditions
///   and constraints.
/// - Running trials stand in with the mean that the model expects ("kriging believer").
/// - Of the finished trials each process reads at most 200: the 100 best (for the second the best feasible and the least
///   infeasible, in turns) and the 100 latest of the others.
///   The kernel is fitted to at most 100 of these, chosen in the same way, and of the running
///   trials the 50 latest count.
/// - A point of the known history is not given again ([`Unseen`]). Where the model has nothing to
///   go by or finds no allowed point, random points are tried.
/// - The point follows from space, history, seed and number alone; the order in which the history
///   lists trials does not matter.
///
/// One objective only: of several costs it reads the first.
///
/// ```
/// use trialmill_search::{
///     Domain, FinishedTrial, History, Method, ParamValue, Space, Study, TrialEnd,
/// };
///
/// let space = Space::new([
///     ("x".to_owned(), Domain::Float { low: -4.0, high: 6.0, step: None, log: false }),
/// ])
/// .expect("the bounds are in order");
/// let study = Study::new(space, Method::Gp, 42).expect("it takes every space");
/// let mut finished = Vec::new();
/// for number in 0..20 {
///     let history = History { finished: &finished, running: &[] };
///     let point = study.ask(&history, number).expect("a line has many points");
///     let ParamValue::Float(x) = point.values()[0] else { unreachable!("x is a float") };
///     let end = TrialEnd::completed(vec![(x - 1.0) * (x - 1.0)]);
///     finished.push(FinishedTrial { number, point, end });
/// }
/// let costs = finished.iter().map(|trial| match &trial.end {
///     TrialEnd::Completed(costs) => costs[0],
///     _ => f64::INFINITY,
/// });
/// assert!(costs.fold(f64::INFINITY, f64::min) < 1e-4);
/// ```
#[derive(Debug, Clone)]
pub struct Gp {
    unseen: Arc<Unseen>,
}

impl Gp {
    /// Prepares what depends on the space alone.
    #[must_use]
    pub fn new(space: &Space, seed: u64) -> Self {
        Self::sharing(Arc::new(Unseen::new(space, seed)))
    }

    pub(crate) fn sharing(unseen: Arc<Unseen>) -> Self {
        Self { unseen }
    }

    /// The point of trial `number` where a model of the history has been made already.
    pub(crate) fn ask_model(
        &self,
        model: &Model<'_>,
        space: &Space,
        history: &History<'_>,
        seed: u64,
        number: u32,
    ) -> Option<Point> {
        let promising = model.points(seed, number);
        self.first_unseen(promising, space, history, seed, number)
    }

    /// The first of these points that is new, or a random one.
    fn first_unseen(
        &self,
        promising: Vec<Point>,
        space: &Space,
        history: &History<'_>,
        seed: u64,
        number: u32,
    ) -> Option<Point> {
        let most = promising.len() + RANDOM_DRAWS;
        let mut proposals = promising
            .into_iter()
            .chain(random_points(space, seed, number));
        self.unseen
            .first(space, history, number, most, || proposals.next())
    }
}

impl Sampler for Gp {
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
        let promising = if informative(history) < START_UP {
            vec![SobolSequence::new(space, seed, 0).point(space, number)]
        } else {
            let model = Model::of(space, history, number);
            model.map_or_else(Vec::new, |model| model.points(seed, number))
        };
        self.first_unseen(promising, space, history, seed, number)
    }
}

/// The point of [`Random`], then others.
fn random_points(space: &Space, seed: u64, number: u32) -> impl Iterator<Item = Point> {
    let first = std::iter::once_with(move || Random.ask(space, &History::EMPTY, seed, number));
    let mut stream = Stream::for_sampler(seed, number, "gp_random");
    let more = std::iter::repeat_with(move || {
        let domains = space.parameters().iter().map(crate::Parameter::domain);
        let values = domains.map(|domain| Random::draw(domain, &mut stream));
        space.without_inactive(values.collect())
    });
    first.flatten().chain(more).take(RANDOM_DRAWS)
}
