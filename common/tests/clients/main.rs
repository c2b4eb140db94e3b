//! Searches whose trials are run by clients, and what came with them: what clients say, pruners, beginning
//! with the trials of earlier tasks, and the way from figures to what is recorded.

mod figures;
mod pruner;
mod said;
mod subject;
mod warm;

use chrono::NaiveDate;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use trialmill_common::draft::{Accepted, Coverage, MarketView, Surroundings, check_optimization};
use trialmill_common::fault::Fault;
use trialmill_common::spec::TaskSpec;
use trialmill_search::{Choice, Point};

fn day(y: i32, m: u32, d: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(y, m, d).unwrap()
}

type Check = fn(&Value, &Surroundings<'_>) -> Result<Accepted, Vec<Fault>>;

/// Checks a body where the bars of one symbol are stored.
fn check_with(body: &Value, live_slots: u32, check: Check) -> Result<Accepted, Vec<Fault>> {
    let coverage = Coverage {
        first: day(2003, 1, 2),
        last: day(2022, 12, 30),
        frequency: "1d".to_owned(),
        rows: 4_000,
        hash: [2; 32],
    };
    let market = MarketView {
        series: BTreeMap::from([("AAPL".to_owned(), coverage)]),
        reported: BTreeSet::new(),
    };
    let around = Surroundings {
        market: &market,
        announced: &BTreeSet::new(),
        live_slots,
        drawn_seed: 7,
    };
    check(body, &around)
}

/// An accepted search, with its spec at hand.
struct Search {
    spec: TaskSpec,
    accepted: Accepted,
}

impl Deref for Search {
    type Target = Accepted;

    fn deref(&self) -> &Accepted {
        &self.accepted
    }
}

fn search(accepted: Accepted) -> Search {
    let spec = accepted.spec.as_search().unwrap().clone();
    Search { spec, accepted }
}

fn accept(body: &Value) -> Search {
    let accepted = check_with(body, 2, check_optimization);
    search(accepted.unwrap_or_else(|faults| panic!("{faults:#?}")))
}

fn faults(body: &Value) -> Vec<Fault> {
    check_with(body, 2, check_optimization).expect_err("the request has a fault")
}

/// The places and codes of all faults, in order; each counts.
fn told(faults: &[Fault]) -> Vec<(&str, &str)> {
    let mut told: Vec<_> = faults
        .iter()
        .map(|fault| (fault.pointer.as_str(), fault.code.as_str()))
        .collect();
    told.sort_unstable();
    told
}

/// Fails unless these are the faults, each once.
fn assert_told(found: &[Fault], expected: &[(&str, &str)], what: &dyn std::fmt::Display) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(told(found), expected, "{what}: {found:#?}");
}

fn warned(accepted: &Accepted) -> Vec<(&str, &str)> {
    let warnings = accepted.warnings.iter();
    warnings
        .map(|warning| (warning.code.as_str(), warning.pointer.as_str()))
        .collect()
}

/// The body with one place set; a missing place is made.
fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let mut place = &mut body;
    for segment in pointer.trim_start_matches('/').split('/') {
        place = match place {
            Value::Array(list) => &mut list[segment.parse::<usize>().unwrap()],
            other => {
                if !other.is_object() {
                    *other = json!({});
                }
                let fields = other.as_object_mut().unwrap();
                fields.entry(segment).or_insert(Value::Null)
            }
        };
    }
    *place = value;
    body
}

/// A search whose trials clients run: nothing about symbols and days, and a metric of its own.
fn at_client() -> Value {
    json!({
        "task_name": "a net",
        "strategy_name": "client",
        "param_space": {"x": {"type": "float", "low": -5, "high": 5}},
        "objective_config": {"objective_metric": "loss", "direction": "minimize"},
        "optimization_method": "tpe",
    })
}

/// The same with two objectives, the second of which is to be large.
fn with_two() -> Value {
    let two = json!({"objective_metric": ["loss", "speed"], "direction": ["minimize", "maximize"]});
    with(at_client(), "/objective_config", two)
}

fn on_bars() -> Value {
    json!({
        "task_name": "averages",
        "strategy_name": "moving_average",
        "stock_codes": ["AAPL"],
        "start_date": "2013-01-01",
        "end_date": "2022-12-31",
        "param_space": {
            "short_window": {"type": "int", "low": 5, "high": 20},
            "long_window": {"type": "int", "low": 30, "high": 120},
        },
        "objective_config": {"objective_metric": "sharpe"},
        "optimization_method": "tpe",
    })
}

fn cross_validated() -> Value {
    let segments = json!({"method": "cross_validation", "segments": 4});
    with(on_bars(), "/validation", segments)
}

/// The point with these values.
fn point(spec: &TaskSpec, named: &[(&str, Choice)]) -> Point {
    let named = named
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    spec.space.point_from_named(&named.collect()).unwrap()
}
