//! What clients say of trials that they run, and of points that they want tried.

use super::{accept, assert_told, at_client, point, with, with_two};
use serde_json::{Map, Value, json};
use trialmill_common::draft::{
    ClientLease, MAX_TOLD_CHARS, MAX_TOLD_METRICS, ToldEnd, check_enqueued, check_report,
    check_told,
};
use trialmill_common::fault::Fault;
use trialmill_common::spec::TaskSpec;
use trialmill_search::{Choice, MAX_NAME_CHARS};

const LEASE: &str = "7.0.0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3d";

fn one() -> TaskSpec {
    accept(&at_client()).spec
}

fn two() -> TaskSpec {
    accept(&with_two()).spec
}

/// A search for a metric that backtests know under two names.
fn for_sharpe() -> TaskSpec {
    let sharpe = json!({"objective_metric": "sharpe"});
    accept(&with(at_client(), "/objective_config", sharpe)).spec
}

/// The metrics of a trial that a client tells as completed with these values.
fn completed(values: &Value, spec: &TaskSpec) -> Vec<(String, Result<f64, String>)> {
    let told = check_told(&json!({"lease": LEASE, "values": values}), spec);
    match told.unwrap_or_else(|faults| panic!("{faults:#?}")).end {
        ToldEnd::Completed(metrics) => metrics,
        other => panic!("{other:?}"),
    }
}

fn metric(name: &str, value: f64) -> (String, Result<f64, String>) {
    (name.to_owned(), Ok(value))
}

/// Objects of so many metrics, the loss among them.
fn metrics(count: usize) -> Value {
    let names = (1..count).map(|i| format!("m{i}"));
    let all: Map<String, Value> = names
        .chain(["loss".to_owned()])
        .map(|name| (name, json!(1)))
        .collect();
    Value::Object(all)
}

#[test]
fn a_lease_is_read_as_it_was_written_and_anything_else_is_none() {
    for text in [
        LEASE,
        "9223372036854775807.4294967295.00000000-0000-0000-0000-000000000000",
        "-1.3.0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3d",
    ] {
        let lease: ClientLease = text.parse().unwrap();
        assert_eq!(lease.to_string(), text);
    }
    let holder = "0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3d";
    for text in [
        String::new(),
        "7".to_owned(),
        "7.0".to_owned(),
        "7.0.".to_owned(),
        format!(".0.{holder}"),
        format!("7..{holder}"),
        format!("7.-1.{holder}"),
        format!("7.4294967296.{holder}"),
        format!("9223372036854775808.0.{holder}"),
        format!("7.5.0.{holder}"),
        format!(" 7.0.{holder}"),
        format!("7.0.{holder} "),
        format!("7.0.{holder}.1"),
        "7.0.0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3".to_owned(),
    ] {
        let error = text.parse::<ClientLease>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a lease is what came with the trial, as it came",
            "{text:?}"
        );
    }
}

#[test]
fn the_values_of_a_completed_trial_may_be_a_number_a_list_or_an_object() {
    let (one, two) = (one(), two());
    for values in [json!(0.25), json!([0.25]), json!({"loss": 0.25})] {
        assert_eq!(completed(&values, &one), [metric("loss", 0.25)]);
    }
    assert_eq!(completed(&json!(3), &one), [metric("loss", 3.0)]);
    let both = [metric("loss", 0.25), metric("speed", 9.0)];
    for values in [json!([0.25, 9]), json!({"speed": 9, "loss": 0.25})] {
        assert_eq!(completed(&values, &two), both);
    }
    // An object may hold other metrics, up to a bound.
    assert_eq!(
        completed(&json!({"loss": 1, "epochs": 12}), &one)[0],
        metric("epochs", 12.0)
    );
    assert_eq!(
        completed(&metrics(MAX_TOLD_METRICS), &one).len(),
        MAX_TOLD_METRICS
    );
    let zero = completed(&json!(-0.0), &one)[0].1.clone().unwrap();
    assert!(zero.is_sign_positive());
    let longest = "m".repeat(MAX_NAME_CHARS);
    let named = completed(&json!({"loss": 1, longest.clone(): 2}), &one);
    assert_eq!(named[1], metric(&longest, 2.0));
}

