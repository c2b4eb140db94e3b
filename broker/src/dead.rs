//! Dead letters: messages that nobody could use, kept with the reason for an operator to look at.
//!
//! Nothing depends on them: the unit that a message named is still in the database and is published
//! again. So an operator may discard any of them at any time; a replay is for those that a newer
//! build, or a mended one, can read.

use trialmill_common::message::UnitMessage;

/// Most dead letters in one list.
pub const MAX_DEAD_LISTED: u32 = 1_000;
/// How far a dead letter is looked for by its id, in messages from the head of the queue: while it
/// is looked for, the broker holds back what was passed over.
pub const MAX_DEAD_SEARCHED: u32 = 10_000;
/// How much of a body is shown, in bytes: all of any message of ours.
pub const MAX_DEAD_BODY_SHOWN: usize = trialmill_common::message::MAX_BODY_BYTES;
/// The code of a message that was given back too often.
pub const DELIVERY_LIMIT_CODE: &str = "delivery_limit";

/// A message that nobody could use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its identity as long as it is dead: 32 hexadecimal digits. A replay that dies again has
    /// another one.
    pub id: String,
    /// The kind of reason: that of a [`trialmill_common::message::MessageFault`], or the broker's
    /// own, such as `delivery_limit`.
    pub code: String,
    /// Why it is dead, in a sentence.
    pub reason: String,
    /// The pool whose queue it came from, as far as it says so.
    pub pool: Option<String>,
    /// The unit it names, if this build can read it.
    pub unit: Option<UnitMessage>,
    /// The version of its wire form, if it had one.
    pub schema: Option<i64>,
    /// Its body, cut at [`MAX_DEAD_BODY_SHOWN`] bytes; bytes that are no text are replaced.
    pub body: String,
    /// Length of the whole body, in bytes.
    pub bytes: usize,
}

/// What a look at the dead letters shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// The first of them, oldest first; without those that another process looks at in the same
    /// moment.
    pub letters: Vec<DeadLetter>,
    /// How many there are, as the broker counts them (it may be some seconds behind).
    pub total: u32,
}

/// The sentence for a message that was given back more than `limit` times.
pub(crate) fn too_often(limit: i64) -> String {
    format!(
        "it was given back to the queue more than {limit} times: those who took it died, or lost \
         their connection, before they acknowledged it"
    )
}

/// The part of a body that is shown.
pub(crate) fn shown(body: &[u8]) -> String {
    let cut = body.len().min(MAX_DEAD_BODY_SHOWN);
    String::from_utf8_lossy(&body[..cut]).into_owned()
}
