//! Requests, good and bad: what is accepted, and every fault of what is not.

use chrono::NaiveDate;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use trialmill_backtest::config::Market;
use trialmill_backtest::metrics::Metric;
use trialmill_common::draft::{
    Accepted, Coverage, DEFAULT_TRIALS, MAX_FAULTS, MAX_PERIOD_DAYS, MIN_PERIOD_DAYS, MarketView,
    Surroundings, check_changes, check_optimization, check_task, check_validation, parse_body,
    request_schema, symbols, task_request_schema,
};
use trialmill_common::fault::Fault;
use trialmill_common::protocol::{Aim, StopRules};
use trialmill_common::spec::{MAX_SEED, RunSpec, Target, TaskSpec, Weight};
use trialmill_common::state::{Direction, OriginHow, Priority, TaskKind};
use trialmill_common::validation::Validation;
use trialmill_search::{Choice, MAX_PARAMETERS, Method};

fn day(y: i32, m: u32, d: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(y, m, d).unwrap()
}

/// Two symbols with twenty years of bars and one that was listed late.
fn market() -> MarketView {
    let coverage = |first, hash| Coverage {
        first,
        last: day(2022, 12, 30),
        frequency: "1d".to_owned(),
        rows: 4_000,
        hash,
    };
    MarketView {
        series: BTreeMap::from([
            ("600000.SH".to_owned(), coverage(day(2003, 1, 2), [1; 32])),
            ("AAPL".to_owned(), coverage(day(2003, 1, 2), [2; 32])),
            ("^GSPC".to_owned(), coverage(day(2003, 1, 2), [4; 32])),
            ("300750.SZ".to_owned(), coverage(day(2018, 6, 11), [3; 32])),
        ]),
        reported: BTreeSet::from(["600000.SH".to_owned(), "AAPL".to_owned()]),
    }
}

fn check_with(
    body: &Value,
    live_slots: u32,
    check: fn(&Value, &Surroundings<'_>) -> Result<Accepted, Vec<Fault>>,
) -> Result<Accepted, Vec<Fault>> {
    let (market, announced) = (market(), BTreeSet::from(["golden_goose".to_owned()]));
    let around = Surroundings {
        market: &market,
        announced: &announced,
        live_slots,
        drawn_seed: u64::MAX,
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

fn accept(body: &Value) -> Search {
    let accepted = check_with(body, 2, check_optimization);
    let accepted = accepted.unwrap_or_else(|faults| panic!("{faults:#?}"));
    let spec = accepted.spec.as_search().unwrap().clone();
    Search { spec, accepted }
}

fn faults(body: &Value) -> Vec<Fault> {
    check_with(body, 2, check_optimization).expect_err("the request has a fault")
}

fn told(faults: &[Fault]) -> BTreeSet<(String, String)> {
    faults
        .iter()
        .map(|fault| (fault.pointer.clone(), fault.code.clone()))
        .collect()
}

fn expected(list: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    list.iter()
        .map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned()))
        .collect()
}

fn warned(accepted: &Accepted) -> Vec<(&str, &str)> {
    accepted
        .warnings
        .iter()
        .map(|w| (w.code.as_str(), w.pointer.as_str()))
        .collect()
}

fn on_bars() -> Value {
    json!({
        "task_name": "测试超参优化",
        "strategy_name": "moving_average",
        "stock_codes": ["AAPL"],
        "start_date": "2013-01-01",
        "end_date": "2022-12-31",
        "param_space": {
            "short_window": {"type": "int", "low": 5.0, "high": 20.0, "default": 5.0, "log": false},
            "long_window": {"type": "int", "low": 30, "high": 120, "step": 5, "default": 60},
        },
        "objective_config": {"objective_metric": "sharpe"},
        "optimization_method": "random",
        "seed": 42,
    })
}

fn on_sphere() -> Value {
    json!({
        "task_name": "a sphere",
        "strategy_name": "sphere",
        "stock_codes": [],
        "start_date": "2023-01-01",
        "end_date": "2023-01-01",
        "param_space": {"x": {"type": "float", "low": -5, "high": 5}},
        "objective_config": {"objective_metric": "value"},
        "optimization_method": "random",
    })
}

/// The result constraints as they are written.
fn constraints(spec: &TaskSpec) -> Vec<String> {
    let constraints = spec.result_constraints.iter();
    constraints.map(ToString::to_string).collect()
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
                other
                    .as_object_mut()
                    .unwrap()
                    .entry(segment)
                    .or_insert(Value::Null)
            }
        };
    }
    *place = value;
    body
}

fn without(mut body: Value, field: &str) -> Value {
    body.as_object_mut().unwrap().remove(field);
    body
}

#[test]
fn a_plain_request_becomes_the_task_it_describes() {
    let accepted = accept(&on_bars());
    let spec = &accepted.spec;
    assert_eq!(spec.task_name, "测试超参优化");
    assert_eq!(
        (spec.start_date, spec.end_date),
        (day(2013, 1, 1), day(2022, 12, 31))
    );
    assert_eq!(
        (spec.n_trials, accepted.planned),
        (DEFAULT_TRIALS, DEFAULT_TRIALS)
    );
    assert_eq!(
        (spec.method, spec.seed, spec.parallelism),
        (Method::Random, 42, None)
    );
    assert_eq!((spec.timeout, spec.trial_timeout), (None, 300.0));
    assert_eq!(spec.objectives[0].metric, "sharpe_ratio");
    assert_eq!(spec.objectives[0].direction, Direction::Maximize);
    assert_eq!(constraints(spec), ["n_trades >= 1"]);
    let first: BTreeMap<_, _> = spec.space.named(&spec.first_points[0]).collect();
    assert_eq!(
        first,
        BTreeMap::from([
            ("long_window", Choice::Int(60)),
            ("short_window", Choice::Int(5))
        ])
    );
    assert_eq!(
        accepted.accepted.spec.kind(),
        TaskKind::HyperparameterOptimization
    );
    assert_eq!(accepted.resolved["default_trial"], 0);
    assert_eq!(
        (accepted.priority, accepted.not_before),
        (Priority::Normal, None)
    );
    assert_eq!(
        accepted.series,
        BTreeMap::from([("AAPL".to_owned(), [2; 32])])
    );
    assert_eq!(accepted.resolved["sampler"], "random");
    assert_eq!(accepted.resolved["reproducible"], true);
    assert_eq!(warned(&accepted), []);
    assert_eq!(TaskSpec::from_json(&spec.to_json()).unwrap(), *spec);
}

