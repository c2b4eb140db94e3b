//! What a request may write, and what it is told otherwise.

use crate::{read, sharpe};
use serde_json::{Value, json};
use trialmill_common::draft::check_validation;
use trialmill_common::fault::Fault;
use trialmill_common::spec::Target;
use trialmill_common::state::Direction;
use trialmill_common::validation::{Span, Validation, WindowKind};

fn refused(asked: &Value) -> Vec<Fault> {
    check_validation(asked, Some(&sharpe()), false).expect_err("it is at fault")
}

/// `pointer code` of each fault.
fn codes(asked: &Value) -> Vec<String> {
    let faults = refused(asked);
    faults
        .iter()
        .map(|fault| format!("{} {}", fault.pointer, fault.code))
        .collect()
}

#[test]
fn every_method_is_read_with_its_defaults_written_out() {
    for (asked, canonical) in [
        (json!(null), json!({"method": "none"})),
        (json!({"method": "none"}), json!({"method": "none"})),
        (
            json!({"method": "holdout", "length": "1y"}),
            json!({"method": "holdout", "length": "12mo", "embargo": "0d"}),
        ),
        (
            json!({"method": "cross_validation", "segments": 5.0, "embargo": null}),
            json!({"method": "cross_validation", "segments": 5, "embargo": "0d"}),
        ),
        (
            json!({"method": "walk_forward", "train": "36mo", "test": "12mo"}),
            json!({
                "method": "walk_forward", "window": "rolling", "train": "36mo", "test": "12mo",
                "step": "12mo", "embargo": "0d",
                "selection": {"metric": "sharpe_ratio", "subject_to": []},
            }),
        ),
        (
            json!({
                "method": "walk_forward", "window": "anchored", "train": "2y", "test": "26w",
                "step": "52w", "embargo": "5d", "holdout": "250d",
                "selection": {"metric": "calmar", "subject_to": ["max_drawdown<=0.20"]},
            }),
            json!({
                "method": "walk_forward", "window": "anchored", "train": "24mo", "test": "26w",
                "step": "52w", "embargo": "5d", "holdout": "250d",
                "selection": {"metric": "calmar_ratio", "subject_to": ["max_drawdown <= 0.2"]},
            }),
        ),
    ] {
        let validation = read(&asked);
        assert_eq!(serde_json::to_value(&validation).unwrap(), canonical);
        // What was written out is a request for the same, and a stored form of it.
        assert_eq!(read(&canonical), validation);
        let stored: Validation = serde_json::from_value(canonical).unwrap();
        assert_eq!(stored, validation);
    }
}

#[test]
fn without_a_selection_the_objective_selects() {
    let drawdown = Target::new("max_drawdown", Direction::Minimize);
    for selection in [
        json!(null),
        json!({}),
        json!({"subject_to": ["n_trades >= 5"]}),
    ] {
        let asked = json!({
            "method": "walk_forward", "train": "36mo", "test": "12mo", "selection": selection,
        });
        let Ok(Validation::WalkForward(walk)) = check_validation(&asked, Some(&drawdown), false)
        else {
            panic!("{asked} is a walk-forward");
        };
        assert_eq!(walk.selection.metric.name(), "max_drawdown");
        assert_eq!(
            (walk.window, walk.step),
            (WindowKind::Rolling, Span::Months(12))
        );
    }
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let asked = json!({
        "method": "walk_forward", "window": "expanding", "train": "36m", "test": 12,
        "step": "0d", "embargo": "1mo", "holdout": "9 months", "hold_out": "9mo",
        "selection": {"metric": "sharp_ratio", "subject_to": ["max_drawdwn <= 0.2", 5], "by": 1},
    });
    let faults = refused(&asked);
    let told: Vec<String> = faults
        .iter()
        .map(|fault| format!("{} {}: {}", fault.pointer, fault.code, fault.detail))
        .collect();
    assert_eq!(
        told,
        [
            "/validation/hold_out unknown_field: hold_out is not a field; did you mean holdout?",
            "/validation/window unknown_value: window \"expanding\" is not known; did you mean \
             anchored?",
            "/validation/train malformed_span: train: \"36m\" is not a length; did you mean 36mo?",
            "/validation/test wrong_type: test is 12; it must be a string with a number and a unit, \
             such as 36mo, 2y, 6w or 250d",
            "/validation/step out_of_range: step: 0d is out of range; write 1d to 36500d",
            "/validation/embargo malformed_span: embargo: \"1mo\" is not a number of trading days; \
             write them, such as 5d",
            "/validation/holdout malformed_span: holdout: \"9 months\" is not a length; did you mean \
             9mo?",
            "/validation/selection/by unknown_field: by is not a field; use metric, subject_to",
            "/validation/selection/metric unknown_name: sharp_ratio is not a metric; did you mean \
             sharpe_ratio?",
            "/validation/selection/subject_to/0 unknown_name: max_drawdwn is not a metric; did you \
             mean max_drawdown?",
            "/validation/selection/subject_to/1 wrong_type: subject_to[1] is a number; it must be a \
             string",
        ]
    );
    assert_eq!(faults[2].value, json!("36m"));
    assert_eq!(faults[4].limit, Some(json!("1d to 36500d")));
    let windows = faults[1].allowed.as_deref();
    assert_eq!(
        windows,
        Some(&["rolling".to_owned(), "anchored".to_owned()][..])
    );
    assert_eq!(faults[9].position, Some(0));
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(codes(&json!({})), ["/validation/method required"]);
    assert_eq!(
        codes(&json!({"method": "holdout"})),
        ["/validation/length required"]
    );
    assert_eq!(
        codes(&json!({"method": "cross_validation"})),
        ["/validation/segments required"]
    );
    assert_eq!(
        codes(&json!({"method": "walk_forward", "step": "6mo"})),
        ["/validation/train required", "/validation/test required"]
    );
}

