//! GP: Bayesian optimization with a Gaussian process and the expected improvement.

mod acquisition;
mod cholesky;
mod encoding;
mod fit;
mod improvement;
mod kernel;
mod minimize;
mod observations;
mod posterior;

use acquisition::Acquisition;
use encoding::Encoding;
use observations::{Observations, informative, thinned};
use posterior::Posterior;

use crate::history::History;
use crate::point::Point;
use crate::random::Random;
use crate::sampler::{HistoryNeed, Sampler};
use crate::sobol::SobolSequence;
use crate::space::Space;
use crate::stream::Stream;
use crate::unseen::Unseen;

/// Finished trials, failed ones aside, before which points are those of a Sobol sequence.
const START_UP: usize = 10;

/// The most finished trials that the model reads.
const MOST_OBSERVED: usize = 200;

/// The most of them to which the kernel is fitted.
const MOST_FITTED: usize = 100;

/// The most running trials that the model reads.
const MOST_RUNNING: usize = 50;

/// How many random points are tried when no other is new.
const RANDOM_DRAWS: usize = 100;

/// Bayesian optimization: a Gaussian process is fitted to the trials so far, and the point is taken
/// where it expects most improvement (Jones, Schonlau and Welch, "Efficient global optimization of
/// expensive black-box functions", 1998). For smooth objectives, few parameters and small budgets;
/// a suggestion takes some 20 to 50 ms, with a hundred parameters 150, however many trials there
/// are.
///
/// - While fewer than 10 trials have finished (failed ones not counted), points are those of a
///   scrambled Sobol sequence.
/// - Covariance: Matérn 5/2 with a length scale per parameter. Numbers lie on their range as part
///   of it, of the logarithm where the domain says so, stepped values in the middle of their cells;
///   choices are at a Hamming distance of 1; an absent parameter has a place of its own.
/// - Length scales, signal and noise are those of the highest posterior density (`gp/fit.rs` has
///   the priors).
/// - Costs are standardized. What lies more than five times as far above the best as the middle one
///   counts as that far; pruned and infeasible trials count as the worst completed one.
/// - The logarithm of the expected improvement on the best cost is searched from 600 candidates;
///   the five best are improved by its gradient and, where values are separate, one parameter at a
///   time. Every point looked at is rounded to the values of its parameters and keeps conditions
///   and constraints.
/// - Running trials stand in with the mean that the model expects ("kriging believer").
/// - Of the finished trials it reads at most 200: the 100 best and the 100 latest of the others.
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
///     let end = TrialEnd::Completed(vec![(x - 1.0) * (x - 1.0)]);
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
    unseen: Unseen,
}

impl Gp {
    /// Prepares what depends on the space alone.
    #[must_use]
    pub fn new(space: &Space, seed: u64) -> Self {
        Self {
            unseen: Unseen::new(space, seed),
        }
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
            promising(space, history, seed, number)
        };
        let most = promising.len() + RANDOM_DRAWS;
        let mut proposals = promising
            .into_iter()
            .chain(random_points(space, seed, number));
        self.unseen
            .first(space, history, number, most, || proposals.next())
    }
}

/// Points that the model proposes, the most promising first; empty where there is nothing to learn
/// from.
fn promising(space: &Space, history: &History<'_>, seed: u64, number: u32) -> Vec<Point> {
    let encoding = Encoding::of(space);
    let observations = Observations::of(history, MOST_OBSERVED);
    if encoding.axes().is_empty() || observations.points.is_empty() {
        return Vec::new();
    }
    let rows: Vec<Vec<f64>> = observations
        .points
        .iter()
        .map(|p| encoding.row(p))
        .collect();
    let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
    let fitted = thinned(&observations.numbers, MOST_FITTED);
    let fitted_rows: Vec<&[f64]> = fitted.iter().map(|at| rows[*at]).collect();
    let fitted_values: Vec<f64> = fitted.iter().map(|at| observations.values[*at]).collect();
    let Some(kernel) = fit::kernel(&encoding.kinds(), &fitted_rows, &fitted_values) else {
        return Vec::new();
    };
    let mut running: Vec<_> = history
        .running
        .iter()
        .filter(|trial| trial.number != number)
        .collect();
    running.sort_by_key(|trial| std::cmp::Reverse(trial.number));
    running.truncate(MOST_RUNNING);
    let running: Vec<Vec<f64>> = running
        .iter()
        .map(|trial| encoding.row(&trial.point))
        .collect();
    let running: Vec<&[f64]> = running.iter().map(Vec::as_slice).collect();
    let Some(posterior) = Posterior::of(kernel, &rows, &observations.values, &running) else {
        return Vec::new();
    };
    let acquisition = Acquisition {
        encoding: &encoding,
        posterior: &posterior,
        best: observations.values[0],
    };
    acquisition.points(&rows, &mut Stream::for_sampler(seed, number, "gp"))
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
