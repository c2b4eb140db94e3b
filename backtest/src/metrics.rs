//! Every metric, once: formula, source, unit, natural direction.
//!
//! Notation: `E[t]` is the equity at the close of calendar row `t`, `n` the number of rows, `C` the
//! initial cash, `P` `periods_per_year`, `f` the `risk_free_rate` divided by `P`;
//! `r[t] = E[t] / E[t-1] - 1` for `t = 1 .. n-1` (`n - 1` returns; the costs of a fill on row 0,
//! possible with `fill: close` only, are in every metric of equity but not in the returns; after a
//! book was lost, `E` and `r` are 0); `b[t]` is the same of holding ([`hold`](crate::engine::hold));
//! `sd` is the standard deviation with divisor `n - 2`, that is one less than the count. A trade is
//! a closed round trip; where both legs of a pair are opened and closed together, the two are one.
//! Losses are positive fractions. Where a formula has no value the metric has a reason instead,
//! never infinity and never a stand-in such as 0.

use crate::engine::Report;
use crate::sum::{mean, sum_of, sum_of_rows, sum_of_two};
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
    InformationRatio,
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
        formula: "mean over t of (value of positions at the close, of short ones its magnitude) / \
                  E[t]",
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
        metric: Metric::InformationRatio,
        name: "information_ratio",
        alias: None,
        direction: Direction::Maximize,
        unit: "ratio, annualized",
        scale: 0.5,
        formula: "mean(r - b) / sd(r - b) * sqrt(P)",
        source: "Goodwin 1998, The Information Ratio, Financial Analysts Journal 54(4); the \
                 benchmark is holding",
        undefined: "the returns differ from those of holding by nothing, or by the same every day",
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
        formula: "max(0, -q(0.05)): historical, 95 %; 0 for a book that lost on fewer than 5 % of the \
                  rows, whatever it lost there (expected_shortfall counts that)",
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
        formula: "max(0, -(sum of the r below x + (m - how many they are) x) / m), m = 0.05 (n - 1) \
                  and x the ceil(m)-th smallest r: the mean of the worst 5 %, whatever else equals \
                  x; historical, 95 %",
        source: "Acerbi and Tasche 2002, On the coherence of expected shortfall, definition 2.6",
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
        undefined: "the equity does not vary, or the book was lost",
    },
];

/// Names that a request check knows and refuses, with the reason.
pub static REFUSED: &[RefusedMetric] = &[
    RefusedMetric {
        name: "ic",
        hint: "it needs a strategy that ranks a cross-section of symbols; use sharpe_ratio",
    },
    RefusedMetric {
        name: "ic_ir",
        hint: "it needs a strategy that ranks a cross-section of symbols; use sharpe_ratio",
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
        self.value_of(&Curve::new(report))
    }

    fn value_of(self, curve: &Curve<'_>) -> Result<f64, Undefined> {
        let report = curve.report;
        let value = match self {
            Self::SharpeRatio => curve.sharpe_ratio(),
            Self::SortinoRatio => curve.sortino_ratio(),
            Self::CalmarRatio => curve.calmar_ratio(),
            Self::OmegaRatio => curve.omega_ratio(),
            Self::TotalReturn => Ok(growth(report) - 1.0),
            Self::AnnualizedReturn => Ok(curve.annualized_return),
            Self::Volatility => curve.volatility(),
            Self::MaxDrawdown => Ok(curve.max_drawdown),
            Self::WinRate => win_rate(&curve.trips),
            Self::ProfitFactor => profit_factor(&curve.trips),
            Self::PayoffRatio => payoff_ratio(&curve.trips),
            Self::Turnover => Ok(turnover(report)),
            Self::Exposure => Ok(report.exposure),
            Self::Cost => Ok((report.commission + report.slippage) / report.initial_cash),
            Self::InformationRatio => curve.information_ratio(),
            Self::TailRatio => curve.tail_ratio(),
            Self::ValueAtRisk => curve.value_at_risk(),
            Self::ExpectedShortfall => curve.expected_shortfall(),
            Self::NTrades => Ok(curve.trips.count as f64),
            Self::Stability => stability(curve),
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
    let curve = Curve::new(report);
    METRICS
        .iter()
        .map(|info| (info.metric, info.metric.value_of(&curve)))
        .collect()
}

/// The returns `r[1] .. r[n-1]`.
#[must_use]
pub fn returns(report: &Report) -> Vec<f64> {
    returns_of(&report.equity, report.ruin.is_some())
}

/// The Sharpe ratio of returns, per row: that of the metric `sharpe_ratio` before it is annualized.
/// `riskless` is the riskless return of a row.
///
/// ```
/// use trialmill_backtest::metrics::sharpe_per_row;
///
/// // Mean 0.01, standard deviation 0.01.
/// assert_eq!(sharpe_per_row(&[0.0, 0.01, 0.02], 0.0), Ok(1.0));
/// assert!(sharpe_per_row(&[0.0, 0.0, 0.0], 0.0).is_err());
/// ```
///
/// # Errors
/// Why it is not defined: fewer than two returns, or returns that differ by rounding at most.
pub fn sharpe_per_row(returns: &[f64], riskless: f64) -> Result<f64, &'static str> {
    sharpe(mean(returns) - riskless, standard_deviation(returns))
}

fn sharpe(excess: f64, deviation: Value) -> Value {
    match deviation? {
        0.0 => Err(NO_VARIANCE),
        deviation => Ok(excess / deviation),
    }
}

/// The returns of an equity curve, one fewer than its rows. It is above 0 or, if `lost`, falls to 0 and
/// stays there: a return of -1, and 0 from then on.
#[must_use]
pub fn returns_of(equity: &[f64], lost: bool) -> Vec<f64> {
    let later = equity.get(1..).unwrap_or(&[]);
    let changes = later
        .iter()
        .zip(equity)
        .map(|(now, before)| now / before - 1.0);
    if lost {
        // 0 / 0: nothing is left, nothing changes.
        changes.map(|r| if r.is_nan() { 0.0 } else { r }).collect()
    } else {
        changes.collect()
    }
}

type Value = Result<f64, &'static str>;

/// What several metrics of one report share.
struct Curve<'a> {
    report: &'a Report,
    returns: Vec<f64>,
    /// Mean of the returns less the riskless one.
    excess: f64,
    riskless: f64,
    deviation: Value,
    annualized_return: f64,
    max_drawdown: f64,
    trips: Trips,
    quantiles: Option<Quantiles>,
}

