//! The law of samplers, checked for each method: a sampler is a pure function of its arguments, and
//! every point it gives belongs to its space.

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use support::spaces;
use trialmill_search::{
    Choice, Domain, FinishedTrial, History, HistoryNeed, MAX_GRID_POINTS, Method, ParamValue,
    Point, RunningTrial, Space, Study, TrialEnd,
};

fn packed(study: &Study, history: &History<'_>, number: u32) -> Option<Vec<u8>> {
    study
        .ask(history, number)
        .map(|point| study.space().pack(&point))
}

/// What every sampler must keep, on one space. Needs a space that the method takes.
fn assert_conforms(method: Method, space: &Space, seed: u64) {
    let study = Study::new(space.clone(), method, seed).unwrap();
    let again = Study::new(space.clone(), method, seed).unwrap();
    let asked: Vec<_> = (0..40)
        .map(|number| packed(&study, &History::EMPTY, number))
        .collect();

    // Another study, asked in the reverse order, gives the same bits.
    for (number, bytes) in asked.iter().enumerate().rev() {
        let number = u32::try_from(number).unwrap();
        assert_eq!(
            packed(&again, &History::EMPTY, number),
            *bytes,
            "{method} trial {number}"
        );
    }

    for (number, bytes) in asked.iter().enumerate() {
        let within = study.size_limit().is_none_or(|size| (number as u64) < size);
        assert_eq!(
            bytes.is_some(),
            within,
            "{method} trial {number} against the size limit"
        );
        let Some(bytes) = bytes else { continue };
        let point = space.unpack(bytes).unwrap();
        assert_eq!(
            space.check_allowed(&point),
            Ok(()),
            "{method} trial {number}"
        );
        assert_eq!(
            space.pack(&point),
            *bytes,
            "{method} trial {number} packs to the same bytes"
        );
        let named = space
            .named(&point)
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        assert_eq!(
            space.point_from_named(&named),
            Ok(point),
            "{method} trial {number} by name"
        );
    }

    // A method that declares no need of history must not be moved by one.
    if study.history_need() == HistoryNeed::None
        && let Some(bytes) = &asked[0]
    {
        let point = space.unpack(bytes).unwrap();
        let finished = [FinishedTrial {
            number: 0,
            point,
            end: TrialEnd::completed(vec![-9.0]),
        }];
        let history = History {
            finished: &finished,
            running: &[],
        };
        assert_eq!(
            packed(&study, &history, 1),
            asked[1],
            "{method} looked at history"
        );
    }
}

/// What every sampler must keep while a study runs: the first trials are initial points, of the others
/// every fourth still runs, the rest have ended in every way there is.
fn assert_conforms_with_history(method: Method, space: &Space, seed: u64, objectives: usize) {
    let plain = Study::new(space.clone(), Method::Random, seed ^ 1).unwrap();
    let mut initial: Vec<Point> = Vec::new();
    for number in 0..3 {
        let point = plain.ask(&History::EMPTY, number).unwrap();
        if !initial.contains(&point) {
            initial.push(point);
        }
    }
    let new = || {
        let study = Study::new(space.clone(), method, seed).unwrap();
        study.with_initial(initial.clone()).unwrap()
    };
    let (study, rebuilt) = (new(), new());
    let (mut finished, mut running) = (Vec::new(), Vec::new());
    for number in 0..90 {
        let history = History {
            finished: &finished,
            running: &running,
        };
        let asked = study.ask(&history, number);
        let within = study
            .size_limit()
            .is_none_or(|size| u64::from(number) < size);
        assert_eq!(
            asked.is_some(),
            within,
            "{method} trial {number} against the size limit"
        );
        let Some(point) = asked else { break };
        assert_eq!(
            space.check_allowed(&point),
            Ok(()),
            "{method} trial {number}"
        );
        if let Some(first) = initial.get(number as usize) {
            assert_eq!(point, *first, "{method} trial {number} is an initial point");
        }
        // From another study, asked for a trial that is already listed as running: the same bits.
        let mut again = running.clone();
        again.push(RunningTrial {
            number,
            point: point.clone(),
        });
        let listed = History {
            finished: &finished,
            running: &again,
        };
        assert_eq!(
            rebuilt.ask(&listed, number),
            Some(point.clone()),
            "{method} trial {number} asked again"
        );
        let cost = f64::from(number * 7 % 11);
        let end = match number % 8 {
            3 | 7 => {
                running = again;
                continue;
            }
            4 => TrialEnd::Pruned(None),
            5 => TrialEnd::Infeasible { violation: cost },
            6 => TrialEnd::Failed,
            _ => {
                let costs = (0..objectives).map(|k| if k % 2 == 0 { cost } else { -cost });
                TrialEnd::Completed(costs.collect())
            }
        };
        finished.push(FinishedTrial { number, point, end });
    }
}

