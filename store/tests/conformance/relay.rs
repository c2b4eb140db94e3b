//! Which units are published, when, and by whom.

use crate::database::Database;
use crate::given::{Given, card, flush, hour, task};
use std::sync::Arc;
use std::time::Duration;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::{TaskId, WorkerId};
use trialmill_store::MIN_IN_FLIGHT;
use trialmill_store::rows::{DueUnit, Priority, UnitRef};
use uuid::Uuid;

fn units(due: &[DueUnit]) -> Vec<UnitRef> {
    due.iter().map(|due| due.unit).collect()
}

pub async fn due_units_come_by_priority_and_tasks_take_turns(database: Arc<Database>) {
    let given = Given::new(database).await;
    let mut submitted = Vec::new();
    for priority in [
        Priority::Low,
        Priority::Normal,
        Priority::Normal,
        Priority::High,
    ] {
        let mut new = task(40, Some(2));
        new.priority = priority;
        new.name = priority.name().to_owned();
        submitted.push(given.submit(new).await);
    }
    let due = given.store.take_due("default").await.unwrap();
    let order: Vec<(usize, u32)> = due
        .iter()
        .map(|d| {
            (
                submitted.iter().position(|id| *id == d.unit.task).unwrap(),
                d.unit.unit,
            )
        })
        .collect();
    assert_eq!(
        order,
        [
            (3, 0),
            (3, 1),
            (1, 0),
            (2, 0),
            (1, 1),
            (2, 1),
            (0, 0),
            (0, 1)
        ]
    );
    assert_eq!(
        (due[0].task_name.as_str(), due[0].first_trial, due[0].trials),
        ("high", 0, 10)
    );
}

pub async fn a_key_with_many_tasks_does_not_push_another_key_back(database: Arc<Database>) {
    let given = Given::new(database).await;
    for _ in 0..6 {
        let mut new = task(1, Some(1));
        new.submitted_by = Some("alice".to_owned());
        given.submit(new).await;
    }
    let mut new = task(1, Some(1));
    new.submitted_by = Some("bob".to_owned());
    let bobs = given.submit(new).await;
    let due = given.store.take_due("default").await.unwrap();
    assert_eq!(due.len(), 7);
    let place = due.iter().position(|d| d.unit.task == bobs).unwrap();
    assert!(place <= 1, "bob's only unit is number {place} in line");
}

pub async fn few_units_are_in_flight_at_a_time(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(1_000, Some(100))).await;
    // Three slots ask for six; the bound is never below the least.
    let first = given.store.take_due("default").await.unwrap();
    assert_eq!(first.len(), MIN_IN_FLIGHT as usize);
    given.store.published(&units(&first)).await.unwrap();
    assert_eq!(given.store.take_due("default").await.unwrap(), vec![]);
    let claim = given.claim(id, first[0].unit.unit).await;
    assert_eq!(given.store.take_due("default").await.unwrap().len(), 1);
    given.record(flush(&claim, 0, UnitEnd::HandBack)).await;
    given
        .store
        .announce(&card(WorkerId(Uuid::now_v7()), 7, "default"))
        .await
        .unwrap();
    given
        .store
        .announce(&card(WorkerId(Uuid::now_v7()), 90, "other"))
        .await
        .unwrap();
    // Ten slots: twenty.
    assert_eq!(given.store.take_due("default").await.unwrap().len(), 12);
    assert_eq!(given.store.take_due("other").await.unwrap(), vec![]);
    let summary = given.store.unit_summary(id).await.unwrap();
    assert_eq!((summary.queued, summary.leased, summary.due), (100, 0, 80));
    assert_eq!((summary.live_slots, summary.capable_slots), (10, 10));
}

