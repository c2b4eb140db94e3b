//! The searches of the demo: submitted to the API's own routes (in this process, without a socket),
//! relayed, queued and run by a worker.

use super::Plan;
use crate::example;
use crate::failure::Failure;
use crate::figures;
use crate::progress::{Progress, Standing};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use trialmill_api::AppState;
use trialmill_backtest::bars::BarSeries;
use trialmill_broker::{Broker, InProcessBroker};
use trialmill_common::state::{TaskId, TaskState};
use trialmill_common::worker::DEFAULT_POOL;
use trialmill_relay::Pace;
use trialmill_store::rows::{TaskRow, TrialRow};
use trialmill_store::{Store, Timing};
use trialmill_worker::{RunningWorker, WorkerOptions};

/// Routes of optimizations.
const TASKS: &str = "/api/v1/optimization/tasks";
/// Largest answer read: the request and the best trial are a few kB.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Messages the in-process queue holds; what does not fit stays due in the database.
pub const QUEUE_BOUND: usize = 1024;
/// A lost wake-up costs this much.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a search gave.
pub struct Found {
    /// The database, still open.
    pub store: Arc<dyn Store>,
    /// The task as it is stored.
    pub task: TaskRow,
    /// Its best trial as it is stored.
    pub best: TrialRow,
    /// The answer of the API: `GET .../status`.
    pub status: Value,
    /// The answer of the API to `GET` of the task: its result.
    pub result: Value,
    /// From the submission to the last recorded trial.
    pub elapsed: Duration,
}

/// Everything that a search goes through, in this process.
pub struct Mill {
    store: Arc<dyn Store>,
    worker: RunningWorker,
    api: Router,
    relay: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Mill {
    /// Starts worker, relay and routes.
    ///
    /// # Errors
    /// When the worker cannot start.
    pub async fn start(store: Arc<dyn Store>, plan: &Plan) -> Result<Self, Failure> {
        let broker: Arc<dyn Broker> = Arc::new(InProcessBroker::new(QUEUE_BOUND));
        let options = WorkerOptions {
            luck: plan.luck,
            ..WorkerOptions::new(plan.slots)
        };
        let worker = RunningWorker::start(Arc::clone(&store), Arc::clone(&broker), options)
            .await
            .map_err(|error| Failure::reason(error.to_string()))?;
        let shutdown = CancellationToken::new();
        let relay = tokio::spawn(trialmill_relay::run(
            Arc::clone(&store),
            Arc::clone(&broker),
            DEFAULT_POOL.to_owned(),
            Pace::for_lease(Timing::default().lease),
            shutdown.clone(),
        ));
        let api = trialmill_api::router(AppState::new(Arc::clone(&store), broker).trusting());
        Ok(Self {
            store,
            worker,
            api,
            relay,
            shutdown,
        })
    }

    /// Stores bars; later searches are on these.
    ///
    /// # Errors
    /// When the database does not take them.
    pub async fn stock(&self, bars: &[BarSeries], seed: u64) -> Result<(), Failure> {
        self.store.put_series(bars, &example::source(seed)).await?;
        Ok(())
    }

    /// Runs a search to its end.
    ///
    /// # Errors
    /// When it is refused, does not complete, or the worker cannot go on.
    pub async fn search(&mut self, request: &Value) -> Result<Found, Failure> {
        let begin = Instant::now();
        let request = Some(request.to_string());
        let accepted = call(&self.api, Method::POST, TASKS, request).await?;
        let id = accepted["task_id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .map(TaskId);
        let id =
            id.ok_or_else(|| Failure::reason(format!("the API accepted no task: {accepted}")))?;
        let (task, elapsed) = tokio::select! {
            ended = ended(&*self.store, id, begin) => ended?,
            fault = self.worker.failed() => return Err(Failure::reason(fault.to_string())),
        };
        if task.ledger.state != TaskState::Completed {
            let error = task
                .error
                .as_ref()
                .map_or("without a reason", |error| error.message.as_str());
            let state = task.ledger.state;
            return Err(Failure::reason(format!(
                "the search ended as {state}: {error}"
            )));
        }
        let number = task.ledger.best.map(|best| best.number).ok_or_else(|| {
            Failure::reason("no trial was feasible: none of the rules tried made a trade")
        })?;
        let best = self.store.trial(id, number).await?;
        let best = best.ok_or_else(|| Failure::reason(format!("trial {number} is not stored")))?;
        let path = format!("{TASKS}/{id}");
        let status = call(&self.api, Method::GET, &format!("{path}/status"), None).await?;
        let mut answer = call(&self.api, Method::GET, &path, None).await?;
        Ok(Found {
            store: Arc::clone(&self.store),
            task,
            best,
            status,
            result: answer["result"].take(),
            elapsed,
        })
    }

    /// Ends it all; nothing of a search is left running.
    pub async fn drain(self) {
        self.worker.drain().await;
        self.shutdown.cancel();
        // It ends because it was told to; a panic of it would have stopped the search before.
        drop(self.relay.await);
    }
}

/// One request to the routes of the API.
async fn call(
    api: &Router,
    method: Method,
    path: &str,
    document: Option<String>,
) -> Result<Value, Failure> {
    let body = document.map_or_else(Body::empty, Body::from);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .expect("the parts of the request are sound");
    let Ok(response) = api.clone().oneshot(request).await;
    let status = response.status();
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::reason(format!(
            "{path}: the answer of the API cannot be read: {error}"
        ))
    };
    let bytes = to_bytes(response.into_body(), MAX_ANSWER_BYTES)
        .await
        .map_err(|e| unreadable(&e))?;
    let answer: Value = serde_json::from_slice(&bytes).map_err(|e| unreadable(&e))?;
    if !status.is_success() {
        let detail = figures::value(&answer["detail"]);
        return Err(Failure::reason(format!("{path}: {status}: {detail}")));
    }
    Ok(answer)
}

/// Draws the progress until the task has ended; the task, and when its last trial was recorded.
async fn ended(
    store: &dyn Store,
    id: TaskId,
    begin: Instant,
) -> Result<(TaskRow, Duration), Failure> {
    let mut searched = None;
    let progress = Progress::new();
    let mut changed = store.changed();
    loop {
        changed.mark_unchanged();
        let task = store.task(id).await?;
        let task = task.ok_or_else(|| Failure::reason(format!("task {id} is not stored")))?;
        let over = task.ledger.searched.is_some() || task.ledger.state.is_terminal();
        if over && searched.is_none() {
            searched = Some(begin.elapsed());
        }
        let elapsed = searched.unwrap_or_else(|| begin.elapsed());
        progress.show(&standing(&task, elapsed));
        if task.ledger.state.is_terminal() {
            progress.clear();
            return Ok((task, elapsed));
        }
        // Whichever comes first; that nothing changed in time is as good a reason to look.
        drop(timeout(LOOK_AGAIN, changed.changed()).await);
    }
}

fn standing(task: &TaskRow, elapsed: Duration) -> Standing {
    let (ended, planned) = (task.ledger.ended(), task.ledger.planned);
    let rate = (ended > 0).then(|| f64::from(ended) / elapsed.as_secs_f64());
    Standing {
        ended: u64::from(ended),
        planned: u64::from(planned),
        rate,
        best: task
            .ledger
            .best
            .map(|best| (u64::from(best.number), best.value)),
        leads: None,
        left: rate.map(|rate| f64::from(planned.saturating_sub(ended)) / rate),
        remark: task
            .assessed_percent
            .map(|percent| format!("assessing, {percent} %")),
    }
}
