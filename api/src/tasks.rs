//! The routes of tasks: the same handlers under `/optimization/tasks` and `/tasks`.

mod assessed;
mod checking;
mod client;
mod control;
mod derive;
mod enqueue;
mod events;
mod explain;
mod insight;
mod partner;
mod read;
mod replay;
mod shown;
mod submission;
mod tail;
mod view;
mod warm;

pub(crate) use checking::Checks;
pub(crate) use client::ClientStudies;
pub(crate) use insight::{FIGURES, Insights, MEASURES};
pub(crate) use partner::Partners;
pub(crate) use tail::Tails;
pub(crate) use view::snapshot_name;

use crate::answer::EnqueuedAnswer;
use crate::docs::operation;
use crate::extract::{OPTIMIZATION_TASKS, Scope};
use crate::problem::Problem;
use crate::state::AppState;
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use aide::openapi::{MediaType, ReferenceOr, RequestBody, SchemaObject};
use aide::transform::TransformOperation;
use axum::Json;
use serde_json::Value;
use trialmill_common::draft::{request_schema, task_request_schema};
use trialmill_common::state::{OriginHow, TaskId, TaskKind};
use trialmill_store::rows::TaskRow;

/// The routes under one prefix.
pub(crate) fn routes(prefix: &'static str) -> ApiRouter<AppState> {
    let (tag, id_prefix, schema) = if prefix == OPTIMIZATION_TASKS {
        ("Optimizations", "optimization", request_schema())
    } else {
        ("Tasks", "task", task_request_schema())
    };
    let doc = move |name: &str, summary| operation(format!("{id_prefix}_{name}"), tag, summary);
    let at = |rest: &str| format!("{prefix}{rest}");
    ApiRouter::new()
        .api_route(
            prefix,
            post_with(submission::submit, move |op| {
                submission::describe(doc("submit", "Submit a task")(op), schema)
            })
            .get_with(read::list, doc("list", "List tasks, newest first")),
        )
        .api_route(
            &at("/{id}"),
            get_with(read::task, doc("get", "A task with its request and result")).delete_with(
                control::delete,
                move |op| {
                    doc("delete", "Delete an ended task and its trials")(op)
                        .response_with::<204, (), _>(|r| r.description("It is gone."))
                },
            ),
        )
        .api_route(
            &at("/{id}/status"),
            get_with(read::status, doc("status", "How a task stands")),
        )
        .api_route(
            &at("/{id}/trials"),
            get_with(read::trials, doc("trials", "Trials of a task")).post_with(
                enqueue::enqueue,
                move |op| {
                    let doc = doc("enqueue", "Have a trial take a point of your own");
                    with_body(doc(op), enqueue::schema(), true)
                        .response_with::<201, Json<EnqueuedAnswer>, _>(|r| {
                            r.description("The first trial that nobody was given takes it.")
                        })
                },
            ),
        )
        .api_route(
            &at("/{id}/ask"),
            post_with(client::ask, move |op| {
                let doc = doc("ask", "A trial to run, of a task whose trials clients run");
                doc(op).description(
                    "409 where there is none now, with the code of the reason: task_ended, or all_running, \
                     task_paused and not_before, after which the same may succeed (Retry-After).",
                )
            }),
        )
        .api_route(
            &at("/{id}/trials/{n}/report"),
            post_with(client::report, move |op| {
                let doc = doc("report", "How a trial goes that a client runs");
                with_body(doc(op), client::report_schema(), true)
            }),
        )
        .api_route(
            &at("/{id}/trials/{n}/tell"),
            post_with(client::tell, move |op| {
                let doc = doc("tell", "What a trial came to that a client ran");
                with_body(doc(op), client::told_schema(), true)
            }),
        )
        .api_route(
            &at("/{id}/trials/{n}"),
            get_with(read::trial, doc("trial", "One trial")),
        )
        .api_route(
            &at("/{id}/trials/{n}/replay"),
            post_with(replay::replay, move |op| {
                replay::describe(doc("replay", "Repeat an ended trial")(op))
            }),
        )
        .api_route(
            &at("/{id}/best"),
            get_with(
                read::best,
                doc(
                    "best",
                    "The best feasible trial so far; with several objectives the selected one",
                ),
            ),
        )
        .api_route(
            &at("/{id}/pareto-front"),
            get_with(
                shown::pareto_front,
                doc("pareto_front", "The trials that no other one dominates"),
            ),
        )
        .api_route(
            &at("/{id}/param-importance"),
            get_with(
                shown::param_importance,
                doc("param_importance", "Which parameters matter"),
            ),
        )
        .api_route(
            &at("/{id}/figures/{name}"),
            get_with(shown::figure, doc("figure", "The data of a picture")),
        )
        .api_route(
            &at("/{id}/events"),
            get_with(events::stream, move |op| {
                events::describe(doc("events", "What happens to a task, as it happens (SSE)")(op))
            }),
        )
        .api_route(
            &at("/{id}/explain"),
            get_with(
                explain::explain,
                doc("explain", "Why a task moves or does not"),
            ),
        )
        .api_route(
            &at("/{id}/cancel"),
            post_with(
                control::cancel,
                doc("cancel", "End a task; running trials are abandoned"),
            ),
        )
        .api_route(
            &at("/{id}/pause"),
            post_with(
                control::pause,
                doc("pause", "Start no new trial until it is resumed"),
            ),
        )
        .api_route(
            &at("/{id}/resume"),
            post_with(control::resume, doc("resume", "Let trials start again")),
        )
        .api_route(
            &at("/{id}/retry"),
            post_with(derive::retry, move |op| {
                let doc = doc("retry", "A new task that runs what failed or is missing");
                derive::describe(doc(op), OriginHow::Retry)
            }),
        )
        .api_route(
            &at("/{id}/clone"),
            post_with(derive::clone, move |op| {
                let doc = doc("clone", "A new task of the same request");
                derive::describe(doc(op), OriginHow::Clone)
            }),
        )
        .api_route(
            &at("/{id}/extend"),
            post_with(derive::extend, move |op| {
                let doc = doc("extend", "A new task that goes on to more trials");
                derive::describe(doc(op), OriginHow::Extend)
            }),
        )
}

