//! Spaces and histories at their limits: every sampler gives an allowed point, the same one again, and panics at
//! nothing.

use trialmill_search::{
    Choice, Domain, FinishedTrial, History, LastReport, MAX_CHOICES, MAX_PARAMETERS, Method, Point,
    RunningTrial, Space, Study, TrialEnd,
};

fn float(low: f64, high: f64) -> Domain {
    Domain::Float {
        low,
        high,
        step: None,
        log: false,
    }
}

fn int(low: i64, high: i64) -> Domain {
    Domain::Int {
        low,
        high,
        step: 1,
        log: false,
    }
}

fn choices(count: usize) -> Domain {
    let choice = |k: usize| Choice::Text(format!("choice {k}"));
    Domain::Categorical {
        choices: (0..count).map(choice).collect(),
    }
}

fn space(parameters: impl IntoIterator<Item = Domain>) -> Space {
    let names = (0..).map(|k| format!("p{k}"));
    Space::new(names.zip(parameters)).expect("within the limits")
}

/// What is named in the issue of every sampler, and what lies between.
fn spaces() -> Vec<(&'static str, Space)> {
    let wide = [
        float(-8e307, 8e307),
        float(-1.0, 1e308),
        int(-(1 << 52), 1 << 52),
    ];
    let log = Domain::Float {
        low: 1e-300,
        high: 1e300,
        step: None,
        log: true,
    };
    vec![
        (
            "one point",
            space([float(0.25, 0.25), int(7, 7), choices(1)]),
        ),
        (
            "nearly one point",
            space([float(1.0, 1.0 + f64::EPSILON), int(0, 1)]),
        ),
        ("the widest numbers", space(wide)),
        ("the widest logarithm", space([log, int(0, 3)])),
        (
            "ten thousand choices",
            space([choices(MAX_CHOICES), float(0.0, 1.0)]),
        ),
        (
            "two hundred floats",
            space((0..MAX_PARAMETERS).map(|_| float(-5.0, 5.0))),
        ),
        (
            "two hundred of every kind",
            space((0..MAX_PARAMETERS).map(|k| match k % 3 {
                0 => float(0.0, 1.0),
                1 => int(0, 9),
                _ => choices(4),
            })),
        ),
    ]
}

/// How the trials of a history ended, by number.
type Ends = fn(u32, usize) -> TrialEnd;

fn ends() -> Vec<(&'static str, Ends)> {
    vec![
        ("failed", |_, _| TrialEnd::Failed),
        ("pruned", |_, _| TrialEnd::Pruned(None)),
        ("pruned after reports", |number, _| {
            let cost = [f64::NAN, 1e308, -1e308, f64::INFINITY, 0.0][number as usize % 5];
            let step = [0, u32::MAX, 7][number as usize % 3];
            TrialEnd::Pruned(Some(LastReport { step, cost }))
        }),
        ("infeasible", |number, _| TrialEnd::Infeasible {
            violation: f64::from(number % 5 + 1),
        }),
        ("infinitely infeasible", |_, _| TrialEnd::Infeasible {
            violation: f64::INFINITY,
        }),
        ("of one value", |_, objectives| {
            TrialEnd::completed(vec![3.0; objectives])
        }),
        ("huge", |number, objectives| {
            let sign = if number % 2 == 0 { 1.0 } else { -1.0 };
            TrialEnd::completed(vec![sign * 1e308; objectives])
        }),
        ("tiny", |number, objectives| {
            TrialEnd::completed(vec![f64::from(number) * 5e-324; objectives])
        }),
        ("of every kind", |number, objectives| match number % 4 {
            0 => TrialEnd::Failed,
            1 => TrialEnd::Pruned(None),
            2 => TrialEnd::Infeasible { violation: 0.5 },
            _ => TrialEnd::completed(vec![f64::from(number); objectives]),
        }),
    ]
}

/// Asks twice, after so many trials of random points, two of which are running.
fn asked(
    method: Method,
    space: &Space,
    trials: u32,
    end: Ends,
    objectives: usize,
) -> Option<Point> {
    let draws = Study::new(space.clone(), Method::Random, 7).expect("random takes any space");
    let point = |number| draws.ask(&History::EMPTY, number).expect("a point");
    let finished: Vec<FinishedTrial> = (0..trials)
        .map(|number| FinishedTrial {
            number,
            point: point(number),
            end: end(number, objectives),
        })
        .collect();
    let running: Vec<RunningTrial> = (trials..trials + 2)
        .map(|number| RunningTrial {
            number,
            point: point(number),
        })
        .collect();
    let history = History {
        finished: &finished,
        running: &running,
    };
    let ask = || {
        let study = Study::new(space.clone(), method, 42).expect("it takes the space");
        study.ask(&history, trials + 2)
    };
    let first = ask();
    assert_eq!(first, ask(), "it is the same again");
    first
}

#[test]
fn every_sampler_gives_an_allowed_point_at_the_limits_of_spaces_and_histories() {
    let mut asked_of = std::collections::BTreeMap::<&str, usize>::new();
    for (of, space) in spaces() {
        // A grid lists its points, and there are too many of them, or none.
        let takes = |method: &Method| *method != Method::Grid;
        let size = space.lattice_size();
        for method in Method::ALL.into_iter().filter(takes) {
            for (how, end) in ends() {
                for trials in [0, 14, 30] {
                    for objectives in [1, 2] {
                        if objectives > 1 && !method.takes_several_objectives() {
                            continue;
                        }
                        *asked_of.entry(method.name()).or_default() += 1;
                        let point = asked(method, &space, trials, end, objectives);
                        let what = format!(
                            "{method} on {of}, after {trials} trials {how}, {objectives} objectives"
                        );
                        match point {
                            Some(point) => {
                                assert_eq!(space.check_allowed(&point), Ok(()), "{what}");
                            }
                            None => assert!(
                                method.never_repeats()
                                    && size.is_some_and(|size| size <= u64::from(trials) + 2),
                                "{what} has no point"
                            ),
                        }
                    }
                }
            }
        }
    }
    // 7 spaces, 9 ways to end, after 0, 14 and 30 trials.
    let one = 7 * 9 * 3;
    let expected = [
        ("auto", 2 * one),
        ("cmaes", one),
        ("gp", one),
        ("nsga2", 2 * one),
        ("random", 2 * one),
        ("sobol", 2 * one),
        ("tpe", 2 * one),
    ];
    assert_eq!(asked_of, expected.into_iter().collect());
}
