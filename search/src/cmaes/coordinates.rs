//! The parameters of a space, sorted by how CMA-ES treats them.

use crate::axis::Axis;
use crate::point::{ParamValue, Point};
use crate::space::Space;

/// The parameters with more than one value: numbers, which share a normal distribution, and
/// categories. Conditional ones are among them; where one is absent, it says nothing.
#[derive(Debug, Clone)]
pub(super) struct Coordinates {
    /// Parameters of a single value.
    fixed: Vec<(usize, ParamValue)>,
    /// Positions and axes (lines and lattices).
    pub(super) numbers: Vec<(usize, Axis)>,
    /// Positions and how many choices there are.
    pub(super) choices: Vec<(usize, usize)>,
}

impl Coordinates {
    pub(super) fn of(space: &Space) -> Self {
        let mut coordinates = Self {
            fixed: Vec::new(),
            numbers: Vec::new(),
            choices: Vec::new(),
        };
        for (position, parameter) in space.parameters().iter().enumerate() {
            let domain = parameter.domain();
            match Axis::of(domain) {
                None => coordinates.fixed.push((position, domain.value_at(0))),
                Some(Axis::Choices(_)) => {
                    let count = domain.size().expect("choices are counted");
                    let count = usize::try_from(count).expect("at most MAX_CHOICES");
                    coordinates.choices.push((position, count));
                }
                Some(axis) => coordinates.numbers.push((position, axis)),
            }
        }
        coordinates
    }

    /// How many parameters there is something to choose for.
    pub(super) fn dimensions(&self) -> usize {
        self.numbers.len() + self.choices.len()
    }

    /// How many of them have separate values.
    pub(super) fn discrete(&self) -> usize {
        let lattices = self.numbers.iter();
        let lattices = lattices.filter(|(_, axis)| matches!(axis, Axis::Lattice(_)));
        lattices.count() + self.choices.len()
    }

    /// The point of these places (parts of the ranges, steps or not) and choices.
    pub(super) fn point(&self, space: &Space, places: &[f64], choices: &[usize]) -> Point {
        let mut values = vec![ParamValue::Absent; space.parameters().len()];
        for (position, value) in &self.fixed {
            values[*position] = *value;
        }
        for ((position, axis), place) in self.numbers.iter().zip(places) {
            values[*position] = match axis {
                Axis::Lattice(lattice) => axis.value(lattice.nearest(*place)),
                Axis::Line(_) | Axis::Choices(_) => axis.value(place.clamp(0.0, 1.0)),
            };
        }
        for ((position, _), choice) in self.choices.iter().zip(choices) {
            let index = u32::try_from(*choice).expect("at most MAX_CHOICES");
            values[*position] = ParamValue::Category(index);
        }
        space.without_inactive(values)
    }

    /// The choices of a point.
    pub(super) fn choices_of(&self, point: &Point) -> Vec<Option<usize>> {
        let values = self
            .choices
            .iter()
            .map(|(position, _)| point.values()[*position]);
        let choices = values.map(|value| match value {
            ParamValue::Category(index) => Some(index as usize),
            _ => None,
        });
        choices.collect()
    }
}
