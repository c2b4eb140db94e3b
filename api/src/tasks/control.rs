//! Ending, pausing, resuming and deleting tasks.

use super::read::best_row;
use super::{find, no_such_task, view};
use crate::answer::TaskStatus;
use crate::extract::{Scope, TaskPath};
use crate::problem::Problem;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use trialmill_common::state::{StopReason, TaskId};
use trialmill_store::rows::{ControlOutcome, TaskRow};

pub(super) async fn cancel(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<Json<TaskStatus>, Problem> {
    find(&state, scope, id).await?;
    let outcome = state.store.stop(id, StopReason::Cancelled).await?;
    answer(&state, id, outcome).await
}

pub(super) async fn pause(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<Json<TaskStatus>, Problem> {
    find(&state, scope, id).await?;
    let outcome = state.store.pause(id).await?;
    answer(&state, id, outcome).await
}

pub(super) async fn resume(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<Json<TaskStatus>, Problem> {
    find(&state, scope, id).await?;
    let outcome = state.store.resume(id).await?;
    answer(&state, id, outcome).await
}

/// No body: the task is gone.
pub(super) async fn delete(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<StatusCode, Problem> {
    find(&state, scope, id).await?;
    done(id, state.store.delete(id).await?)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn answer(
    state: &AppState,
    id: TaskId,
    outcome: ControlOutcome,
) -> Result<Json<TaskStatus>, Problem> {
    let task = done(id, outcome)?;
    let best = best_row(state, &task).await?;
    Ok(Json(view::status(&task, best.as_ref())?))
}

fn done(id: TaskId, outcome: ControlOutcome) -> Result<Box<TaskRow>, Problem> {
    match outcome {
        ControlOutcome::Done(task) => Ok(task),
        ControlOutcome::NotFound => Err(no_such_task(id)),
        ControlOutcome::NotAllowed(refused) => Err(refused.into()),
    }
}
