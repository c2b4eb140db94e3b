//! `pruner` of a request.

use super::{accept, assert_told, at_client, cross_validated, faults, on_bars, with, with_two};
use serde_json::{Value, json};
use trialmill_common::draft::request_schema;
use trialmill_common::spec::TaskSpec;
use trialmill_search::pruner::{
    Asha, Hyperband, MAX_EARLY_STOPPING_RATE, MAX_PRUNER_OPTION, Median, Patient, Percentile,
    PrunerConfig, PrunerKind, Threshold, Wilcoxon,
};

fn pruned(pruner: Value) -> Value {
    with(at_client(), "/pruner", pruner)
}

fn read(pruner: Value) -> PrunerConfig {
    accept(&pruned(pruner)).spec.pruner
}

#[test]
fn a_pruner_is_a_name_or_an_object_and_what_is_left_out_has_its_default() {
    for none in [json!(null), json!("none"), json!({"name": "none"})] {
        assert_eq!(read(none), PrunerConfig::None);
    }
    let by_name = [
        ("median", PrunerConfig::Median(Median::default())),
        ("asha", PrunerConfig::Asha(Asha::default())),
        ("successive_halving", PrunerConfig::Asha(Asha::default())),
        ("hyperband", PrunerConfig::Hyperband(Hyperband::default())),
        ("wilcoxon", PrunerConfig::Wilcoxon(Wilcoxon::default())),
    ];
    for (name, config) in by_name {
        assert_eq!(read(json!(name)), config);
        assert_eq!(read(json!({"name": name})), config);
        let nulls = json!({"name": name, "min_resource": null, "n_warmup_steps": null});
        if let PrunerConfig::Median(_) = config {
            let found = faults(&pruned(nulls));
            assert_told(&found, &[("/pruner/min_resource", "unknown_field")], &name);
        }
    }
    let percentile = PrunerConfig::Percentile(Percentile::new(25.0));
    assert_eq!(
        read(json!({"name": "percentile", "percentile": 25})),
        percentile
    );
    let patient = Patient {
        wrapped: None,
        patience: 0,
        min_delta: 0.0,
    };
    for wrapped in [json!(null), json!("none"), json!({"name": "none"})] {
        let asked = json!({"name": "patient", "patience": 0, "wrapped": wrapped});
        assert_eq!(read(asked), PrunerConfig::Patient(patient.clone()));
    }
}

#[test]
fn every_option_of_every_pruner_comes_through() {
    let all = json!({
        "n_startup_trials": 1, "n_warmup_steps": 2.0, "interval_steps": 3, "n_min_trials": 4,
    });
    let named = |name: &str, mut options: Value| {
        options["name"] = json!(name);
        options
    };
    let median = Median {
        n_startup_trials: 1,
        n_warmup_steps: 2,
        interval_steps: 3,
        n_min_trials: 4,
    };
    assert_eq!(
        read(named("median", all.clone())),
        PrunerConfig::Median(median)
    );
    let percentile = Percentile {
        percentile: 12.5,
        n_startup_trials: 1,
        n_warmup_steps: 2,
        interval_steps: 3,
        n_min_trials: 4,
    };
    let asked = with(all, "/percentile", json!(12.5));
    assert_eq!(
        read(named("percentile", asked)),
        PrunerConfig::Percentile(percentile)
    );
    let asha = json!({
        "min_resource": 5, "reduction_factor": 3, "min_early_stopping_rate": 1, "bootstrap_count": 2,
    });
    let halving = PrunerConfig::Asha(Asha {
        min_resource: Some(5),
        reduction_factor: 3,
        min_early_stopping_rate: 1,
        bootstrap_count: 2,
    });
    assert_eq!(read(named("asha", asha)), halving);
    let hyperband = json!({
        "min_resource": 2, "max_resource": 81, "reduction_factor": 4, "bootstrap_count": 6,
    });
    let several = PrunerConfig::Hyperband(Hyperband {
        min_resource: 2,
        max_resource: Some(81),
        reduction_factor: 4,
        bootstrap_count: 6,
    });
    assert_eq!(read(named("hyperband", hyperband.clone())), several);
    let wilcoxon = json!({"p_threshold": 0.2, "n_startup_steps": 7});
    let test = PrunerConfig::Wilcoxon(Wilcoxon {
        p_threshold: 0.2,
        n_startup_steps: 7,
    });
    assert_eq!(read(named("wilcoxon", wilcoxon)), test);
    let patient =
        json!({"patience": 8, "min_delta": 0.5, "wrapped": named("hyperband", hyperband)});
    let waiting = PrunerConfig::Patient(Patient {
        wrapped: Some(Box::new(several)),
        patience: 8,
        min_delta: 0.5,
    });
    let spec = accept(&pruned(named("patient", patient))).spec;
    assert_eq!(spec.pruner, waiting);
    assert_eq!(TaskSpec::from_json(&spec.to_json()).unwrap(), spec);
    assert!(spec.pruner().unwrap().is_some());
}

