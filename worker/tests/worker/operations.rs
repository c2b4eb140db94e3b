//! What a real worker makes of tasks that end themselves, are made from others, or are cancelled.

use crate::support::{Mill, float, function, int, new_task, options, with_fixed};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use trialmill_common::protocol::{Aim, StopRules};
use trialmill_common::spec::{Target, TaskSpec};
use trialmill_common::state::{Direction, OriginHow, StopReason, TaskId, TaskState};
use trialmill_search::Method;
use trialmill_store::Store;
use trialmill_store::rows::{NewTask, Origin, Submitted};
use trialmill_worker::WorkerOptions;

type Results = Vec<(u32, Vec<u8>, Vec<u64>, Option<String>)>;

fn sphere(n_trials: u32) -> TaskSpec {
    function(
        "sphere",
        n_trials,
        vec![float("x", -5.0, 5.0), float("y", -1.0, 3.0), int("z", 0, 9)],
    )
}

/// A task that is made from another one, as the API makes it.
async fn made(mill: &Mill, spec: &TaskSpec, origin: TaskId, how: OriginHow) -> TaskId {
    let spec = TaskSpec {
        copies: true,
        ..spec.clone()
    };
    let task = NewTask {
        rules: spec.stop.clone(),
        origin: Some(Origin { task: origin, how }),
        ..new_task(&spec, BTreeMap::new(), "default")
    };
    match mill.store.submit(task, None).await.unwrap() {
        Submitted::Created(row) => row.id,
        other => panic!("a new task is created, not {other:?}"),
    }
}

/// The results of an undisturbed run with one slot.
async fn undisturbed(spec: &TaskSpec) -> Results {
    let mill = Mill::relaying();
    let worker = mill.worker(options(1)).await;
    let id = mill.submit(spec, BTreeMap::new()).await;
    mill.until_ended(id).await;
    worker.drain().await;
    mill.results(id).await
}