/// Describes the body of an operation.
fn with_body(
    mut op: TransformOperation<'_>,
    schema: Value,
    required: bool,
) -> TransformOperation<'_> {
    let schema = schemars::Schema::try_from(schema).expect("the schema of a body is a JSON object");
    let media = MediaType {
        schema: Some(SchemaObject {
            json_schema: schema,
            example: None,
            external_docs: None,
        }),
        ..MediaType::default()
    };
    let mut body = RequestBody {
        required,
        ..RequestBody::default()
    };
    body.content.insert("application/json".to_owned(), media);
    op.inner_mut().request_body = Some(ReferenceOr::Item(body));
    op
}

/// A task that exists and is visible under the prefix.
async fn find(state: &AppState, scope: Scope, id: TaskId) -> Result<TaskRow, Problem> {
    match state.store.task(id).await? {
        Some(task) if scope.shows(task.kind) => Ok(task),
        Some(task) => Err(Problem::not_found(format!(
            "task {id} is a {}; look at it under /api/v1/tasks",
            task.kind
        ))),
        None => Err(no_such_task(id)),
    }
}

/// A task that has trials.
fn searching(task: TaskRow) -> Result<TaskRow, Problem> {
    if task.kind == TaskKind::HyperparameterOptimization {
        return Ok(task);
    }
    Err(Problem::not_found(format!(
        "task {} is a {}, which has no trials; its result is at {}",
        task.id,
        task.kind,
        Scope::EVERY_KIND.path_of(task.id)
    )))
}

fn no_such_task(id: TaskId) -> Problem {
    Problem::not_found(format!(
        "there is no task {id}; it was deleted or never accepted"
    ))
}
