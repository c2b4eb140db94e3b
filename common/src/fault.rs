//! One thing that is wrong with a request: where, what, and what would be right.

use serde::{Deserialize, Serialize};

/// A fault of a request. A refused request carries all of its faults at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) to the faulty value; "" is the whole document.
    pub pointer: String,
    /// A stable word for programs, such as `required`, `unknown_field`, `out_of_range`.
    pub code: String,
    /// The value found, cut to a readable length; null when it is absent.
    #[serde(default)]
    pub value: serde_json::Value,
    /// The limit that was passed, in words or as a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<serde_json::Value>,
    /// The names that would be accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// Character position of a fault inside an expression, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// A sentence that names the thing, the value, the limit and what to do.
    pub detail: String,
}

/// Something the client should know about an accepted request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// A stable word for programs, such as `no_live_worker`.
    pub code: String,
    /// JSON pointer to what it is about.
    pub pointer: String,
    /// The sentence.
    pub detail: String,
}

/// The longest text of a faulty value that is repeated to the client, in characters.
pub const VALUE_SHOWN: usize = 200;

impl Fault {
    /// A fault at `pointer` with a code and a sentence.
    pub fn new(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.to_owned(),
            value: serde_json::Value::Null,
            limit: None,
            allowed: None,
            position: None,
            detail: detail.into(),
        }
    }

    /// Repeats the offending value, cut when it is long.
    #[must_use]
    pub fn value(mut self, value: &serde_json::Value) -> Self {
        let text = value.to_string();
        self.value = if text.chars().count() <= VALUE_SHOWN {
            value.clone()
        } else {
            let cut: String = text.chars().take(VALUE_SHOWN).collect();
            serde_json::Value::String(format!("{cut}... ({} bytes)", text.len()))
        };
        self
    }

    /// States the limit.
    #[must_use]
    pub fn limit(mut self, limit: impl Into<serde_json::Value>) -> Self {
        self.limit = Some(limit.into());
        self
    }

    /// States what would be accepted.
    #[must_use]
    pub fn allowed<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.allowed = Some(names.into_iter().map(Into::into).collect());
        self
    }
}

/// Escapes one segment of a JSON pointer (RFC 6901, section 3).
#[must_use]
pub fn pointer_segment(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_and_says_how_long_it_was() {
        let long = serde_json::Value::String("x".repeat(1000));
        let fault = Fault::new("/task_name", "too_long", "too long").value(&long);
        let shown = fault.value.as_str().unwrap();
        assert!(shown.ends_with("... (1002 bytes)"), "{shown}");
    }
}
