//! Dead letters: messages that nobody could use. Looking at them changes nothing, and removing one
//! costs no work: its unit is in the database.

use crate::access::Caller;
use crate::answer::{DeadLetterAnswer, DeadList, Discarded};
use crate::docs::operation;
use crate::extract::{DeadPath, DeadQuery, Search, page_size};
use crate::finish::to_the_end;
use crate::problem::{Class, Problem};
use crate::state::AppState;
use aide::axum::ApiRouter;
use aide::axum::routing::{delete_with, get_with, post_with};
use axum::Json;
use axum::extract::State;
use trialmill_broker::{BrokerError, DeadLetter, check_pool};
use trialmill_common::fault::Fault;

pub(crate) fn routes() -> ApiRouter<AppState> {
    let doc = |name: &str, summary| operation(name.to_owned(), "Operations", summary);
    ApiRouter::new()
        .api_route(
            "/api/v1/dead",
            get_with(list, |op| {
                doc("dead", "Dead letters with their reasons, oldest first")(op).description(
                    "Messages that could not be read, or were given back too often. They stay where \
                     they are; one that another process looks at in the same moment is left out.",
                )
            })
            .delete_with(discard_all, doc("discard_all_dead", "Remove all dead letters")),
        )
        .api_route(
            "/api/v1/dead/{id}",
            delete_with(discard, doc("discard_dead", "Remove a dead letter")),
        )
        .api_route(
            "/api/v1/dead/{id}/replay",
            post_with(replay, |op| {
                doc("replay_dead", "Put a dead letter back into its queue")(op).description(
                    "What still cannot be read comes back, under another id. A message whose unit \
                     has ended meanwhile does no harm.",
                )
            }),
        )
}

async fn list(
    State(state): State<AppState>,
    Search(query): Search<DeadQuery>,
) -> Result<Json<DeadList>, Problem> {
    let mut faults = Vec::new();
    let limit = page_size(query.limit.as_deref(), &mut faults);
    let pool = pool(query.pool.as_deref(), &mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let found = state.broker.dead(limit).await?;
    let of_pool = |letter: &DeadLetter| pool.is_none() || letter.pool.as_deref() == pool;
    let letters = found.letters.into_iter().filter(of_pool);
    Ok(Json(DeadList {
        items: letters.map(answer).collect(),
        total: found.total,
    }))
}

async fn replay(
    State(state): State<AppState>,
    caller: Caller,
    DeadPath(id): DeadPath,
) -> Result<Json<DeadLetterAnswer>, Problem> {
    to_the_end(async move {
        let found = state.broker.replay_dead(&id).await?;
        let found = found.ok_or_else(|| none_of(&id))?;
        state.tell(&caller, "dead.replay", id).await;
        Ok(Json(answer(found)))
    })
    .await
}

async fn discard(
    State(state): State<AppState>,
    caller: Caller,
    DeadPath(id): DeadPath,
) -> Result<Json<DeadLetterAnswer>, Problem> {
    to_the_end(async move {
        let found = state.broker.discard_dead(&id).await?;
        let found = found.ok_or_else(|| none_of(&id))?;
        state.tell(&caller, "dead.discard", id).await;
        Ok(Json(answer(found)))
    })
    .await
}

async fn discard_all(
    State(state): State<AppState>,
    caller: Caller,
    Search(query): Search<DeadQuery>,
) -> Result<Json<Discarded>, Problem> {
    let mut faults = Vec::new();
    let pool = pool(query.pool.as_deref(), &mut faults);
    if let Some(limit) = &query.limit {
        let detail = "all are removed, or all of a pool; a limit means nothing here";
        faults.push(Fault::new("?limit", "not_here", detail).value(&limit.as_str().into()));
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let pool = pool.map(str::to_owned);
    to_the_end(async move {
        let discarded = state.broker.discard_all_dead(pool.as_deref()).await?;
        let of = pool.map_or_else(|| "all".to_owned(), |pool| format!("all of {pool}"));
        state.tell(&caller, "dead.discard", of).await;
        Ok(Json(Discarded { discarded }))
    })
    .await
}

/// The pool of the query; a name that cannot be one is a fault.
fn pool<'a>(pool: Option<&'a str>, faults: &mut Vec<Fault>) -> Option<&'a str> {
    let pool = pool?;
    if let Err(error) = check_pool(pool) {
        let fault = Fault::new("?pool", "bad_pool", error.to_string());
        faults.push(fault.value(&pool.into()));
        return None;
    }
    Some(pool)
}

fn none_of(id: &str) -> Problem {
    Problem::not_found(format!(
        "there is no dead letter {id}; GET /api/v1/dead lists them. It may have been replayed or \
         discarded, or another process looks at it: try again"
    ))
}

fn answer(letter: DeadLetter) -> DeadLetterAnswer {
    DeadLetterAnswer {
        id: letter.id,
        code: letter.code,
        reason: letter.reason,
        pool: letter.pool,
        task_id: letter.unit.as_ref().map(|unit| unit.task),
        unit: letter.unit.as_ref().map(|unit| unit.unit),
        schema: letter.schema,
        body: letter.body,
        bytes: letter.bytes as u64,
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Self {
        let class = match &error {
            BrokerError::Unavailable { .. }
            | BrokerError::Timeout { .. }
            | BrokerError::Failed { .. } => Class::Unavailable,
            BrokerError::BadPoolName { .. }
            | BrokerError::BadConsumerName { .. }
            | BrokerError::BadUrl { .. }
            | BrokerError::NoTls { .. } => Class::Internal,
        };
        Self::new(class, error.to_string())
    }
}
