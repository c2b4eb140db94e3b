//! fANOVA: how much of the variance over the space each parameter explains alone.

use super::division::Division;
use super::table::{self, Column};
use super::{Importance, ImportanceFault, Measured, Observed, importances, usable};
use crate::space::Space;
use crate::stream::Stream;

/// The most trees of a forest: beyond it only time grows.
pub const MAX_TREES: usize = 1_000;

/// The most trials that a forest is made of; of more, as many are drawn at random.
pub const MAX_FANOVA_TRIALS: usize = 10_000;

/// Which function's variance is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decomposed {
    /// What the forest predicts: the mean of its trees. Chance in the trees is averaged out before
    /// anything is divided, so that it does not count as variance: nearer to the truth
    /// (docs/benchmarks/search.md).
    #[default]
    Forest,
    /// What each tree predicts; the importances are the means over the trees. This is the form of the paper and
    /// of Optuna. It takes the disagreement of the trees for interactions.
    EachTree,
}

/// How [`fanova()`] grows its forest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanovaOptions {
    /// How many trees, 1 to [`MAX_TREES`].
    pub trees: usize,
    /// What the chance in them comes from: the same seed, the same answer.
    pub seed: u64,
    /// Which function's variance is divided.
    pub decomposed: Decomposed,
}

/// 64 trees, as in Optuna.
impl Default for FanovaOptions {
    fn default() -> Self {
        Self {
            trees: 64,
            seed: 0,
            decomposed: Decomposed::Forest,
        }
    }
}

