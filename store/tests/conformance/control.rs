//! Stop, pause, resume, delete, and the limit of time.

use crate::database::Database;
use crate::given::{Given, flush, task, trial};
use std::sync::Arc;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::protocol::{Control, Event, Tally};
use trialmill_common::state::{StopReason, TaskId, TaskState};
use trialmill_store::UnitFlush;
use trialmill_store::rows::{ControlOutcome, LeaseOutcome};
use uuid::Uuid;

pub async fn a_cancel_waits_for_the_leased_units_and_tells_their_holders(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(40, Some(2))).await;
    let claim = given.claim(id, 0).await;
    let ControlOutcome::Done(row) = given.store.stop(id, StopReason::Cancelled).await.unwrap()
    else {
        panic!("a running task can be cancelled");
    };
    assert_eq!(
        (row.ledger.state, row.ledger.open_units),
        (TaskState::Running, 1)
    );
    assert_eq!(given.try_claim(id, 1).await, None);
    let renewed = given
        .store
        .renew(given.worker, &[claim.lease])
        .await
        .unwrap();
    assert_eq!(renewed, vec![LeaseOutcome::Held(Control::Stop)]);
    let answer = given.record(flush(&claim, 1, UnitEnd::Keep)).await;
    assert_eq!(
        (answer.written, answer.control),
        (vec![Written::Recorded], Control::Stop)
    );
    let mut rest = claim;
    (rest.first, rest.recorded) = (1, 1);
    given.record(flush(&rest, 1, UnitEnd::Close)).await;
    let row = given.task(id).await;
    assert_eq!(
        (row.ledger.state, row.ledger.completed),
        (TaskState::Cancelled, 2)
    );
    assert!(row.completed_at.is_some());
    let events = given.store.events(id, 0, 100).await.unwrap();
    let ended = Event::Ended {
        state: TaskState::Cancelled,
        stop_reason: None,
    };
    assert_eq!(events.last().unwrap().event, ended);
    given.verify().await;
}

pub async fn a_unit_handed_back_under_a_cancel_is_closed(database: Arc<Database>) {
    let given = Given::new(database).await;
    for end in [UnitEnd::HandBack, UnitEnd::Isolate, UnitEnd::Split] {
        let id = given.submit(task(10, Some(1))).await;
        let claim = given.claim(id, 0).await;
        given.store.stop(id, StopReason::Cancelled).await.unwrap();
        let answer = given.record(flush(&claim, 3, end)).await;
        assert_eq!(answer.written, vec![Written::Recorded], "{end:?}");
        let ledger = given.task(id).await.ledger;
        assert_eq!(
            (ledger.state, ledger.open_units),
            (TaskState::Cancelled, 0),
            "{end:?}"
        );
        assert_eq!(ledger.completed, 3, "{end:?}");
    }
    given.verify().await;
}

pub async fn a_cancel_that_races_with_a_hand_back_ends_the_task(database: Arc<Database>) {
    let given = Given::new(database).await;
    for _ in 0..30 {
        let id = given.submit(task(10, Some(1))).await;
        let claim = given.claim(id, 0).await;
        let (stopping, handing) = (given.store.clone(), given.store.clone());
        let stop = tokio::spawn(async move { stopping.stop(id, StopReason::Cancelled).await });
        let flushes = [flush(&claim, 3, UnitEnd::HandBack)];
        let hand = tokio::spawn(async move { handing.record(id, &flushes).await });
        stop.await.unwrap().unwrap();
        assert_eq!(
            hand.await.unwrap().unwrap().written,
            vec![Written::Recorded]
        );
        assert_eq!(given.task(id).await.ledger.state, TaskState::Cancelled);
    }
    given.verify().await;
}

pub async fn a_cancelled_task_whose_last_worker_is_lost_ends_by_the_reaper(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let id = given.submit(task(10, Some(1))).await;
    let claim = given.claim(id, 0).await;
    given.expire(claim.lease).await;
    given.store.stop(id, StopReason::Cancelled).await.unwrap();
    assert_eq!(given.over.reap().await.unwrap().expired.len(), 1);
    assert_eq!(given.task(id).await.ledger.state, TaskState::Cancelled);
    let late = given.record(flush(&claim, 1, UnitEnd::Close)).await;
    assert_eq!(
        (late.written, late.control),
        (vec![Written::Fenced], Control::Stop)
    );
    given.verify().await;
}

pub async fn what_has_ended_cannot_be_controlled(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(10, Some(1))).await;
    given.store.stop(id, StopReason::Cancelled).await.unwrap();
    let store = &given.store;
    for answer in [
        store.stop(id, StopReason::Cancelled).await.unwrap(),
        store.pause(id).await.unwrap(),
        store.resume(id).await.unwrap(),
    ] {
        let ControlOutcome::NotAllowed(refused) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(refused.state, TaskState::Cancelled);
    }
    let nowhere = TaskId(Uuid::now_v7());
    for answer in [
        store.stop(nowhere, StopReason::Cancelled).await.unwrap(),
        store.pause(nowhere).await.unwrap(),
        store.resume(nowhere).await.unwrap(),
        store.delete(nowhere).await.unwrap(),
    ] {
        assert_eq!(answer, ControlOutcome::NotFound);
    }
}

