//! What a worker process says of itself.

use crate::state::WorkerId;
use serde::{Deserialize, Serialize};

/// The announcement of a worker: who it is and what it can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCard {
    /// Identity, drawn at start.
    pub id: WorkerId,
    /// Host name and process id, as shown to operators: `host:pid`.
    pub name: String,
    /// Trials it runs at a time.
    pub slots: u32,
    /// The pool whose queue it consumes.
    pub pool: String,
    /// The objectives it can evaluate.
    pub strategies: Vec<String>,
    /// Version of the build.
    pub version: String,
    /// What it reads and writes; unknown of builds before 0.2.
    pub speaks: Option<Speaks>,
}

/// The versions of what processes of different builds say to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaks {
    /// Version of the database's schema that its statements are written for.
    pub schema: u32,
    /// Newest version of a task's stored form that it reads.
    pub form: u32,
    /// Newest version of a message's wire form that it reads.
    pub message: u32,
}

/// Where the units of searches are kept whose trials are run by clients. No pool of workers can have this
/// name, and no relay publishes what is in it.
pub const CLIENT_POOL: &str = "@client";

/// The pool of tasks that ask for nothing special.
pub const DEFAULT_POOL: &str = "default";
