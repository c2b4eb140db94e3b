//! `warm_start_from`: earlier tasks whose trials the sampler knows from the start.

use super::Accepted;
use super::findings::{Findings, shown};
use super::node::Node;
use super::search::sampler_plan;
use crate::fault::{Fault, Warning};
use crate::spec::{MAX_PRIOR_TRIALS, Spec, Target, TaskSpec, Weight};
use crate::state::TaskId;
use chrono::NaiveDate;
use serde_json::json;
use std::collections::BTreeSet;
use trialmill_search::{FinishedTrial, Method, Point, TrialEnd};

/// Most tasks that a task may begin from.
pub const MAX_WARM_ORIGINS: usize = 16;

/// An earlier task that a request names: what the caller looks up.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmOrigin {
    /// Its place in the request.
    pub pointer: String,
    /// The task.
    pub task: TaskId,
    /// The last day that its trials saw, once it was looked up; nothing for one without days.
    pub seen_until: Option<NaiveDate>,
}

/// What was found of an earlier task.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmTrials {
    /// As it was named.
    pub origin: WarmOrigin,
    /// The checked form of that task.
    pub spec: TaskSpec,
    /// Its ended trials, the latest last: points of its space, and their ends with the costs of its
    /// objectives.
    pub trials: Vec<(Point, TrialEnd)>,
}

/// Reads the names of earlier tasks.
pub(super) fn read(node: &Node<'_>, findings: &mut Findings) -> Vec<WarmOrigin> {
    let items = match node.value {
        None => return Vec::new(),
        Some(_) => node.list(findings).unwrap_or_default(),
    };
    if items.len() > MAX_WARM_ORIGINS {
        let detail = format!(
            "{} names {} tasks; it may name {MAX_WARM_ORIGINS}",
            node.name(),
            items.len()
        );
        findings.fault(node.fault("too_many", detail).limit(MAX_WARM_ORIGINS));
        return Vec::new();
    }
    let mut origins: Vec<WarmOrigin> = Vec::new();
    for item in items {
        let Some(text) = item.string(findings) else {
            continue;
        };
        let Ok(task) = text.parse().map(TaskId) else {
            let detail = format!("{:?} is no task_id; give the id of a task", shown(text));
            findings.fault(item.fault("malformed", detail));
            continue;
        };
        if origins.iter().any(|one| one.task == task) {
            let detail = format!("{task} is named twice; name it once");
            findings.fault(item.fault("duplicate", detail));
            continue;
        }
        let pointer = item.pointer;
        origins.push(WarmOrigin {
            pointer,
            task,
            seen_until: None,
        });
    }
    origins
}

/// Faults for a search that cannot begin with trials of others.
pub(super) fn fit(node: &Node<'_>, method: Method, walks: bool, findings: &mut Findings) {
    if !method.reads_history() {
        let detail = format!(
            "the sampler {method} looks at no trials and would not see those of earlier tasks; use another, \
             or leave warm_start_from out"
        );
        findings.fault(node.fault("sampler_reads_no_history", detail));
    }
    if walks {
        let detail = "each window of a walk-forward is searched from nothing, so that none knows days that \
                      judge it; leave warm_start_from out";
        findings.fault(node.fault("not_with_walk_forward", detail));
    }
}

