//! The loop over the trials of a unit, on the thread that computes.
//!
//! Short trials run one after the other without leaving the thread; their results are fetched by
//! the flusher. The loop returns to its slot only for what needs the runtime.

use crate::flush::FlushNow;
use crate::history::Asked;
use crate::job::Evaluated;
use crate::objective::panic_text;
use crate::stop::{Signal, StopSource};
use crate::task::PreparedTask;
use crate::unit::HeldUnit;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::trial::{
    EndedTrial, Failure, FailureKind, MAX_TRIAL_CRASHES, Outcome, RunningTrial,
};
use trialmill_search::Point;

/// Why the loop returned.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Every trial of the unit has a result.
    Done,
    /// The unit has worked long enough.
    WorkedLong,
    /// The signal was raised (or the thread was given up).
    Signalled,
    /// The next trial is expected to be slow: announce it, then run on with it.
    Announce(RunningTrial),
    /// The point of this trial depends on trials that are not known yet: read the history, then run
    /// on.
    ReadHistory(u32),
    /// This trial has no point, for this reason, and not even one to fail with.
    NoPoint(String),
}

/// Trials that an earlier holder announced: their crashes, and their points unless these cannot
/// be read; then they are drawn again.
pub(crate) type Announced = BTreeMap<u32, (Option<Point>, u32)>;

/// What a slot runs on its thread.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) unit: Arc<HeldUnit>,
    pub(crate) task: Arc<PreparedTask>,
    pub(crate) announced: Arc<Announced>,
    /// Names worker and slot in failures.
    pub(crate) worker: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) flush_now: Arc<FlushNow>,
}

/// The options that the loop needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) unit: Duration,
    pub(crate) slow_trial: Duration,
    pub(crate) unrecorded_bytes: usize,
}

/// What comes next in a unit.
pub(crate) enum Next {
    Halt(Halt),
    /// No trial until there is room for its result.
    Full,
    /// This trial, which was not started.
    Trial(RunningTrial),
    /// This trial is not run: its process died too often, or the sampler gave it no point.
    Failed(RunningTrial, Evaluated),
}

impl Batch {
    /// Runs trials until something else is to be done. `started` is the trial that the slot has
    /// announced just now.
    pub(crate) fn run(&self, started: Option<u32>) -> Halt {
        loop {
            let trial = match self.next() {
                Next::Halt(halt) => return halt,
                Next::Full => {
                    let bound = self.limits.unrecorded_bytes;
                    self.unit.wait_for_room(bound, || self.flush_now());
                    continue;
                }
                Next::Trial(trial) => trial,
                Next::Failed(trial, evaluated) => {
                    if !self.push(trial, evaluated, Duration::ZERO) {
                        return Halt::Signalled;
                    }
                    continue;
                }
            };
            if started != Some(trial.number) && self.task.is_slow(self.limits.slow_trial) {
                return Halt::Announce(trial);
            }
            let _span = tracing::debug_span!("trial", trial.number = trial.number).entered();
            let begin = Instant::now();
            self.unit.trial_begins(begin);
            let stop = StopSource::new(&self.unit.signal, begin + self.task.trial_timeout());
            reach(FailPoint::TrialBegun);
            let history = self.unit.history().map(|history| &**history);
            let result =
                self.task
                    .evaluate(trial.number, &trial.point, &stop, &self.worker, history);
            self.unit.trial_is_over();
            let Ok(evaluated) = result else {
                return Halt::Signalled;
            };
            reach(FailPoint::TrialComputed);
            let duration = begin.elapsed();
            self.task.pace.add(duration);
            if !self.push(trial, evaluated, duration) {
                return Halt::Signalled;
            }
        }
    }

