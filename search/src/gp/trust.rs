//! How far a model can be trusted: whether it foretells the trials it has seen.

use super::cholesky::Cholesky;

/// How much better a model foretells each value from all the others than the normal distribution
/// of all values does: the mean difference of the logarithms of both densities, in nats.
///
/// ln 2 means: as if the others left half of the deviation. 0, or less, means that they tell nothing.
/// The kernel is the same throughout, though the value left out had its part in fitting it.
/// `factor` is that of the covariances, noise included; the values have mean 0 and variance 1, or else this says nothing
/// (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 5.10 to 5.12).
pub(super) fn gain(factor: &Cholesky, values: &[f64]) -> f64 {
    let count = values.len();
    let mut alpha = values.to_vec();
    factor.solve_lower(&mut alpha);
    factor.solve_upper(&mut alpha);
    let inverse = factor.inverse();
    let gains = (0..count).map(|i| {
        let precision = inverse[i * count + i];
        let off = alpha[i] / precision;
        0.5 * (libm::log(precision) - off * off * precision + values[i] * values[i])
    });
    gains.sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gain_of(covariance: f64, values: [f64; 2]) -> f64 {
        let matrix = vec![1.0, 0.0, covariance, 1.0];
        gain(&Cholesky::of(2, matrix).unwrap(), &values)
    }

    #[test]
    fn of_two_values_it_is_the_formula_by_hand() {
        assert!(gain_of(0.0, [1.0, -1.0]).abs() < 1e-15, "nothing in common");
        // Each given the other: mean 0.6 y, variance 1 - 0.36.
        let (variance, y): (f64, f64) = (0.64, 1.3);
        let off = y - 0.6 * y;
        let by_hand = -0.5 * (libm::log(variance) + off * off / variance - y * y);
        assert!((gain_of(0.6, [y, y]) - by_hand).abs() < 1e-14);
        assert!(gain_of(0.6, [1.0, -1.0]) < 0.0, "they contradict it");
    }
}