impl Accepted {
    /// The task begun with trials of earlier ones, in the order in which they were named: the best and the latest
    /// [`MAX_PRIOR_TRIALS`] of those whose point is one of this task's space, with every disabled parameter at
    /// what this task holds it at.
    ///
    /// # Errors
    /// For each earlier task whose objectives are others, or of which no trial fits.
    pub fn begun_with(mut self, earlier: Vec<WarmTrials>) -> Result<Self, Vec<Fault>> {
        let Spec::Search(spec) = &mut self.spec else {
            return Ok(self);
        };
        if earlier.is_empty() {
            return Ok(self);
        }
        if !spec.reads_history() {
            // A space so small that each of its points is visited.
            let detail = "each point of the space is visited, so there is nothing to learn from earlier trials";
            self.warnings
                .push(warning("earlier_trials_not_needed", detail.to_owned()));
            self.resolved["prior_trials"] = json!(0);
            return Ok(self);
        }
        let mut faults = Vec::new();
        let (mut known, mut left_out) = (Vec::new(), 0);
        let mut judged_otherwise = false;
        for (origin, found) in self.warm_start.iter_mut().zip(&earlier) {
            origin.seen_until = seen_until(&found.spec);
        }
        for found in earlier {
            let WarmTrials {
                origin,
                spec: of,
                trials,
            } = found;
            let fault = |code: &str, detail: String| {
                Fault::new(origin.pointer.clone(), code, detail)
                    .value(&json!(origin.task.to_string()))
            };
            if of.objectives != spec.objectives {
                let detail = format!(
                    "task {} has the objectives {}, and this one {}; its results say nothing here",
                    origin.task,
                    told(&of.objectives),
                    told(&spec.objectives)
                );
                faults.push(fault("other_objectives", detail));
                continue;
            }
            let all = trials.len();
            let fitting: Vec<_> = trials
                .into_iter()
                .filter_map(|(point, end)| Some((moved(&of, &point, spec)?, end)))
                .collect();
            if fitting.is_empty() {
                let detail = match all {
                    0 => format!("task {} has no ended trial to begin with", origin.task),
                    _ => format!(
                        "none of the {all} trials of task {} is a point of this space; name a task with the \
                         same parameters",
                        origin.task
                    ),
                };
                faults.push(fault("no_trial_fits", detail));
                continue;
            }
            left_out += all - fitting.len();
            judged_otherwise |= of.result_constraints != spec.result_constraints;
            known.extend(fitting);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        if spec.space.lattice_size().is_some() {
            left_out += once_each(&mut known);
        }
        left_out += known.len().saturating_sub(MAX_PRIOR_TRIALS);
        let number = |(number, (point, end))| FinishedTrial { number, point, end };
        spec.prior = (0..).zip(latest(known)).map(number).collect();
        if left_out > 0 {
            let detail = format!(
                "{left_out} trials of earlier tasks are left out: their points are none of this space, stand \
                 here twice, or come before the latest {MAX_PRIOR_TRIALS}"
            );
            self.warnings
                .push(warning("earlier_trials_left_out", detail));
        }
        if judged_otherwise {
            let detail = "the result_constraints of an earlier task are others: its trials count as that task judged \
                          them, feasible or not";
            let warned = warning("other_result_constraints", detail.to_owned());
            self.warnings.push(warned);
        }
        self.planned = spec.planned(spec.size_limit());
        if self.planned == 0 {
            let detail =
                "earlier tasks have tried every point of this space; there is none left to try";
            let fault = Fault::new("/warm_start_from", "space_exhausted", detail);
            return Err(vec![fault]);
        }
        if self.planned < spec.n_trials {
            let detail = format!(
                "{} points of the space are left that no earlier trial has, fewer than the {} trials asked for; each \
                 is visited once",
                self.planned, spec.n_trials
            );
            self.warnings.push(Warning {
                pointer: "/n_trials".to_owned(),
                ..warning("space_smaller_than_n_trials", detail)
            });
        }
        self.resolved["prior_trials"] = json!(spec.prior.len());
        self.resolved["trials_planned"] = json!(self.planned);
        self.resolved["sampler_plan"] = sampler_plan(spec);
        Ok(self)
    }

    /// Faults for earlier tasks whose trials saw days from this one on, which are to judge this task.
    pub(super) fn saw(&self, held_from: NaiveDate) -> Vec<Fault> {
        let origins = self.warm_start.iter();
        let saw = origins.filter(|origin| origin.seen_until.is_some_and(|last| last >= held_from));
        saw.map(|origin| {
            let detail = format!(
                "the trials of task {} saw days from {held_from} on, which are held out here to judge the result; \
                 name tasks that end before, or none",
                origin.task
            );
            let fault = Fault::new(origin.pointer.clone(), "saw_the_holdout", detail);
            fault.value(&json!(origin.task.to_string()))
        })
        .collect()
    }
}

fn warning(code: &str, detail: String) -> Warning {
    Warning {
        code: code.to_owned(),
        pointer: "/warm_start_from".to_owned(),
        detail,
    }
}

/// Keeps the latest trial of each point; how many went.
fn once_each(known: &mut Vec<(Point, TrialEnd)>) -> usize {
    let before = known.len();
    let mut seen = BTreeSet::new();
    let bits = |point: &Point| -> Vec<[u8; 8]> {
        point
            .values()
            .iter()
            .map(|value| value.to_packed())
            .collect()
    };
    known.reverse();
    known.retain(|(point, _)| seen.insert(bits(point)));
    known.reverse();
    before - known.len()
}

/// The last day that the trials of a task saw; nothing for one without days.
fn seen_until(spec: &TaskSpec) -> Option<NaiveDate> {
    if spec.stock_codes.is_empty() {
        return None;
    }
    let trained = spec.plan().map(|plan| {
        let trained = plan.windows.iter().map(|window| window.train.last);
        let scored = plan.segments.iter().map(|segment| segment.test.last);
        trained.chain(scored).max()
    });
    trained.flatten().or(Some(spec.end_date))
}

/// The latest [`MAX_PRIOR_TRIALS`], with the one that is best by the first objective if it is older.
fn latest(mut known: Vec<(Point, TrialEnd)>) -> Vec<(Point, TrialEnd)> {
    let from = known.len().saturating_sub(MAX_PRIOR_TRIALS);
    let cost = |(_, end): &(Point, TrialEnd)| match end {
        TrialEnd::Completed(costs) => costs.first().copied().unwrap_or(f64::INFINITY),
        TrialEnd::Infeasible { .. } | TrialEnd::Pruned(_) | TrialEnd::Failed => f64::INFINITY,
    };
    let best = (0..known.len()).min_by(|a, b| cost(&known[*a]).total_cmp(&cost(&known[*b])));
    let mut latest = known.split_off(from);
    if let Some(best) = best.filter(|best| *best < from) {
        latest[0] = known.swap_remove(best);
    }
    latest
}

fn told(objectives: &[Target]) -> String {
    let weighed = |weight: &Weight| format!("{} {}", weight.weight, weight.metric.name());
    let one = |target: &Target| match target.weights.as_slice() {
        [] => format!("{} ({})", shown(&target.metric), target.direction),
        weights => {
            let weights: Vec<String> = weights.iter().map(weighed).collect();
            format!("{} of {}", target.metric, weights.join(" and "))
        }
    };
    objectives.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The point of another task as one of this task's space, if it is one.
fn moved(of: &TaskSpec, point: &Point, to: &TaskSpec) -> Option<Point> {
    let mut named = of.named(point);
    for (name, value) in &to.fixed {
        if !named.remove(name)?.same_value(value) {
            return None;
        }
    }
    let point = to.space.point_from_named(&named).ok()?;
    to.space.check_allowed(&point).is_ok().then_some(point)
}
