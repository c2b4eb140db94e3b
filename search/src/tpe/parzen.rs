//! The Parzen estimator: a density made of one kernel per observation and a wide one for the
//! prior.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, SQRT_2};

use super::bandwidth::{self, Floor};
use super::candidates::Observed;
use super::thinned;
use crate::axis::{Axis, Lattice};
use crate::normal;
use crate::stream::Stream;

/// A mixture of product kernels over the axes of one group of parameters.
///
/// With `n` observations `x_1 .. x_n`, in any order, and the prior as kernel `n + 1` (of many
/// observations a part, [`thinned`]):
///
/// ```text
/// density(x) = sum over k of w_k * product over axes of K_k(x)
/// ```
///
/// - weights before normalizing: 1 for the prior and, with n < 25, for all; else a ramp from 1/n to 1
///   over the n - 25 oldest, then 25 ones;
/// - line: a normal around the observation, cut to the range and renormalized, with the bandwidths of
///   [`bandwidth::of`]; the prior has mean 1/2 and bandwidth 1 (of the range);
/// - lattice: the probability that the same kernel, on the widened range, gives to the cell;
/// - choices, C of them: 1 + 1/(n+1) on the observed one and 1/(n+1) on each other, normalized; the
///   prior is even.
///
/// With [`Floor::Magic`] this is `_ParzenEstimator` of Optuna 5.0 (`optuna/samplers/_tpe/parzen_estimator.py` and
/// `probability_distributions.py`), but for the unit: densities here are per range of each line, so
/// they are larger than Optuna's by the product of the lengths of the lines, the same for every `x`.
#[derive(Debug)]
pub(super) struct Parzen<'a> {
    axes: &'a [Axis],
    columns: Vec<Column>,
    /// The weights of the kernels; their sum is 1.
    weights: Vec<f64>,
    /// What choices give to the logarithm of every kernel, and to that of the prior.
    ln_seen: f64,
    ln_prior: f64,
    /// The smallest bandwidth that a kernel may have.
    narrowest: f64,
    /// Observations, those that others stand for included.
    count: usize,
}

/// The kernels on one axis, in the order of the observations, the prior last.
#[derive(Debug)]
enum Column {
    /// `scale` is 1 / (bandwidth sqrt 2).
    Line { mean: Vec<f64>, scale: Vec<f64> },
    /// Many kernels are alike where there are few cells: `kind` says which each one is.
    Lattice {
        kinds: Vec<Normal>,
        masses: Vec<f64>,
        kind: Vec<u32>,
    },
    /// The observed choice, or [`NO_CHOICE`] for the prior, and by how much the logarithm is smaller
    /// at the others.
    Choices { seen: Vec<f64>, loss: f64 },
}

const NO_CHOICE: f64 = -1.0;

/// The square root of 2 pi.
const ROOT_OF_TWO_PI: f64 = 2.506_628_274_631_000_7;

/// A kernel on the unit range.
#[derive(Debug, Clone, Copy)]
struct Normal {
    mean: f64,
    width: f64,
}

impl Normal {
    /// What is spread evenly enough to stand for no knowledge.
    const PRIOR: Self = Self {
        mean: 0.5,
        width: 1.0,
    };

    /// The probability of the range before it is cut.
    fn mass(self) -> f64 {
        normal::around_mean(-self.mean / self.width, (1.0 - self.mean) / self.width)
    }

    /// A draw from the kernel cut to the range, for a `unit` that is uniform in `[0, 1)`.
    fn draw(self, unit: f64) -> f64 {
        let low = normal::below(-self.mean / self.width);
        let z = normal::inverse(low + unit * self.mass());
        (self.mean + self.width * z).clamp(0.0, 1.0)
    }
}

/// How many kernels are summed at a time: their columns stay in the nearest cache over all
/// candidates, and few enough are together that all may be far from a candidate.
const BLOCK: usize = 64;

impl<'a> Parzen<'a> {
    /// The density of observations.
    pub(super) fn of(axes: &'a [Axis], observed: &Observed, floor: Floor) -> Self {
        let count = observed.count;
        let (mut ln_seen, mut ln_prior) = (0.0, 0.0);
        let columns = axes.iter().zip(&observed.columns);
        let columns = columns.map(|(axis, places)| match axis {
            Axis::Line(_) => line(places, floor),
            Axis::Lattice(lattice) => cells(lattice, places, floor),
            Axis::Choices(choices) => {
                let loss = libm::log(count as f64 + 2.0);
                ln_seen += loss - libm::log(count as f64 + 1.0 + choices);
                // The prior has the same everywhere; the loss, which always strikes it, is added.
                ln_prior += loss - libm::log(*choices);
                let seen = places.iter().copied().chain([NO_CHOICE]).collect();
                Column::Choices { seen, loss }
            }
        });
        Self {
            axes,
            columns: columns.collect(),
            weights: thinned::weights(count, &observed.taken),
            ln_seen,
            ln_prior,
            narrowest: floor.with(observed.taken.len()),
            count,
        }
    }

