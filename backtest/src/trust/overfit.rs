//! The probability of backtest overfitting: how often the best of one half of the rows is below the
//! median on the other half.
//!
//! Combinatorially symmetric cross-validation, over Sharpe ratios: the rows are cut into
//! [`BLOCKS`] blocks of consecutive returns; each of the `C(16, 8) = 12,870` ways to take eight of
//! them for the past makes the other eight the future; the trial with the best Sharpe ratio of the
//! past has a rank in the future. Bailey, Borwein, Lopez de Prado, Zhu (2017), "The probability of
//! backtest overfitting", Journal of Computational Finance 20(4), 39-69, section 2.
//!
//! Sums and sums of squares of each block say the Sharpe ratio of every half exactly; no return is
//! needed. What the figure cannot know is that an adaptive search never tried the parameters that
//! the other half would have led it to: it is optimistic for such searches.

use super::{BLOCKS, NoFigure, TrialStats};

/// The fewest trials that a rank among them says something of.
pub const MIN_TRIALS: usize = 20;

/// The most trials that are ranked: of more, a sample that [`probability`] tells.
pub const MAX_TRIALS: usize = 1_000;

/// How often the best past was a poor future.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overfitting {
    /// The share of the splits in which the best trial of the past is below the middle of the future:
    /// more trials above it than below. As many above as below counts half. 0.5 where choosing by the past is no better than
    /// chance, near 1 where it is worse.
    pub probability: f64,
    /// The share of the splits in which the best trial of the past has a Sharpe ratio below 0 in the
    /// future.
    pub loss_probability: f64,
    /// Splits looked at.
    pub splits: usize,
    /// Trials that were ranked.
    pub trials_used: usize,
    /// Whether they are a sample of those that moved.
    pub sampled: bool,
}

/// The probability of backtest overfitting of trials over the same rows.
///
/// Trials whose returns are all equal, such as those that never traded, are left out. Of more than
/// [`MAX_TRIALS`] a sample is ranked, stratified by Sharpe ratio: in descending order, the best, the
/// worst and as many evenly spaced between them. Among equals the first of `trials` is the best. A
/// half in which a trial does not move has the Sharpe ratio 0. Ratios are
/// rounded to a multiple of 2^-33 (1.2e-10), so that nearly all that differ by rounding are equal.
///
/// ```
/// use trialmill_backtest::trust::{TrialStats, overfit::probability};
/// // Trial `k` gains `k` in every row, and all swing in the same way: the best stays the best.
/// let trial = |k: u32| {
///     let returns: Vec<f64> =
///         (0..160).map(|t| 1e-4 * f64::from(k) + if t % 2 == 0 { 0.01 } else { -0.01 }).collect();
///     TrialStats::of_returns(&returns, 0.0).expect("160 returns are enough")
/// };
/// let trials: Vec<TrialStats> = (0..30).map(trial).collect();
/// let found = probability(&trials)?;
/// assert_eq!((found.probability, found.splits), (0.0, 12_870));
/// # Ok::<(), trialmill_backtest::trust::NoFigure>(())
/// ```
///
/// # Errors
/// For fewer than [`MIN_TRIALS`] trials that moved, or trials over different numbers of rows.
pub fn probability(trials: &[TrialStats]) -> Result<Overfitting, NoFigure> {
    let mut moved: Vec<(&TrialStats, f64)> = trials
        .iter()
        .filter_map(|trial| Some((trial, trial.moments?.sharpe)))
        .collect();
    if moved.len() < MIN_TRIALS {
        return Err(NoFigure::new(format!(
            "{} trials; needs {MIN_TRIALS}",
            moved.len()
        )));
    }
    if let Some((other, _)) = moved.iter().find(|(t, _)| t.returns != moved[0].0.returns) {
        return Err(NoFigure::new(format!(
            "trials over {} and {} rows cannot be ranked together",
            moved[0].0.returns, other.returns
        )));
    }
    let sampled = moved.len() > MAX_TRIALS;
    if sampled {
        moved.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let last = moved.len() - 1;
        let evenly = (0..MAX_TRIALS).map(|i| moved[i * last / (MAX_TRIALS - 1)]);
        moved = evenly.collect();
    }
    let lengths: Vec<usize> = (0..BLOCKS).map(|b| moved[0].0.returns_in(b)).collect();
    let column = |of: fn(&TrialStats) -> &[f64; BLOCKS]| -> Vec<Vec<f64>> {
        (0..BLOCKS)
            .map(|block| moved.iter().map(|(trial, _)| of(trial)[block]).collect())
            .collect()
    };
    let (sums, squares) = (column(|t| &t.sums), column(|t| &t.squares));
    Ok(Overfitting {
        sampled,
        ..cross_validate(&lengths, &sums, &squares)
    })
}

