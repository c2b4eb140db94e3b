//! TPE: the tree-structured Parzen estimator, multivariate, as Optuna 5.0 has it.

mod axis;
mod bandwidth;
mod candidates;
mod normal;
mod parzen;
mod split;

#[cfg(test)]
mod oracle;

use candidates::{Candidates, Densities, Group};
use split::Split;

use crate::history::History;
use crate::point::Point;
use crate::random::Random;
use crate::sampler::{HistoryNeed, Sampler};
use crate::space::Space;
use crate::stream::Stream;

/// Finished trials, failed ones aside, before which points are drawn at random.
const START_UP: usize = 10;

/// How often candidates are drawn anew when every one is known.
const ROUNDS: usize = 10;

/// The tree-structured Parzen estimator (Bergstra et al., "Algorithms for hyper-parameter
/// optimization", 2011) in the form and with the constants of Optuna 5.0's default `TPESampler`.
///
/// The best tenth of the finished trials (at most 25) are good; the others, and the running ones, are bad.
/// A density is laid over each set; 24 candidates are drawn from that of the good ones, and the one
/// where good is likeliest against bad is taken. A density covers all parameters at once; with
/// conditional parameters, those that are present together share a pair of densities made from the
/// trials that had them (Optuna's `group=True`).
///
/// - While fewer than 10 trials have finished (failed ones not counted), points are those of
///   [`Random`]. With more workers more trials are drawn so: a trial counts when it has ended.
/// - Pruned trials rank behind completed ones; infeasible ones last, by how infeasible they are.
/// - Running trials count as bad, so that workers asking at one time spread out.
/// - Candidates that break a constraint are drawn again, and a point of the known history is not given
///   again; if nothing is left after 10 rounds, the point is what [`Random`] gives.
/// - The point follows from space, history, seed and number alone; the order in which the history
///   lists trials does not matter.
///
/// One objective only: of several costs it reads the first.
#[derive(Debug, Clone, Copy)]
pub struct Tpe;

impl Sampler for Tpe {
    fn history_need(&self) -> HistoryNeed {
        HistoryNeed::All
    }

    fn size_limit(&self) -> Option<u64> {
        None
    }

    fn ask(&self, space: &Space, history: &History<'_>, seed: u64, number: u32) -> Option<Point> {
        if Split::informative(history) < START_UP {
            return Random.ask(space, history, seed, number);
        }
        let split = Split::of(history, number);
        let groups = Group::all(space);
        let densities: Vec<Densities<'_>> = groups
            .iter()
            .map(|group| Densities::of(group, &split))
            .collect();
        let mut stream = Stream::for_sampler(seed, number, "tpe");
        for _ in 0..ROUNDS {
            let candidates = Candidates::draw(space, &densities, &mut stream);
            let unknown = candidates
                .points()
                .find(|point| !is_known(history, number, point));
            if unknown.is_some() {
                return unknown;
            }
        }
        Random.ask(space, history, seed, number)
    }
}

/// Whether a trial other than `asking` has this point.
fn is_known(history: &History<'_>, asking: u32, point: &Point) -> bool {
    let finished = history.finished.iter().map(|trial| &trial.point);
    let running = history.running.iter();
    let running = running.filter(|trial| trial.number != asking);
    finished
        .chain(running.map(|trial| &trial.point))
        .any(|known| known == point)
}
