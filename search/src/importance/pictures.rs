//! The data of pictures of a search: who draws them needs no knowledge of spaces.
//!
//! All values of an objective are costs, as they were given; who shows a maximized one turns its sign
//! back. Trials whose value is not finite are left out. Trials come in the order of their numbers.

use serde::Serialize;

use super::{ImportanceFault, Observed, sorted, unknown_parameter};
use crate::choice::Choice;
use crate::domain::Domain;
use crate::point::ParamValue;
use crate::space::{Parameter, Space};

/// One parameter against the objective.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slice {
    /// The parameter's name.
    pub name: String,
    /// The trials that have the parameter.
    pub points: Vec<SlicePoint>,
}

/// A trial in a [`Slice`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlicePoint {
    /// The trial's number.
    pub number: u32,
    /// The parameter's value.
    pub value: Choice,
    /// The objective's value, as a cost.
    pub objective: f64,
}

/// Two parameters against the objective: the points that a contour is drawn through.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contour {
    /// The name of the first parameter.
    pub x: String,
    /// The name of the second parameter.
    pub y: String,
    /// The trials that have both.
    pub points: Vec<ContourPoint>,
}

/// A trial in a [`Contour`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContourPoint {
    /// The trial's number.
    pub number: u32,
    /// The value of the first parameter.
    pub x: Choice,
    /// The value of the second parameter.
    pub y: Choice,
    /// The objective's value, as a cost.
    pub objective: f64,
}

/// All parameters side by side: an axis for each parameter, a line for each trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coordinates {
    /// The parameters' names.
    pub axes: Vec<String>,
    /// The trials.
    pub lines: Vec<ParallelLine>,
}

/// A trial in [`Coordinates`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParallelLine {
    /// The trial's number.
    pub number: u32,
    /// The objective's value, as a cost.
    pub objective: f64,
    /// A value for each axis; `None` where the trial does not have the parameter.
    pub values: Vec<Option<Choice>>,
}

/// The standing of every trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rank {
    /// The trials.
    pub points: Vec<RankPoint>,
}

/// A trial in a [`Rank`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankPoint {
    /// The trial's number.
    pub number: u32,
    /// The objective's value, as a cost.
    pub objective: f64,
    /// The part of the other trials that are better, 0 for the best and 1 for the worst; equal ones share
    /// the mean of their places.
    pub rank: f64,
}

/// A slice for each parameter of the space, in its order.
///
/// ```
/// use trialmill_search::importance::{Observed, slices};
/// use trialmill_search::{Domain, ParamValue, Point, Space};
///
/// let space = Space::new([
///     ("fast".to_owned(), Domain::Int { low: 2, high: 50, step: 1, log: false }),
/// ])?;
/// let point = Point::new(vec![ParamValue::Int(12)]);
/// let slices = slices(&space, &[Observed { number: 7, point: &point, value: -1.5 }]);
/// assert_eq!(
///     serde_json::to_string(&slices).unwrap(),
///     r#"[{"name":"fast","points":[{"number":7,"value":12,"objective":-1.5}]}]"#
/// );
/// # Ok::<(), Vec<trialmill_search::SpaceFault>>(())
/// ```
#[must_use]
pub fn slices(space: &Space, observed: &[Observed<'_>]) -> Vec<Slice> {
    let trials = finite(observed);
    let parameters = space.parameters().iter().enumerate();
    let slice = |(position, parameter): (usize, &Parameter)| Slice {
        name: parameter.name().to_owned(),
        points: trials
            .iter()
            .filter_map(|trial| {
                Some(SlicePoint {
                    number: trial.number,
                    value: scalar(parameter, position, trial)?,
                    objective: trial.value,
                })
            })
            .collect(),
    };
    parameters.map(slice).collect()
}

/// The trials over two parameters.
///
/// # Errors
/// If a name is no parameter's.
pub fn contour(
    space: &Space,
    observed: &[Observed<'_>],
    x: &str,
    y: &str,
) -> Result<Contour, ImportanceFault> {
    let find = |name: &str| {
        let mut parameters = space.parameters().iter().enumerate();
        let found = parameters.find(|(_, parameter)| parameter.name() == name);
        found.ok_or_else(|| unknown_parameter(space, name))
    };
    let (across, up) = (find(x)?, find(y)?);
    let point = |trial: &Observed<'_>| {
        Some(ContourPoint {
            number: trial.number,
            x: scalar(across.1, across.0, trial)?,
            y: scalar(up.1, up.0, trial)?,
            objective: trial.value,
        })
    };
    Ok(Contour {
        x: x.to_owned(),
        y: y.to_owned(),
        points: finite(observed).iter().filter_map(point).collect(),
    })
}

/// The trials over all parameters.
#[must_use]
pub fn parallel_coordinates(space: &Space, observed: &[Observed<'_>]) -> Coordinates {
    let parameters = || space.parameters().iter();
    let line = |trial: &Observed<'_>| ParallelLine {
        number: trial.number,
        objective: trial.value,
        values: parameters()
            .enumerate()
            .map(|(position, parameter)| scalar(parameter, position, trial))
            .collect(),
    };
    Coordinates {
        axes: parameters().map(|p| p.name().to_owned()).collect(),
        lines: finite(observed).iter().map(line).collect(),
    }
}

/// The standing of each trial by its value, as Optuna's `plot_rank` colours it.
#[must_use]
pub fn ranks(observed: &[Observed<'_>]) -> Rank {
    let trials = finite(observed);
    let mut values: Vec<f64> = trials.iter().map(|trial| trial.value).collect();
    values.sort_unstable_by(f64::total_cmp);
    let others = (values.len() as f64 - 1.0).max(1.0);
    let point = |trial: &Observed<'_>| {
        let better = values.partition_point(|value| *value < trial.value);
        let not_worse = values.partition_point(|value| *value <= trial.value);
        RankPoint {
            number: trial.number,
            objective: trial.value,
            rank: 0.5 * (better + not_worse - 1) as f64 / others,
        }
    };
    Rank {
        points: trials.iter().map(point).collect(),
    }
}

fn finite<'a>(observed: &[Observed<'a>]) -> Vec<Observed<'a>> {
    let finite = observed.iter().filter(|trial| trial.value.is_finite());
    sorted(finite.copied())
}

/// The value as JSON shows it; `None` for an absent one.
fn scalar(parameter: &Parameter, position: usize, trial: &Observed<'_>) -> Option<Choice> {
    match (parameter.domain(), trial.point.values()[position]) {
        (_, ParamValue::Float(value)) => Some(Choice::Float(value)),
        (_, ParamValue::Int(value)) => Some(Choice::Int(value)),
        (Domain::Categorical { choices }, ParamValue::Category(index)) => {
            choices.get(index as usize).cloned()
        }
        (_, ParamValue::Category(_) | ParamValue::Absent) => None,
    }
}