/// A threshold as the pruner has it.
fn costs(lower: Option<f64>, upper: Option<f64>) -> PrunerConfig {
    PrunerConfig::Threshold(Threshold {
        lower,
        upper,
        n_warmup_steps: 2,
        interval_steps: 3,
    })
}

#[test]
fn the_bounds_of_a_threshold_are_those_of_values_and_become_those_of_costs() {
    let maximized = with(
        at_client(),
        "/objective_config/direction",
        json!("maximize"),
    );
    for (lower, upper, minimized, turned) in [
        (
            json!(-1),
            json!(4.5),
            (Some(-1.0), Some(4.5)),
            (Some(-4.5), Some(1.0)),
        ),
        (
            json!(0.5),
            json!(null),
            (Some(0.5), None),
            (None, Some(-0.5)),
        ),
        (
            json!(null),
            json!(0.5),
            (None, Some(0.5)),
            (Some(-0.5), None),
        ),
        (
            json!(2),
            json!(2),
            (Some(2.0), Some(2.0)),
            (Some(-2.0), Some(-2.0)),
        ),
    ] {
        let threshold = json!({
            "name": "threshold", "lower": lower, "upper": upper, "n_warmup_steps": 2,
            "interval_steps": 3,
        });
        let of = |body: &Value, pruner: Value| {
            accept(&with(body.clone(), "/pruner", pruner)).spec.pruner
        };
        assert_eq!(
            of(&at_client(), threshold.clone()),
            costs(minimized.0, minimized.1)
        );
        let turned = costs(turned.0, turned.1);
        assert_eq!(of(&maximized, threshold.clone()), turned);
        let patient = json!({"name": "patient", "patience": 1, "wrapped": threshold});
        let wrapped = PrunerConfig::Patient(Patient {
            wrapped: Some(Box::new(turned)),
            patience: 1,
            min_delta: 0.0,
        });
        assert_eq!(of(&maximized, patient), wrapped);
    }
}

#[test]
fn crossed_bounds_are_told_as_they_were_sent_whichever_way_is_better() {
    for direction in ["minimize", "maximize"] {
        let body = with(at_client(), "/objective_config/direction", json!(direction));
        let crossed = json!({"name": "threshold", "lower": 5, "upper": 1});
        let found = faults(&with(body.clone(), "/pruner", crossed.clone()));
        assert_told(&found, &[("/pruner/lower", "bounds_crossed")], &direction);
        assert_eq!(found[0].value, json!(5));
        assert_eq!(found[0].detail, "lower is 5.0; use at most upper (1.0)");
        let patient = json!({"name": "patient", "patience": 1, "wrapped": crossed});
        let found = faults(&with(body, "/pruner", patient));
        assert_told(
            &found,
            &[("/pruner/wrapped/lower", "bounds_crossed")],
            &direction,
        );
        assert_eq!(found[0].value, json!(5));
    }
}

