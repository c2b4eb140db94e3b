//! The probability that a Sharpe ratio is more than luck.

use super::{Moments, NoFigure};
use crate::normal;
use std::f64::consts::E;

/// The Euler-Mascheroni constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// The fewest trials whose Sharpe ratios have a variance to speak of.
pub const MIN_SPREAD_TRIALS: usize = 30;

/// The probability that the true Sharpe ratio is above `bar`, both per row: the probabilistic Sharpe
/// ratio
///
/// `Phi((s - bar) sqrt(n - 1) / sqrt(1 - skew s + (kurtosis - 1) / 4 s^2))`
///
/// of `n` returns. Bailey, Lopez de Prado (2012), "The Sharpe ratio efficient frontier", Journal of
/// Risk 15(2), equation (11). It knows that skewed and heavy-tailed returns make a Sharpe ratio less
/// certain; it takes returns to be independent.
///
/// ```
/// use trialmill_backtest::trust::{Moments, sharpe::probabilistic};
/// // The paper's example: 24 months.
/// let months = Moments { sharpe: 0.458, skew: -2.448, kurtosis: 10.164 };
/// assert!((probabilistic(&months, 24, 0.0)? - 0.913).abs() < 5e-4);
/// # Ok::<(), trialmill_backtest::trust::NoFigure>(())
/// ```
///
/// # Errors
/// With fewer than two returns, or where the variance in the formula is not above 0, which moments
/// of real samples hardly reach.
pub fn probabilistic(moments: &Moments, returns: u32, bar: f64) -> Result<f64, NoFigure> {
    let Moments {
        sharpe,
        skew,
        kurtosis,
    } = *moments;
    if returns < 2 {
        return Err(NoFigure::new(format!("{returns} returns; needs 2")));
    }
    let variance = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe;
    if variance.is_nan() || variance <= 0.0 {
        return Err(NoFigure::new(
            "the returns are too skewed for the variance of their Sharpe ratio",
        ));
    }
    let root = f64::from(returns - 1).sqrt();
    Ok(normal::cdf((sharpe - bar) * root / variance.sqrt()))
}

/// The Sharpe ratio that the best of `trials` independent ones without any skill is expected to
/// have, if their Sharpe ratios vary by `variance`:
///
/// `sqrt(variance) ((1 - g) Phi^-1(1 - 1 / trials) + g Phi^-1(1 - 1 / (trials e)))`
///
/// with the Euler-Mascheroni constant `g`. 0 for one trial. Bailey, Lopez de Prado (2014), "The
/// deflated Sharpe ratio", Journal of Portfolio Management 40(5), equation (1).
///
/// ```
/// use trialmill_backtest::trust::sharpe::expected_best;
/// // The paper's example: 100 trials, annualized variance 1/2, 250 days a year.
/// assert!((expected_best(0.5 / 250.0, 100.0) - 0.1132).abs() < 5e-5);
/// ```
#[must_use]
pub fn expected_best(variance: f64, trials: f64) -> f64 {
    if trials <= 1.0 {
        return 0.0;
    }
    let best = (1.0 - EULER) * normal::quantile(1.0 - 1.0 / trials)
        + EULER * normal::quantile(1.0 - 1.0 / (trials * E));
    // Just above one trial the expression is below 0, and luck takes nothing away.
    variance.sqrt() * best.max(0.0)
}

/// The variance (divisor: one less than the count) of Sharpe ratios of trials that chance chose, not
/// a search that follows its finds: those of an adaptive search crowd where the past was good, and
/// their variance says little about luck.
///
/// # Errors
/// For fewer than [`MIN_SPREAD_TRIALS`].
pub fn spread(sharpe_ratios: &[f64]) -> Result<f64, NoFigure> {
    let count = sharpe_ratios.len();
    if count < MIN_SPREAD_TRIALS {
        return Err(NoFigure::new(format!(
            "{count} trials that were drawn by chance; needs {MIN_SPREAD_TRIALS}"
        )));
    }
    let centre = crate::sum::mean(sharpe_ratios);
    let squares = crate::sum::sum_of(sharpe_ratios, |s| (s - centre) * (s - centre));
    Ok(squares / (count as f64 - 1.0))
}

