//! What TPE keeps on any space and any history, and what it is for.

mod support;

use proptest::prelude::*;
use support::domains::{float, int};
use support::searched::{
    Searched, any_end, assert_every_point_is_new, assert_order_does_not_matter,
};
use support::spaces;
use trialmill_search::{
    Choice, Domain, FinishedTrial, History, Method, ParamValue, Point, RunningTrial, Space,
    SpaceBuilder, Study, TrialEnd,
};

fn tpe(space: &Space, seed: u64) -> Study {
    Study::new(space.clone(), Method::Tpe, seed).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_point_is_of_the_space_and_new(space in spaces::space(), seed in 0u64..(1 << 53)) {
        assert_every_point_is_new(&tpe(&space, seed), 45);
    }

    #[test]
    fn the_order_in_which_a_history_lists_trials_does_not_matter(
        space in spaces::space(),
        seed in 0u64..(1 << 53),
    ) {
        assert_order_does_not_matter(|| tpe(&space, seed), 40, any_end);
    }

    #[test]
    fn any_cost_is_taken(
        space in spaces::space(),
        costs in prop::collection::vec(prop::sample::select(vec![
            f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, -0.0, 1e-320,
        ]), 30),
    ) {
        let study = tpe(&space, 3);
        let searched = Searched::by(&study, 30, 4, |number, _| {
            TrialEnd::completed(vec![costs[number as usize]])
        });
        searched.assert_sound(&space);
    }
}

#[test]
fn a_history_of_one_kind_of_end_is_searched_on() {
    let space = Space::new([
        ("a".to_owned(), float(-1e308, 7e307)),
        ("b".to_owned(), int(1, 500)),
        (
            "c".to_owned(),
            Domain::Float {
                low: 1e-300,
                high: 1e300,
                step: None,
                log: true,
            },
        ),
    ])
    .unwrap();
    let ends: [fn(u32) -> TrialEnd; 6] = [
        |_| TrialEnd::Failed,
        |_| TrialEnd::Pruned(None),
        |_| TrialEnd::Infeasible { violation: 1.0 },
        |_| TrialEnd::Infeasible {
            violation: f64::INFINITY,
        },
        |_| TrialEnd::completed(vec![2.5]),
        |_| TrialEnd::completed(Vec::new()),
    ];
    for end in ends {
        let study = tpe(&space, 5);
        let searched = Searched::by(&study, 60, 4, |number, _| end(number));
        searched.assert_sound(&space);
        assert_eq!(searched.points().len(), 60);
    }
}

#[test]
fn the_first_points_are_those_of_random_search_until_ten_trials_have_ended() {
    let space = Space::new([("x".to_owned(), float(0.0, 1.0))]).unwrap();
    let (study, random) = (
        tpe(&space, 9),
        Study::new(space.clone(), Method::Random, 9).unwrap(),
    );
    let finished = |count: u32, end: &TrialEnd| -> Vec<FinishedTrial> {
        let trial = |number| FinishedTrial {
            number,
            point: random.ask(&History::EMPTY, number).unwrap(),
            end: end.clone(),
        };
        (0..count).map(trial).collect()
    };
    let asked = |finished: &[FinishedTrial]| {
        study
            .ask(
                &History {
                    finished,
                    running: &[],
                },
                77,
            )
            .unwrap()
    };
    let drawn = random.ask(&History::EMPTY, 77).unwrap();
    let done = TrialEnd::completed(vec![1.0]);
    assert_eq!(asked(&finished(9, &done)), drawn);
    assert_ne!(asked(&finished(10, &done)), drawn);
    assert_ne!(asked(&finished(10, &TrialEnd::Pruned(None))), drawn);
    assert_eq!(
        asked(&finished(40, &TrialEnd::Failed)),
        drawn,
        "failed trials do not count"
    );
}

#[test]
fn a_trial_that_is_asked_again_while_it_runs_gets_the_same_point() {
    let space = Space::new([
        ("x".to_owned(), int(0, 40)),
        ("y".to_owned(), float(0.0, 1.0)),
    ])
    .unwrap();
    let study = tpe(&space, 1);
    let mut searched = Searched::by(&study, 30, 4, |number, _| any_end(number));
    let point = study.ask(&searched.history(), 30).unwrap();
    searched.running.push(RunningTrial {
        number: 30,
        point: point.clone(),
    });
    assert_eq!(study.ask(&searched.history(), 30), Some(point));
}

