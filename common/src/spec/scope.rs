//! Whether the symbols of a task share one book, or have a value each.

use serde::{Deserialize, Serialize};

/// What a trial of several symbols is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One book over all symbols (or pairs).
    #[default]
    Portfolio,
    /// A book for each stock code (or pair), with all of the initial cash in each; a metric is the
    /// aggregate of theirs.
    PerSymbol(Aggregate),
}

impl Scope {
    /// The names, as `scope` of a request takes them.
    pub const NAMES: [&'static str; 2] = ["portfolio", "per_symbol"];

    /// Its name, without the aggregate.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portfolio => Self::NAMES[0],
            Self::PerSymbol(_) => Self::NAMES[1],
        }
    }

    /// How the values of the symbols become one; nothing where there is only one.
    #[must_use]
    pub fn aggregate(self) -> Option<Aggregate> {
        match self {
            Self::Portfolio => None,
            Self::PerSymbol(aggregate) => Some(aggregate),
        }
    }

    /// Whether it is one book, as for every task that does not say.
    pub(super) fn is_portfolio(&self) -> bool {
        self.aggregate().is_none()
    }
}

/// How the values of the symbols become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Their mean.
    #[default]
    Mean,
    /// The middle one, or the mean of the middle two.
    Median,
    /// The worst one: the smallest where more is better, else the largest.
    Worst,
}

impl Aggregate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mean, Self::Median, Self::Worst];

    /// The name used in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Worst => "worst",
        }
    }
}