impl<'a> Curve<'a> {
    fn new(report: &'a Report) -> Self {
        let returns = returns(report);
        let riskless = report.risk_free_rate / report.periods_per_year;
        let deviation = standard_deviation(&returns);
        let years = returns.len() as f64 / report.periods_per_year;
        Self {
            report,
            excess: mean(&returns) - riskless,
            riskless,
            deviation,
            annualized_return: libm::pow(growth(report), 1.0 / years) - 1.0,
            max_drawdown: max_drawdown(report),
            trips: Trips::of(report),
            quantiles: (report.entries > 0).then(|| quantiles(&returns, deviation.unwrap_or(0.0))),
            returns,
        }
    }

    fn annual(&self) -> f64 {
        self.report.periods_per_year.sqrt()
    }

    fn without(&self, reason: &'static str) -> &'static str {
        if self.report.entries == 0 {
            NO_FILLS
        } else {
            reason
        }
    }

    fn sharpe_ratio(&self) -> Value {
        Ok(sharpe(self.excess, self.deviation)? * self.annual())
    }

    fn sortino_ratio(&self) -> Value {
        let below = |r: f64| larger(self.riskless - r, 0.0);
        let squares = sum_of(&self.returns, |r| below(r) * below(r));
        if squares == 0.0 {
            return Err(self.without("no return is below the riskless"));
        }
        let downside = (squares / self.returns.len() as f64).sqrt();
        Ok(self.excess / downside * self.annual())
    }

    fn calmar_ratio(&self) -> Value {
        if self.max_drawdown == 0.0 {
            return Err(self.without("there is no drawdown"));
        }
        Ok(self.annualized_return / self.max_drawdown)
    }

    fn omega_ratio(&self) -> Value {
        let losses = sum_of(&self.returns, |r| larger(self.riskless - r, 0.0));
        if losses == 0.0 {
            return Err(self.without("no return is below the riskless"));
        }
        Ok(sum_of(&self.returns, |r| larger(r - self.riskless, 0.0)) / losses)
    }

    fn volatility(&self) -> Value {
        Ok(self.deviation? * self.annual())
    }

    fn information_ratio(&self) -> Value {
        let Some(benchmark) = &self.report.benchmark else {
            return Err("nothing was computed to compare it with");
        };
        let (r, b) = (&self.returns, &benchmark.returns);
        let count = r.len() as f64;
        if count < 2.0 {
            return Err(FEW_ROWS);
        }
        let center = sum_of_two(r, b, |r, b| r - b) / count;
        let squares = sum_of_two(r, b, |r, b| (r - b - center) * (r - b - center));
        let deviation = (squares / (count - 1.0)).sqrt();
        if deviation <= ROUNDING {
            return Err("the returns do not deviate from those of holding");
        }
        Ok(center / deviation * self.annual())
    }

    fn quantiles(&self) -> Result<Quantiles, &'static str> {
        self.quantiles.ok_or(NO_FILLS)
    }