    /// The logarithm of what of kernel `k` does not depend on `x`: its weight, and what makes it a density.
    fn ln_base(&self, k: usize) -> f64 {
        // A line gives at most 80 and a little more than 1/3 at least: the product is a float for the hundred
        // axes that a space may have, so that one logarithm is enough.
        let mut factor = self.weights[k];
        for column in &self.columns {
            match column {
                Column::Line { mean, scale } => {
                    let per_width = scale[k] * SQRT_2;
                    let mean = mean[k];
                    let mass = normal::around_mean(-mean * per_width, (1.0 - mean) * per_width);
                    factor *= per_width / (mass * ROOT_OF_TWO_PI);
                }
                Column::Lattice { masses, kind, .. } => factor /= masses[kind[k] as usize],
                Column::Choices { .. } => {}
            }
        }
        let is_prior = k + 1 == self.weights.len();
        libm::log(factor)
            + if is_prior {
                self.ln_prior
            } else {
                self.ln_seen
            }
    }

    /// What no kernel's [`Self::ln_base`] is above: a third at least of each kernel lies in the range, half
    /// of one that is narrower than it.
    fn most_base(&self) -> f64 {
        let heaviest = self.weights.iter().copied().fold(0.0, f64::max);
        let highest = self.columns.iter().map(|column| match column {
            Column::Line { .. } => libm::log(3.0 / (self.narrowest * ROOT_OF_TWO_PI)),
            Column::Lattice { .. } => libm::log(3.0),
            Column::Choices { .. } => 0.0,
        });
        libm::log(heaviest) + highest.sum::<f64>() + self.ln_seen.max(self.ln_prior)
    }

    /// Draws a place on every axis: one kernel for all of them, then each axis from that kernel.
    pub(super) fn draw(&self, stream: &mut Stream, places: &mut [f64]) {
        let last = self.weights.len() - 1;
        let total: f64 = self.weights.iter().sum();
        let at = stream.unit_f64() * total;
        let mut sum = 0.0;
        let above = self.weights.iter().position(|weight| {
            sum += weight;
            sum > at
        });
        let k = above.unwrap_or(last);
        for ((axis, column), place) in self.axes.iter().zip(&self.columns).zip(places) {
            let unit = stream.unit_f64();
            *place = match (axis, column) {
                (_, Column::Line { mean, scale }) => {
                    let (mean, width) = (mean[k], FRAC_1_SQRT_2 / scale[k]);
                    Normal { mean, width }.draw(unit)
                }
                (Axis::Lattice(lattice), Column::Lattice { kinds, kind, .. }) => {
                    lattice.nearest(kinds[kind[k] as usize].draw(unit))
                }
                (Axis::Choices(choices), Column::Choices { seen, .. }) => {
                    // In units of 1/(n+1): n+1 for the observed choice, then 1 for each.
                    let own = if k < last {
                        self.count as f64 + 1.0
                    } else {
                        0.0
                    };
                    let at = unit * (own + choices) - own;
                    if at < 0.0 {
                        seen[k]
                    } else {
                        libm::floor(at).min(choices - 1.0)
                    }
                }
                _ => unreachable!("a column is made from its axis"),
            };
        }
    }

