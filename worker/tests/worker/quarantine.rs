//! A worker that fails for reasons of its own: its units go back uncharged, no trial is blamed, and
//! it takes no more until it has tested itself. A unit that nobody can run ends its task.

use crate::support::{Mill, float, function, options};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::{TaskId, TaskState, TrialEnd, WorkerId};
use trialmill_store::rows::{UnitRef, WorkerRow};
use trialmill_store::{Store, UnitFlush};
use trialmill_worker::{RunningWorker, WorkerOptions};

fn spec(parallelism: u32, n_trials: u32) -> TaskSpec {
    TaskSpec {
        parallelism: Some(parallelism),
        ..function("sphere", n_trials, vec![float("x", -1.0, 1.0)])
    }
}

/// Submits a task whose every open unit has lost a worker before: its trials want a child.
async fn isolated(mill: &Mill, spec: &TaskSpec) -> TaskId {
    let id = mill.submit(spec, BTreeMap::new()).await;
    let worker = WorkerId(uuid::Uuid::new_v4());
    let units = mill.store.task(id).await.unwrap().unwrap().ledger.next_unit;
    for unit in 0..units {
        let unit = UnitRef { task: id, unit };
        let claim = mill.store.claim(unit, worker).await.unwrap().unwrap();
        let flush = UnitFlush {
            lease: claim.lease,
            recorded_before: 0,
            trials: vec![],
            steps: 0,
            end: UnitEnd::Isolate,
            result: None,
            why: None,
        };
        mill.store.record(id, &[flush]).await.unwrap();
    }
    id
}

/// A worker whose children are started from `program`, there or not.
fn with_child(program: PathBuf) -> WorkerOptions {
    WorkerOptions {
        child_program: Some(program),
        quarantine: Duration::from_millis(50),
        ..options(1)
    }
}

async fn row(mill: &Mill, worker: &RunningWorker) -> WorkerRow {
    let workers = mill.store.workers().await.unwrap();
    let ours = workers
        .into_iter()
        .find(|row| row.card.id == worker.card().id);
    ours.expect("it is announced")
}

async fn until_quarantined(worker: &RunningWorker) -> String {
    let mut quarantine = worker.quarantine();
    let told = quarantine.wait_for(Option::is_some);
    let told = tokio::time::timeout(crate::support::PATIENCE, told).await;
    told.expect("it goes into quarantine")
        .unwrap()
        .clone()
        .unwrap()
}

