//! What the samplers keep, and what they learn, where trials have several costs.

mod support;

#[path = "../examples/quality/problems.rs"]
#[allow(dead_code, reason = "these tests take two of the problems")]
mod problems;

use problems::{GOLDEN, Problem};
use proptest::prelude::*;
use support::domains::{float, int};
use support::searched::Searched;
use support::spaces;
use trialmill_search::pareto::hypervolume;
use trialmill_search::{
    Choice, Domain, FinishedTrial, History, LastReport, Method, Point, RunningTrial, Space,
    SpaceBuilder, Stream, Study, TrialEnd,
};

const LEARNERS: [Method; 2] = [Method::Tpe, Method::Nsga2];

/// Ends of every kind with this many objectives; costs from few values, so that many are equal.
fn any_end(number: u32, objectives: usize) -> TrialEnd {
    let mut stream = Stream::for_study(u64::from(number), "ends");
    let mut cost = || stream.below(6) as f64 - 3.0;
    match number % 9 {
        0..5 => TrialEnd::Completed((0..objectives).map(|_| cost()).collect()),
        5 => TrialEnd::Pruned(number.is_multiple_of(2).then(|| LastReport {
            step: number % 3,
            cost: cost(),
        })),
        6 | 7 => TrialEnd::Infeasible {
            violation: cost() + 4.0,
        },
        _ => TrialEnd::Failed,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_point_is_of_the_space_and_new_and_the_order_of_a_history_does_not_matter(
        space in spaces::space(),
        seed in 0u64..(1 << 53),
        objectives in 1usize..5,
    ) {
        for method in LEARNERS {
            let study = Study::new(space.clone(), method, seed).unwrap();
            let mut searched = Searched::by(&study, 70, 5, |number, _| any_end(number, objectives));
            searched.assert_sound(&space);
            let expected = study.size_limit().unwrap_or(u64::MAX).min(70);
            prop_assert_eq!(searched.points().len() as u64, expected);
            let before = study.ask(&searched.history(), 70);
            searched.finished.reverse();
            let turn = 3.min(searched.finished.len());
            searched.finished.rotate_left(turn);
            searched.running.reverse();
            let rebuilt = Study::new(space.clone(), method, seed).unwrap();
            prop_assert_eq!(rebuilt.ask(&searched.history(), 70), before);
        }
    }
}

#[test]
fn degenerate_histories_are_searched_on() {
    let space = Space::new([
        ("a".to_owned(), float(-1e308, 7e307)),
        ("b".to_owned(), int(1, 500)),
        ("c".to_owned(), float(2.0, 2.0)),
        (
            "d".to_owned(),
            Domain::Categorical {
                choices: (0..1_000).map(Choice::Int).collect(),
            },
        ),
    ])
    .unwrap();
    let ends: [fn(u32) -> TrialEnd; 10] = [
        |_| TrialEnd::Failed,
        |_| TrialEnd::Pruned(None),
        |_| TrialEnd::Infeasible { violation: 1.0 },
        |_| TrialEnd::Infeasible {
            violation: f64::INFINITY,
        },
        |_| TrialEnd::completed(Vec::new()),
        |_| TrialEnd::completed(vec![2.5, 2.5]),
        |number| TrialEnd::completed(vec![2.5, f64::from(number)]),
        |number| {
            let sign = if number % 2 == 0 { 1.0 } else { -1.0 };
            TrialEnd::completed(vec![sign * 1e308, -sign * f64::MAX, 0.0])
        },
        |number| TrialEnd::completed(vec![f64::from(number); number as usize % 4]),
        |number| {
            let cost = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0][number as usize % 4];
            TrialEnd::completed(vec![cost, f64::from(number)])
        },
    ];
    for method in LEARNERS {
        for end in ends {
            let study = Study::new(space.clone(), method, 5).unwrap();
            let searched = Searched::by(&study, 90, 7, |number, _| end(number));
            searched.assert_sound(&space);
            assert_eq!(searched.points().len(), 90);
        }
    }
}

