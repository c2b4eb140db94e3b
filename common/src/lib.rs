//! The domain: what a task, a trial, a unit and a lease are, which requests are accepted, and the
//! protocol by which units are handed out, recorded and ended.
//!
//! Everything here is pure: no I/O, no clock, no runtime. The store repeats [`protocol`] in SQL,
//! and its tests compare the two step by step.

pub mod assessment;
pub mod costs;
pub mod cursor;
pub mod draft;
pub mod environment;
pub mod failpoints;
pub mod fault;
pub mod judge;
pub mod key;
pub mod message;
pub mod objective;
pub mod protocol;
pub mod reports;
pub mod secret;
pub mod spec;
pub mod state;
pub mod trial;
pub mod validation;
pub mod worker;