#[test]
fn older_shapes_are_told_what_to_write() {
    for (asked, says) in [
        (json!("walkforward"), "{\"method\": \"walk_forward\"}"),
        (json!("nothing"), "{\"method\": \"none\"}"),
        (json!(0.2), "validation is a number; it must be an object"),
        (json!({"method": "kfold"}), "did you mean cross_validation?"),
        (
            json!({"method": "Walk-Forward"}),
            "did you mean walk_forward?",
        ),
        (json!({"method": "hold_out"}), "did you mean holdout?"),
        (json!({"method": "HOLDOUT"}), "did you mean holdout?"),
        (
            json!({"method": "train_test_split"}),
            "did you mean holdout?",
        ),
        (
            json!({"method": "luck"}),
            "use none, holdout, cross_validation, walk_forward",
        ),
        (
            json!({"method": 5}),
            "method is a number; it must be a string",
        ),
        (
            json!({"method": "walk_forward", "n_splits": 5}),
            "cross_validation takes segments",
        ),
        (
            json!({"method": "cross_validation", "n_splits": 5}),
            "did you mean segments?",
        ),
        (
            json!({"method": "walk_forward", "train_size": "36mo"}),
            "did you mean train?",
        ),
        (
            json!({"method": "walk_forward", "anchored": true}),
            "did you mean window?",
        ),
        (
            json!({"method": "walk_forward", "gap": 5}),
            "did you mean embargo?",
        ),
        (
            json!({"method": "holdout", "test_size": 0.2}),
            "did you mean length?",
        ),
        (
            json!({"method": "holdout", "holdout": "9mo"}),
            "did you mean length?",
        ),
        (
            json!({"method": "holdout", "window": "rolling"}),
            "window is a field of walk_forward, not of holdout; leave it out",
        ),
        (
            json!({"method": "none", "train": "36mo"}),
            "train is a field of walk_forward, not of none; leave it out",
        ),
        (
            json!({"method": "none", "folds": 3}),
            "folds is not a field, and the method none has no other; leave it out",
        ),
        (json!({"method": "holdout", "length": 0.2}), "such as 36mo"),
        (
            json!({"method": "holdout", "length": "250"}),
            "write 250mo (months), 250y, 250w or 250d",
        ),
        (
            json!({"method": "walk_forward", "selection": {"metric": "value"}}),
            "value is not a metric",
        ),
        (
            json!({"method": "walk_forward", "selection": {"metric": "ic"}}),
            "ic cannot be asked for",
        ),
    ] {
        let faults = refused(&asked);
        let said = faults.iter().any(|fault| fault.detail.contains(says));
        assert!(said, "{asked} is not told {says}: {faults:#?}");
    }
}

#[test]
fn test_windows_may_not_overlap() {
    let asked = |test: &str, step: &str| json!({"method": "walk_forward", "train": "36mo", "test": test, "step": step});
    for (test, step, says) in [
        ("12mo", "6mo", "shorter than test (12mo)"),
        ("1y", "11mo", "shorter than test (12mo)"),
        ("60d", "59d", "shorter than test (60d)"),
        ("12mo", "250d", "give both in the same unit"),
        ("4w", "1mo", "give both in the same unit"),
    ] {
        let faults = refused(&asked(test, step));
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].pointer, "/validation/step");
        assert_eq!(faults[0].code, "overlapping_tests");
        assert!(faults[0].detail.contains(says), "{}", faults[0].detail);
    }
    read(&asked("12mo", "1y"));
    read(&asked("12mo", "13mo"));
}

#[test]
fn everything_has_its_bounds() {
    for (asked, code) in [
        (
            json!({"method": "cross_validation", "segments": 1}),
            "out_of_range",
        ),
        (
            json!({"method": "cross_validation", "segments": 21}),
            "out_of_range",
        ),
        (
            json!({"method": "cross_validation", "segments": 2.5}),
            "wrong_type",
        ),
        (
            json!({"method": "holdout", "length": "1201mo"}),
            "out_of_range",
        ),
        (
            json!({"method": "holdout", "length": "9mo", "embargo": "251d"}),
            "out_of_range",
        ),
        (
            json!({
                "method": "walk_forward", "train": "36mo", "test": "12mo",
                "selection": {"subject_to": vec!["n_trades >= 1"; 33]},
            }),
            "too_many",
        ),
    ] {
        let faults = refused(&asked);
        assert_eq!(faults[0].code, code, "{asked}");
        assert!(faults[0].limit.is_some() || code == "wrong_type", "{asked}");
    }
    // A stored form is held to the same bounds.
    for damaged in [
        r#"{"method":"cross_validation","segments":0}"#,
        r#"{"method":"holdout","length":"0d"}"#,
        r#"{"method":"holdout","length":"9mo","embargo":"900d"}"#,
    ] {
        assert!(
            serde_json::from_str::<Validation>(damaged).is_err(),
            "{damaged}"
        );
    }
}

#[test]
fn a_test_function_has_no_days_to_hold_out() {
    let value = Target::new("value", Direction::Minimize);
    let asked = json!({"method": "walk_forward", "train": "36mo", "test": "12mo"});
    let faults = check_validation(&asked, Some(&value), true).unwrap_err();
    assert_eq!(faults[0].code, "not_for_functions");
    assert_eq!(faults[0].pointer, "/validation/method");
    let none = check_validation(&json!({"method": "none"}), Some(&value), true);
    assert_eq!(none, Ok(Validation::None));
}
