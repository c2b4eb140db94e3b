//! The steps of a test: they panic with the reason when the cluster does not do as it should.

use super::{Cluster, LOOK, PATIENCE};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Instant;

/// A test cannot go on without it.
fn must<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

/// How many trials a task's status counts as ended.
fn ended_trials(status: &Value) -> u64 {
    ["completed_trials", "pruned_trials", "failed_trials"]
        .iter()
        .map(|field| status[field].as_u64().expect("a count"))
        .sum()
}

impl Cluster {
    /// Servers, schema, API, and `workers` workers of two slots, with leases of two seconds.
    pub async fn start(name: &str, workers: usize) -> Self {
        let mut cluster = must(Self::with_servers(&format!("wire-{name}")).await);
        must(cluster.add_api(&[]));
        cluster.start_api().await;
        for _ in 0..workers {
            cluster.start_worker();
        }
        cluster
    }

    /// Writes a file into the cluster's folder; its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.servers.dir().join(name);
        must(std::fs::write(&path, text).map_err(Into::into));
        path.to_string_lossy().into_owned()
    }

    /// What all processes of the cluster wrote to standard error.
    pub fn logs(&self) -> String {
        let files = must(std::fs::read_dir(self.servers.dir()).map_err(Into::into));
        let paths = files.map(|file| must(file.map_err(Into::into)).path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "log"))
            .map(|path| must(std::fs::read_to_string(path).map_err(Into::into)))
            .collect()
    }

    /// Runs scripts/services on this cluster's own servers.
    pub fn services(&self, arguments: &[&str]) -> String {
        must(self.servers.run_blocking(arguments))
    }

    /// The command line with this cluster's environment.
    pub fn cli(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = must(self.cli_command(arguments));
        must(command.output().map_err(Into::into))
    }

    /// The address of a path at the first API.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.apis[0].url)
    }

    /// Starts the first API and waits until it answers.
    pub async fn start_api(&mut self) {
        must(self.apis[0].process.start());
        must(self.api_answers(0).await);
    }

    /// kill -9 of the first API.
    pub fn kill_api(&mut self) {
        self.apis[0].process.kill();
    }

    /// Adds a worker and starts it.
    pub fn start_worker(&mut self) {
        must(must(self.add_worker(&[])).start());
    }

    /// kill -9 of the oldest worker, and a new one in its place.
    pub fn replace_worker(&mut self) {
        self.workers.remove(0).kill();
        self.start_worker();
    }

    /// Starts again every worker that has ended by itself, as a supervisor would; how many.
    pub fn revive_workers(&mut self) -> usize {
        let dead = self.workers.extract_if(.., |w| w.ended().is_some()).count();
        for _ in 0..dead {
            self.start_worker();
        }
        dead
    }

    /// Sends a signal to the worker at `index`.
    pub fn signal_worker(&self, index: usize, signal: Signal) {
        self.workers[index].signal(signal);
    }

    /// Waits for the worker at `index` to end; its exit code.
    pub async fn worker_exit(&mut self, index: usize) -> Option<i32> {
        let status = self.workers[index].exit(PATIENCE).await;
        let status = status.expect("the worker ends in time");
        self.workers.remove(index);
        status.code()
    }

    /// A GET of the first API, repeated while it is not available.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let began = Instant::now();
        loop {
            match self.try_get(&self.apis[0].url, path).await {
                Some((status, body)) if status != 503 => return (status, body),
                other => assert!(began.elapsed() < PATIENCE, "GET {path}: {other:?}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// One attempt at a POST: status, Retry-After and body.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Option<String>, Value) {
        let url = format!("{}{path}", self.apis[0].url);
        let response = self.http.post(url).json(body).send().await;
        let response = must(response.map_err(Into::into));
        let status = response.status().as_u16();
        let retry = response.headers().get("retry-after");
        let retry = retry
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        (status, retry, response.json().await.unwrap_or(Value::Null))
    }

    /// Submits a task that must be accepted; its id.
    pub async fn submit(&self, body: &Value) -> String {
        let (status, _, answer) = self.post("/api/v1/optimization/tasks", body).await;
        assert_eq!(status, 201, "{answer:#}");
        answer["task_id"].as_str().expect("an id").to_owned()
    }

    /// The status of a task.
    pub async fn status(&self, id: &str) -> Value {
        let path = format!("/api/v1/optimization/tasks/{id}/status");
        let (code, body) = self.get(&path).await;
        assert_eq!(code, 200, "{body:#}");
        body
    }

    /// How many of its trials have ended.
    pub async fn ended_trials(&self, id: &str) -> u64 {
        ended_trials(&self.status(id).await)
    }

    /// Waits until more trials have ended, reviving workers, so that a fault falls into the middle of
    /// the work.
    pub async fn progress(&mut self, id: &str, more: u64) {
        let target = self.ended_trials(id).await + more;
        let what = format!("has {target} ended trials");
        let reached = |status: &Value| {
            let state = status["status"].as_str().unwrap_or("");
            let alive = ["queued", "running"].contains(&state);
            assert!(alive, "{state} before it {what}");
            ended_trials(status) >= target
        };
        self.supervised(id, &what, reached).await;
    }

    /// Waits until the task has ended, reviving workers; its last status.
    pub async fn ended(&mut self, id: &str) -> Value {
        let ended = |status: &Value| {
            let state = status["status"].as_str().expect("a state");
            ["completed", "failed", "cancelled"].contains(&state)
        };
        self.supervised(id, "ends", ended).await
    }

    /// Waits for a state of a task as its operators would: a worker that ends by itself, say because
    /// it was started while the database was down, is started again.
    async fn supervised(
        &mut self,
        id: &str,
        what: &str,
        reached: impl Fn(&Value) -> bool,
    ) -> Value {
        let began = Instant::now();
        loop {
            self.revive_workers();
            let status = self.status(id).await;
            if reached(&status) {
                return status;
            }
            if began.elapsed() > PATIENCE {
                let path = format!("/api/v1/optimization/tasks/{id}/explain");
                let (_, why) = self.get(&path).await;
                panic!("waited too long until the task {what}: {status:#}\n{why:#}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for a condition.
    pub async fn wait(&self, what: &str, mut condition: impl AsyncFnMut(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self).await {
            assert!(began.elapsed() < PATIENCE, "waited too long until {what}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// All ended trials of a task, in order.
    pub async fn trials(&self, id: &str) -> Vec<Value> {
        let mut trials = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/optimization/tasks/{id}/trials?limit=500{cursor}");
            let (code, page) = self.get(&path).await;
            assert_eq!(code, 200, "{page:#}");
            trials.extend(page["items"].as_array().expect("items").iter().cloned());
            match &page["next_cursor"] {
                Value::Null => return trials,
                next => cursor = format!("&cursor={}", next.to_string().trim_matches('"')),
            }
        }
    }

    /// `trialmill verify` finds nothing.
    pub fn verify(&self) {
        let output = self.cli(&["verify"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "verify: {text}");
    }

    /// A request to RabbitMQ's management API.
    pub async fn management(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.env("TRIALMILL_RABBITMQ_MANAGEMENT_URL"));
        let response = self.http.request(method, url).json(&body).send().await;
        let response = must(response.map_err(Into::into));
        let status = response.status();
        assert!(status.is_success(), "{path}: {status}");
        response.json().await.unwrap_or(Value::Null)
    }

    /// Publishes a message for a unit, as a duplicate would arrive.
    pub async fn publish_unit(&self, id: &str, unit: u32) {
        let body = json!({
            "routing_key": "default",
            "payload": json!({"task_id": id, "unit": unit}).to_string(),
            "payload_encoding": "string",
            "properties": {"headers": {"x-trialmill-schema": 1}},
        });
        let path = "/api/exchanges/%2F/trialmill.work/publish";
        let answer = self.management(reqwest::Method::POST, path, body).await;
        assert_eq!(answer["routed"], true);
    }
}
