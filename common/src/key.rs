//! Keys of the API: what they may do, what a new one may be, and how much a key may have in work.

use crate::fault::{Fault, pointer_segment};
use crate::state::KeyScope;
use serde_json::Value;
use std::time::Duration;

/// Name of the key that stands in the environment (`TRIALMILL_API_KEY`).
pub const ENVIRONMENT: &str = "environment";

/// Who acted when somebody worked on the database itself, without the API.
pub const DATABASE: &str = "database";

/// Names that no key in the database may have: others would be taken for it.
pub const RESERVED_NAMES: [&str; 2] = [ENVIRONMENT, DATABASE];

/// Longest name of a key: it stands in paths, logs and rows of every task.
pub const MAX_KEY_NAME_CHARS: usize = 64;

/// Longest life of a key, in days: ten years, beyond which an expiry means nothing.
pub const MAX_EXPIRY_DAYS: u32 = 3650;

/// Highest bound of the tasks or trials of a key: far above what one database holds.
pub const MAX_QUOTA: u64 = 4_000_000_000;

/// Active tasks per key where nobody says: twice what is promised to be accepted.
pub const DEFAULT_MAX_ACTIVE_TASKS: u64 = 200_000;

/// Trials of active tasks per key where nobody says: a hundred of the largest tasks.
pub const DEFAULT_MAX_BACKLOG_TRIALS: u64 = 100_000_000;

impl KeyScope {
    /// Whether a key with this scope may do what needs `needed`.
    ///
    /// ```
    /// use trialmill_common::state::KeyScope;
    ///
    /// assert!(KeyScope::Admin.covers(KeyScope::Submit));
    /// assert!(!KeyScope::Read.covers(KeyScope::Submit));
    /// ```
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        self >= needed
    }
}

/// How much a key may have in work at a time; nothing means no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Tasks that have not ended.
    pub active_tasks: Option<u64>,
    /// Trials of these tasks that have not ended.
    pub backlog_trials: Option<u64>,
}

/// What a key has in work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Tasks that have not ended.
    pub active_tasks: u64,
    /// Trials of these tasks that have not ended.
    pub backlog_trials: u64,
}

/// A task was refused because its key has too much in work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverQuota {
    /// Too many tasks: as many as there would be, and the bound.
    ActiveTasks {
        /// Tasks with the refused one.
        wanted: u64,
        /// The bound.
        limit: u64,
    },
    /// Too many trials.
    Backlog {
        /// Trials with those of the refused task.
        wanted: u64,
        /// The bound.
        limit: u64,
    },
}

impl Quota {
    /// No bound.
    pub const NONE: Self = Self {
        active_tasks: None,
        backlog_trials: None,
    };

    /// Whether there is nothing to keep to.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Whether `load`, the new task included, keeps to the bounds.
    ///
    /// # Errors
    /// The first bound that it does not keep to.
    pub fn check(&self, load: Load) -> Result<(), OverQuota> {
        let over = |limit: Option<u64>, wanted: u64| limit.filter(|limit| wanted > *limit);
        if let Some(limit) = over(self.active_tasks, load.active_tasks) {
            let wanted = load.active_tasks;
            return Err(OverQuota::ActiveTasks { wanted, limit });
        }
        if let Some(limit) = over(self.backlog_trials, load.backlog_trials) {
            let wanted = load.backlog_trials;
            return Err(OverQuota::Backlog { wanted, limit });
        }
        Ok(())
    }
}

/// A key to be made, without fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDraft {
    /// Its name, by which tasks and events name it.
    pub name: String,
    /// What it may do, in the order of [`KeyScope::ALL`], each once.
    pub scopes: Vec<KeyScope>,
    /// How long it lives; nothing: until it is revoked.
    pub expires_in: Option<Duration>,
    /// Bounds of its own; where there is none, the service's count.
    pub quota: Quota,
}

/// Checks the request for a key: `name`, `scopes`, and if wanted `expires_in_days`,
/// `max_active_tasks`, `max_backlog_trials`.
///
/// ```
/// use serde_json::json;
/// use trialmill_common::key::check_key;
///
/// let draft = check_key(&json!({"name": "ci", "scopes": ["submit"]})).unwrap();
/// assert_eq!((draft.name.as_str(), draft.scopes.len()), ("ci", 1));
/// let faults = check_key(&json!({"name": "environment", "scope": "all"})).unwrap_err();
/// assert_eq!(faults.len(), 3);
/// ```
///
/// # Errors
/// Every fault of it.
pub fn check_key(body: &Value) -> Result<KeyDraft, Vec<Fault>> {
    const FIELDS: [&str; 5] = [
        "name",
        "scopes",
        "expires_in_days",
        "max_active_tasks",
        "max_backlog_trials",
    ];
    let Some(fields) = body.as_object() else {
        let detail = "the request for a key is an object with name and scopes";
        return Err(vec![Fault::new("", "wrong_type", detail).value(body)]);
    };
    let mut faults = Vec::new();
    for (field, value) in fields {
        if !FIELDS.contains(&field.as_str()) {
            let detail = format!(
                "{field} is no field of a key; there are {}",
                FIELDS.join(", ")
            );
            let pointer = format!("/{}", pointer_segment(field));
            let fault = Fault::new(pointer, "unknown_field", detail);
            faults.push(fault.value(value).allowed(FIELDS));
        }
    }
    let name = name(&body["name"], &mut faults);
    let scopes = scopes(&body["scopes"], &mut faults);
    let mut whole = |field: &str, most: u64| whole_number(body, field, most, &mut faults);
    let days = whole("expires_in_days", MAX_EXPIRY_DAYS.into());
    let quota = Quota {
        active_tasks: whole("max_active_tasks", MAX_QUOTA),
        backlog_trials: whole("max_backlog_trials", MAX_QUOTA),
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(KeyDraft {
        name,
        scopes,
        expires_in: days.map(|days| Duration::from_secs(days * 24 * 60 * 60)),
        quota,
    })
}

fn name(value: &Value, faults: &mut Vec<Fault>) -> String {
    let (code, detail) = match value {
        Value::Null => ("required", "a key needs a name".to_owned()),
        Value::String(name) if RESERVED_NAMES.contains(&name.as_str()) => (
            "reserved_name",
            format!("{name} means something else in the list of events; choose another name"),
        ),
        Value::String(name) if is_key_name(name) => return name.clone(),
        _ => (
            "bad_name",
            format!(
                "the name of a key is 1 to {MAX_KEY_NAME_CHARS} of the characters a-z, A-Z, 0-9, \
                 '.', '_' and '-', and begins with a letter or digit"
            ),
        ),
    };
    let fault = Fault::new("/name", code, detail);
    faults.push(fault.value(value).limit(MAX_KEY_NAME_CHARS));
    String::new()
}

/// Whether a key may have this name, reserved ones aside.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    let first = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    first && name.len() <= MAX_KEY_NAME_CHARS && name.bytes().all(rest)
}

