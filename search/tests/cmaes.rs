//! What CMA-ES finds, what it does not depend on, and what it bears.

mod support;

use support::domains::{float, int};
use trialmill_search::{
    Choice, Domain, FinishedTrial, History, LastReport, Method, ParamValue, Point, RunningTrial,
    Space, SpaceBuilder, Study, TrialEnd,
};

fn floats(count: usize) -> Space {
    Space::new((0..count).map(|k| (format!("x{k:02}"), float(-5.0, 5.0)))).unwrap()
}

fn study(space: Space, seed: u64) -> Study {
    Study::new(space, Method::CmaEs, seed).unwrap()
}

fn number(value: ParamValue) -> f64 {
    match value {
        ParamValue::Float(value) => value,
        ParamValue::Int(value) => value as f64,
        ParamValue::Category(value) => f64::from(value),
        ParamValue::Absent => 0.0,
    }
}

fn sphere(point: &Point) -> f64 {
    let values = point.values().iter();
    values
        .map(|value| (number(*value) - 1.0) * (number(*value) - 1.0))
        .sum()
}

/// The trials of a search, one at a time.
fn search(study: &Study, trials: u32, end: impl Fn(u32, &Point) -> TrialEnd) -> Vec<FinishedTrial> {
    let mut finished: Vec<FinishedTrial> = Vec::new();
    for number in 0..trials {
        let history = History {
            finished: &finished,
            running: &[],
        };
        let Some(point) = study.ask(&history, number) else {
            break;
        };
        assert_eq!(
            study.space().check_allowed(&point),
            Ok(()),
            "trial {number}"
        );
        let end = end(number, &point);
        finished.push(FinishedTrial { number, point, end });
    }
    finished
}

fn cost(value: f64) -> TrialEnd {
    TrialEnd::completed(vec![value])
}

fn best(trials: &[FinishedTrial]) -> f64 {
    let costs = trials.iter().map(|trial| match &trial.end {
        TrialEnd::Completed(costs) => costs[0],
        _ => f64::INFINITY,
    });
    costs.fold(f64::INFINITY, f64::min)
}

#[test]
fn the_bottom_of_a_sphere_is_found_to_a_millionth() {
    for seed in 0..5 {
        let found = search(&study(floats(5), seed), 450, |_, point| cost(sphere(point)));
        assert!(best(&found) < 1e-6, "seed {seed}: {}", best(&found));
    }
}

#[test]
fn a_narrow_slanted_valley_is_followed() {
    for seed in 0..5 {
        let found = search(&study(floats(2), seed), 500, |_, point| {
            let [x, y] = [number(point.values()[0]), number(point.values()[1])];
            cost((x - 1.0) * (x - 1.0) + 1e4 * (x - y) * (x - y))
        });
        assert!(best(&found) < 1e-4, "seed {seed}: {}", best(&found));
    }
}

#[test]
fn an_optimum_in_a_corner_is_reached() {
    for seed in 0..5 {
        let found = search(&study(floats(6), seed), 300, |_, point| {
            cost(point.values().iter().map(|value| number(*value)).sum())
        });
        // Of -30, and 0 in the middle.
        assert!(best(&found) < -29.7, "seed {seed}: {}", best(&found));
    }
}

#[test]
fn integers_and_categories_are_searched_together_with_floats() {
    let text = |text: &str| Choice::Text(text.to_owned());
    let choices = ["a", "b", "c", "d", "e"].map(text).to_vec();
    let space = Space::new([
        ("mode".to_owned(), Domain::Categorical { choices }),
        ("n".to_owned(), int(0, 20)),
        ("x".to_owned(), float(0.0, 1.0)),
    ])
    .unwrap();
    for seed in 0..5 {
        let found = search(&study(space.clone(), seed), 300, |_, point| {
            let [mode, n, x] = [0, 1, 2].map(|at| number(point.values()[at]));
            let off = if mode == 3.0 { 0.0 } else { 1.0 };
            cost(off + (n - 17.0) * (n - 17.0) / 100.0 + (x - 0.3) * (x - 0.3))
        });
        assert!(best(&found) < 1e-4, "seed {seed}: {}", best(&found));
    }
}

#[test]
fn only_the_order_of_costs_matters() {
    let plain = search(&study(floats(3), 5), 120, |_, point| cost(sphere(point)));
    let bent = search(&study(floats(3), 5), 120, |_, point| {
        cost(libm::log(sphere(point)) * 1e300)
    });
    for (a, b) in plain.iter().zip(&bent) {
        assert_eq!(a.point, b.point, "trial {}", a.number);
    }
}

#[test]
fn a_range_elsewhere_or_of_another_width_gives_the_same_places() {
    let wide = Space::new((0..3).map(|k| (format!("x{k:02}"), float(0.0, 80.0)))).unwrap();
    let narrow = search(&study(floats(3), 5), 60, |_, point| cost(sphere(point)));
    let wide = search(&study(wide, 5), 60, |_, point| {
        let shifted = point
            .values()
            .iter()
            .map(|value| number(*value) / 8.0 - 5.0);
        cost(shifted.map(|x| (x - 1.0) * (x - 1.0)).sum())
    });
    for (a, b) in narrow.iter().zip(&wide) {
        for (a, b) in a.point.values().iter().zip(b.point.values()) {
            let error = (number(*b) / 8.0 - 5.0 - number(*a)).abs();
            assert!(error < 1e-6, "{a} and {b}");
        }
    }
}

