//! Keys of the API, what they may have in work, and the audit.

use crate::database::Database;
use crate::given::{Given, flush, task};
use std::sync::Arc;
use std::time::Duration;
use trialmill_common::key::{KeyDraft, OverQuota, Quota};
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::{KeyScope, StopReason};
use trialmill_store::keys::{AuditEvent, KeyCensus, KeyRow, NewKey};
use trialmill_store::rows::{NewTask, Submitted};

fn new_key(name: &str, scope: KeyScope, hash: u8) -> NewKey {
    NewKey {
        draft: KeyDraft {
            name: name.to_owned(),
            scopes: vec![scope],
            expires_in: None,
            quota: Quota::NONE,
        },
        hash: [hash; 32],
        created_by: "environment".to_owned(),
    }
}

async fn made(given: &Given, key: NewKey) -> KeyRow {
    let made = given.store.create_key(key).await.unwrap();
    made.expect("the name is free")
}

fn by(key: &str, n_trials: u32) -> NewTask {
    NewTask {
        submitted_by: Some(key.to_owned()),
        ..task(n_trials, Some(1))
    }
}

/// (key, action, target) of every event, the first one first.
async fn events(given: &Given) -> Vec<(String, String, String)> {
    let mut page = given.store.audit_page(None, 1_000).await.unwrap();
    page.reverse();
    let of = |event: AuditEvent| (event.key, event.action, event.target);
    page.into_iter().map(|row| of(row.event)).collect()
}

pub async fn a_key_is_found_by_its_hash_until_it_is_revoked(database: Arc<Database>) {
    let given = Given::new(database).await;
    let mut new = new_key("ci", KeyScope::Submit, 7);
    new.draft.scopes = vec![KeyScope::Read, KeyScope::Submit];
    new.draft.expires_in = Some(Duration::from_secs(3600));
    new.draft.quota = Quota {
        active_tasks: Some(5),
        backlog_trials: Some(4_000_000_000),
    };
    let key = made(&given, new.clone()).await;
    assert_eq!((key.name.as_str(), &key.scopes), ("ci", &new.draft.scopes));
    assert_eq!((key.quota, key.last_used_at), (new.draft.quota, None));
    assert_eq!(
        (key.created_by.as_str(), key.revoked_at),
        ("environment", None)
    );
    let life = key.expires_at.expect("it expires") - key.created_at;
    assert_eq!(life.num_seconds(), 3600);

    let found = given.store.key_by_hash([7; 32]).await.unwrap();
    assert_eq!(found.as_ref(), Some(&key));
    assert_eq!(given.store.key_by_hash([8; 32]).await.unwrap(), None);
    given.store.touch_key(key.id).await.unwrap();
    let used = given.store.key_by_hash([7; 32]).await.unwrap();
    assert!(used.unwrap().last_used_at.unwrap() >= key.created_at);

    let revoked = given.store.revoke_key("ci", "boss").await.unwrap().unwrap();
    assert_eq!(revoked.id, key.id);
    assert!(revoked.revoked_at.is_some());
    assert_eq!(given.store.key_by_hash([7; 32]).await.unwrap(), None);
    for gone in ["ci", "never", "a\0b"] {
        assert_eq!(given.store.revoke_key(gone, "boss").await.unwrap(), None);
    }
    let told = |by: &str, action: &str| (by.to_owned(), action.to_owned(), "ci".to_owned());
    let expected = [
        told("environment", "key.create"),
        told("boss", "key.revoke"),
    ];
    assert_eq!(events(&given).await, expected);
}

pub async fn a_name_is_free_again_once_its_key_is_revoked(database: Arc<Database>) {
    let given = Given::new(database).await;
    let first = made(&given, new_key("ci", KeyScope::Read, 1)).await;
    let taken = given.store.create_key(new_key("ci", KeyScope::Admin, 2));
    assert_eq!(taken.await.unwrap(), None);
    assert_eq!(given.store.key_by_hash([2; 32]).await.unwrap(), None);
    given.store.revoke_key("ci", "").await.unwrap().unwrap();
    let second = made(&given, new_key("ci", KeyScope::Admin, 2)).await;
    made(&given, new_key("alice", KeyScope::Read, 3)).await;
    let page = given.store.keys().await.unwrap();
    let listed: Vec<_> = page
        .keys
        .iter()
        .map(|key| (key.name.as_str(), key.id, key.revoked_at.is_some()))
        .collect();
    let alice = page.keys[0].id;
    let expected = [
        ("alice", alice, false),
        ("ci", second.id, false),
        ("ci", first.id, true),
    ];
    assert_eq!((listed.as_slice(), page.total), (&expected[..], 3));
    let refused = events(&given).await;
    let of_ci = refused.iter().filter(|(_, _, target)| target == "ci");
    assert_eq!(of_ci.count(), 3, "a name that is taken is no event");
}

pub async fn an_expired_key_is_not_found_and_still_counts_as_kept(database: Arc<Database>) {
    let given = Given::new(database.clone()).await;
    assert_eq!(
        given.store.key_census().await.unwrap(),
        KeyCensus::default()
    );
    made(&given, new_key("boss", KeyScope::Admin, 1)).await;
    made(&given, new_key("reader", KeyScope::Read, 2)).await;
    let census = |kept, live_admins| KeyCensus { kept, live_admins };
    assert_eq!(given.store.key_census().await.unwrap(), census(2, 1));
    drop(given);
    database
        .plant("update api_keys set expires_at = created_at where name = 'boss'")
        .await;
    let given = Given::new(database).await;
    assert_eq!(given.store.key_by_hash([1; 32]).await.unwrap(), None);
    assert_eq!(given.store.key_census().await.unwrap(), census(2, 0));
    let taken = given.store.create_key(new_key("boss", KeyScope::Admin, 3));
    assert_eq!(taken.await.unwrap(), None);
    given.store.revoke_key("boss", "").await.unwrap().unwrap();
    assert_eq!(given.store.key_census().await.unwrap(), census(1, 0));
}

