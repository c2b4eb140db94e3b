//! Trials with their points unpacked, as the measures and pictures of the search crate take them.

use super::trials::Trials;
use crate::problem::Problem;
use trialmill_common::spec::TaskSpec;
use trialmill_search::Point;
use trialmill_search::importance::Observed;

/// A trial with its point and its costs.
struct Pointed {
    number: u32,
    point: Point,
    costs: Vec<f64>,
}

/// The trials of a search.
pub(super) struct Points(Vec<Pointed>);

impl Points {
    pub(super) fn of(spec: &TaskSpec, trials: Trials) -> Result<Self, Problem> {
        let unpacked = trials.feasible.into_iter().map(|trial| {
            let point = spec.space.unpack(&trial.params).map_err(|error| {
                tracing::error!(error = %error, "a stored trial is unreadable");
                Problem::internal()
            })?;
            Ok(Pointed {
                number: trial.number,
                point,
                costs: trial.costs,
            })
        });
        Ok(Self(unpacked.collect::<Result<_, Problem>>()?))
    }

    /// The trials with their costs of an objective, by its place.
    pub(super) fn observed(&self, objective: usize) -> Vec<Observed<'_>> {
        let each = self.0.iter().map(|trial| Observed {
            number: trial.number,
            point: &trial.point,
            value: trial.costs[objective],
        });
        each.collect()
    }
}
