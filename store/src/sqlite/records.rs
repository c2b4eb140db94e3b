//! Records: what is known of symbols beside their bars.

use super::Tx;
use super::columns::{hash, maybe_named, time, to_json};
use crate::error::StoreError;
use crate::pack::{changed_record, content_hash, count_of};
use crate::rows::RecordInfo;
use rusqlite::{OptionalExtension, Row, params};
use trialmill_backtest::market::RecordChange;

/// Changes the current records of symbols. Transactions that write are one after the other here.
pub(super) fn put(
    tx: &Tx,
    changes: &[RecordChange],
    source: &str,
) -> Result<Vec<[u8; 32]>, StoreError> {
    let mut current = tx.connection.prepare_cached(
        "select r.bytes from symbol_records y join records r on r.hash = y.record_hash
         where y.symbol = ?1",
    )?;
    let mut insert = tx.connection.prepare_cached(
        "insert into records
            (hash, symbol, listed, delisted, treatments, actions, reports, source, stored_at, bytes)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) on conflict do nothing",
    )?;
    let mut point = tx.connection.prepare_cached(
        "insert into symbol_records (symbol, record_hash) values (?1, ?2)
         on conflict (symbol) do update set record_hash = excluded.record_hash",
    )?;
    let mut hashes = Vec::with_capacity(changes.len());
    for change in changes {
        let before: Option<Vec<u8>> = current
            .query_row([&change.symbol], |row| row.get(0))
            .optional()?;
        let record = changed_record(before.as_deref(), change)?;
        let bytes = record.to_bytes();
        let hash = content_hash(&bytes);
        let status = record.status();
        insert.execute(params![
            hash,
            record.symbol(),
            status.listed.map(|day| day.to_string()),
            status.delisted.map(|day| day.to_string()),
            count_of(status.special_treatment.len()),
            count_of(record.actions().len()),
            count_of(record.fundamentals().len()),
            source,
            tx.now,
            bytes
        ])?;
        point.execute(params![record.symbol(), hash])?;
        hashes.push(hash);
    }
    Ok(hashes)
}

fn read(row: &Row) -> Result<RecordInfo, StoreError> {
    Ok(RecordInfo {
        symbol: row.get("symbol")?,
        hash: hash(row.get("hash")?, "hash")?,
        listed: maybe_named(row, "listed")?,
        delisted: maybe_named(row, "delisted")?,
        treatments: row.get("treatments")?,
        actions: row.get("actions")?,
        reports: row.get("reports")?,
        source: row.get("source")?,
        stored_at: time(row, "stored_at")?,
    })
}

/// The current records of the given symbols, or of all, by symbol.
pub(super) fn info(tx: &Tx, symbols: &[String]) -> Result<Vec<RecordInfo>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select y.symbol, r.hash, r.listed, r.delisted, r.treatments, r.actions, r.reports,
            r.source, r.stored_at
         from symbol_records y join records r on r.hash = y.record_hash
         where ?1 = '[]' or y.symbol in (select value from json_each(?1)) order by y.symbol",
    )?;
    let mut rows = statement.query([to_json(&symbols)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The bytes of records by hash, in order.
pub(super) fn bytes(tx: &Tx, hashes: &[[u8; 32]]) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut statement = tx
        .connection
        .prepare_cached("select bytes from records where hash = ?1")?;
    let mut found = Vec::with_capacity(hashes.len());
    for hash in hashes {
        let bytes: Option<Vec<u8>> = statement.query_row([hash], |row| row.get(0)).optional()?;
        found.push(bytes.ok_or_else(|| StoreError::Unreadable {
            what: format!("record b3:{}", crate::pack::hex(hash)),
            why: "it is not in the database; import its tables again".to_owned(),
        })?);
    }
    Ok(found)
}
