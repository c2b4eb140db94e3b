//! Trials that a study asked for itself.

use std::collections::BTreeSet;
use trialmill_search::{
    FinishedTrial, History, LastReport, Point, RunningTrial, Space, Stream, Study, TrialEnd,
};

/// Trials that a study asked for itself, each ended as it was said; some still run.
pub struct Searched {
    pub finished: Vec<FinishedTrial>,
    pub running: Vec<RunningTrial>,
}

impl Searched {
    /// So many trials, of which each `width`-th keeps running: none for 0.
    pub fn by(
        study: &Study,
        trials: u32,
        width: u32,
        end: impl Fn(u32, &Point) -> TrialEnd,
    ) -> Self {
        let mut searched = Self {
            finished: Vec::new(),
            running: Vec::new(),
        };
        for number in 0..trials {
            let Some(point) = study.ask(&searched.history(), number) else {
                break;
            };
            if width > 0 && number % width == width - 1 {
                searched.running.push(RunningTrial { number, point });
            } else {
                let end = end(number, &point);
                searched.finished.push(FinishedTrial { number, point, end });
            }
        }
        searched
    }

    pub fn history(&self) -> History<'_> {
        History {
            finished: &self.finished,
            running: &self.running,
        }
    }

    pub fn points(&self) -> Vec<&Point> {
        let finished = self.finished.iter().map(|trial| &trial.point);
        let running = self.running.iter().map(|trial| &trial.point);
        finished.chain(running).collect()
    }

    /// The least first cost.
    pub fn best(&self) -> f64 {
        let costs = self.finished.iter().map(|trial| match &trial.end {
            TrialEnd::Completed(costs) => costs[0],
            _ => f64::INFINITY,
        });
        costs.fold(f64::INFINITY, f64::min)
    }

    /// Every point is allowed and came once.
    pub fn assert_sound(&self, space: &Space) {
        let points = self.points();
        for point in &points {
            assert_eq!(space.check_allowed(point), Ok(()), "{point:?}");
        }
        let packed: BTreeSet<Vec<u8>> = points.iter().map(|point| space.pack(point)).collect();
        assert_eq!(packed.len(), points.len(), "a point came twice");
    }
}

/// A study that gives no point twice asks for `trials` different points of its space, or for all that there are.
pub fn assert_every_point_is_new(study: &Study, trials: u32) {
    let searched = Searched::by(study, trials, 4, |number, _| any_end(number));
    searched.assert_sound(study.space());
    let expected = study
        .size_limit()
        .unwrap_or(u64::MAX)
        .min(u64::from(trials));
    assert_eq!(searched.points().len() as u64, expected);
}

/// The next point is the same whatever the order in which the history lists its trials, and when the study is
/// made anew.
pub fn assert_order_does_not_matter(
    make: impl Fn() -> Study,
    trials: u32,
    end: impl Fn(u32) -> TrialEnd,
) {
    let study = make();
    let mut searched = Searched::by(&study, trials, 4, |number, _| end(number));
    let before = study.ask(&searched.history(), trials);
    searched.finished.reverse();
    let turn = 3.min(searched.finished.len());
    searched.finished.rotate_left(turn);
    searched.running.reverse();
    assert_eq!(make().ask(&searched.history(), trials), before);
}

/// An end that depends on the number alone, of every kind.
pub fn any_end(number: u32) -> TrialEnd {
    let value = Stream::for_study(u64::from(number), "ends").unit_f64();
    match number % 9 {
        0..5 => TrialEnd::completed(vec![value]),
        5 => TrialEnd::Pruned(None),
        6 => TrialEnd::Pruned(Some(LastReport {
            step: number % 4,
            cost: if number.is_multiple_of(5) {
                f64::NAN
            } else {
                value
            },
        })),
        7 => TrialEnd::Infeasible { violation: value },
        _ => TrialEnd::Failed,
    }
}
