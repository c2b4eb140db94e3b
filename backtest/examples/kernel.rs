//! Nanoseconds of one trial of `moving_average` on one symbol and 2,520 rows, one core:
//! `cargo run --release -p trialmill-backtest --example kernel`.
//!
//! - `kernel`: two averages, signals, position, fees and the equity curve;
//! - `trial`: the same and every metric of the catalogue;
//! - `reference`: the kernel in the readable form of the engine;
//! - `cn_a`: the kernel under the rules of the A-share market;
//! - `cointegration`: a whole trial of a pair.
//!
//! Prints one JSON line for each. On a busy machine the best is the one to compare.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use chrono::{Days, NaiveDate};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use trialmill_backtest::bars::{BarSeries, Columns};
use trialmill_backtest::engine::{Backtest, BacktestConfig, Dataset, Market, Report, reference};
use trialmill_backtest::metrics::evaluate_all;
use trialmill_backtest::strategy::{Params, Strategy, find};
use trialmill_backtest::synthetic::{GroupKind, Kind, business_days, group, series};

const ROWS: usize = 2_520;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let first = NaiveDate::from_ymd_opt(2008, 1, 1).ok_or("no such day")?;
    let days = business_days(first, first + Days::new(5_000));
    let warm_up = 600;
    let (start, last) = (days[warm_up], days[warm_up + ROWS - 1]);

    let bars = series(Kind::Trending, 1, 0, first, last)?;
    let columns = Columns {
        time: bars.time().to_vec(),
        open: bars.open().to_vec(),
        high: bars.high().to_vec(),
        low: bars.low().to_vec(),
        close: bars.close().to_vec(),
        volume: bars.volume().to_vec(),
    };
    let share = BarSeries::new("600000.SH", bars.frequency(), columns)?;
    let data = Dataset::new(vec![Arc::new(bars)], start, last)?;
    let backtest = Backtest::new(data, BacktestConfig::default())?;
    let strategy = find("moving_average").ok_or("no such strategy")?;
    let points: Vec<Params> = (0i64..100)
        .map(|n| {
            Params::new()
                .with("short_window", 2 + n % 48)
                .with("long_window", 51 + 7 * n % 150)
                .with("signal_threshold", 0.0)
        })
        .collect();
    measure("kernel", &points, |params| {
        black_box(run(&backtest, strategy, params));
    });
    measure("trial", &points, |params| {
        black_box(evaluate_all(&run(&backtest, strategy, params)));
    });
    measure("reference", &points, |params| {
        let (data, config) = (backtest.data(), backtest.config());
        let report = reference::run(data, strategy, params, config, &|| false);
        black_box(report.expect("the parameters are within their ranges"));
    });

    let rules = BacktestConfig {
        market: Market::CnA,
        ..BacktestConfig::default()
    };
    let ruled = Backtest::new(Dataset::new(vec![Arc::new(share)], start, last)?, rules)?;
    measure("cn_a", &points, |params| {
        black_box(run(&ruled, strategy, params));
    });

    let legs = group(GroupKind::Cointegrated, 1, 2, first, last)?;
    let pair = (legs[1].symbol().to_owned(), legs[0].symbol().to_owned());
    let legs = legs.into_iter().map(Arc::new).collect();
    let prepared = Instant::now();
    let data = Dataset::with_pairs(legs, &[pair], start, last)?;
    let prepared = prepared.elapsed();
    let backtest = Backtest::new(data, BacktestConfig::default())?;
    let strategy = find("cointegration").ok_or("no such strategy")?;
    let points: Vec<Params> = (0i64..90)
        .map(|n| {
            Params::new()
                .with("lookback_period", 30 + n)
                .with("entry_threshold", 1.5)
        })
        .collect();
    measure("cointegration", &points, |params| {
        black_box(evaluate_all(&run(&backtest, strategy, params)));
    });
    println!(
        "{{\"name\":\"pair_preparation\",\"ns\":{}}}",
        prepared.as_nanos()
    );
    Ok(())
}

fn run(backtest: &Backtest, strategy: &dyn Strategy, params: &Params) -> Report {
    backtest
        .trial(strategy, params, &|| false)
        .expect("the parameters are within their ranges")
}

/// Runs every point many times: the mean over the points of their best times, and the median of all.
fn measure(name: &str, points: &[Params], mut trial: impl FnMut(&Params)) {
    let mut best = vec![f64::INFINITY; points.len()];
    let mut all = Vec::new();
    for _ in 0..60 {
        for (params, best) in points.iter().zip(&mut best) {
            let start = Instant::now();
            trial(params);
            let took = start.elapsed().as_nanos() as f64;
            *best = best.min(took);
            all.push(took);
        }
    }
    all.sort_by(f64::total_cmp);
    println!(
        "{{\"name\":\"{name}\",\"rows\":{ROWS},\"best_ns\":{:.0},\"median_ns\":{:.0}}}",
        best.iter().sum::<f64>() / best.len() as f64,
        all[all.len() / 2]
    );
}
