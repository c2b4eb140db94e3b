//! Conditions over parameters or metrics: `fast < slow`, `mode == 'trend'`, `n_trades >= 1`.
//!
//! ```text
//! condition  = conjunction { "or" conjunction }
//! conjunction= negation { "and" negation }
//! negation   = "not" negation | comparison
//! comparison = sum [ ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) sum | [ "not" ] "in" list ]
//! sum        = product { ( "+" | "-" ) product }
//! product    = unary { ( "*" | "/" ) unary }
//! unary      = "-" unary | primary
//! primary    = number | text | "true" | "false" | "null" | name
//!            | ( "abs" | "min" | "max" ) "(" sum { "," sum } ")" | "(" condition ")"
//! list       = "[" literal { "," literal } "]"
//! ```
//!
//! Text stands in single or double quotes; a backslash takes the next character as it is. A name is
//! `[A-Za-z_][A-Za-z0-9_]*`; `abs`, `min` and `max` are functions only before a parenthesis.

mod evaluate;
mod lexer;
mod names;
mod parser;
mod types;

use std::collections::BTreeSet;
use std::fmt;

pub use evaluate::{Outcome, Value};
pub use names::{NameValues, Names};
use thiserror::Error;

/// The longest expression, in characters as written.
pub const MAX_EXPRESSION_CHARS: usize = 1_000;

/// How deep parentheses, `not`, signs and functions may be nested.
pub const MAX_EXPRESSION_DEPTH: usize = 32;

/// The most values and operators of one expression.
pub const MAX_EXPRESSION_NODES: usize = 200;

/// One thing wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct ExpressionFault {
    /// One of `too_long`, `too_deep`, `too_large`, `empty_expression`, `unexpected_character`,
    /// `unclosed_text`, `bad_number`, `unexpected_token`, `chained_comparison`, `unknown_name`,
    /// `unknown_choice`, `type_mismatch`, `not_a_condition`.
    pub code: &'static str,
    /// Where it begins, in characters from 0.
    pub position: usize,
    /// The part at fault, shortened to 64 characters.
    pub value: String,
    /// What would have been allowed there, where that can be listed (names, choices, tokens).
    pub allowed: Vec<String>,
    /// One lowercase sentence that says what is wrong and what to do.
    pub detail: String,
}

/// A checked condition: its names are known, its types fit, and evaluating it cannot fail.
///
/// Numbers are 64-bit floats and compare exactly as IEEE 754 says, without tolerance: on a step
/// lattice `x == 0.3` may miss 0.30000000000000004; write `abs(x - 0.3) < 0.001`.
///
/// A value is **undefined** when the environment says so (a metric that is null, a parameter that
/// is absent), when it is NaN, and when arithmetic gives no finite number (a division by zero, an
/// overflow). What is computed from an undefined value is undefined, but for `and` and `or`, which
/// follow Kleene: `false and undefined` is false, `true or undefined` is true. An undefined
/// condition does not hold.
///
/// ```
/// use trialmill_search::{Expression, Names, NameValues, Outcome, Value};
///
/// let names = Names::new("metric", [
///     ("max_drawdown".to_owned(), NameValues::Number),
///     ("n_trades".to_owned(), NameValues::Number),
/// ]);
/// let limit = Expression::parse("max_drawdown <= 0.25 and n_trades>=10", &names)?;
/// assert_eq!(limit.to_string(), "max_drawdown <= 0.25 and n_trades >= 10");
///
/// let metrics = |name: &str| match name {
///     "max_drawdown" => Value::Number(0.5),
///     _ => Value::Number(7.0),
/// };
/// assert!(!limit.holds(&metrics));
/// assert_eq!(limit.violation(&metrics), 0.25 + 3.0);
/// assert_eq!(limit.outcome(&|_| Value::Undefined), Outcome::Undefined);
///
/// let faults = Expression::parse("max_drawdwn < 'deep'", &names).unwrap_err();
/// assert_eq!(faults[0].detail, "max_drawdwn is not a metric; did you mean max_drawdown?");
/// assert_eq!((faults[1].code, faults[1].position), ("type_mismatch", 14));
/// # Ok::<(), Vec<trialmill_search::ExpressionFault>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    root: Node,
    names: BTreeSet<String>,
}

