//! Points as rows of coordinates.

use super::kernel::{ABSENT, Kind};
use crate::axis::{Axis, Lattice};
use crate::point::{ParamValue, Point};
use crate::space::Space;
use crate::stream::Stream;

/// A lattice of more cells than this is searched as a line first.
const MANY_CELLS: u64 = 32;

/// The farthest that a lattice is searched for a better cell at once, in cells.
const FARTHEST: f64 = 64.0;

/// How points of a space become rows: one coordinate per parameter with more than one value.
///
/// | parameter | coordinate |
/// |---|---|
/// | float | part of the range, of the logarithm where the domain says so |
/// | float with a step, int | the middle of its cell, on the same scale |
/// | categorical | the number of the choice |
/// | absent | [`ABSENT`] |
///
/// A *draft* is a row without absent coordinates: it has one also for the parameters whose
/// condition does not hold, in case that changes.
#[derive(Debug)]
pub(super) struct Encoding<'a> {
    space: &'a Space,
    /// What parameters of a single value have, and [`ParamValue::Absent`] for the others.
    fixed: Vec<ParamValue>,
    positions: Vec<usize>,
    axes: Vec<Axis>,
    /// Whether every row is an allowed point without absent parameters.
    plain: bool,
}

impl<'a> Encoding<'a> {
    pub(super) fn of(space: &'a Space) -> Self {
        let mut encoding = Self {
            space,
            fixed: Vec::new(),
            positions: Vec::new(),
            axes: Vec::new(),
            plain: space.constraints().is_empty()
                && space
                    .parameters()
                    .iter()
                    .all(|parameter| parameter.when().is_none()),
        };
        for (position, parameter) in space.parameters().iter().enumerate() {
            encoding.fixed.push(match Axis::of(parameter.domain()) {
                Some(axis) => {
                    encoding.positions.push(position);
                    encoding.axes.push(axis);
                    ParamValue::Absent
                }
                None => parameter.domain().value_at(0),
            });
        }
        encoding
    }

    pub(super) fn axes(&self) -> &[Axis] {
        &self.axes
    }

    pub(super) fn kinds(&self) -> Vec<Kind> {
        let kinds = self.axes.iter().map(|axis| match axis {
            Axis::Line(_) | Axis::Lattice(_) => Kind::Number,
            Axis::Choices(_) => Kind::Choice,
        });
        kinds.collect()
    }

    /// The axes along which values change smoothly, or nearly so.
    pub(super) fn smooth(&self) -> Vec<usize> {
        let smooth = |axis: &Axis| match axis {
            Axis::Line(_) => true,
            Axis::Lattice(lattice) => lattice.size() > MANY_CELLS,
            Axis::Choices(_) => false,
        };
        (0..self.axes.len())
            .filter(|at| smooth(&self.axes[*at]))
            .collect()
    }

    /// The row of a point of the space.
    pub(super) fn row(&self, point: &Point) -> Vec<f64> {
        let both = self.axes.iter().zip(&self.positions);
        let coordinates = both.map(|(axis, position)| {
            let place = axis.place(point.values()[*position]);
            place.map_or(ABSENT, |place| coordinate(axis, place))
        });
        coordinates.collect()
    }

    /// The nearest coordinate that a value has.
    pub(super) fn snapped(&self, axis: usize, at: f64) -> f64 {
        match &self.axes[axis] {
            Axis::Line(_) => at.clamp(0.0, 1.0),
            Axis::Lattice(lattice) => lattice.middle(lattice.nearest(at)),
            Axis::Choices(_) => at,
        }
    }

    /// A coordinate drawn evenly.
    pub(super) fn draw(&self, axis: usize, stream: &mut Stream) -> f64 {
        let unit = stream.unit_f64();
        match &self.axes[axis] {
            Axis::Choices(count) => libm::floor(unit * count).min(count - 1.0),
            _ => self.snapped(axis, unit),
        }
    }

    /// The point of a draft.
    pub(super) fn point(&self, draft: &[f64]) -> Point {
        let mut values = self.fixed.clone();
        for ((axis, position), at) in self.axes.iter().zip(&self.positions).zip(draft) {
            values[*position] = axis.value(match axis {
                Axis::Lattice(lattice) => lattice.nearest(*at),
                Axis::Line(_) | Axis::Choices(_) => *at,
            });
        }
        self.space.without_inactive(values)
    }

