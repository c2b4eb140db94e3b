//! Candidates for the next point, and which of them is the most promising.

use super::bandwidth::Floor;
use super::kernel::Kernel;
use super::near::MANY;
use super::parzen::{NO_CHOICE, Parzen};
use super::split::Split;
use super::thinned;
use super::trials::Trials;
use crate::axis::Axis;
use crate::point::{ParamValue, Point};
use crate::space::Space;
use crate::stream::Stream;

/// Candidates compared per suggestion.
pub(super) const CANDIDATES: usize = 24;

/// The most candidates drawn for them where some break a constraint.
const DRAWS: usize = 10 * CANDIDATES;

/// Parameters that are always present together, as the model sees them.
#[derive(Debug)]
pub(super) struct Group {
    /// A member: present when all are.
    member: usize,
    /// Parameters of a single value.
    fixed: Vec<(usize, ParamValue)>,
    /// Positions in the space of the parameters below.
    positions: Vec<usize>,
    axes: Vec<Axis>,
    /// Whether every point has its parameters.
    always: bool,
}

/// What is known of the places of a group's parameters.
#[derive(Debug)]
pub(super) struct Observed {
    /// For each axis the places of those taken, then that of the prior; with room for as much again.
    pub(super) places: Vec<f64>,
    /// Which of the observations these are, in the order of the places.
    pub(super) taken: Vec<usize>,
    /// How many observations there are.
    pub(super) count: usize,
    /// The weights of those taken, and of the prior; their sum is 1.
    pub(super) weights: Vec<f64>,
}

/// Of many observations on several axes all floats lie in one piece of memory of at least so many: 256 kB.
///
/// glibc hands what is free at the end of its memory back to the kernel as soon as it is more than 128 kB, or
/// than twice the largest piece that was freed (mallopt(3), `M_MMAP_THRESHOLD`). Without such a piece what one suggestion
/// needs goes back after each one, and to have it anew takes up to half of the time of the next. What is not written to is
/// never there.
const PIECE: usize = 32 * 1024;

impl Observed {
    fn of(
        axes: &[Axis],
        count: usize,
        taken: Vec<usize>,
        add: impl Fn(usize, &mut Vec<f64>),
    ) -> Self {
        let least = if axes.len() > 1 && taken.len() > MANY {
            PIECE
        } else {
            0
        };
        let mut places = Vec::with_capacity(least.max(2 * axes.len() * (taken.len() + 1)));
        for (at, axis) in axes.iter().enumerate() {
            add(at, &mut places);
            places.push(match axis {
                Axis::Line(_) | Axis::Lattice(_) => Kernel::PRIOR.mean,
                Axis::Choices(_) => NO_CHOICE,
            });
        }
        Self {
            places,
            count,
            weights: thinned::weights(count, &taken),
            taken,
        }
    }

    /// Observations of which all are taken, by their places on each axis.
    #[cfg(test)]
    pub(super) fn all(axes: &[Axis], columns: &[Vec<f64>]) -> Self {
        let count = columns.first().map_or(0, Vec::len);
        Self::of(axes, count, (0..count).collect(), |at, places| {
            places.extend(&columns[at]);
        })
    }
}

impl Group {
    /// The groups of a space, those that a condition reads before the ones that it decides on.
    pub(super) fn all(space: &Space) -> Vec<Self> {
        Self::of(space, space.groups())
    }

    /// Every parameter by itself, those that a condition reads before the ones that it decides on.
    pub(super) fn single(space: &Space) -> Vec<Self> {
        let each: Vec<Vec<usize>> = space.active_order().iter().map(|at| vec![*at]).collect();
        Self::of(space, &each)
    }

    fn of(space: &Space, groups: &[Vec<usize>]) -> Vec<Self> {
        let groups = groups.iter().filter_map(|positions| {
            let mut group = Self {
                member: *positions.first()?,
                fixed: Vec::new(),
                positions: Vec::new(),
                axes: Vec::new(),
                always: positions
                    .iter()
                    .all(|position| space.parameters()[*position].when().is_none()),
            };
            for &position in positions {
                let domain = space.parameters()[position].domain();
                match Axis::of(domain) {
                    Some(axis) => {
                        group.positions.push(position);
                        group.axes.push(axis);
                    }
                    None => group.fixed.push((position, domain.value_at(0))),
                }
            }
            Some(group)
        });
        groups.collect()
    }

    /// The group where points may lack its parameters, although no condition says so.
    #[cfg(test)]
    pub(super) fn lacking(mut self) -> Self {
        self.always = false;
        self
    }

    /// The axes of its parameters that have more than one value.
    #[cfg(test)]
    pub(super) fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// Whether a point has this group's parameters.
    fn is_in(&self, point: &Point) -> bool {
        let mut positions = self.positions.iter().chain([&self.member]);
        positions.all(|position| !point.values()[*position].is_absent())
    }

