//! The body of a retry, a clone or an extension: what the new task has otherwise than its origin.

use super::MAX_TASK_NAME_CHARS;
use super::findings::Findings;
use super::node::Node;
use crate::fault::Fault;
use crate::spec::{MAX_SEED, MAX_TRIALS, Spec};
use crate::state::OriginHow;
use serde_json::{Value, json};

/// What a task has otherwise than the one that it is made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Another name.
    pub task_name: Option<String>,
    /// Another seed (a clone of a search).
    pub seed: Option<u64>,
    /// More trials in all (an extension).
    pub n_trials: Option<u32>,
}

/// The fields that a body may have.
fn fields(how: OriginHow) -> &'static [&'static str] {
    match how {
        OriginHow::Retry => &["task_name"],
        OriginHow::Clone => &["task_name", "seed"],
        OriginHow::Extend => &["task_name", "n_trials"],
    }
}

/// Checks the body of a request that makes a task from `origin`.
///
/// ```
/// use serde_json::json;
/// use trialmill_common::draft::check_changes;
/// # use trialmill_common::draft::{MarketView, Surroundings, check_optimization};
/// use trialmill_common::state::OriginHow;
///
/// # let request = json!({"task_name": "a", "strategy_name": "sphere", "stock_codes": [],
/// #     "start_date": "2023-01-01", "end_date": "2023-12-31", "n_trials": 50,
/// #     "param_space": {"x": {"type": "float", "low": -5, "high": 5}},
/// #     "objective_config": {"objective_metric": "value"}});
/// # let around = Surroundings { market: &MarketView::default(), announced: &Default::default(),
/// #     live_slots: 2, drawn_seed: 7 };
/// # let origin = check_optimization(&request, &around).unwrap().spec;
/// let longer = check_changes(&json!({"n_trials": 80}), OriginHow::Extend, &origin).unwrap();
/// assert_eq!(longer.n_trials, Some(80));
/// let faults = check_changes(&json!({"n_trials": 50}), OriginHow::Extend, &origin).unwrap_err();
/// assert_eq!(faults[0].pointer, "/n_trials");
/// ```
///
/// # Errors
/// Every fault of the body.
pub fn check_changes(body: &Value, how: OriginHow, origin: &Spec) -> Result<Changes, Vec<Fault>> {
    let mut findings = Findings::default();
    let found = &mut findings;
    let mut changes = Changes::default();
    if let Some(object) = Node::root(body).object(fields(how), found) {
        let name = object.field("task_name").text(MAX_TASK_NAME_CHARS, found);
        changes.task_name = name.map(str::to_owned);
        match how {
            OriginHow::Retry => {}
            OriginHow::Clone => {
                let seed = object.field("seed");
                if seed.value.is_some() && origin.as_search().is_none() {
                    let detail = "a backtest draws nothing, so it has no seed; leave it out";
                    found.fault(seed.fault("not_for_a_backtest", detail));
                } else {
                    let seed = seed.whole(0, MAX_SEED.cast_signed(), found);
                    changes.seed = seed.map(i64::cast_unsigned);
                }
            }
            OriginHow::Extend => {
                let more = origin.as_search().map_or(1, |search| search.n_trials) + 1;
                let node = object.field("n_trials").required(found);
                if more > MAX_TRIALS {
                    let detail = format!(
                        "the task has {MAX_TRIALS} trials already, which is the most there may be"
                    );
                    found.fault(node.fault("out_of_range", detail).limit(MAX_TRIALS));
                } else {
                    let total = node.whole(more.into(), MAX_TRIALS.into(), found);
                    changes.n_trials =
                        total.map(|n| u32::try_from(n).expect("its range was checked"));
                }
            }
        }
    }
    findings.close().map(|_| changes)
}

/// The JSON schema of that body.
#[must_use]
pub fn changes_schema(how: OriginHow) -> Value {
    let mut properties = serde_json::Map::new();
    for field in fields(how) {
        let schema = match *field {
            "task_name" => json!({
                "type": ["string", "null"], "minLength": 1, "maxLength": MAX_TASK_NAME_CHARS,
                "default": null, "description": "another name; that of the origin when absent",
            }),
            "seed" => json!({
                "type": ["integer", "null"], "minimum": 0, "maximum": MAX_SEED, "default": null,
                "description": "another seed; that of the origin when absent. Not for a backtest",
            }),
            _ => json!({
                "type": "integer", "minimum": 2, "maximum": MAX_TRIALS,
                "description": "trials in all, the copied ones included: more than the origin's",
            }),
        };
        properties.insert((*field).to_owned(), schema);
    }
    let required: &[&str] = match how {
        OriginHow::Retry | OriginHow::Clone => &[],
        OriginHow::Extend => &["n_trials"],
    };
    json!({
        "type": "object", "additionalProperties": false, "required": required,
        "properties": properties,
    })
}

/// Where the fields of a request may stand.
const PLACES: [&str; 4] = [
    "",
    "/config",
    "/optimization_config",
    "/config/optimization_config",
];

/// Whether a request that was accepted has several objectives.
///
/// ```
/// use serde_json::json;
/// use trialmill_common::draft::has_several_objectives;
///
/// let with = |metric| json!({"config": {"objective_config": {"objective_metric": metric}}});
/// assert!(has_several_objectives(&with(json!(["sharpe_ratio", "max_drawdown"]))));
/// assert!(!has_several_objectives(&with(json!(["sharpe_ratio"]))));
/// assert!(!has_several_objectives(&with(json!("sharpe_ratio"))));
/// ```
#[must_use]
pub fn has_several_objectives(request: &Value) -> bool {
    let places = PLACES.iter().filter_map(|place| request.pointer(place));
    let metrics = places.filter_map(|at| at["objective_config"]["objective_metric"].as_array());
    metrics.into_iter().any(|metrics| metrics.len() > 1)
}

/// The request of a task with another value of a field: where it stood, in whatever form, else at
/// the top.
#[must_use]
pub fn with_field(mut request: Value, name: &str, value: Value) -> Value {
    let has = |place: &&str| request.pointer(place).is_some_and(|at| !at[name].is_null());
    let place = PLACES.into_iter().find(has).unwrap_or("");
    if let Some(Value::Object(fields)) = request.pointer_mut(place) {
        fields.insert(name.to_owned(), value);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_changed_where_it_stood() {
        let nested = json!({"task_name": "a", "config": {"optimization_config": {"n_trials": 5}}});
        let longer = with_field(nested, "n_trials", json!(9));
        assert_eq!(longer["config"]["optimization_config"]["n_trials"], 9);
        assert!(longer["n_trials"].is_null());
        let renamed = with_field(longer, "seed", json!(3));
        assert_eq!(renamed["seed"], 3);
    }
}
