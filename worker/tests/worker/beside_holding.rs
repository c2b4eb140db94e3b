//! What a trial of a pair records beside its metrics, held against the backtest that it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trialmill_backtest::result::Figure;
use trialmill_backtest::synthetic::{GroupKind, group};
use trialmill_common::objective::{BETA, EXCESS_RETURN, HOLD_RETURN};
use trialmill_common::spec::{BacktestSettings, RunSpec, Scope};
use trialmill_common::trial::Outcome;
use trialmill_worker::bars::PinnedData;
use trialmill_worker::objective::{Objective, Shown, Subject};
use trialmill_worker::{SignalCell, StopSource};

fn run(strategy_name: &str, pairs: &[(&str, &str)]) -> RunSpec {
    let owned = |(symbol, partner): &(&str, &str)| ((*symbol).to_owned(), (*partner).to_owned());
    RunSpec {
        task_name: "beside holding".to_owned(),
        strategy_name: strategy_name.to_owned(),
        stock_codes: vec!["000001.SZ".to_owned()],
        start_date: "2020-01-01".parse().unwrap(),
        end_date: "2022-12-31".parse().unwrap(),
        params: BTreeMap::new(),
        backtest: BacktestSettings::default(),
        pairs: pairs.iter().map(owned).collect(),
        scope: Scope::default(),
        segments: Vec::new(),
        time_limit: 300.0,
        replay_of: None,
    }
}

#[test]
fn a_trial_of_a_pair_records_what_its_backtest_shows_beside_holding_both_legs() {
    let day = |text: &str| text.parse().unwrap();
    let bars = group(
        GroupKind::Cointegrated,
        7,
        2,
        day("2016-01-04"),
        day("2023-12-29"),
    )
    .unwrap();
    let bars: Vec<_> = bars.into_iter().map(Arc::new).collect();
    let cell = SignalCell::default();
    let evaluate = |run: &RunSpec, series: Vec<_>| {
        let data = PinnedData {
            series,
            ..PinnedData::default()
        };
        let stop = StopSource::new(&cell, Instant::now() + Duration::from_secs(600));
        let objective = Objective::prepare(Subject::from(run), &data);
        let (outcome, shown) = objective
            .evaluate_in_full(&run.params, &stop, "a test")
            .unwrap();
        match outcome {
            Outcome::Completed(evaluation) => match shown {
                Some(Shown::One(result)) => (evaluation.metrics, *result),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let paired = run("cointegration", &[("000001.SZ", "SYN01.SZ")]);
    let (metrics, result) = evaluate(&paired, bars.clone());
    let pair = result.pair.unwrap();
    for (name, shown) in [
        (BETA, pair.beta),
        (HOLD_RETURN, pair.hold_return),
        (EXCESS_RETURN, pair.excess_return),
    ] {
        let (_, recorded) = metrics.iter().find(|(metric, _)| metric == name).unwrap();
        let Figure::Value(shown) = shown else {
            panic!("{name} is {shown:?}");
        };
        assert_eq!(*recorded, Ok(shown + 0.0), "{name}");
    }
    let (metrics, _) = evaluate(&run("moving_average", &[]), bars[..1].to_vec());
    assert!(metrics.iter().all(|(name, _)| name != BETA), "{metrics:?}");
}