    /// Writes the row of a draft; false where its point is not allowed.
    pub(super) fn write_row(&self, draft: &[f64], row: &mut [f64]) -> bool {
        row.copy_from_slice(draft);
        if self.plain {
            return true;
        }
        let point = self.point(draft);
        for (at, position) in row.iter_mut().zip(&self.positions) {
            if point.values()[*position].is_absent() {
                *at = ABSENT;
            }
        }
        self.space.allows(&point)
    }
}

fn coordinate(axis: &Axis, place: f64) -> f64 {
    match axis {
        Axis::Lattice(lattice) => lattice.middle(place),
        Axis::Line(_) | Axis::Choices(_) => place,
    }
}

/// The coordinates some cells away from one on a lattice: 1, 2, 4 and so on to either side.
pub(super) fn cells_away(lattice: &Lattice, at: f64) -> Vec<f64> {
    let (cell, last) = (lattice.nearest(at), lattice.size() as f64 - 1.0);
    let mut found = Vec::new();
    let mut away = 1.0;
    while away <= last && away <= FARTHEST {
        let both = [cell - away, cell + away].into_iter();
        let inside = both.filter(|cell| (0.0..=last).contains(cell));
        found.extend(inside.map(|cell| lattice.middle(cell)));
        away *= 2.0;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Choice, Domain, SpaceBuilder};

    #[test]
    fn rows_and_points_stand_for_each_other() {
        let float = |low, high, step, log| Domain::Float {
            low,
            high,
            step,
            log,
        };
        let kinds = ["a", "b"].map(|name| Choice::Text(name.to_owned()));
        let space = SpaceBuilder::default()
            .parameter("a_rate", float(1e-4, 1.0, None, true))
            .parameter("b_step", float(0.0, 1.0, Some(0.25), false))
            .parameter("c_fixed", float(2.0, 2.0, None, false))
            .parameter(
                "d_kind",
                Domain::Categorical {
                    choices: kinds.to_vec(),
                },
            )
            .conditional("e_depth", float(0.0, 4.0, None, false), "d_kind == 'b'")
            .constraint("b_step < 0.8")
            .build()
            .unwrap();
        let encoding = Encoding::of(&space);
        assert_eq!(encoding.smooth(), [0, 3]);
        let draft = [0.5, encoding.snapped(1, 0.45), 0.0, 0.25];
        assert!(
            (draft[1] - 0.5).abs() < 1e-15,
            "the middle of the third of five cells"
        );
        let point = encoding.point(&draft);
        let values = point.values();
        assert_eq!(
            values[1..4],
            [
                ParamValue::Float(0.5),
                ParamValue::Float(2.0),
                ParamValue::Category(0)
            ]
        );
        assert!(values[4].is_absent());
        let ParamValue::Float(rate) = values[0] else {
            panic!("{values:?}")
        };
        assert!((rate - 1e-2).abs() < 1e-15);
        let mut row = [0.0; 4];
        assert!(encoding.write_row(&draft, &mut row));
        assert_eq!(row[1..], [draft[1], 0.0, ABSENT]);
        let again = encoding.row(&point);
        assert!(row.iter().zip(again).all(|(a, b)| (a - b).abs() < 1e-14));
        let awake = encoding.point(&[0.5, draft[1], 1.0, 0.25]);
        assert_eq!(awake.values()[4], ParamValue::Float(1.0));
        assert!(!encoding.write_row(&[0.5, encoding.snapped(1, 1.0), 0.0, 0.0], &mut row));
    }

    #[test]
    fn cells_are_looked_for_on_both_sides_up_to_the_ends() {
        let int = Domain::Int {
            low: 1,
            high: 10,
            step: 1,
            log: false,
        };
        let space = SpaceBuilder::default().parameter("n", int).build().unwrap();
        let encoding = Encoding::of(&space);
        let Axis::Lattice(lattice) = &encoding.axes()[0] else {
            panic!("an int is a lattice")
        };
        let cells: Vec<f64> = cells_away(lattice, encoding.snapped(0, 0.25))
            .into_iter()
            .map(|at| lattice.nearest(at))
            .collect();
        assert_eq!(cells, [1.0, 3.0, 0.0, 4.0, 6.0]);
    }
}
