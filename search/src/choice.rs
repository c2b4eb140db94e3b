//! One value of a categorical parameter, and the plain form of every parameter value at the rim.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A scalar as JSON knows it: what a categorical parameter offers, and what the named view of a
/// point holds ([`Space::named`](crate::Space::named)).
///
/// Reads and writes as the bare scalar, without a tag:
///
/// ```
/// use trialmill_search::Choice;
///
/// let choices: Vec<Choice> = serde_json::from_str(r#"[null, true, 3, 3.5, "mean"]"#)?;
/// assert_eq!(choices[2], Choice::Int(3));
/// assert_eq!(serde_json::to_string(&choices)?, r#"[null,true,3,3.5,"mean"]"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// JSON `null`.
    Null,
    /// JSON `true` or `false`.
    Bool(bool),
    /// A number written without fraction or exponent.
    Int(i64),
    /// A number written with fraction or exponent.
    Float(f64),
    /// A string.
    Text(String),
}

/// What makes two choices the same value; ordered, so that a set finds duplicates.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChoiceKey<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    /// Bits of a float that is not an integer in the range of exact integers.
    Fraction(u64),
    Text(&'a str),
}

impl Choice {
    /// Whether both stand for the same value: `3` and `3.0` do, because a database or a client may
    /// rewrite one as the other; `1` and `true` do not.
    ///
    /// ```
    /// use trialmill_search::Choice;
    ///
    /// assert!(Choice::Int(3).same_value(&Choice::Float(3.0)));
    /// assert!(!Choice::Int(1).same_value(&Choice::Bool(true)));
    /// ```
    #[must_use]
    pub fn same_value(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    pub(crate) fn key(&self) -> ChoiceKey<'_> {
        match self {
            Self::Null => ChoiceKey::Null,
            Self::Bool(value) => ChoiceKey::Bool(*value),
            Self::Int(value) => ChoiceKey::Integer(*value),
            Self::Float(value) => match exact_integer(*value) {
                Some(integer) => ChoiceKey::Integer(integer),
                None => ChoiceKey::Fraction(value.to_bits()),
            },
            Self::Text(value) => ChoiceKey::Text(value),
        }
    }
}

/// The integer that a float is exactly, if it lies within ±2^53 (where every integer is a float).
pub(crate) fn exact_integer(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    if value.abs() <= LIMIT && libm::trunc(value) == value {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an integer within ±2^53, just checked"
        )]
        Some(value as i64)
    } else {
        None
    }
}

/// As JSON would write it, so that messages show what the client sent.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

impl Serialize for Choice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// Written by hand because an untagged derive buffers its input and loses the reason of a refusal.
struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Choice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a boolean, a number or a string")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Choice, E> {
        Ok(Choice::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Choice, E> {
        Ok(Choice::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Choice, E> {
        Ok(Choice::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Choice, E> {
        Ok(Choice::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Choice, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(Choice::Int(value)),
            Err(_) => Err(E::custom(format_args!(
                "integer {value} is above {}; write it as a string",
                i64::MAX
            ))),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Choice, E> {
        Ok(Choice::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Choice, E> {
        Ok(Choice::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Choice, E> {
        Ok(Choice::Text(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_bare_scalar_in_json_and_comes_back() {
        let text = r#"[null,false,-7,0.1,1e300,"a b"]"#;
        let choices: Vec<Choice> = serde_json::from_str(text).unwrap();
        assert_eq!(
            choices,
            [
                Choice::Null,
                Choice::Bool(false),
                Choice::Int(-7),
                Choice::Float(0.1),
                Choice::Float(1e300),
                Choice::Text("a b".to_owned()),
            ]
        );
        let again: Vec<Choice> =
            serde_json::from_str(&serde_json::to_string(&choices).unwrap()).unwrap();
        assert_eq!(again, choices);
    }

    #[test]
    fn an_object_or_an_integer_beyond_i64_is_refused_with_the_reason() {
        let object = serde_json::from_str::<Choice>("{}")
            .unwrap_err()
            .to_string();
        assert!(
            object.contains("expected null, a boolean, a number or a string"),
            "{object}"
        );
        let huge = serde_json::from_str::<Choice>("18446744073709551615")
            .unwrap_err()
            .to_string();
        assert!(
            huge.contains("18446744073709551615 is above 9223372036854775807"),
            "{huge}"
        );
    }
}