    /// Adds the logarithm of the density at each candidate to `sums`, times `sign`; `candidates`
    /// holds one place per axis for each of them in turn.
    pub(super) fn add_ln_density(&self, candidates: &[f64], sign: f64, sums: &mut [f64]) {
        if sums.is_empty() {
            return;
        }
        let width = self.axes.len();
        let tables = self.tables(candidates);
        let kernels = self.weights.len();
        let most_base = self.most_base();
        // Of the few kernels that are near a candidate.
        let mut bases = vec![f64::NAN; kernels];
        let mut logs = vec![LnSum::EMPTY; sums.len()];
        let mut terms = [0.0; BLOCK];
        // The last block comes first: the prior is in it, and no candidate is far from that.
        for from in (0..kernels).step_by(BLOCK).rev() {
            let range = from..kernels.min(from + BLOCK);
            let terms = &mut terms[..range.len()];
            for (c, (places, log)) in candidates.chunks_exact(width).zip(&mut logs).enumerate() {
                terms.fill(0.0);
                let least = log.least() - most_base;
                // Terms only fall from axis to axis, so most blocks are done with after a few.
                let counts =
                    self.columns
                        .iter()
                        .zip(&tables)
                        .zip(places)
                        .all(|((column, table), place)| {
                            column.lower(range.clone(), *place, table.row(c), least, terms)
                        });
                if !counts {
                    continue;
                }
                for (k, term) in range.clone().zip(&mut *terms) {
                    if *term > least {
                        if bases[k].is_nan() {
                            bases[k] = self.ln_base(k);
                        }
                        *term += bases[k];
                    } else {
                        *term = f64::NEG_INFINITY;
                    }
                }
                log.add(terms);
            }
        }
        for (sum, log) in sums.iter_mut().zip(&logs) {
            *sum += sign * log.value();
        }
    }

    /// The terms of lattice kernels: one table per axis, empty for the others.
    fn tables(&self, candidates: &[f64]) -> Vec<Table> {
        let width = self.axes.len();
        let of = |(at, (axis, column)): (usize, (&Axis, &Column))| match (axis, column) {
            (Axis::Lattice(lattice), Column::Lattice { kinds, .. }) => {
                let places = candidates.iter().skip(at).step_by(width);
                Table::of(lattice, kinds, places.copied())
            }
            _ => Table::default(),
        };
        let both = self.axes.iter().zip(&self.columns);
        both.enumerate().map(of).collect()
    }
}

impl Column {
    /// Takes from the `terms` of the kernels in `range` what this axis says at `place`: none
    /// rises. Whether any is above `least` then.
    fn lower(
        &self,
        range: std::ops::Range<usize>,
        place: f64,
        row: &[f64],
        least: f64,
        terms: &mut [f64],
    ) -> bool {
        let mut counts = false;
        match self {
            Self::Line { mean, scale } => {
                let kernels = mean[range.clone()].iter().zip(&scale[range]);
                for (term, (mean, scale)) in terms.iter_mut().zip(kernels) {
                    let z = (place - mean) * scale;
                    *term -= z * z;
                    counts |= *term > least;
                }
            }
            Self::Lattice { kind, .. } => {
                for (term, kind) in terms.iter_mut().zip(&kind[range]) {
                    *term += row[*kind as usize];
                    counts |= *term > least;
                }
            }
            Self::Choices { seen, loss } => {
                for (term, seen) in terms.iter_mut().zip(&seen[range]) {
                    *term -= if *seen == place { 0.0 } else { *loss };
                    counts |= *term > least;
                }
            }
        }
        counts
    }
}

/// The kernels of a line.
fn line(places: &[f64], floor: Floor) -> Column {
    let mean: Vec<f64> = places.iter().copied().chain([Normal::PRIOR.mean]).collect();
    let mut scale = bandwidth::of(places, floor);
    scale.push(Normal::PRIOR.width);
    for width in &mut scale {
        *width = FRAC_1_SQRT_2 / *width;
    }
    Column::Line { mean, scale }
}

/// The kernels of a lattice.
fn cells(lattice: &Lattice, places: &[f64], floor: Floor) -> Column {
    /// A table of this many cells is small beside the kernels that it saves.
    const FEW_CELLS: u64 = 1 << 16;
    const UNKNOWN: u32 = u32::MAX;

    let means: Vec<f64> = places.iter().map(|cell| lattice.middle(*cell)).collect();
    let widths = bandwidth::of(&means, floor);
    let smallest = floor.with(places.len());
    let known = if lattice.size() <= FEW_CELLS {
        usize::try_from(lattice.size()).expect("at most FEW_CELLS")
    } else {
        0
    };
    // Almost all kernels have the smallest bandwidth: those of one cell are one kind.
    let mut narrow = vec![UNKNOWN; known];
    let mut kinds: Vec<Normal> = Vec::new();
    let mut masses: Vec<f64> = Vec::new();
    let mut kind = Vec::with_capacity(places.len() + 1);
    let kernels = means.iter().zip(&widths).map(|(mean, width)| Normal {
        mean: *mean,
        width: *width,
    });
    let cells = places.iter().map(|cell| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cell's number, below 2^55"
        )]
        let cell = *cell as usize;
        cell
    });
    // The prior is of no cell.
    let all = kernels.zip(cells).chain([(Normal::PRIOR, usize::MAX)]);
    for (kernel, cell) in all {
        let new = u32::try_from(kinds.len()).expect("no more kinds than trials, which u32 numbers");
        let own = match narrow.get_mut(cell) {
            Some(known) if kernel.width == smallest => {
                if *known == UNKNOWN {
                    *known = new;
                }
                *known
            }
            _ => new,
        };
        if own == new {
            kinds.push(kernel);
            masses.push(kernel.mass());
        }
        kind.push(own);
    }
    Column::Lattice {
        kinds,
        masses,
        kind,
    }
}