#[test]
fn a_state_that_is_left_out_or_null_is_completed_and_the_lease_comes_through() {
    for state in [json!(null), json!("completed")] {
        let body = json!({"lease": LEASE, "state": state, "values": [1], "error": null});
        let told = check_told(&body, &one()).unwrap();
        assert_eq!(told.lease.to_string(), LEASE);
        assert_eq!(told.end, ToldEnd::Completed(vec![metric("loss", 1.0)]));
    }
}

#[test]
fn a_metric_is_told_under_its_canonical_name() {
    let spec = for_sharpe();
    for values in [
        json!(1.5),
        json!({"sharpe": 1.5}),
        json!({"sharpe_ratio": 1.5}),
    ] {
        assert_eq!(completed(&values, &spec), [metric("sharpe_ratio", 1.5)]);
    }
    let also = completed(&json!({"loss": 1, "mdd": 0.2}), &one());
    assert_eq!(also, [metric("loss", 1.0), metric("max_drawdown", 0.2)]);
    let twice = json!({"lease": LEASE, "values": {"sharpe": 1.5, "sharpe_ratio": 1.5}});
    let found = check_told(&twice, &spec).unwrap_err();
    assert_told(&found, &[("/values/sharpe_ratio", "duplicate")], &twice);
    let report = json!({"lease": LEASE, "step": 3, "values": {"sharpe": 1.5}});
    assert_eq!(
        check_report(&report, &spec).unwrap().report,
        Some((3, vec![1.5]))
    );
    let pruned = json!({"lease": LEASE, "state": "pruned", "values": {"sharpe": 1.5}});
    assert_eq!(
        check_told(&pruned, &spec).unwrap().end,
        ToldEnd::Pruned(Some(vec![1.5]))
    );
}

#[test]
fn null_is_a_metric_without_a_value_in_a_completed_trial_alone() {
    let without = Err("its client told null".to_owned());
    for values in [json!([null]), json!({"loss": null})] {
        assert_eq!(
            completed(&values, &one()),
            [("loss".to_owned(), without.clone())]
        );
    }
    let both = completed(&json!([null, 2]), &two());
    assert_eq!(
        both,
        [("loss".to_owned(), without.clone()), metric("speed", 2.0)]
    );
    let other = completed(&json!({"loss": 1, "auc": null}), &one());
    assert_eq!(other, [("auc".to_owned(), without), metric("loss", 1.0)]);
    let report = |values: Value| json!({"lease": LEASE, "step": 0, "values": values});
    for (values, place) in [
        (json!([null]), "/values/0"),
        (json!({"loss": null}), "/values/loss"),
    ] {
        let found = check_report(&report(values.clone()), &one()).unwrap_err();
        assert_told(&found, &[(place, "wrong_type")], &values);
        let pruned = json!({"lease": LEASE, "state": "pruned", "values": values});
        let found = check_told(&pruned, &one()).unwrap_err();
        assert_told(&found, &[(place, "wrong_type")], &values);
    }
}

#[test]
fn a_pruned_trial_may_have_values_and_a_failed_one_has_a_reason() {
    let end = |body: Value| {
        check_told(&with(body, "/lease", json!(LEASE)), &two())
            .unwrap()
            .end
    };
    assert_eq!(end(json!({"state": "pruned"})), ToldEnd::Pruned(None));
    assert_eq!(
        end(json!({"state": "pruned", "values": null})),
        ToldEnd::Pruned(None)
    );
    let both = ToldEnd::Pruned(Some(vec![1.0, 2.0]));
    assert_eq!(end(json!({"state": "pruned", "values": [1, 2]})), both);
    let by_name = json!({"speed": 2, "epochs": 4, "loss": 1});
    assert_eq!(end(json!({"state": "pruned", "values": by_name})), both);
    let longest = "é".repeat(MAX_TOLD_CHARS);
    let failed = json!({"state": "failed", "error": longest, "values": null});
    assert_eq!(end(failed), ToldEnd::Failed(longest));
}

