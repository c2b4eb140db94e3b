//! Trials that are several backtests, a book for each symbol or a flat start in each segment, held
//! against the backtests done by hand; and what a trial keeps of its returns.

use crate::runs::{ended, pin, recorded, replay_of, submit};
use crate::support::{Mill, PATIENCE, function, int, new_task, options, with_fixed};
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use trialmill_backtest::bars::{BarSeries, Columns};
use trialmill_backtest::engine::{BacktestConfig, Dataset, Report, run};
use trialmill_backtest::metrics::{Metric, evaluate_all, returns};
use trialmill_backtest::strategy::{self, Params};
use trialmill_backtest::synthetic::{GroupKind, Kind, group, series};
use trialmill_backtest::trust::TrialStats;
use trialmill_broker::{Broker, InProcessBroker};
use trialmill_common::spec::{
    Aggregate, MetricNames, ResultConstraint, Scope, Target, TaskSpec, Validated, Weight,
};
use trialmill_common::state::{Direction, TaskState};
use trialmill_common::trial::{Evaluation, Outcome};
use trialmill_common::validation::{Embargo, Period, Validation, plan};
use trialmill_relay::Pace;
use trialmill_search::Choice;
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::rows::{Submitted, TrialFilter, TrialRow};
use trialmill_store::{Store, Timing};
use trialmill_worker::bars::PinnedData;
use trialmill_worker::objective::{Breakdown, Objective, Shown, Subject};
use trialmill_worker::{RunningWorker, SignalCell, StopSource, WorkerOptions};

type Figures = BTreeMap<String, Result<f64, String>>;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// Bars that cross their averages often.
pub fn walks(count: usize) -> Vec<BarSeries> {
    let (first, last) = (day("2019-01-01"), day("2022-12-31"));
    let one = |i| series(Kind::RandomWalk, 7, i, first, last).unwrap();
    (0..count).map(one).collect()
}

/// A search for the windows of moving averages over these bars, from 2020 to 2022.
pub fn averages(bars: &[BarSeries], n_trials: u32) -> TaskSpec {
    let windows = vec![int("short_window", 2, 20), int("long_window", 21, 80)];
    TaskSpec {
        stock_codes: bars.iter().map(|b| b.symbol().to_owned()).collect(),
        objectives: vec![Target::new("sharpe_ratio", Direction::Maximize)],
        ..with_fixed(
            function("moving_average", n_trials, windows),
            "signal_threshold",
            0.0,
        )
    }
}

/// The same, scored over segments.
pub fn segmented(spec: TaskSpec, bars: &[BarSeries], segments: u8) -> TaskSpec {
    let days = bars.iter().flat_map(|one| one.time()).map(|time| {
        let time = chrono::DateTime::from_timestamp(*time, 0).unwrap();
        time.date_naive()
    });
    let (start, end) = (spec.start_date, spec.end_date);
    let mut days: Vec<NaiveDate> = days.filter(|day| (start..=end).contains(day)).collect();
    days.sort_unstable();
    days.dedup();
    let method = Validation::CrossValidation {
        segments,
        embargo: Embargo::default(),
        selection: None,
    };
    let period = Period::new(start, end, &days).unwrap();
    let plan = plan(&method, &period, spec.n_trials, None).unwrap();
    TaskSpec {
        validation: Some(Validated { method, plan }),
        ..spec
    }
}

fn alone(spec: TaskSpec, aggregate: Aggregate) -> TaskSpec {
    TaskSpec {
        scope: Scope::PerSymbol(aggregate),
        ..spec
    }
}

fn shared(bars: &[BarSeries]) -> PinnedData {
    PinnedData {
        series: bars.iter().cloned().map(Arc::new).collect(),
        ..PinnedData::default()
    }
}

fn windows(short: i64, long: i64) -> BTreeMap<String, Choice> {
    BTreeMap::from([
        ("short_window".to_owned(), Choice::Int(short)),
        ("long_window".to_owned(), Choice::Int(long)),
        ("signal_threshold".to_owned(), Choice::Float(0.0)),
    ])
}

