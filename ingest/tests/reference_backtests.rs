//! The engine, its metrics and three strategies against the reference file.

mod reference_cases;
mod shared;

use reference_cases::{cut, date, reference, within_1e_9};
use serde_json::Value;
use std::sync::Arc;
use trialmill_backtest::engine::{BacktestConfig, Dataset, Fill, run};
use trialmill_backtest::metrics::Metric;
use trialmill_backtest::strategy::{
    BollingerRule, MovingAverageRule, ParamFault, Params, RsiRule, Strategy, StrategyInfo,
    TradingRule, find,
};

/// The rule of a case, whatever the ranges of the strategy's parameters.
#[derive(Clone, Copy)]
enum CaseRule {
    MovingAverage(MovingAverageRule),
    Rsi(RsiRule),
    Bollinger(BollingerRule),
}

impl CaseRule {
    fn of(case: &Value) -> (Self, Params) {
        let number = |name: &str| case[name].as_f64().unwrap();
        let rows = |name: &str| usize::try_from(case[name].as_u64().unwrap()).unwrap();
        let whole = |name: &str| case[name].as_i64().unwrap();
        match case["kind"].as_str().unwrap() {
            "sma_cross" => (
                Self::MovingAverage(MovingAverageRule {
                    short_window: rows("fast"),
                    long_window: rows("slow"),
                    signal_threshold: 0.0,
                }),
                Params::new()
                    .with("short_window", whole("fast"))
                    .with("long_window", whole("slow"))
                    .with("signal_threshold", 0.0),
            ),
            "rsi" => (
                Self::Rsi(RsiRule {
                    rsi_period: rows("period"),
                    oversold_threshold: number("oversold"),
                    overbought_threshold: number("overbought"),
                }),
                Params::new()
                    .with("rsi_period", whole("period"))
                    .with("oversold_threshold", number("oversold"))
                    .with("overbought_threshold", number("overbought")),
            ),
            "bollinger" => (
                Self::Bollinger(BollingerRule {
                    period: rows("period"),
                    std_dev: number("k"),
                    ddof: rows("ddof"),
                }),
                Params::new()
                    .with("period", whole("period"))
                    .with("std_dev", number("k")),
            ),
            other => panic!("no rule for {other}"),
        }
    }

    fn named(&self) -> &'static dyn Strategy {
        find(self.info().key).unwrap()
    }
}

impl Strategy for CaseRule {
    fn info(&self) -> &'static StrategyInfo {
        let key = match self {
            Self::MovingAverage(_) => "moving_average",
            Self::Rsi(_) => "rsi",
            Self::Bollinger(_) => "bollinger",
        };
        find(key).unwrap().info()
    }

    fn rule(&self, _: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        Ok(match *self {
            Self::MovingAverage(rule) => TradingRule::single(rule),
            Self::Rsi(rule) => TradingRule::single(rule),
            Self::Bollinger(rule) => TradingRule::single(rule),
        })
    }
}

#[test]
fn every_backtest_case_agrees_to_1e_9_and_counts_are_exact() {
    let Some(file) = reference("backtest_cases.json") else {
        return;
    };
    let mut seen = [0; 3];
    let mut out_of_range = Vec::new();
    for case in file["cases"].as_array().unwrap() {
        let (rule, params) = CaseRule::of(&case["strategy"]);
        seen[match rule {
            CaseRule::MovingAverage(_) => 0,
            CaseRule::Rsi(_) => 1,
            CaseRule::Bollinger(_) => 2,
        }] += 1;
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
        let data = vec![Arc::new(cut(case))];
        let data = Dataset::new(data, date(&case["first"]), date(&case["last"])).unwrap();
        let stop = || false;
        let report = run(&data, &rule, &Params::new(), &config, &stop).unwrap();
        match rule.named().rule(&params) {
            Ok(_) => {
                let by_name = run(&data, rule.named(), &params, &config, &stop).unwrap();
                assert_eq!(by_name, report, "{id} by name and parameters");
            }
            Err(faults) => out_of_range.push((id, faults.len())),
        }
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
        within_1e_9(ratio(last), &expected["final_equity_ratio"], id);
        for (row, wanted) in expected["equity_ratio_at"].as_object().unwrap() {
            within_1e_9(
                ratio(row.parse().unwrap()),
                wanted,
                &format!("{id} row {row}"),
            );
        }
        within_1e_9(-metric(Metric::MaxDrawdown), &expected["max_drawdown"], id);
        for (of, name) in [
            (Metric::SharpeRatio, "sharpe"),
            (Metric::Volatility, "volatility"),
            (Metric::AnnualizedReturn, "annualized_return"),
            (Metric::WinRate, "win_rate"),
            (Metric::ProfitFactor, "profit_factor"),
        ] {
            match &expected[name] {
                // The file calls ratios without a denominator 0; here they are undefined.
                Value::Number(zero)
                    if closed == 0.0
                        && matches!(of, Metric::SharpeRatio | Metric::WinRate)
                        && zero.as_f64() == Some(0.0) =>
                {
                    assert!(of.value(&report).is_err(), "{id} {name}");
                }
                Value::Null => assert!(of.value(&report).is_err(), "{id} {name}"),
                wanted => within_1e_9(metric(of), wanted, &format!("{id} {name}")),
            }
        }
    }
    assert_eq!(seen, [8, 8, 8], "the reference has 8 cases of each rule");
    // Both thresholds of this one lie nearer to the middle than the strategy's ranges.
    assert_eq!(out_of_range, [("bt27", 2)]);
}
