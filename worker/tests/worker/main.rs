//! The worker over real stores and queues, in this process and as the binary.

mod assessments;
mod beside_holding;
mod binary;
mod history;
#[cfg(feature = "misbehave")]
mod misbehaving_trials;
mod operations;
mod panels;
mod pruning;
mod quarantine;
mod records;
mod runs;
mod searches;
mod services;
mod support;
mod windows;
