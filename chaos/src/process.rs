//! One process of the product: started, killed, signalled and buried here, and only here.

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often an exit is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// The variable that makes libfaketime follow a file; see [`Process::set`].
pub const FAKE_CLOCK: &str = "FAKETIME_TIMESTAMP_FILE";

/// The environment of a process.
pub type Environment = BTreeMap<String, String>;

/// A binary of this workspace, built beside the running one.
///
/// # Errors
/// When it is not there.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let running = std::env::current_exe().context("the path of this program")?;
    let folder = running.parent().context("this program is in a folder")?;
    // Tests are one folder deeper.
    let folder = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().unwrap_or(folder),
        _ => folder,
    };
    let beside = folder.join(name);
    anyhow::ensure!(
        beside.exists(),
        "{} is not built; run scripts/test, or cargo build --workspace --all-features",
        beside.display()
    );
    Ok(beside)
}

/// A place for a process, with its environment and its log. Dropping it kills the process.
pub struct Process {
    name: String,
    program: PathBuf,
    env: Environment,
    log: PathBuf,
    /// Where the log of the present process begins, in bytes.
    log_begins: u64,
    child: Option<Child>,
}

impl Process {
    /// A place without a process. Standard error goes to `log`, which is appended to.
    #[must_use]
    pub fn new(name: &str, program: PathBuf, env: Environment, log: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            program,
            env,
            log,
            log_begins: 0,
            child: None,
        }
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets a variable of the processes that are started from now on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.env.insert(key.to_owned(), value.to_owned());
    }

    /// Removes such a variable.
    pub fn unset(&mut self, key: &str) {
        self.env.remove(key);
    }

    /// Starts a process; one that runs is killed first.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.kill();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("the log {}", self.log.display()))?;
        self.log_begins = log.metadata()?.len();
        let child = Command::new(&self.program)
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// The id of the process, if it was started and is not buried.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            self.remove_fake_clock(child.id());
        }
    }

    /// What libfaketime leaves of a process that is killed.
    fn remove_fake_clock(&self, pid: u32) {
        if self.env.contains_key(FAKE_CLOCK) {
            for name in ["faketime_shm", "sem.faketime_sem"] {
                // It may have removed it itself.
                let _ = std::fs::remove_file(format!("/dev/shm/{name}_{pid}"));
            }
        }
    }

    /// Sends a signal; nothing to a process that is not there.
    pub fn signal(&self, signal: Signal) {
        let id = self.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            // Until it is buried here no other process can have its id.
            let _ = kill_process(pid, signal);
        }
    }

    /// How the process ended, if it has; it is buried then.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let (status, pid) = (child.try_wait().ok()??, child.id());
        self.child = None;
        self.remove_fake_clock(pid);
        Some(status)
    }

    /// Waits for the process to end.
    pub async fn exit(&mut self, within: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if self.child.is_none() || began.elapsed() > within {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Where its log is.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What the present process (or the last one) has logged.
    #[must_use]
    pub fn said(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = std::fs::File::open(&self.log)?;
            file.seek(SeekFrom::Start(self.log_begins))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }

    /// The last lines of [`Self::said`].
    #[must_use]
    pub fn last_words(&self, lines: usize) -> String {
        let said = self.said();
        let all: Vec<&str> = said.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