#[test]
fn each_single_fault_is_named_by_place_and_code() {
    let long = "x".repeat(300);
    let many: Map<String, Value> = (0..10_000)
        .map(|i| {
            (
                format!("p{i}"),
                json!({"type": "float", "low": 1, "high": 0}),
            )
        })
        .collect();
    let codes: Vec<String> = (0..1_001).map(|i| format!("S{i}")).collect();
    let cases: Vec<(&str, Value, &str)> = vec![
        // Texts.
        ("/task_name", json!(5), "wrong_type"),
        ("/task_name", json!(null), "required"),
        ("/task_name", json!(" "), "empty"),
        ("/task_name", json!(long), "too_long"),
        ("/task_name", json!("a\u{0}b"), "control_character"),
        ("/task_name", json!("a\nb"), "control_character"),
        ("/strategy_name", json!(["moving_average"]), "wrong_type"),
        (
            "/strategy_name",
            json!("golden_goose"),
            "strategy_not_in_this_build",
        ),
        (
            "/strategy_name",
            json!("moving_averages"),
            "unknown_strategy",
        ),
        // Symbols.
        ("/stock_codes", json!("AAPL"), "wrong_type"),
        ("/stock_codes", json!([]), "empty"),
        ("/stock_codes", json!(codes), "too_many"),
        ("/stock_codes/0", json!(600_000), "wrong_type"),
        ("/stock_codes/0", json!(null), "wrong_type"),
        ("/stock_codes/0", json!(""), "malformed_symbol"),
        ("/stock_codes/0", json!("AA\u{0}PL"), "malformed_symbol"),
        ("/stock_codes/0", json!("600001.SH"), "missing_market_data"),
        // Dates.
        ("/start_date", json!(20_130_101), "wrong_type"),
        ("/start_date", json!("01.02.2013"), "malformed_date"),
        ("/end_date", json!("2022-02-30"), "malformed_date"),
        ("/end_date", json!("2012-12-31"), "dates_reversed"),
        ("/end_date", json!("2013-01-29"), "period_too_short"),
        ("/start_date", json!("1000-01-01"), "out_of_range"),
        // Numbers.
        ("/n_trials", json!(0), "out_of_range"),
        ("/n_trials", json!(-1), "out_of_range"),
        ("/n_trials", json!(1_000_001), "out_of_range"),
        ("/n_trials", json!(1e300), "out_of_range"),
        ("/n_trials", json!(u64::MAX), "out_of_range"),
        ("/n_trials", json!(2.5), "wrong_type"),
        ("/n_trials", json!("50"), "wrong_type"),
        ("/n_trials", json!(true), "wrong_type"),
        ("/seed", json!(-1), "out_of_range"),
        ("/seed", json!(MAX_SEED + 1), "out_of_range"),
        ("/parallelism", json!(0), "out_of_range"),
        ("/parallelism", json!(257), "out_of_range"),
        ("/timeout", json!(0), "out_of_range"),
        ("/timeout", json!(-0.0), "out_of_range"),
        ("/timeout", json!(2_592_001), "out_of_range"),
        ("/timeout", json!("1h"), "wrong_type"),
        ("/trial_timeout", json!(86_401), "out_of_range"),
        // The sampler.
        (
            "/optimization_method",
            json!("motpe"),
            "several_objectives_only",
        ),
        ("/optimization_method", json!("radnom"), "unknown_method"),
        ("/optimization_method", json!(7), "wrong_type"),
        (
            "/optimization_method/name",
            json!("motpe"),
            "several_objectives_only",
        ),
        ("/optimization_method/name", json!(3), "wrong_type"),
        (
            "/optimization_method",
            json!({"name": "random", "startup": 10}),
            "unknown_field@/startup",
        ),
        ("/optimization_method", json!({}), "required@/name"),
        // The space.
        ("/param_space", json!({}), "empty_space"),
        ("/param_space", json!([]), "wrong_type"),
        ("/param_space", json!(many), "too_many_parameters"),
        ("/param_space/short_window", json!(5), "wrong_type"),
        ("/param_space/short_window", json!(null), "wrong_type"),
        ("/param_space/short_window/type", json!(null), "required"),
        (
            "/param_space/short_window/type",
            json!("integer"),
            "unknown_value",
        ),
        (
            "/param_space/short_window/type",
            json!("float"),
            "wrong_type",
        ),
        ("/param_space/short_window/low", json!(null), "required"),
        ("/param_space/short_window/low", json!(5.5), "wrong_type"),
        ("/param_space/short_window/low", json!("5"), "wrong_type"),
        ("/param_space/short_window/low", json!(25), "low_above_high"),
        (
            "/param_space/short_window/low",
            json!(1e300),
            "out_of_range",
        ),
        ("/param_space/short_window/low", json!(0), "out_of_range"),
        ("/param_space/short_window/high", json!(51), "out_of_range"),
        (
            "/param_space/short_window/step",
            json!(0),
            "step_not_positive",
        ),
        (
            "/param_space/short_window/step",
            json!(-1),
            "step_not_positive",
        ),
        ("/param_space/short_window/step", json!(1.5), "wrong_type"),
        (
            "/param_space/short_window/step",
            json!(100),
            "step_above_range",
        ),
        ("/param_space/short_window/log", json!("yes"), "wrong_type"),
        (
            "/param_space/short_window/choices",
            json!([1]),
            "not_for_this_type",
        ),
        (
            "/param_space/short_window/default",
            json!(21),
            "out_of_range",
        ),
        (
            "/param_space/short_window/default",
            json!(5.5),
            "wrong_type",
        ),
        ("/param_space/short_window/default", json!([]), "wrong_type"),
        ("/param_space/long_window/default", json!(61), "off_step"),
        (
            "/param_space/short_window/when",
            json!("long_windw > 3"),
            "unknown_name",
        ),
        (
            "/param_space/short_window/when",
            json!("short_window > 3"),
            "when_cycle",
        ),
        ("/param_space/short_window/when", json!(3), "wrong_type"),
        ("/param_space/short_window/enabled", json!(1), "wrong_type"),
        ("/param_space/short_window/stepp", json!(1), "unknown_field"),
        (
            "/param_space/short_windw",
            json!({"type": "int", "low": 1, "high": 2}),
            "unknown_parameter",
        ),
        (
            "/param_space/short_window",
            json!({"type": "categorical", "choices": []}),
            "empty_choices@/choices",
        ),
        (
            "/param_space/short_window",
            json!({"type": "categorical"}),
            "required@/choices",
        ),
        (
            "/param_space/short_window",
            json!({"type": "categorical", "choices": [5, 5.0]}),
            "duplicate_choice@/choices/1",
        ),
        (
            "/param_space/short_window",
            json!({"type": "categorical", "choices": [5, {}]}),
            "wrong_type@/choices/1",
        ),
        (
            "/param_space/short_window",
            json!({"type": "categorical", "choices": [5, "ten"]}),
            "wrong_type@/choices/1",
        ),
        (
            "/param_space/short_window",
            json!({"type": "categorical", "choices": [5, null]}),
            "wrong_type@/choices/1",
        ),
        (
            "/param_space/short_window",
            json!({"type": "categorical", "choices": [5, 7.5]}),
            "wrong_type@/choices/1",
        ),
        (
            "/param_space/short_window",
            json!({"type": "categorical", "choices": [5, 99]}),
            "out_of_range@/choices/1",
        ),
        (
            "/param_space/short_window",
            json!({"type": "int", "enabled": false}),
            "required@/default",
        ),
        (
            "/param_space/long_window",
            json!({"type": "int", "low": 5, "high": 5}),
            "no_feasible_point!/param_space",
        ),
        // The objective.
        ("/objective_config", json!({}), "required@/objective_metric"),
        ("/objective_config", json!("sharpe_ratio"), "wrong_type"),
        (
            "/objective_config/objective_metric",
            json!("sharp_ratio"),
            "unknown_name",
        ),
        (
            "/objective_config/objective_metric",
            json!("value"),
            "unknown_name",
        ),
        (
            "/objective_config/objective_metric",
            json!("ic"),
            "refused_metric",
        ),
        ("/objective_config/objective_metric", json!(1), "wrong_type"),
        ("/objective_config/objective_metric", json!([]), "empty"),
        (
            "/objective_config/objective_metric",
            json!(["sharpe_ratio", "max_drawdown", "sharpe"]),
            "duplicate@/2",
        ),
        (
            "/objective_config/objective_metric",
            json!(vec!["sharpe_ratio"; 9]),
            "too_many",
        ),
        (
            "/objective_config/direction",
            json!("minimize"),
            "contradicting_direction",
        ),
        ("/objective_config/direction", json!("up"), "unknown_value"),
        (
            "/objective_config/objective_weights",
            json!({"sharpe_ratio": 1}),
            "not_without_custom",
        ),
        // Constraints.
        (
            "/constraints",
            json!(["short_window < long_window", "fast < 5"]),
            "unknown_name@/1",
        ),
        ("/constraints", json!([5]), "wrong_type@/0"),
        ("/constraints", json!([null]), "wrong_type@/0"),
        (
            "/constraints",
            json!(["short_window > 7"]),
            "constraint_broken!/param_space",
        ),
        (
            "/constraints",
            json!(["short_window < 'ten'"]),
            "type_mismatch@/0",
        ),
        (
            "/constraints",
            json!(vec!["short_window < 21"; 101]),
            "too_many",
        ),
        (
            "/constraints",
            json!("short_window < long_window"),
            "wrong_type",
        ),
        ("/result_constraints", json!({}), "wrong_type"),
        (
            "/result_constraints",
            json!(vec!["n_trades >= 1"; 33]),
            "too_many",
        ),
        ("/result_constraints", json!([5]), "wrong_type@/0"),
        ("/result_constraints", json!([""]), "empty@/0"),
        (
            "/result_constraints",
            json!(["n_trades + 1"]),
            "not_a_condition@/0",
        ),
        (
            "/result_constraints",
            json!(["n_trades >= many"]),
            "unknown_name@/0",
        ),
        (
            "/result_constraints",
            json!(["n_trades >= 'one'"]),
            "type_mismatch@/0",
        ),
        (
            "/result_constraints",
            json!(["n_trades >= 1e400"]),
            "bad_number@/0",
        ),
        (
            "/result_constraints",
            json!([">= 1"]),
            "unexpected_token@/0",
        ),
        ("/result_constraints", json!(["ic > 0"]), "unknown_name@/0"),
        // What is known and not built.
        ("/scope", json!("each"), "unknown_value"),
        ("/aggregate", json!("best"), "unknown_value"),
        ("/aggregate", json!("mean"), "not_for_this_scope"),
        // What stops trials early.
        ("/pruner", json!("median"), "nothing_to_prune"),
        ("/pruner", json!("successive_halving"), "nothing_to_prune"),
        (
            "/pruner",
            json!({"name": "patient", "patience": 3}),
            "nothing_to_prune",
        ),
        ("/pruner", json!("sharp"), "unknown_value"),
        ("/pruner", json!({"name": "sharp"}), "unknown_value@/name"),
        ("/pruner", json!({}), "required@/name"),
        ("/pruner", json!(["median"]), "wrong_type"),
        (
            "/pruner",
            json!({"name": "none", "patience": 3}),
            "unknown_field@/patience",
        ),
        (
            "/validation",
            json!({"method": "walk_forward", "train": "36mo"}),
            "required@/test",
        ),
        (
            "/validation",
            json!({"method": "cross_validation", "segments": 50}),
            "out_of_range@/segments",
        ),
        (
            "/validation",
            json!({"method": "none", "train": "36mo"}),
            "unknown_field@/train",
        ),
        ("/validation", json!("none"), "wrong_type"),
        ("/stop", json!(5), "wrong_type"),
        ("/stop/target", json!("high"), "wrong_type"),
        ("/stop/patience", json!(0), "out_of_range"),
        ("/stop/patience", json!(2.5), "wrong_type"),
        ("/stop/pacience", json!(2), "unknown_field"),
        ("/initial_params", json!({}), "wrong_type"),
        ("/initial_params", json!([5]), "wrong_type@/0"),
        (
            "/initial_params",
            json!([{"short_window": 5.5}]),
            "wrong_type@/0/short_window",
        ),
        (
            "/initial_params",
            json!([{"short_window": 99}]),
            "out_of_range@/0/short_window",
        ),
        (
            "/initial_params",
            json!([{"short_windw": 5}]),
            "unknown_parameter@/0/short_windw",
        ),
        (
            "/initial_params",
            json!([{"short_window": []}]),
            "wrong_type@/0/short_window",
        ),
        (
            "/initial_params",
            json!([{"short_window": 6}, {"short_window": 6.0, "long_window": 60}]),
            "duplicate@/1",
        ),
        ("/initial_params", json!(vec![json!({}); 1_001]), "too_many"),
        ("/warm_start_from", json!("a task"), "wrong_type"),
        ("/warm_start_from", json!(["a task"]), "malformed@/0"),
        ("/warm_start_from", json!([5]), "wrong_type@/0"),
        ("/warm_start_from", json!([null]), "wrong_type@/0"),
        ("/warm_start_from", json!(vec!["a task"; 17]), "too_many"),
        (
            "/warm_start_from",
            json!(["0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3d"]),
            "sampler_reads_no_history",
        ),
        // Order, time and labels.
        ("/priority", json!("urgent"), "unknown_value"),
        ("/not_before", json!("tomorrow"), "malformed_time"),
        (
            "/not_before",
            json!("2027-01-31T08:00:00"),
            "malformed_time",
        ),
        ("/labels", json!(["a"]), "wrong_type"),
        ("/labels/a", json!(5), "wrong_type"),
        ("/labels/a", json!("\u{0}"), "control_character"),
        ("/labels/a", json!(long), "too_long"),
        // The backtest.
        ("/backtest_config", json!([]), "wrong_type"),
        ("/backtest_config/initial_cash", json!(0), "out_of_range"),
        ("/backtest_config/initial_cash", json!("1e6"), "wrong_type"),
        (
            "/backtest_config/commission_rate",
            json!(-0.1),
            "out_of_range",
        ),
        ("/backtest_config/slippage_rate", json!(0.6), "out_of_range"),
        ("/backtest_config/risk_free_rate", json!(2), "out_of_range"),
        (
            "/backtest_config/periods_per_year",
            json!(0),
            "out_of_range",
        ),
        (
            "/backtest_config/market",
            json!("cn_a"),
            "not_a_share!/stock_codes/0",
        ),
        ("/backtest_config/market", json!("moon"), "unknown_value"),
        ("/backtest_config/fill", json!("open"), "unknown_value"),
        (
            "/backtest_config/position",
            json!({"mode": "half"}),
            "unknown_value@/mode",
        ),
        (
            "/backtest_config/position",
            json!({"mode": "fixed_fraction"}),
            "required@/fraction",
        ),
        (
            "/backtest_config/position",
            json!({"mode": "fixed_fraction", "fraction": 1.5}),
            "out_of_range@/fraction",
        ),
        (
            "/backtest_config/position",
            json!({"mode": "fixed_fraction", "fraction": 0}),
            "out_of_range@/fraction",
        ),
        (
            "/backtest_config/position",
            json!({"mode": "all_in", "fraction": 0.5}),
            "not_for_this_mode@/fraction",
        ),
        ("/backtest_config/position", json!({}), "required@/mode"),
        (
            "/backtest_config/allow_short",
            json!(true),
            "not_for_one_leg",
        ),
        ("/backtest_config/allow_short", json!(1), "wrong_type"),
        (
            "/backtest_config/benchmark",
            json!("index_fund"),
            "unknown_value",
        ),
        ("/backtest_config/frequency", json!("1h"), "not_built_yet"),
        (
            "/backtest_config/partners",
            json!(["600000.SH"]),
            "not_for_one_leg",
        ),
        (
            "/backtest_config/require_cointegration",
            json!(true),
            "not_for_one_leg",
        ),
        ("/backtest_config/topk", json!(10), "unknown_field"),
        // Unknown fields.
        ("/n_trails", json!(100), "unknown_field"),
        ("/a~1b", json!(100), "unknown_field"),
    ];
    for (pointer, value, code) in cases {
        // "code@/below": the fault is below the place that was set; "code!/else": it is elsewhere.
        let (code, place) = match (code.split_once('@'), code.split_once('!')) {
            (Some((code, below)), _) => (code, format!("{pointer}{below}")),
            (None, Some((code, elsewhere))) => (code, elsewhere.to_owned()),
            (None, None) => (code, pointer.to_owned()),
        };
        let body = if pointer == "/a~1b" {
            let mut body = on_bars();
            body["a/b"] = value.clone();
            body
        } else {
            with(on_bars(), pointer, value.clone())
        };
        let found = faults(&body);
        // Exactly this fault: one mistake is not reported as several.
        assert_eq!(
            told(&found),
            expected(&[(&place, code)]),
            "{pointer} = {value}: {found:#?}"
        );
        assert_eq!(found.len(), 1, "{pointer} = {value}: {found:#?}");
        assert!(
            !found[0].detail.is_empty() && found[0].detail.len() < 2_000,
            "{found:?}"
        );
    }
}

