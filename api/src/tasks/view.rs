//! Rows as answers. Pure: what a figure means is decided here and nowhere else.

use super::assessed::Assessed;
use super::insight::FrontFound;
use crate::answer::{
    Accepted, Baselines, BestTrial, DefaultParams, ErrorAnswer, FailureAnswer, ImportanceAnswer,
    Links, OptimizationMetadata, OriginAnswer, PairAnswer, Parameters, ReportedStep,
    Reproducibility, ResultAnswer, TargetImportance, TaskAnswer, TaskResult, TaskStatus,
    TaskSummary, TrialAnswer, Verdict, WarningAnswer,
};
use crate::extract::Scope;
use crate::problem::Problem;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_backtest::metrics;
use trialmill_backtest::result::pair_form;
use trialmill_common::draft::{DEFAULT_TRIAL, has_several_objectives};
use trialmill_common::objective::{BETA, EXCESS_RETURN, HOLD_RETURN};
use trialmill_common::protocol::{ASSESS_STEPS, Best};
use trialmill_common::reports::unpack;
use trialmill_common::spec::{RunSpec, Spec, TaskSpec};
use trialmill_common::state::{Direction, StopReason, TaskId, TaskKind, TaskState};
use trialmill_search::Point;
use trialmill_store::rows::{RunningRow, TaskRow, TrialRow};

/// The field of `resolved` that has the processor family of the build that accepted the task.
pub(super) const TARGET: &str = "target";

/// The checked form of a stored search.
pub(super) fn spec_of(task: &TaskRow) -> Result<TaskSpec, Problem> {
    TaskSpec::from_json(&task.spec).map_err(|error| {
        tracing::error!(task.id = %task.id, error = %error, "a stored task is unreadable");
        Problem::internal()
    })
}

/// The checked form of a stored task of any kind.
pub(super) fn stored(task: &TaskRow) -> Result<Spec, Problem> {
    match task.kind {
        TaskKind::HyperparameterOptimization => spec_of(task).map(|s| Spec::Search(Box::new(s))),
        TaskKind::Backtest => match RunSpec::from_json(&task.spec) {
            Ok(run) => Ok(Spec::Run(Box::new(run))),
            Err(error) => {
                tracing::error!(task.id = %task.id, error = %error, "a stored task is unreadable");
                Err(Problem::internal())
            }
        },
        TaskKind::Training | TaskKind::Prediction => {
            // Refused at the door by this build; a newer one may have accepted it.
            let detail = format!(
                "task {} is a {}, which this build does not know",
                task.id, task.kind
            );
            Err(Problem::new(crate::problem::Class::Conflict, detail))
        }
    }
}

fn origin(task: &TaskRow) -> Option<OriginAnswer> {
    task.origin.map(|origin| OriginAnswer {
        task_id: origin.task.0,
        how: origin.how.name().to_owned(),
        copied_trials: task.ledger.copied.trials,
    })
}

/// `b3:` and the hash in hex.
pub(crate) fn snapshot_name(hash: &[u8; 32]) -> String {
    format!("b3:{}", blake3::Hash::from_bytes(*hash).to_hex())
}

