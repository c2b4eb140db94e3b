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

/// Version of the schema that this build's statements are written for: that of its newest
/// migration.
#[must_use]
pub fn schema_version() -> u32 {
    let newest = on_postgres::migrations::runner()
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max();
    u32::try_from(newest.unwrap_or(0)).expect("versions are small and positive")
}

/// Whether a schema at version `found` serves this build. An older one does not. A newer one does,
/// unless its `oldest_build` says otherwise: most migrations only add what an older build can live
/// with (docs/adr/0005).
pub(crate) fn check(found: u32, oldest_build: Option<u32>) -> Result<(), StoreError> {
    check_for(schema_version(), found, oldest_build)
}

fn check_for(needed: u32, found: u32, oldest_build: Option<u32>) -> Result<(), StoreError> {
    let remedy = match oldest_build {
        _ if found < needed => "run `trialmill migrate`".to_owned(),
        Some(oldest) if needed < oldest => format!(
            "a build that needs a version below {oldest} cannot use it: install one that needs \
             {oldest} or a later one"
        ),
        Some(_) | None => return Ok(()),
    };
    Err(StoreError::Schema {
        found,
        needed,
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_build_works_on_a_newer_schema_unless_that_says_otherwise() {
        assert!(check_for(5, 5, Some(2)).is_ok());
        assert!(check_for(5, 9, Some(5)).is_ok());
        assert!(check_for(5, 9, None).is_ok());
        let refused = check_for(5, 9, Some(6)).unwrap_err().to_string();
        assert!(
            refused
                .contains("at version 9, this build needs 5; a build that needs a version below 6"),
            "{refused}"
        );
        let refused = check_for(5, 4, Some(2)).unwrap_err().to_string();
        assert!(refused.ends_with("run `trialmill migrate`"), "{refused}");
    }

    #[test]
    fn both_databases_have_the_same_versions() {
        let newest = on_sqlite::migrations::runner()
            .get_migrations()
            .iter()
            .map(refinery::Migration::version)
            .max();
        assert_eq!(
            newest.and_then(|v| u32::try_from(v).ok()),
            Some(schema_version())
        );
    }
}
