//! The kernel that fits the trials: the mode of its posterior.
//!
//! The priors:
//!
//! - each length scale is log-normal, `ln l ~ N(sqrt 2 + ln(d) / 2 - 2, 0.5^2)` with `d` axes, a
//!   density over `ln l`: longer with more axes, as Hvarfner, Hellsten and Nardi ("Vanilla Bayesian
//!   optimization performs great in high dimensions", ICML 2024) have it, but narrower.
//!   Theirs, `N(sqrt 2 + ln(d) / 2, 3)` over `l`, has its mode at `sqrt 2 + ln(d) / 2 - 3`, and
//!   leaves so much to the fit that with few trials a length scale is often that of an accident
//!   (docs/benchmarks/search.md);
//! - the signal's variance is Gamma(2, 1) and that of the noise Gamma(1.1, 30), as in Optuna 5
//!   (`optuna/_gp/prior.py`).

use std::f64::consts::SQRT_2;

use super::cholesky::{Cholesky, dot};
use super::kernel::{Kernel, Kind, matern};
use super::minimize::Search;

/// Bounds of the logarithms of what is fitted.
const LN_LENGTH: (f64, f64) = (-3.7, 5.0);
const LN_SIGNAL: (f64, f64) = (-3.0, 4.0);
/// From 1e-6 on, as Optuna: what is below it costs digits and gains nothing.
const LN_NOISE: (f64, f64) = (-13.8, 0.0);

/// The most steps of the search.
const STEPS: usize = 30;

/// Where the search for the noise begins.
const LN_FIRST_NOISE: f64 = -6.9;

/// How far from the usual length scale others lie, as a logarithm.
const LN_LENGTH_SPREAD: f64 = 0.5;

/// The largest factor by which one step changes anything, as a logarithm.
const REACH: f64 = 1.5;

/// Squared distances of all pairs, and the values.
struct Data<'a> {
    values: &'a [f64],
    axes: usize,
    /// The mode of the prior of a length scale, as a logarithm.
    usual_length: f64,
    /// Of each pair `i > j`, pair by pair: the squared distance on each axis.
    distances: Vec<f64>,
}

/// The kernel of the highest posterior density for these values; `None` where no covariances could
/// be factored.
pub(super) fn kernel(kinds: &[Kind], rows: &[&[f64]], values: &[f64]) -> Option<Kernel> {
    let data = Data::of(kinds, rows, values);
    let axes = kinds.len();
    let mut x = vec![data.usual_length; axes];
    x.extend([0.0, LN_FIRST_NOISE]);
    let bound = |of: fn((f64, f64)) -> f64| {
        let mut bounds = vec![of(LN_LENGTH); axes];
        bounds.extend([of(LN_SIGNAL), of(LN_NOISE)]);
        bounds
    };
    let (lower, upper) = (bound(|b| b.0), bound(|b| b.1));
    let search = Search {
        lower: &lower,
        upper: &upper,
        reach: REACH,
        steps: STEPS,
    };
    let value = search.run(&mut x, |x, gradient| data.loss(x, gradient));
    value.is_finite().then(|| Kernel {
        kinds: kinds.to_vec(),
        weights: x[..axes].iter().map(|ln| libm::exp(-2.0 * ln)).collect(),
        signal: libm::exp(x[axes]),
        noise: libm::exp(x[axes + 1]),
    })
}

impl<'a> Data<'a> {
    fn of(kinds: &[Kind], rows: &[&[f64]], values: &'a [f64]) -> Self {
        let n = rows.len();
        let mut distances = Vec::with_capacity(n * n / 2 * kinds.len());
        for i in 0..n {
            for j in 0..i {
                let parts = kinds.iter().zip(rows[i].iter().zip(rows[j]));
                distances.extend(parts.map(|(kind, (a, b))| kind.squared_distance(*a, *b)));
            }
        }
        Self {
            values,
            axes: kinds.len(),
            usual_length: SQRT_2 - 2.0 + 0.5 * libm::log(kinds.len().max(1) as f64),
            distances,
        }
    }