#[test]
fn every_missing_field_is_told_at_once() {
    let required = [
        "/task_name",
        "/strategy_name",
        "/stock_codes",
        "/start_date",
        "/end_date",
        "/param_space",
        "/objective_config",
    ];
    let all: Vec<_> = required
        .iter()
        .map(|pointer| (*pointer, "required"))
        .collect();
    assert_eq!(told(&faults(&json!({}))), expected(&all));
    for pointer in required {
        let found = faults(&without(on_bars(), &pointer[1..]));
        assert_eq!(told(&found), expected(&[(pointer, "required")]));
    }
    for odd in [json!(null), json!([]), json!("task"), json!(1)] {
        assert_eq!(
            told(&faults(&odd)),
            expected(&[("", "wrong_type")]),
            "{odd}"
        );
    }
}

#[test]
fn many_faults_of_one_request_are_told_at_once() {
    let body = json!({
        "task_name": "x\u{7}",
        "strategy_name": "moving_average",
        "stock_codes": ["AAPL", "AAPL", "600001.SH", 7],
        "start_date": "2022-12-31",
        "end_date": "2013-01-01",
        "param_space": {
            "short_window": {"type": "int", "low": 20, "high": 10, "step": 0},
            "long_windo": {"type": "int", "low": 1, "high": 2},
            "signal_threshold": {"type": "float", "low": 0, "high": 0.5, "log": true, "when": "x"},
        },
        "objective_config": {"objective_metric": "sharpe", "direction": "minimize"},
        "result_constraints": ["n_trades >= 1", "exposre < 1"],
        "optimization_method": "gird",
        "n_trials": 0,
        "priority": "High",
        "bactest_config": {},
        "backtest_config": {"fill": "yesterday", "initial_cash": -1},
    });
    let found = faults(&body);
    assert_eq!(
        told(&found),
        expected(&[
            ("/task_name", "control_character"),
            ("/stock_codes/1", "duplicate"),
            ("/stock_codes/2", "missing_market_data"),
            ("/stock_codes/3", "wrong_type"),
            ("/end_date", "dates_reversed"),
            ("/param_space/short_window/low", "low_above_high"),
            ("/param_space/short_window/step", "step_not_positive"),
            ("/param_space/long_windo", "unknown_parameter"),
            ("/param_space/signal_threshold/when", "unknown_name"),
            (
                "/param_space/signal_threshold/low",
                "log_needs_positive_low"
            ),
            ("/objective_config/direction", "contradicting_direction"),
            ("/result_constraints/1", "unknown_name"),
            ("/optimization_method", "unknown_method"),
            ("/n_trials", "out_of_range"),
            ("/priority", "unknown_value"),
            ("/bactest_config", "unknown_field"),
            ("/backtest_config/fill", "unknown_value"),
            ("/backtest_config/initial_cash", "out_of_range"),
        ])
    );
    let detail = |pointer: &str| &found.iter().find(|f| f.pointer == pointer).unwrap().detail;
    assert!(detail("/param_space/long_windo").ends_with("did you mean long_window?"));
    assert!(detail("/result_constraints/1").ends_with("did you mean exposure?"));
    assert!(detail("/optimization_method").ends_with("did you mean grid?"));
    assert!(detail("/bactest_config").ends_with("did you mean backtest_config?"));
    assert!(detail("/priority").ends_with("did you mean high?"));
    assert!(detail("/stock_codes/2").contains("trialmill data import"));
}

#[test]
fn a_field_of_the_backtest_at_the_top_is_told_where_it_goes() {
    let faults = faults(&with(on_bars(), "/market", json!("cn_a")));
    assert_eq!(
        told(&faults),
        expected(&[("/market", "unknown_field")]),
        "{faults:?}"
    );
    assert_eq!(
        faults[0].detail,
        "market is not a field; it goes into backtest_config"
    );
}

#[test]
fn a_megabyte_of_unknown_fields_is_counted_without_advice_for_each() {
    // Found by hand with the fuzzer's target: advice for each took seconds.
    let mut body = on_sphere();
    for n in 0..60_000 {
        body[format!("field{n}")] = json!(1);
    }
    let found = faults(&body);
    assert_eq!(found.len(), MAX_FAULTS + 1);
    assert!(
        found[MAX_FAULTS].detail.starts_with("59000 more faults"),
        "{}",
        found[MAX_FAULTS].detail
    );
}

#[test]
fn more_faults_than_are_listed_are_counted() {
    let mut body = on_bars();
    for i in 0..MAX_FAULTS + 7 {
        body[format!("field{i:05}")] = json!(i);
    }
    let found = faults(&body);
    assert_eq!(found.len(), MAX_FAULTS + 1);
    assert_eq!(found[MAX_FAULTS].code, "more_faults");
    assert!(
        found[MAX_FAULTS].detail.starts_with("7 more"),
        "{}",
        found[MAX_FAULTS].detail
    );
}

#[test]
fn a_fault_inside_an_expression_has_its_position_in_characters() {
    for (text, position) in [
        ("  n_trade >= 1", 2),
        ("n_trades => 1", 9),
        ("n_trades >= x", 12),
        ("n_trades >= 1 and more", 18),
        ("n_trades", 0),
        ("交易 >= 1", 0),
        ("n_trades ≥ 1", 9),
        ("max_drawdown <= 0.2 < 1", 20),
    ] {
        let found = faults(&with(on_bars(), "/result_constraints", json!([text])));
        assert_eq!(found[0].position, Some(position), "{text}: {found:?}");
        assert_eq!(found[0].value, text);
    }
    let found = faults(&with(on_bars(), "/result_constraints", json!(["ic > 0"])));
    assert!(
        found[0].detail.starts_with("ic cannot be asked for"),
        "{found:?}"
    );
}

#[test]
fn expressions_take_every_comparison_and_alias() {
    let list = json!([
        "mdd<=0.25",
        " sharpe > -1e-3 ",
        "n_trades>=10",
        "exposure < .5"
    ]);
    let spec = accept(&with(on_bars(), "/result_constraints", list)).spec;
    assert_eq!(
        constraints(&spec),
        [
            "mdd <= 0.25",
            "sharpe > -0.001",
            "n_trades >= 10",
            "exposure < 0.5"
        ]
    );
    let none = accept(&with(on_bars(), "/result_constraints", json!([])));
    assert_eq!(none.spec.result_constraints, []);
}

