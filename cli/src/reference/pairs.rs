//! Cases of pairs: the arithmetic of the Engle-Granger test and the half-life over a whole window.

use super::{Comparison, Data, object, text};
use serde_json::Value;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::cointegration::{
    EngleGranger, Lags, adf, ar1_lambda, engle_granger, half_life, rolling_z_scores,
};

/// Relative tolerance of statistics.
const STATISTIC: f64 = 1e-6;
/// Relative tolerance of p-values.
const P_VALUE: f64 = 1e-4;
/// Rows of the z-scores.
const Z_WINDOW: usize = 60;

/// Tests the pair and compares every figure it expects.
pub(super) fn compare(
    case: &Value,
    data: &mut Data,
    figures: &mut Comparison,
) -> Result<(), String> {
    let mut leg = |field: &str| {
        let file = data.file_of(text(case, field)?)?;
        data.rows(&file, &case["first"], &case["last"])
    };
    let (y, x) = joined(&leg("y")?, &leg("x")?);
    let test = |lags| engle_granger(&y, &x, lags).map_err(|e| e.to_string());
    let (fixed, by_aic) = (test(Lags::Fixed(1))?, test(Lags::Aic)?);
    let residuals = &fixed.fit.residuals;
    let lambda = ar1_lambda(residuals).ok();
    if !case["rows"].is_null() {
        figures.exact("rows", y.len(), &case["rows"]);
    }
    for (name, expected) in object(case, "expected")? {
        match name.as_str() {
            "alpha" => figures.number(name, Some(fixed.fit.alpha), expected, STATISTIC),
            "hedge_ratio" => {
                figures.number(name, Some(fixed.fit.hedge_ratio), expected, STATISTIC);
            }
            "r_squared" => figures.number(name, Some(fixed.fit.r_squared), expected, STATISTIC),
            "residual_std_ddof2" => {
                figures.number(name, fixed.fit.residual_std(2), expected, STATISTIC);
            }
            "adf_residual_lag1_no_constant" => {
                unit_root(name, expected, residuals, Lags::Fixed(1), figures);
            }
            "adf_residual_aic" => unit_root(name, expected, residuals, Lags::Aic, figures),
            "engle_granger_lag1" => pair_test(name, expected, &fixed, figures),
            "engle_granger_aic" => pair_test(name, expected, &by_aic, figures),
            "half_life" => {
                let found = lambda.and_then(|lambda| half_life(lambda).ok());
                figures.number(name, found, expected, STATISTIC);
            }
            "ar1_lambda" => figures.number(name, lambda, expected, STATISTIC),
            "zscore_60_at" => {
                let scores = rolling_z_scores(residuals, Z_WINDOW, 1);
                for (row, expected) in expected.as_object().into_iter().flatten() {
                    let found = row.parse::<usize>().ok().and_then(|row| *scores.get(row)?);
                    figures.number(&format!("{name} {row}"), found, expected, STATISTIC);
                }
            }
            other => figures.unknown(other, expected),
        }
    }
    Ok(())
}

/// The logarithms of the closes on the dates that both have.
fn joined(y: &BarSeries, x: &BarSeries) -> (Vec<f64>, Vec<f64>) {
    let mut other = x.time().iter().zip(x.close()).peekable();
    let mut rows = (Vec::new(), Vec::new());
    for (time, close) in y.time().iter().zip(y.close()) {
        while other.next_if(|(t, _)| *t < time).is_some() {}
        if let Some((_, partner)) = other.next_if(|(t, _)| *t == time) {
            rows.0.push(close.ln());
            rows.1.push(partner.ln());
        }
    }
    rows
}

fn unit_root(
    name: &str,
    expected: &Value,
    residuals: &[f64],
    lags: Lags,
    figures: &mut Comparison,
) {
    let test = adf(residuals, lags).ok();
    for (field, expected) in expected.as_object().into_iter().flatten() {
        let figure = format!("{name}.{field}");
        match (field.as_str(), &test) {
            ("stat", test) => {
                let found = test.as_ref().map(|test| test.statistic);
                figures.number(&figure, found, expected, STATISTIC);
            }
            ("lags", Some(test)) => figures.exact(&figure, test.lags, expected),
            ("nobs", Some(test)) => figures.exact(&figure, test.rows, expected),
            _ => figures.unknown(&figure, expected),
        }
    }
}

fn pair_test(name: &str, expected: &Value, test: &EngleGranger, figures: &mut Comparison) {
    for (field, expected) in expected.as_object().into_iter().flatten() {
        let figure = format!("{name}.{field}");
        match field.as_str() {
            "stat" => figures.number(&figure, Some(test.statistic), expected, STATISTIC),
            "pvalue" => figures.number(&figure, Some(test.p_value), expected, P_VALUE),
            "critical_1_5_10" => {
                for (place, found) in test.critical_values.iter().enumerate() {
                    let figure = format!("{figure} {place}");
                    figures.number(&figure, Some(*found), &expected[place], STATISTIC);
                }
            }
            _ => figures.unknown(&figure, expected),
        }
    }
}
