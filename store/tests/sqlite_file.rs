//! What only a file has: a lock, a restart, a speed.

use std::time::{Duration, Instant};
use trialmill_common::protocol::StopRules;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::state::{Direction, StopReason, TaskId, TaskKind, TaskState, WorkerId};
use trialmill_common::trial::{EndedTrial, Evaluation, Outcome, RunningTrial};
use trialmill_common::worker::WorkerCard;
use trialmill_search::{ParamValue, Point};
use trialmill_store::rows::{Claim, LeaseOutcome, NewTask, Priority, UnitRef};
use trialmill_store::sqlite::SqliteStore;
use trialmill_store::{Store, Timing, UnitFlush};
use uuid::Uuid;

fn task(n_trials: u32) -> NewTask {
    NewTask {
        id: TaskId(Uuid::now_v7()),
        kind: TaskKind::HyperparameterOptimization,
        name: "a sphere".to_owned(),
        strategy: "sphere".to_owned(),
        stock_codes: vec![],
        pool: "default".to_owned(),
        request: serde_json::json!({}),
        spec: serde_json::json!({}),
        resolved: serde_json::json!({}),
        warnings: vec![],
        seed: 1,
        n_trials,
        planned: n_trials,
        parallelism: Some(1),
        adaptive: false,
        direction: Direction::Minimize,
        timeout: None,
        priority: Priority::Normal,
        not_before: None,
        snapshot: trialmill_store::rows::Snapshot::default(),
        engine: "e1".to_owned(),
        submitted_by: None,
        rules: StopRules::default(),
        windows: Vec::new(),
        assessed: false,
        by_client: false,
        origin: None,
    }
}

fn point() -> Point {
    Point::new(vec![ParamValue::Float(0.1); 5])
}

async fn claimed(store: &SqliteStore, n_trials: u32, worker: WorkerId) -> Claim {
    let task = task(n_trials);
    let unit = UnitRef {
        task: task.id,
        unit: 0,
    };
    store.submit(task, None).await.unwrap();
    store
        .claim(unit, worker)
        .await
        .unwrap()
        .expect("the unit is free")
}

fn flush(claim: &Claim, count: u32, end: UnitEnd) -> UnitFlush {
    let trial = |number| EndedTrial {
        number,
        point: point(),
        outcome: Outcome::Completed(Evaluation {
            values: vec![0.5],
            ..Evaluation::default()
        }),
        reports: None,
        duration_ms: 0.1,
        window: None,
    };
    UnitFlush {
        lease: claim.lease,
        recorded_before: claim.recorded,
        trials: (claim.first..claim.first + count).map(trial).collect(),
        steps: 0,
        end,
        result: None,
        why: None,
    }
}

#[tokio::test]
async fn a_second_opening_of_the_file_is_refused_with_its_name_and_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trials.db");
    let first = SqliteStore::open(&path, Timing::default()).unwrap();
    let refused = SqliteStore::open(&path, Timing::default())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("trials.db is in use by another process"),
        "{refused}"
    );
    assert!(refused.contains("name another file"), "{refused}");
    first.writable().await.unwrap();
    drop(first);
    // The next one waits for the thread of the first to let go.
    SqliteStore::open(&path, Timing::default())
        .unwrap()
        .writable()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(
        &path,
        "not a database at all, but long enough to have a header".repeat(9),
    )
    .unwrap();
    let refused = SqliteStore::open(&path, Timing::default())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("notes.txt is not a SQLite database"),
        "{refused}"
    );
    let nowhere = folder.path().join("no/such/folder.db");
    let refused = SqliteStore::open(nowhere, Timing::default())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("folder.db"), "{refused}");
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_and_no_lease_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trials.db");
    let store = SqliteStore::open(&path, Timing::default()).unwrap();
    let worker = WorkerId(Uuid::now_v7());
    let card = WorkerCard {
        id: worker,
        name: "host:1".to_owned(),
        slots: 2,
        pool: "default".to_owned(),
        strategies: vec!["sphere".to_owned()],
        version: "0.1.0".to_owned(),
        speaks: None,
    };
    store.announce(&card).await.unwrap();
    let claim = claimed(&store, 10, worker).await;
    let id = claim.lease.unit.task;
    store
        .record(id, &[flush(&claim, 3, UnitEnd::Keep)])
        .await
        .unwrap();
    let running = RunningTrial {
        number: 3,
        unit: 0,
        point: point(),
        crashes: 0,
    };
    store.start_trial(claim.lease, &running).await.unwrap();
    drop(store);

    let store = SqliteStore::open(&path, Timing::default()).unwrap();
    assert_eq!(
        store.take_due("default").await.unwrap().len(),
        1,
        "it is due at once"
    );
    let renewed = store.renew(worker, &[claim.lease]).await.unwrap();
    assert_eq!(renewed, vec![LeaseOutcome::Lost]);
    let again = store
        .claim(claim.lease.unit, worker)
        .await
        .unwrap()
        .expect("it is queued");
    assert_eq!((again.first, again.count, again.recorded), (3, 7, 3));
    assert_eq!(
        (again.crashes, again.announced[0].crashes),
        (0, 0),
        "nothing is charged"
    );
    assert_eq!(again.announced[0].number, 3);
    assert_eq!(store.task(id).await.unwrap().unwrap().ledger.completed, 3);
    assert_eq!(store.verify().await.unwrap(), vec![]);
}

