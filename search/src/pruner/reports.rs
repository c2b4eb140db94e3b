//! What a trial has told of itself so far.

use thiserror::Error;

/// The reports of one trial: at ascending steps, a cost for each objective.
///
/// A cost may be infinite or not a number; each pruner says what it makes of that.
///
/// ```
/// use trialmill_search::pruner::{ReportFault, Reports};
///
/// let mut reports = Reports::new(2);
/// reports.push(3, &[0.5, -1.0]).expect("the first step may be any");
/// reports.push(4, &[f64::NAN, -2.0]).expect("4 comes after 3");
/// assert_eq!(reports.last_step(), Some(4));
/// assert_eq!(reports.push(4, &[0.0, 0.0]), Err(ReportFault::StepNotAscending { last: 4, step: 4 }));
/// assert_eq!(reports.push(5, &[0.0]), Err(ReportFault::WrongCosts { expected: 2, given: 1 }));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Reports {
    steps: Vec<u32>,
    /// One list for each objective, each as long as `steps`.
    costs: Vec<Vec<f64>>,
}

impl Reports {
    /// No reports yet, of a trial with so many objectives.
    #[must_use]
    pub fn new(objectives: usize) -> Self {
        Self {
            steps: Vec::new(),
            costs: vec![Vec::new(); objectives],
        }
    }

    /// Adds a report.
    ///
    /// # Errors
    /// If the step does not come after the last one, or there is not one cost for each objective.
    pub fn push(&mut self, step: u32, costs: &[f64]) -> Result<(), ReportFault> {
        if costs.len() != self.costs.len() {
            return Err(ReportFault::WrongCosts {
                expected: self.costs.len(),
                given: costs.len(),
            });
        }
        if let Some(last) = self.last_step()
            && step <= last
        {
            return Err(ReportFault::StepNotAscending { last, step });
        }
        self.steps.push(step);
        for (known, cost) in self.costs.iter_mut().zip(costs) {
            known.push(*cost);
        }
        Ok(())
    }

    /// How many reports there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many costs each report has.
    #[must_use]
    pub fn objectives(&self) -> usize {
        self.costs.len()
    }

    /// The steps, ascending.
    #[must_use]
    pub fn steps(&self) -> &[u32] {
        &self.steps
    }

    /// The costs of the objective at this position (from 0), one for each step; `None` where there is no
    /// such objective.
    #[must_use]
    pub fn costs(&self, objective: usize) -> Option<&[f64]> {
        self.costs.get(objective).map(Vec::as_slice)
    }

    /// The step of the last report.
    #[must_use]
    pub fn last_step(&self) -> Option<u32> {
        self.steps.last().copied()
    }

    /// The reports of one objective; empty where there is no such objective.
    pub(super) fn curve(&self, objective: usize) -> Curve<'_> {
        let curve = |costs| Curve {
            steps: &self.steps,
            costs,
        };
        self.costs(objective).map(curve).unwrap_or_default()
    }
}

/// Why a report was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReportFault {
    /// The step does not come after the last one.
    #[error("step {step} does not come after step {last}")]
    StepNotAscending {
        /// The step of the last report.
        last: u32,
        /// The step of this one.
        step: u32,
    },
    /// There is not one cost for each objective.
    #[error("{given} costs are reported for {expected} objectives")]
    WrongCosts {
        /// How many objectives there are.
        expected: usize,
        /// How many costs were given.
        given: usize,
    },
}

/// The reports of one objective: two lists of the same length.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Curve<'a> {
    pub(super) steps: &'a [u32],
    pub(super) costs: &'a [f64],
}

impl<'a> Curve<'a> {
    /// Step and cost of the last report.
    pub(super) fn last(self) -> Option<(u32, f64)> {
        Some((*self.steps.last()?, *self.costs.last()?))
    }

    /// The reports before the last `count`.
    pub(super) fn before_last(self, count: usize) -> Self {
        let end = self.steps.len().saturating_sub(count);
        Self {
            steps: &self.steps[..end],
            costs: &self.costs[..end],
        }
    }

    /// The cost at a step, where it was reported.
    pub(super) fn at(self, step: u32) -> Option<f64> {
        let position = self.steps.binary_search(&step).ok()?;
        Some(self.costs[position])
    }

    pub(super) fn is_finite(self) -> bool {
        self.costs.iter().all(|cost| cost.is_finite())
    }

    /// Pairs of costs at the steps that both have.
    pub(super) fn common(self, other: Self) -> impl Iterator<Item = (f64, f64)> + use<'a> {
        let pair = move |(step, cost): (&u32, &f64)| Some((*cost, other.at(*step)?));
        self.steps.iter().zip(self.costs).filter_map(pair)
    }
}

/// The smallest cost; none where all are not a number.
pub(super) fn least(costs: &[f64]) -> Option<f64> {
    let numbers = costs.iter().copied().filter(|cost| !cost.is_nan());
    numbers.reduce(f64::min)
}
