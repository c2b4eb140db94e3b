//! Fixed-input tests against Optuna 5.0.0: `tests/optuna_tpe.json` holds the values, `tests/optuna_tpe.py`
//! is how they were made.

use std::collections::BTreeMap;

use serde_json::Value;

use super::bandwidth::Floor;
use super::candidates::{Densities, Group, Observed};
use super::parzen::Parzen;
use super::split::Split;
use crate::axis::Axis;
use crate::optuna::{self, domain};
use crate::{
    Choice, Domain, FinishedTrial, History, LastReport, ParamValue, Point, RunningTrial, Space,
    TrialEnd,
};

fn cases(title: &str) -> Vec<Value> {
    optuna::cases(include_str!("../../tests/optuna_tpe.json"), title)
}

fn space(spec: &Value) -> Space {
    let spec = spec.as_object().unwrap().iter();
    Space::new(spec.map(|(name, spec)| (name.clone(), domain(spec)))).unwrap()
}

fn choice(value: &Value) -> Choice {
    serde_json::from_value(value.clone()).unwrap()
}

/// A row of values in the order of the names.
fn point(space: &Space, row: &Value) -> Point {
    let names = space.parameters().iter().map(|p| p.name().to_owned());
    let named: BTreeMap<_, _> = names
        .zip(row.as_array().unwrap().iter().map(choice))
        .collect();
    space.point_from_named(&named).unwrap()
}

fn places(axes: &[Axis], point: &Point) -> Vec<f64> {
    let both = axes.iter().zip(point.values());
    both.map(|(axis, value)| axis.place(*value).unwrap())
        .collect()
}

/// By how much Optuna's densities, per unit of the parameter, are smaller than ours, per range.
fn ln_ranges(space: &Space) -> f64 {
    let ln_range = |domain: &Domain| match *domain {
        Domain::Float {
            low,
            high,
            step: None,
            log,
        } => {
            if log {
                (high / low).ln().ln()
            } else {
                (high - low).ln()
            }
        }
        _ => 0.0,
    };
    space
        .parameters()
        .iter()
        .map(|p| ln_range(p.domain()))
        .sum()
}

fn assert_close(got: f64, expected: f64, case: &str) {
    let error = (got - expected).abs() / expected.abs().max(1.0);
    assert!(
        error < 1e-9,
        "{case}: {got} is not Optuna's {expected}, off by {error:e}"
    );
}

#[test]
fn densities_are_those_of_optuna() {
    for case in cases("density") {
        let name = case["name"].as_str().unwrap();
        let space = space(&case["space"]);
        let axes: Vec<Axis> = space
            .parameters()
            .iter()
            .map(|p| Axis::of(p.domain()).unwrap())
            .collect();
        let rows = |field: &str| -> Vec<Vec<f64>> {
            let rows = case[field].as_array().unwrap().iter();
            rows.map(|row| places(&axes, &point(&space, row))).collect()
        };
        let (observed, points) = (rows("observed"), rows("points"));
        for (count, expected) in case["ln_density"].as_object().unwrap() {
            let first = &observed[..count.parse().unwrap()];
            let columns: Vec<Vec<f64>> = (0..axes.len())
                .map(|axis| first.iter().map(|row| row[axis]).collect())
                .collect();
            let mut got = vec![0.0; points.len()];
            Parzen::of(&axes, Observed::all(&axes, &columns), Floor::Magic).add_ln_density(
                &points.concat(),
                1.0,
                &mut got,
            );
            for (at, expected) in expected.as_array().unwrap().iter().enumerate() {
                let case = format!("{name}, {count} observations, point {at}");
                assert_close(
                    got[at] - ln_ranges(&space),
                    expected.as_f64().unwrap(),
                    &case,
                );
            }
        }
    }
}

/// How a trial ended, its value, and what it reported last.
type End = (String, Option<f64>, Option<LastReport>);

/// Trials from their ends in the order of their numbers, in the history's two lists, backwards:
/// their order must not matter.
fn history(ends: &[End], points: &[Point]) -> (Vec<FinishedTrial>, Vec<RunningTrial>) {
    let (mut finished, mut running) = (Vec::new(), Vec::new());
    for (at, ((end, value, last), point)) in ends.iter().zip(points).enumerate().rev() {
        let (number, point) = (u32::try_from(at).unwrap(), point.clone());
        let end = match end.as_str() {
            "completed" => TrialEnd::completed(vec![value.unwrap()]),
            "infeasible" => TrialEnd::Infeasible {
                violation: value.unwrap(),
            },
            "pruned" => TrialEnd::Pruned(*last),
            "failed" => TrialEnd::Failed,
            _ => {
                running.push(RunningTrial { number, point });
                continue;
            }
        };
        finished.push(FinishedTrial { number, point, end });
    }
    (finished, running)
}

#[test]
fn good_and_bad_trials_are_those_of_optuna() {
    for case in cases("split") {
        let float = |value: &Value| value.as_str().map(|value| value.parse().unwrap());
        let ends: Vec<End> = case["trials"]
            .as_array()
            .unwrap()
            .iter()
            .map(|trial| {
                let last = float(&trial[2][1]).map(|cost| LastReport {
                    step: trial[2][0].as_u64().unwrap().try_into().unwrap(),
                    cost,
                });
                (
                    trial[0].as_str().unwrap().to_owned(),
                    float(&trial[1]),
                    last,
                )
            })
            .collect();
        let points = vec![Point::new(Vec::new()); ends.len()];
        let (finished, running) = history(&ends, &points);
        let history = History {
            finished: &finished,
            running: &running,
        };
        let split = Split::with(10, &history, u32::MAX);
        for (set, field) in [(&split.good, "good"), (&split.bad, "bad")] {
            let expected: Vec<u64> = case[field]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_u64().unwrap())
                .collect();
            let got: Vec<u64> = set.numbers().map(u64::from).collect();
            assert_eq!(got, expected, "{}: {field}", case["name"]);
        }
    }
}

#[test]
fn scores_are_those_of_optuna() {
    for case in cases("score") {
        let space = space(&case["space"]);
        let values = |named: &Value| -> Point {
            let value = |parameter: &crate::Parameter| match named.get(parameter.name()) {
                Some(value) => parameter.domain().value_of("", &choice(value)).unwrap(),
                None => ParamValue::Absent,
            };
            Point::new(space.parameters().iter().map(value).collect())
        };
        let trials = case["trials"].as_array().unwrap();
        let ends: Vec<End> = trials
            .iter()
            .map(|trial| {
                (
                    trial["end"].as_str().unwrap().to_owned(),
                    trial["value"].as_f64(),
                    None,
                )
            })
            .collect();
        let points: Vec<Point> = trials
            .iter()
            .map(|trial| values(&trial["params"]))
            .collect();
        let (finished, running) = history(&ends, &points);
        let history = History {
            finished: &finished,
            running: &running,
        };
        let mut split = Split::with(10, &history, u32::MAX);
        // To Optuna all good trials are alike.
        split.ranks.clear();
        let groups: Vec<Group> = Group::all(&space).into_iter().map(Group::lacking).collect();
        let densities = Densities::of(&groups[0], &split, Floor::Magic);
        let candidates: Vec<f64> = case["points"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|named| places(groups[0].axes(), &values(named)))
            .collect();
        let scores = densities.scores(&candidates);
        let expected = case["score"].as_array().unwrap();
        assert_eq!(scores.len(), expected.len());
        for (at, (got, expected)) in scores.iter().zip(expected).enumerate() {
            let case = format!("{}, point {at}", case["name"]);
            assert_close(*got, expected.as_f64().unwrap(), &case);
        }
    }
}
