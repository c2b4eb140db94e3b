//! What the trials of a search show: its front, which parameters matter, the data of pictures.

use super::Parameters;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// One objective of a search.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ObjectiveAnswer {
    /// Its metric.
    pub metric: String,
    /// `maximize` or `minimize`.
    pub direction: String,
}

/// Which trials an answer rests on.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct TrialsRead {
    /// Ended trials that were read: the first ones by number, of the window where there are several.
    pub read: u32,
    /// Those of them that completed with values and keep the result constraints; no other one is used.
    pub used: u32,
    /// Whether no further one has ended that was left out for want of time.
    pub complete: bool,
}

/// A trial that no other one dominates.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FrontMember {
    /// Its number.
    pub trial_number: u32,
    /// Its window, for walk-forward.
    pub window: Option<u16>,
    /// Its parameters.
    pub params: Parameters,
    /// Its objective values by metric.
    pub objectives: BTreeMap<String, f64>,
}

/// The hypervolume after a trial.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VolumePoint {
    /// The trial's number.
    pub trial_number: u32,
    /// The hypervolume of the trials up to it.
    pub hypervolume: f64,
}

/// How much a front is worth as one number.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HypervolumeAnswer {
    /// The volume of what the front dominates, up to the reference point, in the units of the objectives.
    pub value: Option<f64>,
    /// Why there is none.
    pub reason: Option<String>,
    /// In each objective a tenth of the range of all values read beyond the worst of them. It moves while trials
    /// end, and volumes of different reference points cannot be compared: those of one answer can.
    pub reference_point: Option<BTreeMap<String, f64>>,
    /// The volume after each trial that added to it, by number; of more than 1,000 evenly spaced ones and the
    /// last.
    pub history: Vec<VolumePoint>,
}

/// The front of a search.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FrontAnswer {
    /// Identity of the task.
    pub task_id: Uuid,
    /// Of a walk-forward, the window that it is of: the last one unless another was asked for.
    pub window: Option<u16>,
    /// The objectives.
    pub objectives: Vec<ObjectiveAnswer>,
    /// How many trials are on the front.
    pub size: u32,
    /// The feasible trials that no other one dominates, the best by the first objective first; at most the
    /// first 1,000. Trials with equal values do not dominate each other. With one objective it is the best trial. Empty while no trial
    /// is feasible.
    pub items: Vec<FrontMember>,
    /// The number of the trial whose parameters are to be used; null while there is none, or while a
    /// `selection` of the request has not picked one.
    pub selected: Option<u32>,
    /// How much the front is worth.
    pub hypervolume: HypervolumeAnswer,
    /// Which trials it rests on.
    pub trials: TrialsRead,
}

/// How much one parameter matters.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ParameterImportance {
    /// Its name.
    pub name: String,
    /// Its part of all parameters' values: together 1.
    pub share: f64,
    /// The measure itself: for `fanova` the part of the variance that it explains alone, for
    /// `ped_anova` how far the best tenth of the trials differs in it from all.
    pub value: f64,
}

/// Which parameters an objective depends on.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TargetImportance {
    /// The objective's metric.
    pub metric: String,
    /// The parameters, the most important first; null where none can be told.
    pub parameters: Option<Vec<ParameterImportance>>,
    /// Why none can be told.
    pub reason: Option<String>,
}

/// Which parameters matter.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ImportanceAnswer {
    /// Identity of the task.
    pub task_id: Uuid,
    /// Of a walk-forward, the window that it is of: the last one unless another was asked for.
    pub window: Option<u16>,
    /// `ped_anova` or `fanova`.
    pub method: String,
    /// For each objective asked for.
    pub targets: Vec<TargetImportance>,
    /// Which trials it rests on: at most the first 10,000.
    pub trials: TrialsRead,
}

/// The data of a picture.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FigureAnswer {
    /// Identity of the task.
    pub task_id: Uuid,
    /// Of a walk-forward, the window that it is of: the last one unless another was asked for.
    pub window: Option<u16>,
    /// Which picture.
    pub name: String,
    /// The objective that it shows; null for a history of hypervolumes.
    pub objective: Option<ObjectiveAnswer>,
    /// By the name, `objective` being the objective's value. `slice`: a list of `{name, points: [{number, value,
    /// objective}]}`, one for each parameter; `contour`: `{x, y, points: [{number, x, y,
    /// objective}]}`; `parallel_coordinate`: `{axes, lines: [{number, objective,
    /// values}]}`, a value null where a trial has not got the parameter; `rank`: `{points: [{number,
    /// objective, rank}]}`, 0 the best and 1 the worst; `history`: `{points: [{number, objective, best}]}` or, of several objectives
    /// without a `target`, `{points: [{trial_number, hypervolume}], reference_point, reason}`; `edf`:
    /// `{points: [{objective, share}]}`, the share of trials with at most that value.
    pub data: Value,
    /// Which trials it rests on: at most the first 10,000, and fewer where there are more than 20
    /// parameters.
    pub trials: TrialsRead,
}
