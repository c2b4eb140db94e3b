//! The end of a trial as a sampler is told it: values as costs, of which less is better.

use trialmill_common::spec::TaskSpec;
use trialmill_common::state::TrialEnd;
use trialmill_common::trial::Outcome;
use trialmill_search::TrialEnd as Known;

/// Of a trial that has ended here.
pub(crate) fn of_outcome(spec: &TaskSpec, outcome: &Outcome) -> Known {
    match outcome {
        Outcome::Completed(e) | Outcome::Pruned(e) => of_record(
            spec,
            outcome.end(),
            e.infeasible.is_some(),
            &e.values,
            e.recorded_violation(),
        ),
        Outcome::Failed(_) => Known::Failed,
    }
}

/// Of a trial that is recorded.
pub(crate) fn of_record(
    spec: &TaskSpec,
    end: TrialEnd,
    infeasible: bool,
    values: &[f64],
    violation: Option<f64>,
) -> Known {
    match end {
        TrialEnd::Completed if infeasible => Known::Infeasible {
            violation: violation.unwrap_or(f64::INFINITY),
        },
        TrialEnd::Completed => Known::Completed(spec.costs(values)),
        TrialEnd::Pruned => Known::Pruned,
        TrialEnd::Failed => Known::Failed,
    }
}
