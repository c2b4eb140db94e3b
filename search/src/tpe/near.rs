//! Which kernels are near a candidate.

use super::bandwidth::Bandwidths;

/// Of more kernels than these it is worth knowing which are where.
pub(super) const MANY: usize = 64;

/// Into how many parts the range is divided to find kernels.
const BINS: usize = 32;

/// So many kernels of a set are the bits of one number.
const WORD: usize = u64::BITS as usize;

/// Where the kernels lie on one axis, as sets of them.
#[derive(Debug)]
pub(super) struct KernelIndex {
    /// How many words a set takes.
    words: usize,
    /// For each bin, then for the end: the kernels whose means lie in the bins before it.
    before: Vec<u64>,
    /// The kernels that are wider than `narrowest`.
    wide: Vec<u64>,
    /// The bandwidth of all others.
    narrowest: f64,
}

impl KernelIndex {
    /// Of normal kernels by their means, from 0 to 1, and of the prior after them, which is near everywhere.
    pub(super) fn of(means: &[f64], bandwidths: &Bandwidths) -> Self {
        let words = (means.len() + 1).div_ceil(WORD);
        let mut index = Self {
            words,
            before: vec![0; (BINS + 1) * words],
            wide: vec![0; words],
            narrowest: bandwidths.narrowest,
        };
        for (word, means) in means.chunks(WORD).enumerate() {
            for (bit, mean) in means.iter().enumerate() {
                index.before[(bin(*mean) + 1) * words + word] |= 1 << bit;
            }
        }
        for end in 1..=BINS {
            let (before, here) = index.before[(end - 1) * words..].split_at_mut(words);
            for (here, before) in here.iter_mut().zip(before) {
                *here |= *before;
            }
        }
        let wider = bandwidths.wider.iter().map(|(k, _)| *k);
        for k in wider.chain([means.len()]) {
            index.wide[k / WORD] |= 1 << (k % WORD);
        }
        index
    }

    /// Leaves in `set` the kernels that may be within so many bandwidths of a candidate between these ends.
    fn keep(&self, (low, high): (f64, f64), bandwidths: f64, set: &mut [u64]) {
        let reach = bandwidths * self.narrowest;
        let before = |bin: usize| &self.before[bin * self.words..][..self.words];
        let out = before(bin(low - reach));
        let within = before(bin(high + reach) + 1);
        let kernels = set.iter_mut().zip(&self.wide);
        for ((kept, wide), (within, out)) in kernels.zip(within.iter().zip(out)) {
            *kept &= within & !out | wide;
        }
    }
}

/// The bin of a place, or the one at the nearer end.
fn bin(place: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a conversion keeps to the nearer end"
    )]
    let bin = (place * BINS as f64) as u8;
    usize::from(bin).min(BINS - 1)
}

/// The kernels that may still count for a candidate, and the logarithms of what the axes looked at so far
/// say of each.
#[derive(Debug)]
pub(super) struct Near {
    /// How many kernels there are.
    count: usize,
    set: Vec<u64>,
    kernels: Vec<u32>,
    terms: Vec<f64>,
}

impl Near {
    /// Of so many kernels.
    pub(super) fn of(count: usize) -> Self {
        Self {
            count,
            set: Vec::new(),
            kernels: Vec::with_capacity(count),
            terms: Vec::with_capacity(count),
        }
    }

    /// Begins anew with one kernel.
    pub(super) fn begin_with(&mut self, kernel: usize) {
        self.kernels.clear();
        self.kernels.push(number(kernel));
        self.forget();
    }

    /// Begins anew with the kernels that may be within so many bandwidths of a candidate on each of some `axes`; it lies
    /// between the ends there.
    pub(super) fn begin_near<'a>(
        &mut self,
        axes: impl Iterator<Item = (&'a KernelIndex, (f64, f64))>,
        bandwidths: f64,
    ) {
        self.set.clear();
        self.set.resize(self.count / WORD, u64::MAX);
        self.set.push((1 << (self.count % WORD)) - 1);
        for (index, ends) in axes {
            index.keep(ends, bandwidths, &mut self.set);
        }
        self.kernels.clear();
        for (word, mut set) in self.set.iter().copied().enumerate() {
            while set != 0 {
                let bit = set.trailing_zeros() as usize;
                self.kernels.push(number(word * WORD + bit));
                set &= set - 1;
            }
        }
        self.forget();
    }

    /// Forgets what is known of the kernels left.
    pub(super) fn forget(&mut self) {
        self.terms.clear();
        self.terms.resize(self.kernels.len(), 0.0);
    }

    /// Adds to the term of each kernel what `term` says of it; drops those that are not above `least` then.
    pub(super) fn keep(&mut self, least: f64, mut term: impl FnMut(usize) -> f64) {
        let mut kept = 0;
        for at in 0..self.kernels.len() {
            let (kernel, sum) = (self.kernels[at], self.terms[at]);
            let sum = sum + term(kernel as usize);
            (self.kernels[kept], self.terms[kept]) = (kernel, sum);
            kept += usize::from(sum > least);
        }
        self.kernels.truncate(kept);
        self.terms.truncate(kept);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kernels.is_empty()
    }

    /// The terms of the kernels left, in the order of the kernels.
    pub(super) fn terms(&self) -> &[f64] {
        &self.terms
    }
}

fn number(kernel: usize) -> u32 {
    u32::try_from(kernel).expect("no more kernels than trials, which u32 numbers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    #[test]
    fn a_kernel_is_near_if_it_is_within_reach_or_wide_and_none_far_away_is() {
        let mut stream = Stream::for_study(9, "near");
        for count in [1, 62, 63, 64, 65, 127, 128, 700] {
            let mut means: Vec<f64> = (0..count).map(|_| stream.unit_f64()).collect();
            (means[0], means[count / 2]) = (0.0, 1.0);
            let wide = count - 1;
            let bandwidths = Bandwidths {
                narrowest: 0.01,
                wider: vec![(wide, 0.5)],
            };
            let index = KernelIndex::of(&means, &bandwidths);
            let mut near = Near::of(count + 1);
            for (low, high) in [(0.0, 0.0), (0.3, 0.3), (0.25, 0.4), (0.0, 1.0), (1.0, 1.0)] {
                let reach = stream.unit_f64() * 20.0;
                near.begin_near([(&index, (low, high))].into_iter(), reach);
                let found: Vec<usize> = near.kernels.iter().map(|k| *k as usize).collect();
                let away = |k: usize| (low - means[k]).max(means[k] - high).max(0.0);
                for k in 0..count {
                    let is_near = found.contains(&k);
                    let why = format!("{k} of {count}, {} from {low} to {high}", away(k));
                    if k == wide || away(k) <= reach * 0.01 {
                        assert!(is_near, "{why}");
                    } else if away(k) > reach * 0.01 + 1.0 / BINS as f64 {
                        assert!(!is_near, "{why}");
                    }
                }
                assert_eq!(found.last(), Some(&count), "the prior");
                assert!(found.is_sorted());
            }
            // Where nothing is known of any axis, all are near.
            near.begin_near([].into_iter(), 0.0);
            assert!(near.kernels.iter().copied().eq(0..=number(count)));
        }
    }
}
