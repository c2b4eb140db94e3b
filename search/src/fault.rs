//! What is wrong with a space or a point, in parts that a caller can turn into an API error.

use thiserror::Error;

use crate::expression::ExpressionFault;

/// One thing wrong with a space. [`Space::new`](crate::Space::new) returns all of them at once.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct SpaceFault {
    /// The parameter's name; empty when the space as a whole is at fault.
    pub param: String,
    /// The field of the parameter: `low`, `high`, `step`, `log`, `choices`, `when`; or, with an
    /// empty `param`, the `constraints` of the space; empty for the parameter (or space) itself.
    pub field: &'static str,
    /// The position within `choices` or `constraints`, where one of them is at fault.
    pub index: Option<usize>,
    /// Within an expression (`when`, `constraints`): the character at fault, counted from 0.
    pub position: Option<usize>,
    /// A stable word in snake_case that programs can match.
    pub code: &'static str,
    /// The value at fault, shortened to 64 characters.
    pub value: String,
    /// What would have been allowed.
    pub limit: String,
    /// Within an expression: the names, choices or tokens that would have been allowed, where they
    /// can be listed.
    pub allowed: Vec<String>,
    /// One lowercase sentence that names the parameter, the value, the limit and what to do.
    pub detail: String,
}

impl SpaceFault {
    /// What is wrong within an expression of the space.
    pub(crate) fn in_expression(
        param: &str,
        field: &'static str,
        index: Option<usize>,
        fault: ExpressionFault,
    ) -> Self {
        Self {
            param: param.to_owned(),
            field,
            index,
            position: Some(fault.position),
            code: fault.code,
            value: fault.value,
            limit: fault.allowed.join(", "),
            allowed: fault.allowed,
            detail: fault.detail,
        }
    }
}

/// One thing wrong with a point, or with the named values that should have made one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct PointFault {
    /// The parameter's name; empty when the point as a whole is at fault.
    pub param: String,
    /// One of `wrong_length`, `missing_parameter`, `unknown_parameter`, `wrong_type`, `not_finite`,
    /// `out_of_range`, `off_step`, `unknown_choice`, `negative_zero`, `inactive_parameter` (a value
    /// where the condition does not hold), `constraint_broken`.
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

/// The known name that an unknown one was most likely meant to be: at most two edits away, and
/// at most half the known name's letters.
pub(crate) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = shown(name);
    known
        .map(|known| (strsim::osa_distance(&name, known), known))
        .filter(|(distance, known)| *distance <= 2.min(known.len() / 2))
        .min()
        .map(|(_, known)| known)
}
