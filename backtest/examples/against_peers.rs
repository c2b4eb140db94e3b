//! Microseconds of a trial on bars from a file, beside the C loop and the peers:
//! `scripts/bench-backtest` runs them all on the same file.
//!
//! `against_peers FILE ROWS SYMBOLS TRIALS` for `moving_average`, and with `pair` as a fifth argument
//! for `cointegration` of the second series on the first. FILE holds, symbol after symbol, ROWS opens
//! and then ROWS closes as raw doubles.
//!
//! Prints JSON lines: `kernel` is the report (signals, fills, equity), `trial` that and every metric.
//! One thread, the best round. `check` is the sum of the final equities less the drawdowns over the
//! trials, each symbol with a book of its own: it must agree with the C loop's.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use chrono::{Days, NaiveDate};
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use trialmill_backtest::bars::{BarSeries, Columns, Frequency, midnight};
use trialmill_backtest::engine::{Backtest, BacktestConfig, Dataset};
use trialmill_backtest::metrics::{Metric, evaluate_all};
use trialmill_backtest::strategy::{Params, Strategy, find};

const ROUNDS: usize = 5;
/// More rows than that are minutes, around the clock: a daily calendar has fewer.
const MOST_DAYS: usize = 100_000;
const MINUTES_OF_DAY: usize = 1_440;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, rows, symbols, trials, pair) = match arguments.as_slice() {
        [path, rows, symbols, trials] => (path, rows, symbols, trials, false),
        [path, rows, symbols, trials, pair] if pair == "pair" => {
            (path, rows, symbols, trials, true)
        }
        _ => return Err("usage: against_peers FILE ROWS SYMBOLS TRIALS [pair]".into()),
    };
    let (rows, symbols, trials): (usize, usize, i64) =
        (rows.parse()?, symbols.parse()?, trials.parse()?);
    let first = NaiveDate::from_ymd_opt(1850, 1, 1).ok_or("no such day")?;
    let minutes = rows > MOST_DAYS;
    let days = if minutes {
        rows.div_ceil(MINUTES_OF_DAY)
    } else {
        rows
    };
    let last = first + Days::new(days as u64 - 1);
    let series = read(path, rows, symbols, first)?;
    let config = BacktestConfig::default();
    if pair {
        let names = (series[1].symbol().to_owned(), series[0].symbol().to_owned());
        let data = Dataset::with_pairs(series, &[names], first, last)?;
        let strategy = find("cointegration").ok_or("no such strategy")?;
        let backtest = Backtest::new(data, config)?;
        let points = (0..trials)
            .map(|n| Params::new().with("lookback_period", 30 + n % 90))
            .collect::<Vec<_>>();
        return report(
            "cointegration",
            &[backtest],
            strategy,
            &points,
            (rows, symbols),
        );
    }
    let strategy = find("moving_average").ok_or("no such strategy")?;
    let points: Vec<Params> = (0..trials)
        .map(|trial| {
            Params::new()
                .with("short_window", 3 + trial % 10)
                .with("long_window", 20 + 3 * (trial / 10 % 10))
                .with("signal_threshold", 0.0)
        })
        .collect();
    let alone = |one: Arc<BarSeries>| {
        let data = Dataset::new(vec![one], first, last)?;
        Ok(Backtest::new(data, config.clone())?)
    };
    let books: Result<Vec<Backtest>, Box<dyn Error>> = series.iter().cloned().map(alone).collect();
    report(
        "moving_average",
        &books?,
        strategy,
        &points,
        (rows, symbols),
    )?;
    if symbols > 1 {
        let book = Backtest::new(Dataset::new(series, first, last)?, config)?;
        report(
            "moving_average, one book",
            &[book],
            strategy,
            &points,
            (rows, symbols),
        )?;
    }
    Ok(())
}

fn read(
    path: &str,
    rows: usize,
    symbols: usize,
    first: NaiveDate,
) -> Result<Vec<Arc<BarSeries>>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let (words, _) = bytes.as_chunks::<8>();
    let prices: Vec<f64> = words.iter().map(|word| f64::from_le_bytes(*word)).collect();
    if prices.len() != rows * symbols * 2 {
        return Err(format!("{path} does not hold {symbols} x 2 x {rows} doubles").into());
    }
    let (frequency, step) = if rows > MOST_DAYS {
        (Frequency::Minute, 60)
    } else {
        (Frequency::Daily, 86_400)
    };
    let time: Vec<i64> = (midnight(first)..).step_by(step).take(rows).collect();
    let one = |(number, both): (usize, &[f64])| {
        let (open, close) = both.split_at(rows);
        let extreme = |pick: fn(f64, f64) -> f64| {
            let both = open.iter().zip(close);
            both.map(|(o, c)| pick(*o, *c)).collect::<Vec<_>>()
        };
        let columns = Columns {
            time: time.clone(),
            open: open.to_vec(),
            high: extreme(f64::max),
            low: extreme(f64::min),
            close: close.to_vec(),
            volume: vec![1e6; rows],
        };
        let symbol = format!("S{number:04}");
        Ok(Arc::new(BarSeries::new(&symbol, frequency, columns)?))
    };
    prices.chunks_exact(rows * 2).enumerate().map(one).collect()
}

fn report(
    name: &str,
    books: &[Backtest],
    strategy: &dyn Strategy,
    points: &[Params],
    (rows, symbols): (usize, usize),
) -> Result<(), Box<dyn Error>> {
    let mut check = 0.0;
    let (mut kernel, mut trial) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        check = 0.0;
        let begin = Instant::now();
        for params in points {
            for book in books {
                let report = book.trial(strategy, params, &|| false)?;
                check += report.equity[report.equity.len() - 1];
                black_box(report);
            }
        }
        kernel = kernel.min(begin.elapsed().as_secs_f64() / points.len() as f64);
        let begin = Instant::now();
        for params in points {
            for book in books {
                let report = book.trial(strategy, params, &|| false)?;
                let metrics = evaluate_all(&report);
                let drawdown = metrics.iter().find(|(m, _)| *m == Metric::MaxDrawdown);
                if let Some((_, Ok(drawdown))) = drawdown {
                    check -= drawdown;
                }
                black_box(metrics);
            }
        }
        trial = trial.min(begin.elapsed().as_secs_f64() / points.len() as f64);
    }
    println!(
        "{{\"peer\": \"trialmill {name}\", \"rows\": {rows}, \"symbols\": {symbols}, \
         \"trials\": {}, \"kernel_us_per_trial\": {:.3}, \"us_per_trial\": {:.3}, \
         \"check\": {check:?}}}",
        points.len(),
        kernel * 1e6,
        trial * 1e6
    );
    Ok(())
}
