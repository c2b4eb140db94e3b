//! The search for the point where most improvement is to be expected.

use super::encoding::{Encoding, cells_away};
use super::improvement::{ln_below, ln_h};
use super::kernel::ABSENT;
use super::minimize::Search;
use super::posterior::{Belief, Posterior};
use crate::axis::Axis;
use crate::point::Point;
use crate::stream::Stream;

/// Candidates drawn evenly over the space.
const EVEN: usize = 400;

/// Candidates drawn around the best trials.
const NEAR: usize = 200;

/// How many of the best trials those lie around.
const CENTRES: usize = 5;

/// How far a coordinate goes at most from there: each of these for a third of the candidates.
const NEARNESS: [f64; 3] = [0.4, 0.1, 0.025];

/// How many coordinates of such a candidate are moved, about; of many, three tenths.
const MOVED: f64 = 3.0;

/// How many draws one candidate may take where constraints refuse some.
const DRAWS: usize = 10;

/// How many candidates are improved step by step.
const STARTS: usize = 5;

/// How often an improvement goes over the smooth axes and then over the others.
const ROUNDS: usize = 3;

/// The most steps along the smooth axes in a round.
const STEPS: usize = 20;

/// How far a smooth axis is left in one step.
const REACH: f64 = 0.25;

/// Evaluations after which an improvement ends, whatever the number of axes.
const EVALUATIONS: usize = 200;

/// The most choices that are tried in turn; of more, this many are drawn.
const CHOICES: u64 = 16;

/// The least variance: less is rounding.
const LEAST_VARIANCE: f64 = 1e-12;

/// The expected improvement over a space, times the probability of being feasible.
#[derive(Debug)]
pub(super) struct Acquisition<'a> {
    pub(super) encoding: &'a Encoding<'a>,
    /// On what the cost is to be improved; nothing while what is feasible is all to go by.
    pub(super) improvement: Option<Below<'a>>,
    /// Below which what tells of the violation is feasible; nothing where all trials are.
    pub(super) feasible: Option<Below<'a>>,
}

/// A quantity that is to be below a level.
#[derive(Debug)]
pub(super) struct Below<'a> {
    pub(super) posterior: Posterior<'a>,
    pub(super) level: f64,
}

impl Below<'_> {
    /// Lowers a loss by the factor of a point.
    fn take(&self, row: &[f64], factor: LnFactor, loss: &mut f64) {
        *loss -= factor(self.level, self.posterior.at(row)).0;
    }

    /// The same, and its slopes along each axis.
    fn take_with_slopes(&self, row: &[f64], factor: LnFactor, loss: &mut f64, slopes: &mut [f64]) {
        let (mut of_mean, mut of_variance) = (vec![0.0; row.len()], vec![0.0; row.len()]);
        let belief = self
            .posterior
            .with_slopes(row, &mut of_mean, &mut of_variance);
        let (value, by_mean, by_variance) = factor(self.level, belief);
        *loss -= value;
        for (slope, (mean, variance)) in slopes.iter_mut().zip(of_mean.iter().zip(&of_variance)) {
            *slope -= by_mean * mean + by_variance * variance;
        }
    }
}

/// The logarithm of a factor of what is looked for, for a level and a belief, and its derivatives by mean and variance.
type LnFactor = fn(f64, Belief) -> (f64, f64, f64);

/// A draft and minus the logarithm of what is looked for; infinite where it is not allowed.
#[derive(Debug, Clone)]
struct Candidate {
    draft: Vec<f64>,
    loss: f64,
}

