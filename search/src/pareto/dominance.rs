//! When one trial is better than another.

use crate::history::TrialEnd;

/// Whether costs `a` dominate costs `b`: no larger in any objective, and smaller in one.
///
/// ```
/// use trialmill_search::pareto::dominates;
///
/// assert!(dominates(&[1.0, 2.0], &[1.0, 3.0]));
/// assert!(!dominates(&[1.0, 2.0], &[1.0, 2.0]), "equals do not dominate each other");
/// assert!(!dominates(&[1.0, 3.0], &[2.0, 2.0]), "a trade-off");
/// ```
#[must_use]
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    let mut smaller = false;
    for (a, b) in a.iter().zip(b) {
        if a > b {
            return false;
        }
        smaller |= a < b;
    }
    smaller
}

/// What a trial is worth where results may break constraints.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Merit<'a> {
    /// It keeps every result constraint and has these costs.
    Feasible(&'a [f64]),
    /// It breaks result constraints, by this much in sum.
    Infeasible(f64),
}

impl<'a> Merit<'a> {
    /// The merit of a trial that ended so; `None` where nothing is known of its costs.
    #[must_use]
    pub fn of(end: &'a TrialEnd) -> Option<Self> {
        match end {
            TrialEnd::Completed(costs) => Some(Self::Feasible(costs)),
            TrialEnd::Infeasible { violation } => Some(Self::Infeasible(*violation)),
            TrialEnd::Pruned(_) | TrialEnd::Failed => None,
        }
    }

    /// Constrained dominance (Deb, "An efficient constraint handling method for genetic algorithms",
    /// 2000, pp. 311-338; for several objectives Deb et al. 2002, section VI): a feasible trial dominates
    /// every infeasible one; of two infeasible ones the one that breaks less does; of two feasible
    /// ones the one whose costs [dominate](dominates).
    ///
    /// ```
    /// use trialmill_search::pareto::Merit;
    ///
    /// let (cheap, dear) = ([1.0, 1.0], [9.0, 9.0]);
    /// assert!(Merit::Feasible(&cheap).dominates(&Merit::Feasible(&dear)));
    /// assert!(Merit::Feasible(&dear).dominates(&Merit::Infeasible(0.1)));
    /// assert!(Merit::Infeasible(0.1).dominates(&Merit::Infeasible(0.2)));
    /// ```
    #[must_use]
    pub fn dominates(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Feasible(a), Self::Feasible(b)) => dominates(a, b),
            (Self::Feasible(_), Self::Infeasible(_)) => true,
            (Self::Infeasible(_), Self::Feasible(_)) => false,
            (Self::Infeasible(a), Self::Infeasible(b)) => a < b,
        }
    }
}
