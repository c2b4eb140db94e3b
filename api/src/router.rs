//! All routes, and what every request passes through.

use crate::extract::{OPTIMIZATION_TASKS, TASKS};
use crate::limits::{MAX_HEADER_BYTES, REQUEST_TIME};
use crate::problem::{self, Class, Problem};
use crate::state::AppState;
use crate::{access, audit, catalogue, dead, docs, keys, market_data, operations, tasks};
use aide::axum::ApiRouter;
use aide::openapi::OpenApi;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;

fn routes() -> ApiRouter<AppState> {
    ApiRouter::new()
        .merge(tasks::routes(OPTIMIZATION_TASKS))
        .merge(tasks::routes(TASKS))
        .merge(catalogue::routes())
        .merge(market_data::routes())
        .merge(operations::routes())
        .merge(dead::routes())
        .merge(keys::routes())
        .merge(audit::routes())
        .merge(docs::routes())
}

/// The OpenAPI 3.1 document of the routes.
#[must_use]
pub fn openapi() -> OpenApi {
    finished().1
}

fn finished() -> (Router<AppState>, OpenApi) {
    let mut document = docs::empty_document();
    let router = routes().finish_api_with(&mut document, docs::describe);
    access::describe(&mut document);
    (router, document)
}

/// The API over a store and a broker, ready to be served or embedded.
///
/// # Panics
/// Never: the document of the routes always has a JSON form, which a test reads.
pub fn router(state: AppState) -> Router {
    let (router, document) = finished();
    let document = serde_json::to_string(&document).expect("the document has a JSON form");
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        // The innermost layer is the last a request meets.
        .layer(Extension(docs::Document(document.into())))
        // It asks the store: within the time limit, and where a panic is caught.
        .layer(from_fn_with_state(state.clone(), access::admit))
        .layer(CatchPanicLayer::custom(problem::caught))
        .layer(from_fn(in_time))
        .layer(from_fn(small_headers))
        .layer(from_fn(problem::render))
        .layer(from_fn(logged))
        .with_state(state)
}

async fn nothing_here(request: Request) -> Problem {
    Problem::not_found(format!(
        "there is nothing at {}; /docs lists what this version has",
        request.uri().path()
    ))
}

async fn other_method(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    let detail = format!("{method} is not possible at {path}; the Allow header lists what is");
    Problem::new(Class::MethodNotAllowed, detail)
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = REQUEST_TIME.as_secs();
            let detail = format!(
                "the request took longer than {seconds} s and was given up; whether it took \
                 effect is not known: look, or repeat it with its Idempotency-Key"
            );
            Problem::new(Class::TimedOut, detail).into_response()
        }
    }
}

async fn small_headers(request: Request, next: Next) -> Response {
    let size =
        |(name, value): (&header::HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let bytes: usize = request.headers().iter().map(size).sum();
    let bytes = bytes
        + request
            .uri()
            .path_and_query()
            .map_or(0, |path| path.as_str().len());
    if bytes <= MAX_HEADER_BYTES {
        return next.run(request).await;
    }
    let detail = format!("path and headers have {bytes} bytes; the limit is {MAX_HEADER_BYTES}");
    Problem::new(Class::HeadersTooLarge, detail).into_response()
}

/// One line per request, without its headers: they carry keys.
async fn logged(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    if status >= 500 {
        tracing::warn!(%method, path, status, "answered");
    } else {
        tracing::debug!(%method, path, status, "answered");
    }
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
