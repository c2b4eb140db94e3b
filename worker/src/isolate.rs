//! Trials of a unit that lost its worker: one at a time, each announced, in a child process that
//! can die or be killed alone.

use crate::backoff::Backoff;
use crate::child::{Answer, Ask, CHILD_VARIABLE, Setup};
use crate::objective::timed_out;
use crate::running::{Phase, Shared};
use crate::slot::start_trial;
use crate::stop::Signal;
use crate::trials::{Batch, Halt, Next};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use trialmill_common::trial::{MAX_TRIAL_CRASHES, Outcome, RunningTrial};

/// The isolated run of one unit.
pub(crate) struct Isolated {
    shared: Arc<Shared>,
    batch: Batch,
    child: Option<Running>,
}

/// A living child.
struct Running {
    child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What one attempt at a trial came to.
enum Attempt {
    Ended(Outcome),
    Interrupted,
    Died(String),
}

impl Isolated {
    pub(crate) fn new(shared: Arc<Shared>, batch: Batch) -> Self {
        Self {
            shared,
            batch,
            child: None,
        }
    }

    /// Runs trials until something else is to be done; never returns [`Halt::Announce`].
    pub(crate) async fn run(&mut self) -> Halt {
        let halt = loop {
            let mut trial = match self.batch.next() {
                Next::Halt(halt) => break halt,
                Next::Trial(trial) => trial,
                Next::Hopeless(trial) => {
                    let outcome = self.batch.crashed_too_often(None);
                    self.batch.push(trial, outcome, std::time::Duration::ZERO);
                    continue;
                }
            };
            start_trial(&self.shared, &self.batch.unit, &trial).await;
            let begin = Instant::now();
            let outcome = loop {
                if self.batch.unit.signal.get() > Signal::Run {
                    break None;
                }
                match self.attempt(&trial).await {
                    Attempt::Ended(outcome) => break Some(outcome),
                    Attempt::Interrupted => break None,
                    // A signal to the whole service reaches the child as well: what dies while
                    // the worker leaves is handed back, not charged.
                    Attempt::Died(_) if *self.shared.phase.borrow() > Phase::Running => break None,
                    Attempt::Died(how) => {
                        tracing::warn!(trial.number = trial.number, how, "an isolated trial died");
                        match self.charge(&trial).await {
                            Some(crashes) if crashes >= MAX_TRIAL_CRASHES => {
                                break Some(self.batch.crashed_too_often(Some(&how)));
                            }
                            Some(crashes) => trial.crashes = crashes,
                            None => break None,
                        }
                    }
                }
            };
            let Some(outcome) = outcome else {
                break Halt::Signalled;
            };
            if !self.batch.push(trial, outcome, begin.elapsed()) {
                break Halt::Signalled;
            }
        };
        self.end_child().await;
        halt
    }

    /// One attempt: the child ends the trial, or its end ends it.
    async fn attempt(&mut self, trial: &RunningTrial) -> Attempt {
        if self.child.is_none() {
            match self.spawn().await {
                Ok(child) => self.child = Some(child),
                Err(error) => return self.cannot_start(&error).await,
            }
        }
        let running = self.child.as_mut().expect("spawned above");
        let packed = self.batch.task.spec.space.pack(&trial.point);
        let ask = Ask {
            number: trial.number,
            packed,
        };
        let patience = self.batch.task.trial_timeout() + self.shared.options.stuck_grace;
        let unit = Arc::clone(&self.batch.unit);
        let interrupted = async {
            while unit.signal.get() < Signal::Interrupt {
                unit.changed.notified().await;
            }
        };
        let attempt = tokio::select! {
            biased;
            answer = exchange(running, &ask) => match answer {
                Ok(Some(answer)) => return Attempt::Ended(answer.into_outcome()),
                Ok(None) => None,
                Err(error) => {
                    tracing::debug!(%error, "the pipe to an isolated trial broke");
                    None
                }
            },
            () = interrupted => Some(Attempt::Interrupted),
            () = tokio::time::sleep(patience) => {
                Some(Attempt::Ended(timed_out(&self.batch.task.spec, &self.batch.worker)))
            }
        };
        let status = self.end_child().await;
        attempt.unwrap_or_else(|| Attempt::Died(status.map_or_else(unknown_end, told)))
    }

