//! The front of a search, and how its hypervolume grew.

use super::trials::{Feasible, Trials};
use crate::answer::{FrontMember, HypervolumeAnswer, TrialsRead, VolumePoint};
use crate::limits::{MAX_FRONT_COMPARED, MAX_FRONT_SHOWN, MAX_VOLUME_POINTS};
use crate::problem::Problem;
use crate::tasks::view;
use std::collections::BTreeMap;
use trialmill_common::spec::TaskSpec;
use trialmill_search::pareto::{Front, HypervolumeHistory, reference_point};

/// A front, as it is remembered.
pub(in crate::tasks) struct FrontFound {
    pub(in crate::tasks) size: u32,
    /// The first members of it.
    pub(in crate::tasks) items: Vec<FrontMember>,
    /// The number of the member that is best by the first objective.
    pub(in crate::tasks) leads: Option<u32>,
    pub(in crate::tasks) hypervolume: HypervolumeAnswer,
    pub(in crate::tasks) trials: TrialsRead,
}

/// The most members of a front whose hypervolume is told: what one more trial adds takes about a tenth
/// of a millisecond with so many. None for other numbers of objectives.
fn most_measured(objectives: usize) -> Option<usize> {
    match objectives {
        2 => Some(1_000),
        3 => Some(150),
        4 => Some(50),
        _ => None,
    }
}

/// The values by metric that costs stand for.
fn values(spec: &TaskSpec, costs: &[f64]) -> BTreeMap<String, f64> {
    // The value of a cost is found as the cost of a value is.
    let values = spec.costs(costs).into_iter();
    let metrics = spec.objectives.iter().map(|target| target.metric.clone());
    metrics.zip(values).collect()
}

/// The front of some trials.
pub(super) fn front(spec: &TaskSpec, mut trials: Trials) -> Result<FrontFound, Problem> {
    let costs: Vec<&[f64]> = trials.feasible.iter().map(|t| t.costs.as_slice()).collect();
    let reference = reference_point(&costs);
    let mut measured = Measured::new(spec, reference);
    let mut front = Front::default();
    let mut used = 0;
    for trial in &trials.feasible {
        if front.members().len() >= MAX_FRONT_COMPARED {
            break;
        }
        used += 1;
        if front.add(trial.number, &trial.costs) {
            measured.add(trial);
        }
    }
    let hypervolume = measured.told(spec);
    if used < trials.feasible.len() {
        trials.complete = false;
        trials.feasible.truncate(used);
    }
    let leads = front.least(0).map(|member| member.number);
    let mut members: Vec<_> = front.members().iter().collect();
    if spec.objectives.len() == 1 {
        // Others as good are no trade-off.
        members.retain(|member| Some(member.number) == leads);
    }
    let size = members.len();
    members.sort_by(|a, b| {
        let by_first = a.costs[0].total_cmp(&b.costs[0]);
        by_first.then(a.number.cmp(&b.number))
    });
    members.truncate(MAX_FRONT_SHOWN);
    let item = |member: &trialmill_search::pareto::Member| {
        let place = trials
            .feasible
            .binary_search_by_key(&member.number, |trial| trial.number)
            .expect("a member is one of the trials");
        Ok(FrontMember {
            trial_number: member.number,
            window: spec.window_of(member.number).map(|window| window.index),
            params: view::parameters(spec, &trials.feasible[place].params)?,
            objectives: values(spec, &member.costs),
        })
    };
    Ok(FrontFound {
        size: u32::try_from(size).expect("no more than trials"),
        items: members
            .into_iter()
            .map(item)
            .collect::<Result<_, Problem>>()?,
        leads,
        hypervolume,
        trials: trials.told(),
    })
}

/// The hypervolume as trials join the front, as long as it can be told.
enum Measured {
    Volumes {
        history: HypervolumeHistory,
        reference: Vec<f64>,
        points: Vec<VolumePoint>,
        most: usize,
    },
    Untold(String),
}

impl Measured {
    fn new(spec: &TaskSpec, reference: Option<Vec<f64>>) -> Self {
        let count = spec.objectives.len();
        match (most_measured(count), reference) {
            (_, _) if count == 1 => Self::Untold(
                "of one objective the best value says as much; see figures/history".to_owned(),
            ),
            (None, _) => Self::Untold(format!(
                "{count} objectives; a hypervolume is told of 2 to 4, of more it takes too long"
            )),
            (_, None) => Self::Untold("no trial is feasible so far".to_owned()),
            (Some(most), Some(reference)) => Self::Volumes {
                history: HypervolumeHistory::new(reference.clone()),
                reference,
                points: Vec::new(),
                most,
            },
        }
    }

    fn add(&mut self, trial: &Feasible) {
        let Self::Volumes {
            history,
            points,
            most,
            ..
        } = self
        else {
            return;
        };
        let before = history.volume();
        let hypervolume = history.add(trial.number, &trial.costs);
        if hypervolume > before {
            points.push(VolumePoint {
                trial_number: trial.number,
                hypervolume,
            });
        }
        let members = history.front().members().len();
        if members > *most {
            *self = Self::Untold(format!(
                "after trial {} more than {most} trials were on the front; the hypervolume of more takes too \
                 long",
                trial.number
            ));
        } else if !hypervolume.is_finite() {
            *self = Self::Untold("it is beyond the largest number".to_owned());
        }
    }

    fn told(self, spec: &TaskSpec) -> HypervolumeAnswer {
        match self {
            Self::Untold(reason) => HypervolumeAnswer {
                value: None,
                reason: Some(reason),
                reference_point: None,
                history: Vec::new(),
            },
            Self::Volumes {
                history,
                reference,
                points,
                ..
            } => HypervolumeAnswer {
                value: Some(history.volume()),
                reason: None,
                reference_point: Some(values(spec, &reference)),
                history: thinned(points),
            },
        }
    }
}

/// Evenly spaced ones of too many, the first and the last among them.
fn thinned(points: Vec<VolumePoint>) -> Vec<VolumePoint> {
    if points.len() <= MAX_VOLUME_POINTS {
        return points;
    }
    let last = points.len() - 1;
    let kept = (0..MAX_VOLUME_POINTS).map(|k| points[k * last / (MAX_VOLUME_POINTS - 1)].clone());
    kept.collect()
}
