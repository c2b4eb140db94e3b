//! Every metric, once: formula, source, unit, natural direction.
//!
//! Notation: `E[t]` is the equity at the close of calendar row `t`, `n` the number of rows, `C` the
//! initial cash, `P` `periods_per_year`, `f` the `risk_free_rate` divided by `P`;
//! `r[t] = E[t] / E[t-1] - 1` for `t = 1 .. n-1` (`n - 1` returns; the costs of a fill on row 0,
//! possible with `fill: close` only, are in every metric of equity but not in the returns);
//! `sd` is the standard deviation with divisor `n - 2`, that is one less than the count.
//! Losses are positive fractions. Where a formula has no value the metric has a reason instead,
//! never infinity and never a stand-in such as 0.

use crate::engine::{Report, Trade};
use serde::Serialize;
use thiserror::Error;

/// Whether more or less of a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More is better.
    Maximize,
    /// Less is better.
    Minimize,
}

/// Why a metric has no value for a report.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{metric} is undefined: {reason}")]
pub struct Undefined {
    /// Name of the metric.
    pub metric: &'static str,
    /// What is missing.
    pub reason: &'static str,
}

/// The metrics that a report gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "each is described in METRICS, which is also what users read"
)]
pub enum Metric {
    SharpeRatio,
    SortinoRatio,
    CalmarRatio,
    OmegaRatio,
    TotalReturn,
    AnnualizedReturn,
    Volatility,
    MaxDrawdown,
    WinRate,
    ProfitFactor,
    PayoffRatio,
    Turnover,
    Exposure,
    Cost,
    TailRatio,
    ValueAtRisk,
    ExpectedShortfall,
    NTrades,
    Stability,
}

/// An entry of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MetricInfo {
    /// Which metric.
    #[serde(skip)]
    pub metric: Metric,
    /// Its name in requests and results.
    pub name: &'static str,
    /// Another accepted name.
    pub alias: Option<&'static str>,
    /// Which way is better; a request may leave it out and may not contradict it.
    pub direction: Direction,
    /// What the number is: `ratio`, `fraction`, `count`, `per year`.
    pub unit: &'static str,
    /// A usual size; the weighted sum `custom` divides by it so that unlike metrics can be added.
    pub scale: f64,
    /// The definition, in the notation of this module.
    pub formula: &'static str,
    /// Where the definition comes from.
    pub source: &'static str,
    /// When it has no value.
    pub undefined: &'static str,
}

/// A name that is known but cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedMetric {
    /// The name.
    pub name: &'static str,
    /// Why, and what to use instead.
    pub hint: &'static str,
}

const NO_VARIANCE: &str = "the returns do not vary (no trades, or a flat book)";
const NO_CLOSED: &str = "there is no closed trade";
const NO_LOSING: &str = "no closed trade lost money";
const NO_FILLS: &str = "nothing was traded";
const FEW_ROWS: &str = "there are fewer than 3 rows";