#[test]
fn a_hundred_parameters_are_taken() {
    let parameters = (0..100).map(|i| (format!("p{i}"), float(0.0, 1.0)));
    let space = Space::new(parameters).unwrap();
    for method in LEARNERS {
        let study = Study::new(space.clone(), method, 6).unwrap();
        let searched = Searched::by(&study, 60, 60, |number, _| any_end(number, 3));
        searched.assert_sound(&space);
        assert_eq!(searched.points().len(), 60);
    }
}

/// 1 - hypervolume / best, after so many trials one after the other.
fn missed(problem: &Problem, method: Method, seed: u64, trials: u32, reference: &[f64]) -> f64 {
    let study = Study::new(problem.space.clone(), method, seed).unwrap();
    let searched = Searched::by(&study, trials, u32::MAX, |_, point| {
        TrialEnd::completed(problem.evaluate(point).reported)
    });
    let costs = searched.finished.iter().map(|trial| match &trial.end {
        TrialEnd::Completed(costs) => costs.clone(),
        other => panic!("{other:?}"),
    });
    let best = match reference.len() {
        2 => 0.6 + 5.0 + 2.0 / 3.0,
        _ => 8.0 - std::f64::consts::PI / 6.0,
    };
    1.0 - hypervolume(&costs.collect::<Vec<_>>(), reference) / best
}

#[test]
fn both_miss_less_of_the_hypervolume_than_random_search() {
    for (name, reference) in [("zdt1", vec![1.1, 6.0]), ("dtlz2", vec![2.0; 3])] {
        let problem = Problem::named(name, GOLDEN).unwrap();
        // Summed over seeds far from those of any published figure.
        let sum = |method, trials| -> f64 {
            let seeds = 90_000..90_005;
            let each = seeds.map(|seed| missed(&problem, method, seed, trials, &reference));
            each.sum()
        };
        let (tpe, few) = (sum(Method::Tpe, 100), sum(Method::Random, 100));
        assert!(tpe < 0.8 * few, "{name}: tpe {tpe}, random {few}");
        let (nsga2, many) = (sum(Method::Nsga2, 300), sum(Method::Random, 300));
        assert!(nsga2 < 0.8 * many, "{name}: nsga2 {nsga2}, random {many}");
    }
}

#[test]
fn the_first_generation_is_drawn_at_random_and_failed_pruned_and_running_trials_are_in_none() {
    let space = Space::new([("x".to_owned(), float(0.0, 1.0))]).unwrap();
    let random = Study::new(space.clone(), Method::Random, 9).unwrap();
    let study = Study::new(space, Method::Nsga2, 9).unwrap();
    let drawn = random.ask(&History::EMPTY, 900);
    let asked = |ends: &[TrialEnd], running: u32| {
        let point = |number| random.ask(&History::EMPTY, number).unwrap();
        let finished: Vec<FinishedTrial> = (0..)
            .zip(ends)
            .map(|(number, end)| FinishedTrial {
                number,
                point: point(number),
                end: end.clone(),
            })
            .collect();
        let running = (0..running).map(|k| RunningTrial {
            number: 500 + k,
            point: point(500 + k),
        });
        let running: Vec<RunningTrial> = running.collect();
        let history = History {
            finished: &finished,
            running: &running,
        };
        study.ask(&history, 900)
    };
    let completed = |count: usize| vec![TrialEnd::completed(vec![1.0, 2.0]); count];
    assert_eq!(asked(&completed(19), 0), drawn);
    assert_eq!(asked(&completed(19), 100), drawn);
    let silent = [
        vec![TrialEnd::Failed; 30],
        vec![TrialEnd::Pruned(None); 30],
        completed(19),
    ]
    .concat();
    assert_eq!(asked(&silent, 5), drawn);
    assert_ne!(asked(&completed(20), 0), drawn);
    assert_ne!(
        asked(&completed(20), 100),
        drawn,
        "running trials are not waited for"
    );
    let infeasible = vec![TrialEnd::Infeasible { violation: 1.0 }; 20];
    assert_ne!(
        asked(&infeasible, 0),
        drawn,
        "the least infeasible are parents"
    );
}

