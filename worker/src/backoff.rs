//! Waiting between attempts: doubling, bounded, with chance in it so that workers do not march in
//! step.

use std::time::Duration;
use uuid::Uuid;

const LEAST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(5);

/// The waits between the attempts of one operation.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: LEAST }
    }

    /// The next wait: between half and all of 50 ms, 100 ms, ... 5 s.
    pub(crate) fn delay(&mut self) -> Duration {
        let delay = jittered(self.next);
        self.next = (self.next * 2).min(MOST);
        delay
    }
}

/// Between half and all of `full`.
pub(crate) fn jittered(full: Duration) -> Duration {
    // The low 32 bits of a version 4 UUID are random; nothing that is recorded depends on them.
    let chance = Uuid::new_v4().as_u128() & u128::from(u32::MAX);
    #[expect(clippy::cast_precision_loss, reason = "32 bits are exact in a double")]
    let part = chance as f64 / f64::from(u32::MAX);
    full.mul_f64(0.5 + 0.5 * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_the_limit() {
        let mut backoff = Backoff::new();
        assert!(backoff.delay() <= LEAST);
        for _ in 0..20 {
            assert!(backoff.delay() <= MOST);
        }
        assert!(backoff.delay() >= MOST / 2);
    }
}