/// The catalogue, in the order in which metrics are shown.
pub static METRICS: &[MetricInfo] = &[
    MetricInfo {
        metric: Metric::SharpeRatio,
        name: "sharpe_ratio",
        alias: Some("sharpe"),
        direction: Direction::Maximize,
        unit: "ratio, annualized",
        scale: 1.0,
        formula: "mean(r - f) / sd(r) * sqrt(P)",
        source: "Sharpe 1994, The Sharpe Ratio, Journal of Portfolio Management 21(1)",
        undefined: "the returns do not vary",
    },
    MetricInfo {
        metric: Metric::SortinoRatio,
        name: "sortino_ratio",
        alias: Some("sortino"),
        direction: Direction::Maximize,
        unit: "ratio, annualized",
        scale: 1.5,
        formula: "mean(r - f) / sqrt(mean(min(0, r - f)^2)) * sqrt(P), the mean over all returns",
        source: "Sortino and Price 1994, Performance measurement in a downside risk framework",
        undefined: "no return is below f",
    },
    MetricInfo {
        metric: Metric::CalmarRatio,
        name: "calmar_ratio",
        alias: Some("calmar"),
        direction: Direction::Maximize,
        unit: "ratio",
        scale: 1.0,
        formula: "annualized_return / max_drawdown, over the whole period",
        source: "Young 1991, Calmar ratio: a smoother tool, Futures 20(1) (there over 36 months)",
        undefined: "there is no drawdown",
    },
    MetricInfo {
        metric: Metric::OmegaRatio,
        name: "omega_ratio",
        alias: Some("omega"),
        direction: Direction::Maximize,
        unit: "ratio",
        scale: 1.2,
        formula: "sum(max(0, r - f)) / sum(max(0, f - r))",
        source: "Keating and Shadwick 2002, A universal performance measure; threshold f",
        undefined: "no return is below f",
    },
    MetricInfo {
        metric: Metric::TotalReturn,
        name: "total_return",
        alias: Some("return"),
        direction: Direction::Maximize,
        unit: "fraction",
        scale: 0.5,
        formula: "E[n-1] / C - 1",
        source: "definition",
        undefined: "never",
    },
    MetricInfo {
        metric: Metric::AnnualizedReturn,
        name: "annualized_return",
        alias: Some("cagr"),
        direction: Direction::Maximize,
        unit: "fraction per year",
        scale: 0.1,
        formula: "(E[n-1] / C)^(P / (n - 1)) - 1",
        source: "geometric mean; CFA Institute, GIPS handbook",
        undefined: "it is too large for a number",
    },
    MetricInfo {
        metric: Metric::Volatility,
        name: "volatility",
        alias: None,
        direction: Direction::Minimize,
        unit: "fraction per year",
        scale: 0.2,
        formula: "sd(r) * sqrt(P)",
        source: "square root of time; Hull, Options, Futures and Other Derivatives",
        undefined: "there are fewer than 3 rows",
    },
    MetricInfo {
        metric: Metric::MaxDrawdown,
        name: "max_drawdown",
        alias: Some("mdd"),
        direction: Direction::Minimize,
        unit: "fraction lost",
        scale: 0.2,
        formula: "max over t of 1 - E[t] / max(C, E[0] .. E[t])",
        source: "Magdon-Ismail and Atiya 2004, Maximum drawdown; the initial cash is a peak",
        undefined: "never",
    },
    MetricInfo {
        metric: Metric::WinRate,
        name: "win_rate",
        alias: None,
        direction: Direction::Maximize,
        unit: "fraction of closed trades",
        scale: 0.5,
        formula: "closed trades with profit > 0 / closed trades, profit after all costs",
        source: "definition",
        undefined: "there is no closed trade",
    },
    MetricInfo {
        metric: Metric::ProfitFactor,
        name: "profit_factor",
        alias: None,
        direction: Direction::Maximize,
        unit: "ratio",
        scale: 1.5,
        formula: "sum of the profits of winning closed trades / sum of the losses of losing ones",
        source: "Pardo 2008, The Evaluation and Optimization of Trading Strategies",
        undefined: "no closed trade lost money",
    },
    MetricInfo {
        metric: Metric::PayoffRatio,
        name: "payoff_ratio",
        alias: None,
        direction: Direction::Maximize,
        unit: "ratio",
        scale: 1.5,
        formula: "mean profit of winning closed trades / mean loss of losing ones",
        source: "definition",
        undefined: "no closed trade won, or none lost",
    },
    MetricInfo {
        metric: Metric::Turnover,
        name: "turnover",
        alias: None,
        direction: Direction::Minimize,
        unit: "times the book, per year",
        scale: 10.0,
        formula: "(value of purchases and sales / 2) / mean(E) * P / (n - 1)",
        source: "mean of both sides, Grinold and Kahn, Active Portfolio Management",
        undefined: "never",
    },
    MetricInfo {
        metric: Metric::Exposure,
        name: "exposure",
        alias: None,
        direction: Direction::Minimize,
        unit: "fraction of equity",
        scale: 0.5,
        formula: "mean over t of (value of positions at the close) / E[t]",
        source: "definition; less is better at equal return",
        undefined: "never",
    },
    MetricInfo {
        metric: Metric::Cost,
        name: "cost",
        alias: None,
        direction: Direction::Minimize,
        unit: "fraction of initial cash",
        scale: 0.05,
        formula: "(commission + slippage) / C",
        source: "definition",
        undefined: "never",
    },
    MetricInfo {
        metric: Metric::TailRatio,
        name: "tail_ratio",
        alias: None,
        direction: Direction::Maximize,
        unit: "ratio",
        scale: 1.0,
        formula: "q(0.95) / -q(0.05); q(p) is the p-quantile of r, linear between order statistics",
        source: "empyrical, tail_ratio; Hyndman and Fan 1996, quantile definition 7",
        undefined: "the 5 % quantile of the returns is not a loss",
    },
    MetricInfo {
        metric: Metric::ValueAtRisk,
        name: "value_at_risk",
        alias: Some("var"),
        direction: Direction::Minimize,
        unit: "fraction lost per row",
        scale: 0.02,
        formula: "max(0, -q(0.05)): historical, 95 %",
        source: "Jorion, Value at Risk; quantile as in tail_ratio",
        undefined: "nothing was traded",
    },
    MetricInfo {
        metric: Metric::ExpectedShortfall,
        name: "expected_shortfall",
        alias: Some("cvar"),
        direction: Direction::Minimize,
        unit: "fraction lost per row",
        scale: 0.03,
        formula: "max(0, -mean of the returns that are <= q(0.05)): historical, 95 %",
        source: "Acerbi and Tasche 2002, On the coherence of expected shortfall",
        undefined: "nothing was traded",
    },
    MetricInfo {
        metric: Metric::NTrades,
        name: "n_trades",
        alias: None,
        direction: Direction::Maximize,
        unit: "count",
        scale: 50.0,
        formula: "closed round trips; a position open at the end is not counted",
        source: "definition",
        undefined: "never",
    },
    MetricInfo {
        metric: Metric::Stability,
        name: "stability",
        alias: None,
        direction: Direction::Maximize,
        unit: "fraction, -1 to 1",
        scale: 0.5,
        formula: "sign(b) * R^2 of the least-squares line ln(E[t]) = a + b t",
        source: "empyrical, stability_of_timeseries, which drops the sign: there a steady loss is \
                 as stable as a steady gain. In-sample like every other metric",
        undefined: "the equity does not vary",
    },
];

