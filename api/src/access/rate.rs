//! How many requests a key or an address may send: a token bucket each.

use crate::limits::{MAX_RATES_KEPT, RETRY_AFTER_SECONDS};
use crate::problem::Problem;
use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use trialmill_common::fault::Fault;

/// A bucket that is not used for this long is forgotten; it is full again by then.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Requests per second, and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl RateLimit {
    /// A limit of `per_second` requests, after `burst` at once; none when `per_second` is 0. The
    /// burst is at least one second's requests.
    ///
    /// ```
    /// use trialmill_api::RateLimit;
    ///
    /// assert!(RateLimit::new(0, 1000).is_none());
    /// assert!(RateLimit::new(500, 1000).is_some());
    /// ```
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        let per_second = NonZeroU32::new(per_second)?;
        let burst = NonZeroU32::new(burst)?.max(per_second);
        Some(Self { per_second, burst })
    }
}

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Environment,
    Key(i64),
    Peer(IpAddr),
}

/// The buckets.
pub(super) struct Rates {
    limit: Option<RateLimit>,
    buckets: Cache<Who, Arc<DefaultDirectRateLimiter>>,
}

impl Rates {
    pub fn new(limit: Option<RateLimit>) -> Self {
        let full = limit.map_or(0, |limit| limit.burst.get() / limit.per_second.get() + 1);
        let full = Duration::from_secs(full.into());
        let buckets = Cache::builder()
            .max_capacity(MAX_RATES_KEPT)
            // The usual policy would not let newcomers in.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(FORGET_AFTER.max(full))
            .build();
        Self { limit, buckets }
    }

    /// Counts a request of `who`, called `name`.
    ///
    /// # Errors
    /// 429 when it came too soon.
    pub fn take(&self, who: Who, name: &str) -> Result<(), Problem> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let RateLimit { per_second, burst } = limit;
        let bucket = self.buckets.get_with(who, || {
            let quota = Quota::per_second(per_second).allow_burst(burst);
            Arc::new(RateLimiter::direct(quota))
        });
        let Err(early) = bucket.check() else {
            return Ok(());
        };
        let wait = early.wait_time_from(bucket.clock().now());
        let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(RETRY_AFTER_SECONDS);
        let seconds = seconds.max(1);
        let whose = match who {
            Who::Peer(_) => format!("the address {name}"),
            Who::Environment | Who::Key(_) => format!("the key '{name}'"),
        };
        let detail = format!(
            "{whose} sent more than {per_second} requests per second (and {burst} at once), the \
             limit (TRIALMILL_RATE_PER_SECOND, TRIALMILL_RATE_BURST); wait {seconds} s and send \
             the same request again"
        );
        let fault = Fault::new("", "rate_limited", detail);
        let fault = fault.value(&name.into()).limit(per_second.get());
        Err(Problem::limit_reached(fault, seconds))
    }

    /// Counts a request of an address; one from within the process has none and is not counted.
    ///
    /// # Errors
    /// 429 when it came too soon.
    pub fn take_peer(&self, peer: Option<IpAddr>) -> Result<(), Problem> {
        match peer.map(household) {
            Some(address) => self.take(Who::Peer(address), &address.to_string()),
            None => Ok(()),
        }
    }
}

/// Whoever has one IPv6 address has the 2^64 of its network, so they count as one.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_comes_after_it_is_told_to_wait() {
        let rates = Rates::new(RateLimit::new(1, 3));
        let ask = |who| rates.take(who, "ci");
        for _ in 0..3 {
            assert!(ask(Who::Key(1)).is_ok());
        }
        let refused = ask(Who::Key(1)).unwrap_err();
        assert_eq!(refused.retry_after, Some(1));
        assert_eq!(refused.errors[0].code, "rate_limited");
        assert!(refused.detail.contains("'ci'"), "{}", refused.detail);
        assert!(ask(Who::Key(2)).is_ok(), "another key has its own");
        let off = Rates::new(RateLimit::new(0, 3));
        assert!((0..100).all(|_| off.take(Who::Key(1), "ci").is_ok()));
    }

    #[test]
    fn addresses_of_one_household_count_as_one() {
        let rates = Rates::new(RateLimit::new(1, 1));
        let ask = |text: &str| rates.take_peer(Some(text.parse().unwrap())).is_ok();
        assert!(ask("2001:db8::1") && !ask("2001:db8::ffff:2") && ask("2001:db8:0:1::1"));
        assert!(ask("10.0.0.1") && !ask("::ffff:10.0.0.1") && ask("10.0.0.2"));
        assert!((0..9).all(|_| rates.take_peer(None).is_ok()));
    }

    #[test]
    fn buckets_are_bounded_in_number() {
        let rates = Rates::new(RateLimit::new(1, 1));
        for n in 0..30_000_u32 {
            let address = IpAddr::V4(n.into());
            assert!(rates.take_peer(Some(address)).is_ok());
        }
        rates.buckets.run_pending_tasks();
        assert!(rates.buckets.entry_count() <= MAX_RATES_KEPT);
    }
}
