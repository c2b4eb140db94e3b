//! One backtest: its data, its parameters and its figures.

use super::Subject;
use super::trouble::{Reason, Trouble, invalid};
use crate::bars::PinnedData;
use chrono::NaiveDate;
use std::collections::BTreeMap;
use trialmill_backtest::config::BacktestConfig;
use trialmill_backtest::engine::{Backtest, Dataset, Report};
use trialmill_backtest::metrics;
use trialmill_backtest::strategy::{ParamValue, Params};
use trialmill_common::objective::{BETA, EXCESS_RETURN, HOLD_RETURN};
use trialmill_common::spec::{CUSTOM, Target, weighted_sum};
use trialmill_search::Choice;

/// Metrics by name, each with its value or why it has none.
pub(super) type Figures = Vec<(&'static str, Result<f64, String>)>;

/// The one backtest of a task's trials.
pub(super) fn prepare(
    subject: &Subject,
    data: &PinnedData,
    config: BacktestConfig,
) -> Result<Backtest, Reason> {
    let data = dataset(subject, data, subject.first, subject.last).map_err(Reason::data)?;
    Backtest::new(data, config).map_err(|error| Reason::config(error.to_string()))
}

/// The bars of a backtest over the days from `first` to `last`: those of the stock codes, and of
/// their partners for a strategy with two legs.
pub(super) fn dataset(
    subject: &Subject,
    data: &PinnedData,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Dataset, String> {
    let pairs = subject.is_paired().then_some(&subject.pairs);
    data.over(pairs, first, last)
}

/// Every metric of a backtest, and what a pair strategy was beside holding.
pub(super) fn figures(report: &Report, objectives: &[Target]) -> Figures {
    let mut figures = metric_figures(report, objectives);
    figures.extend(beside_holding(report));
    figures
}

/// Every metric of a backtest, and the weighted sum of them where an objective is one.
pub(super) fn metric_figures(report: &Report, objectives: &[Target]) -> Figures {
    let mut figures: Figures = metrics::evaluate_all(report)
        .into_iter()
        .map(|(m, value)| (m.name(), value.map_err(|u| u.reason.to_owned())))
        .collect();
    let weights = objectives.iter().map(|target| target.weights.as_slice());
    if let Some(weights) = weights.into_iter().find(|weights| !weights.is_empty()) {
        figures.push((CUSTOM, weighted_sum(weights, &figures)));
    }
    figures
}

/// What a pair strategy was, seen against holding both legs: metrics of a trial that no request can
/// ask for. None for strategies of one leg.
fn beside_holding(report: &Report) -> Figures {
    if report.pairs.is_empty() {
        return Vec::new();
    }
    let found = metrics::compare(report);
    let of = |value: Option<f64>| value.ok_or("holding both legs was not computed");
    let beta = match found.map(|found| found.beta) {
        Some(None) => Err("holding both legs has no variance"),
        Some(Some(beta)) if !beta.is_finite() => Err("holding both legs hardly varies"),
        beta => of(beta.flatten()),
    };
    let hold_return = of(found.map(|found| found.hold_return));
    let excess_return = of(found.map(|found| found.excess_return));
    [
        (BETA, beta),
        (HOLD_RETURN, hold_return),
        (EXCESS_RETURN, excess_return),
    ]
    .map(|(name, value)| (name, value.map_err(str::to_owned)))
    .into()
}

/// The parameters as a strategy takes them.
pub(super) fn strategy_params(parameters: &BTreeMap<String, Choice>) -> Result<Params, Trouble> {
    let mut params = Params::new();
    for (name, choice) in parameters {
        let value = match choice {
            Choice::Int(value) => ParamValue::Int(*value),
            Choice::Float(value) => ParamValue::Float(*value),
            Choice::Text(value) => ParamValue::Text(value.clone()),
            Choice::Null | Choice::Bool(_) => {
                return Err(invalid(format!(
                    "{name} is {choice}; a strategy takes numbers"
                )));
            }
        };
        params = params.with(name, value);
    }
    Ok(params)
}
