//! A cluster of the real thing: PostgreSQL and RabbitMQ servers of its own, an API and workers,
//! each a process that can be killed.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough for anything that ends at all on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Cluster {
    dir: PathBuf,
    env: HashMap<String, String>,
    api_port: u16,
    api: Option<Child>,
    workers: Vec<Worker>,
    started_workers: usize,
    http: reqwest::Client,
}

pub struct Worker {
    pub child: Child,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("cli has a parent")
        .to_path_buf()
}

/// A binary of this workspace, built beside the one under test.
fn binary(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_trialmill")).with_file_name(name);
    assert!(
        beside.exists(),
        "{name} is not built; run scripts/test, or cargo build --workspace"
    );
    beside
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").port()
}

impl Cluster {
    /// Servers, schema, API, and `workers` workers of two slots, with leases of two seconds.
    pub async fn start(name: &str, workers: usize) -> Self {
        let base = std::env::var_os("TRIALMILL_SERVICES_DIR")
            .map_or_else(|| root().join(".services"), PathBuf::from);
        let mut cluster = Self {
            dir: base.join(format!("wire-{name}-{}", std::process::id())),
            env: HashMap::new(),
            api_port: free_port(),
            api: None,
            workers: Vec::new(),
            started_workers: 0,
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(20))
                .build()
                .unwrap(),
        };
        std::fs::create_dir_all(&cluster.dir).unwrap();
        cluster.services(&["start"]);
        for line in cluster.services(&["env"]).lines() {
            let line = line
                .strip_prefix("export ")
                .expect("services env prints exports");
            let (key, value) = line.split_once('=').expect("KEY=value");
            cluster
                .env
                .insert(key.to_owned(), value.trim_matches(['\'', '"']).to_owned());
        }
        cluster
            .env
            .insert("TRIALMILL_LEASE_SECONDS".into(), "2".into());
        cluster
            .env
            .insert("TRIALMILL_FLUSH_MS".into(), "200".into());
        cluster.env.insert("TRIALMILL_SLOTS".into(), "2".into());
        cluster.env.insert("TRIALMILL_LOG".into(), "info".into());
        let migrated = cluster
            .command("trialmill", "migrate")
            .arg("migrate")
            .output()
            .unwrap();
        assert!(
            migrated.status.success(),
            "{}",
            String::from_utf8_lossy(&migrated.stderr)
        );
        cluster.start_api().await;
        for _ in 0..workers {
            cluster.start_worker();
        }
        cluster
    }

    pub fn set(&mut self, key: &str, value: &str) {
        self.env.insert(key.to_owned(), value.to_owned());
    }

    /// Writes a file into the cluster's folder; its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().expect("UTF-8").to_owned()
    }

    pub fn env(&self, key: &str) -> &str {
        &self.env[key]
    }

    /// Runs scripts/services on this cluster's own servers.
    pub fn services(&self, arguments: &[&str]) -> String {
        let output = Command::new(root().join("scripts/services"))
            .args(arguments)
            .env("TRIALMILL_SERVICES_DIR", &self.dir)
            .env("TRIALMILL_SERVICES_FSYNC", "off")
            .env_remove("DATABASE_URL")
            .env_remove("AMQP_URL")
            .env_remove("TRIALMILL_RABBITMQ_MANAGEMENT_URL")
            .stdin(Stdio::null())
            .output()
            .expect("scripts/services runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "services {arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn command(&self, name: &str, log: &str) -> Command {
        let mut command = Command::new(binary(name));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("{log}.log")))
            .unwrap();
        command
            .envs(&self.env)
            .env("TRIALMILL_SERVICES_DIR", &self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// The CLI with this cluster's environment.
    pub fn cli(&self, arguments: &[&str]) -> std::process::Output {
        let url = format!("http://127.0.0.1:{}", self.api_port);
        self.command("trialmill", "cli")
            .args(arguments)
            .env("TRIALMILL_URL", url)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap()
    }

    pub async fn start_api(&mut self) {
        let listen = format!("127.0.0.1:{}", self.api_port);
        let child = self
            .command("trialmill-api", "api")
            .env("TRIALMILL_LISTEN", listen)
            .spawn();
        self.api = Some(child.unwrap());
        self.wait("the API answers", async |cluster| {
            cluster
                .try_get("/healthz")
                .await
                .is_some_and(|(status, _)| status == 200)
        })
        .await;
    }

    pub fn kill_api(&mut self) {
        let mut api = self.api.take().expect("the API runs");
        api.kill().unwrap();
        api.wait().unwrap();
    }

    pub fn start_worker(&mut self) {
        let log = format!("worker-{}", self.started_workers);
        self.started_workers += 1;
        let child = self.command("trialmill-worker", &log).spawn().unwrap();
        self.workers.push(Worker { child });
    }

    /// kill -9 of the oldest worker, and a new one in its place.
    pub fn replace_worker(&mut self) {
        let mut worker = self.workers.remove(0);
        worker.child.kill().unwrap();
        worker.child.wait().unwrap();
        self.start_worker();
    }

    /// Starts again every worker that has ended by itself, as a supervisor would; how many.
    pub fn revive_workers(&mut self) -> usize {
        let ended = |worker: &mut Worker| worker.child.try_wait().unwrap().is_some();
        let dead = self.workers.extract_if(.., ended).count();
        for _ in 0..dead {
            self.start_worker();
        }
        dead
    }

    pub fn signal_worker(&self, index: usize, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.workers[index].child.id()).expect("a pid");
        let pid = rustix::process::Pid::from_raw(pid).expect("not zero");
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the worker at `index` to end; its exit code.
    pub async fn worker_exit(&mut self, index: usize) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.workers[index].child.try_wait().unwrap() {
                self.workers.remove(index);
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "the worker does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.api_port)
    }

    async fn try_get(&self, path: &str) -> Option<(u16, Value)> {
        let response = self.http.get(self.url(path)).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.unwrap_or(Value::Null)))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let began = Instant::now();
        loop {
            match self.try_get(path).await {
                Some((status, body)) if status != 503 => return (status, body),
                other => assert!(began.elapsed() < PATIENCE, "GET {path}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One attempt at a POST: status, Retry-After and body.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Option<String>, Value) {
        let response = self
            .http
            .post(self.url(path))
            .json(body)
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        let retry = response
            .headers()
            .get("retry-after")
            .map(|v| v.to_str().unwrap().to_owned());
        (status, retry, response.json().await.unwrap_or(Value::Null))
    }

    /// Submits a task that must be accepted; its id.
    pub async fn submit(&self, body: &Value) -> String {
        let (status, _, answer) = self.post("/api/v1/optimization/tasks", body).await;
        assert_eq!(status, 201, "{answer:#}");
        answer["task_id"].as_str().expect("an id").to_owned()
    }

    pub async fn status(&self, id: &str) -> Value {
        let (code, body) = self
            .get(&format!("/api/v1/optimization/tasks/{id}/status"))
            .await;
        assert_eq!(code, 200, "{body:#}");
        body
    }

    pub async fn ended_trials(&self, id: &str) -> u64 {
        let status = self.status(id).await;
        ["completed_trials", "pruned_trials", "failed_trials"]
            .iter()
            .map(|field| status[field].as_u64().expect("a count"))
            .sum()
    }

    /// Waits until more trials have ended, so that a fault falls into the middle of the work.
    pub async fn progress(&self, id: &str, more: u64) {
        let target = self.ended_trials(id).await + more;
        let what = format!("{target} ended trials");
        self.wait(&what, async |cluster| {
            let state = cluster.status(id).await["status"]
                .as_str()
                .unwrap_or("")
                .to_owned();
            assert!(
                ["queued", "running"].contains(&state.as_str()),
                "{state} before {target}"
            );
            cluster.ended_trials(id).await >= target
        })
        .await;
    }

    pub async fn ended(&mut self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            self.revive_workers();
            let status = self.status(id).await;
            let state = status["status"].as_str().expect("a state");
            if ["completed", "failed", "cancelled"].contains(&state) {
                return status;
            }
            if began.elapsed() > PATIENCE {
                let (_, why) = self
                    .get(&format!("/api/v1/optimization/tasks/{id}/explain"))
                    .await;
                panic!("the task does not end: {status:#}\n{why:#}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn wait(&self, what: &str, mut condition: impl AsyncFnMut(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self).await {
            assert!(began.elapsed() < PATIENCE, "waited too long until {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
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
        let response = self
            .http
            .request(method, url)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
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

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self
            .workers
            .iter_mut()
            .map(|w| &mut w.child)
            .chain(self.api.as_mut())
        {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("logs of the failed run: {}", self.dir.display());
        }
        self.services(&["stop"]);
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
