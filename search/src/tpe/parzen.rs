//! The Parzen estimator: a density made of one kernel per observation and a wide one for the
//! prior.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::bandwidth::{Bandwidths, Floor};
use super::candidates::Observed;
use super::cells::{Cells, Given};
use super::kernel::Kernel;
use super::ln_sum::{self, ln_sum};
use super::near::{KernelIndex, MANY, Near};
use crate::axis::Axis;
use crate::normal::{self, ROOT_OF_TWO_PI};
use crate::stream::Stream;

/// A mixture of product kernels over the axes of one group of parameters.
///
/// With `n` observations `x_1 .. x_n`, in any order, and the prior as kernel `n + 1` (of many
/// observations a part, [`thinned`](super::thinned)):
///
/// ```text
/// density(x) = sum over k of w_k * product over axes of K_k(x)
/// ```
///
/// - weights before normalizing: 1 for the prior; of the bad trials, and of good ones of which none is said to be better, with n < 25
///   1 for all, else a ramp from 1/n to 1 over the n - 25 oldest, then 25 ones; of others by rank
///   ([`thinned::weights_by_rank`](super::thinned::weights_by_rank));
/// - line: a normal around the observation, cut to the range and renormalized, with the bandwidths of
///   [`wide`](super::bandwidth::wide); the prior has mean 1/2 and bandwidth 1 (of the range);
/// - lattice: the probability that the same kernel, on the widened range, gives to the cell;
/// - choices, C of them: 1 + 1/(n+1) on the observed one and 1/(n+1) on each other, normalized; the
///   prior is even.
///
/// With [`Floor::Magic`] and the first of these weights this is `_ParzenEstimator` of Optuna 5.0 (`optuna/samplers/_tpe/parzen_estimator.py` and
/// `probability_distributions.py`), but for the unit: densities here are per range of each line, so
/// they are larger than Optuna's by the product of the lengths of the lines, the same for every `x`.
#[derive(Debug)]
pub(super) struct Parzen<'a> {
    columns: Vec<Column<'a>>,
    /// What columns have of each kernel ([`Row`]).
    floats: Vec<f64>,
    /// Where the kernels lie on some of the axes, where they are many.
    indexes: Vec<(usize, KernelIndex)>,
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
enum Column<'a> {
    /// `scale` is 1 / (bandwidth sqrt 2).
    Line {
        mean: Row,
        scale: Row,
    },
    Cells(Cells<'a>),
    /// The observed choice of so many, or [`NO_CHOICE`] for the prior, and by how much the logarithm is
    /// smaller at the others.
    Choices {
        seen: Row,
        choices: f64,
        loss: f64,
    },
}

/// A float for each kernel: where they begin.
#[derive(Debug, Clone, Copy)]
struct Row(usize);

/// On how many axes it is known which kernels are where, if they are many: after them few are left.
const AXES: usize = 6;

/// What the prior has in place of a choice.
pub(super) const NO_CHOICE: f64 = -1.0;

impl<'a> Parzen<'a> {
    /// The density of observations.
    pub(super) fn of(axes: &'a [Axis], observed: Observed, floor: Floor) -> Self {
        let count = observed.count;
        let (mut ln_seen, mut ln_prior) = (0.0, 0.0);
        let most = if observed.taken.len() > MANY { AXES } else { 0 };
        let mut floats = observed.places;
        let mut indexes = Vec::new();
        let mut columns = Vec::with_capacity(axes.len());
        for (at, axis) in axes.iter().enumerate() {
            let row = Row(at * observed.weights.len());
            let own = &floats[row.0..][..observed.taken.len()];
            let mut bandwidths = |means: &[f64]| {
                let bandwidths = Bandwidths::of(means, &observed.taken, floor);
                if indexes.len() < most {
                    indexes.push((at, KernelIndex::of(means, &bandwidths)));
                }
                bandwidths
            };
            columns.push(match axis {
                Axis::Line(_) => {
                    let bandwidths = bandwidths(own);
                    Column::Line {
                        mean: row,
                        scale: add_scales(&mut floats, observed.taken.len(), &bandwidths),
                    }
                }
                Axis::Lattice(lattice) => {
                    let middles: Vec<f64> = own.iter().map(|cell| lattice.middle(*cell)).collect();
                    let bandwidths = bandwidths(&middles);
                    Column::Cells(Cells::of(lattice, own, &middles, &bandwidths))
                }
                Axis::Choices(choices) => {
                    let loss = libm::log(count as f64 + 2.0);
                    ln_seen += loss - libm::log(count as f64 + 1.0 + choices);
                    // The prior has the same everywhere; the loss, which always strikes it, is added.
                    ln_prior += loss - libm::log(*choices);
                    Column::Choices {
                        seen: row,
                        choices: *choices,
                        loss,
                    }
                }
            });
        }
        Self {
            columns,
            floats,
            indexes,
            weights: observed.weights,
            ln_seen,
            ln_prior,
            narrowest: floor.with(observed.taken.len()),
            count,
        }
    }