    /// The next trial of the unit, or why there is none now. Waits for nothing.
    pub(crate) fn next(&self) -> Next {
        let Some(number) = self.unit.next_trial() else {
            return Next::Halt(Halt::Done);
        };
        if self.unit.signal.get() > Signal::Run {
            return Next::Halt(Halt::Signalled);
        }
        if self.unit.is_full(self.limits.unrecorded_bytes) {
            return Next::Full;
        }
        if number > self.unit.first && self.unit.worked() >= self.limits.unit {
            return Next::Halt(Halt::WorkedLong);
        }
        let (announced, crashes) = match self.announced.get(&number) {
            Some((point, crashes)) => (point.as_ref(), *crashes),
            None => (None, 0),
        };
        let trial = |point| RunningTrial {
            number,
            unit: self.unit.lease.unit.unit,
            point,
            crashes,
        };
        let point = match announced {
            Some(point) => {
                if let Some(history) = self.unit.history() {
                    history.start(self.unit.lease, number, point.clone());
                }
                point.clone()
            }
            None if self.unit.needs_history(number) => {
                return Next::Halt(Halt::ReadHistory(number));
            }
            None => match self.draw(number) {
                Ok(Some(point)) => point,
                Ok(None) if self.unit.reads_again(number) => {
                    return Next::Halt(Halt::ReadHistory(number));
                }
                Ok(None) => {
                    let why = format!("not every trial before trial {number} is known");
                    return Next::Halt(Halt::NoPoint(why));
                }
                Err(failure) => {
                    return match self.task.any_point(number) {
                        Some(point) => {
                            Next::Failed(trial(point), self.failed(Outcome::Failed(failure)))
                        }
                        None => Next::Halt(Halt::NoPoint(failure.message)),
                    };
                }
            },
        };
        if crashes >= MAX_TRIAL_CRASHES {
            Next::Failed(trial(point), self.crashed_too_often(None))
        } else {
            Next::Trial(trial(point))
        }
    }

    /// The sampler's point, if all is known that it is to look at. A sampler that panics, or has no
    /// point though the space was said to hold one, fails the trial: the task ends and says why.
    fn draw(&self, number: u32) -> Result<Option<Point>, Failure> {
        let ask = || {
            self.task
                .point(self.unit.history().map(|h| (&**h, self.unit.lease)), number)
        };
        let (kind, message) = match catch_unwind(AssertUnwindSafe(ask)) {
            Ok(Asked::Point(point)) => return Ok(Some(point)),
            Ok(Asked::Missing) => return Ok(None),
            Ok(Asked::NoneLeft) => {
                let message = format!("the sampler has no point left for trial {number}");
                (FailureKind::InvalidParameters, message)
            }
            Err(payload) => {
                let text = panic_text(payload.as_ref());
                (FailureKind::Panic, format!("the sampler panicked: {text}"))
            }
        };
        tracing::error!(trial.number = number, message, "no point was drawn");
        Err(Failure {
            kind,
            message,
            causes: Vec::new(),
            hint: "a fault of this build; report it with the task, or choose another \
                   optimization_method. The parameters shown were not evaluated"
                .to_owned(),
            worker: self.worker.to_string(),
        })
    }

    /// Hands a result in. False: the unit wants no more.
    pub(crate) fn push(
        &self,
        trial: RunningTrial,
        evaluated: Evaluated,
        duration: Duration,
    ) -> bool {
        let RunningTrial { number, point, .. } = trial;
        let Evaluated {
            outcome,
            reports,
            document,
        } = evaluated;
        if let Outcome::Failed(failure) = &outcome {
            let (kind, message) = (failure.kind.name(), &failure.message);
            tracing::info!(trial.number = number, kind, message, "trial failed");
        }
        let duration_ms = duration.as_secs_f64() * 1e3;
        let ended = EndedTrial {
            number,
            point,
            outcome,
            reports: reports.filter(|reports| !reports.is_empty()),
            duration_ms,
            window: self.task.window,
        };
        let bound = self.limits.unrecorded_bytes;
        self.unit.push(ended, document, bound, || self.flush_now())
    }

    /// Asks for the unit's results to be written before their time.
    pub(crate) fn flush_now(&self) {
        self.flush_now.ask(self.unit.task());
    }

    /// The end of a trial that failed outside its evaluation.
    fn failed(&self, outcome: Outcome) -> Evaluated {
        self.task.job.failed(outcome)
    }

    /// The end of a trial that ran into its deadline without noticing.
    pub(crate) fn timed_out(&self) -> Evaluated {
        self.failed(self.task.objective.timed_out(&self.worker))
    }

    /// The end of a trial whose process died [`MAX_TRIAL_CRASHES`] times, the last time as told.
    pub(crate) fn crashed_too_often(&self, last: Option<&str>) -> Evaluated {
        let how = last
            .map(|last| format!("; the last time {last}"))
            .unwrap_or_default();
        self.failed(Outcome::Failed(Failure {
            kind: FailureKind::WorkerCrashed,
            message: format!("its process died {MAX_TRIAL_CRASHES} times{how}"),
            causes: Vec::new(),
            hint: "abort, stack overflow or memory: keep the search away from these parameters, \
                   or raise TRIALMILL_TRIAL_MEMORY_MB on the workers"
                .to_owned(),
            worker: self.worker.to_string(),
        }))
    }
}
