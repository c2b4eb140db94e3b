//! What is optimized: a metric, or a weighted sum of metrics.

use crate::state::Direction;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trialmill_backtest::metrics::{self, Metric};

/// The name of the weighted sum of metrics of backtests, as an objective and among the metrics of a trial.
pub const CUSTOM: &str = "custom";

/// The largest weight.
pub const MAX_WEIGHT: f64 = 1e6;

/// One objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Canonical name of the metric.
    pub metric: String,
    /// Which way is better.
    pub direction: Direction,
    /// Of [`CUSTOM`], what is summed; of every other metric nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<Weight>,
}

/// A part of the weighted sum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weight {
    /// Its metric.
    #[serde(serialize_with = "write_metric", deserialize_with = "read_metric")]
    pub metric: Metric,
    /// How much of it, above 0 and at most [`MAX_WEIGHT`].
    pub weight: f64,
}

impl Target {
    /// A metric by itself.
    #[must_use]
    pub fn new(metric: impl Into<String>, direction: Direction) -> Self {
        Self {
            metric: metric.into(),
            direction,
            weights: Vec::new(),
        }
    }

    /// The weighted sum of some metrics, to be maximized.
    #[must_use]
    pub fn custom(weights: Vec<Weight>) -> Self {
        Self {
            weights,
            ..Self::new(CUSTOM, Direction::Maximize)
        }
    }
}

/// The weighted sum of metrics `m` with weights `w`: the sum of `w s m / c` in the order of the weights, where
/// `s` is 1 for a metric of which more is better and -1 for the others, and `c` the metric's scale in the catalogue
/// ([`metrics::MetricInfo::scale`]). More is better.
///
/// ```
/// use trialmill_common::spec::{Weight, weighted_sum};
/// use trialmill_backtest::metrics::Metric;
///
/// let weights = [
///     Weight { metric: Metric::SharpeRatio, weight: 0.7 },
///     Weight { metric: Metric::MaxDrawdown, weight: 0.3 },
/// ];
/// let of = |drawdown: Result<f64, String>| {
///     let figures = [("sharpe_ratio", Ok(1.5)), ("max_drawdown", drawdown)];
///     weighted_sum(&weights, &figures)
/// };
/// // The scale of the Sharpe ratio is 1, that of the drawdown 0.2.
/// assert_eq!(of(Ok(0.1)), Ok(0.7 * 1.5 - 0.3 * 0.1 / 0.2));
/// assert_eq!(of(Err("it fell asleep".into())), Err("max_drawdown: it fell asleep".into()));
/// ```
///
/// # Errors
/// The first metric that has no value, with its reason, or that the sum is no finite number.
pub fn weighted_sum<N: AsRef<str>>(
    weights: &[Weight],
    figures: &[(N, Result<f64, String>)],
) -> Result<f64, String> {
    let mut sum = 0.0;
    for Weight { metric, weight } in weights {
        let info = metric.info();
        let found = figures.iter().find(|(name, _)| name.as_ref() == info.name);
        let value = match found {
            Some((_, Ok(value))) => *value,
            Some((_, Err(reason))) => return Err(format!("{}: {reason}", info.name)),
            None => return Err(format!("{} was not computed", info.name)),
        };
        let share = weight * value / info.scale;
        sum += match info.direction {
            metrics::Direction::Maximize => share,
            metrics::Direction::Minimize => -share,
        };
    }
    if sum.is_finite() {
        Ok(sum)
    } else {
        Err("the weighted sum is too large for a number".to_owned())
    }
}

fn write_metric<S: Serializer>(metric: &Metric, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(metric.name())
}

fn read_metric<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metric, D::Error> {
    let name = String::deserialize(deserializer)?;
    let info = metrics::find(&name);
    info.map(|info| info.metric)
        .ok_or_else(|| serde::de::Error::custom(format!("{name:?} is not a metric")))
}