/// A search with several objectives.
fn on_front(metrics: Value) -> Value {
    with(on_bars(), "/objective_config/objective_metric", metrics)
}

#[test]
fn several_objectives_have_their_own_directions_each() {
    let directions = |body: &Value| -> Vec<(String, Direction)> {
        let search = accept(body);
        let objectives = search.spec.objectives.iter();
        objectives
            .map(|o| (o.metric.clone(), o.direction))
            .collect()
    };
    let both = on_front(json!(["sharpe", "max_drawdown"]));
    let natural = [
        ("sharpe_ratio".to_owned(), Direction::Maximize),
        ("max_drawdown".to_owned(), Direction::Minimize),
    ];
    assert_eq!(directions(&both), natural);
    let said = json!(["maximize", "minimize"]);
    assert_eq!(
        directions(&with(both.clone(), "/objective_config/direction", said)),
        natural
    );
    let losses = with(
        on_front(json!(["max_drawdown", "volatility"])),
        "/objective_config/direction",
        json!("minimize"),
    );
    assert!(
        directions(&losses)
            .iter()
            .all(|(_, d)| *d == Direction::Minimize)
    );
    let mut schaffer = with(on_sphere(), "/strategy_name", json!("schaffer"));
    schaffer["objective_config"]["objective_metric"] = json!(["f1", "f2"]);
    schaffer["objective_config"]["direction"] = json!(["minimize", "maximize"]);
    assert_eq!(directions(&schaffer)[1].1, Direction::Maximize);
    for method in ["auto", "tpe", "motpe", "nsga2", "random", "sobol"] {
        let accepted = accept(&with(both.clone(), "/optimization_method", json!(method)));
        let is_tpe = matches!(method, "motpe" | "tpe");
        assert_eq!(accepted.spec.method == Method::Tpe, is_tpe, "{method}");
    }
}

#[test]
fn a_weighted_sum_is_an_objective_and_by_default_what_a_selection_goes_by() {
    let mut body = on_front(json!("custom"));
    body["objective_config"]["objective_weights"] = json!({"sharpe": 0.7, "max_drawdown": 3});
    body["validation"] = json!({"method": "holdout", "length": "1y",
        "selection": {"subject_to": ["n_trades >= 5"]}});
    let accepted = accept(&body);
    let weights = [(Metric::MaxDrawdown, 3.0), (Metric::SharpeRatio, 0.7)]
        .map(|(metric, weight)| Weight { metric, weight });
    assert_eq!(accepted.spec.objectives, [Target::custom(weights.to_vec())]);
    let stored = accepted.spec.to_json();
    assert_eq!(stored["version"], 8);
    assert_eq!(
        stored["objectives"][0]["weights"],
        json!([{"metric": "max_drawdown", "weight": 3.0}, {"metric": "sharpe_ratio", "weight": 0.7}])
    );
    assert_eq!(TaskSpec::from_json(&stored).unwrap(), accepted.spec);
    let method = |body: &Value| accept(body).unplanned.as_ref().unwrap().method.clone();
    let by_sum = method(&body);
    assert_eq!(json!(by_sum)["selection"]["metric"], "custom");
    assert_eq!(
        serde_json::from_value::<Validation>(json!(by_sum)).unwrap(),
        by_sum
    );
    body["validation"]["selection"]["metric"] = json!("custom");
    assert_eq!(method(&body), by_sum);
    // With others it is one of several, wherever it stands.
    body["validation"]["selection"]["metric"] = json!("sharpe_ratio");
    body["objective_config"]["objective_metric"] = json!(["total_return", "custom"]);
    let both = accept(&body);
    assert_eq!(both.spec.objectives[1], accepted.spec.objectives[0]);
    assert!(both.spec.objectives[0].weights.is_empty());
}

#[test]
fn what_is_wrong_with_weights_is_told_at_once() {
    let mut body = on_front(json!("custom"));
    body["objective_config"]["objective_weights"] = json!({
        "sharpe": 1, "sharpe_ratio": 2, "drawdown": 1, "volatility": 0, "calmar": "much", "cost": null,
        "custom": 1, "exposure": 1e7,
    });
    body["objective_config"]["direction"] = json!("minimize");
    body["result_constraints"] = json!(["custom > 0"]);
    let found = faults(&body);
    let at = |name: &str| format!("/objective_config/objective_weights/{name}");
    let wanted = [
        (
            "/objective_config/direction".to_owned(),
            "contradicting_direction",
        ),
        (at("calmar"), "wrong_type"),
        (at("cost"), "required"),
        (at("custom"), "refused_metric"),
        (at("drawdown"), "unknown_name"),
        (at("exposure"), "out_of_range"),
        (at("sharpe_ratio"), "duplicate"),
        (at("volatility"), "out_of_range"),
        ("/result_constraints/0".to_owned(), "unknown_name"),
    ];
    let wanted: Vec<(&str, &str)> = wanted
        .iter()
        .map(|(at, code)| (at.as_str(), *code))
        .collect();
    assert_eq!(told(&found), expected(&wanted));
    body["objective_config"] = json!({"objective_metric": "custom"});
    body["result_constraints"] = json!([]);
    assert_eq!(
        told(&faults(&body)),
        expected(&[("/objective_config/objective_weights", "required")])
    );
    for empty in [json!({}), json!([])] {
        body["objective_config"] =
            json!({"objective_metric": "custom", "objective_weights": empty});
        let code = if empty.is_array() {
            "wrong_type"
        } else {
            "wrong_length"
        };
        assert_eq!(
            told(&faults(&body)),
            expected(&[("/objective_config/objective_weights", code)])
        );
    }
    // What is meant by a selection is not in doubt because a weight is.
    body["objective_config"] =
        json!({"objective_metric": "custom", "objective_weights": {"sharpe": 0}});
    body["validation"] =
        json!({"method": "holdout", "length": "1y", "selection": {"metric": "custom"}});
    assert_eq!(
        told(&faults(&body)),
        expected(&[("/objective_config/objective_weights/sharpe", "out_of_range")])
    );
    body["objective_config"] = json!({"objective_metric": "sharpe_ratio"});
    assert_eq!(
        told(&faults(&body)),
        expected(&[("/validation/selection/metric", "refused_metric")])
    );
    body["objective_config"] = json!({"objective_metric": "custm"});
    body["validation"] = json!({"method": "none"});
    let found = faults(&body);
    assert!(
        found[0].detail.contains("did you mean custom?"),
        "{found:?}"
    );
    let allowed = found[0].allowed.as_deref().unwrap();
    assert!(allowed.iter().any(|name| name == "custom"));
    let mut sphere = on_sphere();
    sphere["objective_config"]["objective_weights"] = json!({"sharpe_ratio": 1});
    assert_eq!(
        told(&faults(&sphere)),
        expected(&[("/objective_config/objective_weights", "not_without_custom")])
    );
}

#[test]
fn what_several_objectives_exclude_is_told_at_once() {
    let mut body = on_front(json!(["sharpe_ratio", "max_drawdown", "volatility"]));
    body["objective_config"]["direction"] = json!("maximize");
    body["optimization_method"] = json!({"name": "gp"});
    body["stop"] = json!({"target": 2.0, "patience": 5});
    let found = faults(&body);
    assert_eq!(
        told(&found),
        expected(&[
            ("/objective_config/direction", "contradicting_direction"),
            ("/objective_config/direction", "contradicting_direction"),
            ("/optimization_method/name", "one_objective_only"),
            ("/stop/target", "wrong_type"),
        ])
    );
    let gp = found
        .iter()
        .find(|fault| fault.pointer.ends_with("name"))
        .unwrap();
    let allowed = ["auto", "random", "grid", "sobol", "tpe", "nsga2", "motpe"];
    assert_eq!(gp.allowed.as_deref().unwrap(), allowed);
    assert_eq!(
        gp.detail,
        "the sampler gp looks for the best of one objective, and there are 3; use auto, random, grid, \
         sobol, tpe, nsga2, motpe"
    );
    body["objective_config"]["direction"] = json!(["maximize", "down"]);
    body["objective_config"]["objective_metric"][2] = json!("volatilty");
    body["stop"] = json!({});
    let found = faults(&body);
    assert_eq!(
        told(&found),
        expected(&[
            ("/objective_config/direction", "wrong_length"),
            ("/objective_config/direction/1", "unknown_value"),
            ("/objective_config/objective_metric/2", "unknown_name"),
            ("/optimization_method/name", "one_objective_only"),
        ])
    );
    assert!(
        found
            .iter()
            .any(|fault| fault.detail.contains("did you mean volatility?"))
    );
}

