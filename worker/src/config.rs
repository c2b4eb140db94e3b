//! The environment, read in this file only.

/// Whether this process was started as an isolated child.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads the environment"
)]
pub(crate) fn is_child(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value == "1")
}