#[test]
fn infeasible_regions_are_left_and_constraints_on_parameters_are_kept() {
    let space = SpaceBuilder::default()
        .parameter("x", float(0.0, 1.0))
        .parameter("y", float(0.0, 1.0))
        .parameter(
            "mode",
            Domain::Categorical {
                choices: ["a", "b"]
                    .map(|name| Choice::Text(name.to_owned()))
                    .to_vec(),
            },
        )
        .conditional("depth", int(1, 30), "mode == 'b'")
        .constraint("x + y < 1.5")
        .build()
        .unwrap();
    let number = |point: &Point, name: &str| {
        let found = space.named(point).find(|(own, _)| *own == name);
        match found {
            Some((_, Choice::Float(value))) => value,
            _ => 0.0,
        }
    };
    // What part of the last trials is feasible: random search, then the learners.
    let late = |method| {
        let study = Study::new(space.clone(), method, 12).unwrap();
        let searched = Searched::by(&study, 200, 8, |_, point| {
            let (x, y) = (number(point, "x"), number(point, "y"));
            if x < 0.7 {
                TrialEnd::Infeasible { violation: 0.7 - x }
            } else {
                TrialEnd::completed(vec![x + y, x - y])
            }
        });
        if method != Method::Random {
            searched.assert_sound(&space);
        }
        let late = &searched.finished[80..];
        let completed = |trial: &&FinishedTrial| matches!(trial.end, TrialEnd::Completed(_));
        late.iter().filter(completed).count() as f64 / late.len() as f64
    };
    let random = late(Method::Random);
    for method in LEARNERS {
        // Both objectives pull towards the border, so not all can be.
        let found = late(method);
        assert!(found > 2.0 * random, "{method}: {found}, random {random}");
    }
}

#[test]
fn of_one_objective_nsga2_finds_the_valley() {
    let problem = Problem::named("sphere5", GOLDEN).unwrap();
    let best = |method| -> f64 {
        let seeds = 90_000..90_005;
        let each = seeds.map(|seed| {
            let study = Study::new(problem.space.clone(), method, seed).unwrap();
            let searched = Searched::by(&study, 300, u32::MAX, |_, point| {
                TrialEnd::completed(problem.evaluate(point).reported)
            });
            let costs = searched
                .finished
                .iter()
                .map(|trial| problem.evaluate(&trial.point).truth[0]);
            costs.fold(f64::INFINITY, f64::min)
        });
        each.sum()
    };
    let (found, random) = (best(Method::Nsga2), best(Method::Random));
    assert!(found < 0.2 * random, "nsga2 {found}, random {random}");
}

#[test]
fn points_are_the_recorded_ones() {
    let space = Space::new([
        ("n".to_owned(), int(1, 50)),
        ("x".to_owned(), float(-1.0, 1.0)),
        (
            "rule".to_owned(),
            Domain::Categorical {
                choices: ["a", "b", "c"]
                    .map(|name| Choice::Text(name.to_owned()))
                    .to_vec(),
            },
        ),
    ])
    .unwrap();
    let last = LEARNERS.map(|method| {
        let study = Study::new(space.clone(), method, 42).unwrap();
        // Arithmetic that every platform does alike.
        let searched = Searched::by(&study, 80, u32::MAX, |_, point| {
            let numbers = space.named(point).map(|(_, value)| match value {
                Choice::Float(value) => value,
                Choice::Int(value) => value as f64 / 50.0,
                _ => 0.0,
            });
            let numbers: Vec<f64> = numbers.collect();
            let cost = |best: f64| numbers.iter().map(|x| (x - best) * (x - best)).sum();
            TrialEnd::completed(vec![cost(0.2), cost(0.5), cost(-0.5)])
        });
        let shown = space
            .named(searched.points()[79])
            .map(|(name, value)| format!("{name}={value}"));
        shown.collect::<Vec<_>>().join(" ")
    });
    assert_eq!(
        last,
        [
            r#"n=7 rule="b" x=0.10211512746681994"#,
            r#"n=22 rule="b" x=0.498712529021063"#,
        ]
    );
}
