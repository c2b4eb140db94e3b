//! Chance as an argument: one random stream per (seed, trial number, parameter name).

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What a stream is for; the fourth word of its key, so that no two uses share random numbers.
/// The numbers are part of the recorded results: never change or reuse one.
#[derive(Clone, Copy)]
enum Purpose {
    Parameter = 1,
    Study = 2,
    Sampler = 3,
    Sobol = 4,
    Pruner = 5,
}

/// A stream of random numbers that is fixed, for ever, by its key.
///
/// ChaCha with 8 rounds, counter and nonce zero, over a 256-bit key of four little-endian words:
///
/// ```text
/// mix(seed)  mix(trial number)  mix(fnv1a64(name))  mix(purpose)
/// ```
///
/// `mix` is the first output of SplitMix64 seeded with its argument (Steele, Lea and Flood, 2014);
/// `fnv1a64` is the 64-bit FNV-1a hash of the UTF-8 bytes (RFC 9923). `mix` is a bijection, so
/// two keys differ whenever seed, number, purpose or the name's hash differ. Two names with equal
/// hashes would share a stream; among the at most 100 names of a space that has a chance below 1e-15.
///
/// ```
/// use trialmill_search::Stream;
///
/// let mut stream = Stream::for_parameter(42, 7, "lookback");
/// let same = Stream::for_parameter(42, 7, "lookback").next_u64();
/// assert_eq!(stream.next_u64(), same);
/// ```
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream from which the parameter `name` of trial `number` is drawn.
    #[must_use]
    pub fn for_parameter(seed: u64, number: u32, name: &str) -> Self {
        Self::keyed(seed, u64::from(number), name, Purpose::Parameter)
    }

    /// A stream that belongs to the whole study, such as the order of a grid (`label`
    /// `grid_order`). Independent of every parameter's stream.
    #[must_use]
    pub fn for_study(seed: u64, label: &str) -> Self {
        Self::keyed(seed, 0, label, Purpose::Study)
    }

    /// The seed of one of several studies of the same space that are made from one seed: that seed
    /// itself for the first, and one that is independent of the others for each that follows.
    ///
    /// ```
    /// use trialmill_search::Stream;
    ///
    /// assert_eq!(Stream::seed_of_part(42, 0), 42);
    /// assert_ne!(Stream::seed_of_part(42, 1), Stream::seed_of_part(42, 2));
    /// ```
    #[must_use]
    pub fn seed_of_part(seed: u64, part: u32) -> u64 {
        match part {
            0 => seed,
            part => Self::keyed(seed, u64::from(part), "part", Purpose::Study).next_u64(),
        }
    }

    /// The stream from which a sampler with a model draws what is not of one parameter: the whole
    /// point of trial `number`, say.
    pub(crate) fn for_sampler(seed: u64, number: u32, label: &str) -> Self {
        Self::keyed(seed, u64::from(number), label, Purpose::Sampler)
    }

    /// The stream of a parameter's scramble in a block of trials of Sobol search.
    pub(crate) fn for_sobol(seed: u64, block: u32, name: &str) -> Self {
        Self::keyed(seed, u64::from(block), name, Purpose::Sobol)
    }

    /// The stream from which a pruner draws what it draws for trial `number`, such as its bracket.
    pub(crate) fn for_pruner(seed: u64, number: u32, label: &str) -> Self {
        Self::keyed(seed, u64::from(number), label, Purpose::Pruner)
    }

    fn keyed(seed: u64, number: u64, name: &str, purpose: Purpose) -> Self {
        let words = [seed, number, fnv1a64(name.as_bytes()), purpose as u64];
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&mix(word).to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`: the upper 53 bits of the next word times 2^-53, so every value is a
    /// multiple of 2^-53 and 1 is never reached.
    pub fn unit_f64(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
        (self.next_u64() >> 11) as f64 * SCALE
    }

    /// Uniform among `0..n`, without bias (Lemire, "Fast random integer generation in an
    /// interval", 2019). Takes one word, rarely more.
    ///
    /// # Panics
    /// If `n` is 0: there is nothing to draw.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "a draw below 0 has no value");
        let (mut high, mut low) = self.next_product(n);
        if low < n {
            // The first 2^64 mod n products of each interval are surplus; dropping them leaves
            // every result the same number of words.
            let surplus = n.wrapping_neg() % n;
            while low < surplus {
                (high, low) = self.next_product(n);
            }
        }
        high
    }

    /// Upper and lower half of the next word times `n`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of 128 bits are taken"
    )]
    fn next_product(&mut self, n: u64) -> (u64, u64) {
        let product = u128::from(self.next_u64()) * u128::from(n);
        ((product >> 64) as u64, product as u64)
    }
}

fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