/// The logarithm of what each kind of kernel gives to the cell of each candidate.
#[derive(Default)]
struct Table {
    /// Row of each candidate; candidates of one cell share it.
    row: Vec<usize>,
    kinds: usize,
    terms: Vec<f64>,
}

impl Table {
    fn of(lattice: &Lattice, kinds: &[Normal], cells: impl Iterator<Item = f64>) -> Self {
        let mut near = Near::of(lattice, kinds);
        let mut table = Self {
            kinds: kinds.len(),
            ..Self::default()
        };
        let mut known: Vec<f64> = Vec::new();
        for cell in cells {
            let row = known.iter().position(|known| *known == cell);
            table.row.push(row.unwrap_or(known.len()));
            if row.is_some() {
                continue;
            }
            known.push(cell);
            let (low, high) = lattice.ends(cell);
            let term = |(at, kind): (usize, &Normal)| {
                let known = near.as_mut().and_then(|near| near.at(at, cell));
                known.unwrap_or_else(|| {
                    normal::ln_between(
                        (low - kind.mean) / kind.width,
                        (high - kind.mean) / kind.width,
                    )
                })
            };
            table.terms.extend(kinds.iter().enumerate().map(term));
        }
        table
    }

    fn row(&self, candidate: usize) -> &[f64] {
        match self.row.get(candidate) {
            Some(row) => &self.terms[row * self.kinds..][..self.kinds],
            None => &[],
        }
    }
}

/// What the narrowest kernels give to the cells around them: on an even lattice it depends on how many cells
/// away one is.
struct Near {
    width: f64,
    /// How long a cell is.
    cell: f64,
    /// The cell of each kind that is so narrow; NaN for the others.
    own: Vec<f64>,
    /// By how many cells one is away; NaN where nobody asked yet.
    terms: Vec<f64>,
}

impl Near {
    /// Nothing where the lattice is not even, or so long that a list of its cells would cost more than it saves.
    fn of(lattice: &Lattice, kinds: &[Normal]) -> Option<Self> {
        const FEW: u64 = 4_096;
        let size = usize::try_from(lattice.size()).ok()?;
        if !lattice.is_even() || lattice.size() > FEW {
            return None;
        }
        let widths = kinds.iter().map(|kind| kind.width);
        let width = widths.fold(f64::INFINITY, f64::min);
        let own = |kind: &Normal| match lattice.nearest(kind.mean) {
            // The prior lies between two cells where there is an even number of them.
            cell if kind.width == width && lattice.middle(cell) == kind.mean => cell,
            _ => f64::NAN,
        };
        Some(Self {
            width,
            cell: 1.0 / size as f64,
            own: kinds.iter().map(own).collect(),
            terms: vec![f64::NAN; size],
        })
    }

    /// What a kind gives to a cell, if it is one of the narrowest.
    fn at(&mut self, kind: usize, cell: f64) -> Option<f64> {
        let away = (cell - self.own[kind]).abs();
        if away.is_nan() {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "fewer cells than the lattice has"
        )]
        let term = &mut self.terms[away as usize];
        if term.is_nan() {
            let (low, high) = ((away - 0.5) * self.cell, (away + 0.5) * self.cell);
            *term = normal::ln_between(low / self.width, high / self.width);
        }
        Some(*term)
    }
}

/// ln(exp(t_1) + exp(t_2) + ...), gathered in parts.
#[derive(Debug, Clone, Copy)]
struct LnSum {
    largest: f64,
    /// Sum of exp(t - largest).
    sum: f64,
}

impl LnSum {
    const EMPTY: Self = Self {
        largest: f64::NEG_INFINITY,
        sum: 0.0,
    };

    /// Terms this far below the largest add nothing that a float would keep: a million of them change the
    /// sum by 1e-20.
    const NEGLIGIBLE: f64 = -86.0 * LN_2;