#[test]
fn each_of_several_objectives_may_have_a_target_and_their_front_patience() {
    let mut body = on_front(json!(["sharpe_ratio", "max_drawdown"]));
    let stop = |body: &Value| accept(body).spec.stop;
    let aims = |targets: [Option<f64>; 2]| {
        let directions = [Direction::Maximize, Direction::Minimize].into_iter();
        let aim = |(direction, target)| Aim { direction, target };
        directions.zip(targets).map(aim).collect::<Vec<_>>()
    };
    for (given, targets, patience) in [
        (json!({"target": [1.5, 0.2]}), [Some(1.5), Some(0.2)], None),
        (
            json!({"target": [null, 0.2], "patience": 7}),
            [None, Some(0.2)],
            Some(7),
        ),
        (json!({"patience": 7}), [None, None], Some(7)),
    ] {
        body["stop"] = given;
        let rules = stop(&body);
        assert_eq!((rules.target, rules.patience), (None, patience));
        assert_eq!(rules.aims, aims(targets));
        let form = TaskSpec::from_json(&accept(&body).spec.to_json()).unwrap();
        assert_eq!(form.stop, rules);
    }
    for nothing in [json!({}), json!(null), json!({"target": null})] {
        body["stop"] = nothing;
        assert_eq!(stop(&body), StopRules::default());
    }
    for (target, pointer, code) in [
        (json!(1.5), "/stop/target", "wrong_type"),
        (json!("1.5"), "/stop/target", "wrong_type"),
        (json!([1.5]), "/stop/target", "wrong_length"),
        (json!([1.5, 2, 3]), "/stop/target", "wrong_length"),
        (json!([]), "/stop/target", "wrong_length"),
        (json!([null, null]), "/stop/target", "empty"),
        (json!([1.5, "0.2"]), "/stop/target/1", "wrong_type"),
    ] {
        body["stop"] = json!({"target": target});
        assert_eq!(told(&faults(&body)), expected(&[(pointer, code)]), "{body}");
    }
    // The windows of a walk-forward have no rules, those of several objectives neither.
    body["stop"] = json!({"target": [1.5, null]});
    body["validation"] = json!({"method": "walk_forward", "train": "2y", "test": "1y"});
    assert_eq!(
        told(&faults(&body)),
        expected(&[("/stop", "not_with_walk_forward")])
    );
    body["validation"] = json!({"method": "none"});
    body["stop"] = json!({"target": 1.5});
    assert_eq!(
        faults(&body)[0].detail,
        "target is one number, and there are 2 objectives; give a list with one entry for each, null for \
         those without a target"
    );
    body["objective_config"]["objective_metric"] = json!("sharpe_ratio");
    assert_eq!(stop(&body).target, Some(1.5));
    body["stop"] = json!({"target": [1.5]});
    assert_eq!(
        told(&faults(&body)),
        expected(&[("/stop/target", "wrong_type")])
    );
}

#[test]
fn a_selection_picks_from_the_front_whatever_judges_the_search() {
    let selection = json!({"metric": "calmar", "subject_to": ["max_drawdown <= 0.20"]});
    let methods = [
        json!({"method": "walk_forward", "train": "2y", "test": "1y", "selection": selection}),
        json!({"method": "holdout", "length": "1y", "selection": selection}),
        json!({"method": "cross_validation", "segments": 3, "selection": selection}),
    ];
    let stored = json!({"metric": "calmar_ratio", "subject_to": ["max_drawdown <= 0.2"]});
    for asked in methods {
        let first = Target::new("sharpe_ratio", Direction::Maximize);
        let read = |asked: &Value| check_validation(asked, Some(&first), false);
        let validation = read(&asked).unwrap();
        assert_eq!(json!(validation)["selection"], stored, "{asked}");
        let mut limited = asked.clone();
        limited["selection"]
            .as_object_mut()
            .unwrap()
            .remove("metric");
        let by_first = json!(read(&limited).unwrap());
        assert_eq!(by_first["selection"]["metric"], "sharpe_ratio");
        limited["selection"]["metric"] = json!("calmer");
        limited["selection"]["subject_to"] = json!(["drawdown <= 1"]);
        let pointers: Vec<_> = read(&limited)
            .unwrap_err()
            .into_iter()
            .map(|f| f.pointer)
            .collect();
        assert_eq!(
            pointers,
            [
                "/validation/selection/metric",
                "/validation/selection/subject_to/0"
            ]
        );
    }
}

#[test]
fn a_test_function_needs_no_symbols_and_takes_any_parameter() {
    let accepted = accept(&on_sphere());
    assert_eq!(accepted.spec.result_constraints, []);
    assert_eq!(accepted.spec.objectives[0].direction, Direction::Minimize);
    assert_eq!(
        accepted.spec.seed, MAX_SEED,
        "a drawn seed is cut to what JSON keeps exactly"
    );
    let up = with(
        on_sphere(),
        "/objective_config/direction",
        json!("maximize"),
    );
    assert_eq!(
        accept(&up).spec.objectives[0].direction,
        Direction::Maximize
    );
    let coded = accept(&with(on_sphere(), "/stock_codes", json!(["600001.SH"])));
    assert_eq!(warned(&coded), [("stock_codes_ignored", "/stock_codes")]);
    assert!(coded.spec.stock_codes.is_empty() && coded.series.is_empty());
    let found = faults(&with(
        on_sphere(),
        "/objective_config/objective_metric",
        json!("sharpe"),
    ));
    assert_eq!(
        told(&found),
        expected(&[("/objective_config/objective_metric", "unknown_name")])
    );
    assert_eq!(found[0].allowed, Some(vec!["value".to_owned()]));
    let mut sleepy = with(on_sphere(), "/strategy_name", json!("sleep"));
    sleepy["param_space"]["seconds"] = json!({"type": "float", "low": -1, "high": 1});
    let found = faults(&sleepy);
    assert_eq!(
        told(&found),
        expected(&[("/param_space/seconds/low", "out_of_range")])
    );
}

#[test]
fn a_disabled_parameter_stays_at_its_default() {
    let mut body = on_bars();
    body["param_space"]["signal_threshold"] =
        json!({"type": "float", "enabled": false, "default": 0});
    body["param_space"]["short_window"]["enabled"] = json!(false);
    let spec = accept(&body).spec;
    assert_eq!(
        spec.fixed,
        BTreeMap::from([
            ("short_window".to_owned(), Choice::Int(5)),
            ("signal_threshold".to_owned(), Choice::Float(0.0))
        ])
    );
    assert_eq!(spec.space.parameters().len(), 1);
    assert_eq!(
        spec.first_points.len(),
        1,
        "the one searched parameter has a default"
    );
    body["param_space"]["long_window"]["enabled"] = json!(false);
    assert_eq!(
        told(&faults(&body)),
        expected(&[("/param_space", "empty_space")])
    );
}

#[test]
fn the_first_trial_takes_the_defaults_only_when_all_are_given() {
    let partial = with(on_bars(), "/param_space/long_window/default", json!(null));
    assert_eq!(accept(&partial).spec.first_points, []);
    let some = json!({"name": "grid", "sample": true});
    let grid = with(on_bars(), "/optimization_method", some);
    assert_eq!(accept(&grid).spec.first_points.len(), 1);
    let incomplete = accept(&partial);
    assert_eq!(
        warned(&incomplete),
        [("default_incomplete", "/param_space")]
    );
    let detail = &incomplete.warnings[0].detail;
    assert!(
        detail.contains("long_window") && !detail.contains("short_window"),
        "{detail}"
    );
    let none = with(partial, "/param_space/short_window/default", json!(null));
    assert_eq!(warned(&accept(&none)), []);
    let null_choice = json!({"type": "categorical", "choices": ["a", null], "default": null});
    let chosen = accept(&with(
        on_sphere(),
        "/param_space",
        json!({"k": null_choice}),
    ));
    let named: Vec<_> = chosen
        .spec
        .space
        .named(&chosen.spec.first_points[0])
        .collect();
    assert_eq!(named, [("k", Choice::Null)]);
}

#[test]
fn a_grid_plans_its_points_and_refuses_what_it_cannot_cover() {
    let small = with(on_bars(), "/optimization_method", json!("grid"));
    let small = accept(&with(small, "/n_trials", json!(1000)));
    assert_eq!(small.planned, 16 * 19);
    assert_eq!(
        warned(&small),
        [("space_smaller_than_n_trials", "/n_trials")]
    );
    assert_eq!(small.resolved["trials_planned"], 304);

    let endless = with(on_sphere(), "/optimization_method", json!("grid"));
    let found = faults(&endless);
    assert_eq!(
        told(&found),
        expected(&[("/param_space/x/step", "grid_needs_step")])
    );
    // 10^12 points.
    let axis = json!({"type": "int", "low": 1, "high": 1000});
    let huge = json!({"a": axis, "b": axis, "c": axis, "d": axis});
    let found = faults(&with(endless, "/param_space", huge));
    assert_eq!(
        told(&found),
        expected(&[("/param_space", "grid_too_large")])
    );
    assert!(
        found[0].detail.contains("1000000000000"),
        "{}",
        found[0].detail
    );
}

#[test]
fn a_space_may_have_as_many_parameters_as_the_search_takes() {
    let space = |n: usize| -> Value {
        let axis = json!({"type": "float", "low": 0, "high": 1});
        Value::Object((0..n).map(|i| (format!("p{i}"), axis.clone())).collect())
    };
    let most = accept(&with(on_sphere(), "/param_space", space(MAX_PARAMETERS)));
    assert_eq!(most.spec.space.parameters().len(), MAX_PARAMETERS);
    let found = faults(&with(
        on_sphere(),
        "/param_space",
        space(MAX_PARAMETERS + 1),
    ));
    assert_eq!(
        told(&found),
        expected(&[("/param_space", "too_many_parameters")])
    );
}

#[test]
fn what_cannot_be_meant_well_is_warned_about() {
    let index = accept(&with(on_bars(), "/stock_codes", json!(["AAPL", "^GSPC"])));
    assert_eq!(warned(&index), [("index_not_tradable", "/stock_codes/1")]);
    let auto = accept(&without(on_bars(), "optimization_method"));
    assert_eq!(auto.spec.method, Method::Auto);
    assert_eq!(warned(&auto), []);
    let close = accept(&with(on_bars(), "/backtest_config/fill", json!("close")));
    assert_eq!(warned(&close), [("look_ahead", "/backtest_config/fill")]);
    let mixed = with(on_bars(), "/stock_codes", json!(["AAPL", "600000.SH"]));
    let plain = [("market_is_plain", "/backtest_config/market")];
    assert_eq!(warned(&accept(&mixed)), plain);
    let chosen = accept(&with(mixed, "/backtest_config/market", json!("plain")));
    assert_eq!(warned(&chosen), []);
    let late = with(on_bars(), "/stock_codes", json!(["300750.SZ"]));
    let late = accept(&with(late, "/backtest_config/market", json!("plain")));
    assert_eq!(warned(&late), [("partial_market_data", "/stock_codes")]);
    let idle = check_with(&on_bars(), 0, check_optimization).unwrap();
    assert_eq!(warned(&idle), [("no_live_worker", "")]);
}

