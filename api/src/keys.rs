//! Making, listing and revoking keys.

use crate::access::Caller;
use crate::answer::{KeyAnswer, KeyCreated, KeyList};
use crate::body::read_json;
use crate::docs::operation;
use crate::extract::KeyPath;
use crate::key::NewSecret;
use crate::problem::{Class, Problem};
use crate::state::AppState;
use aide::OperationInput;
use aide::axum::ApiRouter;
use aide::axum::routing::{delete_with, post_with};
use aide::generate::GenContext;
use aide::openapi::Operation;
use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use trialmill_common::draft::parse_body;
use trialmill_common::fault::Fault;
use trialmill_common::key::{KeyDraft, check_key};
use trialmill_store::keys::NewKey;

pub(crate) fn routes() -> ApiRouter<AppState> {
    let doc = |name: &str, summary| operation(name.to_owned(), "Keys", summary);
    ApiRouter::new()
        .api_route(
            "/api/v1/keys",
            post_with(create, move |op| {
                doc("key_create", "Make a key")(op)
                    .description(
                        "The answer has the key itself, which is kept nowhere and shown never \
                         again. 409 when another key that is not revoked has the name; an expired \
                         one is to be revoked first.",
                    )
                    .response_with::<201, Json<KeyCreated>, _>(|r| r.description("The new key."))
                    .response_with::<409, Problem, _>(|r| r.description("The name is taken."))
            })
            .get_with(list, doc("keys", "List keys, revoked ones last")),
        )
        .api_route(
            "/api/v1/keys/{name}",
            delete_with(revoke, move |op| {
                doc("key_revoke", "Revoke a key")(op)
                    .description(
                        "It stops working here at once and in other processes within 3 seconds; \
                         tasks that it submitted go on. Revoking the last key opens a service on \
                         loopback that has no TRIALMILL_API_KEY.",
                    )
                    .response_with::<204, (), _>(|r| r.description("It is revoked."))
            }),
        )
}

/// The request for a key, for the description.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the schema generator only")]
struct KeyRequest {
    /// 1 to 64 letters, digits, '.', '_' and '-'; not environment or database.
    name: String,
    /// What it may do: read, submit (includes read), admin (includes both).
    scopes: Vec<String>,
    /// Days until it ceases to be valid, 1 to 3,650; never when absent.
    expires_in_days: Option<u32>,
    /// Most tasks of it that have not ended; what the service says when absent.
    max_active_tasks: Option<u64>,
    /// Most trials of these tasks that have not ended; what the service says when absent.
    max_backlog_trials: Option<u64>,
}

/// A checked request for a key.
struct Draft(KeyDraft);

impl<S: Send + Sync> FromRequest<S> for Draft {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_json(&parts.headers, body).await?;
        let body = parse_body(&bytes).map_err(Problem::invalid)?;
        check_key(&body).map(Self).map_err(Problem::invalid)
    }
}

impl OperationInput for Draft {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Json::<KeyRequest>::operation_input(ctx, operation);
    }
}

async fn create(
    State(state): State<AppState>,
    caller: Caller,
    Draft(draft): Draft,
) -> Result<Response, Problem> {
    let secret = NewSecret::draw().map_err(|error| {
        tracing::error!(%error, "no key can be made");
        Problem::internal()
    })?;
    let name = draft.name.clone();
    let new = NewKey {
        draft,
        hash: secret.digest(),
        created_by: caller.key().to_owned(),
    };
    let Some(row) = state.store.create_key(new).await? else {
        let detail = format!(
            "there is a key '{name}' that is not revoked; choose another name, or revoke it first"
        );
        let fault = Fault::new("/name", "name_taken", detail).value(&name.into());
        return Err(Problem::of_fault(Class::Conflict, fault));
    };
    state.access.keys_changed();
    tracing::info!(key = %row.name, by = caller.key(), "a key was made");
    let created = KeyCreated {
        key: secret.reveal().to_owned(),
        about: row.into(),
    };
    let unkept: (HeaderName, HeaderValue) =
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((StatusCode::CREATED, [unkept], Json(created)).into_response())
}

async fn list(State(state): State<AppState>) -> Result<Json<KeyList>, Problem> {
    let page = state.store.keys().await?;
    Ok(Json(KeyList {
        items: page.keys.into_iter().map(KeyAnswer::from).collect(),
        total: page.total,
    }))
}

async fn revoke(
    State(state): State<AppState>,
    caller: Caller,
    KeyPath(name): KeyPath,
) -> Result<StatusCode, Problem> {
    let revoked = state.store.revoke_key(&name, caller.key()).await?;
    state.access.keys_changed();
    let Some(row) = revoked else {
        return Err(Problem::not_found(format!(
            "there is no key '{name}' that is not revoked; the key of the environment is changed \
             where TRIALMILL_API_KEY is set"
        )));
    };
    tracing::info!(key = %row.name, by = caller.key(), "a key was revoked");
    Ok(StatusCode::NO_CONTENT)
}
