//! Where a reader left off: the cursors of the lists and the `Last-Event-ID` of a stream. A client
//! sends back what it was given; what it sends instead is a fault, never anything else.

use crate::fault::Fault;
use crate::state::TaskId;
use uuid::Uuid;

/// Reads the `cursor` of a list of tasks: the id of the last task of the page before.
///
/// ```
/// use trialmill_common::cursor::task_cursor;
///
/// assert!(task_cursor("019a3f0e-8c2b-7d51-9d55-1f0f6a1c2b3d").is_ok());
/// assert_eq!(task_cursor("2").unwrap_err().pointer, "?cursor");
/// ```
///
/// # Errors
/// When it is no UUID.
pub fn task_cursor(text: &str) -> Result<TaskId, Box<Fault>> {
    text.parse::<Uuid>().map(TaskId).map_err(|_| {
        bad_cursor(
            text,
            "cursor is the next_cursor of the page before, a task id",
        )
    })
}

/// Reads the `cursor` of a list of trials: the number of the last trial of the page before.
///
/// # Errors
/// When it is no whole number from 0 to 4,294,967,295.
pub fn trial_cursor(text: &str) -> Result<u32, Box<Fault>> {
    text.parse().map_err(|_| {
        bad_cursor(
            text,
            "cursor is the next_cursor of the page before, a trial number",
        )
    })
}

fn bad_cursor(text: &str, detail: &str) -> Box<Fault> {
    Box::new(Fault::new("?cursor", "bad_cursor", detail).value(&text.into()))
}

/// Reads the `Last-Event-ID` of a client that comes back: the number of the last event it saw, 0
/// for none. White space around it does not count.
///
/// # Errors
/// When it is no whole number from 0 to 9,223,372,036,854,775,807.
pub fn last_event_id(bytes: &[u8]) -> Result<i64, Box<Fault>> {
    let seen = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    seen.filter(|seq: &i64| *seq >= 0).ok_or_else(|| {
        let found = String::from_utf8_lossy(bytes).into_owned();
        let detail = "Last-Event-ID is the id of an event of this task, a whole number from 0";
        Box::new(Fault::new("#Last-Event-ID", "bad_event_id", detail).value(&found.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_read_back_and_anything_else_is_a_short_fault() {
        let id = Uuid::from_u128(7);
        assert_eq!(task_cursor(&id.to_string()), Ok(TaskId(id)));
        assert_eq!(trial_cursor("4294967295"), Ok(u32::MAX));
        assert_eq!(last_event_id(b" 9223372036854775807 "), Ok(i64::MAX));
        let long = "9".repeat(100_000);
        for fault in [
            task_cursor(&long).unwrap_err(),
            trial_cursor(&long).unwrap_err(),
            last_event_id(long.as_bytes()).unwrap_err(),
            task_cursor("").unwrap_err(),
            trial_cursor("-1").unwrap_err(),
            trial_cursor("1.5").unwrap_err(),
            last_event_id(b"-1").unwrap_err(),
            last_event_id(b"\xff").unwrap_err(),
            last_event_id(b"").unwrap_err(),
        ] {
            assert!(fault.value.to_string().len() < 300, "{fault:?}");
        }
    }
}
