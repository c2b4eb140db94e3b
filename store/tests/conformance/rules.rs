//! Tasks that end themselves: at a target, or when patience runs out.

use crate::database::Database;
use crate::given::{Given, flush, task, trial};
use std::sync::Arc;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::protocol::{Aim, Control, Event, StopRules, Tally};
use trialmill_common::state::{Direction, OriginHow, StopReason, TaskId, TaskState};
use trialmill_store::UnitFlush;
use trialmill_store::rows::{Claim, NewTask, Origin};
use uuid::Uuid;

fn ending(n_trials: u32, parallelism: u32, rules: StopRules) -> NewTask {
    NewTask {
        rules,
        ..task(n_trials, Some(parallelism))
    }
}

const TARGET: StopRules = StopRules {
    target: Some(2.0),
    patience: None,
    aims: Vec::new(),
};

/// Trials with these values, following the recorded ones of a claim.
fn valued(claim: &Claim, values: &[f64], end: UnitEnd) -> UnitFlush {
    let numbered = (claim.first..).zip(values);
    UnitFlush {
        trials: numbered
            .map(|(number, value)| trial(number, Tally::value(*value)))
            .collect(),
        ..flush(claim, 0, end)
    }
}

pub async fn what_a_worker_ran_on_with_after_the_target_is_not_recorded(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(ending(50, 1, TARGET)).await;
    let mut claim = given.claim(id, 0).await;
    let reached = valued(&claim, &[5.0, 2.0], UnitEnd::Keep);
    assert_eq!(given.record(reached).await.written, [Written::Recorded]);
    claim.first += 2;
    claim.recorded += 2;
    let beyond = valued(&claim, &[1.0, 4.0], UnitEnd::Keep);
    assert_eq!(given.record(beyond).await.written, [Written::Ended]);
    assert_eq!(given.trials(id).await.len(), 2);
    given.verify().await;
}

pub async fn a_sequential_task_records_nothing_beyond_its_target_however_it_is_flushed(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let values = [5.0, 3.0, 2.5, 2.0, 1.0, 4.0];
    for size in [1, 2, 4, 6] {
        let id = given.submit(ending(50, 1, TARGET)).await;
        let mut claim = given.claim(id, 0).await;
        let mut written = Vec::new();
        for chunk in values.chunks(size) {
            let answer = given.record(valued(&claim, chunk, UnitEnd::Keep)).await;
            written.push(answer.written[0]);
            claim.first += u32::try_from(chunk.len()).unwrap();
            claim.recorded += u32::try_from(chunk.len()).unwrap();
            if answer.control == Control::Stop {
                // What a worker does: it closes the unit, or has been told that it is closed.
                given.record(valued(&claim, &[], UnitEnd::Close)).await;
                break;
            }
        }
        let row = given.task(id).await;
        assert_eq!(row.ledger.stop_reason, Some(StopReason::TargetReached));
        assert_eq!((row.ledger.completed, row.ledger.open_units), (4, 0));
        assert_eq!(row.ledger.best.unwrap().number, 3);
        assert_eq!(given.trials(id).await.len(), 4);
        let cut = values.len().min(size * written.len()) > 4;
        assert_eq!(
            written.last() == Some(&Written::Ended),
            cut,
            "{size}: {written:?}"
        );
        let events = given.store.events(id, 0, 100).await.unwrap();
        let reason = StopReason::TargetReached;
        assert!(events.iter().any(|e| e.event == Event::Stopping { reason }));
        assert!(matches!(events.last().unwrap().event, Event::Ended { .. }));
        given.verify().await;
    }
}

pub async fn patience_that_runs_out_withdraws_what_waits_and_stops_what_runs(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let rules = StopRules {
        patience: Some(3),
        ..StopRules::default()
    };
    let id = given.submit(ending(80, 4, rules)).await;
    let (first, second) = (given.claim(id, 0).await, given.claim(id, 1).await);
    let flushes = [
        valued(&first, &[1.0, 2.0], UnitEnd::Keep),
        valued(&second, &[3.0, 4.0, 0.5], UnitEnd::HandBack),
    ];
    let answer = given.store.record(id, &flushes).await.unwrap();
    // The best is trial 0; the third after it is the second of the other unit.
    assert_eq!(answer.written, [Written::Recorded, Written::Ended]);
    assert_eq!(answer.control, Control::Stop);
    let row = given.task(id).await;
    assert_eq!(row.ledger.stop_requested, Some(StopReason::NoImprovement));
    assert_eq!(
        (row.ledger.state, row.ledger.open_units),
        (TaskState::Running, 1)
    );
    assert_eq!((row.ledger.ended(), row.ledger.since_best), (4, 3));
    assert_eq!(given.try_claim(id, 2).await, None);
    given.verify().await;
    // A repetition of the flush changes nothing.
    let again = given.store.record(id, &flushes).await.unwrap();
    assert_eq!(again.written, [Written::Recorded, Written::Fenced]);
    // What the other holder has ended by now is recorded: it is no matter of the rule any more.
    let mut rest = first.clone();
    (rest.first, rest.recorded) = (first.first + 2, 2);
    given.record(valued(&rest, &[0.25], UnitEnd::Close)).await;
    let row = given.task(id).await;
    assert_eq!(row.ledger.stop_reason, Some(StopReason::NoImprovement));
    assert_eq!(row.ledger.best.unwrap().value.to_bits(), 0.25_f64.to_bits());
    given.verify().await;
}

