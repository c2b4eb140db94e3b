//! What is removed after its time, and what is not.

use crate::database::Database;
use crate::given::{Given, card, flush, hour, task, trial};
use std::sync::Arc;
use std::time::Duration;
use trialmill_common::protocol::Event;
use trialmill_common::protocol::Tally;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::{OriginHow, StopReason, TaskId, WorkerId};
use trialmill_store::keys::AuditEvent;
use trialmill_store::rows::{ControlOutcome, Idempotency, NewTask, Origin, TrialFilter};
use trialmill_store::{Keep, StoreError, TIDY_ROWS, Tidied, UnitFlush};
use uuid::Uuid;

/// Everything that has ended is too old.
const NOTHING: Keep = Keep {
    events: Duration::ZERO,
    tasks: Some(Duration::ZERO),
};

/// Only events are too old.
const NO_EVENTS: Keep = Keep {
    events: Duration::ZERO,
    tasks: None,
};

async fn ended(given: &Given) -> TaskId {
    let id = given.submit(task(4, Some(1))).await;
    let claim = given.claim(id, 0).await;
    given.record(flush(&claim, 1, UnitEnd::Keep)).await;
    let rest = UnitFlush {
        recorded_before: 1,
        trials: (1..4).map(|n| trial(n, Tally::value(1.0))).collect(),
        ..flush(&claim, 0, UnitEnd::Close)
    };
    given.record(rest).await;
    id
}

/// Tidies until there is nothing more at once; the sum.
async fn tidy(given: &Given, keep: &Keep) -> Tidied {
    let mut sum = Tidied::default();
    loop {
        let tidied = given.store.tidy(keep).await.unwrap();
        sum.events += tidied.events;
        sum.keys += tidied.keys;
        sum.workers += tidied.workers;
        sum.audit += tidied.audit;
        sum.tasks += tidied.tasks;
        sum.trials += tidied.trials;
        if !tidied.more {
            return sum;
        }
    }
}

pub async fn what_is_kept_is_not_touched(database: Arc<Database>) {
    let given = Given::new(database).await;
    let done = ended(&given).await;
    let alive = given.submit(task(4, Some(1))).await;
    assert!(tidy(&given, &Keep::default()).await.is_nothing());
    // What has not ended is kept, whatever its age.
    let events = given.store.events(alive, 0, 10).await.unwrap();
    let trials = given.trials(done).await;
    tidy(&given, &NO_EVENTS).await;
    assert_eq!(given.store.events(alive, 0, 10).await.unwrap(), events);
    assert_eq!(given.trials(done).await, trials);
    given.verify().await;
}

pub async fn events_of_ended_tasks_are_removed_but_for_the_last(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = ended(&given).await;
    let before = given.task(id).await;
    let events = given.store.events(id, 0, 10).await.unwrap();
    assert_eq!(events.len(), 5, "{events:?}");
    let tidied = tidy(&given, &NO_EVENTS).await;
    assert_eq!((tidied.events, tidied.tasks), (4, 0));
    assert!(tidy(&given, &NO_EVENTS).await.is_nothing());
    let kept = given.store.events(id, 0, 10).await.unwrap();
    assert_eq!(kept, events[4..]);
    assert!(matches!(kept[0].event, Event::Ended { .. }));
    // Nothing of the results was in them.
    assert_eq!(given.task(id).await, before);
    assert_eq!(given.trials(id).await.len(), 4);
    let refused = given.store.history(id, 0, 0..u32::MAX).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("ended long ago"), "{refused}");
    let nothing_new = given
        .store
        .history(id, before.ledger.seq, 0..u32::MAX)
        .await
        .unwrap();
    assert!(nothing_new.trials.is_empty() && nothing_new.complete);
    given.verify().await;
}

pub async fn old_keys_and_gone_workers_are_removed(database: Arc<Database>) {
    let given = Given::new(database.clone()).await;
    let key = |key: &str| Idempotency {
        scope: String::new(),
        key: key.to_owned(),
        body_hash: [7; 32],
    };
    given
        .store
        .submit(task(1, None), Some(key("old")))
        .await
        .unwrap();
    let alone = WorkerId(Uuid::now_v7());
    let mut unique = card(alone, 1, "default");
    unique.strategies = vec!["sphere".to_owned(), "nobody_else".to_owned()];
    given.store.announce(&unique).await.unwrap();
    let gone = WorkerId(Uuid::now_v7());
    given
        .store
        .announce(&card(gone, 1, "default"))
        .await
        .unwrap();
    drop(given);
    database
        .plant("update idempotency_keys set created_at = {long_ago}; update workers set seen_at = {long_ago}")
        .await;
    let given = Given::new(database.clone()).await;
    let fresh = key("fresh");
    given
        .store
        .submit(task(1, None), Some(fresh))
        .await
        .unwrap();
    let tidied = tidy(&given, &Keep::default()).await;
    // The one that no later worker could stand in for stays: it is asked which objectives there are.
    // (A submission removes old keys of its own on SQLite.)
    assert!(tidied.keys <= 1 && tidied.workers == 2, "{tidied:?}");
    assert!(given.store.idempotent("", "old").await.unwrap().is_none());
    assert!(given.store.idempotent("", "fresh").await.unwrap().is_some());
    assert!(given.store.ever_announced("nobody_else").await.unwrap());
    assert!(given.store.ever_announced("sphere").await.unwrap());
    assert!(tidy(&given, &Keep::default()).await.is_nothing());
}

