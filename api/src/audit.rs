//! Who did what.

use crate::answer::{AuditAnswer, AuditList};
use crate::docs::operation;
use crate::extract::{AuditQuery, Search, page_size};
use crate::problem::Problem;
use crate::state::AppState;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use trialmill_common::fault::Fault;

pub(crate) fn routes() -> ApiRouter<AppState> {
    ApiRouter::new().api_route(
        "/api/v1/audit",
        get_with(list, |op| {
            operation("audit".to_owned(), "Keys", "Who did what, latest first")(op).description(
                "Submissions, cancels, pauses, resumptions and deletions of tasks, new and revoked \
                 keys, and refused requests, which are gathered for a minute.",
            )
        }),
    )
}

async fn list(
    State(state): State<AppState>,
    Search(query): Search<AuditQuery>,
) -> Result<Json<AuditList>, Problem> {
    let mut faults = Vec::new();
    let limit = page_size(query.limit.as_deref(), &mut faults);
    let before = query.cursor.as_deref().map(str::parse::<i64>);
    if let Some(Err(_)) = before {
        let detail = "cursor is next_cursor of the page before";
        let fault = Fault::new("?cursor", "bad_cursor", detail);
        faults.push(fault.value(&query.cursor.into()));
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let rows = state.store.audit_page(before.and_then(Result::ok), limit);
    let rows = rows.await?;
    let full = rows.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let last = rows.last().filter(|_| full);
    Ok(Json(AuditList {
        next_cursor: last.map(|row| row.id.to_string()),
        items: rows.into_iter().map(AuditAnswer::from).collect(),
    }))
}
