//! The search of a task once more, alone: one trial after the other, each seeing all before it.

use super::evaluate::{Evaluator, NoReport};
use super::{Case, MakeBacktest, Stopped};
use crate::objective::Ground;
use std::sync::Arc;
use trialmill_backtest::bars::BarSeries;
use trialmill_common::costs;
use trialmill_common::spec::TaskSpec;
use trialmill_common::trial::{EndedTrial, Evaluation, Failure, FailureKind, Outcome};
use trialmill_common::validation::{Stretch, Window};
use trialmill_search::{FinishedTrial, History, HistoryNeed, Study};

/// The windows of a task; one of all its days where it has no plan.
pub(super) fn windows(spec: &TaskSpec) -> Vec<Window> {
    if let Some(validated) = &spec.validation {
        return validated.plan.windows.clone();
    }
    let (from, to) = (spec.start_date, spec.end_date);
    vec![Window {
        index: 0,
        train: Stretch {
            from,
            to,
            first: from,
            last: to,
            rows: 0..0,
        },
        embargo: 0..0,
        test: None,
        trials: 0..u32::MAX,
    }]
}

/// The trials of a window: one search from its beginning.
///
/// `count` trials, or fewer where the space is exhausted; their numbers begin at `first`. What is
/// kept of each is what [`Case::trials`] needs.
pub(super) fn search(
    evaluator: &Evaluator<'_>,
    spec: &TaskSpec,
    study: &Study,
    ground: &Ground,
    window: Option<u16>,
    (first, count): (u32, u32),
    stop: &dyn Fn() -> bool,
) -> Result<Vec<EndedTrial>, Stopped> {
    let looks_back = study.history_need() != HistoryNeed::None;
    let mut finished: Vec<FinishedTrial> = Vec::new();
    let mut trials = Vec::new();
    for place in 0..count {
        if stop() {
            return Err(Stopped);
        }
        let history = History {
            finished: &finished,
            running: &[],
        };
        let Some(point) = study.ask(&history, place) else {
            break;
        };
        let outcome = match evaluator.trial(ground, &spec.named(&point), stop)? {
            Ok(tried) => Outcome::Completed(Evaluation {
                stats: tried.stats.map(|stats| stats.to_bytes()),
                ..tried.evaluation
            }),
            Err(NoReport::Unsuitable(reason)) => Outcome::Completed(Evaluation {
                infeasible: Some(reason),
                ..Evaluation::default()
            }),
            Err(NoReport::Failed(message)) => Outcome::Failed(Failure {
                kind: FailureKind::InvalidParameters,
                message,
                causes: Vec::new(),
                hint: String::new(),
                worker: String::new(),
            }),
        };
        if looks_back {
            finished.push(FinishedTrial {
                number: place,
                point: point.clone(),
                end: costs::of_outcome(spec, &outcome, None),
            });
        }
        trials.push(EndedTrial {
            number: first + place,
            point,
            outcome,
            reports: None,
            duration_ms: 0.0,
            window,
        });
    }
    Ok(trials)
}

/// The trials of a task searched in this thread, window by window, with as many trials as it asks
/// for: what its workers would record with `parallelism` 1, durations apart. For examples and tests
/// of what a search is worth.
///
/// # Errors
/// What keeps it from being searched at all.
pub fn search_alone(
    spec: &TaskSpec,
    series: &[Arc<BarSeries>],
    backtest: &MakeBacktest<'_>,
) -> Result<Vec<EndedTrial>, String> {
    let evaluator = Evaluator::new(spec)?;
    let mut trials = Vec::new();
    for window in windows(spec) {
        let first = window.trials.start;
        let study = spec.study(first).map_err(|error| error.to_string())?;
        let count = (window.trials.end - first).min(spec.n_trials);
        let ground = evaluator.ground(backtest, series, &window)?;
        let index = spec.validation.is_some().then_some(window.index);
        let numbers = (first, count);
        let found = search(&evaluator, spec, &study, &ground, index, numbers, &|| false);
        trials.extend(found.map_err(|stopped| stopped.to_string())?);
    }
    Ok(trials)
}

/// The ended trials of a window, by number.
pub(super) fn trials_of<'a>(case: &Case<'a>, window: &Window) -> &'a [EndedTrial] {
    let trials = case.trials;
    let from = trials.partition_point(|trial| trial.number < window.trials.start);
    let to = trials.partition_point(|trial| trial.number < window.trials.end);
    &trials[from..to]
}