/// The part of a random space that a grid can list: domains of at most 20 values, up to the limit.
fn listable(space: &Space) -> Option<Space> {
    let small = space.parameters().iter().filter_map(|parameter| {
        let few = parameter.domain().size().is_some_and(|size| size <= 20);
        few.then(|| (parameter.name().to_owned(), parameter.domain().clone()))
    });
    Space::new(small.take(4)).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_conforms_on_any_space(space in spaces::space(), seed in 0u64..(1 << 53)) {
        assert_conforms(Method::Random, &space, seed);
    }

    #[test]
    fn sobol_conforms_on_any_space(space in spaces::space(), seed in 0u64..(1 << 53)) {
        assert_conforms(Method::Sobol, &space, seed);
    }

    #[test]
    fn tpe_conforms_on_any_space(space in spaces::space(), seed in 0u64..(1 << 53)) {
        assert_conforms(Method::Tpe, &space, seed);
    }

    #[test]
    fn nsga2_conforms_on_any_space(space in spaces::space(), seed in 0u64..(1 << 53)) {
        assert_conforms(Method::Nsga2, &space, seed);
    }

    #[test]
    fn cmaes_conforms_on_any_space(space in spaces::space(), seed in 0u64..(1 << 53)) {
        assert_conforms(Method::CmaEs, &space, seed);
    }

    #[test]
    fn gp_conforms_on_any_space(space in spaces::space(), seed in 0u64..(1 << 53)) {
        assert_conforms(Method::Gp, &space, seed);
    }

    #[test]
    fn auto_conforms_on_any_space(space in spaces::space(), seed in 0u64..(1 << 53)) {
        assert_conforms(Method::Auto, &space, seed);
    }

    #[test]
    fn a_grid_visits_exactly_the_points_that_brute_force_finds(
        space in spaces::conditional_space(true),
        seed in 0u64..(1 << 53),
    ) {
        let expected = spaces::brute_force(&space);
        let study = Study::new(space, Method::Grid, seed).unwrap();
        prop_assert_eq!(study.size_limit(), Some(expected.len() as u64));
        prop_assert_eq!(study.space().lattice_size(), Some(expected.len() as u64));
        let asked: Vec<_> = (0..).map_while(|k| packed(&study, &History::EMPTY, k)).collect();
        prop_assert_eq!(asked.len(), expected.len());
        prop_assert_eq!(asked.into_iter().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn grid_conforms_on_any_space_it_takes(space in spaces::space(), seed in 0u64..(1 << 53)) {
        if let Some(space) = listable(&space) {
            assert_conforms(Method::Grid, &space, seed);
        }
    }

    #[test]
    fn a_new_parameter_leaves_the_random_draws_of_the_others_alone(
        space in spaces::space(),
        added in spaces::domain(),
        seed in 0u64..(1 << 53),
        number in 0u32..1_000_000,
    ) {
        let old = space.parameters().iter().map(|p| (p.name().to_owned(), p.domain().clone()));
        // Longer than any generated name, and placed among them by its first letter.
        let wider = Space::new(old.chain([("M_a_parameter_added_later".to_owned(), added)])).unwrap();
        let before = Study::new(space, Method::Random, seed).unwrap();
        let after = Study::new(wider, Method::Random, seed).unwrap();
        let point = before.ask(&History::EMPTY, number).unwrap();
        let wide = after.ask(&History::EMPTY, number).unwrap();
        let kept: Vec<_> = after.space().named(&wide)
            .filter(|(name, _)| *name != "M_a_parameter_added_later").collect();
        let expected: Vec<_> = before.space().named(&point).collect();
        prop_assert_eq!(kept, expected);
    }

    #[test]
    fn every_position_of_the_finest_lattice_is_a_value_and_neighbours_differ(
        low in -1e6..1e6f64,
        width in 1e-3..1e6f64,
        part in 0.0..1.0f64,
    ) {
        let high = low + width;
        // The finest step allowed, a little above the bound so that its own rounding is no matter.
        let step = low.abs().max(high.abs()) * trialmill_search::MIN_RELATIVE_STEP * 1.01;
        let domain = Domain::Float { low, high, step: Some(step), log: false };
        let space = Space::new([("x".to_owned(), domain.clone())]).unwrap();
        let last = domain.size().unwrap() - 1;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "part of last")]
        let k = (part * last as f64) as u64;
        let values = [k.saturating_sub(1), k, last].map(|k| domain.value_at(k));
        for value in values {
            prop_assert_eq!(space.check_point(&Point::new(vec![value])), Ok(()));
        }
        prop_assert!(k == 0 || values[0] != values[1]);
        prop_assert!(k == last || values[1] != values[2]);
    }

    #[test]
    fn a_grid_visits_each_point_once(space in spaces::space(), seed in 0u64..(1 << 53)) {
        let Some(space) = listable(&space) else { return Ok(()) };
        let size: u64 = space.parameters().iter().map(|p| p.domain().size().unwrap()).product();
        prop_assume!(size <= 10_000);
        let study = Study::new(space, Method::Grid, seed).unwrap();
        prop_assert_eq!(study.size_limit(), Some(size));
        let visited: BTreeSet<Vec<u8>> = (0..u32::try_from(size).unwrap())
            .map(|number| packed(&study, &History::EMPTY, number).unwrap())
            .collect();
        prop_assert_eq!(visited.len() as u64, size);
    }
}