#[test]
fn the_market_is_that_of_the_exchange_unless_it_is_named() {
    let of = |codes: Value, market: Value| {
        let body = with(on_bars(), "/stock_codes", codes);
        let accepted = accept(&with(body, "/backtest_config/market", market));
        let market = accepted.spec.backtest.market;
        assert_eq!(accepted.resolved["market"], market.name());
        assert_eq!(warned(&accepted), []);
        market
    };
    assert_eq!(of(json!(["600000.SH"]), Value::Null), Market::CnA);
    assert_eq!(of(json!(["600000.SH"]), json!("plain")), Market::Plain);
    assert_eq!(of(json!(["AAPL"]), Value::Null), Market::Plain);
    assert_eq!(of(json!(["AAPL"]), json!("us")), Market::Us);
    let body = with(on_bars(), "/stock_codes", json!(["600000.SH", "AAPL"]));
    let found = faults(&with(body, "/backtest_config/market", json!("cn_a")));
    assert_eq!(told(&found), expected(&[("/stock_codes/1", "not_a_share")]));
    let body = with(on_bars(), "/backtest_config/market", json!("hk"));
    let found = faults(&body);
    assert_eq!(
        told(&found),
        expected(&[("/backtest_config/market", "unknown_value")])
    );
    assert_eq!(
        found[0].allowed,
        Some(vec!["plain".into(), "cn_a".into(), "us".into()])
    );
}

#[test]
fn bars_outside_the_period_are_missing_bars() {
    let body = with(on_bars(), "/stock_codes", json!(["AAPL", "300750.SZ"]));
    let found = faults(&with(body, "/end_date", json!("2017-12-31")));
    assert_eq!(
        told(&found),
        expected(&[("/stock_codes/1", "missing_market_data")])
    );
    assert_eq!(found[0].limit, Some(json!("2018-06-11 to 2022-12-30")));
}

#[test]
fn too_few_days_between_the_bars_and_the_period_are_missing_bars() {
    // The bars end on 2022-12-30.
    let from = |days: i64| {
        let start = day(2022, 12, 30) - chrono::TimeDelta::days(days - 1);
        let body = with(on_bars(), "/start_date", json!(start.to_string()));
        with(body, "/end_date", json!("2023-12-31"))
    };
    assert_eq!(
        warned(&accept(&from(MIN_PERIOD_DAYS))),
        [("partial_market_data", "/stock_codes")]
    );
    let found = faults(&from(MIN_PERIOD_DAYS - 1));
    assert_eq!(
        told(&found),
        expected(&[("/stock_codes/0", "missing_market_data")])
    );
    assert_eq!(found[0].limit, Some(json!("2003-01-02 to 2022-12-30")));
}

#[test]
fn a_name_without_a_character_is_not_taken_for_the_document() {
    let found = faults(&with(on_bars(), "/labels", json!({"": "x"})));
    assert_eq!(told(&found), expected(&[("/labels/", "empty")]));
    assert_eq!(found[0].detail, "\"\" is blank; give it a text");
}

#[test]
fn a_choice_with_a_control_character_is_refused() {
    for (text, code) in [
        ("a\0b", "nul_character"),
        ("a\nb", "control_character"),
        ("\u{85}", "control_character"),
    ] {
        let space = json!({"k": {"type": "categorical", "choices": ["fine", text]}});
        let found = faults(&with(on_sphere(), "/param_space", space));
        assert_eq!(
            told(&found),
            expected(&[("/param_space/k/choices/1", code)])
        );
    }
}

#[test]
fn periods_are_bounded_at_both_ends() {
    let until = |days: i64| {
        let end = day(2013, 1, 1) + chrono::TimeDelta::days(days - 1);
        with(on_bars(), "/end_date", json!(end.to_string()))
    };
    assert_eq!(accept(&until(MIN_PERIOD_DAYS)).planned, DEFAULT_TRIALS);
    assert_eq!(accept(&until(MAX_PERIOD_DAYS)).planned, DEFAULT_TRIALS);
    let long = faults(&until(MAX_PERIOD_DAYS + 1));
    assert_eq!(told(&long), expected(&[("/end_date", "period_too_long")]));
}

#[test]
fn null_is_not_given_and_a_negative_zero_is_zero() {
    let mut body = on_bars();
    for field in [
        "timeout",
        "seed",
        "labels",
        "backtest_config",
        "stop",
        "validation",
        "pruner",
    ] {
        body[field] = Value::Null;
    }
    assert_eq!(accept(&body).spec.seed, MAX_SEED);
    let zero = accept(&with(
        on_bars(),
        "/backtest_config/commission_rate",
        json!(-0.0),
    ));
    assert!(zero.spec.backtest.commission_rate.is_sign_positive());
}

#[test]
fn order_time_and_labels_come_through() {
    let mut body = on_bars();
    body["priority"] = json!("high");
    body["not_before"] = json!("2027-01-31T08:00:00+08:00");
    body["labels"] = json!({"team": "quant", "阶段": "一"});
    body["n_trials"] = json!(10.0);
    body["start_date"] = json!("2013-01-01T23:30:00+08:00");
    let accepted = accept(&body);
    assert_eq!(accepted.priority, Priority::High);
    assert_eq!(
        accepted.not_before.unwrap().to_rfc3339(),
        "2027-01-31T00:00:00+00:00"
    );
    assert_eq!(accepted.labels["阶段"], "一");
    assert_eq!(
        (accepted.spec.n_trials, accepted.spec.start_date),
        (10, day(2013, 1, 1))
    );
}

/// A request for one backtest.
fn a_run() -> Value {
    json!({
        "task_type": "backtest",
        "task_name": "一次回测",
        "strategy_name": "moving_average",
        "stock_codes": ["AAPL"],
        "start_date": "2013-01-01",
        "end_date": "2022-12-31",
        "strategy_config": {"short_window": 10.0, "long_window": 60},
    })
}

/// The request in the form of the service that this one replaces.
fn nested() -> Value {
    let mut body = on_bars();
    let fields = body.as_object_mut().unwrap();
    let moved: Map<String, Value> = [
        "strategy_name",
        "param_space",
        "objective_config",
        "optimization_method",
    ]
    .iter()
    .map(|name| ((*name).to_owned(), fields.remove(*name).unwrap()))
    .collect();
    fields.insert("optimization_config".to_owned(), Value::Object(moved));
    fields.insert("task_type".to_owned(), json!("hyperparameter_optimization"));
    body
}

/// The same with all but kind and name in `config`.
fn wrapped(mut body: Value) -> Value {
    let fields = body.as_object_mut().unwrap();
    let outer = ["task_type", "task_name"].map(|name| (name, fields.remove(name).unwrap()));
    let mut wrapped = json!({"config": body});
    for (name, value) in outer {
        wrapped[name] = value;
    }
    wrapped
}

#[test]
fn all_forms_of_a_task_mean_the_same() {
    let flat = with(
        on_bars(),
        "/task_type",
        json!("hyperparameter_optimization"),
    );
    let flat = check_with(&flat, 2, check_task).unwrap();
    assert_eq!(flat, accept(&on_bars()).accepted);
    assert_eq!(check_with(&nested(), 2, check_task).unwrap(), flat);
    assert_eq!(check_with(&wrapped(nested()), 2, check_task).unwrap(), flat);
}

#[test]
fn faults_of_the_nested_form_name_the_nested_place() {
    let mut body = nested();
    let config = &mut body["optimization_config"];
    config["n_trials"] = json!(0);
    config["param_space"]["short_window"]["low"] = json!(99);
    config["pruner"] = json!("none");
    config.as_object_mut().unwrap().remove("objective_config");
    let found = check_with(&body, 2, check_task).unwrap_err();
    assert_eq!(
        told(&found),
        expected(&[
            ("/optimization_config/n_trials", "out_of_range"),
            (
                "/optimization_config/param_space/short_window/low",
                "low_above_high"
            ),
            ("/optimization_config/pruner", "unknown_field"),
            ("/optimization_config/objective_config", "required"),
        ])
    );
    let twice = with(nested(), "/strategy_name", json!("sphere"));
    let found = check_with(&twice, 2, check_task).unwrap_err();
    assert_eq!(told(&found), expected(&[("/strategy_name", "given_twice")]));
    let mut odd = with(nested(), "/optimization_config", json!("moving_average"));
    odd["n_trials"] = json!(0);
    let found = check_with(&odd, 2, check_task).unwrap_err();
    assert_eq!(
        told(&found),
        expected(&[
            ("/optimization_config", "wrong_type"),
            ("/n_trials", "out_of_range")
        ])
    );
}

#[test]
fn a_kind_that_is_not_built_is_refused_plainly() {
    for kind in ["training", "prediction"] {
        let found = check_with(&json!({"task_type": kind}), 2, check_task).unwrap_err();
        assert_eq!(told(&found), expected(&[("/task_type", "kind_not_built")]));
        assert!(found[0].detail.contains(kind), "{}", found[0].detail);
    }
    let wrong = with(
        on_bars(),
        "/task_type",
        json!("hyperparameter_optimisation"),
    );
    let found = check_with(&wrong, 2, check_task).unwrap_err();
    assert_eq!(told(&found), expected(&[("/task_type", "unknown_value")]));
    let found = check_with(&on_bars(), 2, check_task).unwrap_err();
    assert_eq!(told(&found), expected(&[("/task_type", "required")]));
}

