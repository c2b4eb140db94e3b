//! A random forest of regression trees over binned columns, each tree as the boxes of its leaves.

use std::rc::Rc;

use super::table::Column;
use crate::stream::Stream;

/// How deep a tree may grow: Optuna's limit, rarely met.
const MOST_DEPTH: usize = 64;

/// The narrowest bin as a part of its domain, so that no box of one has a width that rounds to 0.
pub(super) const LEAST_MEASURE: f64 = 1e-9;

/// What of one column's bins a leaf covers.
#[derive(Debug, Clone)]
pub(super) enum Side {
    /// The bins from the first up to, not including, the second.
    Range(usize, usize),
    /// The choices whose flag is set.
    Choices(Rc<[bool]>),
}

impl Side {
    fn whole(column: &Column) -> Self {
        let bins = column.measures.len();
        if column.ordered {
            Self::Range(0, bins)
        } else {
            Self::Choices(vec![true; bins].into())
        }
    }

    /// What of the column's domain it covers.
    pub(super) fn width(&self, column: &Column) -> f64 {
        match self {
            Self::Range(low, high) => column.lows[*high] - column.lows[*low],
            Self::Choices(flags) => {
                let covered = flags
                    .iter()
                    .zip(&column.measures)
                    .filter(|(flag, _)| **flag);
                covered.map(|(_, measure)| measure).sum()
            }
        }
    }

    /// Both parts of it, left of a cut and right of it.
    fn divided(&self, cut: &Cut) -> (Self, Self) {
        match (self, cut) {
            (Self::Range(low, high), Cut::Below(bin)) => {
                (Self::Range(*low, *bin), Self::Range(*bin, *high))
            }
            (Self::Choices(flags), Cut::Left(left)) => {
                let part = |side: bool| {
                    let flags = flags.iter().zip(left);
                    Self::Choices(flags.map(|(flag, left)| *flag && *left == side).collect())
                };
                (part(true), part(false))
            }
            _ => unreachable!("a cut is made from its column"),
        }
    }
}

/// What goes to the left child.
#[derive(Debug)]
enum Cut {
    /// Bins below this one.
    Below(usize),
    /// Choices whose flag is set.
    Left(Vec<bool>),
}

impl Cut {
    fn is_left(&self, bin: u16) -> bool {
        match self {
            Self::Below(cut) => usize::from(bin) < *cut,
            Self::Left(flags) => flags[usize::from(bin)],
        }
    }
}

/// A leaf: a box of the space and what the tree predicts in it.
#[derive(Debug)]
pub(super) struct Leaf {
    /// The mean of the values in it.
    pub(super) value: f64,
    /// The columns that bound it, with what it covers of each and the width of that; it covers all of
    /// the others.
    pub(super) sides: Vec<(usize, Side, f64)>,
}

impl Leaf {
    /// The part of the space that it covers.
    pub(super) fn size(&self) -> f64 {
        self.sides.iter().map(|(_, _, width)| width).product()
    }
}

/// A regression tree.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Where it ends.
    pub(super) leaves: Vec<Leaf>,
    /// The root first; the left child of a fork is the node after it.
    nodes: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    /// The leaf at this position.
    Leaf(usize),
    Fork {
        column: usize,
        cut: Cut,
        right: usize,
    },
}

impl Tree {
    /// The value of the leaf that holds a point, given as one bin for each column.
    pub(super) fn predict(&self, point: &[u16]) -> f64 {
        let mut at = 0;
        loop {
            match &self.nodes[at] {
                Node::Leaf(leaf) => return self.leaves[*leaf].value,
                Node::Fork { column, cut, .. } if cut.is_left(point[*column]) => at += 1,
                Node::Fork { right, .. } => at = *right,
            }
        }
    }
}

