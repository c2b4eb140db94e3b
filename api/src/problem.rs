//! The one place where a failure becomes an HTTP answer: RFC 9457 problem documents.

use crate::answer::FaultAnswer;
use crate::limits::RETRY_AFTER_SECONDS;
use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{
    Header, HeaderStyle, MediaType, Operation, ReferenceOr, Response as ApiResponse, SchemaObject,
};
use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use trialmill_common::fault::Fault;
use trialmill_common::protocol::NotAllowed;
use trialmill_store::StoreError;

/// The classes of problems. Each has one status and one `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request can be read and is wrong; `errors` has every fault.
    InvalidRequest,
    /// A key is needed.
    Unauthorized,
    /// The key may not do this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The state of the task, or an earlier request, forbids it.
    Conflict,
    /// The body was not complete in time.
    BodyTooSlow,
    /// The body is too large.
    BodyTooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The headers are too large.
    HeadersTooLarge,
    /// A key or an address asked for too much; the same request may succeed later.
    LimitReached,
    /// A fault of ours.
    Internal,
    /// The database is away, or this process is at a limit; the same request may succeed later.
    Unavailable,
    /// It took too long.
    TimedOut,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 14] = [
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::BodyTooSlow,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::HeadersTooLarge,
        Self::LimitReached,
        Self::Internal,
        Self::Unavailable,
        Self::TimedOut,
    ];

    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::LimitReached => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The last part of the `type`: `urn:trialmill:problem:<name>`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::HeadersTooLarge => "headers_too_large",
            Self::LimitReached => "limit_reached",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not valid",
            Self::Unauthorized => "A valid API key is needed",
            Self::Forbidden => "The API key does not allow it",
            Self::NotFound => "There is no such resource",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::Conflict => "The present state does not allow it",
            Self::BodyTooSlow => "The body came too slowly",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::HeadersTooLarge => "The headers are too large",
            Self::LimitReached => "A limit is reached",
            Self::Internal => "An internal fault",
            Self::Unavailable => "Not available now",
            Self::TimedOut => "It took too long",
        }
    }
}

/// A failure on its way to the client.
///
/// As a response it is empty and carries itself; `render` writes the document, which needs the
/// path of the request.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Its class.
    pub class: Class,
    /// What happened to this request, in a sentence.
    pub detail: String,
    /// Every fault found.
    pub errors: Vec<Fault>,
    /// What the client is told to wait, in seconds.
    pub retry_after: Option<u32>,
}

impl Problem {
    /// A problem without a list of faults.
    pub fn new(class: Class, detail: impl Into<String>) -> Self {
        Self {
            class,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: (class == Class::Unavailable).then_some(RETRY_AFTER_SECONDS),
        }
    }

    /// One limit that is reached, after which the same request may succeed in `seconds`.
    #[must_use]
    pub fn limit_reached(fault: Fault, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::of_fault(Class::LimitReached, fault)
        }
    }

    /// A problem of one fault.
    #[must_use]
    pub fn of_fault(class: Class, fault: Fault) -> Self {
        Self {
            errors: vec![fault.clone()],
            ..Self::new(class, fault.detail)
        }
    }

    /// A request with faults.
    #[must_use]
    pub fn invalid(errors: Vec<Fault>) -> Self {
        let detail = match errors.as_slice() {
            [only] => only.detail.clone(),
            all => format!(
                "the request has {} faults; each is listed in errors",
                all.len()
            ),
        };
        Self {
            errors,
            ..Self::new(Class::InvalidRequest, detail)
        }
    }

    /// Nothing of that name.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Class::NotFound, detail)
    }
}

