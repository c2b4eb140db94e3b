//! Conditional parameters and constraints: what a space takes, refuses and says of a point.

use std::collections::BTreeMap;

use trialmill_search::{
    Choice, Domain, History, MAX_CONSTRAINTS, MAX_LISTING_WORK, Method, ParamValue, Point, Space,
    SpaceBuilder, SpaceFault, Study, UnpackError,
};

fn int(low: i64, high: i64) -> Domain {
    Domain::Int {
        low,
        high,
        step: 1,
        log: false,
    }
}

fn modes() -> Domain {
    Domain::Categorical {
        choices: vec![
            Choice::Text("trend".to_owned()),
            Choice::Text("hold".to_owned()),
        ],
    }
}

/// `depth` is present in mode trend, `inner` where `depth` is above 2; `wide` always.
fn tree() -> Space {
    SpaceBuilder::default()
        .parameter("mode", modes())
        .conditional("depth", int(1, 4), "mode == 'trend'")
        .conditional("inner", int(1, 9), "depth > 2")
        .parameter("wide", int(0, 9))
        .constraint("inner < wide")
        .build()
        .unwrap()
}

fn faults(builder: SpaceBuilder) -> Vec<SpaceFault> {
    builder.build().unwrap_err()
}

fn named(pairs: &[(&str, Choice)]) -> BTreeMap<String, Choice> {
    let pairs = pairs.iter().cloned();
    pairs
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn text(text: &str) -> Choice {
    Choice::Text(text.to_owned())
}

#[test]
fn a_parameter_is_absent_where_its_parent_is() {
    let space = tree();
    // By name: depth, inner, mode, wide.
    assert_eq!(space.active_order(), [2, 3, 0, 1]);
    assert_eq!(space.groups(), [vec![2, 3], vec![0], vec![1]]);
    let all = |depth, mode| {
        let values = vec![
            ParamValue::Int(depth),
            ParamValue::Int(5),
            ParamValue::Category(mode),
            ParamValue::Int(9),
        ];
        let point = space.without_inactive(values);
        let present = point.values().iter().map(|value| !value.is_absent());
        present.collect::<Vec<_>>()
    };
    assert_eq!(all(3, 0), [true, true, true, true]);
    assert_eq!(all(2, 0), [true, false, true, true]);
    assert_eq!(all(3, 1), [false, false, true, true]);
}

#[test]
fn a_point_by_name_has_exactly_the_present_parameters() {
    let space = tree();
    let holding = named(&[("mode", text("hold")), ("wide", Choice::Int(0))]);
    let point = space.point_from_named(&holding).unwrap();
    assert_eq!(
        space
            .named(&point)
            .map(|(name, _)| name)
            .collect::<Vec<_>>(),
        ["mode", "wide"]
    );
    assert!(
        space.allows(&point),
        "inner is absent, so its constraint holds"
    );

    let mut surplus = holding;
    surplus.insert("depth".to_owned(), Choice::Int(3));
    let found = space.point_from_named(&surplus).unwrap_err();
    assert_eq!(
        (found[0].param.as_str(), found[0].code),
        ("depth", "inactive_parameter")
    );
    assert_eq!(
        found[0].detail,
        "parameter depth: 3 is given, and depth has a value only when mode == 'trend'; leave it out"
    );

    let lacking = named(&[("mode", text("trend")), ("wide", Choice::Int(0))]);
    let found = space.point_from_named(&lacking).unwrap_err();
    let found: Vec<_> = found.iter().map(|f| (f.param.as_str(), f.code)).collect();
    assert_eq!(found, [("depth", "missing_parameter")]);

    // Whether depth belongs there is unknown while the mode is wrong: it is not blamed.
    let wrong = named(&[
        ("mode", text("tredn")),
        ("depth", Choice::Int(3)),
        ("wide", Choice::Int(0)),
    ]);
    let found = space.point_from_named(&wrong).unwrap_err();
    let found: Vec<_> = found.iter().map(|f| (f.param.as_str(), f.code)).collect();
    assert_eq!(found, [("mode", "unknown_choice")]);
}

#[test]
fn an_absent_value_is_one_word_of_a_packed_point_and_only_where_it_belongs() {
    let space = tree();
    let holding = space.without_inactive(vec![
        ParamValue::Int(3),
        ParamValue::Int(5),
        ParamValue::Category(1),
        ParamValue::Int(9),
    ]);
    let mut bytes = space.pack(&holding);
    assert_eq!(bytes[..8], ParamValue::ABSENT_WORD.to_le_bytes());
    assert_eq!(space.unpack(&bytes), Ok(holding));

    // The mode becomes trend, so a depth is missing.
    bytes[16..24].copy_from_slice(&0_i64.to_le_bytes());
    let UnpackError::Misfit(fault) = space.unpack(&bytes).unwrap_err() else {
        panic!("the length is right")
    };
    assert_eq!(
        (fault.param.as_str(), fault.code),
        ("depth", "missing_parameter")
    );

    // No domain takes the word for a value of its own.
    for domain in [int(-(1 << 53), 1 << 53), modes()] {
        let one = Space::new([("x".to_owned(), domain)]).unwrap();
        let fault = one
            .unpack(&ParamValue::ABSENT_WORD.to_le_bytes())
            .unwrap_err();
        assert!(fault.to_string().contains("has no value"), "{fault}");
    }
    let present = Point::new(vec![
        ParamValue::Int(3),
        ParamValue::Absent,
        ParamValue::Category(1),
        ParamValue::Int(9),
    ]);
    let found = space.check_point(&present).unwrap_err();
    assert_eq!(found[0].code, "inactive_parameter");
}

#[test]
fn a_broken_constraint_is_named() {
    let space = tree();
    let point = Point::new(vec![
        ParamValue::Int(3),
        ParamValue::Int(5),
        ParamValue::Category(0),
        ParamValue::Int(5),
    ]);
    assert_eq!(space.check_point(&point), Ok(()));
    assert_eq!(
        space.broken_constraint(&point).unwrap().to_string(),
        "inner < wide"
    );
    let found = space.check_allowed(&point).unwrap_err();
    assert_eq!(found[0].code, "constraint_broken");
    assert_eq!(
        found[0].detail,
        "the point does not keep the constraint inner < wide; change its values"
    );
    let study = Study::new(space, Method::Random, 0).unwrap();
    assert_eq!(study.with_initial(vec![point]).unwrap_err(), found);
}

#[test]
fn a_constraint_that_is_undefined_but_names_no_absent_parameter_is_broken() {
    let space = SpaceBuilder::default()
        .parameter("a", int(0, 1))
        .constraint("1 / a > 0")
        .build()
        .unwrap();
    assert!(!space.allows(&Point::new(vec![ParamValue::Int(0)])));
    assert!(space.allows(&Point::new(vec![ParamValue::Int(1)])));
}

#[test]
fn constants_stand_in_conditions_and_not_in_points() {
    let of = |mode: &str| {
        SpaceBuilder::default()
            .constant("mode", text(mode))
            .parameter("a", int(0, 9))
            .conditional("b", int(0, 9), "mode == 'trend'")
            .constraint("a <= 4")
            .build()
            .unwrap()
    };
    for (mode, present) in [("trend", true), ("hold", false)] {
        let study = Study::new(of(mode), Method::Random, 3).unwrap();
        let point = study.ask(&History::EMPTY, 0).unwrap();
        assert_eq!(point.values().len(), 2);
        assert_eq!(!point.values()[1].is_absent(), present, "{mode}");
    }
}

#[test]
fn every_fault_of_a_space_comes_at_once_with_its_place() {
    let found = faults(
        SpaceBuilder::default()
            .parameter("fast", int(9, 3))
            .conditional("slow", int(1, 9), "mode == 'tredn'")
            .parameter("mode", modes())
            .constant("fast", Choice::Int(3))
            .constraint("fast < slow")
            .constraint("fats < slow and mode < 3"),
    );
    let found: Vec<_> = found
        .iter()
        .map(|f| (f.param.as_str(), f.field, f.index, f.position, f.code))
        .collect();
    assert_eq!(
        found,
        [
            ("fast", "low", None, None, "low_above_high"),
            ("fast", "", None, None, "duplicate_parameter"),
            ("", "constraints", Some(1), Some(0), "unknown_name"),
            ("", "constraints", Some(1), Some(16), "type_mismatch"),
            ("slow", "when", None, Some(8), "unknown_choice"),
        ]
    );
}

#[test]
fn each_circle_of_conditions_is_named_once() {
    let found = faults(
        SpaceBuilder::default()
            .conditional("a", int(0, 1), "b > 0")
            .conditional("b", int(0, 1), "c > 0")
            .conditional("c", int(0, 1), "a > 0")
            .conditional("below", int(0, 1), "a > 0")
            .conditional("own", int(0, 1), "own > 0"),
    );
    let found: Vec<_> = found
        .iter()
        .map(|f| (f.param.as_str(), f.code, f.value.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("a", "when_cycle", "a -> b -> c -> a"),
            ("own", "when_cycle", "own -> own"),
        ]
    );
}

#[test]
fn one_constraint_above_the_limit_is_refused() {
    let of = |count| {
        let builder = SpaceBuilder::default().parameter("a", int(0, 9));
        let constraints = std::iter::repeat_n("a < 5", count);
        constraints.fold(builder, SpaceBuilder::constraint)
    };
    assert!(of(MAX_CONSTRAINTS).build().is_ok());
    assert_eq!(
        faults(of(MAX_CONSTRAINTS + 1))[0].code,
        "too_many_constraints"
    );
}

#[test]
fn the_size_of_all_conditions_together_is_bounded() {
    // 50 names, numbers and comparisons and one "or": 151 each; 6 of them are 906.
    let wide = vec!["a < 5"; 50].join(" or ");
    let of = |count| {
        let builder = SpaceBuilder::default().parameter("a", int(0, 9));
        let constraints = std::iter::repeat_n(wide.as_str(), count);
        constraints.fold(builder, SpaceBuilder::constraint)
    };
    assert!(of(6).build().is_ok());
    let found = faults(of(7));
    assert_eq!(
        (found.len(), found[0].code, found[0].value.as_str()),
        (1, "expressions_too_large", "1057")
    );
}

#[test]
fn a_space_without_an_allowed_point_is_found_out_and_no_method_runs_for_ever() {
    let space = SpaceBuilder::default()
        .parameter("a", int(0, 9))
        .constraint("a > 9")
        .build()
        .unwrap();
    assert_eq!(space.feasible_point(), None);
    assert_eq!(space.lattice_size(), Some(0));
    for method in [Method::Random, Method::Grid, Method::Sobol] {
        let study = Study::new(space.clone(), method, 0).unwrap();
        assert_eq!(study.ask(&History::EMPTY, 0), None, "{method}");
    }
}

#[test]
fn a_grid_counts_points_and_not_combinations() {
    // 1,000 x 1,000 x 2 combinations, and 2,000 points.
    let space = SpaceBuilder::default()
        .parameter("mode", modes())
        .conditional("a", int(1, 1_000), "mode == 'trend'")
        .conditional("b", int(1, 1_000), "mode == 'hold'")
        .build()
        .unwrap();
    assert_eq!(Method::Grid.faults(&space), []);
    let study = Study::new(space, Method::Grid, 1).unwrap();
    assert_eq!(study.size_limit(), Some(2_000));

    let wide = SpaceBuilder::default()
        .parameter("mode", modes())
        .conditional("a", int(1, 1_000), "mode == 'trend'")
        .conditional("b", int(1, 1_001), "mode == 'trend'")
        .build()
        .unwrap();
    let found = Method::Grid.faults(&wide);
    assert_eq!((found.len(), found[0].code), (1, "grid_too_large"));
    assert!(
        found[0]
            .detail
            .starts_with("the grid has more than 1000000 points")
    );
}

#[test]
fn a_grid_whose_listing_takes_too_long_is_refused_with_its_own_fault() {
    let long = vec!["a < 5"; 50].join(" or ");
    let with = |constraints: usize| {
        let mut space = SpaceBuilder::default()
            .parameter("a", int(1, 1_000))
            .parameter("b", int(1, 501));
        for _ in 0..constraints {
            space = space.constraint(&long);
        }
        space.build().unwrap()
    };
    assert_eq!(Method::Grid.faults(&with(0)), []);
    let found = Method::Grid.faults(&with(1));
    assert_eq!(found.len(), 1);
    // 50 comparisons of two values, and one `or`.
    let nodes = 151;
    let most = MAX_LISTING_WORK / nodes;
    assert_eq!(
        (
            found[0].code,
            found[0].value.as_str(),
            found[0].limit.clone()
        ),
        ("grid_too_costly", "501000", most.to_string())
    );
    assert_eq!(
        found[0].detail,
        format!(
            "the grid has 501000 points and may have {most}, because each is checked against the \
             {nodes} values and operators of the conditions and constraints; simplify these, widen \
             the steps, fix some parameters, or use method random"
        )
    );
    assert_eq!(Study::new(with(1), Method::Grid, 1).unwrap_err(), found);
    assert_eq!(with(1).lattice_size(), None);
}

#[test]
fn a_study_tells_the_memory_of_the_points_it_lists() {
    let space = |high| {
        let space = SpaceBuilder::default().parameter("a", int(1, high));
        space.build().unwrap()
    };
    for method in [Method::Grid, Method::Tpe] {
        let bytes = |high| Study::new(space(high), method, 1).unwrap().memory_bytes();
        assert_eq!(bytes(100_000) - bytes(100), 8 * 99_900, "{method}");
    }
    let random = Study::new(space(100_000), Method::Random, 1).unwrap();
    assert!(random.memory_bytes() < 100_000, "{}", random.memory_bytes());
}

#[test]
fn initial_points_given_anew_replace_those_before() {
    let space = SpaceBuilder::default()
        .parameter("a", int(1, 3))
        .build()
        .unwrap();
    let first = |value| vec![Point::new(vec![ParamValue::Int(value)])];
    let once = Study::new(space.clone(), Method::Grid, 7).unwrap();
    let once = once.with_initial(first(2)).unwrap();
    let twice = Study::new(space, Method::Grid, 7).unwrap();
    let twice = twice
        .with_initial(first(3))
        .unwrap()
        .with_initial(first(2))
        .unwrap();
    let asked = |study: &Study| {
        (0..4)
            .map(|k| study.ask(&History::EMPTY, k))
            .collect::<Vec<_>>()
    };
    assert_eq!(asked(&once), asked(&twice));
    assert_eq!(asked(&once)[3], None);
}
