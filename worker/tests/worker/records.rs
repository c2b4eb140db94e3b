//! Tasks whose snapshot pins what is known beside the bars: corporate actions and statuses.

use crate::support::{Mill, function, int, options};
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::config::Market;
use trialmill_backtest::engine::{BacktestConfig, reference};
use trialmill_backtest::market::{CorporateAction, Fundamentals, Record, RecordChange};
use trialmill_backtest::metrics::Metric;
use trialmill_backtest::strategy::{self, Params};
use trialmill_backtest::synthetic::{Kind, series};
use trialmill_common::spec::{Target, TaskSpec};
use trialmill_common::state::{Direction, TaskId, TaskState};
use trialmill_common::trial::FailureKind;
use trialmill_store::Store;
use trialmill_store::rows::Snapshot;
use trialmill_worker::bars::PinnedData;

fn bars() -> BarSeries {
    let (first, last) = ("2019-01-01".parse().unwrap(), "2022-12-31".parse().unwrap());
    series(Kind::Trending, 7, 0, first, last).unwrap()
}

/// A split and dividends of a share.
fn gifts(symbol: &str, cash_per_share: f64) -> RecordChange {
    let action = |ex_date: &str, cash_per_share, bonus_per_share| CorporateAction {
        symbol: symbol.to_owned(),
        ex_date: ex_date.parse().unwrap(),
        cash_per_share,
        bonus_per_share,
    };
    RecordChange {
        symbol: symbol.to_owned(),
        actions: Some(vec![
            action("2020-06-15", cash_per_share, 0.0),
            action("2021-06-15", 0.0, 0.5),
            action("2022-06-15", cash_per_share, 0.0),
        ]),
        ..RecordChange::default()
    }
}

/// A search over the two windows of moving averages under the market `us`.
fn search(symbol: &str) -> TaskSpec {
    let windows = vec![int("short_window", 2, 50), int("long_window", 55, 80)];
    let mut spec = TaskSpec {
        stock_codes: vec![symbol.to_owned()],
        objectives: vec![Target::new("total_return", Direction::Maximize)],
        ..function("moving_average", 12, windows)
    };
    spec.backtest.market = Market::Us;
    spec
}

/// The bits of the values of every trial that the task should have.
fn expected(spec: &TaskSpec, data: &PinnedData, mill: &[Vec<u8>]) -> Vec<u64> {
    let data = data.over(None, spec.start_date, spec.end_date).unwrap();
    let config: BacktestConfig = spec.backtest.config().unwrap();
    let rule = strategy::find(&spec.strategy_name).unwrap();
    let of = |params: &Vec<u8>| {
        let point = spec.space.unpack(params).unwrap();
        let mut named = Params::new();
        for (name, choice) in spec.named(&point) {
            let value: i64 = choice.to_string().parse().unwrap();
            named = named.with(&name, value);
        }
        let report = reference::run(&data, rule, &named, &config, &|| false).unwrap();
        (Metric::TotalReturn.value(&report).unwrap() + 0.0).to_bits()
    };
    mill.iter().map(of).collect()
}

