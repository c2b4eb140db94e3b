//! Why an operation of a store failed.

/// A failure of the database, or of ours in using it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or cannot answer now; nothing is known to be wrong with it.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The transaction lost against another and changed nothing: repeat it.
    #[error("the transaction was rolled back by the database: {0}")]
    Conflict(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The schema is older or newer than this build needs.
    #[error("the database schema is at version {found}, this build needs {needed}; {remedy}")]
    Schema {
        /// Version found; 0 for an empty database.
        found: u32,
        /// Version needed.
        needed: u32,
        /// What to do.
        remedy: String,
    },
    /// A row cannot be read by this build.
    #[error("{what}: {why}")]
    Unreadable {
        /// Which row.
        what: String,
        /// Why not.
        why: String,
    },
    /// The database refused a statement: a fault of ours, never of the input.
    #[error("the database refused a statement: {0}")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address of the database, or how it is to be secured, cannot be used.
    #[error("{0}")]
    Address(String),
}

impl StoreError {
    /// Whether the same operation may succeed when it is repeated later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_))
    }
}
