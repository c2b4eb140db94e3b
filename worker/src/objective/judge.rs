//! From the figures of a trial to what is recorded of it.

use super::backtest::Figures;
use super::trouble::{Reason, Trouble};
use trialmill_common::spec::{Broken, ResultConstraint, Target};
use trialmill_common::trial::{Evaluation, FailureKind};

/// Takes the objectives out of the metrics and holds the result constraints against them.
pub(super) fn judge(
    objectives: &[Target],
    constraints: &[ResultConstraint],
    figures: Figures,
) -> Result<Evaluation, Trouble> {
    // The one place that every number passes: -0 + 0 is 0, so that no store has to keep a sign of
    // zero and all give the same bits.
    let unsigned_zero = |value: Result<f64, String>| value.map(|value| value + 0.0);
    let metrics: Vec<_> = figures
        .into_iter()
        .map(|(name, value)| (name.to_owned(), unsigned_zero(value)))
        .collect();
    if let Some((name, value)) = metrics.iter().find_map(|(name, value)| match value {
        Ok(value) if !value.is_finite() => Some((name, value)),
        _ => None,
    }) {
        return Err(Trouble::Fails(Reason {
            kind: FailureKind::NonFiniteValue,
            message: format!("{name} is {value}; a trial needs finite numbers"),
            hint: "keep the search away from parameters for which the objective is undefined",
        }));
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
    use crate::objective::sphere_spec;
    use trialmill_common::objective::FUNCTION_METRIC;

    #[test]
    fn a_negative_zero_is_recorded_as_zero() {
        let figures = vec![
            (FUNCTION_METRIC, Ok(-0.0)),
            ("other", Ok(-0.0)),
            ("third", Ok(-1.5)),
        ];
        let Ok(evaluation) = judge(&sphere_spec().objectives, &[], figures) else {
            panic!("finite metrics are an evaluation");
        };
        let bits = |value: f64| value.to_bits();
        assert_eq!(
            evaluation
                .values
                .iter()
                .copied()
                .map(bits)
                .collect::<Vec<_>>(),
            [0]
        );
        let metrics: Vec<u64> = evaluation
            .metrics
            .into_iter()
            .map(|(_, v)| bits(v.unwrap()))
            .collect();
        assert_eq!(metrics, [0, 0, bits(-1.5)]);
    }
}