/// Names that a request check knows and refuses, with the reason.
pub static REFUSED: &[RefusedMetric] = &[
    RefusedMetric {
        name: "information_ratio",
        hint: "it needs the returns of a benchmark, which are not computed yet; use sharpe_ratio",
    },
    RefusedMetric {
        name: "ic",
        hint: "it needs a strategy that ranks a cross-section of symbols; use sharpe_ratio",
    },
    RefusedMetric {
        name: "ic_ir",
        hint: "it needs a strategy that ranks a cross-section of symbols; use sharpe_ratio",
    },
    RefusedMetric {
        name: "custom",
        hint: "weighted sums are not available yet; use one metric or a list of metrics",
    },
];

/// The catalogue entry of a name or alias.
///
/// ```
/// use trialmill_backtest::metrics::{Metric, find};
/// assert_eq!(find("sharpe").map(|m| m.metric), Some(Metric::SharpeRatio));
/// assert!(find("luck").is_none());
/// ```
#[must_use]
pub fn find(name: &str) -> Option<&'static MetricInfo> {
    METRICS
        .iter()
        .find(|info| info.name == name || info.alias == Some(name))
}

/// The entry of a known but refused name.
#[must_use]
pub fn find_refused(name: &str) -> Option<&'static RefusedMetric> {
    REFUSED.iter().find(|refused| refused.name == name)
}

