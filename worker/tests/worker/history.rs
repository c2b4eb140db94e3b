//! Searches that look at their own results, against a real store and a real queue.

use crate::support::{Mill, float, function, int, options, with_fixed};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use trialmill_common::objective::TestFunction;
use trialmill_common::protocol::Event;
use trialmill_common::spec::{MetricNames, ResultConstraint, Target, TaskSpec};
use trialmill_common::state::{Direction, TaskId, TaskState};
use trialmill_search::{FinishedTrial, History, Method, ParamValue, Study, TrialEnd};
use trialmill_store::Store;
use trialmill_worker::WorkerOptions;

fn tpe(n_trials: u32) -> TaskSpec {
    let space = vec![
        float("x", -5.0, 5.0),
        float("y", -1.0, 3.0),
        int("z", -4, 9),
    ];
    TaskSpec {
        method: Method::Tpe,
        parallelism: Some(1),
        ..function("sphere", n_trials, space)
    }
}

/// A search for the front of a function with two values, of which the second is wanted large.
fn front(method: Method, n_trials: u32) -> TaskSpec {
    let objectives = [("f1", Direction::Minimize), ("f2", Direction::Maximize)];
    TaskSpec {
        method,
        strategy_name: "schaffer".to_owned(),
        objectives: objectives
            .map(|(metric, direction)| Target::new(metric, direction))
            .to_vec(),
        ..tpe(n_trials)
    }
}

