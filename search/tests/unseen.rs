//! No point twice, and every point before the space is called exhausted.

mod support;

use proptest::prelude::*;
use support::spaces;
use trialmill_search::{
    Domain, FinishedTrial, History, Method, ParamValue, Point, RunningTrial, Space, SpaceBuilder,
    Study, TrialEnd, Unseen,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_listable_space_is_exhausted_without_repetition(
        space in spaces::conditional_space(true),
        seed in 0u64..(1 << 53),
    ) {
        let expected = spaces::brute_force(&space);
        prop_assume!(expected.len() <= 300);
        let unseen = Unseen::new(&space, seed);
        prop_assert_eq!(unseen.size_limit(), Some(expected.len() as u64));
        let study = Study::new(space.clone(), Method::Random, seed).unwrap();
        let (mut finished, mut running) = (Vec::new(), Vec::new());
        for number in 0..u32::try_from(expected.len()).unwrap() {
            let history = History { finished: &finished, running: &running };
            // The model proposes one point again and again.
            let draw = || study.ask(&History::EMPTY, number % 3);
            let point = unseen.first(&space, &history, number, 2, draw);
            let again = unseen.first(&space, &history, number, 2, draw);
            prop_assert_eq!(&point, &again);
            let Some(point) = point else { panic!("trial {number} of {} has no point", expected.len()) };
            prop_assert!(expected.contains(&space.pack(&point)));
            prop_assert!(!finished.iter().any(|trial: &FinishedTrial| trial.point == point));
            prop_assert!(!running.iter().any(|trial: &RunningTrial| trial.point == point));
            if number % 2 == 0 {
                finished.push(FinishedTrial { number, point, end: TrialEnd::Failed });
            } else {
                running.push(RunningTrial { number, point });
            }
        }
        let history = History { finished: &finished, running: &running };
        let draw = || study.ask(&History::EMPTY, 0);
        prop_assert_eq!(unseen.first(&space, &history, u32::MAX, 2, draw), None);
    }
}

fn unit() -> Domain {
    Domain::Float {
        low: 0.0,
        high: 1.0,
        step: None,
        log: false,
    }
}

#[test]
fn the_trial_that_asks_again_keeps_its_point() {
    let space = Space::new([("x".to_owned(), unit())]).unwrap();
    let unseen = Unseen::new(&space, 1);
    assert_eq!(unseen.size_limit(), None);
    let point = Point::new(vec![ParamValue::Float(0.5)]);
    let running = [RunningTrial {
        number: 4,
        point: point.clone(),
    }];
    let history = History {
        finished: &[],
        running: &running,
    };
    let draw = || Some(point.clone());
    assert_eq!(
        unseen.first(&space, &history, 4, 1, draw),
        Some(point.clone())
    );
}

#[test]
fn proposals_that_break_a_constraint_give_way_to_a_probed_point() {
    let space = SpaceBuilder::default()
        .parameter("x", unit())
        .constraint("x > 0.9")
        .build()
        .unwrap();
    let unseen = Unseen::new(&space, 1);
    let asked = |number| {
        let draw = || Some(Point::new(vec![ParamValue::Float(0.1)]));
        let point = unseen.first(&space, &History::EMPTY, number, 5, draw);
        point.expect("a tenth of the probe points is allowed")
    };
    assert!(space.allows(&asked(0)) && space.allows(&asked(1)));
    assert_ne!(asked(0), asked(1));
    assert_eq!(asked(1), asked(1));
}

#[test]
fn a_known_point_is_given_only_when_every_allowed_probe_point_is_known() {
    let space = SpaceBuilder::default()
        .parameter("x", unit())
        .constraint("x > 0.999")
        .build()
        .unwrap();
    let unseen = Unseen::new(&space, 1);
    let proposal = Point::new(vec![ParamValue::Float(0.9995)]);
    let mut finished = vec![FinishedTrial {
        number: 0,
        point: proposal.clone(),
        end: TrialEnd::completed(vec![1.0]),
    }];
    // A thousandth of the probe points is allowed.
    for number in 1..=40 {
        let history = History {
            finished: &finished,
            running: &[],
        };
        let point = unseen.first(&space, &history, number, 5, || Some(proposal.clone()));
        let point = point.expect("some probe points are allowed");
        assert!(space.allows(&point), "{point:?}");
        let known = finished.iter().any(|trial| trial.point == point);
        if known {
            assert!(number > 5, "only {number} points were told apart");
            assert_eq!(point, proposal);
            return;
        }
        finished.push(FinishedTrial {
            number,
            point,
            end: TrialEnd::Failed,
        });
    }
    let all = finished.len();
    panic!("{all} different points in a thousandth of the probe points");
}
