//! Auto: one of the other samplers, chosen anew for each trial.

mod plan;
mod structure;

use std::f64::consts::LN_2;
use std::sync::Arc;

pub use plan::Plan;
use structure::{Other, Structure};

use crate::cmaes::CmaEs;
use crate::gp::{self, Gp, Model, informative};
use crate::history::{FinishedTrial, History, TrialEnd};
use crate::point::Point;
use crate::sampler::{HistoryNeed, Sampler};
use crate::space::Space;
use crate::tpe::Tpe;
use crate::unseen::Unseen;

/// Finished trials, failed ones aside, from which on no Gaussian process is fitted.
pub const MODELLED: usize = 150;

/// Finished trials from which on CMA-ES, which reads all of them anew for each suggestion, takes longer than TPE.
pub const LONG: usize = 2_000;

/// What a model must tell of each trial from the others, in nats: as much as halves the deviation.
const ENOUGH: f64 = LN_2;

/// The part of the trials that are not infeasible without a cost, as 1 in so many, beyond which no Gaussian process is asked.
const WITHOUT_COST: usize = 3;

/// One of [`Gp`], [`Tpe`] and [`CmaEs`], chosen anew for each trial from the space and the results so far.
///
/// 1. While fewer than 10 trials have finished (failed ones not counted), points are those of a
///    Sobol sequence.
/// 2. With several objectives: TPE.
/// 3. When more than a third of the finished trials that are not infeasible are pruned, or cost no finite
///    number: TPE, which ranks them. A Gaussian process could only take them for as bad as the
///    worst. (Infeasible trials it models: [`Gp`].)
/// 4. Until 150 trials have finished, a Gaussian process is fitted to them, and asked if it can be
///    trusted: if it foretells the cost of each trial from the others so well as if they left half of the
///    deviation (`gp/trust.rs`). While fewer than five trials have a cost, what must be foretold is by how much each is infeasible.
/// 5. Where it cannot be trusted: CMA-ES for eight numbers or more, TPE for fewer and wherever
///    there are categories or conditions.
/// 6. From 150 trials on, where a Gaussian process would take tens of milliseconds without going
///    on to improve much: CMA-ES for numbers, TPE wherever there are categories or conditions.
/// 7. From 2,000 trials on: TPE, whose suggestions then cost less. (Chosen by cost; what it does to the best
///    found was not measured.)
///
/// Of parameters, those with a single value do not count.
///
/// Neither the budget nor the number of trials in flight moves anything by itself: what it takes to
/// trust a model is the same early and late, and each of the three minds the running trials in its
/// own way. So a task that is extended has searched as a longer one would have.
///
/// [`Plan`] says beforehand, in a sentence, what will be done. The figures are in
/// docs/benchmarks/search.md.
///
/// ```
/// use trialmill_search::{
///     Domain, FinishedTrial, History, Method, ParamValue, Space, Study, TrialEnd,
/// };
///
/// let line = |name: &str| {
///     (name.to_owned(), Domain::Float { low: -4.0, high: 6.0, step: None, log: false })
/// };
/// let space = Space::new([line("x"), line("y")])?;
/// let study = Study::new(space, Method::Auto, 42)?;
/// let mut finished = Vec::new();
/// let mut best = f64::INFINITY;
/// for number in 0..30 {
///     let history = History { finished: &finished, running: &[] };
///     let point = study.ask(&history, number).expect("a plane has many points");
///     let [ParamValue::Float(x), ParamValue::Float(y)] = *point.values() else { unreachable!() };
///     let cost = (x - 1.0) * (x - 1.0) + (x + y) * (x + y);
///     best = best.min(cost);
///     finished.push(FinishedTrial { number, point, end: TrialEnd::completed(vec![cost]) });
/// }
/// assert!(best < 1e-3, "{best}");
/// # Ok::<(), Vec<trialmill_search::SpaceFault>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Auto {
    structure: Structure,
    /// Shared by the three.
    unseen: Arc<Unseen>,
    gp: Gp,
    tpe: Tpe,
    cmaes: CmaEs,
}

impl Auto {
    /// Prepares what depends on the space alone.
    #[must_use]
    pub fn new(space: &Space, seed: u64) -> Self {
        let unseen = Arc::new(Unseen::new(space, seed));
        Self {
            structure: Structure::of(space),
            gp: Gp::sharing(Arc::clone(&unseen)),
            tpe: Tpe::sharing(Arc::clone(&unseen)),
            cmaes: CmaEs::sharing(space, Arc::clone(&unseen)),
            unseen,
        }
    }

    fn named(&self, other: Other) -> &dyn Sampler {
        match other {
            Other::Tpe => &self.tpe,
            Other::CmaEs => &self.cmaes,
        }
    }
}

impl Sampler for Auto {
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
        let count = informative(history);
        if count < gp::START_UP {
            return self.gp.ask(space, history, seed, number);
        }
        let feasible = count - infeasible(history);
        if has_several_costs(history) || without_cost(history) * WITHOUT_COST > feasible {
            return self.tpe.ask(space, history, seed, number);
        }
        if count >= LONG {
            return self.tpe.ask(space, history, seed, number);
        }
        if count >= MODELLED {
            let sampler = self.named(self.structure.afterwards());
            return sampler.ask(space, history, seed, number);
        }
        let model = Model::of(space, history, number);
        match model.filter(is_trusted) {
            Some(model) => self.gp.ask_model(&model, space, history, seed, number),
            None => {
                let sampler = self.named(self.structure.untrusted());
                sampler.ask(space, history, seed, number)
            }
        }
    }
}

fn is_trusted(model: &Model<'_>) -> bool {
    model.gain().is_some_and(|gain| gain >= ENOUGH)
}

fn has_several_costs(history: &History<'_>) -> bool {
    let several = |trial: &FinishedTrial| match &trial.end {
        TrialEnd::Completed(costs) => costs.len() > 1,
        TrialEnd::Infeasible { .. } | TrialEnd::Pruned(_) | TrialEnd::Failed => false,
    };
    history.finished.iter().any(several)
}

fn infeasible(history: &History<'_>) -> usize {
    let is = |trial: &&FinishedTrial| matches!(trial.end, TrialEnd::Infeasible { .. });
    history.finished.iter().filter(is).count()
}

/// How many trials say something, but nothing that a model could fit.
fn without_cost(history: &History<'_>) -> usize {
    let has_none = |trial: &&FinishedTrial| match &trial.end {
        TrialEnd::Completed(costs) => !costs.first().is_some_and(|cost| cost.is_finite()),
        TrialEnd::Pruned(_) => true,
        TrialEnd::Infeasible { .. } | TrialEnd::Failed => false,
    };
    history.finished.iter().filter(has_none).count()
}
