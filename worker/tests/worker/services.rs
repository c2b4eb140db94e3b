//! The binary with PostgreSQL and RabbitMQ: `DATABASE_URL` and `AMQP_URL` name them, and without
//! them the test says so and does nothing.

use crate::support::{PATIENCE, float, function, new_task, with_fixed};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::time::Duration;
use trialmill_common::state::{TaskId, TaskState};
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::rows::{Submitted, TaskRow};
use trialmill_store::{Store, Timing};

/// A started binary; killed if the test fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(store: &PgStore, id: TaskId, wanted: impl Fn(&TaskRow) -> bool) -> TaskRow {
    let mut changed = store.changed();
    let waiting = async {
        loop {
            let row = store.task(id).await.unwrap().unwrap();
            if wanted(&row) {
                return row;
            }
            // A wake-up may be missed while the listening session reconnects.
            let _ = tokio::time::timeout(Duration::from_millis(200), changed.changed()).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the task gets on")
}

async fn submit(store: &PgStore, spec: &trialmill_common::spec::TaskSpec, pool: &str) -> TaskId {
    match store
        .submit(new_task(spec, BTreeMap::new(), pool), None)
        .await
        .unwrap()
    {
        Submitted::Created(row) => row.id,
        other => panic!("a new task is created, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_runs_a_task_tells_its_health_and_leaves_on_sigterm() {
    let address = |name: &str| std::env::var_os(name).and_then(|url| url.into_string().ok());
    let (Some(database), Some(amqp)) = (address("DATABASE_URL"), address("AMQP_URL")) else {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: DATABASE_URL and AMQP_URL are not both set");
        }
        return;
    };
    PgStore::migrate(&database).await.unwrap();
    let store = PgStore::connect(&database, PgOptions::default(), Timing::default())
        .await
        .unwrap();
    let pool = format!("binary-{}", uuid::Uuid::new_v4().simple());
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_trialmill-worker");
    let status = folder.path().join("status");
    let child = Command::new(program)
        .env("DATABASE_URL", &database)
        .env("AMQP_URL", &amqp)
        .env("TRIALMILL_POOL", &pool)
        .env("TRIALMILL_SLOTS", "2")
        .env("TRIALMILL_FLUSH_MS", "50")
        .env("TRIALMILL_STATUS_FILE", &status)
        .spawn()
        .unwrap();
    let mut worker = Process(child);

    let sphere = function(
        "sphere",
        3000,
        vec![float("x", -5.0, 5.0), float("y", 0.0, 1.0)],
    );
    let id = submit(&store, &sphere, &pool).await;
    let row = until(&store, id, |row| row.ledger.state.is_terminal()).await;
    assert_eq!(
        (row.ledger.state, row.ledger.completed),
        (TaskState::Completed, 3000)
    );
    let health = Command::new(program)
        .arg("healthcheck")
        .env("TRIALMILL_STATUS_FILE", &status)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&health.stderr).into_owned();
    assert!(
        health.status.success() && said.contains("with 2 slots is alive"),
        "{said}"
    );

    let nap = with_fixed(
        function("sleep", 200, vec![float("x", 0.0, 1.0)]),
        "seconds",
        0.2,
    );
    let id = submit(&store, &nap, &pool).await;
    until(&store, id, |row| row.ledger.ended() > 0).await;
    let pid = Pid::from_child(&worker.0);
    kill_process(pid, Signal::TERM).unwrap();
    let exit = worker.0.wait().unwrap();
    assert!(exit.success(), "{exit}");
    let row = store.task(id).await.unwrap().unwrap();
    assert_eq!(
        (row.ledger.state, row.leased_units),
        (TaskState::Running, 0)
    );
    assert_eq!(
        store.unit_summary(id).await.unwrap().crashes,
        0,
        "nothing is charged"
    );
    assert!(!status.exists(), "the status file is removed");
    store
        .stop(id, trialmill_common::state::StopReason::Cancelled)
        .await
        .unwrap();
}