#[test]
fn a_body_that_is_no_clear_json_is_refused_whole() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deepest = format!("{}{}", "[".repeat(127), "]".repeat(127));
    let cases: [(&[u8], &str); 13] = [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "ends too early"),
        (b"{\"a\": 1,}", "line 1, column 9"),
        (b"{\"a\": 1}\n}", "line 2, column 1"),
        (b"{\"n_trials\": 1e400}", "number out of range"),
        (b"{\"n_trials\": -1e400}", "number out of range"),
        (b"{\"n_trials\": NaN}", "line 1"),
        (
            b"{\"n_trials\": 1, \"n_trials\": 2}",
            "\"n_trials\" is given twice",
        ),
        (
            b"{\"a\": [{\"b\": 1, \"\\u0062\": 2}]}",
            "\"b\" is given twice",
        ),
        (b"{\"a\": \"\xff\"}", "byte 7"),
        (b"{\"a\": \"\\ud800\"}", "line 1"),
        (deep.as_bytes(), "recursion limit"),
    ];
    for (bytes, part) in cases {
        let found = parse_body(bytes).unwrap_err();
        assert_eq!(told(&found), expected(&[("", "invalid_json")]));
        assert!(found[0].detail.contains(part), "{}", found[0].detail);
    }
    assert!(parse_body(deepest.as_bytes()).is_ok());
    let body = br#"{"a": [1, -2, 3.5, null, true, "x"], "b": {"a": 18446744073709551615}}"#;
    assert_eq!(
        parse_body(body).unwrap(),
        serde_json::from_slice::<Value>(body).unwrap()
    );
}

#[test]
fn codes_are_found_in_any_document_without_complaint() {
    assert_eq!(
        symbols(&json!({"stock_codes": ["B", 5, "A", "B", "a b", "\u{0}", null]})),
        ["A", "B"]
    );
    for odd in [
        json!(null),
        json!({}),
        json!({"stock_codes": "A"}),
        json!([["A"]]),
    ] {
        assert!(symbols(&odd).is_empty(), "{odd}");
    }
}

#[test]
fn the_schema_of_a_task_requires_what_the_check_requires_in_every_form() {
    let schema = task_request_schema();
    let [flat, older, oldest, run, old_run] = schema["anyOf"].as_array().unwrap().as_slice() else {
        panic!("{schema}");
    };
    let in_flat = with(
        on_bars(),
        "/task_type",
        json!("hyperparameter_optimization"),
    );
    let part = |form: &Value, path: &[&str]| {
        path.iter()
            .fold(form.clone(), |form, name| form["properties"][name].clone())
    };
    let nest = "optimization_config";
    let forms = [
        // Symbols and days are not among them: a client goes without.
        (flat.clone(), in_flat, "", 5),
        (older.clone(), nested(), "", 3),
        (part(older, &[nest]), nested(), "/optimization_config", 3),
        (oldest.clone(), wrapped(nested()), "", 3),
        (part(oldest, &["config"]), wrapped(nested()), "/config", 1),
        (
            part(oldest, &["config", nest]),
            wrapped(nested()),
            "/config/optimization_config",
            3,
        ),
        (run.clone(), a_run(), "", 6),
        (old_run.clone(), wrapped(a_run()), "", 3),
        (part(old_run, &["config"]), wrapped(a_run()), "/config", 4),
    ];
    for (form, body, at, count) in forms {
        let names = form["required"].as_array().unwrap();
        assert_eq!(names.len(), count, "{at}: {names:?}");
        for name in names.iter().map(|name| name.as_str().unwrap()) {
            let mut lacking = body.clone();
            let place = lacking.pointer_mut(at).unwrap().as_object_mut().unwrap();
            place.remove(name).unwrap_or_else(|| panic!("{at}/{name}"));
            check_with(&lacking, 2, check_task).expect_err(name);
        }
        for name in form["properties"].as_object().unwrap().keys() {
            let pointer = format!("{at}/{name}");
            let odd = with(body.clone(), &pointer, json!({"odd": 1}));
            let found = check_with(&odd, 2, check_task).err().unwrap_or_default();
            let unknown = (pointer, "unknown_field".to_owned());
            assert!(!told(&found).contains(&unknown), "{unknown:?}");
        }
    }
}

#[test]
fn the_schema_agrees_with_the_check() {
    let schema = request_schema();
    let property = |path: &str| &schema["properties"][path];
    for name in schema["required"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        let found = faults(&without(on_bars(), name));
        assert_eq!(told(&found), expected(&[(&format!("/{name}"), "required")]));
    }
    // Every field of the schema is known to the check, and every bound is the last accepted value.
    let numbers = [
        "n_trials",
        "seed",
        "parallelism",
        "timeout",
        "trial_timeout",
    ];
    for name in schema["properties"].as_object().unwrap().keys() {
        let body = with(on_bars(), &format!("/{name}"), json!({"odd": 1}));
        let known = faults(&body)
            .iter()
            .all(|f| f.pointer != format!("/{name}") || f.code != "unknown_field");
        assert!(known, "{name}");
        if !numbers.contains(&name.as_str()) {
            continue;
        }
        let bound = &property(name)["maximum"];
        accept(&with(on_bars(), &format!("/{name}"), bound.clone()));
        let beyond = json!(bound.as_f64().unwrap() + 1.0);
        let found = faults(&with(on_bars(), &format!("/{name}"), beyond));
        assert_eq!(
            told(&found),
            expected(&[(&format!("/{name}"), "out_of_range")])
        );
        match property(name).get("minimum") {
            Some(least) => {
                accept(&with(on_bars(), &format!("/{name}"), least.clone()));
                let below = json!(least.as_i64().unwrap() - 1);
                faults(&with(on_bars(), &format!("/{name}"), below));
            }
            None => {
                assert_eq!(property(name)["exclusiveMinimum"], 0);
                faults(&with(on_bars(), &format!("/{name}"), json!(0)));
            }
        }
    }
    let backtest = property("backtest_config")["properties"]
        .as_object()
        .unwrap();
    for (name, field) in backtest {
        let pointer = format!("/backtest_config/{name}");
        if let Some(default) = field.get("default") {
            accept(&with(on_bars(), &pointer, default.clone()));
        }
        for bound in ["minimum", "maximum"]
            .iter()
            .filter_map(|bound| field.get(*bound))
        {
            accept(&with(on_bars(), &pointer, bound.clone()));
        }
        for name in field
            .get("enum")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let body = with(on_bars(), &pointer, name.clone());
            // The rules of a market are those of its shares.
            let share = json!(["600000.SH"]);
            accept(&match name == "cn_a" {
                true => with(body, "/stock_codes", share),
                false => body,
            });
        }
    }
    let metrics =
        &property("objective_config")["properties"]["objective_metric"]["anyOf"][0]["enum"];
    for metric in metrics.as_array().unwrap() {
        let base = match metric.as_str().unwrap() {
            "value" => on_sphere(),
            "f1" | "f2" => with(on_sphere(), "/strategy_name", json!("schaffer")),
            "custom" => with(
                on_bars(),
                "/objective_config/objective_weights",
                json!({"sharpe": 1e6, "max_drawdown": 0.5}),
            ),
            _ => on_bars(),
        };
        accept(&with(
            base,
            "/objective_config/objective_metric",
            metric.clone(),
        ));
    }
    let example = with(
        schema["examples"][0].clone(),
        "/stock_codes",
        json!(["600000.SH"]),
    );
    assert_eq!(accept(&example).spec.n_trials, 1000);
}

#[test]
fn a_constraint_that_names_no_parameter_says_what_was_meant() {
    let text = "exit_treshold < entry_threshold";
    let mut body = on_sphere();
    let axis = json!({"type": "float", "low": 0, "high": 3});
    body["param_space"] = json!({"entry_threshold": axis, "exit_threshold": axis});
    body["constraints"] = json!([text]);
    let found = faults(&body);
    assert_eq!(
        told(&found),
        expected(&[("/constraints/0", "unknown_name")])
    );
    assert_eq!(found[0].value, text);
    assert_eq!(found[0].position, Some(0));
    let names = ["entry_threshold", "exit_threshold"].map(str::to_owned);
    assert_eq!(found[0].allowed, Some(names.to_vec()));
    assert_eq!(
        found[0].detail,
        "exit_treshold is not a parameter; did you mean exit_threshold?"
    );
}

#[test]
fn faults_of_parameters_and_of_expressions_are_told_at_once() {
    let mut body = on_sphere();
    body["param_space"] = json!({
        "a": {"type": "int", "low": 5, "high": 1},
        "b": {"type": "int", "low": 1, "high": 9, "when": "a > 2 and c == 'x'"},
        "d": {"type": "int", "low": 1, "high": 9},
    });
    body["constraints"] = json!(["a < b", "b < e", "d <"]);
    assert_eq!(
        told(&faults(&body)),
        expected(&[
            ("/param_space/a/low", "low_above_high"),
            ("/param_space/b/when", "unknown_name"),
            ("/constraints/1", "unknown_name"),
            ("/constraints/2", "unexpected_token"),
        ])
    );
}

#[test]
fn a_space_without_a_point_that_keeps_the_constraints_is_refused() {
    let body = with(on_sphere(), "/constraints", json!(["x > 4", "x < 3"]));
    let found = faults(&body);
    assert_eq!(
        told(&found),
        expected(&[("/constraints", "no_feasible_point_found")])
    );
    assert_eq!(found[0].limit, Some(json!(10_000)));
    accept(&with(
        on_sphere(),
        "/constraints",
        json!(["x > 4", "x < 4.5"]),
    ));
}

#[test]
fn a_conditional_parameter_is_absent_where_its_condition_does_not_hold() {
    let mut body = on_sphere();
    body["param_space"] = json!({
        "mode": {"type": "categorical", "choices": ["trend", "hold"], "default": "hold"},
        "fast": {"type": "int", "low": 2, "high": 20, "default": 5, "when": "mode == 'trend'"},
        "gap": {"type": "int", "enabled": false, "default": 3},
    });
    body["constraints"] = json!(["fast > gap"]);
    body["initial_params"] = json!([{"mode": "trend"}, {"mode": "trend", "fast": 9}]);
    let accepted = accept(&body);
    let named: Vec<BTreeMap<String, Choice>> = accepted
        .spec
        .first_points
        .iter()
        .map(|point| accepted.spec.named(point))
        .collect();
    let text = |text: &str| Choice::Text(text.to_owned());
    let point = |pairs: &[(&str, Choice)]| -> BTreeMap<String, Choice> {
        let pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone()));
        pairs.chain([("gap".to_owned(), Choice::Int(3))]).collect()
    };
    assert_eq!(
        named,
        [
            point(&[("mode", text("hold"))]),
            point(&[("fast", Choice::Int(5)), ("mode", text("trend"))]),
            point(&[("fast", Choice::Int(9)), ("mode", text("trend"))]),
        ]
    );
    let stored = TaskSpec::from_json(&accepted.spec.to_json()).unwrap();
    assert_eq!(stored, accepted.spec);

    body["initial_params"] = json!([
        {"mode": "hold", "fast": 9},
        {"mode": "trend", "fast": 2},
        {"mode": "trend", "gap": 4},
    ]);
    assert_eq!(
        told(&faults(&body)),
        expected(&[
            ("/initial_params/0/fast", "inactive_parameter"),
            ("/initial_params/1", "constraint_broken"),
            ("/initial_params/2/gap", "disabled_parameter"),
        ])
    );
}

