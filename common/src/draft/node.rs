//! A place in the request, read as the type it should have.

use super::book::BACKTEST_FIELDS;
use super::findings::{Findings, advice, shown};
use crate::fault::{Fault, pointer_segment};
use serde_json::{Map, Value};

/// The most characters of one pointer segment: past them a name from the request is cut, since a
/// megabyte of pointer finds nothing either.
const MAX_SEGMENT_CHARS: usize = 256;

/// A place in the document: where it is and what stands there. Null stands for "not given".
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) pointer: String,
    pub(super) value: Option<&'a Value>,
}

/// An object of the document whose fields are known by name.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    pub(super) pointer: String,
    pub(super) fields: &'a Map<String, Value>,
}

/// The pointer of a member.
pub(super) fn member(pointer: &str, name: &str) -> String {
    let name = match name.char_indices().nth(MAX_SEGMENT_CHARS) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}...", &name[..end]),
    };
    format!("{pointer}/{}", pointer_segment(&name))
}

/// What a value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A whole number, `5.0` included: JSON has one type of number, and old clients send bounds so.
/// `Err(true)` is a whole number beyond 64 bits, `Err(false)` no whole number.
pub(super) fn whole_number(value: &Value) -> Result<i64, bool> {
    if let Some(int) = value.as_i64() {
        return Ok(int);
    }
    match value.as_f64() {
        // Both bounds are floats exactly; the upper one is already beyond an i64.
        Some(float)
            if float.fract() == 0.0 && float >= -(2f64.powi(63)) && float < 2f64.powi(63) =>
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole and in range, just checked"
            )]
            Ok(float as i64)
        }
        Some(float) => Err(float.fract() == 0.0),
        None => Err(false),
    }
}

impl<'a> Node<'a> {
    /// The whole document.
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            pointer: String::new(),
            value: Some(value),
        }
    }

    /// How messages call it.
    pub(super) fn name(&self) -> String {
        let mut segments = self.pointer.rsplit('/');
        let last = segments.next().unwrap_or_default();
        if self.pointer.is_empty() {
            "the document".to_owned()
        } else if last.is_empty() {
            // A member whose name is the empty text.
            "\"\"".to_owned()
        } else if last.bytes().all(|b| b.is_ascii_digit()) {
            format!("{}[{last}]", shown(segments.next().unwrap_or_default()))
        } else {
            shown(last)
        }
    }

    /// A fault here, with the value.
    pub(super) fn fault(&self, code: &str, detail: impl Into<String>) -> Fault {
        let fault = Fault::new(self.pointer.as_str(), code, detail);
        match self.value {
            Some(value) => fault.value(value),
            None => fault,
        }
    }

    /// This node, with a fault if there is nothing.
    pub(super) fn required(self, findings: &mut Findings) -> Self {
        if self.value.is_none() {
            let detail = format!("{} is required", self.name());
            findings.fault(self.fault("required", detail));
        }
        self
    }

    fn wrong_type(&self, wanted: &str, findings: &mut Findings) {
        let found = self.value.map_or("nothing", kind);
        let detail = format!("{} is {found}; it must be {wanted}", self.name());
        findings.fault(self.fault("wrong_type", detail));
    }

    fn out_of_range(&self, limit: &str, findings: &mut Findings) {
        let value = self
            .value
            .map_or_else(String::new, |value| shown(&value.to_string()));
        let detail = format!("{} is {value}; it must be {limit}", self.name());
        findings.fault(self.fault("out_of_range", detail).limit(limit));
    }

    /// Any string.
    pub(super) fn string(&self, findings: &mut Findings) -> Option<&'a str> {
        let text = self.value?.as_str();
        if text.is_none() {
            self.wrong_type("a string", findings);
        }
        text
    }

    /// A string that can be stored and shown: not blank, no control characters, not too long.
    pub(super) fn text(&self, most: usize, findings: &mut Findings) -> Option<&'a str> {
        let text = self.string(findings)?;
        printable(self, text, most, findings).then_some(text)
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, low: i64, high: i64, findings: &mut Findings) -> Option<i64> {
        let value = self.value?;
        match whole_number(value) {
            Ok(whole) if (low..=high).contains(&whole) => return Some(whole),
            Ok(_) | Err(true) => self.out_of_range(&format!("{low} to {high}"), findings),
            Err(false) if value.is_number() => {
                let detail = format!("{} is {value}; it must be a whole number", self.name());
                findings.fault(self.fault("wrong_type", detail));
            }
            Err(false) => self.wrong_type("a whole number", findings),
        }
        None
    }

    /// A number, `-0.0` as `0.0`.
    pub(super) fn number(&self, findings: &mut Findings) -> Option<f64> {
        let number = self.value?.as_f64();
        if number.is_none() {
            self.wrong_type("a number", findings);
        }
        // Adding zero turns -0.0 into 0.0 and leaves every other value as it is.
        number.map(|number| number + 0.0)
    }

    /// Seconds above 0 and at most `most`.
    pub(super) fn seconds(&self, most: f64, findings: &mut Findings) -> Option<f64> {
        self.positive(most, " seconds", findings)
    }

    /// A number above 0 and at most `most`, in that unit.
    pub(super) fn positive(&self, most: f64, unit: &str, findings: &mut Findings) -> Option<f64> {
        let number = self.number(findings)?;
        if number > 0.0 && number <= most {
            return Some(number);
        }
        self.out_of_range(&format!("above 0 and at most {most}{unit}"), findings);
        None
    }

    /// True or false.
    pub(super) fn flag(&self, findings: &mut Findings) -> Option<bool> {
        let flag = self.value?.as_bool();
        if flag.is_none() {
            self.wrong_type("true or false", findings);
        }
        flag
    }

    /// A list.
    pub(super) fn list(&self, findings: &mut Findings) -> Option<Vec<Node<'a>>> {
        let Some(list) = self.value?.as_array() else {
            self.wrong_type("a list", findings);
            return None;
        };
        Some(self.items(list))
    }

    /// The members of a list that stands here. Unlike elsewhere, null is a value in a list.
    pub(super) fn items(&self, list: &'a [Value]) -> Vec<Node<'a>> {
        list.iter()
            .enumerate()
            .map(|(i, value)| Node {
                pointer: format!("{}/{i}", self.pointer),
                value: Some(value),
            })
            .collect()
    }

    /// An object with any names.
    pub(super) fn open_object(&self, findings: &mut Findings) -> Option<Object<'a>> {
        let Some(fields) = self.value?.as_object() else {
            self.wrong_type("an object", findings);
            return None;
        };
        Some(Object {
            pointer: self.pointer.clone(),
            fields,
        })
    }

    /// An object whose every field is one of `known`.
    pub(super) fn object(&self, known: &[&str], findings: &mut Findings) -> Option<Object<'a>> {
        let object = self.open_object(findings)?;
        object.only(known, findings);
        Some(object)
    }

    /// One of the names in `built`; those in `later` are known but not built.
    pub(super) fn one_of(
        &self,
        built: &[&'static str],
        later: &[&str],
        findings: &mut Findings,
    ) -> Option<&'static str> {
        let name = self.string(findings)?;
        let found = built.iter().find(|known| **known == name).copied();
        if found.is_none() {
            let what = self.name();
            if later.contains(&name) {
                let fault = self.unavailable(&format!("{what} {name}"), &built.join(", "));
                findings.fault(fault.allowed(built.iter().copied()));
            } else {
                let advice = advice(name, built, later);
                let detail = format!("{what} {:?} is not known; {advice}", shown(name));
                findings.fault(
                    self.fault("unknown_value", detail)
                        .allowed(built.iter().copied()),
                );
            }
        }
        found
    }

    /// A fault for something that is known but not built.
    pub(super) fn not_built(&self, what: &str, instead: &str, findings: &mut Findings) {
        findings.fault(self.unavailable(what, instead));
    }

    fn unavailable(&self, what: &str, instead: &str) -> Fault {
        let detail = format!("{what} is not available yet; use {instead}");
        self.fault("not_built_yet", detail)
    }
}