type Checked = fn(&Value, &TaskSpec) -> Result<(), Vec<Fault>>;

/// Every body, with one place set, has exactly the fault that stands beside it: "code@/below" is below that
/// place, "code!/else" elsewhere.
fn each_has_its_fault(
    body: &Value,
    spec: &TaskSpec,
    check: Checked,
    cases: Vec<(&str, Value, &str)>,
) {
    check(body, spec).expect("the body itself has no fault");
    for (pointer, value, code) in cases {
        let (code, place) = match (code.split_once('@'), code.split_once('!')) {
            (Some((code, below)), _) => (code, format!("{pointer}{below}")),
            (None, Some((code, elsewhere))) => (code, elsewhere.to_owned()),
            (None, None) => (code, pointer.to_owned()),
        };
        let faulty = with(body.clone(), pointer, value.clone());
        let found = check(&faulty, spec).expect_err(pointer);
        assert_told(&found, &[(&place, code)], &faulty);
        let detail = &found[0].detail;
        assert!(!detail.is_empty() && detail.len() < 1_000, "{detail}");
    }
}

#[test]
fn each_single_fault_of_an_end_is_named_by_place_and_code() {
    let told: Checked = |body, spec| check_told(body, spec).map(drop);
    let long = "m".repeat(MAX_NAME_CHARS + 1);
    each_has_its_fault(
        &json!({"lease": LEASE, "values": {"loss": 1}}),
        &one(),
        told,
        vec![
            ("/lease", json!(null), "required"),
            ("/lease", json!(7), "wrong_type"),
            ("/lease", json!("7"), "malformed"),
            ("/lease", json!(""), "malformed"),
            ("/state", json!("done"), "unknown_value"),
            ("/state", json!("Completed"), "unknown_value"),
            ("/state", json!(1), "wrong_type"),
            ("/value", json!(1), "unknown_field"),
            ("/values", json!(null), "required"),
            ("/values", json!("0.5"), "wrong_type"),
            ("/values", json!(true), "wrong_type"),
            ("/values", json!([]), "wrong_length"),
            ("/values", json!([1, 2]), "wrong_length"),
            ("/values", json!(["1"]), "wrong_type@/0"),
            ("/values", json!([[1]]), "wrong_type@/0"),
            ("/values", json!({}), "required@/loss"),
            ("/values", json!({"lost": 1}), "required@/loss"),
            ("/values", metrics(MAX_TOLD_METRICS + 1), "too_many"),
            ("/values/loss", json!("low"), "wrong_type"),
            ("/values/loss", json!({}), "wrong_type"),
            ("/values/epochs", json!("12"), "wrong_type"),
            ("/values/val loss", json!(1), "malformed_name"),
            ("/values/2nd", json!(1), "malformed_name"),
            ("/values/", json!(1), "malformed_name"),
            ("/values/损失", json!(1), "malformed_name"),
            (
                "/values",
                json!({"loss": 1, long.clone(): 1}),
                &format!("malformed_name@/{long}"),
            ),
            (
                "/values",
                json!({"loss": 1, "a/b~c": 1}),
                "malformed_name@/a~1b~0c",
            ),
            ("/error", json!("why"), "not_for_this_state"),
            ("/error", json!(5), "not_for_this_state"),
        ],
    );
    each_has_its_fault(
        &json!({"lease": LEASE, "values": [1, 2]}),
        &two(),
        told,
        vec![
            ("/values", json!(1), "wrong_type"),
            ("/values", json!("1"), "wrong_type"),
            ("/values", json!([1]), "wrong_length"),
            ("/values", json!([1, 2, 3]), "wrong_length"),
            ("/values", json!({"loss": 1}), "required@/speed"),
            ("/values/1", json!(false), "wrong_type"),
        ],
    );
    each_has_its_fault(
        &json!({"lease": LEASE, "state": "pruned", "values": 1}),
        &one(),
        told,
        vec![
            ("/values", json!([]), "wrong_length"),
            ("/values", json!([null]), "wrong_type@/0"),
            ("/values", json!({"lost": 1}), "required@/loss"),
            ("/values", json!("x"), "wrong_type"),
            ("/error", json!("why"), "not_for_this_state"),
        ],
    );
    each_has_its_fault(
        &json!({"lease": LEASE, "state": "failed", "error": "why"}),
        &one(),
        told,
        vec![
            ("/error", json!(null), "required"),
            ("/error", json!(["why"]), "wrong_type"),
            ("/error", json!(" "), "empty"),
            ("/error", json!("é".repeat(MAX_TOLD_CHARS + 1)), "too_long"),
            ("/error", json!("a\u{0}b"), "control_character"),
            ("/values", json!(1), "not_for_this_state"),
            ("/values", json!({}), "not_for_this_state"),
        ],
    );
    for odd in [json!(null), json!([]), json!("told"), json!(1)] {
        for check in [told, |body, spec| check_report(body, spec).map(drop)] {
            assert_told(
                &check(&odd, &one()).unwrap_err(),
                &[("", "wrong_type")],
                &odd,
            );
        }
    }
}

