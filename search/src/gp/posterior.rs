//! What the model believes about a point.

use super::cholesky::{Cholesky, dot};
use super::kernel::{Kernel, matern};

/// A Gaussian process with zero mean, conditioned on observed values and on running trials.
///
/// A running trial stands in with the value that the model expects there ("kriging believer",
/// Ginsbourger, Le Riche and Carraro, "Kriging is well-suited to parallelize optimization", 2010).
/// That leaves the mean as it is everywhere and takes variance away around the point: its part of
/// `L^-1 y` is zero.
#[derive(Debug)]
pub(super) struct Posterior<'a> {
    kernel: Kernel,
    /// Observed, then running.
    rows: Vec<&'a [f64]>,
    factor: Cholesky,
    /// `L^-1 y`, of the observed only.
    innovations: Vec<f64>,
    /// `K^-1 y`.
    alpha: Vec<f64>,
}

/// Mean and variance at a point, of what is modelled, without noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Belief {
    pub(super) mean: f64,
    pub(super) variance: f64,
}

impl<'a> Posterior<'a> {
    /// `None` where rounding has left the covariances without a factor.
    pub(super) fn of(
        kernel: Kernel,
        observed: &[&'a [f64]],
        values: &[f64],
        running: &[&'a [f64]],
    ) -> Option<Self> {
        let rows = [observed, running].concat();
        let factor = Cholesky::of(rows.len(), kernel.matrix(&rows))?;
        let mut innovations = values.to_vec();
        factor.solve_lower(&mut innovations);
        let mut alpha = innovations.clone();
        alpha.resize(rows.len(), 0.0);
        factor.solve_upper(&mut alpha);
        Some(Self {
            kernel,
            rows,
            factor,
            innovations,
            alpha,
        })
    }

    pub(super) fn at(&self, x: &[f64]) -> Belief {
        let covariances = self.rows.iter().map(|row| self.kernel.covariance(x, row));
        let mut v: Vec<f64> = covariances.collect();
        self.factor.solve_lower(&mut v);
        self.belief(&v)
    }

    /// The belief, and the derivatives of its mean and variance with respect to each coordinate.
    pub(super) fn with_slopes(
        &self,
        x: &[f64],
        of_mean: &mut [f64],
        of_variance: &mut [f64],
    ) -> Belief {
        let kernel = &self.kernel;
        let covariances = self.rows.iter().map(|row| {
            let (value, slope) = matern(kernel.squared_distance(x, row));
            (kernel.signal * value, kernel.signal * slope)
        });
        let (mut v, slopes): (Vec<f64>, Vec<f64>) = covariances.unzip();
        self.factor.solve_lower(&mut v);
        let belief = self.belief(&v);
        self.factor.solve_upper(&mut v);
        of_mean.fill(0.0);
        of_variance.fill(0.0);
        for (i, row) in self.rows.iter().enumerate() {
            let for_mean = slopes[i] * self.alpha[i];
            let for_variance = -2.0 * slopes[i] * v[i];
            for (axis, (kind, weight)) in kernel.kinds.iter().zip(&kernel.weights).enumerate() {
                let slope = weight * kind.slope(x[axis], row[axis]);
                of_mean[axis] += for_mean * slope;
                of_variance[axis] += for_variance * slope;
            }
        }
        belief
    }

    /// From `v = L^-1 k`.
    fn belief(&self, v: &[f64]) -> Belief {
        Belief {
            mean: dot(v, &self.innovations),
            variance: self.kernel.signal - dot(v, v),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::Kind;
    use super::*;

    fn kernel(noise: f64) -> Kernel {
        Kernel {
            kinds: vec![Kind::Number],
            weights: vec![4.0],
            signal: 2.0,
            noise,
        }
    }

    #[test]
    fn with_one_value_it_is_the_formula_by_hand() {
        let row: &[f64] = &[0.5];
        let posterior = Posterior::of(kernel(0.5), &[row], &[3.0], &[]).unwrap();
        // At the point itself: k = 2, K = 2.5; mean 2/2.5 * 3, variance 2 - 4/2.5.
        let there = posterior.at(&[0.5]);
        assert!((there.mean - 2.4).abs() < 1e-15 && (there.variance - 0.4).abs() < 1e-15);
        // A length scale of 1/2 away: s = sqrt 5.
        let s = 5.0_f64.sqrt();
        let k = 2.0 * (1.0 + s + 5.0 / 3.0) * libm::exp(-s);
        let beside = posterior.at(&[1.0]);
        assert!((beside.mean - k / 2.5 * 3.0).abs() < 1e-15);
        assert!((beside.variance - (2.0 - k * k / 2.5)).abs() < 1e-15);
    }

    #[test]
    fn without_noise_values_are_met() {
        let rows: [&[f64]; 3] = [&[0.1], &[0.4], &[0.9]];
        let posterior = Posterior::of(kernel(1e-9), &rows, &[1.0, -2.0, 0.5], &[]).unwrap();
        for (row, value) in rows.iter().zip([1.0, -2.0, 0.5]) {
            let belief = posterior.at(row);
            assert!((belief.mean - value).abs() < 1e-7 && belief.variance.abs() < 1e-7);
        }
    }

    #[test]
    fn a_running_trial_leaves_the_mean_and_takes_variance() {
        let rows: [&[f64]; 2] = [&[0.1], &[0.4]];
        let run: &[f64] = &[0.8];
        let before = Posterior::of(kernel(0.01), &rows, &[1.0, -1.0], &[]).unwrap();
        let after = Posterior::of(kernel(0.01), &rows, &[1.0, -1.0], &[run]).unwrap();
        for x in [0.0, 0.3, 0.7, 0.8, 1.0] {
            let (before, after) = (before.at(&[x]), after.at(&[x]));
            assert!((before.mean - after.mean).abs() < 1e-14);
            assert!(after.variance < before.variance);
        }
        assert!(after.at(run).variance < 0.01);
    }

    #[test]
    fn slopes_are_those_of_differences() {
        let kernel = Kernel {
            kinds: vec![Kind::Number, Kind::Choice, Kind::Number],
            weights: vec![4.0, 0.7, 0.3],
            signal: 1.5,
            noise: 0.1,
        };
        let rows: [&[f64]; 4] = [
            &[0.1, 0.0, 0.9],
            &[0.6, 1.0, -1.0],
            &[0.9, 1.0, 0.2],
            &[0.4, -1.0, 0.5],
        ];
        let posterior = Posterior::of(kernel, &rows, &[1.0, -0.5, 0.2, 0.0], &[]).unwrap();
        let (mut of_mean, mut of_variance) = ([0.0; 3], [0.0; 3]);
        let x = [0.35, 1.0, 0.6];
        let belief = posterior.with_slopes(&x, &mut of_mean, &mut of_variance);
        assert_eq!(belief, posterior.at(&x));
        for axis in [0, 2] {
            let moved = |by: f64| {
                let mut x = x;
                x[axis] += by;
                posterior.at(&x)
            };
            let (up, down) = (moved(1e-5), moved(-1e-5));
            assert!(((up.mean - down.mean) / 2e-5 - of_mean[axis]).abs() < 1e-8);
            assert!(((up.variance - down.variance) / 2e-5 - of_variance[axis]).abs() < 1e-8);
        }
        assert_eq!((of_mean[1], of_variance[1]), (0.0, 0.0));
    }
}