#[test]
fn the_order_in_which_a_history_lists_trials_does_not_matter() {
    let study = study(floats(4), 9);
    let mut trials = search(&study, 50, |_, point| cost(sphere(point)));
    let ask = |finished: &[FinishedTrial]| {
        let running = &[];
        study.ask(&History { finished, running }, 50)
    };
    let expected = ask(&trials);
    trials.reverse();
    assert_eq!(ask(&trials), expected);
}

#[test]
fn failed_and_lost_trials_cost_samples_and_stall_nothing() {
    // Of three trials one fails and one never ends.
    let study = study(floats(4), 2);
    let mut finished = Vec::new();
    let mut running = Vec::new();
    for number in 0..1_200 {
        let history = History {
            finished: &finished,
            running: &running,
        };
        let point = study.ask(&history, number).unwrap();
        if number % 3 == 1 {
            running.push(RunningTrial { number, point });
            continue;
        }
        let end = if number % 3 == 0 {
            TrialEnd::Failed
        } else {
            cost(sphere(&point))
        };
        finished.push(FinishedTrial { number, point, end });
    }
    assert!(best(&finished) < 1e-4, "{}", best(&finished));
}

#[test]
fn points_from_elsewhere_are_learnt_from() {
    let space = floats(5);
    let near: Vec<Point> = (0..8)
        .map(|k| {
            Point::new(
                (0..5)
                    .map(|i| ParamValue::Float(4.0 + 0.01 * f64::from(k * i % 7)))
                    .collect(),
            )
        })
        .collect();
    let with = study(space.clone(), 4).with_initial(near).unwrap();
    let target = |point: &Point| -> f64 {
        let values = point.values().iter();
        values
            .map(|value| (number(*value) - 4.2) * (number(*value) - 4.2))
            .sum()
    };
    let behind = |study: &Study| -> f64 {
        let found = search(study, 24, |_, point| cost(target(point)));
        found[8..].iter().map(|trial| target(&trial.point)).sum()
    };
    let (with, without) = (behind(&with), behind(&study(space, 4)));
    assert!(with < 0.8 * without, "{with} against {without}");
}

#[test]
fn a_run_that_has_converged_is_followed_by_another_one() {
    // Rastrigin's function: one basin per unit square.
    let value = |point: &Point| -> f64 {
        let values = point.values().iter().map(|value| number(*value) - 1.0);
        values
            .map(|x| 10.0 + x * x - 10.0 * libm::cos(2.0 * std::f64::consts::PI * x))
            .sum()
    };
    let mut stuck = 0;
    for seed in 0..8 {
        let found = search(&study(floats(2), seed), 1_500, |_, point| {
            cost(value(point))
        });
        stuck += u32::from(best(&found[..300]) > 0.5);
        // The bottoms of the others lie at 0.99 and above.
        assert!(best(&found) < 0.5, "seed {seed}: {}", best(&found));
    }
    assert!(
        stuck > 0,
        "the first run found it every time: this tests nothing"
    );
}

#[test]
fn degenerate_histories_and_spaces_are_borne() {
    let one = |domain: Domain| Space::new([("only".to_owned(), domain)]).unwrap();
    let wide = Domain::Float {
        low: -8e307,
        high: 8e307,
        step: None,
        log: false,
    };
    let many = Domain::Categorical {
        choices: (0..1_000).map(Choice::Int).collect(),
    };
    let log = Domain::Int {
        low: 1,
        high: 1 << 53,
        step: 1,
        log: true,
    };
    let conditional = SpaceBuilder::default()
        .parameter("mode", int(0, 1))
        .conditional("width", float(0.0, 1.0), "mode > 0")
        .conditional("depth", int(1, 9), "mode < 1")
        .constraint("width > 0.5")
        .build()
        .unwrap();
    let spaces = [
        one(float(0.5, 0.5)),
        one(wide),
        one(many),
        one(int(-(1 << 53), 1 << 53)),
        one(log),
        floats(100),
        conditional,
    ];
    let ends: [fn(u32, &Point) -> TrialEnd; 8] = [
        |_, _| TrialEnd::Failed,
        |_, _| TrialEnd::Pruned(None),
        |number, _| {
            let cost = if number.is_multiple_of(3) {
                f64::NAN
            } else {
                1.0
            };
            let step = number % 4;
            TrialEnd::Pruned(Some(LastReport { step, cost }))
        },
        |_, _| TrialEnd::Infeasible {
            violation: f64::INFINITY,
        },
        |_, _| cost(1.0),
        |_, _| cost(f64::NAN),
        |number, _| cost(if number % 2 == 0 { 1e308 } else { -1e308 }),
        |_, point| cost(number(point.values()[0])),
    ];
    for space in spaces {
        for end in ends {
            search(&study(space.clone(), 1), 120, end);
        }
    }
}

#[test]
fn a_small_space_is_visited_once_and_then_exhausted() {
    let space = Space::new([("a".to_owned(), int(0, 6)), ("b".to_owned(), int(0, 6))]).unwrap();
    let study = study(space, 8);
    let found = search(&study, 100, |_, point| cost(sphere(point)));
    assert_eq!(found.len(), 49);
    for (at, trial) in found.iter().enumerate() {
        assert!(found[..at].iter().all(|other| other.point != trial.point));
    }
}
