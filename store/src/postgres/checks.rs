//! Questions about the database as a whole.

use super::PgError;
use crate::verify::{RULES, Violation};
use deadpool_postgres::Object;
use tokio_postgres::IsolationLevel;

/// Version of the schema; 0 for an empty database.
pub(super) async fn schema_version(client: &mut Object) -> Result<i32, PgError> {
    let table = "select to_regclass('refinery_schema_history') is not null";
    if !client.query_one(table, &[]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    let newest = "select coalesce(max(version), 0)::int4 from refinery_schema_history";
    Ok(client.query_one(newest, &[]).await?.get(0))
}

/// The oldest build that may use the schema, if it says so: one of V5 or later does.
pub(super) async fn oldest_build(client: &mut Object) -> Result<Option<i32>, PgError> {
    let table = "select to_regclass('schema_compatibility') is not null";
    if !client.query_one(table, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let oldest = "select oldest_build from schema_compatibility";
    let row = client.query_opt(oldest, &[]).await?;
    Ok(row.map(|row| row.get(0)))
}

pub(super) async fn verify(client: &mut Object) -> Result<Vec<Violation>, PgError> {
    // One snapshot for all rules: otherwise a commit between two of them would look like a
    // violation.
    let tx = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    tx.batch_execute("set local statement_timeout = 0").await?;
    let mut violations = Vec::new();
    for (rule, query) in RULES {
        for row in tx.query(*query, &[]).await? {
            violations.push(Violation {
                rule,
                task_id: row.get(0),
                detail: row.get(1),
            });
        }
    }
    tx.commit().await?;
    Ok(violations)
}

/// A write that leaves nothing: the transaction is rolled back.
pub(super) async fn writable(client: &mut Object) -> Result<(), PgError> {
    let tx = client.transaction().await?;
    tx.execute(
        "insert into idempotency_keys (scope, key, body_hash, task_id)
         values ('', gen_random_uuid()::text, '', gen_random_uuid())",
        &[],
    )
    .await?;
    tx.rollback().await?;
    Ok(())
}
