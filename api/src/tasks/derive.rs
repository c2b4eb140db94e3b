//! Tasks that are made from another one: retry, clone and extend. The other one stays as it is.

use super::replay::snapshot;
use super::submission::{ENGINE, Key, describe_answers, made_before, store, with_worker_warning};
use super::view::TARGET;
use super::{find, view, with_body};
use crate::access::Caller;
use crate::body::read_optional_json;
use crate::extract::{Scope, TaskPath};
use crate::limits::MAX_COPIED_TRIALS;
use crate::problem::{Class, Problem};
use crate::state::AppState;
use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::Operation;
use aide::transform::TransformOperation;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use trialmill_common::draft::{
    Changes, changes_schema, check_changes, parse_body, sampler_plan, with_field,
};
use trialmill_common::fault::Warning;
use trialmill_common::protocol::StopRules;
use trialmill_common::spec::{Spec, TaskSpec};
use trialmill_common::state::{OriginHow, StopReason, TaskId, TaskKind};
use trialmill_store::rows::{NewTask, Origin, Snapshot, TaskRow, WorkerRow};
use uuid::Uuid;

/// A body that may be left out, with the `Idempotency-Key` it came with.
pub(super) struct Sent {
    key: Key,
    bytes: Vec<u8>,
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_optional_json(&parts.headers, body).await?;
        let key = Key::of(&parts)?;
        Ok(Self { key, bytes })
    }
}

impl OperationInput for Sent {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Key::operation_input(ctx, operation);
    }
}

/// `POST .../{id}/retry`.
pub(super) async fn retry(
    State(state): State<AppState>,
    caller: Caller,
    scope: Scope,
    TaskPath(id): TaskPath,
    sent: Sent,
) -> Result<Response, Problem> {
    derive(&state, &caller, scope, id, OriginHow::Retry, sent).await
}

/// `POST .../{id}/clone`.
pub(super) async fn clone(
    State(state): State<AppState>,
    caller: Caller,
    scope: Scope,
    TaskPath(id): TaskPath,
    sent: Sent,
) -> Result<Response, Problem> {
    derive(&state, &caller, scope, id, OriginHow::Clone, sent).await
}

/// `POST .../{id}/extend`.
pub(super) async fn extend(
    State(state): State<AppState>,
    caller: Caller,
    scope: Scope,
    TaskPath(id): TaskPath,
    sent: Sent,
) -> Result<Response, Problem> {
    derive(&state, &caller, scope, id, OriginHow::Extend, sent).await
}

async fn derive(
    state: &AppState,
    caller: &Caller,
    scope: Scope,
    id: TaskId,
    how: OriginHow,
    sent: Sent,
) -> Result<Response, Problem> {
    let Sent { key, bytes } = sent;
    let mut asked = format!("{how} {id} ").into_bytes();
    asked.extend_from_slice(&bytes);
    let key = key.over(&asked);
    // Before the origin is looked at: it may be deleted by now.
    if let Some(before) = made_before(state, key.as_ref(), scope).await? {
        return Ok(before);
    }
    let origin = find(state, scope, id).await?;
    if how == OriginHow::Extend && origin.kind != TaskKind::HyperparameterOptimization {
        let detail = format!(
            "task {id} is a {}: it has one trial, and none can be added; clone it",
            origin.kind
        );
        return Err(Problem::new(Class::Conflict, detail));
    }
    let spec = view::stored(&origin)?;
    let body = match bytes.is_empty() {
        true => json!({}),
        false => parse_body(&bytes).map_err(Problem::invalid)?,
    };
    let changes = check_changes(&body, how, &spec).map_err(Problem::invalid)?;
    if let Some(detail) = refusal(&origin, how) {
        return Err(Problem::new(Class::Conflict, detail));
    }
    let windows = spec.as_search().map_or(0, |search| search.windows().len());
    if how.copies() && windows > 0 {
        let detail = format!(
            "task {id} is a walk-forward of {windows} windows: each of its trials belongs to a window, \
             and they cannot be taken over; clone it instead"
        );
        return Err(Problem::new(Class::Conflict, detail));
    }
    let pinned = snapshot(state, &origin).await?;
    let workers = state.store.workers().await?;
    let new = new_task(&origin, spec, changes, how, pinned, &workers);
    if how == OriginHow::Extend && new.planned == origin.ledger.ended() {
        let detail = format!(
            "all {} points of the space of task {id} were tried: there is none to add; widen the \
             space in a new request",
            new.planned
        );
        return Err(Problem::new(Class::Conflict, detail));
    }
    // Copies hold a connection for long: a few at a time, so that the others are free for the rest.
    let _copying = match how.copies() {
        true => state.copies.acquire().await.ok(),
        false => None,
    };
    store(state, caller, new, key, scope).await
}

