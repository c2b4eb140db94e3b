//! Who may write: one test for each interleaving of holders that the protocol guards against.

use crate::database::Database;
use crate::given::{Given, flush, task};
use std::sync::Arc;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::protocol::{Control, Event};
use trialmill_common::state::{StopReason, TaskId, TaskState, WorkerId};
use trialmill_store::rows::{LeaseOutcome, UnitRef};
use uuid::Uuid;

pub async fn a_flush_after_the_unit_was_reaped_is_fenced(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let zombie = given.claim(id, 0).await;
    given.expire(zombie.lease).await;
    let reaped = given.over.reap().await.unwrap();
    assert_eq!(reaped.expired, vec![UnitRef { task: id, unit: 0 }]);
    let late = given.record(flush(&zombie, 2, UnitEnd::Keep)).await;
    assert_eq!(late.written, vec![Written::Fenced]);
    let taken = given.claim(id, 0).await;
    assert_eq!((taken.first, taken.count, taken.crashes), (0, 4, 1));
    assert!(taken.lease.token > zombie.lease.token);
    let late = given.record(flush(&zombie, 4, UnitEnd::Close)).await;
    assert_eq!(late.written, vec![Written::Fenced]);
    let renewed = given
        .store
        .renew(given.worker, &[zombie.lease, taken.lease])
        .await
        .unwrap();
    assert_eq!(
        renewed,
        vec![LeaseOutcome::Lost, LeaseOutcome::Held(Control::Run)]
    );
    assert_eq!(given.trials(id).await, vec![]);
    given.verify().await;
}

pub async fn an_expired_lease_that_nobody_took_still_writes(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let claim = given.claim(id, 0).await;
    given.expire(claim.lease).await;
    let written = given.record(flush(&claim, 2, UnitEnd::Keep)).await;
    assert_eq!(
        (written.written, written.control),
        (vec![Written::Recorded], Control::Run)
    );
    // Writing renewed it.
    assert_eq!(given.over.reap().await.unwrap().expired, vec![]);
    given.expire(claim.lease).await;
    let renewed = given
        .store
        .renew(given.worker, &[claim.lease])
        .await
        .unwrap();
    assert_eq!(renewed, vec![LeaseOutcome::Held(Control::Run)]);
    assert_eq!(given.over.reap().await.unwrap().expired, vec![]);
    assert_eq!(given.trials(id).await.len(), 2);
    given.verify().await;
}

pub async fn a_flush_whose_commit_was_unknown_is_repeated_as_it_is(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let mut claim = given.claim(id, 0).await;
    let keep = flush(&claim, 2, UnitEnd::Keep);
    for _ in 0..3 {
        let answer = given.record(keep.clone()).await;
        assert_eq!(answer.written, vec![Written::Recorded]);
    }
    assert_eq!(given.trials(id).await.len(), 2);
    (claim.first, claim.recorded) = (2, 2);
    let close = flush(&claim, 2, UnitEnd::Close);
    for _ in 0..3 {
        let answer = given.record(close.clone()).await;
        assert_eq!(answer.written, vec![Written::Recorded]);
    }
    let row = given.task(id).await;
    assert_eq!(
        (row.ledger.state, row.ledger.completed),
        (TaskState::Completed, 4)
    );
    assert_eq!(row.ledger.stop_reason, Some(StopReason::NTrials));
    given.verify().await;
}

pub async fn a_repeated_flush_renews_the_lease_like_the_first(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let claim = given.claim(id, 0).await;
    let keep = flush(&claim, 2, UnitEnd::Keep);
    given.record(keep.clone()).await;
    given.expire(claim.lease).await;
    given.record(keep).await;
    assert_eq!(given.over.reap().await.unwrap().expired, vec![]);
}

pub async fn two_workers_that_claim_one_unit_at_once_get_one_lease(database: Arc<Database>) {
    let given = Given::new(database).await;
    for _ in 0..20 {
        let id = given.submit(task(4, Some(1))).await;
        let claims = (0..2).map(|_| {
            let store = given.store.clone();
            let worker = WorkerId(Uuid::now_v7());
            tokio::spawn(async move {
                store
                    .claim(UnitRef { task: id, unit: 0 }, worker)
                    .await
                    .unwrap()
            })
        });
        let mut granted = 0;
        for claim in claims.collect::<Vec<_>>() {
            granted += u32::from(claim.await.unwrap().is_some());
        }
        assert_eq!(granted, 1);
    }
    given.verify().await;
}

