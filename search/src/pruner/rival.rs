//! The other trials of the study, and the question that is put to a pruner.

use super::reports::{Curve, Reports};
use crate::history::TrialEnd;

/// Another trial of the study with what it has reported.
#[derive(Debug, Clone, Copy)]
pub struct Rival<'a> {
    /// Its number within the study.
    pub number: u32,
    /// What it reported, all of it or as much as is known yet.
    pub reports: &'a Reports,
    /// How it ended; `None` while it is running.
    pub end: Option<&'a TrialEnd>,
}

impl Rival<'_> {
    /// Whether it ran to its end, feasible or not.
    pub(super) fn is_completed(&self) -> bool {
        matches!(
            self.end,
            Some(TrialEnd::Completed(_) | TrialEnd::Infeasible { .. })
        )
    }

    pub(super) fn is_pruned(&self) -> bool {
        matches!(self.end, Some(TrialEnd::Pruned(_)))
    }
}

/// Which rivals a pruner reads. The store loads no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RivalNeed {
    /// None: a trial's own reports decide.
    None,
    /// Those that ran to their end, infeasible ones among them.
    Completed,
    /// Those, and also pruned, failed and running ones.
    All,
}

/// Whether a trial should stop, for one objective.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) own: Curve<'a>,
    pub(super) rivals: &'a [Rival<'a>],
    pub(super) objective: usize,
    pub(super) seed: u64,
    pub(super) number: u32,
}

impl<'a> Question<'a> {
    /// The rivals with their reports of this objective.
    pub(super) fn rivals(
        &self,
    ) -> impl Iterator<Item = (&'a Rival<'a>, Curve<'a>)> + Clone + use<'a> {
        let (objective, number) = (self.objective, self.number);
        let others = self.rivals.iter().filter(move |one| one.number != number);
        others.map(move |one| (one, one.reports.curve(objective)))
    }

    /// The reports of the rivals that ran to their end.
    pub(super) fn completed(&self) -> impl Iterator<Item = Curve<'a>> + Clone + use<'a> {
        let completed = self.rivals().filter(|(rival, _)| rival.is_completed());
        completed.map(|(_, curve)| curve)
    }

    /// The largest last step of the rivals that ran to their end.
    pub(super) fn longest_completed(&self) -> Option<u32> {
        self.completed()
            .filter_map(|curve| Some(curve.last()?.0))
            .max()
    }

    /// The reports of the feasible rival with the least final cost, of the first one where several have
    /// it.
    pub(super) fn best(&self) -> Option<Curve<'a>> {
        let finals = self.rivals().filter_map(|(rival, curve)| match rival.end {
            Some(TrialEnd::Completed(costs)) => {
                let cost = *costs.get(self.objective)?;
                // Adding 0 makes the two zeros equal, which the order of all floats is not.
                (!cost.is_nan()).then_some((cost + 0.0, rival.number, curve))
            }
            _ => None,
        });
        let best = finals.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        best.map(|(_, _, curve)| curve)
    }
}
