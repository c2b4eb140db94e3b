//! Looking at tasks and trials.

use super::assessed::Assessed;
use super::insight::{Measure, Search};
use super::{find, searching, shown, view};
use crate::answer::{TaskAnswer, TaskList, TaskStatus, TrialAnswer, TrialList};
use crate::extract::{self, Scope, TaskPath, TaskQuery, TrialPath, TrialQuery, named, page_size};
use crate::problem::Problem;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use trialmill_common::cursor::{task_cursor, trial_cursor};
use trialmill_common::draft::has_several_objectives;
use trialmill_common::fault::Fault;
use trialmill_common::spec::MAX_TRIALS;
use trialmill_common::state::{TaskKind, TaskState, TrialEnd};
use trialmill_store::rows::{TaskFilter, TaskRow, TrialFilter, TrialRow};

pub(super) async fn list(
    State(state): State<AppState>,
    scope: Scope,
    extract::Search(query): extract::Search<TaskQuery>,
) -> Result<Json<TaskList>, Problem> {
    let filter = task_filter(query, scope)?;
    let limit = filter.limit;
    let page = state.store.tasks(filter).await?;
    let full = page.tasks.len() >= limit as usize;
    let next_cursor = page.tasks.last().filter(|_| full).map(|task| task.id.0);
    let items = page.tasks.iter().map(view::summary).collect();
    Ok(Json(TaskList {
        items,
        total: page.total,
        next_cursor,
    }))
}

/// The cursor of a query, if there is one that can be read.
fn left_off<T>(
    cursor: Option<&str>,
    read: impl Fn(&str) -> Result<T, Box<Fault>>,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    cursor.and_then(|text| read(text).map_err(|fault| faults.push(*fault)).ok())
}

