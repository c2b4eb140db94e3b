//! Trials of a unit that lost its worker: one at a time, each announced, in a child process that
//! can die or be killed alone.

use crate::backoff::Backoff;
use crate::child::{Ask, CHILD_VARIABLE, Reply, Setup, Started};
use crate::cpu::Lane;
use crate::job::Evaluated;
use crate::options::WorkerOptions;
use crate::running::{Phase, Shared};
use crate::selftest;
use crate::slot::{read_history, start_trial};
use crate::stop::Signal;
use crate::trials::{Batch, Halt, Next};
use crate::unit::{Cannot, HeldUnit};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use trialmill_common::trial::{MAX_TRIAL_CRASHES, RunningTrial};

/// The isolated run of one unit.
pub(crate) struct Isolated<'a> {
    shared: Arc<Shared>,
    batch: Batch,
    /// Where points are drawn: a sampler that models history takes its time.
    lane: &'a Lane,
    child: Option<Running>,
}

/// A living child.
pub(crate) struct Running {
    child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What one attempt at a trial came to.
enum Attempt {
    Ended(Evaluated),
    Interrupted,
    Died(String),
}

impl<'a> Isolated<'a> {
    pub(crate) fn new(shared: Arc<Shared>, batch: Batch, lane: &'a Lane) -> Self {
        Self {
            shared,
            batch,
            lane,
            child: None,
        }
    }

    /// What comes next, found on the thread that computes.
    async fn next(&self) -> Next {
        let batch = self.batch.clone();
        let next = self.lane.run(move || batch.next()).await;
        next.unwrap_or_else(|_| Next::Halt(Halt::NoPoint("drawing it panicked".to_owned())))
    }

