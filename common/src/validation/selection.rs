//! Which trial of a search is picked: the best by one metric among those that keep some limits.

use crate::spec::{CUSTOM, MetricNames, ResultConstraint};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::str::FromStr;
use trialmill_backtest::metrics::{self, Direction, Metric};
use trialmill_search::pareto::dominates;

/// The rule by which a window's parameters are picked from its trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// What is compared, each metric in its natural direction.
    pub metric: Criterion,
    /// Limits that the picked trial must keep in its training window.
    #[serde(default)]
    pub subject_to: Vec<ResultConstraint>,
}

/// What trials are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Criterion {
    /// A metric of backtests.
    Metric(Metric),
    /// The weighted sum of metrics that is the task's objective.
    Custom,
}

impl Criterion {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metric(metric) => metric.name(),
            Self::Custom => CUSTOM,
        }
    }

    /// Which way is better.
    #[must_use]
    pub fn direction(self) -> Direction {
        match self {
            Self::Metric(metric) => metric.info().direction,
            Self::Custom => Direction::Maximize,
        }
    }
}

impl From<Criterion> for String {
    fn from(criterion: Criterion) -> Self {
        criterion.name().to_owned()
    }
}

impl TryFrom<String> for Criterion {
    type Error = UnknownMetric;

    fn try_from(name: String) -> Result<Self, UnknownMetric> {
        if name == CUSTOM {
            return Ok(Self::Custom);
        }
        match metrics::find(&name) {
            Some(info) => Ok(Self::Metric(info.metric)),
            None => Err(UnknownMetric(name)),
        }
    }
}

/// The text names no metric of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a metric")]
pub struct UnknownMetric(pub String);

/// A trial as the selection sees it. One that was pruned or failed is none.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its number.
    pub number: u32,
    /// Whether it kept the task's own `result_constraints` and has its values.
    pub feasible: bool,
    /// Every metric that was computed under its canonical name: its value, or why it has none.
    pub metrics: &'a [(String, Result<f64, String>)],
    /// The values of its objectives as costs, of which less is better; what they are matters only where
    /// there are several.
    pub costs: &'a [f64],
}

impl Selection {
    /// The metrics that its limits may name: those of a backtest.
    pub const NAMES: MetricNames = MetricNames::Backtest;
}

/// The selection by a metric, by its name or alias, without limits.
impl FromStr for Selection {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        Ok(Self {
            metric: name.to_owned().try_into()?,
            subject_to: Vec::new(),
        })
    }
}

impl Candidate<'_> {
    /// The value of a metric, finite, or why there is none.
    fn metric(&self, name: &str) -> Result<f64, String> {
        let found = self.metrics.iter().find(|(known, _)| known == name);
        match found {
            Some((_, Ok(value))) if value.is_finite() => Ok(*value),
            Some((_, Ok(value))) => Err(format!("{name} is {value}")),
            Some((_, Err(reason))) => Err(reason.clone()),
            None => Err(format!("{name} was not computed")),
        }
    }
}

