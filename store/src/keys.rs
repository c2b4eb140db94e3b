//! Keys of the API and events of the audit, as they go into a store and come out of it.

use chrono::{DateTime, Utc};
use trialmill_common::key::{KeyDraft, Quota};
use trialmill_common::state::KeyScope;

/// A key to be stored. The key itself is not in it, only its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Name, scopes, life and bounds.
    pub draft: KeyDraft,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// Who makes it: the name of a key, [`trialmill_common::key::DATABASE`], or "".
    pub created_by: String,
}

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Identity; a name may come again after it was revoked.
    pub id: i64,
    /// Name, which no other key has that is not revoked.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// Bounds of its own.
    pub quota: Quota,
    /// Who made it; "" without a key.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ceases to be valid.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl KeyRow {
    /// Whether it may do what needs `needed`.
    #[must_use]
    pub fn may(&self, needed: KeyScope) -> bool {
        self.scopes.iter().any(|scope| scope.covers(needed))
    }
}

/// A page of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// Those that are not revoked by name, then the revoked ones, latest first; at most
    /// [`crate::MAX_PAGE`].
    pub keys: Vec<KeyRow>,
    /// How many there are.
    pub total: u64,
}

/// How many keys there are, for deciding whether one is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyCensus {
    /// Keys that are not revoked, expired ones included: an expiry must not open what was closed.
    pub kept: u64,
    /// Keys with the scope `admin` that are neither revoked nor expired.
    pub live_admins: u64,
}

/// Something that was done, or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Name of the key; "" without one.
    pub key: String,
    /// What was done, such as `task.cancel`.
    pub action: String,
    /// To what: an id, a name, an address.
    pub target: String,
    /// More of it, in words; never a secret.
    pub detail: String,
    /// How often: above 1 for refused requests, which are gathered.
    pub times: u32,
}

impl AuditEvent {
    /// What was done once.
    pub fn once(key: &str, action: &str, target: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            action: action.to_owned(),
            target: target.into(),
            detail: String::new(),
            times: 1,
        }
    }

    /// The same with more words.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Number, rising; of two transactions at the same time the later one may have the lower.
    pub id: i64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// What it says.
    pub event: AuditEvent,
}

/// The event of a submission.
pub(crate) fn submitted(task: &crate::rows::NewTask) -> AuditEvent {
    let by = task.submitted_by.as_deref().unwrap_or_default();
    AuditEvent::once(by, "task.submit", task.id.to_string())
}

/// The event of a new key.
pub(crate) fn created(key: &NewKey) -> AuditEvent {
    let scopes: Vec<_> = key.draft.scopes.iter().map(|scope| scope.name()).collect();
    AuditEvent::once(&key.created_by, "key.create", &key.draft.name)
        .detail(format!("scopes {}", scopes.join(", ")))
}
