//! The routes that show what trials are worth together: front, importance, pictures.

use super::assessed::Assessed;
use super::insight::{Axes, Figure, FrontFound, Measure, Search, objective_answer};
use super::{find, searching, view};
use crate::answer::{FigureAnswer, FrontAnswer, ImportanceAnswer};
use crate::extract::{
    self, FigurePath, FigureQuery, FrontQuery, ImportanceQuery, Scope, TaskPath, named,
};
use crate::problem::Problem;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use trialmill_backtest::metrics;
use trialmill_common::fault::Fault;
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::TaskState;
use trialmill_store::rows::TaskRow;

/// `GET .../pareto-front`.
pub(super) async fn pareto_front(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
    extract::Search(query): extract::Search<FrontQuery>,
) -> Result<Json<FrontAnswer>, Problem> {
    let task = searching(find(&state, scope, id).await?)?;
    let mut faults = Vec::new();
    let search = search(&task, query.window.as_deref(), &mut faults)?;
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let front = state.insights.front(state.store.as_ref(), &search).await?;
    let assessed = assessed(&state, &task).await?;
    Ok(Json(FrontAnswer {
        task_id: id.0,
        window: search.window,
        objectives: search
            .spec
            .objectives
            .iter()
            .map(objective_answer)
            .collect(),
        size: front.size,
        items: front.items.clone(),
        selected: selected(&search, &front, &assessed),
        hypervolume: front.hypervolume.clone(),
        trials: front.trials,
    }))
}

/// `GET .../param-importance`.
pub(super) async fn param_importance(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
    extract::Search(query): extract::Search<ImportanceQuery>,
) -> Result<Json<ImportanceAnswer>, Problem> {
    let task = searching(find(&state, scope, id).await?)?;
    let mut faults = Vec::new();
    let search = search(&task, query.window.as_deref(), &mut faults)?;
    let measure = query
        .method
        .as_deref()
        .map_or(Some(Measure::PedAnova), |name| {
            named("method", name, &Measure::NAMES, &mut faults)
        });
    let target = target(&search.spec, query.target.as_deref(), &mut faults);
    let (Some(measure), 0) = (measure, faults.len()) else {
        return Err(Problem::invalid(faults));
    };
    let store = state.store.as_ref();
    let found = state.insights.importance(store, &search, measure, target);
    Ok(Json(found.await?.as_ref().clone()))
}

/// `GET .../figures/{name}`.
pub(super) async fn figure(
    State(state): State<AppState>,
    scope: Scope,
    FigurePath { task: id, name }: FigurePath,
    extract::Search(query): extract::Search<FigureQuery>,
) -> Result<Json<FigureAnswer>, Problem> {
    let task = searching(find(&state, scope, id).await?)?;
    let mut faults = Vec::new();
    let search = search(&task, query.window.as_deref(), &mut faults)?;
    let figure: Option<Figure> =
        extract::named_at("{name}", "figure", &name, &Figure::NAMES, &mut faults);
    let target = target(&search.spec, query.target.as_deref(), &mut faults);
    let axes = Axes {
        x: axis(&search.spec, "x", query.x, figure, &mut faults),
        y: axis(&search.spec, "y", query.y, figure, &mut faults),
    };
    if figure == Some(Figure::Contour) {
        two_axes(&search.spec, &axes, &mut faults);
    }
    let (Some(figure), 0) = (figure, faults.len()) else {
        return Err(Problem::invalid(faults));
    };
    let store = state.store.as_ref();
    let answer = state.insights.figure(store, &search, figure, target, axes);
    Ok(Json(answer.await?))
}

