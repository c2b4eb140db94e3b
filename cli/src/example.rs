//! The invented bars and the example request that `demo`, `data generate` and `init` share.

use crate::failure::Failure;
use chrono::NaiveDate;
use serde_json::{Value, json};
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::strategy::{self, ParamKind};
use trialmill_backtest::synthetic::{self, Kind};
use trialmill_common::spec;

/// Series invented when nobody says how many.
pub const SERIES: u32 = 4;
/// Seed of the prices when nobody gives one.
pub const PRICE_SEED: u64 = 7;
/// Seed of the search when nobody gives one.
pub const SEARCH_SEED: u64 = 42;
/// Largest seed of a search.
pub const MAX_SEED: u64 = spec::MAX_SEED;
/// The strategy of the example.
pub const STRATEGY: &str = "moving_average";

/// First invented day.
pub fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2013, 1, 4).expect("a day of the calendar")
}

/// Last invented day.
pub fn last_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2023, 12, 29).expect("a day of the calendar")
}

/// Where invented series come from, as the list of the data shows it.
pub fn source(seed: u64) -> String {
    format!("synthetic, seed {seed}")
}

/// Invents daily bars whose trends switch at random.
///
/// # Errors
/// When no business day lies within the dates, or they lie outside the accepted years.
pub fn invent(
    count: u32,
    from: NaiveDate,
    to: NaiveDate,
    seed: u64,
) -> Result<Vec<BarSeries>, Failure> {
    let accepted = (
        NaiveDate::from_ymd_opt(1800, 1, 1),
        NaiveDate::from_ymd_opt(2199, 12, 31),
    );
    if Some(from) < accepted.0 || Some(to) > accepted.1 {
        return Err(Failure::reason(format!(
            "{from} to {to} is not within 1800 to 2199"
        )));
    }
    (0..count as usize)
        .map(|index| synthetic::series(Kind::Trending, seed, index, from, to))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::reason(error.to_string()))
}

/// A request for a search over the windows of two moving averages. Its defaults are those of the
/// strategy, so that the first trial is the rule as it comes.
pub fn request(
    name: &str,
    symbols: &[String],
    from: NaiveDate,
    to: NaiveDate,
    n_trials: u32,
    seed: u64,
) -> Value {
    let info = strategy::find(STRATEGY)
        .expect("a built-in strategy")
        .info();
    let searched = info
        .parameters
        .iter()
        .filter(|parameter| parameter.kind == ParamKind::Int);
    let space: serde_json::Map<String, Value> = searched
        .map(|p| {
            let whole = |value: f64| format!("{value:.0}").parse::<i64>().unwrap_or_default();
            let (low, high, default) = (whole(p.min), whole(p.max), whole(p.default));
            (
                p.name.to_owned(),
                json!({"type": "int", "low": low, "high": high, "default": default}),
            )
        })
        .collect();
    json!({
        "task_name": name,
        "strategy_name": STRATEGY,
        "stock_codes": symbols,
        "start_date": from,
        "end_date": to,
        "param_space": space,
        "objective_config": {"objective_metric": "sharpe_ratio"},
        "n_trials": n_trials,
        "optimization_method": "auto",
        "seed": seed,
    })
}
