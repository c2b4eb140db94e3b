//! What every sampler is: a pure function, and a statement of how much history it reads.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::auto::Auto;
use crate::cmaes::CmaEs;
use crate::fault::SpaceFault;
use crate::gp::Gp;
use crate::grid::Grid;
use crate::history::History;
use crate::nsga2::Nsga2;
use crate::point::Point;
use crate::random::Random;
use crate::sobol::Sobol;
use crate::space::Space;
use crate::tpe::Tpe;

/// How much history a sampler reads. The store loads no more than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryNeed {
    /// None: a point depends on seed and trial number alone, and trials may run in any order on
    /// any number of workers with the same outcome.
    None,
    /// At most this many finished trials, the latest ones.
    Bounded(usize),
    /// Every finished trial.
    All,
}

/// A way of choosing points.
///
/// The law, tested for each one by the conformance suite in `tests/`: `ask` is a pure function of
/// its arguments. What an implementation computed in advance (a grid's order, a model) must follow
/// from the same arguments, so that it can be thrown away and rebuilt at any time.
pub trait Sampler: fmt::Debug + Send + Sync {
    /// How much of the history `ask` reads.
    fn history_need(&self) -> HistoryNeed;

    /// How many different trials there are, if the space can be exhausted.
    fn size_limit(&self) -> Option<u64>;

    /// Told once, before it is asked: these different allowed points are evaluated whatever it
    /// says. One that lists points in advance takes them out of its list.
    fn leave_out(&mut self, space: &Space, initial: &[Point]) {
        let _ = (space, initial);
    }

    /// The point that trial `number` evaluates; `None` when the space is exhausted, that is
    /// when `number` is at or beyond `size_limit`, and when no allowed point was found
    /// ([`Space::feasible_point`] finds none either).
    fn ask(&self, space: &Space, history: &History<'_>, seed: u64, number: u32) -> Option<Point>;
}

/// The samplers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Independent draws from every domain: [`Random`].
    Random,
    /// Every combination once, in a shuffled order: [`Grid`].
    Grid,
    /// Points of an Owen-scrambled Sobol sequence: [`Sobol`].
    Sobol,
    /// A model of where good trials lie against the others: [`Tpe`].
    Tpe,
    /// A Gaussian process and the improvement it expects: [`Gp`].
    Gp,
    /// A normal distribution that moves towards the better trials and takes their shape: [`CmaEs`].
    CmaEs,
    /// A genetic algorithm that keeps the trials of the best fronts: [`Nsga2`].
    Nsga2,
    /// The one of these that the space and the results so far speak for: [`Auto`].
    Auto,
}

impl Method {
    /// Every method, in the order in which a catalogue lists them.
    pub const ALL: [Self; 8] = [
        Self::Auto,
        Self::Random,
        Self::Grid,
        Self::Sobol,
        Self::Tpe,
        Self::Gp,
        Self::CmaEs,
        Self::Nsga2,
    ];

    /// The name used in requests, columns and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Grid => "grid",
            Self::Sobol => "sobol",
            Self::Tpe => "tpe",
            Self::Gp => "gp",
            Self::CmaEs => "cmaes",
            Self::Nsga2 => "nsga2",
            Self::Auto => "auto",
        }
    }

    /// Whether it proposes from what has ended: then the order in which trials end matters.
    #[must_use]
    pub const fn reads_history(self) -> bool {
        !matches!(self, Self::Random | Self::Grid | Self::Sobol)
    }

    /// Whether it gives no point twice, so that a space whose points can be counted is exhausted.
    #[must_use]
    pub const fn never_repeats(self) -> bool {
        !matches!(self, Self::Random | Self::Sobol)
    }

    /// Whether it searches for the front of several objectives; else it looks at the first alone, or at
    /// none.
    ///
    /// ```
    /// use trialmill_search::Method;
    ///
    /// assert!(Method::Nsga2.takes_several_objectives());
    /// assert!(Method::Sobol.takes_several_objectives(), "it looks at none");
    /// assert!(!Method::Gp.takes_several_objectives());
    /// ```
    #[must_use]
    pub const fn takes_several_objectives(self) -> bool {
        !matches!(self, Self::Gp | Self::CmaEs)
    }

    /// Whether a suggestion after so many finished trials takes longer than many a trial: tens of milliseconds where the others take less
    /// than one. Who asks for several at once asks one after the other then, so that each sees the
    /// others' points.
    #[must_use]
    pub const fn deliberates(self, finished: usize, objectives: usize) -> bool {
        match self {
            Self::Gp => true,
            Self::Auto => finished < crate::auto::MODELLED && objectives < 2,
            _ => false,
        }
    }

    /// What keeps this method from searching `space`, all of it at once; empty when nothing does.
    /// Cheap: it prepares nothing, so a request can be checked with it.
    #[must_use]
    pub fn faults(self, space: &Space) -> Vec<SpaceFault> {
        match self {
            Self::Random
            | Self::Sobol
            | Self::Tpe
            | Self::Gp
            | Self::CmaEs
            | Self::Nsga2
            | Self::Auto => Vec::new(),
            Self::Grid => Grid::faults(space),
        }
    }

    pub(crate) fn sampler(
        self,
        space: &Space,
        seed: u64,
    ) -> Result<Box<dyn Sampler>, Vec<SpaceFault>> {
        Ok(match self {
            Self::Random => Box::new(Random),
            Self::Grid => Box::new(Grid::new(space, seed)?),
            Self::Sobol => Box::new(Sobol::new(space, seed)),
            Self::Tpe => Box::new(Tpe::new(space, seed)),
            Self::Gp => Box::new(Gp::new(space, seed)),
            Self::CmaEs => Box::new(CmaEs::new(space, seed)),
            Self::Nsga2 => Box::new(Nsga2::new(space, seed)),
            Self::Auto => Box::new(Auto::new(space, seed)),
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no method has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown optimization method {0:?}; use {names}", names = Method::ALL.map(Method::name).join(", "))]
pub struct UnknownMethod(pub String);

/// ```
/// use trialmill_search::Method;
///
/// assert_eq!("grid".parse(), Ok(Method::Grid));
/// assert!("gird".parse::<Method>().is_err());
/// ```
impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| UnknownMethod(crate::fault::shown(name)))
    }
}
