//! The status file: how `healthcheck` sees that a worker is alive.
//!
//! The worker rewrites it at every beat of its renewal, that is every third of a lease, whether
//! the database answers or not: a worker that waits for the database holds results and must not be
//! restarted for that. The file's own time tells its age, so only one machine's clock is involved.
//! Two workers on one machine need a file each.

use crate::running::Beat;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trialmill_common::worker::WorkerCard;

/// What the file says, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Status {
    worker: String,
    name: String,
    slots: u32,
    beats: u64,
    database: bool,
    /// Why it takes no units now: alive all the same, and to be left to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quarantine: Option<String>,
    /// Older than this, the worker is taken for dead.
    fresh_seconds: u64,
}

/// The status file of one worker; removed when it is dropped.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    fresh_seconds: u64,
}

impl StatusFile {
    /// A file for a worker with this lease. Nothing is written yet.
    #[must_use]
    pub fn new(path: PathBuf, lease: Duration) -> Self {
        Self {
            path,
            fresh_seconds: lease.as_secs().max(1) * 2,
        }
    }

    /// Writes the status of this moment, whole or not at all.
    ///
    /// # Errors
    /// When the folder is missing or not writable.
    pub fn write(&self, card: &WorkerCard, beat: Beat, quarantine: Option<&str>) -> io::Result<()> {
        let status = Status {
            worker: card.id.to_string(),
            name: card.name.clone(),
            slots: card.slots,
            beats: beat.turns,
            database: beat.database,
            quarantine: quarantine.map(str::to_owned),
            fresh_seconds: self.fresh_seconds,
        };
        let text = serde_json::to_string(&status).map_err(io::Error::other)?;
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, &self.path)
    }
}

impl Drop for StatusFile {
    fn drop(&mut self) {
        // A file that is gone or cannot be removed grows old by itself.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Says that the worker is alive.
///
/// # Errors
/// Why it is not, in a sentence.
pub fn check(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("no worker writes {shown}: {error}; TRIALMILL_STATUS_FILE must be the worker's")
    })?;
    let status: Status = serde_json::from_str(&text)
        .map_err(|error| format!("{shown} is not the status of a worker: {error}"))?;
    let written = std::fs::metadata(path).and_then(|about| about.modified());
    // A file from the future (a clock that was set back) is fresh.
    let age = written
        .map_or(Duration::MAX, |time| time.elapsed().unwrap_or_default())
        .as_secs();
    if age > status.fresh_seconds {
        let limit = status.fresh_seconds;
        return Err(format!(
            "worker {} was last heard of {age} s ago (limit {limit} s)",
            status.name
        ));
    }
    let database = if status.database {
        ""
    } else {
        "; the database does not answer"
    };
    let quarantine = status
        .quarantine
        .map(|reason| format!("; it is in quarantine and takes no units: {reason}"))
        .unwrap_or_default();
    Ok(format!(
        "worker {} with {} slots is alive{database}{quarantine}",
        status.name, status.slots
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;
    use trialmill_common::state::WorkerId;

    #[test]
    fn a_fresh_status_is_alive_an_old_or_absent_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status");
        assert!(check(&path).unwrap_err().contains("no worker writes"));
        let file = StatusFile::new(path.clone(), Duration::from_secs(30));
        let card = WorkerCard {
            id: WorkerId(uuid::Uuid::from_u128(1)),
            name: "host:1".to_owned(),
            slots: 2,
            pool: "default".to_owned(),
            strategies: vec![],
            version: "0".to_owned(),
            speaks: None,
        };
        file.write(
            &card,
            Beat {
                turns: 3,
                database: false,
            },
            Some("no child"),
        )
        .unwrap();
        let said = check(&path).unwrap();
        assert_eq!(
            said,
            "worker host:1 with 2 slots is alive; the database does not answer; it is in \
             quarantine and takes no units: no child"
        );
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap();
        assert!(check(&path).unwrap_err().contains("last heard of"));
        drop(file);
        assert!(!path.exists());
    }
}