    fn row(&self, row: Row) -> &[f64] {
        &self.floats[row.0..][..self.weights.len()]
    }

    /// The logarithm of what of kernel `k` does not depend on `x`: its weight, and what makes it a density.
    fn ln_base(&self, k: usize) -> f64 {
        // One logarithm is mostly enough: a line gives at most 80, and a little more than 1/3 at least.
        const LARGE: f64 = 1e150;
        let mut ln_factor = 0.0;
        let mut factor = self.weights[k];
        for column in &self.columns {
            if factor > LARGE {
                ln_factor += libm::log(factor);
                factor = 1.0;
            }
            match column {
                Column::Line { mean, scale } => {
                    let per_width = self.row(*scale)[k] * SQRT_2;
                    let mean = self.row(*mean)[k];
                    let mass = normal::around_mean(-mean * per_width, (1.0 - mean) * per_width);
                    factor *= per_width / (mass * ROOT_OF_TWO_PI);
                }
                Column::Cells(cells) => factor /= cells.kernel(k).mass(),
                Column::Choices { .. } => {}
            }
        }
        let is_prior = k + 1 == self.weights.len();
        ln_factor
            + libm::log(factor)
            + if is_prior {
                self.ln_prior
            } else {
                self.ln_seen
            }
    }

    /// For each axis: what a kernel has at most beside its terms of the axes up to that one. That is
    /// [`Self::ln_base`], and the terms of the axes to come. Then that beside no terms at all.
    fn most_beside(&self) -> (Vec<f64>, f64) {
        let heaviest = self.weights.iter().copied().fold(0.0, f64::max);
        // Of kernels as wide as half of the range 0.47 at least lie in it, of narrower ones more; of wider ones that times
        // the width is more.
        let dense = libm::log(1.0 / (0.47 * self.narrowest * ROOT_OF_TWO_PI));
        let bases = self.columns.iter().map(|column| match column {
            Column::Line { .. } => dense,
            // One as wide as the range, around an end of it, still has a third in it.
            Column::Cells(_) => libm::log(3.0),
            Column::Choices { .. } => 0.0,
        });
        let mut most = libm::log(heaviest) + bases.sum::<f64>() + self.ln_seen.max(self.ln_prior);
        let mut beside: Vec<f64> = self
            .columns
            .iter()
            .rev()
            .map(|column| {
                let here = most;
                if let Column::Cells(cells) = column {
                    most += cells.most();
                }
                here
            })
            .collect();
        beside.reverse();
        (beside, most)
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
        for (column, place) in self.columns.iter().zip(places) {
            let unit = stream.unit_f64();
            *place = match column {
                Column::Line { mean, scale } => {
                    let (mean, scale) = (self.row(*mean)[k], self.row(*scale)[k]);
                    let width = FRAC_1_SQRT_2 / scale;
                    Kernel { mean, width }.draw(unit)
                }
                Column::Cells(cells) => cells.draw(k, unit),
                Column::Choices { seen, choices, .. } => {
                    // In units of 1/(n+1): n+1 for the observed choice, then 1 for each.
                    let own = if k < last {
                        self.count as f64 + 1.0
                    } else {
                        0.0
                    };
                    let at = unit * (own + choices) - own;
                    if at < 0.0 {
                        self.row(*seen)[k]
                    } else {
                        libm::floor(at).min(choices - 1.0)
                    }
                }
            };
        }
    }

