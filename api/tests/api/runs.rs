use crate::service::{Answer, Holder, Service, TASKS, announce, id_of, sphere};
use serde_json::{Value, json};
use trialmill_backtest::synthetic::{self, Kind};
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::spec::RunSpec;
use trialmill_common::state::{TaskKind, TrialEnd};
use trialmill_common::trial::{EndedTrial, Evaluation, FailureKind, Outcome};
use trialmill_search::{Choice, Point};
use trialmill_store::rows::UnitRef;
use trialmill_store::{Store, UnitFlush};

const EVERY_KIND: &str = "/api/v1/tasks";

fn a_run(symbol: &str) -> Value {
    json!({
        "task_type": "backtest",
        "task_name": "一次回测",
        "strategy_name": "moving_average",
        "stock_codes": [symbol],
        "start_date": "2021-01-01",
        "end_date": "2022-12-31",
        "strategy_config": {"short_window": 10, "long_window": 60},
        "initial_cash": 50_000,
    })
}

async fn post(service: &Service, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let mut request = service
        .http
        .post(format!("{}{path}", service.base))
        .json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

/// Records a result of the one unit of a run, as a worker would.
async fn finish(service: &Service, path: &str, result: &Value) {
    let worker = announce(&service.store, &["moving_average", "sphere"]).await;
    let unit = UnitRef {
        task: id_of(path),
        unit: 0,
    };
    let claim = service.store.claim(unit, worker).await.unwrap().unwrap();
    assert_eq!((claim.kind, claim.count), (TaskKind::Backtest, 1));
    let trial = EndedTrial {
        number: 0,
        point: Point::new(Vec::new()),
        outcome: Outcome::Completed(Evaluation {
            values: vec![0.25],
            ..Evaluation::default()
        }),
        reports: None,
        duration_ms: 2.0,
        window: None,
    };
    let flush = UnitFlush {
        lease: claim.lease,
        recorded_before: 0,
        trials: vec![trial],
        steps: 0,
        end: UnitEnd::Close,
        result: Some(result.clone()),
        why: None,
    };
    service.store.record(unit.task, &[flush]).await.unwrap();
}

#[tokio::test]
async fn a_backtest_gives_its_result_once_it_is_completed() {
    let service = Service::start().await;
    let day = |y, m, d| chrono::NaiveDate::from_ymd_opt(y, m, d).unwrap();
    let bars = synthetic::series(Kind::Trending, 7, 0, day(2020, 1, 1), day(2022, 12, 31)).unwrap();
    let symbol = bars.symbol().to_owned();
    service.store.put_series(&[bars], "a test").await.unwrap();
    let accepted = post(&service, EVERY_KIND, &a_run(&symbol), &[]).await;
    assert_eq!(accepted.status, 201, "{}", accepted.text);
    assert_eq!(accepted.body["task_type"], "backtest");
    assert_eq!(accepted.body["n_trials"], 1);
    assert_eq!(
        accepted.body["resolved"]["params"]["signal_threshold"],
        0.005
    );
    assert_eq!(accepted.body["links"].get("trials"), None);
    let path = accepted.header("location").unwrap().to_owned();
    let queued = service.get(&path).await.body;
    assert_eq!(
        (&queued["status"], &queued["result"]),
        (&json!("queued"), &Value::Null)
    );
    let task = service.store.task(id_of(&path)).await.unwrap().unwrap();
    let run = RunSpec::from_json(&task.spec).unwrap();
    assert_eq!(run.params["short_window"], Choice::Int(10));
    assert_eq!(run.backtest.initial_cash, 50_000.0);
    assert!(task.snapshot.is_some());

    let result = json!({"metrics": {"sharpe_ratio": 0.1 + 0.2}, "trades": []});
    finish(&service, &path, &result).await;
    let ended = service.get(&path).await.body;
    assert_eq!(ended["status"], "completed");
    assert_eq!(ended["result"], result);
    assert_eq!(ended["best_trial_number"], Value::Null);
    let status = service.get(&format!("{path}/status")).await.body;
    assert_eq!(
        (&status["progress"], &status["completed_trials"]),
        (&json!(1.0), &json!(1))
    );
    for rest in ["trials", "trials/0", "best"] {
        let problem = service.get(&format!("{path}/{rest}")).await;
        let detail = problem.problem(404, "not_found")["detail"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(detail.contains("has no trials"), "{detail}");
    }
    let listed = service.get("/api/v1/tasks?task_type=backtest").await.body;
    assert_eq!(listed["total"], 1);
    assert_eq!(service.get(TASKS).await.body["total"], 0);
    let hidden = path.replace(EVERY_KIND, TASKS);
    service.get(&hidden).await.problem(404, "not_found");
    service.stop().await;
}

#[tokio::test]
async fn a_faulty_backtest_is_refused_with_every_fault() {
    let service = Service::start().await;
    let body = json!({
        "task_type": "backtest",
        "strategy_name": "moving_average",
        "stock_codes": ["600000.SH"],
        "start_date": "2022-12-31",
        "end_date": "2021-01-01",
        "strategy_config": {"short_windw": 5},
        "backtest_config": {"require_cointegration": true},
    });
    let answer = post(&service, EVERY_KIND, &body, &[]).await;
    answer.problem(422, "invalid_request");
    let mut found = answer.faults();
    found.sort();
    let expected = [
        ("/backtest_config/require_cointegration", "not_for_one_leg"),
        ("/end_date", "dates_reversed"),
        ("/stock_codes/0", "missing_market_data"),
        ("/strategy_config/short_windw", "unknown_parameter"),
        ("/task_name", "required"),
    ];
    assert_eq!(found, expected.map(|(p, c)| (p.to_owned(), c.to_owned())));
    // A backtest is no optimization.
    let there = post(&service, TASKS, &body, &[]).await;
    assert!(
        there
            .faults()
            .contains(&("/task_type".to_owned(), "unknown_field".to_owned()))
    );
    service.stop().await;
}

#[tokio::test]
async fn an_ended_trial_is_replayed_on_what_was_recorded_of_it() {
    let service = Service::start().await;
    let mut body = sphere(4);
    body["param_space"]["fixed"] = json!({"type": "int", "enabled": false, "default": 3});
    let path = service.accepted(&body).await;
    let mut holder = Holder::claim(&service.store, &path).await;
    holder.record(3, &[1], false).await;
    let trial = service.get(&format!("{path}/trials/0")).await.body;
    let replay = |number: u32| format!("{path}/trials/{number}/replay");

    let key = [("Idempotency-Key", "replay-once")];
    let made = post(&service, &replay(0), &json!({}), &key).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.body["task_type"], "backtest");
    let place = made.header("location").unwrap().to_owned();
    assert!(place.starts_with("/api/v1/tasks/"), "{place}");
    let again = post(&service, &replay(0), &json!({}), &key).await;
    assert_eq!(
        (again.status, again.header("location")),
        (200, Some(place.as_str()))
    );
    let other = post(&service, &replay(2), &json!({}), &key).await;
    other.problem(409, "conflict");

    let task = service.store.task(id_of(&place)).await.unwrap().unwrap();
    assert_eq!(task.kind, TaskKind::Backtest);
    let run = RunSpec::from_json(&task.spec).unwrap();
    assert_eq!(json!(run.params), trial["params"]);
    assert_eq!(run.params["fixed"], Choice::Int(3));
    let of = run.replay_of.unwrap();
    assert_eq!((of.task, of.trial_number), (id_of(&path), 0));
    assert_eq!(
        of.recorded.values,
        [trial["values"]["value"].as_f64().unwrap()]
    );
    assert_eq!(of.recorded.end, TrialEnd::Completed);

    let failed = post(&service, &replay(1), &json!({}), &[]).await;
    let failed = id_of(failed.header("location").unwrap());
    let failed = service.store.task(failed).await.unwrap().unwrap();
    let recorded = RunSpec::from_json(&failed.spec)
        .unwrap()
        .replay_of
        .unwrap()
        .recorded;
    assert_eq!(recorded.failure, Some(FailureKind::Panic));
    assert_eq!((recorded.end, recorded.values), (TrialEnd::Failed, vec![]));

    post(&service, &replay(3), &json!({}), &[])
        .await
        .problem(409, "conflict");
    post(&service, &replay(4), &json!({}), &[])
        .await
        .problem(404, "not_found");
    let of_replay = format!("{place}/trials/0/replay");
    post(&service, &of_replay, &json!({}), &[])
        .await
        .problem(404, "not_found");
    service.stop().await;
}

#[tokio::test]
async fn a_result_has_the_default_parameters_beside_it_and_says_how_to_replay() {
    let service = Service::start().await;
    let mut body = sphere(3);
    body["param_space"]["x"]["default"] = json!(4.0);
    body["param_space"]["n"]["default"] = json!(9);
    let path = service.accepted(&body).await;
    Holder::claim(&service.store, &path)
        .await
        .record(3, &[], true)
        .await;
    let task = service.get(&path).await.body;
    let result = &task["result"];
    let of_defaults = &result["baselines"]["default_params"];
    assert_eq!(of_defaults["trial_number"], 0);
    assert_eq!(of_defaults["params"], json!({"x": 4.0, "n": 9}));
    assert_eq!(of_defaults["values"], json!({"value": 97.0}));
    assert_eq!(result["best"]["in_sample"]["value"], task["best_score"]);
    let replay = format!(
        "trialmill replay {} {}",
        task["task_id"].as_str().unwrap(),
        task["best_trial_number"]
    );
    assert_eq!(result["reproducibility"]["replay"], replay);
    assert_eq!(result["reproducibility"]["target"], std::env::consts::ARCH);
    service.stop().await;
}
