use crate::assert_fault;
use trialmill_common::cursor::{task_cursor, trial_cursor};

/// The cursors of both lists: read as the id or number that reads the same when written again, or a
/// fault of `?cursor`.
pub fn cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match task_cursor(text) {
        Ok(task) => assert_eq!(task_cursor(&task.to_string()), Ok(task)),
        Err(fault) => {
            assert_eq!(fault.pointer, "?cursor");
            assert_fault(&fault);
        }
    }
    match trial_cursor(text) {
        Ok(number) => assert_eq!(trial_cursor(&number.to_string()), Ok(number)),
        Err(fault) => {
            assert_eq!(fault.pointer, "?cursor");
            assert_fault(&fault);
        }
    }
}
