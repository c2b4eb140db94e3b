//! Which of many observations a density is made of.

/// The latest observations that have full weight; the older ones have the less, the older they are.
pub(super) const FULL: usize = 25;

/// The most observations that a density is made of. With 500 a search of 2,000 trials ended a little worse
/// (docs/benchmarks/search.md).
const MOST: usize = 2_000;

/// The places of the observations that are taken of `count`, ascending: all, or the [`FULL`] latest
/// and the middles of as many equal stretches of the older ones as there is room for.
pub(super) fn taken(count: usize) -> Vec<usize> {
    if count <= MOST {
        return (0..count).collect();
    }
    let (older, stretches) = (count - FULL, MOST - FULL);
    let middles = (0..stretches).map(|stretch| (2 * stretch + 1) * older / (2 * stretches));
    middles.chain(older..count).collect()
}

/// The weights of the observations `taken` of `count`, and of the prior; their sum is 1. One that
/// stands for others has their weight too.
pub(super) fn weights(count: usize, taken: &[usize]) -> Vec<f64> {
    let ramp = count.saturating_sub(FULL);
    let first = 1.0 / count as f64;
    let of_ramp = taken.iter().filter(|k| **k < ramp).count();
    let stands_for = ramp as f64 / of_ramp as f64;
    let weight = |k: &usize| {
        if *k >= ramp {
            return 1.0;
        }
        // From 1/n for the oldest to 1; a ramp of one is 1/n.
        let part = *k as f64 / (ramp as f64 - 1.0).max(1.0);
        stands_for * (first + part * (1.0 - first))
    };
    let mut weights: Vec<f64> = taken.iter().map(weight).chain([1.0]).collect();
    let sum: f64 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= sum;
    }
    weights
}

/// The weights of observations of which so many are better than each, and of the prior; their sum is 1.
///
/// Among these observations the best weighs twice as much as the second and three times as much as the third; equals
/// share what they would have one after the other. The prior has what it would have if all were equal.
pub(super) fn weights_by_rank(better: &[usize]) -> Vec<f64> {
    // They are a few: at most as many as are good.
    let count_of = |is: &dyn Fn(&usize) -> bool| better.iter().filter(|other| is(other)).count();
    let share = |of: &usize| {
        let before = count_of(&|other| other < of);
        let equal = count_of(&|other| other == of);
        let places = before + 1..=before + equal;
        places.map(|place| 1.0 / place as f64).sum::<f64>() / equal as f64
    };
    let shares: Vec<f64> = better.iter().map(share).collect();
    let sum: f64 = shares.iter().sum();
    let count = better.len() as f64;
    let weights = shares.iter().map(|share| share * count / sum);
    weights
        .chain([1.0])
        .map(|weight| weight / (count + 1.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_an_observation_the_heavier_it_is_and_the_prior_stays_what_it_was() {
        let weights = weights_by_rank(&[2, 0, 1]);
        // 3 / (1 + 1/2 + 1/3) of a quarter each.
        let whole = 3.0 / (11.0 / 6.0) * 0.25;
        for (weight, expected) in weights.iter().zip([whole / 3.0, whole, whole / 2.0, 0.25]) {
            assert!((weight - expected).abs() < 1e-15, "{weights:?}");
        }
        assert_eq!(weights.len(), 4);
        // Whatever ranks they have among others, and two that are equal.
        assert_eq!(weights_by_rank(&[7, 3, 5]), weights);
        let shared = weights_by_rank(&[4, 1, 4]);
        let half = 0.5 * (0.5 + 1.0 / 3.0) * whole;
        assert!(
            (shared[0] - half).abs() < 1e-15 && shared[0] == shared[2],
            "{shared:?}"
        );
        assert_eq!(weights_by_rank(&[5; 4]), [0.2; 5]);
        assert_eq!(weights_by_rank(&[0]), [0.5, 0.5]);
        assert_eq!(weights_by_rank(&[]), [1.0]);
    }

    #[test]
    fn few_are_all_taken_and_of_many_the_latest_and_an_even_part_of_the_others() {
        assert_eq!(taken(MOST), (0..MOST).collect::<Vec<_>>());
        for count in [MOST + 1, 3 * MOST + 77, 2 * MOST, 100_000] {
            let taken = taken(count);
            assert_eq!(taken.len(), MOST);
            assert!(taken.is_sorted_by(|a, b| a < b), "{count}");
            assert_eq!(
                taken[MOST - FULL..],
                (count - FULL..count).collect::<Vec<_>>()
            );
            let gaps = taken[..MOST - FULL].windows(2).map(|two| two[1] - two[0]);
            let (least, most) = gaps.fold((usize::MAX, 0), |(a, b), gap| (a.min(gap), b.max(gap)));
            assert!(most - least <= 1, "{count}: gaps of {least} to {most}");
        }
    }

    #[test]
    fn a_sample_weighs_what_it_stands_for() {
        for count in [0, 1, 24, 25, 26, 27, 400, MOST, MOST + 1, 3 * MOST, 100_000] {
            let all = weights(count, &(0..count).collect::<Vec<_>>());
            let some = weights(count, &taken(count));
            assert!((some.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{count}");
            // The prior and the latest weigh what they weigh among all.
            let last = |weights: &[f64]| weights[weights.len() - 1];
            assert!((last(&some) / last(&all) - 1.0).abs() < 1e-3, "{count}");
            let latest = |weights: &[f64]| weights[weights.len().saturating_sub(FULL)];
            assert!((latest(&some) / latest(&all) - 1.0).abs() < 1e-3, "{count}");
        }
    }
}