    /// Runs trials until something else is to be done; never returns [`Halt::Announce`] or
    /// [`Halt::ReadHistory`].
    pub(crate) async fn run(&mut self) -> Halt {
        let halt = loop {
            let mut trial = match self.next().await {
                Next::Halt(Halt::ReadHistory(number)) => {
                    read_history(&self.shared, self.lane, &self.batch.unit, number).await;
                    continue;
                }
                Next::Halt(halt) => break halt,
                Next::Full => {
                    let batch = &self.batch;
                    let bound = batch.limits.unrecorded_bytes;
                    batch.unit.room(bound, || batch.flush_now()).await;
                    continue;
                }
                Next::Trial(trial) => trial,
                Next::Failed(trial, evaluated) => {
                    if !self.batch.push(trial, evaluated, std::time::Duration::ZERO) {
                        break Halt::Signalled;
                    }
                    continue;
                }
            };
            start_trial(&self.shared, &self.batch.unit, &trial).await;
            let begin = Instant::now();
            let evaluated = loop {
                if self.batch.unit.signal.get() > Signal::Run {
                    break None;
                }
                match self.attempt(&trial).await {
                    Attempt::Ended(evaluated) => break Some(evaluated),
                    Attempt::Interrupted => break None,
                    // A signal to the whole service reaches the child as well: what dies while
                    // the worker leaves is handed back, not charged.
                    Attempt::Died(_) if *self.shared.phase.borrow() > Phase::Running => break None,
                    Attempt::Died(how) => {
                        // Where no child lives, its death says nothing about the trial.
                        if let Err(fault) = selftest::child(&self.shared.options).await {
                            let why = format!("an isolated trial died {how}, but {fault}");
                            self.batch.unit.cannot_run(Cannot::here(&self.shared, &why));
                            break None;
                        }
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
            let Some(evaluated) = evaluated else {
                break Halt::Signalled;
            };
            let history = self.batch.unit.history().map(|history| &**history);
            let evaluated = self.batch.task.cut(trial.number, evaluated, history);
            if !self.batch.push(trial, evaluated, begin.elapsed()) {
                break Halt::Signalled;
            }
        };
        self.end_child().await;
        halt
    }

    /// One attempt: the child ends the trial, or its end ends it.
    async fn attempt(&mut self, trial: &RunningTrial) -> Attempt {
        if self.child.is_none()
            && let Err(attempt) = self.start_child(trial.number).await
        {
            return attempt;
        }
        let running = self.child.as_mut().expect("started above");
        let packed = self.batch.task.job.pack(&trial.point);
        let ask = Ask {
            number: trial.number,
            packed,
        };
        let patience = self.batch.task.trial_timeout() + self.shared.options.stuck_grace;
        let unit = Arc::clone(&self.batch.unit);
        let interrupted = raised(&unit, Signal::Interrupt);
        let attempt = tokio::select! {
            biased;
            answer = exchange(running, &ask) => match answer {
                Ok(Some(answer)) => return Attempt::Ended(answer.into_evaluated()),
                Ok(None) => None,
                Err(error) => {
                    tracing::debug!(%error, "the pipe to an isolated trial broke");
                    None
                }
            },
            () = interrupted => Some(Attempt::Interrupted),
            () = tokio::time::sleep(patience) => {
                Some(Attempt::Ended(self.batch.timed_out()))
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

    /// Starts a child and waits until it is ready, unless the unit is to be left before.
    async fn start_child(&mut self, trial: u32) -> Result<(), Attempt> {
        let mut running = match spawn(&self.shared.options) {
            Ok(running) => running,
            Err(error) => return Err(self.cannot_start(&error.to_string())),
        };
        let setup = self.setup(trial);
        let unit = Arc::clone(&self.batch.unit);
        let started = tokio::select! {
            biased;
            started = ready(&mut running, setup) => Some(started),
            // Its trial has not begun, so any signal is reason enough.
            () = raised(&unit, Signal::HandBack) => return Err(Attempt::Interrupted),
            () = tokio::time::sleep(SETUP_LIMIT) => None,
        };
        self.child = Some(running);
        let why = match started {
            Some(Ok(())) => return Ok(()),
            Some(Err(why)) => why,
            None => format!("its setup took longer than {} s", SETUP_LIMIT.as_secs()),
        };
        let end = self.end_child().await.map_or_else(unknown_end, told);
        Err(self.cannot_start(&format!("{why}; it ended {end}")))
    }

    /// What the child is told first: the line of the setup, and the bytes of the bars and records.
    fn setup(&self, trial: u32) -> (Setup, Vec<Vec<u8>>) {
        let task = &self.batch.task;
        let series = task.data.series.iter().map(|series| series.to_bytes());
        let series: Vec<Vec<u8>> = series.collect();
        let records = task.data.records.iter().map(|record| record.to_bytes());
        let records: Vec<Vec<u8>> = records.collect();
        let lengths = |of: &[Vec<u8>]| of.iter().map(|bytes| bytes.len() as u64).collect();
        let setup = Setup {
            kind: task.job.kind(),
            spec: task.stored_spec.clone(),
            trial,
            series_bytes: lengths(&series),
            records_bytes: lengths(&records),
            memory_bytes: self.shared.options.trial_memory_bytes,
            worker: self.batch.worker.to_string(),
        };
        (setup, series.into_iter().chain(records).collect())
    }

    /// This process cannot start children now (no memory, no processes), or not for this task (its
    /// bars do not fit): no trial's fault.
    fn cannot_start(&self, why: &str) -> Attempt {
        let limit = self.shared.options.trial_memory_bytes >> 20;
        let why = format!(
            "no isolated child can be started for it: {why}; TRIALMILL_TRIAL_MEMORY_MB is {limit}"
        );
        self.batch.unit.cannot_run(Cannot::here(&self.shared, &why));
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
/// How long a child may take to read its bars and make its objective ready.
const SETUP_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Starts the program of the children.
pub(crate) fn spawn(options: &WorkerOptions) -> io::Result<Running> {
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
    let asks = child.stdin.take().expect("piped above");
    let answers = BufReader::new(child.stdout.take().expect("piped above")).lines();
    Ok(Running {
        child,
        asks,
        answers,
    })
}

/// Gives a child its setup and waits until it is ready.
///
/// # Errors
/// Why it is not, in words.
pub(crate) async fn ready(
    running: &mut Running,
    setup: (Setup, Vec<Vec<u8>>),
) -> Result<(), String> {
    match set_up(running, setup).await {
        Ok(Some(Started::Ready)) => Ok(()),
        Ok(Some(Started::Failed(why))) => Err(why),
        Ok(None) => Err("it ended during its setup".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Waits until the unit's signal is at least `signal`.
async fn raised(unit: &HeldUnit, signal: Signal) {
    while unit.signal.get() < signal {
        unit.changed.notified().await;
    }
}

/// Gives the child its setup and reads what it says to it; nothing if it ended without a word.
async fn set_up(
    running: &mut Running,
    (setup, data): (Setup, Vec<Vec<u8>>),
) -> io::Result<Option<Started>> {
    let sent = async {
        running.asks.write_all(&line(&setup)).await?;
        for bytes in &data {
            running.asks.write_all(bytes).await?;
        }
        running.asks.flush().await
    };
    // A child that takes no setup may still have said why.
    if let Err(error) = sent.await {
        tracing::debug!(%error, "an isolated child took no setup");
    }
    let Some(text) = running.answers.next_line().await? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(io::Error::other)
}

pub(crate) async fn exchange(running: &mut Running, ask: &Ask) -> io::Result<Option<Reply>> {
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
