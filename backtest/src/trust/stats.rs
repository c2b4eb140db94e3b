//! What a trial keeps of its returns.

use crate::engine::Report;
use crate::metrics::returns;
use crate::sum::{mean, sum_of};
use std::ops::Range;
use thiserror::Error;

/// Blocks of consecutive returns that a trial keeps the sums of.
pub const BLOCKS: usize = 16;

/// The fewest returns that are cut into blocks: two in each.
pub const MIN_RETURNS: usize = 2 * BLOCKS;

/// Bytes of [`TrialStats::to_bytes`].
pub const PACKED_BYTES: usize = 4 + 8 * (3 + 2 * BLOCKS);

/// The shape of a distribution of returns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Mean of the returns less the riskless one, by their standard deviation (divisor: one less
    /// than the count); per row. Times the root of `periods_per_year` it is the metric
    /// `sharpe_ratio`.
    pub sharpe: f64,
    /// Third central moment by the second to the power of 1.5 (divisor: the count). 0 for a normal
    /// distribution.
    pub skew: f64,
    /// Fourth central moment by the square of the second (divisor: the count). 3 for a normal
    /// distribution.
    pub kurtosis: f64,
}

/// What one backtest keeps for the trust figures: moments, and for each of [`BLOCKS`] stretches the
/// sum of the excess returns and of their squares.
///
/// Block `b` of `n` returns has those from `b n / BLOCKS` (rounded down) up to, without it,
/// `(b + 1) n / BLOCKS`. The excess return of a row is its return less the riskless one.
///
/// ```
/// use trialmill_backtest::trust::TrialStats;
/// let returns: Vec<f64> = (0..500).map(|t| 0.001 * f64::from(t % 7 - 2)).collect();
/// let stats = TrialStats::of_returns(&returns, 0.0).expect("500 are enough");
/// assert_eq!(TrialStats::from_bytes(&stats.to_bytes())?, stats);
/// assert!(stats.moments.is_some_and(|moments| moments.sharpe > 0.0));
/// # Ok::<(), trialmill_backtest::trust::StatsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TrialStats {
    /// Nothing where all returns are equal, as for a book that never traded.
    pub moments: Option<Moments>,
    /// Number of returns, at least [`MIN_RETURNS`].
    pub returns: u32,
    /// Sums of the excess returns of each block.
    pub sums: [f64; BLOCKS],
    /// Sums of their squares.
    pub squares: [f64; BLOCKS],
}

/// Bytes that are no statistics.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StatsError {
    /// Another length.
    #[error("statistics of a trial are {PACKED_BYTES} bytes, these are {0}")]
    Length(usize),
    /// Fewer returns than blocks need.
    #[error("statistics of a trial rest on at least {MIN_RETURNS} returns, these on {0}")]
    Returns(u32),
}

impl TrialStats {
    /// Of a report. Nothing for fewer than [`MIN_RETURNS`] returns. A book that was lost has a return of -1,
    /// and 0 from then on.
    #[must_use]
    pub fn of(report: &Report) -> Option<Self> {
        let riskless = report.risk_free_rate / report.periods_per_year;
        Self::of_returns(&returns(report), riskless)
    }

    /// Of returns, one a row, and the riskless return of a row. Nothing for fewer than
    /// [`MIN_RETURNS`], for 2^32 or more, and where one is not a number.
    #[must_use]
    pub fn of_returns(returns: &[f64], riskless: f64) -> Option<Self> {
        let count = u32::try_from(returns.len()).ok()?;
        if returns.len() < MIN_RETURNS {
            return None;
        }
        let mut sums = [0.0; BLOCKS];
        let mut squares = [0.0; BLOCKS];
        for (block, range) in blocks(returns.len()).enumerate() {
            let rows = &returns[range];
            sums[block] = sum_of(rows, |r| r - riskless);
            squares[block] = sum_of(rows, |r| (r - riskless) * (r - riskless));
        }
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        (finite(&sums) && finite(&squares)).then(|| Self {
            moments: moments(returns, riskless),
            returns: count,
            sums,
            squares,
        })
    }

    /// How many returns a block has.
    ///
    /// # Panics
    /// If there is no block of that number.
    #[must_use]
    pub fn returns_in(&self, block: usize) -> usize {
        let range = blocks(self.returns as usize).nth(block);
        range.expect("a number below BLOCKS").len()
    }

