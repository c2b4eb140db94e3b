//! From the bytes of a request to a JSON value, with every doubt of the JSON standard settled.

use super::findings::shown;
use crate::fault::Fault;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, error::Category};
use std::fmt;

/// Reads the body of a request.
///
/// Stricter than plain JSON readers in one point: a key that stands twice in one object is refused,
/// because readers disagree on which of the two counts.
///
/// ```
/// use trialmill_common::draft::parse_body;
///
/// let faults = parse_body(br#"{"n_trials": 1e400}"#).unwrap_err();
/// assert_eq!((faults[0].code.as_str(), faults[0].pointer.as_str()), ("invalid_json", ""));
/// assert!(parse_body(br#"{"seed": 1, "seed": 2}"#).is_err());
/// ```
///
/// # Errors
/// One fault `invalid_json` with line and column: no body, no UTF-8, no JSON, a number beyond the
/// range of a double, more than 127 levels of nesting, a key given twice. A document that cannot be
/// read has no second fault that could be told.
pub fn parse_body(bytes: &[u8]) -> Result<Value, Vec<Fault>> {
    let refuse = |detail: String| Err(vec![Fault::new("", "invalid_json", detail)]);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return refuse("the body is empty; send a JSON document".to_owned());
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => {
            return refuse(format!(
                "the body is not UTF-8: byte {} does not belong to a character; encode it as UTF-8",
                e.valid_up_to()
            ));
        }
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = OneValue
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    read.or_else(|e| {
        let (line, column) = (e.line(), e.column());
        let reason = e.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        refuse(match e.classify() {
            Category::Eof => format!("the JSON document ends too early, at line {line}"),
            Category::Data | Category::Syntax | Category::Io => {
                format!("the body cannot be read as JSON at line {line}, column {column}: {reason}")
            }
        })
    })
}

/// Reads one value of any kind and refuses a key given twice.
struct OneValue;

impl<'de> DeserializeSeed<'de> for OneValue {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(OneValue)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key {:?} is given twice in one object; keep one",
                    shown(&key)
                )));
            }
            object.insert(key, entries.next_value_seed(OneValue)?);
        }
        Ok(object.into())
    }
}
