//! Sums of numbers that are known by their logarithms.

use std::f64::consts::LN_2;

/// Terms this far below one that is there are nothing: 2,001 of them, as many as there are kernels, are
/// less than half a unit in the last place of the sum.
pub(super) const NEGLIGIBLE: f64 = -64.0 * LN_2;

/// ln(exp(t_1) + exp(t_2) + ...).
pub(super) fn ln_sum(terms: &[f64]) -> f64 {
    let larger = |a: f64, b: &f64| if *b > a { *b } else { a };
    let largest = terms.iter().fold(f64::NEG_INFINITY, larger);
    let mut sum = 0.0;
    for term in terms {
        let below = term - largest;
        if below > NEGLIGIBLE {
            sum += libm::exp(below);
        }
    }
    largest + libm::log(sum)
}
