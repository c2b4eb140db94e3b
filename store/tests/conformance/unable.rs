//! Units that cannot be run, and workers that cannot run any.

use crate::database::Database;
use crate::given::{Given, SLOTS, card, flush, hour, point, task};
use std::sync::Arc;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::protocol::unable::{MOST_UNABLE, MOST_UNABLE_BY_ONE};
use trialmill_common::state::{TaskId, TaskState, WorkerId};
use trialmill_common::trial::RunningTrial;
use trialmill_common::worker::{Speaks, WorkerCard};
use trialmill_store::UnitFlush;
use trialmill_store::rows::{Claim, UnitRef};
use uuid::Uuid;

const WHY: &str = "worker host:2 (build 0.1.0): its bars do not fit";

async fn other_worker(given: &Given) -> WorkerId {
    let other = WorkerId(Uuid::now_v7());
    given
        .store
        .announce(&card(other, 1, "default"))
        .await
        .unwrap();
    other
}

async fn claim_by(given: &Given, id: TaskId, unit: u32, worker: WorkerId) -> Claim {
    let unit = UnitRef { task: id, unit };
    let claim = given.store.claim(unit, worker).await.unwrap();
    claim.expect("the unit is free")
}

fn back(claim: &Claim, end: UnitEnd) -> UnitFlush {
    UnitFlush {
        why: Some(WHY.to_owned()),
        ..flush(claim, 0, end)
    }
}

async fn give_back(given: &Given, id: TaskId, worker: WorkerId, end: UnitEnd) {
    let claim = claim_by(given, id, 0, worker).await;
    given.record(back(&claim, end)).await;
}

pub async fn a_unit_that_two_workers_cannot_run_fails_its_task_with_the_reason(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let id = given.submit(task(40, Some(4))).await;
    let other = other_worker(&given).await;
    // Its neighbours run, and what they recorded stays.
    let neighbour = given.claim(id, 1).await;
    given.record(flush(&neighbour, 1, UnitEnd::Keep)).await;
    for attempt in 1..MOST_UNABLE {
        let worker = [given.worker, other][attempt as usize % 2];
        give_back(&given, id, worker, UnitEnd::Unable).await;
        assert_eq!(given.over.reap().await.unwrap().given_up, []);
        let summary = given.store.unit_summary(id).await.unwrap();
        assert_eq!(
            (summary.unable, summary.unable_reason.as_deref()),
            (attempt, Some(WHY))
        );
    }
    // While it is held once more, it may still succeed.
    let last = given.claim(id, 0).await;
    assert_eq!(given.store.reap().await.unwrap().given_up, []);
    given.record(back(&last, UnitEnd::Unable)).await;
    assert_eq!(given.store.reap().await.unwrap().given_up, [id]);
    let row = given.task(id).await;
    assert_eq!(
        (row.ledger.state, row.ledger.gave_up),
        (TaskState::Failed, true)
    );
    assert_eq!((row.ledger.completed, row.ledger.open_units), (1, 0));
    assert_eq!(row.ledger.stop_requested, None);
    let error = row.error.expect("it says why");
    assert_eq!(error.kind, "no_worker_can_run_it");
    assert!(
        error
            .message
            .contains("unit 0 could not be run 5 times in a row, by several workers")
            && error.message.contains(WHY),
        "{error:?}"
    );
    // The neighbour's lease is superseded.
    let late = given.record(flush(&neighbour, 1, UnitEnd::Keep)).await;
    assert_eq!(
        late.written,
        [trialmill_common::protocol::board::Written::Fenced]
    );
    assert_eq!(given.try_claim(id, 0).await, None);
    given.verify().await;
}

pub async fn one_worker_alone_needs_more_failures_to_fail_a_task(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    for _ in 1..MOST_UNABLE_BY_ONE {
        give_back(&given, id, given.worker, UnitEnd::Unable).await;
        assert_eq!(given.store.reap().await.unwrap().given_up, []);
    }
    give_back(&given, id, given.worker, UnitEnd::Unable).await;
    assert_eq!(given.store.reap().await.unwrap().given_up, [id]);
    let error = given.task(id).await.error.expect("it says why");
    assert!(
        error.message.contains("10 times in a row, by one worker"),
        "{error:?}"
    );
    given.verify().await;
}

pub async fn a_recorded_trial_starts_the_count_anew(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let other = other_worker(&given).await;
    for _ in 0..2 {
        for attempt in 1..MOST_UNABLE {
            let worker = [given.worker, other][attempt as usize % 2];
            give_back(&given, id, worker, UnitEnd::Unable).await;
        }
        let claim = given.claim(id, 0).await;
        given.record(flush(&claim, 1, UnitEnd::HandBack)).await;
        let summary = given.store.unit_summary(id).await.unwrap();
        assert_eq!((summary.unable, summary.unable_reason), (0, None));
    }
    assert_eq!(given.store.reap().await.unwrap().given_up, []);
    given.verify().await;
}

