//! How the variance of a forest is divided among columns and pairs of them.

use super::fanova::{Decomposed, FanovaOptions};
use super::forest::{self, Leaf, Side, Tree};
use super::table::Column;
use crate::stream::Stream;

/// The most trials that are drawn for one tree. Larger trees take longer, and the mean of all hardly
/// moves (docs/benchmarks/search.md).
const MAX_DRAWS: usize = 4_000;

/// At how many points the part of a forest's variance is measured that no single column explains. Its relative
/// error is some hundredths; that of the whole less, since all else is exact.
const POINTS: usize = 4_096;

/// Parts of a variance of 1.
#[derive(Debug)]
pub(super) struct Division {
    /// What each column explains alone.
    pub(super) alone: Vec<f64>,
    /// What each pair explains together, beyond what both explain alone.
    pub(super) pairs: Vec<f64>,
}

impl Division {
    /// Grows the trees, one after the other, and divides what they predict; `None` where none of them
    /// predicts more than one value.
    pub(super) fn of(
        columns: &[Column],
        values: &[f64],
        pairs: &[(usize, usize)],
        options: &FanovaOptions,
    ) -> Option<Self> {
        let draws = values.len().min(MAX_DRAWS);
        let tried = match options.decomposed {
            Decomposed::Forest => (2 * columns.len()).div_ceil(3),
            Decomposed::EachTree => columns.len(),
        };
        let grow = |number| {
            let mut stream = Stream::for_sampler(options.seed, number, "fanova");
            let mut tree = forest::grow(columns, values, draws, tried, &mut stream);
            let variance = centre(&mut tree.leaves);
            (variance > 0.0).then_some((tree, variance))
        };
        let trees = (0..).take(options.trees).filter_map(grow);
        match options.decomposed {
            Decomposed::EachTree => Self::of_each(columns, pairs, trees),
            Decomposed::Forest => Self::of_forest(columns, pairs, trees, options.seed),
        }
    }

    /// The mean of the trees' own divisions.
    fn of_each(
        columns: &[Column],
        pairs: &[(usize, usize)],
        trees: impl Iterator<Item = (Tree, f64)>,
    ) -> Option<Self> {
        let mut sum = Self {
            alone: vec![0.0; columns.len()],
            pairs: vec![0.0; pairs.len()],
        };
        let mut count = 0.0;
        for (tree, variance) in trees {
            count += 1.0;
            let mut marginals = Marginals::new(columns);
            marginals.add(columns, &tree.leaves);
            let alone = marginals.variances(columns);
            for (sum, alone) in sum.alone.iter_mut().zip(&alone) {
                *sum += alone / variance;
            }
            for (sum, (first, second)) in sum.pairs.iter_mut().zip(pairs) {
                let mut joint = Joint::new(columns, *first, *second);
                joint.add(&tree.leaves);
                *sum += joint.beyond(alone[*first] + alone[*second]) / variance;
            }
        }
        let parts = sum.alone.iter_mut().chain(&mut sum.pairs);
        parts.for_each(|part| *part /= count);
        (count > 0.0).then_some(sum)
    }

    /// The division of the mean of all trees. Marginals are linear in what is predicted, so those of
    /// the mean are the means of the trees' and exact; the rest of its variance is measured.
    fn of_forest(
        columns: &[Column],
        pairs: &[(usize, usize)],
        trees: impl Iterator<Item = (Tree, f64)>,
        seed: u64,
    ) -> Option<Self> {
        let points = points(columns, seed);
        let mut predicted = vec![0.0; POINTS];
        let mut marginals = Marginals::new(columns);
        let mut joints: Vec<Joint<'_>> = pairs
            .iter()
            .map(|(first, second)| Joint::new(columns, *first, *second))
            .collect();
        let mut count = 0.0;
        for (tree, _) in trees {
            count += 1.0;
            marginals.add(columns, &tree.leaves);
            joints.iter_mut().for_each(|joint| joint.add(&tree.leaves));
            for (sum, point) in predicted.iter_mut().zip(points.chunks(columns.len())) {
                *sum += tree.predict(point);
            }
        }
        if count == 0.0 {
            return None;
        }
        // All is in units of the sum of the trees, whose variance is divided alike.
        let alone = marginals.variances(columns);
        let squares = predicted.iter().zip(points.chunks(columns.len()));
        let squares = squares.map(|(predicted, point)| {
            let rest = predicted - marginals.sum_at(point);
            rest * rest
        });
        let rest = squares.sum::<f64>() / POINTS as f64;
        let variance = alone.iter().sum::<f64>() + rest;
        if variance.is_nan() || variance <= 0.0 {
            return None;
        }
        let together = joints
            .iter_mut()
            .zip(pairs)
            .map(|(joint, (first, second))| {
                joint.beyond(alone[*first] + alone[*second]) / variance
            });
        Some(Self {
            pairs: together.collect(),
            alone: alone.iter().map(|alone| alone / variance).collect(),
        })
    }
}

/// Bins of points that are spread over the space as its domains say, one after the other.
fn points(columns: &[Column], seed: u64) -> Vec<u16> {
    let mut stream = Stream::for_study(seed, "fanova_points");
    let mut points = Vec::with_capacity(POINTS * columns.len());
    for _ in 0..POINTS {
        for column in columns {
            let unit = stream.unit_f64();
            let ends = &column.lows[1..];
            let bin = ends.partition_point(|end| *end <= unit);
            points.push(u16::try_from(bin.min(ends.len() - 1)).unwrap_or(u16::MAX));
        }
    }
    points
}

