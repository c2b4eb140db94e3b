//! Tasks that are made from another one: what is copied, and what is left to run.

use crate::database::Database;
use crate::given::{Given, flush, point, task, trial};
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::protocol::{COPY_BATCH, Event, Tally};
use trialmill_common::state::{OriginHow, StopReason, TaskId, TaskState, TrialEnd};
use trialmill_store::UnitFlush;
use trialmill_store::rows::{
    ControlOutcome, Idempotency, NewTask, Origin, Submitted, TrialRow, UnitRef,
};
use uuid::Uuid;

/// A task that is made from `origin`, whose numbers go to `n_trials`.
fn made(origin: TaskId, how: OriginHow, n_trials: u32, parallelism: Option<u32>) -> NewTask {
    NewTask {
        origin: Some(Origin { task: origin, how }),
        ..task(n_trials, parallelism)
    }
}

/// A cancelled task of 40 trials: three of its units, which begin at 0, 5 and 12, have each recorded
/// their first ones; the second of each failed.
async fn cancelled(given: &Given) -> TaskId {
    let id = given.submit(task(40, Some(4))).await;
    for (unit, count) in [(0, 5), (1, 2), (3, 3)] {
        let claim = given.claim(id, unit).await;
        let tally = |i| match i {
            1 => Tally::Failed,
            i => Tally::value(f64::from(claim.first + i)),
        };
        let trials = (0..count).map(|i| trial(claim.first + i, tally(i)));
        let flushed = UnitFlush {
            trials: trials.collect(),
            ..flush(&claim, 0, UnitEnd::Keep)
        };
        given.record(flushed).await;
        if unit == 3 {
            given.store.stop(id, StopReason::Cancelled).await.unwrap();
        }
    }
    for unit in [0, 1, 3] {
        let lease = trialmill_store::rows::HeldLease {
            unit: UnitRef { task: id, unit },
            token: 1,
        };
        given.expire(lease).await;
    }
    given.over.reap().await.unwrap();
    assert_eq!(given.task(id).await.ledger.state, TaskState::Cancelled);
    id
}

/// Claims and records whatever is queued, until the task ends; the numbers in their order.
async fn run_to_its_end(given: &Given, id: TaskId) -> Vec<u32> {
    let mut ran = Vec::new();
    let mut unit = 0;
    loop {
        let ledger = given.task(id).await.ledger;
        assert!(
            ledger
                .parallelism
                .is_none_or(|most| ledger.open_units <= most)
        );
        if ledger.state.is_terminal() {
            return ran;
        }
        if let Some(claim) = given.try_claim(id, unit).await {
            ran.extend(claim.first..claim.first + claim.count);
            given
                .record(flush(&claim, claim.count, UnitEnd::Close))
                .await;
        }
        unit += 1;
        assert!(unit < 1_000, "nothing is left to claim");
    }
}

/// A row, but for the unit and the task that it belongs to.
fn content(row: &TrialRow) -> TrialRow {
    TrialRow {
        unit: 0,
        ..row.clone()
    }
}

async fn rows(given: &Given, id: TaskId) -> BTreeMap<u32, TrialRow> {
    let rows = given.trials(id).await;
    rows.iter().map(|row| (row.number, content(row))).collect()
}

pub async fn a_retry_keeps_what_did_not_fail_and_runs_every_other_number(database: Arc<Database>) {
    let given = Given::new(database).await;
    let origin = cancelled(&given).await;
    let before = rows(&given, origin).await;
    for parallelism in [Some(1), Some(2), None] {
        let id = given
            .submit(made(origin, OriginHow::Retry, 40, parallelism))
            .await;
        given.verify().await;
        let kept: Vec<u32> = before
            .values()
            .filter(|row| row.end != TrialEnd::Failed)
            .map(|row| row.number)
            .collect();
        assert_eq!(kept, [0, 2, 3, 4, 5, 12, 14]);
        let row = given.task(id).await;
        assert_eq!(
            (row.ledger.state, row.started_at),
            (TaskState::Queued, None)
        );
        assert_eq!((row.ledger.completed, row.ledger.failed), (7, 0));
        assert_eq!(row.ledger.best.unwrap().number, 0);
        assert_eq!(row.ledger.copied.trials, 7);
        let how = OriginHow::Retry;
        assert_eq!(row.origin, Some(Origin { task: origin, how }));
        assert_eq!(row.leased_units, 0);
        let ran = run_to_its_end(&given, id).await;
        let expected: Vec<u32> = (0..40).filter(|n| !kept.contains(n)).collect();
        assert_eq!(ran, expected, "{parallelism:?}: in order, each once");
        let row = given.task(id).await;
        assert_eq!(row.ledger.stop_reason, Some(StopReason::NTrials));
        let after = rows(&given, id).await;
        assert_eq!(after.len(), 40);
        for number in &kept {
            assert_eq!(after[number], before[number]);
        }
        given.verify().await;
    }
    assert_eq!(
        rows(&given, origin).await,
        before,
        "the origin is as it was"
    );
}