#[test]
fn the_faults_of_an_end_are_told_at_once() {
    let body = json!({
        "lease": "7", "stat": "pruned", "error": "why",
        "values": {"val loss": 1, "speed": "fast", "sharpe": 1, "sharpe_ratio": 2},
    });
    let found = check_told(&body, &two()).unwrap_err();
    assert_told(
        &found,
        &[
            ("/error", "not_for_this_state"),
            ("/lease", "malformed"),
            ("/stat", "unknown_field"),
            ("/values/loss", "required"),
            ("/values/sharpe_ratio", "duplicate"),
            ("/values/speed", "wrong_type"),
            ("/values/val loss", "malformed_name"),
        ],
        &body,
    );
    let of = |pointer: &str| found.iter().find(|fault| fault.pointer == pointer).unwrap();
    assert_eq!(of("/lease").value, "7");
    assert!(of("/stat").detail.ends_with("did you mean state?"));
    let failed = json!({"state": "failed", "values": 1, "lease": 5});
    assert_told(
        &check_told(&failed, &one()).unwrap_err(),
        &[
            ("/error", "required"),
            ("/lease", "wrong_type"),
            ("/values", "not_for_this_state"),
        ],
        &failed,
    );
    assert_told(
        &check_told(&json!({}), &one()).unwrap_err(),
        &[("/lease", "required"), ("/values", "required")],
        &"nothing",
    );
}

#[test]
fn a_missing_objective_names_what_may_have_been_meant_and_nothing_else() {
    let detail = |values: Value| {
        let body = json!({"lease": LEASE, "values": values});
        check_told(&body, &one()).unwrap_err().remove(0).detail
    };
    let missing = "loss is an objective of the task and is missing; ";
    for (values, advice) in [
        (
            json!({"los": 1, "epochs": 12}),
            "if los is it, tell it by its name",
        ),
        (json!({"epochs": 12}), "tell it"),
        (json!({}), "tell it"),
    ] {
        let whole = format!("{missing}{advice}, or tell null where it has no value");
        assert_eq!(detail(values), whole);
    }
}

#[test]
fn the_limits_are_told_with_the_faults() {
    let found = |values: Value, spec: &TaskSpec| {
        let body = json!({"lease": LEASE, "values": values});
        check_told(&body, spec).unwrap_err().remove(0)
    };
    assert_eq!(
        found(metrics(MAX_TOLD_METRICS + 1), &one()).limit,
        Some(json!(MAX_TOLD_METRICS))
    );
    assert_eq!(found(json!([1]), &two()).limit, Some(json!(2)));
    let state = json!({"lease": LEASE, "state": "complete", "values": 1});
    let state = check_told(&state, &one()).unwrap_err().remove(0);
    let names = ["completed", "pruned", "failed"].map(str::to_owned);
    assert_eq!(state.allowed.as_deref(), Some(&names[..]));
}

