//! The request of a search whose trials are run by clients.

use super::{accept, assert_told, at_client, check_with, faults, on_bars, warned, with, with_two};
use serde_json::{Value, json};
use trialmill_common::draft::{check_optimization, check_task, request_schema};
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::Direction;
use trialmill_search::{MAX_NAME_CHARS, Method};

#[test]
fn a_client_needs_no_symbols_no_days_and_no_worker() {
    let accepted = accept(&at_client());
    let spec = &accepted.spec;
    assert!(spec.runs_at_client() && !spec.is_assessed());
    assert!(spec.stock_codes.is_empty() && accepted.series.is_empty());
    assert_eq!(spec.result_constraints, []);
    assert_eq!(spec.objectives[0].metric, "loss");
    assert_eq!(spec.objectives[0].direction, Direction::Minimize);
    assert_eq!(spec.method, Method::Tpe);
    assert_eq!(warned(&accepted), []);
    assert_eq!(TaskSpec::from_json(&spec.to_json()).unwrap(), *spec);
    let alone = check_with(&at_client(), 0, check_optimization).unwrap();
    assert_eq!(warned(&alone), [], "no worker is missed");
    let flat = with(
        at_client(),
        "/task_type",
        json!("hyperparameter_optimization"),
    );
    let of_tasks = check_with(&flat, 2, check_task).unwrap();
    assert_eq!(of_tasks, accepted.accepted);
}

#[test]
fn what_a_client_leaves_out_may_be_null_and_what_it_gives_is_checked_or_ignored() {
    let mut body = at_client();
    for name in [
        "stock_codes",
        "start_date",
        "end_date",
        "validation",
        "pruner",
    ] {
        body[name] = Value::Null;
    }
    assert_eq!(accept(&body).spec, accept(&at_client()).spec);
    body["stock_codes"] = json!(["600001.SH"]);
    body["start_date"] = json!("2023-01-02");
    body["end_date"] = json!("2023-01-02");
    let coded = accept(&body);
    assert_eq!(warned(&coded), [("stock_codes_ignored", "/stock_codes")]);
    assert!(coded.spec.stock_codes.is_empty());
    assert_eq!(coded.spec.start_date.to_string(), "2023-01-02");
    for (pointer, value, code) in [
        ("/end_date", json!("2023-01-01"), "dates_reversed"),
        ("/end_date", json!("soon"), "malformed_date"),
        ("/end_date", json!(null), "required"),
        ("/start_date", json!(null), "required"),
        ("/stock_codes", json!("AAPL"), "wrong_type"),
    ] {
        let found = faults(&with(body.clone(), pointer, value.clone()));
        assert_told(&found, &[(pointer, code)], &value);
    }
}

#[test]
fn everything_else_is_required_of_a_client_too() {
    let found = faults(&json!({"strategy_name": "client"}));
    let required = [
        ("/task_name", "required"),
        ("/param_space", "required"),
        ("/objective_config", "required"),
    ];
    assert_told(&found, &required, &"nothing but the strategy");
}

#[test]
fn a_metric_of_its_own_needs_a_direction_and_a_known_one_has_its_own() {
    let metric = "/objective_config/objective_metric";
    let undirected = with(at_client(), "/objective_config/direction", Value::Null);
    let found = faults(&undirected);
    assert_told(&found, &[(metric, "direction_required")], &undirected);
    assert_eq!(found[0].value, "loss");
    let allowed = ["maximize", "minimize"].map(str::to_owned);
    assert_eq!(found[0].allowed.as_deref(), Some(&allowed[..]));

    let known = accept(&with(undirected, metric, json!("sharpe")));
    let target = &known.spec.objectives[0];
    assert_eq!(
        (target.metric.as_str(), target.direction),
        ("sharpe_ratio", Direction::Maximize)
    );
    // What backtests refuse, or do not know, a client may mean in its own way.
    for own in ["ic", "custom", "value", "_", "Loss2"] {
        let spec = accept(&with(at_client(), metric, json!(own))).spec;
        assert_eq!(spec.objectives[0].metric, own);
    }
    let found = faults(&with(at_client(), metric, json!("sharpe")));
    assert_told(
        &found,
        &[("/objective_config/direction", "contradicting_direction")],
        &"sharpe",
    );

    // Of several each that lacks one is told.
    let several = json!({"objective_metric": ["loss", "mdd", "speed"]});
    let found = faults(&with(at_client(), "/objective_config", several));
    assert_told(
        &found,
        &[
            ("/objective_config/objective_metric/0", "direction_required"),
            ("/objective_config/objective_metric/2", "direction_required"),
        ],
        &"several",
    );
    let two = accept(&with_two()).spec.objectives;
    assert_eq!(two[1].direction, Direction::Maximize);
}

