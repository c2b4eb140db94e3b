//! A database of one test: a SQLite file, or a database on the server of `DATABASE_URL`.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio_postgres::NoTls;
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::sqlite::SqliteStore;
use trialmill_store::{Store, Timing};

/// Where the rows of one test are.
pub enum Database {
    /// A file, and the one connection that may have it open.
    Sqlite {
        folder: TempDir,
        store: Mutex<Option<SqliteStore>>,
    },
    /// A database of a server.
    Postgres { server: String, name: String },
}

/// Runs one test on a fresh SQLite file.
pub async fn on_sqlite<F: Future<Output = ()> + Send + 'static>(
    test: impl FnOnce(Arc<Database>) -> F,
) {
    let folder = tempfile::tempdir().unwrap();
    test(Arc::new(Database::Sqlite {
        folder,
        store: Mutex::new(None),
    }))
    .await;
}

/// Runs one test on a fresh database of the server, and drops it whatever comes of the test.
pub async fn on_postgresql<F: Future<Output = ()> + Send + 'static>(
    test: impl FnOnce(Arc<Database>) -> F + Send + 'static,
) {
    let migrated = |database, url: String| async move {
        PgStore::migrate(&url).await.unwrap();
        test(database).await;
    };
    empty_postgresql(migrated).await;
}

/// The same on a database without any table; the test is told its address too.
pub async fn empty_postgresql<F: Future<Output = ()> + Send + 'static>(
    test: impl FnOnce(Arc<Database>, String) -> F,
) {
    #[expect(clippy::disallowed_methods, reason = "tests have no config.rs")]
    let server = std::env::var("DATABASE_URL").expect("DATABASE_URL is not set; run scripts/test");
    let name = format!("trialmill_test_{}", uuid::Uuid::new_v4().simple());
    execute(&server, &format!("create database {name}")).await;
    let url = with_name(&server, &name);
    let database = Arc::new(Database::Postgres {
        server: server.clone(),
        name: name.clone(),
    });
    let outcome = tokio::spawn(test(database, url)).await;
    execute(&server, &format!("drop database {name} with (force)")).await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

/// The server's address with another database name.
fn with_name(server: &str, name: &str) -> String {
    let (address, options) = server.split_once('?').unwrap_or((server, ""));
    let start = address
        .find("://")
        .expect("DATABASE_URL is a postgres:// address")
        + 3;
    let end = address[start..]
        .find('/')
        .map_or(address.len(), |slash| start + slash);
    let question = if options.is_empty() { "" } else { "?" };
    format!("{}/{name}{question}{options}", &address[..end])
}

async fn execute(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

impl Database {
    /// A handle that counts by `timing`.
    pub async fn store(&self, timing: Timing) -> Arc<dyn Store> {
        match self {
            Self::Sqlite { folder, store } => {
                let mut open = store.lock().unwrap();
                let store = open.get_or_insert_with(|| {
                    SqliteStore::open(folder.path().join("test.db"), timing.clone()).unwrap()
                });
                Arc::new(store.with_timing(timing))
            }
            Self::Postgres { server, name } => {
                let url = with_name(server, name);
                Arc::new(
                    PgStore::connect(&url, PgOptions::default(), timing)
                        .await
                        .unwrap(),
                )
            }
        }
    }

    /// Changes rows behind the store's back, past its constraints where the database lets us:
    /// `{now}` stands for a time, `{long_ago}` for one two years ago, `{bytes}` for no bytes. All
    /// handles must be dropped before.
    pub async fn plant(&self, sql: &str) {
        match self {
            Self::Sqlite { folder, store } => {
                drop(store.lock().unwrap().take());
                let path = folder.path().join("test.db");
                let connection = rusqlite::Connection::open(path).unwrap();
                // The thread of the dropped store closes the file when it gets to it.
                connection.busy_timeout(Duration::from_secs(10)).unwrap();
                let sql = sql.replace("{now}", "0").replace("{long_ago}", "0");
                let sql = sql.replace("{bytes}", "x''");
                connection
                    .execute_batch("pragma foreign_keys = on")
                    .unwrap();
                connection.execute_batch(&sql).unwrap();
            }
            Self::Postgres { server, name } => {
                let sql = sql.replace("{now}", "now()").replace("{bytes}", "''");
                let sql = sql.replace("{long_ago}", "now() - interval '2 years'");
                execute(&with_name(server, name), &sql).await;
            }
        }
    }
}
