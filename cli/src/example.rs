//! The invented bars that `demo` and `data generate` share, the request of the demo, and that of
//! `init`.

use crate::failure::Failure;
use chrono::NaiveDate;
use serde::Serialize;
use serde_json::{Value, json};
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::synthetic::{self, GROUP_SYMBOL, GroupKind, Kind};
use trialmill_common::spec;

/// Series invented when nobody says how many.
pub const SERIES: u32 = 4;
/// Seed of the prices when nobody gives one.
pub const PRICE_SEED: u64 = 7;
/// Seed of the search when nobody gives one.
pub const SEARCH_SEED: u64 = 42;
/// Largest seed of a search.
pub const MAX_SEED: u64 = spec::MAX_SEED;
/// The strategy of the example of `init`.
pub const STRATEGY: &str = "moving_average";
/// Trials of a walk-forward of the demo.
pub const WALK_TRIALS: u32 = 1_800;
/// Trials of the demo when nobody says how many.
pub const DEMO_TRIALS: u32 = 10;

/// First invented day.
pub fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2013, 1, 4).expect("a day of the calendar")
}

/// Last invented day.
pub fn last_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2023, 12, 29).expect("a day of the calendar")
}

/// The symbols of the series that are invented when nobody says how many.
pub fn symbols() -> Vec<String> {
    let others = (1..SERIES as usize).map(synthetic::symbol);
    std::iter::once(GROUP_SYMBOL.to_owned())
        .chain(others)
        .collect()
}

/// Where invented series come from, as the list of the data shows it.
pub fn source(seed: u64) -> String {
    format!("synthetic, seed {seed}")
}

/// Invents daily bars: 000001.SZ, SYN01.SZ which stays with it, and others that go their own ways.
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
    synthetic::group(GroupKind::Cointegrated, seed, count as usize, from, to)
        .map_err(|error| Failure::reason(error.to_string()))
}

/// The bars of the demo: a pair with an edge built in, and others.
///
/// # Errors
/// As [`invent`].
pub fn invent_all(seed: u64) -> Result<Vec<BarSeries>, Failure> {
    invent(SERIES, first_day(), last_day(), seed)
}

/// The first of the series that walk at random, as [`synthetic::symbol`] names them: no symbol of the demo,
/// so that nothing that was tried on those counts as tried on these.
const FIRST_WALK: usize = 12;

/// Two series whose prices walk at random: nothing to find.
///
/// # Errors
/// As [`invent`].
pub fn invent_walks(seed: u64) -> Result<Vec<BarSeries>, Failure> {
    let walk = |index| {
        synthetic::series(Kind::RandomWalk, seed, index, first_day(), last_day())
            .map_err(|error| Failure::reason(error.to_string()))
    };
    (FIRST_WALK..FIRST_WALK + 2).map(walk).collect()
}

/// A request as it is printed: the fields in the order of the contract.
#[derive(Debug, Serialize)]
pub struct Request {
    task_name: String,
    strategy_name: &'static str,
    stock_codes: Vec<String>,
    start_date: NaiveDate,
    end_date: NaiveDate,
    param_space: Space,
    constraints: [&'static str; 1],
    objective_config: Objective,
    n_trials: u32,
    optimization_method: &'static str,
    seed: u64,
}

/// The searched parameters.
#[derive(Debug, Serialize)]
struct Space {
    short_window: Parameter<u32>,
    long_window: Parameter<u32>,
    signal_threshold: Parameter<f64>,
}

#[derive(Debug, Serialize)]
struct Parameter<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    low: T,
    high: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<T>,
    default: T,
}

#[derive(Debug, Serialize)]
struct Objective {
    objective_metric: &'static str,
}

