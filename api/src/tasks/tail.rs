//! The newest events of the tasks that are watched, read once for all watchers of this process.
//!
//! A busy store commits many times a second. Without this every watcher would look for news after
//! each commit, whichever task it was about: 500 watchers are thousands of queries per second. Now
//! one reader asks for the last event numbers of all watched tasks in one query, and reads the new
//! events of those that have any. It lives while somebody watches.

use crate::limits::{EVENT_COALESCE, EVENT_PAGE, EVENT_POLL};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tokio::sync::watch;
use trialmill_common::state::TaskId;
use trialmill_store::rows::EventRow;
use trialmill_store::{Store, StoreError};

/// How often a transient failure of the store is borne before the watchers are let go, to come back
/// or not: about a minute of looking once a second.
pub(super) const MAX_FAILURES_IN_A_ROW: u32 = 60;

/// What is known of a task's events: the last page that was read, at most [`EVENT_PAGE`].
#[derive(Debug, Clone, Default)]
pub(super) struct Newest {
    /// The number of the last event.
    pub seq: i64,
    /// The last events, in order, up to `seq`; none before the first news.
    pub rows: Arc<[EventRow]>,
    /// Whether no more will come: the task was deleted, or the store cannot be read.
    pub over: bool,
}

impl Newest {
    /// The events after `after`, if they are all here.
    pub fn after(&self, after: i64) -> Option<Vec<EventRow>> {
        let first = self.rows.first()?.seq;
        if first > after + 1 || self.seq <= after {
            return None;
        }
        let new = self.rows.iter().filter(|row| row.seq > after);
        Some(new.cloned().collect())
    }
}

/// One watched task. It is forgotten when its last watcher lets it go.
pub(super) type Tail = watch::Sender<Newest>;

#[derive(Default)]
struct Watched {
    tails: HashMap<TaskId, Weak<Tail>>,
    reading: bool,
}

/// All watched tasks of a process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tails {
    store: Arc<dyn Store>,
    watched: Arc<Mutex<Watched>>,
}

fn locked(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().expect("no panic while held")
}

impl Tails {
    /// Nothing is watched yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            watched: Arc::default(),
        }
    }

    /// Watches a task whose last event is `seq` or a later one.
    pub(super) fn watch(&self, id: TaskId, seq: i64) -> Arc<Tail> {
        let mut watched = locked(&self.watched);
        let tail = watched.tails.get(&id).and_then(Weak::upgrade);
        let tail = tail.unwrap_or_else(|| {
            let tail = Arc::new(watch::Sender::new(Newest {
                seq,
                ..Newest::default()
            }));
            watched.tails.insert(id, Arc::downgrade(&tail));
            tail
        });
        if !watched.reading {
            watched.reading = true;
            let reader = Reader {
                store: Arc::clone(&self.store),
                watched: Arc::clone(&self.watched),
            };
            tokio::spawn(reader.run());
        }
        tail
    }
}

/// The one that reads. Whatever ends it, the next watcher starts another.
struct Reader {
    store: Arc<dyn Store>,
    watched: Arc<Mutex<Watched>>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Ok(mut watched) = self.watched.lock() {
            watched.reading = false;
        }
    }
}

impl Reader {
    async fn run(self) {
        let mut changed = self.store.changed();
        let mut failures = 0;
        loop {
            // Seen before reading: what is committed while we read wakes us again.
            changed.mark_unchanged();
            let Some(tails) = self.live() else { return };
            match self.read(&tails).await {
                Ok(()) => failures = 0,
                Err(error) if error.is_transient() && failures < MAX_FAILURES_IN_A_ROW => {
                    failures += 1;
                }
                Err(error) => {
                    tracing::error!(%error, watched = tails.len(), "the watchers are let go");
                    for tail in tails.values() {
                        tail.send_modify(|newest| newest.over = true);
                    }
                }
            }
            drop(tails);
            // A wake-up may be lost: the time bounds what that costs.
            match tokio::time::timeout(EVENT_POLL, changed.changed()).await {
                Ok(Ok(())) => tokio::time::sleep(EVENT_COALESCE).await,
                // Without a sender nothing will ever be told again: fall back to looking.
                Ok(Err(_)) => tokio::time::sleep(EVENT_POLL).await,
                Err(_) => {}
            }
        }
    }

    /// The tasks that somebody watches; nothing, and the end of this reader, when there are none.
    fn live(&self) -> Option<HashMap<TaskId, Arc<Tail>>> {
        let mut watched = locked(&self.watched);
        watched.tails.retain(|_, tail| tail.strong_count() > 0);
        let live = |(id, tail): (&TaskId, &Weak<Tail>)| Some((*id, tail.upgrade()?));
        let tails: HashMap<_, _> = watched.tails.iter().filter_map(live).collect();
        // Decided under the lock: whoever watches from now on starts another reader.
        watched.reading = !tails.is_empty();
        (!tails.is_empty()).then_some(tails)
    }

    async fn read(&self, tails: &HashMap<TaskId, Arc<Tail>>) -> Result<(), StoreError> {
        let ids: Vec<TaskId> = tails.keys().copied().collect();
        let seqs = self.store.last_events(&ids).await?;
        for (id, tail) in tails {
            let known = tail.borrow().seq;
            let Some(seq) = seqs.get(id) else {
                tail.send_modify(|newest| newest.over = true);
                continue;
            };
            if *seq <= known {
                continue;
            }
            // Whoever is further behind than a page reads for itself.
            let after = known.max(seq - i64::from(EVENT_PAGE));
            let rows = self.store.events(*id, after, EVENT_PAGE).await?;
            if let Some(last) = rows.last() {
                let seq = last.seq;
                tail.send_replace(Newest {
                    seq,
                    rows: rows.into(),
                    over: false,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trialmill_common::protocol::Event;

    fn newest(seqs: std::ops::RangeInclusive<i64>) -> Newest {
        let row = |seq| EventRow {
            seq,
            at: chrono::DateTime::UNIX_EPOCH,
            event: Event::Accepted,
        };
        Newest {
            seq: *seqs.end(),
            rows: seqs.map(row).collect(),
            over: false,
        }
    }

    #[test]
    fn a_watcher_takes_what_is_new_to_it_and_only_if_nothing_is_missing_before() {
        let page = newest(5..=9);
        let after = |seq| {
            let rows = page.after(seq)?;
            Some(rows.iter().map(|row| row.seq).collect::<Vec<_>>())
        };
        assert_eq!(after(4), Some(vec![5, 6, 7, 8, 9]));
        assert_eq!(after(8), Some(vec![9]));
        assert_eq!(after(3), None, "event 4 is missing");
        assert_eq!(after(9), None, "it has seen them all");
        assert!(Newest::default().after(0).is_none());
    }
}
