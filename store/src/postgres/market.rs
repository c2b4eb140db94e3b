//! Market data: series by the hash of their bytes, symbols, snapshots.

use super::task::{count, int};
use super::{PgError, records};
use crate::error::StoreError;
use crate::pack::{content_hash, day_of, pinned_hashes};
use crate::rows::{SeriesInfo, Snapshot, Stored};
use deadpool_postgres::{Object, Transaction};
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::market::RecordChange;

pub(super) fn hash_of(row: &Row, column: usize) -> Result<[u8; 32], PgError> {
    let bytes: Vec<u8> = row.get(column);
    bytes.try_into().map_err(|_| {
        let what = format!("column {}", row.columns()[column].name());
        StoreError::Unreadable {
            what,
            why: "not 32 bytes".to_owned(),
        }
        .into()
    })
}

pub(super) async fn put(
    client: &mut Object,
    series: &[BarSeries],
    changes: &[RecordChange],
    source: &str,
) -> Result<Stored, PgError> {
    let tx = client.transaction().await?;
    let stored = Stored {
        series: put_series(&tx, series, source).await?,
        records: records::put(&tx, changes, source).await?,
    };
    tx.commit().await?;
    Ok(stored)
}

async fn put_series(
    tx: &Transaction<'_>,
    series: &[BarSeries],
    source: &str,
) -> Result<Vec<[u8; 32]>, PgError> {
    let insert = tx
        .prepare_cached(
            "insert into series (hash, symbol, frequency, rows, first_day, last_day, source, bytes)
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (hash) do nothing",
        )
        .await?;
    let point = tx
        .prepare_cached(
            "insert into symbols (symbol, series_hash) values ($1, $2)
             on conflict (symbol) do update set series_hash = excluded.series_hash",
        )
        .await?;
    let mut hashes = Vec::with_capacity(series.len());
    // In order of symbols, so that two imports lock them in the same order.
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by_key(|i| series[*i].symbol());
    for one in series {
        hashes.push(content_hash(&one.to_bytes()));
    }
    for i in order {
        let one = &series[i];
        let bytes = one.to_bytes();
        let hash = hashes[i].to_vec();
        let rows = int(u32::try_from(one.rows()).expect("a series has fewer rows"));
        let (first, last) = (day_of(one.first_time())?, day_of(one.last_time())?);
        let frequency = one.frequency().name();
        tx.execute(
            &insert,
            &[
                &hash,
                &one.symbol(),
                &frequency,
                &rows,
                &first,
                &last,
                &source,
                &bytes,
            ],
        )
        .await?;
        tx.execute(&point, &[&one.symbol(), &hash]).await?;
    }
    Ok(hashes)
}

/// The symbols that a column can hold: a text with a NUL is in none, PostgreSQL refuses even to compare
/// it. Nothing if that leaves none of them.
pub(super) fn storable(symbols: &[String]) -> Option<Vec<&str>> {
    let known = symbols.iter().map(String::as_str);
    let known: Vec<&str> = known.filter(|symbol| !symbol.contains('\0')).collect();
    (!known.is_empty() || symbols.is_empty()).then_some(known)
}

pub(super) async fn series_info(
    client: &mut Object,
    symbols: &[String],
) -> Result<Vec<SeriesInfo>, PgError> {
    let Some(known) = storable(symbols) else {
        return Ok(Vec::new());
    };
    let rows = client
        .query(
            "select y.symbol, s.hash, s.frequency, s.rows, s.first_day, s.last_day, s.source,
                s.stored_at
             from symbols y join series s on s.hash = y.series_hash
             where cardinality($1::text[]) = 0 or y.symbol = any($1)
             order by y.symbol",
            &[&known],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(SeriesInfo {
                symbol: row.get(0),
                hash: hash_of(row, 1)?,
                frequency: row.get(2),
                rows: count(row, 3),
                first: row.get(4),
                last: row.get(5),
                source: row.get(6),
                stored_at: row.get(7),
            })
        })
        .collect()
}

pub(super) async fn series_bytes(
    client: &mut Object,
    hashes: &[[u8; 32]],
) -> Result<Vec<Vec<u8>>, PgError> {
    let query = "select hash, bytes from series where hash = any($1)";
    by_hash(client, query, hashes, "series", "import its file again").await
}

/// The bytes that `query` gives for hashes, in their order; of what is not there, an error that says
/// what it is and how it comes back.
pub(super) async fn by_hash(
    client: &mut Object,
    query: &str,
    hashes: &[[u8; 32]],
    what: &str,
    remedy: &str,
) -> Result<Vec<Vec<u8>>, PgError> {
    let wanted: Vec<&[u8]> = hashes.iter().map(<[u8; 32]>::as_slice).collect();
    let rows = client.query(query, &[&wanted]).await?;
    let found: HashMap<Vec<u8>, Vec<u8>> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    hashes
        .iter()
        .map(|hash| {
            found.get(hash.as_slice()).cloned().ok_or_else(|| {
                let what = format!("{what} b3:{}", crate::pack::hex(hash));
                let why = format!("it is not in the database; {remedy}");
                StoreError::Unreadable { what, why }.into()
            })
        })
        .collect()
}

pub(super) async fn snapshot(
    client: &mut Object,
    id: [u8; 32],
) -> Result<Option<Snapshot>, PgError> {
    let row = client
        .query_opt(
            "select series, records from snapshots where id = $1",
            &[&id.as_slice()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let pinned = |column| {
        let Json(pinned) = row.get::<_, Json<BTreeMap<String, String>>>(column);
        pinned_hashes(&id, pinned)
    };
    Ok(Some(Snapshot {
        series: pinned(0)?,
        records: pinned(1)?,
    }))
}
