//! The end of a trial as a sampler is told it: values as costs, of which less is better.

use crate::spec::TaskSpec;
use crate::state::TrialEnd;
use crate::trial::Outcome;
use trialmill_search::TrialEnd as Known;
use trialmill_search::pruner::Reports;

/// Of a trial that has just ended.
#[must_use]
pub fn of_outcome(spec: &TaskSpec, outcome: &Outcome) -> Known {
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
#[must_use]
pub fn of_record(
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
        TrialEnd::Completed => Known::completed(spec.costs(values)),
        TrialEnd::Pruned => Known::Pruned,
        TrialEnd::Failed => Known::Failed,
    }
}

/// Of reports of values: the same steps with costs, as a pruner reads them.
#[must_use]
pub fn of_reports(spec: &TaskSpec, values: &Reports) -> Reports {
    let mut costs = Reports::new(values.objectives());
    for (at, step) in values.steps().iter().enumerate() {
        let values: Vec<f64> = (0..values.objectives())
            .filter_map(|objective| values.costs(objective)?.get(at).copied())
            .collect();
        costs
            .push(*step, &spec.costs(&values))
            .expect("the steps ascend as they did, with one cost for each value");
    }
    costs
}
