//! Many workers at once: no deadlock, nothing lost, nothing twice.

use crate::database::Database;
use crate::given::{Given, flush, task};
use std::sync::Arc;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::state::{StopReason, TaskId, TaskState, WorkerId};
use trialmill_store::Store;
use trialmill_store::rows::UnitRef;
use uuid::Uuid;

const WORKERS: u32 = 8;

/// Takes units of the tasks in turn until all have ended; hands some back, splits others.
async fn work(store: Arc<dyn Store>, tasks: Vec<TaskId>, seed: u32) -> u32 {
    let worker = WorkerId(Uuid::now_v7());
    let mut recorded = 0;
    let mut turn = seed;
    loop {
        let mut alive = false;
        for id in &tasks {
            let row = store.task(*id).await.unwrap().unwrap();
            alive |= !row.ledger.state.is_terminal();
            // All of them: one that was handed back may be older than any that were made since.
            for unit in 0..row.ledger.next_unit {
                let unit = UnitRef { task: *id, unit };
                let Some(claim) = store.claim(unit, worker).await.unwrap() else {
                    continue;
                };
                turn += 1;
                let (count, end) = match turn % 5 {
                    0 => (claim.count / 2, UnitEnd::HandBack),
                    1 => (claim.count / 2, UnitEnd::Split),
                    _ => (claim.count, UnitEnd::Close),
                };
                let answer = store
                    .record(*id, &[flush(&claim, count, end)])
                    .await
                    .unwrap();
                if answer.written == [Written::Recorded] {
                    recorded += count;
                }
            }
        }
        if !alive {
            return recorded;
        }
    }
}

pub async fn many_workers_record_each_trial_once(database: Arc<Database>) {
    let given = Given::new(database).await;
    let tasks = [
        given.submit(task(300, Some(4))).await,
        given.submit(task(200, Some(3))).await,
    ];
    let workers: Vec<_> = (0..WORKERS)
        .map(|seed| tokio::spawn(work(given.store.clone(), tasks.to_vec(), seed)))
        .collect();
    let mut recorded = 0;
    for worker in workers {
        recorded += worker.await.unwrap();
    }
    assert_eq!(recorded, 500);
    for id in tasks {
        let ledger = given.task(id).await.ledger;
        assert_eq!(ledger.state, TaskState::Completed);
        assert_eq!(ledger.stop_reason, Some(StopReason::NTrials));
    }
    given.verify().await;
}

pub async fn cancels_pauses_and_reaping_amid_many_workers_leave_nothing_wrong(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(given.submit(task(400, Some(4))).await);
    }
    let workers: Vec<_> = (0..WORKERS)
        .map(|seed| tokio::spawn(work(given.store.clone(), tasks.clone(), seed)))
        .collect();
    for _ in 0..5 {
        for id in &tasks {
            given.store.pause(*id).await.unwrap();
            given.over.reap().await.unwrap();
            given.store.resume(*id).await.unwrap();
        }
    }
    for id in &tasks {
        given.store.stop(*id, StopReason::Cancelled).await.unwrap();
    }
    for worker in workers {
        worker.await.unwrap();
    }
    for id in &tasks {
        assert!(given.task(*id).await.ledger.state.is_terminal());
    }
    given.verify().await;
}

pub async fn two_flushes_of_one_task_in_opposite_order_do_not_deadlock(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(640, Some(4))).await;
    let mut claims = Vec::new();
    for unit in 0..4 {
        claims.push(given.claim(id, unit).await);
    }
    for _ in 0..20 {
        let forth: Vec<_> = claims.iter().map(|c| flush(c, 1, UnitEnd::Keep)).collect();
        let back: Vec<_> = forth.iter().rev().cloned().collect();
        let (one, other) = (given.store.clone(), given.store.clone());
        let one = tokio::spawn(async move { one.record(id, &forth).await });
        let other = tokio::spawn(async move { other.record(id, &back).await });
        // The later one finds it written: a repeat.
        assert_eq!(one.await.unwrap().unwrap().written, [Written::Recorded; 4]);
        assert_eq!(
            other.await.unwrap().unwrap().written,
            [Written::Recorded; 4]
        );
        for claim in &mut claims {
            (claim.first, claim.recorded) = (claim.first + 1, claim.recorded + 1);
        }
    }
    assert_eq!(given.task(id).await.ledger.completed, 80);
    given.verify().await;
}
