//! What samplers read: every trial once, in pages, whoever writes meanwhile.

use crate::announced::params;
use crate::database::Database;

use crate::given::{Given, VIOLATION, flush, task, trial};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trialmill_common::protocol::Tally;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::{TaskId, TrialEnd, WorkerId};
use trialmill_store::rows::{HistoryRow, UnitRef};
use trialmill_store::{HISTORY_PAGE, Store, UnitFlush};
use uuid::Uuid;

/// Reads on after an event to the end; the trials, and the event to go on after.
async fn read_on(store: &dyn Store, id: TaskId, mut after: i64) -> (Vec<HistoryRow>, i64) {
    let mut trials = Vec::new();
    loop {
        let page = store.history(id, after, 0..u32::MAX).await.unwrap();
        assert!(page.trials.is_sorted_by_key(|t| t.number));
        trials.extend(page.trials);
        after = page.seq;
        if page.complete {
            return (trials, after);
        }
    }
}

fn numbers(trials: &[HistoryRow]) -> Vec<u32> {
    trials.iter().map(|t| t.number).collect()
}

pub async fn history_holds_every_trial_once_and_goes_on_after_an_event(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(40, Some(2))).await;
    let other = given.submit(task(40, Some(2))).await;
    let foreign = given.claim(other, 0).await;
    given.record(flush(&foreign, 3, UnitEnd::Keep)).await;
    let (early, late) = (given.claim(id, 0).await, given.claim(id, 1).await);
    let tallies = [
        Tally::value(0.1),
        Tally::Infeasible,
        Tally::Pruned,
        Tally::Failed,
    ];
    let trials: Vec<_> = (late.first..)
        .zip(tallies)
        .map(|(n, t)| trial(n, t))
        .collect();
    given
        .record(UnitFlush {
            trials,
            ..flush(&late, 0, UnitEnd::Keep)
        })
        .await;
    let (first, seq) = read_on(given.store.as_ref(), id, 0).await;
    assert_eq!(seq, given.task(id).await.ledger.seq);
    let ends: Vec<_> = first
        .iter()
        .map(|t| (t.end, t.infeasible, t.values.clone(), t.violation))
        .collect();
    let expected = [
        (TrialEnd::Completed, false, vec![0.1, 0.5], None),
        (TrialEnd::Completed, true, vec![], Some(VIOLATION)),
        (TrialEnd::Pruned, false, vec![0.25], None),
        (TrialEnd::Failed, false, vec![], None),
    ];
    assert_eq!(ends, expected);
    for row in &first {
        assert_eq!(row.params, params(row.number));
    }
    given.store.pause(id).await.unwrap();
    given.store.resume(id).await.unwrap();
    // Lower numbers, recorded later.
    given.record(flush(&early, 2, UnitEnd::Keep)).await;
    let (second, seq) = read_on(given.store.as_ref(), id, seq).await;
    assert_eq!(numbers(&second), [early.first, early.first + 1]);
    let page = given.store.history(id, seq, 0..u32::MAX).await.unwrap();
    assert_eq!((page.trials, page.seq, page.complete), (vec![], seq, true));
    assert_eq!(page.open_units, 2);
    let (all, _) = read_on(given.store.as_ref(), id, 0).await;
    assert_eq!(numbers(&all), [0, 1, 10, 11, 12, 13]);
    // By number the same rows, as many as asked for.
    let of = |numbers, limit| given.store.outcomes(id, numbers, limit);
    assert_eq!(of(0..u32::MAX, u32::MAX).await.unwrap(), all);
    assert_eq!(of(1..13, 3).await.unwrap(), all[1..4]);
    assert_eq!(of(2..10, 5).await.unwrap(), []);
}

