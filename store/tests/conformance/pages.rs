//! Lists: keyset cursors, filters, true totals.

use crate::database::Database;
use crate::given::{Given, VIOLATION, failure, flush, task, trial};
use serde_json::json;
use std::sync::Arc;
use trialmill_common::protocol::Tally;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::{StopReason, TaskId, TaskKind, TaskState, TrialEnd};
use trialmill_common::trial::Outcome;
use trialmill_store::UnitFlush;
use trialmill_store::rows::{TaskFilter, TaskRow, TrialFilter};
use uuid::Uuid;

pub async fn pages_of_tasks_hold_each_task_once_newest_first(database: Arc<Database>) {
    let given = Given::new(database).await;
    let mut ids = Vec::new();
    for number in 0..7 {
        let mut new = task(4, Some(1));
        new.name = format!("Study {number}%");
        ids.push(given.submit(new).await);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let filter = TaskFilter {
            before,
            limit: 3,
            ..TaskFilter::default()
        };
        let page = given.store.tasks(filter).await.unwrap();
        assert_eq!(page.total, 7);
        let Some(last) = page.tasks.last() else { break };
        before = Some(last.id);
        let whole = given.task(last.id).await;
        assert!(!whole.spec.is_null());
        let listed = TaskRow {
            spec: serde_json::Value::Null,
            resolved: serde_json::Value::Null,
            warnings: Vec::new(),
            ..whole
        };
        assert_eq!(*last, listed);
        seen.extend(page.tasks.iter().map(|t| t.id));
    }
    assert_eq!(seen, ids);
}

pub async fn filters_of_tasks_count_what_they_show(database: Arc<Database>) {
    let given = Given::new(database).await;
    let mut named = task(4, Some(1));
    named.name = "50% Off_Sale".to_owned();
    let named = given.submit(named).await;
    let mut other = task(4, Some(1));
    other.strategy = "rastrigin".to_owned();
    other.kind = TaskKind::Backtest;
    let other = given.submit(other).await;
    given
        .store
        .stop(other, StopReason::Cancelled)
        .await
        .unwrap();
    let all = TaskFilter {
        limit: 10,
        ..TaskFilter::default()
    };
    let text = |text: &str| TaskFilter {
        name_contains: Some(text.to_owned()),
        ..all.clone()
    };
    let strategy = Some("rastrigin".to_owned());
    let queued_or_running = vec![TaskState::Queued, TaskState::Running];
    for (filter, expected) in [
        (text("% off_s"), vec![named]),
        (text("o%f"), vec![]),
        (
            TaskFilter {
                states: queued_or_running,
                ..all.clone()
            },
            vec![named],
        ),
        (
            TaskFilter {
                kind: Some(TaskKind::Backtest),
                ..all.clone()
            },
            vec![other],
        ),
        (
            TaskFilter {
                strategy,
                ..all.clone()
            },
            vec![other],
        ),
        (all.clone(), vec![other, named]),
    ] {
        let page = given.store.tasks(filter.clone()).await.unwrap();
        let ids: Vec<TaskId> = page.tasks.iter().map(|t| t.id).collect();
        assert_eq!(
            (ids, page.total),
            (expected.clone(), expected.len() as u64),
            "{filter:?}"
        );
    }
}

pub async fn what_no_column_can_hold_finds_nothing_and_breaks_nothing(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    assert!(given.try_claim(id, u32::MAX).await.is_none());
    assert!(given.store.trial(id, u32::MAX).await.unwrap().is_none());
    let after = TrialFilter {
        after: Some(u32::MAX),
        limit: 10,
        ..TrialFilter::default()
    };
    assert_eq!(given.store.trials(id, after).await.unwrap(), vec![]);
    let nul = "a\0b".to_owned();
    assert!(!given.store.ever_announced(&nul).await.unwrap());
    let named = TaskFilter {
        name_contains: Some(nul.clone()),
        limit: 10,
        ..TaskFilter::default()
    };
    assert_eq!(given.store.tasks(named).await.unwrap().total, 0);
    assert_eq!(given.store.series_info(&[nul]).await.unwrap(), vec![]);
    let claim = given.claim(id, 0).await;
    let mut failed = flush(&claim, 1, UnitEnd::Keep);
    failed.trials[0] = trial(0, Tally::Failed);
    if let Outcome::Failed(failure) = &mut failed.trials[0].outcome {
        failure.message = "a NUL \0 in it".to_owned();
    }
    given.record(failed).await;
    let recorded = given.trials(id).await.remove(0).failure.unwrap();
    assert_eq!(recorded.message, "a NUL \u{fffd} in it");
    given.verify().await;
}

