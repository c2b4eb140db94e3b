//! Which parameters a finished search owes its values to, and the data of the pictures that show it.
//!
//! Two measures, which ask different questions:
//!
//! | | asks | reads | good for |
//! |---|---|---|---|
//! | [`ped_anova()`] | what sets the best trials apart from the others? | ranks | any sampler's trials, conditional parameters, wild values; milliseconds |
//! | [`fanova()`] | how much of the variance over the whole space is each parameter's? | values | evenly spread trials (random, Sobol, grid) of a tame objective |
//!
//! Both are pure functions of the space and the trials, whatever the order of the trials; all
//! values are **costs**, smaller is better, as in a [`History`]. Values that are not finite are left
//! out, as Optuna leaves them out.
//!
//! Which trials count: those that completed. Pruned and failed trials have no value, and infeasible
//! ones keep none in a [`History`]; [`Observed::of`] leaves all three out. (Optuna counts infeasible
//! trials that completed, by their values; a caller that has the values may hand them in, too.)

mod division;
mod fanova;
mod forest;
mod pairs;
mod parzen;
mod ped_anova;
mod pictures;
mod table;

#[cfg(test)]
mod oracle;

pub use fanova::{Decomposed, FanovaOptions, MAX_FANOVA_TRIALS, MAX_TREES, fanova};
pub use pairs::{MAX_INTERACTION_PARAMETERS, PairImportance, fanova_pairs};
pub use ped_anova::{PedAnovaOptions, ped_anova};
pub use pictures::{
    Contour, ContourPoint, Coordinates, ParallelLine, Rank, RankPoint, Slice, SlicePoint, contour,
    parallel_coordinates, ranks, slices,
};

use std::cmp::Ordering;

use serde::Serialize;
use thiserror::Error;

use crate::fault::{closest, shown};
use crate::history::{FinishedTrial, History, TrialEnd};
use crate::point::Point;
use crate::space::{Parameter, Space};

/// The fewest trials with a finite value that an importance is computed from: the best tenth
/// is then two trials. Fewer would give numbers that the next trial overturns.
pub const MIN_TRIALS: usize = 20;

/// A completed trial and its value of one objective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed<'a> {
    /// Its number within the study.
    pub number: u32,
    /// What it evaluated: a point of the space that the functions are given.
    pub point: &'a Point,
    /// Its value of the objective in question, as a cost: smaller is better.
    pub value: f64,
}

impl<'a> Observed<'a> {
    /// The completed trials of a history with their values of the objective at this position
    /// (from 0), ordered by number. Trials without such a value are left out.
    ///
    /// ```
    /// use trialmill_search::importance::Observed;
    /// use trialmill_search::{FinishedTrial, History, ParamValue, Point, TrialEnd};
    ///
    /// let trial = |number, end| FinishedTrial {
    ///     number,
    ///     point: Point::new(vec![ParamValue::Int(3)]),
    ///     end,
    /// };
    /// let finished = [
    ///     trial(0, TrialEnd::completed(vec![0.5, -7.0])),
    ///     trial(1, TrialEnd::Pruned(None)),
    ///     trial(2, TrialEnd::Infeasible { violation: 1.0 }),
    /// ];
    /// let history = History { finished: &finished, running: &[] };
    /// let observed = Observed::of(&history, 1);
    /// assert_eq!((observed.len(), observed[0].value), (1, -7.0));
    /// ```
    #[must_use]
    pub fn of(history: &History<'a>, objective: usize) -> Vec<Self> {
        let value = |trial: &'a FinishedTrial| match &trial.end {
            TrialEnd::Completed(values) => Some(Self {
                number: trial.number,
                point: &trial.point,
                value: *values.get(objective)?,
            }),
            TrialEnd::Infeasible { .. } | TrialEnd::Pruned(_) | TrialEnd::Failed => None,
        };
        sorted(history.finished.iter().filter_map(value))
    }
}

/// How much one parameter matters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Importance {
    /// The parameter's name.
    pub name: String,
    /// The measure itself, at least 0: for [`fanova()`] the part of the variance that the parameter
    /// explains alone, for [`ped_anova()`] a divergence of densities.
    pub value: f64,
    /// The value as a part of all parameters' values: together 1.
    pub share: f64,
}

