//! The end of a trial as a sampler is told it: values as costs, of which less is better.

use crate::spec::TaskSpec;
use crate::state::TrialEnd;
use crate::trial::Outcome;
use trialmill_search::pruner::Reports;
use trialmill_search::{LastReport, TrialEnd as Known};

/// Of a trial that has just ended, with what it reported.
#[must_use]
pub fn of_outcome(spec: &TaskSpec, outcome: &Outcome, reports: Option<&Reports>) -> Known {
    match outcome {
        Outcome::Completed(e) => of_record(
            spec,
            outcome.end(),
            e.infeasible.is_some(),
            &e.values,
            e.recorded_violation(),
            None,
        ),
        Outcome::Pruned(_) => Known::Pruned(reports.and_then(|reports| last(spec, reports))),
        Outcome::Failed(_) => Known::Failed,
    }
}

/// Of a trial that is recorded, with the stored form of what it reported ([`crate::reports`]).
#[must_use]
pub fn of_record(
    spec: &TaskSpec,
    end: TrialEnd,
    infeasible: bool,
    values: &[f64],
    violation: Option<f64>,
    reports: Option<&[u8]>,
) -> Known {
    match end {
        TrialEnd::Completed if infeasible => Known::Infeasible {
            violation: violation.unwrap_or(f64::INFINITY),
        },
        TrialEnd::Completed => Known::completed(spec.costs(values)),
        TrialEnd::Pruned => Known::Pruned(reports.and_then(|bytes| {
            let reports = crate::reports::unpack(bytes, spec.objectives.len())?;
            last(spec, &reports)
        })),
        TrialEnd::Failed => Known::Failed,
    }
}

/// The last of some reports of values. Of several objectives nothing: which of their trials got farther is no
/// order between them.
fn last(spec: &TaskSpec, reports: &Reports) -> Option<LastReport> {
    let (step, [target]) = (reports.last_step()?, spec.objectives.as_slice()) else {
        return None;
    };
    let value = *reports.costs(0)?.last()?;
    let cost = target.direction.cost(value);
    Some(LastReport { step, cost })
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
