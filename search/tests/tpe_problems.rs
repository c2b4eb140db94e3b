//! The problems of `examples/quality`, checked against values that another program computed.

#[path = "../examples/quality/problems.rs"]
mod problems;

use std::collections::BTreeMap;

use problems::{GOLDEN, LIMITED, NAMES, Problem, SEVERAL};
use trialmill_search::{Choice, History, Method, Study};

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
                let got = got.expect("every point of it is feasible");
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

#[test]
fn of_the_problems_with_infeasible_points_as_much_is_feasible_as_they_say() {
    let parts = [0.5, 0.1, 0.01, 0.457, 0.765];
    for (name, expected) in LIMITED.into_iter().zip(parts) {
        let problem = Problem::named(name, GOLDEN).unwrap();
        let study = Study::new(problem.space.clone(), Method::Sobol, 1).unwrap();
        let feasible = (0..8_192).filter(|number| {
            let point = study.ask(&History::EMPTY, *number).unwrap();
            let outcome = problem.evaluate(&point);
            assert!(outcome.violation >= 0.0, "{name}");
            assert_eq!(outcome.recorded()[0].is_none(), outcome.violation > 0.0);
            outcome.violation == 0.0
        });
        let part = feasible.count() as f64 / 8_192.0;
        assert!((part - expected).abs() < 0.05 * expected, "{name}: {part}");
    }
    // The best place of it that is known, on the wavy edge.
    let gramacy = Problem::named("gramacy2", GOLDEN).unwrap();
    let at = |x0: f64, x1: f64| {
        let named = [("x0", x0), ("x1", x1)].map(|(name, x)| (name.to_owned(), Choice::Float(x)));
        gramacy.evaluate(&gramacy.space.point_from_named(&named.into()).unwrap())
    };
    let best = at(0.1954, 0.4045);
    assert!(best.violation < 1e-3 && (best.truth[0] - 0.5998).abs() < 2e-4);
    assert!(at(0.1954, 0.40).violation > 0.0);
}