/// The same for any even number of blocks up to 16: `sums[block][trial]`.
fn cross_validate(lengths: &[usize], sums: &[Vec<f64>], squares: &[Vec<f64>]) -> Overfitting {
    let blocks = lengths.len();
    debug_assert!(blocks.is_multiple_of(2) && (2..=BLOCKS).contains(&blocks));
    let (sums, squares) = (Halves::new(sums), Halves::new(squares));
    let trials = sums.trials;
    let all: u32 = (1 << blocks) - 1;
    let rows = |mask: u32| -> f64 {
        let taken = lengths.iter().enumerate();
        let taken = taken.filter(|(block, _)| mask >> block & 1 == 1);
        taken.map(|(_, length)| *length).sum::<usize>() as f64
    };
    let scores = |mask: u32, into: &mut Vec<f64>| {
        let rows = rows(mask);
        into.clear();
        let sums = sums.of(mask).zip(squares.of(mask));
        into.extend(sums.map(|(sum, square)| sharpe(sum, square, rows)));
    };
    let (mut here, mut there) = (Vec::with_capacity(trials), Vec::with_capacity(trials));
    let (mut below, mut lost, mut splits) = (0.0, 0_usize, 0_usize);
    // A split and its mirror image at once: those in which block 0 is the past.
    for past in (1..=all).step_by(2) {
        if past.count_ones() as usize != blocks / 2 {
            continue;
        }
        scores(past, &mut here);
        scores(all ^ past, &mut there);
        for (past, future) in [(&here, &there), (&there, &here)] {
            let score = future[best(past)];
            let less = future.iter().filter(|other| **other < score).count();
            let more = future.iter().filter(|other| **other > score).count();
            below += match less.cmp(&more) {
                std::cmp::Ordering::Less => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Greater => 0.0,
            };
            lost += usize::from(score < 0.0);
            splits += 1;
        }
    }
    Overfitting {
        probability: below / splits as f64,
        loss_probability: lost as f64 / splits as f64,
        splits,
        trials_used: trials,
        sampled: false,
    }
}

/// The first of the largest.
fn best(scores: &[f64]) -> usize {
    let mut best = 0;
    for (trial, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = trial;
        }
    }
    best
}

/// Added and taken away again, it rounds a Sharpe ratio (below 2^18) to a multiple of 2^-33: trials that did
/// the same in a half differ there by the rounding of its sums, and are to be equal.
const GRID: f64 = (3_u64 << 18) as f64;

/// What rounding leaves of the variance of equal returns, relative to their mean square.
const NO_VARIANCE: f64 = 1e-12;

fn sharpe(sum: f64, square: f64, rows: f64) -> f64 {
    let variance = (square - sum * sum / rows) / (rows - 1.0);
    if variance <= NO_VARIANCE * square / rows {
        0.0
    } else {
        (sum / rows / variance.sqrt() + GRID) - GRID
    }
}