#[test]
fn a_report_is_a_step_with_its_values_or_a_sign_of_life() {
    let report = |body: Value, spec: &TaskSpec| {
        let told = check_report(&with(body, "/lease", json!(LEASE)), spec).unwrap();
        assert_eq!(told.lease.to_string(), LEASE);
        told.report
    };
    assert_eq!(report(json!({}), &one()), None);
    assert_eq!(report(json!({"step": null, "values": null}), &one()), None);
    assert_eq!(
        report(json!({"step": 0, "values": -0.5}), &one()),
        Some((0, vec![-0.5]))
    );
    assert_eq!(
        report(json!({"step": 5.0, "values": [3]}), &one()),
        Some((5, vec![3.0]))
    );
    let last = report(
        json!({"step": u32::MAX, "values": {"speed": 2, "loss": 1}}),
        &two(),
    );
    assert_eq!(last, Some((u32::MAX, vec![1.0, 2.0])));
    // Other metrics are no part of a report.
    let more = json!({"step": 1, "values": {"loss": 1, "epochs": 12}});
    assert_eq!(report(more, &one()), Some((1, vec![1.0])));
}

#[test]
fn each_single_fault_of_a_report_is_named_by_place_and_code() {
    let report: Checked = |body, spec| check_report(body, spec).map(drop);
    each_has_its_fault(
        &json!({"lease": LEASE, "step": 3, "values": 1}),
        &one(),
        report,
        vec![
            ("/lease", json!(null), "required"),
            ("/lease", json!({}), "wrong_type"),
            ("/lease", json!("x.y.z"), "malformed"),
            ("/step", json!(null), "required"),
            ("/step", json!(-1), "out_of_range"),
            ("/step", json!(u64::from(u32::MAX) + 1), "out_of_range"),
            ("/step", json!(1.5), "wrong_type"),
            ("/step", json!("1"), "wrong_type"),
            ("/values", json!(null), "required"),
            ("/values", json!("1"), "wrong_type"),
            ("/values", json!([1, 2]), "wrong_length"),
            ("/values", json!({"lost": 1}), "required@/loss"),
            (
                "/values",
                json!({"loss": 1, "a b": 1}),
                "malformed_name@/a b",
            ),
            (
                "/values",
                json!({"loss": 1, "epochs": []}),
                "wrong_type@/epochs",
            ),
            ("/values", metrics(MAX_TOLD_METRICS + 1), "too_many"),
            ("/state", json!("pruned"), "unknown_field"),
        ],
    );
    each_has_its_fault(
        &json!({"lease": LEASE, "step": 3, "values": [1, 2]}),
        &two(),
        report,
        vec![
            ("/values", json!(1), "wrong_type"),
            ("/values", json!([1]), "wrong_length"),
            ("/values/0", json!(null), "wrong_type"),
        ],
    );
    let all = json!({"lease": "x", "step": -1, "values": {"speed": null}, "more": 1});
    assert_told(
        &check_report(&all, &two()).unwrap_err(),
        &[
            ("/lease", "malformed"),
            ("/more", "unknown_field"),
            ("/step", "out_of_range"),
            ("/values/loss", "required"),
            ("/values/speed", "wrong_type"),
        ],
        &all,
    );
}

/// A search with a condition, a constraint and disabled parameters.
fn conditional() -> TaskSpec {
    let mut body = at_client();
    body["param_space"] = json!({
        "mode": {"type": "categorical", "choices": ["trend", "hold", null]},
        "fast": {"type": "int", "low": 2, "high": 20, "step": 2, "when": "mode == 'trend'"},
        "rate": {"type": "float", "low": 0, "high": 1},
        "gap": {"type": "int", "enabled": false, "default": 3},
        "decay": {"type": "float", "enabled": false, "default": 1},
    });
    body["constraints"] = json!(["fast > gap"]);
    accept(&body).spec
}

fn enqueued(params: &Value) -> Result<trialmill_search::Point, Vec<Fault>> {
    check_enqueued(&json!({"params": params}), &conditional())
}

