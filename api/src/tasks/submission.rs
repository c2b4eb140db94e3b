//! Accepting a task: the body is read within its bound, checked against what the store holds, and
//! stored; the answer is given after the commit, whether the broker is up or not.

use super::checking::Known;
use super::view::{self, TARGET};
use super::{warm, with_body};
use crate::access::Caller;
use crate::answer::Accepted as AcceptedAnswer;
use crate::body::read_json;
use crate::extract::Scope;
use crate::limits::{MAX_IDEMPOTENCY_KEY, RETRY_QUOTA_SECONDS};
use crate::problem::{Class, Problem, ProblemAnswer};
use crate::state::AppState;
use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{
    Operation, Parameter, ParameterData, ParameterSchemaOrContent, ReferenceOr, SchemaObject,
};
use aide::transform::{TransformOperation, TransformResponse};
use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::collections::BTreeSet;
use trialmill_common::draft::{Accepted, Coverage, MarketView, parse_body, strategy_key, symbols};
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::fault::{Fault, Warning};
use trialmill_common::key::OverQuota;
use trialmill_common::objective::CLIENT;
use trialmill_common::spec::{MAX_SEED, RunSpec, Spec, TaskSpec};
use trialmill_common::state::TaskId;
use trialmill_common::worker::{CLIENT_POOL, DEFAULT_POOL};
use trialmill_store::rows::{
    Idempotency, NewTask, SeriesInfo, Snapshot, Submitted, TaskRow, WorkerRow,
};
use uuid::Uuid;

/// Header of a request that may be repeated.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Header of an answer that was given before.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Revision of the engine: what accepted a task.
pub(super) const ENGINE: &str = env!("CARGO_PKG_VERSION");

/// The `Idempotency-Key` of a request, if it has one, and whose it is.
pub(super) struct Key {
    key: Option<String>,
    scope: String,
}

impl Key {
    /// The key that a request brings.
    pub(super) fn of(parts: &Parts) -> Result<Self, Problem> {
        let caller: Caller = parts.extensions.get().cloned().unwrap_or_default();
        Ok(Self {
            key: idempotency_key(&parts.headers)?,
            scope: caller.idempotency_scope().to_owned(),
        })
    }

    /// The key with the hash of what it was sent for. Of the bytes as sent: a client that repeats a
    /// request repeats its bytes, and two requests that differ in a space are not known to mean
    /// the same.
    pub(super) fn over(self, sent: &[u8]) -> Option<Idempotency> {
        let Self { key, scope } = self;
        key.map(|key| Idempotency {
            scope,
            key,
            body_hash: *blake3::hash(sent).as_bytes(),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts)
    }
}

/// A submission as it was sent: its JSON and what is needed to know it again.
pub(super) struct Draft {
    body: Value,
    idempotency: Option<Idempotency>,
}

impl<S: Send + Sync> FromRequest<S> for Draft {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let bytes = read_json(&parts.headers, body).await?;
        let key = Key::from_request_parts(&mut parts, state).await?;
        let idempotency = key.over(&bytes);
        let body = parse_body(&bytes).map_err(Problem::invalid)?;
        Ok(Self { body, idempotency })
    }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value.as_bytes();
    let readable = key.iter().all(u8::is_ascii_graphic);
    if readable && (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) {
        return Ok(Some(String::from_utf8_lossy(key).into_owned()));
    }
    let detail = format!(
        "Idempotency-Key is 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters; use a UUID"
    );
    let fault = Fault::new("#Idempotency-Key", "bad_idempotency_key", detail);
    let found = String::from_utf8_lossy(key).into_owned();
    Err(Problem::invalid(vec![
        fault.value(&found.into()).limit(MAX_IDEMPOTENCY_KEY),
    ]))
}

pub(super) async fn submit(
    State(state): State<AppState>,
    caller: Caller,
    scope: Scope,
    draft: Draft,
) -> Result<Response, Problem> {
    // Before the check: what was accepted once is answered, whatever the store holds by now.
    if let Some(before) = made_before(&state, draft.idempotency.as_ref(), scope).await? {
        return Ok(before);
    }
    let task = check(&state, scope, draft.body).await?;
    reach(FailPoint::SubmitChecked);
    store(&state, &caller, task, draft.idempotency, scope).await
}