/// For each half of the blocks and each subset of it, the sums of all trials: any set of blocks is
/// then two look-ups and one addition, always in the same order.
struct Halves {
    trials: usize,
    half: usize,
    /// `subset x trial`.
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Halves {
    fn new(columns: &[Vec<f64>]) -> Self {
        let half = columns.len() / 2;
        let (low, high) = columns.split_at(half);
        Self {
            trials: columns[0].len(),
            half,
            low: subsets(low),
            high: subsets(high),
        }
    }

    /// The sum of each trial over a set of blocks.
    fn of(&self, mask: u32) -> impl Iterator<Item = f64> {
        let row = |table: &'_ [f64], subset: u32| -> std::ops::Range<usize> {
            let first = subset as usize * self.trials;
            debug_assert!(first < table.len());
            first..first + self.trials
        };
        let low = &self.low[row(&self.low, mask & ((1 << self.half) - 1))];
        let high = &self.high[row(&self.high, mask >> self.half)];
        low.iter().zip(high).map(|(low, high)| low + high)
    }
}

/// The sums of every subset: that of one less block, and the highest block.
fn subsets(columns: &[Vec<f64>]) -> Vec<f64> {
    let trials = columns[0].len();
    let mut table = vec![0.0; trials << columns.len()];
    for subset in 1..1_usize << columns.len() {
        let highest = subset.ilog2() as usize;
        let without = subset ^ (1 << highest);
        let (done, rest) = table.split_at_mut(subset * trials);
        let done = &done[without * trials..(without + 1) * trials];
        for ((cell, done), value) in rest.iter_mut().zip(done).zip(&columns[highest]) {
            *cell = done + value;
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    fn noise(random: &mut Random, rows: usize) -> Vec<f64> {
        (0..rows).map(|_| 0.01 * random.normal()).collect()
    }

    fn of(returns: &[Vec<f64>]) -> Vec<TrialStats> {
        let stats = |r: &Vec<f64>| TrialStats::of_returns(r, 0.0).unwrap();
        returns.iter().map(stats).collect()
    }

    /// Four blocks of two rows and three trials, worked out by hand. Returns by block:
    /// A (3 1)(3 1)(-1 -3)(-1 -3), B (1 -1)(1 -1)(2 0)(2 0), C: 1 less than B.
    /// The past of the six splits and the order in it (mean by deviation):
    /// 12 A, 34 B: the best of 12 is A, last in 34; the best of 34 is B, in 12 second.
    /// 13, 14, 23, 24: A has mean 0; B (mean 0.5) is first in all, and so in all futures.
    #[test]
    fn four_blocks_come_out_as_worked_out_by_hand() {
        let returns = [
            [3.0, 1.0, 3.0, 1.0, -1.0, -3.0, -1.0, -3.0],
            [1.0, -1.0, 1.0, -1.0, 2.0, 0.0, 2.0, 0.0],
            [0.0, -2.0, 0.0, -2.0, 1.0, -1.0, 1.0, -1.0],
        ];
        let by_block = |term: fn(f64) -> f64| -> Vec<Vec<f64>> {
            let of = |block: usize, r: &[f64; 8]| term(r[2 * block]) + term(r[2 * block + 1]);
            (0..4)
                .map(|block| returns.iter().map(|r| of(block, r)).collect())
                .collect()
        };
        let found = cross_validate(&[2; 4], &by_block(|r| r), &by_block(|r| r * r));
        assert_eq!(found.splits, 6);
        // Below the median once, at it once.
        assert_eq!(found.probability, 1.5 / 6.0);
        // A in 34; B has mean 0 in 12.
        assert_eq!(found.loss_probability, 1.0 / 6.0);
    }

    /// The paper's first test case (section 5.1): every trial's mean over all rows is 0, so that a
    /// good past must be paid for by the future.
    #[test]
    fn trials_that_are_nothing_over_all_rows_are_always_overfit() {
        let mut random = Random::new(3);
        let centred = |_| {
            let mut returns = noise(&mut random, 1_000);
            let mean = returns.iter().sum::<f64>() / 1_000.0;
            returns.iter_mut().for_each(|r| *r -= mean);
            returns
        };
        let trials: Vec<Vec<f64>> = (0..100).map(centred).collect();
        let found = probability(&of(&trials)).unwrap();
        assert!(found.probability > 0.99, "{found:?}");
        assert!(found.loss_probability > 0.999, "{found:?}");
    }

    #[test]
    fn noise_is_a_coin_on_average_and_skill_is_not() {
        let mut random = Random::new(11);
        let mut sum = 0.0;
        for _ in 0..20 {
            let trials: Vec<Vec<f64>> = (0..40).map(|_| noise(&mut random, 320)).collect();
            sum += probability(&of(&trials)).unwrap().probability;
        }
        assert!((0.35..0.65).contains(&(sum / 20.0)), "{}", sum / 20.0);
        let mut trials: Vec<Vec<f64>> = (0..40).map(|_| noise(&mut random, 320)).collect();
        trials[17].iter_mut().for_each(|r| *r += 0.005);
        let found = probability(&of(&trials)).unwrap();
        assert!(found.probability < 0.01, "{found:?}");
    }

    /// The definition, from the returns themselves.
    #[test]
    fn block_sums_give_what_the_returns_give() {
        let mut random = Random::new(5);
        let rows = 16 * 4 + 7;
        let returns: Vec<Vec<f64>> = (0..25).map(|_| noise(&mut random, rows)).collect();
        let block_of = |row: usize| (0..16).find(|b| row < (b + 1) * rows / 16).unwrap();
        let score = |trial: &[f64], mask: u32| {
            let taken: Vec<f64> = trial
                .iter()
                .enumerate()
                .filter(|(row, _)| mask >> block_of(*row) & 1 == 1)
                .map(|(_, r)| *r)
                .collect();
            let n = taken.len() as f64;
            let mean = taken.iter().sum::<f64>() / n;
            let squares: f64 = taken.iter().map(|r| (r - mean) * (r - mean)).sum();
            mean / (squares / (n - 1.0)).sqrt()
        };
        let (mut below, mut splits) = (0.0, 0.0);
        for past in (0_u32..1 << 16).filter(|mask| mask.count_ones() == 8) {
            let scores = |mask| -> Vec<f64> { returns.iter().map(|t| score(t, mask)).collect() };
            let (here, there) = (scores(past), scores(0xffff ^ past));
            let best = (0..25)
                .max_by(|a, b| here[*a].total_cmp(&here[*b]))
                .unwrap();
            let rank = 1 + there.iter().filter(|s| **s < there[best]).count();
            let relative = rank as f64 / 26.0;
            below += if relative < 0.5 { 1.0 } else { 0.0 } + if rank == 13 { 0.5 } else { 0.0 };
            splits += 1.0;
        }
        let found = probability(&of(&returns)).unwrap();
        assert_eq!(found.splits as f64, splits);
        assert_eq!(found.probability, below / splits);
    }

    #[test]
    fn of_many_trials_a_sample_with_the_best_and_the_worst_is_ranked() {
        let mut random = Random::new(8);
        let mut trials: Vec<Vec<f64>> = (0..2_500).map(|_| noise(&mut random, 64)).collect();
        // The best by far stays the best of every split, and is found only if it is ranked.
        trials[1_801].iter_mut().for_each(|r| *r += 0.1);
        let found = probability(&of(&trials)).unwrap();
        assert_eq!((found.trials_used, found.probability), (MAX_TRIALS, 0.0));
    }

    #[test]
    fn what_cannot_be_ranked_says_why() {
        let still = TrialStats::of_returns(&[0.0; 64], 0.0).unwrap();
        let mut random = Random::new(9);
        let mut trials = of(&(0..19).map(|_| noise(&mut random, 64)).collect::<Vec<_>>());
        trials.push(still);
        let few = probability(&trials).unwrap_err();
        assert_eq!(few.to_string(), "19 trials; needs 20");
        trials.extend(of(&[noise(&mut random, 65)]));
        let mixed = probability(&trials).unwrap_err();
        let wanted = "trials over 64 and 65 rows cannot be ranked together";
        assert_eq!(mixed.to_string(), wanted);
    }
}
