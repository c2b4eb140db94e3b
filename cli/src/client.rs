//! The API over HTTP: requests, answers, and refusals as people read them.

use crate::args::Api;
use crate::config::{DEFAULT_URL, Settings};
use crate::failure::Failure;
use reqwest::header::{self, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::time::Duration;
use trialmill_common::secret::Secret;
use trialmill_tls::Trust;

/// Longest wait for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longest wait for an answer; the API gives up on its own after 30 s.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// A stream of events says something at least this often (the API every 15 s).
const SILENCE: Duration = Duration::from_secs(60);

/// The setting that names the authorities of the API's certificate.
const CA_SETTING: &str = "TRIALMILL_CA_FILE";

/// A refusal of the API: a problem document (RFC 9457).
#[derive(Debug, Deserialize)]
pub struct Problem {
    /// What kind, in words.
    #[serde(default)]
    pub title: String,
    /// HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened.
    #[serde(default)]
    pub detail: String,
    /// Every fault of the request.
    #[serde(default)]
    pub errors: Vec<Fault>,
    /// The document as it came.
    #[serde(skip)]
    pub document: Value,
}

/// One fault of a request.
#[derive(Debug, Deserialize)]
pub struct Fault {
    /// Where.
    #[serde(default)]
    pub pointer: String,
    /// What, and what to do.
    #[serde(default)]
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.title, self.status)?;
        if self.errors.is_empty() {
            return write!(f, ": {}", self.detail);
        }
        let place = |fault: &Fault| match fault.pointer.as_str() {
            "" => "the request".to_owned(),
            pointer => pointer.to_owned(),
        };
        let width = self
            .errors
            .iter()
            .map(|e| place(e).chars().count())
            .max()
            .unwrap_or_default();
        for fault in &self.errors {
            write!(f, "\n  {:width$}  {}", place(fault), fault.detail)?;
        }
        Ok(())
    }
}

/// An answer with a status of success.
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Its document.
    pub body: Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing answered, or the connection broke: the same call may succeed later.
    #[error("{0}")]
    NoAnswer(String),
    /// It answered and refused.
    #[error("{0}")]
    Refused(Box<Problem>),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoAnswer(text) => Self::Reason(text),
            CallError::Refused(problem) => Self::Refused(problem),
        }
    }
}

impl CallError {
    /// Whether the same call may succeed later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Refused(problem) => matches!(problem.status, 408 | 429 | 502..=504),
        }
    }
}

/// A client of one API.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: Option<HeaderValue>,
    trust: Trust,
}