impl Metric {
    /// Its catalogue entry.
    ///
    /// # Panics
    /// Never: a test sees to it that each metric has its entry.
    #[must_use]
    pub fn info(self) -> &'static MetricInfo {
        METRICS
            .iter()
            .find(|info| info.metric == self)
            .expect("the catalogue has an entry for every metric")
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Its value, always finite.
    ///
    /// # Errors
    /// The reason, where the formula has no value.
    pub fn value(self, report: &Report) -> Result<f64, Undefined> {
        let value = match self {
            Self::SharpeRatio => sharpe_ratio(report),
            Self::SortinoRatio => sortino_ratio(report),
            Self::CalmarRatio => calmar_ratio(report),
            Self::OmegaRatio => omega_ratio(report),
            Self::TotalReturn => Ok(growth(report) - 1.0),
            Self::AnnualizedReturn => annualized_return(report),
            Self::Volatility => volatility(report),
            Self::MaxDrawdown => Ok(max_drawdown(report)),
            Self::WinRate => win_rate(report),
            Self::ProfitFactor => profit_factor(report),
            Self::PayoffRatio => payoff_ratio(report),
            Self::Turnover => Ok(turnover(report)),
            Self::Exposure => Ok(report.exposure),
            Self::Cost => Ok((report.commission + report.slippage) / report.initial_cash),
            Self::TailRatio => tail_ratio(report),
            Self::ValueAtRisk => value_at_risk(report),
            Self::ExpectedShortfall => expected_shortfall(report),
            Self::NTrades => Ok(report.trades.len() as f64),
            Self::Stability => stability(report),
        };
        match value {
            // -0.0 + 0.0 is +0.0, so that records compare equal.
            Ok(value) if value.is_finite() => Ok(value + 0.0),
            Ok(_) => Err("it is too large for a number"),
            Err(reason) => Err(reason),
        }
        .map_err(|reason| Undefined {
            metric: self.name(),
            reason,
        })
    }
}

/// Every metric of the catalogue, in its order.
#[must_use]
pub fn evaluate_all(report: &Report) -> Vec<(Metric, Result<f64, Undefined>)> {
    METRICS
        .iter()
        .map(|info| (info.metric, info.metric.value(report)))
        .collect()
}

/// The returns `r[1] .. r[n-1]`.
#[must_use]
pub fn returns(report: &Report) -> Vec<f64> {
    report
        .equity
        .windows(2)
        .map(|pair| pair[1] / pair[0] - 1.0)
        .collect()
}

type Value = Result<f64, &'static str>;

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// In two passes, so that nothing cancels. Returns that differ by rounding only count as equal.
fn standard_deviation(values: &[f64]) -> Value {
    if values.len() < 2 {
        return Err(FEW_ROWS);
    }
    let center = mean(values);
    let squares: f64 = values.iter().map(|v| (v - center) * (v - center)).sum();
    let deviation = (squares / (values.len() - 1) as f64).sqrt();
    let largest = values.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    // One unit in the last place of a growth factor near 1, some times over.
    let rounding = 8.0 * f64::EPSILON;
    Ok(if deviation <= rounding.min(largest) {
        0.0
    } else {
        deviation
    })
}

fn riskless(report: &Report) -> f64 {
    report.risk_free_rate / report.periods_per_year
}

fn growth(report: &Report) -> f64 {
    report.equity[report.equity.len() - 1] / report.initial_cash
}

fn sharpe_ratio(report: &Report) -> Value {
    let r = returns(report);
    let deviation = standard_deviation(&r)?;
    if deviation == 0.0 {
        return Err(NO_VARIANCE);
    }
    Ok((mean(&r) - riskless(report)) / deviation * report.periods_per_year.sqrt())
}

fn sortino_ratio(report: &Report) -> Value {
    let (r, f) = (returns(report), riskless(report));
    let squares: f64 = r.iter().map(|r| (r - f).min(0.0)).map(|d| d * d).sum();
    if squares == 0.0 {
        return Err(if report.entries == 0 {
            NO_FILLS
        } else {
            "no return is below the riskless"
        });
    }
    let downside = (squares / r.len() as f64).sqrt();
    Ok((mean(&r) - f) / downside * report.periods_per_year.sqrt())
}

fn calmar_ratio(report: &Report) -> Value {
    let drawdown = max_drawdown(report);
    if drawdown == 0.0 {
        return Err(if report.entries == 0 {
            NO_FILLS
        } else {
            "there is no drawdown"
        });
    }
    Ok(annualized_return(report)? / drawdown)
}

fn omega_ratio(report: &Report) -> Value {
    let (r, f) = (returns(report), riskless(report));
    let losses: f64 = r.iter().map(|r| (f - r).max(0.0)).sum();
    if losses == 0.0 {
        return Err(if report.entries == 0 {
            NO_FILLS
        } else {
            "no return is below the riskless"
        });
    }
    let gains: f64 = r.iter().map(|r| (r - f).max(0.0)).sum();
    Ok(gains / losses)
}