    /// The places of the points that have this group's parameters; the weights are those of their age.
    fn observed(&self, trials: &Trials<'_>) -> Observed {
        let is_in = |at: &usize| self.is_in(trials.point(*at));
        let present: Option<Vec<usize>> =
            (!self.always).then(|| (0..trials.len()).filter(is_in).collect());
        let count = present.as_ref().map_or(trials.len(), Vec::len);
        let taken = thinned::taken(count);
        let of = |k: &usize| {
            let at = present.as_ref().map_or(*k, |present| present[*k]);
            trials.point(at).values()
        };
        let points: Vec<&[ParamValue]> = taken.iter().map(of).collect();
        Observed::of(&self.axes, count, taken, |at, places| {
            self.axes[at].add_places(&points, self.positions[at], places);
        })
    }

    /// The good ones of a split, the better the heavier where it says which is.
    fn observed_good(&self, split: &Split<'_>) -> Observed {
        let observed = self.observed(&split.good);
        if split.ranks.is_empty() {
            return observed;
        }
        // They are few: all are taken, in their order.
        let each = split.ranks.iter().enumerate();
        let present = each.filter(|(at, _)| self.always || self.is_in(split.good.point(*at)));
        let ranks: Vec<usize> = present.map(|(_, rank)| *rank).collect();
        Observed {
            weights: thinned::weights_by_rank(&ranks),
            ..observed
        }
    }

    fn write(&self, places: &[f64], values: &mut [ParamValue]) {
        for (position, value) in &self.fixed {
            values[*position] = *value;
        }
        for ((axis, position), place) in self.axes.iter().zip(&self.positions).zip(places) {
            values[*position] = axis.value(*place);
        }
    }
}

/// What the trials so far say about a group: where the good ones are, and where the others.
#[derive(Debug)]
pub(super) struct Densities<'a> {
    group: &'a Group,
    good: Parzen<'a>,
    bad: Parzen<'a>,
}

impl<'a> Densities<'a> {
    /// The densities, with this floor under the bandwidths of the good one.
    pub(super) fn of(group: &'a Group, split: &Split<'_>, good: Floor) -> Self {
        Self {
            group,
            good: Parzen::of(&group.axes, group.observed_good(split), good),
            bad: Parzen::of(&group.axes, group.observed(&split.bad), Floor::Magic),
        }
    }

    /// ln(good / bad) at each candidate, that is at every so many places as there are axes.
    pub(super) fn scores(&self, places: &[f64]) -> Vec<f64> {
        let count = places.len().checked_div(self.group.axes.len());
        let mut scores = vec![0.0; count.unwrap_or(0)];
        self.good.add_ln_density(places, 1.0, &mut scores);
        self.bad.add_ln_density(places, -1.0, &mut scores);
        // Neither has a density there: the sign of what is no number is not the same on all machines.
        for score in &mut scores {
            if score.is_nan() {
                *score = f64::NEG_INFINITY;
            }
        }
        scores
    }
}

/// Some candidates that the space allows, drawn from the good densities, and their scores.
#[derive(Debug)]
pub(super) struct Candidates<'a> {
    space: &'a Space,
    densities: &'a [Densities<'a>],
    count: usize,
    /// Per group: the places of each candidate in turn.
    places: Vec<Vec<f64>>,
    /// Per group: the score of each candidate; empty where there is nothing to choose.
    scores: Vec<Vec<f64>>,
}

impl<'a> Candidates<'a> {
    /// Draws until there are 24 allowed ones, or 240 have been drawn.
    pub(super) fn draw(
        space: &'a Space,
        densities: &'a [Densities<'a>],
        stream: &mut Stream,
    ) -> Self {
        let widths = densities.iter().map(|of| of.group.axes.len());
        let places = widths.map(|width| vec![0.0; width * CANDIDATES]);
        let mut candidates = Self {
            space,
            densities,
            count: 0,
            places: places.collect(),
            scores: Vec::new(),
        };
        for _ in 0..DRAWS {
            let row = candidates.count;
            for (of, places) in densities.iter().zip(&mut candidates.places) {
                let width = of.group.axes.len();
                of.good.draw(stream, &mut places[row * width..][..width]);
            }
            if space.allows(&candidates.point(|_| row)) {
                candidates.count += 1;
                if candidates.count == CANDIDATES {
                    break;
                }
            }
        }
        let both = densities.iter().zip(&mut candidates.places);
        let scores = both.map(|(of, places)| {
            places.truncate(candidates.count * of.group.axes.len());
            of.scores(places)
        });
        candidates.scores = scores.collect();
        candidates
    }

    /// Allowed points, the most promising first: the best candidate of each group, which with several
    /// groups may be a new combination, then the candidates as they were drawn, by the sum of their
    /// groups' scores.
    pub(super) fn into_points(self) -> Vec<Point> {
        let mut drawn: Vec<(f64, Point)> = (0..self.count)
            .map(|row| {
                let point = self.point(|_| row);
                (self.score(row, &point), point)
            })
            .collect();
        // Stable: of equal scores the one drawn first.
        drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut points = Vec::with_capacity(drawn.len() + 1);
        if self.count > 0 && self.densities.len() > 1 {
            let best: Vec<usize> = self.scores.iter().map(|scores| highest(scores)).collect();
            points.push(self.point(|group| best[group]));
            points.retain(|point| self.space.allows(point));
        }
        points.extend(drawn.into_iter().map(|(_, point)| point));
        points
    }

    fn score(&self, row: usize, point: &Point) -> f64 {
        let groups = self.densities.iter().zip(&self.scores);
        let present = groups.filter(|(of, _)| !point.values()[of.group.member].is_absent());
        present.filter_map(|(_, scores)| scores.get(row)).sum()
    }

    /// The point that takes each group from one of the candidates; groups whose condition does not hold
    /// then are absent.
    fn point(&self, candidate: impl Fn(usize) -> usize) -> Point {
        let mut values = vec![ParamValue::Absent; self.space.parameters().len()];
        for (at, (of, places)) in self.densities.iter().zip(&self.places).enumerate() {
            if self.space.is_active(of.group.member, &values) {
                let width = of.group.axes.len();
                let places = &places[candidate(at) * width..][..width];
                of.group.write(places, &mut values);
            }
        }
        Point::new(values)
    }
}