pub async fn submissions_that_race_do_not_pass_the_bound_of_their_key(database: Arc<Database>) {
    let given = Given::new(database).await;
    let quota = Quota {
        active_tasks: Some(5),
        backlog_trials: None,
    };
    let sends = (0..16).map(|_| {
        let store = given.store.clone();
        let submit = async move { store.submit_within(by("ci", 10), None, quota).await };
        tokio::spawn(submit)
    });
    let mut accepted = 0;
    for send in sends.collect::<Vec<_>>() {
        match send.await.unwrap().unwrap() {
            Submitted::Created(_) => accepted += 1,
            Submitted::OverQuota(over) => {
                let (wanted, limit) = (6, 5);
                assert_eq!(over, OverQuota::ActiveTasks { wanted, limit });
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted, 5);
    assert_eq!(events(&given).await.len(), 5, "one event for each accepted");
    let other = given.store.submit_within(by("bob", 10), None, quota).await;
    assert!(matches!(other, Ok(Submitted::Created(_))), "{other:?}");
    given.verify().await;
}

pub async fn what_has_ended_makes_room_for_a_key(database: Arc<Database>) {
    let given = Given::new(database).await;
    let quota = Quota {
        active_tasks: Some(2),
        backlog_trials: Some(20),
    };
    let submit = async |n_trials| {
        let submitted = given.store.submit_within(by("ci", n_trials), None, quota);
        submitted.await.unwrap()
    };
    let created = |submitted: Submitted| match submitted {
        Submitted::Created(row) => row.id,
        other => panic!("{other:?}"),
    };
    let over = |submitted: Submitted| match submitted {
        Submitted::OverQuota(over) => over,
        other => panic!("{other:?}"),
    };
    let first = created(submit(15).await);
    let (wanted, limit) = (25, 20);
    assert_eq!(over(submit(10).await), OverQuota::Backlog { wanted, limit });
    // Trials that have ended no longer count, though their task goes on.
    let claim = given.claim(first, 0).await;
    let some = claim.count.min(5);
    given.record(flush(&claim, some, UnitEnd::Keep)).await;
    let (wanted, limit) = (21, 20);
    let too_many = over(submit(6 + some).await);
    assert_eq!(too_many, OverQuota::Backlog { wanted, limit });
    let second = created(submit(5 + some).await);
    let (wanted, limit) = (3, 2);
    let third = over(submit(1).await);
    assert_eq!(third, OverQuota::ActiveTasks { wanted, limit });
    given.verify().await;
    given
        .store
        .stop(second, StopReason::Cancelled)
        .await
        .unwrap();
    let third = created(submit(1).await);
    given.store.delete(second).await.unwrap();
    given.verify().await;
    let submitted = [first, second, third].map(|id| id.to_string());
    let told: Vec<_> = events(&given).await.into_iter().map(|e| e.2).collect();
    assert_eq!(told, submitted, "refused submissions leave nothing");
}

pub async fn a_submission_that_is_refused_leaves_its_idempotency_key_free(database: Arc<Database>) {
    use trialmill_store::rows::Idempotency;
    let given = Given::new(database).await;
    let quota = |active_tasks| Quota {
        active_tasks: Some(active_tasks),
        backlog_trials: None,
    };
    let key = || {
        Some(Idempotency {
            scope: "ci".to_owned(),
            key: "order".to_owned(),
            body_hash: [1; 32],
        })
    };
    let submit = async |quota| given.store.submit_within(by("ci", 1), key(), quota).await;
    given.submit(by("ci", 1)).await;
    let refused = submit(quota(1)).await.unwrap();
    assert!(matches!(refused, Submitted::OverQuota(_)), "{refused:?}");
    assert_eq!(given.store.idempotent("ci", "order").await.unwrap(), None);
    let created = submit(quota(2)).await.unwrap();
    assert!(matches!(created, Submitted::Created(_)), "{created:?}");
    // What was accepted once is answered, however full it is by now.
    let repeated = submit(quota(1)).await.unwrap();
    assert!(matches!(repeated, Submitted::Repeated(_)), "{repeated:?}");
    given.verify().await;
}

pub async fn the_audit_is_read_page_by_page_latest_first(database: Arc<Database>) {
    let given = Given::new(database).await;
    let event = |n: u32| AuditEvent {
        times: n,
        ..AuditEvent::once("ci", "request.denied", format!("10.0.0.{n}")).detail("a\0b")
    };
    given.store.audit(&[]).await.unwrap();
    for n in 1..=5 {
        given.store.audit(&[event(n)]).await.unwrap();
    }
    let first = given.store.audit_page(None, 2).await.unwrap();
    let second = given.store.audit_page(Some(first[1].id), 2).await.unwrap();
    let third = given.store.audit_page(Some(second[1].id), 2).await.unwrap();
    let pages = [first, second, third].concat();
    let times: Vec<_> = pages.iter().map(|row| row.event.times).collect();
    assert_eq!(times, [5, 4, 3, 2, 1]);
    assert_eq!(pages[0].event.target, "10.0.0.5");
    assert_eq!(pages[0].event.detail.chars().count(), 3);
}
