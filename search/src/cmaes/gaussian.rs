//! The normal distribution of the numbers, and how a generation of trials changes it.

use super::cholesky::{Cholesky, dot};
use super::constants::Constants;

/// A normal distribution with the memory that CMA-ES keeps of its own movement.
///
/// A draw is `mean + sigma * stretch * y` with `y` of covariance `covariance`. The stretch is 1 for
/// each coordinate but those that a margin has widened ([`Margins`](super::margin::Margins)).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gaussian {
    pub(super) mean: Vec<f64>,
    pub(super) sigma: f64,
    pub(super) stretch: Vec<f64>,
    /// Row by row; only the lower triangle is kept up to date.
    covariance: Vec<f64>,
    root: Cholesky,
    /// Evolution path of the step size, in coordinates in which the covariance is the unit matrix.
    path_sigma: Vec<f64>,
    /// Evolution path of the covariances.
    path_c: Vec<f64>,
    generations: i32,
}

/// The largest standard deviation of a coordinate, as a part of its range: a wider distribution
/// puts more draws outside than inside, and on a plateau nothing else would hold it.
const WIDEST: f64 = 1.0 / 3.0;

/// The most that the logarithm of the step size grows in one generation (Hansen, arXiv 1110.4181).
const LONGEST_GROWTH: f64 = 1.0;

impl Gaussian {
    /// Independent coordinates of one standard deviation.
    pub(super) fn new(mean: Vec<f64>, sigma: f64) -> Self {
        let size = mean.len();
        let mut covariance = vec![0.0; size * size];
        for at in 0..size {
            covariance[at * size + at] = 1.0;
        }
        Self {
            mean,
            sigma,
            stretch: vec![1.0; size],
            covariance,
            root: Cholesky::unit(size),
            path_sigma: vec![0.0; size],
            path_c: vec![0.0; size],
            generations: 0,
        }
    }

    /// The draw that a standard normal vector becomes.
    pub(super) fn draw(&self, z: &[f64]) -> Vec<f64> {
        let mut drawn = self.root.colour(z);
        for ((y, mean), stretch) in drawn.iter_mut().zip(&self.mean).zip(&self.stretch) {
            *y = mean + self.sigma * stretch * *y;
        }
        drawn
    }

    /// The standard deviation of a coordinate before it is stretched.
    pub(super) fn narrow_deviation(&self, at: usize) -> f64 {
        self.sigma * self.covariance[at * self.mean.len() + at].sqrt()
    }

    /// The standard deviation of a coordinate.
    pub(super) fn deviation(&self, at: usize) -> f64 {
        self.narrow_deviation(at) * self.stretch[at]
    }

    /// Moves towards the better of these draws, given best first, one row of coordinates each.
    ///
    /// Equations 41 to 47 of Hansen's tutorial (arXiv 1604.00772), with two changes:
    /// - `L^-1` of `C = L L'` for `C^-1/2` in the path of the step size, which needs no
    ///   eigenvectors (Krause, Arbones and Igel, "CMA-ES with optimal covariance update and
    ///   storage complexity", NIPS 2016);
    /// - no step is longer than [`longest_step`](Constants::longest_step), since a draw may come
    ///   from elsewhere or from a distribution of long ago (Hansen, arXiv 1110.4181).
    ///
    /// `false` if no distribution is left: the covariances have degenerated.
    pub(super) fn update(&mut self, constants: &Constants, draws: &[Vec<f64>]) -> bool {
        let size = self.mean.len();
        let c = constants;
        self.generations = self.generations.saturating_add(1);

        let (mut step, mut white_step) = (vec![0.0; size], vec![0.0; size]);
        let mut outer: Vec<(f64, Vec<f64>)> = Vec::with_capacity(draws.len());
        for (rank, (draw, weight)) in draws.iter().zip(&c.weights).enumerate() {
            let places = draw.iter().zip(&self.mean).zip(&self.stretch);
            let mut y: Vec<f64> = places
                .map(|((draw, mean), stretch)| (draw - mean) / (stretch * self.sigma))
                .collect();
            let mut white = self.root.whiten(&y);
            let mut length = dot(&white, &white).sqrt();
            if length > c.longest_step {
                let shorter = c.longest_step / length;
                y.iter_mut().for_each(|y| *y *= shorter);
                white.iter_mut().for_each(|z| *z *= shorter);
                length = c.longest_step;
            }
            if rank < c.mu {
                add(&mut step, *weight, &y);
                add(&mut white_step, *weight, &white);
            }
            let weight = if *weight >= 0.0 {
                *weight
            } else {
                weight * size as f64 / (length * length + 1e-8)
            };
            outer.push((weight, y));
        }

        add(&mut self.mean, self.sigma, &step);
        let forget = 1.0 - c.c_sigma;
        let gain = (c.c_sigma * (2.0 - c.c_sigma) * c.mu_eff).sqrt();
        blend(&mut self.path_sigma, forget, gain, &white_step);
        let length = dot(&self.path_sigma, &self.path_sigma).sqrt();
        let growth = c.c_sigma / c.d_sigma * (length / c.chi_n - 1.0);
        self.sigma *= libm::exp(growth.min(LONGEST_GROWTH));

        let settled = 1.0 - power(forget, 2 * (self.generations + 1));
        let steady = length / settled.sqrt() < (1.4 + 2.0 / (size as f64 + 1.0)) * c.chi_n;
        let gain = if steady {
            (c.c_c * (2.0 - c.c_c) * c.mu_eff).sqrt()
        } else {
            0.0
        };
        blend(&mut self.path_c, 1.0 - c.c_c, gain, &step);
        let lost = if steady { 0.0 } else { c.c_c * (2.0 - c.c_c) };
        let keep = 1.0 + c.c_1 * lost - c.c_1 - c.c_mu * c.weights.iter().sum::<f64>();
        for row in 0..size {
            let of = &mut self.covariance[row * size..][..=row];
            of.iter_mut().for_each(|element| *element *= keep);
            add(of, c.c_1 * self.path_c[row], &self.path_c[..=row]);
            for (weight, y) in &outer {
                add(of, c.c_mu * weight * y[row], &y[..=row]);
            }
        }
        let Some(root) = Cholesky::of(&self.covariance, size) else {
            return false;
        };
        self.root = root;
        let widest = (0..size)
            .map(|at| self.narrow_deviation(at))
            .fold(0.0, f64::max);
        if widest > WIDEST {
            self.sigma *= WIDEST / widest;
        }
        self.sigma.is_finite() && self.sigma > 0.0 && self.mean.iter().all(|m| m.is_finite())
    }
}