/// A value written in the expression.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Number(f64),
    Text(String),
    Bool(bool),
    Null,
}

/// A node of the tree. `And` and `Or` never hold one of themselves directly.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Literal(Literal),
    Name(String),
    Negative(Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    In(Box<Node>, Vec<Literal>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Abs,
    Min,
    Max,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

impl Expression {
    /// Reads and checks an expression over `names`.
    ///
    /// # Errors
    /// What is wrong with it, in the order of the positions: every unknown name and every
    /// misplaced character; the first error of syntax (what follows one is guesswork); every error
    /// of type when there is no error of syntax. At most 16.
    pub fn parse(text: &str, names: &Names) -> Result<Self, Vec<ExpressionFault>> {
        if let Some(fault) = lexer::too_long(text) {
            return Err(vec![fault]);
        }
        Self::parse_stored(text, names)
    }

    /// Reads the canonical text of an expression that [`parse`](Self::parse) took, which may be
    /// longer than what was written (`a<b` becomes `a < b`, `9e15` gets its zeros): there is no
    /// limit to its length. Its depth and its values and operators are no more than they were, and
    /// are limited as ever.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), but for the length.
    pub fn parse_stored(text: &str, names: &Names) -> Result<Self, Vec<ExpressionFault>> {
        let root = parser::parse(text, names)?;
        let mut names = BTreeSet::new();
        root.collect_names(&mut names);
        Ok(Self { root, names })
    }

    /// The names it reads, each once, in byte order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// How many values and operators it is made of: what evaluating it costs.
    pub(crate) fn size(&self) -> usize {
        self.root.size()
    }

    /// What it comes to: it holds, it is broken, or it is undefined.
    #[must_use]
    pub fn outcome<'e>(&self, environment: &dyn Fn(&str) -> Value<'e>) -> Outcome {
        self.root.outcome(environment)
    }

    /// Whether it holds; an undefined condition does not.
    #[must_use]
    pub fn holds<'e>(&self, environment: &dyn Fn(&str) -> Value<'e>) -> bool {
        self.outcome(environment) == Outcome::Holds
    }

    /// By how much it is broken: 0 exactly when it holds, never NaN.
    ///
    /// `a <= b` is broken by `a - b` (and `a < b` with equal sides by the smallest positive normal
    /// number), `a == b` and `a in [..]` of numbers by the distance, `and` by the sum of its parts,
    /// `or` by the least of its parts; `not` turns the condition round first (`not a <= b` is
    /// `a > b`); anything else that is broken, by 1; an undefined part, by infinity.
    #[must_use]
    pub fn violation<'e>(&self, environment: &dyn Fn(&str) -> Value<'e>) -> f64 {
        self.root.violation(environment, true)
    }
}

impl Node {
    fn collect_names(&self, names: &mut BTreeSet<String>) {
        match self {
            Self::Literal(_) => {}
            Self::Name(name) => {
                names.insert(name.clone());
            }
            Self::Negative(node) | Self::Not(node) | Self::In(node, _) => node.collect_names(names),
            Self::Arithmetic(_, left, right) | Self::Compare(_, left, right) => {
                left.collect_names(names);
                right.collect_names(names);
            }
            Self::Call(_, nodes) | Self::And(nodes) | Self::Or(nodes) => {
                nodes.iter().for_each(|node| node.collect_names(names));
            }
        }
    }

    fn size(&self) -> usize {
        1 + match self {
            Self::Literal(_) | Self::Name(_) => 0,
            Self::Negative(node) | Self::Not(node) => node.size(),
            Self::In(node, list) => node.size() + list.len(),
            Self::Arithmetic(_, left, right) | Self::Compare(_, left, right) => {
                left.size() + right.size()
            }
            Self::Call(_, nodes) | Self::And(nodes) | Self::Or(nodes) => {
                nodes.iter().map(Self::size).sum()
            }
        }
    }

