//! Metrics against values worked out by hand, and where they have none.

use std::sync::Arc;
use trialmill_backtest::engine::{Report, Trade};
use trialmill_backtest::metrics::{
    Direction, METRICS, Metric, REFUSED, evaluate_all, find, find_refused,
};

fn report(equity: &[f64], trades: &[(f64, f64)]) -> Report {
    let trades: Vec<Trade> = trades
        .iter()
        .map(|&(paid, received)| Trade {
            symbol: 0,
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
    assert_eq!(METRICS.len(), 19);
    assert_eq!(find("sharpe").unwrap().name, "sharpe_ratio");
    assert_eq!(find("max_drawdown").unwrap().direction, Direction::Minimize);
    for name in ["information_ratio", "ic", "ic_ir", "custom"] {
        assert!(
            find(name).is_none() && find_refused(name).is_some(),
            "{name}"
        );
    }
}
