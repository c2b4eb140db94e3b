//! Laws of the check over arbitrary documents.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use trialmill_common::draft::{
    MarketView, Surroundings, check_optimization, check_task, parse_body, request_schema, symbols,
};
use trialmill_common::spec::TaskSpec;
use trialmill_search::MAX_EXPRESSION_CHARS;

/// Any JSON value, with numbers and texts that tend to be trouble.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![0.0, -0.0, 1e300, 5e-324, 0.1, 9_007_199_254_740_993.0])
            .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "int",
            "float",
            "categorical",
            "sphere",
            "moving_average",
            "client",
            "median",
            "grid",
            "value",
            "sharpe",
            "2020-01-01",
            "n_trades >= 1",
            "n_trades >=",
            "\u{0}",
            "é >= 1",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(field(), inner, 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// A name that means something somewhere, or any other.
fn field() -> impl Strategy<Value = String> {
    let mut names: Vec<String> = request_schema()["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    for name in [
        "type",
        "low",
        "high",
        "step",
        "log",
        "choices",
        "default",
        "enabled",
        "when",
        "name",
        "objective_metric",
        "direction",
        "method",
        "target",
        "fill",
        "x",
        "short_window",
        "optimization_config",
        "task_type",
    ] {
        names.push(name.to_owned());
    }
    prop_oneof![4 => prop::sample::select(names), 1 => ".{0,8}"]
}

/// A parameter that is often sound.
fn parameter() -> impl Strategy<Value = Value> {
    let number = || {
        prop_oneof![
            (-50_i32..50).prop_map(Value::from),
            (-9.0..9.0).prop_map(Value::from)
        ]
    };
    prop_oneof![
        (number(), number(), number(), any::<bool>()).prop_map(|(low, high, default, log)| {
            json!({"type": "float", "low": low, "high": high, "default": default, "log": log})
        }),
        (-50_i64..50, 0_i64..40, 1_i64..5, any::<bool>()).prop_map(
            |(low, width, step, enabled)| {
                json!({
                    "type": "int", "low": low, "high": low + width, "step": step, "default": low,
                    "enabled": enabled,
                })
            }
        ),
        prop::collection::vec(any_json(), 1..4)
            .prop_map(|choices| json!({"type": "categorical", "choices": choices})),
        prop::collection::vec("[a-z]{1,4}", 1..4)
            .prop_map(|choices| json!({"type": "categorical", "choices": choices})),
    ]
}

/// A sphere request that is often sound.
fn likely_request() -> impl Strategy<Value = Value> {
    let space = prop::collection::btree_map("[a-z]{1,3}", parameter(), 1..4);
    let method = prop::sample::select(vec!["random", "grid", "auto"]);
    (
        space,
        method,
        1_u32..2_000,
        any::<u32>(),
        0.0..1e6,
        prop::option::of(1_u32..9),
    )
        .prop_map(|(space, method, n_trials, seed, cash, parallelism)| {
            json!({
                "task_name": "x", "strategy_name": "sphere", "stock_codes": [],
                "start_date": "2020-01-01", "end_date": "2021-01-01",
                "param_space": space.into_iter().collect::<Map<_, _>>(),
                "objective_config": {"objective_metric": "value"},
                "optimization_method": method, "n_trials": n_trials, "seed": seed,
                "parallelism": parallelism,
                "backtest_config": {"initial_cash": cash + 1.0},
                "result_constraints": [format!("value <= {cash}")],
            })
        })
}

const OF_X: [&str; 5] = [
    "x<9e15 ",
    "-x<=8e15 ",
    "x not in[1e15,2e15,3e15]",
    "not x in[9e15,8e15,-3]",
    "abs(x)<=7e14 ",
];
const OF_BOTH: [&str; 5] = [
    "y<9e15 ",
    "min(x,y)>-8e15 ",
    "9e15-(y-d)<1e15 ",
    "y not in[1e15,2e15,3e15,4e15]",
    "(x<y)!=(y<1)",
];
const OF_VALUE: [&str; 4] = [
    "value<9e15 ",
    "not value>=8e15 ",
    "value in[1e15,2e15,3e15,4e15]",
    "value*2<1e15 ",
];

/// Conditions, written without spaces and with numbers whose canonical text is
/// longer, up to the most nodes of an expression.
fn terse(atoms: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(atoms), 1..most).prop_map(|atoms| atoms.join("or "))
}

/// A request of a client that is often sound.
fn client_request() -> impl Strategy<Value = Value> {
    let space = prop::collection::btree_map("[a-z]{1,3}", parameter(), 1..4);
    let method = prop::sample::select(vec!["random", "tpe", "auto"]);
    let pruner = prop::sample::select(vec![
        json!("none"),
        json!("asha"),
        json!({"name": "threshold", "lower": -0.1, "upper": 0.30000000000000004}),
        json!({"name": "patient", "patience": 3, "wrapped": "median"}),
    ]);
    let direction = prop::sample::select(vec!["maximize", "minimize"]);
    (space, method, pruner, direction).prop_map(|(space, method, pruner, direction)| {
        json!({
            "task_name": "x", "strategy_name": "client",
            "param_space": space.into_iter().collect::<Map<_, _>>(),
            "objective_config": {"objective_metric": "loss", "direction": direction},
            "optimization_method": method, "pruner": pruner,
            "result_constraints": ["megabytes <= 0.30000000000000004"],
        })
    })
}

