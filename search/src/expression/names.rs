//! The names that an expression may use, and the kinds of value they stand for.

use std::collections::BTreeMap;

use super::{ExpressionFault, Literal};
use crate::choice::Choice;
use crate::fault::{closest, shown};

/// What a name may stand for.
#[derive(Debug, Clone, PartialEq)]
pub enum NameValues {
    /// A number, as every metric and every float or int parameter is.
    Number,
    /// One of these values.
    Choices(Vec<Choice>),
    /// This value alone, which may be compared with others of its kind.
    Constant(Choice),
    /// Not known (the declaration is faulty): nothing about its type is refused.
    Unknown,
}

/// The names that an expression may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Names {
    noun: &'static str,
    names: BTreeMap<String, NameValues>,
    /// What any other name stands for, if others may be used.
    others: Option<NameValues>,
}

impl Names {
    /// `noun` is what messages call one of the names, such as `parameter` or `metric`.
    pub fn new(noun: &'static str, names: impl IntoIterator<Item = (String, NameValues)>) -> Self {
        Self {
            noun,
            names: names.into_iter().collect(),
            others: None,
        }
    }

    /// The same names, and besides them any other, for a number: those that only the values will tell.
    #[must_use]
    pub fn and_other_numbers(self) -> Self {
        Self {
            others: Some(NameValues::Number),
            ..self
        }
    }

    pub(super) fn values(&self, name: &str) -> Option<&NameValues> {
        self.names.get(name).or(self.others.as_ref())
    }

    pub(super) fn unknown(&self, name: &str, position: usize) -> ExpressionFault {
        let allowed: Vec<String> = self.names.keys().cloned().collect();
        let (short, noun) = (shown(name), self.noun);
        let is_choice = |values: &NameValues| match values {
            NameValues::Choices(choices) => choices
                .iter()
                .any(|choice| matches!(choice, Choice::Text(text) if text == name)),
            _ => false,
        };
        let words = ["true", "false", "null", "and", "or", "not", "in"];
        let known = self.names.keys().map(String::as_str).chain(words);
        let advice = if self.names.values().any(is_choice) {
            format!("write '{short}' for the text")
        } else if let Some(close) = closest(name, known) {
            format!("did you mean {close}?")
        } else if allowed.is_empty() {
            format!("there is no {noun} to name")
        } else {
            format!("use {}", allowed.join(", "))
        };
        ExpressionFault {
            code: "unknown_name",
            position,
            detail: format!("{short} is not a {noun}; {advice}"),
            value: short,
            allowed,
        }
    }
}

/// A set of kinds of value: what a part of an expression may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NUMBER: Self = Self(1);
    pub(super) const TEXT: Self = Self(2);
    pub(super) const BOOL: Self = Self(4);
    pub(super) const NULL: Self = Self(8);
    pub(super) const ANY: Self = Self(15);

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn of_literal(literal: &Literal) -> Self {
        match literal {
            Literal::Number(_) => Self::NUMBER,
            Literal::Text(_) => Self::TEXT,
            Literal::Bool(_) => Self::BOOL,
            Literal::Null => Self::NULL,
        }
    }

    pub(super) fn of_values(values: &NameValues) -> Self {
        match values {
            NameValues::Number => Self::NUMBER,
            NameValues::Unknown => Self::ANY,
            NameValues::Constant(value) => Self::of_choice(value),
            NameValues::Choices(choices) => Self(
                choices
                    .iter()
                    .fold(0, |kinds, choice| kinds | Self::of_choice(choice).0),
            ),
        }
    }

    fn of_choice(choice: &Choice) -> Self {
        match choice {
            Choice::Null => Self::NULL,
            Choice::Bool(_) => Self::BOOL,
            Choice::Int(_) | Choice::Float(_) => Self::NUMBER,
            Choice::Text(_) => Self::TEXT,
        }
    }

    /// As a message says it: `a number`, `text or null`.
    pub(super) fn words(self) -> String {
        let words = [
            (Self::NUMBER, "a number"),
            (Self::TEXT, "text"),
            (Self::BOOL, "true or false"),
            (Self::NULL, "null"),
        ];
        let words = words.into_iter().filter(|(kind, _)| self.meets(*kind));
        let words: Vec<&str> = words.map(|(_, word)| word).collect();
        words.join(" or ")
    }
}
