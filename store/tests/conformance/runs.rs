//! Tasks that are one run: a trial with a result document.

use crate::database::Database;
use crate::given::{Given, flush, task};
use serde_json::{Value, json};
use std::sync::Arc;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::state::{TaskId, TaskKind, TaskState};
use trialmill_store::rows::{Claim, ControlOutcome};
use trialmill_store::{MAX_RESULT_BYTES, StoreError, UnitFlush};

async fn run(given: &Given) -> (TaskId, Claim) {
    let mut run = task(1, None);
    run.kind = TaskKind::Backtest;
    let id = given.submit(run).await;
    let claim = given.claim(id, 0).await;
    assert_eq!((claim.kind, claim.count), (TaskKind::Backtest, 1));
    (id, claim)
}

fn with_result(claim: &Claim, result: Value) -> UnitFlush {
    UnitFlush {
        result: Some(result),
        ..flush(claim, 1, UnitEnd::Close)
    }
}

pub async fn a_result_is_recorded_with_its_trial_or_not_at_all(database: Arc<Database>) {
    let given = Given::new(database).await;
    let (id, lost) = run(&given).await;
    assert_eq!(given.store.run_result(id).await.unwrap(), None);
    given.lose(&lost).await;
    let claim = given.claim(id, 0).await;
    let late = with_result(&lost, json!({"from": "the superseded lease"}));
    assert_eq!(given.record(late).await.written, [Written::Fenced]);
    assert_eq!(given.store.run_result(id).await.unwrap(), None);
    let result = json!({"sharpe": 0.1 + 0.2, "least": 5e-324, "list": [1, -0.0, null, "\u{0}终"]});
    let flushed = with_result(&claim, result.clone());
    for _ in 0..2 {
        // The second time as after an unknown commit.
        let answer = given.record(flushed.clone()).await;
        assert_eq!(answer.written, [Written::Recorded]);
        let read = given.store.run_result(id).await.unwrap().expect("recorded");
        assert_eq!(read.to_string(), result.to_string(), "every digit is kept");
    }
    let ledger = given.task(id).await.ledger;
    assert_eq!((ledger.state, ledger.completed), (TaskState::Completed, 1));
    given.verify().await;
}

pub async fn a_result_that_is_too_long_is_refused_with_its_flush(database: Arc<Database>) {
    let given = Given::new(database).await;
    let (id, claim) = run(&given).await;
    let long = with_result(&claim, Value::String("x".repeat(MAX_RESULT_BYTES)));
    let refused = given.store.record(id, &[long]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("67108866 bytes"), "{refused}");
    assert_eq!(given.task(id).await.ledger.completed, 0);
    assert_eq!(given.store.run_result(id).await.unwrap(), None);
    given.record(with_result(&claim, json!("short"))).await;
    assert_eq!(
        given.store.run_result(id).await.unwrap(),
        Some(json!("short"))
    );
}

pub async fn a_result_goes_with_its_task(database: Arc<Database>) {
    let given = Given::new(database).await;
    let (id, claim) = run(&given).await;
    given.record(with_result(&claim, json!({}))).await;
    let deleted = given.store.delete(id).await.unwrap();
    assert!(matches!(deleted, ControlOutcome::Done(_)));
    assert_eq!(given.store.run_result(id).await.unwrap(), None);
    given.verify().await;
}
