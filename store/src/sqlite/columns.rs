//! How values are written in SQLite's columns, and read back.

use crate::error::StoreError;
use chrono::{DateTime, Utc};
use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;
use trialmill_common::protocol::unable::Unable;
use trialmill_common::state::{TaskId, WorkerId};
use uuid::Uuid;

/// A duration in the unit of the time columns; one that is longer than the columns reach is cut.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// A span of the time columns in seconds.
pub(super) fn seconds(from: i64, to: i64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 microseconds are 285 years"
    )]
    let span = (to - from) as f64;
    span / 1e6
}

fn unreadable(what: &str, why: impl Display) -> StoreError {
    StoreError::Unreadable {
        what: format!("column {what}"),
        why: why.to_string(),
    }
}

/// A time column.
pub(super) fn time(row: &Row, column: &str) -> Result<DateTime<Utc>, StoreError> {
    at(row.get(column)?, column)
}

/// A time column that may be null.
pub(super) fn maybe_time(row: &Row, column: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
    let micros: Option<i64> = row.get(column)?;
    micros.map(|micros| at(micros, column)).transpose()
}

fn at(micros: i64, column: &str) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| {
        unreadable(
            column,
            format!("{micros} microseconds are beyond the calendar"),
        )
    })
}

/// A state, kind or reason by its name.
pub(super) fn named<T: FromStr<Err: Display>>(row: &Row, column: &str) -> Result<T, StoreError> {
    let name: String = row.get(column)?;
    name.parse().map_err(|why| unreadable(column, why))
}

/// A state, kind or reason by its name, or null.
pub(super) fn maybe_named<T: FromStr<Err: Display>>(
    row: &Row,
    column: &str,
) -> Result<Option<T>, StoreError> {
    let name: Option<String> = row.get(column)?;
    name.map(|name| name.parse().map_err(|why| unreadable(column, why)))
        .transpose()
}

/// A column of JSON.
pub(super) fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T, StoreError> {
    parse(&row.get::<_, String>(column)?, column)
}

/// A column of JSON that may be null.
pub(super) fn maybe_json<T: DeserializeOwned>(
    row: &Row,
    column: &str,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| parse(&text, column)).transpose()
}

fn parse<T: DeserializeOwned>(text: &str, column: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|why| unreadable(column, why))
}

/// The text of a JSON column.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("rows hold strings, numbers and maps with string keys")
}

/// A task's identity from its text.
pub(super) fn task_id(text: &str) -> Result<TaskId, StoreError> {
    uuid(text, "task_id").map(TaskId)
}

/// A worker's identity that may be null.
pub(super) fn maybe_worker(row: &Row, column: &str) -> Result<Option<WorkerId>, StoreError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| uuid(&text, column).map(WorkerId))
        .transpose()
}

/// The columns of a unit that say how often it could not be run.
pub(super) fn unable(row: &Row) -> Result<Unable<WorkerId>, StoreError> {
    Ok(Unable {
        times: row.get("unable")?,
        by: maybe_worker(row, "unable_by")?,
        by_others: row.get("unable_by_others")?,
    })
}

/// An identity from its text.
pub(super) fn uuid(text: &str, column: &str) -> Result<Uuid, StoreError> {
    Uuid::parse_str(text).map_err(|why| unreadable(column, why))
}

/// A hash that may be null.
pub(super) fn maybe_hash(row: &Row, column: &str) -> Result<Option<[u8; 32]>, StoreError> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    bytes.map(|bytes| hash(bytes, column)).transpose()
}

/// A hash from its bytes.
pub(super) fn hash(bytes: Vec<u8>, column: &str) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|bytes: Vec<u8>| {
        unreadable(column, format!("{} bytes where a hash has 32", bytes.len()))
    })
}
