//! Cases of backtests: one series, one rule, all in, fractional shares.

use super::{Comparison, Data, date, number, object, text};
use serde_json::Value;
use std::sync::Arc;
use trialmill_backtest::engine::{BacktestConfig, Dataset, Fill, Report, run};
use trialmill_backtest::metrics::Metric;
use trialmill_backtest::strategy::{
    Bollinger, BollingerRule, MovingAverage, MovingAverageRule, ParamFault, Params, Rsi, RsiRule,
    Strategy, StrategyInfo, TradingRule,
};

/// Relative tolerance of the figures; counts are exact.
const TOLERANCE: f64 = 1e-9;

/// Runs the case and compares every figure it expects.
pub(super) fn compare(
    case: &Value,
    data: &mut Data,
    figures: &mut Comparison,
) -> Result<(), String> {
    let file = data.file(text(case, "data")?);
    let bars = data.rows(&file, &case["first"], &case["last"])?;
    let (first, last) = (date(&case["first"], "first")?, date(&case["last"], "last")?);
    let rule = CaseRule::of(&case["strategy"])?;
    let config = BacktestConfig {
        initial_cash: number(case, "initial_cash")?,
        commission_rate: number(case, "fee_rate")?,
        slippage_rate: number(case, "slippage_rate")?,
        fill: fill(text(case, "fill")?)?,
        ..BacktestConfig::default()
    };
    let data = Dataset::new(vec![Arc::new(bars)], first, last).map_err(|e| e.to_string())?;
    let report = run(&data, &rule, &Params::new(), &config, &|| false);
    let report = report.map_err(|e| e.to_string())?;
    if !case["rows"].is_null() {
        figures.exact("rows", report.equity.len(), &case["rows"]);
    }
    for (name, expected) in object(case, "expected")? {
        figure(name, expected, &report, figures);
    }
    Ok(())
}

/// The rule of a case, whose values may lie outside the ranges that searches are held to.
#[derive(Debug, Clone, Copy)]
enum CaseRule {
    MovingAverage(MovingAverageRule),
    Rsi(RsiRule),
    Bollinger(BollingerRule),
}

impl CaseRule {
    fn of(case: &Value) -> Result<Self, String> {
        let rows = |field: &str| {
            let rows = case[field]
                .as_u64()
                .filter(|rows| (1..=10_000).contains(rows));
            let rows = rows.and_then(|rows| usize::try_from(rows).ok());
            rows.ok_or_else(|| {
                let value = &case[field];
                format!("{field} is {value}; it must be a whole number from 1 to 10000")
            })
        };
        match text(case, "kind")? {
            "sma_cross" => Ok(Self::MovingAverage(MovingAverageRule {
                short_window: rows("fast")?,
                long_window: rows("slow")?,
                signal_threshold: 0.0,
            })),
            "rsi" => Ok(Self::Rsi(RsiRule {
                rsi_period: rows("period")?,
                oversold_threshold: number(case, "oversold")?,
                overbought_threshold: number(case, "overbought")?,
            })),
            "bollinger" => {
                let (period, ddof) = (rows("period")?, case["ddof"].as_u64());
                let ddof = ddof.and_then(|ddof| usize::try_from(ddof).ok());
                let ddof = ddof.filter(|ddof| *ddof < period).ok_or_else(|| {
                    format!("ddof is {}; it must be 0 to {}", case["ddof"], period - 1)
                })?;
                Ok(Self::Bollinger(BollingerRule {
                    period,
                    std_dev: number(case, "k")?,
                    ddof,
                }))
            }
            other => Err(format!(
                "strategy kind {other:?} is not known; known are sma_cross, rsi and bollinger"
            )),
        }
    }
}

impl Strategy for CaseRule {
    fn info(&self) -> &'static StrategyInfo {
        match self {
            Self::MovingAverage(_) => MovingAverage.info(),
            Self::Rsi(_) => Rsi.info(),
            Self::Bollinger(_) => Bollinger.info(),
        }
    }

    fn rule(&self, _: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        Ok(match *self {
            Self::MovingAverage(rule) => TradingRule::single(rule),
            Self::Rsi(rule) => TradingRule::single(rule),
            Self::Bollinger(rule) => TradingRule::single(rule),
        })
    }
}

fn fill(name: &str) -> Result<Fill, String> {
    match name {
        "close" => Ok(Fill::Close),
        "next_open" => Ok(Fill::NextOpen),
        "next_close" => Ok(Fill::NextClose),
        other => Err(format!(
            "fill {other:?} is not known; known are close, next_open and next_close"
        )),
    }
}

fn figure(name: &str, expected: &Value, report: &Report, figures: &mut Comparison) {
    let metric = |metric: Metric| metric.value(report).ok();
    // Without a trade a file gives 0 for what has no denominator; here it is undefined.
    let or_zero = |m: Metric| metric(m).or_else(|| report.trades.is_empty().then_some(0.0));
    let ratio = |row: usize| {
        report
            .equity
            .get(row)
            .map(|value| value / report.initial_cash)
    };
    let won = || report.trades.iter().filter(|t| t.profit() > 0.0).count();
    match name {
        "final_equity_ratio" => {
            let last = ratio(report.equity.len() - 1);
            figures.number(name, last, expected, TOLERANCE);
        }
        "equity_ratio_at" => {
            for (row, expected) in expected.as_object().into_iter().flatten() {
                let found = row.parse().ok().and_then(ratio);
                figures.number(&format!("{name} {row}"), found, expected, TOLERANCE);
            }
        }
        // The files give a drawdown as a negative fraction.
        "max_drawdown" => {
            let found = metric(Metric::MaxDrawdown).map(|drawdown| -drawdown);
            figures.number(name, found, expected, TOLERANCE);
        }
        "sharpe" => figures.number(name, or_zero(Metric::SharpeRatio), expected, TOLERANCE),
        "volatility" => figures.number(name, metric(Metric::Volatility), expected, TOLERANCE),
        "annualized_return" => {
            figures.number(name, metric(Metric::AnnualizedReturn), expected, TOLERANCE);
        }
        "win_rate" => figures.number(name, or_zero(Metric::WinRate), expected, TOLERANCE),
        "profit_factor" => figures.number(name, metric(Metric::ProfitFactor), expected, TOLERANCE),
        "closed_trades" => figures.exact(name, report.trades.len(), expected),
        "winning_trades" => figures.exact(name, won(), expected),
        // Signals, also those that found the position already as wanted.
        "entries" => figures.exact(name, report.entry_signals, expected),
        "exits" => figures.exact(name, report.exit_signals, expected),
        "position_open_at_end" => {
            figures.exact(name, !report.open_positions.is_empty(), expected);
        }
        other => figures.unknown(other, expected),
    }
}