pub async fn a_unit_that_takes_its_workers_down_before_any_trial_fails_its_task(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let other = other_worker(&given).await;
    let lose = async |worker: WorkerId, announced: Option<u32>| {
        let claim = claim_by(&given, id, 0, worker).await;
        if let Some(number) = announced {
            let trial = RunningTrial {
                number,
                unit: 0,
                point: point(number),
                crashes: 0,
            };
            given.store.start_trial(claim.lease, &trial).await.unwrap();
        }
        given.expire(claim.lease).await;
        given.over.reap().await.unwrap()
    };
    // The first loss isolates it: it may have been any trial, or none.
    lose(given.worker, None).await;
    assert_eq!(given.store.unit_summary(id).await.unwrap().unable, 0);
    // One that had announced a trial is charged to that.
    lose(other, Some(0)).await;
    assert_eq!(given.store.unit_summary(id).await.unwrap().unable, 0);
    for attempt in 1..=MOST_UNABLE {
        let worker = [given.worker, other][attempt as usize % 2];
        let reaped = lose(worker, None).await;
        assert_eq!(
            reaped.given_up.contains(&id),
            attempt == MOST_UNABLE,
            "{attempt}"
        );
    }
    let row = given.task(id).await;
    assert_eq!(row.ledger.state, TaskState::Failed);
    let error = row.error.expect("it says why");
    let lost = format!("its worker host:{SLOTS} was lost with it before any trial of it began");
    let lost_other = lost.replace(&format!("host:{SLOTS}"), "host:1");
    assert!(
        error.message.contains(&lost) || error.message.contains(&lost_other),
        "{error:?}"
    );
    given.verify().await;
}

pub async fn a_unit_that_wants_another_build_is_told_and_never_fails_its_task(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let other = other_worker(&given).await;
    for attempt in 0..2 * MOST_UNABLE_BY_ONE {
        let worker = [given.worker, other][attempt as usize % 2];
        give_back(&given, id, worker, UnitEnd::OtherBuild).await;
    }
    assert_eq!(given.store.reap().await.unwrap().given_up, []);
    let summary = given.store.unit_summary(id).await.unwrap();
    assert_eq!(
        (summary.unable, summary.unable_reason.as_deref()),
        (0, Some(WHY))
    );
    let claim = given.claim(id, 0).await;
    given.record(flush(&claim, 4, UnitEnd::Close)).await;
    assert_eq!(given.task(id).await.ledger.state, TaskState::Completed);
    given.verify().await;
}

pub async fn a_unit_that_cannot_be_run_waits_longer_each_time(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    for least in [0.5, 1.5, 3.5, 7.5] {
        give_back(&given, id, given.worker, UnitEnd::Unable).await;
        let due = given.store.next_due("default").await.unwrap().unwrap();
        assert!(
            (least..=2.0 * least + 0.1).contains(&due.as_secs_f64()),
            "{due:?}"
        );
    }
    give_back(&given, id, given.worker, UnitEnd::HandBack).await;
    let due = given.store.next_due("default").await.unwrap().unwrap();
    assert!(due.is_zero(), "{due:?}");
}

pub async fn a_paused_task_is_not_given_up_before_it_is_resumed(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    for _ in 1..MOST_UNABLE_BY_ONE {
        give_back(&given, id, given.worker, UnitEnd::Unable).await;
    }
    let claim = given.claim(id, 0).await;
    given.store.pause(id).await.unwrap();
    given.record(back(&claim, UnitEnd::Unable)).await;
    assert_eq!(given.store.reap().await.unwrap().given_up, []);
    assert_eq!(given.task(id).await.ledger.state, TaskState::Paused);
    given.store.resume(id).await.unwrap();
    assert_eq!(given.store.reap().await.unwrap().given_up, [id]);
    given.verify().await;
}

pub async fn a_worker_in_quarantine_has_no_live_slots_and_says_why(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let of_worker = async || {
        let workers = given.store.workers().await.unwrap();
        let ours = workers.into_iter().find(|row| row.card.id == given.worker);
        ours.expect("it is listed")
    };
    assert_eq!(of_worker().await.quarantine, None);
    given
        .store
        .quarantine(given.worker, Some("no child"))
        .await
        .unwrap();
    let first = of_worker().await;
    assert!(first.live, "it is heard of");
    let quarantine = first.quarantine.expect("it is in quarantine");
    assert_eq!(quarantine.reason, "no child");
    let long = "x".repeat(5_000);
    given
        .store
        .quarantine(given.worker, Some(&long))
        .await
        .unwrap();
    let again = of_worker().await.quarantine.unwrap();
    assert_eq!((again.since, again.reason.len()), (quarantine.since, 1_000));
    let summary = given.store.unit_summary(id).await.unwrap();
    assert_eq!(
        (
            summary.live_slots,
            summary.capable_slots,
            summary.quarantined_slots
        ),
        (0, 0, SLOTS)
    );
    // It is heard of all the time, and announces itself after an outage.
    given.store.renew(given.worker, &[]).await.unwrap();
    given
        .store
        .announce(&card(given.worker, SLOTS, "default"))
        .await
        .unwrap();
    assert!(of_worker().await.quarantine.is_some());
    given.store.quarantine(given.worker, None).await.unwrap();
    assert_eq!(of_worker().await.quarantine, None);
    let summary = given.store.unit_summary(id).await.unwrap();
    assert_eq!((summary.live_slots, summary.quarantined_slots), (SLOTS, 0));
}

pub async fn a_worker_says_what_it_reads(database: Arc<Database>) {
    let store = database.store(hour()).await;
    let speaks = Speaks {
        schema: 5,
        form: 2,
        message: 1,
    };
    let told = WorkerCard {
        speaks: Some(speaks),
        ..card(WorkerId(Uuid::now_v7()), 1, "default")
    };
    store.announce(&told).await.unwrap();
    let workers = store.workers().await.unwrap();
    assert_eq!(workers[0].card, told);
}
