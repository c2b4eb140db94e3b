//! What the service says of the ground that a result stands on: partners that were not tested,
//! bars that are partial, not daily or not adjusted, fills that nobody gets, trades that lose.

use crate::service::{Answer, Service, TASKS, announce, id_of, sphere};
use chrono::NaiveDate;
use serde_json::{Value, json};
use trialmill_backtest::bars::{BarSeries, Columns, Frequency};
use trialmill_backtest::market::{CorporateAction, Fundamentals, RecordChange, Status};
use trialmill_backtest::synthetic::{self, GroupKind};
use trialmill_common::protocol::ASSESS_STEPS;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::spec::TaskSpec;
use trialmill_common::trial::{EndedTrial, Evaluation, Outcome};
use trialmill_search::{History, Study};
use trialmill_store::rows::UnitRef;
use trialmill_store::{Store, UnitFlush};

const EVERY_KIND: &str = "/api/v1/tasks";

fn day(y: i32, m: u32, d: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(y, m, d).unwrap()
}

/// A service with invented bars of `000001.SZ` and three others from 2013 to 2023.
async fn with_bars() -> Service {
    let service = Service::start().await;
    let (first, last) = (day(2013, 1, 4), day(2023, 12, 29));
    let bars = synthetic::group(GroupKind::Cointegrated, 7, 4, first, last).unwrap();
    service.store.put_series(&bars, "a test").await.unwrap();
    service
}

fn pair_of(symbol: &str) -> Value {
    json!({
        "task_name": "a pair",
        "strategy_name": "cointegration",
        "stock_codes": [symbol],
        "start_date": "2023-01-01",
        "end_date": "2023-12-31",
        "param_space": {"lookback_period": {"type": "int", "low": 30, "high": 120}},
        "objective_config": {"objective_metric": "sharpe"},
        "optimization_method": "random",
        "parallelism": 1,
        "n_trials": 1,
    })
}

