//! What happens to a task, as it happens: server-sent events read from the store by number.
//!
//! Nothing is kept per watcher but one page of events: whoever is slow reads later, whoever comes
//! back says which event it saw last, and the store has them all. What is new is read once for all
//! watchers (see [`super::tail`]); each reads for itself what it has missed.

use super::find;
use super::tail::{MAX_FAILURES_IN_A_ROW, Newest, Tail};
use crate::extract::{Scope, TaskPath};
use crate::limits::{EVENT_PAGE, EVENT_POLL, KEEP_ALIVE, MAX_EVENT_STREAMS};
use crate::problem::{Class, Problem};
use crate::serve::Closing;
use crate::state::AppState;
use aide::openapi::{MediaType, Response as ApiResponse};
use aide::transform::TransformOperation;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event as Sse, KeepAlive, Sse as Stream};
use axum::response::{IntoResponse, Response};
use futures::stream;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};
use trialmill_common::cursor::last_event_id;
use trialmill_common::draft::has_several_objectives;
use trialmill_common::protocol::Event;
use trialmill_common::state::TaskId;
use trialmill_store::rows::EventRow;

/// The header that a browser sends when it comes back.
const LAST_EVENT_ID: &str = "last-event-id";

pub(super) fn describe(op: TransformOperation<'_>) -> TransformOperation<'_> {
    let mut op = op.description(
        "A `text/event-stream`. Each event has its number as `id`, its type as `event` (accepted, \
         started, trials, paused, resumed, stopping, unit_lost, ended) and a JSON object as \
         `data`, with `seq`, `at` and the fields of the type; `best` of trials is null with several \
         objectives. With `Last-Event-ID` it goes on \
         after that event. It ends after `ended`; asked again after that, it answers 204, which \
         tells a browser not to come back. Events are removed some time after the end \
         (TRIALMILL_KEEP_EVENTS_DAYS), but for the last: an event `trimmed`, with the numbers `from` \
         and `to`, stands for those that are gone.",
    )
    .response_with::<204, (), _>(|r| r.description("The last event was seen already."));
    let mut events = ApiResponse {
        description: "The events, the missed ones first.".to_owned(),
        ..ApiResponse::default()
    };
    events
        .content
        .insert("text/event-stream".to_owned(), MediaType::default());
    let responses = &mut op
        .inner_mut()
        .responses
        .get_or_insert_with(Default::default)
        .responses;
    responses.insert(
        aide::openapi::StatusCode::Code(200),
        aide::openapi::ReferenceOr::Item(events),
    );
    op
}

pub(super) async fn stream(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
    request: Request,
) -> Result<Response, Problem> {
    let after = last_seen(request.headers())?;
    let task = find(&state, scope, id).await?;
    if task.ledger.state.is_terminal() && after >= task.ledger.seq {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Ok(permit) = Arc::clone(&state.streams).try_acquire_owned() else {
        return Err(Problem::new(
            Class::Unavailable,
            format!(
                "this process serves {MAX_EVENT_STREAMS} watchers, its limit; come back later, \
                 or read the status instead"
            ),
        ));
    };
    // One who claims to have seen more than there is has seen what there is.
    let after = after.min(task.ledger.seq);
    let tail = state.tails.watch(id, task.ledger.seq);
    let has_best = !has_several_objectives(&task.request);
    let watcher = Watcher {
        newest: tail.subscribe(),
        _tail: tail,
        caught_up: false,
        closing: request.extensions().get::<Closing>().cloned(),
        state,
        id,
        after,
        page: VecDeque::new(),
        failures: 0,
        over: false,
        _permit: permit,
    };
    let events = stream::unfold(watcher, move |mut watcher| async move {
        let told = watcher.next().await?;
        Some((Ok::<_, Infallible>(told.into_sse(has_best)), watcher))
    });
    let mut response = Stream::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response();
    // A proxy that buffers would hold events back until its buffer is full.
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn last_seen(headers: &HeaderMap) -> Result<i64, Problem> {
    headers.get(LAST_EVENT_ID).map_or(Ok(0), |value| {
        last_event_id(value.as_bytes()).map_err(|fault| Problem::invalid(vec![*fault]))
    })
}

/// What a watcher is told.
enum Told {
    /// An event.
    Event(EventRow),
    /// The events of these numbers, both included, are no longer kept.
    Trimmed { from: i64, to: i64 },
}

impl Told {
    fn into_sse(self, has_best: bool) -> Sse {
        match self {
            Self::Event(row) => to_sse(&row, has_best),
            Self::Trimmed { from, to } => {
                let data = serde_json::json!({
                    "type": "trimmed", "from": from, "to": to,
                    "detail": "the task ended long ago: these events are no longer kept; its \
                               trials and its result are",
                });
                Sse::default()
                    .id(to.to_string())
                    .event("trimmed")
                    .data(data.to_string())
            }
        }
    }
}

/// An event as it is sent; of several objectives no trial is the best.
fn to_sse(row: &EventRow, has_best: bool) -> Sse {
    let mut data = serde_json::to_value(&row.event).expect("every event has a JSON form");
    if !has_best && let Some(best) = data.get_mut("best") {
        *best = serde_json::Value::Null;
    }
    data["seq"] = row.seq.into();
    data["at"] = row
        .at
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
        .into();
    let name = data["type"].as_str().unwrap_or("event").to_owned();
    Sse::default()
        .id(row.seq.to_string())
        .event(name)
        .data(data.to_string())
}

/// One client that watches one task.
struct Watcher {
    state: AppState,
    id: TaskId,
    newest: watch::Receiver<Newest>,
    /// While it lives the task is watched.
    _tail: Arc<Tail>,
    /// Whether it has once seen all that was there: from then on the tail tells of what comes.
    caught_up: bool,
    closing: Option<Closing>,
    after: i64,
    page: VecDeque<EventRow>,
    failures: u32,
    over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next event; nothing after the last one, when the task is deleted, or at shutdown.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if self.over || self.closing.as_ref().is_some_and(Closing::has_begun) {
                return None;
            }
            // Numbers are dense, so a gap is what was removed.
            if let Some(row) = self.page.front().filter(|row| row.seq > self.after + 1) {
                let (from, to) = (self.after + 1, row.seq - 1);
                self.after = to;
                return Some(Told::Trimmed { from, to });
            }
            if let Some(row) = self.page.pop_front() {
                self.after = row.seq;
                self.over = matches!(row.event, Event::Ended { .. });
                return Some(Told::Event(row));
            }
            let newest = self.newest.borrow_and_update().clone();
            if let Some(rows) = newest.after(self.after) {
                self.page = rows.into();
                continue;
            }
            if self.caught_up && newest.seq <= self.after {
                if newest.over {
                    return None;
                }
                self.wait().await;
                continue;
            }
            match self
                .state
                .store
                .events(self.id, self.after, EVENT_PAGE)
                .await
            {
                Ok(rows) => {
                    self.failures = 0;
                    self.caught_up = rows.is_empty();
                    self.page = rows.into();
                }
                Err(error) if error.is_transient() && self.failures < MAX_FAILURES_IN_A_ROW => {
                    self.failures += 1;
                    tokio::time::sleep(EVENT_POLL).await;
                }
                Err(error) => {
                    tracing::error!(task.id = %self.id, error = %error, "a watcher is given up");
                    return None;
                }
            }
        }
    }

    /// Waits for news of the task, or until the service ends.
    async fn wait(&mut self) {
        let closing = self.closing.clone();
        let closed = async {
            match closing {
                Some(mut closing) => closing.begun().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = closed => {}
            // The sender lives as long as this watcher.
            _ = self.newest.changed() => {}
        }
    }
}
