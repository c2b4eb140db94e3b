//! A bad trial fails alone, with its reason; its neighbours complete and the worker lives.

use crate::support::{Mill, float, function, options};
use std::collections::BTreeMap;
use std::time::Duration;
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::{TaskId, TaskState, TrialEnd};
use trialmill_common::trial::{Failure, FailureKind};
use trialmill_search::Choice;
use trialmill_worker::WorkerOptions;

/// Trials at these points, in order; the functions misbehave from 0 on.
fn at(name: &str, points: &[f64]) -> TaskSpec {
    let count = u32::try_from(points.len()).unwrap();
    let mut spec = function(name, count, vec![float("x", -1.0, 1.0)]);
    let point = |x: &f64| {
        let named = [("x".to_owned(), Choice::Float(*x))];
        spec.space
            .point_from_named(&named.into_iter().collect())
            .unwrap()
    };
    spec.first_points = points.iter().map(point).collect();
    spec.trial_timeout = 0.2;
    spec
}

fn quick(slots: u32) -> WorkerOptions {
    WorkerOptions {
        stuck_grace: Duration::from_millis(200),
        trial_memory_bytes: 512 << 20,
        ..options(slots)
    }
}

/// The bad trials fail as told, the others have their values.
async fn assert_alone(mill: &Mill, id: TaskId, spec: &TaskSpec, kind: FailureKind) -> Failure {
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.state, TaskState::Completed);
    mill.assert_sound(id).await;
    let mut last = None;
    for trial in mill.trials(id).await {
        let point = spec.space.unpack(&trial.params).unwrap();
        let Some(Choice::Float(x)) = spec.space.named(&point).next().map(|(_, x)| x) else {
            panic!("x is a float");
        };
        if x < 0.0 {
            assert_eq!(
                (trial.end, trial.values),
                (TrialEnd::Completed, vec![x * x])
            );
        } else {
            assert_eq!(trial.end, TrialEnd::Failed);
            let failure = trial.failure.unwrap();
            assert_eq!(failure.kind, kind, "{failure:?}");
            assert!(
                !failure.hint.is_empty() && !failure.worker.is_empty(),
                "{failure:?}"
            );
            last = Some(failure);
        }
    }
    last.expect("some trial misbehaves")
}

async fn run(spec: &TaskSpec, kind: FailureKind) -> Failure {
    let mill = Mill::relaying();
    let worker = mill.worker(quick(2)).await;
    let id = mill.submit(spec, BTreeMap::new()).await;
    let failure = assert_alone(&mill, id, spec, kind).await;
    // The worker lives: it takes the next task.
    let next = mill
        .submit(&at("sphere", &[-0.5, 0.5]), BTreeMap::new())
        .await;
    assert_eq!(mill.until_ended(next).await.ledger.completed, 2);
    worker.drain().await;
    failure
}

/// The same in a child process from the start.
async fn run_isolated(spec: &TaskSpec, kind: FailureKind) -> Failure {
    let mut mill = Mill::new();
    let id = mill.submit(spec, BTreeMap::new()).await;
    mill.isolate(id).await;
    let broker = std::sync::Arc::clone(&mill.broker);
    mill.relay(broker);
    let worker = mill.worker(quick(2)).await;
    let failure = assert_alone(&mill, id, spec, kind).await;
    worker.drain().await;
    failure
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_trial_fails_alone() {
    // A panic may take a while to print its backtrace.
    let spec = TaskSpec {
        trial_timeout: 60.0,
        ..at("panic", &[-0.5, 0.25, -0.75, 0.5, -0.1])
    };
    let failure = run(&spec, FailureKind::Panic).await;
    assert!(
        failure.message.contains("a panic on purpose at"),
        "{failure:?}"
    );
    run_isolated(&spec, FailureKind::Panic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_gives_nan_fails_alone() {
    let failure = run(
        &at("nan", &[-0.5, 0.25, -0.75]),
        FailureKind::NonFiniteValue,
    )
    .await;
    assert!(failure.message.contains("value is NaN"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_trial_fails_at_its_deadline() {
    let spec = at("endless", &[-0.5, 0.25, -0.75]);
    let failure = run(&spec, FailureKind::TrialTimeout).await;
    assert!(
        failure.message.contains("trial_timeout, 0.2 s"),
        "{failure:?}"
    );
    run_isolated(&spec, FailureKind::TrialTimeout).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_ignores_its_deadline_is_ended_in_a_child() {
    // In one unit, so that its neighbours share its fate until it is isolated.
    let spec = TaskSpec {
        parallelism: Some(1),
        ..at("stuck", &[-0.5, 0.25, -0.75])
    };
    let failure = run(&spec, FailureKind::TrialTimeout).await;
    assert!(failure.message.contains("trial_timeout"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_threads_are_all_lost_says_so() {
    let mill = Mill::relaying();
    let mut worker = mill.worker(quick(1)).await;
    let id = mill
        .submit(&at("stuck", &[0.25, -0.75]), BTreeMap::new())
        .await;
    let fault = tokio::time::timeout(crate::support::PATIENCE, worker.failed())
        .await
        .unwrap();
    assert!(fault.to_string().contains("1 threads are lost"), "{fault}");
    mill.until_ended(id).await;
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborting_trial_fails_alone_after_three_deaths() {
    let failure = run_isolated(
        &at("abort", &[-0.5, 0.25, -0.75]),
        FailureKind::WorkerCrashed,
    )
    .await;
    assert!(
        failure
            .message
            .contains("died 3 times; the last time by SIGABRT"),
        "{failure:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_eats_memory_fails_alone() {
    let spec = TaskSpec {
        trial_timeout: 60.0,
        ..at("memory", &[-0.5, 0.25, -0.75])
    };
    let failure = run_isolated(&spec, FailureKind::WorkerCrashed).await;
    assert!(failure.message.contains("SIGABRT"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_gives_the_bits_of_the_worker_itself() {
    let points: Vec<f64> = (1..30).map(|i| -1.0 / f64::from(i)).collect();
    let spec = at("sphere", &points);
    let mill = Mill::relaying();
    let worker = mill.worker(quick(2)).await;
    let own = mill.submit(&spec, BTreeMap::new()).await;
    mill.until_ended(own).await;
    worker.drain().await;
    let mut other = Mill::new();
    let isolated = other.submit(&spec, BTreeMap::new()).await;
    other.isolate(isolated).await;
    let broker = std::sync::Arc::clone(&other.broker);
    other.relay(broker);
    let worker = other.worker(quick(2)).await;
    other.until_ended(isolated).await;
    worker.drain().await;
    assert_eq!(other.results(isolated).await, mill.results(own).await);
}
