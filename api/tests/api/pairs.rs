use crate::service::{Answer, Service, TASKS, id_of};
use chrono::NaiveDate;
use serde_json::{Value, json};
use trialmill_backtest::synthetic::{self, GroupKind};
use trialmill_common::spec::TaskSpec;
use trialmill_store::Store;

fn day(y: i32, m: u32, d: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(y, m, d).unwrap()
}

/// Invented bars of `000001.SZ` and its companions from 2013 on.
async fn import(service: &Service, kind: GroupKind, count: usize, last: NaiveDate) {
    let bars = synthetic::group(kind, 7, count, day(2013, 1, 4), last).unwrap();
    service.store.put_series(&bars, "a test").await.unwrap();
}

/// The request that this service exists for.
fn mission() -> Value {
    json!({
        "task_name": "测试超参优化",
        "strategy_name": "cointegration",
        "stock_codes": ["000001.SZ"],
        "start_date": "2023-01-01T00:00:00",
        "end_date": "2023-12-31T00:00:00",
        "param_space": {
            "lookback_period": {"type": "int", "low": 30, "high": 120, "step": 5, "default": 60},
            "entry_threshold": {"type": "float", "low": 1.0, "high": 3.0, "step": 0.1, "default": 2.0},
            "exit_threshold": {"type": "float", "low": 0.1, "high": 1.5, "step": 0.1, "default": 0.5},
            "half_life": {"type": "int", "low": 10, "high": 50, "default": 20},
        },
        "objective_config": {"objective_metric": "sharpe", "direction": "maximize"},
        "n_trials": 10,
    })
}

async fn post(service: &Service, path: &str, body: &Value) -> Answer {
    let request = service.http.post(format!("{}{path}", service.base));
    Answer::of(request.json(body).send().await.unwrap()).await
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn warnings(answer: &Answer) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let warnings = answer.body["warnings"].as_array().unwrap().iter();
    warnings
        .map(|warning| (text(&warning["pointer"]), text(&warning["code"])))
        .collect()
}

fn refused(answer: &Answer) -> Vec<(String, String)> {
    answer.problem(422, "invalid_request");
    answer.faults()
}

fn fault(pointer: &str, code: &str) -> (String, String) {
    (pointer.to_owned(), code.to_owned())
}

