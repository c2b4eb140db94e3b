//! A search with as many trials as its space has points.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use trialmill_common::draft::{Accepted, MarketView, Surroundings, check_optimization};
use trialmill_search::{Choice, History, Method};

/// A search over the 12 points of a space.
fn accept(method: &str, n_trials: u32) -> Accepted {
    let body = json!({
        "task_name": "a small space", "strategy_name": "sphere", "stock_codes": [],
        "start_date": "2023-01-01", "end_date": "2023-01-01",
        "param_space": {
            "x": {"type": "int", "low": 1, "high": 4},
            "y": {"type": "int", "low": 1, "high": 4},
        },
        "constraints": ["x != y"],
        "initial_params": [{"x": 3, "y": 2}],
        "objective_config": {"objective_metric": "value"},
        "optimization_method": method, "n_trials": n_trials, "seed": 5,
    });
    let (market, announced) = (MarketView::default(), BTreeSet::new());
    let around = Surroundings {
        market: &market,
        announced: &announced,
        live_slots: 2,
        drawn_seed: 7,
    };
    check_optimization(&body, &around).unwrap()
}

fn warned(accepted: &Accepted) -> Vec<&str> {
    let warnings = accepted.warnings.iter();
    warnings.map(|warning| warning.code.as_str()).collect()
}

#[test]
fn tpe_visits_each_point_once_by_number_where_there_are_enough_trials() {
    for (n_trials, expected) in [
        (12, vec!["small_space_is_grid"]),
        (
            13,
            vec!["space_smaller_than_n_trials", "small_space_is_grid"],
        ),
    ] {
        let accepted = accept("tpe", n_trials);
        assert_eq!(warned(&accepted), expected);
        assert_eq!(accepted.planned, 12);
        assert_eq!(accepted.resolved["sampler"], "grid");
        assert_eq!(accepted.resolved["reproducible"], Value::Bool(true));
        let spec = accepted.spec.as_search().unwrap();
        // No trial waits for the end of another, and no point depends on it.
        let study = spec.study(0).unwrap();
        let asked = |number| study.ask(&History::EMPTY, number);
        let points: Vec<Vec<u8>> = (0..12)
            .map(|number| spec.space.pack(&asked(number).unwrap()))
            .collect();
        assert_eq!(points.iter().collect::<BTreeSet<_>>().len(), 12);
        assert_eq!(asked(12), None);
        let first = spec.named(&asked(0).unwrap());
        assert_eq!(
            (&first["x"], &first["y"]),
            (&Choice::Int(3), &Choice::Int(2))
        );
    }
}

#[test]
fn tpe_chooses_where_there_are_more_points_than_trials() {
    let accepted = accept("tpe", 11);
    assert_eq!(warned(&accepted), Vec::<&str>::new());
    assert_eq!(accepted.planned, 11);
    assert_eq!(accepted.spec.as_search().unwrap().method, Method::Tpe);
}