/// `to += factor * by`.
fn add(to: &mut [f64], factor: f64, by: &[f64]) {
    for (to, by) in to.iter_mut().zip(by) {
        *to += factor * by;
    }
}

/// `to = keep * to + factor * by`.
fn blend(to: &mut [f64], keep: f64, factor: f64, by: &[f64]) {
    for (to, by) in to.iter_mut().zip(by) {
        *to = keep * *to + factor * by;
    }
}

fn power(base: f64, exponent: i32) -> f64 {
    libm::pow(base, f64::from(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
        }
    }

    #[test]
    fn an_update_is_that_of_another_program() {
        // Of `cmaes.CMA` 0.13.1 (Python). A single step does not depend on which root is taken of C.
        let covariance = vec![1.0, 0.3, -0.2, 0.3, 0.8, 0.1, -0.2, 0.1, 1.5];
        let mut gaussian = Gaussian::new(vec![0.4, 0.5, 0.6], 0.2);
        gaussian.root = Cholesky::of(&covariance, 3).unwrap();
        gaussian.covariance = covariance;
        gaussian.path_c = vec![0.2, -0.1, 0.3];
        let draws = [
            [0.55, 0.42, 0.70],
            [0.31, 0.61, 0.52],
            [0.47, 0.40, 0.35],
            [0.28, 0.58, 0.81],
            [0.52, 0.66, 0.60],
            [0.20, 0.35, 0.66],
            [0.61, 0.71, 0.40],
        ];
        let constants = Constants::new(3, 7);
        assert!(gaussian.update(&constants, &draws.map(Vec::from)));
        let mean = [0.47, 0.473_205_638_313_720_64, 0.604_755_621_331_747_8];
        close(&gaussian.mean, &mean);
        close(&[gaussian.sigma], &[0.165_594_717_242_595_3]);
        let path = [
            0.559_883_557_475_981_3,
            -0.224_654_084_214_144_26,
            0.164_401_880_579_096_97,
        ];
        close(&gaussian.path_c, &path);
        let c = &gaussian.covariance;
        let lower = [c[0], c[3], c[4], c[6], c[7], c[8]];
        let expected = [
            0.830_791_749_107_408,
            0.090_169_551_406_608_34,
            0.621_244_297_602_083_8,
            -0.077_909_329_526_954_7,
            0.176_674_168_971_116_54,
            1.400_956_352_304_514_5,
        ];
        close(&lower, &expected);
    }

    #[test]
    fn a_draw_from_far_away_moves_the_mean_no_further_than_a_plausible_one() {
        let constants = Constants::new(2, 4);
        let mut gaussian = Gaussian::new(vec![0.5, 0.5], 0.01);
        let draws = vec![vec![1e6, 0.5]; 4];
        assert!(gaussian.update(&constants, &draws));
        let longest = 0.01 * constants.longest_step;
        assert!((gaussian.mean[0] - 0.5 - longest).abs() < 1e-12);
        assert!(gaussian.sigma <= 0.01 * std::f64::consts::E);
    }

    #[test]
    fn the_distribution_never_grows_wider_than_a_third_of_a_range() {
        let constants = Constants::new(2, 6);
        let mut gaussian = Gaussian::new(vec![0.5, 0.5], 0.3);
        for _ in 0..50 {
            let far = gaussian.mean[0] + 10.0;
            let draws: Vec<Vec<f64>> = (0..6).map(|k| vec![far - f64::from(k), 0.5]).collect();
            assert!(gaussian.update(&constants, &draws));
            let widest = gaussian.deviation(0).max(gaussian.deviation(1));
            assert!(widest <= WIDEST * (1.0 + 1e-12), "{widest}");
        }
    }
}