    /// Minus the logarithm of the posterior density, constants apart, and its gradient. `x`: the
    /// logarithms of the length scales, of the signal and of the noise.
    fn loss(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let (n, axes) = (self.values.len(), self.axes);
        let weights: Vec<f64> = x[..axes].iter().map(|ln| libm::exp(-2.0 * ln)).collect();
        let (signal, noise) = (libm::exp(x[axes]), libm::exp(x[axes + 1]));
        let mut matrix = vec![0.0; n * n];
        let mut slopes = vec![0.0; n * n];
        let mut pairs = (0..n).flat_map(|i| (0..i).map(move |j| i * n + j));
        for (at, pair) in pairs.by_ref().enumerate() {
            let (value, slope) = matern(dot(&weights, &self.distances[at * axes..][..axes]));
            matrix[pair] = signal * value;
            slopes[pair] = signal * slope;
        }
        for i in 0..n {
            matrix[i * n + i] = signal + noise;
        }
        let covariances = matrix.clone();
        let Some(factor) = Cholesky::of(n, matrix) else {
            return f64::INFINITY;
        };
        let mut alpha = self.values.to_vec();
        factor.solve_lower(&mut alpha);
        let misfit = dot(&alpha, &alpha);
        factor.solve_upper(&mut alpha);
        let mut loss = 0.5 * (misfit + factor.ln_det());

        // The derivative by p is tr((K^-1 - alpha alpha^T) dK/dp) / 2.
        let mut inverse = factor.inverse();
        gradient.fill(0.0);
        let mut at = 0;
        for i in 0..n {
            for j in 0..i {
                let cell = i * n + j;
                let part = inverse[cell] - alpha[i] * alpha[j];
                inverse[cell] = part * slopes[cell];
                gradient[axes] += part * covariances[cell];
                let distances = &self.distances[at * axes..][..axes];
                for (sum, distance) in gradient[..axes].iter_mut().zip(distances) {
                    *sum += inverse[cell] * distance;
                }
                at += 1;
            }
            let own = 0.5 * (inverse[i * n + i] - alpha[i] * alpha[i]);
            gradient[axes] += own * signal;
            gradient[axes + 1] += own * noise;
        }
        for (sum, weight) in gradient[..axes].iter_mut().zip(&weights) {
            *sum *= -2.0 * weight;
        }
        for axis in 0..axes {
            let off = (x[axis] - self.usual_length) / LN_LENGTH_SPREAD;
            loss += 0.5 * off * off;
            gradient[axis] += off / LN_LENGTH_SPREAD;
        }
        // Gamma(2, 1) and Gamma(1.1, 30), as Optuna.
        loss += signal - x[axes];
        gradient[axes] += signal - 1.0;
        loss += 30.0 * noise - 0.1 * x[axes + 1];
        gradient[axes + 1] += 30.0 * noise - 0.1;
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points in three axes, one of them of choices, and a value for each.
    fn trials(n: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
        let unit = |k: usize| (k as f64 * 0.618_033_988_749_894_9).fract();
        let rows = (0..n).map(|i| vec![unit(i), (i % 3) as f64, unit(7 * i + 3)]);
        let rows: Vec<Vec<f64>> = rows.collect();
        let values = rows
            .iter()
            .map(|row| libm::sin(9.0 * row[0]) + 0.3 * row[1] - row[2]);
        let values = values.collect();
        (rows, values)
    }

    const KINDS: [Kind; 3] = [Kind::Number, Kind::Choice, Kind::Number];

    #[test]
    fn the_gradient_is_that_of_differences() {
        let (rows, values) = trials(14);
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        let data = Data::of(&KINDS, &rows, &values);
        let mut gradient = [0.0; 5];
        let at = [-0.7, 0.4, 1.1, 0.3, -3.0];
        data.loss(&at, &mut gradient);
        for part in 0..5 {
            let moved = |by: f64| {
                let mut x = at;
                x[part] += by;
                data.loss(&x, &mut [0.0; 5])
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!(
                (difference - gradient[part]).abs() < 1e-6,
                "{part}: {difference} {gradient:?}"
            );
        }
    }

    #[test]
    fn the_loss_of_one_value_is_the_formula_by_hand() {
        let data = Data::of(&[Kind::Number], &[&[0.3]], &[2.0]);
        // All at the mode of the length scale, signal 1, noise 1/4: y^2 / (2 K) + ln(K) / 2 and the
        // priors.
        let (noise, k) = (0.25, 1.25_f64);
        let loss = data.loss(&[SQRT_2 - 2.0, 0.0, libm::log(noise)], &mut [0.0; 3]);
        let likelihood = 4.0 / (2.0 * k) + 0.5 * libm::log(k);
        let priors = 1.0 + 30.0 * noise - 0.1 * libm::log(noise);
        assert!((loss - likelihood - priors).abs() < 1e-14);
    }

    #[test]
    fn an_axis_that_matters_has_a_shorter_scale_and_noise_is_seen() {
        let (rows, values) = trials(60);
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        let first: Vec<f64> = rows.iter().map(|row| libm::sin(9.0 * row[0])).collect();
        let fitted = kernel(&KINDS, &rows, &first).unwrap();
        assert!(fitted.weights[0] > 4.0 * fitted.weights[2], "{fitted:?}");
        assert!(fitted.noise < 1e-4, "{fitted:?}");
        let hash = |i: usize| (libm::sin(i as f64 * 78.233) * 43_758.545).fract();
        let noisy: Vec<f64> = values
            .iter()
            .enumerate()
            .map(|(i, v)| v + hash(i))
            .collect();
        assert!(kernel(&KINDS, &rows, &noisy).unwrap().noise > 0.01);
    }

    #[test]
    fn equal_points_and_equal_values_are_borne() {
        let row: &[f64] = &[0.5, 1.0, 0.5];
        assert!(kernel(&KINDS, &[row; 30], &[0.0; 30]).is_some());
        let apart: Vec<f64> = (0..30).map(|i| f64::from(i % 2) * 2.0 - 1.0).collect();
        assert!(kernel(&KINDS, &[row; 30], &apart).unwrap().noise > 0.1);
        let nowhere: &[f64] = &[];
        assert!(kernel(&[], &[nowhere; 3], &[1.0, 0.0, -1.0]).is_some());
    }
}
