use crate::assert_fault;
use trialmill_common::cursor::last_event_id;

/// The bytes of a `Last-Event-ID` header: a number from 0 that reads the same when written again,
/// or a fault of that header.
pub fn event_id(data: &[u8]) {
    match last_event_id(data) {
        Ok(seq) => {
            assert!(seq >= 0);
            assert_eq!(last_event_id(seq.to_string().as_bytes()), Ok(seq));
        }
        Err(fault) => {
            assert_eq!(fault.pointer, "#Last-Event-ID");
            assert_fault(&fault);
        }
    }
}
