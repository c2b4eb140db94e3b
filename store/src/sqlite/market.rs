//! Bars and snapshots.

use super::Tx;
use super::columns::{hash, json, named, time, to_json};
use crate::error::StoreError;
use crate::pack::{content_hash, pinned_hashes};
use crate::rows::{SeriesInfo, Snapshot};
use chrono::NaiveDate;
use rusqlite::{OptionalExtension, Row, params};
use trialmill_backtest::bars::BarSeries;

/// A series as it is stored.
pub(super) struct PackedSeries {
    hash: [u8; 32],
    symbol: String,
    frequency: &'static str,
    rows: u32,
    first: NaiveDate,
    last: NaiveDate,
    bytes: Vec<u8>,
}

impl PackedSeries {
    /// Packs and hashes a series.
    pub fn of(series: &BarSeries) -> Self {
        let bytes = series.to_bytes();
        let day = |seconds: i64| {
            let time = chrono::DateTime::from_timestamp(seconds, 0);
            time.expect("bars lie between 1800 and 2200").date_naive()
        };
        Self {
            hash: content_hash(&bytes),
            symbol: series.symbol().to_owned(),
            frequency: series.frequency().name(),
            rows: u32::try_from(series.rows()).expect("four billion bars do not fit in memory"),
            first: day(series.first_time()),
            last: day(series.last_time()),
            bytes,
        }
    }
}

/// Stores series and makes them the current ones of their symbols.
pub(super) fn put_series(
    tx: &Tx,
    series: &[PackedSeries],
    source: &str,
) -> Result<Vec<[u8; 32]>, StoreError> {
    let mut insert = tx.connection.prepare_cached(
        "insert into series
            (hash, symbol, frequency, rows, first_day, last_day, source, stored_at, bytes)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) on conflict do nothing",
    )?;
    let mut point = tx.connection.prepare_cached(
        "insert into symbols (symbol, series_hash) values (?1, ?2)
         on conflict (symbol) do update set series_hash = excluded.series_hash",
    )?;
    for one in series {
        insert.execute(params![
            one.hash,
            one.symbol,
            one.frequency,
            one.rows,
            one.first.to_string(),
            one.last.to_string(),
            source,
            tx.now,
            one.bytes
        ])?;
        point.execute(params![one.symbol, one.hash])?;
    }
    Ok(series.iter().map(|one| one.hash).collect())
}

fn info(row: &Row) -> Result<SeriesInfo, StoreError> {
    Ok(SeriesInfo {
        symbol: row.get("symbol")?,
        hash: hash(row.get("hash")?, "hash")?,
        frequency: row.get("frequency")?,
        rows: row.get("rows")?,
        first: named(row, "first_day")?,
        last: named(row, "last_day")?,
        source: row.get("source")?,
        stored_at: time(row, "stored_at")?,
    })
}

/// The current series of the given symbols, or of all, by symbol.
pub(super) fn series_info(tx: &Tx, symbols: &[String]) -> Result<Vec<SeriesInfo>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select y.symbol, s.hash, s.frequency, s.rows, s.first_day, s.last_day, s.source,
            s.stored_at
         from symbols y join series s on s.hash = y.series_hash
         where ?1 = '[]' or y.symbol in (select value from json_each(?1)) order by y.symbol",
    )?;
    let mut rows = statement.query([to_json(&symbols)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(info(row)?);
    }
    Ok(found)
}

/// The bytes of series by hash, in order.
pub(super) fn series_bytes(tx: &Tx, hashes: &[[u8; 32]]) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut statement = tx
        .connection
        .prepare_cached("select bytes from series where hash = ?1")?;
    let mut found = Vec::with_capacity(hashes.len());
    for hash in hashes {
        let bytes: Option<Vec<u8>> = statement.query_row([hash], |row| row.get(0)).optional()?;
        found.push(bytes.ok_or_else(|| StoreError::Unreadable {
            what: format!("series {}", crate::pack::hex(hash)),
            why: "it is not in this database; import its data again".to_owned(),
        })?);
    }
    Ok(found)
}

/// What a snapshot pins.
pub(super) fn snapshot(tx: &Tx, id: &[u8; 32]) -> Result<Option<Snapshot>, StoreError> {
    let mut statement = tx
        .connection
        .prepare_cached("select series, records from snapshots where id = ?1")?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Snapshot {
        series: pinned_hashes(id, json(row, "series")?)?,
        records: pinned_hashes(id, json(row, "records")?)?,
    }))
}