/// A request for a search over the windows and the threshold of two moving averages. The defaults
/// are those of the strategy, so that the first trial is the rule as it comes.
pub fn request(
    name: &str,
    symbols: &[String],
    from: NaiveDate,
    to: NaiveDate,
    n_trials: u32,
    seed: u64,
) -> Request {
    let whole = |low, high, default| Parameter {
        kind: "int",
        low,
        high,
        step: None,
        default,
    };
    let threshold = Parameter {
        kind: "float",
        low: 0.0,
        high: 0.02,
        step: Some(0.001),
        default: 0.005,
    };
    Request {
        task_name: name.to_owned(),
        strategy_name: STRATEGY,
        stock_codes: symbols.to_vec(),
        start_date: from,
        end_date: to,
        param_space: Space {
            short_window: whole(2, 50, 5),
            long_window: whole(5, 200, 20),
            signal_threshold: threshold,
        },
        constraints: ["short_window < long_window"],
        objective_config: Objective {
            objective_metric: "sharpe_ratio",
        },
        n_trials,
        optimization_method: "auto",
        seed,
    }
}

/// The request of the demo, in the form in which such requests are posted: a pair whose partner is
/// left to the service. One unit at a time, so that the same seed gives the same trials.
pub fn demo_request(n_trials: u32, seed: u64) -> Value {
    json!({
        "task_name": "测试超参优化",
        "strategy_name": "cointegration",
        "stock_codes": [GROUP_SYMBOL],
        "start_date": "2023-01-01T00:00:00",
        "end_date": "2023-12-31T00:00:00",
        "param_space": {
            "lookback_period": {"type": "int", "low": 30, "high": 120, "step": 5, "default": 60},
            "entry_threshold": {
                "type": "float", "low": 1.0, "high": 3.0, "step": 0.1, "default": 2.0
            },
            "exit_threshold": {
                "type": "float", "low": 0.1, "high": 1.5, "step": 0.1, "default": 0.5
            },
            "half_life": {"type": "int", "low": 10, "high": 50, "default": 20},
        },
        "constraints": ["exit_threshold <= entry_threshold - 0.5", "half_life < lookback_period"],
        "objective_config": {"objective_metric": "sharpe_ratio", "direction": "maximize"},
        "n_trials": n_trials,
        "optimization_method": "auto",
        "parallelism": 1,
        "seed": seed,
    })
}

/// The rule of [`demo_request`] over ten years, walk-forward: what later acts of the demo search, the third
/// on the series that walk at random. The partner is named: on those the service could choose any.
pub fn walk_forward_request(seed: u64, is_random_walk: bool) -> Value {
    let mut request = demo_request(WALK_TRIALS, seed);
    let mut partner = synthetic::symbol(1);
    if is_random_walk {
        request["stock_codes"] = json!([synthetic::symbol(FIRST_WALK)]);
        partner = synthetic::symbol(FIRST_WALK + 1);
    }
    request["task_name"] = "ten years, walk-forward".into();
    request["start_date"] = "2014-01-01".into();
    request["end_date"] = "2023-12-31".into();
    request["validation"] = json!({
        "method": "walk_forward", "train": "36mo", "test": "12mo", "embargo": "5d",
        "holdout": "12mo",
    });
    request["backtest_config"] = json!({"partners": [partner], "market": "plain"});
    request["optimization_method"] = "tpe".into();
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use trialmill_backtest::strategy;

    #[test]
    fn the_example_searches_every_parameter_and_starts_at_its_default() {
        let request = request("x", &[], first_day(), last_day(), 1, 1);
        let request = serde_json::to_value(request).unwrap();
        let parameters = strategy::find(STRATEGY).unwrap().info().parameters;
        assert_eq!(
            request["param_space"].as_object().unwrap().len(),
            parameters.len()
        );
        for parameter in parameters {
            let searched = &request["param_space"][parameter.name];
            assert_eq!(
                searched["default"].as_f64(),
                Some(parameter.default),
                "{}",
                parameter.name
            );
            assert!(
                searched["low"].as_f64() >= Some(parameter.min),
                "{}",
                parameter.name
            );
            assert!(
                searched["high"].as_f64() <= Some(parameter.max),
                "{}",
                parameter.name
            );
        }
    }
}
