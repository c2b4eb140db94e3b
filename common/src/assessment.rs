//! What a finished search is worth: the document of its result, and the verdict.
//!
//! The document has the shape and the names of the API. What is in it is computed by the worker;
//! docs/trust.md has every formula. A figure that cannot be computed is
//! `{"value": null, "reason": ...}`, never a stand-in.

mod sentence;
mod verdict;

pub use sentence::{percent, says_deflated, says_luck, says_neighbourhood, says_overfit};
pub use verdict::{
    ALPHA, Evidence, Judged, LUCK_P, OutOfSampleEvidence, SURE, Verdict, VerdictCode, verdict,
};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trialmill_backtest::market::Execution;
use trialmill_backtest::result::Figure;
use trialmill_search::Choice;

/// The metric that a result shows everywhere, and its count of trades.
pub const SHARPE: &str = "sharpe_ratio";
/// See [`SHARPE`].
pub const TRADES: &str = "n_trades";

/// A part of the document, or why it is not there.
///
/// ```
/// use trialmill_common::assessment::Computed;
///
/// let none: Computed<f64> = Computed::missing("10 trials; needs 20");
/// let text = serde_json::to_string(&none)?;
/// assert_eq!(text, r#"{"value":null,"reason":"10 trials; needs 20"}"#);
/// assert_eq!(serde_json::from_str::<Computed<f64>>(&text)?, none);
/// assert_eq!(serde_json::to_string(&Computed::Found(0.5))?, "0.5");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Computed<T> {
    /// It is there.
    Found(T),
    /// It is not.
    Missing {
        /// Always null.
        value: (),
        /// Why.
        reason: String,
    },
}

impl<T> Computed<T> {
    /// Nothing, for this reason.
    #[must_use]
    pub fn missing(reason: impl Into<String>) -> Self {
        Self::Missing {
            value: (),
            reason: reason.into(),
        }
    }

    /// What was found.
    #[must_use]
    pub const fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Missing { .. } => None,
        }
    }
}

impl<T, E: ToString> From<Result<T, E>> for Computed<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(found) => Self::Found(found),
            Err(reason) => Self::missing(reason.to_string()),
        }
    }
}

/// A number with its reason if it has none, as [`Figure`].
#[must_use]
pub fn figure<E: ToString>(value: Result<f64, E>) -> Figure {
    match value {
        Ok(value) => Figure::Value(value),
        Err(reason) => Figure::Undefined {
            value: None,
            reason: reason.to_string(),
        },
    }
}

/// The value of a figure, if it has one.
#[must_use]
pub const fn value_of(figure: &Figure) -> Option<f64> {
    match figure {
        Figure::Value(value) => Some(*value),
        Figure::Undefined { .. } => None,
    }
}

/// The part of a task's result that says what it is worth. The API adds the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// One sentence on how far to trust it.
    pub verdict: Verdict,
    /// The trial whose parameters are to be used: the pick of the last window, or the best of the
    /// only one. Null when no trial qualified.
    pub best: Option<Best>,
    /// What it is to be compared with.
    pub baselines: Computed<Baselines>,
    /// The joined test windows of a walk-forward.
    pub out_of_sample: Computed<OutOfSample>,
    /// Every window of a walk-forward; empty for other methods.
    pub windows: Vec<WindowResult>,
    /// The stretch that no trial saw.
    pub holdout: Computed<Holdout>,
    /// How far luck explains it.
    pub trust: Trust,
    /// What became of the orders, under the rules of a market: of all runs that judge the picks, or
    /// of the best trial where none does.
    pub execution: Computed<Execution>,
}

/// The trial whose parameters are to be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its number.
    pub trial_number: u32,
    /// Its window, for a walk-forward.
    pub window: Option<u16>,
    /// Its parameters, fixed ones included.
    pub params: BTreeMap<String, Choice>,
    /// Its objective values by metric.
    pub values: BTreeMap<String, f64>,
    /// What it was on the days that it was chosen by.
    pub in_sample: InSample,
}