pub async fn an_extension_keeps_every_ended_trial_and_adds_the_rest(database: Arc<Database>) {
    let given = Given::new(database).await;
    let origin = given.submit(task(10, Some(1))).await;
    let claim = given.claim(origin, 0).await;
    let mut flushed = flush(&claim, 10, UnitEnd::Close);
    flushed.trials[3] = trial(3, Tally::Failed);
    flushed.trials[4] = trial(4, Tally::Infeasible);
    flushed.trials[5] = trial(5, Tally::Pruned);
    flushed.trials[6] = trial(6, Tally::value(0.5));
    given.record(flushed).await;
    let id = given
        .submit(made(origin, OriginHow::Extend, 25, Some(1)))
        .await;
    let ledger = given.task(id).await.ledger;
    assert_eq!(
        (
            ledger.completed,
            ledger.pruned,
            ledger.failed,
            ledger.infeasible
        ),
        (8, 1, 1, 1)
    );
    assert_eq!((ledger.best.unwrap().number, ledger.since_best), (6, 3));
    // The sampler is shown the copied trials.
    let page = given.store.history(id, 0, 0..u32::MAX).await.unwrap();
    assert!(page.trials.iter().map(|t| t.number).eq(0..10));
    assert!(page.complete);
    let ran = run_to_its_end(&given, id).await;
    assert!(ran.iter().copied().eq(10..25), "{ran:?}");
    given.verify().await;
    let events = given.store.events(id, 0, 100).await.unwrap();
    let Event::Trials { numbers, best } = &events[1].event else {
        panic!("the second event tells of the copied trials: {events:?}")
    };
    assert_eq!(
        (numbers.as_slice(), best.unwrap().number),
        (&[(0, 10)][..], 6)
    );
    assert!(matches!(events.last().unwrap().event, Event::Ended { .. }));
}

pub async fn more_trials_than_a_batch_are_copied_in_several_events(database: Arc<Database>) {
    let given = Given::new(database).await;
    let total = 2 * COPY_BATCH + 5;
    let origin = given.submit(task(total, Some(1))).await;
    let mut claim = given.claim(origin, 0).await;
    while claim.count > 0 {
        let count = claim.count.min(5_000);
        let mut part = flush(&claim, count, UnitEnd::Keep);
        if claim.count == count {
            part.end = UnitEnd::Close;
        }
        // A hole at the border of two batches, and one in the middle.
        for number in [COPY_BATCH - 1, COPY_BATCH, 17_000] {
            if let Some(failed) = part.trials.iter_mut().find(|t| t.number == number) {
                *failed = trial(number, Tally::Failed);
            }
        }
        given.record(part).await;
        claim.first += count;
        claim.recorded += count;
        claim.count -= count;
    }
    let id = given
        .submit(made(origin, OriginHow::Retry, total, Some(3)))
        .await;
    given.verify().await;
    let row = given.task(id).await;
    assert_eq!(row.ledger.copied.units, 3);
    assert_eq!(row.ledger.copied.trials, total - 3);
    assert_eq!(row.ledger.seq, 4, "accepted, and three batches");
    let page = given.store.history(id, 0, 0..u32::MAX).await.unwrap();
    assert_eq!(page.trials.len(), (total - 3) as usize);
    let ran = run_to_its_end(&given, id).await;
    assert_eq!(ran, [COPY_BATCH - 1, COPY_BATCH, 17_000]);
    given.verify().await;
}

