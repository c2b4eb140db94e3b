//! What will be done, said beforehand.

use std::fmt;

use super::structure::{MANY, Other, Structure};
use super::{LONG, MODELLED};
use crate::gp::START_UP;
use crate::space::Space;

/// What [`Auto`](crate::Auto) does with a space, a number of objectives and a budget, and why: its text
/// is one sentence.
///
/// ```
/// use trialmill_search::auto::Plan;
/// use trialmill_search::{Domain, Space};
///
/// let line = |k: usize| {
///     (format!("x{k}"), Domain::Float { low: 0.0, high: 1.0, step: None, log: false })
/// };
/// let space = Space::new((0..3).map(line))?;
/// assert_eq!(
///     Plan::of(&space, 1, 100).to_string(),
///     "gp while it foretells the results, else tpe (fewer than 8 parameters)"
/// );
/// assert_eq!(Plan::of(&space, 2, 100).to_string(), "tpe (several objectives)");
/// # Ok::<(), Vec<trialmill_search::SpaceFault>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    structure: Structure,
    objectives: usize,
    n_trials: u32,
}

impl Plan {
    /// The plan for a space, a number of objectives and a number of trials.
    #[must_use]
    pub fn of(space: &Space, objectives: usize, n_trials: u32) -> Self {
        Self {
            structure: Structure::of(space),
            objectives,
            n_trials,
        }
    }

    fn lasts_beyond(&self, trials: usize) -> bool {
        usize::try_from(self.n_trials).is_ok_and(|n_trials| n_trials > trials)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.lasts_beyond(START_UP) {
            return write!(f, "sobol (too few trials to learn from: {})", self.n_trials);
        }
        if self.objectives > 1 {
            return f.write_str("tpe (several objectives)");
        }
        let reason = match self.structure {
            Structure::Mixed => "categories or conditions".to_owned(),
            Structure::FewNumbers => format!("fewer than {MANY} parameters"),
            Structure::ManyNumbers => format!("{MANY} or more parameters, all of them numbers"),
        };
        let (untrusted, afterwards) = (self.structure.untrusted(), self.structure.afterwards());
        write!(
            f,
            "gp while it foretells the results, else {untrusted} ({reason})"
        )?;
        if self.lasts_beyond(MODELLED) {
            write!(
                f,
                "; {afterwards} alone after {MODELLED} results (gp takes too long)"
            )?;
        }
        if afterwards != Other::Tpe && self.lasts_beyond(LONG) {
            write!(f, "; tpe after {LONG} (cmaes takes too long)")?;
        }
        Ok(())
    }
}