/// A sphere request with conditions and constraints of every length.
fn conditional_request() -> impl Strategy<Value = Value> {
    let constraints = prop::collection::vec(terse(&OF_BOTH, 36), 1..4);
    let method = prop::sample::select(vec!["random", "sobol", "tpe", "gp", "cmaes", "nsga2"]);
    (terse(&OF_X, 36), constraints, terse(&OF_VALUE, 40), method).prop_map(
        |(when, constraints, result, method)| {
            json!({
                "task_name": "x", "strategy_name": "sphere", "stock_codes": [],
                "start_date": "2020-01-01", "end_date": "2021-01-01",
                "param_space": {
                    "x": {"type": "float", "low": -5, "high": 5},
                    "y": {"type": "int", "low": 0, "high": 9, "when": when},
                    "d": {"type": "int", "low": 0, "high": 9, "default": 3, "enabled": false},
                },
                "constraints": constraints,
                "objective_config": {"objective_metric": "value"},
                "optimization_method": method,
                "result_constraints": [result],
            })
        },
    )
}

fn check_both(body: &Value) -> Vec<Result<trialmill_common::draft::Accepted, usize>> {
    let (market, announced) = (MarketView::default(), BTreeSet::new());
    let around = Surroundings {
        market: &market,
        announced: &announced,
        live_slots: 1,
        drawn_seed: 3,
    };
    [check_optimization(body, &around), check_task(body, &around)]
        .into_iter()
        .map(|result| result.map_err(|faults| faults.len()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn an_arbitrary_document_is_answered_and_a_refusal_has_a_fault(body in any_json()) {
        let _ = symbols(&body);
        for result in check_both(&body) {
            prop_assert!(result != Err(0));
        }
    }

    #[test]
    fn one_place_of_a_sound_request_may_hold_anything(
        body in prop_oneof![likely_request(), client_request()],
        name in field(),
        value in any_json(),
        inner in field(),
    ) {
        let mut shallow = body.clone();
        shallow[name.as_str()] = value.clone();
        let mut deep = body;
        if let Some(Value::Object(fields)) = deep.get_mut(name.as_str()) {
            fields.insert(inner, value);
        }
        for result in [check_both(&shallow), check_both(&deep)].concat() {
            prop_assert!(result != Err(0));
        }
    }

    #[test]
    fn an_accepted_task_survives_its_stored_form_bit_for_bit(
        body in prop_oneof![likely_request(), client_request()],
    ) {
        if let Ok(accepted) = &check_both(&body)[0] {
            let text = accepted.spec.to_json().to_string();
            let stored: Value = serde_json::from_str(&text).unwrap();
            let back = TaskSpec::from_json(&stored).unwrap();
            prop_assert_eq!(Some(&back), accepted.spec.as_search());
            prop_assert_eq!(back.to_json().to_string(), text);
            prop_assert!(accepted.planned >= 1 && accepted.planned <= back.n_trials);
        }
    }

    #[test]
    fn an_accepted_task_is_read_back_however_long_its_canonical_conditions_are(
        body in conditional_request(),
    ) {
        if let Ok(accepted) = &check_both(&body)[0] {
            let text = accepted.spec.to_json().to_string();
            let back = TaskSpec::from_json(&serde_json::from_str(&text).unwrap());
            prop_assert_eq!(back.as_ref().ok(), accepted.spec.as_search(), "{:?}", back);
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused_as_serde_json_would(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            "[\\[\\]{}:,\"a0-9.eE+ -]{0,24}".prop_map(String::into_bytes),
            any_json().prop_map(|value| value.to_string().into_bytes()),
        ]
    ) {
        match parse_body(&bytes) {
            Ok(value) => prop_assert_eq!(value, serde_json::from_slice::<Value>(&bytes).unwrap()),
            Err(faults) => {
                prop_assert_eq!(faults.len(), 1);
                let twice = faults[0].detail.contains("given twice");
                prop_assert!(twice || serde_json::from_slice::<Value>(&bytes).is_err());
            }
        }
    }
}

#[test]
fn the_likely_requests_are_often_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let request = likely_request();
    let accepted = (0..300)
        .filter(|_| check_both(&request.new_tree(&mut runner).unwrap().current())[0].is_ok())
        .count();
    assert!(accepted > 30, "{accepted} of 300 test too little");

    let request = client_request();
    let accepted = (0..300)
        .filter(|_| check_both(&request.new_tree(&mut runner).unwrap().current())[0].is_ok())
        .count();
    assert!(accepted > 30, "{accepted} of 300 test too little");

    let request = conditional_request();
    let drawn = (0..100).map(|_| request.new_tree(&mut runner).unwrap().current());
    let accepted: Vec<Value> = drawn
        .filter_map(|body| Some(check_both(&body).swap_remove(0).ok()?.spec.to_json()))
        .collect();
    let is_long = |text: &Value| text.as_str().unwrap().len() > MAX_EXPRESSION_CHARS;
    for long in ["/when/y", "/constraints/0", "/result_constraints/0"] {
        let count = accepted
            .iter()
            .filter(|spec| is_long(spec.pointer(long).unwrap()))
            .count();
        assert!(
            count > 3,
            "{count} of {} have a long {long}",
            accepted.len()
        );
    }
}