fn task_filter(query: TaskQuery, scope: Scope) -> Result<TaskFilter, Problem> {
    let mut faults = Vec::new();
    let state_names: Vec<&str> = TaskState::ALL.iter().map(|state| state.name()).collect();
    let kind_names: Vec<&str> = TaskKind::ALL.iter().map(|kind| kind.name()).collect();
    let states = query
        .status
        .iter()
        .flat_map(|text| text.split(','))
        .map(str::trim);
    let states = states
        .filter_map(|name| named("status", name, &state_names, &mut faults))
        .collect();
    let kind = query
        .task_type
        .and_then(|name| named("task_type", &name, &kind_names, &mut faults));
    if let (Some(only), Some(kind)) = (scope.kind, kind)
        && only != kind
    {
        let detail = format!(
            "{} lists {only} only; use /api/v1/tasks",
            crate::extract::OPTIMIZATION_TASKS
        );
        faults.push(Fault::new("?task_type", "contradiction", detail).value(&kind.name().into()));
    }
    let before = left_off(query.cursor.as_deref(), task_cursor, &mut faults);
    let limit = page_size(query.limit.as_deref(), &mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    Ok(TaskFilter {
        states,
        kind: scope.kind.or(kind),
        strategy: query.strategy_name,
        name_contains: query.name,
        before,
        limit,
    })
}

/// The row of the best trial, when the task has one; with several objectives, once it has ended, of the one
/// whose parameters are to be used.
pub(super) async fn best_row(
    state: &AppState,
    task: &TaskRow,
) -> Result<Option<TrialRow>, Problem> {
    // The best of a backtest is itself.
    let searches = task.kind == TaskKind::HyperparameterOptimization;
    let Some(leads) = task.ledger.best.filter(|_| searches) else {
        return Ok(None);
    };
    if has_several_objectives(&task.request) && task.ledger.state.is_terminal() {
        let search = Search::deployed(task, view::spec_of(task)?);
        let assessed = shown::assessed(state, task).await?;
        return selected_row(state, &search, &assessed).await;
    }
    Ok(state.store.trial(task.id, leads.number).await?)
}

/// The row of the trial of a search whose parameters are to be used.
async fn selected_row(
    state: &AppState,
    search: &Search<'_>,
    assessed: &Assessed,
) -> Result<Option<TrialRow>, Problem> {
    let selected = match assessed.pick() {
        Some(picked) => picked,
        // Nothing judged it: the front says.
        None => {
            let front = state.insights.front(state.store.as_ref(), search).await?;
            shown::selected(search, &front, assessed)
        }
    };
    match selected {
        Some(number) => Ok(state.store.trial(search.task.id, number).await?),
        None => Ok(None),
    }
}

pub(super) async fn task(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<Json<TaskAnswer>, Problem> {
    let task = find(&state, scope, id).await?;
    let best = best_row(&state, &task).await?;
    let insight = insight(&state, &task).await?;
    let of_defaults = match view::default_trial(&task) {
        Some(number) => state.store.trial(id, number).await?,
        None => None,
    };
    let stored = state.store.run_result(id).await?;
    let (assessed, run) = match task.kind {
        TaskKind::HyperparameterOptimization => (Assessed::of(&task, stored), None),
        TaskKind::Backtest | TaskKind::Training | TaskKind::Prediction => {
            (Assessed::of(&task, None), stored)
        }
    };
    // Which trial is used is what judges the search, which may pick by another metric.
    let picked = match assessed.pick() {
        None => best.clone(),
        Some(None) => None,
        Some(Some(number)) => state.store.trial(id, number).await?,
    };
    let outcome = view::Outcome {
        leads: best.as_ref(),
        best: picked.as_ref(),
        assessed,
        of_defaults: of_defaults.as_ref(),
        run,
        insight,
    };
    Ok(Json(view::task(&task, outcome, scope)?))
}

/// What the trials of a completed search show.
async fn insight(state: &AppState, task: &TaskRow) -> Result<Option<view::Insight>, Problem> {
    let searches = task.kind == TaskKind::HyperparameterOptimization;
    if !searches || task.ledger.state != TaskState::Completed {
        return Ok(None);
    }
    let search = Search::deployed(task, view::spec_of(task)?);
    let store = state.store.as_ref();
    let front = state.insights.front(store, &search).await?;
    let of_all = state
        .insights
        .importance(store, &search, Measure::PedAnova, None);
    Ok(Some(view::Insight {
        front,
        importance: of_all.await?,
    }))
}

pub(super) async fn status(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<Json<TaskStatus>, Problem> {
    let task = find(&state, scope, id).await?;
    let best = best_row(&state, &task).await?;
    Ok(Json(view::status(&task, best.as_ref())?))
}

pub(super) async fn best(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<Json<TrialAnswer>, Problem> {
    let task = searching(find(&state, scope, id).await?)?;
    let Some(row) = best_row(&state, &task).await? else {
        if task.ledger.best.is_some() {
            return Err(Problem::not_found(format!(
                "no trial of task {id} was picked by its selection; its front is at {}/pareto-front",
                scope.path_of(id)
            )));
        }
        return Err(Problem::not_found(format!(
            "task {id} has no feasible trial so far ({} ended, {} of them infeasible, {} failed)",
            task.ledger.ended(),
            task.ledger.infeasible,
            task.ledger.failed
        )));
    };
    Ok(Json(view::trial(&view::spec_of(&task)?, &row)?))
}

pub(super) async fn trial(
    State(state): State<AppState>,
    scope: Scope,
    TrialPath { task: id, number }: TrialPath,
) -> Result<Json<TrialAnswer>, Problem> {
    let task = searching(find(&state, scope, id).await?)?;
    let spec = view::spec_of(&task)?;
    if let Some(row) = state.store.trial(id, number).await? {
        return Ok(Json(view::trial(&spec, &row)?));
    }
    let numbers = number..number.saturating_add(1);
    match state.store.running_trials(id, numbers).await?.first() {
        Some(row) => Ok(Json(view::running(&spec, row)?)),
        None if number < task.ledger.planned => Err(Problem::not_found(format!(
            "trial {number} of task {id} has not ended yet"
        ))),
        None => Err(Problem::not_found(format!(
            "task {id} has no trial {number}; its trials are 0 to {}",
            task.ledger.planned.saturating_sub(1)
        ))),
    }
}

/// What a list of trials is restricted to.
enum Wanted {
    Ended(Option<TrialEnd>),
    Running,
}

pub(super) async fn trials(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
    extract::Search(query): extract::Search<TrialQuery>,
) -> Result<Json<TrialList>, Problem> {
    let (wanted, after, limit) = trial_filter(&query)?;
    let task = searching(find(&state, scope, id).await?)?;
    let spec = view::spec_of(&task)?;
    let items = match wanted {
        Wanted::Ended(end) => {
            let rows = state
                .store
                .trials(id, TrialFilter { after, end, limit })
                .await?;
            rows.iter()
                .map(|row| view::trial(&spec, row).map(view::listed))
                .collect::<Result<Vec<_>, _>>()?
        }
        Wanted::Running => {
            let first = after.map_or(0, |after| after.saturating_add(1));
            let rows = state.store.running_trials(id, first..MAX_TRIALS).await?;
            let rows = rows.iter().take(limit as usize);
            rows.map(|row| view::running(&spec, row).map(view::listed))
                .collect::<Result<Vec<_>, _>>()?
        }
    };
    let full = items.len() >= limit as usize;
    let next_cursor = items.last().filter(|_| full).map(|trial| trial.number);
    Ok(Json(TrialList { items, next_cursor }))
}

fn trial_filter(query: &TrialQuery) -> Result<(Wanted, Option<u32>, u32), Problem> {
    let mut faults = Vec::new();
    let mut names: Vec<&str> = TrialEnd::ALL.iter().map(|end| end.name()).collect();
    names.push("running");
    let wanted = match query.state.as_deref() {
        None => Wanted::Ended(None),
        Some("running") => Wanted::Running,
        Some(name) => Wanted::Ended(named("state", name, &names, &mut faults)),
    };
    let after = left_off(query.cursor.as_deref(), trial_cursor, &mut faults);
    let limit = page_size(query.limit.as_deref(), &mut faults);
    if faults.is_empty() {
        Ok((wanted, after, limit))
    } else {
        Err(Problem::invalid(faults))
    }
}
