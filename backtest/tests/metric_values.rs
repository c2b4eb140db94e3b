//! Metrics against values worked out by hand, and where they have none.

use std::sync::Arc;
use trialmill_backtest::engine::{Benchmark, Report, Ruin, Side, Trade};
use trialmill_backtest::metrics::{
    self, Direction, METRICS, Metric, REFUSED, evaluate_all, find, find_refused,
};
use trialmill_backtest::synthetic::Random;

fn report(equity: &[f64], trades: &[(f64, f64)]) -> Report {
    let trades: Vec<Trade> = trades
        .iter()
        .map(|&(paid, received)| Trade {
            symbol: 0,
            pair: None,
            side: Side::Long,
            entry_row: 0,
            exit_row: 1,
            shares: 1.0,
            entry_price: paid,
            exit_price: received,
            paid,
            received,
        })
        .collect();
    Report {
        time: (0i64..).take(equity.len()).collect(),
        symbols: Arc::from(["A".to_owned()]),
        pairs: vec![],
        benchmark: None,
        legs_per_trip: 1,
        entries_not_admitted: 0,
        entries_not_hedged: 0,
        ruin: None,
        execution: None,
        held: vec![],
        equity: equity.to_vec(),
        entry_signals: trades.len(),
        exit_signals: trades.len(),
        entries: trades.len(),
        exits: trades.len(),
        trades,
        open_positions: vec![],
        cash: equity[equity.len() - 1],
        entries_without_cash: 0,
        traded_value: 300.0,
        commission: 0.5,
        slippage: 0.25,
        exposure: 0.4,
        initial_cash: 100.0,
        risk_free_rate: 0.0,
        periods_per_year: 4.0,
        looks_ahead: false,
    }
}

#[track_caller]
fn assert_value(report: &Report, metric: Metric, wanted: f64) {
    let got = metric.value(report).unwrap();
    assert!(
        (got - wanted).abs() <= 1e-12 * wanted.abs().max(1.0),
        "{metric:?} {got} {wanted}"
    );
}

/// Returns 0.1, -0.1, 0.2, -0.05.
fn mixed() -> Report {
    report(
        &[100.0, 110.0, 99.0, 118.8, 112.86],
        &[(50.0, 60.0), (60.0, 55.0), (55.0, 57.0)],
    )
}

#[test]
fn every_metric_has_the_value_of_its_formula() {
    let r = mixed();
    // Mean 0.0375; squared deviations sum to 0.056875; divisor 3.
    let deviation = (0.056_875f64 / 3.0).sqrt();
    assert_value(&r, Metric::SharpeRatio, 0.0375 / deviation * 2.0);
    assert_value(&r, Metric::Volatility, deviation * 2.0);
    assert_value(
        &r,
        Metric::SortinoRatio,
        0.0375 / (0.0125f64 / 4.0).sqrt() * 2.0,
    );
    assert_value(&r, Metric::OmegaRatio, 0.3 / 0.15);
    assert_value(&r, Metric::TotalReturn, 0.1286);
    assert_value(&r, Metric::AnnualizedReturn, 0.1286); // four rows a year, four returns
    assert_value(&r, Metric::MaxDrawdown, 0.1);
    assert_value(&r, Metric::CalmarRatio, 1.286);
    assert_value(&r, Metric::WinRate, 2.0 / 3.0);
    assert_value(&r, Metric::ProfitFactor, 12.0 / 5.0);
    assert_value(&r, Metric::PayoffRatio, 6.0 / 5.0);
    assert_value(&r, Metric::Turnover, 150.0 / 108.132);
    assert_value(&r, Metric::Exposure, 0.4);
    assert_value(&r, Metric::Cost, 0.0075);
    assert_value(&r, Metric::NTrades, 3.0);
    // Sorted -0.1, -0.05, 0.1, 0.2: places 0.15 and 2.85 of 0..3.
    let (low, high) = (-0.1 + 0.15 * 0.05, 0.1 + 0.85 * 0.1);
    assert_value(&r, Metric::TailRatio, high / -low);
    assert_value(&r, Metric::ValueAtRisk, -low);
    assert_value(&r, Metric::ExpectedShortfall, 0.1);
}

#[test]
fn the_information_ratio_is_that_of_the_returns_beyond_holding() {
    let mut r = mixed();
    assert!(Metric::InformationRatio.value(&r).is_err());
    // Holding returns 0.1, 0, 0.1, 0: beyond it are 0, -0.1, 0.1, -0.05; mean -0.0125.
    let hold = Benchmark::new(vec![100.0, 110.0, 110.0, 121.0, 121.0]);
    r.benchmark = Some(Arc::new(hold));
    let squares: f64 = [0.0, -0.1, 0.1, -0.05f64]
        .iter()
        .map(|a| (a + 0.0125) * (a + 0.0125))
        .sum();
    let wanted = -0.0125 / (squares / 3.0).sqrt() * 2.0;
    assert_value(&r, Metric::InformationRatio, wanted);
    r.benchmark = Some(Arc::new(Benchmark::new(r.equity.clone())));
    let same = Metric::InformationRatio.value(&r).unwrap_err();
    assert_eq!(
        same.to_string(),
        "information_ratio is undefined: the returns do not deviate from those of holding"
    );
}

