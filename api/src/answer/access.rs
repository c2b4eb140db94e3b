//! Answers about keys and the audit.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use trialmill_store::keys::{AuditRow, KeyRow};

/// A key, without the key itself, which is nowhere.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KeyAnswer {
    /// Its name.
    pub name: String,
    /// What it may do: read, submit, admin.
    pub scopes: Vec<String>,
    /// Most tasks of it that have not ended; null: what the service says.
    pub max_active_tasks: Option<u64>,
    /// Most trials of these tasks that have not ended; null: what the service says.
    pub max_backlog_trials: Option<u64>,
    /// Key that made it; null without one.
    pub created_by: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ceases to be valid.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl From<KeyRow> for KeyAnswer {
    fn from(row: KeyRow) -> Self {
        let scopes = row.scopes.iter().map(|scope| scope.name().to_owned());
        Self {
            scopes: scopes.collect(),
            name: row.name,
            max_active_tasks: row.quota.active_tasks,
            max_backlog_trials: row.quota.backlog_trials,
            created_by: Some(row.created_by).filter(|by| !by.is_empty()),
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        }
    }
}

/// A new key.
#[derive(Clone, Serialize, JsonSchema)]
pub struct KeyCreated {
    /// The key itself: shown here, once, and kept nowhere.
    pub key: String,
    /// What it is.
    #[serde(flatten)]
    pub about: KeyAnswer,
}

/// The keys.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KeyList {
    /// Those that are not revoked by name, then the revoked ones, latest first; at most 1,000.
    pub items: Vec<KeyAnswer>,
    /// How many there are.
    pub total: u64,
}

/// Something that was done, or refused.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AuditAnswer {
    /// Number of the event.
    pub id: i64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Name of the key; null without one, `environment` for TRIALMILL_API_KEY, `database` for
    /// commands that worked on the database itself.
    pub key: Option<String>,
    /// What was done: task.submit, task.cancel, task.pause, task.resume, task.delete, key.create,
    /// key.revoke, request.denied.
    pub action: String,
    /// To what: a task's id, a key's name, an address, a scope.
    pub target: String,
    /// More of it.
    pub detail: String,
    /// How often: refused requests are gathered.
    pub times: u32,
}

impl From<AuditRow> for AuditAnswer {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, at, event } = row;
        Self {
            id,
            at,
            key: Some(event.key).filter(|key| !key.is_empty()),
            action: event.action,
            target: event.target,
            detail: event.detail,
            times: event.times,
        }
    }
}

/// A page of the audit.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AuditList {
    /// Events, latest first.
    pub items: Vec<AuditAnswer>,
    /// The cursor of the next page; null on the last one.
    pub next_cursor: Option<String>,
}
