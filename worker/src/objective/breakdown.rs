//! What is shown of a run that is several backtests.

use super::backtest::Figures;
use chrono::NaiveDate;
use serde::Serialize;
use std::collections::BTreeMap;
use trialmill_backtest::result::{BacktestResult, Figure};

/// What a run shows beside its metrics.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Of one backtest: all of it.
    One(Box<BacktestResult>),
    /// Of several: what each of them gave.
    Several(Breakdown),
}

/// The metrics of the backtests of a run by symbol, or by segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breakdown {
    /// One entry for each stock code, ascending; over its segments, if there are any.
    PerSymbol(Vec<SymbolFigures>),
    /// One entry for each segment of a cross-validation, in order.
    Segments(Vec<SegmentFigures>),
}

/// What the book of one stock code (of a pair: with its partner) gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SymbolFigures {
    /// The stock code.
    pub symbol: String,
    /// Every metric by its name; empty if it was left out.
    pub metrics: BTreeMap<String, Figure>,
    /// Why the aggregate does not count it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// What one segment gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentFigures {
    /// Its place, from 0.
    pub index: usize,
    /// Its first trading day.
    pub from: NaiveDate,
    /// Its last trading day.
    pub to: NaiveDate,
    /// Every metric by its name.
    pub metrics: BTreeMap<String, Figure>,
}

/// Figures as they are shown.
pub(super) fn by_name(figures: &Figures) -> BTreeMap<String, Figure> {
    let shown = figures.iter().map(|(name, value)| {
        let figure = match value {
            Ok(value) => Figure::Value(*value),
            Err(reason) => Figure::Undefined {
                value: None,
                reason: reason.clone(),
            },
        };
        ((*name).to_owned(), figure)
    });
    shown.collect()
}