pub async fn an_ended_trial_reads_back_as_it_ended(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let claim = given.claim(id, 0).await;
    let tallies = [
        Tally::value(0.1),
        Tally::Infeasible,
        Tally::Pruned,
        Tally::Failed,
    ];
    let trials = (0..)
        .zip(tallies)
        .map(|(number, tally)| trial(number, tally))
        .collect();
    given
        .record(UnitFlush {
            trials,
            ..flush(&claim, 0, UnitEnd::Close)
        })
        .await;
    let rows = given.trials(id).await;
    let metrics = json!({
        "sharpe_ratio": 1.25, "calmar_ratio": {"value": null, "reason": "no drawdown"}
    });
    let ends = [
        TrialEnd::Completed,
        TrialEnd::Completed,
        TrialEnd::Pruned,
        TrialEnd::Failed,
    ];
    let values = [vec![0.1, 0.5], vec![], vec![0.25], vec![]];
    for (number, row) in rows.iter().enumerate() {
        assert_eq!((row.end, &row.values), (ends[number], &values[number]));
        assert_eq!((row.unit, row.window, row.duration_ms), (0, Some(2), 1.5));
        assert_eq!(row.params.len(), 16);
        let failed = row.end == TrialEnd::Failed;
        assert_eq!(row.failure, failed.then(failure));
        assert_eq!(row.metrics, (!failed).then(|| metrics.clone()));
        assert_eq!(row.stats, (!failed).then(|| vec![1, 2, 3]));
        assert_eq!(
            row.infeasible.as_deref(),
            (number == 1).then_some("no trades")
        );
        assert_eq!(row.violation, (number == 1).then_some(VIOLATION));
        let number = u32::try_from(number).unwrap();
        assert_eq!(
            given.store.trial(id, number).await.unwrap().as_ref(),
            Some(row)
        );
    }
    assert_eq!(rows.len(), 4);
    assert_eq!(given.store.trial(id, 4).await.unwrap(), None);
    given.verify().await;
}

pub async fn trials_and_events_are_read_on_from_where_the_reader_stopped(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(9, Some(1))).await;
    let claim = given.claim(id, 0).await;
    let tally = |number| {
        if number % 3 == 0 {
            Tally::Failed
        } else {
            Tally::value(1.0)
        }
    };
    let trials = (0..9).map(|number| trial(number, tally(number))).collect();
    given
        .record(UnitFlush {
            trials,
            ..flush(&claim, 0, UnitEnd::Close)
        })
        .await;
    let read = async |after, end, limit| {
        let filter = TrialFilter { after, end, limit };
        let rows = given.store.trials(id, filter).await.unwrap();
        rows.iter().map(|row| row.number).collect::<Vec<_>>()
    };
    assert_eq!(read(None, None, 4).await, [0, 1, 2, 3]);
    assert_eq!(read(Some(3), None, 4).await, [4, 5, 6, 7]);
    assert_eq!(read(Some(8), None, 4).await, Vec::<u32>::new());
    assert_eq!(read(None, Some(TrialEnd::Failed), 2).await, [0, 3]);
    assert_eq!(read(Some(3), Some(TrialEnd::Failed), 2).await, [6]);
    // Accepted, started, trials, ended.
    let seqs = async |after, limit| {
        let rows = given.store.events(id, after, limit).await.unwrap();
        rows.iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(0, 2).await, [1, 2]);
    assert_eq!(seqs(2, 100).await, [3, 4]);
    assert_eq!(seqs(4, 100).await, Vec::<i64>::new());
    let nowhere = TaskId(Uuid::now_v7());
    assert_eq!(given.store.events(nowhere, 0, 10).await.unwrap(), vec![]);
    let fresh = given.submit(task(1, Some(1))).await;
    let last = given
        .store
        .last_events(&[fresh, nowhere, id])
        .await
        .unwrap();
    assert_eq!(last, [(id, 4), (fresh, 1)].into());
    assert!(given.store.last_events(&[]).await.unwrap().is_empty());
    assert_eq!(given.store.task(nowhere).await.unwrap(), None);
}