    /// Kills the child, if there is one, and says how it ended: by itself, if it had.
    async fn end_child(&mut self) -> Option<ExitStatus> {
        let mut running = self.child.take()?;
        drop(running.asks);
        // Its answers ended, so it is dead or about to be: waiting first tells its own signal.
        let own = tokio::time::timeout(END_PATIENCE, running.child.wait()).await;
        if let Ok(Ok(status)) = own {
            return Some(status);
        }
        drop(running.child.start_kill());
        running.child.wait().await.ok()
    }

    async fn spawn(&self) -> io::Result<Running> {
        let options = &self.shared.options;
        let program = match &options.child_program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        let mut child = Command::new(program)
            .env(CHILD_VARIABLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C at a terminal is for the worker, which decides what becomes of its children.
            .process_group(0)
            .spawn()?;
        let mut asks = child.stdin.take().expect("piped above");
        let answers = BufReader::new(child.stdout.take().expect("piped above")).lines();
        let series: Vec<Vec<u8>> = self
            .batch
            .task
            .series
            .iter()
            .map(|s| s.to_bytes())
            .collect();
        let setup = Setup {
            spec: self.batch.task.stored_spec.clone(),
            series_bytes: series.iter().map(|bytes| bytes.len() as u64).collect(),
            memory_bytes: options.trial_memory_bytes,
            worker: self.batch.worker.to_string(),
        };
        let sent = async {
            asks.write_all(&line(&setup)).await?;
            for bytes in &series {
                asks.write_all(bytes).await?;
            }
            asks.flush().await
        };
        // A child that dies during its setup is seen by the first question.
        if let Err(error) = sent.await {
            tracing::debug!(%error, "an isolated child took no setup");
        }
        Ok(Running {
            child,
            asks,
            answers,
        })
    }

    /// This process cannot start children now (no memory, no processes): not the trial's fault.
    async fn cannot_start(&self, error: &io::Error) -> Attempt {
        tracing::error!(%error, "no isolated child can be started; handing the unit back");
        tokio::select! {
            () = tokio::time::sleep(CANNOT_START_PAUSE) => {}
            () = self.batch.unit.changed.notified() => {}
        }
        self.batch.unit.raise(Signal::HandBack);
        Attempt::Interrupted
    }

    /// Charges the death to the trial. Nothing: the unit is not ours any more, or is to be left.
    async fn charge(&self, trial: &RunningTrial) -> Option<u32> {
        let mut backoff = Backoff::new();
        loop {
            match self
                .shared
                .store
                .charge_crash(self.batch.unit.lease, trial.number, trial.crashes + 1)
                .await
            {
                Ok(Some(crashes)) => return Some(crashes),
                Ok(None) => {
                    self.batch.unit.raise(Signal::Lost);
                    return None;
                }
                Err(error) if error.is_transient() => tokio::time::sleep(backoff.delay()).await,
                Err(error) => {
                    tracing::error!(trial.number = trial.number, %error, "a crash could not be charged");
                    self.batch.unit.raise(Signal::HandBack);
                    return None;
                }
            }
            if self.batch.unit.signal.get() > Signal::Run {
                return None;
            }
        }
    }
}

/// How long a child whose pipe has ended may take to die by itself.
const END_PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);
/// How long a unit is kept when no child can be started.
const CANNOT_START_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

async fn exchange(running: &mut Running, ask: &Ask) -> io::Result<Option<Answer>> {
    running.asks.write_all(&line(ask)).await?;
    running.asks.flush().await?;
    let Some(text) = running.answers.next_line().await? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(io::Error::other)
}

fn line(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("plain data is always JSON");
    bytes.push(b'\n');
    bytes
}

fn unknown_end() -> String {
    "in a way that could not be seen".to_owned()
}

/// How a process ended, in words.
fn told(status: ExitStatus) -> String {
    const NAMES: [(i32, &str); 6] = [
        (6, "SIGABRT (abort; also a failed allocation)"),
        (9, "SIGKILL (often the kernel, out of memory)"),
        (11, "SIGSEGV (often a stack overflow)"),
        (4, "SIGILL"),
        (7, "SIGBUS"),
        (15, "SIGTERM"),
    ];
    match status.signal() {
        Some(signal) => match NAMES.iter().find(|(number, _)| *number == signal) {
            Some((_, name)) => format!("by {name}"),
            None => format!("by signal {signal}"),
        },
        None => format!("with {status}"),
    }
}
