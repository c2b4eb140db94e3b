//! Trials of earlier tasks that a new search begins with.

use super::view;
use crate::limits::MAX_WARM_READ;
use crate::problem::Problem;
use crate::state::AppState;
use trialmill_common::costs;
use trialmill_common::draft::{Accepted, WarmOrigin, WarmTrials};
use trialmill_common::fault::Fault;
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::{TaskId, TaskKind, TrialEnd};
use trialmill_search::{Point, TrialEnd as Known};
use trialmill_store::Store;
use trialmill_store::rows::{HistoryRow, TaskRow};

/// The task begun with the trials of those that its request names.
pub(super) async fn begun(state: &AppState, accepted: Accepted) -> Result<Accepted, Problem> {
    let store = state.store.as_ref();
    if accepted.warm_start.is_empty() {
        return Ok(accepted);
    }
    let mut faults = Vec::new();
    let mut earlier = Vec::new();
    for origin in &accepted.warm_start {
        match found(store, origin.task).await? {
            Ok((spec, trials)) => earlier.push(WarmTrials {
                origin: origin.clone(),
                spec,
                trials,
            }),
            Err((code, detail)) => {
                let WarmOrigin { pointer, task, .. } = origin;
                let fault = Fault::new(pointer.clone(), code, detail);
                faults.push(fault.value(&task.to_string().into()));
            }
        }
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let begin = move || accepted.begun_with(earlier);
    let begun = state.studies.on_thread(begin).await?;
    begun.map_err(Problem::invalid)
}

type Found = (TaskSpec, Vec<(Point, Known)>);

/// A task with its latest ended trials and its best one; or why it has none to give.
async fn found(
    store: &dyn Store,
    id: TaskId,
) -> Result<Result<Found, (&'static str, String)>, Problem> {
    let Some(task) = store.task(id).await? else {
        let detail = format!("there is no task {id}; it was deleted or never accepted");
        return Ok(Err(("unknown_task", detail)));
    };
    if task.kind != TaskKind::HyperparameterOptimization {
        let detail = format!(
            "task {id} is a {}, which has no trials to begin with",
            task.kind
        );
        return Ok(Err(("not_a_search", detail)));
    }
    let spec = view::spec_of(&task)?;
    let rows = latest(store, &task).await?;
    let trials = rows
        .into_iter()
        .filter_map(|row| {
            // A point that cannot be read teaches nothing.
            let point = spec.space.unpack(&row.params).ok()?;
            let end = told(&spec, &row)?;
            Some((point, end))
        })
        .collect();
    Ok(Ok((spec, trials)))
}

/// The best trial, where the task has one, and the latest ones after it.
async fn latest(store: &dyn Store, task: &TaskRow) -> Result<Vec<HistoryRow>, Problem> {
    let end = task.ledger.planned;
    let from = task.ledger.next_number.saturating_sub(MAX_WARM_READ);
    let mut rows = Vec::new();
    if let Some(best) = task.ledger.best.filter(|best| best.number < from) {
        let number = best.number;
        rows.extend(store.outcomes(task.id, number..number + 1, 1).await?);
    }
    rows.extend(store.outcomes(task.id, from..end, MAX_WARM_READ).await?);
    Ok(rows)
}

/// What a trial teaches: a failed one nothing.
fn told(spec: &TaskSpec, row: &HistoryRow) -> Option<Known> {
    if row.end == TrialEnd::Failed {
        return None;
    }
    Some(costs::of_record(
        spec,
        row.end,
        row.infeasible,
        &row.values,
        row.violation,
        // A step of another task need not be the same part of the work.
        None,
    ))
}