#[test]
fn each_single_fault_of_a_pruner_is_named_by_place_and_code() {
    let more = MAX_PRUNER_OPTION + 1;
    let cases: Vec<(Value, &str, &str)> = vec![
        (json!(5), "", "wrong_type"),
        (json!(["median"]), "", "wrong_type"),
        (json!(true), "", "wrong_type"),
        (json!("mean"), "", "unknown_value"),
        (json!("Median"), "", "unknown_value"),
        (json!({}), "/name", "required"),
        (json!({"name": null, "patience": 1}), "/name", "required"),
        (json!({"name": 5}), "/name", "wrong_type"),
        (json!({"name": "mean"}), "/name", "unknown_value"),
        (
            json!({"name": "median", "percentile": 5}),
            "/percentile",
            "unknown_field",
        ),
        (
            json!({"name": "none", "patience": 5}),
            "/patience",
            "unknown_field",
        ),
        (
            json!({"name": "median", "n_startup_trials": -1}),
            "/n_startup_trials",
            "out_of_range",
        ),
        (
            json!({"name": "median", "n_startup_trials": more}),
            "/n_startup_trials",
            "out_of_range",
        ),
        (
            json!({"name": "median", "n_warmup_steps": 1.5}),
            "/n_warmup_steps",
            "wrong_type",
        ),
        (
            json!({"name": "median", "n_warmup_steps": "1"}),
            "/n_warmup_steps",
            "wrong_type",
        ),
        (
            json!({"name": "median", "interval_steps": 0}),
            "/interval_steps",
            "out_of_range",
        ),
        (
            json!({"name": "median", "n_min_trials": 0}),
            "/n_min_trials",
            "out_of_range",
        ),
        (json!("percentile"), "/percentile", "required"),
        (json!({"name": "percentile"}), "/percentile", "required"),
        (
            json!({"name": "percentile", "percentile": 100.5}),
            "/percentile",
            "out_of_range",
        ),
        (
            json!({"name": "percentile", "percentile": -1}),
            "/percentile",
            "out_of_range",
        ),
        (
            json!({"name": "percentile", "percentile": "25"}),
            "/percentile",
            "wrong_type",
        ),
        (
            json!({"name": "asha", "min_resource": 0}),
            "/min_resource",
            "out_of_range",
        ),
        (
            json!({"name": "asha", "min_resource": "auto"}),
            "/min_resource",
            "wrong_type",
        ),
        (
            json!({"name": "asha", "reduction_factor": 1}),
            "/reduction_factor",
            "out_of_range",
        ),
        (
            json!({"name": "asha", "min_early_stopping_rate": MAX_EARLY_STOPPING_RATE + 1}),
            "/min_early_stopping_rate",
            "out_of_range",
        ),
        (
            json!({"name": "asha", "bootstrap_count": 2}),
            "/bootstrap_count",
            "needs_resource",
        ),
        // What is wanting may be what could not be read.
        (
            json!({"name": "asha", "min_resource": -1, "bootstrap_count": 2}),
            "/min_resource",
            "out_of_range",
        ),
        (
            json!({"name": "successive_halving", "max_resource": 2}),
            "/max_resource",
            "unknown_field",
        ),
        (
            json!({"name": "hyperband", "min_resource": 9, "max_resource": 8}),
            "/max_resource",
            "below_minimum",
        ),
        (
            json!({"name": "hyperband", "reduction_factor": 1}),
            "/reduction_factor",
            "out_of_range",
        ),
        (
            json!({"name": "hyperband", "bootstrap_count": 2}),
            "/bootstrap_count",
            "needs_resource",
        ),
        (json!("patient"), "/patience", "required"),
        (json!({"name": "patient"}), "/patience", "required"),
        (
            json!({"name": "patient", "patience": -1}),
            "/patience",
            "out_of_range",
        ),
        (
            json!({"name": "patient", "patience": 1, "min_delta": -0.5}),
            "/min_delta",
            "out_of_range",
        ),
        (
            json!({"name": "patient", "patience": 1, "wrapped": 5}),
            "/wrapped",
            "wrong_type",
        ),
        (
            json!({"name": "patient", "patience": 1, "wrapped": "mean"}),
            "/wrapped",
            "unknown_value",
        ),
        (
            json!({"name": "patient", "patience": 1, "wrapped": {}}),
            "/wrapped/name",
            "required",
        ),
        (
            json!({"name": "patient", "patience": 1, "wrapped": {"name": "asha", "min_resource": 0}}),
            "/wrapped/min_resource",
            "out_of_range",
        ),
        (
            json!({"name": "patient", "patience": 1, "wrapped": {"name": "asha", "topk": 0}}),
            "/wrapped/topk",
            "unknown_field",
        ),
        (
            json!({"name": "patient", "patience": 1, "wrapped": {"name": "patient", "patience": 1}}),
            "/wrapped",
            "nested_patient",
        ),
        (
            json!({"name": "patient", "patience": 1, "wrapped": "threshold"}),
            "/wrapped/lower",
            "bounds_missing",
        ),
        (json!("threshold"), "/lower", "bounds_missing"),
        (
            json!({"name": "threshold", "n_warmup_steps": 1}),
            "/lower",
            "bounds_missing",
        ),
        (
            json!({"name": "threshold", "lower": "low"}),
            "/lower",
            "wrong_type",
        ),
        (
            json!({"name": "threshold", "lower": 1, "interval_steps": 0}),
            "/interval_steps",
            "out_of_range",
        ),
        (
            json!({"name": "wilcoxon", "p_threshold": 1.5}),
            "/p_threshold",
            "out_of_range",
        ),
        (
            json!({"name": "wilcoxon", "n_startup_steps": -2}),
            "/n_startup_steps",
            "out_of_range",
        ),
    ];
    for (pruner, below, code) in cases {
        let place = format!("/pruner{below}");
        for body in [at_client(), cross_validated()] {
            let asked = with(body, "/pruner", pruner.clone());
            let found = faults(&asked);
            assert_told(&found, &[(&place, code)], &pruner);
            let fault = &found[0];
            assert!(
                !fault.detail.is_empty() && fault.detail.len() < 1_000,
                "{fault:?}"
            );
            // The value at fault is the one that was sent, not a text about it.
            let sent = asked.pointer(&place).cloned().unwrap_or_default();
            assert_eq!(fault.value, sent, "{pruner}");
        }
    }
}