/// The document, as it is sent with `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ProblemAnswer {
    /// `urn:trialmill:problem:` and the class.
    #[serde(rename = "type")]
    pub kind: String,
    /// The class, for people.
    pub title: String,
    /// The HTTP status again.
    pub status: u16,
    /// What happened to this request.
    pub detail: String,
    /// The path of the request.
    pub instance: String,
    /// Every fault of the request; empty unless the request is at fault.
    pub errors: Vec<FaultAnswer>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.class.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the document of a problem; the outermost layer but the log.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let instance = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let class = problem.class;
    let document = ProblemAnswer {
        kind: format!("urn:trialmill:problem:{}", class.name()),
        title: class.title().to_owned(),
        status: class.status().as_u16(),
        detail: problem.detail,
        instance,
        errors: problem.errors.into_iter().map(FaultAnswer::from).collect(),
    };
    let (mut parts, _) = response.into_parts();
    let (written, body) = Json(document).into_response().into_parts();
    parts.headers.extend(written.headers);
    parts.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    parts.headers.remove(header::CONTENT_LENGTH);
    if let Some(seconds) = problem.retry_after {
        let seconds = HeaderValue::from(seconds);
        parts.headers.insert(header::RETRY_AFTER, seconds);
    }
    let challenge = match class {
        Class::Unauthorized => Some("Bearer"),
        Class::Forbidden => Some("Bearer error=\"insufficient_scope\""),
        _ => None,
    };
    if let Some(challenge) = challenge {
        let challenge = HeaderValue::from_static(challenge);
        parts.headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    Response::from_parts(parts, Body::new(body))
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            tracing::warn!(error = %error, "the database is not available");
            return Self::new(
                Class::Unavailable,
                "the database is not available now and nothing was changed for certain; \
                 send the same request again (a submission with the same Idempotency-Key)",
            );
        }
        tracing::error!(error = %error, "a store operation failed");
        Self::internal()
    }
}

impl Problem {
    /// A fault of ours, which is in the log and not in the answer.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            Class::Internal,
            "the service failed in a way that is not the request's fault; its log has the reason",
        )
    }
}

impl From<NotAllowed> for Problem {
    fn from(refused: NotAllowed) -> Self {
        Self::new(Class::Conflict, refused.to_string())
    }
}

/// What a panic in a handler becomes: the message goes to the log, never to the client.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer that catches panics asks for this signature"
)]
pub(crate) fn caught(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("(no message)");
    tracing::error!(panic = message, "a handler panicked");
    Problem::internal().into_response()
}

impl OperationOutput for Problem {
    type Inner = ProblemAnswer;

    fn operation_response(ctx: &mut GenContext, _: &mut Operation) -> Option<ApiResponse> {
        let json_schema = ctx.schema.subschema_for::<ProblemAnswer>();
        let schema = SchemaObject {
            json_schema,
            example: None,
            external_docs: None,
        };
        let media = MediaType {
            schema: Some(schema),
            ..MediaType::default()
        };
        let mut response = ApiResponse {
            description: "A problem document (RFC 9457). 401 without a valid key where one is \
                          needed, 403 where its scope is missing, 404 for what does not exist, 409 \
                          where the state forbids it, 422 with every fault of the request, 429 \
                          with Retry-After at a limit, 503 with Retry-After while the database is \
                          away."
                .to_owned(),
            ..ApiResponse::default()
        };
        response
            .content
            .insert("application/problem+json".to_owned(), media);
        let seconds = ctx.schema.subschema_for::<u32>();
        let retry_after = Header {
            description: Some("Seconds to wait; sent with 429 and 503.".to_owned()),
            style: HeaderStyle::Simple,
            required: false,
            deprecated: None,
            format: aide::openapi::ParameterSchemaOrContent::Schema(SchemaObject {
                json_schema: seconds,
                example: None,
                external_docs: None,
            }),
            example: None,
            examples: Default::default(),
            extensions: Default::default(),
        };
        response
            .headers
            .insert("Retry-After".to_owned(), ReferenceOr::Item(retry_after));
        Some(response)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, ApiResponse)> {
        Self::operation_response(ctx, operation)
            .map(|response| (None, response))
            .into_iter()
            .collect()
    }
}
