//! The data of pictures of a search.

use super::importance::{Measure, parameters};
use super::observed::Points;
use serde_json::{Value, json};
use trialmill_common::spec::{Target, TaskSpec};
use trialmill_search::importance::{
    ImportanceFault, Observed, contour, parallel_coordinates, ranks, slices,
};

/// A picture that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tasks) enum Figure {
    Slice,
    Contour,
    ParallelCoordinate,
    Rank,
    History,
    Edf,
}

impl Figure {
    const ALL: [Self; 6] = [
        Self::Slice,
        Self::Contour,
        Self::ParallelCoordinate,
        Self::Rank,
        Self::History,
        Self::Edf,
    ];
    pub(in crate::tasks) const NAMES: [&str; 6] = [
        "slice",
        "contour",
        "parallel_coordinate",
        "rank",
        "history",
        "edf",
    ];

    pub(in crate::tasks) fn name(self) -> &'static str {
        match self {
            Self::Slice => Self::NAMES[0],
            Self::Contour => Self::NAMES[1],
            Self::ParallelCoordinate => Self::NAMES[2],
            Self::Rank => Self::NAMES[3],
            Self::History => Self::NAMES[4],
            Self::Edf => Self::NAMES[5],
        }
    }
}

impl std::str::FromStr for Figure {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|figure| figure.name() == name)
            .ok_or(())
    }
}

/// The two parameters of a contour, as far as they were asked for.
#[derive(Debug, Clone, Default)]
pub(in crate::tasks) struct Axes {
    pub(in crate::tasks) x: Option<String>,
    pub(in crate::tasks) y: Option<String>,
}

/// The data of a picture of one objective, by its place. The values are the objective's own, not costs.
pub(super) fn data(
    figure: Figure,
    spec: &TaskSpec,
    points: &Points,
    objective: usize,
    axes: &Axes,
) -> Result<Value, ImportanceFault> {
    let observed = points.observed(objective);
    let target = &spec.objectives[objective];
    // The value of a cost is found as the cost of a value is.
    let own = |cost: &mut f64| *cost = target.direction.cost(*cost);
    Ok(match figure {
        Figure::Slice => {
            let mut slices = slices(&spec.space, &observed);
            let points = slices.iter_mut().flat_map(|slice| &mut slice.points);
            points.for_each(|point| own(&mut point.objective));
            json!(slices)
        }
        Figure::Contour => {
            let [x, y] = contoured(spec, &observed, axes);
            let mut contour = contour(&spec.space, &observed, &x, &y)?;
            contour
                .points
                .iter_mut()
                .for_each(|p| own(&mut p.objective));
            json!(contour)
        }
        Figure::ParallelCoordinate => {
            let mut all = parallel_coordinates(&spec.space, &observed);
            all.lines.iter_mut().for_each(|l| own(&mut l.objective));
            json!(all)
        }
        Figure::Rank => {
            let mut rank = ranks(&observed);
            rank.points.iter_mut().for_each(|p| own(&mut p.objective));
            json!(rank)
        }
        Figure::History => history(target, &observed),
        Figure::Edf => edf(target, &observed),
    })
}

/// The parameters of a contour: those asked for, the others the most important ones, as far as that can be
/// told, else the first ones.
fn contoured(spec: &TaskSpec, observed: &[Observed<'_>], axes: &Axes) -> [String; 2] {
    let by_importance = parameters(spec, observed, Measure::PedAnova).unwrap_or_default();
    let names = by_importance.into_iter().map(|one| one.name);
    let in_order = spec.space.parameters().iter().map(|p| p.name().to_owned());
    let mut free = names.chain(in_order).filter(|name| {
        let is = |asked: &Option<String>| asked.as_ref() == Some(name);
        !is(&axes.x) && !is(&axes.y)
    });
    let x = axes.x.clone().or_else(|| free.next()).unwrap_or_default();
    let y = axes.y.clone().or_else(|| free.find(|name| *name != x));
    [x, y.unwrap_or_default()]
}

/// Each value with the best so far, by number.
fn history(target: &Target, observed: &[Observed<'_>]) -> Value {
    let mut best = f64::INFINITY;
    let point = |trial: &Observed<'_>| {
        best = best.min(trial.value);
        json!({
            "number": trial.number,
            "objective": target.direction.cost(trial.value),
            "best": target.direction.cost(best),
        })
    };
    let points: Vec<Value> = observed.iter().map(point).collect();
    json!({"points": points})
}

/// For each value the share of trials that have at most it.
fn edf(target: &Target, observed: &[Observed<'_>]) -> Value {
    let values = observed
        .iter()
        .map(|trial| target.direction.cost(trial.value));
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len() as f64;
    let steps = values.chunk_by(|a, b| a == b);
    let mut below = 0;
    let point = |step: &[f64]| {
        below += step.len();
        json!({"objective": step[0], "share": below as f64 / count})
    };
    let points: Vec<Value> = steps.map(point).collect();
    json!({"points": points})
}
