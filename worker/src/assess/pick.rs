//! Which trial of each window is used.

use super::search::{trials_of, windows};
use super::{Case, evaluate, method};
use std::collections::BTreeMap;
use trialmill_backtest::metrics::METRICS;
use trialmill_common::assessment::{Best, InSample, SHARPE, TRADES, figure};
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::Direction;
use trialmill_common::trial::{EndedTrial, Evaluation, Outcome};
use trialmill_common::validation::{Candidate, Validation, Window, select};
use trialmill_search::pareto::Front;

/// The windows of a task and the pick of each.
pub(super) struct Picks<'a> {
    pub(super) windows: Vec<Window>,
    /// One for each window: its trial with what that gave.
    pub(super) picked: Vec<Option<Pick<'a>>>,
}

/// A trial that was picked.
#[derive(Clone, Copy)]
pub(super) struct Pick<'a> {
    pub(super) trial: &'a EndedTrial,
    pub(super) evaluation: &'a Evaluation,
}

impl<'a> Picks<'a> {
    /// The pick of each window from the trials that ended.
    pub(super) fn of(case: &Case<'a>) -> Self {
        let windows = windows(case.spec);
        let picked = windows
            .iter()
            .map(|window| pick(case.spec, trials_of(case, window)))
            .collect();
        Self { windows, picked }
    }

    /// The window whose pick is to be used: the last.
    pub(super) fn deployed(&self) -> &Window {
        self.windows.last().expect("a task has a window")
    }

    /// The pick to be used.
    pub(super) fn best_pick(&self) -> Option<Pick<'a>> {
        *self.picked.last()?
    }

    /// The same as it is told.
    pub(super) fn best(&self, case: &Case<'_>) -> Option<Best> {
        let Pick { trial, evaluation } = self.best_pick()?;
        let window = self.deployed();
        let objectives = case.spec.objectives.iter().zip(&evaluation.values);
        Some(Best {
            trial_number: trial.number,
            window: is_walk_forward(case.spec).then_some(window.index),
            params: case.spec.named(&trial.point),
            values: objectives
                .map(|(o, value)| (o.metric.clone(), *value))
                .collect(),
            in_sample: InSample {
                from: window.train.from,
                to: window.train.to,
                sharpe_ratio: figure(evaluate::metric(evaluation, SHARPE)),
                n_trades: figure(evaluate::metric(evaluation, TRADES)),
            },
        })
    }
}

/// Whether a task is a walk-forward.
pub(super) fn is_walk_forward(spec: &TaskSpec) -> bool {
    matches!(method(spec), Validation::WalkForward(_))
}

/// The trial that is used of those of one window: by the selection of the request, else the best
/// feasible one by the first objective, and the lowest number among equals. With several objectives it is
/// one that no other dominates.
pub(super) fn pick<'a>(spec: &TaskSpec, trials: &'a [EndedTrial]) -> Option<Pick<'a>> {
    let completed = trials.iter().filter_map(|trial| match &trial.outcome {
        Outcome::Completed(evaluation) => Some(Pick { trial, evaluation }),
        Outcome::Pruned(_) | Outcome::Failed(_) => None,
    });
    let numbered = |number: u32| {
        completed
            .clone()
            .find(|pick: &Pick<'a>| pick.trial.number == number)
    };
    let feasible = |pick: &Pick<'_>| pick.evaluation.infeasible.is_none();
    let Some(selection) = method(spec).selection() else {
        // Only those that are least by the first objective can lead, and no other dominates them.
        let mut leading: Vec<(u32, Vec<f64>)> = Vec::new();
        for pick in completed.clone().filter(feasible) {
            let costs = spec.costs(&pick.evaluation.values);
            let first = |costs: &[f64]| costs.first().copied().unwrap_or(f64::INFINITY);
            let least = leading
                .first()
                .map_or(f64::INFINITY, |(_, costs)| first(costs));
            if first(&costs) < least {
                leading.clear();
            }
            if first(&costs) <= least {
                leading.push((pick.trial.number, costs));
            }
        }
        let mut front = Front::default();
        for (number, costs) in &leading {
            front.add_new(*number, costs);
        }
        return numbered(front.least(0)?.number);
    };
    let costed: Vec<(Pick<'a>, Vec<f64>)> = completed
        .clone()
        .map(|pick| (pick, spec.costs(&pick.evaluation.values)))
        .collect();
    let candidates = costed.iter().map(|(pick, costs)| Candidate {
        number: pick.trial.number,
        feasible: feasible(pick),
        metrics: &pick.evaluation.metrics,
        costs,
    });
    numbered(select(candidates, selection)?)
}

/// A value such that more is better.
pub(super) fn signed(direction: Direction, value: f64) -> f64 {
    match direction {
        Direction::Maximize => value,
        Direction::Minimize => -value,
    }
}

/// The metrics of trials that are read: those of the picks' rules and of the document.
pub(super) fn metrics_read(spec: &TaskSpec) -> Vec<String> {
    let mut names = BTreeMap::from([(SHARPE, ()), (TRADES, ())]);
    if let Some(selection) = method(spec).selection() {
        names.insert(selection.metric.name(), ());
        let limits: Vec<String> = selection
            .subject_to
            .iter()
            .map(ToString::to_string)
            .collect();
        // A limit names metrics by name or alias; one name within another costs a metric too many.
        for info in METRICS {
            let named = |name: &str| limits.iter().any(|limit| limit.contains(name));
            if named(info.name) || info.alias.is_some_and(named) {
                names.insert(info.name, ());
            }
        }
    }
    names.into_keys().map(str::to_owned).collect()
}
