//! Points that a user wants tried: `POST .../{id}/trials`.

use super::client::Body;
use super::{find, searching, view};
use crate::access::Caller;
use crate::answer::EnqueuedAnswer;
use crate::extract::{Scope, TaskPath};
use crate::finish::to_the_end;
use crate::problem::{Class, Problem};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use trialmill_common::draft::check_enqueued;
use trialmill_common::fault::Fault;
use trialmill_common::spec::TaskSpec;
use trialmill_search::Method;
use trialmill_store::MAX_ENQUEUED;
use trialmill_store::rows::{Enqueued, TaskRow};

/// The first trial that nobody was given takes the point.
pub(super) async fn enqueue(
    State(state): State<AppState>,
    caller: Caller,
    scope: Scope,
    TaskPath(id): TaskPath,
    Body(body): Body,
) -> Result<(StatusCode, Json<EnqueuedAnswer>), Problem> {
    let task = searching(find(&state, scope, id).await?)?;
    let spec = view::spec_of(&task)?;
    if let Some((code, detail)) = refusal(&task, &spec) {
        return Err(conflict(code, detail));
    }
    let point = check_enqueued(&body, &spec).map_err(Problem::invalid)?;
    let packed = spec.space.pack(&point);
    to_the_end(async move {
        // The first trials have their points: the defaults and what the request gave.
        let given = u32::try_from(spec.first_points.len()).unwrap_or(u32::MAX);
        let number = match state.store.enqueue(id, given, &packed).await? {
            Enqueued::For(number) => number,
            Enqueued::NoneLeft => {
                let detail = format!(
                    "every trial of task {id} was given to someone; pause it, which hands back what has not \
                     started, and enqueue then, or extend it when it has ended"
                );
                return Err(conflict("none_left", detail));
            }
            Enqueued::Full => {
                let detail = format!(
                    "{MAX_ENQUEUED} points of task {id} wait for their trials, as many as may; wait until some \
                     have started"
                );
                return Err(conflict("too_many", detail));
            }
            Enqueued::NotFound => return Err(super::no_such_task(id)),
            Enqueued::NotAllowed(refused) => return Err(refused.into()),
        };
        state.tell(&caller, "trial.enqueue", format!("{id} {number}")).await;
        let answer = EnqueuedAnswer {
            task_id: id.0,
            trial_number: number,
            params: view::parameters_of(&spec, &point),
        };
        Ok((StatusCode::CREATED, Json(answer)))
    })
    .await
}

fn conflict(code: &str, detail: String) -> Problem {
    Problem::of_fault(Class::Conflict, Fault::new("", code, detail))
}

/// Why no point can be enqueued for such a task, whatever its state.
fn refusal(task: &TaskRow, spec: &TaskSpec) -> Option<(&'static str, String)> {
    let id = task.id;
    if !spec.windows().is_empty() {
        let detail = format!(
            "task {id} is a walk-forward, each window of which is a search of its own; give the point as \
             initial_params of a new request, and every window begins with it"
        );
        return Some(("walk_forward", detail));
    }
    // A grid follows its list, and one trial for each point leaves none for a second visit.
    let visits_all = spec.method == Method::Grid
        || spec
            .size_limit()
            .is_some_and(|size| size <= task.ledger.planned.into());
    visits_all.then(|| {
        let detail = format!(
            "task {id} ({}) visits each point of its space once, and would visit this one twice; give it as \
             initial_params of a new request to have it first",
            spec.method
        );
        ("visits_each_point_once", detail)
    })
}

/// Describes the body.
pub(super) fn schema() -> Value {
    json!({
        "type": "object", "required": ["params"], "additionalProperties": false,
        "properties": {"params": {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            "description": "a value for each searched parameter",
        }},
    })
}
