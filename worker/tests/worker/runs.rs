//! Tasks that are one run, and replays held against the record, against a real store and a real
//! queue.

use crate::support::{Mill, float, function, int, new_task, options};
use serde_json::Value;
use std::collections::BTreeMap;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::metrics::Metric;
use trialmill_backtest::synthetic::{GroupKind, Kind, group, series};
use trialmill_common::spec::{
    MetricNames, RecordedTrial, ResultConstraint, RunSpec, Scope, Target, TaskSpec, Weight,
};
use trialmill_common::state::{Direction, TaskId, TaskKind, TaskState};
use trialmill_search::Choice;
use trialmill_store::Store;
use trialmill_store::rows::{NewTask, Snapshot, Submitted, TaskRow, TrialRow};

pub type Series = BTreeMap<String, [u8; 32]>;

/// A backtest as an API would make a run of it.
fn run(strategy: &str, codes: &[&str], params: &[(&str, Choice)]) -> RunSpec {
    let day = |text: &str| text.parse().unwrap();
    let params = params.iter().cloned();
    RunSpec {
        task_name: format!("a backtest of {strategy}"),
        strategy_name: strategy.to_owned(),
        stock_codes: codes.iter().map(|&code| code.to_owned()).collect(),
        start_date: day("2020-01-01"),
        end_date: day("2022-12-31"),
        params: params
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        backtest: function("sphere", 1, vec![float("x", 0.0, 1.0)]).backtest,
        pairs: BTreeMap::new(),
        scope: Scope::default(),
        segments: Vec::new(),
        time_limit: 300.0,
        replay_of: None,
    }
}

pub async fn submit(mill: &Mill, run: &RunSpec, snapshot: impl Into<Snapshot>) -> TaskId {
    let like = function("sphere", 1, vec![float("x", 0.0, 1.0)]);
    let direction = match &run.replay_of {
        Some(replay) => replay.objectives[0].direction,
        None => RunSpec::target().direction,
    };
    let task = NewTask {
        kind: TaskKind::Backtest,
        name: run.task_name.clone(),
        strategy: run.strategy_name.clone(),
        stock_codes: run.stock_codes.clone(),
        spec: run.to_json(),
        parallelism: Some(1),
        direction,
        ..new_task(&like, snapshot, "default")
    };
    match mill.store.submit(task, None).await.unwrap() {
        Submitted::Created(row) => row.id,
        other => panic!("a new task is created, not {other:?}"),
    }
}

/// Its end, its one trial and its document.
pub async fn ended(mill: &Mill, id: TaskId) -> (TaskRow, TrialRow, Option<Value>) {
    let row = mill.until_ended(id).await;
    mill.assert_sound(id).await;
    let mut trials = mill.trials(id).await;
    assert_eq!(trials.len(), 1);
    let document = mill.store.run_result(id).await.unwrap();
    (row, trials.remove(0), document)
}

pub async fn pin(mill: &Mill, bars: &[BarSeries]) -> Series {
    let hashes = mill.store.put_series(bars, "test").await.unwrap();
    let symbols = bars.iter().map(|series| series.symbol().to_owned());
    symbols.zip(hashes).collect()
}

fn trending(count: usize) -> Vec<BarSeries> {
    let (first, last) = ("2019-01-01".parse().unwrap(), "2022-12-31".parse().unwrap());
    let one = |i| series(Kind::Trending, 7, i, first, last).unwrap();
    (0..count).map(one).collect()
}

pub fn recorded(trial: &TrialRow) -> RecordedTrial {
    RecordedTrial {
        end: trial.end,
        values: trial.values.clone(),
        infeasible: trial.infeasible.clone(),
        failure: trial.failure.as_ref().map(|failure| failure.kind),
    }
}

