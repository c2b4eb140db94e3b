//! Sobol search: points that cover the space more evenly than random ones.

use sobol_burley::parts::{owen_scramble_rev, sobol_rev};

use crate::history::History;
use crate::point::Point;
use crate::random::Random;
use crate::sampler::{HistoryNeed, Sampler};
use crate::space::{MAX_PARAMETERS, Space};
use crate::stream::Stream;

/// Points of one scrambled sequence: `sobol_burley` keeps direction numbers for 16 bits.
const SEQUENCE_BITS: u32 = 16;

const _: () = assert!(MAX_PARAMETERS <= sobol_burley::NUM_DIMENSIONS as usize);

/// The Owen-scrambled Sobol sequence, indexed by trial number.
///
/// Direction numbers of Joe and Kuo (2008); scrambling by hash (Burley, "Practical hash-based Owen
/// scrambling", 2020) with Vegdahl's improved hash, as the crate `sobol_burley` has them, to 32
/// bits per value. Integer arithmetic throughout. A dimension is a parameter's position by name; its
/// scramble follows from the seed and the name. Distributions are those of
/// [`Random`](crate::Random).
///
/// A sequence has 65,536 points. Trials beyond it go on with another scramble of the same sequence:
/// each block of 65,536 trials covers the space evenly, and blocks are independent of each other.
/// The first 2^k trials of a block put exactly one point into each 2^k-th of every parameter's
/// range.
///
/// With constraints, trial `k` takes the `k`-th of the first sequence's points that keep them, so the
/// trials cover the allowed part of the space as evenly as the sequence covers the whole. All
/// 65,536 points are looked at in advance. Trials beyond the allowed ones are those of
/// [`Random`](crate::Random).
#[derive(Debug, Clone)]
pub struct Sobol {
    /// The indices of the first sequence's allowed points; `None` without constraints.
    allowed: Option<Vec<u16>>,
}

impl Sobol {
    /// The most bytes that the indices of allowed points take.
    pub(crate) const MOST_BYTES: usize = size_of::<u16>() << SEQUENCE_BITS;

    /// Looks for the allowed points, if there are constraints.
    #[must_use]
    pub fn new(space: &Space, seed: u64) -> Self {
        let sequence = SobolSequence::new(space, seed, 0);
        let is_allowed = |index: &u16| space.allows(&sequence.point(space, u32::from(*index)));
        let constrained = !space.constraints().is_empty();
        Self {
            allowed: constrained.then(|| (0..=u16::MAX).filter(is_allowed).collect()),
        }
    }
}

/// One scramble of the sequence.
pub(crate) struct SobolSequence {
    scrambles: Vec<u32>,
}

impl SobolSequence {
    pub(crate) fn new(space: &Space, seed: u64, block: u32) -> Self {
        let scramble = |parameter: &crate::Parameter| {
            let mut stream = Stream::for_sobol(seed, block, parameter.name());
            // The upper half of the word.
            u32::try_from(stream.next_u64() >> 32).expect("32 bits are left")
        };
        Self {
            scrambles: space.parameters().iter().map(scramble).collect(),
        }
    }

    /// The point at `index`, of which the lower 16 bits count. It may break constraints.
    pub(crate) fn point(&self, space: &Space, index: u32) -> Point {
        const SCALE: f64 = 1.0 / (1u64 << 32) as f64;
        let reversed = index.reverse_bits();
        let parameters = space.parameters().iter().zip(&self.scrambles).zip(0..);
        let values = parameters.map(|((parameter, scramble), dimension)| {
            let bits = owen_scramble_rev(sobol_rev(reversed, dimension), *scramble).reverse_bits();
            parameter.domain().at_unit(f64::from(bits) * SCALE)
        });
        space.without_inactive(values.collect())
    }
}

impl Sampler for Sobol {
    fn history_need(&self) -> HistoryNeed {
        HistoryNeed::None
    }

    fn size_limit(&self) -> Option<u64> {
        None
    }

    /// `None` only if no allowed point was found.
    fn ask(&self, space: &Space, history: &History<'_>, seed: u64, number: u32) -> Option<Point> {
        let Some(allowed) = &self.allowed else {
            let sequence = SobolSequence::new(space, seed, number >> SEQUENCE_BITS);
            return Some(sequence.point(space, number));
        };
        match allowed.get(number as usize) {
            Some(index) => {
                let sequence = SobolSequence::new(space, seed, 0);
                Some(sequence.point(space, u32::from(*index)))
            }
            None => Random.ask(space, history, seed, number),
        }
    }
}