fn single(symbol: &str) -> Value {
    let mut body = pair_of(symbol);
    body["strategy_name"] = json!("moving_average");
    body["param_space"] = json!({"short_window": {"type": "int", "low": 5, "high": 20}});
    body
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

async fn post(service: &Service, path: &str, body: &Value) -> Answer {
    let request = service.http.post(format!("{}{path}", service.base));
    Answer::of(request.json(body).send().await.unwrap()).await
}

async fn submit(service: &Service, body: &Value) -> Answer {
    post(service, TASKS, body).await
}

/// The pointer and sentence of the warning of that code.
fn warning(answer: &Answer, code: &str) -> Option<(String, String)> {
    let warnings = answer.body["warnings"].as_array();
    let warnings = warnings.unwrap_or_else(|| panic!("{}", answer.text));
    let found = warnings.iter().find(|warning| warning["code"] == code)?;
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    Some((text("pointer"), text("detail")))
}

fn fault(pointer: &str, code: &str) -> (String, String) {
    (pointer.to_owned(), code.to_owned())
}

/// The series under another symbol and frequency, each row as `change` leaves it.
fn reshaped(
    series: &BarSeries,
    symbol: &str,
    frequency: Frequency,
    rows: std::ops::Range<usize>,
    change: impl Fn(usize, f64) -> f64,
) -> BarSeries {
    let column = |column: &[f64]| {
        let rows = rows.clone();
        rows.map(|row| change(row, column[row])).collect()
    };
    let columns = Columns {
        time: series.time()[rows.clone()].to_vec(),
        open: column(series.open()),
        high: column(series.high()),
        low: column(series.low()),
        close: column(series.close()),
        volume: series.volume()[rows.clone()].to_vec(),
    };
    BarSeries::new(symbol, frequency, columns).unwrap()
}

/// Records the one trial of a task with these metrics, as a worker would, and completes the task.
async fn complete(service: &Service, path: &str, metrics: &[(&str, Result<f64, &str>)]) {
    let worker = announce(&service.store, &["cointegration", "moving_average"]).await;
    let unit = UnitRef {
        task: id_of(path),
        unit: 0,
    };
    let claim = service.store.claim(unit, worker).await.unwrap().unwrap();
    let spec = TaskSpec::from_json(&claim.spec).unwrap();
    let study = Study::new(spec.space.clone(), spec.method, spec.seed).unwrap();
    let owned = |(name, value): &(&str, Result<f64, &str>)| {
        ((*name).to_owned(), value.map_err(str::to_owned))
    };
    let metrics: Vec<_> = metrics.iter().map(owned).collect();
    let of = |wanted: &str| metrics.iter().find(|(name, _)| name == wanted).cloned();
    let (_, value) = of(&spec.objectives[0].metric).unwrap();
    let trial = EndedTrial {
        number: 0,
        point: study.ask(&History::EMPTY, 0).unwrap(),
        outcome: Outcome::Completed(Evaluation {
            values: vec![value.unwrap()],
            metrics,
            ..Evaluation::default()
        }),
        reports: None,
        duration_ms: 1.0,
        window: None,
    };
    let flush = UnitFlush {
        lease: claim.lease,
        recorded_before: 0,
        trials: vec![trial],
        steps: 0,
        end: UnitEnd::Close,
        result: None,
        why: None,
    };
    service.store.record(unit.task, &[flush]).await.unwrap();
    let unit = UnitRef { unit: 1, ..unit };
    let claim = service.store.claim(unit, worker).await.unwrap().unwrap();
    let flush = UnitFlush {
        lease: claim.lease,
        recorded_before: 0,
        trials: vec![],
        steps: ASSESS_STEPS,
        end: UnitEnd::Close,
        result: Some(json!({"failed": "nobody looked at it"})),
        why: None,
    };
    service.store.record(unit.task, &[flush]).await.unwrap();
}

#[tokio::test]
async fn the_one_named_partner_that_cannot_be_tested_is_used_with_the_reason() {
    let service = with_bars().await;
    // The formation period has 100 days of bars, far from enough.
    let mut early = pair_of("000001.SZ");
    early["start_date"] = json!("2013-06-03");
    early["end_date"] = json!("2013-12-31");
    let named = with(
        early.clone(),
        "backtest_config",
        json!({"partners": ["SYN01.SZ"]}),
    );
    let used = submit(&service, &named).await;
    assert_eq!(used.status, 201, "{}", used.text);
    let partner = &used.body["resolved"]["partner"];
    assert_eq!(
        (&partner["partner"], &partner["tested"]),
        (&json!("SYN01.SZ"), &json!(false))
    );
    assert_eq!(partner["cointegrated"], Value::Null);
    assert_eq!(
        partner["formation"],
        json!({"from": "2010-06-03", "to": "2013-06-02"})
    );
    let reason = partner["reason"].as_str().unwrap();
    assert!(reason.contains("at least 250"), "{reason}");
    let (pointer, detail) = warning(&used, "partner_not_tested").unwrap();
    assert_eq!(pointer, "/stock_codes/0");
    assert!(detail.contains(reason), "{detail}");
    let task = id_of(used.header("location").unwrap());
    let task = service.store.task(task).await.unwrap().unwrap();
    let spec = TaskSpec::from_json(&task.spec).unwrap();
    assert_eq!(spec.pairs["000001.SZ"], "SYN01.SZ");

    let strict = json!({"partners": ["SYN01.SZ"], "require_cointegration": true});
    let refused = submit(&service, &with(early.clone(), "backtest_config", strict)).await;
    assert_eq!(
        refused.faults(),
        [fault(
            "/backtest_config/require_cointegration",
            "partner_not_tested"
        )]
    );
    // Of two, nothing says which one.
    let two = json!({"partners": ["SYN01.SZ", "SYN02.SZ"]});
    let refused = submit(&service, &with(early, "backtest_config", two)).await;
    assert_eq!(
        refused.faults(),
        [fault("/stock_codes/0", "too_few_rows_to_choose")]
    );
    let tested = submit(&service, &pair_of("000001.SZ")).await;
    assert_eq!(tested.body["resolved"]["partner"]["tested"], true);
    service.stop().await;
}

#[tokio::test]
async fn a_partner_listed_too_late_for_the_test_is_used_when_it_is_the_one_named() {
    let service = with_bars().await;
    let bars = synthetic::group(
        GroupKind::Cointegrated,
        7,
        2,
        day(2013, 1, 4),
        day(2023, 12, 29),
    )
    .unwrap();
    let from = bars[1].rows() - 400;
    let late = reshaped(
        &bars[1],
        "LATE.SZ",
        Frequency::Daily,
        from..bars[1].rows(),
        |_, price| price,
    );
    service.store.put_series(&[late], "a test").await.unwrap();
    let body = with(
        pair_of("000001.SZ"),
        "backtest_config",
        json!({"partners": ["LATE.SZ"]}),
    );
    let used = submit(&service, &body).await;
    assert_eq!(used.status, 201, "{}", used.text);
    let (_, detail) = warning(&used, "partner_not_tested").unwrap();
    assert!(detail.contains("too few common days"), "{detail}");
    service.stop().await;
}

#[tokio::test]
async fn bars_of_a_partner_that_end_early_are_told() {
    let service = with_bars().await;
    assert_eq!(
        warning(
            &submit(&service, &pair_of("000001.SZ")).await,
            "partial_market_data"
        ),
        None
    );
    let bars = synthetic::group(
        GroupKind::Cointegrated,
        7,
        2,
        day(2013, 1, 4),
        day(2023, 6, 30),
    )
    .unwrap();
    service
        .store
        .put_series(&bars[1..], "a test")
        .await
        .unwrap();
    let short = submit(&service, &pair_of("000001.SZ")).await;
    assert_eq!(
        short.body["resolved"]["partner"]["partner"], "SYN01.SZ",
        "{}",
        short.text
    );
    let (pointer, detail) = warning(&short, "partial_market_data").unwrap();
    assert_eq!(pointer, "/backtest_config/partners");
    assert!(
        detail.contains("SYN01.SZ (2013-01-04 to 2023-06-30)"),
        "{detail}"
    );
    service.stop().await;
}

#[tokio::test]
async fn series_that_are_not_daily_are_refused_where_they_are_named() {
    let service = with_bars().await;
    let bars = synthetic::group(
        GroupKind::RandomWalk,
        7,
        1,
        day(2013, 1, 4),
        day(2023, 12, 29),
    )
    .unwrap();
    let rows = 0..bars[0].rows();
    let hourly = reshaped(&bars[0], "EURUSD", Frequency::Hour, rows, |_, price| price);
    service.store.put_series(&[hourly], "a test").await.unwrap();
    let refused = submit(&service, &single("EURUSD")).await;
    assert_eq!(refused.faults(), [fault("/stock_codes/0", "not_daily")]);
    let detail = refused.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("1h") && detail.contains("1d"), "{detail}");
    let body = with(
        pair_of("000001.SZ"),
        "backtest_config",
        json!({"partners": ["EURUSD"]}),
    );
    let refused = submit(&service, &body).await;
    assert_eq!(
        refused.faults(),
        [fault("/backtest_config/partners/0", "not_daily")]
    );
    // Nobody is paired with it either.
    let chosen = submit(&service, &pair_of("000001.SZ")).await;
    assert_eq!(chosen.body["resolved"]["partner"]["candidates"], 3);
    service.stop().await;
}