#[test]
fn a_space_of_few_points_is_visited_once_each_and_then_exhausted() {
    let space = Space::new([
        ("a".to_owned(), int(1, 6)),
        (
            "b".to_owned(),
            Domain::Categorical {
                choices: vec![Choice::Null, Choice::Bool(true)],
            },
        ),
        ("one".to_owned(), float(2.0, 2.0)),
    ])
    .unwrap();
    let study = tpe(&space, 4);
    let searched = Searched::by(&study, 50, 4, |number, _| any_end(number));
    searched.assert_sound(&space);
    assert_eq!(searched.points().len(), 12);
    assert_eq!(study.size_limit(), Some(12));
}

#[test]
fn a_space_without_choice_gives_its_point_once() {
    let space = Space::new([
        ("x".to_owned(), float(2.0, 2.0)),
        ("n".to_owned(), int(7, 7)),
    ])
    .unwrap();
    let study = tpe(&space, 4);
    let first = study.ask(&History::EMPTY, 0).unwrap();
    assert_eq!(first.values(), [ParamValue::Int(7), ParamValue::Float(2.0)]);
    let done = |number| FinishedTrial {
        number,
        point: first.clone(),
        end: TrialEnd::completed(vec![0.0]),
    };
    let finished: Vec<FinishedTrial> = (0..12).map(done).collect();
    let history = History {
        finished: &finished,
        running: &[],
    };
    assert_eq!(study.ask(&history, 12), None);
}

#[test]
fn constraints_are_kept_and_the_search_still_learns() {
    let space = SpaceBuilder::default()
        .parameter("fast", int(1, 200))
        .parameter("slow", int(1, 200))
        .parameter("x", float(0.0, 1.0))
        .constraint("fast + 20 < slow")
        .constraint("x < 0.3")
        .build()
        .unwrap();
    let cost = |point: &Point| {
        let named = space.named(point).map(|(_, value)| match value {
            Choice::Int(value) => (value - 90) as f64 / 200.0,
            Choice::Float(value) => value - 0.2,
            other => panic!("{other}"),
        });
        named.map(|off| off * off).sum::<f64>()
    };
    let study = tpe(&space, 8);
    let searched = Searched::by(&study, 120, 4, |_, point| {
        TrialEnd::completed(vec![cost(point)])
    });
    searched.assert_sound(&space);
    let mean = |trials: &[FinishedTrial]| {
        trials.iter().map(|trial| cost(&trial.point)).sum::<f64>() / trials.len() as f64
    };
    let (early, late) = (
        mean(&searched.finished[..10]),
        mean(&searched.finished[60..]),
    );
    assert!(
        late < 0.5 * early,
        "mean cost {early} at first, {late} at last"
    );
}

#[test]
fn a_constraint_that_almost_nothing_keeps_is_kept() {
    let space = SpaceBuilder::default()
        .parameter("x", float(0.0, 1.0))
        .parameter("y", float(0.0, 1.0))
        .constraint("abs(x - y) < 0.002")
        .build()
        .unwrap();
    let searched = Searched::by(&tpe(&space, 8), 40, 4, |number, _| any_end(number));
    searched.assert_sound(&space);
    assert_eq!(searched.points().len(), 40);
}

#[test]
fn conditional_parameters_are_learned_in_their_groups() {
    let mode = |name: &str| Choice::Text(name.to_owned());
    let space = SpaceBuilder::default()
        .parameter(
            "mode",
            Domain::Categorical {
                choices: vec![mode("trend"), mode("revert")],
            },
        )
        .parameter("size", float(0.0, 1.0))
        .conditional("fast", float(0.0, 1.0), "mode == 'trend'")
        .conditional("slow", float(0.0, 1.0), "mode == 'trend'")
        .conditional("depth", float(0.0, 1.0), "mode == 'revert'")
        .constraint("fast <= slow")
        .build()
        .unwrap();
    let cost = |point: &Point| -> f64 {
        let off = space.named(point).map(|(name, value)| match (name, value) {
            ("fast", Choice::Float(value)) => (value - 0.2).powi(2),
            ("slow", Choice::Float(value)) => (value - 0.7).powi(2),
            ("depth", Choice::Float(value)) => 0.5 + (value - 0.5).powi(2),
            ("size", Choice::Float(value)) => (value - 0.9).powi(2),
            _ => 0.0,
        });
        off.sum()
    };
    let study = tpe(&space, 2);
    let searched = Searched::by(&study, 120, 4, |_, point| {
        TrialEnd::completed(vec![cost(point)])
    });
    searched.assert_sound(&space);
    let late = &searched.finished[50..];
    let trend = late
        .iter()
        .filter(|trial| !trial.point.values()[1].is_absent())
        .count();
    assert!(
        trend * 3 > late.len() * 2,
        "only {trend} of {} late trials took the better mode",
        late.len()
    );
    let best = late
        .iter()
        .map(|trial| cost(&trial.point))
        .fold(f64::INFINITY, f64::min);
    assert!(best < 0.02, "best late cost {best}");
}

