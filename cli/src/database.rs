//! Opens the database that a command works on.

use crate::config::{DEFAULT_DATA_DIR, Settings};
use crate::failure::Failure;
use crate::output;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trialmill_store::postgres::{CA_SETTING, PgOptions, PgStore};
use trialmill_store::sqlite::SqliteStore;
use trialmill_store::{Store, Timing};
use trialmill_tls::Trust;

/// The file of the embedded database within its folder.
pub const SQLITE_FILE: &str = "trialmill.sqlite3";

/// Where the data is.
pub enum Place {
    /// PostgreSQL: its address, and the file of authorities of its certificate, if one is named.
    Postgres(String, Option<PathBuf>),
    /// A folder with the SQLite file.
    Embedded(PathBuf),
}

impl Place {
    /// A folder given on the command line wins, then `DATABASE_URL`, then the embedded default.
    pub fn of(data_dir: Option<&Path>, settings: &Settings) -> Self {
        match (data_dir, &settings.database_url) {
            (Some(folder), _) => Self::Embedded(folder.to_owned()),
            (None, Some(url)) => Self::Postgres(url.clone(), settings.database_ca_file.clone()),
            (None, None) => Self::Embedded(
                settings
                    .data_dir
                    .clone()
                    .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)),
            ),
        }
    }

    /// What to call it, without secrets.
    pub fn name(&self) -> String {
        match self {
            Self::Postgres(..) => "the database of DATABASE_URL".to_owned(),
            Self::Embedded(folder) => folder.join(SQLITE_FILE).display().to_string(),
        }
    }

    /// Whether there is anything to open; a server is asked when it is opened.
    pub fn exists(&self) -> bool {
        match self {
            Self::Postgres(..) => true,
            Self::Embedded(folder) => folder.join(SQLITE_FILE).exists(),
        }
    }

    /// Opens it; makes the embedded one where `create` says so.
    ///
    /// # Errors
    /// When it is not there, or cannot be used.
    pub async fn open(&self, create: bool) -> Result<Arc<dyn Store>, Failure> {
        match self {
            Self::Postgres(url, ca_file) => {
                let trust = trust(ca_file.as_deref())?;
                Ok(Arc::new(connect(url, trust, 4, &Timing::default()).await?))
            }
            Self::Embedded(folder) => {
                if !create && !self.exists() {
                    return Err(Failure::reason(format!(
                        "there is no {}; set DATABASE_URL, give --data-dir, or make one with \
                         `trialmill data generate` or `trialmill data import FILE`",
                        self.name()
                    )));
                }
                Ok(Arc::new(embedded(folder, &Timing::default())?))
            }
        }
    }
}

/// Whose certificates are believed at PostgreSQL.
///
/// # Errors
/// When the file cannot be used.
pub fn trust(ca_file: Option<&Path>) -> Result<Trust, Failure> {
    Trust::new(CA_SETTING, ca_file).map_err(|fault| Failure::reason(fault.to_string()))
}

/// Connects to PostgreSQL.
///
/// # Errors
/// As [`PgStore::connect`].
pub async fn connect(
    url: &str,
    trust: Trust,
    pool_size: usize,
    timing: &Timing,
) -> Result<PgStore, Failure> {
    let usual = PgOptions::default();
    let options = PgOptions {
        pool_size,
        trust,
        // Below half a lease, so that a write that hangs is known to have failed in time.
        statement_timeout: usual.statement_timeout.min(timing.lease.mul_f64(0.45)),
        application_name: format!("trialmill:{}", std::process::id()),
        ..usual
    };
    Ok(PgStore::connect(url, options, timing.clone()).await?)
}

/// Opens or makes the embedded database in a folder.
///
/// # Errors
/// When the folder cannot be made, or another process has the file open.
pub fn embedded(folder: &Path, timing: &Timing) -> Result<SqliteStore, Failure> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::reason(format!(
            "the folder {} cannot be made: {error}",
            folder.display()
        ))
    })?;
    let file = folder.join(SQLITE_FILE);
    SqliteStore::open(&file, timing.clone()).map_err(|error| {
        let hint = if error.is_transient() {
            "; if `trialmill up` has it open, stop that first: the file serves one process"
        } else {
            ""
        };
        Failure::reason(format!("{}: {error}{hint}", file.display()))
    })
}

/// Brings the schema up to date.
///
/// # Errors
/// When the database cannot be reached, or a migration fails.
pub async fn migrate(settings: &Settings) -> Result<(), Failure> {
    let Some(url) = &settings.database_url else {
        return Err(Failure::reason(
            "DATABASE_URL is not set; there is nothing to migrate (the embedded database is \
             brought up to date whenever it is opened)",
        ));
    };
    let trust = trust(settings.database_ca_file.as_deref())?;
    PgStore::migrate_trusting(url, trust).await?;
    output::say("the schema of the database is up to date")?;
    Ok(())
}
