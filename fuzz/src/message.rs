use trialmill_common::message::{MAX_TASK_NAME_CHARS, SCHEMA_VERSION, UnitMessage};

/// The longest reason beside a dead letter, in bytes.
const MAX_REASON_BYTES: usize = 1_000;

/// A message of the broker. The first byte chooses the version header, the rest is the body.
///
/// What is read is what was written: encoding it again gives a message that reads the same, but for
/// a task name that is cut. What is refused has a short reason.
pub fn message(data: &[u8]) {
    let Some((first, body)) = data.split_first() else {
        return;
    };
    let header = match first {
        0 => None,
        1 => Some(2),
        2 => Some(i64::MIN),
        _ => Some(SCHEMA_VERSION),
    };
    match UnitMessage::decode(header, body) {
        Ok(mut message) => {
            assert_eq!(header, Some(SCHEMA_VERSION));
            let (_, bytes) = message.encode();
            let again = UnitMessage::decode(header, &bytes).expect("what we write we read");
            if let Some(name) = &mut message.note.task_name {
                *name = name.chars().take(MAX_TASK_NAME_CHARS).collect();
            }
            assert_eq!(message, again);
        }
        Err(fault) => {
            assert!(!fault.code().is_empty());
            let reason = fault.to_string();
            assert!(reason.len() <= MAX_REASON_BYTES, "{reason}");
        }
    }
}
