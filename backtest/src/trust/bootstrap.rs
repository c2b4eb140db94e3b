//! An interval for a Sharpe ratio, from returns that may depend on each other.

use super::NoFigure;
use crate::sum::{mean, sum_of};
use crate::synthetic::Random;

/// The fewest returns that are resampled.
pub const MIN_RETURNS: usize = 20;

/// Where a Sharpe ratio lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end, per row.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Mean length, in rows, of the blocks that were drawn.
    pub block: f64,
}

/// The interval that holds the Sharpe ratio of a stationary process with probability `level`, from
/// one stretch of it: percentiles over `draws` resamples by the stationary bootstrap (blocks that
/// begin anywhere, last a geometrically distributed number of rows and go round the end), so that
/// what neighbouring returns have in common is kept.
///
/// Politis, Romano (1994), "The stationary bootstrap", Journal of the American Statistical
/// Association 89, 1303-1313. The mean length of a block is [`block_length`]'s. The ends are the
/// resamples of rank `(draws - 1) (1 -+ level) / 2`, rounded outwards. A resample without variance
/// has the Sharpe ratio 0.
///
/// ```
/// use trialmill_backtest::trust::bootstrap::sharpe_interval;
/// let returns: Vec<f64> = (0..500_u32).map(|t| f64::from(t * 7919 % 101) - 49.0).collect();
/// let interval = sharpe_interval(&returns, 0.0, 0.95, 1_000, 42)?;
/// assert!(interval.low < interval.high);
/// assert_eq!(interval, sharpe_interval(&returns, 0.0, 0.95, 1_000, 42)?);
/// # Ok::<(), trialmill_backtest::trust::NoFigure>(())
/// ```
///
/// # Errors
/// For fewer than [`MIN_RETURNS`] returns, returns that are all equal, no draws, or a `level` that
/// is not between 0 and 1.
pub fn sharpe_interval(
    returns: &[f64],
    riskless: f64,
    level: f64,
    draws: usize,
    seed: u64,
) -> Result<Interval, NoFigure> {
    let count = returns.len();
    if count < MIN_RETURNS {
        return Err(NoFigure::new(format!(
            "{count} returns; needs {MIN_RETURNS}"
        )));
    }
    if returns.iter().all(|r| *r == returns[0]) {
        return Err(NoFigure::new("the returns do not vary"));
    }
    if draws == 0 || level.is_nan() || level <= 0.0 || level >= 1.0 {
        return Err(NoFigure::new(format!("{draws} draws at level {level}")));
    }
    let block = block_length(returns);
    let mut random = Random::new(seed);
    let mut resample = vec![0.0; count];
    let mut ratios: Vec<f64> = (0..draws)
        .map(|_| {
            let mut row = 0;
            for (place, value) in resample.iter_mut().enumerate() {
                row = if place == 0 || random.uniform() * block < 1.0 {
                    whole(random.uniform() * count as f64)
                } else if row + 1 < count {
                    row + 1
                } else {
                    0
                };
                *value = returns[row];
            }
            sharpe(&resample, riskless)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let last = (draws - 1) as f64;
    Ok(Interval {
        low: ratios[whole((last * (1.0 - level) / 2.0).floor())],
        high: ratios[whole((last * f64::midpoint(1.0, level)).ceil())],
        block,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of rows and draws: not below 0, and far below 2^52"
)]
fn whole(number: f64) -> usize {
    number as usize
}

fn sharpe(returns: &[f64], riskless: f64) -> f64 {
    // Of equal returns rounding would leave a variance.
    if returns.iter().all(|r| *r == returns[0]) {
        return 0.0;
    }
    let centre = mean(returns);
    let squares = sum_of(returns, |r| (r - centre) * (r - centre));
    match squares {
        0.0 => 0.0,
        _ => (centre - riskless) / (squares / (returns.len() as f64 - 1.0)).sqrt(),
    }
}

/// The mean length of a block, in rows, that serves the mean of these returns best: 1 or more, at
/// most `min(3 sqrt(n), n / 3)` of `n`.
///
/// Politis, White (2004), "Automatic block-length selection for the dependent bootstrap",
/// Econometric Reviews 23(1), 53-70, with the correction of Patton, Politis, White (2009),
/// Econometric Reviews 28(4), 372-375: `(G^2 / g^2)^(1/3) n^(1/3)`, where `g` and `G` are the sums of
/// the autocovariances, and of them times their distance, over distances `-m .. m` with flat-top
/// weights; `m` is twice the distance beyond which autocorrelations are noise.
///
/// ```
/// use trialmill_backtest::trust::bootstrap::block_length;
/// use trialmill_backtest::synthetic::Random;
/// let mut random = Random::new(1);
/// let apart: Vec<f64> = (0..400).map(|_| random.normal()).collect();
/// let alike: Vec<f64> = (0..400).map(|t| apart[t / 20]).collect();
/// assert!(block_length(&apart) < block_length(&alike));
/// ```
#[must_use]
pub fn block_length(returns: &[f64]) -> f64 {
    let count = returns.len();
    if count < 2 {
        return 1.0;
    }
    let rows = count as f64;
    let centre = mean(returns);
    let apart: Vec<f64> = returns.iter().map(|r| r - centre).collect();
    let covariance = |distance: usize| {
        crate::sum::sum_of_two(&apart[distance..], &apart[..count - distance], |a, b| a * b) / rows
    };
    let variance = covariance(0);
    if variance == 0.0 {
        return 1.0;
    }
    let longest = (3.0 * rows.sqrt()).min(rows / 3.0).max(1.0).ceil();
    let noise = 2.0 * (libm::log10(rows) / rows).sqrt();
    // So many distances in a row must be noise.
    let quiet = whole(libm::log10(rows).sqrt().ceil()).max(5);
    let most = (whole(rows.sqrt().ceil()) + quiet).min(count - 1);
    let is_noise = |distance: usize| (covariance(distance) / variance).abs() < noise;
    let correlated: Vec<usize> = (1..=most).filter(|d| !is_noise(*d)).collect();
    let first_quiet = (0..=most.saturating_sub(quiet))
        .find(|from| correlated.iter().all(|d| *d <= *from || *d > from + quiet))
        .unwrap_or_else(|| correlated.last().copied().unwrap_or(0));
    let width = (2 * first_quiet.max(1)).min(most);
    let (mut spectrum, mut slope) = (variance, 0.0);
    for distance in 1..=width {
        let share = distance as f64 / width as f64;
        let weight = (2.0 * (1.0 - share)).min(1.0);
        let covariance = covariance(distance);
        spectrum += 2.0 * weight * covariance;
        slope += 2.0 * weight * distance as f64 * covariance;
    }
    let ratio = slope / spectrum;
    let best = libm::cbrt(ratio * ratio * rows);
    if best.is_nan() {
        1.0
    } else {
        best.clamp(1.0, longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An autoregression of order 1: `r[t] = memory r[t-1] + e`, plus a mean.
    fn process(seed: u64, rows: usize, memory: f64, drift: f64) -> Vec<f64> {
        let mut random = Random::new(seed);
        let mut value = 0.0;
        let mut next = || {
            value = memory * value + random.normal();
            value + drift
        };
        (0..100).for_each(|_| _ = next());
        (0..rows).map(|_| next()).collect()
    }

    #[test]
    fn the_longer_the_memory_the_longer_the_blocks() {
        let lengths = [0.0, 0.3, 0.6, 0.9].map(|memory| {
            let of = |seed| block_length(&process(seed, 2_000, memory, 0.0));
            (0..20).map(of).sum::<f64>() / 20.0
        });
        assert!(lengths.is_sorted(), "{lengths:?}");
        assert!(lengths[0] < 4.0 && lengths[3] > 25.0, "{lengths:?}");
        assert_eq!(block_length(&[1.0; 50]), 1.0);
        assert_eq!(block_length(&[]), 1.0);
    }

    /// Computed once more with numpy. arch 8.0.0 (`optimal_block_length`, column `stationary`) gives
    /// the first of them too, and 9.44, 27.40 and 2.98 for the others: it begins to sum at the first
    /// quiet distance, the paper (footnote to section 3.2) at the last that is not.
    #[test]
    fn lengths_are_those_of_another_computation() {
        for (rows, memory, wanted) in [
            (500, 0.0, 1.258_119_083_518_532_3),
            (500, 0.5, 7.553_488_944_711_626),
            (2_000, 0.8, 27.679_293_655_531_954),
            (250, 0.3, 3.067_902_165_438_765),
        ] {
            let (mut state, mut value) = (12_345_u64, 0.0);
            let mut next = || {
                state = (state * 1_103_515_245 + 12_345) % (1 << 31);
                value = memory * value + state as f64 / 2_147_483_648.0 - 0.5;
                value
            };
            let returns: Vec<f64> = (0..rows).map(|_| next()).collect();
            let length = block_length(&returns);
            assert!((length / wanted - 1.0).abs() < 1e-9, "{rows}: {length}");
        }
    }

    /// Of 400 stretches of a process with a known Sharpe ratio, at level 0.9 about 360 intervals
    /// hold it: at least 330 (a chance below 1e-5 for 360 on average).
    #[test]
    fn intervals_hold_the_true_ratio_as_often_as_they_say() {
        let (memory, drift) = (0.3_f64, 0.05);
        let truth = drift * (1.0 - memory * memory).sqrt();
        let holds = |seed| {
            let returns = process(seed, 750, memory, drift);
            let interval = sharpe_interval(&returns, 0.0, 0.9, 400, seed).unwrap();
            interval.low <= truth && truth <= interval.high
        };
        let held = (0..400).filter(|seed| holds(*seed)).count();
        assert!((330..390).contains(&held), "{held} of 400");
    }

    #[test]
    fn memory_widens_the_interval() {
        let width = |memory| {
            let of = |seed| {
                let returns = process(seed, 750, memory, 0.0);
                let interval = sharpe_interval(&returns, 0.0, 0.95, 300, 1).unwrap();
                interval.high - interval.low
            };
            (0..10).map(of).sum::<f64>()
        };
        assert!(width(0.5) > 1.3 * width(0.0));
    }

    #[test]
    fn a_resample_of_equal_returns_counts_as_nothing() {
        let mut returns = [0.1; 20];
        returns[7] = 0.2;
        let interval = sharpe_interval(&returns, 0.0, 0.95, 500, 3).unwrap();
        assert_eq!(interval.low, 0.0, "about a third are all 0.1");
        assert!(interval.high < 10.0, "{interval:?}");
    }

    #[test]
    fn what_cannot_be_resampled_says_why() {
        let reason = |returns: &[f64], level, draws| {
            let none = sharpe_interval(returns, 0.0, level, draws, 1).unwrap_err();
            none.to_string()
        };
        assert_eq!(reason(&[0.1; 19], 0.9, 10), "19 returns; needs 20");
        assert_eq!(reason(&[0.1; 30], 0.9, 10), "the returns do not vary");
        let varied = process(1, 30, 0.0, 0.0);
        assert_eq!(reason(&varied, 0.9, 0), "0 draws at level 0.9");
        assert_eq!(reason(&varied, f64::NAN, 10), "10 draws at level NaN");
        assert!(reason(&varied, 1.0, 10).contains("level 1"));
    }
}