    fn tail_ratio(&self) -> Value {
        let Quantiles { low, high, .. } = self.quantiles()?;
        if low >= 0.0 {
            return Err("the 5 % quantile of the returns is not a loss");
        }
        Ok(high / -low)
    }

    fn value_at_risk(&self) -> Value {
        Ok((-self.quantiles()?.low).max(0.0))
    }

    fn expected_shortfall(&self) -> Value {
        let bound = self.quantiles()?.tail_end;
        let below = |r: f64, term: f64| if r < bound { term } else { 0.0 };
        let total = sum_of(&self.returns, |r| below(r, r));
        let count = sum_of(&self.returns, |r| below(r, 1.0));
        // Of the returns that equal the bound only as many belong to the tail as fill it up: most
        // of them do not where most rows are flat.
        let size = self.returns.len() as f64 / 20.0;
        Ok((-(total + (size - count) * bound) / size).max(0.0))
    }
}

/// Returns that deviate by less differ by rounding only: one unit in the last place of a growth
/// factor near 1, some times over.
const ROUNDING: f64 = 8.0 * f64::EPSILON;

/// In two passes, so that nothing cancels. Returns that differ by rounding only count as equal.
fn standard_deviation(values: &[f64]) -> Value {
    if values.len() < 2 {
        return Err(FEW_ROWS);
    }
    let center = mean(values);
    let squares = sum_of(values, |v| (v - center) * (v - center));
    let deviation = (squares / (values.len() - 1) as f64).sqrt();
    if deviation > ROUNDING {
        return Ok(deviation);
    }
    let largest = values.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    Ok(if deviation <= largest { 0.0 } else { deviation })
}

/// The larger of two numbers, neither of which is NaN: one instruction, where [`f64::max`] is four.
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

fn growth(report: &Report) -> f64 {
    report.equity[report.equity.len() - 1] / report.initial_cash
}

fn max_drawdown(report: &Report) -> f64 {
    let mut peak = report.initial_cash;
    let mut deepest = 0.0f64;
    // Rows are looked at one by one only in blocks that can hold a deeper drawdown than the deepest
    // so far: at most the one from the highest peak to the lowest equity.
    for block in report.equity.chunks(16) {
        let lowest = block
            .iter()
            .fold(f64::INFINITY, |low, &e| if e < low { e } else { low });
        let highest = block.iter().fold(peak, |high, &e| larger(e, high));
        if 1.0 - lowest / highest > deepest {
            for &equity in block {
                peak = peak.max(equity);
                deepest = deepest.max(1.0 - equity / peak);
            }
        }
        peak = highest;
    }
    deepest
}

/// Closed round trips: how many there are, won and lost, and by how much.
struct Trips {
    count: usize,
    won: usize,
    gains: f64,
    lost: usize,
    losses: f64,
}

impl Trips {
    fn of(report: &Report) -> Self {
        let mut trips = Self {
            count: 0,
            won: 0,
            gains: 0.0,
            lost: 0,
            losses: 0.0,
        };
        for profit in report.round_trips() {
            trips.count += 1;
            if profit > 0.0 {
                trips.won += 1;
                trips.gains += profit;
            } else if profit < 0.0 {
                trips.lost += 1;
                trips.losses -= profit;
            }
        }
        trips
    }
}

fn win_rate(trips: &Trips) -> Value {
    if trips.count == 0 {
        return Err(NO_CLOSED);
    }
    Ok(trips.won as f64 / trips.count as f64)
}

fn profit_factor(trips: &Trips) -> Value {
    match (trips.count, trips.lost) {
        (0, _) => Err(NO_CLOSED),
        (_, 0) => Err(NO_LOSING),
        _ => Ok(trips.gains / trips.losses),
    }
}

fn payoff_ratio(trips: &Trips) -> Value {
    match (trips.count, trips.lost, trips.won) {
        (0, _, _) => Err(NO_CLOSED),
        (_, 0, _) => Err(NO_LOSING),
        (_, _, 0) => Err("no closed trade made money"),
        (_, lost, won) => Ok((trips.gains / won as f64) / (trips.losses / lost as f64)),
    }
}