/// Why there is no importance to tell.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ImportanceFault {
    /// Too few trials completed with a finite value.
    #[error("{got} completed trials; needs {needed}")]
    TooFewTrials {
        /// Completed trials with a finite value.
        got: usize,
        /// The least number, [`MIN_TRIALS`].
        needed: usize,
    },
    /// All values are equal, so nothing can be said to cause a difference.
    #[error(
        "all {trials} completed trials have the value {value:?}; no parameter makes a difference"
    )]
    SameValue {
        /// How many trials there are.
        trials: usize,
        /// The value of each one, as the cost that it was given as.
        value: f64,
    },
    /// There is no parameter that could matter.
    #[error("no parameter has more than one value and is there in every completed trial")]
    NoParameter,
    /// The quantiles are not in order.
    #[error(
        "the target quantile {target:?} and the region quantile {region:?} do not keep \
         0 < target < region <= 1; use for example 0.1 and 1"
    )]
    Quantiles {
        /// The target quantile.
        target: f64,
        /// The region quantile.
        region: f64,
    },
    /// The number of trees is out of range.
    #[error("{trees} trees are outside 1 to {most}; use for example 64", most = MAX_TREES)]
    Trees {
        /// How many were asked for.
        trees: usize,
    },
    /// The pairs of more parameters were asked for than are told at once.
    #[error(
        "pairs of {got} parameters are asked for, and at most {most} are told at once; name fewer",
        most = MAX_INTERACTION_PARAMETERS
    )]
    TooManyParameters {
        /// How many there were.
        got: usize,
    },
    /// A parameter has too many choices to be one of a pair.
    #[error("parameter {name} has {got} choices, too many for pairs (64); leave it out")]
    TooManyChoices {
        /// The parameter's name.
        name: String,
        /// How many choices it has.
        got: usize,
    },
    /// No parameter of the space has this name.
    #[error("{name} is not a parameter; use {known}")]
    UnknownParameter {
        /// The name, shortened to 64 characters.
        name: String,
        /// The names of the space's parameters, or the closest one.
        known: String,
    },
}

fn unknown_parameter(space: &Space, name: &str) -> ImportanceFault {
    let names = || space.parameters().iter().map(Parameter::name);
    let known = match closest(name, names()) {
        Some(name) => name.to_owned(),
        None => names().collect::<Vec<_>>().join(", "),
    };
    ImportanceFault::UnknownParameter {
        name: shown(name),
        known,
    }
}

/// The trials in the order of their numbers, so that no result depends on the order of a list.
fn sorted<'a>(observed: impl Iterator<Item = Observed<'a>>) -> Vec<Observed<'a>> {
    let mut observed: Vec<Observed<'a>> = observed.collect();
    observed.sort_by(|a, b| {
        let by_number = a.number.cmp(&b.number);
        by_number.then(a.value.total_cmp(&b.value))
    });
    observed
}

/// The trials that count, in the order of their numbers: enough of them, and not all alike.
fn usable<'a>(observed: &[Observed<'a>]) -> Result<Vec<Observed<'a>>, ImportanceFault> {
    let finite = observed.iter().filter(|trial| trial.value.is_finite());
    let usable = sorted(finite.copied());
    if usable.len() < MIN_TRIALS {
        return Err(ImportanceFault::TooFewTrials {
            got: usable.len(),
            needed: MIN_TRIALS,
        });
    }
    let value = usable[0].value;
    if usable.iter().all(|trial| trial.value == value) {
        return Err(ImportanceFault::SameValue {
            trials: usable.len(),
            value,
        });
    }
    Ok(usable)
}

/// A parameter before its share is known: name, value, and whether it has more than one value.
struct Measured<'a> {
    name: &'a str,
    value: f64,
    varies: bool,
}

/// The measures with their shares, the largest first, equal ones by name. Where nothing matters at
/// all, the parameters that have more than one value share equally, as in Optuna.
fn importances(measured: &[Measured<'_>]) -> Vec<Importance> {
    let sum: f64 = measured.iter().map(|one| one.value).sum();
    let varying = measured.iter().filter(|one| one.varies).count();
    let share = |one: &Measured<'_>| match (sum > 0.0, one.varies) {
        (true, _) => one.value / sum,
        (false, true) => 1.0 / varying as f64,
        (false, false) => 0.0,
    };
    let mut importances: Vec<Importance> = measured
        .iter()
        .map(|one| Importance {
            name: one.name.to_owned(),
            value: one.value,
            share: share(one),
        })
        .collect();
    importances.sort_by(|a, b| largest_first(a.value, b.value).then_with(|| a.name.cmp(&b.name)));
    importances
}

fn largest_first(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}