proptest! {
    // Sobol search looks at 65,536 points in advance where there are constraints.
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_first_trials_take_the_initial_points_and_the_method_goes_on_behind_them(
        space in spaces::conditional_space(true),
        count in 0u32..4,
        seed in 0u64..(1 << 53),
    ) {
        let other = Study::new(space.clone(), Method::Random, seed ^ 1).unwrap();
        let mut initial = Vec::new();
        for number in 0..count {
            let Some(point) = other.ask(&History::EMPTY, number) else { return Ok(()) };
            if !initial.contains(&point) {
                initial.push(point);
            }
        }
        let first = u32::try_from(initial.len()).unwrap();
        for method in Method::ALL {
            let plain = Study::new(space.clone(), method, seed).unwrap();
            let study = Study::new(space.clone(), method, seed).unwrap();
            let twice = [&initial[..], &initial[..]].concat();
            let study = study.with_initial(twice).unwrap();
            let asked: Vec<_> = (0..first).map(|k| study.ask(&History::EMPTY, k).unwrap()).collect();
            prop_assert_eq!(&asked, &initial, "{}", method);
            let behind = (0..20).map(|k| study.ask(&History::EMPTY, first + k));
            if method == Method::Grid {
                let limit = u32::try_from(study.size_limit().unwrap()).unwrap();
                prop_assert_eq!(study.size_limit(), plain.size_limit());
                let all: BTreeSet<_> = (0..limit)
                    .map(|k| packed(&study, &History::EMPTY, k).unwrap())
                    .collect();
                prop_assert_eq!(all.len(), limit as usize, "a point came twice");
                prop_assert!(study.ask(&History::EMPTY, limit).is_none());
            } else if plain.history_need() != HistoryNeed::None {
                // It reads history: it goes on with the trial's own number, and knows the points.
                for (number, point) in (first..).zip(behind) {
                    prop_assert_eq!(point, plain.ask(&History::EMPTY, number), "{}", method);
                }
            } else {
                let plain = (0..20).map(|k| plain.ask(&History::EMPTY, k));
                prop_assert!(behind.eq(plain), "{}", method);
            }
        }
    }

    #[test]
    fn each_method_conforms_with_finished_and_running_trials(
        space in spaces::conditional_space(false),
        seed in 0u64..(1 << 53),
    ) {
        prop_assume!(space.feasible_point().is_some());
        for method in Method::ALL {
            // A suggestion takes it so long that a quarter of the spaces must do.
            if method.deliberates(0, 1) && !seed.is_multiple_of(4) {
                continue;
            }
            if method.faults(&space).is_empty() {
                assert_conforms_with_history(method, &space, seed, 1);
                if matches!(method, Method::Tpe | Method::Nsga2 | Method::Auto) {
                    assert_conforms_with_history(method, &space, seed, 3);
                }
            }
        }
    }

    #[test]
    fn each_method_conforms_on_conditions_and_constraints(
        space in spaces::conditional_space(false),
        seed in 0u64..(1 << 53),
    ) {
        prop_assume!(space.feasible_point().is_some());
        for method in Method::ALL {
            if method.faults(&space).is_empty() {
                assert_conforms(method, &space, seed);
            }
        }
    }
}