/// The user's labels: the request was checked, so each is a string; without any, there are none.
fn labels(task: &TaskRow) -> BTreeMap<String, String> {
    // Older clients put them in `config`; the check took them from one place only.
    let places = [Some(&task.request), task.request.get("config")];
    let labels = places.into_iter().flatten();
    labels
        .filter_map(|place| place.get("labels")?.as_object())
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The share of the trials that have ended, and of the assessment while that runs.
fn progress(task: &TaskRow) -> f64 {
    if let Some(percent) = task.assessed_percent {
        return f64::from(percent) / f64::from(ASSESS_STEPS);
    }
    let (ended, planned) = (task.ledger.ended(), task.ledger.planned);
    if planned == 0 {
        1.0
    } else {
        f64::from(ended) / f64::from(planned)
    }
}

/// What a running search does.
fn phase(task: &TaskRow) -> Option<String> {
    let searches = task.kind == TaskKind::HyperparameterOptimization;
    (searches && task.ledger.state == TaskState::Running).then(|| {
        let assesses = task.ledger.searched.is_some();
        if assesses { "assessing" } else { "searching" }.to_owned()
    })
}

fn stop_reason(task: &TaskRow) -> Option<String> {
    let reason: Option<StopReason> = task.ledger.stop_reason.or(task.ledger.stop_requested);
    reason.map(|reason| reason.name().to_owned())
}

/// Ended trials per second in which trials ran; copied ones took none.
pub(super) fn rate(task: &TaskRow) -> Option<f64> {
    let ended = task.ledger.ended() - task.ledger.copied.trials;
    (ended > 0 && task.active_seconds > 0.0).then(|| f64::from(ended) / task.active_seconds)
}

fn eta(task: &TaskRow) -> Option<f64> {
    if !task.ledger.searches() {
        return None;
    }
    let left = f64::from(task.ledger.planned.saturating_sub(task.ledger.ended()));
    let seconds = left / rate(task)?;
    let until_timeout = task
        .timeout
        .map(|timeout| (timeout - task.active_seconds).max(0.0));
    Some(until_timeout.map_or(seconds, |limit| seconds.min(limit)))
}

/// Parameters of a packed point by name.
pub(super) fn parameters(spec: &TaskSpec, packed: &[u8]) -> Result<Parameters, Problem> {
    let point = spec.space.unpack(packed).map_err(|error| {
        tracing::error!(error = %error, "a stored trial is unreadable");
        Problem::internal()
    })?;
    Ok(parameters_of(spec, &point))
}

/// Parameters of a point by name.
pub(super) fn parameters_of(spec: &TaskSpec, point: &Point) -> Parameters {
    let named = spec.named(point).into_iter();
    named.map(|(name, value)| (name, json!(value))).collect()
}

fn values(spec: &TaskSpec, values: &[f64]) -> BTreeMap<String, f64> {
    spec.objectives
        .iter()
        .map(|target| target.metric.clone())
        .zip(values.iter().copied())
        .collect()
}

/// The best trial of a search, as far as a single one is the best.
fn best_of(task: &TaskRow) -> Option<Best> {
    let searches = task.kind == TaskKind::HyperparameterOptimization;
    let is_best = searches && !has_several_objectives(&task.request);
    task.ledger.best.filter(|_| is_best)
}

/// The status body; `best` is the row of the best trial, when there is one: with several objectives of the
/// one whose parameters are to be used.
pub(super) fn status(task: &TaskRow, best: Option<&TrialRow>) -> Result<TaskStatus, Problem> {
    let ledger = &task.ledger;
    let (best_params, best_values) = match best {
        Some(row) => {
            let spec = spec_of(task)?;
            let params = parameters(&spec, &row.params)?;
            let is_best = spec.objectives.len() == 1;
            (
                Some(params).filter(|_| is_best),
                Some(values(&spec, &row.values)),
            )
        }
        None => (None, None),
    };
    let single = best_of(task);
    Ok(TaskStatus {
        task_id: task.id.0,
        task_name: task.name.clone(),
        task_type: task.kind.name().to_owned(),
        status: ledger.state.name().to_owned(),
        phase: phase(task),
        stop_reason: stop_reason(task),
        origin: origin(task),
        progress: progress(task),
        n_trials: ledger.n_trials,
        completed_trials: ledger.completed,
        // The one unit that is leased while a result is assessed runs none.
        running_trials: if ledger.searched.is_some() {
            0
        } else {
            task.leased_units
        },
        pruned_trials: ledger.pruned,
        failed_trials: ledger.failed,
        infeasible_trials: ledger.infeasible,
        best_score: single.map(|best| best.value),
        best_trial_number: single.map(|best| best.number),
        best_params,
        best_values,
        window: best.and_then(|row| row.window),
        trials_per_second: rate(task),
        eta_seconds: eta(task),
        created_at: task.created_at,
        started_at: task.started_at,
        completed_at: task.completed_at,
        error: task.error.as_ref().map(ErrorAnswer::from),
    })
}

pub(super) fn summary(task: &TaskRow) -> TaskSummary {
    let ledger = &task.ledger;
    let best = best_of(task);
    TaskSummary {
        task_id: task.id.0,
        task_name: task.name.clone(),
        task_type: task.kind.name().to_owned(),
        strategy_name: task.strategy.clone(),
        stock_codes: task.stock_codes.clone(),
        status: ledger.state.name().to_owned(),
        phase: phase(task),
        stop_reason: stop_reason(task),
        origin: origin(task),
        progress: progress(task),
        n_trials: ledger.n_trials,
        completed_trials: ledger.completed,
        failed_trials: ledger.failed,
        best_score: best.map(|best| best.value),
        best_trial_number: best.map(|best| best.number),
        priority: task.priority.name().to_owned(),
        labels: labels(task),
        created_at: task.created_at,
        started_at: task.started_at,
        completed_at: task.completed_at,
        error: task.error.as_ref().map(ErrorAnswer::from),
    }
}

/// What was decided for the user, with the snapshot as it was pinned.
fn resolved(task: &TaskRow) -> Value {
    let mut resolved = match &task.resolved {
        Value::Object(fields) => fields.clone(),
        _ => serde_json::Map::new(),
    };
    resolved.insert(
        "data_snapshot".to_owned(),
        json!(task.snapshot.as_ref().map(snapshot_name)),
    );
    Value::Object(resolved)
}

pub(super) fn accepted(task: &TaskRow, scope: Scope) -> Accepted {
    Accepted {
        task_id: task.id.0,
        task_name: task.name.clone(),
        task_type: task.kind.name().to_owned(),
        status: task.ledger.state.name().to_owned(),
        origin: origin(task),
        progress: progress(task),
        stock_codes: task.stock_codes.clone(),
        n_trials: task.ledger.n_trials,
        seed: task.seed,
        created_at: task.created_at,
        error: task.error.as_ref().map(ErrorAnswer::from),
        resolved: resolved(task),
        warnings: task.warnings.iter().map(WarningAnswer::from).collect(),
        links: Links::of(&scope.path_of(task.id), task.kind),
    }
}

/// What the rows of a task say of its result.
pub(super) struct Outcome<'a> {
    /// The best trial so far, when there is one.
    pub leads: Option<&'a TrialRow>,
    /// The one whose parameters are to be used, when there is one.
    pub best: Option<&'a TrialRow>,
    /// The trial of the default parameters, when there is one.
    pub of_defaults: Option<&'a TrialRow>,
    /// What the one unit of a backtest left.
    pub run: Option<Value>,
    /// What a search is worth.
    pub assessed: Assessed,
    /// What the trials of a completed search show.
    pub insight: Option<Insight>,
}

