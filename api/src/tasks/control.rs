//! Ending, pausing, resuming and deleting tasks.

use super::read::best_row;
use super::{find, no_such_task, view};
use crate::access::Caller;
use crate::answer::TaskStatus;
use crate::extract::{Scope, TaskPath};
use crate::finish::to_the_end;
use crate::problem::Problem;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use trialmill_common::state::{StopReason, TaskId};
use trialmill_store::rows::{ControlOutcome, TaskRow};

pub(super) async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<Json<TaskStatus>, Problem> {
    find(&state, scope, id).await?;
    to_the_end(async move {
        let task = done(id, state.store.stop(id, StopReason::Cancelled).await?)?;
        state.tell(&caller, "task.cancel", id.to_string()).await;
        answer(&state, &task).await
    })
    .await
}

pub(super) async fn pause(
    State(state): State<AppState>,
    caller: Caller,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<Json<TaskStatus>, Problem> {
    find(&state, scope, id).await?;
    to_the_end(async move {
        let task = done(id, state.store.pause(id).await?)?;
        state.tell(&caller, "task.pause", id.to_string()).await;
        answer(&state, &task).await
    })
    .await
}

pub(super) async fn resume(
    State(state): State<AppState>,
    caller: Caller,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<Json<TaskStatus>, Problem> {
    find(&state, scope, id).await?;
    to_the_end(async move {
        let task = done(id, state.store.resume(id).await?)?;
        state.tell(&caller, "task.resume", id.to_string()).await;
        answer(&state, &task).await
    })
    .await
}

/// No body: the task is gone.
pub(super) async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<StatusCode, Problem> {
    find(&state, scope, id).await?;
    to_the_end(async move {
        done(id, state.store.delete(id).await?)?;
        state.tell(&caller, "task.delete", id.to_string()).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

async fn answer(state: &AppState, task: &TaskRow) -> Result<Json<TaskStatus>, Problem> {
    let best = best_row(state, task).await?;
    Ok(Json(view::status(task, best.as_ref())?))
}

fn done(id: TaskId, outcome: ControlOutcome) -> Result<Box<TaskRow>, Problem> {
    match outcome {
        ControlOutcome::Done(task) => Ok(task),
        ControlOutcome::NotFound => Err(no_such_task(id)),
        ControlOutcome::NotAllowed(refused) => Err(refused.into()),
    }
}