pub fn replay_of(
    task: TaskId,
    spec: &TaskSpec,
    trial: &TrialRow,
    record: RecordedTrial,
) -> RunSpec {
    let point = spec.space.unpack(&trial.params).unwrap();
    RunSpec::replaying(task, spec, trial.number, &point, record)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_completes_with_its_whole_result() {
    let mill = Mill::relaying();
    let bars = trending(2);
    let snapshot = pin(&mill, &bars).await;
    let codes: Vec<&str> = bars.iter().map(BarSeries::symbol).collect();
    let params = [
        ("short_window", Choice::Int(5)),
        ("long_window", Choice::Int(20)),
    ];
    let worker = mill.worker(options(2)).await;
    let id = submit(&mill, &run("moving_average", &codes, &params), snapshot).await;
    let (row, trial, document) = ended(&mill, id).await;
    assert_eq!(row.ledger.state, TaskState::Completed);
    let document = document.expect("a run that completed has a document");
    let total_return = document["metrics"]["total_return"].as_f64().unwrap();
    assert_eq!(trial.values, [total_return]);
    let days = document["dates"].as_array().unwrap().len();
    assert_eq!(document["equity"].as_array().unwrap().len(), days);
    assert!(days > 700, "{days}");
    assert!(!document["trades"].as_array().unwrap().is_empty());
    assert_eq!(document["symbols"].as_array().unwrap().len(), 2);
    assert_eq!(document.get("replay"), None);
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_is_traded_with_the_partner_that_the_task_pins() {
    let mill = Mill::relaying();
    let (first, last) = ("2015-01-05".parse().unwrap(), "2022-12-30".parse().unwrap());
    let bars = group(GroupKind::Cointegrated, 7, 2, first, last).unwrap();
    let snapshot = pin(&mill, &bars).await;
    let (code, partner) = (bars[0].symbol(), bars[1].symbol());
    let params = [("entry_threshold", Choice::Float(1.0))];
    let pair = RunSpec {
        pairs: BTreeMap::from([(code.to_owned(), partner.to_owned())]),
        ..run("cointegration", &[code], &params)
    };
    let worker = mill.worker(options(1)).await;
    let id = submit(&mill, &pair, snapshot.clone()).await;
    let (row, _, document) = ended(&mill, id).await;
    assert_eq!(row.ledger.state, TaskState::Completed);
    let document = document.expect("a run that completed has a document");
    assert_eq!(document["pair"]["pairs"][0]["stock_code"], code);
    assert_eq!(document["pair"]["pairs"][0]["partner"], partner);
    let trades = document["trades"].as_array().unwrap();
    assert!(!trades.is_empty(), "a pair that belongs together is traded");

    let alone = BTreeMap::from([(code.to_owned(), snapshot[code])]);
    let id = submit(&mill, &pair, alone).await;
    let (row, trial, document) = ended(&mill, id).await;
    assert_eq!((row.ledger.state, document), (TaskState::Failed, None));
    let message = trial.failure.unwrap().message;
    assert!(message.contains(partner), "{message}");
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_says_why_and_has_no_document() {
    let mill = Mill::relaying();
    let worker = mill.worker(options(1)).await;
    let unpinned = run("moving_average", &["000001.SZ"], &[]);
    let id = submit(&mill, &unpinned, BTreeMap::new()).await;
    let (row, trial, document) = ended(&mill, id).await;
    assert_eq!((row.ledger.state, document), (TaskState::Failed, None));
    let failure = trial.failure.unwrap();
    assert_eq!(failure.kind.name(), "market_data");
    assert!(
        failure.message.contains("pins no market data"),
        "{failure:?}"
    );
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_held_against_the_record_bit_for_bit() {
    let mill = Mill::relaying();
    let bars = trending(3);
    let snapshot = pin(&mill, &bars).await;
    let windows = vec![int("short_window", 2, 50), int("long_window", 5, 80)];
    let search = TaskSpec {
        stock_codes: bars.iter().map(|b| b.symbol().to_owned()).collect(),
        objectives: vec![
            Target::new("sharpe_ratio", Direction::Maximize),
            Target::custom(vec![Weight {
                metric: Metric::MaxDrawdown,
                weight: 0.3,
            }]),
        ],
        result_constraints: vec![
            ResultConstraint::parse("n_trades >= 10", MetricNames::Backtest).unwrap(),
        ],
        ..function("moving_average", 120, windows)
    };
    let worker = mill.worker(options(2)).await;
    let task = mill.submit(&search, snapshot.clone()).await;
    mill.until_ended(task).await;
    let trials = mill.trials(task).await;
    let feasible = trials.iter().find(|t| t.infeasible.is_none()).unwrap();
    let infeasible = trials.iter().find(|t| t.infeasible.is_some()).unwrap();
    for trial in [feasible, infeasible] {
        let replay = replay_of(task, &search, trial, recorded(trial));
        let id = submit(&mill, &replay, snapshot.clone()).await;
        let (row, again, document) = ended(&mill, id).await;
        assert_eq!(row.ledger.state, TaskState::Completed);
        let comparison = &document.unwrap()["replay"];
        assert_eq!(comparison["identical"], true, "{comparison}");
        assert_eq!(comparison["trial_number"], trial.number);
        assert_eq!(
            comparison["replayed"]["infeasible"].as_str(),
            trial.infeasible.as_deref()
        );
        assert_eq!(recorded(&again), recorded(trial));
    }

    let mut tampered = recorded(feasible);
    let value = tampered.values[0].next_up();
    tampered.values[0] = value;
    let replay = replay_of(task, &search, feasible, tampered);
    let id = submit(&mill, &replay, snapshot).await;
    let (row, _, document) = ended(&mill, id).await;
    assert_eq!(row.ledger.state, TaskState::Completed);
    let comparison = &document.unwrap()["replay"];
    assert_eq!(comparison["identical"], false, "one bit is another value");
    let sharpe = |side: &str| comparison[side]["values"]["sharpe_ratio"].as_f64();
    assert_eq!(sharpe("recorded"), Some(value));
    assert_eq!(sharpe("replayed"), Some(feasible.values[0]));
    worker.drain().await;
}
