//! The engine, its metrics and the moving average against the reference files.

mod shared;

use chrono::NaiveDate;
use serde_json::Value;
use shared::shared;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, midnight};
use trialmill_backtest::engine::{BacktestConfig, Dataset, Fill, run};
use trialmill_backtest::indicator::sma;
use trialmill_backtest::metrics::Metric;
use trialmill_backtest::strategy::{Params, find};
use trialmill_ingest::read_file;

fn json(path: &str) -> Option<Value> {
    let text = std::fs::read_to_string(shared(path)?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn date(value: &Value) -> NaiveDate {
    value.as_str().unwrap().parse().unwrap()
}

/// The rows of a case: cut to its dates first, so that nothing is left to warm up with.
fn bars(case: &Value) -> BarSeries {
    let path = shared(&format!("data/{}", case["data"].as_str().unwrap())).unwrap();
    let series = read_file(&path).unwrap().series.remove(0);
    let rows = series.rows_between(
        midnight(date(&case["first"])),
        midnight(date(&case["last"])),
    );
    series.slice(rows).unwrap()
}

#[track_caller]
fn close(got: f64, wanted: &Value, what: &str) {
    let wanted = wanted.as_f64().unwrap();
    let gap = (got - wanted).abs() / wanted.abs().max(f64::MIN_POSITIVE);
    assert!(
        gap <= 1e-9,
        "{what}: {got:?} instead of {wanted:?}, relative gap {gap:e}"
    );
}

#[test]
fn every_moving_average_case_agrees_to_1e_9_and_counts_are_exact() {
    let Some(file) = json("reference/backtest_cases.json") else {
        return;
    };
    let mut seen = 0;
    for case in file["cases"].as_array().unwrap() {
        if case["strategy"]["kind"] != "sma_cross" {
            continue;
        }
        seen += 1;
        let id = case["id"].as_str().unwrap();
        let number = |name: &str| case[name].as_f64().unwrap();
        let config = BacktestConfig {
            initial_cash: number("initial_cash"),
            commission_rate: number("fee_rate"),
            slippage_rate: number("slippage_rate"),
            fill: if case["fill"] == "close" {
                Fill::Close
            } else {
                Fill::NextOpen
            },
            ..BacktestConfig::default()
        };
        let params = Params::new()
            .with("short_window", case["strategy"]["fast"].as_i64().unwrap())
            .with("long_window", case["strategy"]["slow"].as_i64().unwrap())
            .with("signal_threshold", 0.0);
        let data = vec![Arc::new(bars(case))];
        let data = Dataset::new(data, date(&case["first"]), date(&case["last"])).unwrap();
        let strategy = find("moving_average").unwrap();
        let report = run(&data, strategy, &params, &config, &|| false).unwrap();
        let expected = &case["expected"];

        assert_eq!(
            report.equity.len() as u64,
            case["rows"].as_u64().unwrap(),
            "{id} rows"
        );
        // The file counts signals, also those that found the position already as wanted.
        let signals = |name: &str| expected[name].as_u64().unwrap();
        assert_eq!(
            report.entry_signals as u64,
            signals("entries"),
            "{id} entries"
        );
        assert_eq!(report.exit_signals as u64, signals("exits"), "{id} exits");
        assert_eq!(
            !report.open_positions.is_empty(),
            expected["position_open_at_end"].as_bool().unwrap(),
            "{id} open position"
        );
        let won = report
            .trades
            .iter()
            .filter(|trade| trade.profit() > 0.0)
            .count();
        assert_eq!(
            won as u64,
            expected["winning_trades"].as_u64().unwrap(),
            "{id} winners"
        );
        let metric = |metric: Metric| metric.value(&report).unwrap();
        let closed = expected["closed_trades"].as_f64().unwrap();
        assert_eq!(metric(Metric::NTrades), closed, "{id} closed trades");
        let ratio = |row: usize| report.equity[row] / config.initial_cash;
        let last = report.equity.len() - 1;
        close(ratio(last), &expected["final_equity_ratio"], id);
        for (row, wanted) in expected["equity_ratio_at"].as_object().unwrap() {
            close(
                ratio(row.parse().unwrap()),
                wanted,
                &format!("{id} row {row}"),
            );
        }
        close(-metric(Metric::MaxDrawdown), &expected["max_drawdown"], id);
        close(metric(Metric::SharpeRatio), &expected["sharpe"], id);
        close(metric(Metric::Volatility), &expected["volatility"], id);
        close(
            metric(Metric::AnnualizedReturn),
            &expected["annualized_return"],
            id,
        );
        close(metric(Metric::WinRate), &expected["win_rate"], id);
        match &expected["profit_factor"] {
            Value::Null => assert!(Metric::ProfitFactor.value(&report).is_err(), "{id}"),
            wanted => close(metric(Metric::ProfitFactor), wanted, id),
        }
    }
    assert_eq!(seen, 8, "the reference has 8 moving average cases");
}

#[test]
fn the_simple_moving_average_agrees_with_the_indicator_reference() {
    let Some(file) = json("reference/indicator_cases.json") else {
        return;
    };
    let mut seen = 0;
    for case in file["cases"].as_array().unwrap() {
        let series = bars(case);
        let traded = series.without_suspended_rows().unwrap_or(series);
        assert_eq!(traded.rows() as u64, case["rows_used"].as_u64().unwrap());
        let expected = &case["values"]["sma_20"];
        let got = sma(traded.close(), 20);
        let first = got.iter().position(|value| !value.is_nan()).unwrap();
        assert_eq!(
            first as u64,
            expected["first_valid_index"].as_u64().unwrap()
        );
        for (row, wanted) in expected["at"].as_object().unwrap() {
            close(got[row.parse::<usize>().unwrap()], wanted, row);
        }
        close(got[first..].iter().sum(), &expected["sum_of_valid"], "sum");
        seen += 1;
    }
    assert_eq!(seen, 6, "the reference has 6 indicator cases");
}