/// Why the state of a task does not allow it.
fn refusal(task: &TaskRow, how: OriginHow) -> Option<String> {
    let (id, ledger) = (task.id, &task.ledger);
    if !how.copies() {
        return None;
    }
    if !ledger.state.is_terminal() {
        return Some(format!(
            "task {id} is {}; {how} takes a task that has ended: wait, or cancel it first",
            ledger.state
        ));
    }
    if how == OriginHow::Retry {
        if let Some(reason) = own_rule(task) {
            return Some(format!(
                "task {id} ended by its own rule ({reason}), so nothing is left to run; extend it \
                 to more trials, or clone it"
            ));
        }
        if ledger.failed == 0 && ledger.ended() == ledger.planned {
            return Some(format!(
                "all {} trials of task {id} ended and none failed, so nothing is left to run; \
                 extend it to more trials, or clone it",
                ledger.planned
            ));
        }
    }
    let copied = match how {
        OriginHow::Retry => ledger.ended() - ledger.failed,
        OriginHow::Clone | OriginHow::Extend => ledger.ended(),
    };
    (copied > MAX_COPIED_TRIALS).then(|| {
        format!(
            "{copied} trials of task {id} would be copied; the limit is {MAX_COPIED_TRIALS}: clone \
             it instead"
        )
    })
}

/// The rule of its own by which a task ended.
fn own_rule(task: &TaskRow) -> Option<StopReason> {
    // Not the stop reason: a cancel outranks a rule that was met before it.
    task.ledger.met_rule()
}

/// Warnings that are about the origin alone, or are told anew.
const NOT_INHERITED: [&str; 6] = [
    "no_live_worker",
    "no_capable_worker",
    "space_smaller_than_n_trials",
    OTHER_ENGINE,
    RULES_DROPPED,
    NO_GRID,
];
const OTHER_ENGINE: &str = "other_engine";
const RULES_DROPPED: &str = "stop_rules_dropped";
const NO_GRID: &str = "small_space_is_no_grid";

fn warning(code: &str, pointer: &str, detail: String) -> Warning {
    Warning {
        code: code.to_owned(),
        pointer: pointer.to_owned(),
        detail,
    }
}

fn new_task(
    origin: &TaskRow,
    mut spec: Spec,
    changes: Changes,
    how: OriginHow,
    snapshot: Snapshot,
    workers: &[WorkerRow],
) -> NewTask {
    let inherited = |warning: &&Warning| !NOT_INHERITED.contains(&warning.code.as_str());
    let mut warnings: Vec<Warning> = origin.warnings.iter().filter(inherited).cloned().collect();
    let mut request = origin.request.clone();
    let mut resolved = origin.resolved.clone();
    resolved[TARGET] = std::env::consts::ARCH.into();
    if let Some(name) = changes.task_name {
        request = with_field(request, "task_name", json!(name));
        match &mut spec {
            Spec::Search(search) => search.task_name = name,
            Spec::Run(run) => run.task_name = name,
        }
    }
    let (mut seed, mut planned, mut rules) =
        (origin.seed, origin.ledger.planned, StopRules::default());
    if let Spec::Search(search) = &mut spec {
        if let Some(other) = changes.seed {
            request = with_field(request, "seed", json!(other));
            (search.seed, seed) = (other, other);
        }
        if let Some(total) = changes.n_trials {
            request = with_field(request, "n_trials", json!(total));
            search.n_trials = total;
            planned = search.planned(search.size_limit());
            if let Some(validated) = &mut search.validation {
                validated.plan.widen(planned);
            }
        }
        if how == OriginHow::Extend
            && let Some(reason) = own_rule(origin)
        {
            search.stop = StopRules::default();
            request = with_field(request, "stop", Value::Null);
            let detail = format!(
                "the origin ended by its own rule ({reason}); the extension has none, or it would \
                 end at once"
            );
            warnings.push(warning(RULES_DROPPED, "/stop", detail));
        }
        search.copies = how.copies();
        rules = search.stop.clone();
        warnings.extend(warnings_of(origin, search, planned, how));
        resolved["reproducible"] = is_reproducible(origin, search, how).into();
        resolved["trials_planned"] = planned.into();
        resolved["sampler_plan"] = sampler_plan(search);
    }
    let n_trials = spec.as_search().map_or(1, |search| search.n_trials);
    let windows = spec
        .as_search()
        .map_or_else(Vec::new, TaskSpec::window_trials);
    NewTask {
        id: TaskId(Uuid::now_v7()),
        kind: origin.kind,
        name: spec.task_name().to_owned(),
        strategy: origin.strategy.clone(),
        stock_codes: origin.stock_codes.clone(),
        pool: origin.pool.clone(),
        request,
        warnings: with_worker_warning(warnings, &origin.strategy, workers),
        resolved,
        seed,
        n_trials,
        planned,
        parallelism: origin.ledger.parallelism,
        adaptive: origin.ledger.adaptive,
        direction: origin.ledger.direction,
        timeout: origin.timeout,
        priority: origin.priority,
        not_before: origin.not_before,
        snapshot,
        engine: ENGINE.to_owned(),
        submitted_by: None,
        rules,
        windows,
        assessed: spec.as_search().is_some_and(TaskSpec::is_assessed),
        by_client: spec.as_search().is_some_and(TaskSpec::runs_at_client),
        origin: Some(Origin {
            task: origin.id,
            how,
        }),
        spec: spec.to_json(),
    }
}

