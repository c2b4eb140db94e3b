//! How wide each kernel is.

/// The largest number by which the range is divided for the smallest bandwidth.
const FINEST: usize = 100;

/// How narrow kernels may be while there are few of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floor {
    /// 1 / min(100, n + 2) of the range with `n` observations: "magic clip", as Optuna has it.
    Magic,
    /// Half of that until it meets the same end: 1 / min(100, 2 (n + 2)).
    Half,
}

impl Floor {
    /// The smallest bandwidth with `count` observations, as a part of the range.
    pub(super) fn with(self, count: usize) -> f64 {
        1.0 / self.bins(count) as f64
    }

    fn bins(self, count: usize) -> usize {
        let each = match self {
            Self::Magic => 1,
            Self::Half => 2,
        };
        FINEST.min(each * (count + 2))
    }
}

/// The bandwidth of each observation, for observations in `[0, 1]`: the larger of the gaps to its
/// two neighbours, at least the floor, at most 1. The first and the last have one neighbour; a single
/// observation takes the larger gap to the ends. Of equal observations, the earliest has the gap
/// below, the latest the gap above.
///
/// Linear in the number of observations: gaps below the smallest bandwidth do not matter, so it is
/// enough to know the first and the last observation of each of at most 100 bins of that width.
pub(super) fn of(observations: &[f64], floor: Floor) -> Vec<f64> {
    if let [only] = observations {
        return vec![only.max(1.0 - only).max(floor.with(1))];
    }
    let bins = floor.bins(observations.len());
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
    let mut widths = vec![floor.with(observations.len()); observations.len()];
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
    fn by_sorting(observations: &[f64], bins_each: f64) -> Vec<f64> {
        let mut order: Vec<usize> = (0..observations.len()).collect();
        order.sort_by(|a, b| observations[*a].total_cmp(&observations[*b]));
        let mut widths = vec![0.0; observations.len()];
        for pair in order.windows(2) {
            let gap = observations[pair[1]] - observations[pair[0]];
            widths[pair[0]] = gap.max(widths[pair[0]]);
            widths[pair[1]] = gap.max(widths[pair[1]]);
        }
        let least = 1.0 / 100.0_f64.min(bins_each * (observations.len() as f64 + 2.0));
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
                for (floor, bins_each) in [(Floor::Magic, 1.0), (Floor::Half, 2.0)] {
                    let expected = by_sorting(&observations, bins_each);
                    for (at, width) in of(&observations, floor).iter().enumerate() {
                        assert!(
                            (width - expected[at]).abs() < 1e-15,
                            "observation {at} of {count}, {floor:?}: {width} is not {}",
                            expected[at]
                        );
                        wide += usize::from(*width > floor.with(count));
                    }
                }
            }
        }
        assert!(wide > 100, "only {wide} bandwidths were above the smallest");
    }

    #[test]
    fn a_single_observation_takes_the_larger_gap_to_the_ends() {
        for floor in [Floor::Magic, Floor::Half] {
            assert_eq!(of(&[0.25], floor), [0.75]);
            assert_eq!(of(&[0.9], floor), [0.9]);
            assert!(of(&[], floor).is_empty());
        }
    }
}
