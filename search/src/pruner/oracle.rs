//! Fixed-input tests against Optuna 5.0.0: `tests/optuna_pruners.json` holds its decisions,
//! `tests/optuna_pruners.py` is how they were made.

use serde_json::Value;

use super::percentile::percentile_of;
use super::rival::Question;
use super::signed_rank::p_greater;
use super::{
    Asha, Hyperband, Median, Patient, Percentile, Pruner, PrunerConfig, Reports, Rival, Threshold,
    Wilcoxon,
};
use crate::history::TrialEnd;
use crate::optuna;

fn cases(title: &str) -> Vec<Value> {
    optuna::cases(include_str!("../../tests/optuna_pruners.json"), title)
}

/// A number, or the name of one that JSON cannot write.
fn float(value: &Value) -> f64 {
    match value.as_str() {
        Some(name) => name.parse().unwrap(),
        None => value.as_f64().unwrap(),
    }
}

fn floats(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(float).collect()
}

fn whole(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

/// A pruner as the file writes it: Optuna's defaults where an option is absent.
fn config(spec: &Value) -> PrunerConfig {
    let option = |name: &str| Some(&spec["options"][name]).filter(|value| !value.is_null());
    let count = |name: &str, default: u32| option(name).map_or(default, whole);
    let known = |name: &str| option(name).map(whole);
    match spec["kind"].as_str().unwrap() {
        "median" => PrunerConfig::Median(Median {
            n_startup_trials: count("n_startup_trials", 5),
            n_warmup_steps: count("n_warmup_steps", 0),
            interval_steps: count("interval_steps", 1),
            n_min_trials: count("n_min_trials", 1),
        }),
        "percentile" => PrunerConfig::Percentile(Percentile {
            percentile: float(option("percentile").unwrap()),
            n_startup_trials: count("n_startup_trials", 5),
            n_warmup_steps: count("n_warmup_steps", 0),
            interval_steps: count("interval_steps", 1),
            n_min_trials: count("n_min_trials", 1),
        }),
        "asha" => PrunerConfig::Asha(Asha {
            min_resource: known("min_resource"),
            reduction_factor: count("reduction_factor", 4),
            min_early_stopping_rate: count("min_early_stopping_rate", 0),
            bootstrap_count: count("bootstrap_count", 0),
        }),
        "hyperband" => PrunerConfig::Hyperband(Hyperband {
            min_resource: count("min_resource", 1),
            max_resource: known("max_resource"),
            reduction_factor: count("reduction_factor", 3),
            bootstrap_count: count("bootstrap_count", 0),
        }),
        "patient" => PrunerConfig::Patient(Patient {
            wrapped: option("wrapped").map(|wrapped| Box::new(config(wrapped))),
            patience: count("patience", 0),
            min_delta: option("min_delta").map_or(0.0, float),
        }),
        "threshold" => PrunerConfig::Threshold(Threshold {
            lower: option("lower").map(float),
            upper: option("upper").map(float),
            n_warmup_steps: count("n_warmup_steps", 0),
            interval_steps: count("interval_steps", 1),
        }),
        "wilcoxon" => PrunerConfig::Wilcoxon(Wilcoxon {
            p_threshold: option("p_threshold").map_or(0.1, float),
            n_startup_steps: count("n_startup_steps", 2),
        }),
        other => panic!("{other} is no pruner of the file"),
    }
}

/// Whether trial `number` stops. Hyperband takes the brackets of the file, which Optuna drew.
fn stops(pruner: &Pruner, brackets: &Value, rivals: &[Rival<'_>], number: u32) -> bool {
    let own = rivals[number as usize].reports;
    let PrunerConfig::Hyperband(hyperband) = pruner.config() else {
        return pruner.should_prune(own, rivals, 42, number);
    };
    let question = Question {
        own: own.curve(0),
        rivals,
        objective: 0,
        seed: 42,
        number,
    };
    hyperband.prunes_in(&question, |number, _| {
        whole(&brackets[number as usize]) as usize
    })
}

#[test]
fn studies_are_pruned_as_by_optuna() {
    for case in cases("studies") {
        let pruner = Pruner::new(config(&case["pruner"])).unwrap();
        let mut trials: Vec<(Reports, Option<TrialEnd>)> = Vec::new();
        for event in case["events"].as_array().unwrap() {
            let number = whole(&event[0]);
            while trials.len() <= number as usize {
                trials.push((Reports::new(1), None));
            }
            let (reports, end) = &mut trials[number as usize];
            if let Some(name) = event[1].as_str() {
                *end = Some(match name {
                    "completed" => TrialEnd::completed(vec![float(&event[2])]),
                    "infeasible" => TrialEnd::Infeasible { violation: 1.0 },
                    "pruned" => TrialEnd::Pruned(None),
                    _ => TrialEnd::Failed,
                });
                continue;
            }
            reports.push(whole(&event[1]), &[float(&event[2])]).unwrap();
            let rivals: Vec<Rival<'_>> = (0..)
                .zip(&trials)
                .map(|(number, (reports, end))| Rival {
                    number,
                    reports,
                    end: end.as_ref(),
                })
                .collect();
            let expected = whole(&event[3]) == 1;
            let found = stops(&pruner, &case["brackets"], &rivals, number);
            assert_eq!(found, expected, "{}, {event}", case["name"]);
        }
    }
}

#[test]
fn p_values_are_those_of_scipy() {
    for case in cases("p_values") {
        let (differences, expected) = (floats(&case[0]), float(&case[1]));
        let found = p_greater(&differences);
        let off = (found - expected).abs();
        assert!(off <= 1e-9, "{found} is not scipy's {expected}: {case}");
    }
}

#[test]
fn brackets_have_the_weights_of_optuna_unless_its_logarithms_lose_one() {
    let mut lost = Vec::new();
    for case in cases("brackets") {
        let [min_resource, max_resource, reduction_factor] = [0, 1, 2].map(|at| whole(&case[at]));
        let hyperband = Hyperband {
            min_resource,
            reduction_factor,
            ..Hyperband::default()
        };
        let expected = case[3].as_array().unwrap().iter();
        let expected: Vec<u64> = expected.map(|weight| weight.as_u64().unwrap()).collect();
        let found = hyperband.weights(max_resource);
        if found.len() == expected.len() + 1 {
            lost.push((min_resource, max_resource, reduction_factor));
        } else {
            assert_eq!(found, expected, "{case}");
        }
    }
    let of_base = |base| move |most| (1, most, base);
    let by_three = [243, 59_049].map(of_base(3));
    let by_ten = [1_000, 1_000_000].map(of_base(10));
    assert_eq!(lost, [by_three, by_ten].concat());
}

#[test]
fn percentiles_are_those_of_numpy_to_the_last_bit() {
    for case in cases("percentiles") {
        let (sorted, expected) = (floats(&case[0]), float(&case[2]));
        let found = percentile_of(&sorted, float(&case[1])).unwrap();
        assert!(
            found == expected || (found.is_nan() && expected.is_nan()),
            "{found} is not {expected}: {case}"
        );
    }
}