/// The position of the largest score, the first of equals; 0 where there is none.
fn highest(scores: &[f64]) -> usize {
    let mut best = 0;
    for (at, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Choice, Domain, FinishedTrial, History, SpaceBuilder, TrialEnd};

    #[test]
    fn the_best_point_is_the_heaviest_kernel_also_among_those_that_have_a_conditional_parameter() {
        let kind = Domain::Categorical {
            choices: ["a", "b"].map(|name| Choice::Text(name.into())).to_vec(),
        };
        let x = Domain::Float {
            low: 0.0,
            high: 1.0,
            step: None,
            log: false,
        };
        let space = SpaceBuilder::default()
            .parameter("kind", kind)
            .conditional("x", x, "kind == 'a'")
            .build()
            .unwrap();
        // Three of twenty are good: number 7 (without x), then 12, then 3.
        let finished: Vec<FinishedTrial> = (0..20)
            .map(|number| {
                let absent = [5, 7].contains(&number);
                let values = match absent {
                    true => vec![ParamValue::Category(1), ParamValue::Absent],
                    false => vec![
                        ParamValue::Category(0),
                        ParamValue::Float(f64::from(number) / 20.0),
                    ],
                };
                let cost = match number {
                    7 => 0.1,
                    12 => 0.2,
                    3 => 0.3,
                    _ => 1.0,
                };
                FinishedTrial {
                    number,
                    point: Point::new(values),
                    end: TrialEnd::completed(vec![cost]),
                }
            })
            .collect();
        let history = History {
            finished: &finished,
            running: &[],
        };
        let split = Split::of(&history, 20);
        assert_eq!(split.ranks, [2, 0, 1], "of 3, 7 and 12");
        let groups = Group::all(&space);
        let of = |name: &str| {
            let position = space.parameters().iter().position(|p| p.name() == name);
            let group = groups.iter().find(|group| Some(group.member) == position);
            group.unwrap().observed_good(&split)
        };
        let kinds = of("kind");
        assert_eq!(kinds.places, [0.0, 1.0, 0.0, NO_CHOICE]);
        assert_eq!(kinds.weights, thinned::weights_by_rank(&[2, 0, 1]));
        // The second of all is the best of those that have an x.
        let xs = of("x");
        assert_eq!(xs.places, [3.0 / 20.0, 12.0 / 20.0, 0.5]);
        assert_eq!(xs.weights, thinned::weights_by_rank(&[1, 0]));
    }

    #[test]
    fn where_neither_density_is_anything_a_candidate_is_the_last() {
        // Some cells are so short that their ends are one float.
        let low = 1_000_000_000_000_000;
        let domain = Domain::Int {
            low,
            high: low + 999,
            step: 1,
            log: true,
        };
        let space = SpaceBuilder::default()
            .parameter("n", domain)
            .build()
            .unwrap();
        let groups = Group::all(&space);
        let finished: Vec<FinishedTrial> = (0..20)
            .map(|number| FinishedTrial {
                number,
                point: Point::new(vec![ParamValue::Int(low + 50 * i64::from(number))]),
                end: TrialEnd::completed(vec![f64::from(number)]),
            })
            .collect();
        let history = History {
            finished: &finished,
            running: &[],
        };
        let densities = Densities::of(&groups[0], &Split::of(&history, 20), Floor::Half);
        let cells: Vec<f64> = (0..1_000).map(f64::from).collect();
        let scores = densities.scores(&cells);
        assert!(scores.iter().all(|score| !score.is_nan()));
        assert!(scores.contains(&f64::NEG_INFINITY));
        assert!(scores.iter().any(|score| score.is_finite()));
    }
}