/// The answer to a request that was accepted before.
pub(super) async fn made_before(
    state: &AppState,
    idempotency: Option<&Idempotency>,
    scope: Scope,
) -> Result<Option<Response>, Problem> {
    let Some(Idempotency {
        scope: keys,
        key,
        body_hash,
    }) = idempotency
    else {
        return Ok(None);
    };
    match state.store.idempotent(keys, key).await? {
        None => Ok(None),
        Some((first_hash, row)) if first_hash == *body_hash => Ok(Some(replayed(&row, scope))),
        Some(_) => Err(key_conflict()),
    }
}

/// Stores a checked task as its caller's and answers.
pub(super) async fn store(
    state: &AppState,
    caller: &Caller,
    mut task: NewTask,
    idempotency: Option<Idempotency>,
    scope: Scope,
) -> Result<Response, Problem> {
    let id = task.id;
    task.submitted_by = caller.name().map(ToOwned::to_owned);
    let submitted = state.store.submit_within(task, idempotency, caller.quota);
    match submitted.await? {
        Submitted::Created(row) => {
            tracing::info!(task.id = %id, task.name = %row.name, "a task was accepted");
            Ok(answer(StatusCode::CREATED, &row, scope))
        }
        // Two requests with one key at the same time: both looked before either was stored.
        Submitted::Repeated(row) => Ok(replayed(&row, scope)),
        Submitted::KeyConflict => Err(key_conflict()),
        Submitted::OverQuota(over) => Err(over_quota(over, caller)),
        Submitted::NoOrigin => Err(Problem::not_found(
            "the task whose trials were to be copied was deleted meanwhile; nothing was stored",
        )),
    }
}

/// The key has too much in work.
fn over_quota(over: OverQuota, caller: &Caller) -> Problem {
    let (code, what, wanted, limit, setting) = match over {
        OverQuota::ActiveTasks { wanted, limit } => (
            "too_many_active_tasks",
            "tasks that have not ended",
            wanted,
            limit,
            "TRIALMILL_MAX_ACTIVE_TASKS",
        ),
        OverQuota::Backlog { wanted, limit } => (
            "backlog_full",
            "trials that have not ended",
            wanted,
            limit,
            "TRIALMILL_MAX_BACKLOG_TRIALS",
        ),
    };
    let detail = format!(
        "with this task {} would have {wanted} {what}; the limit is {limit} ({setting}, or the \
         key's own); nothing was stored: wait until some have ended, or cancel tasks",
        caller.title()
    );
    let fault = Fault::new("", code, detail).value(&wanted.into());
    Problem::limit_reached(fault.limit(limit), RETRY_QUOTA_SECONDS)
}

fn replayed(row: &TaskRow, scope: Scope) -> Response {
    let mut response = answer(StatusCode::OK, row, scope);
    response
        .headers_mut()
        .insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    response
}

fn key_conflict() -> Problem {
    Problem::new(
        Class::Conflict,
        "this Idempotency-Key was used with another body within 24 hours; use a new key for a new \
         task, or repeat the first body byte for byte",
    )
}

fn answer(status: StatusCode, row: &TaskRow, scope: Scope) -> Response {
    let location =
        HeaderValue::try_from(scope.path_of(row.id)).expect("a path of ASCII characters");
    (
        status,
        [(header::LOCATION, location)],
        Json(view::accepted(row, scope)),
    )
        .into_response()
}

