//! The searches that a validated task is made of: laid out when the trading days are known.
//!
//! The check of a request cannot lay them out: that takes the bars. It leaves an [`Unplanned`];
//! [`Accepted::planned_over`] takes the days. A request is refused here only after it has no other
//! fault.

use super::search::sampler_plan;
use super::{Accepted, DEFAULT_TRIAL};
use crate::fault::{Fault, Warning};
use crate::spec::{Spec, TaskSpec, Validated};
use crate::validation::{Period, Plan, PlanFault, Validation, plan};
use chrono::NaiveDate;
use serde_json::{Value, json};
use trialmill_search::Method;

/// A validation that waits for the trading days of its task.
#[derive(Debug, Clone, PartialEq)]
pub struct Unplanned {
    /// As it was asked for.
    pub method: Validation,
    /// Its place in the request.
    pub pointer: String,
    /// Where a grid is named that was not told to leave points out: whether its points fit into the trials of each
    /// window is seen when there are windows.
    pub whole_grid: Option<String>,
}

impl Accepted {
    /// The task with its searches laid over `days`: every day of its period on which any of its
    /// symbols has a bar that trades, ascending. A task without a validation stays as it is.
    ///
    /// # Errors
    /// Every reason why the validation does not fit the days or the number of trials.
    pub fn planned_over(mut self, days: &[NaiveDate]) -> Result<Self, Vec<Fault>> {
        let Some(Unplanned {
            method,
            pointer,
            whole_grid,
        }) = self.unplanned.take()
        else {
            return Ok(self);
        };
        let Spec::Search(spec) = &mut self.spec else {
            return Ok(self);
        };
        let told = |faults: Vec<PlanFault>| {
            let told = faults.iter().map(|fault| fault.told(&pointer));
            told.collect::<Vec<_>>()
        };
        let period =
            Period::new(spec.start_date, spec.end_date, days).map_err(|fault| told(vec![fault]))?;
        let points = spec.size_limit();
        let plan = plan(&method, &period, spec.n_trials, points).map_err(told)?;
        if let Some(faults) = covers(spec, &plan, points, whole_grid.as_deref()) {
            return Err(vec![faults]);
        }
        let held_from = plan.holdout.as_ref().map(|holdout| holdout.from);
        let planned = plan.n_trials();
        self.planned = planned;
        self.warnings.extend(few_points(spec, &plan, points));
        show(&mut self.resolved, &method, &plan);
        self.resolved["sampler"] = spec.method.name().into();
        self.resolved["trials_planned"] = self.planned.into();
        if !self.resolved[DEFAULT_TRIAL].is_null() {
            // Each window begins with the default point; the last one is what is deployed.
            self.resolved[DEFAULT_TRIAL] = plan.deployed().trials.start.into();
        }
        spec.validation = Some(Validated { method, plan });
        self.resolved["sampler_plan"] = sampler_plan(spec);
        let saw = held_from.map_or_else(Vec::new, |held_from| self.saw(held_from));
        match saw.is_empty() {
            true => Ok(self),
            false => Err(saw),
        }
    }
}

/// A fault for a grid that has more points than a window has trials.
fn covers(
    spec: &TaskSpec,
    plan: &Plan,
    points: Option<u64>,
    whole_grid: Option<&str>,
) -> Option<Fault> {
    let fewest = plan
        .windows
        .iter()
        .map(|window| window.trials.len())
        .min()?;
    let (pointer, points) = (whole_grid?, points?);
    (plan.windows.len() > 1 && points > fewest as u64).then(|| {
        let detail = format!(
            "the grid has {points} points, and a window has {fewest} of the {} trials; raise n_trials to {}, search \
             fewer points, or let each window visit some of them with {{\"name\": \"{}\", \"sample\": true}}",
            spec.n_trials,
            points.saturating_mul(plan.windows.len() as u64),
            Method::Grid
        );
        Fault::new(pointer, "grid_larger_than_n_trials", detail).limit(fewest)
    })
}

/// A space whose points all fit into the trials of a window leaves a sampler nothing to choose: each
/// window visits all of them.
fn few_points(spec: &mut TaskSpec, plan: &Plan, points: Option<u64>) -> Vec<Warning> {
    let warning = |code: &str, pointer: &str, detail: String| Warning {
        code: code.to_owned(),
        pointer: pointer.to_owned(),
        detail,
    };
    let mut warnings = Vec::new();
    let windows = plan.windows.len();
    if windows < 2 {
        // Said by the check of the request: there is one search.
        return warnings;
    }
    if plan.n_trials() < spec.n_trials {
        let detail = format!(
            "the space has fewer points than each of the {windows} windows has trials: each window \
             visits every point once, {} trials in all instead of the {} asked for",
            plan.n_trials(),
            spec.n_trials
        );
        warnings.push(warning("space_smaller_than_n_trials", "/n_trials", detail));
    }
    let fewest = plan.windows.iter().map(|window| window.trials.len()).min();
    let fits = points
        .zip(fewest)
        .is_some_and(|(points, fewest)| points <= fewest as u64);
    if spec.reads_history() && fits {
        let method = std::mem::replace(&mut spec.method, Method::Grid);
        let detail = format!(
            "{method} has nothing to choose: all points of the space fit into the trials of a window. \
             Each is visited once, in the shuffled order of the sampler grid"
        );
        warnings.push(warning(
            "small_space_is_grid",
            "/optimization_method",
            detail,
        ));
    }
    warnings
}

/// What was decided, for the answer.
fn show(resolved: &mut Value, method: &Validation, plan: &Plan) {
    resolved["validation"] = json!(method);
    if let Validation::WalkForward(_) = method {
        let windows = plan.windows.iter().map(|window| {
            let test = window.test.as_ref();
            json!({
                "index": window.index,
                "train": [window.train.from, window.train.to],
                "test": test.map(|test| [test.from, test.to]),
                "trials": [window.trials.start, window.trials.end - 1],
            })
        });
        resolved["windows"] = windows.collect();
        let fewest = plan.windows.iter().map(|window| window.trials.len()).min();
        resolved["trials_per_window"] = json!(fewest);
        let untested = plan.untested.as_ref();
        resolved["untested"] = json!(untested.map(|stretch| [stretch.from, stretch.to]));
    }
    if let Validation::CrossValidation { .. } = method {
        let segments = plan.segments.iter();
        let days = segments.map(|segment| [segment.test.from, segment.test.to]);
        resolved["segments"] = json!(days.collect::<Vec<_>>());
    }
    let holdout = plan.holdout.as_ref();
    resolved["holdout"] = json!(holdout.map(|stretch| [stretch.from, stretch.to]));
}
