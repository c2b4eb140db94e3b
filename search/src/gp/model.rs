//! The model of a history: what was observed, the kernel that fits it, and what follows from both.

use super::acquisition::Acquisition;
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

/// A Gaussian process fitted to a history.
#[derive(Debug)]
pub(crate) struct Model<'a> {
    encoding: Encoding<'a>,
    kernel: Kernel,
    /// The observed trials, the best first.
    rows: Vec<Vec<f64>>,
    values: Vec<f64>,
    running: Vec<Vec<f64>>,
}

impl<'a> Model<'a> {
    /// The model that trial `number` asks; `None` where there is nothing to learn from.
    pub(crate) fn of(space: &'a Space, history: &History<'_>, number: u32) -> Option<Self> {
        let encoding = Encoding::of(space);
        let observations = Observations::of(history, MOST_OBSERVED);
        if encoding.axes().is_empty() || observations.points.is_empty() {
            return None;
        }
        let rows = observations.points.iter().map(|point| encoding.row(point));
        let rows: Vec<Vec<f64>> = rows.collect();
        let fitted = thinned(&observations.numbers, MOST_FITTED);
        let fitted_rows: Vec<&[f64]> = fitted.iter().map(|at| rows[*at].as_slice()).collect();
        let fitted_values: Vec<f64> = fitted.iter().map(|at| observations.values[*at]).collect();
        let kernel = fit::kernel(&encoding.kinds(), &fitted_rows, &fitted_values)?;
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
            kernel,
            rows,
            values: observations.values,
            running,
        })
    }

    /// Points, the most promising first; empty where rounding has left nothing to go by.
    pub(crate) fn points(&self, seed: u64, number: u32) -> Vec<Point> {
        let (rows, running) = (slices(&self.rows), slices(&self.running));
        let posterior = Posterior::of(self.kernel.clone(), &rows, &self.values, &running);
        let Some(posterior) = posterior else {
            return Vec::new();
        };
        let acquisition = Acquisition {
            encoding: &self.encoding,
            posterior: &posterior,
            best: self.values[0],
        };
        acquisition.points(&rows, &mut Stream::for_sampler(seed, number, "gp"))
    }

    /// How much the model tells of each trial from the others, in nats ([`trust::gain`]); `None`
    /// where rounding has left nothing to go by.
    pub(crate) fn gain(&self) -> Option<f64> {
        let rows = slices(&self.rows);
        let factor = Cholesky::of(rows.len(), self.kernel.matrix(&rows))?;
        Some(trust::gain(&factor, &self.values))
    }
}

fn slices(rows: &[Vec<f64>]) -> Vec<&[f64]> {
    rows.iter().map(Vec::as_slice).collect()
}
