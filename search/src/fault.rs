//! What is wrong with a space or a point, in parts that a caller can turn into an API error.

use thiserror::Error;

/// One thing wrong with a space. [`Space::new`](crate::Space::new) returns all of them at once.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct SpaceFault {
    /// The parameter's name; empty when the space as a whole is at fault.
    pub param: String,
    /// The field of the parameter: `low`, `high`, `step`, `log`, `choices`; empty for the parameter
    /// (or space) itself.
    pub field: &'static str,
    /// The position within `choices`, where one choice is at fault.
    pub index: Option<usize>,
    /// A stable word in snake_case that programs can match.
    pub code: &'static str,
    /// The value at fault, shortened to 64 characters.
    pub value: String,
    /// What would have been allowed.
    pub limit: String,
    /// One lowercase sentence that names the parameter, the value, the limit and what to do.
    pub detail: String,
}

/// One thing wrong with a point, or with the named values that should have made one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct PointFault {
    /// The parameter's name; empty when the point as a whole is at fault.
    pub param: String,
    /// One of `wrong_length`, `missing_parameter`, `unknown_parameter`, `wrong_type`, `not_finite`,
    /// `out_of_range`, `off_step`, `unknown_choice`, `negative_zero`.
    pub code: &'static str,
    /// The value at fault, shortened to 64 characters.
    pub value: String,
    /// What would have been allowed.
    pub limit: String,
    /// One lowercase sentence that names the parameter, the value, the limit and what to do.
    pub detail: String,
}

/// At most 64 characters of a text: a fault must stay readable when a client sends a megabyte.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