pub async fn a_confirmed_unit_is_due_again_after_a_minute_and_then_later(database: Arc<Database>) {
    let given = Given::new(database).await;
    given.submit(task(1, Some(1))).await;
    assert_eq!(
        given.store.next_due("default").await.unwrap(),
        Some(Duration::ZERO)
    );
    let due = given.store.take_due("default").await.unwrap();
    let wait = given.store.next_due("default").await.unwrap().unwrap();
    assert!(
        (25..=30).contains(&wait.as_secs()),
        "the relay may have died: {wait:?}"
    );
    given.store.published(&units(&due)).await.unwrap();
    let wait = given.store.next_due("default").await.unwrap().unwrap();
    assert!((55..=60).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(given.store.next_due("nowhere").await.unwrap(), None);
}

pub async fn each_unanswered_publish_doubles_the_wait_up_to_half_an_hour(database: Arc<Database>) {
    let given = Given::new(database.clone()).await;
    given.submit(task(1, Some(1))).await;
    drop(given);
    for minutes in [1, 2, 4, 8, 16, 30, 30] {
        let relay = database.store(hour()).await;
        let due = relay.take_due("default").await.unwrap();
        assert_eq!(due.len(), 1);
        relay.published(&units(&due)).await.unwrap();
        let wait = relay.next_due("default").await.unwrap().unwrap().as_secs();
        assert!(
            (minutes * 60 - 5..=minutes * 60).contains(&wait),
            "{wait} for {minutes}"
        );
        drop(relay);
        // Nobody claims it, and the wait goes by.
        database.plant("update units set publish_at = {now}").await;
    }
}

pub async fn an_emptied_queue_makes_its_units_due_at_once(database: Arc<Database>) {
    let given = Given::new(database.clone()).await;
    let id = given.submit(task(40, Some(2))).await;
    let due = given.store.take_due("default").await.unwrap();
    given.store.published(&units(&due)).await.unwrap();
    given.claim(id, 0).await;
    assert_eq!(given.store.queue_emptied("other").await.unwrap(), 0);
    assert_eq!(given.store.queue_emptied("default").await.unwrap(), 1);
    let again = given.store.take_due("default").await.unwrap();
    assert_eq!(units(&again), vec![UnitRef { task: id, unit: 1 }]);
    // A unit that waits because it has lost workers was in no queue, and goes on waiting.
    drop(given);
    database.plant("update units set publishes = 0").await;
    let store = database.store(hour()).await;
    assert_eq!(store.queue_emptied("default").await.unwrap(), 0);
}

pub async fn a_task_behind_many_that_are_served_or_wait_is_taken_in_its_turn(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let mut first = Vec::new();
    // In the year 2096: long after this test.
    let far = chrono::DateTime::from_timestamp(4_000_000_000, 0);
    for _ in 0..MIN_IN_FLIGHT {
        let mut later = task(1, Some(1));
        later.not_before = far;
        given.submit(later).await;
        first.push(given.submit(task(40, Some(3))).await);
    }
    // One unit of each, since tasks take turns.
    let due = given.store.take_due("default").await.unwrap();
    let tasks: Vec<TaskId> = due.iter().map(|due| due.unit.task).collect();
    assert_eq!(tasks, first);
    for unit in units(&due) {
        given.claim(unit.task, unit.unit).await;
    }
    // Those that are served stand behind one that is not, though they are older.
    let last = given.submit(task(40, Some(1))).await;
    let due = given.store.take_due("default").await.unwrap();
    assert_eq!(due[0].unit.task, last);
    let tasks: Vec<TaskId> = due[1..].iter().map(|due| due.unit.task).collect();
    assert_eq!(tasks, first[..first.len() - 1]);
}

pub async fn a_key_goes_by_priority_and_low_tasks_do_not_hold_back_its_others(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let submit = async |key: &str, priority| {
        let mut new = task(1, Some(1));
        new.submitted_by = Some(key.to_owned());
        new.priority = priority;
        given.submit(new).await
    };
    for _ in 0..3 {
        submit("alice", Priority::Low).await;
    }
    let alices = submit("alice", Priority::Normal).await;
    let bobs = [
        submit("bob", Priority::Normal).await,
        submit("bob", Priority::Normal).await,
    ];
    let due = given.store.take_due("default").await.unwrap();
    let tasks: Vec<TaskId> = due.iter().map(|due| due.unit.task).collect();
    assert_eq!(tasks[..3], [alices, bobs[0], bobs[1]]);
}

pub async fn a_unit_handed_back_before_its_publish_was_confirmed_stays_due(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let id = given.submit(task(1, Some(1))).await;
    let due = given.store.take_due("default").await.unwrap();
    let claim = given.claim(id, 0).await;
    given.record(flush(&claim, 0, UnitEnd::HandBack)).await;
    given.store.published(&units(&due)).await.unwrap();
    assert_eq!(given.store.take_due("default").await.unwrap().len(), 1);
}

pub async fn one_handle_leads_until_it_lets_go(database: Arc<Database>) {
    let given = Given::new(database.clone()).await;
    let other = database.store(hour()).await;
    let first = given
        .store
        .lead("default")
        .await
        .unwrap()
        .expect("nobody leads yet");
    assert!(first.holds().await);
    assert!(
        given.store.lead("default").await.unwrap().is_none(),
        "not twice"
    );
    assert!(
        other.lead("another").await.unwrap().is_some(),
        "a pool of its own"
    );
    assert!(other.lead("default").await.unwrap().is_none());
    drop(first);
    let mut second = other.lead("default").await.unwrap();
    while second.is_none() {
        tokio::task::yield_now().await;
        second = other.lead("default").await.unwrap();
    }
    assert!(given.store.lead("default").await.unwrap().is_none());
}

pub async fn a_commit_of_due_units_wakes_who_waits_for_it(database: Arc<Database>) {
    let given = Given::new(database).await;
    let mut changed = given.store.changed();
    changed.mark_unchanged();
    let id = given.submit(task(4, Some(1))).await;
    changed.changed().await.unwrap();
    let claim = given.claim(id, 0).await;
    changed.mark_unchanged();
    given.record(flush(&claim, 1, UnitEnd::Keep)).await;
    changed.changed().await.unwrap();
}

pub async fn workers_are_live_while_they_are_heard_of(database: Arc<Database>) {
    let given = Given::new(database).await;
    let gone = WorkerId(Uuid::now_v7());
    given
        .store
        .announce(&card(gone, 2, "default"))
        .await
        .unwrap();
    given.store.leave(gone).await.unwrap();
    let id = given.submit(task(4, Some(1))).await;
    given.claim(id, 0).await;
    let workers = given.store.workers().await.unwrap();
    let seen: Vec<_> = workers
        .iter()
        .map(|w| (w.card.clone(), w.live, w.leased_units))
        .collect();
    let expected = [
        (card(given.worker, 3, "default"), true, 1),
        (card(gone, 2, "default"), false, 0),
    ];
    assert_eq!(seen, expected);
    // By a clock for which every lease is over, nobody lives.
    assert!(given.over.workers().await.unwrap().iter().all(|w| !w.live));
    assert!(given.store.ever_announced("sphere").await.unwrap());
    assert!(!given.store.ever_announced("spher").await.unwrap());
}
