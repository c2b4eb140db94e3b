//! What GP keeps on any space and any history, and what it is for.

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use support::domains::{float, int, texts};
use support::searched::{
    Searched, any_end, assert_every_point_is_new, assert_order_does_not_matter,
};
use support::spaces;
use trialmill_search::{
    Choice, Domain, FinishedTrial, History, Method, ParamValue, Point, RunningTrial, Space,
    SpaceBuilder, Study, TrialEnd,
};

fn gp(space: &Space, seed: u64) -> Study {
    Study::new(space.clone(), Method::Gp, seed).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_point_is_of_the_space_and_new(space in spaces::space(), seed in 0u64..(1 << 53)) {
        assert_every_point_is_new(&gp(&space, seed), 30);
    }

    #[test]
    fn the_order_in_which_a_history_lists_trials_does_not_matter(
        space in spaces::space(),
        seed in 0u64..(1 << 53),
    ) {
        assert_order_does_not_matter(|| gp(&space, seed), 30, any_end);
    }

    #[test]
    fn any_cost_is_taken(
        space in spaces::space(),
        costs in prop::collection::vec(prop::sample::select(vec![
            f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 1e308, 1.0,
            0.0, -0.0, 1e-320,
        ]), 25),
    ) {
        let searched = Searched::by(&gp(&space, 3), 25, 4, |number, _| {
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
    let ends: [fn(u32) -> TrialEnd; 7] = [
        |_| TrialEnd::Failed,
        |_| TrialEnd::Pruned(None),
        |_| TrialEnd::Infeasible { violation: 1.0 },
        |_| TrialEnd::Infeasible {
            violation: f64::INFINITY,
        },
        |_| TrialEnd::completed(vec![2.5]),
        |_| TrialEnd::completed(vec![f64::MAX]),
        |_| TrialEnd::completed(Vec::new()),
    ];
    for end in ends {
        let searched = Searched::by(&gp(&space, 5), 40, 4, |number, _| end(number));
        searched.assert_sound(&space);
        assert_eq!(searched.points().len(), 40);
    }
}

/// The best place of what is feasible lies on its edge, and is found from either side; with no feasible trial the edge is looked for first.
#[test]
fn the_best_feasible_place_on_the_edge_is_found() {
    let space = Space::new((0..3).map(|i| (format!("x{i}"), float(0.0, 1.0)))).unwrap();
    let sum = |point: &Point| {
        let values = space.named(point).map(|(_, value)| match value {
            Choice::Float(x) => x,
            other => panic!("{other} is not a float"),
        });
        values.sum::<f64>()
    };
    // The larger the sum the better, up to 0.6: a 28th of the space.
    for seed in 0..5 {
        let searched = Searched::by(&gp(&space, seed), 60, 0, |_, point| {
            match sum(point) - 0.6 {
                violation if violation > 0.0 => TrialEnd::Infeasible { violation },
                short => TrialEnd::completed(vec![-short]),
            }
        });
        let best = searched.best();
        assert!(best < 0.005, "seed {seed}: {best}");
    }
}

#[test]
fn ten_trials_start_it_and_failed_ones_do_not_count() {
    let space = Space::new([
        ("x".to_owned(), float(0.0, 1.0)),
        ("y".to_owned(), float(0.0, 1.0)),
    ])
    .unwrap();
    let study = gp(&space, 9);
    let asked = |count: u32, end: &TrialEnd| {
        let trial = |number| FinishedTrial {
            number,
            point: study.ask(&History::EMPTY, number).unwrap(),
            end: end.clone(),
        };
        let finished: Vec<FinishedTrial> = (0..count).map(trial).collect();
        let history = History {
            finished: &finished,
            running: &[],
        };
        study.ask(&history, 77).unwrap()
    };
    let first = study.ask(&History::EMPTY, 77).unwrap();
    let done = TrialEnd::completed(vec![1.0]);
    assert_eq!(asked(9, &done), first);
    assert_ne!(asked(10, &done), first);
    assert_eq!(asked(40, &TrialEnd::Failed), first);
}

#[test]
fn the_first_points_cover_every_range_evenly() {
    let space = Space::new((0..5).map(|i| (format!("x{i}"), float(0.0, 8.0)))).unwrap();
    let study = gp(&space, 3);
    let points: Vec<Point> = (0..8)
        .map(|number| study.ask(&History::EMPTY, number).unwrap())
        .collect();
    for axis in 0..5 {
        let eighths: BTreeSet<String> = points
            .iter()
            .map(|point| match point.values()[axis] {
                ParamValue::Float(x) => format!("{}", x.floor()),
                ref other => panic!("{other}"),
            })
            .collect();
        assert_eq!(eighths.len(), 8, "axis {axis}");
    }
}

#[test]
fn a_space_of_few_points_is_visited_once_each_and_then_exhausted() {
    let space = Space::new([
        ("a".to_owned(), int(1, 9)),
        ("b".to_owned(), texts(&["x", "y"])),
        ("one".to_owned(), float(2.0, 2.0)),
    ])
    .unwrap();
    let study = gp(&space, 4);
    let searched = Searched::by(&study, 50, 4, |number, _| any_end(number));
    searched.assert_sound(&space);
    assert_eq!(searched.points().len(), 18);
    assert_eq!(study.size_limit(), Some(18));
}

#[test]
fn a_space_without_choice_gives_its_point_once() {
    let space = Space::new([("n".to_owned(), int(7, 7))]).unwrap();
    let searched = Searched::by(&gp(&space, 4), 20, 0, |_, _| TrialEnd::completed(vec![0.0]));
    assert_eq!(searched.points(), [&Point::new(vec![ParamValue::Int(7)])]);
}

#[test]
fn a_constraint_that_almost_nothing_keeps_is_kept() {
    let space = SpaceBuilder::default()
        .parameter("x", float(0.0, 1.0))
        .parameter("y", float(0.0, 1.0))
        .constraint("abs(x - y) < 0.002")
        .build()
        .unwrap();
    let searched = Searched::by(&gp(&space, 8), 40, 4, |number, _| any_end(number));
    searched.assert_sound(&space);
    assert_eq!(searched.points().len(), 40);
}

#[test]
fn conditional_parameters_and_constraints_are_learned() {
    let space = SpaceBuilder::default()
        .parameter("mode", texts(&["trend", "revert"]))
        .parameter("size", float(0.0, 1.0))
        .conditional("fast", float(0.0, 1.0), "mode == 'trend'")
        .conditional("slow", int(0, 100), "mode == 'trend'")
        .conditional("depth", float(0.0, 1.0), "mode == 'revert'")
        .constraint("fast <= slow / 100")
        .build()
        .unwrap();
    let cost = |point: &Point| -> f64 {
        let off = space.named(point).map(|(name, value)| match (name, value) {
            ("fast", Choice::Float(value)) => (value - 0.2).powi(2),
            ("slow", Choice::Int(value)) => (value as f64 / 100.0 - 0.7).powi(2),
            ("depth", Choice::Float(value)) => 0.5 + (value - 0.5).powi(2),
            ("size", Choice::Float(value)) => (value - 0.9).powi(2),
            _ => 0.0,
        });
        off.sum()
    };
    let searched = Searched::by(&gp(&space, 2), 50, 0, |_, point| {
        TrialEnd::completed(vec![cost(point)])
    });
    searched.assert_sound(&space);
    assert!(searched.best() < 1e-3, "best cost {}", searched.best());
}

#[test]
fn a_smooth_bowl_is_found_to_a_thousandth_within_forty_trials() {
    let space = Space::new((0..3).map(|i| (format!("x{i}"), float(-5.0, 5.0)))).unwrap();
    for seed in 0..5 {
        let searched = Searched::by(&gp(&space, seed), 40, 0, |_, point| {
            let off = point.values().iter().map(|value| match value {
                ParamValue::Float(x) => (x - 1.234).powi(2),
                other => panic!("{other}"),
            });
            TrialEnd::completed(vec![off.sum()])
        });
        let best = searched.best();
        assert!(best < 0.02, "seed {seed}: {best} of about 50");
    }
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
    let searched = Searched::by(&gp(&space, 6), 25, 4, |number, _| any_end(number));
    searched.assert_sound(&space);
    assert_eq!(searched.points().len(), 25);
}

/// 40 trials on a line with two valleys alike.
fn two_valleys() -> (Space, Vec<FinishedTrial>) {
    let space = Space::new([("x".to_owned(), float(0.0, 1.0))]).unwrap();
    let trial = |number: u32| {
        let x = f64::from(number * 17 % 40) / 39.0;
        let cost = (x - 0.2).powi(2).min((x - 0.8).powi(2));
        FinishedTrial {
            number,
            point: Point::new(vec![ParamValue::Float(x)]),
            end: TrialEnd::completed(vec![cost]),
        }
    };
    (space, (0..40).map(trial).collect())
}

fn asked_line(space: &Space, history: &History<'_>) -> f64 {
    match gp(space, 1).ask(history, 900).unwrap().values()[0] {
        ParamValue::Float(x) => x,
        ref other => panic!("{other}"),
    }
}

#[test]
fn running_trials_keep_others_away() {
    let (space, finished) = two_valleys();
    let mut running = Vec::new();
    let mut asked = Vec::new();
    for number in 100..104 {
        let history = History {
            finished: &finished,
            running: &running,
        };
        let x = asked_line(&space, &history);
        asked.push(x);
        let point = Point::new(vec![ParamValue::Float(x)]);
        running.push(RunningTrial { number, point });
    }
    for (at, x) in asked.iter().enumerate() {
        for other in &asked[..at] {
            assert!((x - other).abs() > 1e-3, "{asked:?}");
        }
    }
    assert!(
        asked.iter().any(|x| *x < 0.5) && asked.iter().any(|x| *x > 0.5),
        "one valley only: {asked:?}"
    );
}

#[test]
fn the_best_of_a_long_history_is_not_forgotten() {
    let (space, mut finished) = two_valleys();
    // The one good trial comes first; a thousand follow that know nothing of it.
    let far = (0..1_000_u32).map(|number| {
        let x = 0.4 + 0.6 * f64::from(number) / 999.0;
        FinishedTrial {
            number: number + 40,
            point: Point::new(vec![ParamValue::Float(x)]),
            end: TrialEnd::completed(vec![1.0 + (x - 0.7).abs()]),
        }
    });
    finished.extend(far);
    let history = History {
        finished: &finished,
        running: &[],
    };
    let x = asked_line(&space, &history);
    assert!((x - 0.2).abs() < 0.1 || (x - 0.8).abs() < 0.1, "{x}");
}

#[test]
fn points_are_the_recorded_ones() {
    let space = Space::new([
        ("kind".to_owned(), texts(&["a", "b", "c"])),
        ("n".to_owned(), int(1, 500)),
        (
            "rate".to_owned(),
            Domain::Float {
                low: 1e-5,
                high: 0.1,
                step: None,
                log: true,
            },
        ),
    ])
    .unwrap();
    let searched = Searched::by(&gp(&space, 42), 25, 4, |_, point| {
        let off = space.named(point).map(|(_, value)| match value {
            Choice::Int(n) => (n as f64 - 120.0).powi(2) * 1e-4,
            Choice::Float(rate) => rate,
            other => f64::from(u8::from(other != Choice::Text("b".to_owned()))),
        });
        TrialEnd::completed(vec![off.sum()])
    });
    let shown = |point: &Point| {
        let values = point.values().iter().map(ToString::to_string);
        values.collect::<Vec<_>>().join(" ")
    };
    let last: Vec<String> = searched.finished[15..]
        .iter()
        .map(|t| shown(&t.point))
        .collect();
    assert_eq!(
        last,
        [
            "choice number 1 118 0.00350161524006891",
            "choice number 1 123 0.0018937091560962565",
            "choice number 1 120 0.0018059823700910967",
            "choice number 1 120 0.0018455223585377334",
        ]
    );
}