#[test]
fn every_fault_of_a_pruner_is_told_at_once() {
    let wrapped = json!({
        "name": "median", "n_startup_trials": "many", "interval_steps": 0, "n_min_trials": 0, "topk": 1,
    });
    let body = pruned(json!({"name": "patient", "min_delta": -1, "wrapped": wrapped}));
    assert_told(
        &faults(&body),
        &[
            ("/pruner/min_delta", "out_of_range"),
            ("/pruner/patience", "required"),
            ("/pruner/wrapped/interval_steps", "out_of_range"),
            ("/pruner/wrapped/n_min_trials", "out_of_range"),
            ("/pruner/wrapped/n_startup_trials", "wrong_type"),
            ("/pruner/wrapped/topk", "unknown_field"),
        ],
        &body,
    );
    let body = pruned(json!({"name": "percentile", "interval_steps": 0, "n_warmup_steps": 0.5}));
    assert_told(
        &faults(&body),
        &[
            ("/pruner/interval_steps", "out_of_range"),
            ("/pruner/n_warmup_steps", "wrong_type"),
            ("/pruner/percentile", "required"),
        ],
        &body,
    );
    let body = pruned(json!({"name": "patient", "wrapped": {"name": "mean"}}));
    assert_told(
        &faults(&body),
        &[
            ("/pruner/patience", "required"),
            ("/pruner/wrapped/name", "unknown_value"),
        ],
        &body,
    );
}

#[test]
fn a_pruner_that_is_none_says_which_one_was_meant() {
    let found = faults(&pruned(json!("medain")));
    assert_eq!(
        found[0].detail,
        "\"medain\" is not a pruner; did you mean median?"
    );
    let allowed = found[0].allowed.as_ref().unwrap();
    assert!(
        PrunerKind::ALL
            .iter()
            .all(|kind| allowed.contains(&kind.name().to_owned()))
    );
    assert_eq!(allowed.last().unwrap(), "successive_halving");
}

#[test]
fn a_trial_that_reports_nothing_on_the_way_cannot_be_pruned() {
    let mut sphere = at_client();
    sphere["strategy_name"] = json!("sphere");
    sphere["stock_codes"] = json!([]);
    sphere["start_date"] = json!("2023-01-01");
    sphere["end_date"] = json!("2023-01-01");
    sphere["objective_config"] = json!({"objective_metric": "value"});
    let validated = |validation: Value| with(on_bars(), "/validation", validation);
    for body in [
        sphere,
        on_bars(),
        validated(json!({"method": "none"})),
        validated(json!({"method": "holdout", "length": "1y"})),
        validated(json!({"method": "walk_forward", "train": "2y", "test": "1y"})),
    ] {
        for pruner in [json!("median"), json!({"name": "patient", "patience": 2})] {
            let found = faults(&with(body.clone(), "/pruner", pruner));
            assert_told(&found, &[("/pruner", "nothing_to_prune")], &body);
            assert_eq!(found[0].allowed, Some(vec!["none".to_owned()]));
        }
        let none = accept(&with(body, "/pruner", json!("none")));
        assert_eq!(none.spec.pruner, PrunerConfig::None);
    }
    let segments = accept(&with(cross_validated(), "/pruner", json!("median")));
    assert_eq!(segments.spec.pruner.kind(), PrunerKind::Median);
}

