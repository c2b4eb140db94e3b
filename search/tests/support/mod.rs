//! What the test files share.

#[allow(dead_code, reason = "each test file takes the spaces that it needs")]
pub mod spaces;
