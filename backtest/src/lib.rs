//! Bars, indicators, strategies, the backtest engine and its metrics: pure, no I/O.
//!
//! Nothing here reads a clock, a file or the environment, and every function gives the same bits
//! for the same arguments on every machine: transcendental functions come from `libm`, sums are
//! formed in a fixed order.
//!
//! ```
//! use chrono::NaiveDate;
//! use std::sync::Arc;
//! use trialmill_backtest::engine::{BacktestConfig, Dataset, run};
//! use trialmill_backtest::metrics::Metric;
//! use trialmill_backtest::strategy::{self, Params};
//! use trialmill_backtest::synthetic::{Kind, series};
//!
//! let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a date of the calendar");
//! let bars = series(Kind::Trending, 7, 0, day(2019, 1, 1), day(2022, 12, 31))?;
//! let data = Dataset::new(vec![Arc::new(bars)], day(2020, 1, 1), day(2022, 12, 31))?;
//! let rule = strategy::find("moving_average").expect("a built-in strategy");
//! let params = Params::new().with("short_window", 10).with("long_window", 40);
//! let report = run(&data, rule, &params, &BacktestConfig::default(), &|| false)?;
//! assert!(Metric::SharpeRatio.value(&report)?.is_finite());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bars;
pub mod cointegration;
pub mod config;
pub mod dataset;
pub mod engine;
pub mod idle;
pub mod indicator;
pub mod market;
pub mod metrics;
pub mod moves;
mod normal;
pub mod partner;
pub mod result;
pub mod strategy;
mod sum;
pub mod synthetic;
pub mod trust;
