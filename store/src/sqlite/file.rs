//! The file: opening, locking, migrating, and voiding the leases of the process before.

use super::{Tx, in_transaction, tasks};
use crate::Timing;
use crate::error::StoreError;
use crate::migrate::{self, on_sqlite};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::path::Path;
use std::time::Duration;
use trialmill_common::protocol::Closed;

/// How long a starting process waits for the one before it to let go of the file.
const HANDOVER: Duration = Duration::from_secs(1);

/// Opens, locks and migrates the file.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let named = |error| explain(path, &error);
    let connection = Connection::open(path).map_err(named)?;
    connection.busy_timeout(HANDOVER)?;
    // The lock is taken by the first access and kept until the connection is closed. It comes
    // before WAL: then the index of the log lives in memory and no other process can join.
    connection
        .pragma_update(None, "locking_mode", "exclusive")
        .map_err(named)?;
    connection
        .pragma_update(None, "journal_mode", "wal")
        .map_err(named)?;
    connection
        .execute_batch("begin exclusive; commit")
        .map_err(named)?;
    prepare(connection)
}

/// An empty database in memory.
pub(super) fn open_in_memory() -> Result<Connection, StoreError> {
    prepare(Connection::open_in_memory()?)
}

fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path = path.display();
    let text = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => format!(
            "{path} is in use by another process; end that process, or name another file, or use \
             PostgreSQL for several processes"
        ),
        Some(ErrorCode::NotADatabase) => {
            let text = format!("{path} is not a SQLite database; name another file");
            return StoreError::Address(text);
        }
        _ => format!("cannot open {path}: {error}; check that it can be written here"),
    };
    StoreError::Unavailable(text.into())
}

fn prepare(mut connection: Connection) -> Result<Connection, StoreError> {
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // A file that a newer build has migrated serves an older one: see `migrate::check`.
    on_sqlite::migrations::runner()
        .set_abort_missing(false)
        .run(&mut connection)
        .map_err(|error| StoreError::Refused(Box::new(error)))?;
    check_schema(&connection)?;
    let immediate = TransactionBehavior::Immediate;
    in_transaction(&mut connection, immediate, &Timing::default(), void_leases)?;
    Ok(connection)
}

/// A newer schema may say that it is not for this build.
fn check_schema(connection: &Connection) -> Result<(), StoreError> {
    let number = |query: &str| connection.query_row(query, [], |row| row.get(0));
    let found = number("select max(version) from refinery_schema_history")?;
    let oldest = number("select oldest_build from schema_compatibility")?;
    migrate::check(found, Some(oldest))
}

/// The one process whose workers could hold a lease is gone, by its own will or not: its units are handed
/// back as a drain would, and its workers have left. (What its queue held becomes due when the new
/// process finds its queue empty.) Clients hold theirs on.
fn void_leases(tx: &Tx) -> Result<(), StoreError> {
    tx.connection.execute(
        "update workers set left_at = ?1 where left_at is null",
        [tx.now],
    )?;
    let mut statement = tx.connection.prepare(
        "select distinct task_id from units join tasks on id = task_id
             where units.state = 'leased' and not by_client order by task_id",
    )?;
    let held: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for task in held {
        let task = super::columns::task_id(&task)?;
        let Some(mut head) = tasks::head(tx, task)? else {
            continue;
        };
        if head.ledger.stop_requested.is_some() {
            // Nobody may claim a unit of a task that is ending: handing it back closes it.
            let closed: Vec<Closed> = tx
                .connection
                .prepare(
                    "update units set state = 'closed', lease_token = lease_token + 1,
                        owner = null, lease_until = null
                     where task_id = ?1 and state = 'leased' returning first",
                )?
                .query_map([task.to_string()], |row| {
                    let (first, rest) = (row.get(0)?, None);
                    Ok(Closed { first, rest })
                })?
                .collect::<Result<_, _>>()?;
            let effects = head.ledger.recorded(&[], &closed, 0);
            tx.connection.execute(
                "delete from running_trials where task_id = ?1",
                [task.to_string()],
            )?;
            tasks::save(tx, task, &head, &effects)?;
        }
    }
    // Nobody could report while the process was down: clients get one lease to do so.
    tx.connection.execute(
        "update units set lease_until = max(lease_until, ?1) where state = 'leased'",
        [tx.now.saturating_add(tx.lease)],
    )?;
    tx.connection.execute(
        "update units set state = 'queued', lease_token = lease_token + 1, owner = null,
            lease_until = null, publish_at = ?1, publishes = 0
         where state = 'leased' and task_id not in (select id from tasks where by_client)",
        [tx.now],
    )?;
    Ok(())
}
