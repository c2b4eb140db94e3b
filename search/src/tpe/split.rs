//! Which trials count as good.

use super::several;
use crate::history::{History, TrialEnd};
use crate::point::Point;
use crate::standing::Standing;

/// The most trials in the good set.
const MOST_GOOD: usize = 25;

/// The trials before, divided into good and bad, each in the order of their numbers.
#[derive(Debug, PartialEq)]
pub(super) struct Split<'a> {
    /// The best tenth of the finished trials, rounded up, at most 25.
    pub(super) good: Vec<(u32, &'a Point)>,
    /// The other finished trials and all that are running: a worker keeps away from where others
    /// are already looking ("constant liar").
    pub(super) bad: Vec<(u32, &'a Point)>,
}

impl<'a> Split<'a> {
    /// How many finished trials say something: all but the failed ones.
    pub(super) fn informative(history: &History<'_>) -> usize {
        let trials = history.finished.iter();
        trials.filter(|trial| trial.end != TrialEnd::Failed).count()
    }

    /// Divides a history as Optuna 5.0 does (`_split_trials`), whatever the order in which it lists
    /// the trials. Trial `asking` itself is left out of the running ones.
    pub(super) fn of(history: &History<'a>, asking: u32) -> Self {
        let count = Self::informative(history).div_ceil(10).min(MOST_GOOD);
        let best = several::objectives(history)
            .map(|objectives| several::best(history.finished, objectives, count));
        let mut ranked: Vec<(Standing, &Point)> = history
            .finished
            .iter()
            .filter_map(|trial| Some((Standing::among(trial, best.as_deref())?, &trial.point)))
            .collect();
        // Next to nothing where they are in order already, as they mostly are.
        ranked.sort_by_key(|(standing, _)| standing.number);
        let mut split = Self {
            good: Vec::new(),
            bad: Vec::with_capacity(ranked.len() + history.running.len()),
        };
        let worst_good = count.checked_sub(1).map(|last| {
            let mut standings: Vec<Standing> =
                ranked.iter().map(|(standing, _)| *standing).collect();
            *standings.select_nth_unstable_by(last, Standing::compare).1
        });
        for (standing, point) in ranked {
            let good = worst_good.is_some_and(|worst| standing.compare(&worst).is_le());
            let set = if good {
                &mut split.good
            } else {
                &mut split.bad
            };
            set.push((standing.number, point));
        }
        let running = history.running.iter();
        let running = running.filter(|trial| trial.number != asking);
        split
            .bad
            .extend(running.map(|trial| (trial.number, &trial.point)));
        split.bad.sort_by_key(|(number, _)| *number);
        split
    }
}