fn annualized_return(report: &Report) -> Value {
    let years = (report.equity.len() - 1) as f64 / report.periods_per_year;
    Ok(libm::pow(growth(report), 1.0 / years) - 1.0)
}

fn volatility(report: &Report) -> Value {
    Ok(standard_deviation(&returns(report))? * report.periods_per_year.sqrt())
}

fn max_drawdown(report: &Report) -> f64 {
    let mut peak = report.initial_cash;
    let mut deepest = 0.0f64;
    for &equity in &report.equity {
        peak = peak.max(equity);
        deepest = deepest.max(1.0 - equity / peak);
    }
    deepest
}

fn win_rate(report: &Report) -> Value {
    if report.trades.is_empty() {
        return Err(NO_CLOSED);
    }
    let won = report
        .trades
        .iter()
        .filter(|trade| trade.profit() > 0.0)
        .count();
    Ok(won as f64 / report.trades.len() as f64)
}

/// Number and sum of the profits, number and sum of the losses.
fn profits_and_losses(trades: &[Trade]) -> [(usize, f64); 2] {
    let mut sides = [(0, 0.0); 2];
    for profit in trades.iter().map(Trade::profit) {
        if profit != 0.0 {
            let side = &mut sides[usize::from(profit < 0.0)];
            side.0 += 1;
            side.1 += profit.abs();
        }
    }
    sides
}

fn profit_factor(report: &Report) -> Value {
    if report.trades.is_empty() {
        return Err(NO_CLOSED);
    }
    let [(_, gains), (losing, losses)] = profits_and_losses(&report.trades);
    if losing == 0 {
        Err(NO_LOSING)
    } else {
        Ok(gains / losses)
    }
}

fn payoff_ratio(report: &Report) -> Value {
    if report.trades.is_empty() {
        return Err(NO_CLOSED);
    }
    match profits_and_losses(&report.trades) {
        [_, (0, _)] => Err(NO_LOSING),
        [(0, _), _] => Err("no closed trade made money"),
        [(winning, gains), (losing, losses)] => {
            Ok((gains / winning as f64) / (losses / losing as f64))
        }
    }
}

fn turnover(report: &Report) -> f64 {
    let years = (report.equity.len() - 1) as f64 / report.periods_per_year;
    report.traded_value / 2.0 / mean(&report.equity) / years
}

/// The `p`-quantile of sorted values, linear between order statistics.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let place = p * (sorted.len() - 1) as f64;
    let below = place.floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 <= place <= len - 1"
    )]
    let index = below as usize;
    let low = sorted[index];
    sorted
        .get(index + 1)
        .map_or(low, |high| low + (place - below) * (high - low))
}

fn sorted_returns(report: &Report) -> Result<Vec<f64>, &'static str> {
    if report.entries == 0 {
        return Err(NO_FILLS);
    }
    let mut r = returns(report);
    r.sort_unstable_by(f64::total_cmp);
    Ok(r)
}

fn tail_ratio(report: &Report) -> Value {
    let r = sorted_returns(report)?;
    let low = quantile(&r, 0.05);
    if low >= 0.0 {
        return Err("the 5 % quantile of the returns is not a loss");
    }
    Ok(quantile(&r, 0.95) / -low)
}

fn value_at_risk(report: &Report) -> Value {
    Ok((-quantile(&sorted_returns(report)?, 0.05)).max(0.0))
}

fn expected_shortfall(report: &Report) -> Value {
    let r = sorted_returns(report)?;
    let bound = quantile(&r, 0.05);
    let tail = &r[..r.partition_point(|&r| r <= bound)];
    Ok((-mean(tail)).max(0.0))
}

fn stability(report: &Report) -> Value {
    let y: Vec<f64> = report
        .equity
        .iter()
        .map(|&e| libm::log(e / report.initial_cash))
        .collect();
    let middle = (y.len() - 1) as f64 / 2.0;
    let center = mean(&y);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (t, value) in y.iter().enumerate() {
        let (dx, dy) = (t as f64 - middle, value - center);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    if yy == 0.0 {
        return Err("the equity does not vary");
    }
    // A zero slope gives zero whatever the sign.
    Ok((xy * xy / (xx * yy)).min(1.0).copysign(xy))
}