/// The task that a body asks for, checked against the store.
async fn check(state: &AppState, scope: Scope, body: Value) -> Result<NewTask, Problem> {
    let symbols = symbols(&body);
    let known = if symbols.is_empty() {
        Vec::new()
    } else {
        state.store.series_info(&symbols).await?
    };
    let workers = state.store.workers().await?;
    let mut announced: BTreeSet<String> = workers
        .iter()
        .flat_map(|worker| worker.card.strategies.iter().cloned())
        .collect();
    if let Some(name) = strategy_key(&body)
        && !announced.contains(name)
        && state.store.ever_announced(name).await?
    {
        announced.insert(name.to_owned());
    }
    let live_slots = workers
        .iter()
        .filter(|worker| worker.live)
        .map(|worker| worker.card.slots)
        .sum();
    let reads = strategy_key(&body).and_then(trialmill_backtest::strategy::find);
    let records = match reads {
        Some(strategy) if strategy.info().reads_fundamentals && !symbols.is_empty() => {
            state.store.records_info(&symbols).await?
        }
        _ => Vec::new(),
    };
    let reported = records.into_iter().filter(|record| record.reports > 0);
    let market = MarketView {
        series: known.into_iter().map(coverage).collect(),
        reported: reported.map(|record| record.symbol).collect(),
    };
    let known = Known {
        market,
        announced,
        live_slots,
        drawn_seed: draw_seed(),
    };
    let (accepted, body) = state.checks.run(scope.kind, body, known).await?;
    let store = state.store.as_ref();
    let accepted = warm::begun(state, accepted).await?;
    let accepted = state.partners.resolve(store, accepted, coverage).await?;
    Ok(new_task(accepted, body, &workers))
}

pub(super) fn coverage(info: SeriesInfo) -> (String, Coverage) {
    let SeriesInfo {
        symbol,
        first,
        last,
        rows,
        hash,
        frequency,
        ..
    } = info;
    (
        symbol,
        Coverage {
            frequency,
            first,
            last,
            rows: rows.into(),
            hash,
        },
    )
}

/// 53 random bits. A version 4 UUID has 122 of them, with fixed ones among the upper 64.
fn draw_seed() -> u64 {
    Uuid::new_v4().as_u64_pair().1 & MAX_SEED
}

fn new_task(accepted: Accepted, body: Value, workers: &[WorkerRow]) -> NewTask {
    let Accepted {
        spec,
        planned,
        priority,
        not_before,
        labels: _,
        mut resolved,
        warnings,
        series,
        records,
        pairing: _,
        unplanned: _,
        warm_start: _,
    } = accepted;
    resolved[TARGET] = std::env::consts::ARCH.into();
    let by_client = spec.as_search().is_some_and(TaskSpec::runs_at_client);
    let warnings = with_worker_warning(warnings, spec.strategy_name(), workers);
    let rules = spec.as_search().map(|search| search.stop.clone());
    let windows = spec
        .as_search()
        .map_or_else(Vec::new, TaskSpec::window_trials);
    let (seed, n_trials, parallelism, direction, timeout) = match &spec {
        Spec::Search(search) => (
            search.seed,
            search.n_trials,
            search.parallelism,
            search.objectives[0].direction,
            search.timeout,
        ),
        // Nothing is drawn; the one unit has the run's own time limit.
        Spec::Run(_) => (0, 1, Some(1), RunSpec::target().direction, None),
    };
    // Fewer units are open at a time for a search that looks at its results.
    let adaptive = match &spec {
        Spec::Search(search) => search.looks_back(),
        Spec::Run(_) => false,
    };
    NewTask {
        id: TaskId(Uuid::now_v7()),
        kind: spec.kind(),
        name: spec.task_name().to_owned(),
        strategy: spec.strategy_name().to_owned(),
        stock_codes: spec.stock_codes().to_vec(),
        pool: match by_client {
            true => CLIENT_POOL.to_owned(),
            false => DEFAULT_POOL.to_owned(),
        },
        request: body,
        resolved,
        warnings,
        seed,
        n_trials,
        planned,
        parallelism,
        adaptive,
        direction,
        timeout,
        priority,
        not_before,
        snapshot: Snapshot { series, records },
        engine: ENGINE.to_owned(),
        submitted_by: None,
        rules: rules.unwrap_or_default(),
        windows,
        assessed: spec.as_search().is_some_and(TaskSpec::is_assessed),
        by_client,
        origin: None,
        spec: spec.to_json(),
    }
}

