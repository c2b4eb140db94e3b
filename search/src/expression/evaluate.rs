//! What an expression comes to, and by how much it is broken.

use super::{Arithmetic, Comparison, Function, Literal, Node};
use crate::choice::Choice;

/// What a name stands for when an expression is evaluated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A number; NaN counts as [`Undefined`](Self::Undefined).
    Number(f64),
    /// A text.
    Text(&'a str),
    /// True or false.
    Bool(bool),
    /// The choice `null` of a categorical parameter, which equals itself.
    Null,
    /// No value: an absent parameter, a metric that is null.
    Undefined,
}

impl<'a> From<&'a Choice> for Value<'a> {
    fn from(choice: &'a Choice) -> Self {
        match choice {
            Choice::Null => Self::Null,
            Choice::Bool(value) => Self::Bool(*value),
            Choice::Int(value) => Self::Number(*value as f64),
            Choice::Float(value) => Self::Number(*value),
            Choice::Text(text) => Self::Text(text),
        }
    }
}

/// What a condition comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is true.
    Holds,
    /// It is false.
    Broken,
    /// It is neither, because a value it depends on is undefined.
    Undefined,
}

impl Outcome {
    fn of(condition: bool) -> Self {
        if condition { Self::Holds } else { Self::Broken }
    }

    fn inverse(self) -> Self {
        match self {
            Self::Holds => Self::Broken,
            Self::Broken => Self::Holds,
            Self::Undefined => Self::Undefined,
        }
    }
}

type Environment<'a, 'e> = &'a dyn Fn(&str) -> Value<'e>;

impl Node {
    pub(super) fn outcome(&self, environment: Environment<'_, '_>) -> Outcome {
        match self {
            Self::And(nodes) => combined(nodes, environment, Outcome::Broken),
            Self::Or(nodes) => combined(nodes, environment, Outcome::Holds),
            Self::Not(node) => node.outcome(environment).inverse(),
            Self::Compare(operator, left, right) => {
                operator.outcome(left.value(environment), right.value(environment))
            }
            Self::In(node, list) => {
                let value = node.value(environment);
                let same = |literal| Comparison::Equal.outcome(value, literal);
                let outcomes = list.iter().map(|literal| same(literal.value()));
                any(outcomes, Outcome::Holds)
            }
            Self::Literal(_)
            | Self::Name(_)
            | Self::Negative(_)
            | Self::Arithmetic(..)
            | Self::Call(..) => match self.value(environment) {
                Value::Bool(value) => Outcome::of(value),
                _ => Outcome::Undefined,
            },
        }
    }