#[test]
fn first_points_come_after_the_defaults_and_none_beyond_the_trials() {
    let list = json!([{"short_window": 9}, {"short_window": 5, "long_window": 60}]);
    let body = with(on_bars(), "/initial_params", list);
    let accepted = accept(&with(body.clone(), "/n_trials", json!(3)));
    let short = |point| accepted.spec.named(point)["short_window"].clone();
    let shorts: Vec<Choice> = accepted.spec.first_points.iter().map(short).collect();
    // The second is the point of the defaults, which comes first anyway.
    assert_eq!(shorts, [Choice::Int(5), Choice::Int(9)]);
    let found = faults(&with(body, "/n_trials", json!(2)));
    assert_eq!(told(&found), expected(&[("/initial_params", "too_many")]));
    let unsuitable = json!([{"short_window": 20, "long_window": 30}, {}]);
    accept(&with(on_bars(), "/initial_params", unsuitable));
    let unsuitable = with(
        on_bars(),
        "/param_space/long_window",
        json!({"type": "int", "low": 10, "high": 120, "default": 60}),
    );
    let unsuitable = with(
        unsuitable,
        "/initial_params",
        json!([{"short_window": 20, "long_window": 10}]),
    );
    assert_eq!(
        told(&faults(&unsuitable)),
        expected(&[("/initial_params/0", "unsuitable_parameters")])
    );
}

#[test]
fn a_search_that_reads_history_repeats_only_one_trial_after_the_other() {
    let reproducible = |method: &str, parallelism: Value| {
        let body = with(on_bars(), "/optimization_method", json!(method));
        let accepted = accept(&with(body, "/parallelism", parallelism));
        accepted.resolved["reproducible"].as_bool().unwrap()
    };
    assert!(reproducible("sobol", json!(null)));
    assert!(!reproducible("tpe", json!(null)));
    assert!(!reproducible("tpe", json!(2)));
    assert!(reproducible("tpe", json!(1)));
}

#[test]
fn a_backtest_is_read_in_every_form() {
    let accepted = check_with(&a_run(), 2, check_task).unwrap();
    let run = accepted.spec.as_run().unwrap();
    assert_eq!(run.params["short_window"], Choice::Float(10.0));
    assert_eq!(run.params["long_window"], Choice::Int(60));
    assert_eq!((accepted.planned, run.time_limit), (1, 300.0));
    assert_eq!(accepted.resolved["params"]["signal_threshold"], 0.005);
    assert_eq!(
        accepted.series,
        BTreeMap::from([("AAPL".to_owned(), [2; 32])])
    );
    assert_eq!(RunSpec::from_json(&run.to_json()).unwrap(), *run);
    assert_eq!(
        check_with(&wrapped(a_run()), 2, check_task).unwrap(),
        accepted
    );
    let mut old = a_run();
    let fields = old.as_object_mut().unwrap();
    for (new, older) in [
        ("strategy_name", "strategy_type"),
        ("strategy_config", "strategy_params"),
    ] {
        let value = fields.remove(new).unwrap();
        fields.insert(older.to_owned(), value);
    }
    assert_eq!(check_with(&old, 2, check_task).unwrap(), accepted);
    let costs = with(a_run(), "/commission_rate", json!(0.001));
    let outer = check_with(&costs, 2, check_task).unwrap();
    let costs = with(a_run(), "/backtest_config/commission_rate", json!(0.001));
    assert_eq!(check_with(&costs, 2, check_task).unwrap(), outer);
    assert_eq!(outer.spec.as_run().unwrap().backtest.commission_rate, 0.001);
}

#[test]
fn every_fault_of_a_backtest_is_told_at_once() {
    let body = json!({
        "task_type": "backtest",
        "strategy_type": "moving_average",
        "stock_codes": ["AAPL", "MISSING"],
        "start_date": "2013-01-01",
        "end_date": "2013-01-02",
        "strategy_config": {"short_window": 1, "lng_window": 30, "signal_threshold": "high"},
        "strategy_params": {},
        "initial_cash": -5,
        "slippage_rate": 0.1,
        "backtest_config": {"slippage_rate": 0.2, "fill": "yesterday", "partners": ["AAPL"]},
        "n_trials": 10,
    });
    assert_eq!(
        told(&check_with(&body, 2, check_task).unwrap_err()),
        expected(&[
            ("/task_name", "required"),
            ("/stock_codes/1", "missing_market_data"),
            ("/end_date", "period_too_short"),
            ("/strategy_config/short_window", "out_of_range"),
            ("/strategy_config/lng_window", "unknown_parameter"),
            ("/strategy_config/signal_threshold", "wrong_type"),
            ("/strategy_params", "given_twice"),
            ("/initial_cash", "out_of_range"),
            ("/slippage_rate", "given_twice"),
            ("/backtest_config/fill", "unknown_value"),
            ("/backtest_config/partners", "not_for_one_leg"),
            ("/n_trials", "unknown_field"),
        ])
    );
    let function = with(a_run(), "/strategy_name", json!("sphere"));
    let found = check_with(&function, 2, check_task).unwrap_err();
    assert_eq!(
        told(&found),
        expected(&[("/strategy_name", "unknown_strategy")])
    );
    let unsuitable = with(
        a_run(),
        "/strategy_config",
        json!({"short_window": 30, "long_window": 20}),
    );
    let found = check_with(&unsuitable, 2, check_task).unwrap_err();
    assert_eq!(
        told(&found),
        expected(&[("/strategy_config", "unsuitable_parameters")])
    );
}

#[test]
fn stop_rules_are_taken_and_told_in_what_is_reproducible() {
    let stop = json!({"target": -0.0, "patience": 20.0});
    let with_stop = |parallelism: Value| {
        let body = with(on_bars(), "/stop", stop.clone());
        let body = with(body, "/optimization_method", json!("random"));
        accept(&with(body, "/parallelism", parallelism))
    };
    let search = with_stop(json!(4));
    assert_eq!(search.spec.stop.patience, Some(20));
    let target = search.spec.stop.target.map(f64::to_bits);
    assert_eq!(target, Some(0.0_f64.to_bits()));
    // Which trials have ended when a rule is met depends on timing, unless one runs at a time.
    assert_eq!(search.resolved["reproducible"], false);
    assert_eq!(with_stop(json!(1)).resolved["reproducible"], true);
    let none = with(
        on_bars(),
        "/stop",
        json!({"target": null, "patience": null}),
    );
    assert!(accept(&none).spec.stop.is_empty());
}

#[test]
fn a_task_has_one_book_unless_it_asks_for_one_a_symbol() {
    use trialmill_common::spec::{Aggregate, Scope};
    let alone = with(on_bars(), "/scope", json!("per_symbol"));
    for (body, scope) in [
        (on_bars(), Scope::Portfolio),
        (
            with(on_bars(), "/scope", json!("portfolio")),
            Scope::Portfolio,
        ),
        (alone.clone(), Scope::PerSymbol(Aggregate::Mean)),
        (
            with(alone, "/aggregate", json!("worst")),
            Scope::PerSymbol(Aggregate::Worst),
        ),
    ] {
        let search = accept(&body);
        assert_eq!(search.spec.scope, scope);
        assert_eq!(search.resolved["scope"], scope.name());
        let aggregate = scope.aggregate().map(Aggregate::name);
        assert_eq!(search.resolved["aggregate"].as_str(), aggregate);
    }
    let run = with(a_run(), "/scope", json!("per_symbol"));
    let run = with(run, "/aggregate", json!("median"));
    let accepted = check_with(&run, 2, check_task).unwrap();
    let spec = accepted.spec.as_run().unwrap();
    assert_eq!(spec.scope, Scope::PerSymbol(Aggregate::Median));
    assert_eq!(accepted.resolved["aggregate"], "median");
    let function = with(on_sphere(), "/scope", json!("per_symbol"));
    assert_eq!(
        told(&faults(&function)),
        expected(&[("/scope", "not_for_functions")])
    );
}

#[test]
fn the_body_of_a_task_made_from_another_is_checked_whole() {
    let search = accept(&on_bars()).accepted.spec;
    let n_trials = search.as_search().unwrap().n_trials;
    let code = |how, body: Value| -> Vec<(String, String)> {
        match check_changes(&body, how, &search) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.into_iter().map(|f| (f.pointer, f.code)).collect(),
        }
    };
    let fault = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    assert_eq!(code(OriginHow::Retry, json!({})), []);
    assert_eq!(code(OriginHow::Clone, json!({"seed": null})), []);
    assert_eq!(
        code(
            OriginHow::Clone,
            json!({"seed": -1, "task_name": " ", "n_trials": 5})
        ),
        [
            fault("/n_trials", "unknown_field"),
            fault("/task_name", "empty"),
            fault("/seed", "out_of_range")
        ]
    );
    assert_eq!(
        code(OriginHow::Extend, json!({})),
        [fault("/n_trials", "required")]
    );
    assert_eq!(
        code(OriginHow::Extend, json!({"n_trials": n_trials})),
        [fault("/n_trials", "out_of_range")]
    );
    assert_eq!(code(OriginHow::Retry, json!([])), [fault("", "wrong_type")]);
}