/// Evaluates one trial.
fn evaluate(
    spec: &TaskSpec,
    bars: &[BarSeries],
    parameters: &BTreeMap<String, Choice>,
) -> (Evaluation, Option<Shown>) {
    let objective = Objective::prepare(Subject::of_trial(spec, 0), &shared(bars));
    let signal = SignalCell::default();
    let stop = StopSource::new(&signal, Instant::now() + Duration::from_secs(3600));
    let (outcome, shown) = objective
        .evaluate_in_full(parameters, &stop, "a test")
        .unwrap();
    match outcome {
        Outcome::Completed(evaluation) => (evaluation, shown),
        other => panic!("{other:?}"),
    }
}

fn by_name(evaluation: &Evaluation) -> Figures {
    evaluation.metrics.iter().cloned().collect()
}

/// One backtest by hand.
fn by_hand(bars: &[BarSeries], (first, last): (NaiveDate, NaiveDate), long: u32) -> Report {
    let data = Dataset::new(shared(bars).series, first, last).unwrap();
    let rule = strategy::find("moving_average").unwrap();
    let params = Params::new()
        .with("short_window", 5.0)
        .with("long_window", f64::from(long))
        .with("signal_threshold", 0.0);
    run(&data, rule, &params, &BacktestConfig::default(), &|| false).unwrap()
}

fn figures(report: &Report) -> Figures {
    let all = evaluate_all(report).into_iter();
    all.map(|(metric, value)| (metric.name().to_owned(), value.map_err(|u| u.reason.into())))
        .collect()
}

#[test]
fn a_cross_validation_scores_a_trial_over_its_segments() {
    let bars = walks(2);
    let spec = segmented(averages(&bars, 10), &bars, 4);
    let segments = spec.segments();
    assert_eq!(segments.len(), 4);
    let (evaluation, shown) = evaluate(&spec, &bars, &windows(5, 21));
    let reports: Vec<Report> = segments
        .iter()
        .map(|days| by_hand(&bars, *days, 21))
        .collect();
    let each: Vec<Figures> = reports.iter().map(figures).collect();
    let found = by_name(&evaluation);
    for metric in ["sharpe_ratio", "total_return", "max_drawdown", "exposure"] {
        let sum: f64 = each.iter().map(|f| f[metric].clone().unwrap()).sum();
        assert_eq!(found[metric], Ok(sum / 4.0), "{metric}");
    }
    let trades: f64 = each.iter().map(|f| f["n_trades"].clone().unwrap()).sum();
    assert!(trades > 10.0, "{trades}");
    assert_eq!(found["n_trades"], Ok(trades));
    assert_eq!(evaluation.values, [found["sharpe_ratio"].clone().unwrap()]);
    let joined: Vec<f64> = reports.iter().flat_map(returns).collect();
    let stats = TrialStats::of_returns(&joined, 0.0).unwrap();
    assert_eq!(evaluation.stats, Some(stats.to_bytes()));
    let Some(Shown::Several(Breakdown::Segments(shown))) = shown else {
        panic!("{shown:?}");
    };
    let days: Vec<_> = shown.iter().map(|one| (one.from, one.to)).collect();
    assert_eq!(days, segments);
}

/// Half the Sharpe ratio (scale 1) and twice the drawdown (scale 0.2), which is better small.
fn weighed(spec: TaskSpec) -> TaskSpec {
    let weights = [(Metric::SharpeRatio, 0.5), (Metric::MaxDrawdown, 2.0)];
    let weights = weights.map(|(metric, weight)| Weight { metric, weight });
    TaskSpec {
        objectives: vec![Target::custom(weights.to_vec())],
        ..spec
    }
}

/// The same by hand.
fn sum_of(figures: &Figures) -> f64 {
    let of = |metric: &str| figures[metric].clone().unwrap();
    0.5 * of("sharpe_ratio") - 2.0 * of("max_drawdown") / 0.2
}

