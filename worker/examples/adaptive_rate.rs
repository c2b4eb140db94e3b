//! How fast a search that looks at its own results goes: TPE on a sphere of 5 floats, by several
//! workers in this process, on the PostgreSQL of `DATABASE_URL` (whose schema must be current).
//!
//! `cargo run --release -p trialmill-worker --example adaptive_rate -- [TRIALS] [PARALLELISM|null] [WORKERS] [SLOTS] [unseen]`
//!
//! With `unseen` every trial is announced before it starts, and it is counted, as often as the database answers,
//! how many are started and not recorded: what the sampler is blind to. It is slower then.

#![expect(clippy::print_stdout, reason = "figures are for the person who asked")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use trialmill_broker::{Broker, InProcessBroker};
use trialmill_common::objective::FUNCTION_METRIC;
use trialmill_common::protocol::{StopRules, most_unseen};
use trialmill_common::spec::{BacktestSettings, MAX_TRIALS, Scope, Target, TaskSpec};
use trialmill_common::state::{Direction, Priority, TaskId, TaskKind};
use trialmill_relay::Pace;
use trialmill_search::{Domain, Method, Space};
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::rows::{NewTask, Snapshot};
use trialmill_store::{Store, Timing};
use trialmill_worker::{RunningWorker, WorkerOptions, child};
use uuid::Uuid;

fn spec(n_trials: u32, parallelism: Option<u32>) -> Result<TaskSpec, Box<dyn Error>> {
    let float = Domain::Float {
        low: -5.0,
        high: 5.0,
        step: None,
        log: false,
    };
    let parameters = (0..5).map(|i| (format!("x{i}"), float.clone()));
    Ok(TaskSpec {
        task_name: "adaptive rate".to_owned(),
        strategy_name: "sphere".to_owned(),
        stock_codes: vec![],
        start_date: "2020-01-01".parse()?,
        end_date: "2022-12-31".parse()?,
        space: Space::new(parameters).map_err(|faults| faults[0].to_string())?,
        fixed: BTreeMap::new(),
        first_points: vec![],
        method: Method::Tpe,
        seed: 42,
        n_trials,
        parallelism,
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
    })
}

fn task(spec: &TaskSpec, pool: &str) -> NewTask {
    NewTask {
        id: TaskId(Uuid::now_v7()),
        kind: TaskKind::HyperparameterOptimization,
        name: spec.task_name.clone(),
        strategy: spec.strategy_name.clone(),
        stock_codes: vec![],
        pool: pool.to_owned(),
        request: serde_json::json!({}),
        spec: spec.to_json(),
        resolved: serde_json::json!({}),
        warnings: vec![],
        seed: spec.seed,
        n_trials: spec.n_trials,
        planned: spec.n_trials,
        parallelism: spec.parallelism,
        adaptive: true,
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

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Some(code) = child::main_if_child() {
        return Ok(code);
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(measure())?;
    Ok(ExitCode::SUCCESS)
}

/// How many trials were seen to be started and not recorded.
#[derive(Default)]
struct Unseen {
    looks: u32,
    /// The most of them, and how many trials were recorded then.
    most: (usize, u32),
    /// The greatest part of what the bound allowed.
    nearest: f64,
    too_many: u32,
}

impl Unseen {
    async fn look(&mut self, store: &dyn Store, id: TaskId) -> Result<(), Box<dyn Error>> {
        let running = store.running_trials(id, 0..MAX_TRIALS).await?.len();
        // Read after it: what was recorded in between only raises the bound.
        let row = store.task(id).await?.ok_or("the task is there")?;
        let recorded = row.ledger.ended();
        let allowed = most_unseen(recorded);
        self.looks += 1;
        if running > self.most.0 {
            self.most = (running, recorded);
        }
        self.nearest = self.nearest.max(running as f64 / f64::from(allowed));
        self.too_many += u32::from(running > allowed as usize);
        Ok(())
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (most, recorded) = self.most;
        write!(
            f,
            "unseen: at most {most}, when {recorded} were recorded (the bound is {} then); at most {:.0} % of the \
             bound at any time; more than it in {} of {} looks",
            most_unseen(recorded),
            100.0 * self.nearest,
            self.too_many,
            self.looks
        )
    }
}

async fn measure() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u32| match arguments.get(place) {
        Some(text) => text.parse::<u32>(),
        None => Ok(default),
    };
    let n_trials = number(0, 10_000)?;
    let parallelism = match arguments.get(1).map(String::as_str) {
        None | Some("null") => None,
        Some(text) => Some(text.parse()?),
    };
    let (workers, slots) = (number(2, 2)?, number(3, 1)?);
    let counts = arguments.get(4).is_some_and(|word| word == "unseen");
    #[expect(clippy::disallowed_methods, reason = "a bench has no config.rs")]
    let url = std::env::var("DATABASE_URL")?;
    let pool = format!("adaptive-rate-{}", Uuid::new_v4().simple());
    let broker: Arc<dyn Broker> = Arc::new(InProcessBroker::new(10_000));
    let mut running = Vec::new();
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..workers {
        let options = PgOptions {
            pool_size: 2,
            ..PgOptions::default()
        };
        let store = PgStore::connect(&url, options, Timing::default()).await?;
        let store: Arc<dyn Store> = Arc::new(store);
        let options = WorkerOptions {
            pool: pool.clone(),
            slow_trial: match counts {
                // Every trial is announced, so that those started and not recorded can be counted.
                true => Duration::ZERO,
                false => WorkerOptions::new(slots).slow_trial,
            },
            ..WorkerOptions::new(slots)
        };
        let worker = RunningWorker::start(Arc::clone(&store), Arc::clone(&broker), options);
        running.push(worker.await?);
        stores.push(store);
    }
    let store = Arc::clone(stores.first().ok_or("at least one worker is needed")?);
    let stop = CancellationToken::new();
    let relay = tokio::spawn(trialmill_relay::run(
        Arc::clone(&store),
        broker,
        pool.clone(),
        Pace::for_lease(Duration::from_secs(30)),
        stop.clone(),
    ));
    let task = task(&spec(n_trials, parallelism)?, &pool);
    let id = task.id;
    let began = Instant::now();
    store.submit(task, None).await?;
    let mut told = 0;
    let mut unseen = Unseen::default();
    loop {
        if counts {
            unseen.look(store.as_ref(), id).await?;
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let row = store.task(id).await?.ok_or("the task is there")?;
        let ended = row.ledger.ended();
        let over = row.ledger.state.is_terminal();
        if over || ended >= told + n_trials / 10 {
            told = ended;
            let seconds = began.elapsed().as_secs_f64();
            let rate = f64::from(ended) / seconds;
            println!("{ended} trials in {seconds:.2} s, {rate:.0} trials/s");
        }
        if over {
            println!("best {:?}, {} events", row.ledger.best, row.ledger.seq);
            if counts {
                println!("{unseen}");
            }
            break;
        }
    }
    for worker in running {
        worker.drain().await;
    }
    stop.cancel();
    relay.await?;
    store.delete(id).await?;
    Ok(())
}