fn mend(program: &Path) {
    let real = env!("CARGO_BIN_EXE_trialmill-worker");
    std::os::unix::fs::symlink(real, program).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_start_children_takes_no_units_until_it_can() {
    let mut mill = Mill::new();
    let id = isolated(&mill, &spec(4, 4)).await;
    let broker = Arc::clone(&mill.broker);
    mill.relay(broker);
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("child");
    let worker = mill.worker(with_child(program.clone())).await;
    let reason = until_quarantined(&worker).await;
    assert!(
        reason.starts_with("3 failures of its own in a row")
            && reason.contains("no isolated child can be started"),
        "{reason}"
    );
    // Told to the database, and by the slots that no longer count.
    let mut quarantine = worker.quarantine();
    let tested = |reason: &Option<String>| {
        reason
            .as_ref()
            .is_some_and(|text| text.contains("its self-test says"))
    };
    let told = tokio::time::timeout(crate::support::PATIENCE, quarantine.wait_for(tested)).await;
    let told = told.expect("it tests itself").unwrap().clone().unwrap();
    let summary = mill.store.unit_summary(id).await.unwrap();
    assert_eq!((summary.live_slots, summary.quarantined_slots), (0, 1));
    let stored = row(&mill, &worker)
        .await
        .quarantine
        .expect("its row says so");
    assert!(stored.reason.starts_with(&reason) && told.starts_with(&reason));
    // Nobody is blamed: no trial, no worker lost, and the reason is with the unit.
    let task = mill.store.task(id).await.unwrap().unwrap();
    assert_eq!((task.ledger.ended(), task.ledger.failed), (0, 0));
    assert_eq!((summary.crashes, summary.leased), (4, 0));
    let why = summary.unable_reason.expect("a unit says why");
    assert!(
        why.contains(&worker.card().name) && why.contains("no isolated child"),
        "{why}"
    );

    mend(&program);
    let task = mill.until_ended(id).await;
    assert_eq!(
        (task.ledger.state, task.ledger.completed),
        (TaskState::Completed, 4)
    );
    assert!(
        mill.trials(id)
            .await
            .iter()
            .all(|t| t.end == TrialEnd::Completed)
    );
    assert_eq!(row(&mill, &worker).await.quarantine, None);
    mill.assert_sound(id).await;
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trials_whose_children_cannot_live_here_are_not_blamed() {
    let mut mill = Mill::new();
    let id = isolated(&mill, &spec(4, 4)).await;
    let broker = Arc::clone(&mill.broker);
    mill.relay(broker);
    // It says that it is ready, and dies of its first trial, whichever that is.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("child");
    std::fs::write(
        &program,
        "#!/bin/sh\nread setup\necho '\"ready\"'\nread ask\nkill -9 $$\n",
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let worker = mill.worker(with_child(program.clone())).await;
    let reason = until_quarantined(&worker).await;
    assert!(
        reason.contains("died by SIGKILL") && reason.contains("known function"),
        "{reason}"
    );
    assert_eq!(
        mill.store.task(id).await.unwrap().unwrap().ledger.ended(),
        0
    );
    std::fs::remove_file(&program).unwrap();
    mend(&program);
    let task = mill.until_ended(id).await;
    assert_eq!((task.ledger.completed, task.ledger.failed), (4, 0));
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_worker_can_run_fails_with_the_reason_in_its_row() {
    let mut mill = Mill::new();
    let id = isolated(&mill, &spec(1, 4)).await;
    let broker = Arc::clone(&mill.broker);
    mill.relay(broker);
    let folder = tempfile::tempdir().unwrap();
    let absent = |name: &str| with_child(folder.path().join(name));
    let workers = [
        mill.worker(absent("one")).await,
        mill.worker(absent("two")).await,
    ];
    let task = tokio::time::timeout(crate::support::PATIENCE * 2, async {
        loop {
            let task = mill.store.task(id).await.unwrap().unwrap();
            if task.ledger.state.is_terminal() {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let task = task.await.expect("the task ends");
    assert_eq!(
        (task.ledger.state, task.ledger.gave_up),
        (TaskState::Failed, true)
    );
    let error = task.error.expect("it says why");
    assert_eq!(error.kind, "no_worker_can_run_it");
    assert!(
        error
            .message
            .contains("no isolated child can be started for it"),
        "{error:?}"
    );
    assert!(mill.store.verify().await.unwrap().is_empty());
    for worker in workers {
        worker.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_newer_build_goes_back_with_the_reason_and_the_worker_stays_healthy() {
    let mill = Mill::relaying();
    let worker = mill.worker(options(1)).await;
    let newer = trialmill_common::spec::FORM_VERSION + 1;
    for (field, value) in [
        ("version", newer.into()),
        ("strategy_name", "of_tomorrow".into()),
    ] {
        let spec = spec(4, 8);
        let mut task = crate::support::new_task(&spec, BTreeMap::new(), "default");
        task.spec[field] = value;
        let id = task.id;
        mill.store.submit(task, None).await.unwrap();
        let told = tokio::time::timeout(crate::support::PATIENCE, async {
            loop {
                let summary = mill.store.unit_summary(id).await.unwrap();
                if summary.unable_reason.is_some() && summary.leased == 0 {
                    return summary;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let summary = told.await.expect("a unit comes back with its reason");
        let why = summary.unable_reason.unwrap();
        assert!(
            why.contains(&format!("form version {newer}"))
                || why.contains("no strategy named of_tomorrow"),
            "{why}"
        );
        assert_eq!(summary.unable, 0);
    }
    // It is no fault of the worker's, which runs the next task.
    let next = mill.submit(&spec(1, 8), BTreeMap::new()).await;
    assert_eq!(mill.until_ended(next).await.ledger.completed, 8);
    assert_eq!(*worker.quarantine().borrow(), None);
    worker.drain().await;
}