/// The part of a [`spread`] that luck can account for: all of it, but no more than the variance that
/// the Sharpe ratio of one trial without skill has over `returns` returns,
///
/// `1 / (returns - 1)`.
///
/// Trials without skill over the same rows differ by their luck alone, which makes each vary by that,
/// and by less where they move together (Lo 2002, "The statistics of Sharpe ratios", Financial
/// Analysts Journal 58(4), equation (9) at a ratio of 0). What differs by more differs by what the
/// parameters are worth; to count that as luck too would deny an edge the more, the more it depends
/// on the parameters. The bound cannot be too low: the best of independent trials is expected higher
/// than the best of as many that move together.
///
/// ```
/// use trialmill_backtest::trust::sharpe::luck_variance;
/// assert_eq!(luck_variance(0.000_1, 2_501), 0.000_1);
/// assert_eq!(luck_variance(0.001, 2_501), 0.000_4);
/// ```
#[must_use]
pub fn luck_variance(spread: f64, returns: u32) -> f64 {
    spread.min(1.0 / (f64::from(returns) - 1.0).max(1.0))
}

/// The probability that the true Sharpe ratio of the best of `trials` is above what luck gives the
/// best of so many: [`probabilistic`] with [`expected_best`] as its bar.
///
/// ```
/// use trialmill_backtest::trust::{Moments, sharpe::deflated};
/// // The paper's example: five years of 250 days, annualized Sharpe ratio 2.5.
/// let best = Moments { sharpe: 2.5 / 250_f64.sqrt(), skew: -3.0, kurtosis: 10.0 };
/// assert!((deflated(&best, 1250, 0.5 / 250.0, 100.0)? - 0.9004).abs() < 5e-5);
/// assert!((deflated(&best, 1250, 0.5 / 250.0, 46.0)? - 0.9505).abs() < 5e-5);
/// # Ok::<(), trialmill_backtest::trust::NoFigure>(())
/// ```
///
/// # Errors
/// As [`probabilistic`].
pub fn deflated(best: &Moments, returns: u32, variance: f64, trials: f64) -> Result<f64, NoFigure> {
    probabilistic(best, returns, expected_best(variance, trials))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal_returns(sharpe: f64) -> Moments {
        Moments {
            sharpe,
            skew: 0.0,
            kurtosis: 3.0,
        }
    }

    /// Bailey, Lopez de Prado (2012), section 3.1: with normal returns 0.982, with their own 0.913.
    /// (2014), figure 1 and text: with normal returns 88 trials give what 46 give with skew -3 and
    /// kurtosis 10.
    #[test]
    fn the_published_examples_come_out() {
        let p = probabilistic(&normal_returns(0.458), 24, 0.0).unwrap();
        assert!((p - 0.982).abs() < 5e-4, "{p}");
        let best = normal_returns(2.5 / 250_f64.sqrt());
        let p = deflated(&best, 1250, 0.5 / 250.0, 88.0).unwrap();
        assert!((p - 0.9505).abs() < 5e-5, "{p}");
    }

    #[test]
    fn more_trials_raise_the_bar_and_one_has_none() {
        assert_eq!(expected_best(1.0, 1.0), 0.0);
        let bars = [1.5, 2.0, 10.0, 1e3, 1e6, 1e12].map(|n| expected_best(0.01, n));
        assert!(bars.is_sorted(), "{bars:?}");
        assert!(bars[0] >= 0.0);
        // About sqrt(2 ln n) standard deviations.
        assert!((bars[4] / 0.1 - 4.9).abs() < 0.1, "{bars:?}");
    }

    #[test]
    fn what_has_no_value_says_why() {
        let reason = probabilistic(&normal_returns(0.1), 1, 0.0).unwrap_err();
        assert_eq!(reason.to_string(), "1 returns; needs 2");
        let skewed = Moments {
            sharpe: 1.0,
            skew: 3.0,
            kurtosis: 1.0,
        };
        assert!(probabilistic(&skewed, 100, 0.0).is_err());
        let few = spread(&[0.1; 29]).unwrap_err();
        let wanted = "29 trials that were drawn by chance; needs 30";
        assert_eq!(few.to_string(), wanted);
        assert_eq!(spread(&[0.1; 30]), Ok(0.0));
    }
}