pub async fn old_events_of_the_audit_are_removed(database: Arc<Database>) {
    let given = Given::new(database.clone()).await;
    let event = |target: &str| AuditEvent::once("ci", "task.cancel", target);
    let old = [event("a"), event("b")];
    given.store.audit(&old).await.unwrap();
    drop(given);
    database
        .plant("update audit_events set at = {long_ago}")
        .await;
    let given = Given::new(database).await;
    given.store.audit(&[event("c")]).await.unwrap();
    assert_eq!(tidy(&given, &Keep::default()).await.audit, 2);
    let left = given.store.audit_page(None, 10).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].event, event("c"));
    assert!(tidy(&given, &Keep::default()).await.is_nothing());
}

pub async fn old_tasks_are_removed_with_their_trials_in_batches(database: Arc<Database>) {
    let given = Given::new(database).await;
    let alive = given.submit(task(4, Some(1))).await;
    let small = ended(&given).await;
    let many = 3 * TIDY_ROWS + 7;
    let large = given.submit(task(many, Some(1))).await;
    let claim = given.claim(large, 0).await;
    given.record(flush(&claim, many, UnitEnd::Close)).await;
    let mut calls = 0;
    let mut trials = 0;
    loop {
        let tidied = given.store.tidy(&NOTHING).await.unwrap();
        assert!(tidied.trials <= 2 * u64::from(TIDY_ROWS) + 4, "{tidied:?}");
        trials += tidied.trials;
        calls += 1;
        // Half removed is no violation.
        given.verify().await;
        if !tidied.more {
            break;
        }
    }
    assert_eq!(trials, u64::from(many) + 4);
    assert!(calls >= 2, "{calls}");
    for id in [small, large] {
        assert_eq!(given.store.task(id).await.unwrap(), None);
        assert_eq!(given.trials(id).await, []);
        assert_eq!(given.store.events(id, 0, 10).await.unwrap(), []);
    }
    assert!(given.store.task(alive).await.unwrap().is_some());
}

pub async fn a_deleted_task_leaves_its_trials_to_the_tidying(database: Arc<Database>) {
    let given = Given::new(database).await;
    let many = TIDY_ROWS + 7;
    let id = given.submit(task(many, Some(1))).await;
    let claim = given.claim(id, 0).await;
    given.record(flush(&claim, many, UnitEnd::Close)).await;
    let other = ended(&given).await;
    assert!(matches!(
        given.store.delete(id).await.unwrap(),
        ControlOutcome::Done(_)
    ));
    assert_eq!(given.store.task(id).await.unwrap(), None);
    given.verify().await;
    let tidied = tidy(&given, &Keep::default()).await;
    assert_eq!((tidied.trials, tidied.tasks), (7, 0));
    assert_eq!(given.trials(id).await, []);
    assert_eq!(given.trials(other).await.len(), 4);
    given.verify().await;
}

pub async fn a_copy_that_is_deleted_before_it_ran_leaves_nothing(database: Arc<Database>) {
    let given = Given::new(database).await;
    let many = 2 * TIDY_ROWS + 7;
    let origin = given.submit(task(many, Some(1))).await;
    let claim = given.claim(origin, 0).await;
    given.record(flush(&claim, many, UnitEnd::Close)).await;
    let how = OriginHow::Extend;
    let copy = NewTask {
        origin: Some(Origin { task: origin, how }),
        ..task(many + 10, Some(1))
    };
    let copy = given.submit(copy).await;
    given.store.stop(copy, StopReason::Cancelled).await.unwrap();
    assert_eq!(given.task(copy).await.ledger.copied.trials, many);
    assert!(matches!(
        given.store.delete(copy).await.unwrap(),
        ControlOutcome::Done(_)
    ));
    given.verify().await;
    let tidied = tidy(&given, &Keep::default()).await;
    assert_eq!(
        (tidied.trials, tidied.tasks),
        (u64::from(many - TIDY_ROWS), 0)
    );
    assert_eq!(given.trials(copy).await, []);
    // The origin keeps its own, to the last; how many it has is a rule of `verify`.
    let last = TrialFilter {
        after: Some(many - 2),
        limit: 10,
        ..TrialFilter::default()
    };
    assert_eq!(given.store.trials(origin, last).await.unwrap().len(), 1);
    given.verify().await;
}

pub async fn several_that_tidy_at_once_do_no_harm(database: Arc<Database>) {
    let given = Given::new(database.clone()).await;
    for _ in 0..20 {
        ended(&given).await;
    }
    let kept = given.submit(task(4, Some(1))).await;
    let stores = [database.store(hour()).await, database.store(hour()).await];
    let mut tidying = tokio::task::JoinSet::new();
    for store in stores.into_iter().chain([given.store.clone()]) {
        tidying.spawn(async move {
            let mut sum = (0, 0, 0);
            // Who finds another one at work has nothing to do, and comes again.
            for _ in 0..20 {
                let tidied = store.tidy(&NOTHING).await.unwrap();
                sum.0 += tidied.events;
                sum.1 += tidied.tasks;
                sum.2 += tidied.trials;
            }
            sum
        });
    }
    let mut sum = (0, 0, 0);
    while let Some(one) = tidying.join_next().await {
        let one = one.unwrap();
        sum = (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2);
    }
    assert_eq!(sum, (20 * 4, 20, 20 * 4));
    assert!(given.store.task(kept).await.unwrap().is_some());
    given.verify().await;
}
