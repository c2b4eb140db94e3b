//! PostgreSQL and RabbitMQ servers of one's own, through `scripts/services`.

use crate::process::Environment;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Servers in a folder of their own. Dropping it stops them and throws their data away.
pub struct Servers {
    dir: PathBuf,
    keep: bool,
}

/// The root of the repository.
fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

impl Servers {
    /// A folder for them below `TRIALMILL_SERVICES_DIR` (else `.services`), named after the use and
    /// this process. Nothing is started.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let base = std::env::var_os("TRIALMILL_SERVICES_DIR")
            .map_or_else(|| root().join(".services"), PathBuf::from);
        let dir = base.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("the folder {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        Ok(Self { dir, keep: false })
    }

    /// Their folder; logs of the cluster are there too.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Leaves the folder with its logs where it is when the servers are stopped.
    pub fn keep_logs(&mut self) {
        self.keep = true;
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(root().join("scripts/services"));
        command
            .args(arguments)
            .env("TRIALMILL_SERVICES_DIR", &self.dir)
            .env("TRIALMILL_SERVICES_FSYNC", "off")
            .env_remove("DATABASE_URL")
            .env_remove("AMQP_URL")
            .env_remove("TRIALMILL_RABBITMQ_MANAGEMENT_URL")
            .stdin(Stdio::null());
        command
    }

    /// Runs `scripts/services` and waits for it, blocking this thread; what it printed.
    ///
    /// # Errors
    /// When it fails: with what it said.
    pub fn run_blocking(&self, arguments: &[&str]) -> anyhow::Result<String> {
        judged(arguments, self.command(arguments).output())
    }

    /// Runs `scripts/services`; what it printed.
    ///
    /// # Errors
    /// When it fails: with what it said.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let command = self.command(arguments);
        judged(
            arguments,
            tokio::process::Command::from(command).output().await,
        )
    }

    /// Leaves the work queue where it is and makes it answer nobody, as one that has lost its leader
    /// does: its process is suspended.
    ///
    /// # Errors
    /// When there is no such queue, or RabbitMQ does not run.
    pub async fn deaden_queue(&self) -> anyhow::Result<()> {
        let queue = "'%2F_trialmill.work.default.v1'";
        let suspend = format!("ok = sys:suspend(whereis({queue})).");
        self.run(&["ctl", "eval", &suspend]).await?;
        Ok(())
    }

    /// The addresses of the servers, as variables.
    ///
    /// # Errors
    /// When nothing was started here.
    pub async fn addresses(&self) -> anyhow::Result<Environment> {
        let exported = self.run(&["env"]).await?;
        let variable = |line: &str| {
            let (key, value) = line.strip_prefix("export ")?.split_once('=')?;
            Some((key.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
        };
        Ok(exported.lines().filter_map(variable).collect())
    }
}

fn judged(arguments: &[&str], output: std::io::Result<Output>) -> anyhow::Result<String> {
    let output = output.context("scripts/services cannot be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "scripts/services {}: {said}",
        arguments.join(" ")
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Drop for Servers {
    fn drop(&mut self) {
        if self.keep || std::thread::panicking() {
            say_where(&self.dir);
        }
        // Nobody is left to hear of a failure; the script says it on standard error.
        let _ = self.run_blocking(&["stop"]);
        if !self.keep && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

#[expect(clippy::print_stderr, reason = "a failed run says where its logs are")]
fn say_where(dir: &Path) {
    eprintln!("logs of this run: {}", dir.display());
}