/// One parameter of each kind; every value of it is pinned below.
fn golden_space() -> Space {
    let text = |text: &str| Choice::Text(text.to_owned());
    Space::new([
        (
            "float".to_owned(),
            Domain::Float {
                low: -1.0,
                high: 1.0,
                step: None,
                log: false,
            },
        ),
        (
            "rate".to_owned(),
            Domain::Float {
                low: 1e-5,
                high: 0.1,
                step: None,
                log: true,
            },
        ),
        (
            "entry".to_owned(),
            Domain::Float {
                low: 1.0,
                high: 3.0,
                step: Some(0.1),
                log: false,
            },
        ),
        (
            "lookback".to_owned(),
            Domain::Int {
                low: 30,
                high: 120,
                step: 5,
                log: false,
            },
        ),
        (
            "units".to_owned(),
            Domain::Int {
                low: 1,
                high: 1000,
                step: 1,
                log: true,
            },
        ),
        (
            "rule".to_owned(),
            Domain::Categorical {
                choices: vec![text("a"), text("b"), text("c")],
            },
        ),
    ])
    .unwrap()
}

fn shown(space: &Space, point: &Point) -> String {
    let pairs: Vec<_> = space
        .named(point)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join(" ")
}

#[test]
fn random_draws_are_the_recorded_ones() {
    let study = Study::new(golden_space(), Method::Random, 42).unwrap();
    let asked: Vec<String> = [0, 1, 2, 999_999]
        .map(|number| shown(study.space(), &study.ask(&History::EMPTY, number).unwrap()))
        .to_vec();
    assert_eq!(
        asked,
        [
            r#"entry=2.2 float=-0.028705462797655734 lookback=100 rate=0.0008155501933431253 rule="b" units=228"#,
            r#"entry=1.1 float=-0.7843058740208684 lookback=35 rate=1.1118390054354736e-5 rule="b" units=197"#,
            r#"entry=2.9000000000000004 float=-0.15501649744382173 lookback=100 rate=0.00010712734180094194 rule="a" units=112"#,
            r#"entry=3.0 float=0.3459236989420329 lookback=60 rate=0.0035678442764977285 rule="c" units=31"#,
        ]
    );
}

#[test]
fn sobol_points_are_the_recorded_ones() {
    let study = Study::new(golden_space(), Method::Sobol, 42).unwrap();
    let asked: Vec<String> = [0, 1, 65_535, 65_536, 999_999]
        .map(|number| shown(study.space(), &study.ask(&History::EMPTY, number).unwrap()))
        .to_vec();
    assert_eq!(
        asked,
        [
            r#"entry=1.4 float=-0.5158426580019295 lookback=75 rate=0.01805831228661787 rule="b" units=3"#,
            r#"entry=2.5 float=0.4685591757297516 lookback=115 rate=0.00018538356579947762 rule="a" units=646"#,
            r#"entry=2.7 float=-0.5158302122727036 lookback=100 rate=0.008179621616406509 rule="a" units=640"#,
            r#"entry=1.1 float=0.5998332952149212 lookback=80 rate=5.474416644227002e-5 rule="c" units=1"#,
            r#"entry=2.7 float=0.4695199644193053 lookback=35 rate=0.005423217925368689 rule="a" units=205"#,
        ]
    );
}