    fn value<'v, 'e: 'v>(&'v self, environment: Environment<'_, 'e>) -> Value<'v> {
        match self {
            Self::Literal(literal) => literal.value(),
            Self::Name(name) => match environment(name) {
                Value::Number(number) if number.is_nan() => Value::Undefined,
                value => value,
            },
            Self::Negative(node) => match node.number(environment) {
                Some(number) => Value::Number(-number),
                None => Value::Undefined,
            },
            Self::Arithmetic(operator, left, right) => {
                match (left.number(environment), right.number(environment)) {
                    (Some(left), Some(right)) => finite(operator.of(left, right)),
                    _ => Value::Undefined,
                }
            }
            Self::Call(function, nodes) => {
                let mut numbers = nodes.iter().map(|node| node.number(environment));
                let first = numbers.next().flatten();
                let joined = numbers.fold(first, |joined, next| match function {
                    Function::Abs | Function::Min => Some(joined?.min(next?)),
                    Function::Max => Some(joined?.max(next?)),
                });
                match (function, joined) {
                    (_, None) => Value::Undefined,
                    (Function::Abs, Some(number)) => Value::Number(number.abs()),
                    (Function::Min | Function::Max, Some(number)) => Value::Number(number),
                }
            }
            Self::Compare(..) | Self::In(..) | Self::Not(_) | Self::And(_) | Self::Or(_) => {
                match self.outcome(environment) {
                    Outcome::Holds => Value::Bool(true),
                    Outcome::Broken => Value::Bool(false),
                    Outcome::Undefined => Value::Undefined,
                }
            }
        }
    }

    fn number(&self, environment: Environment<'_, '_>) -> Option<f64> {
        match self.value(environment) {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// By how much this is not `wanted`.
    pub(super) fn violation(&self, environment: Environment<'_, '_>, wanted: bool) -> f64 {
        match self {
            Self::Not(node) => node.violation(environment, !wanted),
            Self::And(nodes) | Self::Or(nodes) => {
                let parts = nodes.iter().map(|node| node.violation(environment, wanted));
                if matches!(self, Self::And(_)) == wanted {
                    parts.sum()
                } else {
                    parts.fold(f64::INFINITY, f64::min)
                }
            }
            Self::Compare(operator, left, right) => {
                let operator = if wanted {
                    *operator
                } else {
                    operator.inverse()
                };
                match (left.value(environment), right.value(environment)) {
                    (Value::Number(left), Value::Number(right)) => operator.excess(left, right),
                    (left, right) => broken_by(operator.outcome(left, right), true),
                }
            }
            Self::In(node, list) if wanted => match node.value(environment) {
                Value::Number(number) => {
                    let distances = list.iter().filter_map(|literal| match literal {
                        Literal::Number(listed) => Some(Comparison::Equal.excess(number, *listed)),
                        _ => None,
                    });
                    let nearest = distances.reduce(f64::min);
                    nearest.unwrap_or(1.0)
                }
                _ => broken_by(self.outcome(environment), true),
            },
            _ => broken_by(self.outcome(environment), wanted),
        }
    }
}

/// A condition that has no measure of its own.
fn broken_by(outcome: Outcome, wanted: bool) -> f64 {
    match outcome {
        Outcome::Undefined => f64::INFINITY,
        outcome if outcome == Outcome::of(wanted) => 0.0,
        Outcome::Holds | Outcome::Broken => 1.0,
    }
}

fn finite(number: f64) -> Value<'static> {
    if number.is_finite() {
        Value::Number(number)
    } else {
        Value::Undefined
    }
}

/// Kleene's `or` when one that holds decides, his `and` when a broken one does.
fn combined(nodes: &[Node], environment: Environment<'_, '_>, decides: Outcome) -> Outcome {
    any(nodes.iter().map(|node| node.outcome(environment)), decides)
}

fn any(outcomes: impl Iterator<Item = Outcome>, decides: Outcome) -> Outcome {
    let mut joined = decides.inverse();
    for outcome in outcomes {
        if outcome == decides {
            return decides;
        }
        if outcome == Outcome::Undefined {
            joined = Outcome::Undefined;
        }
    }
    joined
}

impl Literal {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Number(number) => Value::Number(*number),
            Self::Text(text) => Value::Text(text),
            Self::Bool(value) => Value::Bool(*value),
            Self::Null => Value::Null,
        }
    }
}

impl Arithmetic {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
        }
    }
}

impl Comparison {
    fn inverse(self) -> Self {
        match self {
            Self::Less => Self::GreaterEqual,
            Self::LessEqual => Self::Greater,
            Self::Greater => Self::LessEqual,
            Self::GreaterEqual => Self::Less,
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
        }
    }

    fn outcome(self, left: Value<'_>, right: Value<'_>) -> Outcome {
        match (left, right) {
            (Value::Undefined, _) | (_, Value::Undefined) => Outcome::Undefined,
            (Value::Number(left), Value::Number(right)) => Outcome::of(self.holds(left, right)),
            (left, right) => match self {
                Self::Equal => Outcome::of(left == right),
                Self::NotEqual => Outcome::of(left != right),
                // A categorical parameter may mix numbers with other choices.
                Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual => {
                    Outcome::Undefined
                }
            },
        }
    }

    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterEqual => left >= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        }
    }

    /// By how much two numbers, neither of them NaN, break the comparison.
    fn excess(self, left: f64, right: f64) -> f64 {
        if self.holds(left, right) {
            return 0.0;
        }
        match self {
            Self::NotEqual => 1.0,
            // The sides of a strict comparison may be equal, and infinite ones have no difference.
            _ => (left - right).abs().max(f64::MIN_POSITIVE),
        }
    }
}