pub async fn a_paused_task_starts_nothing_and_goes_on_when_it_is_resumed(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(40, Some(2))).await;
    let claim = given.claim(id, 0).await;
    assert_eq!(given.store.take_due("default").await.unwrap().len(), 1);
    given.store.pause(id).await.unwrap();
    assert_eq!(given.try_claim(id, 1).await, None);
    let answer = given.record(flush(&claim, 1, UnitEnd::HandBack)).await;
    assert_eq!(
        (answer.written, answer.control),
        (vec![Written::Recorded], Control::Pause)
    );
    assert_eq!(given.store.take_due("default").await.unwrap(), vec![]);
    assert_eq!(given.store.next_due("default").await.unwrap(), None);
    let first = given.task(id).await;
    assert_eq!(
        (first.ledger.state, first.leased_units),
        (TaskState::Paused, 0)
    );
    // The time of a paused task stands still.
    assert_eq!(
        given.task(id).await.active_seconds.to_bits(),
        first.active_seconds.to_bits()
    );
    given.store.resume(id).await.unwrap();
    // The message of unit 1 was acknowledged and forgotten: it is due again.
    assert_eq!(given.store.take_due("default").await.unwrap().len(), 2);
    assert_eq!(given.claim(id, 0).await.first, 1);
    given.verify().await;
}

pub async fn a_task_whose_time_ran_out_keeps_what_it_has(database: Arc<Database>) {
    let given = Given::new(database).await;
    let mut short = task(40, Some(2));
    short.timeout = Some(0.0);
    let id = given.submit(short).await;
    assert_eq!(
        given.store.reap().await.unwrap().timed_out,
        vec![],
        "it has not started"
    );
    let claim = given.claim(id, 0).await;
    given.record(flush(&claim, 3, UnitEnd::Keep)).await;
    // The clock of the store decides: ask until it has moved on.
    let mut reaped = given.store.reap().await.unwrap();
    while reaped.timed_out.is_empty() {
        tokio::task::yield_now().await;
        reaped = given.store.reap().await.unwrap();
    }
    assert_eq!(reaped.timed_out, vec![id]);
    assert_eq!(
        given.store.reap().await.unwrap().timed_out,
        vec![],
        "once is enough"
    );
    let mut rest = claim;
    (rest.first, rest.recorded) = (3, 3);
    given.record(flush(&rest, 0, UnitEnd::Close)).await;
    let row = given.task(id).await;
    assert_eq!(row.ledger.state, TaskState::Completed);
    assert_eq!(row.ledger.stop_reason, Some(StopReason::Timeout));
    assert!(row.active_seconds > 0.0);
    given.verify().await;
}

pub async fn a_task_without_any_good_trial_fails_with_the_first_reason(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(3, Some(1))).await;
    let claim = given.claim(id, 0).await;
    let flushed = UnitFlush {
        trials: (0..3).map(|number| trial(number, Tally::Failed)).collect(),
        ..flush(&claim, 0, UnitEnd::Close)
    };
    given.record(flushed).await;
    let row = given.task(id).await;
    assert_eq!(row.ledger.state, TaskState::Failed);
    let error = row.error.expect("a failed task says why");
    assert_eq!(
        (error.kind.as_str(), error.trial_number),
        ("every_trial_failed", Some(0))
    );
    assert_eq!(error.first_failure, Some(crate::given::failure()));

    let idle = given.submit(task(3, Some(1))).await;
    given.store.stop(idle, StopReason::Timeout).await.unwrap();
    let error = given
        .task(idle)
        .await
        .error
        .expect("a failed task says why");
    assert_eq!(error.kind, "timeout_before_any_trial");
    given.verify().await;
}

pub async fn only_an_ended_task_is_deleted_and_nothing_of_it_stays(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(2, Some(1))).await;
    let claim = given.claim(id, 0).await;
    let refused = given.store.delete(id).await.unwrap();
    assert!(
        matches!(refused, ControlOutcome::NotAllowed(_)),
        "{refused:?}"
    );
    given.record(flush(&claim, 2, UnitEnd::Close)).await;
    let deleted = given.store.delete(id).await.unwrap();
    assert!(matches!(deleted, ControlOutcome::Done(_)), "{deleted:?}");
    assert_eq!(given.store.task(id).await.unwrap(), None);
    assert_eq!(given.trials(id).await, vec![]);
    assert_eq!(given.store.events(id, 0, 10).await.unwrap(), vec![]);
    let late = given.record(flush(&claim, 2, UnitEnd::Close)).await;
    assert_eq!(
        (late.written, late.control),
        (vec![Written::Fenced], Control::Stop)
    );
    given.verify().await;
}

pub async fn a_live_task_without_an_open_unit_is_repaired(database: Arc<Database>) {
    let given = Given::new(database.clone()).await;
    let id = given.submit(task(100, Some(2))).await;
    given.claim(id, 0).await;
    drop(given);
    // As if the numbers had never been handed out.
    database
        .plant("delete from units; update tasks set open_units = 0, next_number = 0")
        .await;
    let given = Given::new(database).await;
    assert_eq!(given.store.reap().await.unwrap().repaired, vec![id]);
    let ledger = given.task(id).await.ledger;
    assert_eq!((ledger.open_units, ledger.state), (2, TaskState::Running));
    assert_eq!(given.store.reap().await.unwrap().repaired, vec![]);
    given.verify().await;
}
