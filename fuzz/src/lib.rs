//! What each fuzz target asserts of arbitrary bytes, one function each. The programs in `targets`
//! hand them to libFuzzer; `seeds` writes the corpus to begin with.

mod csv;
mod cursor;
mod draft;
mod event_id;
mod expression;
mod import;
mod memory;
mod message;
mod parquet;

pub use csv::csv;
pub use cursor::cursor;
pub use draft::draft;
pub use event_id::event_id;
pub use expression::expression;
pub use memory::{Bounded, MAX_BYTES};
pub use message::message;
pub use parquet::{parquet, silence_panics_that_are_caught};

use trialmill_common::fault::Fault;

/// The most bytes of one fault as it is sent: some hundred names that would be accepted, 64
/// characters each, and a few sentences.
const MAX_FAULT_BYTES: usize = 64 << 10;

/// Checks what holds for every fault: a code, a sentence, a place, all of them short.
fn assert_fault(fault: &Fault) {
    assert!(
        !fault.code.is_empty()
            && fault
                .code
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_'),
        "a code is a word for programs: {fault:?}"
    );
    assert!(!fault.detail.trim().is_empty(), "{fault:?}");
    let bytes = serde_json::to_vec(fault).expect("a fault has a JSON form");
    assert!(
        bytes.len() <= MAX_FAULT_BYTES,
        "{} bytes: {fault:?}",
        bytes.len()
    );
}

/// Checks that a text is a JSON pointer (RFC 6901).
fn assert_pointer(pointer: &str) {
    assert!(
        pointer.is_empty() || pointer.starts_with('/'),
        "{pointer:?}"
    );
    for escape in pointer.split('~').skip(1) {
        assert!(escape.starts_with(['0', '1']), "{pointer:?}");
    }
}
