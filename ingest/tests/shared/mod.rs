//! Real files beside the workspace, where they exist.

use std::path::{Path, PathBuf};

/// A file or folder of `../shared`, or a printed message and `None`.
#[expect(clippy::print_stderr, reason = "a test that skips has to say so")]
pub fn shared(path: &str) -> Option<PathBuf> {
    let full = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared")
        .join(path);
    if full.exists() {
        return Some(full);
    }
    eprintln!("SKIPPED: ../shared/{path} is not there");
    None
}
