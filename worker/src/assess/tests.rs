//! On invented prices, with what is expected computed here once more.

use super::*;
use chrono::NaiveDate;
use std::sync::atomic::{AtomicU32, Ordering};
use trialmill_backtest::engine::{self, Dataset};
use trialmill_backtest::metrics::{self, Metric};
use trialmill_backtest::strategy::{self, Params};
use trialmill_backtest::synthetic::{self, GroupKind, Kind, business_days};
use trialmill_backtest::trust::TrialStats;
use trialmill_backtest::trust::sharpe::{deflated, luck_variance, spread};
use trialmill_common::assessment::VerdictCode;
use trialmill_common::protocol::StopRules;
use trialmill_common::spec::{
    BacktestSettings, MetricNames, ResultConstraint, Scope, Target, Validated, Weight,
};
use trialmill_common::state::Direction;
use trialmill_common::trial::Outcome;
use trialmill_common::validation::{Period, Window, plan};
use trialmill_search::{Domain, Method, ParamValue, Point, SpaceBuilder};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn int(low: i64, high: i64, step: i64) -> Domain {
    Domain::Int {
        low,
        high,
        step,
        log: false,
    }
}

/// Moving averages on one symbol from 2015 to 2018, best Sharpe ratio.
fn spec(method: Method, n_trials: u32) -> TaskSpec {
    let space = SpaceBuilder::default()
        .parameter("short_window", int(2, 20, 1))
        .parameter("long_window", int(10, 80, 5))
        .constraint("short_window < long_window")
        .build()
        .unwrap();
    TaskSpec {
        task_name: "assessed".to_owned(),
        strategy_name: "moving_average".to_owned(),
        stock_codes: vec!["SYN00.SZ".to_owned()],
        start_date: day("2015-01-01"),
        end_date: day("2018-12-31"),
        space,
        fixed: BTreeMap::from([("signal_threshold".to_owned(), Choice::Float(0.003))]),
        first_points: vec![],
        method,
        seed: 7,
        n_trials,
        parallelism: Some(1),
        timeout: None,
        trial_timeout: 300.0,
        objectives: vec![Target::new("sharpe_ratio", Direction::Maximize)],
        result_constraints: vec![
            ResultConstraint::parse("n_trades >= 1", MetricNames::Backtest).unwrap(),
        ],
        backtest: BacktestSettings::default(),
        pairs: BTreeMap::new(),
        stop: StopRules::default(),
        scope: Scope::default(),
        pruner: trialmill_search::pruner::PrunerConfig::None,
        prior: Vec::new(),
        copies: false,
        validation: None,
    }
}

fn validated(mut spec: TaskSpec, validation: &str) -> TaskSpec {
    let method: Validation = serde_json::from_str(validation).unwrap();
    let days = business_days(spec.start_date, spec.end_date);
    let period = Period::new(spec.start_date, spec.end_date, &days).unwrap();
    let plan = plan(&method, &period, spec.n_trials, None).unwrap();
    spec.validation = Some(Validated { method, plan });
    spec
}

/// Four test windows of half a year, and half a year held out.
fn walk_forward(n_trials: u32, subject_to: &str) -> TaskSpec {
    let validation = format!(
        r#"{{"method": "walk_forward", "window": "rolling", "train": "18mo", "test": "6mo",
            "step": "6mo", "holdout": "6mo", "embargo": "2d",
            "selection": {{"metric": "sharpe_ratio", "subject_to": [{subject_to}]}}}}"#
    );
    validated(spec(Method::Random, n_trials), &validation)
}

fn bars(kind: Kind, symbols: usize) -> Vec<Arc<BarSeries>> {
    let (first, last) = (day("2014-01-01"), day("2018-12-31"));
    let one = |index| synthetic::series(kind, 11, index, first, last).unwrap();
    (0..symbols).map(|index| Arc::new(one(index))).collect()
}

fn make(
    spec: &TaskSpec,
) -> impl Fn(&[Arc<BarSeries>], NaiveDate, NaiveDate) -> Result<Backtest, String> {
    let config = spec.backtest.config().unwrap();
    move |bars, first, last| {
        let data = Dataset::new(bars.to_vec(), first, last).map_err(|e| e.to_string())?;
        Backtest::new(data, config.clone()).map_err(|e| e.to_string())
    }
}

const NO_LUCK: Bounds = Bounds {
    permutations: 0,
    seconds: 0.0,
    easy_seconds: 0.0,
};

/// Searches and assesses a task; `change` has a look at what was found before.
fn assess(
    spec: &TaskSpec,
    series: Vec<Arc<BarSeries>>,
    bounds: Bounds,
    change: impl FnOnce(&mut Vec<EndedTrial>),
) -> (Vec<EndedTrial>, Assessment) {
    let make = make(spec);
    let mut trials = search_alone(spec, &series, &make).unwrap();
    change(&mut trials);
    let case = Case {
        spec,
        trials: &trials,
        default_params: None,
        prior_trials: 5,
        earlier_looks: 2,
        market: Some(Market {
            series,
            backtest: &make,
        }),
        bounds,
    };
    let document = finish(&mut Assessing::new(&case, None));
    (trials, document)
}

fn finish(assessing: &mut Assessing<'_>) -> Assessment {
    for _ in 0..1_000 {
        if let Some(document) = assessing.step(1, &|| false).unwrap() {
            assert_eq!(assessing.steps_done(), assessing.steps_total());
            return document;
        }
        assert!(assessing.steps_done() < assessing.steps_total());
    }
    panic!("it does not end");
}

fn reason<T>(figure: &Computed<T>) -> &str {
    match figure {
        Computed::Missing { reason, .. } => reason,
        Computed::Found(_) => panic!("it is there"),
    }
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} {b}");
}

