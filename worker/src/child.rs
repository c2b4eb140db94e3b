//! The isolated child: the same program, started again to run trials one at a time for a worker,
//! under a limit of its address space. It may panic, abort or be killed; the worker goes on.
//!
//! It reads one line of JSON (`Setup`), then the bytes of the bars and records, and says that it is ready
//! with one line (`Started`); then it reads one line per trial (`Ask`), and answers each with
//! one line (`Reply`). It knows no store and no broker.

use crate::bars::PinnedData;
use crate::config;
use crate::job::{Evaluated, Job, Watched};
use crate::objective::{Objective, panic_text};
use crate::stop::{SignalCell, StopSource};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::market::Record;
use trialmill_common::reports;
use trialmill_common::state::TaskKind;
use trialmill_common::trial::{Evaluation, Failure, Outcome};
use trialmill_search::pruner::Reports;

/// Set to 1 in the environment of a child.
pub(crate) const CHILD_VARIABLE: &str = "TRIALMILL_CHILD";

/// The first line that a child reads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// What kind of task it is.
    pub(crate) kind: TaskKind,
    /// The task, as stored.
    pub(crate) spec: serde_json::Value,
    /// A trial that it may be asked for; all others see the same days.
    pub(crate) trial: u32,
    /// Lengths of the bars' byte forms, which follow this line.
    pub(crate) series_bytes: Vec<u64>,
    /// Lengths of the records' byte forms, which follow the bars.
    #[serde(default)]
    pub(crate) records_bytes: Vec<u64>,
    /// Limit of the address space.
    pub(crate) memory_bytes: u64,
    /// Names worker and slot in failures.
    pub(crate) worker: String,
}

/// What a child says after its setup: what ends it before is not a trial's fault.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Started {
    Ready,
    /// It cannot run trials, for this reason.
    Failed(String),
}

/// A trial to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) number: u32,
    /// The packed point.
    pub(crate) packed: Vec<u8>,
}

/// How it ended. A child is never interrupted but killed, so every answer is an end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Completed {
        values: Vec<f64>,
        metrics: Vec<(String, Result<f64, String>)>,
        infeasible: Option<String>,
        #[serde(default)]
        violation: Option<f64>,
        stats: Option<Vec<u8>>,
    },
    Pruned {
        values: Vec<f64>,
        metrics: Vec<(String, Result<f64, String>)>,
        infeasible: Option<String>,
        #[serde(default)]
        violation: Option<f64>,
        stats: Option<Vec<u8>>,
    },
    Failed(Failure),
}

/// An answer, and the result document if the trial was a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    answer: Answer,
    /// What a trial reported on the way, packed, and of how many objectives: it ran to its end, and its parent
    /// says where it should have been stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reports: Option<(usize, Vec<u8>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<serde_json::Value>,
}

impl Reply {
    fn of(evaluated: Evaluated) -> Self {
        Self {
            answer: Answer::of(evaluated.outcome),
            reports: evaluated
                .reports
                .map(|reports| (reports.objectives(), reports::pack(&reports))),
            document: evaluated.document,
        }
    }

    /// Whether it is a completed trial with this one value.
    pub(crate) fn is_value(&self, expected: f64) -> bool {
        matches!(&self.answer, Answer::Completed { values, .. }
            if values.len() == 1 && values[0].to_bits() == expected.to_bits())
    }

    pub(crate) fn into_evaluated(self) -> Evaluated {
        Evaluated {
            outcome: self.answer.into_outcome(),
            reports: self
                .reports
                .and_then(|(objectives, packed)| reports::unpack(&packed, objectives)),
            document: self.document,
        }
    }
}

impl Answer {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed(Evaluation {
                values,
                metrics,
                infeasible,
                violation,
                stats,
            }) => Self::Completed {
                values,
                metrics,
                infeasible,
                violation,
                stats,
            },
            Outcome::Pruned(Evaluation {
                values,
                metrics,
                infeasible,
                violation,
                stats,
            }) => Self::Pruned {
                values,
                metrics,
                infeasible,
                violation,
                stats,
            },
            Outcome::Failed(failure) => Self::Failed(failure),
        }
    }

    fn into_outcome(self) -> Outcome {
        match self {
            Self::Completed {
                values,
                metrics,
                infeasible,
                violation,
                stats,
            } => Outcome::Completed(Evaluation {
                values,
                metrics,
                infeasible,
                violation,
                stats,
            }),
            Self::Pruned {
                values,
                metrics,
                infeasible,
                violation,
                stats,
            } => Outcome::Pruned(Evaluation {
                values,
                metrics,
                infeasible,
                violation,
                stats,
            }),
            Self::Failed(failure) => Outcome::Failed(failure),
        }
    }
}

