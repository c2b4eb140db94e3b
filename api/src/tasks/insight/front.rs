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

/// The most members of a front whose hypervolume is told: its whole history takes less than a second of one
/// core with so many. None for other numbers of objectives.
fn most_measured(objectives: usize) -> Option<usize> {
    match objectives {
        2 => Some(2_000),
        3 => Some(1_000),
        4 => Some(500),
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

#[cfg(test)]
mod tests {
    use super::*;
    use trialmill_common::draft::{MarketView, Surroundings, check_optimization};
    use trialmill_search::{ParamValue, Point, Stream};

    /// A search with so many objectives, which are all functions' or made-up ones.
    fn spec(objectives: usize) -> TaskSpec {
        let body = serde_json::json!({
            "task_name": "a front", "strategy_name": "schaffer", "stock_codes": [],
            "start_date": "2023-01-01", "end_date": "2023-12-31",
            "param_space": {"x": {"type": "float", "low": -5, "high": 5}},
            "objective_config": {"objective_metric": ["f1", "f2"]},
        });
        let around = Surroundings {
            market: &MarketView::default(),
            announced: &Default::default(),
            live_slots: 1,
            drawn_seed: 1,
        };
        let accepted = check_optimization(&body, &around).unwrap();
        let mut spec = accepted.spec.as_search().unwrap().clone();
        let first = spec.objectives[0].clone();
        let target = |place| trialmill_common::spec::Target {
            metric: format!("f{place}"),
            ..first.clone()
        };
        spec.objectives = (1..=objectives).map(target).collect();
        spec
    }

    fn trials(spec: &TaskSpec, costs: impl Iterator<Item = Vec<f64>>) -> Trials {
        let params = spec.space.pack(&Point::new(vec![ParamValue::Float(1.0)]));
        let feasible = (0..).zip(costs).map(|(number, costs)| Feasible {
            number,
            params: params.clone(),
            costs,
        });
        Trials::of(feasible.collect())
    }

    /// Every trial is better by one objective and worse by the other.
    fn trade_off(count: u32) -> impl Iterator<Item = Vec<f64>> {
        (0..count).map(|k| vec![f64::from(k), -f64::from(k)])
    }

    #[test]
    fn what_is_too_much_is_left_out_and_said_so() {
        let spec = spec(2);
        let few = front(&spec, trials(&spec, trade_off(900))).unwrap();
        assert_eq!((few.size, few.items.len()), (900, 900));
        assert_eq!(few.hypervolume.history.len(), 900);
        assert!(few.trials.complete);
        let many = front(&spec, trials(&spec, trade_off(6_000))).unwrap();
        assert_eq!((many.size, many.items.len()), (5_000, MAX_FRONT_SHOWN));
        assert_eq!((many.trials.used, many.trials.complete), (5_000, false));
        assert_eq!(many.items[0].trial_number, 0);
        assert_eq!(
            many.hypervolume.reason.as_deref(),
            Some(
                "after trial 2000 more than 2000 trials were on the front; the hypervolume of more \
                 takes too long"
            )
        );
    }

    #[test]
    fn a_history_of_many_steps_keeps_its_ends() {
        let spec = spec(2);
        // Each dominates the one before.
        let better = (0..3_000).map(|k| vec![-f64::from(k); 2]);
        let found = front(&spec, trials(&spec, better)).unwrap();
        assert_eq!((found.size, found.leads), (1, Some(2_999)));
        let history = &found.hypervolume.history;
        assert_eq!(history.len(), MAX_VOLUME_POINTS);
        let ends = [&history[0], &history[MAX_VOLUME_POINTS - 1]];
        assert_eq!(ends.map(|point| point.trial_number), [0, 2_999]);
        assert_eq!(Some(ends[1].hypervolume), found.hypervolume.value);
    }

    #[test]
    fn with_many_objectives_there_is_a_front_and_no_volume() {
        for objectives in [1, 3, 5, 8] {
            let spec = spec(objectives);
            let mut stream = Stream::for_study(3, "front");
            let rows = (0..2_000).map(|_| (0..objectives).map(|_| stream.unit_f64()).collect());
            let found = front(&spec, trials(&spec, rows)).unwrap();
            assert!(found.size > 0 && found.trials.complete);
            let reason = found.hypervolume.reason.as_deref();
            match objectives {
                1 => assert_eq!(found.size, 1),
                3 => assert_eq!(reason, None),
                count => assert_eq!(
                    reason,
                    Some(
                        format!(
                            "{count} objectives; a hypervolume is told of 2 to 4, of more it takes too long"
                        )
                        .as_str()
                    )
                ),
            }
        }
    }
}