fn params(named: &BTreeMap<String, Choice>) -> Params {
    named.iter().fold(Params::new(), |params, (name, value)| {
        let number = match value {
            Choice::Int(value) => *value as f64,
            Choice::Float(value) => *value,
            other => panic!("{other}"),
        };
        params.with(name, number)
    })
}

fn run(
    spec: &TaskSpec,
    bars: &[Arc<BarSeries>],
    days: (NaiveDate, NaiveDate),
    with: &Params,
) -> engine::Report {
    let data = Dataset::new(bars.to_vec(), days.0, days.1).unwrap();
    let rule = strategy::find(&spec.strategy_name).unwrap();
    engine::run(&data, rule, with, &spec.backtest.config().unwrap(), &|| {
        false
    })
    .unwrap()
}

fn annual(returns: &[f64]) -> f64 {
    let n = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / n;
    let variance = returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0);
    mean / variance.sqrt() * 252_f64.sqrt()
}

#[test]
fn without_validation_the_best_trial_is_told_and_nothing_is_out_of_sample() {
    let spec = spec(Method::Random, 40);
    let series = bars(Kind::Trending, 1);
    let (trials, document) = assess(&spec, series.clone(), NO_LUCK, |_| {});
    let value = |trial: &EndedTrial| match &trial.outcome {
        Outcome::Completed(evaluation) if evaluation.infeasible.is_none() => evaluation.values[0],
        _ => f64::NEG_INFINITY,
    };
    let best = trials.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
    let first = trials.iter().find(|trial| value(trial) == best).unwrap();
    let told = document.best.as_ref().unwrap();
    assert_eq!((told.trial_number, told.window), (first.number, None));
    assert_eq!(told.values["sharpe_ratio"], best);
    assert_eq!(value_of(&told.in_sample.sharpe_ratio), Some(best));
    assert_eq!(told.params["signal_threshold"], Choice::Float(0.003));
    assert_eq!(told.in_sample.from, spec.start_date);
    assert_eq!(document.windows, []);
    let only = "in-sample only: one search over the whole period";
    assert_eq!(reason(&document.out_of_sample), only);
    assert_eq!(reason(&document.holdout), "no stretch was held out");
    assert!(reason(&document.execution).contains("plain"));
    assert_eq!(document.verdict.code, VerdictCode::InSampleOnly);
    // Beside it: the strategy's defaults with what the task fixes, and holding.
    let whole = (spec.start_date, spec.end_date);
    let default = run(&spec, &series, whole, &params(&spec.fixed));
    let lines = document.baselines.found().unwrap();
    assert_eq!(lines.period, [spec.start_date, spec.end_date]);
    let wanted = Metric::SharpeRatio.value(&default).unwrap();
    near(
        value_of(&lines.default_params.sharpe_ratio).unwrap(),
        wanted,
    );
    let wanted = annual(&default.benchmark.unwrap().returns);
    near(
        value_of(&lines.equal_weight_hold.sharpe_ratio).unwrap(),
        wanted,
    );
}

#[test]
fn a_walk_forward_joins_the_runs_of_its_picks() {
    let spec = walk_forward(120, "");
    let series = bars(Kind::RandomWalk, 1);
    let (trials, document) = assess(&spec, series.clone(), NO_LUCK, |_| {});
    let plan = &spec.validation.as_ref().unwrap().plan;
    assert_eq!((plan.windows.len(), document.windows.len()), (5, 5));
    let (mut joined, mut hold, mut in_sample) = (Vec::new(), Vec::new(), Vec::new());
    for (window, told) in plan.windows.iter().zip(&document.windows) {
        let number = told.trial_number.unwrap();
        assert!(window.trials.contains(&number));
        let pick = &trials[number as usize];
        assert_eq!((pick.number, pick.window), (number, Some(window.index)));
        // The trials saw their training window alone.
        let days = (window.train.first, window.train.last);
        let again = run(&spec, &series, days, &params(&told.params));
        let again = Metric::SharpeRatio.value(&again).unwrap();
        let in_window = told.in_sample.found().unwrap();
        assert_eq!(value_of(&in_window.sharpe_ratio), Some(again));
        let Some(test) = &window.test else {
            assert!(reason(&told.test_result).contains("no test window"));
            continue;
        };
        in_sample.push(again);
        let report = run(
            &spec,
            &series,
            (test.first, test.last),
            &params(&told.params),
        );
        let result = told.test_result.found().unwrap();
        let sharpe = Metric::SharpeRatio.value(&report).ok();
        assert_eq!(value_of(&result.sharpe_ratio), sharpe);
        assert_eq!(report.equity.len(), test.rows.len());
        // Flat on its first row.
        assert_eq!(report.equity[0], report.initial_cash);
        joined.push(0.0);
        joined.extend(metrics::returns(&report));
        hold.push(0.0);
        hold.extend(&report.benchmark.unwrap().returns);
    }
    let out = document.out_of_sample.found().unwrap();
    assert_eq!((out.from, out.to), plan.out_of_sample().unwrap());
    let sharpe = value_of(&out.sharpe_ratio).unwrap();
    near(sharpe, annual(&joined[1..]));
    let [low, high] = out.sharpe_ci95.found().unwrap();
    assert!(*low < sharpe && sharpe < *high);
    let mean = in_sample.iter().sum::<f64>() / in_sample.len() as f64;
    near(value_of(&out.in_sample_mean_sharpe).unwrap(), mean);
    assert!(
        mean > sharpe + 0.5,
        "a random walk: {mean} in sample, {sharpe} out of it"
    );
    let lines = document.baselines.found().unwrap();
    near(
        value_of(&lines.equal_weight_hold.sharpe_ratio).unwrap(),
        annual(&hold[1..]),
    );
    // The last pick is the one to be used, and the held-out days judge it.
    let last = &document.windows[4];
    let best = document.best.as_ref().unwrap();
    assert_eq!(
        (Some(best.trial_number), best.window),
        (last.trial_number, Some(4))
    );
    let held = plan.holdout.as_ref().unwrap();
    let report = run(
        &spec,
        &series,
        (held.first, held.last),
        &params(&best.params),
    );
    let told = document.holdout.found().unwrap();
    assert_eq!(
        value_of(&told.sharpe_ratio),
        Metric::SharpeRatio.value(&report).ok()
    );
    assert_eq!(
        (told.from, told.to, told.earlier_looks),
        (held.from, held.to, 2)
    );
}

