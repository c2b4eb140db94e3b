//! The end of a trial as a sampler is told it: values as costs, of which less is better.

use trialmill_common::spec::TaskSpec;
use trialmill_common::state::{Direction, TrialEnd};
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
        TrialEnd::Completed => {
            let cost = |(value, direction): (&f64, Direction)| match direction {
                Direction::Minimize => *value,
                // Not the negation: of a zero that would be a negative zero.
                Direction::Maximize => 0.0 - value,
            };
            let directions = spec.objectives.iter().map(|o| o.direction);
            Known::Completed(values.iter().zip(directions).map(cost).collect())
        }
        TrialEnd::Pruned => Known::Pruned,
        TrialEnd::Failed => Known::Failed,
    }
}