#[tokio::test]
async fn prices_that_move_further_than_a_session_allows_are_told_with_their_number() {
    let service = with_bars().await;
    assert_eq!(
        warning(
            &submit(&service, &single("SYN02.SZ")).await,
            "unadjusted_prices"
        ),
        None
    );
    let bars = synthetic::group(
        GroupKind::Cointegrated,
        7,
        4,
        day(2013, 1, 4),
        day(2023, 12, 29),
    )
    .unwrap();
    let rows = bars[1].rows();
    // Two shares for one, in 2021 and in 2023: one before the trades, one among them.
    let split = |series: &BarSeries| {
        let change = |row: usize, price: f64| match rows - row {
            0..100 => price / 4.0,
            100..700 => price / 2.0,
            _ => price,
        };
        reshaped(series, series.symbol(), Frequency::Daily, 0..rows, change)
    };
    let bars = [split(&bars[0]), split(&bars[1]), split(&bars[2])];
    service.store.put_series(&bars, "a test").await.unwrap();
    let (pointer, alone) = warning(
        &submit(&service, &single("SYN02.SZ")).await,
        "unadjusted_prices",
    )
    .unwrap();
    assert_eq!(pointer, "/stock_codes");
    assert!(alone.contains("from 2023-01-01 to 2023-12-31"), "{alone}");
    assert!(alone.contains("SYN02.SZ (1)"), "{alone}");
    let named = json!({"partners": ["SYN01.SZ"]});
    let body = with(pair_of("000001.SZ"), "backtest_config", named);
    let (_, both) = warning(&submit(&service, &body).await, "unadjusted_prices").unwrap();
    assert!(
        both.contains("from 2020-01-01 to 2023-12-31): 000001.SZ (2), SYN01.SZ (2)"),
        "{both}"
    );
    service.stop().await;
}

