//! What handlers take from a request, each with a problem instead of a bare refusal.

use crate::problem::Problem;
use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::Operation;
use axum::extract::{FromRequestParts, Path, Query, RawPathParams};
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use trialmill_common::draft::{close_to, shown};
use trialmill_common::fault::Fault;
use trialmill_common::state::{TaskId, TaskKind};
use uuid::Uuid;

/// Prefix of the routes for optimizations.
pub(crate) const OPTIMIZATION_TASKS: &str = "/api/v1/optimization/tasks";
/// Prefix of the routes for every kind of task.
pub(crate) const TASKS: &str = "/api/v1/tasks";

/// Which tasks a request may see: under `/optimization/tasks` only optimizations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub kind: Option<TaskKind>,
    prefix: &'static str,
}

impl Scope {
    /// The prefix under which every task is found.
    pub const EVERY_KIND: Self = Self {
        kind: None,
        prefix: TASKS,
    };

    /// The path of a task under the prefix of the request.
    pub fn path_of(self, id: TaskId) -> String {
        format!("{}/{id}", self.prefix)
    }

    /// Whether a task of this kind is visible.
    pub fn shows(self, kind: TaskKind) -> bool {
        self.kind.is_none_or(|only| only == kind)
    }
}

impl<S: Sync> FromRequestParts<S> for Scope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(if parts.uri.path().starts_with(OPTIMIZATION_TASKS) {
            Self {
                kind: Some(TaskKind::HyperparameterOptimization),
                prefix: OPTIMIZATION_TASKS,
            }
        } else {
            Self::EVERY_KIND
        })
    }
}

impl OperationInput for Scope {}

/// The task that a path names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskPath(pub TaskId);

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the schema generator only")]
struct TaskPathSchema {
    /// The id of a task.
    id: Uuid,
}

impl<S: Send + Sync> FromRequestParts<S> for TaskPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_part(parts, state, "id").await?;
        text.parse().map(|id| Self(TaskId(id))).map_err(|_| {
            let detail = "a task id is a UUID, such as 019a3f0e-8c2b-7d51-9d55-1f0f6a1c2b3d";
            let fault = Fault::new("{id}", "not_a_uuid", detail).value(&text.into());
            Problem::invalid(vec![fault])
        })
    }
}

impl OperationInput for TaskPath {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Path::<TaskPathSchema>::operation_input(ctx, operation);
    }
}

/// The trial that a path names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrialPath {
    pub task: TaskId,
    pub number: u32,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the schema generator only")]
struct TrialPathSchema {
    /// The id of a task.
    id: Uuid,
    /// The number of a trial, from 0.
    n: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for TrialPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let TaskPath(task) = TaskPath::from_request_parts(parts, state).await?;
        let text = path_part(parts, state, "n").await?;
        let number = text.parse().map_err(|_| {
            let detail = "a trial is named by its number, a whole number from 0";
            let fault = Fault::new("{n}", "not_a_number", detail).value(&text.into());
            Problem::invalid(vec![fault])
        })?;
        Ok(Self { task, number })
    }
}

impl OperationInput for TrialPath {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Path::<TrialPathSchema>::operation_input(ctx, operation);
    }
}

/// The picture that a path names.
#[derive(Debug, Clone)]
pub(crate) struct FigurePath {
    pub task: TaskId,
    pub name: String,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the schema generator only")]
struct FigurePathSchema {
    /// The id of a task.
    id: Uuid,
    /// Which picture.
    #[schemars(extend("enum" = crate::tasks::FIGURES))]
    name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for FigurePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let TaskPath(task) = TaskPath::from_request_parts(parts, state).await?;
        let name = path_part(parts, state, "name").await?;
        Ok(Self { task, name })
    }
}

impl OperationInput for FigurePath {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Path::<FigurePathSchema>::operation_input(ctx, operation);
    }
}

/// The symbol that a path names.
#[derive(Debug, Clone)]
pub(crate) struct SymbolPath(pub String);

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the schema generator only")]
struct SymbolPathSchema {
    /// A symbol, such as `600000.SH`.
    symbol: String,
}

impl<S: Send + Sync> FromRequestParts<S> for SymbolPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_part(parts, state, "symbol").await.map(Self)
    }
}

impl OperationInput for SymbolPath {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Path::<SymbolPathSchema>::operation_input(ctx, operation);
    }
}

/// The dead letter that a path names.
#[derive(Debug, Clone)]
pub(crate) struct DeadPath(pub String);

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the schema generator only")]
struct DeadPathSchema {
    /// The id of a dead letter: 32 hexadecimal digits.
    id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for DeadPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_part(parts, state, "id").await?;
        if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let detail =
            "a dead letter is named by 32 hexadecimal digits, as GET /api/v1/dead shows them";
        let fault = Fault::new("{id}", "not_an_id", detail).value(&text.into());
        Err(Problem::invalid(vec![fault]))
    }
}

impl OperationInput for DeadPath {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Path::<DeadPathSchema>::operation_input(ctx, operation);
    }
}

/// Query of the dead letters.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadQuery {
    /// Only those of this pool.
    pub pool: Option<String>,
    /// How many are looked at, 1 to 1,000; 100 when absent.
    #[schemars(with = "Option<u32>")]
    pub limit: Option<String>,
}

/// The key that a path names.
#[derive(Debug, Clone)]
pub(crate) struct KeyPath(pub String);

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the schema generator only")]
struct KeyPathSchema {
    /// The name of a key.
    name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_part(parts, state, "name").await.map(Self)
    }
}