/// Grows one tree on as many trials as `draws`, drawn with replacement: always the cut that
/// lowers the sum of squares most, among equal ones that of a random column, until the values
/// of a leaf are equal or nothing tells its trials apart. For each cut `tried` random columns are looked at (Breiman,
/// "Random forests", 2001).
pub(super) fn grow(
    columns: &[Column],
    values: &[f64],
    draws: usize,
    tried: usize,
    stream: &mut Stream,
) -> Tree {
    let mut weights = vec![0.0; values.len()];
    for _ in 0..draws {
        let at = stream.below(values.len() as u64);
        weights[usize::try_from(at).unwrap_or(0)] += 1.0;
    }
    let mut trials: Vec<u32> = (0..).take(values.len()).collect();
    trials.retain(|trial| weights[*trial as usize] > 0.0);
    let most_bins = columns.iter().map(|column| column.measures.len()).max();
    let mut grower = Grower {
        columns,
        values,
        weights,
        stream,
        order: (0..columns.len()).collect(),
        tried,
        histogram: vec![Group::EMPTY; most_bins.unwrap_or(0)],
        groups: Vec::new(),
        sides: columns.iter().map(|_| None).collect(),
        tree: Tree::default(),
    };
    grower.node(&mut trials, 0);
    grower.tree
}

/// The trials of a node in one bin.
#[derive(Debug, Clone, Copy)]
struct Group {
    bin: u16,
    weight: f64,
    sum: f64,
}

impl Group {
    const EMPTY: Self = Self {
        bin: 0,
        weight: 0.0,
        sum: 0.0,
    };
}

/// The best cut of a node so far: after how many of its column's groups.
struct Best {
    gain: f64,
    column: usize,
    groups: Vec<Group>,
    left: usize,
}

struct Grower<'a> {
    columns: &'a [Column],
    values: &'a [f64],
    weights: Vec<f64>,
    stream: &'a mut Stream,
    /// The columns, shuffled anew for each node.
    order: Vec<usize>,
    /// How many of them are looked at for a cut; more where none of these can be cut.
    tried: usize,
    histogram: Vec<Group>,
    groups: Vec<Group>,
    /// The box of the node being grown, each side with its width; `None` where it covers all of a column.
    sides: Vec<Option<(Side, f64)>>,
    tree: Tree,
}

