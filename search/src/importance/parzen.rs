//! The density of one parameter's values on a grid, with one bandwidth by Scott's rule.

use crate::domain::Domain;
use crate::normal;
use crate::point::ParamValue;

/// The most cells of a grid over numbers.
const MOST_CELLS: u64 = 50;

/// The weight of the prior kernel, where each observation has 1.
const PRIOR_WEIGHT: f64 = 1.0;

/// The smallest bandwidth in cells: a cell holds 90 % of its kernel.
const LEAST_WIDTH: f64 = 0.5 / 1.64;

/// The cells that the values of a domain with more than one value are counted in.
///
/// Numbers lie on at most 50 points at equal distances from low to high (of the logarithm where the
/// domain says so), each value at the nearest, the lower one of two as near. A stepped domain of
/// fewer values has one point each; an int with `log` at most ceil(log2(high - low + 1)) + 1. Choices
/// have a cell each.
#[derive(Debug)]
pub(super) struct Grid<'a> {
    domain: &'a Domain,
    cells: usize,
    /// Where the first cell's point lies and how far apart the points are; logarithms with `log`.
    low: f64,
    distance: f64,
}

impl<'a> Grid<'a> {
    /// `None` for a domain of one value.
    pub(super) fn of(domain: &'a Domain) -> Option<Self> {
        let size = domain.size();
        if size == Some(1) {
            return None;
        }
        let (low, length, cells) = match *domain {
            Domain::Categorical { ref choices } => (0.0, 0.0, choices.len() as u64),
            Domain::Int {
                low,
                high,
                log: true,
                ..
            } => {
                let values = (high - low) as f64 + 1.0;
                let (low, high) = (libm::log(low as f64), libm::log(high as f64));
                (low, high - low, log_cells(values))
            }
            Domain::Int { low, step, .. } => {
                let size = size.unwrap_or(MOST_CELLS);
                (low as f64, (size - 1) as f64 * step as f64, size)
            }
            Domain::Float {
                low,
                high,
                step: Some(step),
                ..
            } => {
                let size = size.unwrap_or(MOST_CELLS);
                let last = low + (size - 1) as f64 * step;
                // The last value of the lattice is `high` itself but for rounding, or below it.
                let last = if (high - last).abs() < 1e-6 * step {
                    high
                } else {
                    last
                };
                (low, last - low, size)
            }
            Domain::Float { low, high, log, .. } => {
                let (low, high) = if log {
                    (libm::log(low), libm::log(high))
                } else {
                    (low, high)
                };
                (low, high - low, MOST_CELLS)
            }
        };
        let cells = match domain {
            Domain::Categorical { .. } => cells,
            _ => cells.min(MOST_CELLS),
        };
        Some(Self {
            domain,
            cells: usize::try_from(cells).unwrap_or(usize::MAX),
            low,
            distance: length / (cells - 1) as f64,
        })
    }

    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    /// How many of the values lie in each cell; absent ones in none.
    pub(super) fn count(&self, values: impl Iterator<Item = ParamValue>) -> Vec<f64> {
        let mut counts = vec![0.0; self.cells];
        for cell in values.filter_map(|value| self.cell(value)) {
            counts[cell] += 1.0;
        }
        counts
    }

    fn cell(&self, value: ParamValue) -> Option<usize> {
        let beyond = match (self.domain, value) {
            (Domain::Categorical { .. }, ParamValue::Category(index)) => {
                return Some(index as usize).filter(|index| *index < self.cells);
            }
            (Domain::Float { log: true, .. }, ParamValue::Float(value)) => {
                libm::log(value) - self.low
            }
            (Domain::Int { log: true, .. }, ParamValue::Int(value)) => {
                libm::log(value as f64) - self.low
            }
            (Domain::Float { .. }, ParamValue::Float(value)) => value - self.low,
            (Domain::Int { low, .. }, ParamValue::Int(value)) => (value - low) as f64,
            _ => return None,
        };
        // Bounds so close that their logarithms are equal leave a distance of 0, and one cell.
        let at = if self.distance > 0.0 {
            libm::ceil(beyond / self.distance - 0.5)
        } else {
            0.0
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates at both ends, where the first and last cells are"
        )]
        Some((at as usize).min(self.cells - 1))
    }

    /// The density of the counted values over the cells: together 1, up to rounding.
    ///
    /// A mixture of one kernel per cell with observations, of weight its count, and one for the
    /// prior of weight 1:
    ///
    /// - numbers: the normal around the cell, cut to the grid, integrated over each cell. One
    ///   bandwidth for all, `1.059 min(iqr / 1.34, sd) n^(-1/5)` (Scott, "Multivariate Density
    ///   Estimation", 1992), at least 0.5 / 1.64 cells; the prior's is the whole grid.
    /// - choices: 1 on the observed choice and 1 / (kernels) on every one, normalized; the prior even.
    ///
    /// This is `ScottParzenEstimator` of Optuna 5.0 (`optuna/importance/_ped_anova/`).
    pub(super) fn density(&self, counts: &[f64]) -> Vec<f64> {
        match self.domain {
            Domain::Categorical { .. } => density_of_choices(counts),
            _ => density_of_numbers(counts),
        }
    }
}

