//! A bound on the metrics of a trial, such as `max_drawdown <= 0.25 and n_trades >= 10`.

use super::UnreadableSpec;
use crate::objective::TestFunction;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use trialmill_backtest::metrics::{self, METRICS};
use trialmill_search::{Expression, ExpressionFault, NameValues, Names, Outcome, Value};

/// The metrics that a constraint may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricNames {
    /// Those of a backtest, under their names and aliases.
    Backtest,
    /// The values of a test function.
    Function(TestFunction),
    /// Any: those that a client tells.
    Client,
    /// All of them: the strategy is in doubt.
    Any,
}

impl MetricNames {
    fn names(self) -> Names {
        let of_backtests = METRICS
            .iter()
            .flat_map(|info| [Some(info.name), info.alias])
            .flatten()
            .filter(|_| !matches!(self, Self::Function(_) | Self::Client));
        let of_functions: Vec<&str> = match self {
            Self::Backtest | Self::Client => Vec::new(),
            Self::Function(function) => function.metrics().to_vec(),
            Self::Any => TestFunction::all_metrics().collect(),
        };
        let all = of_backtests.chain(of_functions);
        let names = Names::new(
            "metric",
            all.map(|name| (name.to_owned(), NameValues::Number)),
        );
        match self {
            Self::Client => names.and_other_numbers(),
            Self::Backtest | Self::Function(_) | Self::Any => names,
        }
    }
}

/// A condition over metrics that a trial must keep, or it is infeasible. Stored as its canonical
/// text.
///
/// ```
/// use trialmill_common::spec::{MetricNames, ResultConstraint};
///
/// let limit = ResultConstraint::parse("sharpe>=0.5 and n_trades >= 10", MetricNames::Backtest)?;
/// let broken = limit
///     .judge(&|metric| match metric {
///         "sharpe_ratio" => Ok(0.75),
///         "n_trades" => Ok(7.0),
///         other => Err(format!("{other} is undefined")),
///     })
///     .expect("7 trades are fewer than 10");
/// assert_eq!(
///     broken.reason,
///     "n_trades is 7 and sharpe_ratio is 0.75, which breaks sharpe >= 0.5 and n_trades >= 10"
/// );
/// assert_eq!(broken.violation, 3.0);
/// # Ok::<(), Vec<trialmill_search::ExpressionFault>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ResultConstraint(Expression);

/// A constraint that a trial broke.
#[derive(Debug, Clone, PartialEq)]
pub struct Broken {
    /// The sentence to show.
    pub reason: String,
    /// By how much ([`Expression::violation`]): above 0, infinite for want of a metric.
    pub violation: f64,
}

impl ResultConstraint {
    /// Reads a constraint.
    ///
    /// # Errors
    /// What is wrong with the expression ([`Expression::parse`]).
    pub fn parse(text: &str, known: MetricNames) -> Result<Self, Vec<ExpressionFault>> {
        Expression::parse(text, &known.names()).map(Self)
    }

    /// Reads the canonical text, which may be longer than a request may write. Its names were checked when it
    /// was a request's.
    fn parse_stored(text: &str) -> Result<Self, Vec<ExpressionFault>> {
        Expression::parse_stored(text, &MetricNames::Client.names()).map(Self)
    }

    /// Holds the constraint against the metrics of a trial: `metric` gives the value of a canonical
    /// name, or the reason why it has none. Nothing when it is kept.
    #[must_use]
    pub fn judge(&self, metric: &dyn Fn(&str) -> Result<f64, String>) -> Option<Broken> {
        let environment = |name: &str| match metric(canonical(name)) {
            Ok(value) => Value::Number(value),
            Err(_) => Value::Undefined,
        };
        let found = self.0.names().map(|name| (name, metric(canonical(name))));
        let reason = match self.0.outcome(&environment) {
            Outcome::Holds => return None,
            Outcome::Undefined => found
                .filter_map(|(_, value)| value.err())
                .next()
                .unwrap_or_else(|| format!("{} divides by zero or overflows", self.0)),
            Outcome::Broken => {
                let values: Vec<String> = found
                    .filter_map(|(name, value)| Some((canonical(name), value.ok()?)))
                    .map(|(name, value)| format!("{name} is {value}"))
                    .collect();
                let values = match values.as_slice() {
                    [] => "the trial".to_owned(),
                    values => format!("{},", values.join(" and ")),
                };
                format!("{values} which breaks {}", self.0)
            }
        };
        Some(Broken {
            reason,
            violation: self.0.violation(&environment),
        })
    }
}

/// The name under which a metric is recorded: of an alias the name it stands for.
#[must_use]
pub fn canonical(name: &str) -> &str {
    metrics::find(name).map_or(name, |info| info.name)
}

/// The canonical text.
impl fmt::Display for ResultConstraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ResultConstraint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The stored forms: the text, and the three parts that version 1 wrote.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Parts {
        metric: String,
        op: String,
        bound: f64,
    },
}

impl<'de> Deserialize<'de> for ResultConstraint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            // `{:?}` gives the shortest text that reads back as the same float.
            Form::Parts { metric, op, bound } => format!("{metric} {op} {bound:?}"),
        };
        Self::parse_stored(&text).map_err(|faults| {
            let fault = &faults[0];
            let unreadable = UnreadableSpec(format!("the constraint {text:?}: {fault}"));
            serde::de::Error::custom(unreadable.0)
        })
    }
}
