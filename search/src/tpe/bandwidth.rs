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

/// The bandwidths of observations.
#[derive(Debug)]
pub(super) struct Bandwidths {
    /// The smallest: that of all others.
    pub(super) narrowest: f64,
    /// Those that have another, and that.
    pub(super) wider: Vec<(usize, f64)>,
}

impl Bandwidths {
    /// Of observations in `[0, 1]`: those of [`wide`].
    pub(super) fn of(observations: &[f64], age: &[usize], floor: Floor) -> Self {
        let mut wider = wide(observations, age, floor);
        let narrowest = if wider.len() < observations.len() {
            floor.with(observations.len())
        } else {
            wider.iter().map(|(_, width)| *width).fold(1.0, f64::min)
        };
        wider.retain(|(_, width)| *width > narrowest);
        Self { narrowest, wider }
    }
}

/// The observations whose bandwidth is above the floor, and that bandwidth; the others have the floor.
///
/// The bandwidth of an observation, of those in `[0, 1]`, is the larger of the gaps to its
/// two neighbours, at least the floor, at most 1. The first and the last have one neighbour; a single
/// observation takes the larger gap to the ends. Of equal observations, the earliest has the gap
/// below, the latest the gap above; `age` grows from the earliest to the latest.
///
/// Linear in the number of observations: gaps below the smallest bandwidth do not matter, so it is
/// enough to know the smallest and the largest observation of each of at most 100 bins of that width.
pub(super) fn wide(observations: &[f64], age: &[usize], floor: Floor) -> Vec<(usize, f64)> {
    if let [only] = observations {
        return vec![(0, only.max(1.0 - only).max(floor.with(1)))];
    }
    let count = floor.bins(observations.len());
    let bins: Vec<u8> = observations
        .iter()
        .map(|value| bin(*value, count))
        .collect();
    let mut ends = [Ends::NONE; FINEST];
    for (value, bin) in observations.iter().zip(&bins) {
        ends[usize::from(*bin)].widen(*value);
    }
    let smallest = floor.with(observations.len());
    let mut gaps = Vec::new();
    let mut filled = (0..count).filter(|bin| ends[*bin].low <= ends[*bin].high());
    if let Some(mut below) = filled.next() {
        for above in filled {
            let size = ends[above].low - ends[below].high();
            if size > smallest {
                gaps.push(Gap { below, above, size });
            }
            below = above;
        }
    }
    if gaps.is_empty() {
        return Vec::new();
    }
    // Of each bin's observations the earliest at its low end, and the latest at the high one.
    let mut beside = [false; FINEST];
    for gap in &gaps {
        (beside[gap.below], beside[gap.above]) = (true, true);
    }
    let (mut first, mut last) = ([None; FINEST], [None; FINEST]);
    for (at, bin) in bins.iter().enumerate() {
        let bin = usize::from(*bin);
        if !beside[bin] {
            continue;
        }
        if observations[at] == ends[bin].low && first[bin].is_none_or(|other| age[at] < age[other])
        {
            first[bin] = Some(at);
        }
        if observations[at] == ends[bin].high()
            && last[bin].is_none_or(|other| age[at] > age[other])
        {
            last[bin] = Some(at);
        }
    }
    let mut wide: Vec<(usize, f64)> = Vec::with_capacity(2 * gaps.len());
    for gap in gaps {
        for at in [last[gap.below], first[gap.above]].into_iter().flatten() {
            match wide.last_mut() {
                Some((other, width)) if *other == at => *width = width.max(gap.size),
                _ => wide.push((at, gap.size)),
            }
        }
    }
    wide
}

/// The number of an observation's bin among `count`.
fn bin(value: f64, count: usize) -> u8 {
    /// A float of this size counts in steps of 2^-20: the 20 lowest bits are what is behind the point. A conversion
    /// would look at cases that cannot be.
    const SHIFT: f64 = (1_u64 << 32) as f64;
    let bits = (value * count as f64 + SHIFT).to_bits() >> 20;
    #[expect(clippy::cast_possible_truncation, reason = "at most 100, and 99")]
    let (bin, last) = ((bits & 0x7f) as u8, (count - 1) as u8);
    bin.min(last)
}

/// The smallest and the largest observation of a bin.
#[derive(Clone, Copy)]
struct Ends {
    low: f64,
    /// Negated, so that both ends are the smallest of something: that takes no branch, and none could be foreseen.
    high_negated: f64,
}

impl Ends {
    const NONE: Self = Self {
        low: f64::INFINITY,
        high_negated: f64::INFINITY,
    };

    fn widen(&mut self, value: f64) {
        let smaller = |a: f64, b: f64| if a < b { a } else { b };
        self.low = smaller(value, self.low);
        self.high_negated = smaller(-value, self.high_negated);
    }

    fn high(&self) -> f64 {
        -self.high_negated
    }
}

/// Between the largest observation of one bin and the smallest of another.
struct Gap {
    below: usize,
    above: usize,
    size: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(observations: &[f64], floor: Floor) -> Vec<f64> {
        let age: Vec<usize> = (0..observations.len()).collect();
        let mut widths = vec![floor.with(observations.len()); observations.len()];
        for (at, width) in wide(observations, &age, floor) {
            assert!(width > widths[at]);
            widths[at] = width;
        }
        widths
    }

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
    fn of_equal_observations_age_decides_wherever_they_stand() {
        let observations = [0.9, 0.1, 0.9, 0.5, 0.1, 0.5, 0.5];
        let mut wide = wide(&observations, &[6, 1, 5, 2, 0, 3, 4], Floor::Magic);
        wide.sort_by_key(|(at, _)| *at);
        let at: Vec<usize> = wide.iter().map(|(at, _)| *at).collect();
        assert_eq!(
            at,
            [1, 2, 3, 6],
            "the latest of those below a gap and the earliest of those above"
        );
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