#[test]
fn a_weighted_sum_is_that_of_each_backtest_and_then_merged_as_every_metric() {
    let bars = walks(5);
    let days = (day("2020-01-01"), day("2022-12-31"));
    let close = |found: &Evaluation, wanted: f64, what: &str| {
        let [value] = found.values[..] else {
            panic!("{found:?}");
        };
        assert!((value - wanted).abs() < 1e-12, "{what}: {value}, {wanted}");
        assert_eq!(by_name(found)["custom"], Ok(value), "{what}");
    };
    let (found, _) = evaluate(&weighed(averages(&bars, 10)), &bars, &windows(5, 21));
    close(
        &found,
        sum_of(&figures(&by_hand(&bars, days, 21))),
        "one book",
    );

    let spec = weighed(segmented(averages(&bars, 10), &bars, 4));
    let each = spec
        .segments()
        .into_iter()
        .map(|days| by_hand(&bars, days, 21));
    let sum: f64 = each.map(|report| sum_of(&figures(&report))).sum();
    let (found, _) = evaluate(&spec, &bars, &windows(5, 21));
    close(&found, sum / 4.0, "segments");

    let each = bars.iter().map(std::slice::from_ref);
    let each = each.map(|one| sum_of(&figures(&by_hand(one, days, 21))));
    let worst = each.fold(f64::INFINITY, f64::min);
    let spec = alone(weighed(averages(&bars, 10)), Aggregate::Worst);
    let (found, _) = evaluate(&spec, &bars, &windows(5, 21));
    close(&found, worst, "the worst symbol");

    // Averages that never cross: no variance, no Sharpe ratio, no sum.
    let spec = weighed(segmented(averages(&bars[..1], 10), &bars[..1], 20));
    let (found, _) = evaluate(&spec, &bars[..1], &windows(5, 80));
    let reason = found.infeasible.unwrap();
    assert!(
        reason.starts_with("custom is undefined: segment ") && reason.contains(": sharpe_ratio: "),
        "{reason}"
    );
}

#[test]
fn what_one_segment_has_not_got_is_undefined_and_the_segment_named() {
    let bars = walks(1);
    let spec = segmented(averages(&bars, 10), &bars, 20);
    let (evaluation, _) = evaluate(&spec, &bars, &windows(5, 80));
    let each = spec.segments().into_iter().map(|days| {
        let report = by_hand(&bars, days, 80);
        figures(&report)["sharpe_ratio"].clone()
    });
    let each: Vec<Result<f64, String>> = each.collect();
    let index = each.iter().position(Result::is_err);
    let index = index.expect("37 days are too few for a crossing in some segment");
    let (first, last) = spec.segments()[index];
    let reason = each[index].clone().unwrap_err();
    let expected = format!("segment {index} ({first} to {last}): {reason}");
    assert_eq!(by_name(&evaluation)["sharpe_ratio"], Err(expected.clone()));
    let infeasible = evaluation.infeasible.expect("it has no objective");
    assert_eq!(infeasible, format!("sharpe_ratio is undefined: {expected}"));
    // The returns are there all the same.
    assert!(evaluation.stats.is_some());
}