#[test]
fn the_order_of_a_grid_is_the_recorded_one() {
    let space = Space::new([
        (
            "fast".to_owned(),
            Domain::Int {
                low: 1,
                high: 3,
                step: 1,
                log: false,
            },
        ),
        (
            "slow".to_owned(),
            Domain::Float {
                low: 0.1,
                high: 0.4,
                step: Some(0.1),
                log: false,
            },
        ),
    ])
    .unwrap();
    let study = Study::new(space, Method::Grid, 42).unwrap();
    let asked: Vec<String> = (0..12)
        .map(|number| shown(study.space(), &study.ask(&History::EMPTY, number).unwrap()))
        .collect();
    assert_eq!(
        asked,
        [
            "fast=3 slow=0.4",
            "fast=2 slow=0.4",
            "fast=1 slow=0.4",
            "fast=1 slow=0.1",
            "fast=1 slow=0.2",
            "fast=2 slow=0.1",
            "fast=2 slow=0.2",
            "fast=2 slow=0.30000000000000004",
            "fast=3 slow=0.2",
            "fast=1 slow=0.30000000000000004",
            "fast=3 slow=0.30000000000000004",
            "fast=3 slow=0.1",
        ]
    );
}

#[test]
fn a_grid_names_every_float_without_step_and_its_size_at_once() {
    let int = Domain::Int {
        low: 1,
        high: 2_000_000,
        step: 1,
        log: false,
    };
    let float = Domain::Float {
        low: 0.0,
        high: 1.0,
        step: None,
        log: false,
    };
    let space = Space::new([
        ("a".to_owned(), float.clone()),
        ("b".to_owned(), int),
        ("c".to_owned(), float),
    ])
    .unwrap();
    let faults = Study::new(space.clone(), Method::Grid, 1).unwrap_err();
    let found: Vec<_> = faults
        .iter()
        .map(|f| (f.param.as_str(), f.field, f.code))
        .collect();
    assert_eq!(
        found,
        [
            ("a", "step", "grid_needs_step"),
            ("c", "step", "grid_needs_step"),
            ("", "", "grid_too_large")
        ]
    );
    assert_eq!(
        (faults[2].value.as_str(), faults[2].limit.as_str()),
        ("2000000", "1000000")
    );
    assert_eq!(Method::Grid.faults(&space), faults);
    assert_eq!(Method::Random.faults(&space), []);
}

#[test]
fn a_grid_of_exactly_the_limit_is_taken_and_one_more_is_refused() {
    let of = |high| {
        Space::new([(
            "n".to_owned(),
            Domain::Int {
                low: 1,
                high,
                step: 1,
                log: false,
            },
        )])
        .unwrap()
    };
    let limit = i64::try_from(MAX_GRID_POINTS).unwrap();
    let study = Study::new(of(limit), Method::Grid, 3).unwrap();
    assert_eq!(study.size_limit(), Some(MAX_GRID_POINTS));
    assert!(study.ask(&History::EMPTY, 999_999).is_some());
    assert!(study.ask(&History::EMPTY, 1_000_000).is_none());
    assert!(study.ask(&History::EMPTY, u32::MAX).is_none());
    assert_eq!(
        Study::new(of(limit + 1), Method::Grid, 3).unwrap_err()[0].value,
        "1000001"
    );
}

#[test]
fn each_method_is_found_by_its_name_and_an_unknown_name_is_told_the_known_ones() {
    for method in Method::ALL {
        assert_eq!(method.name().parse(), Ok(method));
    }
    let error = "Random".parse::<Method>().unwrap_err().to_string();
    assert_eq!(
        error,
        "unknown optimization method \"Random\"; use auto, random, grid, sobol, tpe, gp, cmaes, nsga2"
    );
}

#[test]
fn a_grid_beyond_128_bits_is_refused_and_not_wrapped() {
    let wide = Domain::Int {
        low: -(1 << 53),
        high: 1 << 53,
        step: 1,
        log: false,
    };
    let space = Space::new((0..9).map(|n| (format!("p{n}"), wide.clone()))).unwrap();
    let faults = Method::Grid.faults(&space);
    assert_eq!(faults[0].code, "grid_too_large");
    assert_eq!(faults[0].value, u128::MAX.to_string());
}

#[test]
fn a_float_whose_bounds_are_equal_is_one_point_of_a_grid() {
    let fixed = Domain::Float {
        low: 0.5,
        high: 0.5,
        step: None,
        log: false,
    };
    let space = Space::new([("fixed".to_owned(), fixed)]).unwrap();
    let study = Study::new(space, Method::Grid, 0).unwrap();
    assert_eq!(study.size_limit(), Some(1));
    assert_eq!(
        study.ask(&History::EMPTY, 0).unwrap().values(),
        [ParamValue::Float(0.5)]
    );
}
