//! The model of a history: what was observed, the kernel that fits it, and what follows from both.

use super::acquisition::{Acquisition, Below};
use super::cholesky::Cholesky;
use super::encoding::Encoding;
use super::fit;
use super::kernel::Kernel;
use super::observations::{Observations, thinned};
use super::posterior::Posterior;
use super::trust;
use crate::history::History;
use crate::point::Point;
use crate::space::Space;
use crate::stream::Stream;

/// The most finished trials that the model reads.
const MOST_OBSERVED: usize = 200;

/// The most of them to which the kernel is fitted.
const MOST_FITTED: usize = 100;

/// The most running trials that the model reads.
const MOST_RUNNING: usize = 50;

/// While some trials are infeasible and fewer than these have a cost, what is feasible is looked for and not yet what is good.
const FEW: usize = 5;

/// Gaussian processes fitted to a history: of the costs, and where some trials are infeasible of by how much they are.
#[derive(Debug)]
pub(crate) struct Model<'a> {
    encoding: Encoding<'a>,
    /// Nothing where no trial has a cost. [`Self::costs`] says when they are gone by.
    costs: Option<Surface>,
    /// And where the edge of what is feasible lies; nothing where no trial is infeasible.
    violations: Option<(Surface, f64)>,
    running: Vec<Vec<f64>>,
}

/// What is known of one quantity.
#[derive(Debug)]
struct Surface {
    kernel: Kernel,
    /// The observed trials, those that matter most first.
    rows: Vec<Vec<f64>>,
    values: Vec<f64>,
    /// How many of the values are known.
    known: usize,
}

impl Surface {
    /// Nothing where there are no observations, or rounding leaves nothing of them.
    fn of(encoding: &Encoding<'_>, observations: Observations<'_>) -> Option<Self> {
        if observations.points.is_empty() {
            return None;
        }
        let rows = observations.points.iter().map(|point| encoding.row(point));
        let rows: Vec<Vec<f64>> = rows.collect();
        let fitted = thinned(&observations.numbers, MOST_FITTED);
        let fitted_rows: Vec<&[f64]> = fitted.iter().map(|at| rows[*at].as_slice()).collect();
        let fitted_values: Vec<f64> = fitted.iter().map(|at| observations.values[*at]).collect();
        let kernel = fit::kernel(&encoding.kinds(), &fitted_rows, &fitted_values)?;
        Some(Self {
            kernel,
            rows,
            values: observations.values,
            known: observations.known,
        })
    }

    /// Nothing where rounding has left the covariances without a factor.
    fn below<'s>(&'s self, level: f64, running: &[&'s [f64]]) -> Option<Below<'s>> {
        let (kernel, rows) = (self.kernel.clone(), slices(&self.rows));
        let posterior = Posterior::of(kernel, &rows, &self.values, running)?;
        Some(Below { posterior, level })
    }
}

impl<'a> Model<'a> {
    /// The model that trial `number` asks; `None` where there is nothing to learn from.
    pub(crate) fn of(space: &'a Space, history: &History<'_>, number: u32) -> Option<Self> {
        let encoding = Encoding::of(space);
        if encoding.axes().is_empty() {
            return None;
        }
        let costs = Surface::of(&encoding, Observations::of_costs(history, MOST_OBSERVED));
        let violations = Observations::of_violations(history, MOST_OBSERVED);
        let violations = match violations {
            // Without it what is infeasible would be looked for again and again.
            Some((of, edge)) => Some((Surface::of(&encoding, of)?, edge)),
            None => None,
        };
        if costs.is_none() && violations.is_none() {
            return None;
        }
        let mut running: Vec<_> = history
            .running
            .iter()
            .filter(|trial| trial.number != number)
            .collect();
        running.sort_by_key(|trial| std::cmp::Reverse(trial.number));
        running.truncate(MOST_RUNNING);
        let running = running.iter().map(|trial| encoding.row(&trial.point));
        let running = running.collect();
        Some(Self {
            encoding,
            costs,
            violations,
            running,
        })
    }

    /// Points, the most promising first; empty where rounding has left nothing to go by.
    pub(crate) fn points(&self, seed: u64, number: u32) -> Vec<Point> {
        self.promising(seed, number).unwrap_or_default()
    }

    fn promising(&self, seed: u64, number: u32) -> Option<Vec<Point>> {
        let running = slices(&self.running);
        let improvement = match self.costs() {
            Some(costs) => Some(costs.below(costs.values[0], &running)?),
            None => None,
        };
        let feasible = match &self.violations {
            Some((violations, edge)) => Some(violations.below(*edge, &running)?),
            None => None,
        };
        let leading = slices(&self.leading()?.rows);
        let acquisition = Acquisition {
            encoding: &self.encoding,
            improvement,
            feasible,
        };
        Some(acquisition.points(&leading, &mut Stream::for_sampler(seed, number, "gp")))
    }

    /// The costs, but for so few that where a trial may be feasible is all to go by.
    fn costs(&self) -> Option<&Surface> {
        let few = |costs: &&Surface| costs.known < FEW && self.violations.is_some();
        self.costs.as_ref().filter(|costs| !few(costs))
    }

    /// What the search goes by first: the costs, or the violations.
    fn leading(&self) -> Option<&Surface> {
        let violations = self.violations.as_ref().map(|(violations, _)| violations);
        self.costs().or(violations)
    }

    /// How much the model tells of each trial from the others, in nats ([`trust::gain`]): of its cost, or of its violation while
    /// that is all it goes by. `None` where rounding has left nothing to go by.
    pub(crate) fn gain(&self) -> Option<f64> {
        let surface = self.leading()?;
        let rows = slices(&surface.rows);
        let factor = Cholesky::of(rows.len(), surface.kernel.matrix(&rows))?;
        Some(trust::gain(&factor, &surface.values))
    }
}

fn slices(rows: &[Vec<f64>]) -> Vec<&[f64]> {
    rows.iter().map(Vec::as_slice).collect()
}
