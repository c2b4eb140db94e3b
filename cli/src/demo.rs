//! `demo`: the main job, embedded. A search goes the way of every search (checked, stored, relayed,
//! queued, claimed by a worker, recorded), on SQLite and the in-process queue, and what it claims is
//! checked before it is printed.

mod checks;
mod report;
mod search;

pub use search::QUEUE_BOUND;

use crate::args::Demo;
use crate::config::Settings;
use crate::database::{self, SQLITE_FILE};
use crate::example;
use crate::failure::Failure;
use crate::output;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trialmill_store::Timing;

/// What the demo runs.
pub struct Plan {
    /// Seed of the prices.
    pub price_seed: u64,
    /// Seed of the search.
    pub search_seed: u64,
    /// Trials.
    pub trials: u32,
    /// Trials run at a time.
    pub slots: u32,
}

/// Runs the demo and prints what it found.
///
/// # Errors
/// When the search does not complete, or one of the checks fails.
pub async fn run(options: &Demo, settings: &Settings) -> Result<(), Failure> {
    let temporary;
    let folder: &Path = match &options.data_dir {
        Some(folder) => folder,
        None => {
            temporary = tempfile::Builder::new()
                .prefix("trialmill-demo-")
                .tempdir()
                .map_err(|error| Failure::reason(format!("no temporary folder: {error}")))?;
            temporary.path()
        }
    };
    let plan = Plan {
        price_seed: options.seed.unwrap_or(example::PRICE_SEED),
        search_seed: options.seed.unwrap_or(example::SEARCH_SEED),
        trials: options.trials,
        slots: settings.slots.unwrap_or_else(available_slots),
    };
    let store = database::embedded(folder, &Timing::default())?;
    // Dropped at an interruption: the folder is removed, the worker's units are nobody's.
    let found = tokio::select! {
        found = search::run(Arc::new(store), &plan) => found?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::reason("interrupted")),
    };
    let checks = checks::check(&found).await?;
    if options.json {
        output::document(&report::document(&found, &checks))?;
    } else {
        let kept: Option<PathBuf> = options.data_dir.as_ref().map(|dir| dir.join(SQLITE_FILE));
        for line in report::lines(&plan, &found, &checks, kept.as_deref()) {
            output::say(line)?;
        }
    }
    Ok(())
}

/// One slot for each processor.
pub fn available_slots() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(processors).unwrap_or(1).min(256)
}
