//! Trials that are stopped early: what they have reported decides, and what others have.

use trialmill_common::spec::TaskSpec;
use trialmill_common::trial::{Evaluation, Outcome};
use trialmill_search::pruner::{Pruner, Reports, step_order};

/// What stops the trials of a search.
#[derive(Debug)]
pub(crate) struct Pruning {
    pub(crate) pruner: Pruner,
    /// In which order every trial goes through its parts: part `order[k]` is reported as step `k`.
    pub(crate) order: Vec<u32>,
}

impl Pruning {
    /// Of a task that prunes.
    pub(crate) fn of(spec: &TaskSpec, pruner: Pruner) -> Self {
        let parts = u32::try_from(spec.segments().len()).unwrap_or(u32::MAX);
        Self {
            pruner,
            order: step_order(spec.seed, parts),
        }
    }
}

/// A trial that was evaluated to its end, as it would have ended had it been asked on the way whether it
/// should go on: with the reports up to where `prunes` says that it should not. It has `steps` if nothing fails or stops it, and is not stopped
/// at the last.
pub(crate) fn cut(
    outcome: Outcome,
    reports: &Reports,
    steps: usize,
    mut prunes: impl FnMut(&Reports) -> bool,
) -> (Outcome, Reports) {
    let mut so_far = Reports::new(reports.objectives());
    for (at, step) in reports.steps().iter().enumerate() {
        let values = values_at(reports, at);
        so_far
            .push(*step, &values)
            .expect("they ascend as they did");
        let goes_on = at + 1 < steps;
        if goes_on && prunes(&so_far) {
            return (pruned(&so_far), so_far);
        }
    }
    (outcome, so_far)
}

/// The end of a trial that was stopped after these reports: its values are those of the last one.
pub(crate) fn pruned(reports: &Reports) -> Outcome {
    let last = reports.len().checked_sub(1);
    let values = last.map_or_else(Vec::new, |last| values_at(reports, last));
    Outcome::Pruned(Evaluation {
        // Without a value in one of them it has none at all.
        values: if values.iter().all(|value| value.is_finite()) {
            values
        } else {
            Vec::new()
        },
        ..Evaluation::default()
    })
}

fn values_at(reports: &Reports, at: usize) -> Vec<f64> {
    let of = |objective| reports.costs(objective).map(|values| values[at]);
    (0..reports.objectives()).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trialmill_common::trial::{Failure, FailureKind};

    fn reports(values: &[f64]) -> Reports {
        let mut reports = Reports::new(1);
        for (step, value) in (0..).zip(values) {
            reports.push(step, &[*value]).unwrap();
        }
        reports
    }

    #[test]
    fn a_whole_trial_is_cut_where_it_would_have_been_stopped_but_not_at_its_end() {
        let whole = Outcome::Completed(Evaluation {
            values: vec![4.0],
            ..Evaluation::default()
        });
        let above =
            |bound: f64| move |so_far: &Reports| so_far.costs(0).unwrap().last() > Some(&bound);
        let all = reports(&[1.0, 3.0, 2.0, 4.0]);
        let (outcome, kept) = cut(whole.clone(), &all, 4, above(2.5));
        assert_eq!(
            (outcome, kept),
            (pruned(&reports(&[1.0, 3.0])), reports(&[1.0, 3.0]))
        );
        assert_eq!(
            cut(whole.clone(), &all, 4, above(3.5)),
            (whole, all),
            "only its end is above"
        );
    }

    #[test]
    fn a_trial_that_failed_on_the_way_is_cut_before_it_where_it_would_have_been_stopped() {
        let failed = Outcome::Failed(Failure {
            kind: FailureKind::Panic,
            message: "in the third of four".to_owned(),
            causes: Vec::new(),
            hint: String::new(),
            worker: String::new(),
        });
        let two = reports(&[1.0, 3.0]);
        let stops =
            |bound: f64| move |so_far: &Reports| so_far.costs(0).unwrap().last() > Some(&bound);
        let (outcome, kept) = cut(failed.clone(), &two, 4, stops(2.5));
        assert_eq!((outcome, kept), (pruned(&two), two.clone()));
        assert_eq!(cut(failed.clone(), &two, 4, stops(3.5)), (failed, two));
    }

    #[test]
    fn a_pruned_trial_has_the_values_of_its_last_report_if_it_has_any() {
        let values = |reports: &Reports| match pruned(reports) {
            Outcome::Pruned(evaluation) => evaluation.values,
            other => panic!("{other:?}"),
        };
        assert_eq!(values(&reports(&[1.0, 3.0])), [3.0]);
        assert_eq!(values(&reports(&[1.0, f64::NAN])), [0.0; 0]);
        assert_eq!(values(&Reports::new(2)), [0.0; 0]);
    }
}