impl Acquisition<'_> {
    /// Points, the most promising first. `best` are the rows of the best trials.
    pub(super) fn points(&self, best: &[&[f64]], stream: &mut Stream) -> Vec<Point> {
        let mut candidates = Vec::with_capacity(EVEN + NEAR + STARTS);
        for _ in 0..EVEN {
            self.try_draw(&mut candidates, || {
                (0..self.encoding.axes().len())
                    .map(|axis| self.encoding.draw(axis, stream))
                    .collect()
            });
        }
        for at in 0..NEAR {
            let Some(centre) = best.get(at % CENTRES.min(best.len()).max(1)) else {
                break;
            };
            self.try_draw(&mut candidates, || self.near(centre, stream));
        }
        by_loss(&mut candidates);
        let mut improved: Vec<Candidate> = candidates
            .iter()
            .take(STARTS)
            .map(|start| self.improved(start.clone(), stream))
            .collect();
        by_loss(&mut improved);
        let all = improved.iter().chain(&candidates);
        all.map(|candidate| self.encoding.point(&candidate.draft))
            .collect()
    }

    fn try_draw(&self, candidates: &mut Vec<Candidate>, mut draw: impl FnMut() -> Vec<f64>) {
        let drawn = (0..DRAWS).map(|_| self.candidate(draw()));
        let mut allowed = drawn.filter(|candidate| candidate.loss.is_finite());
        candidates.extend(allowed.next());
    }

    /// A draft near a row: some of its coordinates moved.
    fn near(&self, centre: &[f64], stream: &mut Stream) -> Vec<f64> {
        let reach = match stream.below(3) {
            0 => NEARNESS[0],
            1 => NEARNESS[1],
            _ => NEARNESS[2],
        };
        let moved = (MOVED / centre.len() as f64).max(0.3);
        let coordinates = centre.iter().enumerate().map(|(axis, at)| {
            let stays = stream.unit_f64() >= moved;
            let drawn = self.encoding.draw(axis, stream);
            let bump = stream.unit_f64() + stream.unit_f64() - 1.0;
            match &self.encoding.axes()[axis] {
                _ if *at == ABSENT => drawn,
                _ if stays => *at,
                Axis::Choices(_) => drawn,
                _ => self.encoding.snapped(axis, at + bump * reach),
            }
        });
        coordinates.collect()
    }

    fn candidate(&self, draft: Vec<f64>) -> Candidate {
        let loss = self.loss(&draft);
        Candidate { draft, loss }
    }

    fn loss(&self, draft: &[f64]) -> f64 {
        let mut row = vec![0.0; draft.len()];
        if !self.encoding.write_row(draft, &mut row) {
            return f64::INFINITY;
        }
        let mut loss = 0.0;
        for (below, factor) in self.factors() {
            below.take(&row, factor, &mut loss);
        }
        loss
    }

    /// The loss and its slope along each axis.
    fn loss_and_slopes(&self, draft: &[f64], slopes: &mut [f64]) -> f64 {
        let mut row = vec![0.0; draft.len()];
        if !self.encoding.write_row(draft, &mut row) {
            return f64::INFINITY;
        }
        slopes.fill(0.0);
        let mut loss = 0.0;
        for (below, factor) in self.factors() {
            below.take_with_slopes(&row, factor, &mut loss, slopes);
        }
        loss
    }

    /// The factors of what is looked for.
    fn factors(&self) -> impl Iterator<Item = (&Below<'_>, LnFactor)> {
        let improvement = self
            .improvement
            .iter()
            .map(|of| (of, ln_improvement as LnFactor));
        let feasible = self
            .feasible
            .iter()
            .map(|of| (of, ln_probability as LnFactor));
        improvement.chain(feasible)
    }

    /// Downhill from a candidate: along the smooth axes together, then each of the others in turn.
    fn improved(&self, mut best: Candidate, stream: &mut Stream) -> Candidate {
        let smooth = self.encoding.smooth();
        let mut left = EVALUATIONS;
        for _ in 0..ROUNDS {
            let before = best.loss;
            self.follow_slopes(&smooth, &mut best, &mut left);
            for axis in 0..best.draft.len() {
                for at in self.moves(axis, best.draft[axis], stream) {
                    if left == 0 {
                        return best;
                    }
                    left -= 1;
                    let mut draft = best.draft.clone();
                    draft[axis] = at;
                    let there = self.candidate(draft);
                    if there.loss < best.loss {
                        best = there;
                    }
                }
            }
            if best.loss > before - 1e-3 {
                break;
            }
        }
        best
    }

    fn follow_slopes(&self, smooth: &[usize], best: &mut Candidate, left: &mut usize) {
        if smooth.is_empty() {
            return;
        }
        let mut x: Vec<f64> = smooth.iter().map(|axis| best.draft[*axis]).collect();
        let mut draft = best.draft.clone();
        let mut all = vec![0.0; draft.len()];
        let search = Search {
            lower: &vec![0.0; x.len()],
            upper: &vec![1.0; x.len()],
            reach: REACH,
            steps: STEPS,
        };
        search.run(&mut x, |x, slopes| {
            if *left == 0 {
                return f64::INFINITY;
            }
            *left -= 1;
            for (axis, at) in smooth.iter().zip(x) {
                draft[*axis] = *at;
            }
            let loss = self.loss_and_slopes(&draft, &mut all);
            for (slope, axis) in slopes.iter_mut().zip(smooth) {
                *slope = all[*axis];
            }
            loss
        });
        for (axis, at) in smooth.iter().zip(&x) {
            draft[*axis] = self.encoding.snapped(*axis, *at);
        }
        let there = self.candidate(draft);
        if there.loss < best.loss {
            *best = there;
        }
    }

    /// The coordinates to try on an axis of separate values.
    fn moves(&self, axis: usize, at: f64, stream: &mut Stream) -> Vec<f64> {
        match &self.encoding.axes()[axis] {
            Axis::Line(_) => Vec::new(),
            Axis::Lattice(lattice) => cells_away(lattice, at),
            Axis::Choices(count) if *count <= CHOICES as f64 => {
                let all = (0..CHOICES).map(|choice| choice as f64);
                all.filter(|choice| choice < count && *choice != at)
                    .collect()
            }
            Axis::Choices(_) => (0..CHOICES)
                .map(|_| self.encoding.draw(axis, stream))
                .collect(),
        }
    }
}

