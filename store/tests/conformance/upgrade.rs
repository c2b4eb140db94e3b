//! A database of a version before, with rows in it, becomes one of this version and goes on; builds
//! of several versions share one schema.

use crate::database::{Database, empty_postgresql};
use crate::given::{Given, flush};
use refinery::Target;
use std::sync::{Arc, Mutex};
use tokio_postgres::NoTls;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::state::{TaskId, TaskState, TrialEnd};
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::sqlite::SqliteStore;
use trialmill_store::{StoreError, Timing, schema_version};
use uuid::Uuid;

mod on_postgres {
    refinery::embed_migrations!("../migrations/postgres");
}

mod on_sqlite {
    refinery::embed_migrations!("../migrations/sqlite");
}

const TASK: TaskId = TaskId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001));

/// A running task of V1: trials 0 to 2 recorded by unit 0, whose 4 are handed out; unit 1 waits.
const ROWS_OF_V1: &str = "
    insert into tasks (id, kind, name, strategy, stock_codes, pool, request, spec, resolved,
        warnings, seed, priority, engine, state, parallelism, direction, n_trials, planned,
        next_number, next_unit, open_units, completed, failed, infeasible, best_number,
        best_value, seq, started_at)
    values ('{task}', 'hyperparameter_optimization', 'of V1', 'sphere', '{empty}', 'default',
        '{}', '{}', '{}', '[]', 1, 1, 'e1', 'running', 2, 'minimize', 6, 6, 6, 2, 2, 2, 1, 1, 0,
        0.5, 3, {now});
    insert into units (task_id, number, kind, first, count, recorded, state, publish_at)
    values ('{task}', 0, 'trials', 0, 4, 3, 'queued', {now}),
        ('{task}', 1, 'trials', 4, 2, 0, 'queued', {now});
    insert into trials (task_id, number, unit, outcome, params, value, infeasible, failure,
        duration_ms, seq)
    values ('{task}', 0, 0, 'completed', {bytes}, 0.5, null, null, 1, 3),
        ('{task}', 1, 0, 'completed', {bytes}, null, 'no trades', null, 1, 3),
        ('{task}', 2, 0, 'failed', {bytes}, null, null, '{failure}', 1, 3);
    insert into running_trials (task_id, number, unit, lease_token, params)
    values ('{task}', 3, 0, 1, {bytes});
    insert into task_events (task_id, seq, event)
    values ('{task}', 1, '{\"type\": \"accepted\"}'), ('{task}', 2, '{\"type\": \"started\"}'),
        ('{task}', 3, '{\"type\": \"trials\", \"numbers\": [[0, 3]],
            \"best\": {\"number\": 0, \"value\": 0.5}}');
";

fn rows(empty_list: &str) -> String {
    let failure = serde_json::to_string(&crate::given::failure()).unwrap();
    ROWS_OF_V1
        .replace("{task}", &TASK.to_string())
        .replace("{empty}", empty_list)
        .replace("{failure}", &failure)
}

async fn what_was_there_is_there_and_goes_on(database: Arc<Database>) {
    let given = Given::new(database).await;
    given.verify().await;
    let row = given.task(TASK).await;
    assert_eq!((row.name.as_str(), row.ledger.adaptive), ("of V1", false));
    let trials = given.trials(TASK).await;
    let ends: Vec<_> = trials.iter().map(|t| (t.end, t.violation)).collect();
    let expected = [
        (TrialEnd::Completed, None),
        (TrialEnd::Completed, None),
        (TrialEnd::Failed, None),
    ];
    assert_eq!(ends, expected);
    let page = given.store.history(TASK, 0, 0..u32::MAX).await.unwrap();
    assert_eq!((page.trials.len(), page.seq, page.complete), (3, 3, true));
    let first = given.claim(TASK, 0).await;
    assert_eq!((first.first, first.count, first.announced.len()), (3, 1, 1));
    given.record(flush(&first, 1, UnitEnd::Close)).await;
    let second = given.claim(TASK, 1).await;
    given.record(flush(&second, 2, UnitEnd::Close)).await;
    assert_eq!(given.task(TASK).await.ledger.state, TaskState::Completed);
    given.verify().await;
}

/// Versions of the schema that had landed before this one.
const BEFORE: [u32; 4] = [1, 2, 7, 11];

async fn sqlite_at(version: Option<u32>) -> Database {
    let folder = tempfile::tempdir().unwrap();
    let mut old = rusqlite::Connection::open(folder.path().join("test.db")).unwrap();
    let target = version.map_or(Target::Latest, |v| {
        Target::Version(i32::try_from(v).unwrap())
    });
    on_sqlite::migrations::runner()
        .set_target(target)
        .run(&mut old)
        .unwrap();
    drop(old);
    Database::Sqlite {
        folder,
        store: Mutex::new(None),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_file_of_a_version_before_goes_on() {
    for version in BEFORE {
        let database = sqlite_at(Some(version)).await;
        database.plant(&rows("[]")).await;
        what_was_there_is_there_and_goes_on(Arc::new(database)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_database_of_a_version_before_goes_on() {
    for version in BEFORE {
        empty_postgresql(async move |database: Arc<Database>, url: String| {
            let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            let connection = tokio::spawn(connection);
            on_postgres::migrations::runner()
                .set_target(Target::Version(i32::try_from(version).unwrap()))
                .run_async(&mut client)
                .await
                .unwrap();
            drop(client);
            connection.await.unwrap().unwrap();
            database.plant(&rows("{}")).await;
            PgStore::migrate(&url).await.unwrap();
            what_was_there_is_there_and_goes_on(database).await;
        })
        .await;
    }
}

/// Rows as a build of V1 writes them, which knows nothing of the columns since, and which goes on
/// beside this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_build_writes_rows_that_this_one_goes_on_with() {
    let database = sqlite_at(None).await;
    database.plant(&rows("[]")).await;
    what_was_there_is_there_and_goes_on(Arc::new(database)).await;
    empty_postgresql(async |database: Arc<Database>, url: String| {
        PgStore::migrate(&url).await.unwrap();
        database.plant(&rows("{}")).await;
        what_was_there_is_there_and_goes_on(database).await;
    })
    .await;
}

/// A schema of the future: two versions further, for builds from `oldest` on.
fn of_the_future(oldest: u32) -> String {
    let future = schema_version() + 2;
    format!(
        "insert into refinery_schema_history (version, name, applied_on, checksum)
         values ({future}, 'of_the_future', '2030-01-01T00:00:00Z', '1');
         update schema_compatibility set oldest_build = {oldest}, reason = 'a test';"
    )
}

fn assert_refused(refused: &StoreError) {
    let StoreError::Schema {
        found,
        needed,
        remedy,
    } = refused
    else {
        panic!("refused for another reason: {refused}");
    };
    assert_eq!((*found, *needed), (schema_version() + 2, schema_version()));
    let wanted = format!(
        "install one that needs {} or a later one",
        schema_version() + 1
    );
    assert!(remedy.contains(&wanted), "{remedy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_used_unless_it_says_that_this_build_is_too_old() {
    let database = sqlite_at(None).await;
    database.plant(&of_the_future(schema_version())).await;
    drop(database.store(Timing::default()).await);
    let raise = format!(
        "update schema_compatibility set oldest_build = {}",
        schema_version() + 1
    );
    database.plant(&raise).await;
    let Database::Sqlite { folder, .. } = &database else {
        panic!("it is a file");
    };
    let refused = SqliteStore::open(folder.path().join("test.db"), Timing::default());
    assert_refused(&refused.map(drop).unwrap_err());

    empty_postgresql(async |database: Arc<Database>, url: String| {
        PgStore::migrate(&url).await.unwrap();
        database.plant(&of_the_future(schema_version())).await;
        let connect =
            async || PgStore::connect(&url, PgOptions::default(), Timing::default()).await;
        drop(connect().await.unwrap());
        let raise = format!(
            "update schema_compatibility set oldest_build = {}",
            schema_version() + 1
        );
        database.plant(&raise).await;
        assert_refused(&connect().await.map(drop).unwrap_err());
    })
    .await;
}