    /// What a term must exceed to change the sum.
    fn least(&self) -> f64 {
        self.largest + Self::NEGLIGIBLE
    }

    fn add(&mut self, terms: &[f64]) {
        let largest =
            terms.iter().fold(
                self.largest,
                |largest, term| if *term > largest { *term } else { largest },
            );
        if largest > self.largest {
            self.sum *= libm::exp(self.largest - largest);
            self.largest = largest;
        }
        for term in terms {
            let below = term - largest;
            if below > Self::NEGLIGIBLE {
                self.sum += libm::exp(below);
            }
        }
    }

    fn value(&self) -> f64 {
        self.largest + libm::log(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Domain;

    /// Draws from an estimator on one axis and checks how many fall into each of some parts, whose
    /// probabilities the density gives, against the 99.9 % quantile of the chi-square distribution.
    fn assert_draws_follow_the_density(domain: &Domain, observed: Vec<f64>, parts: &[Vec<f64>]) {
        const DRAWS: u32 = 20_000;
        let axes = [Axis::of(domain).unwrap()];
        let estimator = Parzen::of(&axes, &Observed::all(vec![observed]), Floor::Magic);
        // The density is summed over places within each part.
        let mass: Vec<f64> = parts
            .iter()
            .map(|places| {
                let mut logs = vec![0.0; places.len()];
                estimator.add_ln_density(places, 1.0, &mut logs);
                logs.iter().map(|log| log.exp()).sum()
            })
            .collect();
        let total: f64 = mass.iter().sum();
        let lines = matches!(axes[0], Axis::Line(_));
        let expected_total = if lines {
            (parts.len() * parts[0].len()) as f64
        } else {
            1.0
        };
        assert!(
            (total / expected_total - 1.0).abs() < 1e-4,
            "the density sums to {total}"
        );

        let mut stream = Stream::for_study(11, "draws");
        let mut seen = vec![0_u32; parts.len()];
        for _ in 0..DRAWS {
            let mut place = [0.0];
            estimator.draw(&mut stream, &mut place);
            let part = parts
                .iter()
                .position(|places| place[0] <= places[places.len() - 1]);
            seen[part.unwrap_or(parts.len() - 1)] += 1;
        }
        let chi_square: f64 = seen
            .iter()
            .zip(&mass)
            .map(|(seen, mass)| {
                let mean = f64::from(DRAWS) * mass / total;
                (f64::from(*seen) - mean).powi(2) / mean
            })
            .sum();
        // 9 degrees of freedom for 10 parts.
        assert_eq!(parts.len(), 10);
        assert!(
            chi_square < 27.88,
            "chi-square {chi_square} of {seen:?} for {mass:?}"
        );
    }

    #[test]
    fn draws_on_a_line_follow_the_density() {
        let domain = Domain::Float {
            low: -1.0,
            high: 3.0,
            step: None,
            log: false,
        };
        let parts: Vec<Vec<f64>> = (0..10)
            .map(|part| {
                (1..=500)
                    .map(|k| (f64::from(part) * 500.0 + f64::from(k)) / 5_000.0)
                    .collect()
            })
            .collect();
        assert_draws_follow_the_density(&domain, vec![0.1, 0.15, 0.8, 1.0, 0.0], &parts);
        let ramp = (0..60).map(|k| f64::from(k) / 80.0).collect();
        assert_draws_follow_the_density(&domain, ramp, &parts);
    }

    #[test]
    fn draws_on_a_lattice_follow_the_density() {
        let each: Vec<Vec<f64>> = (0..10).map(|cell| vec![f64::from(cell)]).collect();
        let even = Domain::Int {
            low: 7,
            high: 34,
            step: 3,
            log: false,
        };
        assert_draws_follow_the_density(&even, vec![0.0, 0.0, 4.0, 9.0], &each);
        let log = Domain::Int {
            low: 1,
            high: 10,
            step: 1,
            log: true,
        };
        assert_draws_follow_the_density(&log, vec![2.0, 7.0], &each);
    }

    #[test]
    fn draws_of_choices_follow_the_density() {
        let each: Vec<Vec<f64>> = (0..10).map(|choice| vec![f64::from(choice)]).collect();
        let domain = Domain::Categorical {
            choices: (0..10).map(crate::Choice::Int).collect(),
        };
        assert_draws_follow_the_density(&domain, vec![3.0, 3.0, 9.0, 3.0, 0.0], &each);
        assert_draws_follow_the_density(&domain, Vec::new(), &each);
    }
}