/// A trial on the days that it was chosen by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InSample {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Annualized.
    pub sharpe_ratio: Figure,
    /// Closed trades.
    pub n_trades: Figure,
}

/// What a result is to be compared with, on the days that judge it: the joined test windows, the
/// held-out stretch, or else the days of the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    /// First and last day.
    pub period: [NaiveDate; 2],
    /// Holding all symbols for equal shares (of a pair strategy all legs).
    pub equal_weight_hold: Baseline,
    /// The default parameters.
    pub default_params: Baseline,
}

/// One thing to compare with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Annualized.
    pub sharpe_ratio: Figure,
}

/// The joined test windows of a walk-forward: what its picks gave on days that had no say in them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutOfSample {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Of the daily returns of all test windows, annualized.
    pub sharpe_ratio: Figure,
    /// The interval that holds the true one with 95 %.
    pub sharpe_ci95: Computed<[f64; 2]>,
    /// The mean of what the picks had in their training windows.
    pub in_sample_mean_sharpe: Figure,
}

/// One window of a walk-forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowResult {
    /// Its place, from 0.
    pub index: u16,
    /// First and last day of what its trials saw.
    pub train: [NaiveDate; 2],
    /// First and last day of what judged its pick; null for the last window.
    pub test: Option<[NaiveDate; 2]>,
    /// Its pick; null when no trial qualified, and then the test window was spent in cash.
    pub trial_number: Option<u32>,
    /// The parameters of the pick; empty when there is none.
    pub params: BTreeMap<String, Choice>,
    /// The pick in its training window.
    pub in_sample: Computed<Baseline>,
    /// The pick in its test window.
    pub test_result: Computed<TestResult>,
}

/// A pick on the days that judge it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// Annualized.
    pub sharpe_ratio: Figure,
    /// Closed trades.
    pub n_trades: Figure,
}

/// The stretch that no trial saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holdout {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Annualized.
    pub sharpe_ratio: Figure,
    /// How often results on these days were looked at before: what was seen once guides the next
    /// search, and the days judge it less.
    pub earlier_looks: u32,
}

/// How far luck explains a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trust {
    /// The deflated Sharpe ratio of the best trial.
    pub deflated_sharpe: Computed<DeflatedSharpe>,
    /// The probability of backtest overfitting.
    pub pbo: Computed<Overfitting>,
    /// The search repeated on shuffled markets.
    pub luck: Computed<Luck>,
    /// What is left of the objective one step away from the best point.
    pub neighbourhood: Computed<Neighbourhood>,
}

/// The probability that the Sharpe ratio of the best trial is above what luck gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeflatedSharpe {
    /// The probability.
    pub value: f64,
    /// Attempts of this task: completed and pruned trials.
    pub n_trials: u32,
    /// Attempts of earlier tasks on overlapping symbols and dates.
    pub prior_trials: u32,
    /// How many independent attempts those of the window amount to; null where they say nothing of
    /// it. The figure does not use it.
    pub effective_n: Option<u32>,
    /// In words.
    pub says: String,
}

/// How often the best of one half of the days was below the median on the other half.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overfitting {
    /// The share of the splits.
    pub value: f64,
    /// Blocks of days that were split.
    pub blocks: u32,
    /// Trials that were ranked.
    pub trials_used: u32,
    /// `stratified` where those are a sample by rank of more than a thousand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// `adaptive_search` where the figure is optimistic because the search followed its finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caution: Option<String>,
    /// In words.
    pub says: String,
}

/// The whole search, repeated on bars whose days were shuffled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Luck {
    /// The probability that they give a search this good.
    pub p_value: f64,
    /// How often it was repeated.
    pub permutations: u32,
    /// In words.
    pub says: String,
}

/// What the objective is one step away from the best point, by what it is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbourhood {
    /// Points looked at.
    pub points: u32,
    /// The median.
    pub median_ratio: f64,
    /// The worst.
    pub worst_ratio: f64,
    /// In words.
    pub says: String,
}

#[cfg(test)]
mod tests;
