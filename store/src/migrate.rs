//! Migrations: embedded, forward-only, run by `trialmill migrate`; a start-up only checks.

use crate::error::StoreError;

/// The migrations of PostgreSQL.
pub(crate) mod on_postgres {
    refinery::embed_migrations!("../migrations/postgres");
}

/// The migrations of SQLite.
pub(crate) mod on_sqlite {
    refinery::embed_migrations!("../migrations/sqlite");
}

/// Whether a schema at version `found` serves a build that needs `needed`. A newer one does:
/// migrations only add what an older build can live with (docs/adr/0005).
pub(crate) fn check(found: u32, needed: u32) -> Result<(), StoreError> {
    if found >= needed {
        return Ok(());
    }
    let remedy = "run `trialmill migrate`";
    Err(StoreError::Schema {
        found,
        needed,
        remedy,
    })
}