#[tokio::test]
async fn a_restart_makes_the_workers_of_before_leave() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trials.db");
    let store = SqliteStore::open(&path, Timing::default()).unwrap();
    let card = WorkerCard {
        id: WorkerId(Uuid::now_v7()),
        name: "host:1".to_owned(),
        slots: 2,
        pool: "default".to_owned(),
        strategies: vec![],
        version: "0.1.0".to_owned(),
        speaks: None,
    };
    store.announce(&card).await.unwrap();
    assert!(store.workers().await.unwrap()[0].live);
    drop(store);
    let store = SqliteStore::open(&path, Timing::default()).unwrap();
    assert!(!store.workers().await.unwrap()[0].live);
}

#[tokio::test]
async fn a_task_that_was_ending_when_the_process_died_has_ended_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trials.db");
    let store = SqliteStore::open(&path, Timing::default()).unwrap();
    let claim = claimed(&store, 10, WorkerId(Uuid::now_v7())).await;
    let id = claim.lease.unit.task;
    store.stop(id, StopReason::Cancelled).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path, Timing::default()).unwrap();
    let ledger = store.task(id).await.unwrap().unwrap().ledger;
    assert_eq!((ledger.state, ledger.open_units), (TaskState::Cancelled, 0));
    let late = store
        .record(id, &[flush(&claim, 1, UnitEnd::Close)])
        .await
        .unwrap();
    assert_eq!(late.written, vec![Written::Fenced]);
    assert_eq!(store.verify().await.unwrap(), vec![]);
}

#[tokio::test]
async fn an_operation_whose_caller_gave_up_is_done_all_the_same() {
    let store = SqliteStore::open_in_memory(Timing::default()).unwrap();
    let task = task(10);
    let id = task.id;
    {
        let mut submit = std::pin::pin!(store.submit(task, None));
        // Polled once: it is sent. Then the caller leaves.
        let once = std::future::poll_fn(|context| {
            let _pending = submit.as_mut().poll(context);
            std::task::Poll::Ready(())
        });
        once.await;
    }
    assert!(store.task(id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_thousand_trials_are_one_flush() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trials.db");
    let store = SqliteStore::open(&path, Timing::default()).unwrap();
    let mut claim = claimed(&store, 10_000, WorkerId(Uuid::now_v7())).await;
    let id = claim.lease.unit.task;
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let flushes = [flush(&claim, 1_000, UnitEnd::Keep)];
        let began = Instant::now();
        let answer = store.record(id, &flushes).await.unwrap();
        fastest = fastest.min(began.elapsed());
        assert_eq!(answer.written, vec![Written::Recorded]);
        (claim.first, claim.recorded) = (claim.first + 1_000, claim.recorded + 1_000);
    }
    #[expect(clippy::print_stdout, reason = "a measurement, seen with --nocapture")]
    {
        println!("1,000 trials in {fastest:?}");
    }
    assert_eq!(
        store.task(id).await.unwrap().unwrap().ledger.completed,
        10_000
    );
    assert_eq!(store.verify().await.unwrap(), vec![]);
}
