//! What auto keeps on any space and any history, and which sampler it asks when.

mod support;

use proptest::prelude::*;
use support::domains::{float, int, texts};
use support::searched::{
    Searched, any_end, assert_every_point_is_new, assert_order_does_not_matter,
};
use support::spaces;
use trialmill_search::auto::{MODELLED, Plan};
use trialmill_search::{
    Choice, Domain, FinishedTrial, History, Method, ParamValue, Point, Space, SpaceBuilder, Stream,
    Study, TrialEnd,
};

fn auto(space: &Space, seed: u64) -> Study {
    Study::new(space.clone(), Method::Auto, seed).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_point_is_of_the_space_and_new(space in spaces::space(), seed in 0u64..(1 << 53)) {
        assert_every_point_is_new(&auto(&space, seed), 30);
    }

    #[test]
    fn the_order_in_which_a_history_lists_trials_does_not_matter(
        space in spaces::space(),
        seed in 0u64..(1 << 53),
        objectives in 1usize..3,
    ) {
        let end = |number| match any_end(number) {
            TrialEnd::Completed(costs) => TrialEnd::completed(vec![costs[0]; objectives]),
            other => other,
        };
        assert_order_does_not_matter(|| auto(&space, seed), 30, end);
    }

    #[test]
    fn any_cost_is_taken(
        space in spaces::space(),
        costs in prop::collection::vec(prop::sample::select(vec![
            f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 1e308, 1.0, 1.0, 2.0,
            0.0, -0.0, 1e-320,
        ]), 25),
    ) {
        let searched = Searched::by(&auto(&space, 3), 25, 4, |number, _| {
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
    ])
    .unwrap();
    let ends: [fn(u32) -> TrialEnd; 8] = [
        |_| TrialEnd::Failed,
        |_| TrialEnd::Pruned(None),
        |_| TrialEnd::Infeasible { violation: 1.0 },
        |_| TrialEnd::Infeasible {
            violation: f64::INFINITY,
        },
        |_| TrialEnd::completed(vec![2.5]),
        |_| TrialEnd::completed(vec![f64::MAX]),
        |n| TrialEnd::completed(vec![if n % 2 == 0 { 1e308 } else { -1e308 }]),
        |_| TrialEnd::completed(Vec::new()),
    ];
    for end in ends {
        let searched = Searched::by(&auto(&space, 5), 40, 4, |number, _| end(number));
        searched.assert_sound(&space);
        assert_eq!(searched.points().len(), 40);
    }
}

#[test]
fn a_space_of_one_point_gives_it_once() {
    let space = Space::new([("n".to_owned(), int(7, 7))]).unwrap();
    let end = |_, _: &Point| TrialEnd::completed(vec![0.0]);
    let searched = Searched::by(&auto(&space, 4), 20, 0, end);
    assert_eq!(searched.points(), [&Point::new(vec![ParamValue::Int(7)])]);
}

#[test]
fn the_widest_spaces_are_taken() {
    let numbers = (0..100).map(|i| (format!("x{i}"), float(-1e308, 7e307)));
    let choices: Vec<Choice> = (0..1_000).map(Choice::Int).collect();
    let categories = (0..100).map(|i| {
        let choices = choices.clone();
        (format!("c{i}"), Domain::Categorical { choices })
    });
    let spaces = [
        Space::new(numbers).unwrap(),
        Space::new(categories).unwrap(),
    ];
    for space in &spaces {
        let searched = Searched::by(&auto(space, 6), 25, 4, |number, _| any_end(number));
        searched.assert_sound(space);
        assert_eq!(searched.points().len(), 25);
    }
}

/// So many numbers from 0 to 1.
fn numbers(count: usize) -> Space {
    Space::new((0..count).map(|i| (format!("x{i}"), float(0.0, 1.0)))).unwrap()
}

/// A bowl: what a model foretells.
fn bowl(space: &Space, point: &Point) -> f64 {
    let values = space.named(point).map(|(_, value)| match value {
        Choice::Float(x) => (x - 0.3).powi(2),
        _ => 0.0,
    });
    values.sum()
}

/// A cost that has nothing to do with the point: what no model foretells.
fn chance(number: u32) -> f64 {
    Stream::for_study(u64::from(number), "chance").unit_f64()
}

/// Random points that ended as it was said.
fn trials(space: &Space, count: u32, end: impl Fn(u32, &Point) -> TrialEnd) -> Vec<FinishedTrial> {
    let random = Study::new(space.clone(), Method::Random, 1).unwrap();
    let trial = |number| {
        let point = random.ask(&History::EMPTY, number).unwrap();
        let end = end(number, &point);
        FinishedTrial { number, point, end }
    };
    (0..count).map(trial).collect()
}

/// Asserts that auto asks `method` after these trials.
#[track_caller]
fn assert_asks(method: Method, space: &Space, finished: &[FinishedTrial]) {
    let history = History {
        finished,
        running: &[],
    };
    let asked = |method| {
        Study::new(space.clone(), method, 9)
            .unwrap()
            .ask(&history, 777)
    };
    let answers: Vec<Method> = [Method::Gp, Method::Tpe, Method::CmaEs]
        .into_iter()
        .filter(|other| asked(*other) == asked(Method::Auto))
        .collect();
    assert_eq!(answers, [method]);
}

fn cost(cost: f64) -> TrialEnd {
    TrialEnd::completed(vec![cost])
}

#[test]
fn nine_trials_are_too_few_to_learn_from() {
    for finished in [0, 9] {
        let space = numbers(3);
        let finished = trials(&space, finished, |_, point| cost(bowl(&space, point)));
        assert_asks(Method::Gp, &space, &finished);
        let history = History {
            finished: &finished,
            running: &[],
        };
        let first = auto(&space, 9).ask(&History::EMPTY, 777);
        assert_eq!(auto(&space, 9).ask(&history, 777), first);
    }
}

#[test]
fn a_model_that_foretells_the_results_is_asked() {
    for space in [numbers(3), numbers(9)] {
        let finished = trials(&space, 60, |_, point| cost(bowl(&space, point)));
        assert_asks(Method::Gp, &space, &finished);
    }
}

#[test]
fn without_a_model_to_trust_cmaes_is_asked_about_many_numbers_and_tpe_about_all_else() {
    let by_chance = |space: &Space| trials(space, 60, |number, _| cost(chance(number)));
    let many = numbers(8);
    assert_asks(Method::CmaEs, &many, &by_chance(&many));
    let few = numbers(7);
    assert_asks(Method::Tpe, &few, &by_chance(&few));
    let with = |builder: fn(SpaceBuilder) -> SpaceBuilder| {
        let plain = (0..8).fold(SpaceBuilder::default(), |builder, i| {
            builder.parameter(format!("x{i}"), float(0.0, 1.0))
        });
        builder(plain).build().unwrap()
    };
    let category = with(|builder| builder.parameter("kind", texts(&["a", "b"])));
    assert_asks(Method::Tpe, &category, &by_chance(&category));
    let condition = with(|builder| builder.conditional("more", float(0.0, 1.0), "x0 < 0.5"));
    assert_asks(Method::Tpe, &condition, &by_chance(&condition));
    let fixed = with(|builder| builder.parameter("kind", texts(&["a"])));
    assert_asks(Method::CmaEs, &fixed, &by_chance(&fixed));
}

#[test]
fn noise_that_leaves_little_to_learn_is_not_modelled() {
    let space = numbers(3);
    let noisy = |share: f64| {
        trials(&space, 60, |number, point| {
            cost(bowl(&space, point) + share * chance(number))
        })
    };
    assert_asks(Method::Gp, &space, &noisy(0.05));
    assert_asks(Method::Tpe, &space, &noisy(2.0));
}

#[test]
fn trials_without_a_cost_are_left_to_tpe_when_they_are_more_than_a_third() {
    let space = numbers(3);
    let part = |count: u32, end: fn(u32) -> TrialEnd| {
        trials(&space, 60, |number, point| {
            if number < count {
                end(number)
            } else {
                cost(bowl(&space, point))
            }
        })
    };
    let ends: [fn(u32) -> TrialEnd; 2] = [
        |_| TrialEnd::Pruned(None),
        |_| TrialEnd::completed(vec![f64::NAN]),
    ];
    for end in ends {
        assert_asks(Method::Tpe, &space, &part(21, end));
    }
    // Failed trials say nothing either way.
    assert_asks(Method::Gp, &space, &part(30, |_| TrialEnd::Failed));
}

#[test]
fn infeasible_trials_are_modelled_however_many_they_are_if_they_are_foretold() {
    let space = numbers(3);
    let sum = |point: &Point| {
        let values = space.named(point).map(|(_, value)| match value {
            Choice::Float(x) => x,
            other => panic!("{other} is not a float"),
        });
        values.sum::<f64>()
    };
    let limited = |limit: f64| {
        trials(&space, 60, |_, point| match sum(point) - limit {
            violation if violation > 0.0 => TrialEnd::Infeasible { violation },
            _ => cost(bowl(&space, point)),
        })
    };
    let feasible = |finished: &[FinishedTrial]| {
        let ends = finished.iter().map(|trial| &trial.end);
        ends.filter(|end| matches!(end, TrialEnd::Completed(_)))
            .count()
    };
    // Half of the space is below 1.5.
    let some = limited(1.5);
    assert!((20..40).contains(&feasible(&some)), "{}", feasible(&some));
    assert_asks(Method::Gp, &space, &some);
    let none = limited(0.0);
    assert_eq!(feasible(&none), 0);
    assert_asks(Method::Gp, &space, &none);
    let by_chance = trials(&space, 60, |number, _| TrialEnd::Infeasible {
        violation: chance(number),
    });
    assert_asks(Method::Tpe, &space, &by_chance);
    // All alike, there is nothing to foretell.
    let alike = trials(&space, 60, |_, _| TrialEnd::Infeasible {
        violation: f64::INFINITY,
    });
    assert_asks(Method::Tpe, &space, &alike);
    // A few costs do not count beside many pruned trials, of which there are too many.
    let pruned = trials(&space, 120, |number, point| match number {
        0..80 => TrialEnd::Infeasible {
            violation: sum(point),
        },
        80..110 => TrialEnd::Pruned(None),
        _ => cost(bowl(&space, point)),
    });
    assert_asks(Method::Tpe, &space, &pruned);
}

#[test]
fn several_costs_are_left_to_tpe() {
    let space = numbers(9);
    let finished = trials(&space, 60, |_, point| {
        let cost = bowl(&space, point);
        TrialEnd::completed(vec![cost, -cost])
    });
    assert_asks(Method::Tpe, &space, &finished);
}

#[test]
fn a_long_history_is_not_modelled() {
    let count = u32::try_from(MODELLED).unwrap();
    let space = numbers(3);
    let finished = trials(&space, count, |_, point| cost(bowl(&space, point)));
    assert_asks(Method::Gp, &space, &finished[1..]);
    assert_asks(Method::CmaEs, &space, &finished);
    let space = Space::new([
        ("x".to_owned(), float(0.0, 1.0)),
        ("kind".to_owned(), texts(&["a", "b"])),
    ])
    .unwrap();
    let finished = trials(&space, count, |_, point| cost(bowl(&space, point)));
    assert_asks(Method::Tpe, &space, &finished);
}

#[test]
fn a_plan_says_what_is_asked_and_why() {
    let said =
        |space: &Space, objectives, n_trials| Plan::of(space, objectives, n_trials).to_string();
    let category = Space::new([
        ("x".to_owned(), float(0.0, 1.0)),
        ("kind".to_owned(), texts(&["a", "b"])),
    ])
    .unwrap();
    let plans = [
        said(&numbers(3), 1, 10),
        said(&numbers(3), 2, 100),
        said(&numbers(7), 1, 150),
        said(&numbers(8), 1, 100),
        said(&category, 1, 1_000),
        said(&numbers(7), 1, 151),
    ];
    assert_eq!(
        plans,
        [
            "sobol (too few trials to learn from: 10)",
            "tpe (several objectives)",
            "gp while it foretells the results, else tpe (fewer than 8 parameters)",
            "gp while it foretells the results, else cmaes (8 or more parameters, all of them numbers)",
            "gp while it foretells the results, else tpe (categories or conditions); \
             tpe alone after 150 results (gp takes too long)",
            "gp while it foretells the results, else tpe (fewer than 8 parameters); \
             cmaes alone after 150 results (gp takes too long)",
        ]
    );
}
