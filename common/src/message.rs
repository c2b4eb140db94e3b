//! The message that wakes a worker: which unit of which task is worth claiming.
//!
//! A message is a wake-up call, never the truth: it carries two ids, and everything else is read from the
//! database by the claim. What stands beside the ids ([`UnitNote`]) is for the operator who looks at a
//! message in the broker's management screen; no decision may be taken from it.
//!
//! Wire form: a JSON body `{"task_id": "...", "unit": 3}` with the version in the header
//! [`SCHEMA_HEADER`]. A reader accepts [`SCHEMA_VERSION`] and the version before it, so that builds of two
//! versions work side by side (`READERS` has one reader for each; there is no version before 1). Unknown fields
//! of the body are ignored, so that a newer writer may add some without a new version. A message of any other
//! version is put aside with its reason; its unit is in the database and is published again.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// The version of the wire form that this build writes, and the newest that it reads.
pub const SCHEMA_VERSION: i64 = 1;
/// Reads the body of one version.
type Reader = fn(&[u8]) -> Result<UnitMessage, serde_json::Error>;
/// The versions that this build reads, the newest first: [`SCHEMA_VERSION`] and the one before it. Whoever adds
/// version N puts its reader in front and takes N-2 away, and lets writers write N-1 until every live worker
/// reads N: their rows say what they read.
const READERS: &[(i64, Reader)] = &[(SCHEMA_VERSION, read_v1)];
/// The header with the version of the wire form.
pub const SCHEMA_HEADER: &str = "x-trialmill-schema";
/// The header that repeats the task id, readable without opening the body.
pub const TASK_HEADER: &str = "x-trialmill-task";
/// The header that repeats the unit number.
pub const UNIT_HEADER: &str = "x-trialmill-unit";
/// The largest body that is read, in bytes. A message of ours has less than 1.5 KiB.
pub const MAX_BODY_BYTES: usize = 4096;
/// A longer task name is cut to this many characters in a message; with every character escaped it still
/// leaves the body below [`MAX_BODY_BYTES`].
pub const MAX_TASK_NAME_CHARS: usize = 200;

/// Names one unit of one task.
///
/// ```
/// use trialmill_common::message::{SCHEMA_VERSION, UnitMessage, UnitNote};
///
/// let message = UnitMessage::new(uuid::Uuid::from_u128(7), 3).with_note(UnitNote {
///     task_name: Some("ICBC/CCB pair".to_owned()),
///     first_trial: Some(120),
///     trials: Some(40),
/// });
/// let (_headers, body) = message.encode();
/// assert_eq!(UnitMessage::decode(Some(SCHEMA_VERSION), &body), Ok(message));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnitMessage {
    /// The task.
    pub task: Uuid,
    /// The unit's number within its task.
    pub unit: u32,
    /// For the operator's eye.
    pub note: UnitNote,
}

/// What a message says to the operator beside its ids. Absent entries are left out of the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UnitNote {
    /// The task's name, cut at [`MAX_TASK_NAME_CHARS`] characters when it is written.
    pub task_name: Option<String>,
    /// The number of the unit's first trial.
    pub first_trial: Option<u32>,
    /// How many trials the unit had when it was published.
    pub trials: Option<u32>,
}

/// The value of a message header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// A whole number.
    Integer(i64),
    /// A readable text.
    Text(String),
}

/// Why a message cannot be read. Its text is the reason written beside the message in the dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MessageFault {
    /// There is no version header, or it is not a whole number.
    #[error(
        "header {SCHEMA_HEADER} is missing or not a whole number; this build reads {}",
        versions_read()
    )]
    MissingSchema,
    /// The version is one that this build does not read.
    #[error(
        "{SCHEMA_HEADER} is {found}; this build reads {}, update the older side",
        versions_read()
    )]
    UnknownSchema {
        /// The version found.
        found: i64,
    },
    /// The body is larger than any message of ours.
    #[error("the body has {bytes} bytes; the limit is {MAX_BODY_BYTES}")]
    TooLarge {
        /// The size found, in bytes.
        bytes: usize,
    },
    /// The body is not the JSON object of this version.
    #[error("the body is not a unit message: {detail}")]
    Malformed {
        /// What the JSON reader said, cut at 200 characters.
        detail: String,
    },
}

/// The versions that this build reads, in words.
fn versions_read() -> String {
    let versions: Vec<String> = READERS
        .iter()
        .map(|(version, _)| version.to_string())
        .collect();
    format!("version {}", versions.join(" and "))
}

impl MessageFault {
    /// A short name, fit for a metric's label.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingSchema => "missing_schema",
            Self::UnknownSchema { .. } => "unknown_schema",
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
        }
    }
}

impl UnitMessage {
    /// A message without a note.
    #[must_use]
    pub fn new(task: Uuid, unit: u32) -> Self {
        Self {
            task,
            unit,
            note: UnitNote::default(),
        }
    }