/// A task with the stop rules of its search.
fn ruled(spec: &TaskSpec) -> NewTask {
    NewTask {
        rules: spec.stop.clone(),
        ..new_task(spec, BTreeMap::new(), "default")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_search_that_is_retried_gives_the_trials_of_an_undisturbed_one() {
    let nap = function("sleep", 60, vec![float("x", -5.0, 5.0)]);
    let nap = with_fixed(nap, "seconds", 0.01);
    let sobol = TaskSpec {
        method: Method::Sobol,
        ..nap.clone()
    };
    for spec in [nap, sobol] {
        let mill = Mill::relaying();
        let worker = mill.worker(options(3)).await;
        let id = mill.submit(&spec, BTreeMap::new()).await;
        mill.until(id, |row| row.ledger.ended() > 5).await;
        mill.store.stop(id, StopReason::Cancelled).await.unwrap();
        let row = mill.until_ended(id).await;
        assert_eq!(row.ledger.state, TaskState::Cancelled);
        let before = mill.results(id).await;
        assert!((6..60).contains(&before.len()), "{} ended", before.len());
        let again = made(&mill, &spec, id, OriginHow::Retry).await;
        let row = mill.until_ended(again).await;
        assert_eq!(row.ledger.stop_reason, Some(StopReason::NTrials));
        worker.drain().await;
        assert_eq!(mill.results(again).await, undisturbed(&spec).await);
        assert_eq!(mill.results(id).await, before);
        assert_eq!(mill.store.verify().await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_gives_the_trials_of_a_search_of_that_size() {
    let long = |method, parallelism| TaskSpec {
        method,
        parallelism,
        ..sphere(70)
    };
    for spec in [
        long(Method::Random, None),
        long(Method::Sobol, Some(3)),
        long(Method::Grid, Some(2)),
        // What looks at history does so in order, one trial at a time.
        long(Method::Tpe, Some(1)),
    ] {
        let spec = if spec.method == Method::Grid {
            let space = vec![int("a", -10, 9), int("b", 1, 30)];
            TaskSpec {
                method: Method::Grid,
                parallelism: spec.parallelism,
                ..function("sphere", 70, space)
            }
        } else {
            spec
        };
        let short = TaskSpec {
            n_trials: 30,
            ..spec.clone()
        };
        let mill = Mill::relaying();
        let worker = mill.worker(options(2)).await;
        let id = mill.submit(&short, BTreeMap::new()).await;
        mill.until_ended(id).await;
        let longer = made(&mill, &spec, id, OriginHow::Extend).await;
        let row = mill.until_ended(longer).await;
        assert_eq!((row.ledger.completed, row.ledger.copied.trials), (70, 30));
        worker.drain().await;
        mill.assert_sound(longer).await;
        let method = spec.method;
        assert_eq!(
            mill.results(longer).await,
            undisturbed(&spec).await,
            "{method}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_search_that_reaches_its_target_is_the_same_however_it_is_flushed() {
    for method in [Method::Random, Method::Tpe] {
        let whole = TaskSpec {
            method,
            parallelism: Some(1),
            ..sphere(200)
        };
        let all = undisturbed(&whole).await;
        let value = |trial: &(u32, Vec<u8>, Vec<u64>, Option<String>)| f64::from_bits(trial.2[0]);
        // The best of the first half: some trial in it is the first that reaches it.
        let target = all[..100].iter().map(value).fold(f64::INFINITY, f64::min);
        let first = all.iter().position(|trial| value(trial) <= target).unwrap();
        let spec = TaskSpec {
            stop: StopRules {
                target: Some(target),
                ..StopRules::default()
            },
            ..whole
        };
        for flush in [1, 20, 200] {
            let mill = Mill::relaying();
            let worker = mill
                .worker(WorkerOptions {
                    flush: Duration::from_millis(flush),
                    ..options(2)
                })
                .await;
            let task = ruled(&spec);
            let id = task.id;
            mill.store.submit(task, None).await.unwrap();
            let row = mill.until_ended(id).await;
            assert_eq!(row.ledger.stop_reason, Some(StopReason::TargetReached));
            worker.drain().await;
            mill.assert_sound(id).await;
            assert_eq!(
                mill.results(id).await,
                all[..=first],
                "{method}, {flush} ms"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_search_with_several_objectives_ends_where_its_front_says() {
    let objectives = ["f1", "f2"].map(|metric| Target::new(metric, Direction::Minimize));
    let whole = TaskSpec {
        method: Method::Tpe,
        parallelism: Some(1),
        objectives: objectives.to_vec(),
        // Steps, so that trials repeat values and the front does not grow for ever.
        ..function("schaffer", 200, vec![int("x", -5, 5), int("y", -5, 5)])
    };
    let all = undisturbed(&whole).await;
    let values: Vec<[f64; 2]> = all
        .iter()
        .map(|trial| [trial.2[0], trial.2[1]].map(f64::from_bits))
        .collect();
    let covers = |a: &[f64; 2], b: &[f64; 2]| a[0] <= b[0] && a[1] <= b[1];
    let joins = |at: usize| {
        !values[..at]
            .iter()
            .any(|before| covers(before, &values[at]))
    };
    let patience = 12;
    let idle = (patience..values.len()).find(|at| !(at - patience + 1..=*at).any(joins));
    let idle = idle.expect("with so few values the front stands still");
    let target = [5.0, 5.0];
    let reached = values.iter().position(|values| covers(values, &target));
    let aims = |target: [Option<f64>; 2]| {
        let direction = Direction::Minimize;
        target.map(|target| Aim { direction, target }).to_vec()
    };
    let patience = u32::try_from(patience).unwrap();
    for (aims, patience, last, reason) in [
        (
            aims([None; 2]),
            Some(patience),
            idle,
            StopReason::NoImprovement,
        ),
        (
            aims(target.map(Some)),
            None,
            reached.expect("it lies on the front"),
            StopReason::TargetReached,
        ),
    ] {
        let spec = TaskSpec {
            stop: StopRules {
                target: None,
                patience,
                aims,
            },
            ..whole.clone()
        };
        for flush in [1, 200] {
            let mill = Mill::relaying();
            let worker = mill
                .worker(WorkerOptions {
                    flush: Duration::from_millis(flush),
                    ..options(2)
                })
                .await;
            let task = ruled(&spec);
            let id = task.id;
            mill.store.submit(task, None).await.unwrap();
            let row = mill.until_ended(id).await;
            assert_eq!(row.ledger.stop_reason, Some(reason));
            worker.drain().await;
            mill.assert_sound(id).await;
            assert_eq!(mill.results(id).await, all[..=last], "{reason}, {flush} ms");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_without_improvement_stops_its_other_trials() {
    let nap = function("sleep", 400, vec![float("x", 1.0, 5.0)]);
    let spec = TaskSpec {
        stop: StopRules {
            patience: Some(15),
            ..StopRules::default()
        },
        ..with_fixed(nap, "seconds", 0.01)
    };
    let mill = Mill::relaying();
    let worker = mill.worker(options(3)).await;
    let task = ruled(&spec);
    let id = task.id;
    mill.store.submit(task, None).await.unwrap();
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.stop_reason, Some(StopReason::NoImprovement));
    let ended = row.ledger.ended();
    assert!((16..400).contains(&ended), "{ended} ended");
    worker.drain().await;
    assert_eq!(mill.store.verify().await.unwrap(), []);
    // Each recorded trial is that of an undisturbed run.
    let unruled = TaskSpec {
        stop: StopRules::default(),
        ..spec
    };
    let all = undisturbed(&unruled).await;
    for trial in mill.results(id).await {
        assert_eq!(trial, all[trial.0 as usize]);
    }
}

/// The time from the commit of a cancel to the end of a task, and the trials announced after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_with_long_trials_ends_within_five_seconds_at_production_leases() {
    let nap = function("sleep", 50, vec![float("x", 0.0, 1.0)]);
    let spec = with_fixed(nap, "seconds", 3600.0);
    let mill = Mill::relaying();
    let worker = mill
        .worker(WorkerOptions {
            flush: Duration::from_secs(1),
            ..options(3)
        })
        .await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until_announced().await;
    mill.until(id, |row| row.leased_units == 3).await;
    let cancelled = Instant::now();
    mill.store.stop(id, StopReason::Cancelled).await.unwrap();
    let row = mill.until_ended(id).await;
    let took = cancelled.elapsed();
    assert_eq!(row.ledger.state, TaskState::Cancelled);
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert_eq!(row.ledger.ended(), 0);
    worker.drain().await;
    assert_eq!(mill.store.verify().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_task_that_is_cancelled_ends_and_one_that_waits_for_its_time_does_not_start() {
    let nap = function("sleep", 400, vec![float("x", 0.0, 1.0)]);
    let spec = with_fixed(nap, "seconds", 0.01);
    let mill = Mill::relaying();
    let worker = mill.worker(options(2)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until(id, |row| row.ledger.ended() > 0).await;
    mill.store.pause(id).await.unwrap();
    mill.until(id, |row| row.leased_units == 0).await;
    mill.store.stop(id, StopReason::Cancelled).await.unwrap();
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.state, TaskState::Cancelled);

    // One that is to start in an hour, and one submitted after it, which runs meanwhile.
    let later = NewTask {
        not_before: Some(row.created_at + chrono::TimeDelta::hours(1)),
        ..new_task(&sphere(5), BTreeMap::new(), "default")
    };
    let waits = later.id;
    mill.store.submit(later, None).await.unwrap();
    let now = mill.submit(&sphere(5), BTreeMap::new()).await;
    assert_eq!(mill.until_ended(now).await.ledger.completed, 5);
    // Even a message that names it starts nothing.
    let message = trialmill_common::message::UnitMessage::new(waits.0, 0);
    trialmill_broker::Broker::publish(&*mill.broker, "default", &[message]).await;
    let next = mill.submit(&sphere(5), BTreeMap::new()).await;
    mill.until_ended(next).await;
    let row = mill.store.task(waits).await.unwrap().unwrap();
    assert_eq!(
        (row.ledger.state, row.started_at),
        (TaskState::Queued, None)
    );
    assert_eq!(mill.store.unit_summary(next).await.unwrap().ahead, 0);
    worker.drain().await;
    assert_eq!(mill.store.verify().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_publishes_what_is_urgent_first() {
    use trialmill_common::state::Priority;
    let mut mill = Mill::new();
    let mut ids = Vec::new();
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let spec = TaskSpec {
            parallelism: Some(1),
            ..sphere(20)
        };
        let task = NewTask {
            priority,
            ..new_task(&spec, BTreeMap::new(), "default")
        };
        ids.push(task.id);
        mill.store.submit(task, None).await.unwrap();
    }
    // One slot takes one unit at a time, in the order of the queue.
    let broker: std::sync::Arc<dyn trialmill_broker::Broker> = mill.broker.clone();
    mill.relay(broker);
    let worker = mill.worker(options(1)).await;
    let mut ends = Vec::new();
    for id in &ids {
        ends.push(mill.until_ended(*id).await.started_at.unwrap());
    }
    worker.drain().await;
    assert!(ends[2] <= ends[1] && ends[1] <= ends[0], "{ends:?}");
}