#[test]
fn each_symbol_has_a_book_of_its_own_and_the_metrics_are_aggregated() {
    let bars = walks(5);
    let days = (day("2020-01-01"), day("2022-12-31"));
    let each: Vec<Figures> = bars
        .iter()
        .map(|one| figures(&by_hand(std::slice::from_ref(one), days, 21)))
        .collect();
    let sorted = |metric: &str| {
        let mut values: Vec<f64> = each.iter().map(|f| f[metric].clone().unwrap()).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (sharpes, drawdowns) = (sorted("sharpe_ratio"), sorted("max_drawdown"));
    for (aggregate, sharpe, drawdown) in [
        (Aggregate::Median, sharpes[2], drawdowns[2]),
        (Aggregate::Worst, sharpes[0], drawdowns[4]),
    ] {
        let spec = alone(averages(&bars, 10), aggregate);
        let (evaluation, _) = evaluate(&spec, &bars, &windows(5, 21));
        let found = by_name(&evaluation);
        assert_eq!(found["sharpe_ratio"], Ok(sharpe), "{aggregate:?}");
        assert_eq!(found["max_drawdown"], Ok(drawdown), "{aggregate:?}");
    }
    let mean = |metric: &str| {
        let sum: f64 = each.iter().map(|f| f[metric].clone().unwrap()).sum();
        sum / 5.0
    };
    // The order of a request changes nothing.
    let mut turned = bars.clone();
    turned.reverse();
    for bars in [&bars, &turned] {
        let spec = alone(averages(bars, 10), Aggregate::Mean);
        let (evaluation, shown) = evaluate(&spec, bars, &windows(5, 21));
        let found = by_name(&evaluation);
        assert_eq!(found["sharpe_ratio"], Ok(mean("sharpe_ratio")));
        assert_eq!(found["n_trades"], Ok(mean("n_trades")));
        let Some(Shown::Several(Breakdown::PerSymbol(shown))) = shown else {
            panic!("{shown:?}");
        };
        let symbols: Vec<&str> = shown.iter().map(|one| one.symbol.as_str()).collect();
        let ascending: Vec<&str> = ascending_symbols(&turned);
        assert_eq!(symbols, ascending);
        assert!(shown.iter().all(|one| one.metrics.len() == each[0].len()));
    }
    // One symbol alone is what it is in a portfolio of itself.
    let one = &bars[..1];
    let (single, _) = evaluate(&averages(one, 10), one, &windows(5, 21));
    let (book, _) = evaluate(
        &alone(averages(one, 10), Aggregate::Mean),
        one,
        &windows(5, 21),
    );
    assert_eq!(single, book);
}

fn ascending_symbols(bars: &[BarSeries]) -> Vec<&str> {
    let mut symbols: Vec<&str> = bars.iter().map(BarSeries::symbol).collect();
    symbols.sort_unstable();
    symbols
}

/// The rows of a series from a day on.
fn since(series: &BarSeries, first: &str) -> BarSeries {
    let first = trialmill_backtest::bars::midnight(day(first));
    let from = series.time().partition_point(|time| *time < first);
    let columns = Columns {
        time: series.time()[from..].to_vec(),
        open: series.open()[from..].to_vec(),
        high: series.high()[from..].to_vec(),
        low: series.low()[from..].to_vec(),
        close: series.close()[from..].to_vec(),
        volume: series.volume()[from..].to_vec(),
    };
    BarSeries::new(series.symbol(), series.frequency(), columns).unwrap()
}

#[test]
fn a_symbol_without_enough_bars_is_left_out_of_every_trial() {
    let mut bars = walks(3);
    let without = evaluate(
        &alone(averages(&bars[..2], 10), Aggregate::Worst),
        &bars[..2],
        &windows(5, 21),
    );
    bars[2] = since(&bars[2], "2022-12-15");
    let spec = alone(averages(&bars, 10), Aggregate::Worst);
    let (evaluation, shown) = evaluate(&spec, &bars, &windows(5, 21));
    assert_eq!(evaluation, without.0);
    let Some(Shown::Several(Breakdown::PerSymbol(shown))) = shown else {
        panic!("{shown:?}");
    };
    let left_out: Vec<_> = shown.iter().filter(|one| one.left_out.is_some()).collect();
    assert_eq!(left_out.len(), 1);
    assert_eq!(left_out[0].symbol, bars[2].symbol());
    // One that began in the middle is scored over the segments that it has.
    bars[2] = since(&walks(3)[2], "2021-07-01");
    let spec = segmented(spec, &bars, 4);
    let (evaluation, _) = evaluate(&spec, &bars, &windows(5, 21));
    assert_eq!(evaluation.values.len(), 1, "{:?}", evaluation.infeasible);

    let late = std::slice::from_ref(&bars[2]);
    let none = TaskSpec {
        end_date: day("2021-06-30"),
        ..alone(averages(late, 10), Aggregate::Mean)
    };
    let objective = Objective::prepare(Subject::of_trial(&none, 0), &shared(late));
    let signal = SignalCell::default();
    let stop = StopSource::new(&signal, Instant::now() + Duration::from_secs(3600));
    let Ok(Outcome::Failed(failure)) = objective.evaluate(&windows(5, 21), &stop, "a test") else {
        panic!("no symbol is left");
    };
    assert_eq!(failure.kind.name(), "market_data");
    assert!(failure.message.contains(late[0].symbol()), "{failure:?}");
}

#[test]
fn the_deadline_is_that_of_the_whole_trial() {
    let bars = walks(4);
    let spec = segmented(alone(averages(&bars, 10), Aggregate::Mean), &bars, 12);
    let objective = Objective::prepare(Subject::of_trial(&spec, 0), &shared(&bars));
    let signal = SignalCell::default();
    // Over before it begins; 48 backtests ask often enough to be told.
    let stop = StopSource::new(&signal, Instant::now());
    let Ok(Outcome::Failed(failure)) = objective.evaluate(&windows(5, 21), &stop, "a test") else {
        panic!("it is overdue");
    };
    assert_eq!(failure.kind.name(), "trial_timeout");
}

/// Both kinds, and both at once, for strategies of one leg and of two.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_of_several_backtests_is_repeated_bit_for_bit() {
    let mill = Mill::relaying();
    let (first, last) = (day("2015-01-05"), day("2022-12-30"));
    let legs = group(GroupKind::Cointegrated, 7, 2, first, last).unwrap();
    let codes: Vec<String> = legs.iter().map(|one| one.symbol().to_owned()).collect();
    let pairs = TaskSpec {
        strategy_name: "cointegration".to_owned(),
        stock_codes: codes[..2].to_vec(),
        pairs: BTreeMap::from([
            (codes[0].clone(), codes[1].clone()),
            (codes[1].clone(), codes[0].clone()),
        ]),
        ..TaskSpec {
            space: function("cointegration", 8, vec![int("lookback_period", 30, 90)]).space,
            fixed: BTreeMap::from([
                ("entry_threshold".to_owned(), Choice::Float(1.0)),
                ("half_life".to_owned(), Choice::Int(50)),
            ]),
            ..averages(&legs, 8)
        }
    };
    let bars = walks(3);
    let single = averages(&bars, 8);
    let worker = mill.worker(options(2)).await;
    let searches = [
        (segmented(single.clone(), &bars, 3), &bars, "segments"),
        (alone(single.clone(), Aggregate::Mean), &bars, "per_symbol"),
        (
            segmented(alone(single, Aggregate::Median), &bars, 3),
            &bars,
            "per_symbol",
        ),
        (alone(pairs.clone(), Aggregate::Worst), &legs, "per_symbol"),
        (
            segmented(alone(pairs, Aggregate::Mean), &legs, 2),
            &legs,
            "per_symbol",
        ),
    ];
    for (spec, bars, part) in searches {
        let snapshot = pin(&mill, bars).await;
        let task = mill.submit(&spec, snapshot.clone()).await;
        let row = mill.until_ended(task).await;
        assert_eq!(row.ledger.state, TaskState::Completed);
        assert_eq!(row.ledger.failed, 0);
        let trials = mill.trials(task).await;
        let feasible = trials.iter().any(|trial| trial.infeasible.is_none());
        assert!(feasible, "{:?}", trials[0].infeasible);
        for trial in trials.iter().take(3) {
            assert!(trial.stats.is_some());
            let replay = replay_of(task, &spec, trial, recorded(trial));
            let id = submit(&mill, &replay, snapshot.clone()).await;
            let (row, again, document) = ended(&mill, id).await;
            assert_eq!(row.ledger.state, TaskState::Completed);
            let document = document.unwrap();
            assert_eq!(document["replay"]["identical"], true, "{document:#}");
            assert_eq!(Some(&document["metrics"]), trial.metrics.as_ref());
            assert_eq!(again.stats, trial.stats);
            let parts = document[part].as_array().expect(part);
            let expected = match part {
                "segments" => spec.segments().len(),
                _ => spec.stock_codes.len(),
            };
            assert_eq!(parts.len(), expected, "{document:#}");
        }
    }
    worker.drain().await;
}