    fn view<'v>(
        &'v self,
        column: &'v Column<'_>,
        candidates: impl Iterator<Item = &'v f64>,
    ) -> View<'v> {
        match column {
            Column::Line { mean, scale } => View::Line {
                mean: self.row(*mean),
                scale: self.row(*scale),
            },
            Column::Cells(cells) => View::Cells(Given::of(cells, candidates.copied())),
            Column::Choices { seen, loss, .. } => View::Choices {
                seen: self.row(*seen),
                loss: *loss,
            },
        }
    }

    /// Adds the logarithm of the density at each candidate to `sums`, times `sign`; `candidates`
    /// holds one place per axis for each of them in turn.
    pub(super) fn add_ln_density(&self, candidates: &[f64], sign: f64, sums: &mut [f64]) {
        if sums.is_empty() {
            return;
        }
        let width = self.columns.len();
        let columns = self.columns.iter().enumerate();
        let mut views: Vec<View<'_>> = columns
            .map(|(at, column)| self.view(column, candidates.iter().skip(at).step_by(width)))
            .collect();
        let kernels = self.weights.len();
        let (beside, most) = self.most_beside();
        // Of the few kernels that are near a candidate.
        let mut bases = vec![f64::NAN; kernels];
        let mut near = Near::of(kernels);
        // No candidate is far from the prior.
        let prior = kernels - 1;
        bases[prior] = self.ln_base(prior);
        let many = self.columns.iter().any(|column| match column {
            Column::Cells(cells) => cells.are_many(),
            Column::Line { .. } | Column::Choices { .. } => false,
        });
        let each = candidates.chunks_exact(width).zip(sums).enumerate();
        for (c, (places, sum)) in each {
            near.begin_with(prior);
            for (view, place) in views.iter_mut().zip(places) {
                view.lower(&mut near, c, *place, f64::NEG_INFINITY);
            }
            // A cell may be so short that its ends are one float: nothing gives anything to it.
            let known = near.terms().first().copied();
            let known = known.unwrap_or(f64::NEG_INFINITY) + bases[prior];
            let least = known + ln_sum::NEGLIGIBLE;
            // On one axis alone a kernel loses half the square of how many bandwidths it is away.
            let bandwidths = (2.0 * (most - least)).max(0.0).sqrt();
            let indexes = self.indexes.iter();
            let axes = indexes.map(|(at, index)| (index, views[*at].ends(c, places[*at])));
            near.begin_near(axes, bandwidths);
            if many {
                // A cheap look at all axes first: after it few kernels are left.
                for ((view, place), beside) in views.iter_mut().zip(places).zip(&beside) {
                    view.lower_cheaply(&mut near, c, *place, least - beside);
                }
                near.forget();
            }
            // Terms only fall from axis to axis, so most kernels are done with after a few.
            for ((view, place), beside) in views.iter_mut().zip(places).zip(&beside) {
                view.lower(&mut near, c, *place, least - beside);
                if near.is_empty() {
                    break;
                }
            }
            near.keep(f64::NEG_INFINITY, |k| {
                if bases[k].is_nan() {
                    bases[k] = self.ln_base(k);
                }
                bases[k]
            });
            *sum += sign * ln_sum(near.terms());
        }
    }
}

/// A column as candidates see it.
enum View<'a> {
    Line { mean: &'a [f64], scale: &'a [f64] },
    Cells(Given<'a>),
    Choices { seen: &'a [f64], loss: f64 },
}

impl View<'_> {
    /// Where a candidate begins and ends, as a part of the range.
    fn ends(&self, candidate: usize, place: f64) -> (f64, f64) {
        match self {
            Self::Cells(given) => given.ends(candidate),
            Self::Line { .. } | Self::Choices { .. } => (place, place),
        }
    }

    /// Lowers the terms of kernels by what is cheaply known of what follows: by no more than it is.
    fn lower_cheaply(&mut self, near: &mut Near, candidate: usize, place: f64, least: f64) {
        match self {
            Self::Cells(given) => given.lower_cheaply(near, candidate, least),
            Self::Line { .. } | Self::Choices { .. } => {
                self.lower(near, candidate, place, least);
            }
        }
    }

    /// Lowers the terms of kernels by what this axis says of a candidate, which is at `place`.
    fn lower(&mut self, near: &mut Near, candidate: usize, place: f64, least: f64) {
        match self {
            Self::Line { mean, scale } => near.keep(least, |k| {
                let z = (place - mean[k]) * scale[k];
                -(z * z)
            }),
            Self::Cells(given) => given.lower(near, candidate, least),
            Self::Choices { seen, loss } => {
                near.keep(least, |k| if seen[k] == place { 0.0 } else { -*loss });
            }
        }
    }
}