/// Stable: of equal losses the one found first.
fn by_loss(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| a.loss.total_cmp(&b.loss));
}

/// The logarithm of the improvement to be expected below `best`, and its derivatives by mean and
/// variance.
fn ln_improvement(best: f64, belief: Belief) -> (f64, f64, f64) {
    let deviation = belief.variance.max(LEAST_VARIANCE).sqrt();
    let z = (best - belief.mean) / deviation;
    let (ln_h, slope) = ln_h(z);
    // d ln s + slope dz, with dz = -dm/s - z ds/s and ds = dv / (2 s).
    let by_deviation = (1.0 - slope * z) / deviation;
    let by_variance = if belief.variance > LEAST_VARIANCE {
        by_deviation / (2.0 * deviation)
    } else {
        0.0
    };
    (libm::log(deviation) + ln_h, -slope / deviation, by_variance)
}

/// The logarithm of the probability of being below `level`, and its derivatives by mean and variance.
fn ln_probability(level: f64, belief: Belief) -> (f64, f64, f64) {
    let deviation = belief.variance.max(LEAST_VARIANCE).sqrt();
    let z = (level - belief.mean) / deviation;
    let (ln_below, slope) = ln_below(z);
    // dz = -dm/s - z ds/s with ds = dv / (2 s).
    let by_variance = if belief.variance > LEAST_VARIANCE {
        -slope * z / (2.0 * deviation * deviation)
    } else {
        0.0
    };
    (ln_below, -slope / deviation, by_variance)
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{Kernel, Kind};
    use super::*;
    use crate::{Choice, Domain, Space, SpaceBuilder};

    fn float(low: f64, high: f64) -> Domain {
        Domain::Float {
            low,
            high,
            step: None,
            log: false,
        }
    }

    #[test]
    fn derivatives_of_the_factors_are_those_of_differences() {
        let beliefs = [(0.0, 0.5, 0.3), (1.0, -2.0, 1e-3), (-1.0, 4.0, 0.02)];
        for factor in [ln_improvement as LnFactor, ln_probability] {
            for (level, mean, variance) in beliefs {
                let value = |mean, variance| factor(level, Belief { mean, variance }).0;
                let (_, by_mean, by_variance) = factor(level, Belief { mean, variance });
                let close = |difference: f64, slope: f64| {
                    let off = (difference - slope).abs();
                    assert!(off < 1e-6 * slope.abs().max(0.1), "{difference} {slope}");
                };
                let h = 1e-5 * variance.sqrt();
                close(
                    (value(mean + h, variance) - value(mean - h, variance)) / (2.0 * h),
                    by_mean,
                );
                let h = 1e-5 * variance;
                close(
                    (value(mean, variance + h) - value(mean, variance - h)) / (2.0 * h),
                    by_variance,
                );
            }
        }
    }

    /// A model of the cost at 0.2, 0.5 and 0.8 on the first axis, in the middle of the others.
    fn best_of(space: &Space, values: [f64; 3]) -> Point {
        let encoding = Encoding::of(space);
        let rows = [0.2, 0.5, 0.8].map(|at| {
            let mut row = vec![0.5; encoding.axes().len()];
            for (axis, at) in row.iter_mut().enumerate() {
                *at = match encoding.kinds()[axis] {
                    Kind::Choice => 0.0,
                    Kind::Number => encoding.snapped(axis, *at),
                };
            }
            row[0] = encoding.snapped(0, at);
            row
        });
        let rows = [&rows[0][..], &rows[1], &rows[2]];
        let kernel = Kernel {
            kinds: encoding.kinds(),
            weights: vec![8.0; encoding.axes().len()],
            signal: 1.0,
            noise: 1e-4,
        };
        let posterior = Posterior::of(kernel, &rows, &values, &[]).unwrap();
        let acquisition = Acquisition {
            encoding: &encoding,
            improvement: Some(Below {
                posterior,
                level: -1.0,
            }),
            feasible: None,
        };
        let mut stream = Stream::for_sampler(1, 2, "test");
        let points = acquisition.points(&rows, &mut stream);
        for point in &points {
            assert_eq!(space.check_allowed(point), Ok(()));
        }
        // No point of a fine grid over the first axis promises more than the first one given.
        let loss_of = |point: &Point| acquisition.loss(&encoding.row(point));
        let least = loss_of(&points[0]);
        for k in 0..=200 {
            let mut draft = rows[1].to_vec();
            draft[0] = encoding.snapped(0, f64::from(k) / 200.0);
            assert!(acquisition.loss(&draft) > least - 1e-6, "{draft:?}");
        }
        points[0].clone()
    }

    #[test]
    fn the_point_found_is_the_best_of_a_fine_grid() {
        let line = Space::new([("x".to_owned(), float(-3.0, 3.0))]).unwrap();
        best_of(&line, [0.0, -1.0, 0.7]);
        let int = Domain::Int {
            low: 1,
            high: 1_000,
            step: 3,
            log: false,
        };
        best_of(
            &Space::new([("n".to_owned(), int)]).unwrap(),
            [1.0, 0.0, -1.0],
        );
        let few = Domain::Float {
            low: 0.0,
            high: 1.0,
            step: Some(0.125),
            log: false,
        };
        let kinds = ["a", "b", "c"].map(|name| Choice::Text(name.to_owned()));
        let kind = Domain::Categorical {
            choices: kinds.to_vec(),
        };
        let space = Space::new([("a".to_owned(), few), ("b".to_owned(), kind)]).unwrap();
        best_of(&space, [1.0, 0.0, -1.0]);
    }

    #[test]
    fn the_probability_of_being_feasible_moves_the_point_away_from_what_is_not() {
        let space = Space::new([("x".to_owned(), float(0.0, 1.0))]).unwrap();
        let encoding = Encoding::of(&space);
        let rows: [&[f64]; 3] = [&[0.2], &[0.5], &[0.8]];
        let kernel = || Kernel {
            kinds: encoding.kinds(),
            weights: vec![8.0],
            signal: 1.0,
            noise: 1e-4,
        };
        let below = |values: &[f64], level| Below {
            posterior: Posterior::of(kernel(), &rows, values, &[]).unwrap(),
            level,
        };
        let found = |feasible| {
            let acquisition = Acquisition {
                encoding: &encoding,
                improvement: Some(below(&[1.0, 0.0, -1.0], -1.0)),
                feasible,
            };
            let points = acquisition.points(&rows, &mut Stream::for_sampler(1, 2, "test"));
            encoding.row(&points[0])[0]
        };
        assert!(found(None) > 0.8, "the cost falls to the right");
        let edge = found(Some(below(&[-1.0, -1.0, 2.0], 0.0)));
        assert!(
            (0.5..0.75).contains(&edge),
            "and from about 0.65 it is infeasible: {edge}"
        );
    }

    #[test]
    fn a_constraint_is_kept_while_slopes_are_followed() {
        // The middle is observed, the valley is to its right, and the right is not allowed.
        let space = SpaceBuilder::default()
            .parameter("x", float(0.0, 1.0))
            .parameter("y", float(0.0, 1.0))
            .constraint("x + y < 0.9")
            .build()
            .unwrap();
        let encoding = Encoding::of(&space);
        let rows: [&[f64]; 2] = [&[0.2, 0.2], &[0.4, 0.4]];
        let kernel = Kernel {
            kinds: encoding.kinds(),
            weights: vec![2.0; 2],
            signal: 1.0,
            noise: 1e-4,
        };
        let posterior = Posterior::of(kernel, &rows, &[1.0, -1.0], &[]).unwrap();
        let acquisition = Acquisition {
            encoding: &encoding,
            improvement: Some(Below {
                posterior,
                level: -1.0,
            }),
            feasible: None,
        };
        let mut stream = Stream::for_sampler(1, 2, "test");
        let points = acquisition.points(&rows, &mut stream);
        assert!(points.iter().all(|point| space.allows(point)));
        let sum: f64 = encoding.row(&points[0]).iter().sum();
        assert!(sum > 0.85, "it goes to the edge: {points:?}");
    }
}
