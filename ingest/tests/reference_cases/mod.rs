//! What the cases of the reference files have in common.

use super::shared::shared;
use chrono::NaiveDate;
use serde_json::Value;
use trialmill_backtest::bars::{BarSeries, midnight};
use trialmill_ingest::read_file;

/// A reference file, or `None` and a printed message.
pub fn reference(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(shared(&format!("reference/{name}"))?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

pub fn date(value: &Value) -> NaiveDate {
    value.as_str().unwrap().parse().unwrap()
}

/// The rows of a case: cut to its dates first, so that nothing is left to warm up with.
pub fn cut(case: &Value) -> BarSeries {
    let path = shared(&format!("data/{}", case["data"].as_str().unwrap())).unwrap();
    let series = read_file(&path).unwrap().series.remove(0);
    let rows = series.rows_between(
        midnight(date(&case["first"])),
        midnight(date(&case["last"])),
    );
    series.slice(rows).unwrap()
}

#[track_caller]
pub fn within_1e_9(got: f64, wanted: &Value, what: &str) {
    let wanted = wanted.as_f64().unwrap();
    let gap = (got - wanted).abs() / wanted.abs().max(f64::MIN_POSITIVE);
    assert!(
        gap <= 1e-9,
        "{what}: {got:?} instead of {wanted:?}, relative gap {gap:e}"
    );
}
