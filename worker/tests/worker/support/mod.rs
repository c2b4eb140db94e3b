//! One mill in this process: SQLite in memory, the in-process queue, the relay, and workers.

pub mod doubling;
pub mod flaky;

use flaky::Flaky;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trialmill_broker::{Broker, InProcessBroker};
use trialmill_common::objective::FUNCTION_METRIC;
use trialmill_common::protocol::StopRules;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::spec::{BacktestSettings, Scope, Target, TaskSpec};
use trialmill_common::state::{Direction, Priority, TaskId, TaskKind, WorkerId};
use trialmill_relay::Pace;
use trialmill_search::{Choice, Domain, Method, Space, Study};
use trialmill_store::rows::{
    HeldLease, NewTask, Snapshot, Submitted, TaskRow, TrialFilter, TrialRow, UnitRef,
};
use trialmill_store::sqlite::SqliteStore;
use trialmill_store::{Store, Timing, UnitFlush};
use trialmill_worker::{RunningWorker, WorkerOptions};
use uuid::Uuid;

/// A test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Everything but the workers.
pub struct Mill {
    pub store: Arc<SqliteStore>,
    /// The store as the workers reach it.
    pub line: Arc<Flaky>,
    pub broker: Arc<InProcessBroker>,
    relay: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Mill {
    /// A mill whose relay waits for [`Mill::relay`].
    pub fn new() -> Self {
        let store = Arc::new(SqliteStore::open_in_memory(Timing::default()).unwrap());
        let line = Arc::new(Flaky::new(Arc::clone(&store)));
        Self {
            store,
            line,
            broker: Arc::new(InProcessBroker::new(100_000)),
            relay: None,
        }
    }

    /// A mill that relays into its own queue.
    pub fn relaying() -> Self {
        let mut mill = Self::new();
        let broker: Arc<dyn Broker> = Arc::clone(&mill.broker) as _;
        mill.relay(broker);
        mill
    }

    pub fn relay(&mut self, broker: Arc<dyn Broker>) {
        self.relay_at(broker, Pace::for_lease(Duration::from_secs(30)));
    }

    pub fn relay_at(&mut self, broker: Arc<dyn Broker>, pace: Pace) {
        let stop = CancellationToken::new();
        let store: Arc<dyn Store> = Arc::clone(&self.store) as _;
        let pool = "default".to_owned();
        let relay = tokio::spawn(trialmill_relay::run(
            store,
            broker,
            pool,
            pace,
            stop.clone(),
        ));
        self.relay = Some((stop, relay));
    }

    pub async fn worker(&self, options: WorkerOptions) -> RunningWorker {
        let store: Arc<dyn Store> = Arc::clone(&self.line) as _;
        RunningWorker::start(store, Arc::clone(&self.broker) as _, options)
            .await
            .unwrap()
    }

    pub async fn submit(&self, spec: &TaskSpec, snapshot: impl Into<Snapshot>) -> TaskId {
        let task = new_task(spec, snapshot, "default");
        match self.store.submit(task, None).await.unwrap() {
            Submitted::Created(row) => row.id,
            other => panic!("a new task is created, not {other:?}"),
        }
    }

    /// Waits until the task is as wanted, woken by the store's commits.
    pub async fn until(&self, id: TaskId, wanted: impl Fn(&TaskRow) -> bool) -> TaskRow {
        let mut changed = self.store.changed();
        let waiting = async {
            loop {
                changed.mark_unchanged();
                let row = self.store.task(id).await.unwrap().unwrap();
                if wanted(&row) {
                    return row;
                }
                // A unit handed back without results is no news of its task, so nothing wakes us.
                let woken = tokio::time::timeout(Duration::from_millis(100), changed.changed());
                if let Ok(woken) = woken.await {
                    woken.unwrap();
                }
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(row) => row,
            Err(_) => panic!("waited in vain: {:?}", self.store.task(id).await),
        }
    }

    pub async fn until_ended(&self, id: TaskId) -> TaskRow {
        self.until(id, |row| row.ledger.state.is_terminal()).await
    }

    /// Waits until a slow trial is announced.
    pub async fn until_announced(&self) {
        let mut announced = self.line.announced.subscribe();
        let some = announced.wait_for(|count| *count > 0);
        tokio::time::timeout(PATIENCE, some)
            .await
            .expect("a trial is announced")
            .unwrap();
    }

    /// Queues every unit of the task again as one that a worker was lost with: its trials run in
    /// children from the start.
    pub async fn isolate(&self, id: TaskId) {
        let worker = WorkerId(Uuid::new_v4());
        for due in self.store.take_due("default").await.unwrap() {
            let claim = self.store.claim(due.unit, worker).await.unwrap().unwrap();
            let flush = UnitFlush {
                lease: claim.lease,
                recorded_before: 0,
                trials: vec![],
                steps: 0,
                end: UnitEnd::Isolate,
                result: None,
                why: None,
            };
            self.store.record(id, &[flush]).await.unwrap();
        }
    }

    /// Every lease of a task runs out and is reaped, as if nobody had renewed it for long.
    pub async fn expire_all(&self, id: TaskId, worker: WorkerId) {
        let impatient = self.store.with_timing(Timing {
            lease: Duration::ZERO,
            ..Timing::default()
        });
        let row = self.store.task(id).await.unwrap().unwrap();
        let units = (0..row.ledger.next_unit).map(|unit| UnitRef { task: id, unit });
        let tokens = |unit| (1..=20).map(move |token| HeldLease { unit, token });
        let leases: Vec<HeldLease> = units.flat_map(tokens).collect();
        impatient.renew(worker, &leases).await.unwrap();
        impatient.reap().await.unwrap();
    }

    pub async fn trials(&self, id: TaskId) -> Vec<TrialRow> {
        let mut trials: Vec<TrialRow> = Vec::new();
        loop {
            let after = trials.last().map(|t| t.number);
            let filter = TrialFilter {
                after,
                end: None,
                limit: 1000,
            };
            let page = self.store.trials(id, filter).await.unwrap();
            if page.is_empty() {
                return trials;
            }
            trials.extend(page);
        }
    }

    /// What must be the same whoever ran the trials.
    pub async fn results(&self, id: TaskId) -> Vec<(u32, Vec<u8>, Vec<u64>, Option<String>)> {
        let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect();
        let trials = self.trials(id).await.into_iter();
        trials
            .map(|t| (t.number, t.params, bits(t.values), t.infeasible))
            .collect()
    }

    /// Nothing is wrong in the database, and the numbers are dense.
    pub async fn assert_sound(&self, id: TaskId) {
        let faults = self.store.verify().await.unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        let numbers: Vec<u32> = self.trials(id).await.iter().map(|t| t.number).collect();
        let dense: Vec<u32> = (0..u32::try_from(numbers.len()).unwrap()).collect();
        assert_eq!(numbers, dense);
    }
}

impl Drop for Mill {
    fn drop(&mut self) {
        if let Some((stop, _)) = &self.relay {
            stop.cancel();
        }
    }
}

/// The task as an API would submit it.
pub fn new_task(spec: &TaskSpec, snapshot: impl Into<Snapshot>, pool: &str) -> NewTask {
    let study = Study::new(spec.space.clone(), spec.method, spec.seed).unwrap();
    NewTask {
        id: TaskId(Uuid::now_v7()),
        kind: TaskKind::HyperparameterOptimization,
        name: spec.task_name.clone(),
        strategy: spec.strategy_name.clone(),
        stock_codes: spec.stock_codes.clone(),
        pool: pool.to_owned(),
        request: serde_json::json!({}),
        spec: spec.to_json(),
        resolved: serde_json::json!({}),
        warnings: vec![],
        seed: spec.seed,
        n_trials: spec.n_trials,
        planned: spec
            .plan()
            .map_or_else(|| spec.planned(study.size_limit()), |plan| plan.n_trials()),
        parallelism: spec.parallelism,
        adaptive: spec.looks_back(),
        direction: spec.objectives[0].direction,
        timeout: None,
        priority: Priority::Normal,
        not_before: None,
        snapshot: snapshot.into(),
        engine: "test".to_owned(),
        submitted_by: None,
        rules: StopRules::default(),
        windows: Vec::new(),
        assessed: false,
        by_client: false,
        origin: None,
    }
}

/// Options that make a test quick.
pub fn options(slots: u32) -> WorkerOptions {
    WorkerOptions {
        flush: Duration::from_millis(20),
        child_program: Some(env!("CARGO_BIN_EXE_trialmill-worker").into()),
        ..WorkerOptions::new(slots)
    }
}

/// A float parameter.
pub fn float(name: &str, low: f64, high: f64) -> (String, Domain) {
    (
        name.to_owned(),
        Domain::Float {
            low,
            high,
            step: None,
            log: false,
        },
    )
}

/// An integer parameter.
pub fn int(name: &str, low: i64, high: i64) -> (String, Domain) {
    (
        name.to_owned(),
        Domain::Int {
            low,
            high,
            step: 1,
            log: false,
        },
    )
}

/// A task that minimizes a test function.
pub fn function(name: &str, n_trials: u32, space: Vec<(String, Domain)>) -> TaskSpec {
    let day = |text: &str| text.parse().unwrap();
    TaskSpec {
        task_name: format!("a search over {name}"),
        strategy_name: name.to_owned(),
        stock_codes: vec![],
        start_date: day("2020-01-01"),
        end_date: day("2022-12-31"),
        space: Space::new(space).unwrap(),
        fixed: BTreeMap::new(),
        first_points: vec![],
        method: Method::Random,
        seed: 42,
        n_trials,
        parallelism: None,
        timeout: None,
        trial_timeout: 300.0,
        objectives: vec![Target::new(FUNCTION_METRIC, Direction::Minimize)],
        result_constraints: vec![],
        backtest: BacktestSettings::default(),
        pairs: BTreeMap::new(),
        stop: StopRules::default(),
        copies: false,
        validation: None,
        scope: Scope::default(),
        pruner: trialmill_search::pruner::PrunerConfig::None,
        prior: Vec::new(),
    }
}

/// The same task with one fixed parameter more.
pub fn with_fixed(mut spec: TaskSpec, name: &str, value: f64) -> TaskSpec {
    spec.fixed.insert(name.to_owned(), Choice::Float(value));
    spec
}