/// What a trial of a portfolio keeps is what its backtest by hand gives.
fn assert_statistics(spec: &TaskSpec, bars: &[BarSeries], trials: Vec<TrialRow>) {
    assert_eq!(trials.len(), spec.n_trials as usize);
    let rule = strategy::find("moving_average").unwrap();
    let data = Dataset::new(shared(bars).series, spec.start_date, spec.end_date).unwrap();
    for trial in trials {
        let point = spec.space.unpack(&trial.params).unwrap();
        let mut params = Params::new();
        for (name, value) in spec.named(&point) {
            params = match value {
                Choice::Int(value) => params.with(&name, value),
                Choice::Float(value) => params.with(&name, value),
                other => panic!("{name} is {other}"),
            };
        }
        let config = spec.backtest.config().unwrap();
        let report = run(&data, rule, &params, &config, &|| false).unwrap();
        let stats = TrialStats::of(&report).unwrap();
        let kept = TrialStats::from_bytes(&trial.stats.unwrap()).unwrap();
        assert_eq!(kept, stats, "trial {}", trial.number);
    }
}

/// In SQLite, and through a child process.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_keeps_the_statistics_of_its_returns() {
    let bars = walks(2);
    // Some of the trials are infeasible.
    let constraint = ResultConstraint::parse("n_trades >= 30", MetricNames::Backtest).unwrap();
    let spec = TaskSpec {
        result_constraints: vec![constraint],
        ..averages(&bars, 12)
    };
    for in_a_child in [false, true] {
        let mut mill = Mill::new();
        let snapshot = pin(&mill, &bars).await;
        let task = mill.submit(&spec, snapshot).await;
        if in_a_child {
            mill.isolate(task).await;
        }
        let broker = Arc::clone(&mill.broker);
        mill.relay(broker);
        let worker = mill.worker(options(1)).await;
        mill.until_ended(task).await;
        worker.drain().await;
        let trials = mill.trials(task).await;
        let infeasible = trials.iter().filter(|t| t.infeasible.is_some()).count();
        assert!((1..12).contains(&infeasible), "{infeasible}");
        assert_statistics(&spec, &bars, trials);
    }
}