/// What the trials of a search show.
pub(super) struct Insight {
    pub front: Arc<FrontFound>,
    pub importance: Arc<ImportanceAnswer>,
}

/// For each objective the parameters with their parts, or why there are none.
fn param_importance(found: &ImportanceAnswer) -> BTreeMap<String, Value> {
    let told = |one: &TargetImportance| match &one.parameters {
        Some(all) => all
            .iter()
            .map(|one| (one.name.clone(), json!(one.share)))
            .collect(),
        None => json!({"value": null, "reason": one.reason}),
    };
    let targets = found.targets.iter();
    targets.map(|one| (one.metric.clone(), told(one))).collect()
}

/// The number of the trial that took the default parameters.
pub(super) fn default_trial(task: &TaskRow) -> Option<u32> {
    let number = task.resolved.get(DEFAULT_TRIAL)?.as_u64()?;
    u32::try_from(number).ok()
}

pub(super) fn task(
    task: &TaskRow,
    outcome: Outcome<'_>,
    scope: Scope,
) -> Result<TaskAnswer, Problem> {
    let done = task.ledger.state == TaskState::Completed;
    let status = status(task, outcome.leads)?;
    let result = match task.kind {
        _ if !done => None,
        TaskKind::HyperparameterOptimization => {
            Some(ResultAnswer::Search(Box::new(result(task, &outcome)?)))
        }
        TaskKind::Backtest | TaskKind::Training | TaskKind::Prediction => {
            outcome.run.map(ResultAnswer::Run)
        }
    };
    Ok(TaskAnswer {
        status,
        strategy_name: task.strategy.clone(),
        stock_codes: task.stock_codes.clone(),
        priority: task.priority.name().to_owned(),
        labels: labels(task),
        request: task.request.clone(),
        resolved: resolved(task),
        warnings: task.warnings.iter().map(WarningAnswer::from).collect(),
        result,
        links: Links::of(&scope.path_of(task.id), task.kind),
    })
}

/// The metrics of a trial with the period that they are of.
fn in_sample(spec: &TaskSpec, row: &TrialRow) -> Value {
    let mut fields = serde_json::Map::new();
    if !spec.stock_codes.is_empty() {
        let window = spec.plan().and_then(|plan| plan.window_of(row.number));
        let days = window.map(|window| (window.train.from, window.train.to));
        let (from, to) = days.unwrap_or((spec.start_date, spec.end_date));
        fields.insert("from".to_owned(), json!(from));
        fields.insert("to".to_owned(), json!(to));
    }
    if let Some(Value::Object(metrics)) = &row.metrics {
        fields.extend(metrics.clone());
    }
    Value::Object(fields)
}