#[test]
fn a_metric_of_a_client_has_a_name_that_an_expression_can_use() {
    let metric = "/objective_config/objective_metric";
    let longest = "m".repeat(MAX_NAME_CHARS);
    assert_eq!(
        accept(&with(at_client(), metric, json!(longest)))
            .spec
            .objectives[0]
            .metric,
        longest
    );
    for (value, code) in [
        (json!("val loss"), "malformed_name"),
        (json!("val-loss"), "malformed_name"),
        (json!("2nd"), "malformed_name"),
        (json!(""), "malformed_name"),
        (json!("损失"), "malformed_name"),
        (json!("a\u{0}"), "malformed_name"),
        (json!("m".repeat(MAX_NAME_CHARS + 1)), "malformed_name"),
        (json!(5), "wrong_type"),
        (json!([]), "empty"),
        (json!(vec!["loss"; 9]), "too_many"),
    ] {
        let found = faults(&with(at_client(), metric, value.clone()));
        assert_told(&found, &[(metric, code)], &value);
    }
    let twice = json!(["loss", "sharpe", "sharpe_ratio", "loss"]);
    let body = with(at_client(), metric, twice);
    let body = with(
        body,
        "/objective_config/direction",
        json!(["minimize", "maximize", "maximize", "minimize"]),
    );
    let found = faults(&body);
    let second = "/objective_config/objective_metric/2";
    let fourth = "/objective_config/objective_metric/3";
    assert_told(
        &found,
        &[(second, "duplicate"), (fourth, "duplicate")],
        &"twice",
    );
}

#[test]
fn a_result_constraint_of_a_client_may_name_any_metric() {
    let constraints = json!(["megabytes <= 80 and sharpe > 0.5", "ic > 0"]);
    let spec = accept(&with(at_client(), "/result_constraints", constraints)).spec;
    let texts: Vec<_> = spec
        .result_constraints
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(texts, ["megabytes <= 80 and sharpe > 0.5", "ic > 0"]);
    assert_eq!(TaskSpec::from_json(&spec.to_json()).unwrap(), spec);
    for (text, code) in [
        ("megabytes", "not_a_condition"),
        ("megabytes <=", "unexpected_token"),
        ("megabytes == 'small'", "type_mismatch"),
    ] {
        let found = faults(&with(at_client(), "/result_constraints", json!([text])));
        assert_told(&found, &[("/result_constraints/0", code)], &text);
    }
}

#[test]
fn what_takes_bars_is_not_for_a_client() {
    let mut body = at_client();
    body["scope"] = json!("per_symbol");
    body["validation"] = json!({"method": "cross_validation", "segments": 4});
    let found = faults(&body);
    assert_told(
        &found,
        &[
            ("/scope", "not_for_functions"),
            ("/validation/method", "not_for_functions"),
        ],
        &body,
    );
    let run = json!({
        "task_type": "backtest", "task_name": "one", "strategy_name": "client", "stock_codes": ["AAPL"],
        "start_date": "2013-01-01", "end_date": "2022-12-31",
    });
    let found = check_with(&run, 2, check_task).unwrap_err();
    assert_told(&found, &[("/strategy_name", "unknown_strategy")], &run);
    assert!(
        found[0].detail.contains("POST /optimization/tasks"),
        "{}",
        found[0].detail
    );
    assert!(
        !found[0]
            .allowed
            .as_ref()
            .unwrap()
            .contains(&"client".to_owned())
    );
    let found = faults(&with(at_client(), "/strategy_name", json!("cliemt")));
    let named = found
        .iter()
        .find(|fault| fault.code == "unknown_strategy")
        .unwrap();
    assert!(
        named.detail.ends_with("did you mean client?"),
        "{}",
        named.detail
    );
}