/// Whether a text can be stored and shown; its faults, if not.
pub(super) fn printable(node: &Node<'_>, text: &str, most: usize, findings: &mut Findings) -> bool {
    let before = findings.count();
    let name = node.name();
    if text.trim().is_empty() {
        findings.fault(node.fault("empty", format!("{name} is blank; give it a text")));
    }
    let length = text.chars().count();
    if length > most {
        let detail = format!("{name} has {length} characters; it may have {most}");
        findings.fault(node.fault("too_long", detail).limit(most));
    }
    if let Some(at) = text.chars().position(char::is_control) {
        let detail = format!(
            "{name} has a control character (such as NUL or a line break) at position {at}; remove it"
        );
        let mut fault = node.fault("control_character", detail);
        fault.position = Some(at);
        findings.fault(fault);
    }
    findings.count() == before
}

impl<'a> Object<'a> {
    /// The field of that name.
    pub(super) fn field(&self, name: &str) -> Node<'a> {
        Node {
            pointer: member(&self.pointer, name),
            value: self.fields.get(name).filter(|value| !value.is_null()),
        }
    }

    /// Faults for every field that is not one of `known`.
    pub(super) fn only(&self, known: &[&str], findings: &mut Findings) {
        for (name, value) in self.fields {
            if !known.contains(&name.as_str()) && !findings.only_counts() {
                let advice = if known.contains(&"backtest_config")
                    && BACKTEST_FIELDS.contains(&name.as_str())
                {
                    "it goes into backtest_config".to_owned()
                } else {
                    advice(name, known, &[])
                };
                let detail = format!("{} is not a field; {advice}", shown(name));
                let fault = Fault::new(member(&self.pointer, name), "unknown_field", detail);
                findings.fault(fault.value(value).allowed(known.iter().copied()));
            }
        }
    }
}