impl Client {
    /// A client of the API that the options or the environment name.
    ///
    /// # Errors
    /// When the address or the key cannot be one.
    pub fn new(api: &Api, settings: &Settings) -> Result<Self, Failure> {
        let text = api
            .url
            .as_ref()
            .or(settings.url.as_ref())
            .map_or(DEFAULT_URL, String::as_str);
        let base: Url = text.trim_end_matches('/').parse().map_err(|error| {
            Failure::reason(format!(
                "the address of the API is no URL ({error}); write it like {DEFAULT_URL}"
            ))
        })?;
        if !["http", "https"].contains(&base.scheme()) || base.host_str().is_none() {
            return Err(Failure::reason(format!(
                "the address of the API must begin with http:// or https://, such as {DEFAULT_URL}"
            )));
        }
        let trust = Trust::new(CA_SETTING, settings.ca_file.as_deref())
            .map_err(|fault| Failure::reason(fault.to_string()))?;
        let key = api.key.as_ref().map(Secret::reveal);
        let key = key.or(settings.api_key.as_deref());
        let key = key.map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
                .map_err(|_| Failure::reason("the API key has characters that cannot be sent"))?;
            value.set_sensitive(true);
            Ok::<_, Failure>(value)
        });
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(trust.client(&[b"http/1.1"]))
            .connect_timeout(CONNECT_TIME)
            .read_timeout(SILENCE)
            .user_agent(concat!("trialmill/", env!("CARGO_PKG_VERSION")));
        if matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            // A proxy's loopback is another machine.
            http = http.no_proxy();
        }
        let http = http
            .build()
            .map_err(|error| Failure::reason(format!("no HTTP client can be made: {error}")))?;
        Ok(Self {
            http,
            base,
            key: key.transpose()?,
            trust,
        })
    }

    /// The address, for people.
    pub fn address(&self) -> String {
        let mut shown = self.base.clone();
        // An address may carry a password.
        if shown.password().is_some() && shown.set_password(Some("***")).is_err() {
            return "the address given".to_owned();
        }
        shown.as_str().trim_end_matches('/').to_owned()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let request = self.http.request(method, url);
        match &self.key {
            Some(key) => request.header(header::AUTHORIZATION, key.clone()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let response = request
            .send()
            .await
            .map_err(|error| self.no_answer(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.bytes().await.unwrap_or_default();
        let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let read = Problem::deserialize(&document)
            .ok()
            .filter(|p| !p.detail.is_empty());
        let mut problem = read.unwrap_or_else(|| Problem {
            title: status.canonical_reason().unwrap_or("refused").to_owned(),
            status: status.as_u16(),
            detail: format!("{} gave no reason; is it a Trialmill API?", self.address()),
            errors: Vec::new(),
            document: Value::Null,
        });
        problem.document = document;
        Err(CallError::Refused(Box::new(problem)))
    }

    fn no_answer(&self, error: &reqwest::Error) -> CallError {
        let host = self.base.host_str().unwrap_or_default();
        if let Some(refusal) = self.trust.refusal(error, host) {
            return CallError::NoAnswer(format!("no answer from {}: {refusal}", self.address()));
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        CallError::NoAnswer(format!(
            "no answer from {}: {cause}; start it with `trialmill up`, or say where it is with \
             --url or TRIALMILL_URL",
            self.address()
        ))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer, CallError> {
        let response = self.send(request.timeout(ANSWER_TIME)).await?;
        let status = response.status();
        let bytes = response
            .bytes()
            .await
            .map_err(|error| self.no_answer(&error))?;
        let body = serde_json::from_slice(&bytes).map_err(|error| {
            let address = self.address();
            CallError::NoAnswer(format!(
                "{address} answered with something else than JSON: {error}"
            ))
        })?;
        Ok(Answer { status, body })
    }

    /// Reads a document; `path` begins with a slash.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn get(&self, path: &str) -> Result<Value, CallError> {
        Ok(self.answer(self.request(Method::GET, path)).await?.body)
    }

    /// Asks for a change without a body.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn post(&self, path: &str) -> Result<Value, CallError> {
        Ok(self.answer(self.request(Method::POST, path)).await?.body)
    }

    /// Asks for something to be removed; what came of it.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn delete(&self, path: &str) -> Result<Value, CallError> {
        Ok(self.answer(self.request(Method::DELETE, path)).await?.body)
    }

    /// Sends a JSON document as it is.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn send_document(
        &self,
        path: &str,
        document: Vec<u8>,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, CallError> {
        let mut request = self
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(document);
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        self.answer(request).await
    }

    /// Asks for something to be removed, of which nothing is left to tell.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn remove(&self, path: &str) -> Result<(), CallError> {
        let request = self.request(Method::DELETE, path).timeout(ANSWER_TIME);
        self.send(request).await.map(drop)
    }

    /// Opens a stream of events after the one seen last. Nothing: there will be no more.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn events(
        &self,
        path: &str,
        last_seen: Option<&str>,
    ) -> Result<Option<Response>, CallError> {
        let mut request = self
            .request(Method::GET, path)
            .header(header::ACCEPT, "text/event-stream");
        if let Some(id) = last_seen {
            request = request.header("Last-Event-ID", id);
        }
        let response = self.send(request).await?;
        Ok(if response.status() == StatusCode::NO_CONTENT {
            None
        } else {
            Some(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_list_of_places_and_sentences() {
        let problem: Problem = serde_json::from_value(serde_json::json!({
            "title": "The request is not valid", "status": 422, "detail": "2 faults",
            "errors": [
                {"pointer": "/n_trials", "code": "out_of_range", "value": 0, "detail": "too few"},
                {"pointer": "", "code": "unknown_field", "value": null, "detail": "what is this"},
            ],
        }))
        .unwrap();
        let text = problem.to_string();
        let expected = "The request is not valid (422)\n  /n_trials    too few\n  the request  \
                        what is this";
        assert_eq!(text, expected);
    }
}
