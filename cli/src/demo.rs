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
use search::Mill;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use trialmill_store::{Store, Timing};

/// What a luck test of the demo may take.
const LUCK: Duration = Duration::from_secs(20);

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
    /// What a luck test may take.
    pub luck: Duration,
    /// Acts played, 1 to 3.
    pub acts: u32,
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
        acts: options.acts,
        slots: settings.slots.unwrap_or_else(available_slots),
        luck: settings.luck.map_or(LUCK, |luck| luck.min(LUCK)),
    };
    let store = database::embedded(folder, &Timing::default())?;
    // Dropped at an interruption: the folder is removed, the worker's units are nobody's.
    tokio::select! {
        played = play(Arc::new(store), &plan, options) => played,
        _ = tokio::signal::ctrl_c() => Err(Failure::reason("interrupted")),
    }
}

/// The acts, each printed when it has ended.
async fn play(store: Arc<dyn Store>, plan: &Plan, options: &Demo) -> Result<(), Failure> {
    let say = |lines: Vec<String>| -> Result<(), Failure> {
        if !options.json {
            lines.into_iter().try_for_each(output::say)?;
        }
        Ok(())
    };
    let mut mill = Mill::start(store, plan).await?;
    mill.stock(&example::invent_all(plan.price_seed)?, plan.price_seed)
        .await?;
    let first = mill
        .search(&example::demo_request(plan.trials, plan.search_seed))
        .await?;
    let checks = checks::check(&first).await?;
    say(report::lines(plan, &first, &checks))?;
    let mut later = Vec::new();
    for act in report::LATER.iter().take((plan.acts - 1) as usize) {
        if act.is_random_walk {
            let walks = example::invent_walks(plan.price_seed)?;
            mill.stock(&walks, plan.price_seed).await?;
        }
        say(report::heading(plan, act))?;
        let found = mill
            .search(&example::walk_forward_request(
                plan.search_seed,
                act.is_random_walk,
            ))
            .await?;
        say(report::judged(act, &found))?;
        later.push((act, found));
    }
    mill.drain().await;
    // Once more, over all that was recorded.
    let recorded = checks::recorded_once(&first, later.iter().map(|(_, found)| found)).await?;
    if options.json {
        return Ok(output::document(&report::document(
            &first, &checks, recorded, &later,
        ))?);
    }
    let kept: Option<PathBuf> = options.data_dir.as_ref().map(|dir| dir.join(SQLITE_FILE));
    say(report::end(recorded, kept.as_deref()))
}

/// One slot for each processor.
pub fn available_slots() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(processors).unwrap_or(1).min(256)
}
