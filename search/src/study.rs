//! A study: the search for one task, ready to be asked.

use crate::fault::SpaceFault;
use crate::history::History;
use crate::point::Point;
use crate::sampler::{HistoryNeed, Method, Sampler};
use crate::space::Space;

/// A space, a method and a seed, prepared once per task and asked once per trial.
///
/// Shared freely between threads; asking changes nothing.
///
/// ```
/// use trialmill_search::{Domain, History, Method, Space, Study};
///
/// let space = Space::new([
///     ("fast".to_owned(), Domain::Int { low: 1, high: 3, step: 1, log: false }),
///     ("slow".to_owned(), Domain::Int { low: 10, high: 20, step: 10, log: false }),
/// ])?;
/// let study = Study::new(space, Method::Grid, 42)?;
/// assert_eq!(study.size_limit(), Some(6));
/// assert!(study.ask(&History::EMPTY, 5).is_some());
/// assert!(study.ask(&History::EMPTY, 6).is_none(), "the space is exhausted");
/// # Ok::<(), Vec<trialmill_search::SpaceFault>>(())
/// ```
#[derive(Debug)]
pub struct Study {
    space: Space,
    method: Method,
    seed: u64,
    sampler: Box<dyn Sampler>,
}

impl Study {
    /// Prepares the search. A grid builds its order here: 4 bytes per point, at most 4 MB.
    ///
    /// # Errors
    /// Everything that keeps `method` from searching `space` ([`Method::faults`]).
    pub fn new(space: Space, method: Method, seed: u64) -> Result<Self, Vec<SpaceFault>> {
        let sampler = method.sampler(&space, seed)?;
        Ok(Self {
            space,
            method,
            seed,
            sampler,
        })
    }

    /// The point that trial `number` evaluates; `None` when the space is exhausted.
    ///
    /// `history` must hold what [`history_need`](Self::history_need) says; what is beyond it is
    /// ignored.
    #[must_use]
    pub fn ask(&self, history: &History<'_>, number: u32) -> Option<Point> {
        self.sampler.ask(&self.space, history, self.seed, number)
    }

    /// How much history [`ask`](Self::ask) reads.
    #[must_use]
    pub fn history_need(&self) -> HistoryNeed {
        self.sampler.history_need()
    }

    /// How many trials the space holds, if it can be exhausted (the size of a grid).
    #[must_use]
    pub fn size_limit(&self) -> Option<u64> {
        self.sampler.size_limit()
    }

    /// The space searched.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The method that searches.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The seed that fixes every draw.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }
}
