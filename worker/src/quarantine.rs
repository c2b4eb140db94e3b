//! A worker that fails for reasons of its own takes no more units until it has tested itself.
//!
//! One bad machine (no memory for a child, a program that is gone, a disk that is full) gives its
//! units back at once, and so is free for the next one sooner than any healthy worker: without a
//! quarantine it would see most of the work of a whole fleet. Failures of trials do not count, nor
//! does a unit that wants another build.

use crate::backoff::Backoff;
use crate::running::{Phase, Shared};
use crate::selftest;
use crate::stop::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// So many failures of its own in a row, without a trial that ended in between, put a worker in
/// quarantine: one may be chance, the second the same unit come back, three are a habit.
pub(crate) const MOST_OWN_FAILURES: u32 = 3;
/// The longest pause between two self-tests.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How a worker is doing.
#[derive(Debug)]
pub(crate) struct Health {
    /// Own failures since a trial ended here.
    failures: AtomicU32,
    /// Self-tests since a trial ended here: each pause is twice the one before.
    tests: AtomicU32,
    quarantine: watch::Sender<Option<String>>,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            failures: AtomicU32::new(0),
            tests: AtomicU32::new(0),
            quarantine: watch::Sender::new(None),
        }
    }

    /// Why the worker is in quarantine, if it is.
    pub(crate) fn quarantine(&self) -> watch::Receiver<Option<String>> {
        self.quarantine.subscribe()
    }

    pub(crate) fn is_quarantined(&self) -> bool {
        self.quarantine.borrow().is_some()
    }

    /// A trial ended here, well or badly: the worker can do its work.
    pub(crate) fn worked(&self) {
        self.failures.store(0, Ordering::Release);
        self.tests.store(0, Ordering::Release);
    }

    /// The worker failed, not a trial. Returns whether it goes into quarantine now.
    fn failed(&self, why: &str) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::AcqRel) + 1;
        if failures < MOST_OWN_FAILURES {
            return false;
        }
        let reason = format!("{failures} failures of its own in a row, the last one: {why}");
        self.quarantine.send_if_modified(|now| {
            let first = now.is_none();
            now.get_or_insert(reason);
            first
        })
    }

    /// How long to wait for the next self-test.
    fn pause(&self, first: Duration) -> Duration {
        let tests = self.tests.fetch_add(1, Ordering::AcqRel).min(16);
        first.saturating_mul(1 << tests).min(LONGEST_PAUSE)
    }
}

/// Counts a failure of this worker; one too many sends it into quarantine, and its units back.
pub(crate) fn count_own_failure(shared: &Shared, why: &str) {
    if shared.health.failed(why) {
        for unit in shared.held.all() {
            unit.raise(Signal::HandBack);
        }
    }
}

/// Looks after the quarantine until the worker leaves.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut phase = shared.phase.subscribe();
    tokio::select! {
        // An error means that the worker is gone.
        _ = phase.wait_for(|phase| *phase > Phase::Running) => {}
        () = keep_watch(&shared) => {}
    }
}

async fn keep_watch(shared: &Shared) {
    let mut quarantine = shared.health.quarantine();
    loop {
        let reason = match quarantine.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().expect("waited until it is there"),
            Err(_) => return,
        };
        tracing::error!(reason, "the worker is in quarantine: it takes no units");
        tell(shared, Some(&reason)).await;
        recover(shared, &reason).await;
        // The store first: whoever takes units counts as live.
        tell(shared, None).await;
        shared.health.failures.store(0, Ordering::Release);
        shared.health.quarantine.send_replace(None);
        tracing::info!("the self-test passed: the worker takes units again");
    }
}

/// Tests the worker until it passes.
async fn recover(shared: &Shared, reason: &str) {
    loop {
        tokio::time::sleep(shared.health.pause(shared.options.quarantine)).await;
        let Err(fault) = selftest::run(shared).await else {
            return;
        };
        tracing::warn!(fault, "the self-test fails: the worker stays in quarantine");
        let reason = format!("{reason}; its self-test says: {fault}");
        shared.health.quarantine.send_replace(Some(reason.clone()));
        tell(shared, Some(&reason)).await;
    }
}

/// Tells the store, however long it is away.
async fn tell(shared: &Shared, reason: Option<&str>) {
    let mut backoff = Backoff::new();
    loop {
        let told = shared.store.quarantine(shared.card.id, reason).await;
        match told {
            Ok(()) => return,
            Err(error) if error.is_transient() => tokio::time::sleep(backoff.delay()).await,
            Err(error) => {
                tracing::error!(%error, "the quarantine could not be written down");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_of_own_failures_is_a_quarantine() {
        let health = Health::new();
        for _ in 0..10 {
            assert!(!health.failed("no child"));
            assert!(!health.failed("no child"));
            health.worked();
        }
        assert!(!health.failed("no child"));
        assert!(!health.failed("no child"));
        assert!(health.failed("no memory"));
        assert!(!health.failed("again"), "it is in quarantine already");
        let reason = health.quarantine().borrow().clone().unwrap();
        assert_eq!(
            reason,
            "3 failures of its own in a row, the last one: no memory"
        );
    }

    #[test]
    fn pauses_grow_to_a_bound_until_a_trial_ends() {
        let health = Health::new();
        let first = Duration::from_secs(5);
        let pauses: Vec<u64> = (0..9).map(|_| health.pause(first).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        health.worked();
        assert_eq!(health.pause(first), first);
    }
}