/// The same bars, with noise in their place from a day on.
fn noisy_from(real: &BarSeries, first: NaiveDate) -> Arc<BarSeries> {
    let noise = &bars(Kind::RandomWalk, 1)[0];
    let first = trialmill_backtest::bars::midnight(first);
    let row = real.time().partition_point(|time| *time < first);
    let scale = real.close()[row - 1] / noise.close()[row - 1];
    let mixed = |of: fn(&BarSeries) -> &[f64]| -> Vec<f64> {
        let later = of(noise)[row..].iter().map(|price| price * scale);
        of(real)[..row].iter().copied().chain(later).collect()
    };
    let columns = trialmill_backtest::bars::Columns {
        time: real.time().to_vec(),
        open: mixed(BarSeries::open),
        high: mixed(BarSeries::high),
        low: mixed(BarSeries::low),
        close: mixed(BarSeries::close),
        volume: real.volume().to_vec(),
    };
    Arc::new(BarSeries::new("SYN00.SZ", real.frequency(), columns).unwrap())
}

#[test]
fn what_the_test_windows_and_the_held_out_days_hold_changes_no_pick() {
    let real = bars(Kind::Trending, 1);
    // What is random looks at no price; TPE follows them.
    for method in [Method::Random, Method::Tpe] {
        // Of trials that trade often, since a pick that does not trade in a test window sees nothing of it.
        let mut spec = walk_forward(100, r#""n_trades >= 3""#);
        spec.method = method;
        let plan = spec.plan().unwrap().clone();
        let (_, document) = assess(&spec, real.clone(), NO_LUCK, |_| {});
        let mut differ = 0;
        let judging = |window: &Window| window.test.as_ref().or(plan.holdout.as_ref()).cloned();
        for window in &plan.windows {
            // Noise from the first day on that judges its pick.
            let from = judging(window).unwrap().first;
            let noisy = vec![noisy_from(&real[0], from)];
            let (_, noisy) = assess(&spec, noisy, NO_LUCK, |_| {});
            let until = usize::from(window.index) + 1;
            let pairs = noisy.windows.iter().zip(&document.windows);
            for (noisy, real) in pairs.take(until) {
                assert_eq!(noisy.trial_number, real.trial_number, "{method:?}");
                assert_eq!(noisy.params, real.params, "{method:?}");
            }
            let place = usize::from(window.index);
            if window.test.is_some() {
                let (noisy, real) = (&noisy.windows[place], &document.windows[place]);
                differ += u32::from(noisy.test_result != real.test_result);
            } else {
                assert_eq!(noisy.best, document.best, "{method:?}");
                assert_eq!(noisy.out_of_sample, document.out_of_sample, "{method:?}");
                differ += u32::from(noisy.holdout != document.holdout);
            }
        }
        // The noise was seen by what judges. (A pick may not trade at all in a test window.)
        assert!(differ >= 3, "{method:?}: {differ}");
    }
}

#[test]
fn a_search_that_overfits_shows_much_in_sample_and_nothing_out_of_it() {
    // Where there is nothing to find, many tries find much on the days that they see.
    let walks = 24;
    let (mut in_sample, mut out, mut holding) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 100..100 + walks {
        let (first, last) = (day("2014-01-01"), day("2018-12-31"));
        let walk = synthetic::series(Kind::RandomWalk, seed, 0, first, last).unwrap();
        let spec = walk_forward(200, "");
        let (_, document) = assess(&spec, vec![Arc::new(walk)], NO_LUCK, |_| {});
        let joined = document.out_of_sample.found().unwrap();
        in_sample.push(value_of(&joined.in_sample_mean_sharpe).unwrap());
        out.push(value_of(&joined.sharpe_ratio).unwrap());
        let lines = document.baselines.found().unwrap();
        holding.push(value_of(&lines.equal_weight_hold.sharpe_ratio).unwrap());
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let deviation = |values: &[f64]| {
        let center = mean(values);
        let squares: f64 = values.iter().map(|v| (v - center) * (v - center)).sum();
        (squares / (values.len() - 1) as f64 / values.len() as f64).sqrt()
    };
    // A walk without drift gains half its variance a year in the mean of its prices: a Sharpe ratio of
    // half its volatility, 0.013 * sqrt(252) / 2, to a book that always holds, and less to one that
    // holds at times.
    let drift = 0.013 * 252_f64.sqrt() / 2.0;
    let (found, error) = (mean(&out), deviation(&out));
    let told = format!(
        "{} in sample, {found} +- {error} out of it, {} holding",
        mean(&in_sample),
        mean(&holding)
    );
    assert!(
        mean(&in_sample) > 0.6 && mean(&in_sample) > found + 4.0 * error,
        "{told}"
    );
    assert!(
        found > -2.0 * error && found < drift + 2.0 * error,
        "{told}"
    );
    assert!(error < 0.2, "{told}");
}

#[test]
fn a_window_without_a_pick_is_spent_in_cash() {
    let series = bars(Kind::RandomWalk, 1);
    let spec = walk_forward(100, "");
    let spoil = |trials: &mut Vec<EndedTrial>| {
        for trial in trials.iter_mut().filter(|trial| trial.window == Some(1)) {
            if let Outcome::Completed(evaluation) = &mut trial.outcome {
                evaluation.infeasible = Some("told so".to_owned());
            }
        }
    };
    let (_, document) = assess(&spec, series.clone(), NO_LUCK, spoil);
    let plan = &spec.validation.as_ref().unwrap().plan;
    assert_eq!(document.windows[1].trial_number, None);
    assert_eq!(document.windows[1].params, BTreeMap::new());
    assert!(reason(&document.windows[1].test_result).contains("spent in cash"));
    let mut joined = Vec::new();
    for (window, told) in plan.windows.iter().zip(&document.windows) {
        let Some(test) = &window.test else { continue };
        joined.push(0.0);
        if window.index == 1 {
            joined.extend(vec![0.0; test.rows.len() - 1]);
        } else {
            let report = run(
                &spec,
                &series,
                (test.first, test.last),
                &params(&told.params),
            );
            joined.extend(metrics::returns(&report));
        }
    }
    let out = document.out_of_sample.found().unwrap();
    near(value_of(&out.sharpe_ratio).unwrap(), annual(&joined[1..]));
    // And if no window has one, nothing is shown.
    let none = walk_forward(100, r#""max_drawdown <= 0.0001""#);
    let (_, document) = assess(&none, series, NO_LUCK, |_| {});
    assert_eq!(document.best, None);
    assert_eq!(document.verdict.code, VerdictCode::NoFeasibleTrial);
    let out = document.out_of_sample.found().unwrap();
    assert_eq!(value_of(&out.sharpe_ratio), None);
    assert_eq!(reason(&document.holdout), "no trial qualified");
    assert_eq!(reason(&document.trust.neighbourhood), "no trial qualified");
}

#[test]
fn a_holdout_judges_the_best_trial_and_what_stands_beside_it() {
    let held_out = r#"{"method": "holdout", "length": "12mo"}"#;
    let spec = validated(spec(Method::Random, 40), held_out);
    let series = bars(Kind::Trending, 1);
    let (_, document) = assess(&spec, series.clone(), NO_LUCK, |_| {});
    let plan = &spec.validation.as_ref().unwrap().plan;
    let held = plan.holdout.as_ref().unwrap();
    let best = document.best.as_ref().unwrap();
    assert_eq!(best.in_sample.to, plan.windows[0].train.to);
    let report = run(
        &spec,
        &series,
        (held.first, held.last),
        &params(&best.params),
    );
    let told = document.holdout.found().unwrap();
    assert_eq!(
        value_of(&told.sharpe_ratio),
        Metric::SharpeRatio.value(&report).ok()
    );
    assert_eq!(
        document.baselines.found().unwrap().period,
        [held.from, held.to]
    );
    assert!(reason(&document.out_of_sample).contains("see holdout"));
    assert_eq!(document.windows, []);
}

#[test]
fn a_cross_validation_is_judged_over_its_segments_and_has_nothing_out_of_sample() {
    let segments = r#"{"method": "cross_validation", "segments": 4}"#;
    let spec = validated(spec(Method::Random, 40), segments);
    let series = bars(Kind::RandomWalk, 1);
    let bounds = Bounds {
        permutations: 39,
        ..Bounds::default()
    };
    let (trials, document) = assess(&spec, series.clone(), bounds, |_| {});
    assert!(reason(&document.out_of_sample).contains("sees every segment"));
    assert_eq!(document.verdict.code, VerdictCode::InSampleOnly);
    // A value is the mean of those of the segments, each from a flat start.
    let best = document.best.as_ref().unwrap();
    let number = best.trial_number as usize;
    let each: Vec<f64> = spec
        .segments()
        .into_iter()
        .map(|days| {
            let report = run(&spec, &series, days, &params(&best.params));
            Metric::SharpeRatio.value(&report).unwrap()
        })
        .collect();
    let mean = each.iter().sum::<f64>() / each.len() as f64;
    let Outcome::Completed(evaluation) = &trials[number].outcome else {
        panic!("the best trial is completed");
    };
    assert_eq!(each.len(), 4);
    near(evaluation.values[0], mean);
    let luck = document.trust.luck.found().unwrap();
    assert_eq!(luck.permutations, 39);
    assert!(luck.p_value > 0.05, "{luck:?}");
    // What stands around the best is judged in the same way: no point around it is better.
    let around = document.trust.neighbourhood.found().unwrap();
    assert!(around.worst_ratio <= around.median_ratio && around.median_ratio < 1.0);
    assert!(document.trust.deflated_sharpe.found().is_some());
}

#[test]
fn the_deflated_ratio_is_that_of_its_parts() {
    let spec = spec(Method::Random, 60);
    let series = bars(Kind::RandomWalk, 1);
    let (trials, document) = assess(&spec, series, NO_LUCK, |_| {});
    let stats = |trial: &EndedTrial| match &trial.outcome {
        Outcome::Completed(evaluation) => {
            TrialStats::from_bytes(evaluation.stats.as_ref().unwrap()).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let all: Vec<TrialStats> = trials.iter().map(stats).collect();
    let ratios: Vec<f64> = all.iter().filter_map(|s| Some(s.moments?.sharpe)).collect();
    let best = stats(&trials[document.best.as_ref().unwrap().trial_number as usize]);
    let variance = luck_variance(spread(&ratios).unwrap(), best.returns);
    // Sixty trials, and five of earlier tasks.
    let wanted = deflated(&best.moments.unwrap(), best.returns, variance, 65.0).unwrap();
    let told = document.trust.deflated_sharpe.found().unwrap();
    assert_eq!(told.value, wanted);
    assert_eq!((told.n_trials, told.prior_trials), (60, 5));
    assert!(told.effective_n.is_some_and(|n| (2..60).contains(&n)));
    let overfit = document.trust.pbo.found().unwrap();
    let wanted = trialmill_backtest::trust::overfit::probability(&all).unwrap();
    assert_eq!((overfit.value, overfit.blocks), (wanted.probability, 16));
    assert_eq!(overfit.caution, None);
}

#[test]
fn an_adaptive_search_is_held_against_points_that_chance_chose() {
    let spec = spec(Method::Tpe, 60);
    let (trials, document) = assess(&spec, bars(Kind::RandomWalk, 1), NO_LUCK, |_| {});
    let told = document.trust.deflated_sharpe.found().unwrap();
    let overfit = document.trust.pbo.found().unwrap();
    assert_eq!(overfit.caution.as_deref(), Some("adaptive_search"));
    // Not those of its own trials, which crowd: the same figure, whatever these keep.
    let forget = |trials: &mut Vec<EndedTrial>| {
        for trial in trials {
            if let Outcome::Completed(evaluation) = &mut trial.outcome {
                evaluation.stats = None;
            }
        }
    };
    let (_, again) = assess(&spec, bars(Kind::RandomWalk, 1), NO_LUCK, forget);
    let again = again.trust.deflated_sharpe.found().unwrap();
    assert_eq!((again.value, again.effective_n), (told.value, None));
    assert_eq!(trials.len(), 60);
}

#[test]
fn what_is_too_little_says_how_much_it_takes() {
    let short = TaskSpec {
        start_date: day("2018-01-15"),
        ..spec(Method::Random, 10)
    };
    let (_, document) = assess(&short, bars(Kind::RandomWalk, 1), NO_LUCK, |_| {});
    let trust = &document.trust;
    assert_eq!(
        reason(&trust.deflated_sharpe),
        "10 trials; needs 20, and 251 days; needs 252"
    );
    assert_eq!(reason(&trust.luck), "no shuffled markets were asked for");
    let few = spec(Method::Random, 10);
    let (_, document) = assess(&few, bars(Kind::RandomWalk, 1), NO_LUCK, |_| {});
    assert_eq!(
        reason(&document.trust.deflated_sharpe),
        "10 trials; needs 20"
    );
    // A space with fewer points than the variance needs.
    let mut small = spec(Method::Tpe, 25);
    small.space = SpaceBuilder::default()
        .parameter("short_window", int(2, 6, 1))
        .parameter("long_window", int(20, 60, 10))
        .build()
        .unwrap();
    let (_, document) = assess(&small, bars(Kind::RandomWalk, 1), NO_LUCK, |_| {});
    let told = reason(&document.trust.deflated_sharpe);
    assert!(
        told.ends_with(" trials that were drawn by chance; needs 30"),
        "{told}"
    );
}

#[test]
fn neighbours_are_told_by_what_they_keep() {
    let mut spec = spec(Method::Random, 40);
    spec.objectives[0] = Target::new("max_drawdown", Direction::Minimize);
    let series = bars(Kind::Trending, 1);
    let (_, document) = assess(&spec, series.clone(), NO_LUCK, |_| {});
    let best = document.best.as_ref().unwrap();
    let value = best.values["max_drawdown"];
    let (Choice::Int(short), Choice::Int(long)) =
        (&best.params["short_window"], &best.params["long_window"])
    else {
        panic!("{:?}", best.params);
    };
    let around = [(-1, 0), (1, 0), (0, -5), (0, 5)].map(|(s, l)| (short + s, long + l));
    let inside = |(s, l): &(i64, i64)| (2..=20).contains(s) && (10..=80).contains(l) && s < l;
    let mut ratios: Vec<f64> = around
        .into_iter()
        .filter(inside)
        .map(|(short, long)| {
            let with = Params::new()
                .with("short_window", short)
                .with("long_window", long)
                .with("signal_threshold", 0.003);
            let report = run(&spec, &series, (spec.start_date, spec.end_date), &with);
            2.0 - Metric::MaxDrawdown.value(&report).unwrap() / value
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let told = document.trust.neighbourhood.found().unwrap();
    assert_eq!(told.points as usize, ratios.len());
    near(told.worst_ratio, ratios[0]);
    let middle = ratios.len() / 2;
    let median = match ratios.len() % 2 {
        1 => ratios[middle],
        _ => f64::midpoint(ratios[middle - 1], ratios[middle]),
    };
    near(told.median_ratio, median);
}

/// So many symbols that trends built into them show within four years.
const MANY: usize = 24;

#[test]
fn the_luck_test_finds_an_edge_and_not_where_there_is_none() {
    let mut spec = spec(Method::Random, 40);
    spec.stock_codes = (0..MANY).map(synthetic::symbol).collect();
    let bounds = Bounds {
        permutations: 39,
        ..Bounds::default()
    };
    let (_, edge) = assess(&spec, bars(Kind::Trending, MANY), bounds, |_| {});
    let luck = edge.trust.luck.found().unwrap();
    assert!(luck.p_value <= 0.05, "{luck:?}");
    assert_eq!(luck.permutations, 39);
    let (_, none) = assess(&spec, bars(Kind::RandomWalk, MANY), bounds, |_| {});
    let luck = none.trust.luck.found().unwrap();
    assert!(luck.p_value > 0.1, "{luck:?}");
    assert!(
        none.verdict.text.contains("of shuffled markets"),
        "{:?}",
        none.verdict
    );
}

#[test]
fn a_walk_forward_is_repeated_with_its_windows_and_judged_by_its_tests() {
    let mut spec = walk_forward(100, "");
    spec.stock_codes = (0..MANY).map(synthetic::symbol).collect();
    let bounds = Bounds {
        permutations: 39,
        ..Bounds::default()
    };
    let (_, document) = assess(&spec, bars(Kind::Trending, MANY), bounds, |_| {});
    let luck = document.trust.luck.found().unwrap();
    assert!(luck.p_value <= 0.05, "{luck:?}");
    // Test windows that lose are no find, however good the training windows were.
    let worst = |trials: &mut Vec<EndedTrial>| {
        for trial in trials {
            if let Outcome::Completed(evaluation) = &mut trial.outcome {
                for (name, value) in &mut evaluation.metrics {
                    if name == "sharpe_ratio" {
                        *value = value.clone().map(|ratio| -ratio);
                    }
                }
            }
        }
    };
    let (_, document) = assess(&spec, bars(Kind::RandomWalk, MANY), bounds, worst);
    let luck = document.trust.luck.found().unwrap();
    assert!(luck.p_value > 0.1, "{luck:?}");
}

#[test]
fn time_bounds_the_luck_test_by_what_the_trials_took() {
    let spec = spec(Method::Random, 40);
    let series = bars(Kind::RandomWalk, 1);
    let make = make(&spec);
    let mut trials = search_alone(&spec, &series, &make).unwrap();
    let mut planned = |milliseconds: f64| {
        for trial in &mut trials {
            trial.duration_ms = milliseconds;
        }
        let case = Case {
            spec: &spec,
            trials: &trials,
            default_params: None,
            prior_trials: 0,
            earlier_looks: 0,
            market: None,
            bounds: Bounds::default(),
        };
        luck::affordable(&case)
    };
    // A search of 40 trials: 0.04, 1, 10 and 20 s.
    assert_eq!(planned(1.0), Ok(200));
    assert_eq!(planned(25.0), Ok(60));
    assert_eq!(planned(250.0), Ok(39));
    let told = "39 shuffled markets would take 780 s by the time that the trials took; they may \
                take 600 s";
    assert_eq!(planned(500.0), Err(told.to_owned()));
}

#[test]
fn what_a_sampler_deliberates_counts() {
    let series = bars(Kind::RandomWalk, 1);
    let random = spec(Method::Random, 40);
    let trials = search_alone(&random, &series, &make(&random)).unwrap();
    let planned = |method, times: usize| {
        let mut trials = vec![trials.clone(); times].concat();
        for (number, trial) in (0..).zip(&mut trials) {
            (trial.number, trial.duration_ms) = (number, 0.1);
        }
        let spec = spec(method, 40 * u32::try_from(times).unwrap());
        let case = Case {
            spec: &spec,
            trials: &trials,
            default_params: None,
            prior_trials: 0,
            earlier_looks: 0,
            market: None,
            bounds: Bounds::default(),
        };
        luck::affordable(&case)
    };
    // 4,000 trials: 1 s by tpe, 4 s by auto, which fits a process to 150 of them, 155 s by gp.
    assert_eq!(planned(Method::Tpe, 100), Ok(57));
    assert_eq!(planned(Method::Auto, 1), Ok(200));
    assert_eq!(planned(Method::Auto, 100), Ok(39));
    assert!(
        planned(Method::Gp, 100)
            .unwrap_err()
            .contains("would take 6")
    );
}

#[test]
fn a_strategy_that_reads_fundamentals_has_no_luck_test() {
    let mut spec = spec(Method::Random, 40);
    spec.strategy_name = "value_factor".to_owned();
    let case = Case {
        spec: &spec,
        trials: &[],
        default_params: None,
        prior_trials: 0,
        earlier_looks: 0,
        market: None,
        bounds: Bounds::default(),
    };
    let told = luck::affordable(&case).unwrap_err();
    assert!(told.contains("reads fundamentals"), "{told}");
}

#[test]
fn what_was_kept_is_gone_on_with_and_the_document_is_the_same() {
    let spec = walk_forward(100, "");
    let series = bars(Kind::RandomWalk, 1);
    let make = make(&spec);
    let trials = search_alone(&spec, &series, &make).unwrap();
    let case = Case {
        spec: &spec,
        trials: &trials,
        default_params: None,
        prior_trials: 0,
        earlier_looks: 0,
        market: Some(Market {
            series,
            backtest: &make,
        }),
        bounds: Bounds {
            permutations: 6,
            ..Bounds::default()
        },
    };
    let mut whole = Assessing::new(&case, None);
    assert_eq!((whole.steps_done(), whole.steps_total()), (0, 7));
    let document = finish(&mut whole);
    let mut kept = None;
    let mut steps = 0;
    let resumed = loop {
        let mut assessing = Assessing::new(&case, kept);
        assert_eq!(assessing.steps_done(), steps);
        // Stopped in the middle of a step, which is then done again.
        let before = assessing.progress().clone();
        let asked = AtomicU32::new(0);
        let soon = || asked.fetch_add(1, Ordering::Relaxed) >= 20;
        assert_eq!(assessing.step(1, &soon), Err(Stopped));
        assert_eq!(*assessing.progress(), before);
        steps += 1;
        if let Some(document) = assessing.step(1, &|| false).unwrap() {
            break document;
        }
        let text = serde_json::to_string(assessing.progress()).unwrap();
        kept = Some(serde_json::from_str(&text).unwrap());
    };
    assert_eq!((resumed, steps), (document, 7));
    // What another version kept is begun anew.
    let mut other = whole.progress().clone();
    other.version = VERSION + 1;
    assert_eq!(Assessing::new(&case, Some(other)).steps_done(), 0);
}

#[test]
fn shuffled_markets_searched_side_by_side_give_the_same_document() {
    let spec = spec(Method::Random, 4);
    let series = bars(Kind::RandomWalk, 3);
    let make = make(&spec);
    let trials = search_alone(&spec, &series, &make).unwrap();
    let case = Case {
        spec: &spec,
        trials: &trials,
        default_params: None,
        prior_trials: 0,
        earlier_looks: 0,
        market: Some(Market {
            series,
            backtest: &make,
        }),
        bounds: Bounds {
            permutations: 60,
            ..Bounds::default()
        },
    };
    let documents = [1, 7, 64].map(|at_once| {
        let mut assessing = Assessing::new(&case, None);
        std::iter::repeat_with(|| assessing.step(at_once, &|| false).unwrap())
            .take(100)
            .find_map(|document| document)
            .expect("it ends")
    });
    let luck = documents[0].trust.luck.found().expect("it was made");
    // It ended early, and within a group of seven.
    let searched = luck.permutations;
    assert!(
        (39..60).contains(&searched) && searched % 7 != 0,
        "{luck:?}"
    );
    assert_eq!(documents[0], documents[1]);
    assert_eq!(documents[0], documents[2]);
    // None of a group is kept when it is stopped.
    let mut assessing = Assessing::new(&case, None);
    assert_eq!(assessing.step(7, &|| false), Ok(None));
    let asked = AtomicU32::new(0);
    let soon = || asked.fetch_add(1, Ordering::Relaxed) >= 100;
    assert_eq!(assessing.step(7, &soon), Err(Stopped));
    assert_eq!(assessing.steps_done(), 1);
}

#[test]
fn orders_are_summed_over_the_runs_that_judge() {
    let mut spec = walk_forward(100, "");
    spec.stock_codes = vec![synthetic::GROUP_SYMBOL.to_owned()];
    spec.backtest.market = trialmill_backtest::config::Market::CnA;
    let (first, last) = (day("2014-01-01"), day("2018-12-31"));
    let group = synthetic::group(GroupKind::RandomWalk, 3, 1, first, last).unwrap();
    let series: Vec<Arc<BarSeries>> = group.into_iter().map(Arc::new).collect();
    let (_, document) = assess(&spec, series.clone(), NO_LUCK, |_| {});
    let plan = &spec.validation.as_ref().unwrap().plan;
    let best = document.best.as_ref().unwrap();
    let tests = plan.windows.iter().zip(&document.windows);
    let tests = tests.filter_map(|(w, told)| Some((w.test.as_ref()?, &told.params)));
    let held = plan.holdout.as_ref().map(|held| (held, &best.params));
    let (mut orders, mut filled) = (0, 0);
    for (stretch, with) in tests.chain(held) {
        let report = run(&spec, &series, (stretch.first, stretch.last), &params(with));
        let execution = report.execution.unwrap();
        orders += execution.orders;
        filled += execution.filled;
    }
    let told = document.execution.found().unwrap();
    assert_eq!((told.orders, told.filled), (orders, filled));
    assert!(orders > 2, "{orders}");
}

#[test]
fn the_defaults_of_a_request_are_the_baseline_where_it_gave_them() {
    let spec = spec(Method::Random, 20);
    let series = bars(Kind::Trending, 1);
    let make = make(&spec);
    let trials = search_alone(&spec, &series, &make).unwrap();
    let asked = spec.named(&trials[3].point);
    let case = Case {
        spec: &spec,
        trials: &trials,
        default_params: Some(asked.clone()),
        prior_trials: 0,
        earlier_looks: 0,
        market: Some(Market {
            series: series.clone(),
            backtest: &make,
        }),
        bounds: NO_LUCK,
    };
    let document = finish(&mut Assessing::new(&case, None));
    let whole = (spec.start_date, spec.end_date);
    let wanted = |given| Metric::SharpeRatio.value(&run(&spec, &series, whole, &params(given)));
    let told = document.baselines.found().unwrap();
    let told = value_of(&told.default_params.sharpe_ratio).unwrap();
    near(told, wanted(&asked).unwrap());
    assert!((told - wanted(&spec.fixed).unwrap()).abs() > 1e-6);
}

#[test]
fn a_test_function_is_worth_nothing_that_can_be_told() {
    let mut spec = spec(Method::Random, 2);
    spec.strategy_name = "sphere".to_owned();
    spec.stock_codes.clear();
    spec.objectives = vec![Target::new("value", Direction::Minimize)];
    let trial = |number, value: f64| EndedTrial {
        number,
        point: Point::new(vec![ParamValue::Int(20), ParamValue::Int(2)]),
        outcome: Outcome::Completed(trialmill_common::trial::Evaluation {
            values: vec![value],
            ..Default::default()
        }),
        reports: None,
        duration_ms: 0.1,
        window: None,
    };
    let trials = [trial(0, 3.0), trial(1, 2.0), trial(2, 2.0)];
    let case = Case {
        spec: &spec,
        trials: &trials,
        default_params: None,
        prior_trials: 0,
        earlier_looks: 0,
        market: None,
        bounds: Bounds::default(),
    };
    let document = finish(&mut Assessing::new(&case, None));
    assert_eq!(document.best.as_ref().unwrap().trial_number, 1);
    assert!(reason(&document.trust.luck).contains("test function"));
    assert!(reason(&document.baselines).contains("test function"));
    assert_eq!(document.verdict.code, VerdictCode::InSampleOnly);
}

/// The same with the drawdown as a second objective.
fn with_drawdown(mut spec: TaskSpec) -> TaskSpec {
    spec.objectives
        .push(Target::new("max_drawdown", Direction::Minimize));
    spec
}

/// The trials that no other one dominates, each compared with each.
fn front_of<'a>(spec: &TaskSpec, trials: &[&'a EndedTrial]) -> Vec<&'a EndedTrial> {
    let costs = |trial: &EndedTrial| match &trial.outcome {
        Outcome::Completed(found) if found.infeasible.is_none() => Some(spec.costs(&found.values)),
        _ => None,
    };
    let is_free = |trial: &&&EndedTrial| {
        let Some(own) = costs(trial) else {
            return false;
        };
        let mut others = trials.iter().filter_map(|other| costs(other));
        !others.any(|other| trialmill_search::pareto::dominates(&other, &own))
    };
    trials.iter().filter(is_free).copied().collect()
}

fn metric_of(trial: &EndedTrial, name: &str) -> f64 {
    let Outcome::Completed(found) = &trial.outcome else {
        panic!("{trial:?}");
    };
    evaluate::metric(found, name).unwrap()
}

#[test]
fn of_several_objectives_the_selection_picks_from_the_front_of_each_window() {
    let spec = with_drawdown(walk_forward(100, r#""max_drawdown <= 0.15""#));
    let (trials, document) = assess(&spec, bars(Kind::Trending, 1), NO_LUCK, |_| {});
    assert_eq!(document.windows.len(), 5);
    let mut picked = 0;
    for window in spec.windows() {
        let keeps = |trial: &&EndedTrial| {
            window.trials.contains(&trial.number)
                && matches!(&trial.outcome, Outcome::Completed(found) if found.infeasible.is_none())
                && metric_of(trial, "max_drawdown") <= 0.15
        };
        let kept: Vec<&EndedTrial> = trials.iter().filter(keeps).collect();
        let best = front_of(&spec, &kept).into_iter().max_by(|a, b| {
            let of = |trial| metric_of(trial, "sharpe_ratio");
            of(a).total_cmp(&of(b)).then(b.number.cmp(&a.number))
        });
        let told = document.windows[usize::from(window.index)].trial_number;
        assert_eq!(
            told,
            best.map(|trial| trial.number),
            "window {}",
            window.index
        );
        picked += usize::from(told.is_some());
    }
    assert!(
        picked > 2,
        "the limit is kept by trials of {picked} windows"
    );
    let values = &document.best.as_ref().unwrap().values;
    assert!(values.contains_key("sharpe_ratio") && values["max_drawdown"] <= 0.15);
    assert!(document.out_of_sample.found().is_some());
    // The Sharpe ratio decides: what there is to say, or too few trials for it.
    if let Computed::Missing { reason, .. } = &document.trust.pbo {
        assert!(reason.ends_with("needs 20"), "{reason}");
    }
}

#[test]
fn by_a_weighted_sum_each_window_picks_the_best_by_it() {
    let weights = [(Metric::SharpeRatio, 1.0), (Metric::Volatility, 4.0)];
    let weights = weights.map(|(metric, weight)| Weight { metric, weight });
    let validation = r#"{"method": "walk_forward", "window": "rolling", "train": "18mo", "test": "6mo",
        "step": "6mo", "holdout": "6mo", "selection": {"metric": "custom"}}"#;
    let mut spec = validated(spec(Method::Random, 100), validation);
    spec.objectives = vec![Target::custom(weights.to_vec())];
    let (trials, document) = assess(&spec, bars(Kind::Trending, 1), NO_LUCK, |_| {});
    let mut differs = false;
    for window in spec.windows() {
        let of_window = trials.iter().filter(|t| window.trials.contains(&t.number));
        let feasible = of_window.filter(|trial| {
            matches!(&trial.outcome, Outcome::Completed(found) if found.infeasible.is_none())
        });
        let by = |name: &str| {
            let of = |trial: &&EndedTrial| metric_of(trial, name);
            let best = feasible
                .clone()
                .max_by(|a, b| of(a).total_cmp(&of(b)).then(b.number.cmp(&a.number)));
            best.map(|trial| trial.number)
        };
        let told = document.windows[usize::from(window.index)].trial_number;
        assert_eq!(told, by("custom"), "window {}", window.index);
        differs |= told != by("sharpe_ratio");
    }
    assert!(
        differs,
        "the sum picks otherwise than the Sharpe ratio in some window"
    );
    assert!(
        document
            .best
            .as_ref()
            .unwrap()
            .values
            .contains_key("custom")
    );
    assert!(document.out_of_sample.found().is_some());
    assert!(metrics_read(&spec).contains(&"custom".to_owned()));
    let near = reason(&document.trust.neighbourhood);
    assert!(near.contains("no zero of its own"), "{near}");
}

#[test]
fn of_several_objectives_the_first_decides_where_nothing_selects() {
    let plain = with_drawdown(spec(Method::Tpe, 60));
    let selected =
        r#"{"method": "holdout", "length": "6mo", "selection": {"metric": "max_drawdown"}}"#;
    let held = validated(plain.clone(), selected);
    for (spec, decides) in [(&plain, 0), (&held, 1)] {
        let (trials, document) = assess(spec, bars(Kind::Trending, 1), NO_LUCK, |_| {});
        let all: Vec<&EndedTrial> = trials.iter().collect();
        let front = front_of(spec, &all);
        let cost = |trial: &EndedTrial| match &trial.outcome {
            Outcome::Completed(found) => spec.costs(&found.values)[decides],
            other => panic!("{other:?}"),
        };
        // The first of equals: numbers ascend.
        let best = front
            .iter()
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .unwrap();
        assert_eq!(document.best.as_ref().unwrap().trial_number, best.number);
        assert!(document.trust.deflated_sharpe.found().is_some());
        let pbo = &document.trust.pbo;
        match decides {
            0 => assert!(pbo.found().is_some(), "{pbo:?}"),
            _ => assert_eq!(
                reason(pbo),
                "of several objectives max_drawdown decides, and PBO is of a choice by sharpe_ratio"
            ),
        }
        assert_eq!(document.holdout.found().is_some(), decides == 1);
    }
}

#[test]
fn metrics_that_an_assessment_reads_are_those_of_its_rules() {
    let plain = metrics_read(&spec(Method::Random, 40));
    assert_eq!(plain, ["n_trades", "sharpe_ratio"]);
    let walk = metrics_read(&walk_forward(100, r#""mdd <= 0.2", "win_rate > 0.3""#));
    let wanted = ["max_drawdown", "n_trades", "sharpe_ratio", "win_rate"];
    assert_eq!(walk, wanted);
}
