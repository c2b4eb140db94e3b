//! Searches over windows, and the assessment that follows a search.

use crate::database::Database;
use crate::given::{Given, flush, task, trial};
use serde_json::json;
use std::sync::Arc;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::protocol::{ASSESS_STEPS, Control, Tally};
use trialmill_common::state::{OriginHow, StopReason, TaskId, TaskState, UnitKind};
use trialmill_store::UnitFlush;
use trialmill_store::rows::{Claim, ControlOutcome, NewTask, Origin};

/// Steps of an assessment, and how far it has come.
fn steps(claim: &Claim, steps: u32, end: UnitEnd) -> UnitFlush {
    UnitFlush {
        steps,
        result: Some(json!({"done": claim.recorded + steps})),
        ..flush(claim, 0, end)
    }
}

/// A task of one trial that has ended, with its assessment under lease.
async fn assessing(given: &Given) -> (TaskId, Claim) {
    let mut new = task(1, Some(1));
    new.assessed = true;
    let id = given.submit(new).await;
    let claim = given.claim(id, 0).await;
    given.record(flush(&claim, 1, UnitEnd::Close)).await;
    let claim = given.claim(id, 1).await;
    assert_eq!(
        (claim.unit_kind, claim.count),
        (UnitKind::Assess, ASSESS_STEPS)
    );
    (id, claim)
}

pub async fn an_assessment_goes_on_where_its_last_holder_left_it(database: Arc<Database>) {
    let given = Given::new(database).await;
    let (id, lost) = assessing(&given).await;
    let row = given.task(id).await;
    assert_eq!(row.ledger.searched, Some(StopReason::NTrials));
    assert_eq!(
        (row.ledger.state, row.assessed_percent),
        (TaskState::Running, Some(0))
    );
    let searched_for = row.active_seconds;
    for _ in 0..2 {
        // The second time as after an unknown commit.
        let written = given.record(steps(&lost, 30, UnitEnd::Keep)).await.written;
        assert_eq!(written, [Written::Recorded]);
        assert_eq!(given.task(id).await.assessed_percent, Some(30));
    }
    given.verify().await;
    given.lose(&lost).await;
    let claim = given.claim(id, 1).await;
    assert_eq!((claim.recorded, claim.count, claim.crashes), (30, 70, 1));
    let late = steps(&lost, 10, UnitEnd::Keep);
    assert_eq!(given.record(late).await.written, [Written::Fenced]);
    let done = given.store.run_result(id).await.unwrap();
    assert_eq!(done, Some(json!({"done": 30})));
    given.record(steps(&claim, 70, UnitEnd::Close)).await;
    let row = given.task(id).await;
    assert_eq!(row.ledger.state, TaskState::Completed);
    assert_eq!(row.ledger.stop_reason, Some(StopReason::NTrials));
    assert_eq!((row.ledger.searched, row.assessed_percent), (None, None));
    // Its clock stood still: what is left of it counts trials a second and the timeout.
    assert_eq!(row.active_seconds, searched_for);
    let done = given.store.run_result(id).await.unwrap();
    assert_eq!(done, Some(json!({"done": 100})));
    given.verify().await;
}

pub async fn an_assessment_that_is_done_and_not_closed_keeps_what_it_found(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let (id, lost) = assessing(&given).await;
    given
        .record(steps(&lost, ASSESS_STEPS, UnitEnd::Keep))
        .await;
    given.lose(&lost).await;
    let claim = given.claim(id, 1).await;
    assert_eq!((claim.recorded, claim.count), (ASSESS_STEPS, 0));
    given.record(flush(&claim, 0, UnitEnd::Close)).await;
    assert_eq!(given.task(id).await.ledger.state, TaskState::Completed);
    let done = given.store.run_result(id).await.unwrap();
    assert_eq!(done, Some(json!({"done": ASSESS_STEPS})));
    given.verify().await;
}

pub async fn an_assessment_is_paused_and_cancelled_like_a_search(database: Arc<Database>) {
    let given = Given::new(database).await;
    let (id, claim) = assessing(&given).await;
    given.store.pause(id).await.unwrap();
    let told = given.record(steps(&claim, 1, UnitEnd::HandBack)).await;
    assert_eq!(told.control, Control::Pause);
    assert!(given.try_claim(id, 1).await.is_none());
    given.store.resume(id).await.unwrap();
    let claim = given.claim(id, 1).await;
    assert_eq!(claim.recorded, 1);
    let late = given.store.stop(id, StopReason::Timeout).await.unwrap();
    assert!(matches!(late, ControlOutcome::NotAllowed(_)), "{late:?}");
    given.store.stop(id, StopReason::Cancelled).await.unwrap();
    let told = given.record(steps(&claim, 1, UnitEnd::Keep)).await;
    assert_eq!(told.control, Control::Stop);
    let claim = Claim {
        recorded: 2,
        ..claim
    };
    given.record(flush(&claim, 0, UnitEnd::Close)).await;
    assert_eq!(given.task(id).await.ledger.state, TaskState::Cancelled);
    given.verify().await;
}

