//! The description of the API: `/openapi.json`, and `/docs`, which needs no network.

use crate::access::SCHEME;
use crate::problem::Problem;
use crate::state::AppState;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::openapi::{Info, OpenApi, SecurityRequirement, SecurityScheme, Tag};
use aide::scalar::Scalar;
use aide::transform::{TransformOpenApi, TransformOperation};
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use std::sync::{Arc, LazyLock};

/// The document as it is served.
#[derive(Clone)]
pub(crate) struct Document(pub Arc<str>);

/// Names an operation: its id, its group and one line.
pub(crate) fn operation(
    id: String,
    tag: &'static str,
    summary: &'static str,
) -> impl for<'a> FnOnce(TransformOperation<'a>) -> TransformOperation<'a> {
    move |op| op.id(&id).tag(tag).summary(summary)
}

/// Says that an operation needs no key, where there is one.
pub(crate) fn open(mut op: TransformOperation<'_>) -> TransformOperation<'_> {
    op.inner_mut().security = vec![SecurityRequirement::default()];
    op
}

pub(crate) fn routes() -> ApiRouter<AppState> {
    ApiRouter::new()
        .api_route(
            "/openapi.json",
            get_with(openapi, |op| {
                open(op)
                    .id("openapi")
                    .tag("Description")
                    .summary("This document")
                    .response_with::<200, Json<serde_json::Value>, _>(|r| {
                        r.description("An OpenAPI 3.1 document.")
                    })
            }),
        )
        .api_route(
            "/docs",
            get_with(page, |op| {
                open(op)
                    .id("docs")
                    .tag("Description")
                    .summary("This document as a page, for people")
                    .response_with::<200, Html<String>, _>(|r| r.description("The page."))
            }),
        )
        .api_route(
            "/",
            get_with(home, |op| {
                open(op)
                    .id("home")
                    .tag("Description")
                    .summary("Leads to /docs")
                    .response_with::<307, (), _>(|r| r.description("Location is /docs."))
            }),
        )
}

/// What every operation has in common.
pub(crate) fn describe(api: TransformOpenApi<'_>) -> TransformOpenApi<'_> {
    let tag = |name: &str, description: &str| Tag {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        ..Tag::default()
    };
    let scheme = SecurityScheme::Http {
        scheme: "bearer".to_owned(),
        bearer_format: None,
        description: Some(
            "A key of the service: TRIALMILL_API_KEY, or one made with `trialmill keys create` or \
             POST /api/v1/keys. Scopes: read; submit, which includes read; admin, which includes \
             both. Keys are needed beyond loopback, and on loopback once there is one."
                .to_owned(),
        ),
        extensions: Default::default(),
    };
    api.tag(tag("Optimizations", "Searches over parameter spaces."))
        .tag(tag("Tasks", "Tasks of every kind, with task_type."))
        .tag(tag("Catalogue", "What this build can run."))
        .tag(tag("Operations", "Health, workers, queues."))
        .tag(tag("Keys", "Who may do what, and who did what."))
        .tag(tag("Market data", "Stored bars."))
        .tag(tag("Description", "This API."))
        .security_scheme(SCHEME, scheme)
        .security_requirement_multi([SCHEME])
        // Every path may answer a problem, if only because the key is missing.
        .default_response::<Problem>()
}

pub(crate) fn empty_document() -> OpenApi {
    OpenApi {
        info: Info {
            title: "Trialmill".to_owned(),
            summary: Some("Optimization tasks over HTTP".to_owned()),
            description: Some(
                "Post a task, watch it, take its result. Errors are problem documents (RFC 9457) \
                 with every fault of a request at once."
                    .to_owned(),
            ),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Info::default()
        },
        ..OpenApi::default()
    }
}

async fn openapi(Extension(document): Extension<Document>) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], document.0.to_string()).into_response()
}

/// The page: Scalar's script and style are inside it. Its own fonts, telemetry and request proxy,
/// which it would fetch from the network, are switched off.
static PAGE: LazyLock<String> =
    LazyLock::new(|| {
        Scalar::new("/openapi.json").with_title("Trialmill API").html().replacen(
        "theme: 'purple',",
        "theme: 'purple', withDefaultFonts: false, telemetry: false, hideClientButton: true,",
        1,
    )
    });

/// What a browser may load for the page: nothing but the page itself and this service. What the
/// script may try in spite of its configuration, the browser refuses.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
                           style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";

async fn page() -> Response {
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let policy = HeaderValue::from_static(PAGE_POLICY);
    (
        [
            (header::CONTENT_TYPE, html),
            (header::CONTENT_SECURITY_POLICY, policy),
        ],
        PAGE.as_str(),
    )
        .into_response()
}

async fn home() -> Redirect {
    Redirect::temporary("/docs")
}