    /// The same message with a note for the operator.
    #[must_use]
    pub fn with_note(self, note: UnitNote) -> Self {
        Self { note, ..self }
    }

    /// The headers and the body of this message, in the version [`SCHEMA_VERSION`].
    #[must_use]
    pub fn encode(&self) -> (Vec<(&'static str, HeaderValue)>, Vec<u8>) {
        let body = BodyV1 {
            task_id: self.task,
            unit: self.unit,
            task_name: self
                .note
                .task_name
                .as_deref()
                .map(|name| name.chars().take(MAX_TASK_NAME_CHARS).collect()),
            first_trial: self.note.first_trial,
            trials: self.note.trials,
        };
        let body = serde_json::to_vec(&body)
            .expect("a struct of ids, numbers and a string is always JSON");
        let headers = vec![
            (SCHEMA_HEADER, HeaderValue::Integer(SCHEMA_VERSION)),
            (TASK_HEADER, HeaderValue::Text(self.task.to_string())),
            (UNIT_HEADER, HeaderValue::Integer(i64::from(self.unit))),
        ];
        (headers, body)
    }

    /// Reads a message: `schema_header` is the value of [`SCHEMA_HEADER`] (`None` when it is absent or not a
    /// whole number).
    ///
    /// # Errors
    /// A [`MessageFault`] that names what was found and what is read; never a panic, whatever the bytes.
    pub fn decode(schema_header: Option<i64>, body: &[u8]) -> Result<Self, MessageFault> {
        decode_with(READERS, schema_header, body)
    }
}

fn decode_with(
    readers: &[(i64, Reader)],
    schema_header: Option<i64>,
    body: &[u8],
) -> Result<UnitMessage, MessageFault> {
    let found = schema_header.ok_or(MessageFault::MissingSchema)?;
    let reader = readers.iter().find(|(version, _)| *version == found);
    let (_, read) = reader.ok_or(MessageFault::UnknownSchema { found })?;
    if body.len() > MAX_BODY_BYTES {
        return Err(MessageFault::TooLarge { bytes: body.len() });
    }
    read(body).map_err(|error| MessageFault::Malformed {
        detail: error.to_string().chars().take(200).collect(),
    })
}

fn read_v1(body: &[u8]) -> Result<UnitMessage, serde_json::Error> {
    let body: BodyV1 = serde_json::from_slice(body)?;
    let note = UnitNote {
        task_name: body.task_name,
        first_trial: body.first_trial,
        trials: body.trials,
    };
    Ok(UnitMessage {
        task: body.task_id,
        unit: body.unit,
        note,
    })
}

/// The body of version 1, apart from the domain type: a field added here is a question about old readers.
#[derive(Serialize, Deserialize)]
struct BodyV1 {
    task_id: Uuid,
    unit: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_trial: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trials: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note() -> impl Strategy<Value = UnitNote> {
        (
            proptest::option::of(proptest::collection::vec(
                any::<char>(),
                0..=MAX_TASK_NAME_CHARS,
            )),
            any::<Option<u32>>(),
            any::<Option<u32>>(),
        )
            .prop_map(|(name, first_trial, trials)| UnitNote {
                task_name: name.map(|name| name.into_iter().collect()),
                first_trial,
                trials,
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(task: u128, unit: u32, note in note()) {
            let message = UnitMessage::new(Uuid::from_u128(task), unit).with_note(note);
            let (headers, body) = message.encode();
            prop_assert!(body.len() <= MAX_BODY_BYTES);
            prop_assert!(headers.contains(&(SCHEMA_HEADER, HeaderValue::Integer(SCHEMA_VERSION))));
            prop_assert_eq!(UnitMessage::decode(Some(SCHEMA_VERSION), &body), Ok(message));
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(body: Vec<u8>, schema: Option<i64>) {
            // A random byte string is no JSON object with a UUID in it.
            prop_assert!(UnitMessage::decode(schema, &body).is_err());
            prop_assert!(UnitMessage::decode(Some(SCHEMA_VERSION), &body).is_err());
        }

        #[test]
        fn a_damaged_message_is_read_or_refused_without_a_panic(at: prop::sample::Index, byte: u8) {
            let (_, mut body) = UnitMessage::new(Uuid::from_u128(1), 3).encode();
            let at = at.index(body.len());
            let unchanged = body[at] == byte;
            body[at] = byte;
            let read = UnitMessage::decode(Some(SCHEMA_VERSION), &body);
            prop_assert!(!unchanged || read.is_ok());
        }
    }

    fn decode(body: &str) -> Result<UnitMessage, MessageFault> {
        UnitMessage::decode(Some(1), body.as_bytes())
    }

    const TASK: &str = "0192f3a4-0000-7000-8000-000000000001";

    #[test]
    fn the_wire_form_is_the_documented_one() {
        let message = UnitMessage::new(TASK.parse().unwrap(), 3);
        let (headers, body) = message.encode();
        assert_eq!(
            String::from_utf8(body).unwrap(),
            format!(r#"{{"task_id":"{TASK}","unit":3}}"#)
        );
        assert_eq!(headers[0], ("x-trialmill-schema", HeaderValue::Integer(1)));
        assert_eq!(
            headers[1],
            ("x-trialmill-task", HeaderValue::Text(TASK.to_owned()))
        );
        assert_eq!(headers[2], ("x-trialmill-unit", HeaderValue::Integer(3)));
    }

    #[test]
    fn a_field_of_a_newer_writer_is_ignored() {
        let read = decode(&format!(
            r#"{{"task_id":"{TASK}","unit":3,"colour":["blue"]}}"#
        ))
        .unwrap();
        assert_eq!(read, UnitMessage::new(TASK.parse().unwrap(), 3));
    }

    #[test]
    fn a_deep_unknown_field_overflows_no_stack() {
        let (open, close) = ("[".repeat(1500), "]".repeat(1500));
        let read = decode(&format!(
            r#"{{"task_id":"{TASK}","unit":3,"x":{open}{close}}}"#
        ))
        .unwrap();
        assert_eq!(read.unit, 3);
    }

    #[test]
    fn a_build_of_the_next_version_reads_its_own_and_the_one_before() {
        // As that build would read: the unit under another name.
        fn read_v2(body: &[u8]) -> Result<UnitMessage, serde_json::Error> {
            #[derive(Deserialize)]
            struct BodyV2 {
                task: Uuid,
                part: u32,
            }
            let BodyV2 { task, part } = serde_json::from_slice(body)?;
            Ok(UnitMessage::new(task, part))
        }
        let next: &[(i64, Reader)] = &[(2, read_v2), READERS[0]];
        let expected = UnitMessage::new(TASK.parse().unwrap(), 3);
        let v1 = format!(r#"{{"task_id":"{TASK}","unit":3}}"#);
        let v2 = format!(r#"{{"task":"{TASK}","part":3}}"#);
        assert_eq!(
            decode_with(next, Some(1), v1.as_bytes()),
            Ok(expected.clone())
        );
        assert_eq!(decode_with(next, Some(2), v2.as_bytes()), Ok(expected));
        for (schema, code) in [(3, "unknown_schema"), (1, "malformed")] {
            let fault = decode_with(next, Some(schema), v2.as_bytes()).unwrap_err();
            assert_eq!(fault.code(), code);
        }
        let today = UnitMessage::decode(Some(2), v2.as_bytes()).unwrap_err();
        assert_eq!(today, MessageFault::UnknownSchema { found: 2 });
    }

    #[test]
    fn another_version_is_refused_whatever_the_body() {
        let (_, body) = UnitMessage::new(Uuid::nil(), 0).encode();
        for found in [0, 2, -1, i64::MAX] {
            assert_eq!(
                UnitMessage::decode(Some(found), &body),
                Err(MessageFault::UnknownSchema { found })
            );
        }
        assert_eq!(
            UnitMessage::decode(None, &body),
            Err(MessageFault::MissingSchema)
        );
    }

    #[test]
    fn a_body_above_four_kibibytes_is_refused_and_one_at_the_limit_is_read() {
        let (_, mut body) = UnitMessage::new(Uuid::nil(), 0).encode();
        body.resize(MAX_BODY_BYTES, b' ');
        assert!(UnitMessage::decode(Some(1), &body).is_ok());
        body.push(b' ');
        assert_eq!(
            UnitMessage::decode(Some(1), &body),
            Err(MessageFault::TooLarge {
                bytes: MAX_BODY_BYTES + 1
            })
        );
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_and_the_message_stays_readable() {
        let note = UnitNote {
            task_name: Some("\u{1}".repeat(10_000)),
            ..UnitNote::default()
        };
        let (_, body) = UnitMessage::new(Uuid::nil(), 0).with_note(note).encode();
        let read = UnitMessage::decode(Some(1), &body).unwrap();
        assert_eq!(
            read.note.task_name.unwrap().chars().count(),
            MAX_TASK_NAME_CHARS
        );
    }

    #[test]
    fn faulty_bodies_are_refused_with_a_reason() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"unit":3}"#,
            r#"{"task_id":"not-a-uuid","unit":3}"#,
            &format!(r#"{{"task_id":"{TASK}"}}"#),
            &format!(r#"{{"task_id":"{TASK}","unit":-1}}"#),
            &format!(r#"{{"task_id":"{TASK}","unit":1.5}}"#),
            &format!(r#"{{"task_id":"{TASK}","unit":4294967296}}"#),
            &format!(r#"{{"task_id":"{TASK}","unit":3}} trailing"#),
            &format!(r#"{{"task_id":{}"#, "[".repeat(4000)),
        ] {
            let fault = decode(body).unwrap_err();
            assert_eq!(fault.code(), "malformed", "{body}: {fault}");
            assert!(fault.to_string().len() > "the body is not a unit message: ".len());
        }
    }
}
