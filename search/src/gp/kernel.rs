//! The covariance of two points: Matérn 5/2 with a length scale per axis.

/// What the parameter of an axis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number: a coordinate from 0 to 1.
    Number,
    /// One of several choices without order: the coordinate is the choice's position.
    Choice,
}

/// The coordinate of a parameter that the point does not have.
pub(super) const ABSENT: f64 = -1.0;

impl Kind {
    /// The squared distance of two coordinates.
    ///
    /// Of numbers that of the line. Of choices the Hamming distance: 1 where they differ. An absent
    /// choice is one more choice; an absent number lies half a unit beside the middle of the line.
    /// Each is the distance of a place in a Euclidean space, so that covariances stay positive
    /// definite.
    pub(super) fn squared_distance(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Choice => f64::from(u8::from(a.to_bits() != b.to_bits())),
            Self::Number => {
                let beside = |at: f64| at < 0.0;
                let along = |at: f64| if beside(at) { 0.5 } else { at };
                let apart = along(a) - along(b);
                let across = if beside(a) == beside(b) { 0.0 } else { 0.25 };
                apart * apart + across
            }
        }
    }

    /// Its derivative with respect to `a`; 0 where nothing changes smoothly.
    pub(super) fn slope(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Choice => 0.0,
            Self::Number if a < 0.0 => 0.0,
            Self::Number if b < 0.0 => 2.0 * (a - 0.5),
            Self::Number => 2.0 * (a - b),
        }
    }
}

/// Matérn 5/2 of a squared distance, `(1 + s + s^2 / 3) exp(-s)` with `s = sqrt(5 r2)`, and its
/// derivative with respect to `r2`, `-5/6 (1 + s) exp(-s)` (Rasmussen and Williams, "Gaussian
/// Processes for Machine Learning", 2006, eq. 4.17).
pub(super) fn matern(r2: f64) -> (f64, f64) {
    let s = (5.0 * r2).sqrt();
    let decay = libm::exp(-s);
    (
        (1.0 + s + s * s / 3.0) * decay,
        -5.0 / 6.0 * (1.0 + s) * decay,
    )
}

/// What the covariance depends on, fitted to the trials.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kernel {
    pub(super) kinds: Vec<Kind>,
    /// 1 / length scale^2 of each axis.
    pub(super) weights: Vec<f64>,
    /// The variance of what is modelled.
    pub(super) signal: f64,
    /// The variance of the noise on a value.
    pub(super) noise: f64,
}

impl Kernel {
    /// The squared distance in length scales.
    pub(super) fn squared_distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let axes = self.kinds.iter().zip(&self.weights);
        axes.zip(a.iter().zip(b))
            .map(|((kind, weight), (a, b))| weight * kind.squared_distance(*a, *b))
            .sum()
    }

    /// The covariance of two points, noise apart.
    pub(super) fn covariance(&self, a: &[f64], b: &[f64]) -> f64 {
        self.signal * matern(self.squared_distance(a, b)).0
    }

    /// The lower triangle of the covariances of observed values, row by row: with noise.
    pub(super) fn matrix(&self, points: &[&[f64]]) -> Vec<f64> {
        let n = points.len();
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..i {
                matrix[i * n + j] = self.covariance(points[i], points[j]);
            }
            matrix[i * n + i] = self.signal + self.noise;
        }
        matrix
    }
}

#[cfg(test)]
mod tests {
    use super::super::cholesky::Cholesky;
    use super::*;

    #[test]
    fn values_are_those_of_the_closed_form() {
        assert_eq!(matern(0.0), (1.0, -5.0 / 6.0));
        // At r = 1: (1 + sqrt 5 + 5/3) exp(-sqrt 5).
        assert!(
            (matern(1.0).0 - 0.523_994_108_831_820_3).abs() < 1e-15,
            "{:?}",
            matern(1.0)
        );
        assert!(matern(1e9).0 < 1e-300);
        for r2 in [0.01, 0.3, 1.0, 7.0] {
            let difference = (matern(r2 + 1e-6).0 - matern(r2 - 1e-6).0) / 2e-6;
            assert!((difference - matern(r2).1).abs() < 1e-8);
        }
    }

    #[test]
    fn distances_are_those_of_places_side_by_side() {
        let (number, choice) = (Kind::Number, Kind::Choice);
        assert_eq!(number.squared_distance(0.25, 0.75), 0.25);
        assert_eq!(number.squared_distance(0.5, ABSENT), 0.25);
        assert_eq!(number.squared_distance(ABSENT, 0.0), 0.5);
        assert_eq!(number.squared_distance(ABSENT, ABSENT), 0.0);
        assert_eq!(choice.squared_distance(3.0, 3.0), 0.0);
        assert_eq!(choice.squared_distance(3.0, 4.0), 1.0);
        assert_eq!(choice.squared_distance(ABSENT, 0.0), 1.0);
    }

    #[test]
    fn covariances_of_any_points_are_positive_definite() {
        let unit = |k: usize| (k as f64 * 0.618_033_988_749_894_9).fract();
        let rows: Vec<Vec<f64>> = (0..80)
            .map(|i| {
                let absent = |at: f64| if i % 5 == 0 { ABSENT } else { at };
                vec![
                    unit(i),
                    absent(unit(3 * i)),
                    (i % 4) as f64,
                    absent((i % 3) as f64),
                ]
            })
            .collect();
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        for weight in [1e-4, 0.1, 1.0, 30.0] {
            let kernel = Kernel {
                kinds: vec![Kind::Number, Kind::Number, Kind::Choice, Kind::Choice],
                weights: vec![weight; 4],
                signal: 1.0,
                noise: 1e-8,
            };
            assert!(
                Cholesky::of(rows.len(), kernel.matrix(&rows)).is_some(),
                "{weight}"
            );
        }
    }
}
