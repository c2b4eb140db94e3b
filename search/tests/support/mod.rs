//! What the test files share.

#[allow(dead_code, reason = "each test file takes what it needs")]
pub mod domains;
#[allow(dead_code, reason = "each test file takes what it needs")]
pub mod searched;
#[allow(dead_code, reason = "each test file takes the spaces that it needs")]
pub mod spaces;