#[test]
fn two_legs_that_go_together_are_one_trade() {
    let mut r = report(
        &[100.0, 110.0, 99.0, 118.8, 112.86],
        &[(50.0, 60.0), (60.0, 55.0), (55.0, 52.0), (55.0, 56.0)],
    );
    r.legs_per_trip = 2;
    assert_value(&r, Metric::NTrades, 2.0);
    assert_value(&r, Metric::WinRate, 0.5);
    assert_value(&r, Metric::ProfitFactor, 5.0 / 2.0);
}

#[test]
fn a_lost_book_has_lost_everything_and_no_metric_is_infinite() {
    let mut r = report(&[100.0, 50.0, 0.0, 0.0, 0.0], &[(50.0, 60.0)]);
    r.ruin = Some(Ruin {
        row: 2,
        shortfall: 3.0,
    });
    assert_value(&r, Metric::TotalReturn, -1.0);
    assert_value(&r, Metric::AnnualizedReturn, -1.0);
    assert_value(&r, Metric::MaxDrawdown, 1.0);
    assert!(Metric::Stability.value(&r).is_err());
    for (metric, value) in evaluate_all(&r) {
        assert!(value.as_ref().map_or(true, |v| v.is_finite()), "{metric:?}");
    }
    let mean = (-0.5 - 1.0) / 4.0;
    let squares: f64 = [-0.5, -1.0, 0.0, 0.0]
        .iter()
        .map(|r| (r - mean) * (r - mean))
        .sum();
    assert_value(&r, Metric::SharpeRatio, mean / (squares / 3.0).sqrt() * 2.0);
}

/// A quantile by sorting everything, as the definition says.
fn sorted_quantile(returns: &[f64], p: f64) -> f64 {
    let mut sorted = returns.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = p * (sorted.len() - 1) as f64;
    let below = (0..sorted.len())
        .rfind(|&rank| rank as f64 <= place)
        .unwrap();
    let low = sorted[below];
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    low + (place - below as f64) * (high - low)
}

/// The mean loss of the worst 5 %, the last of them in part, by sorting everything.
fn mean_of_the_worst_twentieth(returns: &[f64]) -> f64 {
    let mut sorted = returns.to_vec();
    sorted.sort_by(f64::total_cmp);
    let size = sorted.len() as f64 / 20.0;
    let mut left = size;
    let mut total = 0.0;
    for r in sorted {
        let part = left.min(1.0);
        total += part * r;
        left -= part;
    }
    -total / size
}

#[test]
fn a_book_that_is_seldom_in_the_market_has_the_shortfall_of_its_worst_twentieth() {
    // 100 returns: -10 %, -5 %, three of +2 %, else 0. The worst five are the two losses and three
    // flat days: 3 %, though 97 returns are at most the 5 % quantile, which is 0.
    let mut equity = vec![100.0];
    for row in 1..=100 {
        let change = match row {
            20 => -0.10,
            40 => -0.05,
            60 | 70 | 80 => 0.02,
            _ => 0.0,
        };
        equity.push(equity[row - 1] * (1.0 + change));
    }
    let r = report(&equity, &[(1.0, 2.0)]);
    assert_value(&r, Metric::ExpectedShortfall, 0.03);
    assert_value(&r, Metric::ValueAtRisk, 0.0);
    // 50 returns, 2.5 in the tail: the two losses and half a flat day.
    let r = report(&equity[..51], &[(1.0, 2.0)]);
    assert_value(&r, Metric::ExpectedShortfall, 0.06);
}

#[test]
fn quantiles_are_those_of_all_returns_sorted_however_many_are_zero() {
    let mut random = Random::new(3);
    for rows in [2, 3, 5, 21, 22, 100, 1_000] {
        for idle in [0.0, 0.3, 0.9, 0.97] {
            let mut equity = vec![100.0];
            for t in 1..rows {
                let moves = random.uniform() > idle;
                let change = if moves { 0.01 * random.normal() } else { 0.0 };
                equity.push(equity[t - 1] * (1.0 + change));
            }
            let r = report(&equity, &[(1.0, 2.0)]);
            let returns = metrics::returns(&r);
            let (low, high) = (
                sorted_quantile(&returns, 0.05),
                sorted_quantile(&returns, 0.95),
            );
            assert_value(&r, Metric::ValueAtRisk, (-low).max(0.0));
            if low < 0.0 {
                assert_value(&r, Metric::TailRatio, high / -low);
            }
            let wanted = mean_of_the_worst_twentieth(&returns).max(0.0);
            assert_value(&r, Metric::ExpectedShortfall, wanted);
            assert!(wanted >= -low, "{rows} rows: {wanted} {low}");
        }
    }
}