/// In PostgreSQL, if `DATABASE_URL` names one.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_keeps_the_statistics_of_its_returns_in_postgresql() {
    let Some(database) = std::env::var_os("DATABASE_URL").and_then(|url| url.into_string().ok())
    else {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: DATABASE_URL is not set");
        }
        return;
    };
    PgStore::migrate(&database).await.unwrap();
    let store = PgStore::connect(&database, PgOptions::default(), Timing::default());
    let store: Arc<dyn Store> = Arc::new(store.await.unwrap());
    let broker: Arc<dyn Broker> = Arc::new(InProcessBroker::new(1_000));
    let pool = format!("statistics-{}", uuid::Uuid::new_v4().simple());
    let bars = walks(2);
    let spec = averages(&bars, 12);
    let hashes = store.put_series(&bars, "a test").await.unwrap();
    let snapshot: BTreeMap<_, _> = spec.stock_codes.iter().cloned().zip(hashes).collect();
    let task = new_task(&spec, snapshot, &pool);
    let Submitted::Created(row) = store.submit(task, None).await.unwrap() else {
        panic!("a new task is created");
    };
    let stop = CancellationToken::new();
    let relay = tokio::spawn(trialmill_relay::run(
        Arc::clone(&store),
        Arc::clone(&broker),
        pool.clone(),
        Pace::for_lease(Duration::from_secs(30)),
        stop.clone(),
    ));
    let of_pool = WorkerOptions { pool, ..options(2) };
    let worker = RunningWorker::start(Arc::clone(&store), broker, of_pool);
    let worker = worker.await.unwrap();
    let mut changed = store.changed();
    let ended = async {
        while !store
            .task(row.id)
            .await
            .unwrap()
            .unwrap()
            .ledger
            .state
            .is_terminal()
        {
            // A wake-up may be missed while the listening session reconnects.
            let _ = tokio::time::timeout(Duration::from_millis(200), changed.changed()).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("it ends");
    worker.drain().await;
    stop.cancel();
    relay.await.unwrap();
    let all = TrialFilter {
        after: None,
        end: None,
        limit: 100,
    };
    assert_statistics(&spec, &bars, store.trials(row.id, all).await.unwrap());
}
