//! Records: what is known of symbols beside their bars.

use super::PgError;
use super::market::{by_hash, hash_of, storable};
use super::task::{count, int};
use crate::pack::{changed_record, content_hash, count_of};
use crate::rows::RecordInfo;
use deadpool_postgres::{Object, Transaction};
use trialmill_backtest::market::RecordChange;

/// Changes the current records of symbols.
pub(super) async fn put(
    tx: &Transaction<'_>,
    changes: &[RecordChange],
    source: &str,
) -> Result<Vec<[u8; 32]>, PgError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    // A record is read, changed and written: another import must not do so meanwhile, also not where
    // there is no row yet that could be locked. Who reads records does not wait.
    tx.batch_execute("lock table symbol_records in share row exclusive mode")
        .await?;
    let current = tx
        .prepare_cached(
            "select r.bytes from symbol_records y join records r on r.hash = y.record_hash
             where y.symbol = $1",
        )
        .await?;
    let insert = tx
        .prepare_cached(
            "insert into records
                (hash, symbol, listed, delisted, treatments, actions, reports, source, bytes)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (hash) do nothing",
        )
        .await?;
    let point = tx
        .prepare_cached(
            "insert into symbol_records (symbol, record_hash) values ($1, $2)
             on conflict (symbol) do update set record_hash = excluded.record_hash",
        )
        .await?;
    let mut hashes = Vec::with_capacity(changes.len());
    for change in changes {
        // A text with a NUL is in no column, and no symbol: the change is refused.
        let before: Option<Vec<u8>> = if change.symbol.contains('\0') {
            None
        } else {
            let row = tx.query_opt(&current, &[&change.symbol]).await?;
            row.map(|row| row.get(0))
        };
        let record = changed_record(before.as_deref(), change)?;
        let bytes = record.to_bytes();
        let hash = content_hash(&bytes);
        let status = record.status();
        tx.execute(
            &insert,
            &[
                &hash.as_slice(),
                &record.symbol(),
                &status.listed,
                &status.delisted,
                &int(count_of(status.special_treatment.len())),
                &int(count_of(record.actions().len())),
                &int(count_of(record.fundamentals().len())),
                &source,
                &bytes,
            ],
        )
        .await?;
        tx.execute(&point, &[&record.symbol(), &hash.as_slice()])
            .await?;
        hashes.push(hash);
    }
    Ok(hashes)
}

/// The current records of the given symbols, or of all, by symbol.
pub(super) async fn info(
    client: &mut Object,
    symbols: &[String],
) -> Result<Vec<RecordInfo>, PgError> {
    let Some(known) = storable(symbols) else {
        return Ok(Vec::new());
    };
    let rows = client
        .query(
            "select y.symbol, r.hash, r.listed, r.delisted, r.treatments, r.actions, r.reports,
                r.source, r.stored_at
             from symbol_records y join records r on r.hash = y.record_hash
             where cardinality($1::text[]) = 0 or y.symbol = any($1)
             order by y.symbol",
            &[&known],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(RecordInfo {
                symbol: row.get(0),
                hash: hash_of(row, 1)?,
                listed: row.get(2),
                delisted: row.get(3),
                treatments: count(row, 4),
                actions: count(row, 5),
                reports: count(row, 6),
                source: row.get(7),
                stored_at: row.get(8),
            })
        })
        .collect()
}

/// The bytes of records by hash, in order.
pub(super) async fn bytes(
    client: &mut Object,
    hashes: &[[u8; 32]],
) -> Result<Vec<Vec<u8>>, PgError> {
    let query = "select hash, bytes from records where hash = any($1)";
    by_hash(client, query, hashes, "record", "import its tables again").await
}