#[test]
fn the_schema_has_a_place_for_the_metrics_of_a_client() {
    let schema = request_schema();
    let properties = &schema["properties"];
    let required = schema["required"].as_array().unwrap();
    assert!(
        required
            .iter()
            .all(|name| at_client().get(name.as_str().unwrap()).is_some())
    );
    let names = properties["strategy_name"]["enum"].as_array().unwrap();
    assert!(names.contains(&json!("client")));
    let own = &properties["objective_config"]["properties"]["objective_metric"]["anyOf"][1];
    assert_eq!(
        own["pattern"],
        properties["param_space"]["propertyNames"]["pattern"]
    );
    assert_eq!(own["maxLength"], MAX_NAME_CHARS);
    let several = &properties["objective_config"]["properties"]["objective_metric"]["anyOf"][2];
    assert_eq!(several["items"]["anyOf"][1], *own);
}

#[test]
fn a_grid_of_more_points_than_trials_is_refused_unless_it_may_leave_some_out() {
    // 2 x 3 points.
    let mut body = at_client();
    body["param_space"] = json!({
        "a": {"type": "int", "low": 0, "high": 1}, "b": {"type": "int", "low": 0, "high": 2},
    });
    let grid = |method: Value, n_trials: u32| {
        let body = with(body.clone(), "/optimization_method", method);
        with(body, "/n_trials", json!(n_trials))
    };
    for n_trials in [6, 7] {
        assert_eq!(accept(&grid(json!("grid"), n_trials)).planned, 6);
    }
    for (method, pointer) in [
        (json!("grid"), "/optimization_method"),
        (json!({"name": "grid"}), "/optimization_method/name"),
        (
            json!({"name": "grid", "sample": false}),
            "/optimization_method/name",
        ),
        (
            json!({"name": "grid", "sample": null}),
            "/optimization_method/name",
        ),
    ] {
        let found = faults(&grid(method.clone(), 5));
        assert_told(&found, &[(pointer, "grid_larger_than_n_trials")], &method);
        assert_eq!(found[0].limit, Some(json!(5)));
        assert!(
            found[0].detail.contains("raise n_trials to 6"),
            "{}",
            found[0].detail
        );
    }
    let sampled = accept(&grid(json!({"name": "grid", "sample": true}), 5));
    assert_eq!((sampled.planned, sampled.spec.method), (5, Method::Grid));
    // Only a grid has points to leave out.
    let found = faults(&grid(json!({"name": "random", "sample": true}), 5));
    assert_told(
        &found,
        &[("/optimization_method/sample", "unknown_field")],
        &"random",
    );
    let found = faults(&grid(json!({"name": "grid", "sample": "yes"}), 5));
    let told = [
        ("/optimization_method/sample", "wrong_type"),
        ("/optimization_method/name", "grid_larger_than_n_trials"),
    ];
    assert!(
        found
            .iter()
            .any(|fault| (fault.pointer.as_str(), fault.code.as_str()) == told[0])
    );
    assert!(
        found
            .iter()
            .all(|fault| told.contains(&(&fault.pointer, &fault.code))),
        "{found:#?}"
    );
}

#[test]
fn only_points_that_keep_the_constraints_count_against_the_trials_of_a_grid() {
    let mut body = at_client();
    body["param_space"] = json!({
        "a": {"type": "int", "low": 0, "high": 9}, "b": {"type": "int", "low": 0, "high": 9},
    });
    body["constraints"] = json!(["a < b"]);
    body["optimization_method"] = json!("grid");
    body["n_trials"] = json!(45);
    assert_eq!(accept(&body).planned, 45);
    body["n_trials"] = json!(44);
    let found = faults(&body);
    assert_told(
        &found,
        &[("/optimization_method", "grid_larger_than_n_trials")],
        &"44 of 45",
    );
}

#[test]
fn the_windows_of_a_walk_forward_are_not_held_against_a_whole_grid() {
    let mut body = on_bars();
    body["optimization_method"] = json!("grid");
    body["validation"] = json!({"method": "walk_forward", "train": "2y", "test": "1y"});
    // 16 x 91 points; how many trials each window gets is known when there are windows.
    assert!(accept(&body).unplanned.is_some());
    body["validation"] = Value::Null;
    let found = faults(&body);
    assert_told(
        &found,
        &[("/optimization_method", "grid_larger_than_n_trials")],
        &"one search",
    );
}