/// Moves the leaves' values to a mean of 0 over the space; their variance.
fn centre(leaves: &mut [Leaf]) -> f64 {
    let sizes: Vec<f64> = leaves.iter().map(Leaf::size).collect();
    let whole: f64 = sizes.iter().sum();
    let both = leaves.iter().zip(&sizes);
    let mean = both.map(|(leaf, size)| size * leaf.value).sum::<f64>() / whole;
    leaves.iter_mut().for_each(|leaf| leaf.value -= mean);
    let both = leaves.iter().zip(&sizes);
    both.map(|(leaf, size)| size * leaf.value * leaf.value)
        .sum::<f64>()
        / whole
}

/// The mean prediction at each bin of each column, summed over trees.
///
/// Until [`variances`](Self::variances) is asked for, where the bins have an order: how much it rises at
/// each.
struct Marginals(Vec<Vec<f64>>);

impl Marginals {
    fn new(columns: &[Column]) -> Self {
        let marginal = |column: &Column| vec![0.0; column.measures.len() + 1];
        Self(columns.iter().map(marginal).collect())
    }

    /// Leaves that a column does not bound raise all of its marginal alike, which is no variance: only the
    /// others are added.
    fn add(&mut self, columns: &[Column], leaves: &[Leaf]) {
        for leaf in leaves {
            let size = leaf.size();
            for (column, side, width) in &leaf.sides {
                let marginal = &mut self.0[*column];
                let part = leaf.value * size / width;
                match side {
                    Side::Range(low, high) => {
                        marginal[*low] += part;
                        marginal[*high] -= part;
                    }
                    Side::Choices(flags) => {
                        let covered = flags.iter().zip(marginal).filter(|(flag, _)| **flag);
                        covered.for_each(|(_, at)| *at += part);
                    }
                }
            }
        }
        debug_assert_eq!(self.0.len(), columns.len());
    }

    /// Makes the marginals of what was added, each with a mean of 0; their variances.
    fn variances(&mut self, columns: &[Column]) -> Vec<f64> {
        let both = columns.iter().zip(&mut self.0);
        let variance = both.map(|(column, marginal)| {
            if column.ordered {
                accumulate(marginal);
            }
            let weighted = column.measures.iter().zip(marginal.iter());
            let mean: f64 = weighted.map(|(measure, at)| measure * at).sum();
            marginal.iter_mut().for_each(|at| *at -= mean);
            let weighted = column.measures.iter().zip(marginal.iter());
            weighted.map(|(measure, at)| measure * at * at).sum()
        });
        variance.collect()
    }

    /// What all columns, each alone, predict at a point.
    fn sum_at(&self, point: &[u16]) -> f64 {
        let both = self.0.iter().zip(point);
        both.map(|(marginal, bin)| marginal[usize::from(*bin)])
            .sum()
    }
}

fn accumulate(rises: &mut [f64]) {
    let mut sum = 0.0;
    for at in rises {
        sum += *at;
        *at = sum;
    }
}

/// The mean prediction at each pair of bins of two columns, summed over trees, in rows of the first; as
/// rises, where bins have an order.
struct Joint<'a> {
    at: (usize, usize),
    down: &'a Column,
    across: &'a Column,
    grid: Vec<f64>,
}

impl<'a> Joint<'a> {
    fn new(columns: &'a [Column], first: usize, second: usize) -> Self {
        let (down, across) = (&columns[first], &columns[second]);
        Self {
            at: (first, second),
            down,
            across,
            grid: vec![0.0; (down.measures.len() + 1) * (across.measures.len() + 1)],
        }
    }

    fn width(&self) -> usize {
        self.across.measures.len() + 1
    }

    fn add(&mut self, leaves: &[Leaf]) {
        let (first, second) = self.at;
        let width = self.width();
        for leaf in leaves {
            let side = |column: usize| {
                let side = leaf.sides.iter().find(|(at, _, _)| *at == column);
                side.map(|(_, side, _)| side)
            };
            let (down, across) = (side(first), side(second));
            if down.is_none() && across.is_none() {
                continue;
            }
            let others = leaf.sides.iter();
            let others = others.filter(|(at, _, _)| *at != first && *at != second);
            let part = leaf.value * others.map(|(_, _, width)| width).product::<f64>();
            let steps_across = steps(self.across, across);
            for (row, sign) in steps(self.down, down) {
                for (column, other) in &steps_across {
                    self.grid[row * width + column] += part * sign * other;
                }
            }
        }
    }

    /// The variance of what was added beyond `alone`; not less than 0.
    fn beyond(&mut self, alone: f64) -> f64 {
        let width = self.width();
        if self.down.ordered {
            for at in width..self.grid.len() {
                self.grid[at] += self.grid[at - width];
            }
        }
        if self.across.ordered {
            self.grid.chunks_exact_mut(width).for_each(accumulate);
        }
        let cells = || {
            let rows = self.down.measures.iter().zip(self.grid.chunks(width));
            rows.flat_map(|(measure, row)| {
                let cells = self.across.measures.iter().zip(row);
                cells.map(move |(other, at)| (measure * other, at))
            })
        };
        let mean: f64 = cells().map(|(measure, at)| measure * at).sum();
        let off = cells().map(|(measure, at)| measure * (at - mean) * (at - mean));
        (off.sum::<f64>() - alone).max(0.0)
    }
}

/// Where along one column a leaf adds to a marginal, or to its rises.
fn steps(column: &Column, side: Option<&Side>) -> Vec<(usize, f64)> {
    match side {
        Some(Side::Range(low, high)) => vec![(*low, 1.0), (*high, -1.0)],
        Some(Side::Choices(flags)) => {
            let covered = flags.iter().enumerate().filter(|(_, flag)| **flag);
            covered.map(|(bin, _)| (bin, 1.0)).collect()
        }
        None if column.ordered => vec![(0, 1.0), (column.measures.len(), -1.0)],
        None => (0..column.measures.len()).map(|bin| (bin, 1.0)).collect(),
    }
}