impl OperationInput for KeyPath {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Path::<KeyPathSchema>::operation_input(ctx, operation);
    }
}

async fn path_part<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<String, Problem> {
    let path = parts.uri.path().to_owned();
    let found = RawPathParams::from_request_parts(parts, state)
        .await
        .ok()
        .and_then(|all| {
            all.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
        });
    found.ok_or_else(|| Problem::not_found(format!("there is nothing at {path}")))
}

/// The parameters of the query.
#[derive(Debug, Clone)]
pub(crate) struct Search<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Search<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(refused) => {
                let reason = std::error::Error::source(&refused)
                    .map_or_else(|| refused.body_text(), ToString::to_string);
                let query = parts.uri.query().unwrap_or_default();
                let detail = format!("the query cannot be read: {reason}");
                let fault = Fault::new("?", "bad_query", detail).value(&query.into());
                Err(Problem::invalid(vec![fault]))
            }
        }
    }
}

impl<T: JsonSchema> OperationInput for Search<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Query::<T>::operation_input(ctx, operation);
    }
}

/// A whole number of the query, within bounds; a fault names the parameter.
pub(crate) fn page_size(limit: Option<&str>, faults: &mut Vec<Fault>) -> u32 {
    use crate::limits::{DEFAULT_PAGE, MAX_PAGE};
    let Some(text) = limit else {
        return DEFAULT_PAGE;
    };
    match text.parse() {
        Ok(limit) if (1..=MAX_PAGE).contains(&limit) => limit,
        _ => {
            let detail = format!("limit is a whole number from 1 to {MAX_PAGE}");
            let fault = Fault::new("?limit", "out_of_range", detail);
            faults.push(fault.value(&text.into()).limit(MAX_PAGE));
            DEFAULT_PAGE
        }
    }
}

/// A value of the query that has names; a fault lists them.
pub(crate) fn named<T: std::str::FromStr>(
    parameter: &str,
    text: &str,
    allowed: &[&str],
    faults: &mut Vec<Fault>,
) -> Option<T> {
    named_at(&format!("?{parameter}"), parameter, text, allowed, faults)
}

/// The same at any place; `what` is what it names.
pub(crate) fn named_at<T: std::str::FromStr>(
    pointer: &str,
    what: &str,
    text: &str,
    allowed: &[&str],
    faults: &mut Vec<Fault>,
) -> Option<T> {
    let value = text.parse().ok();
    if value.is_none() {
        faults.push(unknown(pointer, what, text, allowed));
    }
    value
}

/// The fault of a name that is none of those allowed.
pub(crate) fn unknown(pointer: &str, what: &str, text: &str, allowed: &[&str]) -> Fault {
    let advice = match close_to(text, allowed.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("use {}", allowed.join(", ")),
    };
    let detail = format!("'{}' is no {what}; {advice}", shown(text));
    let fault = Fault::new(pointer, "unknown_name", detail).value(&text.into());
    fault.allowed(allowed.iter().copied())
}

/// Query of a list of tasks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskQuery {
    /// Only tasks in these states, comma separated: queued, running, paused, completed, failed,
    /// cancelled.
    pub status: Option<String>,
    /// Only this kind, such as `hyperparameter_optimization`.
    pub task_type: Option<String>,
    /// Only this strategy.
    pub strategy_name: Option<String>,
    /// Only names that contain this text, ignoring case.
    pub name: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Size of the page, 1 to 1,000; 100 when absent.
    #[schemars(with = "Option<u32>")]
    pub limit: Option<String>,
}

/// Query of a list of trials.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialQuery {
    /// Only this state: completed, pruned, failed, or running (announced slow trials).
    pub state: Option<String>,
    /// `next_cursor` of the page before: trials above this number.
    #[schemars(with = "Option<u32>")]
    pub cursor: Option<String>,
    /// Size of the page, 1 to 1,000; 100 when absent.
    #[schemars(with = "Option<u32>")]
    pub limit: Option<String>,
}

/// Query of a front.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FrontQuery {
    /// Of a walk-forward, the window that is looked at; the last one when absent.
    #[schemars(with = "Option<u16>")]
    pub window: Option<String>,
}

/// Query of importances.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportanceQuery {
    /// `ped_anova` (what sets the best tenth of the trials apart; the default) or `fanova` (the part of
    /// the variance over the whole space; for evenly spread trials).
    #[schemars(extend("enum" = crate::tasks::MEASURES))]
    pub method: Option<String>,
    /// Only this objective; all when absent.
    pub target: Option<String>,
    /// Of a walk-forward, the window that is looked at; the last one when absent.
    #[schemars(with = "Option<u16>")]
    pub window: Option<String>,
}

/// Query of the data of a picture.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FigureQuery {
    /// The objective that is shown; the first when absent, but for a history of several, which is that of
    /// their hypervolume.
    pub target: Option<String>,
    /// The first parameter of a contour; the most important one when absent.
    pub x: Option<String>,
    /// The second parameter of a contour; the next in importance when absent.
    pub y: Option<String>,
    /// Of a walk-forward, the window that is looked at; the last one when absent.
    #[schemars(with = "Option<u16>")]
    pub window: Option<String>,
}

/// Query of the audit.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// `next_cursor` of the page before: events below this number.
    #[schemars(with = "Option<i64>")]
    pub cursor: Option<String>,
    /// Size of the page, 1 to 1,000; 100 when absent.
    #[schemars(with = "Option<u32>")]
    pub limit: Option<String>,
}