pub async fn more_gaps_than_are_read_at_a_time_are_all_run(database: Arc<Database>) {
    let given = Given::new(database).await;
    let origin = given.submit(task(900, Some(1))).await;
    let claim = given.claim(origin, 0).await;
    let mut all = flush(&claim, 900, UnitEnd::Close);
    for failed in all.trials.iter_mut().filter(|t| t.number % 3 == 1) {
        *failed = trial(failed.number, Tally::Failed);
    }
    given.record(all).await;
    for parallelism in [Some(1), Some(256)] {
        let id = given
            .submit(made(origin, OriginHow::Retry, 900, parallelism))
            .await;
        let ran = run_to_its_end(&given, id).await;
        assert!(ran.iter().copied().eq((0..900).filter(|n| n % 3 == 1)));
        assert_eq!(given.trials(id).await.len(), 900);
        given.verify().await;
    }
}

pub async fn what_copies_from_a_task_that_is_gone_or_alive_is_not_stored(database: Arc<Database>) {
    let given = Given::new(database).await;
    let alive = given.submit(task(10, Some(1))).await;
    for origin in [alive, TaskId(Uuid::now_v7())] {
        let new = made(origin, OriginHow::Retry, 10, Some(1));
        let id = new.id;
        let idempotency = Idempotency {
            scope: String::new(),
            key: "once".to_owned(),
            body_hash: [1; 32],
        };
        let answer = given.store.submit(new, Some(idempotency)).await.unwrap();
        assert!(matches!(answer, Submitted::NoOrigin), "{answer:?}");
        assert_eq!(given.store.task(id).await.unwrap(), None);
        let taken = given.store.idempotent("", "once").await.unwrap();
        assert!(taken.is_none(), "the key is free again");
    }
    // A clone copies nothing: it may be of any task.
    let clone = given
        .submit(made(alive, OriginHow::Clone, 10, Some(1)))
        .await;
    assert_eq!(given.task(clone).await.ledger.ended(), 0);
    given.verify().await;
}

pub async fn a_task_that_has_nothing_left_to_run_has_ended_when_it_is_accepted(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let origin = given.submit(task(4, Some(1))).await;
    let claim = given.claim(origin, 0).await;
    given.record(flush(&claim, 4, UnitEnd::Close)).await;
    let id = given.submit(made(origin, OriginHow::Retry, 4, None)).await;
    let row = given.task(id).await;
    assert_eq!(row.ledger.stop_reason, Some(StopReason::NTrials));
    assert!(row.completed_at.is_some());
    given.verify().await;
}

pub async fn a_paused_or_cancelled_retry_keeps_its_books(database: Arc<Database>) {
    let given = Given::new(database).await;
    let origin = cancelled(&given).await;
    let id = given
        .submit(made(origin, OriginHow::Retry, 40, Some(2)))
        .await;
    let first = given.task(id).await.ledger.copied.units;
    let claim = given.claim(id, first).await;
    given.store.pause(id).await.unwrap();
    given
        .record(flush(&claim, claim.count, UnitEnd::Close))
        .await;
    given.verify().await;
    given.store.resume(id).await.unwrap();
    given.verify().await;
    let ControlOutcome::Done(row) = given.store.stop(id, StopReason::Cancelled).await.unwrap()
    else {
        panic!("a running task can be cancelled");
    };
    assert_eq!(row.ledger.state, TaskState::Cancelled);
    given.verify().await;
    // A retry of the retry: it has what both have recorded.
    let again = given.submit(made(id, OriginHow::Retry, 40, Some(2))).await;
    assert_eq!(
        given.task(again).await.ledger.copied.trials,
        7 + claim.count
    );
    run_to_its_end(&given, again).await;
    assert_eq!(given.trials(again).await[1].params, point_bytes(1));
    given.verify().await;
}

fn point_bytes(number: u32) -> Vec<u8> {
    let words = point(number);
    words.values().iter().flat_map(|v| v.to_packed()).collect()
}
