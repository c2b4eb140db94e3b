//! Repeating an ended trial: a backtest of its parameters on the bars that its task pinned.

use super::submission::{ENGINE, Key, describe_answers, made_before, store, with_worker_warning};
use super::view::{TARGET, spec_of};
use super::{find, searching};
use crate::access::Caller;
use crate::extract::{Scope, TrialPath};
use crate::problem::{Class, Problem};
use crate::state::AppState;
use aide::transform::TransformOperation;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use trialmill_common::draft::{BEST_TESTS, MAX_TASK_NAME_CHARS};
use trialmill_common::protocol::StopRules;
use trialmill_common::spec::{RecordedTrial, RunSpec};
use trialmill_common::state::{Priority, TaskId, TaskKind, TrialEnd};
use trialmill_common::worker::DEFAULT_POOL;
use trialmill_store::rows::{NewTask, Snapshot, TaskRow, TrialRow};
use uuid::Uuid;

/// `POST .../trials/{n}/replay`.
pub(super) async fn replay(
    State(state): State<AppState>,
    caller: Caller,
    scope: Scope,
    TrialPath { task: id, number }: TrialPath,
    key: Key,
) -> Result<Response, Problem> {
    let task = searching(find(&state, scope, id).await?)?;
    let key = key.over(format!("replay {id} {number}").as_bytes());
    // The replay is no optimization: it is found under every kind only.
    let everywhere = Scope::EVERY_KIND;
    if let Some(before) = made_before(&state, key.as_ref(), everywhere).await? {
        return Ok(before);
    }
    let Some(row) = state.store.trial(id, number).await? else {
        return Err(if number < task.ledger.planned {
            let detail = format!("trial {number} of task {id} has not ended; wait until it has");
            Problem::new(Class::Conflict, detail)
        } else {
            Problem::not_found(format!(
                "task {id} has no trial {number}; its trials are 0 to {}",
                task.ledger.planned.saturating_sub(1)
            ))
        });
    };
    if task.ledger.by_client {
        let detail = format!(
            "trial {number} of task {id} was run by a client; only that client can repeat it, with the params \
             that GET {}/trials/{number} shows",
            scope.path_of(id)
        );
        return Err(Problem::new(Class::Conflict, detail));
    }
    if row.end == TrialEnd::Pruned {
        let detail = format!(
            "trial {number} of task {id} was stopped early by what others had reported by then, and a replay would \
             run it to its end; its reports are at GET {}/trials/{number}",
            scope.path_of(id)
        );
        return Err(Problem::new(Class::Conflict, detail));
    }
    let snapshot = snapshot(&state, &task).await?;
    let new = new_task(&state, &task, &row, snapshot).await?;
    store(&state, &caller, new, key, everywhere).await
}

/// The market data that the task pinned: a task that is made from it pins the same, whatever the
/// store holds by now.
pub(super) async fn snapshot(state: &AppState, task: &TaskRow) -> Result<Snapshot, Problem> {
    let Some(id) = task.snapshot else {
        return Ok(Snapshot::default());
    };
    state.store.snapshot(id).await?.ok_or_else(|| {
        let detail = format!(
            "the market data that task {} pinned is no longer in the database; restore it from a \
             backup",
            task.id
        );
        Problem::new(Class::Conflict, detail)
    })
}

async fn new_task(
    state: &AppState,
    task: &TaskRow,
    row: &TrialRow,
    snapshot: Snapshot,
) -> Result<NewTask, Problem> {
    let spec = spec_of(task)?;
    let point = spec.space.unpack(&row.params).map_err(|error| {
        tracing::error!(task.id = %task.id, error = %error, "a stored trial is unreadable");
        Problem::internal()
    })?;
    let recorded = RecordedTrial {
        end: row.end,
        values: row.values.clone(),
        infeasible: row.infeasible.clone(),
        failure: row.failure.as_ref().map(|failure| failure.kind),
    };
    let run = RunSpec::replaying(task.id, &spec, row.number, &point, recorded);
    let name = format!("replay of trial {} of {}", row.number, task.name);
    let name: String = name.chars().take(MAX_TASK_NAME_CHARS).collect();
    let run = RunSpec {
        task_name: name.clone(),
        ..run
    };
    let origin = json!({"task_id": task.id, "trial_number": row.number});
    let workers = state.store.workers().await?;
    Ok(NewTask {
        id: TaskId(Uuid::now_v7()),
        kind: TaskKind::Backtest,
        name,
        strategy: task.strategy.clone(),
        stock_codes: task.stock_codes.clone(),
        pool: DEFAULT_POOL.to_owned(),
        request: json!({"task_type": TaskKind::Backtest.name(), "replay_of": origin}),
        resolved: json!({
            "replay_of": origin,
            "params": run.params,
            "partner": task.resolved.get("partner").map(without_tests),
            "reproducible": true,
            TARGET: std::env::consts::ARCH,
        }),
        warnings: with_worker_warning(Vec::new(), &task.strategy, &workers),
        seed: task.seed,
        n_trials: 1,
        planned: 1,
        parallelism: Some(1),
        adaptive: false,
        direction: spec.objectives[0].direction,
        timeout: None,
        priority: Priority::Normal,
        not_before: None,
        snapshot,
        engine: ENGINE.to_owned(),
        submitted_by: None,
        rules: StopRules::default(),
        windows: Vec::new(),
        assessed: false,
        by_client: false,
        origin: None,
        spec: run.to_json(),
    })
}

/// The choice of a partner, without the list of its tests: it stands in the task that made it.
fn without_tests(partner: &Value) -> Value {
    let mut partner = partner.clone();
    if let Some(fields) = partner.as_object_mut() {
        fields.remove(BEST_TESTS);
    }
    partner
}

/// Describes the route.
pub(super) fn describe(op: TransformOperation<'_>) -> TransformOperation<'_> {
    describe_answers(op.description(
        "Makes a task of the kind backtest: the parameters of the trial on the bars that its task \
         pinned. Its result says in `replay` whether the values are the same to the bit; a failed \
         trial is compared by the kind of its failure. Location is under /api/v1/tasks. 404 \
         without such a trial, 409 when it has not ended.",
    ))
    .response_with::<404, Problem, _>(|r| r.description("There is no such trial."))
}
