//! The minimum of a smooth function within bounds: a projected L-BFGS.

use super::cholesky::{add_scaled, dot};

/// Steps remembered for the approximation of the curvature.
const MEMORY: usize = 8;

/// How often a step is shortened before the search ends.
const SHORTER: usize = 12;

/// The part of the promised decrease that a step must keep (Armijo).
const ENOUGH: f64 = 1e-4;

/// The search ends when a step brings less than this.
const TOLERANCE: f64 = 1e-7;

/// Where a minimum is sought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) lower: &'a [f64],
    pub(super) upper: &'a [f64],
    /// The largest change of a coordinate in one step.
    pub(super) reach: f64,
    /// The most steps.
    pub(super) steps: usize,
}

impl Search<'_> {
    /// Goes downhill from `x` and returns the value where it ends, which `x` then is.
    ///
    /// `f` gives the value at a point and writes the gradient; a value that is not finite marks a
    /// point that is not to be visited. Limited-memory BFGS (Nocedal and Wright, "Numerical
    /// Optimization", 2006, algorithm 7.4) on the coordinates that are not held by a bound; steps
    /// are cut off at the bounds and shortened until they bring enough.
    pub(super) fn run(&self, x: &mut [f64], mut f: impl FnMut(&[f64], &mut [f64]) -> f64) -> f64 {
        let n = x.len();
        let (mut gradient, mut new_gradient) = (vec![0.0; n], vec![0.0; n]);
        let mut value = f(x, &mut gradient);
        let mut memory: Vec<(Vec<f64>, Vec<f64>)> = Vec::with_capacity(MEMORY);
        let mut new = x.to_vec();
        for _ in 0..self.steps {
            if !value.is_finite() {
                break;
            }
            let direction = self.direction(x, &gradient, &memory);
            let largest = direction.iter().fold(0.0, |most: f64, d| most.max(d.abs()));
            if !(largest > 0.0 && largest.is_finite()) {
                break;
            }
            // The first step knows no curvature: it is long enough to learn some.
            let first = if memory.is_empty() {
                0.25 * self.reach / largest
            } else {
                1.0
            };
            let mut length = first.min(self.reach / largest);
            let mut better = None;
            for _ in 0..SHORTER {
                for (i, new) in new.iter_mut().enumerate() {
                    *new = (x[i] + length * direction[i]).clamp(self.lower[i], self.upper[i]);
                }
                let promised: f64 = (0..n).map(|i| gradient[i] * (new[i] - x[i])).sum();
                let there = f(&new, &mut new_gradient);
                if there.is_finite() && there <= value + ENOUGH * promised {
                    better = Some(there);
                    break;
                }
                length *= shorter(value, promised, there);
            }
            let Some(there) = better else {
                if memory.is_empty() {
                    break;
                }
                // The curvature may have misled: once more straight downhill.
                memory.clear();
                continue;
            };
            let step: Vec<f64> = (0..n).map(|i| new[i] - x[i]).collect();
            let change: Vec<f64> = (0..n).map(|i| new_gradient[i] - gradient[i]).collect();
            if dot(&step, &change) > 1e-10 * dot(&change, &change) {
                if memory.len() == MEMORY {
                    memory.remove(0);
                }
                memory.push((step, change));
            }
            let gain = value - there;
            x.copy_from_slice(&new);
            std::mem::swap(&mut gradient, &mut new_gradient);
            value = there;
            if gain < TOLERANCE {
                break;
            }
        }
        value
    }

    /// Downhill, by the curvature of the steps remembered; 0 for coordinates that a bound holds.
    fn direction(&self, x: &[f64], gradient: &[f64], memory: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
        let held = |i: usize| {
            x[i] <= self.lower[i] && gradient[i] >= 0.0
                || x[i] >= self.upper[i] && gradient[i] <= 0.0
        };
        let held: Vec<bool> = (0..x.len()).map(held).collect();
        let release = |mut vector: Vec<f64>| {
            let both = vector.iter_mut().zip(&held);
            both.filter(|(_, held)| **held)
                .for_each(|(part, _)| *part = 0.0);
            vector
        };
        let downhill = release(gradient.iter().map(|part| -part).collect());
        let mut direction = downhill.clone();
        let mut parts = Vec::with_capacity(memory.len());
        for (step, change) in memory.iter().rev() {
            let part = dot(step, &direction) / dot(step, change);
            add_scaled(&mut direction, -part, change);
            parts.push(part);
        }
        if let Some((step, change)) = memory.last() {
            let scale = dot(step, change) / dot(change, change);
            direction.iter_mut().for_each(|part| *part *= scale);
        }
        for ((step, change), part) in memory.iter().zip(parts.iter().rev()) {
            let back = part - dot(change, &direction) / dot(step, change);
            add_scaled(&mut direction, back, step);
        }
        let direction = release(direction);
        if dot(&direction, gradient) < 0.0 {
            direction
        } else {
            downhill
        }
    }
}

/// By what a step is multiplied that did not bring enough: the minimum of the parabola through both
/// values and the slope, within a tenth and a half.
fn shorter(value: f64, promised: f64, there: f64) -> f64 {
    let excess = there - value - promised;
    if excess.is_finite() && excess > 0.0 {
        (-0.5 * promised / excess).clamp(0.1, 0.5)
    } else {
        0.25
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rosenbrock(x: &[f64], gradient: &mut [f64]) -> f64 {
        let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
        gradient[0] = -2.0 * a - 400.0 * x[0] * b;
        gradient[1] = 200.0 * b;
        a * a + 100.0 * b * b
    }

    fn search<'a>(lower: &'a [f64], upper: &'a [f64]) -> Search<'a> {
        Search {
            lower,
            upper,
            reach: 1.0,
            steps: 100,
        }
    }

    #[test]
    fn a_bent_valley_is_followed_to_its_end() {
        let mut x = [-1.2, 1.0];
        let value = search(&[-5.0; 2], &[5.0; 2]).run(&mut x, rosenbrock);
        assert!(value < 1e-8, "{value} at {x:?}");
    }

    #[test]
    fn a_bound_is_met_and_the_other_coordinate_still_moves() {
        let mut x = [-1.0, 1.5];
        let value = search(&[-2.0; 2], &[0.5, 5.0]).run(&mut x, rosenbrock);
        assert!(
            (x[0] - 0.5).abs() < 1e-9 && (x[1] - 0.25).abs() < 1e-4,
            "{x:?}"
        );
        assert!((value - 0.25).abs() < 1e-6);
    }

    #[test]
    fn points_without_a_value_are_not_visited() {
        let mut x = [0.9];
        let value = search(&[-5.0], &[5.0]).run(&mut x, |x, gradient| {
            gradient[0] = 2.0 * x[0];
            if x[0] < 0.3 { f64::NAN } else { x[0] * x[0] }
        });
        assert!(x[0] >= 0.3 && x[0] < 0.5, "{x:?}");
        assert_eq!(value, x[0] * x[0]);
    }
}