fn baselines(spec: &TaskSpec, outcome: &Outcome<'_>) -> Result<Baselines, Problem> {
    let default_params = match outcome.of_defaults {
        Some(row) => Some(DefaultParams {
            trial_number: row.number,
            sharpe_ratio: json!({"value": null, "reason": "it was not computed"}),
            params: parameters(spec, &row.params)?,
            values: values(spec, &row.values),
            metrics: row.metrics.clone().unwrap_or(Value::Null),
            infeasible: row.infeasible.clone(),
            failure: row.failure.as_ref().map(FailureAnswer::from),
        }),
        None => None,
    };
    let on_bars = !spec.stock_codes.is_empty();
    Ok(Baselines {
        period: on_bars.then_some([spec.start_date, spec.end_date]),
        equal_weight_hold: (!spec.pairs.is_empty()).then(|| {
            let row = outcome.best.or(outcome.of_defaults);
            json!({"total_return": figure(row, HOLD_RETURN)})
        }),
        default_params,
    })
}

/// A figure of a trial: a number, or why there is none.
fn figure(row: Option<&TrialRow>, name: &str) -> Value {
    let metrics = row.and_then(|row| row.metrics.as_ref());
    match metrics.and_then(|metrics| metrics.get(name)) {
        Some(figure) => figure.clone(),
        None => json!({"value": null, "reason": "no trial recorded it"}),
    }
}

/// What the trades of a trial were, for a strategy of pairs.
fn pair(spec: &TaskSpec, row: &TrialRow) -> Option<PairAnswer> {
    let of = |name| figure(Some(row), name);
    (!spec.pairs.is_empty()).then(|| PairAnswer {
        pairs: spec.pairs.clone(),
        form: pair_form(spec.backtest.allow_short).to_owned(),
        beta: of(BETA),
        hold_return: of(HOLD_RETURN),
        excess_return: of(EXCESS_RETURN),
        exposure: of(metrics::Metric::Exposure.name()),
    })
}

/// Whether trades are filled at prices that nobody knows in time.
fn looks_ahead(spec: &TaskSpec) -> bool {
    let config = spec.backtest.config();
    !spec.stock_codes.is_empty() && config.is_ok_and(|config| config.fill.looks_ahead())
}

/// What speaks against the best trial itself: it lost money, or its objective is on the wrong side
/// of 0.
fn losses(spec: &TaskSpec, row: &TrialRow) -> Option<String> {
    if spec.stock_codes.is_empty() {
        return None;
    }
    let total_return = figure(Some(row), metrics::Metric::TotalReturn.name());
    let total_return = total_return.as_f64();
    let lost = total_return.filter(|change| *change < 0.0);
    let lost = lost.map(|change| format!("it loses {:.2} % of the cash", -100.0 * change));
    let first = spec.objectives.first().zip(row.values.first());
    let negative = first.filter(|(target, value)| {
        target.direction == Direction::Maximize
            && **value < 0.0
            && target.metric != metrics::Metric::TotalReturn.name()
            // A weighted sum has no zero that would say anything.
            && target.weights.is_empty()
    });
    let negative = negative.map(|(target, value)| format!("its {} is {value:.4}", target.metric));
    let reasons: Vec<String> = lost.into_iter().chain(negative).collect();
    (!reasons.is_empty()).then(|| {
        format!(
            "Even the best trial does badly: {}. Nothing was found to trade.",
            reasons.join(", and ")
        )
    })
}

/// A trial as it stands in a list: its reports may be many, and are looked at one trial at a time.
pub(super) fn listed(trial: TrialAnswer) -> TrialAnswer {
    TrialAnswer {
        reports: None,
        ..trial
    }
}

/// How far to trust the best trial, in sentences.
fn verdict(spec: &TaskSpec, best: Option<&TrialRow>) -> Verdict {
    let looks_ahead = looks_ahead(spec).then(|| {
        "Not attainable: trades are filled at the closing price that gave the signal (fill close), \
         which nobody knows in time."
            .to_owned()
    });
    let (code, said) = match best {
        Some(row) => {
            let in_sample = if spec.stock_codes.is_empty() {
                "In-sample only: the parameters were chosen by the same values that they are judged by; \
                 where chance has a part in these, expect less from them."
            } else {
                "In-sample only: the parameters were chosen on the same period that they are judged on, \
                 so expect less from them."
            };
            let losses = losses(spec, row);
            (
                "in_sample_only",
                losses.into_iter().chain([in_sample.to_owned()]).collect(),
            )
        }
        None => {
            let none = "No trial met the result constraints with a defined objective.";
            ("no_feasible_trial", vec![none.to_owned()])
        }
    };
    let sentences: Vec<String> = looks_ahead.into_iter().chain(said).collect();
    Verdict {
        code: code.to_owned(),
        text: sentences.join(" "),
    }
}

