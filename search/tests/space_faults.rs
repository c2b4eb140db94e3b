//! What a space or a point refuses, and in which words.

use std::collections::BTreeMap;

use trialmill_search::{
    Choice, Domain, MAX_INT, ParamValue, Point, Space, SpaceFault, UnpackError,
};

fn float(low: f64, high: f64, step: Option<f64>, log: bool) -> Domain {
    Domain::Float {
        low,
        high,
        step,
        log,
    }
}

fn int(low: i64, high: i64, step: i64, log: bool) -> Domain {
    Domain::Int {
        low,
        high,
        step,
        log,
    }
}

fn one(domain: Domain) -> Result<Space, Vec<SpaceFault>> {
    Space::new([("x".to_owned(), domain)])
}

#[test]
fn each_wrong_domain_is_refused_with_its_field_and_code() {
    let text = |length: usize| Choice::Text("y".repeat(length));
    let choices = |choices: Vec<Choice>| Domain::Categorical { choices };
    let cases: Vec<(Domain, &[(&str, &str)])> = vec![
        (
            float(f64::NAN, f64::INFINITY, None, false),
            &[("low", "not_finite"), ("high", "not_finite")],
        ),
        (
            float(0.0, 1.0, Some(f64::NAN), false),
            &[("step", "not_finite")],
        ),
        (float(2.0, 1.0, None, false), &[("low", "low_above_high")]),
        (
            float(-1e308, 1e308, None, false),
            &[("high", "range_too_wide")],
        ),
        (
            float(0.0, 1.0, None, true),
            &[("low", "log_needs_positive_low")],
        ),
        (
            float(1.0, 2.0, Some(0.1), true),
            &[("step", "log_with_step")],
        ),
        (
            float(0.0, 1.0, Some(0.0), false),
            &[("step", "step_not_positive")],
        ),
        (
            float(0.0, 1.0, Some(-0.1), false),
            &[("step", "step_not_positive")],
        ),
        (
            float(0.0, 1.0, Some(1.1), false),
            &[("step", "step_above_range")],
        ),
        (
            float(0.0, 1.0, Some(1e-13), false),
            &[("step", "step_too_small")],
        ),
        (
            int(5, 1, 0, false),
            &[("low", "low_above_high"), ("step", "step_not_positive")],
        ),
        (int(0, 9, 1, true), &[("low", "log_needs_positive_low")]),
        (int(1, 9, 2, true), &[("step", "log_needs_step_one")]),
        (int(1, 9, 9, false), &[("step", "step_above_range")]),
        (
            int(i64::MIN, i64::MAX, 1, false),
            &[("low", "out_of_range"), ("high", "out_of_range")],
        ),
        (choices(vec![]), &[("choices", "empty_choices")]),
        (
            choices((0..=10_000).map(Choice::Int).collect()),
            &[("choices", "too_many_choices")],
        ),
        (
            choices(vec![Choice::Float(f64::NAN)]),
            &[("choices", "not_finite")],
        ),
        (
            choices(vec![Choice::Int(MAX_INT + 1)]),
            &[("choices", "out_of_range")],
        ),
        (choices(vec![text(257)]), &[("choices", "text_too_long")]),
        (
            choices(vec![Choice::Text("a\0b".to_owned())]),
            &[("choices", "nul_character")],
        ),
        (
            choices(vec![Choice::Int(1), Choice::Float(1.0)]),
            &[("choices", "duplicate_choice")],
        ),
        (
            choices(vec![Choice::Float(0.0), Choice::Float(-0.0)]),
            &[("choices", "duplicate_choice")],
        ),
    ];
    for (domain, expected) in cases {
        let faults = one(domain.clone()).expect_err(&format!("{domain:?} was accepted"));
        let found: Vec<_> = faults
            .iter()
            .map(|fault| (fault.field, fault.code))
            .collect();
        assert_eq!(found, expected, "{domain:?}");
        for fault in faults {
            assert_eq!(fault.param, "x");
            assert!(fault.detail.contains("parameter x"), "{}", fault.detail);
            assert!(
                fault.detail.contains(&fault.value),
                "{} has {}",
                fault.detail,
                fault.value
            );
            assert!(!fault.limit.is_empty(), "{fault:?}");
        }
    }
}

