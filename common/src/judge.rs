//! From the figures of a trial to what is recorded of it.

use crate::spec::{Broken, ResultConstraint, Target};
use crate::trial::Evaluation;

/// A figure that is no number to work with: the trial fails.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{metric} is {value}; a trial needs finite numbers")]
pub struct NonFinite {
    /// The metric.
    pub metric: String,
    /// What it came to.
    pub value: f64,
}

/// Takes the objectives out of the figures, each a value or the reason why it has none, and holds the
/// result constraints against them.
///
/// ```
/// use trialmill_common::judge::judge;
/// use trialmill_common::spec::{MetricNames, ResultConstraint, Target};
/// use trialmill_common::state::Direction;
///
/// let loss = Target::new("loss", Direction::Minimize);
/// let small = ResultConstraint::parse("megabytes <= 80", MetricNames::Client)?;
/// let figures = [("loss", Ok(0.25)), ("megabytes", Ok(96.0))];
/// let evaluation = judge(&[loss], &[small], figures).expect("both are finite");
/// assert_eq!(evaluation.values, [0.25]);
/// assert_eq!(evaluation.infeasible.as_deref(), Some("megabytes is 96, which breaks megabytes <= 80"));
/// assert_eq!(evaluation.violation, Some(16.0));
/// # Ok::<(), Vec<trialmill_search::ExpressionFault>>(())
/// ```
///
/// # Errors
/// For the first figure that is not finite.
pub fn judge<N: Into<String>>(
    objectives: &[Target],
    constraints: &[ResultConstraint],
    figures: impl IntoIterator<Item = (N, Result<f64, String>)>,
) -> Result<Evaluation, NonFinite> {
    // The one place that every number passes: -0 + 0 is 0, so that no store has to keep a sign of
    // zero and all give the same bits.
    let unsigned_zero = |value: Result<f64, String>| value.map(|value| value + 0.0);
    let metrics: Vec<_> = figures
        .into_iter()
        .map(|(name, value)| (name.into(), unsigned_zero(value)))
        .collect();
    let non_finite = metrics.iter().find_map(|(name, value)| match value {
        Ok(value) if !value.is_finite() => Some((name, *value)),
        _ => None,
    });
    if let Some((name, value)) = non_finite {
        return Err(NonFinite {
            metric: name.clone(),
            value,
        });
    }
    let find = |wanted: &str| match metrics.iter().find(|(name, _)| name == wanted) {
        Some((_, Ok(value))) => Ok(*value),
        Some((_, Err(reason))) => Err(format!("{wanted} is undefined: {reason}")),
        None => Err(format!(
            "{wanted} is undefined: the objective gives no such metric"
        )),
    };
    let values: Result<Vec<f64>, String> = objectives.iter().map(|o| find(&o.metric)).collect();
    let broken: Vec<Broken> = constraints
        .iter()
        .filter_map(|constraint| constraint.judge(&find))
        .collect();
    let violation = broken.iter().map(|one| one.violation).sum();
    let reason = broken.into_iter().next().map(|first| first.reason);
    let (values, infeasible, violation) = match values {
        Ok(values) => (values, reason, violation),
        Err(undefined) => (Vec::new(), Some(undefined), f64::INFINITY),
    };
    Ok(Evaluation {
        values,
        metrics,
        violation: Some(violation).filter(|v| infeasible.is_some() && *v > 0.0 && v.is_finite()),
        infeasible,
        stats: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::FUNCTION_METRIC;
    use crate::state::Direction;

    #[test]
    fn a_negative_zero_is_recorded_as_zero() {
        let objectives = [Target::new(FUNCTION_METRIC, Direction::Minimize)];
        let figures = [
            (FUNCTION_METRIC, Ok(-0.0)),
            ("other", Ok(-0.0)),
            ("third", Ok(-1.5)),
        ];
        let evaluation = judge(&objectives, &[], figures).unwrap();
        let bits = |value: f64| value.to_bits();
        let values: Vec<_> = evaluation.values.iter().copied().map(bits).collect();
        assert_eq!(values, [0]);
        let metrics: Vec<u64> = evaluation
            .metrics
            .into_iter()
            .map(|(_, v)| bits(v.unwrap()))
            .collect();
        assert_eq!(metrics, [0, 0, bits(-1.5)]);
    }

    #[test]
    fn a_figure_that_is_not_finite_is_an_error_with_its_name() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let figures = [("fine", Ok(1.0)), ("odd", Ok(value))];
            let error = judge(&[], &[], figures).unwrap_err();
            assert_eq!(error.metric, "odd");
        }
    }
}