/// A series like another one with prices for half of the shares from a row on.
fn split_at(series: &BarSeries, symbol: &str, split: usize) -> BarSeries {
    let change = |row, price| if row < split { price } else { price / 2.0 };
    reshaped(series, symbol, Frequency::Daily, 0..series.rows(), change)
}

fn action(symbol: &str, ex_date: NaiveDate, cash: f64, bonus: f64) -> CorporateAction {
    CorporateAction {
        symbol: symbol.to_owned(),
        ex_date,
        cash_per_share: cash,
        bonus_per_share: bonus,
    }
}

fn of_actions(symbol: &str, actions: Vec<CorporateAction>) -> RecordChange {
    RecordChange {
        symbol: symbol.to_owned(),
        actions: Some(actions),
        ..RecordChange::default()
    }
}

fn of_status(symbol: &str, listed: NaiveDate, delisted: Option<NaiveDate>) -> RecordChange {
    RecordChange {
        symbol: symbol.to_owned(),
        status: Some(Status {
            listed: Some(listed),
            delisted,
            ..Status::default()
        }),
        ..RecordChange::default()
    }
}

#[tokio::test]
async fn known_actions_explain_gaps_and_are_pinned_where_the_market_has_rules() {
    let service = Service::start().await;
    let (first, last) = (day(2020, 1, 2), day(2023, 12, 29));
    let whole = synthetic::series(synthetic::Kind::Trending, 7, 0, first, last).unwrap();
    let rows = whole.rows();
    let ex_date = |row: usize| {
        let time = chrono::DateTime::from_timestamp(whole.time()[row], 0).unwrap();
        time.date_naive()
    };
    // Halved twice within 2023; one of the two is known.
    let once = split_at(&whole, "600000.SH", rows - 100);
    let bars = split_at(&once, "600000.SH", rows - 50);
    service.store.put_series(&[bars], "bars").await.unwrap();
    let known = |rows: &[usize]| {
        let split = |row: &usize| action("600000.SH", ex_date(*row), 0.0, 1.0);
        of_actions("600000.SH", rows.iter().map(split).collect())
    };
    let body = single("600000.SH");
    let unadjusted = |answer: &Answer| {
        assert_eq!(answer.status, 201, "{}", answer.text);
        warning(answer, "unadjusted_prices").map(|(_, detail)| detail)
    };
    let pinned = async |answer: &Answer| {
        let id = id_of(answer.header("location").unwrap());
        let task = service.store.task(id).await.unwrap().unwrap();
        let pinned = service.store.snapshot(task.snapshot.unwrap()).await;
        (task.snapshot, pinned.unwrap().unwrap())
    };
    let none = submit(&service, &body).await;
    assert_eq!(none.body["resolved"]["market"], "cn_a");
    let detail = unadjusted(&none).unwrap();
    assert!(
        detail.contains("600000.SH (2).") && detail.contains("import their corporate actions"),
        "{detail}"
    );
    assert!(pinned(&none).await.1.records.is_empty());

    let table = [known(&[rows - 100])];
    let one = service.store.put_records(&table, "one").await.unwrap()[0];
    let half = submit(&service, &body).await;
    let detail = unadjusted(&half).unwrap();
    assert!(
        detail.contains("600000.SH (1, beside its known actions)"),
        "{detail}"
    );
    let (id, snapshot) = pinned(&half).await;
    assert_eq!(snapshot.records["600000.SH"], one);
    assert_ne!(id, pinned(&none).await.0, "the name covers the records");

    let table = [known(&[rows - 100, rows - 50])];
    let both = service.store.put_records(&table, "both").await.unwrap()[0];
    let all = submit(&service, &body).await;
    assert_eq!(unadjusted(&all), None);
    assert_eq!(pinned(&all).await.1.records["600000.SH"], both);
    // Plain refuses data with actions, so it pins none and sees prices as they are.
    let plain = with(body, "backtest_config", json!({"market": "plain"}));
    let plain = submit(&service, &plain).await;
    let detail = unadjusted(&plain).unwrap();
    assert!(
        detail.contains("600000.SH (2).") && detail.contains("use a market with rules"),
        "{detail}"
    );
    assert!(pinned(&plain).await.1.records.is_empty());

    // What is made of a task pins what it has pinned, whatever was imported since.
    let path = half.header("location").unwrap().to_owned();
    complete(&service, &path, &[("sharpe_ratio", Ok(1.0))]).await;
    for derived in ["clone", "trials/0/replay", "extend"] {
        let body = match derived {
            "extend" => json!({"n_trials": 2}),
            _ => json!({}),
        };
        let made = post(&service, &format!("{path}/{derived}"), &body).await;
        assert_eq!(made.status, 201, "{derived}: {}", made.text);
        assert_eq!(pinned(&made).await, (id, snapshot.clone()), "{derived}");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_strategy_that_reads_fundamentals_needs_them_and_a_market_that_pins_them() {
    let service = Service::start().await;
    let (first, last) = (day(2020, 1, 2), day(2023, 12, 29));
    let whole = synthetic::series(synthetic::Kind::Trending, 7, 0, first, last).unwrap();
    let rows = whole.rows();
    let bars = |symbol| reshaped(&whole, symbol, Frequency::Daily, 0..rows, |_, price| price);
    let both = [bars("600000.SH"), bars("AAPL")];
    service.store.put_series(&both, "bars").await.unwrap();
    let space = json!({"pe_weight": {"type": "float", "low": 0, "high": 1}});
    let body = |symbol, market: Value| {
        let body = with(single(symbol), "strategy_name", json!("value_factor"));
        let body = with(body, "param_space", space.clone());
        with(body, "backtest_config", market)
    };
    let faults = |answer: &Answer| -> Vec<(String, String)> {
        assert_eq!(answer.status, 422, "{}", answer.text);
        let errors = answer.body["errors"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        errors
            .map(|e| (text(&e["pointer"]), text(&e["code"])))
            .collect()
    };
    let named = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    // AAPL trades under plain unless another market is named.
    let neither = submit(&service, &body("AAPL", json!({}))).await;
    assert_eq!(
        faults(&neither),
        [
            named("/stock_codes/0", "missing_fundamentals"),
            named("/backtest_config/market", "no_fundamentals"),
        ]
    );
    let missing = submit(&service, &body("600000.SH", json!({}))).await;
    assert_eq!(
        faults(&missing),
        [named("/stock_codes/0", "missing_fundamentals")]
    );
    let reports = |symbol: &str| RecordChange {
        symbol: symbol.to_owned(),
        fundamentals: Some(vec![Fundamentals::new(
            symbol,
            day(2022, 4, 28),
            [Some(1.0), None, None, None, None],
        )]),
        ..RecordChange::default()
    };
    let changes = [reports("600000.SH"), reports("AAPL")];
    let hashes = service
        .store
        .put_records(&changes, "reports")
        .await
        .unwrap();
    let listed = service.get("/api/v1/market-data/AAPL").await;
    assert_eq!(listed.body["record"]["reports"], 1);
    for (body, hash) in [
        (body("600000.SH", json!({})), hashes[0]),
        (body("AAPL", json!({"market": "us"})), hashes[1]),
    ] {
        let accepted = submit(&service, &body).await;
        assert_eq!(accepted.status, 201, "{}", accepted.text);
        let id = id_of(accepted.header("location").unwrap());
        let task = service.store.task(id).await.unwrap().unwrap();
        let pinned = service.store.snapshot(task.snapshot.unwrap()).await;
        assert!(pinned.unwrap().unwrap().records.values().eq([&hash]));
        // A form that builds without fundamentals leave alone.
        assert_eq!(task.spec["version"], 6);
    }
    service.stop().await;
}

#[tokio::test]
async fn market_data_says_whether_there_is_a_record() {
    let service = with_bars().await;
    let path = "/api/v1/market-data/SYN01.SZ";
    assert_eq!(service.get(path).await.body["record"], Value::Null);
    let gift = action("SYN01.SZ", day(2020, 6, 1), 0.5, 0.0);
    let changes = [
        of_actions("SYN01.SZ", vec![gift]),
        of_status("SYN01.SZ", day(2013, 1, 4), Some(day(2023, 6, 1))),
    ];
    let hashes = service.store.put_records(&changes, "tables.csv").await;
    let hash = hashes.unwrap()[1];
    let record = service.get(path).await.body["record"].clone();
    let wanted = json!({
        "hash": format!("b3:{}", hash.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        "listed": "2013-01-04",
        "delisted": "2023-06-01",
        "special_treatments": 0,
        "actions": 1,
        "reports": 0,
        "source": "tables.csv",
        "stored_at": record["stored_at"],
    });
    assert_eq!(record, wanted);
    let list = service.get("/api/v1/market-data").await.body;
    let of = |symbol: &str| {
        let mut items = list["items"].as_array().unwrap().iter();
        items.find(|item| item["symbol"] == symbol).unwrap()["record"].clone()
    };
    assert_eq!(of("SYN01.SZ"), record);
    assert_eq!(of("000001.SZ"), Value::Null);
    service.stop().await;
}

#[tokio::test]
async fn shares_without_a_status_lists_of_survivors_and_idle_days_are_told() {
    let service = Service::start().await;
    let (first, last) = (day(2021, 1, 4), day(2023, 12, 29));
    let like = synthetic::series(synthetic::Kind::Trending, 7, 0, first, last).unwrap();
    let codes: Vec<String> = (0..20).map(|n| format!("6000{n:02}.SH")).collect();
    // Five days before the end nobody trades: the exchange was closed.
    let closed = like.rows() - 5;
    let bars: Vec<BarSeries> = codes
        .iter()
        .map(|code| {
            let rows = 0..like.rows();
            let one = reshaped(&like, code, Frequency::Daily, rows, |_, price| price);
            let mut volume = vec![1000.0; one.rows()];
            volume[closed] = 0.0;
            let columns = Columns {
                time: one.time().to_vec(),
                open: one.open().to_vec(),
                high: one.high().to_vec(),
                low: one.low().to_vec(),
                close: one.close().to_vec(),
                volume,
            };
            BarSeries::new(code, Frequency::Daily, columns).unwrap()
        })
        .collect();
    service.store.put_series(&bars, "a test").await.unwrap();
    let all = with(single(&codes[0]), "stock_codes", json!(codes));
    let answer = submit(&service, &all).await;
    let (_, detail) = warning(&answer, "no_status").unwrap();
    assert!(
        detail.contains("600000.SH, 600001.SH") && detail.contains("and 15 more"),
        "{detail}"
    );
    let (_, detail) = warning(&answer, "survivorship").unwrap();
    assert!(
        detail.contains("none of these 20 stocks was delisted by 2023-12-29"),
        "{detail}"
    );
    let (_, detail) = warning(&answer, "filler_days").unwrap();
    assert!(detail.contains("on 1 day(s) from 2023-01-01"), "{detail}");
    // Nineteen stocks are no universe, and under plain no purchase expires.
    let few = with(single(&codes[0]), "stock_codes", json!(codes[..19]));
    let few = with(few, "backtest_config", json!({"market": "plain"}));
    let answer = submit(&service, &few).await;
    for code in ["survivorship", "no_status", "filler_days"] {
        assert_eq!(warning(&answer, code), None, "{code}");
    }
    // One that left after the data ends is no failure of the period; one before is.
    let status = |n: usize, delisted| of_status(&codes[n], day(2000, 1, 4), delisted);
    let mut changes: Vec<_> = (0..20).map(|n| status(n, None)).collect();
    changes[3] = status(3, Some(day(2024, 3, 1)));
    service.store.put_records(&changes, "a test").await.unwrap();
    let answer = submit(&service, &all).await;
    assert_eq!(warning(&answer, "no_status"), None);
    assert!(warning(&answer, "survivorship").is_some());
    let left = [status(3, Some(day(2023, 12, 29)))];
    service.store.put_records(&left, "a test").await.unwrap();
    let answer = submit(&service, &all).await;
    assert_eq!(warning(&answer, "survivorship"), None);
    service.stop().await;
}

#[tokio::test]
async fn a_search_that_fills_at_the_close_says_that_it_looks_ahead() {
    let service = with_bars().await;
    let metrics = [("sharpe_ratio", Ok(1.5)), ("total_return", Ok(0.1))];
    for (config, ahead) in [(json!({"fill": "close"}), true), (json!({}), false)] {
        let body = with(single("000001.SZ"), "backtest_config", config);
        let path = service.accepted(&body).await;
        complete(&service, &path, &metrics).await;
        let result = &service.get(&path).await.body["result"];
        assert_eq!(result["looks_ahead"], ahead);
        let text = result["verdict"]["text"].as_str().unwrap();
        assert_eq!(text.starts_with("Not attainable"), ahead, "{text}");
        assert!(text.contains("In-sample only"), "{text}");
        assert!(!text.contains("does badly"), "{text}");
        let best = service.get(&format!("{path}/best")).await.body;
        assert_eq!(best["looks_ahead"], ahead);
    }
    service.stop().await;
}

#[tokio::test]
async fn the_result_of_a_pair_stands_beside_holding_both_legs() {
    let service = with_bars().await;
    let path = service.accepted(&pair_of("000001.SZ")).await;
    let metrics = [
        ("sharpe_ratio", Ok(-0.4)),
        ("total_return", Ok(-0.0321)),
        ("exposure", Ok(0.9)),
        ("beta", Err("holding both legs has no variance")),
        ("hold_return", Ok(0.05)),
        ("excess_return", Ok(-0.0821)),
    ];
    complete(&service, &path, &metrics).await;
    let result = &service.get(&path).await.body["result"];
    let pair = &result["best"]["pair"];
    assert_eq!(pair["pairs"], json!({"000001.SZ": "SYN01.SZ"}));
    assert!(
        pair["form"].as_str().unwrap().starts_with("leg rotation"),
        "{pair}"
    );
    assert_eq!(
        (
            &pair["hold_return"],
            &pair["excess_return"],
            &pair["exposure"]
        ),
        (&json!(0.05), &json!(-0.0821), &json!(0.9))
    );
    assert_eq!(pair["beta"]["value"], Value::Null);
    assert_eq!(pair["beta"]["reason"], "holding both legs has no variance");
    let hold = &result["baselines"]["equal_weight_hold"];
    let reason = "it could not be assessed: nobody looked at it";
    let missing = json!({"value": null, "reason": reason});
    assert_eq!(
        *hold,
        json!({"total_return": 0.05, "sharpe_ratio": missing})
    );
    let text = result["verdict"]["text"].as_str().unwrap();
    assert!(text.contains("it loses 3.21 % of the cash"), "{text}");
    assert!(text.contains("its sharpe_ratio is -0.4000"), "{text}");
    service.stop().await;
}

#[tokio::test]
async fn a_choice_lists_its_tests_for_one_stock_only_and_not_in_replays() {
    let service = with_bars().await;
    let path = service.accepted(&pair_of("000001.SZ")).await;
    let one = service.get(&path).await.body;
    let listed = one["resolved"]["partner"]["best_tests"].as_array();
    assert_eq!(listed.unwrap().len(), 6);
    complete(&service, &path, &[("sharpe_ratio", Ok(1.0))]).await;
    let replayed = post(&service, &format!("{path}/trials/0/replay"), &json!({})).await;
    let partner = &replayed.body["resolved"]["partner"];
    assert_eq!(partner["partner"], "SYN01.SZ", "{}", replayed.text);
    assert_eq!(partner.get("best_tests"), None);
    let two = with(
        pair_of("000001.SZ"),
        "stock_codes",
        json!(["000001.SZ", "SYN02.SZ"]),
    );
    let two = submit(&service, &two).await.body;
    for symbol in ["000001.SZ", "SYN02.SZ"] {
        let choice = &two["resolved"]["partner"][symbol];
        assert_eq!(
            (&choice["tests"], choice.get("best_tests")),
            (&json!(6), None)
        );
    }
    service.stop().await;
}

#[tokio::test]
async fn labels_of_the_older_form_are_shown() {
    let service = Service::start().await;
    let mut inner = sphere(2);
    inner["labels"] = json!({"desk": "甲", "run": "7"});
    let mut body = json!({"task_type": "hyperparameter_optimization"});
    body["task_name"] = inner.as_object_mut().unwrap().remove("task_name").unwrap();
    body["config"] = inner;
    let made = post(&service, EVERY_KIND, &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let path = made.header("location").unwrap();
    let labels = json!({"desk": "甲", "run": "7"});
    assert_eq!(service.get(path).await.body["labels"], labels);
    let listed = service.get(EVERY_KIND).await.body;
    assert_eq!(listed["items"][0]["labels"], labels);
    service.stop().await;
}

#[tokio::test]
async fn a_route_takes_the_kind_that_it_is_for() {
    let service = Service::start().await;
    let kind = |name: &str| with(sphere(2), "task_type", json!(name));
    let own = submit(&service, &kind("hyperparameter_optimization")).await;
    assert_eq!(own.status, 201, "{}", own.text);
    let other = submit(&service, &kind("backtest")).await;
    assert_eq!(other.faults(), [fault("/task_type", "unknown_field")]);
    let detail = other.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("send it to POST /tasks"), "{detail}");
    let unknown = submit(&service, &kind("dance")).await;
    assert_eq!(unknown.faults(), [fault("/task_type", "unknown_value")]);
    service.stop().await;
}

#[tokio::test]
async fn a_backtest_of_a_test_function_is_refused_as_one() {
    let service = with_bars().await;
    announce(&service.store, &["sphere"]).await;
    let body = json!({
        "task_type": "backtest", "task_name": "a ball", "strategy_name": "sphere",
        "stock_codes": ["000001.SZ"], "start_date": "2023-01-01", "end_date": "2023-12-31",
    });
    let refused = post(&service, EVERY_KIND, &body).await;
    assert_eq!(
        refused.faults(),
        [fault("/strategy_name", "unknown_strategy")]
    );
    let detail = refused.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("cannot be backtested"), "{detail}");
    service.stop().await;
}