/// fANOVA, first-order (Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing
/// Hyperparameter Importance", ICML 2014, algorithm 2).
///
/// A random forest learns the value as a function of the parameters. The variance of what it
/// predicts over the whole space, every parameter spread as its domain says, is divided among
/// the parameters and their interactions. With the leaves `l` of a tree, their values `v_l` and their widths `w_il`
/// along parameter `i` (1 where a leaf is not bounded):
///
/// ```text
/// f_j(x) = mean over trees of  sum over leaves with x in their side j of  v_l * product over i != j of w_il
/// value  = variance of f_j / variance of the forest
/// ```
///
/// The marginals `f_j` are exact. The variance of the forest is the sum of theirs and the mean square of what they
/// leave of it at 4,096 points. [`Decomposed::EachTree`] divides each tree by itself, exactly, as the paper does.
///
/// What the values lack to 1 is due to interactions; [`fanova_pairs`](super::fanova_pairs) tells
/// those of two. A single far outlier is most of a variance: then [`ped_anova`](super::ped_anova()) says
/// more.
///
/// - A parameter with one value has the value 0. One that is absent in some of the trials is left out,
///   as in Optuna: nobody knows what the others would have been with it.
/// - Time is bounded: of more than [`MAX_FANOVA_TRIALS`] trials as many are drawn at random, and a tree is grown on at
///   most 4,000 draws (with replacement). Numeric parameters are cut into at most 256 bins of about as many
///   trials each. Trees grow until their leaves are of equal values; at each cut two thirds of the parameters
///   are looked at.
/// - Trials that a sampler crowded together say little of the rest of the space: after TPE the importances
///   are those of a guess there.
/// - Departures from Optuna 5.0: the forest is divided, not each tree ([`Decomposed::EachTree`] does that, and looks
///   at all parameters at each cut); the logarithm is spread evenly where the domain says `log` (Optuna spreads
///   the value itself); choices are divided into any two sets (Optuna makes a number of 0 to 1 of each, and counts
///   combinations that do not exist); the values of a lattice have equal shares (Optuna gives half to both ends).
///
/// ```
/// use trialmill_search::importance::{FanovaOptions, Observed, fanova};
/// use trialmill_search::{Domain, History, Method, ParamValue, Space, Study};
///
/// let float = Domain::Float { low: 0.0, high: 1.0, step: None, log: false };
/// let space = Space::new([("a".to_owned(), float.clone()), ("b".to_owned(), float)])
///     .expect("two floats without fault");
/// let study = Study::new(space.clone(), Method::Random, 1).expect("random search takes every space");
/// let points: Vec<_> = (0..500).filter_map(|number| study.ask(&History::EMPTY, number)).collect();
/// let observed: Vec<_> = (0..).zip(&points).map(|(number, point)| match point.values() {
///     // The variances are 4/12 and 1/12.
///     [ParamValue::Float(a), ParamValue::Float(b)] => Observed { number, point, value: 2.0 * a + b },
///     _ => unreachable!("a space of two floats"),
/// }).collect();
///
/// let found = fanova(&space, &observed, &FanovaOptions::default())?;
/// assert_eq!(found[0].name, "a");
/// assert!((found[0].value - 0.8).abs() < 0.03);
/// # Ok::<(), trialmill_search::importance::ImportanceFault>(())
/// ```
///
/// # Errors
/// Fewer than [`MIN_TRIALS`](super::MIN_TRIALS) finite values, all values equal, no parameter that
/// varies over all trials, or no or too many trees.
pub fn fanova(
    space: &Space,
    observed: &[Observed<'_>],
    options: &FanovaOptions,
) -> Result<Vec<Importance>, ImportanceFault> {
    let Divided {
        columns, division, ..
    } = divided(space, observed, options, |_| Ok(Vec::new()))?;
    let mut measured = Vec::with_capacity(space.parameters().len());
    for (position, parameter) in space.parameters().iter().enumerate() {
        let column = columns.iter().position(|c| c.position == position);
        // What has more than one value and no column is absent in some trials.
        if column.is_some() || parameter.domain().size() == Some(1) {
            measured.push(Measured {
                name: parameter.name(),
                value: column.map_or(0.0, |column| division.alone[column]),
                varies: column.is_some(),
            });
        }
    }
    Ok(importances(&measured))
}

/// A forest's variance, divided.
pub(super) struct Divided {
    pub(super) columns: Vec<Column>,
    /// Positions of columns.
    pub(super) pairs: Vec<(usize, usize)>,
    pub(super) division: Division,
}

/// Grows a forest and divides its variance among its columns and the pairs of them that `pairs` picks.
pub(super) fn divided(
    space: &Space,
    observed: &[Observed<'_>],
    options: &FanovaOptions,
    pairs: impl FnOnce(&[Column]) -> Result<Vec<(usize, usize)>, ImportanceFault>,
) -> Result<Divided, ImportanceFault> {
    let trees = options.trees;
    if !(1..=MAX_TREES).contains(&trees) {
        return Err(ImportanceFault::Trees { trees });
    }
    let trials = drawn(usable(observed)?, options.seed);
    let columns = table::columns(space, &trials);
    let pairs = pairs(&columns)?;
    let division = Division::of(&columns, &scaled(&trials), &pairs, options);
    let division = division.ok_or(ImportanceFault::NoParameter)?;
    Ok(Divided {
        columns,
        pairs,
        division,
    })
}

/// At most [`MAX_FANOVA_TRIALS`] of the trials, in their order.
fn drawn(mut trials: Vec<Observed<'_>>, seed: u64) -> Vec<Observed<'_>> {
    if trials.len() > MAX_FANOVA_TRIALS {
        let mut stream = Stream::for_study(seed, "fanova_trials");
        for at in 0..MAX_FANOVA_TRIALS {
            let rest = (trials.len() - at) as u64;
            trials.swap(at, at + usize::try_from(stream.below(rest)).unwrap_or(0));
        }
        trials.truncate(MAX_FANOVA_TRIALS);
        trials.sort_by_key(|trial| trial.number);
    }
    trials
}

/// The values moved and scaled into -1 to 1, so that no square overflows or vanishes: shares of a
/// variance do not change by it.
fn scaled(trials: &[Observed<'_>]) -> Vec<f64> {
    let greatest = |values: &[f64]| values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    let values: Vec<f64> = trials.iter().map(|trial| trial.value).collect();
    let scale = greatest(&values);
    let parts: Vec<f64> = values.iter().map(|value| value / scale).collect();
    let mean = parts.iter().sum::<f64>() / parts.len() as f64;
    let off: Vec<f64> = parts.iter().map(|part| part - mean).collect();
    let scale = greatest(&off);
    off.iter().map(|off| off / scale).collect()
}
