//! What Optuna gave, as the files in `tests/` hold it.

use serde_json::Value;

use crate::{Choice, Domain};

/// The cases under a title of such a file, at least one.
pub(crate) fn cases(file: &str, title: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(file).unwrap();
    let cases = all[title].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

/// A domain as such a file writes it.
pub(crate) fn domain(spec: &Value) -> Domain {
    let log = spec["log"].as_bool().unwrap_or(false);
    match spec["kind"].as_str().unwrap() {
        "float" => Domain::Float {
            low: spec["low"].as_f64().unwrap(),
            high: spec["high"].as_f64().unwrap(),
            step: spec["step"].as_f64(),
            log,
        },
        "int" => Domain::Int {
            low: spec["low"].as_i64().unwrap(),
            high: spec["high"].as_i64().unwrap(),
            step: spec["step"].as_i64().unwrap_or(1),
            log,
        },
        _ => Domain::Categorical {
            choices: (0..spec["choices"].as_i64().unwrap())
                .map(Choice::Int)
                .collect(),
        },
    }
}