fn warnings_of(origin: &TaskRow, search: &TaskSpec, planned: u32, how: OriginHow) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if planned < search.n_trials {
        let detail = format!(
            "the space has {planned} points, fewer than the {} trials asked for; each is visited \
             once",
            search.n_trials
        );
        warnings.push(warning("space_smaller_than_n_trials", "/n_trials", detail));
    }
    if how.copies() && origin.engine != ENGINE {
        let detail = format!(
            "the copied trials were run by engine {}, the others will be by {ENGINE}; clone the \
             task to run all of them by one",
            origin.engine
        );
        warnings.push(warning(OTHER_ENGINE, "", detail));
    }
    if outgrows_its_space(search) {
        let detail = format!(
            "all points of the space fit into {} trials: a search of this size would have visited \
             them as a grid from the start; this one goes on as {}",
            search.n_trials, search.method
        );
        warnings.push(warning(NO_GRID, "/n_trials", detail));
    }
    warnings
}

/// Whether a request of this size would have become a grid: that is decided at submission.
fn outgrows_its_space(search: &TaskSpec) -> bool {
    let fits = |size| size <= u64::from(search.n_trials);
    search.reads_history() && search.size_limit().is_some_and(fits)
}

/// Whether the request of the new task, run from its first trial, would give the same trials.
fn is_reproducible(origin: &TaskRow, search: &TaskSpec, how: OriginHow) -> bool {
    if !how.copies() {
        return search.is_reproducible();
    }
    // Trials that failed and run again come later than they would have: what looks at the order of
    // trials sees another one.
    let in_order = how == OriginHow::Extend || origin.ledger.failed == 0;
    let looks = search.looks_back() || !search.stop.is_empty();
    let was = origin.resolved["reproducible"] == json!(true);
    search.is_reproducible()
        && origin.engine == ENGINE
        && !outgrows_its_space(search)
        && (!looks || in_order && was)
}

/// Describes one of the three routes.
pub(super) fn describe(op: TransformOperation<'_>, how: OriginHow) -> TransformOperation<'_> {
    let what = match how {
        OriginHow::Retry => {
            "Makes a new task from one that has ended: its trials that did not fail are copied \
             under their numbers, and the failed and missing ones run (again). 409 while it has not \
             ended, when nothing is left to run, and when it ended by its own rule (stop)."
        }
        OriginHow::Clone => {
            "Makes a new task of the same request, from its first trial: the same seed, pinned bars \
             and partners, whatever the store holds by now. `seed` and `task_name` may be changed. \
             It may be of a task in any state."
        }
        OriginHow::Extend => {
            "Makes a new task with more trials from one that has ended: every ended trial is copied \
             under its number, and the missing ones and new ones run. `n_trials` is the total. A \
             search that reads no history, or that runs one trial at a time, goes on exactly as one \
             of that size would have. A rule (stop) by which the origin ended is dropped. 409 while \
             it has not ended, for a backtest, and when the space has no further point."
        }
    };
    let text = format!(
        "{what} The other task stays as it is; `origin` of the new one names it. The same \
         Idempotency-Key and body give the same task again for 24 hours."
    );
    let op = describe_answers(op.description(&text))
        .response_with::<404, Problem, _>(|r| r.description("There is no such task."));
    with_body(op, changes_schema(how), how == OriginHow::Extend)
}
