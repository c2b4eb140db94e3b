//! The p-value of Wilcoxon's signed-rank test, as scipy's.

use crate::normal::below;

/// Up to so many differences the distribution is exact where no two have the same size and none is 0.
const EXACT: usize = 50;

/// Up to so many it is exact also with ties and zeros.
const EXACT_WITH_TIES: usize = 13;

/// The probability, were signs to fall by chance, that positive differences weigh as much as they
/// do. Weights are ranks by size (the mean rank where sizes are equal); half of the zeros' weight counts as
/// positive. The differences, infinite ones allowed, must be numbers.
///
/// `scipy.stats.wilcoxon(differences, alternative="greater", zero_method="zsplit")`; scipy 1.17,
/// `scipy/stats/_wilcoxon.py`.
pub(super) fn p_greater(differences: &[f64]) -> f64 {
    let n = differences.len();
    let mut sorted: Vec<f64> = differences.to_vec();
    sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));

    // Ranks are doubled: then they are whole.
    let mut ranks: Vec<usize> = Vec::with_capacity(n);
    let (mut positive, mut zeros, mut ties) = (0.0, 0, 0.0);
    for group in sorted.chunk_by(|a, b| a.abs() == b.abs()) {
        let before = ranks.len();
        let count = group.len();
        let doubled = 2 * before + count + 1;
        ranks.resize(before + count, doubled);
        let weight = doubled as f64;
        positive += weight * group.iter().filter(|d| **d > 0.0).count() as f64;
        if group[0] == 0.0 {
            zeros = count;
        }
        let count = count as f64;
        ties += count * (count * count - 1.0);
    }

    let distinct = ties == 0.0 && zeros == 0;
    if n <= EXACT_WITH_TIES || (distinct && n <= EXACT) {
        // What zeros add is the same whatever the signs.
        return exact(&ranks[zeros..], positive);
    }
    let halved: f64 = ranks[..zeros].iter().map(|rank| *rank as f64).sum();
    let n = n as f64;
    let mean = n * (n + 1.0) * 0.25;
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - 0.5 * ties) / 24.0;
    let weight = 0.5 * (positive + 0.5 * halved);
    below((mean - weight) / variance.sqrt())
}

/// The part of all choices among at most 50 weights whose sum is at least `positive`.
fn exact(weights: &[usize], positive: f64) -> f64 {
    let total: usize = weights.iter().sum();
    // The choices with each sum, at most 2^50 in all: whole numbers that a float holds.
    let mut choices = vec![0.0; total + 1];
    choices[0] = 1.0;
    for weight in weights {
        for sum in (*weight..=total).rev() {
            choices[sum] += choices[sum - weight];
        }
    }
    let all: f64 = choices.iter().sum();
    let by_sum = choices.iter().enumerate();
    let as_much = by_sum.filter(|(sum, _)| *sum as f64 >= positive);
    as_much.map(|(_, choices)| choices).sum::<f64>() / all
}
