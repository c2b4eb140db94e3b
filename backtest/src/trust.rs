//! How far to trust the best of many backtests: the figures, each once, with formula and source.
//!
//! A search over many parameters finds a good past whether or not there is anything to find. What
//! is here asks of such a find how much of it luck explains:
//!
//! - [`TrialStats`]: what a trial keeps of its returns so that the others can be computed without
//!   them;
//! - [`sharpe`]: the probability that a Sharpe ratio is above a bar, and the bar that luck sets for
//!   the best of many;
//! - [`overfit`]: how often the best of one half of the rows is below the median on the other;
//! - [`independent`]: how many independent attempts correlated ones amount to;
//! - [`bootstrap`]: an interval for a Sharpe ratio whose returns may depend on each other;
//! - [`luck`]: bars in which there is nothing to find, made of the real ones.
//!
//! A Sharpe ratio is per row here, never annualized: multiply by the root of `periods_per_year`.
//! Everything is pure: chance is a seed.

pub mod bootstrap;
pub mod independent;
pub mod luck;
pub mod overfit;
pub mod sharpe;
mod stats;

pub use stats::{BLOCKS, MIN_RETURNS, Moments, PACKED_BYTES, StatsError, TrialStats};

use thiserror::Error;

/// Why a figure has no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NoFigure(String);

impl NoFigure {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}
