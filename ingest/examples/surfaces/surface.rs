//! The twelve surfaces: strategies, shares and spaces, and the value of every point.

use crate::option;
use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::engine::{Backtest, BacktestConfig, Dataset};
use trialmill_backtest::metrics::Metric;
use trialmill_backtest::strategy::{Params, Strategy, find};

/// Every point of a space with what it is worth.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Surface {
    pub(crate) name: String,
    /// The last one changes first from point to point.
    pub(crate) axes: Vec<Axis>,
    /// Sharpe ratio in the searched years; null where there is none.
    pub(crate) values: Vec<Option<f64>>,
    /// Sharpe ratio in the years after.
    pub(crate) later: Vec<Option<f64>>,
    /// Sharpe ratio in each of [`SEGMENTS`] stretches of the searched years, from a flat start.
    pub(crate) segments: Vec<Vec<Option<f64>>>,
}

/// In how many stretches the searched years are cut.
pub(crate) const SEGMENTS: u32 = 8;

impl Surface {
    /// Those of a folder. Results may lie beside them, as compare.py has it.
    pub(crate) fn all(folder: &Path) -> Result<Vec<Self>, Box<dyn Error>> {
        let mut files: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
        files.retain(|file| file.path().extension().is_some_and(|end| end == "json"));
        files.sort_by_key(fs::DirEntry::file_name);
        let read = |file: &fs::DirEntry| Ok(serde_json::from_slice(&fs::read(file.path())?)?);
        files.iter().map(read).collect()
    }
}

/// A parameter: `low, low + step, ...`, `count` of them; or choices, by number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Axis {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) low: f64,
    pub(crate) step: f64,
    pub(crate) count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Int,
    Float,
    /// Which of the shares is traded.
    Share,
}

fn int(name: &str, low: i32, high: i32, step: i32) -> Axis {
    float(name, low.into(), high.into(), step.into(), Kind::Int)
}

fn real(name: &str, low: f64, high: f64, step: f64) -> Axis {
    float(name, low, high, step, Kind::Float)
}

fn share(count: usize) -> Axis {
    Axis {
        name: "share".to_owned(),
        kind: Kind::Share,
        low: 0.0,
        step: 1.0,
        count,
    }
}

fn float(name: &str, low: f64, high: f64, step: f64, kind: Kind) -> Axis {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few dozen places"
    )]
    let count = ((high - low) / step).round() as usize + 1;
    Axis {
        name: name.to_owned(),
        kind,
        low,
        step,
        count,
    }
}

/// A strategy, the shares that it trades (as one book, or one of them where an axis says which; of
/// a pair strategy the stock and its partner), and its space.
type Plan = (
    &'static str,
    &'static str,
    &'static [&'static str],
    Vec<Axis>,
);

const BOOK: &[&str] = &[
    "600000.SH",
    "600036.SH",
    "600519.SH",
    "000002.SZ",
    "000651.SZ",
    "600030.SH",
    "600276.SH",
    "601318.SH",
];
const CHOICE: &[&str] = &[
    "600519.SH",
    "000858.SZ",
    "600036.SH",
    "600028.SH",
    "000725.SZ",
];

fn plans() -> Vec<Plan> {
    vec![
        (
            "averages of 600519",
            "moving_average",
            &["600519.SH"],
            vec![
                int("short_window", 2, 31, 1),
                int("long_window", 35, 200, 5),
                real("signal_threshold", 0.0, 0.03, 0.005),
            ],
        ),
        (
            "averages of eight",
            "moving_average",
            BOOK,
            vec![
                int("short_window", 2, 31, 1),
                int("long_window", 35, 200, 5),
                real("signal_threshold", 0.0, 0.02, 0.005),
            ],
        ),
        (
            "averages of one of five",
            "moving_average",
            CHOICE,
            vec![
                share(5),
                int("short_window", 2, 31, 1),
                int("long_window", 35, 200, 5),
            ],
        ),
        (
            "rsi of 600036",
            "rsi",
            &["600036.SH"],
            vec![
                int("rsi_period", 2, 40, 2),
                real("oversold_threshold", 10.0, 40.0, 2.0),
                real("overbought_threshold", 60.0, 90.0, 2.0),
            ],
        ),
        (
            "rsi of eight",
            "rsi",
            BOOK,
            vec![
                int("rsi_period", 2, 40, 2),
                real("oversold_threshold", 10.0, 40.0, 3.0),
                real("overbought_threshold", 60.0, 90.0, 3.0),
            ],
        ),
        (
            "macd of eight",
            "macd",
            BOOK,
            vec![
                int("fast_period", 5, 19, 1),
                int("slow_period", 20, 50, 2),
                int("signal_period", 3, 20, 1),
            ],
        ),
        (
            "bollinger of eight",
            "bollinger",
            BOOK,
            vec![int("period", 5, 50, 1), real("std_dev", 1.0, 3.0, 0.05)],
        ),
        (
            "bollinger of one of five",
            "bollinger",
            CHOICE,
            vec![
                share(5),
                int("period", 5, 50, 1),
                real("std_dev", 1.0, 3.0, 0.1),
            ],
        ),
        (
            "stochastic of 000651",
            "stochastic",
            &["000651.SZ"],
            vec![
                int("k_period", 5, 30, 1),
                int("d_period", 2, 10, 1),
                real("oversold", 10.0, 30.0, 4.0),
                real("overbought", 70.0, 90.0, 4.0),
            ],
        ),
        (
            "kdj of eight",
            "kdj",
            BOOK,
            vec![
                int("k_period", 5, 30, 1),
                int("d_period", 2, 10, 1),
                int("j_smooth", 2, 10, 1),
                real("oversold", 10.0, 30.0, 10.0),
            ],
        ),
        (
            "obv of eight",
            "obv",
            BOOK,
            vec![
                int("obv_ma_period", 5, 60, 1),
                real("signal_threshold", 0.0, 0.1, 0.002),
            ],
        ),
        (
            "pair of banks",
            "cointegration",
            &["601398.SH", "601939.SH"],
            vec![
                int("lookback_period", 30, 120, 5),
                real("entry_threshold", 1.0, 3.0, 0.2),
                real("exit_threshold", 0.1, 0.9, 0.1),
                int("half_life", 10, 60, 10),
            ],
        ),
    ]
}

