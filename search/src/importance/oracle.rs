//! Fixed-input tests against Optuna 5.0.0: `tests/optuna_importance.json` holds the values,
//! `tests/optuna_importance.py` is how they were made.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use serde_json::Value;

use super::parzen::Grid;
use super::{Decomposed, FanovaOptions, Observed, PedAnovaOptions, fanova, ped_anova};
use crate::optuna::{self, domain};
use crate::{Choice, Domain, ParamValue, Point, Space};

fn cases(title: &str) -> Vec<Value> {
    optuna::cases(include_str!("../../tests/optuna_importance.json"), title)
}

#[test]
fn ped_anova_is_that_of_optuna() {
    for case in cases("ped_anova") {
        let spec = case["space"].as_object().unwrap().iter();
        let space = Space::new(spec.map(|(name, spec)| (name.clone(), domain(spec)))).unwrap();
        let point = |row: &Value| -> Point {
            let both = space.parameters().iter().zip(row.as_array().unwrap());
            let value = both.map(|(parameter, value)| match value {
                Value::Null => ParamValue::Absent,
                value => {
                    let choice: Choice = serde_json::from_value(value.clone()).unwrap();
                    parameter.domain().value_of("", &choice).unwrap()
                }
            });
            Point::new(value.collect())
        };
        let trials = case["trials"].as_array().unwrap();
        let points: Vec<Point> = trials.iter().map(|trial| point(&trial[2])).collect();
        let observed: Vec<Observed<'_>> = (0..)
            .zip(trials)
            .zip(&points)
            .filter_map(|((number, trial), point)| {
                let value = match trial[0].as_str().unwrap() {
                    "completed" => trial[1].as_f64().unwrap(),
                    "infinite" => trial[1].as_str().unwrap().parse().unwrap(),
                    _ => return None,
                };
                Some(Observed {
                    number,
                    point,
                    value,
                })
            })
            .collect();
        for answer in case["answers"].as_array().unwrap() {
            let options = PedAnovaOptions {
                target_quantile: answer[0].as_f64().unwrap(),
                region_quantile: answer[1].as_f64().unwrap(),
                evaluate_on_local: answer[2].as_bool().unwrap(),
            };
            let found = ped_anova(&space, &observed, &options).unwrap();
            let expected = answer[3].as_object().unwrap();
            assert_eq!(found.len(), expected.len());
            for one in &found {
                let expected = expected[&one.name].as_f64().unwrap();
                let error = (one.value - expected).abs() / expected.abs().max(1.0);
                assert!(
                    error < 1e-9,
                    "{}, {options:?}, {}: {} is not Optuna's {expected}, off by {error:e}",
                    case["name"],
                    one.name,
                    one.value,
                );
            }
        }
    }
}

#[test]
fn grids_of_logarithmic_integers_are_those_of_optuna() {
    for case in cases("log_cells") {
        let domain = Domain::Int {
            low: 1,
            high: case[0].as_i64().unwrap(),
            step: 1,
            log: true,
        };
        let cells = Grid::of(&domain).unwrap().cells() as u64;
        assert_eq!(Some(cells), case[1].as_u64(), "1 to {}", case[0]);
    }
}

/// SplitMix64, as in `optuna_importance.py`.
struct Generator(u64);

impl Generator {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.0;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 * 2.0_f64.powi(-53)
    }
}

fn ishigami(u: &[f64]) -> f64 {
    let [x, y, z] = [0, 1, 2].map(|i| PI * (2.0 * u[i] - 1.0));
    x.sin() + 7.0 * y.sin().powi(2) + 0.1 * z.powi(4) * x.sin()
}

fn additive(u: &[f64]) -> f64 {
    4.0 * u[0] + 2.0 * u[1] * u[1] + (6.0 * u[2]).sin() + 0.1 * u[3]
}

fn noisy(u: &[f64]) -> f64 {
    u[0] + u[1] * u[2] + 0.6 * (u[4] + u[5] + u[6] - 1.5)
}

/// The trials of a problem, as `optuna_importance.py` makes them.
fn trials_of(problem: &str, count: u64) -> (Space, Vec<(Point, f64)>) {
    type Function = fn(&[f64]) -> f64;
    let (function, drawn, shown): (Function, usize, usize) = match problem {
        "ishigami" => (ishigami, 3, 3),
        "noisy" => (noisy, 7, 4),
        _ => (additive, 4, 4),
    };
    let domain = Domain::Float {
        low: 0.0,
        high: 1.0,
        step: None,
        log: false,
    };
    let space = Space::new((0..shown).map(|i| (format!("x{i}"), domain.clone()))).unwrap();
    let mut generator = Generator(count);
    let trials = (0..count).map(|_| {
        let u: Vec<f64> = (0..drawn).map(|_| generator.unit()).collect();
        let values = u[..shown].iter().map(|u| ParamValue::Float(*u));
        (Point::new(values.collect()), function(&u))
    });
    let trials = trials.collect();
    (space, trials)
}

#[test]
fn fanova_of_each_tree_lies_within_the_spread_of_optunas_seeds() {
    for case in cases("fanova") {
        let problem = case["name"].as_str().unwrap();
        let (space, trials) = trials_of(problem, case["trials"].as_u64().unwrap());
        let observed: Vec<Observed<'_>> = (0..)
            .zip(&trials)
            .map(|(number, (point, value))| Observed {
                number,
                point,
                value: *value,
            })
            .collect();
        // The mean of as many seeds as Optuna was asked with.
        let mut means = BTreeMap::new();
        for seed in 0..20 {
            let options = FanovaOptions {
                seed,
                decomposed: Decomposed::EachTree,
                ..FanovaOptions::default()
            };
            for one in fanova(&space, &observed, &options).unwrap() {
                *means.entry(one.name).or_insert(0.0) += one.value / 20.0;
            }
        }
        for (name, value) in &means {
            let expected = case["answer"][name].as_array().unwrap();
            let [mean, least, most] = [0, 1, 2].map(|at| expected[at].as_f64().unwrap());
            assert!(
                least <= *value && *value <= most,
                "{problem}, {name}: {value} is outside {least} to {most}; Optuna's mean is {mean}"
            );
        }
    }
}
