//! Which parameters matter.

use super::observed::Points;
use crate::answer::{ParameterImportance, TargetImportance};
use trialmill_common::spec::TaskSpec;
use trialmill_search::importance::{
    FanovaOptions, Importance, ImportanceFault, Observed, PedAnovaOptions, fanova, ped_anova,
};

/// How importance is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::tasks) enum Measure {
    PedAnova,
    Fanova,
}

impl Measure {
    pub(in crate::tasks) const NAMES: [&str; 2] = ["ped_anova", "fanova"];

    pub(in crate::tasks) fn name(self) -> &'static str {
        match self {
            Self::PedAnova => Self::NAMES[0],
            Self::Fanova => Self::NAMES[1],
        }
    }
}

impl std::str::FromStr for Measure {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::PedAnova, Self::Fanova]
            .into_iter()
            .find(|measure| measure.name() == name)
            .ok_or(())
    }
}

/// The parameters by importance for one objective, by its place.
pub(super) fn parameters(
    spec: &TaskSpec,
    observed: &[Observed<'_>],
    measure: Measure,
) -> Result<Vec<Importance>, ImportanceFault> {
    match measure {
        Measure::PedAnova => ped_anova(&spec.space, observed, &PedAnovaOptions::default()),
        Measure::Fanova => {
            let options = FanovaOptions {
                seed: spec.seed,
                ..FanovaOptions::default()
            };
            fanova(&spec.space, observed, &options)
        }
    }
}

/// The same as it is told, of the objectives at these places.
pub(super) fn importance(
    spec: &TaskSpec,
    points: &Points,
    objectives: &[usize],
    measure: Measure,
) -> Vec<TargetImportance> {
    let told = |place: &usize| {
        let found = parameters(spec, &points.observed(*place), measure);
        let (parameters, reason) = match found {
            Ok(found) => (Some(found), None),
            Err(ImportanceFault::SameValue { trials, value }) => {
                let target = &spec.objectives[*place];
                // The library's words are of costs.
                let value = target.direction.cost(value);
                let reason = format!(
                    "all {trials} completed trials have the {} {value:?}; no parameter makes a difference",
                    target.metric
                );
                (None, Some(reason))
            }
            Err(fault) => (None, Some(fault.to_string())),
        };
        let parameter = |one: Importance| ParameterImportance {
            name: one.name,
            share: one.share,
            value: one.value,
        };
        TargetImportance {
            metric: spec.objectives[*place].metric.clone(),
            parameters: parameters.map(|all| all.into_iter().map(parameter).collect()),
            reason,
        }
    };
    objectives.iter().map(told).collect()
}
