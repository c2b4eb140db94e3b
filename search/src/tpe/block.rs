//! Some kernels at a time, and which of them are near a candidate.

use std::ops::Range;

/// How many kernels are summed at a time: their columns stay in the nearest cache over all
/// candidates, and few enough are together that all may be far from a candidate.
pub(super) const BLOCK: usize = 64;

/// The kernels of a block by their places in it.
const ALL: [u8; BLOCK] = {
    let mut all = [0; BLOCK];
    let mut at: u8 = 0;
    while (at as usize) < BLOCK {
        all[at as usize] = at;
        at += 1;
    }
    all
};

/// The kernels of a block that may still count for a candidate, and the logarithms of what the axes
/// looked at so far say of each.
pub(super) struct Block {
    from: usize,
    count: usize,
    /// Whether all kernels are here still.
    whole: bool,
    kernels: [u8; BLOCK],
    terms: [f64; BLOCK],
}

impl Block {
    pub(super) const EMPTY: Self = Self {
        from: 0,
        count: 0,
        whole: true,
        kernels: ALL,
        terms: [0.0; BLOCK],
    };

    /// Begins anew with at most [`BLOCK`] kernels, of which nothing is known.
    pub(super) fn begin(&mut self, kernels: &Range<usize>) {
        (self.from, self.count, self.whole) = (kernels.start, kernels.len(), true);
        self.kernels = ALL;
        self.terms[..self.count].fill(0.0);
    }

    /// Forgets what is known of the kernels left.
    pub(super) fn forget(&mut self) {
        self.terms[..self.count].fill(0.0);
    }

    /// Adds to the term of each kernel what `term` says of it; drops those that are not above `least` then.
    pub(super) fn keep(&mut self, least: f64, mut term: impl FnMut(usize) -> f64) {
        let mut kept = 0;
        for at in 0..self.count {
            let (kernel, sum) = (self.kernels[at], self.terms[at]);
            let sum = sum + term(self.from + usize::from(kernel));
            (self.kernels[kept], self.terms[kept]) = (kernel, sum);
            kept += usize::from(sum > least);
        }
        (self.count, self.whole) = (kept, false);
    }

    /// The same with normal kernels by their means and scales, but for that some may be kept.
    pub(super) fn lower(&mut self, least: f64, place: f64, mean: &[f64], scale: &[f64]) {
        let loss = |mean: f64, scale: f64| {
            let z = (place - mean) * scale;
            z * z
        };
        if !self.whole {
            return self.keep(least, |k| -loss(mean[k], scale[k]));
        }
        let range = self.from..self.from + self.count;
        let kernels = mean[range.clone()].iter().zip(&scale[range]);
        let mut left = 0;
        for (term, (mean, scale)) in self.terms.iter_mut().zip(kernels) {
            *term -= loss(*mean, *scale);
            left += u64::from(*term > least);
        }
        if left < self.count as u64 / 2 {
            self.drop_below(least);
        }
    }

    /// Drops the kernels whose terms are not above `least`.
    pub(super) fn drop_below(&mut self, least: f64) {
        let mut kept = 0;
        for at in 0..self.count {
            let (kernel, term) = (self.kernels[at], self.terms[at]);
            (self.kernels[kept], self.terms[kept]) = (kernel, term);
            kept += usize::from(term > least);
        }
        (self.count, self.whole) = (kept, false);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The terms of the kernels left, in the order of the kernels.
    pub(super) fn terms(&self) -> &[f64] {
        &self.terms[..self.count]
    }
}

/// Where the kernels of a block lie on an axis.
pub(super) struct Reach {
    low: f64,
    high: f64,
    /// The smallest 1 / (bandwidth sqrt 2).
    scale: f64,
}

impl Reach {
    /// Of kernels by their means and scales.
    pub(super) fn of(kernels: impl Iterator<Item = (f64, f64)>) -> Self {
        let nothing = Self {
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            scale: f64::INFINITY,
        };
        kernels.fold(nothing, |reach, (mean, scale)| Self {
            low: if mean < reach.low { mean } else { reach.low },
            high: if mean > reach.high { mean } else { reach.high },
            scale: if scale < reach.scale {
                scale
            } else {
                reach.scale
            },
        })
    }

    /// What the term of no kernel is above, for a candidate that lies between these ends.
    pub(super) fn most(&self, (from, to): (f64, f64)) -> f64 {
        let gap = (self.low - to).max(from - self.high).max(0.0);
        let z = gap * self.scale;
        -(z * z)
    }
}
