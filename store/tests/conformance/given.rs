//! What the tests start from: tasks, workers, trials, and time in the tests' own hands.

use crate::database::Database;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use trialmill_common::protocol::StopRules;
use trialmill_common::protocol::Tally;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::{Direction, TaskId, TaskKind, WorkerId};
use trialmill_common::trial::{EndedTrial, Evaluation, Failure, FailureKind, Outcome};
use trialmill_common::worker::WorkerCard;
use trialmill_search::{ParamValue, Point};
use trialmill_store::rows::{
    Claim, HeldLease, LeaseOutcome, NewTask, Priority, Snapshot, Submitted, TaskRow, TrialFilter,
    TrialRow, UnitRef,
};
use trialmill_store::{Recorded, Store, Timing, UnitFlush};
use uuid::Uuid;

/// Slots of the worker that every test has.
pub const SLOTS: u32 = 3;

/// A database with one worker, and two handles: for the one a lease lasts an hour, for the other
/// it is over at once. So tests decide when a lease expires, and never wait.
pub struct Given {
    pub database: Arc<Database>,
    pub store: Arc<dyn Store>,
    pub over: Arc<dyn Store>,
    pub worker: WorkerId,
}

/// Leases of an hour.
pub fn hour() -> Timing {
    Timing {
        lease: Duration::from_secs(3600),
        ..Timing::default()
    }
}

impl Given {
    pub async fn new(database: Arc<Database>) -> Self {
        let store = database.store(hour()).await;
        let over = database
            .store(Timing {
                lease: Duration::ZERO,
                ..Timing::default()
            })
            .await;
        let worker = WorkerId(Uuid::now_v7());
        store
            .announce(&card(worker, SLOTS, "default"))
            .await
            .unwrap();
        Self {
            database,
            store,
            over,
            worker,
        }
    }

    pub async fn submit(&self, task: NewTask) -> TaskId {
        match self.store.submit(task, None).await.unwrap() {
            Submitted::Created(row) => row.id,
            other => panic!("a new task was answered with {other:?}"),
        }
    }

    pub async fn task(&self, id: TaskId) -> TaskRow {
        self.store
            .task(id)
            .await
            .unwrap()
            .expect("the task is there")
    }

    pub async fn trials(&self, id: TaskId) -> Vec<TrialRow> {
        let filter = TrialFilter {
            limit: 1_000,
            ..TrialFilter::default()
        };
        self.store.trials(id, filter).await.unwrap()
    }

    pub async fn try_claim(&self, task: TaskId, unit: u32) -> Option<Claim> {
        self.store
            .claim(UnitRef { task, unit }, self.worker)
            .await
            .unwrap()
    }

    pub async fn claim(&self, task: TaskId, unit: u32) -> Claim {
        self.try_claim(task, unit).await.expect("the unit is free")
    }

    /// The lease is over from now on, until it is renewed.
    pub async fn expire(&self, lease: HeldLease) {
        // In nobody's name: a worker that renews has come back.
        let nobody = WorkerId(Uuid::now_v7());
        let answer = self.over.renew(nobody, &[lease]).await.unwrap();
        assert!(
            matches!(answer[0], LeaseOutcome::Held(_)),
            "only a held lease can expire"
        );
    }

    pub async fn record(&self, flush: UnitFlush) -> Recorded {
        self.store
            .record(flush.lease.unit.task, &[flush])
            .await
            .unwrap()
    }

    /// Nothing is wrong in the database.
    pub async fn verify(&self) {
        assert_eq!(self.store.verify().await.unwrap(), vec![]);
    }
}

pub fn card(id: WorkerId, slots: u32, pool: &str) -> WorkerCard {
    WorkerCard {
        id,
        name: format!("host:{slots}"),
        slots,
        pool: pool.to_owned(),
        strategies: vec!["sphere".to_owned()],
        version: "0.1.0".to_owned(),
        speaks: None,
    }
}

pub fn task(n_trials: u32, parallelism: Option<u32>) -> NewTask {
    NewTask {
        id: TaskId(Uuid::now_v7()),
        kind: TaskKind::HyperparameterOptimization,
        name: "a sphere".to_owned(),
        strategy: "sphere".to_owned(),
        stock_codes: vec!["SYN00.SZ".to_owned()],
        pool: "default".to_owned(),
        request: json!({"task_name": "a sphere"}),
        spec: json!({"n_trials": n_trials, "low": 0.1}),
        resolved: json!({"sampler": "random", "reproducible": true}),
        warnings: vec![],
        seed: 9_007_199_254_740_991,
        n_trials,
        planned: n_trials,
        parallelism,
        adaptive: false,
        direction: Direction::Minimize,
        timeout: None,
        priority: Priority::Normal,
        not_before: None,
        snapshot: Snapshot::default(),
        engine: "e1".to_owned(),
        submitted_by: None,
        rules: StopRules::default(),
        windows: Vec::new(),
        assessed: false,
        by_client: false,
        origin: None,
    }
}

pub fn point(number: u32) -> Point {
    Point::new(vec![
        ParamValue::Float(f64::from(number) / 8.0),
        ParamValue::Int(-3),
    ])
}

/// The violation of every infeasible trial.
pub const VIOLATION: f64 = 0.1;

/// A trial that counts as `tally`.
pub fn trial(number: u32, tally: Tally) -> EndedTrial {
    let evaluation = |values: Vec<f64>, infeasible: Option<&str>| Evaluation {
        values,
        metrics: vec![
            ("sharpe_ratio".to_owned(), Ok(1.25)),
            ("calmar_ratio".to_owned(), Err("no drawdown".to_owned())),
        ],
        infeasible: infeasible.map(ToOwned::to_owned),
        violation: infeasible.map(|_| VIOLATION),
        stats: Some(vec![1, 2, 3]),
    };
    let outcome = match tally {
        Tally::Values(mut values) => {
            // Of a task with one objective the second means nothing.
            values.resize(values.len().max(2), 0.5);
            Outcome::Completed(evaluation(values, None))
        }
        Tally::Infeasible => Outcome::Completed(evaluation(vec![], Some("no trades"))),
        Tally::Pruned => Outcome::Pruned(evaluation(vec![0.25], None)),
        Tally::Failed => Outcome::Failed(failure()),
    };
    EndedTrial {
        number,
        point: point(number),
        outcome,
        reports: None,
        duration_ms: 1.5,
        window: Some(2),
    }
}

pub fn failure() -> Failure {
    Failure {
        kind: FailureKind::Panic,
        message: "index out of bounds".to_owned(),
        causes: vec!["the slice has 3 rows".to_owned()],
        hint: "check the period".to_owned(),
        worker: "host:1/0".to_owned(),
    }
}

/// A flush of `count` trials with the value 1 each, following the recorded ones of a claim.
pub fn flush(claim: &Claim, count: u32, end: UnitEnd) -> UnitFlush {
    let trials = claim.first..claim.first + count;
    UnitFlush {
        lease: claim.lease,
        recorded_before: claim.recorded,
        trials: trials
            .map(|number| trial(number, Tally::value(1.0)))
            .collect(),
        steps: 0,
        end,
        result: None,
        why: None,
    }
}
