//! PED-ANOVA: what sets the best trials apart.

use super::parzen::Grid;
use super::{Importance, ImportanceFault, Measured, Observed, importances, usable};
use crate::space::Space;

/// The fewest trials of the region that a parameter's density is made from.
const MIN_TRIALS_WITH: usize = 2;

/// What keeps quotients of densities finite.
const TINY_DENSITY: f64 = 1e-12;

/// What [`ped_anova()`] compares with what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PedAnovaOptions {
    /// The part of the trials that is good: 0.1 asks what the best tenth has in common. At
    /// least five trials should be in it.
    pub target_quantile: f64,
    /// The part of the trials that the good ones are compared with, the best first: 1 for all. A
    /// smaller one asks what matters among the better trials. Larger than the target quantile.
    pub region_quantile: f64,
    /// Whether the good trials are compared with the density of the region's trials, which allows
    /// for where the sampler looked; else with an even spread over the domain.
    pub evaluate_on_local: bool,
}

/// Optuna's: the best tenth against all trials.
impl Default for PedAnovaOptions {
    fn default() -> Self {
        Self {
            target_quantile: 0.1,
            region_quantile: 1.0,
            evaluate_on_local: true,
        }
    }
}

/// PED-ANOVA (Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter
/// Importance in Arbitrary Subspaces", IJCAI 2023, arXiv 2304.10255, section 4, algorithm 1; conditional
/// parameters after "Conditional PED-ANOVA", arXiv 2601.20800, theorem 4.2), with the numbers of
/// Optuna 5.0's `PedAnovaImportanceEvaluator` to 1e-9.
///
/// For each parameter two densities over the cells `x` of a grid: `p` of the target trials, the best by
/// `target_quantile`, and `q` of the region's. With `t` of all `T` target trials and `r` of all `R` region
/// trials having the parameter at all:
///
/// ```text
/// value = (T/R)^2 * (t/T)^2 / (r/R) * sum over x of q(x) (p(x) / q(x) - 1)^2
/// ```
///
/// Trials with the value of the last one of a quantile belong to it. A parameter with one value,
/// or that fewer than two trials have, has the value 0. Only ranks of values matter, so no
/// outlier disturbs it. Every parameter of the space is in the answer, the most important first.
///
/// ```
/// use trialmill_search::importance::{Observed, PedAnovaOptions, ped_anova};
/// use trialmill_search::{Domain, History, Method, ParamValue, Space, Study};
///
/// let float = Domain::Float { low: 0.0, high: 1.0, step: None, log: false };
/// let space = Space::new([("a".to_owned(), float.clone()), ("b".to_owned(), float)])
///     .expect("two floats without fault");
/// let study = Study::new(space.clone(), Method::Random, 1).expect("random search takes every space");
/// let points: Vec<_> = (0..100).filter_map(|number| study.ask(&History::EMPTY, number)).collect();
/// let observed: Vec<_> = (0..).zip(&points).map(|(number, point)| match point.values() {
///     [ParamValue::Float(a), ParamValue::Float(b)] => Observed { number, point, value: a + b / 1000.0 },
///     _ => unreachable!("a space of two floats"),
/// }).collect();
///
/// let found = ped_anova(&space, &observed, &PedAnovaOptions::default())?;
/// assert_eq!(found[0].name, "a");
/// assert!(found[0].share > 0.9);
///
/// let fault = ped_anova(&space, &observed[..10], &PedAnovaOptions::default()).unwrap_err();
/// assert_eq!(fault.to_string(), "10 completed trials; needs 20");
/// # Ok::<(), trialmill_search::importance::ImportanceFault>(())
/// ```
///
/// # Errors
/// Fewer than [`MIN_TRIALS`](super::MIN_TRIALS) finite values, all values equal, no parameter with
/// more than one value, or quantiles out of order.
pub fn ped_anova(
    space: &Space,
    observed: &[Observed<'_>],
    options: &PedAnovaOptions,
) -> Result<Vec<Importance>, ImportanceFault> {
    let (target, region) = (options.target_quantile, options.region_quantile);
    if !(0.0 < target && target < region && region <= 1.0) {
        return Err(ImportanceFault::Quantiles { target, region });
    }
    let grids: Vec<Option<Grid<'_>>> = space
        .parameters()
        .iter()
        .map(|parameter| Grid::of(parameter.domain()))
        .collect();
    if grids.iter().all(Option::is_none) {
        return Err(ImportanceFault::NoParameter);
    }
    let trials = usable(observed)?;
    let (target, region) = (best(&trials, target), best(&trials, region));
    let measure = |(position, grid): (usize, &Option<Grid<'_>>)| Measured {
        name: space.parameters()[position].name(),
        value: grid.as_ref().map_or(0.0, |grid| {
            value(grid, position, &target, &region, options.evaluate_on_local)
        }),
        varies: grid.is_some(),
    };
    let measured: Vec<Measured<'_>> = grids.iter().enumerate().map(measure).collect();
    Ok(importances(&measured))
}

/// The best trials by a quantile, with all that equal the last of them.
fn best<'a>(trials: &[Observed<'a>], quantile: f64) -> Vec<Observed<'a>> {
    if quantile == 1.0 {
        return trials.to_vec();
    }
    let mut values: Vec<f64> = trials.iter().map(|trial| trial.value).collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a length"
    )]
    let count = libm::ceil(quantile * values.len() as f64) as usize;
    let last = count.clamp(1, values.len()) - 1;
    let worst = *values.select_nth_unstable_by(last, f64::total_cmp).1;
    let best = trials.iter().filter(|trial| trial.value <= worst);
    best.copied().collect()
}

fn value(
    grid: &Grid<'_>,
    position: usize,
    target: &[Observed<'_>],
    region: &[Observed<'_>],
    on_local: bool,
) -> f64 {
    let count = |trials: &[Observed<'_>]| {
        grid.count(trials.iter().map(|trial| trial.point.values()[position]))
    };
    let (in_target, in_region) = (count(target), count(region));
    let with_target: f64 = in_target.iter().sum();
    let with_region: f64 = in_region.iter().sum();
    if with_region < MIN_TRIALS_WITH as f64 || with_target == 0.0 {
        return 0.0;
    }
    let good = grid.density(&in_target);
    let all = if on_local {
        let mut density = grid.density(&in_region);
        density.iter_mut().for_each(|part| *part += TINY_DENSITY);
        density
    } else {
        vec![1.0 / grid.cells() as f64; grid.cells()]
    };
    let divergence: f64 = good
        .iter()
        .zip(&all)
        .map(|(good, all)| {
            let off = (good + TINY_DENSITY) / all - 1.0;
            all * off * off
        })
        .sum();
    let (targets, regions) = (target.len() as f64, region.len() as f64);
    let (of_target, of_region) = (with_target / targets, with_region / regions);
    let part = targets / regions;
    part * part * of_target * of_target / of_region * divergence
}
