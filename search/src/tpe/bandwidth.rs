//! How wide each kernel is.

/// The largest number by which the range is divided for the smallest bandwidth.
const FINEST: usize = 100;

/// The smallest bandwidth with `count` observations, as a part of the range: "magic clip",
/// 1 / min(100, count + 2).
pub(super) fn smallest(count: usize) -> f64 {
    1.0 / bins(count) as f64
}

fn bins(count: usize) -> usize {
    FINEST.min(count + 2)
}

/// The bandwidth of each observation, for observations in `[0, 1]`: the larger of the gaps to its
/// two neighbours, at least [`smallest`], at most 1. The first and the last have one neighbour; a single
/// observation takes the larger gap to the ends. Of equal observations, the earliest has the gap
/// below, the latest the gap above.
///
/// Linear in the number of observations: gaps below the smallest bandwidth do not matter, so it is
/// enough to know the first and the last observation of each of at most 100 bins of that width.
pub(super) fn of(observations: &[f64]) -> Vec<f64> {
    if let [only] = observations {
        return vec![only.max(1.0 - only).max(smallest(1))];
    }
    let bins = bins(observations.len());
    let mut ends = [Ends::NONE; FINEST];
    for (at, value) in observations.iter().enumerate() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an observation in [0, 1] times at most 100"
        )]
        let bin = ((value * bins as f64) as usize).min(bins - 1);
        let ends = &mut ends[bin];
        if *value < ends.low {
            (ends.low, ends.first) = (*value, at);
        }
        if *value >= ends.high {
            (ends.high, ends.last) = (*value, at);
        }
    }
    let mut widths = vec![smallest(observations.len()); observations.len()];
    let mut filled = ends.into_iter().filter(|ends| ends.low <= ends.high);
    if let Some(mut below) = filled.next() {
        for ends in filled {
            let gap = ends.low - below.high;
            for at in [below.last, ends.first] {
                widths[at] = widths[at].max(gap);
            }
            below = ends;
        }
    }
    widths
}

/// The smallest and the largest observation of a bin, and their positions.
#[derive(Clone, Copy)]
struct Ends {
    low: f64,
    first: usize,
    high: f64,
    last: usize,
}

impl Ends {
    const NONE: Self = Self {
        low: f64::INFINITY,
        first: 0,
        high: f64::NEG_INFINITY,
        last: 0,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, by sorting.
    fn by_sorting(observations: &[f64]) -> Vec<f64> {
        let mut order: Vec<usize> = (0..observations.len()).collect();
        order.sort_by(|a, b| observations[*a].total_cmp(&observations[*b]));
        let mut widths = vec![0.0; observations.len()];
        for pair in order.windows(2) {
            let gap = observations[pair[1]] - observations[pair[0]];
            widths[pair[0]] = gap.max(widths[pair[0]]);
            widths[pair[1]] = gap.max(widths[pair[1]]);
        }
        let least = 1.0 / 100.0_f64.min(observations.len() as f64 + 2.0);
        widths.iter().map(|width| width.max(least)).collect()
    }

    #[test]
    fn bins_give_the_bandwidths_that_sorting_gives() {
        let mut stream = crate::Stream::for_study(5, "bandwidths");
        let mut wide = 0;
        for count in [2, 3, 7, 24, 97, 98, 99, 500, 3_000] {
            for lattice in [0.0, 13.0, 250.0] {
                let observations: Vec<f64> = (0..count)
                    .map(|_| stream.unit_f64())
                    .map(|unit| unit * unit)
                    .map(|unit| {
                        if lattice > 0.0 {
                            ((unit * lattice).floor() + 0.5) / lattice
                        } else {
                            unit
                        }
                    })
                    .collect();
                let expected = by_sorting(&observations);
                for (at, width) in of(&observations).iter().enumerate() {
                    assert!(
                        (width - expected[at]).abs() < 1e-15,
                        "observation {at} of {count}: {width} is not {}",
                        expected[at]
                    );
                    wide += usize::from(*width > smallest(count));
                }
            }
        }
        assert!(wide > 100, "only {wide} bandwidths were above the smallest");
    }

    #[test]
    fn a_single_observation_takes_the_larger_gap_to_the_ends() {
        assert_eq!(of(&[0.25]), [0.75]);
        assert_eq!(of(&[0.9]), [0.9]);
        assert!(of(&[]).is_empty());
    }
}