#[test]
fn domains_at_the_edge_of_the_rules_are_taken() {
    let domains = [
        float(1.0, 1.0, Some(5.0), false),
        float(0.0, 1.0, Some(1.0), false),
        float(5e-324, f64::MAX, None, true),
        int(-MAX_INT, MAX_INT, 1, false),
        int(7, 7, 100, false),
        int(1, MAX_INT, 1, true),
        Domain::Categorical {
            choices: (0..1000).map(Choice::Int).collect(),
        },
        Domain::Categorical {
            choices: vec![Choice::Int(1), Choice::Bool(true), Choice::Null],
        },
    ];
    for domain in domains {
        assert_eq!(one(domain.clone()).err(), None, "{domain:?}");
    }
}

#[test]
fn every_fault_of_every_parameter_is_told_at_once() {
    let faults = Space::new([
        ("b-c".to_owned(), int(1, 0, 1, false)),
        ("a".to_owned(), float(0.0, f64::NAN, Some(-1.0), false)),
        ("a".to_owned(), int(0, 1, 1, false)),
        (String::new(), int(0, 1, 1, false)),
        ("n".repeat(65), int(0, 1, 1, false)),
    ])
    .unwrap_err();
    let codes: Vec<_> = faults.iter().map(|fault| fault.code).collect();
    assert_eq!(
        codes,
        [
            "bad_name",
            "low_above_high",
            "not_finite",
            "duplicate_parameter",
            "bad_name",
            "bad_name"
        ]
    );
    assert_eq!(
        faults[1].detail,
        "parameter b-c: low 1 is above high 0; swap them or lower it"
    );
}

#[test]
fn a_space_has_one_to_a_hundred_parameters() {
    let of = |count: usize| Space::new((0..count).map(|n| (format!("p{n}"), int(0, 1, 1, false))));
    assert_eq!(of(0).unwrap_err()[0].code, "empty_space");
    assert!(of(100).is_ok());
    let faults = of(10_000).unwrap_err();
    assert_eq!(
        (faults.len(), faults[0].code, faults[0].value.as_str()),
        (1, "too_many_parameters", "10000")
    );
}

#[test]
fn a_fault_stays_short_when_the_value_is_a_megabyte() {
    let long = "x".repeat(1 << 20);
    let choices = vec![Choice::Text(long.clone())];
    let faults = Space::new([(long, Domain::Categorical { choices })]).unwrap_err();
    assert_eq!(faults.len(), 2);
    for fault in faults {
        assert!(
            fault.value.len() < 80 && fault.detail.len() < 300,
            "{}",
            fault.detail
        );
    }
}

#[test]
fn parameters_are_ordered_by_name_and_negative_zero_is_gone() {
    let space = Space::new([
        ("b".to_owned(), float(-0.0, 1.0, None, false)),
        ("a".to_owned(), int(0, 1, 1, false)),
        (
            "B".to_owned(),
            Domain::Categorical {
                choices: vec![Choice::Float(-0.0)],
            },
        ),
    ])
    .unwrap();
    let names: Vec<_> = space
        .parameters()
        .iter()
        .map(|parameter| parameter.name())
        .collect();
    assert_eq!(names, ["B", "a", "b"]);
    let Domain::Float { low, .. } = space.parameters()[2].domain() else {
        panic!("b is a float")
    };
    assert!(low.is_sign_positive());
    let named = BTreeMap::from([
        ("B".to_owned(), Choice::Int(0)),
        ("a".to_owned(), Choice::Float(1.0)),
        ("b".to_owned(), Choice::Float(-0.0)),
    ]);
    let point = space.point_from_named(&named).unwrap();
    assert_eq!(
        space.pack(&point)[16..],
        [0; 8],
        "a request's -0.0 is stored as 0.0"
    );
}

fn mixed() -> Space {
    Space::new([
        ("entry".to_owned(), float(1.0, 3.0, Some(0.1), false)),
        ("free".to_owned(), float(-1.0, 1.0, None, false)),
        ("lookback".to_owned(), int(30, 121, 5, false)),
        (
            "rule".to_owned(),
            Domain::Categorical {
                choices: vec![Choice::Null, Choice::Text("mean".to_owned())],
            },
        ),
    ])
    .unwrap()
}

