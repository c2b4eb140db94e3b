//! How long to wait before the next attempt, so that a broker that comes back is not run over.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Exponential waits with full jitter: attempt `n` waits between `least` and
/// `min(most, least * 2^n)`, uniformly.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    least: Duration,
    most: Duration,
    attempts: u32,
}

impl Backoff {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most: most.max(least),
            attempts: 0,
        }
    }

    /// The next wait. The first one after a reset is already jittered: a broker that restarts loses
    /// all its clients at the same moment.
    pub(super) fn wait(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let ceiling = self
            .least
            .saturating_mul(1 << self.attempts.min(16))
            .min(self.most);
        self.least + (ceiling - self.least).mul_f64(chance())
    }

    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// A number in [0, 1) from the random keys of the standard library's hash maps: jitter needs no
/// better source, and nothing repeatable depends on it.
fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).expect("32 bits are left");
    f64::from(bits) / 2_f64.powi(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_in_their_bounds_and_differ() {
        let (least, most) = (Duration::from_millis(250), Duration::from_secs(15));
        let mut seen = Vec::new();
        for _ in 0..200 {
            let mut backoff = Backoff::new(least, most);
            let waits: Vec<_> = (0..40).map(|_| backoff.wait()).collect();
            assert!(waits.iter().all(|wait| (least..=most).contains(wait)));
            assert!(waits[0] <= least * 2);
            backoff.reset();
            assert!(backoff.wait() <= least * 2);
            seen.push(waits[20]);
        }
        seen.sort();
        assert!(seen[0] < Duration::from_secs(5) && seen[199] > Duration::from_secs(10));
    }
}
