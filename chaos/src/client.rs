//! A client as it should be: it knows several APIs, repeats what was not answered, and repeats a
//! submission with its idempotency key.

use crate::findings::Findings;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest time of one request.
const REQUEST_TIME: Duration = Duration::from_secs(35);
/// Wait before a repetition. `Retry-After` says seconds; a test that heeds it waits for nothing else.
const PAUSE: Duration = Duration::from_millis(100);
/// Where optimizations are.
pub const TASKS: &str = "/api/v1/optimization/tasks";

/// Shared by all customers.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    apis: Arc<Vec<String>>,
    turn: Arc<AtomicUsize>,
    findings: Findings,
}

impl Client {
    /// A client of these APIs, by turns.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(apis: Vec<String>, findings: Findings) -> anyhow::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().build()?,
            apis: Arc::new(apis),
            turn: Arc::default(),
            findings,
        })
    }

    fn url(&self, path: &str) -> String {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        format!("{}{path}", self.apis[turn % self.apis.len()])
    }

    /// Asks until there is an answer that is not "come back later". An internal fault of the API is
    /// a violation, and is repeated too.
    async fn until_answered(
        &self,
        what: &str,
        build: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> (u16, Value) {
        loop {
            if let Ok(response) = build(&self.http).timeout(REQUEST_TIME).send().await {
                let status = response.status().as_u16();
                let body = response.bytes().await;
                match (status, body) {
                    // Not available, took too long: nothing is known of its effect.
                    (503 | 504, _) => self.findings.count("requests answered 503 or 504", 1),
                    (500.., Ok(body)) => {
                        let body = String::from_utf8_lossy(&body).into_owned();
                        self.findings
                            .violation(format!("{what} answered {status}: {body}"));
                    }
                    // Cut off in the middle of its body.
                    (_, Err(_)) => {}
                    (_, Ok(body)) => {
                        return (status, serde_json::from_slice(&body).unwrap_or(Value::Null));
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// GET, repeated until it is answered.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let what = format!("GET {path}");
        self.until_answered(&what, |http| http.get(self.url(path)))
            .await
    }

    /// POST without a body, repeated until it is answered.
    pub async fn post(&self, path: &str) -> (u16, Value) {
        let what = format!("POST {path}");
        self.until_answered(&what, |http| http.post(self.url(path)))
            .await
    }

    /// Submits a task until it is accepted; its id. `None`: it was refused, which is a violation.
    pub async fn submit(&self, body: &Value, key: &str) -> Option<String> {
        let what = format!("POST {TASKS} with key {key}");
        let build = |http: &reqwest::Client| {
            http.post(self.url(TASKS))
                .header("idempotency-key", key)
                .json(body)
        };
        let (status, answer) = self.until_answered(&what, build).await;
        let id = answer["task_id"].as_str().map(str::to_owned);
        if id.is_none() || ![200, 201].contains(&status) {
            self.findings
                .violation(format!("{what} was refused with {status}: {answer}"));
            return None;
        }
        id
    }

    /// Opens the events of a task after the one that was seen last; nothing when it is not answered.
    pub async fn events(&self, id: &str, after: u64) -> Option<reqwest::Response> {
        let mut request = self.http.get(self.url(&format!("{TASKS}/{id}/events")));
        if after > 0 {
            request = request.header("last-event-id", after.to_string());
        }
        // Only the head has a limit: the stream lasts as long as the task.
        let response = tokio::time::timeout(REQUEST_TIME, request.send()).await;
        response.ok()?.ok()
    }
}
