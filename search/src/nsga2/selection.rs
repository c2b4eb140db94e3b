//! Who lives on, and who has children.

use std::cmp::Ordering;

use crate::pareto::{Merit, crowding_distances, fronts};
use crate::point::Point;
use crate::stream::Stream;

/// A parent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Individual<'a> {
    /// How its trial ended.
    pub(super) merit: Merit<'a>,
    /// What its trial evaluated.
    pub(super) point: &'a Point,
    /// The number of its front, the best being 0.
    rank: usize,
    /// Its crowding distance on that front.
    room: f64,
}

impl Individual<'_> {
    /// The crowded comparison (Deb et al. 2002, section III-B): the better front first, then more room.
    fn compare(&self, other: &Self) -> Ordering {
        self.rank
            .cmp(&other.rank)
            .then(other.room.total_cmp(&self.room))
    }
}

/// The best `count` of `all`, the best first; of equals the ones that come first in `all`.
pub(super) fn survivors<'a>(all: &[(Merit<'a>, &'a Point)], count: usize) -> Vec<Individual<'a>> {
    let merits: Vec<Merit<'a>> = all.iter().map(|(merit, _)| *merit).collect();
    let mut chosen = Vec::with_capacity(all.len());
    for (rank, front) in fronts(&merits).into_iter().enumerate() {
        if chosen.len() >= count {
            break;
        }
        let costs: Vec<&[f64]> = front
            .iter()
            .map(|at| match merits[*at] {
                Merit::Feasible(costs) => costs,
                Merit::Infeasible(_) => &[],
            })
            .collect();
        let rooms = crowding_distances(&costs);
        let members = front.iter().zip(rooms).map(|(at, room)| Individual {
            merit: merits[*at],
            point: all[*at].1,
            rank,
            room,
        });
        chosen.extend(members);
    }
    // Stable, so equals stay in their order.
    chosen.sort_by(Individual::compare);
    chosen.truncate(count);
    chosen
}

/// The better of two drawn at random; of equals the one drawn first.
pub(super) fn tournament<'a>(parents: &[Individual<'a>], stream: &mut Stream) -> &'a Point {
    let mut draw = || {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below the length of a slice"
        )]
        let at = stream.below(parents.len() as u64) as usize;
        parents[at]
    };
    let (first, second) = (draw(), draw());
    if second.compare(&first).is_lt() {
        second.point
    } else {
        first.point
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(merits: &[Merit<'static>], count: usize) -> Vec<usize> {
        let points: Vec<Point> = merits.iter().map(|_| Point::new(Vec::new())).collect();
        let all: Vec<(Merit<'_>, &Point)> = merits.iter().copied().zip(&points).collect();
        let place = |own: &Individual<'_>| points.iter().position(|p| std::ptr::eq(p, own.point));
        let survivors = survivors(&all, count);
        survivors.iter().filter_map(place).collect()
    }

    #[test]
    fn better_fronts_survive_and_of_the_last_those_with_most_room() {
        let merits = [
            Merit::Infeasible(1.0),
            Merit::Feasible(&[0.0, 9.0]),
            Merit::Feasible(&[1.0, 8.0]),
            Merit::Feasible(&[2.0, 7.0]),
            Merit::Feasible(&[6.0, 2.0]),
            Merit::Feasible(&[9.0, 0.0]),
            Merit::Feasible(&[9.0, 9.0]),
            Merit::Infeasible(0.5),
        ];
        assert_eq!(chosen(&merits, 3), [1, 5, 4]);
        assert_eq!(chosen(&merits, 8), [1, 5, 4, 3, 2, 6, 7, 0]);
        assert_eq!(chosen(&merits[..1], 50), [0]);
    }

    #[test]
    fn of_one_objective_the_smallest_costs_survive() {
        let merits = [
            Merit::Feasible(&[3.0]),
            Merit::Feasible(&[1.0]),
            Merit::Feasible(&[2.0]),
            Merit::Feasible(&[1.0]),
        ];
        assert_eq!(chosen(&merits, 3), [1, 3, 2]);
    }
}