pub async fn a_large_history_comes_in_pages_that_share_no_trial(database: Arc<Database>) {
    let given = Given::new(database).await;
    let n_trials = HISTORY_PAGE + 2_000;
    let id = given.submit(task(n_trials, Some(1))).await;
    let mut claim = given.claim(id, 0).await;
    while claim.first < n_trials {
        let count = 4_000.min(n_trials - claim.first);
        let end = match claim.first + count == n_trials {
            true => UnitEnd::Close,
            false => UnitEnd::Keep,
        };
        given.record(flush(&claim, count, end)).await;
        (claim.first, claim.recorded) = (claim.first + count, claim.recorded + count);
    }
    let first = given.store.history(id, 0, 0..u32::MAX).await.unwrap();
    assert!(!first.complete && first.trials.len() >= HISTORY_PAGE as usize);
    let (rest, seq) = read_on(given.store.as_ref(), id, first.seq).await;
    assert_eq!(seq, given.task(id).await.ledger.seq);
    let read = numbers(&first.trials).into_iter().chain(numbers(&rest));
    assert!(read.eq(0..n_trials), "each once");
}

pub async fn what_runs_elsewhere_comes_with_the_history(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(40, Some(2))).await;
    let (claim, other) = (given.claim(id, 0).await, given.claim(id, 1).await);
    given.announce(&other, other.first, 7).await;
    given.announce(&claim, 0, 3).await;
    let page = given.store.history(id, 0, 0..u32::MAX).await.unwrap();
    let running: Vec<_> = page
        .running
        .iter()
        .map(|r| (r.number, r.unit, &r.params))
        .collect();
    assert_eq!(running, [(0, 0, &params(3)), (other.first, 1, &params(7))]);
    given.record(flush(&claim, 1, UnitEnd::HandBack)).await;
    given.lose(&other).await;
    let page = given
        .store
        .history(id, page.seq, 0..u32::MAX)
        .await
        .unwrap();
    assert_eq!(numbers(&page.trials), [0]);
    assert_eq!(page.running, vec![], "nobody runs the other one now");
}

/// Claims and records until the task has ended.
async fn work(store: Arc<dyn Store>, id: TaskId) {
    let worker = WorkerId(Uuid::now_v7());
    loop {
        let ledger = store.task(id).await.unwrap().unwrap().ledger;
        if ledger.state.is_terminal() {
            return;
        }
        for unit in ledger.next_unit.saturating_sub(8)..ledger.next_unit {
            let unit = UnitRef { task: id, unit };
            let Some(mut claim) = store.claim(unit, worker).await.unwrap() else {
                continue;
            };
            while claim.count > 0 {
                let end = match claim.count {
                    1 => UnitEnd::Close,
                    _ => UnitEnd::Keep,
                };
                store.record(id, &[flush(&claim, 1, end)]).await.unwrap();
                claim.first += 1;
                claim.recorded += 1;
                claim.count -= 1;
            }
        }
    }
}

pub async fn history_read_amid_many_workers_misses_nothing(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(400, Some(6))).await;
    let workers: Vec<_> = (0..6)
        .map(|_| tokio::spawn(work(given.store.clone(), id)))
        .collect();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, done) = (given.store.clone(), done.clone());
            tokio::spawn(async move {
                let (mut known, mut seq) = (BTreeSet::new(), 0);
                loop {
                    let last = done.load(Ordering::Acquire);
                    // What is committed before the read must be in it.
                    let before = store.task(id).await.unwrap().unwrap().ledger;
                    let (trials, read_to) = read_on(store.as_ref(), id, seq).await;
                    for number in numbers(&trials) {
                        assert!(known.insert(number), "trial {number} came twice");
                    }
                    assert!(read_to >= before.seq);
                    assert!(known.len() >= before.ended() as usize, "a trial was missed");
                    seq = read_to;
                    if last {
                        return known;
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        assert!(reader.await.unwrap().into_iter().eq(0..400));
    }
    given.verify().await;
}

pub async fn a_task_that_is_not_there_has_no_history(database: Arc<Database>) {
    let given = Given::new(database).await;
    let nowhere = TaskId(Uuid::now_v7());
    let page = given.store.history(nowhere, 0, 0..u32::MAX).await.unwrap();
    assert_eq!((page.trials.len(), page.seq, page.complete), (0, 0, true));
    assert_eq!((page.running.len(), page.open_units), (0, 0));
}
