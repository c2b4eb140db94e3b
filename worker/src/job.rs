//! What a task asks of its trials: a search evaluates the points that it draws, a run the one set
//! of parameters that it was given.

use crate::objective::{Interrupted, Objective, Subject};
use crate::prune::Pruning;
use crate::run;
use crate::stop::StopSource;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_common::spec::{RunSpec, TaskSpec, UnreadableSpec};
use trialmill_common::state::TaskKind;
use trialmill_common::trial::Outcome;
use trialmill_search::pruner::Reports;
use trialmill_search::{Choice, Point, UnpackError};

/// A checked task of a kind that this build runs.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    Search(Arc<TaskSpec>),
    Run(Arc<RunSpec>),
}

/// What the evaluation of a trial gave.
#[derive(Debug)]
pub(crate) struct Evaluated {
    pub(crate) outcome: Outcome,
    /// What it reported on the way: values, not costs.
    pub(crate) reports: Option<Reports>,
    /// The result document of a run.
    pub(crate) document: Option<Value>,
}

/// How a trial is evaluated that reports on the way.
pub(crate) struct Watched<'a> {
    /// In which order it goes through its segments.
    pub(crate) order: &'a [u32],
    /// Whether it should end with these reports.
    pub(crate) prunes: &'a mut dyn FnMut(&Reports) -> bool,
}

impl Evaluated {
    /// An end that is all there is to say.
    pub(crate) fn outcome(outcome: Outcome) -> Self {
        Self {
            outcome,
            reports: None,
            document: None,
        }
    }
}

impl Job {
    /// Reads the stored form of a task. There is no other way to run one: a kind without an arm
    /// does not compile.
    pub(crate) fn read(kind: TaskKind, stored: &Value) -> Result<Self, UnreadableSpec> {
        match kind {
            TaskKind::HyperparameterOptimization => {
                Ok(Self::Search(Arc::new(TaskSpec::from_json(stored)?)))
            }
            TaskKind::Backtest => Ok(Self::Run(Arc::new(RunSpec::from_json(stored)?))),
            kind @ (TaskKind::Training | TaskKind::Prediction) => {
                // Refused at the door by this version; a newer one may have accepted it.
                Err(UnreadableSpec(format!(
                    "it is of kind {kind}, for which this build has no executor; run a newer worker"
                )))
            }
        }
    }

    /// The kind of the task.
    pub(crate) fn kind(&self) -> TaskKind {
        match self {
            Self::Search(_) => TaskKind::HyperparameterOptimization,
            Self::Run(_) => TaskKind::Backtest,
        }
    }

    /// What its objective has to know for the trial of this number, and all others that see the same
    /// days.
    pub(crate) fn subject(&self, number: u32) -> Subject {
        match self {
            Self::Search(spec) => Subject::of_trial(spec, number),
            Self::Run(run) => Subject::from(&**run),
        }
    }

    /// What stops its trials early, if anything does.
    pub(crate) fn pruning(&self) -> Result<Option<Pruning>, UnreadableSpec> {
        match self {
            Self::Search(spec) => {
                let pruner = spec.pruner()?;
                Ok(pruner.map(|pruner| Pruning::of(spec, pruner)))
            }
            Self::Run(_) => Ok(None),
        }
    }

    /// The symbols whose bars it reads: the stock codes, then their partners.
    pub(crate) fn symbols(&self) -> Vec<String> {
        let (codes, pairs) = match self {
            Self::Search(spec) => (&spec.stock_codes, &spec.pairs),
            Self::Run(run) => (&run.stock_codes, &run.pairs),
        };
        let mut symbols = codes.clone();
        for partner in pairs.values() {
            if !symbols.contains(partner) {
                symbols.push(partner.clone());
            }
        }
        symbols
    }

    /// The point as it is stored; a run's is empty, since its parameters are part of the task.
    pub(crate) fn pack(&self, point: &Point) -> Vec<u8> {
        match self {
            Self::Search(spec) => spec.space.pack(point),
            Self::Run(_) => Vec::new(),
        }
    }

    /// The point that [`Self::pack`] made bytes of.
    pub(crate) fn unpack(&self, packed: &[u8]) -> Result<Point, UnpackError> {
        match self {
            Self::Search(spec) => spec.space.unpack(packed),
            Self::Run(_) => Ok(Point::new(Vec::new())),
        }
    }

    /// The end of a trial that failed outside its evaluation.
    pub(crate) fn failed(&self, outcome: Outcome) -> Evaluated {
        match self {
            Self::Search(_) => Evaluated::outcome(outcome),
            Self::Run(spec) => run::ended(spec, outcome, None),
        }
    }

    /// Evaluates a trial; a run reports nothing.
    pub(crate) fn evaluate(
        &self,
        objective: &Objective,
        point: &Point,
        stop: &StopSource<'_>,
        worker: &str,
        watched: Option<Watched<'_>>,
    ) -> Result<Evaluated, Interrupted> {
        match (self, watched) {
            (Self::Search(spec), Some(Watched { order, prunes })) => {
                let parameters: BTreeMap<String, Choice> = spec.named(point);
                let (outcome, reports) =
                    objective.evaluate_reporting(&parameters, stop, worker, order, prunes)?;
                Ok(Evaluated {
                    outcome,
                    reports: Some(reports),
                    document: None,
                })
            }
            (Self::Search(spec), None) => {
                let parameters: BTreeMap<String, Choice> = spec.named(point);
                objective
                    .evaluate(&parameters, stop, worker)
                    .map(Evaluated::outcome)
            }
            (Self::Run(spec), _) => run::evaluate(spec, objective, stop, worker),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::sphere_spec;
    use trialmill_common::spec::RecordedTrial;
    use trialmill_common::state::{TaskId, TrialEnd};
    use trialmill_common::trial::{Failure, FailureKind};
    use trialmill_search::{History, Method, Study};

    #[test]
    fn a_replay_that_fails_outside_its_evaluation_is_compared_as_well() {
        let spec = sphere_spec();
        let study = Study::new(spec.space.clone(), Method::Random, 1).unwrap();
        let point = study.ask(&History::EMPTY, 0).unwrap();
        let record = |end, failure| RecordedTrial {
            end,
            values: Vec::new(),
            infeasible: None,
            failure,
        };
        let died = || {
            Outcome::Failed(Failure {
                kind: FailureKind::WorkerCrashed,
                message: "its process died 3 times".to_owned(),
                causes: Vec::new(),
                hint: String::new(),
                worker: "here".to_owned(),
            })
        };
        let same = record(TrialEnd::Failed, Some(FailureKind::WorkerCrashed));
        let other = record(TrialEnd::Failed, Some(FailureKind::TrialTimeout));
        for (record, identical) in [(same, true), (other, false)] {
            let task = TaskId(uuid::Uuid::from_u128(1));
            let run = RunSpec::replaying(task, &spec, 0, &point, record);
            let evaluated = Job::Run(Arc::new(run)).failed(died());
            let Outcome::Completed(evaluation) = evaluated.outcome else {
                panic!("the comparison is a result, not {:?}", evaluated.outcome);
            };
            let reason = evaluation.infeasible.expect("it may not win");
            assert_eq!(reason, "the trial failed: its process died 3 times");
            let comparison = &evaluated.document.expect("it has a document")["replay"];
            assert_eq!(comparison["identical"], identical);
            assert_eq!(comparison["replayed"]["failure"], "worker_crashed");
        }
        let search = Job::Search(Arc::new(spec)).failed(died());
        assert!(matches!(search.outcome, Outcome::Failed(_)));
        assert!(search.document.is_none());
    }
}
