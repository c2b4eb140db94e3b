//! The points of a space that can be listed.

use std::ops::ControlFlow;

use crate::domain::Domain;
use crate::point::{ParamValue, Point};
use crate::space::{Parameter, Space};
use crate::stream::Stream;

/// The largest grid: the most trials a task may have, and 8 MB for the order of visits.
pub const MAX_GRID_POINTS: u64 = 1_000_000;

/// The most work to list the points of a space: points (allowed or not) times the values and
/// operators of all conditions and constraints. One or two seconds.
pub const MAX_LISTING_WORK: u64 = 50_000_000;

/// Every allowed point of a space without floats that lack a step, each once, as a number.
///
/// A point's code is a mixed-radix number: the digits are the positions of the parameters' values,
/// the last parameter's digit counts least, and an absent parameter has the digit 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lattice {
    codes: Vec<u64>,
}

impl Lattice {
    /// The allowed points in the order of their codes. `None` when the space has a float without
    /// step, when it has more than [`most_points`] points (allowed or not), or when the product of
    /// the sizes of all its parameters is beyond 64 bits.
    pub(crate) fn new(space: &Space) -> Option<Self> {
        let product = u64::try_from(size_of_bounded(space)).ok()?;
        let most = most_points(space);
        if space.parameters().iter().any(is_endless) || product > most && !is_conditional(space) {
            return None;
        }
        let mut codes = Vec::new();
        let mut size = 0;
        let listed = visit(space, &mut |code, values| {
            size += 1;
            if size > most {
                return ControlFlow::Break(());
            }
            if space.first_broken(values).is_none() {
                codes.push(code);
            }
            ControlFlow::Continue(())
        });
        if listed.is_break() {
            return None;
        }
        codes.sort_unstable();
        codes.shrink_to_fit();
        Some(Self { codes })
    }

    /// In an order that follows from the seed alone (Fisher-Yates).
    pub(crate) fn shuffled(mut self, seed: u64) -> Self {
        let mut stream = Stream::for_study(seed, "grid_order");
        for last in (1..self.codes.len()).rev() {
            let other = usize::try_from(stream.below(last as u64 + 1))
                .expect("a draw not above `last` fits what `last` fits");
            self.codes.swap(last, other);
        }
        self
    }

    /// Without the points whose codes are left out by `keeps`.
    pub(crate) fn retain(&mut self, keeps: impl Fn(u64) -> bool) {
        self.codes.retain(|code| keeps(*code));
    }

    pub(crate) fn codes(&self) -> &[u64] {
        &self.codes
    }
}

/// The most points (allowed or not) of a space that is listed: [`MAX_GRID_POINTS`], and fewer where
/// that would take more than [`MAX_LISTING_WORK`].
pub(crate) fn most_points(space: &Space) -> u64 {
    let nodes = space.expression_nodes().max(1) as u64;
    MAX_GRID_POINTS.min(MAX_LISTING_WORK / nodes)
}

/// Whether a parameter has a condition: then not every combination of values is a point.
pub(crate) fn is_conditional(space: &Space) -> bool {
    space.parameters().iter().any(|p| p.when().is_some())
}

/// The product of the sizes of all parameters that have one; `u128::MAX` if it is beyond that.
pub(crate) fn size_of_bounded(space: &Space) -> u128 {
    let sizes = space.parameters().iter().map(digits);
    sizes.fold(1, |product: u128, size| {
        product.saturating_mul(u128::from(size))
    })
}

/// Whether the space has at most [`most_points`] points, allowed or not, where a float without step
/// counts as one value. Counts only when conditions decide it, and no further than the limit.
pub(crate) fn is_small(space: &Space) -> bool {
    let most = most_points(space);
    if size_of_bounded(space) <= u128::from(most) {
        return true;
    }
    if !is_conditional(space) {
        return false;
    }
    let mut size = 0;
    let counted = visit(space, &mut |_, _| {
        size += 1;
        if size > most {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    counted.is_continue()
}

/// The number that stands for a point of `space`, which must be listable.
pub(crate) fn code_of(space: &Space, point: &Point) -> u64 {
    let parameters = space.parameters().iter().zip(point.values());
    parameters.fold(0_u64, |code, (parameter, value)| {
        let digit = parameter.domain().position_of(*value).unwrap_or(0);
        code.wrapping_mul(digits(parameter)).wrapping_add(digit)
    })
}

/// The point that a number stands for.
pub(crate) fn point_of(space: &Space, code: u64) -> Point {
    let mut rest = code;
    let mut values: Vec<ParamValue> = space
        .parameters()
        .iter()
        .rev()
        .map(|parameter| {
            let size = digits(parameter);
            let value = digit_value(parameter, rest % size);
            rest /= size;
            value
        })
        .collect();
    values.reverse();
    space.without_inactive(values)
}

fn is_endless(parameter: &Parameter) -> bool {
    parameter.domain().size().is_none()
}

fn digits(parameter: &Parameter) -> u64 {
    parameter.domain().size().unwrap_or(1)
}

/// An endless float stands at its low end while the others are counted.
fn digit_value(parameter: &Parameter, digit: u64) -> ParamValue {
    match parameter.domain() {
        Domain::Float { low, .. } if is_endless(parameter) => ParamValue::Float(*low),
        domain => domain.value_at(digit),
    }
}

/// What is shown each point: its code (meaningless where the product of the sizes is beyond 64
/// bits) and its values.
type Visitor<'a> = dyn FnMut(u64, &[ParamValue]) -> ControlFlow<()> + 'a;

/// Shows every point once, absent parameters taken into account, until `found` breaks off.
fn visit(space: &Space, found: &mut Visitor<'_>) -> ControlFlow<()> {
    let mut weights = vec![1_u64; space.parameters().len()];
    for position in (1..weights.len()).rev() {
        let size = digits(&space.parameters()[position]);
        weights[position - 1] = weights[position].wrapping_mul(size);
    }
    let mut values = vec![ParamValue::Absent; weights.len()];
    visit_from(space, 0, &weights, &mut values, 0, found)
}

/// Runs through the parameters from `depth` of the active order on. At most 100 deep.
fn visit_from(
    space: &Space,
    depth: usize,
    weights: &[u64],
    values: &mut Vec<ParamValue>,
    code: u64,
    found: &mut Visitor<'_>,
) -> ControlFlow<()> {
    let Some(&position) = space.active_order().get(depth) else {
        return found(code, values);
    };
    if !space.is_active(position, values) {
        values[position] = ParamValue::Absent;
        return visit_from(space, depth + 1, weights, values, code, found);
    }
    let parameter = &space.parameters()[position];
    for digit in 0..digits(parameter) {
        values[position] = digit_value(parameter, digit);
        let code = code.wrapping_add(digit.wrapping_mul(weights[position]));
        visit_from(space, depth + 1, weights, values, code, found)?;
    }
    ControlFlow::Continue(())
}