pub async fn several_objectives_end_their_task_as_one_does(database: Arc<Database>) {
    let given = Given::new(database).await;
    let two = |targets: [Option<f64>; 2], patience| StopRules {
        patience,
        aims: [Direction::Minimize, Direction::Maximize]
            .into_iter()
            .zip(targets)
            .map(|(direction, target)| Aim { direction, target })
            .collect(),
        ..StopRules::default()
    };
    let valued = |claim: &Claim, values: &[[f64; 2]]| UnitFlush {
        trials: (claim.first..)
            .zip(values)
            .map(|(number, values)| trial(number, Tally::Values(values.to_vec())))
            .collect(),
        ..flush(claim, 0, UnitEnd::Keep)
    };
    // Trial 3 is the second in a row that is new on no front, or the first that reaches both.
    let values = [[2.0, 2.0], [1.0, 0.5], [3.0, 1.9], [1.0, 0.5], [1.0, 0.0]];
    let reached = [[2.0, 2.0], [1.0, 0.5], [0.5, 0.9], [0.75, 1.0], [0.1, 0.1]];
    for (rules, values, reason) in [
        (
            two([Some(0.8), Some(1.0)], None),
            reached,
            StopReason::TargetReached,
        ),
        (two([None; 2], Some(2)), values, StopReason::NoImprovement),
    ] {
        for size in [1, 2, 5] {
            let id = given.submit(ending(50, 1, rules.clone())).await;
            let mut claim = given.claim(id, 0).await;
            for chunk in values.chunks(size) {
                let answer = given.record(valued(&claim, chunk)).await;
                claim.first += u32::try_from(chunk.len()).unwrap();
                claim.recorded += u32::try_from(chunk.len()).unwrap();
                if answer.control == Control::Stop {
                    given.record(flush(&claim, 0, UnitEnd::Close)).await;
                    break;
                }
            }
            let row = given.task(id).await;
            assert_eq!(row.ledger.stop_reason, Some(reason), "{size}");
            assert_eq!((row.ledger.completed, row.ledger.rules), (4, rules.clone()));
            given.verify().await;
            // An extension knows what its origin had, and ends at once.
            let origin = Origin {
                task: id,
                how: OriginHow::Extend,
            };
            let extended = NewTask {
                origin: Some(origin),
                ..ending(80, 1, rules.clone())
            };
            let extended = given.submit(extended).await;
            let row = given.task(extended).await;
            assert_eq!(row.ledger.met_rule(), Some(reason));
            assert_eq!(row.ledger.stop_reason, Some(reason));
            given.verify().await;
        }
    }
}

pub async fn a_cancel_outranks_a_rule_and_a_rule_ends_a_paused_task(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(ending(80, 4, TARGET)).await;
    let claim = given.claim(id, 0).await;
    given.store.pause(id).await.unwrap();
    given
        .record(valued(&claim, &[1.0], UnitEnd::HandBack))
        .await;
    let row = given.task(id).await;
    assert_eq!(row.ledger.stop_reason, Some(StopReason::TargetReached));

    let id = given.submit(ending(80, 4, TARGET)).await;
    let (first, second) = (given.claim(id, 0).await, given.claim(id, 1).await);
    given.record(valued(&first, &[1.0], UnitEnd::Close)).await;
    given.store.stop(id, StopReason::Cancelled).await.unwrap();
    given.record(valued(&second, &[], UnitEnd::Close)).await;
    assert_eq!(given.task(id).await.ledger.state, TaskState::Cancelled);
    given.verify().await;
}

pub async fn holders_ask_what_to_do_between_two_renewals(database: Arc<Database>) {
    let given = Given::new(database).await;
    let runs = given.submit(task(40, Some(2))).await;
    let paused = given.submit(task(40, Some(2))).await;
    let stopping = given.submit(task(40, Some(2))).await;
    for id in [runs, paused, stopping] {
        given.claim(id, 0).await;
    }
    given.store.pause(paused).await.unwrap();
    given
        .store
        .stop(stopping, StopReason::Cancelled)
        .await
        .unwrap();
    let gone = TaskId(Uuid::now_v7());
    let asked = [stopping, runs, gone, paused, runs];
    assert_eq!(
        given.store.controls(&asked).await.unwrap(),
        [
            Control::Stop,
            Control::Run,
            Control::Stop,
            Control::Pause,
            Control::Run
        ]
    );
    assert_eq!(given.store.controls(&[]).await.unwrap(), []);
}