#[test]
fn a_hundred_parameters_and_a_thousand_choices_are_taken() {
    let choices: Vec<Choice> = (0..1_000).map(Choice::Int).collect();
    let parameters = (0..100).map(|i| {
        let domain = match i % 4 {
            0 => float(-1e308, 7e307),
            1 => int(-(1 << 53), 1 << 53),
            2 => Domain::Int {
                low: 1,
                high: 1 << 50,
                step: 1,
                log: true,
            },
            _ => Domain::Categorical {
                choices: choices.clone(),
            },
        };
        (format!("p{i}"), domain)
    });
    let space = Space::new(parameters).unwrap();
    let searched = Searched::by(&tpe(&space, 6), 60, 4, |number, _| any_end(number));
    searched.assert_sound(&space);
    assert_eq!(searched.points().len(), 60);
}

#[test]
fn running_trials_keep_others_away() {
    let space = Space::new([("x".to_owned(), float(0.0, 1.0))]).unwrap();
    let point = |x: f64| Point::new(vec![ParamValue::Float(x)]);
    let trial = |number: u32| {
        // Spread over the line, so that the older trials, which weigh less, are not all on one side.
        let x = f64::from(number * 17 % 40) / 39.0;
        // Two valleys alike.
        let cost = (x - 0.2).abs().min((x - 0.8).abs());
        FinishedTrial {
            number,
            point: point(x),
            end: TrialEnd::completed(vec![cost]),
        }
    };
    let finished: Vec<FinishedTrial> = (0..40).map(trial).collect();
    let near_low = |running: &[RunningTrial]| {
        let history = History {
            finished: &finished,
            running,
        };
        let asked = (0..60).filter(|seed| {
            let asked = tpe(&space, *seed).ask(&history, 900).unwrap();
            matches!(asked.values()[0], ParamValue::Float(x) if x < 0.5)
        });
        asked.count()
    };
    let running = |number| RunningTrial {
        number,
        point: point(0.2 + f64::from(number % 5) * 1e-3),
    };
    let running: Vec<RunningTrial> = (100..112).map(running).collect();
    let (alone, crowded) = (near_low(&[]), near_low(&running));
    assert!(
        alone > 9 && crowded * 3 < alone,
        "{alone} of 60 went low alone, {crowded} with twelve there"
    );
}

/// A density is laid over parameters with one value, too: of many trials and of several objectives, each of
/// which has a density of its own.
#[test]
fn parameters_with_a_single_value_are_borne_after_many_trials() {
    let float = Domain::Float {
        low: 0.0,
        high: 1.0,
        step: None,
        log: false,
    };
    let one = Domain::Int {
        low: 5,
        high: 5,
        step: 1,
        log: false,
    };
    let fixed = Space::new([
        ("fixed".to_owned(), one.clone()),
        ("x".to_owned(), float.clone()),
    ]);
    let conditional = SpaceBuilder::default()
        .parameter("x", float)
        .conditional("sometimes", one, "x > 0.5")
        .build();
    for (space, objectives) in [
        (fixed.clone().unwrap(), 1),
        (fixed.unwrap(), 2),
        (conditional.unwrap(), 1),
    ] {
        let random = Study::new(space.clone(), Method::Random, 1).unwrap();
        let trial = |number| {
            let point = random.ask(&History::EMPTY, number).unwrap();
            let cost = f64::from(number % 17);
            let costs = [cost, 17.0 - cost][..objectives].to_vec();
            FinishedTrial {
                number,
                point,
                end: TrialEnd::completed(costs),
            }
        };
        let finished: Vec<FinishedTrial> = (0..400).map(trial).collect();
        let history = History {
            finished: &finished,
            running: &[],
        };
        for method in [Method::Tpe, Method::Auto] {
            let study = Study::new(space.clone(), method, 1).unwrap();
            let point = study.ask(&history, 400).unwrap();
            assert!(space.check_allowed(&point).is_ok(), "{method}: {point:?}");
        }
    }
}