fn log_cells(values: f64) -> u64 {
    let bits = libm::ceil(libm::log(values) / libm::log(2.0));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1 to 54: an int domain has at most 2^54 values"
    )]
    let bits = bits as u64;
    bits + 1
}

fn density_of_choices(counts: &[f64]) -> Vec<f64> {
    let choices = counts.len() as f64;
    let kernels = counts.iter().filter(|count| **count > 0.0).count() as f64 + 1.0;
    let observed: f64 = counts.iter().sum();
    let every = PRIOR_WEIGHT / kernels;
    let (own, other) = (1.0 + every, every);
    let (sum, total) = (1.0 + choices * every, observed + PRIOR_WEIGHT);
    let even = PRIOR_WEIGHT / choices;
    let density = counts
        .iter()
        .map(|count| ((count * own + (observed - count) * other) / sum + even) / total);
    density.collect()
}

fn density_of_numbers(counts: &[f64]) -> Vec<f64> {
    let cells = counts.len() as f64;
    let observed: Vec<(f64, f64)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0.0)
        .map(|(cell, count)| (cell as f64, *count))
        .collect();
    let total: f64 = counts.iter().sum();
    let mut density = vec![0.0; counts.len()];
    let mut add = |mean: f64, width: f64, weight: f64| {
        let mass =
            |low: f64, high: f64| normal::ln_between((low - mean) / width, (high - mean) / width);
        let whole = mass(-0.5, cells - 0.5);
        for (cell, density) in density.iter_mut().enumerate() {
            let cell = cell as f64;
            *density += weight * libm::exp(mass(cell - 0.5, cell + 0.5) - whole);
        }
    };
    let width = bandwidth(&observed, total);
    for (cell, count) in &observed {
        add(*cell, width, count / (total + PRIOR_WEIGHT));
    }
    add(
        (cells - 1.0) / 2.0,
        cells,
        PRIOR_WEIGHT / (total + PRIOR_WEIGHT),
    );
    density
}

/// Scott's rule over (cell, count) pairs, `total` their counts' sum. The quartiles are Optuna's: of
/// the cumulated counts, by whole numbers.
fn bandwidth(observed: &[(f64, f64)], total: f64) -> f64 {
    let Some(last) = observed.len().checked_sub(1) else {
        return LEAST_WIDTH;
    };
    let mean = observed.iter().map(|(cell, n)| cell * n).sum::<f64>() / total;
    let squares = observed
        .iter()
        .map(|(cell, n)| (cell - mean) * (cell - mean) * n);
    let deviation = (squares.sum::<f64>() / (total - 1.0).max(1.0)).sqrt();
    let mut cumulated = 0.0;
    let cumulated: Vec<f64> = observed
        .iter()
        .map(|(_, n)| {
            cumulated += n;
            cumulated
        })
        .collect();
    let first = cumulated.partition_point(|sum| *sum < libm::floor(total / 4.0));
    let third = cumulated.partition_point(|sum| *sum <= libm::floor(total * 3.0 / 4.0));
    let quartiles = observed[third.min(last)].0 - observed[first.min(last)].0;
    let width = 1.059 * (quartiles / 1.34).min(deviation) * libm::pow(total, -0.2);
    width.max(LEAST_WIDTH)
}
