//! What a trial can evaluate: a strategy on bars, or a built-in test function.

use std::fmt;

/// The metric of the test functions with one value: the value of the function itself.
pub const FUNCTION_METRIC: &str = "value";
/// The first and second value of a test function with two.
pub const TWO_VALUES: [&str; 2] = ["f1", "f2"];

/// The `strategy_name` of a search whose trials are run by clients, with what they like: they ask for a
/// trial, report how it goes, and tell what it came to.
pub const CLIENT: &str = "client";

/// A figure of a pair strategy's trial beside its metrics: the slope of its returns on those of the
/// equal-weight hold of both legs.
pub const BETA: &str = "beta";
/// The total return of the equal-weight hold of both legs, as a fraction; see [`BETA`].
pub const HOLD_RETURN: &str = "hold_return";
/// The total return of a pair strategy less [`HOLD_RETURN`].
pub const EXCESS_RETURN: &str = "excess_return";

/// A built-in objective that reads no market data: for trying the system, and for its tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TestFunction {
    /// Sum of the squares of all numeric parameters; its minimum is 0 at the origin.
    Sphere,
    /// Waits `seconds` (a parameter, default 0.1), then gives the sphere of the others.
    Sleep,
    /// Two values that pull apart, after Schaffer: the sum of the squares of all numeric parameters, and
    /// that of their distances to 2. Nothing dominates the points on the line from the origin to
    /// (2, 2, ...). Where it has a parameter `seconds`, that one is waited for and counts for nothing else.
    Schaffer,
    /// Panics when the parameter `x` is at least `trigger` (default 0); else the sphere.
    #[cfg(feature = "misbehave")]
    Panic,
    /// Runs until it is told to stop (it asks), under the same condition.
    #[cfg(feature = "misbehave")]
    Endless,
    /// Runs for ever and never asks whether it should stop, under the same condition.
    #[cfg(feature = "misbehave")]
    Stuck,
    /// Returns NaN, under the same condition.
    #[cfg(feature = "misbehave")]
    Nan,
    /// Aborts its process, under the same condition.
    #[cfg(feature = "misbehave")]
    Abort,
    /// Takes memory until its process is ended, under the same condition.
    #[cfg(feature = "misbehave")]
    Memory,
}

impl TestFunction {
    /// Every function of this build.
    pub const ALL: &'static [Self] = &[
        Self::Sphere,
        Self::Sleep,
        Self::Schaffer,
        #[cfg(feature = "misbehave")]
        Self::Panic,
        #[cfg(feature = "misbehave")]
        Self::Endless,
        #[cfg(feature = "misbehave")]
        Self::Stuck,
        #[cfg(feature = "misbehave")]
        Self::Nan,
        #[cfg(feature = "misbehave")]
        Self::Abort,
        #[cfg(feature = "misbehave")]
        Self::Memory,
    ];

    /// The name used as `strategy_name`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sphere => "sphere",
            Self::Sleep => "sleep",
            Self::Schaffer => "schaffer",
            #[cfg(feature = "misbehave")]
            Self::Panic => "panic",
            #[cfg(feature = "misbehave")]
            Self::Endless => "endless",
            #[cfg(feature = "misbehave")]
            Self::Stuck => "stuck",
            #[cfg(feature = "misbehave")]
            Self::Nan => "nan",
            #[cfg(feature = "misbehave")]
            Self::Abort => "abort",
            #[cfg(feature = "misbehave")]
            Self::Memory => "memory",
        }
    }

    /// The metrics that it gives, smaller being better in each unless a request says otherwise.
    #[must_use]
    pub const fn metrics(self) -> &'static [&'static str] {
        match self {
            Self::Schaffer => &TWO_VALUES,
            _ => &[FUNCTION_METRIC],
        }
    }

    /// The metrics of all functions, each once.
    pub fn all_metrics() -> impl Iterator<Item = &'static str> {
        std::iter::once(FUNCTION_METRIC).chain(TWO_VALUES)
    }

    /// The function with that name, if this build has it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|f| f.name() == name)
    }
}

impl fmt::Display for TestFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
