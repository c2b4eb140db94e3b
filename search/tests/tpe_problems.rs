//! The problems of `examples/quality`, checked against values that another program computed.

#[path = "../examples/quality/problems.rs"]
mod problems;

use std::collections::BTreeMap;

use problems::{GOLDEN, NAMES, Problem, SEVERAL};
use trialmill_search::Choice;

const CHECKS: &str = "../../shared/search/problem_checks.json";

#[test]
#[expect(
    clippy::print_stderr,
    reason = "says that there was nothing to check against"
)]
fn every_problem_gives_the_recorded_values_at_the_recorded_points() {
    let Ok(text) = std::fs::read_to_string(CHECKS) else {
        eprintln!("skipped: {CHECKS} is not there");
        return;
    };
    let checks: serde_json::Value = serde_json::from_str(&text).unwrap();
    for name in NAMES.into_iter().chain(SEVERAL) {
        let problem = Problem::named(name, GOLDEN).unwrap();
        let points = checks[name].as_array().unwrap();
        assert_eq!(points.len(), 3, "{name}");
        for check in points {
            let params: BTreeMap<String, Choice> =
                serde_json::from_value(check["params"].clone()).unwrap();
            let point = problem.space.point_from_named(&params).unwrap();
            let outcome = problem.evaluate(&point);
            let (recorded, expected) = (outcome.recorded(), check["value"].as_array().unwrap());
            assert_eq!(recorded.len(), expected.len(), "{name}");
            for (got, expected) in recorded.into_iter().zip(expected) {
                let expected = expected.as_f64().unwrap();
                let error = (got - expected).abs() / expected.abs().max(1.0);
                assert!(
                    error < 1e-12,
                    "{name} at {params:?}: {got} is not {expected}"
                );
            }
        }
    }
}

#[test]
fn the_optimum_moves_with_the_golden_constant() {
    let value = |golden| {
        let problem = Problem::named("sphere5", golden).unwrap();
        let centre = (0..5)
            .map(|i| (format!("x{i}"), Choice::Float(0.0)))
            .collect();
        problem
            .evaluate(&problem.space.point_from_named(&centre).unwrap())
            .truth[0]
    };
    assert!((value(GOLDEN) - value(0.3)).abs() > 0.1);
}
