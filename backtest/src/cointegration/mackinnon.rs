//! MacKinnon's approximations for the Engle-Granger statistic: two series, with a constant.
//!
//! p-values: J. G. MacKinnon (1994), "Approximate asymptotic distribution functions for unit-root
//! and cointegration tests", Journal of Business & Economic Statistics 12, 167-176; critical
//! values: J. G. MacKinnon (2010), "Critical values for cointegration tests", Queen's Economics
//! Department Working Paper 1227. The coefficients are those that statsmodels uses for `N = 2`,
//! `trend = "c"`, digit by digit, so that its figures are met.

use crate::normal;

/// Up to here `TAIL` gives the p-value, above `BODY`.
const TAIL_ENDS: f64 = -2.62;
/// The lowest statistic that the approximation is for.
const LOWEST: f64 = -18.86;
/// Statistics above have a p-value of 1.
const HIGHEST: f64 = 0.92;
/// Polynomial in the statistic whose normal distribution function is the p-value, lowest power
/// first.
const TAIL: [f64; 3] = [2.92, 1.5012, 0.039_796];
/// The same for larger statistics.
const BODY: [f64; 4] = [2.1945, 0.646_95, -0.291_98, -0.042_377];
/// 1 %, 5 %, 10 %: polynomials in 1 / rows, lowest power first.
const CRITICAL: [[f64; 3]; 3] = [
    [-3.896_44, -10.951_9, -33.527],
    [-3.336_13, -6.110_1, -6.823],
    [-3.044_45, -4.241_2, -2.720],
];

/// The probability of an Engle-Granger statistic at most this one when two random walks have
/// nothing in common; asymptotic.
///
/// In 1e-29 to 1, never 0: below a statistic of -18.86, where the approximation ends, its last
/// value is given (statsmodels gives 0). NaN only for NaN.
///
/// ```
/// let p = trialmill_backtest::cointegration::p_value(-3.34);
/// assert!((p - 0.05).abs() < 0.001);
/// ```
#[must_use]
pub fn p_value(statistic: f64) -> f64 {
    if statistic.is_nan() {
        return statistic;
    }
    if statistic > HIGHEST {
        return 1.0;
    }
    let tau = statistic.max(LOWEST);
    normal::cdf(if tau <= TAIL_ENDS {
        polynomial(&TAIL, tau)
    } else {
        polynomial(&BODY, tau)
    })
}

/// The statistics at which the p-value is 1 %, 5 % and 10 % for a sample of so many rows (one less
/// than the rows of the series).
///
/// # Panics
/// If `rows` is 0.
#[must_use]
pub fn critical_values(rows: usize) -> [f64; 3] {
    assert!(rows > 0, "critical values need at least one row");
    CRITICAL.map(|coefficients| polynomial(&coefficients, 1.0 / rows as f64))
}

fn polynomial(coefficients: &[f64], at: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * at + c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_rise_with_the_statistic_and_stay_within_0_and_1() {
        let mut before = 0.0;
        for step in 0..=4_000 {
            let p = p_value(-30.0 + 0.01 * f64::from(step));
            assert!(p > 0.0 && p <= 1.0 && p >= before - 2e-4, "{step}: {p}");
            before = p;
        }
        assert_eq!(p_value(5.0), 1.0);
        assert_eq!(p_value(f64::INFINITY), 1.0);
        assert!(p_value(f64::NEG_INFINITY) > 0.0 && p_value(f64::NEG_INFINITY) < 1e-28);
        assert!(p_value(f64::NAN).is_nan());
    }

    #[test]
    fn critical_values_have_about_their_p_values_in_large_samples() {
        for (critical, wanted) in critical_values(1_000_000)
            .into_iter()
            .zip([0.01, 0.05, 0.10])
        {
            assert!((p_value(critical) / wanted - 1.0).abs() < 0.03, "{wanted}");
        }
    }
}