#[test]
fn a_point_off_its_domain_is_refused_value_by_value() {
    use ParamValue::{Category, Float, Int};
    let good = [Float(1.0 + 3.0 * 0.1), Float(0.5), Int(120), Category(1)];
    assert_eq!(mixed().check_point(&Point::new(good.to_vec())), Ok(()));
    let cases = [
        (0, Float(1.34), "off_step"),
        (0, Float(1.36), "off_step"),
        (0, Float(3.1), "out_of_range"),
        (0, Float(f64::NAN), "not_finite"),
        (0, Int(2), "wrong_type"),
        (1, Float(-0.0), "negative_zero"),
        (1, Float(1.0 + f64::EPSILON), "out_of_range"),
        (2, Int(121), "off_step"),
        (2, Int(i64::MIN), "out_of_range"),
        (2, Float(30.0), "wrong_type"),
        (3, Category(2), "unknown_choice"),
    ];
    for (at, value, code) in cases {
        let mut values = good.to_vec();
        values[at] = value;
        let faults = mixed().check_point(&Point::new(values)).unwrap_err();
        assert_eq!(
            (faults.len(), faults[0].code),
            (1, code),
            "{value:?} at {at}"
        );
    }
    let short = mixed()
        .check_point(&Point::new(good[..3].to_vec()))
        .unwrap_err();
    assert_eq!(short[0].code, "wrong_length");
}

#[test]
fn named_values_tell_every_fault_at_once() {
    let named = BTreeMap::from([
        ("entry".to_owned(), Choice::Float(1.35)),
        ("lookback".to_owned(), Choice::Float(30.5)),
        ("rule".to_owned(), Choice::Text("median".to_owned())),
        ("lookbak".to_owned(), Choice::Int(30)),
    ]);
    let details: Vec<_> = mixed()
        .point_from_named(&named)
        .unwrap_err()
        .into_iter()
        .map(|f| f.detail)
        .collect();
    assert_eq!(
        details,
        [
            "parameter entry: 1.35 is not 1.0 + k * 0.1 for a whole k; use for example 1.4",
            "parameter free has no value; give one",
            "parameter lookback: 30.5 must be an integer",
            "parameter rule: \"median\" is not one of the choices; use one of null, \"mean\"",
            "lookbak is not a parameter; did you mean lookback?",
        ]
    );
}

#[test]
fn every_decimal_of_a_range_is_accepted_and_lands_on_the_lattice() {
    let space = one(float(0.1, 1.5, Some(0.1), false)).unwrap();
    let mut positions = Vec::new();
    for tenths in 1..=15 {
        let written: f64 = format!("{}.{}", tenths / 10, tenths % 10).parse().unwrap();
        let named = BTreeMap::from([("x".to_owned(), Choice::Float(written))]);
        let point = space.point_from_named(&named).unwrap();
        assert_eq!(space.check_point(&point), Ok(()), "{written}");
        positions.push(space.pack(&point));
    }
    positions.dedup();
    assert_eq!(positions.len(), 15);
}

#[test]
fn a_high_that_misses_the_lattice_by_rounding_is_reached_and_by_more_is_not() {
    let size = |low, high, step| float(low, high, Some(step), false).size();
    assert_eq!(size(1000.1, 1000.4, 0.1), Some(4));
    assert_eq!(size(-1e9, 0.3 - 1e9, 0.1), Some(4));
    assert_eq!(size(0.0, 0.3, 0.1), Some(4));
    assert_eq!(size(0.0, 0.29999, 0.1), Some(3));
    assert_eq!(size(0.0, 0.39999, 0.1), Some(4));
}

#[test]
fn bytes_of_another_space_are_not_unpacked() {
    let space = mixed();
    assert_eq!(
        space.unpack(&[0; 24]),
        Err(UnpackError::WrongLength {
            got: 24,
            expected: 32
        })
    );
    let point = Point::new(vec![
        ParamValue::Float(1.0),
        ParamValue::Float(0.0),
        ParamValue::Int(30),
        ParamValue::Category(0),
    ]);
    let mut bytes = space.pack(&point);
    assert_eq!(space.unpack(&bytes), Ok(point));
    // A choice's position that does not fit 32 bits, or is negative, is refused and not cut.
    for word in [1_i64 << 32, -1] {
        bytes[24..].copy_from_slice(&word.to_le_bytes());
        let Err(UnpackError::Misfit(fault)) = space.unpack(&bytes) else {
            panic!("the position {word} was accepted")
        };
        assert_eq!(
            (fault.param.as_str(), fault.code),
            ("rule", "unknown_choice")
        );
    }
}