fn scopes(value: &Value, faults: &mut Vec<Fault>) -> Vec<KeyScope> {
    let names = || KeyScope::ALL.iter().map(|scope| scope.name());
    let Some(listed) = value.as_array().filter(|listed| !listed.is_empty()) else {
        let code = if value.is_null() {
            "required"
        } else {
            "wrong_type"
        };
        let detail = "scopes is a list of at least one of read, submit, admin";
        faults.push(
            Fault::new("/scopes", code, detail)
                .value(value)
                .allowed(names()),
        );
        return Vec::new();
    };
    let mut found = Vec::new();
    for (place, name) in listed.iter().enumerate() {
        match name.as_str().map(str::parse::<KeyScope>) {
            Some(Ok(scope)) => found.push(scope),
            _ => {
                let detail = format!("{name} is no scope; there are read, submit and admin");
                let fault = Fault::new(format!("/scopes/{place}"), "unknown_name", detail);
                faults.push(fault.value(name).allowed(names()));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn whole_number(body: &Value, field: &str, most: u64, faults: &mut Vec<Fault>) -> Option<u64> {
    let value = &body[field];
    if value.is_null() {
        return None;
    }
    let number = value.as_u64().filter(|number| (1..=most).contains(number));
    if number.is_none() {
        let detail = format!("{field} is {value}; it is a whole number from 1 to {most}");
        let fault = Fault::new(format!("/{field}"), "out_of_range", detail);
        faults.push(fault.value(value).limit(most));
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_scope_includes_those_before_it() {
        let covered = |scope: KeyScope| {
            let all = KeyScope::ALL.iter();
            all.filter(|needed| scope.covers(**needed)).count()
        };
        assert_eq!(KeyScope::ALL.iter().map(|s| covered(*s)).sum::<usize>(), 6);
        assert_eq!(covered(KeyScope::Admin), 3);
    }

    #[test]
    fn every_fault_of_a_key_is_told_at_once() {
        let body = json!({
            "name": "a b", "scopes": ["read", "write"], "expires_in_days": 0,
            "max_active_tasks": -1, "max_backlog_trials": "many", "color": "red",
        });
        let faults = check_key(&body).unwrap_err();
        let mut pointers: Vec<_> = faults.iter().map(|f| f.pointer.as_str()).collect();
        pointers.sort_unstable();
        let expected = [
            "/color",
            "/expires_in_days",
            "/max_active_tasks",
            "/max_backlog_trials",
            "/name",
            "/scopes/1",
        ];
        assert_eq!(pointers, expected);
        assert_eq!(check_key(&json!([])).unwrap_err()[0].code, "wrong_type");
        let long = json!({"name": "x".repeat(65), "scopes": []});
        assert_eq!(check_key(&long).unwrap_err().len(), 2);
    }

    #[test]
    fn a_whole_key_is_read() {
        let draft = check_key(&json!({
            "name": "ci-1", "scopes": ["admin", "read", "read"], "expires_in_days": 2,
            "max_active_tasks": 5,
        }));
        let draft = draft.unwrap();
        assert_eq!(draft.scopes, [KeyScope::Read, KeyScope::Admin]);
        assert_eq!(draft.expires_in, Some(Duration::from_secs(172_800)));
        assert_eq!(draft.quota.active_tasks, Some(5));
        assert_eq!(draft.quota.backlog_trials, None);
    }

    #[test]
    fn a_load_may_reach_its_bound_and_not_pass_it() {
        let quota = Quota {
            active_tasks: Some(2),
            backlog_trials: Some(10),
        };
        let load = |active_tasks, backlog_trials| Load {
            active_tasks,
            backlog_trials,
        };
        assert_eq!(quota.check(load(2, 10)), Ok(()));
        let (wanted, limit) = (3, 2);
        assert_eq!(
            quota.check(load(3, 11)),
            Err(OverQuota::ActiveTasks { wanted, limit })
        );
        let (wanted, limit) = (11, 10);
        assert_eq!(
            quota.check(load(2, 11)),
            Err(OverQuota::Backlog { wanted, limit })
        );
        assert_eq!(Quota::NONE.check(load(u64::MAX, u64::MAX)), Ok(()));
    }
}