/// The search that is asked for: of a walk-forward a window, the last one where none is named.
fn search<'a>(
    task: &'a TaskRow,
    window: Option<&str>,
    faults: &mut Vec<Fault>,
) -> Result<Search<'a>, Problem> {
    let mut search = Search::deployed(task, view::spec_of(task)?);
    let Some(text) = window else {
        return Ok(search);
    };
    let count = search.spec.windows().len();
    let fault =
        |code: &str, detail: String| Fault::new("?window", code, detail).value(&text.into());
    if count == 0 {
        let detail = "the task is one search without windows; leave window out".to_owned();
        faults.push(fault("no_windows", detail));
        return Ok(search);
    }
    match text.parse::<u16>() {
        Ok(index) if usize::from(index) < count => search.window = Some(index),
        _ => {
            let limit = format!("0 to {}", count - 1);
            let detail = format!("window is a whole number, {limit}");
            faults.push(fault("out_of_range", detail).limit(limit));
        }
    }
    Ok(search)
}

/// The place of the objective with that name or alias.
fn target(spec: &TaskSpec, name: Option<&str>, faults: &mut Vec<Fault>) -> Option<usize> {
    let name = name?;
    let canonical = metrics::find(name).map_or(name, |info| info.name);
    let names: Vec<&str> = spec.objectives.iter().map(|o| o.metric.as_str()).collect();
    let place = names.iter().position(|known| *known == canonical);
    if place.is_none() {
        faults.push(extract::unknown(
            "?target",
            "objective of this task",
            name,
            &names,
        ));
    }
    place
}

/// A parameter that a contour is drawn over.
fn axis(
    spec: &TaskSpec,
    axis: &str,
    name: Option<String>,
    figure: Option<Figure>,
    faults: &mut Vec<Fault>,
) -> Option<String> {
    let name = name?;
    let pointer = format!("?{axis}");
    if figure.is_some_and(|figure| figure != Figure::Contour) {
        let detail = format!("only a contour has {axis}; leave it out");
        faults.push(Fault::new(pointer, "not_for_this_figure", detail).value(&name.into()));
        return None;
    }
    let names: Vec<&str> = spec.space.parameters().iter().map(|p| p.name()).collect();
    if names.contains(&name.as_str()) {
        return Some(name);
    }
    faults.push(extract::unknown(
        &pointer,
        "parameter of this search",
        &name,
        &names,
    ));
    None
}

/// A contour needs two parameters.
fn two_axes(spec: &TaskSpec, axes: &Axes, faults: &mut Vec<Fault>) {
    let count = spec.space.parameters().len();
    if count < 2 {
        let detail =
            format!("a contour is drawn over two parameters, and the task searches {count}");
        faults.push(Fault::new("{name}", "too_few_parameters", detail).limit(2));
    } else if let (Some(x), true) = (&axes.x, axes.x == axes.y) {
        let detail = format!("x and y are both {x}; name two parameters, or leave one out");
        faults.push(Fault::new("?y", "duplicate", detail).value(&x.as_str().into()));
    }
}

/// What is stored of the assessment of a task.
pub(super) async fn assessed(state: &AppState, task: &TaskRow) -> Result<Assessed, Problem> {
    let stored = match task.ledger.state {
        TaskState::Completed => state.store.run_result(task.id).await?,
        _ => None,
    };
    Ok(Assessed::of(task, stored))
}

/// The number of the trial of a search whose parameters are to be used: what its assessment picked, else
/// the one of the front that is best by the first objective, unless the request selects in another way.
pub(super) fn selected(
    search: &Search<'_>,
    front: &FrontFound,
    assessed: &Assessed,
) -> Option<u32> {
    let is_deployed = search.window == search.spec.windows().last().map(|window| window.index);
    let picked = match search.window {
        Some(window) if !is_deployed => assessed.pick_of(window),
        _ => assessed.pick(),
    };
    picked.unwrap_or_else(|| front.leads.filter(|_| first_decides(&search.spec)))
}

/// Whether the best by the first objective is what is used.
fn first_decides(spec: &TaskSpec) -> bool {
    let method = spec.validation.as_ref().map(|validated| &validated.method);
    let Some(selection) = method.and_then(|method| method.selection()) else {
        return true;
    };
    let first = spec.objectives.first().map(|target| target.metric.as_str());
    selection.subject_to.is_empty() && first == Some(selection.metric.name())
}