impl Grower<'_> {
    fn node(&mut self, trials: &mut [u32], depth: usize) {
        let (mut weight, mut sum) = (0.0, 0.0);
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for trial in &*trials {
            let (w, value) = (self.weights[*trial as usize], self.values[*trial as usize]);
            weight += w;
            sum += w * value;
            least = least.min(value);
            most = most.max(value);
        }
        let best = if least < most && depth < MOST_DEPTH {
            self.best(trials, weight, sum)
        } else {
            None
        };
        let Some(best) = best else {
            self.leaf(sum / weight);
            return;
        };
        let columns = self.columns;
        let (at, column) = (best.column, &columns[best.column]);
        let cut = cut(column, &best);
        let mut middle = 0;
        for place in 0..trials.len() {
            if cut.is_left(column.bins[trials[place] as usize]) {
                trials.swap(place, middle);
                middle += 1;
            }
        }
        let (left, right) = trials.split_at_mut(middle);
        let before = self.sides[at].take();
        let (left_side, right_side) = match &before {
            Some((side, _)) => side.divided(&cut),
            None => Side::whole(column).divided(&cut),
        };
        let with_width = |side: Side| {
            let width = side.width(column);
            Some((side, width))
        };
        let fork = self.tree.nodes.len();
        self.tree.nodes.push(Node::Fork {
            column: at,
            cut,
            right: 0,
        });
        self.sides[at] = with_width(left_side);
        self.node(left, depth + 1);
        let after = self.tree.nodes.len();
        if let Some(Node::Fork { right, .. }) = self.tree.nodes.get_mut(fork) {
            *right = after;
        }
        self.sides[at] = with_width(right_side);
        self.node(right, depth + 1);
        self.sides[at] = before;
    }

    fn leaf(&mut self, value: f64) {
        let bounded = self.sides.iter().enumerate();
        let sides = bounded.filter_map(|(at, side)| {
            let (side, width) = side.clone()?;
            Some((at, side, width))
        });
        let sides = sides.collect();
        self.tree.nodes.push(Node::Leaf(self.tree.leaves.len()));
        self.tree.leaves.push(Leaf { value, sides });
    }

    fn best(&mut self, trials: &[u32], weight: f64, sum: f64) -> Option<Best> {
        for last in (1..self.order.len()).rev() {
            let other = self.stream.below(last as u64 + 1);
            self.order
                .swap(last, usize::try_from(other).unwrap_or(last));
        }
        let mut best: Option<Best> = None;
        for place in 0..self.order.len() {
            if place >= self.tried && best.is_some() {
                break;
            }
            let column = self.order[place];
            self.group(trials, column);
            if !self.columns[column].ordered {
                // In the order of their means, one of the best divisions is a cut (Breiman et al.,
                // "Classification and regression trees", 1984, section 4.2).
                self.groups.sort_unstable_by(|a, b| {
                    let by_mean = (a.sum / a.weight).total_cmp(&(b.sum / b.weight));
                    by_mean.then(a.bin.cmp(&b.bin))
                });
            }
            let (mut left_weight, mut left_sum) = (0.0, 0.0);
            let mut found = None;
            let mut gain = best.as_ref().map_or(f64::NEG_INFINITY, |best| best.gain);
            for (count, group) in self.groups.iter().enumerate() {
                if count > 0 {
                    let right_sum = sum - left_sum;
                    let this = left_sum * left_sum / left_weight
                        + right_sum * right_sum / (weight - left_weight);
                    if this > gain {
                        gain = this;
                        found = Some(count);
                    }
                }
                left_weight += group.weight;
                left_sum += group.sum;
            }
            if let Some(left) = found {
                let mut groups = best.map_or_else(Vec::new, |best| best.groups);
                groups.clone_from(&self.groups);
                best = Some(Best {
                    gain,
                    column,
                    groups,
                    left,
                });
            }
        }
        best
    }

    /// The trials by bin, in the order of the bins.
    fn group(&mut self, trials: &[u32], column: usize) {
        let column = &self.columns[column];
        let bins = column.measures.len();
        self.groups.clear();
        let one = |trial: &u32| {
            let at = *trial as usize;
            Group {
                bin: column.bins[at],
                weight: self.weights[at],
                sum: self.weights[at] * self.values[at],
            }
        };
        // Many trials are counted into all bins, few are sorted.
        if trials.len() * 4 >= bins {
            let histogram = &mut self.histogram[..bins];
            histogram.fill(Group::EMPTY);
            for group in trials.iter().map(one) {
                let entry = &mut histogram[usize::from(group.bin)];
                entry.bin = group.bin;
                entry.weight += group.weight;
                entry.sum += group.sum;
            }
            let filled = histogram.iter().filter(|group| group.weight > 0.0);
            self.groups.extend(filled);
        } else {
            self.groups.extend(trials.iter().map(one));
            self.groups.sort_by_key(|group| group.bin);
            self.groups.dedup_by(|next, kept| {
                let same = next.bin == kept.bin;
                if same {
                    kept.weight += next.weight;
                    kept.sum += next.sum;
                }
                same
            });
        }
    }
}

/// The cut between two groups: of numbers, at the edge of bins nearest to the middle between them; of
/// choices, those that no trial of the node has go with the more trials.
fn cut(column: &Column, best: &Best) -> Cut {
    let (left, right) = best.groups.split_at(best.left);
    if column.ordered {
        let below = left.last().map_or(0, |group| usize::from(group.bin));
        let above = right.first().map_or(0, |group| usize::from(group.bin));
        return Cut::Below(between(column, below, above));
    }
    let weight = |groups: &[Group]| groups.iter().map(|group| group.weight).sum::<f64>();
    let unseen_left = weight(left) > weight(right);
    let mut flags = vec![unseen_left; column.measures.len()];
    for (groups, flag) in [(left, true), (right, false)] {
        for group in groups {
            flags[usize::from(group.bin)] = flag;
        }
    }
    Cut::Left(flags)
}

/// The bin above `below`, up to `above`, whose lower edge is nearest to the middle between what was seen in
/// both.
fn between(column: &Column, below: usize, above: usize) -> usize {
    let middle = 0.5 * (column.middles[below] + column.middles[above]);
    let off = |bin: &usize| (column.lows[*bin] - middle).abs();
    let bins = below + 1..=above;
    bins.min_by(|a, b| off(a).total_cmp(&off(b)))
        .unwrap_or(above)
}
