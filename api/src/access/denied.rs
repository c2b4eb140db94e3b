//! Refused requests as events of the audit: gathered, so that an attacker cannot fill the disk.

use crate::limits::{DENIED_GATHERED, MAX_DENIED_CALLERS};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use trialmill_store::Store;
use trialmill_store::keys::AuditEvent;

/// A refused request, as far as it is told apart from others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Denial {
    /// Name of the key; "" without a valid one.
    pub key: String,
    /// The address, or the scope that was missing.
    pub target: String,
    pub detail: &'static str,
}

/// What was refused and is not written yet.
#[derive(Default)]
pub(super) struct Denied(Mutex<Gathered>);

#[derive(Default)]
struct Gathered {
    times: BTreeMap<Denial, u32>,
    /// Whether somebody will come to write them.
    writing: bool,
}

impl Denied {
    /// Counts a refusal. The first one is written at once, those of the next minute together after
    /// it, and so on while there are any; a process that ends takes the last minute with it.
    pub fn note(self: &Arc<Self>, store: &Arc<dyn Store>, denial: Denial) {
        if self.count(denial) {
            tokio::spawn(write(Arc::clone(self), Arc::clone(store)));
        }
    }

    /// Counts a refusal; whether a writer is to be started.
    fn count(&self, denial: Denial) -> bool {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told_apart = gathered.times.len() < MAX_DENIED_CALLERS;
        let denial = if told_apart || gathered.times.contains_key(&denial) {
            denial
        } else {
            Denial {
                key: String::new(),
                target: "others".to_owned(),
                detail: "401 or 403: more callers than are told apart",
            }
        };
        let times = gathered.times.entry(denial).or_default();
        *times = times.saturating_add(1);
        !std::mem::replace(&mut gathered.writing, true)
    }

    /// What was gathered; nothing, and no more writer, when nothing was.
    fn take(&self) -> Option<Vec<AuditEvent>> {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.times.is_empty() {
            gathered.writing = false;
            return None;
        }
        let event = |(denial, times): (Denial, u32)| AuditEvent {
            times,
            ..AuditEvent::once(&denial.key, "request.denied", denial.target).detail(denial.detail)
        };
        let times = std::mem::take(&mut gathered.times);
        Some(times.into_iter().map(event).collect())
    }
}

async fn write(denied: Arc<Denied>, store: Arc<dyn Store>) {
    while let Some(events) = denied.take() {
        if let Err(error) = store.audit(&events).await {
            let times: u64 = events.iter().map(|event| u64::from(event.times)).sum();
            tracing::warn!(%error, times, "refused requests were not written to the audit");
        }
        tokio::time::sleep(DENIED_GATHERED).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_callers_become_few_events_and_no_refusal_is_lost() {
        let denied = Denied::default();
        let from = |n: u32| Denial {
            key: String::new(),
            target: format!("10.0.0.{n}"),
            detail: "401",
        };
        let started: Vec<bool> = (0..500).map(|n| denied.count(from(n % 100))).collect();
        assert_eq!(started.iter().filter(|started| **started).count(), 1);
        let events = denied.take().unwrap();
        assert_eq!(events.len(), MAX_DENIED_CALLERS + 1);
        assert_eq!(events.iter().map(|event| event.times).sum::<u32>(), 500);
        assert!(denied.take().is_none());
        assert!(denied.count(from(1)), "the writer has gone: another starts");
    }
}