/// Says so when nothing that lives now could run the task.
pub(super) fn with_worker_warning(
    mut warnings: Vec<Warning>,
    strategy: &str,
    workers: &[WorkerRow],
) -> Vec<Warning> {
    if strategy == CLIENT {
        return warnings;
    }
    let live = workers
        .iter()
        .filter(|worker| worker.live && worker.card.pool == DEFAULT_POOL);
    let capable = live
        .clone()
        .any(|worker| worker.card.strategies.iter().any(|s| s == strategy));
    let said = |code: &str| warnings.iter().any(|warning| warning.code == code);
    let warning = if live.count() == 0 {
        (
            "no_live_worker",
            "no worker is live now; the task waits until one is started".to_owned(),
        )
    } else if !capable {
        let detail = format!("no live worker announced {strategy}; the task waits until one does");
        ("no_capable_worker", detail)
    } else {
        return warnings;
    };
    if !said(warning.0) {
        let (code, detail) = warning;
        let pointer = "/strategy_name".to_owned();
        warnings.push(Warning {
            code: code.to_owned(),
            pointer,
            detail,
        });
    }
    warnings
}

/// Describes the submission of the form that `schema` has.
pub(super) fn describe(op: TransformOperation<'_>, schema: Value) -> TransformOperation<'_> {
    let op = describe_answers(op.description(
        "The task is stored when this answers, whether the broker is up or not. The same \
         Idempotency-Key and body (byte for byte) give the same task again for 24 hours; another \
         body gives 409. A strategy of two legs gets its partners here: they are chosen on the \
         three years before start_date among the stored symbols, or among \
         backtest_config.partners. The prices of pairs, and of strategies of one leg with at most \
         50 stocks, are looked at for moves that no session allows and that no known corporate action \
         explains (the warning unadjusted_prices), and for days on which nobody trades \
         (filler_days); those of longer lists are not. Under cn_a and us the task pins what tables \
         tell of its symbols as well as their bars.",
    ))
    .response_with::<400, (), _>(|r| r.description("What was sent is not HTTP."))
    .response_with::<408, Problem, _>(|r| {
        refusal(r, "The body was not complete in time; nothing was stored.")
    })
    .response_with::<413, Problem, _>(|r| refusal(r, "The body is too large."))
    .response_with::<415, Problem, _>(|r| refusal(r, "The body is not sent as JSON."));
    with_body(op, schema, true)
}

/// The answers of every operation that makes a task.
pub(super) fn describe_answers(op: TransformOperation<'_>) -> TransformOperation<'_> {
    op.response_with::<201, Json<AcceptedAnswer>, _>(|r| {
        r.description("Accepted; Location is the path of the task.")
    })
    .response_with::<200, Json<AcceptedAnswer>, _>(|r| {
        r.description("Repeated; Idempotent-Replayed: true.")
    })
    .response_with::<409, Problem, _>(|r| {
        refusal(r, "The Idempotency-Key was used with another body.")
    })
    .response_with::<422, Problem, _>(|r| {
        refusal(r, "The request has faults; each is listed in errors.")
    })
    .response_with::<503, Problem, _>(|r| {
        r.description("The database is away; the same request may succeed later.")
    })
}

/// A refusal after which waiting changes nothing.
fn refusal<'a>(
    mut response: TransformResponse<'a, ProblemAnswer>,
    description: &str,
) -> TransformResponse<'a, ProblemAnswer> {
    response.inner().headers.clear();
    response.description(description)
}

impl OperationInput for Draft {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Key::operation_input(ctx, operation);
    }
}

impl OperationInput for Key {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let json_schema = ctx.schema.subschema_for::<String>();
        let format = ParameterSchemaOrContent::Schema(SchemaObject {
            json_schema,
            example: None,
            external_docs: None,
        });
        let description = "1 to 255 visible ASCII characters; a repeated request with the same \
                           key and body makes no second task.";
        operation
            .parameters
            .push(ReferenceOr::Item(Parameter::Header {
                parameter_data: ParameterData {
                    name: "Idempotency-Key".to_owned(),
                    description: Some(description.to_owned()),
                    required: false,
                    deprecated: None,
                    format,
                    example: None,
                    examples: Default::default(),
                    explode: None,
                    extensions: Default::default(),
                },
                style: aide::openapi::HeaderStyle::Simple,
            }));
    }
}