#[test]
fn a_fault_of_the_validation_or_of_the_strategy_is_no_fault_of_the_pruner() {
    let body = with(cross_validated(), "/pruner", json!("median"));
    let found = faults(&with(body.clone(), "/validation/segments", json!(1)));
    assert_told(
        &found,
        &[("/validation/segments", "out_of_range")],
        &"segments",
    );
    let found = faults(&with(body, "/strategy_name", json!("moving_averages")));
    assert_told(
        &found,
        &[("/strategy_name", "unknown_strategy")],
        &"strategy",
    );
    // Of a test function nothing is reported, whatever judges it.
    let mut sphere = with(at_client(), "/strategy_name", json!("sphere"));
    sphere["stock_codes"] = json!([]);
    sphere["start_date"] = json!("2023-01-01");
    sphere["end_date"] = json!("2023-01-01");
    sphere["objective_config"] = json!({"objective_metric": "value"});
    sphere["validation"] = json!({"method": "cross_validation", "segments": 4});
    sphere["pruner"] = json!("median");
    let both = [
        ("/pruner", "nothing_to_prune"),
        ("/validation/method", "not_for_functions"),
    ];
    assert_told(&faults(&sphere), &both, &"sphere");
}

#[test]
fn a_threshold_is_for_one_objective_and_the_others_are_for_several() {
    let body = with_two();
    let found = faults(&with(
        body.clone(),
        "/pruner",
        json!({"name": "threshold", "lower": 1}),
    ));
    assert_told(&found, &[("/pruner/name", "one_objective_only")], &"object");
    let wrapped =
        json!({"name": "patient", "patience": 1, "wrapped": {"name": "threshold", "upper": 1}});
    let found = faults(&with(body.clone(), "/pruner", wrapped));
    assert_told(
        &found,
        &[("/pruner/wrapped/name", "one_objective_only")],
        &"wrapped",
    );
    let found = faults(&with(body.clone(), "/pruner", json!("threshold")));
    // Another pruner is needed, not bounds.
    assert_told(&found, &[("/pruner", "one_objective_only")], &"name");
    let median = accept(&with(body.clone(), "/pruner", json!("median")));
    assert_eq!(median.spec.pruner.kind(), PrunerKind::Median);
    // With the objectives in doubt their own faults are enough.
    let body = with(body, "/objective_config/objective_metric/1", json!("a b"));
    let found = faults(&with(
        body,
        "/pruner",
        json!({"name": "threshold", "lower": 1}),
    ));
    assert_told(
        &found,
        &[("/objective_config/objective_metric/1", "malformed_name")],
        &"doubt",
    );
}

#[test]
fn a_search_that_prunes_repeats_only_one_trial_after_the_other() {
    let reproducible = |pruner: &str, parallelism: Value| {
        let mut body = pruned(json!(pruner));
        body["optimization_method"] = json!("random");
        body["parallelism"] = parallelism;
        accept(&body).resolved["reproducible"].clone()
    };
    assert_eq!(reproducible("none", json!(null)), true);
    assert_eq!(reproducible("median", json!(null)), false);
    assert_eq!(reproducible("median", json!(2)), false);
    assert_eq!(reproducible("median", json!(1)), true);
}

#[test]
fn the_schema_names_every_pruner_and_every_option() {
    let schema = request_schema();
    let forms = schema["properties"]["pruner"]["anyOf"].as_array().unwrap();
    let names: Vec<&Value> = forms[0]["enum"].as_array().unwrap().iter().collect();
    // The names with nothing, and one form for each name.
    assert_eq!((names.len(), forms.len()), (10, 10));
    for form in &forms[1..] {
        let properties = form["properties"].as_object().unwrap();
        let name = &properties["name"]["const"];
        assert!(names.contains(&name), "{name}");
        for option in properties.keys() {
            // A value that no option takes is at fault for its type, and not for its name.
            let odd = json!({"name": name, option.as_str(): [1]});
            let found = faults(&pruned(odd));
            let place = format!("/pruner/{option}");
            let code = &found
                .iter()
                .find(|fault| fault.pointer == place)
                .unwrap()
                .code;
            assert_eq!(code, "wrong_type", "{name} {option}");
        }
    }
}
