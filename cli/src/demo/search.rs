//! The search of the demo: submitted to the API's own routes (in this process, without a socket),
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
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use trialmill_api::AppState;
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

/// What the search gave.
pub struct Found {
    /// The database, still open.
    pub store: Arc<dyn Store>,
    /// The task as it is stored.
    pub task: TaskRow,
    /// Its best trial as it is stored.
    pub best: TrialRow,
    /// The answer of the API: `GET .../status`.
    pub status: Value,
    /// From the submission to the last recorded trial.
    pub elapsed: Duration,
}

/// Runs the search to its end.
///
/// # Errors
/// When it is refused, does not complete, or the worker cannot go on.
pub async fn run(store: Arc<dyn Store>, plan: &Plan) -> Result<Found, Failure> {
    let (first, last) = (example::first_day(), example::last_day());
    let series = example::invent(example::SERIES, first, last, plan.price_seed)?;
    store
        .put_series(&series, &example::source(plan.price_seed))
        .await?;
    let request = example::demo_request(plan.trials, plan.search_seed).to_string();

    let broker: Arc<dyn Broker> = Arc::new(InProcessBroker::new(QUEUE_BOUND));
    let options = WorkerOptions::new(plan.slots);
    let mut worker = RunningWorker::start(Arc::clone(&store), Arc::clone(&broker), options)
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

    let begin = Instant::now();
    let accepted = call(&api, Method::POST, TASKS, Some(request)).await?;
    let id = accepted["task_id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .map(TaskId);
    let id = id.ok_or_else(|| Failure::reason(format!("the API accepted no task: {accepted}")))?;
    let task = tokio::select! {
        task = ended(&*store, id, begin) => task?,
        fault = worker.failed() => return Err(Failure::reason(fault.to_string())),
    };
    let elapsed = begin.elapsed();
    worker.drain().await;
    shutdown.cancel();
    // It ends because it was told to; a panic of it would have stopped the search before.
    drop(relay.await);

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
    let best = store.trial(id, number).await?;
    let best = best.ok_or_else(|| Failure::reason(format!("trial {number} is not stored")))?;
    let status = call(&api, Method::GET, &format!("{TASKS}/{id}/status"), None).await?;
    Ok(Found {
        store,
        task,
        best,
        status,
        elapsed,
    })
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

/// Draws the progress until the task has ended.
async fn ended(store: &dyn Store, id: TaskId, begin: Instant) -> Result<TaskRow, Failure> {
    let progress = Progress::new();
    let mut changed = store.changed();
    loop {
        changed.mark_unchanged();
        let task = store.task(id).await?;
        let task = task.ok_or_else(|| Failure::reason(format!("task {id} is not stored")))?;
        progress.show(&standing(&task, begin.elapsed()));
        if task.ledger.state.is_terminal() {
            progress.clear();
            return Ok(task);
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
        left: rate.map(|rate| f64::from(planned.saturating_sub(ended)) / rate),
        remark: None,
    }
}