/// Adds the scales of the kernels of a line.
fn add_scales(floats: &mut Vec<f64>, count: usize, bandwidths: &Bandwidths) -> Row {
    let from = floats.len();
    floats.resize(from + count, FRAC_1_SQRT_2 / bandwidths.narrowest);
    for (at, width) in &bandwidths.wider {
        floats[from + at] = FRAC_1_SQRT_2 / width;
    }
    floats.push(FRAC_1_SQRT_2 / Kernel::PRIOR.width);
    Row(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Domain;
    use crate::tpe::{bandwidth, thinned};

    /// Draws from an estimator on one axis and checks how many fall into each of some parts, whose
    /// probabilities the density gives, against the 99.9 % quantile of the chi-square distribution.
    fn assert_draws_follow_the_density(domain: &Domain, observed: Vec<f64>, parts: &[Vec<f64>]) {
        const DRAWS: u32 = 20_000;
        let axes = [Axis::of(domain).unwrap()];
        let estimator = Parzen::of(&axes, Observed::all(&axes, &[observed]), Floor::Magic);
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

    /// Nine, seven of which are ordered: more than are looked up.
    fn mixed_axes() -> [Axis; 9] {
        let int = |high, log| Domain::Int {
            low: 1,
            high,
            step: 1,
            log,
        };
        let line = || Domain::Float {
            low: 0.0,
            high: 1.0,
            step: None,
            log: false,
        };
        let choices = |count| Domain::Categorical {
            choices: (0..count).map(crate::Choice::Int).collect(),
        };
        let domains = [
            choices(2),
            line(),
            int(40, false),
            int(90, true),
            int(50_000, false),
            line(),
            line(),
            choices(3),
            line(),
        ];
        domains.map(|domain| Axis::of(&domain).unwrap())
    }

    /// Places that lie together as those of a search do.
    fn places(axes: &[Axis], count: usize, stream: &mut Stream) -> Vec<Vec<f64>> {
        let mut place = |axis: &Axis| {
            let unit = stream.unit_f64() * stream.unit_f64();
            match axis {
                Axis::Line(_) => unit,
                Axis::Lattice(lattice) => lattice.nearest(unit),
                Axis::Choices(choices) => (unit * choices).floor(),
            }
        };
        let columns = axes.iter();
        columns
            .map(|axis| (0..count).map(|_| place(axis)).collect())
            .collect()
    }

    /// The logarithm of the density at a candidate by its definition: all kernels, one after the other.
    fn by_definition(axes: &[Axis], observed: &Observed, candidate: &[f64]) -> f64 {
        let count = observed.count as f64;
        let mut kernels = observed.weights.clone();
        let stride = observed.weights.len();
        let columns = observed
            .places
            .chunks(stride)
            .map(|column| &column[..stride - 1]);
        for ((axis, places), at) in axes.iter().zip(columns).zip(candidate) {
            let mean = |place: &f64| match axis {
                Axis::Lattice(lattice) => lattice.middle(*place),
                Axis::Line(_) | Axis::Choices(_) => *place,
            };
            let means: Vec<f64> = places.iter().map(mean).collect();
            let mut widths = vec![Floor::Magic.with(places.len()); places.len()];
            if !matches!(axis, Axis::Choices(_)) {
                for (k, width) in bandwidth::wide(&means, &observed.taken, Floor::Magic) {
                    widths[k] = width;
                }
            }
            for (k, kernel) in kernels.iter_mut().enumerate() {
                let prior = k == places.len();
                let normal = if prior {
                    Kernel::PRIOR
                } else {
                    Kernel {
                        mean: means[k],
                        width: widths[k],
                    }
                };
                *kernel *= match axis {
                    Axis::Line(_) => {
                        let z = (at - normal.mean) / normal.width;
                        (-0.5 * z * z).exp() / (normal.width * ROOT_OF_TWO_PI * normal.mass())
                    }
                    Axis::Lattice(lattice) => {
                        let (low, high) = lattice.ends(*at);
                        normal.ln_between(low, high).exp() / normal.mass()
                    }
                    Axis::Choices(choices) if prior => 1.0 / choices,
                    Axis::Choices(choices) => {
                        let own = if places[k] == *at { count + 1.0 } else { 0.0 };
                        (own + 1.0) / (count + 1.0 + choices)
                    }
                };
            }
        }
        kernels.iter().sum::<f64>().ln()
    }

    #[test]
    fn what_is_left_out_is_not_missed() {
        let mut stream = Stream::for_study(3, "left out");
        let axes = mixed_axes();
        for first in 0..axes.len() {
            let axes = &axes[first..];
            for count in [0, 1, 20, 150, 700] {
                let columns = places(axes, count, &mut stream);
                let candidates: Vec<f64> = (0..24)
                    .flat_map(|_| places(axes, 1, &mut stream).concat())
                    .collect();
                let observed = || Observed::all(axes, &columns);
                let of = |observed| {
                    let mut sums = vec![0.0; 24];
                    Parzen::of(axes, observed, Floor::Magic).add_ln_density(
                        &candidates,
                        1.0,
                        &mut sums,
                    );
                    sums
                };
                let sums = of(observed());
                for (sum, candidate) in sums.iter().zip(candidates.chunks(axes.len())) {
                    let expected = by_definition(axes, &observed(), candidate);
                    assert!(
                        (sum - expected).abs() < 1e-11 * expected.abs().max(1.0),
                        "{count} observations, {} axes, {candidate:?}: {sum} is not {expected}",
                        axes.len()
                    );
                }
                // Listed backwards, they are the same observations.
                let mut backwards = observed();
                backwards.taken.reverse();
                backwards.weights[..count].reverse();
                for column in backwards.places.chunks_mut(count + 1) {
                    column[..count].reverse();
                }
                for (sum, again) in sums.iter().zip(of(backwards)) {
                    assert!((sum - again).abs() < 1e-11 * sum.abs().max(1.0));
                }
            }
        }
    }

    #[test]
    fn where_rounding_says_how_long_cells_are_no_kernel_is_left_out_for_it() {
        let domain = Domain::Int {
            low: 1_000_000_000_000_000,
            high: 1_000_000_000_000_999,
            step: 1,
            log: true,
        };
        let axes = [Axis::of(&domain).unwrap()];
        let mut stream = Stream::for_study(5, "short");
        let columns = places(&axes, 300, &mut stream);
        let observed = || Observed::all(&axes, &columns);
        let candidates: Vec<f64> = (0..24).map(|k| f64::from(k) * 40.0).collect();
        let mut sums = vec![0.0; 24];
        Parzen::of(&axes, observed(), Floor::Magic).add_ln_density(&candidates, 1.0, &mut sums);
        let mut finite = 0;
        for (sum, candidate) in sums.iter().zip(&candidates) {
            let expected = by_definition(&axes, &observed(), &[*candidate]);
            finite += u32::from(expected.is_finite());
            assert!(
                *sum == expected || (sum - expected).abs() < 1e-11 * expected.abs().max(1.0),
                "{candidate}: {sum} is not {expected}"
            );
        }
        assert!(finite > 0);
    }

    #[test]
    fn two_hundred_lines_where_all_trials_are_the_same_have_a_finite_density() {
        let domain = Domain::Float {
            low: 0.0,
            high: 1.0,
            step: None,
            log: false,
        };
        let axes: Vec<Axis> = (0..200).map(|_| Axis::of(&domain).unwrap()).collect();
        let columns = vec![vec![0.0; 150]; 200];
        let mut sums = [0.0];
        let estimator = Parzen::of(&axes, Observed::all(&axes, &columns), Floor::Magic);
        estimator.add_ln_density(&[0.0; 200], 1.0, &mut sums);
        // All but the prior: of half of a normal of 1/100 twice the height, to the 200th.
        let kernel = Kernel {
            mean: 0.0,
            width: 0.01,
        };
        let each = -libm::log(kernel.width * ROOT_OF_TWO_PI * kernel.mass());
        let weights = thinned::weights(150, &(0..150).collect::<Vec<_>>());
        let expected = 200.0 * each + libm::log(1.0 - weights[150]);
        assert!(
            expected > 800.0,
            "the product of so many is no float: {expected}"
        );
        assert!(
            (sums[0] - expected).abs() < 1e-9 * expected,
            "{} is not {expected}",
            sums[0]
        );
    }

    #[test]
    fn a_cell_that_is_too_short_for_floats_has_no_density() {
        let domain = Domain::Int {
            low: 0,
            high: (1 << 54) - 1,
            step: 1,
            log: false,
        };
        let axes = [Axis::of(&domain).unwrap()];
        let last = ((1_u64 << 54) - 1) as f64;
        let estimator = Parzen::of(
            &axes,
            Observed::all(&axes, &[vec![7.0, last]]),
            Floor::Magic,
        );
        let mut sums = [0.0];
        estimator.add_ln_density(&[last], 1.0, &mut sums);
        assert_eq!(sums, [f64::NEG_INFINITY]);
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