/// Runs this process as an isolated child, if it was started as one; else returns nothing.
///
/// Every program that runs a worker calls it first thing in `main`, before there is a runtime or
/// another thread.
#[must_use = "a child must exit with this code"]
pub fn main_if_child() -> Option<ExitCode> {
    if !config::is_child(CHILD_VARIABLE) {
        ASKED.store(true, Ordering::Release);
        return None;
    }
    Some(match serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads a log of a child; its standard error is the worker's.
            drop(writeln!(io::stderr(), "isolated child: {error}"));
            ExitCode::FAILURE
        }
    })
}

/// Whether this process can serve as its own child: a program that never asks would start itself
/// all over again, without end.
static ASKED: AtomicBool = AtomicBool::new(false);

pub(crate) fn this_program_asks() -> bool {
    ASKED.load(Ordering::Acquire)
}

fn serve(mut asks: impl BufRead, mut answers: impl Write) -> io::Result<()> {
    // A worker that is killed takes its children with it.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let mut text = String::new();
    if asks.read_line(&mut text)? == 0 {
        return Ok(());
    }
    let prepared = catch_unwind(AssertUnwindSafe(|| prepare(&text, &mut asks)))
        .unwrap_or_else(|payload| Err(io::Error::other(panic_text(payload.as_ref()))));
    let Prepared {
        worker,
        job,
        objective,
    } = match prepared {
        Ok(prepared) => {
            say(&mut answers, &Started::Ready)?;
            prepared
        }
        Err(error) => {
            say(&mut answers, &Started::Failed(error.to_string()))?;
            return Err(error);
        }
    };
    let signal = SignalCell::default();
    let pruning = job.pruning().map_err(io::Error::other)?;
    let mut to_the_end = |_: &Reports| false;
    for text in asks.lines() {
        let ask: Ask = serde_json::from_str(&text?)?;
        let point = job.unpack(&ask.packed).map_err(io::Error::other)?;
        let limit = objective.subject().time_limit();
        let stop = StopSource::new(&signal, Instant::now() + limit);
        let watched = pruning.as_ref().map(|pruning| Watched {
            order: &pruning.order,
            prunes: &mut to_the_end,
        });
        let evaluated = job
            .evaluate(&objective, &point, &stop, &worker, watched)
            .expect("nobody raises the signal of a child");
        say(&mut answers, &Reply::of(evaluated))?;
    }
    Ok(())
}

fn say(answers: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *answers, line)?;
    answers.write_all(b"\n")?;
    answers.flush()
}

/// What a child has after its setup.
struct Prepared {
    worker: String,
    job: Job,
    objective: Objective,
}

/// Takes the setup: its line is `text`, the bars follow in `asks`.
fn prepare(text: &str, asks: &mut impl BufRead) -> io::Result<Prepared> {
    let setup: Setup = serde_json::from_str(text)?;
    limit(Resource::As, setup.memory_bytes)?;
    limit(Resource::Core, 0)?;
    let mut data = PinnedData::default();
    for length in &setup.series_bytes {
        let bars = BarSeries::from_bytes(&taken(asks, *length)?).map_err(io::Error::other)?;
        data.series.push(Arc::new(bars));
    }
    for length in &setup.records_bytes {
        let record = Record::from_bytes(&taken(asks, *length)?).map_err(io::Error::other)?;
        data.records.push(Arc::new(record));
    }
    let job = Job::read(setup.kind, &setup.spec).map_err(io::Error::other)?;
    let objective = Objective::prepare(job.subject(setup.trial), &data);
    Ok(Prepared {
        worker: setup.worker,
        job,
        objective,
    })
}

/// The next bytes of what follows the setup.
fn taken(asks: &mut impl BufRead, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    asks.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Lowers a limit; one that is lower already (inherited from the worker) stays.
fn limit(resource: Resource, bytes: u64) -> io::Result<()> {
    let bytes = getrlimit(resource)
        .maximum
        .map_or(bytes, |inherited| inherited.min(bytes));
    setrlimit(
        resource,
        Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        },
    )?;
    Ok(())
}