    /// How tightly it binds: a part that binds less tightly than its place needs parentheses.
    fn binding(&self) -> u8 {
        match self {
            Self::Or(_) => 1,
            Self::And(_) => 2,
            Self::Not(node) if matches!(**node, Self::In(..)) => 4,
            Self::Not(_) => 3,
            Self::Compare(..) | Self::In(..) => 4,
            Self::Arithmetic(Arithmetic::Add | Arithmetic::Subtract, ..) => 5,
            Self::Arithmetic(Arithmetic::Multiply | Arithmetic::Divide, ..) => 6,
            Self::Negative(_) => 7,
            Self::Literal(_) | Self::Name(_) | Self::Call(..) => 8,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, least: u8) -> fmt::Result {
        if self.binding() < least {
            f.write_str("(")?;
            self.write_bare(f)?;
            f.write_str(")")
        } else {
            self.write_bare(f)
        }
    }

    fn write_bare(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => write!(f, "{literal}"),
            Self::Name(name) => f.write_str(name),
            Self::Negative(node) => {
                f.write_str("-")?;
                node.write(f, 7)
            }
            Self::Arithmetic(operator, left, right) => {
                left.write(f, self.binding())?;
                write!(f, " {} ", operator.symbol())?;
                right.write(f, self.binding() + 1)
            }
            Self::Call(function, nodes) => {
                write!(f, "{}(", function.name())?;
                write_joined(f, nodes, ", ", 5)?;
                f.write_str(")")
            }
            Self::Compare(operator, left, right) => {
                left.write(f, 5)?;
                write!(f, " {} ", operator.symbol())?;
                right.write(f, 5)
            }
            Self::In(node, list) => write_in(f, node, "in", list),
            Self::Not(node) => match &**node {
                Self::In(node, list) => write_in(f, node, "not in", list),
                node => {
                    f.write_str("not ")?;
                    node.write(f, 3)
                }
            },
            Self::And(nodes) => write_joined(f, nodes, " and ", 3),
            Self::Or(nodes) => write_joined(f, nodes, " or ", 2),
        }
    }
}

fn write_joined(
    f: &mut fmt::Formatter<'_>,
    nodes: &[Node],
    between: &str,
    least: u8,
) -> fmt::Result {
    for (position, node) in nodes.iter().enumerate() {
        if position > 0 {
            f.write_str(between)?;
        }
        node.write(f, least)?;
    }
    Ok(())
}

fn write_in(f: &mut fmt::Formatter<'_>, node: &Node, word: &str, list: &[Literal]) -> fmt::Result {
    node.write(f, 5)?;
    let list: Vec<String> = list.iter().map(Literal::to_string).collect();
    write!(f, " {word} [{}]", list.join(", "))
}

/// The canonical text: parsing it gives an equal expression, and equal expressions have equal text.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.write(f, 0)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => {
                let text = format!("{number:?}");
                f.write_str(text.strip_suffix(".0").unwrap_or(&text))
            }
            Self::Text(text) => {
                let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
                write!(f, "'{escaped}'")
            }
            Self::Bool(value) => write!(f, "{value}"),
            Self::Null => f.write_str("null"),
        }
    }
}

impl Arithmetic {
    fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }
}

impl Function {
    fn named(name: &str) -> Option<Self> {
        [Self::Abs, Self::Min, Self::Max]
            .into_iter()
            .find(|function| function.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Abs => "abs",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

impl Comparison {
    const ALL: [Self; 6] = [
        Self::Less,
        Self::LessEqual,
        Self::Greater,
        Self::GreaterEqual,
        Self::Equal,
        Self::NotEqual,
    ];

    fn with_symbol(symbol: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|comparison| comparison.symbol() == symbol)
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }
}