#[tokio::test]
async fn the_mission_request_gets_its_partner_in_every_form() {
    let service = Service::start().await;
    import(&service, GroupKind::Cointegrated, 4, day(2023, 12, 29)).await;
    let flat = mission();
    let typed = with(mission(), "task_type", json!("hyperparameter_optimization"));
    let mut nested = typed.clone();
    let mut inner = json!({});
    for name in [
        "strategy_name",
        "param_space",
        "objective_config",
        "n_trials",
    ] {
        inner[name] = nested.as_object_mut().unwrap().remove(name).unwrap();
    }
    nested["optimization_config"] = inner;
    let mut wrapped = json!({"config": nested});
    for name in ["task_type", "task_name"] {
        wrapped[name] = wrapped["config"]
            .as_object_mut()
            .unwrap()
            .remove(name)
            .unwrap();
    }
    for (path, body) in [
        (TASKS, flat),
        ("/api/v1/tasks", typed),
        ("/api/v1/tasks", nested),
        ("/api/v1/tasks", wrapped),
    ] {
        let answer = post(&service, path, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let resolved = &answer.body["resolved"];
        assert_eq!(resolved["partner"]["partner"], "SYN01.SZ");
        assert_eq!(resolved["partner"]["cointegrated"], true);
        assert_eq!(resolved["partner"]["candidates"], 3);
        assert_eq!(resolved["partner"]["tests"], 6);
        assert_eq!(
            resolved["partner"]["formation"],
            json!({"from": "2020-01-01", "to": "2022-12-31"})
        );
        assert_eq!(resolved["sampler"], "auto", "no sampler was named");
        let plan = resolved["sampler_plan"].as_str().unwrap();
        assert!(plan.starts_with("sobol (too few trials"), "{plan}");
        let id = id_of(answer.header("location").unwrap());
        let task = service.store.task(id).await.unwrap().unwrap();
        let spec = TaskSpec::from_json(&task.spec).unwrap();
        assert_eq!(spec.pairs["000001.SZ"], "SYN01.SZ");
        let pinned = service
            .store
            .snapshot(task.snapshot.unwrap())
            .await
            .unwrap();
        let symbols: Vec<String> = pinned.unwrap().series.into_keys().collect();
        assert_eq!(symbols, ["000001.SZ", "SYN01.SZ"]);
    }
    service.stop().await;
}

#[tokio::test]
async fn every_fault_of_the_mission_request_is_named() {
    let service = Service::start().await;
    import(&service, GroupKind::Cointegrated, 2, day(2023, 12, 29)).await;
    let required = [
        "task_name",
        "strategy_name",
        "stock_codes",
        "start_date",
        "end_date",
        "param_space",
        "objective_config",
    ];
    let empty = refused(&post(&service, TASKS, &json!({})).await);
    let all = required.map(|name| fault(&format!("/{name}"), "required"));
    assert_eq!(empty, all);
    let mut body = mission();
    body["start_date"] = json!("2023-02-30");
    body["n_trials"] = json!(0);
    body["optimization_method"] = json!("tpee");
    body["objective_config"] = json!({"objective_metric": "sharpe", "direction": "minimize"});
    body["param_space"]["half_life"]["low"] = json!(60);
    body["param_space"]["exit_treshold"] = json!({"type": "float", "low": 0.1, "high": 1.0});
    body["constraints"] = json!(["exit_treshhold < entry_threshold"]);
    body["initial_params"] = json!([7]);
    body["result_constraints"] = json!(["n_trade >= 10"]);
    body["backtest_config"] = json!({"fill": "yesterday", "partners": ["GONE.SZ"]});
    let mut found = refused(&post(&service, TASKS, &body).await);
    found.sort();
    let mut expected = [
        ("/start_date", "malformed_date"),
        ("/n_trials", "out_of_range"),
        ("/optimization_method", "unknown_method"),
        ("/objective_config/direction", "contradicting_direction"),
        ("/param_space/half_life/low", "low_above_high"),
        ("/param_space/exit_treshold", "unknown_parameter"),
        ("/constraints/0", "unknown_name"),
        ("/initial_params/0", "wrong_type"),
        ("/result_constraints/0", "unknown_name"),
        ("/backtest_config/fill", "unknown_value"),
        ("/backtest_config/partners/0", "missing_market_data"),
    ]
    .map(|(pointer, code)| fault(pointer, code));
    expected.sort();
    assert_eq!(found, expected);
    let reversed = with(mission(), "end_date", json!("2022-12-31"));
    let reversed = refused(&post(&service, TASKS, &reversed).await);
    assert_eq!(reversed, [fault("/end_date", "dates_reversed")]);
    service.stop().await;
}

#[tokio::test]
async fn a_partner_that_is_not_cointegrated_is_used_with_a_warning_or_refused() {
    let service = Service::start().await;
    import(&service, GroupKind::RandomWalk, 4, day(2023, 12, 29)).await;
    let used = post(&service, TASKS, &mission()).await;
    assert_eq!(used.status, 201, "{}", used.text);
    assert_eq!(used.body["resolved"]["partner"]["cointegrated"], false);
    assert!(warnings(&used).contains(&fault("/stock_codes/0", "partner_not_cointegrated")));
    let detail = used.body["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|warning| warning["code"] == "partner_not_cointegrated")
        .map(|warning| warning["detail"].as_str().unwrap().to_owned())
        .unwrap();
    assert!(detail.contains("after correction for 6 tests"), "{detail}");
    let config = json!({"require_cointegration": true});
    let refused_pair = post(&service, TASKS, &with(mission(), "backtest_config", config)).await;
    assert_eq!(
        refused(&refused_pair),
        [fault(
            "/backtest_config/require_cointegration",
            "partner_not_cointegrated"
        )]
    );
    service.stop().await;
}

#[tokio::test]
async fn a_pair_needs_a_second_symbol_and_three_years_before_the_start() {
    let service = Service::start().await;
    import(&service, GroupKind::Cointegrated, 1, day(2023, 12, 29)).await;
    let alone = post(&service, TASKS, &mission()).await;
    assert_eq!(refused(&alone), [fault("/stock_codes/0", "no_partner")]);
    let detail = alone.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("a pair needs a second one"), "{detail}");

    import(&service, GroupKind::Cointegrated, 3, day(2023, 12, 29)).await;
    let mut early = mission();
    early["start_date"] = json!("2013-06-03");
    early["end_date"] = json!("2013-12-31");
    let early = post(&service, TASKS, &early).await;
    assert_eq!(
        refused(&early),
        [fault("/stock_codes/0", "too_few_rows_to_choose")]
    );
    let detail = early.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("at least 250"), "{detail}");

    for (partners, pointer, code) in [
        (json!(["000001.SZ"]), "/partners/0", "own_partner"),
        (json!(["000300.SH"]), "/partners/0", "not_tradable"),
        (json!(["SYN01.SZ", "SYN01.SZ"]), "/partners/1", "duplicate"),
        (json!(["SYN01.SZ", 5]), "/partners/1", "wrong_type"),
        (json!("SYN01.SZ"), "/partners", "wrong_type"),
    ] {
        let body = with(mission(), "backtest_config", json!({"partners": partners}));
        let found = refused(&post(&service, TASKS, &body).await);
        assert_eq!(found, [fault(&format!("/backtest_config{pointer}"), code)]);
    }
    let config = json!({"partners": ["SYN02.SZ"], "allow_short": true});
    let named = post(&service, TASKS, &with(mission(), "backtest_config", config)).await;
    assert_eq!(named.body["resolved"]["partner"]["partner"], "SYN02.SZ");
    service.stop().await;
}

#[tokio::test]
async fn each_of_several_stocks_gets_its_own_partner_and_a_repetition_gets_the_same() {
    let service = Service::start().await;
    import(&service, GroupKind::Cointegrated, 4, day(2023, 12, 29)).await;
    let body = with(mission(), "stock_codes", json!(["SYN01.SZ", "000001.SZ"]));
    let first = post(&service, TASKS, &body).await;
    let partners = &first.body["resolved"]["partner"];
    assert_eq!(
        partners["000001.SZ"]["partner"], "SYN01.SZ",
        "{}",
        first.text
    );
    assert_eq!(partners["SYN01.SZ"]["partner"], "000001.SZ");
    let again = post(&service, TASKS, &body).await;
    assert_eq!(again.body["resolved"]["partner"], *partners);
    // Other bars of a candidate are another question.
    import(&service, GroupKind::RandomWalk, 4, day(2023, 12, 29)).await;
    let other = post(&service, TASKS, &body).await;
    assert_ne!(other.body["resolved"]["partner"], *partners);
    service.stop().await;
}