pub async fn a_queued_assessment_keeps_its_task_from_timing_out(database: Arc<Database>) {
    let given = Given::new(database).await;
    let (id, claim) = assessing(&given).await;
    given.record(flush(&claim, 0, UnitEnd::HandBack)).await;
    let late = given.store.stop(id, StopReason::Timeout).await.unwrap();
    assert!(matches!(late, ControlOutcome::NotAllowed(_)), "{late:?}");
    // What was refused has withdrawn nothing.
    let claim = given.claim(id, 1).await;
    given
        .record(steps(&claim, ASSESS_STEPS, UnitEnd::Close))
        .await;
    assert_eq!(given.task(id).await.ledger.state, TaskState::Completed);
    given.verify().await;
}

pub async fn windows_are_searched_side_by_side_each_with_its_own_history(database: Arc<Database>) {
    let given = Given::new(database).await;
    let mut new = task(9, Some(3));
    new.windows = vec![0..4, 4..7, 7..9];
    new.adaptive = true;
    let id = given.submit(new).await;
    let mut ended = Vec::new();
    let mut queue: std::collections::VecDeque<u32> = (0..3).collect();
    while let Some(unit) = queue.pop_front() {
        let claim = given.claim(id, unit).await;
        let window = claim.window.expect("it is of a window");
        let numbers = [0..4, 4..7, 7..9][usize::from(window)].clone();
        let of_unit = claim.first..claim.first + claim.count;
        assert!(numbers.start <= of_unit.start && of_unit.end <= numbers.end);
        let flushed = UnitFlush {
            trials: of_unit
                .clone()
                .map(|number| {
                    let value = Tally::value(f64::from(number));
                    let mut ended = trial(number, value);
                    ended.window = Some(window);
                    ended
                })
                .collect(),
            ..flush(&claim, 0, UnitEnd::Close)
        };
        given.record(flushed).await;
        ended.extend(of_unit);
        let ledger = given.task(id).await.ledger;
        queue.extend(ledger.next_unit - (ledger.open_units - count(&queue))..ledger.next_unit);
        let page = given.store.history(id, 0, numbers.clone()).await.unwrap();
        let seen: Vec<u32> = page.trials.iter().map(|t| t.number).collect();
        let mut expected: Vec<u32> = ended.clone();
        expected.retain(|number| numbers.contains(number));
        expected.sort_unstable();
        assert_eq!(seen, expected);
        given.verify().await;
    }
    let ledger = given.task(id).await.ledger;
    assert_eq!(ledger.stop_reason, Some(StopReason::NTrials));
    // Smaller is better, and the smallest of all is of a window whose pick is not deployed.
    assert_eq!(ledger.best.unwrap().number, 7);
}

fn count(units: &std::collections::VecDeque<u32>) -> u32 {
    u32::try_from(units.len()).unwrap()
}

/// A search over some days of some symbols, with what is held out.
fn over(codes: &[&str], days: [&str; 2], held_out: Option<[&str; 2]>) -> NewTask {
    let held_out =
        held_out.map(|[from, to]| json!({"plan": {"holdout": {"from": from, "to": to}}}));
    NewTask {
        stock_codes: codes.iter().map(|code| (*code).to_owned()).collect(),
        spec: json!({"start_date": days[0], "end_date": days[1], "validation": held_out}),
        assessed: true,
        ..task(1, Some(1))
    }
}

/// Runs a search of one trial and its assessment.
async fn assessed(given: &Given, new: NewTask) -> TaskId {
    let id = given.submit(new).await;
    let claim = given.claim(id, 0).await;
    given.record(flush(&claim, 1, UnitEnd::Close)).await;
    let claim = given.claim(id, 1).await;
    given
        .record(steps(&claim, ASSESS_STEPS, UnitEnd::Close))
        .await;
    id
}

pub async fn earlier_work_on_the_same_symbols_and_days_is_counted(database: Arc<Database>) {
    let given = Given::new(database).await;
    let years = ["2010-01-01", "2019-12-31"];
    let last = Some(["2019-01-01", "2019-12-31"]);
    let origin = assessed(&given, over(&["A"], years, last)).await;
    assessed(&given, over(&["B"], years, last)).await;
    assessed(
        &given,
        over(&["A", "C"], ["2000-01-01", "2009-12-31"], None),
    )
    .await;
    assessed(
        &given,
        over(&["C", "A"], ["2019-12-31", "2021-12-31"], None),
    )
    .await;
    // Its trial has ended, and nobody has looked at what it holds out.
    let looking = given.submit(over(&["A"], years, last)).await;
    let claim = given.claim(looking, 0).await;
    given.record(flush(&claim, 1, UnitEnd::Close)).await;
    let mine = given.submit(over(&["A", "Z"], years, last)).await;
    assessed(&given, over(&["A"], years, last)).await;
    let found = given.store.earlier_work(mine).await.unwrap();
    assert_eq!((found.trials, found.holdout_looks), (3, 1));
    // A retry has the origin's trials among its own; a clone runs them again, beside those.
    for (how, trials) in [(OriginHow::Retry, 3), (OriginHow::Clone, 4)] {
        let mut new = over(&["A"], years, Some(["2018-06-01", "2019-01-01"]));
        new.origin = Some(Origin { task: origin, how });
        let id = given.submit(new).await;
        let found = given.store.earlier_work(id).await.unwrap();
        // Either way the origin's result on the held-out days was seen.
        assert_eq!((found.trials, found.holdout_looks), (trials, 2), "{how:?}");
    }
}