#[test]
fn the_deepest_drawdown_is_that_of_every_row_looked_at() {
    let mut random = Random::new(6);
    for rows in [2, 15, 16, 17, 33, 1_000] {
        let mut equity = vec![100.0];
        for t in 1..rows {
            equity.push(equity[t - 1] * (1.0 + 0.02 * random.normal()));
        }
        let (mut peak, mut deepest) = (100.0f64, 0.0f64);
        for e in &equity {
            peak = peak.max(*e);
            deepest = deepest.max(1.0 - e / peak);
        }
        let got = Metric::MaxDrawdown.value(&report(&equity, &[])).unwrap();
        assert_eq!(got.to_bits(), deepest.to_bits(), "{rows} rows");
    }
}

#[test]
fn a_riskless_rate_lowers_what_is_measured_above_it() {
    let mut r = mixed();
    r.risk_free_rate = 0.04; // 0.01 a row
    let deviation = (0.056_875f64 / 3.0).sqrt();
    assert_value(&r, Metric::SharpeRatio, 0.0275 / deviation * 2.0);
    assert_value(&r, Metric::OmegaRatio, 0.28 / 0.17);
}

#[test]
fn the_initial_cash_counts_as_a_peak() {
    assert_value(&report(&[80.0, 90.0, 85.0], &[]), Metric::MaxDrawdown, 0.2);
}

#[test]
fn stability_is_one_on_a_line_and_minus_one_on_a_falling_line() {
    let rising: Vec<f64> = (0..50).map(|t| 100.0 * 1.01f64.powi(t)).collect();
    let falling: Vec<f64> = (0..50).map(|t| 100.0 * 0.99f64.powi(t)).collect();
    assert_value(&report(&rising, &[]), Metric::Stability, 1.0);
    assert_value(&report(&falling, &[]), Metric::Stability, -1.0);
}

#[test]
fn without_trades_a_ratio_has_a_reason_and_no_value() {
    let idle = report(&[100.0; 6], &[]);
    for metric in [
        Metric::SharpeRatio,
        Metric::SortinoRatio,
        Metric::CalmarRatio,
        Metric::OmegaRatio,
        Metric::WinRate,
        Metric::ProfitFactor,
        Metric::PayoffRatio,
        Metric::TailRatio,
        Metric::ValueAtRisk,
        Metric::ExpectedShortfall,
        Metric::Stability,
    ] {
        let undefined = metric.value(&idle).unwrap_err();
        assert_eq!(undefined.metric, metric.name());
        assert!(
            undefined.to_string().contains(" is undefined: "),
            "{undefined}"
        );
    }
    assert_value(&idle, Metric::NTrades, 0.0);
    assert_value(&idle, Metric::MaxDrawdown, 0.0);
}

#[test]
fn winners_only_have_no_profit_factor_and_losers_only_no_payoff() {
    let winners = report(&[100.0, 101.0, 103.0], &[(1.0, 2.0)]);
    assert_eq!(
        Metric::ProfitFactor
            .value(&winners)
            .unwrap_err()
            .to_string(),
        "profit_factor is undefined: no closed trade lost money"
    );
    assert!(Metric::SortinoRatio.value(&winners).is_err());
    let losers = report(&[100.0, 99.0, 97.0], &[(2.0, 1.0)]);
    assert_value(&losers, Metric::ProfitFactor, 0.0);
    assert!(Metric::PayoffRatio.value(&losers).is_err());
}

#[test]
fn steady_growth_has_no_sharpe_ratio_though_its_returns_differ_by_rounding() {
    let mut equity = vec![100.0];
    for t in 0..300 {
        equity.push(equity[t] * 1.000_7);
    }
    assert!(Metric::SharpeRatio.value(&report(&equity, &[])).is_err());
}

#[test]
fn values_are_finite_or_absent_whatever_the_curve() {
    for equity in [
        vec![1e-300, 1e300],
        vec![1e300, 1e-300, 1e300],
        vec![100.0, 100.0],
        vec![f64::MIN_POSITIVE, 1.0, 2.0],
    ] {
        for (metric, value) in evaluate_all(&report(&equity, &[(1.0, 2.0), (1.0, 1.0)])) {
            assert!(
                value.as_ref().map_or(true, |v| v.is_finite()),
                "{metric:?} {value:?}"
            );
        }
    }
}

#[test]
fn the_catalogue_is_complete_and_its_names_are_unique() {
    let mut names: Vec<&str> = METRICS
        .iter()
        .flat_map(|m| [Some(m.name), m.alias])
        .flatten()
        .collect();
    names.extend(REFUSED.iter().map(|m| m.name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for info in METRICS {
        assert!(std::ptr::eq(info.metric.info(), info), "{}", info.name);
        assert!(info.scale > 0.0 && !info.formula.is_empty() && !info.source.is_empty());
    }
    assert_eq!(METRICS.len(), 20);
    assert_eq!(find("sharpe").unwrap().name, "sharpe_ratio");
    assert_eq!(find("max_drawdown").unwrap().direction, Direction::Minimize);
    assert!(find("custom").is_none(), "a sum of metrics is none of them");
    for name in ["ic", "ic_ir"] {
        assert!(
            find(name).is_none() && find_refused(name).is_some(),
            "{name}"
        );
    }
}