fn turnover(report: &Report) -> f64 {
    let years = (report.equity.len() - 1) as f64 / report.periods_per_year;
    report.traded_value / 2.0 / mean(&report.equity) / years
}

/// Quantiles of the returns.
#[derive(Clone, Copy)]
struct Quantiles {
    /// The 5 % quantile, linear between order statistics.
    low: f64,
    /// The order statistic at or below it, which is that of rank `ceil(0.05 count)` counted from 1:
    /// where the worst 5 % end.
    tail_end: f64,
    /// The 95 % quantile, as the 5 % one.
    high: f64,
}

fn quantiles(returns: &[f64], deviation: f64) -> Quantiles {
    let (last, count) = (returns.len() - 1, returns.len());
    let (rank, weight) = place(last, 0.05);
    // Both quantiles lie in the tails, and these, as bits of magnitudes, are sorted quickly. Tails
    // begin at 1.25 deviations; if that leaves too few, at 0. Days out of the market are exactly 0.
    let (mut losses, mut gains) = tails(returns, 1.25 * deviation);
    if losses.len() < rank + 2 || gains.len() < rank + 2 {
        (losses, gains) = tails(returns, 0.0);
    }
    let (loss_count, first_gain) = (losses.len(), count - gains.len());
    // The value of a rank and, if that comes with it, of the next one. The largest loss has rank 0.
    let mut at = |rank: usize| {
        if let Some(from_end) = loss_count.checked_sub(rank + 1) {
            let (smaller, loss, _) = losses.select_nth_unstable(from_end);
            let next = smaller.iter().max();
            (
                -f64::from_bits(*loss),
                next.map(|loss| -f64::from_bits(*loss)),
            )
        } else if let Some(from_start) = rank.checked_sub(first_gain) {
            let (_, gain, larger) = gains.select_nth_unstable(from_start);
            let next = larger.iter().min();
            (
                f64::from_bits(*gain),
                next.map(|gain| f64::from_bits(*gain)),
            )
        } else {
            (0.0, None)
        }
    };
    // The value of a rank, and the one that lies beyond it by a weight.
    let mut between = |rank: usize, weight: f64| {
        let (low, next) = at(rank);
        if rank == last {
            return (low, low);
        }
        let next = next.unwrap_or_else(|| at(rank + 1).0);
        (low, low + weight * (next - low))
    };
    let (tail_end, low) = between(rank, weight);
    let (rank, weight) = place(last, 0.95);
    let (_, high) = between(rank, weight);
    Quantiles {
        low,
        tail_end,
        high,
    }
}

/// The rank at or below the `p`-quantile of ranks 0 to `last`, and how far it is to the next.
fn place(last: usize, p: f64) -> (usize, f64) {
    let place = p * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 <= place <= last"
    )]
    let rank = place.floor() as usize;
    (rank, place - place.floor())
}

/// The magnitudes, as bits (which are in the same order), of returns below `-bound` and of those
/// above `bound`. Written without branches, because the sign of a return cannot be foreseen.
fn tails(returns: &[f64], bound: f64) -> (Vec<u64>, Vec<u64>) {
    let outside = keep(
        returns.iter().map(|r| (r.to_bits(), r.abs() > bound)),
        returns.len(),
    );
    let sign = 1u64 << 63;
    let part = |wanted: u64| {
        let signed = outside.iter().map(|r| (r & !sign, r & sign == wanted));
        keep(signed, outside.len())
    };
    (part(sign), part(0))
}

fn keep(values: impl Iterator<Item = (u64, bool)>, most: usize) -> Vec<u64> {
    let mut kept = vec![0; most + 1];
    let mut count = 0;
    for (value, wanted) in values {
        kept[count] = value;
        count += usize::from(wanted);
    }
    kept.truncate(count);
    kept
}

fn stability(curve: &Curve<'_>) -> Value {
    if curve.report.ruin.is_some() {
        return Err("the book was lost");
    }
    let y = log_curve(&curve.returns);
    let rows = y.len() as f64;
    let (middle, center) = ((rows - 1.0) / 2.0, mean(&y));
    let xx = rows * (rows * rows - 1.0) / 12.0;
    let yy = sum_of(&y, |y| (y - center) * (y - center));
    let xy = sum_of_rows(&y, |row, y| (row - middle) * (y - center));
    if yy == 0.0 {
        return Err("the equity does not vary");
    }
    // A zero slope gives zero whatever the sign.
    Ok((xy * xy / (xx * yy)).min(1.0).copysign(xy))
}