/// Computes all surfaces into `folder`.
pub(crate) fn build(folder: &Path, words: &[String]) -> Result<(), Box<dyn Error>> {
    let data = option(words, "--data", "../shared/data")?;
    let day = |text: &str| text.parse::<NaiveDate>();
    let (first, last) = (day("2010-01-01")?, day("2016-12-31")?);
    let after = (day("2017-01-01")?, day("2021-09-30")?);
    fs::create_dir_all(folder)?;
    for (number, (name, strategy, shares, axes)) in plans().into_iter().enumerate() {
        let strategy = find(strategy).ok_or("no such strategy")?;
        let bars = |symbol: &&str| -> Result<Arc<BarSeries>, Box<dyn Error>> {
            let path = Path::new(&data).join(format!("ashare_daily/{symbol}.csv.gz"));
            let read = trialmill_ingest::read_file(&path)?;
            Ok(Arc::new(read.series.into_iter().next().ok_or("no bars")?))
        };
        let series = shares.iter().map(bars).collect::<Result<Vec<_>, _>>()?;
        let values = worth(strategy, &series, &axes, (first, last))?;
        let later = worth(strategy, &series, &axes, after)?;
        let segments = stretches(first, last)
            .map(|days| worth(strategy, &series, &axes, days))
            .collect::<Result<_, _>>()?;
        let known = values.iter().flatten();
        let best = known.clone().copied().fold(f64::NEG_INFINITY, f64::max);
        println!(
            "{name}: {} points, {} with a value, best {best:.3}",
            values.len(),
            known.count()
        );
        let surface = Surface {
            name: name.to_owned(),
            axes,
            values,
            later,
            segments,
        };
        let path = folder.join(format!("{number:02}.json"));
        fs::write(path, serde_json::to_vec(&surface)?)?;
    }
    Ok(())
}

/// [`SEGMENTS`] stretches of the days from `first` to `last`.
fn stretches(first: NaiveDate, last: NaiveDate) -> impl Iterator<Item = (NaiveDate, NaiveDate)> {
    let days = (last - first).num_days() + 1;
    let begin = move |part: i64| first + TimeDelta::days(days * part / i64::from(SEGMENTS));
    (0..i64::from(SEGMENTS)).map(move |part| (begin(part), begin(part + 1) - TimeDelta::days(1)))
}

/// The Sharpe ratio of every point over some days.
fn worth(
    strategy: &dyn Strategy,
    series: &[Arc<BarSeries>],
    axes: &[Axis],
    (first, last): (NaiveDate, NaiveDate),
) -> Result<Vec<Option<f64>>, Box<dyn Error>> {
    let prepared = |series: Vec<Arc<BarSeries>>| -> Result<Backtest, Box<dyn Error>> {
        let data = if strategy.info().legs == 2 {
            let name = |at: usize| series[at].symbol().to_owned();
            let pair = [(name(0), name(1))];
            Dataset::with_pairs(series.clone(), &pair, first, last)?
        } else {
            Dataset::new(series, first, last)?
        };
        Ok(Backtest::new(data, BacktestConfig::default())?)
    };
    let chooses = axes.iter().any(|axis| axis.kind == Kind::Share);
    let books = if chooses {
        let each = series.iter().map(|one| prepared(vec![Arc::clone(one)]));
        each.collect::<Result<Vec<_>, _>>()?
    } else {
        vec![prepared(series.to_vec())?]
    };
    let points: usize = axes.iter().map(|axis| axis.count).product();
    let at = |point: usize| -> Result<Option<f64>, Box<dyn Error>> {
        let (mut rest, mut book, mut params) = (point, 0, Params::new());
        for axis in axes.iter().rev() {
            let place = rest % axis.count;
            rest /= axis.count;
            let value = axis.low + place as f64 * axis.step;
            match axis.kind {
                Kind::Share => book = place,
                Kind::Int | Kind::Float => params = params.with(&axis.name, value),
            }
        }
        let report = books[book].trial(strategy, &params, &|| false)?;
        Ok(Metric::SharpeRatio.value(&report).ok())
    };
    (0..points).map(at).collect()
}
