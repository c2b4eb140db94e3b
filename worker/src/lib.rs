//! Runs units of trials.
//!
//! A worker is told of a unit by a message, claims its lease from the store, runs its trials in
//! order and writes their results under the lease. [`RunningWorker`] is the whole of it, for the
//! binary `trialmill-worker` and for programs that embed one.
//!
//! - tokio tasks wait, threads compute: one slot has one task (`slot`) and one thread (`cpu`);
//! - leases are renewed (`renew`) and results written (`flush`) on tasks of their own, which wait
//!   for no computation;
//! - trials that killed a worker run in a child process ([`child`]);
//! - a worker that fails for reasons of its own takes no units until it has tested itself
//!   (`quarantine`);
//! - samplers that look at history are shown it by `history`, which keeps it and bounds how much
//!   of it may be unseen;
//! - when a search has ended, its assess unit says what the result is worth (`assessor`, [`assess`]).

pub mod assess;
mod assessor;
mod backoff;
pub mod bars;
pub mod child;
pub mod config;
mod cpu;
mod flush;
mod history;
mod idle;
mod isolate;
mod job;
pub mod objective;
mod options;
pub mod preflight;
mod prune;
mod quarantine;
mod renew;
mod run;
mod running;
mod selftest;
mod slot;
pub mod status;
mod stop;
mod task;
mod trials;
mod unit;

pub use options::WorkerOptions;
pub use running::{Beat, RunningWorker, StartError, WorkerFault};
pub use stop::{Signal, SignalCell, StopSource};
