//! Why a command ends with another code than 0.

use crate::client::Problem;
use std::io;
use trialmill_store::StoreError;

/// Ends a command. Its text goes to standard error, once, in `main`.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A sentence that says what is wrong and what to do.
    #[error("{0}")]
    Reason(String),
    /// The API refused the request.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The database did not do it.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The result could not be written.
    #[error("the result could not be written: {0}")]
    Output(#[from] io::Error),
    /// All was said already; this is the exit code.
    #[error("exit code {0}")]
    Said(u8),
}

impl Failure {
    /// A failure with its sentence.
    pub fn reason(text: impl Into<String>) -> Self {
        Self::Reason(text.into())
    }

    /// The exit code: 1 unless the command says otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            // The reader went away (`trialmill list | head`): nobody is left to be told.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Said(code) => *code,
            _ => 1,
        }
    }

    /// What is left to say, if anything.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Said(_) => None,
            other => Some(other.to_string()),
        }
    }
}