async fn values(mill: &Mill, id: TaskId) -> (Vec<Vec<u8>>, Vec<u64>) {
    assert_eq!(
        mill.until_ended(id).await.ledger.state,
        TaskState::Completed
    );
    mill.assert_sound(id).await;
    let trials = mill.trials(id).await;
    let params = trials.iter().map(|trial| trial.params.clone()).collect();
    let bits = trials.iter().map(|trial| trial.values[0].to_bits());
    (params, bits.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn trials_are_run_on_the_pinned_records_here_and_in_a_child_whatever_is_imported_later() {
    let mut mill = Mill::new();
    let bars = bars();
    let symbol = bars.symbol().to_owned();
    let change = gifts(&symbol, 0.8);
    let stored = mill
        .store
        .put_market_data(
            std::slice::from_ref(&bars),
            std::slice::from_ref(&change),
            "test",
        )
        .await
        .unwrap();
    let pin = |hash| BTreeMap::from([(symbol.clone(), hash)]);
    let pinned = Snapshot {
        series: pin(stored.series[0]),
        records: pin(stored.records[0]),
    };
    let without = Snapshot::from(pinned.series.clone());
    let spec = search(&symbol);
    let isolated = mill.submit(&spec, pinned.clone()).await;
    mill.isolate(isolated).await;
    let own = mill.submit(&spec, pinned.clone()).await;
    let raw = mill.submit(&spec, without).await;
    // Other tables of the symbol, before any trial has run.
    let others = [gifts(&symbol, 2.5)];
    let other = mill.store.put_records(&others, "another").await.unwrap();
    assert_ne!(other[0], stored.records[0]);
    let broker = Arc::clone(&mill.broker);
    mill.relay(broker);
    let worker = mill.worker(options(2)).await;
    let (params, found) = values(&mill, own).await;
    let record = Record::changed(None, change).unwrap();
    let series = vec![Arc::new(bars)];
    let with_record = PinnedData {
        series: series.clone(),
        records: vec![Arc::new(record)],
    };
    assert_eq!(found, expected(&spec, &with_record, &params));
    assert_eq!(
        values(&mill, isolated).await,
        (params.clone(), found.clone())
    );
    let (same, unadjusted) = values(&mill, raw).await;
    let alone = PinnedData {
        series,
        records: vec![],
    };
    assert_eq!(same, params);
    assert_eq!(unadjusted, expected(&spec, &alone, &params));
    assert_ne!(unadjusted, found, "dividends and splits make a difference");
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_cannot_be_applied_fails_each_trial_with_its_sentence() {
    let mill = Mill::relaying();
    let bars = bars();
    let symbol = bars.symbol().to_owned();
    // More than any price of the series.
    let changes = [gifts(&symbol, 1e6)];
    let stored = mill.store.put_market_data(&[bars], &changes, "test").await;
    let stored = stored.unwrap();
    let pin = |hash| BTreeMap::from([(symbol.clone(), hash)]);
    let pinned = Snapshot {
        series: pin(stored.series[0]),
        records: pin(stored.records[0]),
    };
    let worker = mill.worker(options(1)).await;
    let id = mill.submit(&search(&symbol), pinned.clone()).await;
    assert_eq!(mill.until_ended(id).await.ledger.state, TaskState::Failed);
    for trial in mill.trials(id).await {
        let failure = trial.failure.unwrap();
        assert_eq!(failure.kind, FailureKind::MarketData);
        let wanted = format!("the corporate action of {symbol} on 2020-06-15: it gives more cash");
        assert!(failure.message.starts_with(&wanted), "{failure:?}");
    }
    // A record that is gone is told by its hash.
    let gone = Snapshot {
        records: pin([9; 32]),
        ..pinned
    };
    let id = mill.submit(&search(&symbol), gone).await;
    mill.until_ended(id).await;
    let failure = mill.trials(id).await.remove(0).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::MarketData);
    assert!(failure.message.contains("record b3:0909"), "{failure:?}");
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strategy_trades_on_the_reports_that_are_pinned_here_and_in_a_child() {
    let mut mill = Mill::new();
    let bars = bars();
    let symbol = bars.symbol().to_owned();
    let quarter = |number: u32| {
        let months = chrono::Months::new(3 * number);
        let announced = "2019-02-01".parse::<chrono::NaiveDate>().unwrap() + months;
        let earnings = 3.0 + f64::from(number * number % 7);
        let figures = [Some(earnings), Some(50.0), None, None, None];
        Fundamentals::new(&symbol, announced, figures)
    };
    let change = RecordChange {
        fundamentals: Some((0..14).map(quarter).collect()),
        ..gifts(&symbol, 0.8)
    };
    let stored = mill
        .store
        .put_market_data(
            std::slice::from_ref(&bars),
            std::slice::from_ref(&change),
            "test",
        )
        .await
        .unwrap();
    let pin = |hash| BTreeMap::from([(symbol.clone(), hash)]);
    let pinned = Snapshot {
        series: pin(stored.series[0]),
        records: pin(stored.records[0]),
    };
    let without = Snapshot::from(pinned.series.clone());
    let mut spec = TaskSpec {
        strategy_name: "value_factor".to_owned(),
        ..search(&symbol)
    };
    spec.space = function("value_factor", 12, vec![int("lookback_period", 20, 120)]).space;
    spec.backtest.pins_reports = true;
    let isolated = mill.submit(&spec, pinned.clone()).await;
    mill.isolate(isolated).await;
    let own = mill.submit(&spec, pinned).await;
    let silent = mill.submit(&spec, without).await;
    let broker = Arc::clone(&mill.broker);
    mill.relay(broker);
    let worker = mill.worker(options(2)).await;
    let (params, found) = values(&mill, own).await;
    let data = PinnedData {
        series: vec![Arc::new(bars)],
        records: vec![Arc::new(Record::changed(None, change).unwrap())],
    };
    assert_eq!(found, expected(&spec, &data, &params));
    let traded = found.iter().filter(|bits| **bits != 0).count();
    assert!(traded > 6, "{traded} of 12 trials traded");
    assert_eq!(
        values(&mill, isolated).await,
        (params.clone(), found.clone())
    );
    let (_, nothing) = values(&mill, silent).await;
    assert!(nothing.iter().all(|bits| *bits == 0), "no report, no trade");
    worker.drain().await;
}
