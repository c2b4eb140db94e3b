//! A walk-forward: each window is a search of its own, on its own days.

use crate::support::{Mill, function, int, new_task, options};
use chrono::NaiveDate;
use std::collections::BTreeMap;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::synthetic::{Kind, series};
use trialmill_common::spec::{Target, TaskSpec, Validated};
use trialmill_common::state::{Direction, TaskId, TaskState};
use trialmill_common::validation::{Period, Validation, WalkForward, WindowKind, plan};
use trialmill_search::{Method, Stream};
use trialmill_store::Store;
use trialmill_store::rows::{NewTask, Submitted};

fn bars() -> BarSeries {
    let (first, last) = ("2015-01-01".parse().unwrap(), "2022-12-31".parse().unwrap());
    series(Kind::Trending, 7, 0, first, last).unwrap()
}

/// Three windows over five years.
fn walk_forward(method: Method, n_trials: u32, parallelism: Option<u32>) -> TaskSpec {
    let mut spec = function(
        "moving_average",
        n_trials,
        vec![int("short_window", 2, 30), int("long_window", 40, 90)],
    );
    spec.method = method;
    spec.parallelism = parallelism;
    spec.objectives = vec![Target::new("total_return", Direction::Maximize)];
    let bars = bars();
    spec.stock_codes = vec![bars.symbol().to_owned()];
    (spec.start_date, spec.end_date) =
        ("2018-01-01".parse().unwrap(), "2022-12-31".parse().unwrap());
    let walk = WalkForward {
        window: WindowKind::Rolling,
        train: "24mo".parse().unwrap(),
        test: "12mo".parse().unwrap(),
        step: "12mo".parse().unwrap(),
        embargo: "5d".parse().unwrap(),
        holdout: Some("12mo".parse().unwrap()),
        selection: "total_return".parse().unwrap(),
    };
    let method = Validation::WalkForward(walk);
    let days: Vec<NaiveDate> = bars.trading_days(spec.start_date, spec.end_date).collect();
    let period = Period::new(spec.start_date, spec.end_date, &days).unwrap();
    let plan = plan(&method, &period, n_trials, spec.size_limit()).unwrap();
    assert_eq!(plan.windows.len(), 3);
    spec.validation = Some(Validated { method, plan });
    spec
}

async fn submit(mill: &Mill, spec: &TaskSpec) -> TaskId {
    let hashes = mill.store.put_series(&[bars()], "test").await.unwrap();
    let snapshot: BTreeMap<_, _> = spec.stock_codes.iter().cloned().zip(hashes).collect();
    let task = NewTask {
        windows: spec.window_trials(),
        ..new_task(spec, snapshot, "default")
    };
    match mill.store.submit(task, None).await.unwrap() {
        Submitted::Created(row) => row.id,
        other => panic!("a new task is created, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_window_is_the_search_that_its_days_alone_would_have_been() {
    for (method, parallelism, slots) in [
        (Method::Tpe, Some(1), 1),
        (Method::Random, None, 3),
        (Method::Sobol, Some(2), 2),
    ] {
        let mill = Mill::relaying();
        let spec = walk_forward(method, 91, parallelism);
        let worker = mill.worker(options(slots)).await;
        let id = submit(&mill, &spec).await;
        let row = mill.until_ended(id).await;
        assert_eq!(row.ledger.state, TaskState::Completed, "{:?}", row.error);
        mill.assert_sound(id).await;
        let trials = mill.trials(id).await;
        assert_eq!(trials.len(), 91);
        let plan = spec.plan().unwrap();
        for window in &plan.windows {
            // The same search on the days of the window, with nothing else stored after them.
            let alone = TaskSpec {
                start_date: window.train.first,
                end_date: window.train.last,
                n_trials: u32::try_from(window.trials.len()).unwrap(),
                seed: Stream::seed_of_part(spec.seed, window.index.into()),
                validation: None,
                ..spec.clone()
            };
            let alone = submit(&mill, &alone).await;
            mill.until_ended(alone).await;
            let expected = mill.trials(alone).await;
            for (trial, expected) in trials[window.trials.start as usize..].iter().zip(&expected) {
                assert_eq!(trial.window, Some(window.index));
                assert_eq!(trial.number - window.trials.start, expected.number);
                assert_eq!(
                    (&trial.params, &trial.values, &trial.metrics),
                    (&expected.params, &expected.values, &expected.metrics),
                    "{method} trial {}",
                    trial.number
                );
            }
        }
        // The best of the task is that of the last window, whatever the others found.
        let last = plan.deployed().trials.clone();
        let best = row.ledger.best.expect("some trial is feasible");
        assert!(last.contains(&best.number));
        worker.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_slots_search_the_windows_side_by_side_and_no_trial_is_lost() {
    let mill = Mill::relaying();
    let spec = walk_forward(Method::Tpe, 300, None);
    let workers = [mill.worker(options(3)).await, mill.worker(options(3)).await];
    let id = submit(&mill, &spec).await;
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.completed, 300);
    mill.assert_sound(id).await;
    for worker in workers {
        worker.drain().await;
    }
}