/// The recorded trials are those of a search that is asked for each with all the earlier ones in
/// its history: nothing was unseen, nothing else was seen.
async fn assert_sequential(mill: &Mill, id: TaskId, spec: &TaskSpec) {
    let study = Study::new(spec.space.clone(), spec.method, spec.seed).unwrap();
    let mut finished: Vec<FinishedTrial> = Vec::new();
    for trial in mill.trials(id).await {
        let history = History {
            finished: &finished,
            running: &[],
        };
        let first = spec.first_points.get(finished.len()).cloned();
        let point = first.unwrap_or_else(|| study.ask(&history, trial.number).unwrap());
        assert_eq!(
            trial.params,
            spec.space.pack(&point),
            "trial {}",
            trial.number
        );
        let end = match trial.infeasible {
            Some(_) => TrialEnd::Infeasible {
                violation: trial.violation.expect("every bound here is finite"),
            },
            None => TrialEnd::completed(spec.costs(&trial.values)),
        };
        let number = trial.number;
        finished.push(FinishedTrial { number, point, end });
    }
    assert_eq!(finished.len(), spec.n_trials as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_search_sees_every_earlier_trial_and_no_other() {
    let constraint =
        ResultConstraint::parse("value >= 2.5", MetricNames::Function(TestFunction::Sphere))
            .unwrap();
    let mut bounded = tpe(150);
    bounded.result_constraints = vec![constraint];
    let mut upwards = tpe(150);
    upwards.objectives[0].direction = Direction::Maximize;
    let point = Study::new(tpe(1).space, Method::Random, 7).unwrap();
    upwards.first_points = vec![point.ask(&History::EMPTY, 0).unwrap()];
    for (spec, unit_limit) in [
        (tpe(300), Duration::from_secs(10)),
        // Each unit is one trial, on whichever of the two slots and workers.
        (bounded, Duration::ZERO),
        (upwards, Duration::ZERO),
        (front(Method::Tpe, 200), Duration::ZERO),
        (front(Method::Nsga2, 200), Duration::from_secs(10)),
    ] {
        let mill = Mill::relaying();
        let options = WorkerOptions {
            unit_limit,
            ..options(2)
        };
        let first = mill.worker(options.clone()).await;
        let second = mill.worker(options).await;
        let id = mill.submit(&spec, BTreeMap::new()).await;
        let row = mill.until_ended(id).await;
        assert_eq!(row.ledger.state, TaskState::Completed);
        if !spec.result_constraints.is_empty() {
            let infeasible = row.ledger.infeasible;
            assert!(infeasible > 5, "the bound matters: {infeasible}");
        }
        first.drain().await;
        second.drain().await;
        mill.assert_sound(id).await;
        assert_sequential(&mill, id, &spec).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_is_searched_by_several_workers_and_every_trial_keeps_its_values() {
    for method in [Method::Tpe, Method::Nsga2, Method::Random] {
        let mut spec = front(method, 120);
        spec.parallelism = None;
        spec.objectives[1].direction = Direction::Minimize;
        let mill = Mill::relaying();
        let first = mill.worker(options(2)).await;
        let second = mill.worker(options(2)).await;
        let id = mill.submit(&spec, BTreeMap::new()).await;
        let row = mill.until_ended(id).await;
        assert_eq!(row.ledger.state, TaskState::Completed);
        first.drain().await;
        second.drain().await;
        mill.assert_sound(id).await;
        let trials = mill.trials(id).await;
        assert_eq!(trials.len(), 120);
        for trial in &trials {
            let point = spec.space.unpack(&trial.params).unwrap();
            let numbers: Vec<f64> = point
                .values()
                .iter()
                .map(|value| match value {
                    ParamValue::Float(value) => *value,
                    ParamValue::Int(value) => *value as f64,
                    other => panic!("{other:?}"),
                })
                .collect();
            let sum = |from: f64| numbers.iter().map(|x| (x - from) * (x - from)).sum::<f64>();
            assert_eq!(trial.values, [sum(0.0), sum(2.0)]);
        }
        // The trial that leads is the best by the first objective.
        let least = trials
            .iter()
            .map(|trial| trial.values[0])
            .fold(f64::INFINITY, f64::min);
        assert_eq!(row.ledger.best.unwrap().value, least);
    }
}

/// An adaptive search whose trials take `seconds` each.
fn slow(n_trials: u32, seconds: f64, parallelism: Option<u32>) -> TaskSpec {
    let space = vec![float("x", -5.0, 5.0), float("y", -1.0, 3.0)];
    let sleep = function("sleep", n_trials, space);
    TaskSpec {
        method: Method::Tpe,
        parallelism,
        ..with_fixed(sleep, "seconds", seconds)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_search_goes_on_where_lost_workers_left_it() {
    // The last loss leaves 2 s of trials: they are not over before it.
    let spec = slow(130, 0.02, Some(1));
    let mill = Mill::relaying();
    let mut worker = mill.worker(options(2)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    for ended in [5, 15, 30] {
        mill.until(id, |row| row.ledger.ended() >= ended).await;
        // As a kill: nothing is handed back, what was not flushed is gone.
        let lost = worker.card().id;
        drop(worker);
        mill.expire_all(id, lost).await;
        worker = mill.worker(options(2)).await;
    }
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.state, TaskState::Completed);
    worker.drain().await;
    let events = mill.store.events(id, 0, 1_000).await.unwrap();
    let losses = events
        .iter()
        .filter(|row| matches!(row.event, Event::UnitLost { .. }));
    assert_eq!(losses.count(), 3, "each worker was lost in mid-unit");
    mill.assert_sound(id).await;
    assert_sequential(&mill, id, &spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_trials_are_unseen_than_the_bound_allows_at_any_time() {
    for (parallelism, slots) in [(None, 4), (Some(2), 1)] {
        let spec = slow(600, 0.0005, parallelism);
        let mill = Mill::relaying();
        let exact = WorkerOptions {
            // Only the bound, or the end of a unit, makes it flush.
            flush: Duration::from_secs(3600),
            // Every trial is announced, so that the line can count them.
            slow_trial: Duration::ZERO,
            ..options(slots)
        };
        let first = mill.worker(exact.clone()).await;
        let second = mill.worker(exact).await;
        let id = mill.submit(&spec, BTreeMap::new()).await;
        let row = mill.until_ended(id).await;
        assert_eq!(row.ledger.completed, 600);
        first.drain().await;
        second.drain().await;
        mill.assert_sound(id).await;
        assert_eq!(*mill.line.announced.borrow(), 600);
        let unseen = &mill.line.unseen.lock().await[&id];
        assert_eq!(unseen.recorded.len(), 600);
        assert_eq!(unseen.too_many, [], "more than the bound at a time");
        if parallelism == Some(2) {
            // From 400 recorded trials on, 10 of each unit.
            assert!(unseen.largest >= 10, "it grows: {}", unseen.largest);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sampler_that_looks_at_nothing_reads_nothing() {
    let spec = TaskSpec {
        method: Method::Random,
        parallelism: None,
        ..tpe(500)
    };
    let mill = Mill::relaying();
    let worker = mill.worker(options(2)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until_ended(id).await;
    worker.drain().await;
    assert_eq!(mill.line.histories.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_whose_history_cannot_be_read_waits_for_the_store() {
    let mill = Mill::relaying();
    // Two seconds of trials: they are not over before the line is cut.
    let spec = slow(200, 0.02, Some(2));
    let worker = mill.worker(options(2)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until(id, |row| row.ledger.ended() > 20).await;
    mill.line.cut(true);
    let reads = mill.line.histories.load(Ordering::SeqCst);
    mill.until(id, |_| {
        mill.line.histories.load(Ordering::SeqCst) > reads + 2
    })
    .await;
    mill.line.cut(false);
    assert_eq!(mill.until_ended(id).await.ledger.completed, 200);
    worker.drain().await;
    mill.assert_sound(id).await;
}
