//! What matters of a space where no model is asked.

use std::fmt;

use crate::axis::Axis;
use crate::sampler::Method;
use crate::space::Space;

/// Parameters from which on CMA-ES does better than TPE where a model fails.
pub(super) const MANY: usize = 8;

/// The kinds of spaces. Parameters with a single value do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Structure {
    /// With a category or a condition.
    Mixed,
    /// Fewer than [`MANY`] numbers.
    FewNumbers,
    /// At least as many.
    ManyNumbers,
}

/// What is asked where no model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    Tpe,
    CmaEs,
}

impl Structure {
    pub(super) fn of(space: &Space) -> Self {
        let mut count = 0;
        for parameter in space.parameters() {
            match Axis::of(parameter.domain()) {
                None => {}
                Some(Axis::Choices(_)) => return Self::Mixed,
                Some(_) if parameter.when().is_some() => return Self::Mixed,
                Some(_) => count += 1,
            }
        }
        if count < MANY {
            Self::FewNumbers
        } else {
            Self::ManyNumbers
        }
    }

    /// Where there is a model that cannot be trusted.
    pub(super) fn untrusted(self) -> Other {
        match self {
            Self::Mixed | Self::FewNumbers => Other::Tpe,
            Self::ManyNumbers => Other::CmaEs,
        }
    }

    /// After the trials that are modelled.
    pub(super) fn afterwards(self) -> Other {
        match self {
            Self::Mixed => Other::Tpe,
            Self::FewNumbers | Self::ManyNumbers => Other::CmaEs,
        }
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self {
            Self::Tpe => Method::Tpe,
            Self::CmaEs => Method::CmaEs,
        };
        method.fmt(f)
    }
}
