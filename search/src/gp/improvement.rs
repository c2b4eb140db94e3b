//! The expected improvement, and the probability of any, as logarithms that do not underflow.

use crate::normal::below;

/// ln sqrt(2 pi).
const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

/// From here down the direct formula loses digits, and the continued fraction has all of them.
const TAIL: f64 = -5.0;

/// Terms of the continued fraction: enough for rounding at [`TAIL`].
const TERMS: u32 = 60;

/// `ln h(z)` with `h(z) = phi(z) + z Phi(z)`, and its derivative `Phi(z) / h(z)`.
///
/// `s h((best - m) / s)` is the improvement to be expected below `best` of a normal with mean `m`
/// and deviation `s`. Far below the mean it underflows, and a search by it is blind; its logarithm
/// is not (Ament et al., "Unexpected improvements to expected improvement for Bayesian
/// optimization", NeurIPS 2023). Below -5 by Mills' ratio: with `t = -z` and `c = 1/(t +
/// 2/(t + 3/(t + ...)))`, `Phi(z) = phi(z) / (t + c)` (Laplace), hence `h(z) = phi(z) c / (t + c)`,
/// without cancellation.
pub(super) fn ln_h(z: f64) -> (f64, f64) {
    if z > TAIL {
        let density = libm::exp(-0.5 * z * z - LN_SQRT_2PI);
        let h = density + z * below(z);
        return (libm::log(h), below(z) / h);
    }
    let c = 1.0 / rest_of_fraction(-z);
    (-0.5 * z * z - LN_SQRT_2PI + libm::log(c / (c - z)), 1.0 / c)
}

/// `ln Phi(z)` and its derivative `phi(z) / Phi(z)`; below -5 by the same fraction.
pub(super) fn ln_below(z: f64) -> (f64, f64) {
    let ln_density = -0.5 * z * z - LN_SQRT_2PI;
    if z > TAIL {
        let below = below(z);
        return (libm::log(below), libm::exp(ln_density) / below);
    }
    let inverse_mills = 1.0 / rest_of_fraction(-z) - z;
    (ln_density - libm::log(inverse_mills), inverse_mills)
}

/// `t + 2/(t + 3/(t + ...))`.
fn rest_of_fraction(t: f64) -> f64 {
    (2..TERMS).rev().fold(t, |rest, k| t + f64::from(k) / rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_the_mean_it_is_the_logarithm_of_the_formula() {
        assert!((ln_h(0.0).0 + LN_SQRT_2PI).abs() < 1e-15);
        // phi(1) + Phi(1), from tables.
        assert!(
            (ln_h(1.0).0 - libm::log(0.241_970_724_519_143_37 + 0.841_344_746_068_542_9)).abs()
                < 1e-15
        );
        assert!((ln_h(50.0).0 - libm::log(50.0)).abs() < 1e-15);
    }

    #[test]
    fn both_forms_meet() {
        let step = 1e-9;
        let (above, tail) = (ln_h(TAIL + step), ln_h(TAIL - step));
        assert!(
            (above.0 - tail.0 - 2.0 * step * tail.1).abs() < 1e-11,
            "{above:?} {tail:?}"
        );
        assert!((above.1 / tail.1 - 1.0).abs() < 1e-8);
    }

    #[test]
    fn the_far_tail_is_that_of_its_series() {
        // h(-t) = phi(t) / t^2 (1 - 3/t^2 + 15/t^4 - 105/t^6 + ...).
        for t in [40.0, 1e3, 1e6, 1e10, 1e100] {
            let q = 1.0 / (t * t);
            let series = libm::log1p(-3.0 * q + 15.0 * q * q - 105.0 * q * q * q);
            let expected = -0.5 * t * t - LN_SQRT_2PI - 2.0 * libm::log(t) + series;
            let (got, slope) = ln_h(-t);
            assert!(
                (got - expected).abs() <= 1e-9 + 1e-15 * expected.abs(),
                "{t}: {got} {expected}"
            );
            assert!(slope.is_finite() && slope >= t);
        }
    }

    /// From -25 to 10, by differences.
    fn assert_has_its_derivative(of: fn(f64) -> (f64, f64)) {
        for step in -200..80 {
            let z = f64::from(step) / 8.0 + 0.01;
            let h = 1e-5 * z.abs().max(1.0);
            let difference = (of(z + h).0 - of(z - h).0) / (2.0 * h);
            let slope = of(z).1;
            assert!(
                (difference - slope).abs() < 1e-6 * slope.max(1.0),
                "{z}: {difference} {slope}"
            );
        }
    }

    #[test]
    fn the_derivative_is_that_of_differences() {
        assert_has_its_derivative(ln_h);
    }

    #[test]
    fn the_logarithm_of_the_probability_is_that_of_tables_meets_its_tail_and_has_its_derivative() {
        assert!((ln_below(0.0).0 - libm::log(0.5)).abs() < 1e-15);
        assert!((ln_below(1.0).0 - libm::log(0.841_344_746_068_542_9)).abs() < 1e-15);
        let step = 1e-9;
        let (above, tail) = (ln_below(TAIL + step), ln_below(TAIL - step));
        assert!((above.0 - tail.0 - 2.0 * step * tail.1).abs() < 1e-11);
        assert!((above.1 / tail.1 - 1.0).abs() < 1e-8);
        assert_has_its_derivative(ln_below);
        assert!(ln_below(-1e100).0.is_finite() && ln_below(-1e100).1 >= 1e100);
    }
}