/// `ln(E[t] / E[0])` for all rows, as the sum of `ln(1 + r)`: to 1e-12 over 5,000 rows.
fn log_curve(returns: &[f64]) -> Vec<f64> {
    let mut y = Vec::with_capacity(returns.len() + 1 + BLOCK);
    let mut sum = 0.0;
    y.push(sum);
    let (blocks, rest) = returns.as_chunks::<BLOCK>();
    // The last rows are filled up with zeros, whose logarithms are cut off again.
    let mut end = [0.0; BLOCK];
    end[..rest.len()].copy_from_slice(rest);
    for block in blocks.iter().chain([&end]) {
        let largest = block.iter().fold(0.0, |most, r| larger(r.abs(), most));
        if largest == 0.0 {
            // Out of the market: nothing changes.
            y.extend([sum; BLOCK]);
            continue;
        }
        let mut sums = if largest <= MAX_SERIES {
            log_series(block)
        } else {
            block.map(libm::log1p)
        };
        // Sums within the block first: only one addition a block waits for the block before.
        for lane in 1..BLOCK {
            sums[lane] += sums[lane - 1];
        }
        for within in &mut sums {
            *within += sum;
        }
        sum = sums[BLOCK - 1];
        y.extend(sums);
    }
    y.truncate(returns.len() + 1);
    y
}

const BLOCK: usize = 8;

/// Up to here [`log_series`] is exact to rounding: the first term left out is below 2e-16 of it.
const MAX_SERIES: f64 = 0.062_5;

/// `ln(1 + r) = 2 artanh(s)` with `s = r / (2 + r)`, by the series `s + s^3/3 + .. + s^9/9`: so few
/// operations, and no branch, that several rows go at a time.
fn log_series(returns: &[f64; BLOCK]) -> [f64; BLOCK] {
    let mut logs = [0.0; BLOCK];
    for (log, r) in logs.iter_mut().zip(returns) {
        let s = r / (2.0 + r);
        let w = s * s;
        *log =
            2.0 * s * ((((w * (1.0 / 9.0) + 1.0 / 7.0) * w + 1.0 / 5.0) * w + 1.0 / 3.0) * w + 1.0);
    }
    logs
}

/// How a book compares with a benchmark over the same rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Slope of the least-squares line of `r` on `b`; `None` if `b` does not vary.
    pub beta: Option<f64>,
    /// Total return of the benchmark.
    pub hold_return: f64,
    /// Total return of the book less that.
    pub excess_return: f64,
}

/// Compares a report with its benchmark; `None` if there is none.
#[must_use]
pub fn compare(report: &Report) -> Option<Comparison> {
    let benchmark = report.benchmark.as_ref()?;
    let (r, b) = (returns(report), &benchmark.returns);
    let (r_mean, b_mean) = (mean(&r), mean(b));
    let variance = sum_of(b, |b| (b - b_mean) * (b - b_mean));
    let covariance = sum_of_two(&r, b, |r, b| (r - r_mean) * (b - b_mean));
    let last = benchmark.equity[benchmark.equity.len() - 1];
    let hold_return = last / report.initial_cash - 1.0;
    Some(Comparison {
        beta: (variance > 0.0).then(|| covariance / variance),
        hold_return,
        excess_return: growth(report) - 1.0 - hold_return,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn the_log_curve_is_that_of_single_logarithms() {
        let mut random = Random::new(8);
        for size in [0.001, 0.02, 0.3] {
            let returns: Vec<f64> = (0..5_000)
                .map(|_| match random.bits() % 3 {
                    0 => 0.0,
                    _ => (size * random.normal()).max(-0.9),
                })
                .collect();
            let mut growth = 0.0;
            for (row, y) in log_curve(&returns).into_iter().enumerate() {
                if row > 0 {
                    growth += libm::log(1.0 + returns[row - 1]);
                }
                let gap = (y - growth).abs();
                assert!(
                    gap < 1e-12 * growth.abs().max(1.0),
                    "{size} row {row}: {gap:e}"
                );
            }
        }
        for r in [MAX_SERIES, -MAX_SERIES, 1e-3, -1e-9] {
            let gap = log_series(&[r; BLOCK])[3] / libm::log1p(r) - 1.0;
            assert!(gap.abs() < 1e-15, "{r}: {gap:e}");
        }
    }
}
