//! What can go wrong with a broker, in words for an operator. No message carries a password.

use std::time::Duration;
use thiserror::Error;

/// Why a message counts as not published. The unit stays due in the database and is tried again;
/// after [`PublishError::Timeout`] the message may still arrive, which is a harmless duplicate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// There is no connection now; one is being made in the background.
    #[error("the broker is not connected: {reason}")]
    Unavailable {
        /// Why the last connection or attempt ended.
        reason: String,
    },
    /// The broker takes no messages for want of memory or disk.
    #[error(
        "the broker is blocked ({reason}); free its memory or disk, publishing resumes by itself"
    )]
    Blocked {
        /// What the broker said.
        reason: String,
    },
    /// Nothing was sent: no channel or no declared queue to send to within the time allowed.
    #[error("the broker was not ready for a publish within {after:?}")]
    NotReady {
        /// The time allowed.
        after: Duration,
    },
    /// It was sent, and not confirmed within the time allowed.
    #[error("no confirm from the broker within {after:?}")]
    Timeout {
        /// The time allowed.
        after: Duration,
    },
    /// The broker took the message and found no queue for it. The queue is declared again.
    #[error("the broker found no queue for pool {pool}; it is declared again")]
    Unroutable {
        /// The pool.
        pool: String,
    },
    /// The broker answered with a negative confirm.
    #[error("the broker refused the message for pool {pool} (negative confirm)")]
    Refused {
        /// The pool.
        pool: String,
    },
    /// The in-process queue is at its bound.
    #[error("the queue of pool {pool} is full; the limit is {limit} messages")]
    Full {
        /// The pool.
        pool: String,
        /// The bound, in messages.
        limit: usize,
    },
    /// The connection or channel failed while the message was on its way.
    #[error("publishing to pool {pool} failed: {reason}")]
    Failed {
        /// The pool.
        pool: String,
        /// What the client library said.
        reason: String,
    },
    /// The pool cannot be the name of a queue.
    #[error(transparent)]
    Name(#[from] BrokerError),
}

/// Why an operation other than publishing failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BrokerError {
    /// A pool name that cannot be part of a queue's name.
    #[error(
        "pool name {name:?} is not usable; use 1 to {limit} of the characters a-z, A-Z, 0-9, '-', '_' and '.'"
    )]
    BadPoolName {
        /// The name.
        name: String,
        /// The longest name allowed, in bytes.
        limit: usize,
    },
    /// A consumer name that cannot be a consumer tag.
    #[error("consumer name has {bytes} bytes; use 1 to {limit}")]
    BadConsumerName {
        /// The length found.
        bytes: usize,
        /// The longest name allowed, in bytes.
        limit: usize,
    },
    /// There is no connection now; one is being made in the background.
    #[error("the broker is not connected: {reason}")]
    Unavailable {
        /// Why the last connection or attempt ended.
        reason: String,
    },
    /// No answer within the time allowed.
    #[error("no answer from the broker to {operation} within {after:?}")]
    Timeout {
        /// What was asked.
        operation: &'static str,
        /// The time allowed.
        after: Duration,
    },
    /// The broker or the client library refused an operation.
    #[error("{operation} failed: {reason}")]
    Failed {
        /// What was asked.
        operation: &'static str,
        /// What the client library said.
        reason: String,
    },
    /// Authorities are named for TLS that no address asks for.
    #[error(
        "{setting} is set, but no address in AMQP_URL begins with amqps://, so it would secure nothing; \
         write amqps:// or take it out"
    )]
    NoTls {
        /// The setting.
        setting: &'static str,
    },
    /// A broker URL that cannot be used.
    #[error("broker URL {url} is not usable: {reason}; write amqp://user:password@host:5672/vhost")]
    BadUrl {
        /// The URL with its password masked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}