    /// The bytes of the store's column `stats`, little endian: the count (four bytes), Sharpe, skew,
    /// kurtosis (NaN where there are none), the sums, the sums of squares.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let moments = self.moments.map_or([f64::NAN; 3], |m| {
            let Moments {
                sharpe,
                skew,
                kurtosis,
            } = m;
            [sharpe, skew, kurtosis]
        });
        let figures = moments.iter().chain(&self.sums).chain(&self.squares);
        let mut bytes = Vec::with_capacity(PACKED_BYTES);
        bytes.extend_from_slice(&self.returns.to_le_bytes());
        bytes.extend(figures.flat_map(|figure| figure.to_le_bytes()));
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// When that did not write it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatsError> {
        let (count, figures) = bytes
            .split_first_chunk::<4>()
            .filter(|_| bytes.len() == PACKED_BYTES)
            .ok_or(StatsError::Length(bytes.len()))?;
        let returns = u32::from_le_bytes(*count);
        if (returns as usize) < MIN_RETURNS {
            return Err(StatsError::Returns(returns));
        }
        let mut figures = figures.as_chunks::<8>().0.iter().copied();
        let mut next = || figures.next().map_or(f64::NAN, f64::from_le_bytes);
        let [sharpe, skew, kurtosis] = [next(), next(), next()];
        let moments = (!sharpe.is_nan()).then_some(Moments {
            sharpe,
            skew,
            kurtosis,
        });
        Ok(Self {
            moments,
            returns,
            sums: std::array::from_fn(|_| next()),
            squares: std::array::from_fn(|_| next()),
        })
    }
}

/// The rows of each block.
fn blocks(returns: usize) -> impl Iterator<Item = Range<usize>> {
    (0..BLOCKS).map(move |b| b * returns / BLOCKS..(b + 1) * returns / BLOCKS)
}

fn moments(returns: &[f64], riskless: f64) -> Option<Moments> {
    let first = returns[0];
    if returns.iter().all(|r| *r == first) {
        return None;
    }
    let count = returns.len() as f64;
    let centre = mean(returns);
    let power = |term: fn(f64) -> f64| sum_of(returns, |r| term(r - centre));
    let second = power(|d| d * d);
    let variance = second / count;
    if variance * variance == 0.0 {
        // Returns that differ by less than their squares can tell.
        return None;
    }
    Some(Moments {
        sharpe: (centre - riskless) / (second / (count - 1.0)).sqrt(),
        skew: power(|d| d * d * d) / count / (variance * variance.sqrt()),
        kurtosis: power(|d| (d * d) * (d * d)) / count / (variance * variance),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_return_is_in_one_block_and_blocks_differ_by_one_at_most() {
        for count in MIN_RETURNS..200 {
            let mut next = 0;
            for range in blocks(count) {
                assert_eq!(range.start, next);
                let fair = count / BLOCKS;
                assert!((fair..=fair + 1).contains(&range.len()), "{count}");
                next = range.end;
            }
            assert_eq!(next, count);
        }
    }

    #[test]
    fn the_moments_are_those_worked_out_by_hand() {
        // 8 of 3, 24 of -1: mean 0, squares 8 x 9 + 24 = 96, cubes 8 x 27 - 24 = 192, fourth powers
        // 8 x 81 + 24 = 672. Second moment 3, third 6, fourth 21.
        let returns: Vec<f64> = (0..32).map(|t| [3.0, -1.0, -1.0, -1.0][t % 4]).collect();
        let stats = TrialStats::of_returns(&returns, -0.5).unwrap();
        let moments = stats.moments.unwrap();
        assert_eq!(moments.sharpe, 0.5 / (96.0_f64 / 31.0).sqrt());
        assert!((moments.skew - 6.0 / 3.0_f64.powf(1.5)).abs() < 1e-15);
        assert!((moments.kurtosis - 21.0 / 9.0).abs() < 1e-15);
        // Blocks of two rows, with the riskless return taken off: 3.5 - 0.5, and -0.5 - 0.5.
        assert_eq!(stats.sums[..2], [3.0, -1.0]);
        assert_eq!(stats.squares[..2], [12.5, 0.5]);
        assert_eq!(stats.returns_in(15), 2);
    }

    #[test]
    fn a_book_that_never_traded_has_sums_and_no_moments() {
        let stats = TrialStats::of_returns(&[0.0; 40], 0.0).unwrap();
        assert_eq!(stats.moments, None);
        assert_eq!(stats.sums, [0.0; BLOCKS]);
        assert_eq!(TrialStats::from_bytes(&stats.to_bytes()), Ok(stats));
    }

    #[test]
    fn too_few_returns_and_what_is_no_number_give_nothing() {
        assert_eq!(TrialStats::of_returns(&[0.1; MIN_RETURNS - 1], 0.0), None);
        let mut returns = [0.1; 40];
        returns[7] = f64::NAN;
        assert_eq!(TrialStats::of_returns(&returns, 0.0), None);
        returns[7] = 1e200;
        assert_eq!(TrialStats::of_returns(&returns, 0.0), None, "its square");
    }

    #[test]
    fn bytes_of_another_length_or_of_too_few_returns_are_refused() {
        let bytes = TrialStats::of_returns(&[0.1; 40], 0.0).unwrap().to_bytes();
        assert_eq!(bytes.len(), PACKED_BYTES);
        let short = TrialStats::from_bytes(&bytes[1..]);
        assert_eq!(short, Err(StatsError::Length(PACKED_BYTES - 1)));
        assert_eq!(TrialStats::from_bytes(&[]), Err(StatsError::Length(0)));
        let mut few = bytes;
        few[..4].copy_from_slice(&31_u32.to_le_bytes());
        assert_eq!(TrialStats::from_bytes(&few), Err(StatsError::Returns(31)));
    }
}
