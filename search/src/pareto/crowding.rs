//! Crowding distance: how much room a trial has on its front.

/// The crowding distance of each of some costs that do not dominate each other (Deb et al. 2002,
/// p. 185): per objective the distance between the two neighbours, as a part of the range of the
/// front, summed over the objectives. Infinite for the smallest and the largest of an
/// objective, of equals for the first and the last in the order given; an objective in which all are
/// equal says nothing.
///
/// ```
/// use trialmill_search::pareto::crowding_distances;
///
/// let costs = [[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]];
/// assert_eq!(crowding_distances(&costs), [f64::INFINITY, 2.0, f64::INFINITY]);
/// ```
#[must_use]
pub fn crowding_distances<C: AsRef<[f64]>>(costs: &[C]) -> Vec<f64> {
    let mut distances = vec![0.0; costs.len()];
    let objectives = costs.iter().map(|costs| costs.as_ref().len()).min();
    for objective in 0..objectives.unwrap_or(0) {
        // Halves: the difference of two floats may be beyond the largest one.
        let of = |at: usize| 0.5 * costs[at].as_ref()[objective] + 0.0;
        let mut order: Vec<usize> = (0..costs.len()).collect();
        order.sort_by(|a, b| of(*a).total_cmp(&of(*b)));
        let (first, last) = (order[0], order[order.len() - 1]);
        let range = of(last) - of(first);
        if range > 0.0 {
            for three in order.windows(3) {
                distances[three[1]] += (of(three[2]) - of(three[0])) / range;
            }
            distances[first] = f64::INFINITY;
            distances[last] = f64::INFINITY;
        }
    }
    distances
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn distances_are_those_of_the_definition() {
        for objectives in 1..5 {
            let costs = samples::costs(3, 40, objectives, None);
            let distances = crowding_distances(&costs);
            for (own, distance) in costs.iter().zip(&distances) {
                let mut expected = 0.0;
                for objective in 0..objectives {
                    let all = || costs.iter().map(|costs| costs[objective]);
                    let below = all()
                        .filter(|c| *c < own[objective])
                        .fold(f64::NEG_INFINITY, f64::max);
                    let above = all()
                        .filter(|c| *c > own[objective])
                        .fold(f64::INFINITY, f64::min);
                    let (low, high) = (
                        all().fold(f64::INFINITY, f64::min),
                        all().fold(0.0, f64::max),
                    );
                    expected += (above - below) / (high - low);
                }
                let same = *distance == expected || (distance - expected).abs() < 1e-12;
                assert!(same, "{own:?}: {distance} is not {expected}");
            }
        }
    }

    #[test]
    fn values_at_the_ends_of_floats_and_constant_ones_are_taken() {
        let wide = [[f64::MAX, 1.0], [0.0, 1.0], [f64::MIN, 1.0]];
        assert_eq!(
            crowding_distances(&wide),
            [f64::INFINITY, 1.0, f64::INFINITY]
        );
        assert_eq!(crowding_distances(&[[1.0, 2.0]; 4]), [0.0; 4]);
        assert!(crowding_distances::<[f64; 2]>(&[]).is_empty());
        assert_eq!(crowding_distances(&[[]; 3]), [0.0; 3]);
    }
}