pub async fn a_claim_of_what_is_not_free_gets_nothing(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    assert_eq!(
        given.try_claim(id, 9).await,
        None,
        "a unit that is not there"
    );
    let nowhere = TaskId(Uuid::now_v7());
    assert_eq!(
        given.try_claim(nowhere, 0).await,
        None,
        "a task that is not there"
    );
    let claim = given.claim(id, 0).await;
    assert_eq!(given.try_claim(id, 0).await, None, "a leased unit");
    given.record(flush(&claim, 4, UnitEnd::Close)).await;
    assert_eq!(given.try_claim(id, 0).await, None, "a closed unit");
    let other = given.submit(task(4, Some(1))).await;
    given
        .store
        .stop(other, StopReason::Cancelled)
        .await
        .unwrap();
    assert_eq!(given.try_claim(other, 0).await, None, "a void unit");
}

pub async fn an_expired_lease_can_be_taken_over_and_the_loss_is_counted(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let lost = given.claim(id, 0).await;
    given.record(flush(&lost, 1, UnitEnd::Keep)).await;
    given.expire(lost.lease).await;
    let taken = given.claim(id, 0).await;
    assert_eq!(
        (taken.first, taken.count, taken.recorded, taken.crashes),
        (1, 3, 1, 1)
    );
    let late = given.record(flush(&lost, 1, UnitEnd::HandBack)).await;
    assert_eq!(late.written, vec![Written::Fenced]);
    given.verify().await;
}

pub async fn a_unit_handed_back_charges_nothing_and_an_isolated_one_does(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(6, Some(1))).await;
    let first = given.claim(id, 0).await;
    let handed = given.record(flush(&first, 1, UnitEnd::HandBack)).await;
    assert_eq!(handed.written, vec![Written::Recorded]);
    let second = given.claim(id, 0).await;
    assert_eq!((second.first, second.count, second.crashes), (1, 5, 0));
    given.record(flush(&second, 1, UnitEnd::Isolate)).await;
    let third = given.claim(id, 0).await;
    assert_eq!((third.first, third.count, third.crashes), (2, 4, 1));
    given.verify().await;
}

pub async fn closing_a_unit_opens_the_next_up_to_parallelism(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(100, Some(2))).await;
    let before = given.task(id).await.ledger;
    assert_eq!(
        (before.open_units, before.next_unit, before.next_number),
        (2, 2, 43)
    );
    let claim = given.claim(id, 0).await;
    assert_eq!((claim.first, claim.count), (0, 25));
    given.record(flush(&claim, 25, UnitEnd::Close)).await;
    let after = given.task(id).await.ledger;
    assert_eq!(
        (after.open_units, after.next_unit, after.completed),
        (2, 3, 25)
    );
    given.verify().await;
}

pub async fn a_sequential_search_that_splits_keeps_its_order(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(10, Some(1))).await;
    let mut expected = 0;
    for unit in 0..5 {
        let claim = given.claim(id, unit).await;
        assert_eq!((claim.first, claim.count), (expected, 10 - expected));
        let end = if unit == 4 {
            UnitEnd::Close
        } else {
            UnitEnd::Split
        };
        given.record(flush(&claim, 2, end)).await;
        expected += 2;
        let open = given.store.unit_summary(id).await.unwrap();
        assert_eq!(open.queued + open.leased, u32::from(unit < 4));
    }
    assert_eq!(given.task(id).await.ledger.state, TaskState::Completed);
    let ended: Vec<i64> = given
        .trials(id)
        .await
        .iter()
        .map(|t| i64::from(t.number))
        .collect();
    assert_eq!(ended, (0..10).collect::<Vec<_>>());
    given.verify().await;
}

pub async fn several_units_of_a_task_share_one_flush_and_one_event(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(12, Some(3))).await;
    let claims = [
        given.claim(id, 0).await,
        given.claim(id, 1).await,
        given.claim(id, 2).await,
    ];
    given.expire(claims[1].lease).await;
    given.over.reap().await.unwrap();
    let flushes: Vec<_> = claims
        .iter()
        .map(|c| flush(c, c.count, UnitEnd::Close))
        .collect();
    let answer = given.store.record(id, &flushes).await.unwrap();
    assert_eq!(
        answer.written,
        [Written::Recorded, Written::Fenced, Written::Recorded]
    );
    let events = given.store.events(id, 0, 100).await.unwrap();
    let told: Vec<_> = events
        .iter()
        .filter(|e| matches!(e.event, Event::Trials { .. }))
        .collect();
    assert_eq!(told.len(), 1);
    let Event::Trials { numbers, best } = &told[0].event else {
        unreachable!()
    };
    assert_eq!(*numbers, vec![(0, 2), (3, 1)]);
    assert_eq!(best.unwrap().number, 0);
    given.verify().await;
}
