//! A cluster of the real thing: PostgreSQL and RabbitMQ servers of its own, APIs and workers, each
//! a process that can be killed. Dropping it kills them all and removes everything.

mod steps;

use crate::process::{Environment, Process, binary};
use crate::servers::Servers;
use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde_json::Value;
use std::hash::{BuildHasher, RandomState};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough for anything that ends at all on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Longest time of one request; what is slower has failed.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// Seconds that a lease lasts here unless it is said otherwise.
pub const SHORT_LEASE: u32 = 2;

/// An API process and where it answers.
pub struct Api {
    /// The process.
    pub process: Process,
    /// Such as `http://127.0.0.1:26001`; it stays when the process is started again.
    pub url: String,
}

/// Servers, processes, and the environment that they share.
pub struct Cluster {
    /// APIs, in the order in which they were added.
    pub apis: Vec<Api>,
    /// Workers, the oldest first.
    pub workers: Vec<Process>,
    added_workers: usize,
    env: Environment,
    http: reqwest::Client,
    // Last: the processes are gone before the servers are stopped.
    servers: Servers,
}

/// A port of loopback that was free a moment ago, below the kernel's ephemeral range, so that no
/// outgoing connection takes it while its owner is down, and above those of `scripts/services`.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let chance = RandomState::new().hash_one(0_u8) % 6_000;
        let port = 26_000 + u16::try_from(chance).unwrap_or(0);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Cluster {
    /// Servers with a schema, and no process yet.
    ///
    /// # Errors
    /// When a binary is missing or a server does not start.
    pub async fn with_servers(name: &str) -> anyhow::Result<Self> {
        trialmill_tls::install_default();
        for program in ["trialmill", "trialmill-api", "trialmill-worker"] {
            binary(program)?;
        }
        let servers = Servers::new(name)?;
        servers.run(&["start"]).await?;
        let mut env = servers.addresses().await?;
        for (key, value) in [
            ("TRIALMILL_LEASE_SECONDS", SHORT_LEASE.to_string().as_str()),
            // What is tried here is the protocol of an assessment, not how well luck is known.
            ("TRIALMILL_LUCK_SECONDS", "1"),
            ("TRIALMILL_FLUSH_MS", "200"),
            ("TRIALMILL_SLOTS", "2"),
            ("TRIALMILL_LOG", "info"),
            // The customers are one address and send what many would.
            ("TRIALMILL_RATE_PER_SECOND", "0"),
        ] {
            env.insert(key.to_owned(), value.to_owned());
        }
        let folder = servers.dir().to_string_lossy().into_owned();
        env.insert("TRIALMILL_SERVICES_DIR".to_owned(), folder);
        let cluster = Self {
            apis: Vec::new(),
            workers: Vec::new(),
            added_workers: 0,
            env,
            http: reqwest::Client::builder().timeout(REQUEST_TIME).build()?,
            servers,
        };
        let migrated = cluster.run_cli(&["migrate"]).await?;
        let said = String::from_utf8_lossy(&migrated.stderr);
        ensure!(migrated.status.success(), "trialmill migrate: {said}");
        Ok(cluster)
    }

    /// The servers.
    #[must_use]
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Leaves the logs of servers and processes when the cluster goes.
    pub fn keep_logs(&mut self) {
        self.servers.keep_logs();
    }

    /// Sets a variable of every process that is added from now on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.env.insert(key.to_owned(), value.to_owned());
    }

    /// A variable of the cluster's environment; empty when it is not set.
    #[must_use]
    pub fn env(&self, key: &str) -> &str {
        self.env.get(key).map_or("", String::as_str)
    }

    /// Adds the place of an API, with variables of its own; nothing is started.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn add_api(&mut self, own: &[(&str, &str)]) -> anyhow::Result<&mut Api> {
        let listen = format!("127.0.0.1:{}", free_port());
        let name = format!("api-{}", self.apis.len());
        let mut process = self.place(&name, "trialmill-api", own)?;
        process.set("TRIALMILL_LISTEN", &listen);
        let url = format!("http://{listen}");
        self.apis.push(Api { process, url });
        self.apis.last_mut().context("it was pushed")
    }

    /// Adds the place of a worker, with variables of its own; nothing is started.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn add_worker(&mut self, own: &[(&str, &str)]) -> anyhow::Result<&mut Process> {
        let name = format!("worker-{}", self.added_workers);
        self.added_workers += 1;
        let status = self.servers.dir().join(format!("{name}.status"));
        let mut process = self.place(&name, "trialmill-worker", own)?;
        process.set("TRIALMILL_STATUS_FILE", &status.to_string_lossy());
        self.workers.push(process);
        self.workers.last_mut().context("it was pushed")
    }

    fn place(&self, name: &str, program: &str, own: &[(&str, &str)]) -> anyhow::Result<Process> {
        let log = self.servers.dir().join(format!("{name}.log"));
        let mut process = Process::new(name, binary(program)?, self.env.clone(), log);
        for (key, value) in own {
            process.set(key, value);
        }
        Ok(process)
    }

    /// Kills every API and worker and forgets their places.
    pub fn clear(&mut self) {
        self.apis.clear();
        self.workers.clear();
    }

    /// Runs the command line with this cluster's environment, against its first API.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn run_cli(&self, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        let command = self.cli_command(arguments)?;
        let output = tokio::process::Command::from(command).output().await;
        output.context("trialmill cannot be run")
    }

    fn cli_command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary("trialmill")?);
        command
            .args(arguments)
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(api) = self.apis.first() {
            command.env("TRIALMILL_URL", &api.url);
        }
        Ok(command)
    }

    /// What `trialmill verify` finds, a line each; empty is good.
    ///
    /// # Errors
    /// When the database could not be asked.
    pub async fn violations(&self) -> anyhow::Result<Vec<String>> {
        let output = self.run_cli(&["verify"]).await?;
        let found: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() || !found.is_empty(),
            "trialmill verify: {said}"
        );
        Ok(found)
    }

    /// One attempt at a GET of an API; nothing when it does not answer.
    pub async fn try_get(&self, url: &str, path: &str) -> Option<(u16, Value)> {
        let response = self.http.get(format!("{url}{path}")).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.unwrap_or(Value::Null)))
    }

    /// Waits until the API at `index` answers.
    ///
    /// # Errors
    /// When its process ends, or does not answer in time: with its last words.
    pub async fn api_answers(&mut self, index: usize) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let url = self.apis[index].url.clone();
            if let Some((200, _)) = self.try_get(&url, "/healthz").await {
                return Ok(());
            }
            let api = &mut self.apis[index].process;
            let ended = api.ended();
            if ended.is_some() || began.elapsed() > PATIENCE {
                let words = api.last_words(5);
                anyhow::bail!("{} does not answer ({ended:?}): {words}", api.name());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks every process to end, all at once, and waits; kills those that do not within the time.
    pub async fn end_all(&mut self, within: Duration) {
        let apis = self.apis.iter_mut().map(|api| &mut api.process);
        let mut all: Vec<&mut Process> = apis.chain(&mut self.workers).collect();
        for process in &all {
            process.signal(Signal::TERM);
        }
        for process in &mut all {
            process.exit(within).await;
        }
    }
}
