//! How long one trial takes: `cargo run --release -p trialmill-backtest --example trial_cost`.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use chrono::NaiveDate;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::engine::{Backtest, BacktestConfig, Dataset};
use trialmill_backtest::metrics::{Metric, evaluate_all};
use trialmill_backtest::strategy::{Params, find};
use trialmill_backtest::synthetic::{Kind, series};
use trialmill_backtest::trust::TrialStats;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let first = NaiveDate::from_ymd_opt(2011, 1, 3).ok_or("no such day")?;
    let last = NaiveDate::from_ymd_opt(2021, 2, 26).ok_or("no such day")?;
    // 200 rows of warm-up and about 2,520 rows of period.
    let period_start = NaiveDate::from_ymd_opt(2011, 10, 10).ok_or("no such day")?;
    for symbols in [1, 50, 500] {
        let bars = (0..symbols)
            .map(|index| series(Kind::Trending, 1, index, first, last).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let bytes: Vec<Vec<u8>> = bars.iter().map(|s| s.to_bytes()).collect();
        let start = Instant::now();
        for one in &bytes {
            black_box(BarSeries::from_bytes(one)?);
        }
        let read = start.elapsed();
        let start = Instant::now();
        let data = Dataset::new(bars, period_start, last)?;
        let prepared = start.elapsed();

        let strategy = find("moving_average").ok_or("no such strategy")?;
        let backtest = Backtest::new(data, BacktestConfig::default())?;
        let rounds = 20_000 / symbols.max(20);
        let (mut sharpe_only, mut every, mut kept) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        let mut trades = 0;
        // The best of many single trials: on a busy machine the mean measures the neighbours.
        for round in 0..rounds {
            let params = Params::new()
                .with("short_window", (2 + round % 48) as f64)
                .with("long_window", (51 + round % 150) as f64);
            let start = Instant::now();
            let report = backtest.trial(strategy, &params, &|| false)?;
            let _ = black_box(Metric::SharpeRatio.value(&report));
            sharpe_only = sharpe_only.min(start.elapsed().as_secs_f64());
            trades += report.trades.len();
            let start = Instant::now();
            black_box(evaluate_all(black_box(&report)));
            every = every.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            black_box(TrialStats::of(black_box(&report)).map(|stats| stats.to_bytes()));
            kept = kept.min(start.elapsed().as_secs_f64());
        }
        println!(
            "{symbols:3} symbols x {} rows: trial with Sharpe {:.3} ms, all metrics {:.3} ms more, \
             statistics {:.4} ms more, {:.0} trades a trial; read {:.1} ms, prepare {:.1} ms, {:.1} MB",
            backtest.data().rows(),
            sharpe_only * 1e3,
            every * 1e3,
            kept * 1e3,
            trades as f64 / rounds as f64,
            read.as_secs_f64() * 1e3,
            prepared.as_secs_f64() * 1e3,
            backtest.data().memory_bytes() as f64 / 1e6,
        );
    }
    Ok(())
}