#[test]
fn a_point_to_be_tried_has_a_value_for_each_parameter_that_is_there() {
    let spec = conditional();
    let text = |text: &str| Choice::Text(text.to_owned());
    let hold = [("mode", text("hold")), ("rate", Choice::Float(1.0))];
    assert_eq!(
        enqueued(&json!({"mode": "hold", "rate": 1})).unwrap(),
        point(&spec, &hold)
    );
    let trend = [
        ("mode", text("trend")),
        ("fast", Choice::Int(4)),
        ("rate", Choice::Float(0.5)),
    ];
    let asked = json!({"mode": "trend", "fast": 4.0, "rate": 0.5});
    assert_eq!(enqueued(&asked).unwrap(), point(&spec, &trend));
    let none = [("mode", Choice::Null), ("rate", Choice::Float(0.0))];
    assert_eq!(
        enqueued(&json!({"mode": null, "rate": -0.0})).unwrap(),
        point(&spec, &none)
    );
}

#[test]
fn a_disabled_parameter_may_be_sent_back_however_its_number_is_written() {
    let plain = enqueued(&json!({"mode": "hold", "rate": 1})).unwrap();
    for (gap, decay) in [(json!(3), json!(1.0)), (json!(3.0), json!(1))] {
        let back = enqueued(&json!({"mode": "hold", "rate": 1, "gap": gap, "decay": decay}));
        assert_eq!(back.unwrap(), plain);
    }
    let found = enqueued(&json!({"mode": "hold", "rate": 1, "gap": 4, "decay": "1"})).unwrap_err();
    let both = [
        ("/params/decay", "disabled_parameter"),
        ("/params/gap", "disabled_parameter"),
    ];
    assert_told(&found, &both, &"other values");
    assert!(
        found
            .iter()
            .any(|fault| fault.detail == "gap is disabled and stays at 3; leave it out")
    );
}

#[test]
fn each_single_fault_of_a_point_is_named_by_place_and_code() {
    let check: Checked = |body, spec| check_enqueued(body, spec).map(drop);
    let body = json!({"params": {"mode": "trend", "fast": 4, "rate": 0.5}});
    each_has_its_fault(
        &body,
        &conditional(),
        check,
        vec![
            ("/params", json!(null), "required"),
            ("/params", json!([]), "wrong_type"),
            ("/param", json!({}), "unknown_field"),
            ("/params/rate", json!(1.5), "out_of_range"),
            ("/params/rate", json!("x"), "wrong_type"),
            ("/params/rate", json!(null), "wrong_type"),
            ("/params/rate", json!([]), "wrong_type"),
            ("/params/rate", json!(u64::MAX), "out_of_range"),
            ("/params/fast", json!(5), "off_step"),
            ("/params/fast", json!(2), "constraint_broken!/params"),
            (
                "/params/mode",
                json!("hold"),
                "inactive_parameter!/params/fast",
            ),
            ("/params/mode", json!("both"), "unknown_choice"),
            ("/params/raet", json!(1), "unknown_parameter"),
            ("/params/a~1b", json!(1), "unknown_parameter!/params/a~01b"),
            (
                "/params",
                json!({"mode": "trend", "fast": 4}),
                "missing_parameter@/rate",
            ),
            ("/params/gap", json!(4), "disabled_parameter"),
            ("/params/gap", json!({}), "wrong_type"),
        ],
    );
    for odd in [json!(null), json!([]), json!("x")] {
        assert_told(
            &check(&odd, &one()).unwrap_err(),
            &[("", "wrong_type")],
            &odd,
        );
    }
}

#[test]
fn the_faults_of_a_point_are_told_at_once_with_the_values_that_were_sent() {
    let found = enqueued(&json!({"mode": "trend", "fast": 99, "raet": 0.5})).unwrap_err();
    assert_told(
        &found,
        &[
            ("/params/fast", "out_of_range"),
            ("/params/raet", "unknown_parameter"),
            ("/params/rate", "missing_parameter"),
        ],
        &"three",
    );
    let value = |pointer: &str| {
        let fault = found.iter().find(|fault| fault.pointer == pointer).unwrap();
        fault.value.clone()
    };
    assert_eq!(value("/params/fast"), json!(99));
    assert_eq!(value("/params/raet"), json!(0.5));
    assert_eq!(value("/params/rate"), Value::Null);
}
