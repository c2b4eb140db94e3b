//! A submission is stored once, whole.

use crate::database::Database;
use crate::given::{Given, task};
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_common::fault::Warning;
use trialmill_common::protocol::Event;
use trialmill_common::state::TaskState;
use trialmill_store::rows::{Idempotency, Priority, Snapshot, Submitted};

fn key(body: u8) -> Option<Idempotency> {
    let (scope, key) = ("alice".to_owned(), "order-1".to_owned());
    Some(Idempotency {
        scope,
        key,
        body_hash: [body; 32],
    })
}

pub async fn a_submitted_task_reads_back_as_it_was_given(database: Arc<Database>) {
    let given = Given::new(database).await;
    let mut new = task(100, Some(2));
    new.timeout = Some(90.5);
    new.priority = Priority::High;
    new.snapshot = Snapshot {
        series: BTreeMap::from([("SYN00.SZ".to_owned(), [7; 32])]),
        records: BTreeMap::from([("SYN00.SZ".to_owned(), [9; 32])]),
    };
    new.warnings = vec![Warning {
        code: "no_live_worker".to_owned(),
        pointer: "/pool".to_owned(),
        detail: "no worker is live".to_owned(),
    }];
    let id = given.submit(new.clone()).await;
    let row = given.task(id).await;
    assert_eq!(
        (row.name, row.strategy, row.pool),
        (new.name, new.strategy, new.pool)
    );
    assert_eq!(
        (row.request, row.spec, row.resolved),
        (new.request, new.spec, new.resolved)
    );
    assert_eq!(
        (row.stock_codes, row.warnings),
        (new.stock_codes, new.warnings)
    );
    assert_eq!(
        (row.seed, row.timeout, row.priority),
        (new.seed, new.timeout, new.priority)
    );
    assert_eq!(
        (row.kind, row.engine, row.not_before),
        (new.kind, new.engine, None)
    );
    assert_eq!(
        (row.started_at, row.completed_at, row.error),
        (None, None, None)
    );
    let pinned = given.store.snapshot(row.snapshot.unwrap()).await.unwrap();
    assert_eq!(pinned, Some(new.snapshot));
    let events = given.store.events(id, 0, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].seq, &events[0].event), (1, &Event::Accepted));
    assert_eq!(events[0].at, row.created_at);
    given.verify().await;
}

pub async fn the_same_key_and_body_answer_with_the_task_they_made(database: Arc<Database>) {
    let given = Given::new(database).await;
    let first = task(10, None);
    let sent = key(1).expect("a key");
    let before = given.store.idempotent(&sent.scope, &sent.key).await;
    assert_eq!(before.unwrap(), None);
    let created = given.store.submit(first.clone(), key(1)).await.unwrap();
    assert!(matches!(created, Submitted::Created(_)), "{created:?}");
    let made = given.store.idempotent(&sent.scope, &sent.key).await;
    let (body_hash, row) = made.unwrap().expect("made just now");
    assert_eq!((body_hash, row.id), (sent.body_hash, first.id));
    let elsewhere = given.store.idempotent("nobody", &sent.key).await;
    assert_eq!(elsewhere.unwrap(), None);
    match given.store.submit(task(10, None), key(1)).await.unwrap() {
        Submitted::Repeated(row) => assert_eq!(row.id, first.id),
        other => panic!("a repeated submission was answered with {other:?}"),
    }
    let other_body = given.store.submit(task(10, None), key(2)).await.unwrap();
    assert!(
        matches!(other_body, Submitted::KeyConflict),
        "{other_body:?}"
    );
    let other_scope = key(2).map(|k| Idempotency {
        scope: "bob".to_owned(),
        ..k
    });
    let other_scope = given
        .store
        .submit(task(10, None), other_scope)
        .await
        .unwrap();
    assert!(
        matches!(other_scope, Submitted::Created(_)),
        "{other_scope:?}"
    );
    given.verify().await;
}

pub async fn a_key_that_is_a_day_old_is_free_again(database: Arc<Database>) {
    let given = Given::new(database.clone()).await;
    given.store.submit(task(10, None), key(1)).await.unwrap();
    drop(given);
    let day_old = match *database {
        Database::Sqlite { .. } => "created_at - 86400000001",
        Database::Postgres { .. } => "created_at - interval '24 hours 1 second'",
    };
    database
        .plant(&format!(
            "update idempotency_keys set created_at = {day_old}"
        ))
        .await;
    let given = Given::new(database).await;
    let again = given.store.submit(task(10, None), key(2)).await.unwrap();
    assert!(matches!(again, Submitted::Created(_)), "{again:?}");
}

pub async fn one_key_sent_many_times_at_once_makes_one_task(database: Arc<Database>) {
    let given = Given::new(database).await;
    let sends = (0..16).map(|_| {
        let store = given.store.clone();
        tokio::spawn(async move { store.submit(task(10, None), key(1)).await.unwrap() })
    });
    let mut created = Vec::new();
    let mut repeated = Vec::new();
    for send in sends.collect::<Vec<_>>() {
        match send.await.unwrap() {
            Submitted::Created(row) => created.push(row.id),
            Submitted::Repeated(row) => repeated.push(row.id),
            other => panic!("the bodies are the same: {other:?}"),
        }
    }
    assert_eq!((created.len(), repeated.len()), (1, 15));
    assert!(repeated.iter().all(|id| *id == created[0]));
}

pub async fn a_task_is_not_claimed_before_its_time(database: Arc<Database>) {
    let given = Given::new(database).await;
    let mut later = task(10, Some(1));
    let now = given
        .task(given.submit(task(1, None)).await)
        .await
        .created_at;
    later.not_before = Some(now + chrono::TimeDelta::hours(1));
    later.pool = "later".to_owned();
    let id = given.submit(later).await;
    assert_eq!(given.try_claim(id, 0).await, None);
    assert_eq!(given.store.take_due("later").await.unwrap(), vec![]);
    let wait = given
        .store
        .next_due("later")
        .await
        .unwrap()
        .expect("one unit waits");
    assert!((3_500..=3_600).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(given.store.queue_emptied("later").await.unwrap(), 0);
    assert_eq!(given.task(id).await.ledger.state, TaskState::Queued);
}
