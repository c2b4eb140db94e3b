//! The pruners by name, with their options.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::asha::Asha;
use super::fault::{Faults, PrunerFault};
use super::hyperband::Hyperband;
use super::median::Median;
use super::patient::Patient;
use super::percentile::Percentile;
use super::rival::{Question, RivalNeed};
use super::threshold::Threshold;
use super::wilcoxon::Wilcoxon;

/// A pruner and its options, not checked yet: [`Pruner::new`](super::Pruner::new) does that.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum PrunerConfig {
    /// Prunes nothing.
    #[default]
    None,
    /// Compares with the median of the completed trials.
    Median(Median),
    /// Compares with a percentile of the completed trials.
    Percentile(Percentile),
    /// Asynchronous successive halving.
    Asha(Asha),
    /// Successive halving in several brackets.
    Hyperband(Hyperband),
    /// Lets another pruner speak only about trials that have stopped improving.
    Patient(Patient),
    /// Keeps costs within a range.
    Threshold(Threshold),
    /// A signed-rank test against the best trial.
    Wilcoxon(Wilcoxon),
}

impl PrunerConfig {
    /// What is wrong with the options, all of it at once; empty when nothing is.
    ///
    /// ```
    /// use trialmill_search::pruner::{Percentile, PrunerConfig};
    ///
    /// let wrong = Percentile { interval_steps: 0, ..Percentile::new(101.0) };
    /// let faults = PrunerConfig::Percentile(wrong).faults();
    /// let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    /// assert_eq!(fields, ["percentile", "interval_steps"]);
    /// assert_eq!(faults[0].to_string(), "percentile is 101.0; use 0 to 100");
    /// ```
    #[must_use]
    pub fn faults(&self) -> Vec<PrunerFault> {
        let mut faults = Faults::default();
        self.check(&mut faults);
        faults.found()
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        match self {
            Self::None => {}
            Self::Median(median) => median.check(faults),
            Self::Percentile(percentile) => percentile.check(faults),
            Self::Asha(asha) => asha.check(faults),
            Self::Hyperband(hyperband) => hyperband.check(faults),
            Self::Patient(patient) => patient.check(faults),
            Self::Threshold(threshold) => threshold.check(faults),
            Self::Wilcoxon(wilcoxon) => wilcoxon.check(faults),
        }
    }

    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> PrunerKind {
        match self {
            Self::None => PrunerKind::None,
            Self::Median(_) => PrunerKind::Median,
            Self::Percentile(_) => PrunerKind::Percentile,
            Self::Asha(_) => PrunerKind::Asha,
            Self::Hyperband(_) => PrunerKind::Hyperband,
            Self::Patient(_) => PrunerKind::Patient,
            Self::Threshold(_) => PrunerKind::Threshold,
            Self::Wilcoxon(_) => PrunerKind::Wilcoxon,
        }
    }

    /// Which rivals it reads. The caller may leave out the others.
    #[must_use]
    pub fn need(&self) -> RivalNeed {
        match self {
            Self::None | Self::Threshold(_) => RivalNeed::None,
            Self::Median(_) | Self::Percentile(_) | Self::Wilcoxon(_) => RivalNeed::Completed,
            Self::Asha(_) | Self::Hyperband(_) => RivalNeed::All,
            Self::Patient(patient) => match &patient.wrapped {
                Some(wrapped) => wrapped.need(),
                None => RivalNeed::None,
            },
        }
    }

    pub(super) fn prunes(&self, question: &Question<'_>) -> bool {
        match self {
            Self::None => false,
            Self::Median(median) => median.prunes(question),
            Self::Percentile(percentile) => percentile.prunes(question),
            Self::Asha(asha) => asha.prunes(question),
            Self::Hyperband(hyperband) => hyperband.prunes(question),
            Self::Patient(patient) => patient.prunes(question),
            Self::Threshold(threshold) => threshold.prunes(question),
            Self::Wilcoxon(wilcoxon) => wilcoxon.prunes(question),
        }
    }
}

/// The pruners without their options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrunerKind {
    /// Prunes nothing.
    None,
    /// [`Median`].
    Median,
    /// [`Percentile`].
    Percentile,
    /// [`Asha`].
    Asha,
    /// [`Hyperband`].
    Hyperband,
    /// [`Patient`].
    Patient,
    /// [`Threshold`].
    Threshold,
    /// [`Wilcoxon`].
    Wilcoxon,
}

impl PrunerKind {
    /// Every pruner, in the order in which a catalogue lists them.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Median,
        Self::Percentile,
        Self::Asha,
        Self::Hyperband,
        Self::Patient,
        Self::Threshold,
        Self::Wilcoxon,
    ];

    /// The name used in requests, columns and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Median => "median",
            Self::Percentile => "percentile",
            Self::Asha => "asha",
            Self::Hyperband => "hyperband",
            Self::Patient => "patient",
            Self::Threshold => "threshold",
            Self::Wilcoxon => "wilcoxon",
        }
    }
}

impl fmt::Display for PrunerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no pruner has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown pruner {0:?}; use {names}", names = PrunerKind::ALL.map(PrunerKind::name).join(", "))]
pub struct UnknownPruner(pub String);

/// `successive_halving` is another name of `asha`.
///
/// ```
/// use trialmill_search::pruner::PrunerKind;
///
/// assert_eq!("median".parse(), Ok(PrunerKind::Median));
/// assert_eq!("successive_halving".parse(), Ok(PrunerKind::Asha));
/// assert!("mean".parse::<PrunerKind>().is_err());
/// ```
impl FromStr for PrunerKind {
    type Err = UnknownPruner;

    fn from_str(name: &str) -> Result<Self, UnknownPruner> {
        if name == "successive_halving" {
            return Ok(Self::Asha);
        }
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownPruner(crate::fault::shown(name)))
    }
}