/// The number of the trial that a selection picks: of the feasible ones that keep every limit and
/// have the metric, the best in the metric's natural direction, and the lowest number among equals.
/// With several objectives only those count that none of these dominates: their front.
/// The order in which they come does not matter.
///
/// None where no trial qualifies: then there are no parameters to apply, and the next test window
/// is spent in cash.
///
/// ```
/// use trialmill_common::validation::{Candidate, Selection, select};
/// use trialmill_common::spec::ResultConstraint;
///
/// let mut selection: Selection = "sharpe".parse()?;
/// selection.subject_to =
///     vec![ResultConstraint::parse("max_drawdown <= 0.2", Selection::NAMES).expect("a limit")];
/// let metrics = |sharpe, drawdown| {
///     [("sharpe_ratio".to_owned(), Ok(sharpe)), ("max_drawdown".to_owned(), Ok(drawdown))]
/// };
/// let (deep, fair, same) = (metrics(1.9, 0.4), metrics(1.2, 0.1), metrics(1.2, 0.2));
/// let trial = |number, metrics| Candidate { number, feasible: true, metrics, costs: &[] };
///
/// assert_eq!(select([trial(7, &deep), trial(9, &same), trial(8, &fair)], &selection), Some(8));
/// assert_eq!(select([trial(7, &deep)], &selection), None);
/// # Ok::<(), trialmill_common::validation::UnknownMetric>(())
/// ```
#[must_use]
pub fn select<'a>(
    trials: impl IntoIterator<Item = Candidate<'a>>,
    selection: &Selection,
) -> Option<u32> {
    let qualified = trials.into_iter().filter_map(|trial| {
        let keeps = |limit: &ResultConstraint| limit.judge(&|name| trial.metric(name)).is_none();
        if !trial.feasible || !selection.subject_to.iter().all(keeps) {
            return None;
        }
        Some((
            trial.number,
            trial.metric(selection.metric.name()).ok()?,
            trial.costs,
        ))
    });
    let qualified: Vec<(u32, f64, &[f64])> = qualified.collect();
    let mut in_turn: Vec<&(u32, f64, &[f64])> = qualified.iter().collect();
    in_turn.sort_by(|(number, value, _), (other_number, other, _)| {
        let ordering = match selection.metric.direction() {
            Direction::Maximize => other.partial_cmp(value),
            Direction::Minimize => value.partial_cmp(other),
        };
        // Finite numbers always compare.
        ordering
            .unwrap_or(Ordering::Equal)
            .then(number.cmp(other_number))
    });
    // The first of them is seldom dominated, so few are held against all.
    let leads = |(_, _, costs): &&&(u32, f64, &[f64])| {
        costs.len() < 2
            || !qualified
                .iter()
                .any(|(_, _, other)| dominates(other, costs))
    };
    in_turn.iter().find(leads).map(|(number, _, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Metrics = Vec<(String, Result<f64, String>)>;

    fn with(name: &str, value: f64) -> Metrics {
        vec![(name.to_owned(), Ok(value))]
    }

    fn pick(trials: &[(u32, bool, Metrics)], selection: &Selection) -> Option<u32> {
        let candidates = trials.iter().map(|(number, feasible, metrics)| Candidate {
            number: *number,
            feasible: *feasible,
            metrics,
            costs: &[],
        });
        let forward = select(candidates.clone(), selection);
        assert_eq!(forward, select(candidates.rev(), selection));
        forward
    }

    #[test]
    fn a_loss_is_picked_by_the_smallest_and_a_gain_by_the_largest() {
        for (metric, best) in [("max_drawdown", 4), ("total_return", 3)] {
            let trials = [
                (3, true, with(metric, 0.5)),
                (4, true, with(metric, 0.25)),
                (5, true, with(metric, 0.3)),
            ];
            assert_eq!(pick(&trials, &metric.parse().unwrap()), Some(best));
        }
    }

    #[test]
    fn equals_go_to_the_lowest_number_and_zero_has_no_sign() {
        let by = "sharpe_ratio".parse().unwrap();
        let trials = [
            (9, true, with("sharpe_ratio", 0.0)),
            (2, true, with("sharpe_ratio", -0.0)),
            (5, true, with("sharpe_ratio", 0.0)),
        ];
        assert_eq!(pick(&trials, &by), Some(2));
    }

    #[test]
    fn what_has_no_value_or_breaks_a_limit_is_not_picked() {
        let mut by: Selection = "calmar".parse().unwrap();
        let undefined = vec![("calmar_ratio".to_owned(), Err("no drawdown".to_owned()))];
        let trials = [
            (0, false, with("calmar_ratio", 9.0)),
            (1, true, undefined),
            (2, true, with("calmar_ratio", f64::INFINITY)),
            (3, true, with("calmar_ratio", f64::NAN)),
            (4, true, with("sharpe_ratio", 9.0)),
            (5, true, with("calmar_ratio", 0.1)),
        ];
        assert_eq!(pick(&trials, &by), Some(5));
        assert_eq!(pick(&trials[..5], &by), None);
        assert_eq!(pick(&[], &by), None);
        // A limit on a metric that a trial does not have is not kept.
        let limit = ResultConstraint::parse("n_trades >= 0", Selection::NAMES).unwrap();
        by.subject_to.push(limit);
        assert_eq!(pick(&trials, &by), None);
    }

    #[test]
    fn of_several_objectives_the_pick_is_from_the_front_of_what_keeps_the_limits() {
        let metrics = |sharpe: f64, calmar: f64, trades: f64| -> Metrics {
            let named = |name: &str, value| (name.to_owned(), Ok(value));
            vec![
                named("sharpe_ratio", sharpe),
                named("calmar_ratio", calmar),
                named("n_trades", trades),
            ]
        };
        // Sharpe ratio (maximized) and drawdown as costs.
        let trials = [
            (0, metrics(1.0, 9.0, 50.0), [-1.0, 0.3]),
            (1, metrics(1.0, 2.0, 50.0), [-1.0, 0.2]),
            (2, metrics(0.5, 3.0, 50.0), [-0.5, 0.1]),
            (3, metrics(2.0, 1.0, 2.0), [-2.0, 0.05]),
        ];
        let candidates = || {
            trials.iter().map(|(number, metrics, costs)| Candidate {
                number: *number,
                feasible: true,
                metrics,
                costs,
            })
        };
        let limited = |metric: &str| {
            let mut by: Selection = metric.parse().unwrap();
            let limit = ResultConstraint::parse("n_trades >= 10", Selection::NAMES);
            by.subject_to.push(limit.unwrap());
            by
        };
        // 0 has as good a ratio as 1, which dominates it; 3 dominates all and has too few trades.
        assert_eq!(select(candidates(), &limited("sharpe_ratio")), Some(1));
        assert_eq!(select(candidates(), &limited("calmar_ratio")), Some(2));
        assert_eq!(
            select(candidates(), &"calmar_ratio".parse().unwrap()),
            Some(3)
        );
        let alone = candidates().map(|trial| Candidate {
            costs: &[],
            ..trial
        });
        assert_eq!(select(alone, &limited("calmar_ratio")), Some(0));
    }

    #[test]
    fn its_form_has_the_canonical_name_and_the_canonical_limits() {
        let form = r#"{"metric":"sharpe","subject_to":["max_drawdown<=0.20"]}"#;
        let selection: Selection = serde_json::from_str(form).unwrap();
        let written = serde_json::to_string(&selection).unwrap();
        let canonical = r#"{"metric":"sharpe_ratio","subject_to":["max_drawdown <= 0.2"]}"#;
        assert_eq!(written, canonical);
        assert_eq!(
            serde_json::from_str::<Selection>(&written).unwrap(),
            selection
        );
        let unknown = serde_json::from_str::<Selection>(r#"{"metric": "luck"}"#);
        assert!(
            unknown
                .unwrap_err()
                .to_string()
                .contains("\"luck\" is not a metric")
        );
    }
}