/// The command that repeats a trial.
fn replay(task: TaskId, best: Option<&TrialRow>) -> Value {
    match best {
        Some(row) => json!(format!("trialmill replay {task} {}", row.number)),
        None => json!({"value": null, "reason": "no trial is the best one"}),
    }
}

fn result(task: &TaskRow, outcome: &Outcome<'_>) -> Result<TaskResult, Problem> {
    let spec = spec_of(task)?;
    let best = match outcome.best {
        Some(row) => Some(BestTrial {
            trial_number: row.number,
            window: row.window,
            params: parameters(&spec, &row.params)?,
            values: values(&spec, &row.values),
            metrics: row.metrics.clone().unwrap_or(Value::Null),
            in_sample: in_sample(&spec, row),
            pair: pair(&spec, row),
        }),
        None => None,
    };
    let mut baselines = baselines(&spec, outcome)?;
    let assessed = &outcome.assessed;
    assessed.compare(&mut baselines);
    let insight = outcome.insight.as_ref();
    Ok(TaskResult {
        verdict: assessed
            .verdict()
            .unwrap_or_else(|| verdict(&spec, outcome.best)),
        best,
        pareto_front: insight.map_or_else(Vec::new, |found| found.front.items.clone()),
        param_importance: insight
            .map_or_else(BTreeMap::new, |found| param_importance(&found.importance)),
        looks_ahead: looks_ahead(&spec),
        baselines,
        out_of_sample: assessed.out_of_sample(),
        windows: assessed.windows(),
        holdout: assessed.holdout(),
        trust: assessed.trust(),
        execution: assessed.execution(),
        reproducibility: Reproducibility {
            seed: task.seed,
            data_snapshot: task.snapshot.as_ref().map(snapshot_name),
            engine: task.engine.clone(),
            target: target(task),
            replay: replay(task.id, outcome.best),
        },
        optimization_metadata: OptimizationMetadata {
            method: spec.method.name().to_owned(),
            duration_seconds: task.active_seconds,
        },
    })
}

/// The processor family that the task was accepted on.
fn target(task: &TaskRow) -> Option<String> {
    let target = task.resolved.get(TARGET)?.as_str()?;
    Some(target.to_owned())
}

/// What a trial reported. Bytes that are no reports are none.
fn reports(spec: &TaskSpec, bytes: Option<&[u8]>) -> Vec<ReportedStep> {
    let reports = bytes.and_then(|bytes| unpack(bytes, spec.objectives.len()));
    let Some(reports) = reports else {
        return Vec::new();
    };
    let at = |place: usize| {
        let value = |objective| reports.costs(objective).map(|values| values[place]);
        (0..reports.objectives())
            .filter_map(value)
            .collect::<Vec<_>>()
    };
    let steps = reports.steps().iter().enumerate();
    let told = steps.map(|(place, step)| ReportedStep {
        step: *step,
        values: values(spec, &at(place)),
    });
    told.collect()
}

/// An ended trial.
pub(super) fn trial(spec: &TaskSpec, row: &TrialRow) -> Result<TrialAnswer, Problem> {
    Ok(TrialAnswer {
        number: row.number,
        state: row.end.name().to_owned(),
        params: parameters(spec, &row.params)?,
        values: values(spec, &row.values),
        looks_ahead: looks_ahead(spec),
        metrics: row.metrics.clone().unwrap_or(Value::Null),
        infeasible: row.infeasible.clone(),
        failure: row.failure.as_ref().map(FailureAnswer::from),
        reports: Some(reports(spec, row.reports.as_deref())),
        duration_ms: Some(row.duration_ms),
        window: row.window,
        started_at: None,
        ended_at: Some(row.ended_at),
    })
}

/// An announced slow trial that has not ended.
pub(super) fn running(spec: &TaskSpec, row: &RunningRow) -> Result<TrialAnswer, Problem> {
    Ok(TrialAnswer {
        number: row.number,
        state: "running".to_owned(),
        params: parameters(spec, &row.params)?,
        values: BTreeMap::new(),
        looks_ahead: looks_ahead(spec),
        metrics: Value::Null,
        infeasible: None,
        failure: None,
        reports: Some(reports(spec, row.reports.as_deref())),
        duration_ms: None,
        window: None,
        started_at: Some(row.started_at),
        ended_at: None,
    })
}
