//! How an ended trial becomes columns, the same in both databases.

use crate::error::StoreError;
use crate::rows::Snapshot;
use crate::{HISTORY_PAGE, MAX_RESULT_BYTES};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Range;
use trialmill_backtest::market::{Record, RecordChange};
use trialmill_common::protocol::Tally;
use trialmill_common::reports;
use trialmill_common::state::{TaskId, TrialEnd};
use trialmill_common::trial::{EndedTrial, Evaluation, Failure, Outcome};
use trialmill_search::Point;

/// Refuses to read history after an event that is no longer kept.
pub(crate) fn check_kept(id: TaskId, after: i64, events_from: i64) -> Result<(), StoreError> {
    if after + 1 >= events_from {
        return Ok(());
    }
    let text = format!(
        "task {id} ended long ago and its events before {events_from} are removed, so its history \
         cannot be read after event {after}; its trials are there by their numbers"
    );
    Err(StoreError::Refused(text.into()))
}

/// The columns of one row of `trials`, but for those the database fills in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrialColumns {
    pub number: u32,
    pub unit: u32,
    pub end: TrialEnd,
    pub window: Option<u16>,
    pub params: Vec<u8>,
    pub value: Option<f64>,
    pub more_values: Option<Vec<u8>>,
    pub infeasible: Option<String>,
    pub violation: Option<f64>,
    pub metrics: Option<Value>,
    pub failure: Option<Value>,
    pub stats: Option<Vec<u8>>,
    pub reports: Option<Vec<u8>>,
    pub duration_ms: f64,
}

impl TrialColumns {
    /// The columns of a trial of `unit`.
    pub fn of(trial: &EndedTrial, unit: u32) -> Self {
        let mut columns = Self {
            number: trial.number,
            unit,
            end: trial.outcome.end(),
            window: trial.window,
            params: pack_point(&trial.point),
            value: None,
            more_values: None,
            infeasible: None,
            violation: None,
            metrics: None,
            failure: None,
            stats: None,
            reports: trial.reports.as_ref().map(reports::pack),
            duration_ms: trial.duration_ms,
        };
        match &trial.outcome {
            Outcome::Completed(evaluation) | Outcome::Pruned(evaluation) => {
                columns.evaluated(evaluation);
            }
            Outcome::Failed(failure) => {
                columns.failure = Some(json!(Failure {
                    message: without_nul(&failure.message),
                    causes: failure.causes.iter().map(|c| without_nul(c)).collect(),
                    hint: without_nul(&failure.hint),
                    ..failure.clone()
                }));
            }
        }
        columns
    }

    fn evaluated(&mut self, evaluation: &Evaluation) {
        self.value = evaluation.values.first().copied();
        if evaluation.values.len() > 1 {
            self.more_values = Some(pack_values(&evaluation.values[1..]));
        }
        self.infeasible = evaluation.infeasible.as_deref().map(without_nul);
        self.violation = evaluation.recorded_violation();
        self.stats.clone_from(&evaluation.stats);
        if !evaluation.metrics.is_empty() {
            let metric = |(name, value): &(String, Result<f64, String>)| {
                let value = match value {
                    Ok(value) => json!(value),
                    Err(reason) => json!({"value": null, "reason": without_nul(reason)}),
                };
                (name.clone(), value)
            };
            self.metrics = Some(Value::Object(
                evaluation.metrics.iter().map(metric).collect(),
            ));
        }
    }

    /// What the row adds to the counters of its task.
    pub fn tally(&self) -> Tally {
        let more = self.more_values.as_deref();
        tally(self.end, self.infeasible.is_some(), self.value, more)
    }
}

/// What a row adds to the counters of its task.
pub(crate) fn tally(
    end: TrialEnd,
    infeasible: bool,
    value: Option<f64>,
    more: Option<&[u8]>,
) -> Tally {
    match (end, infeasible, value) {
        (TrialEnd::Pruned, ..) => Tally::Pruned,
        (TrialEnd::Failed, ..) => Tally::Failed,
        (TrialEnd::Completed, false, Some(value)) => {
            Tally::Values(unpack_values(Some(value), more))
        }
        (TrialEnd::Completed, ..) => Tally::Infeasible,
    }
}

/// Texts of a user's code may hold anything; PostgreSQL's hold no NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Eight bytes per parameter, as [`trialmill_search::Space::pack`] writes them.
pub(crate) fn pack_point(point: &Point) -> Vec<u8> {
    let words = point.values().iter().flat_map(|value| value.to_packed());
    words.collect()
}

fn pack_values(values: &[f64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// All objective values of a row.
pub(crate) fn unpack_values(value: Option<f64>, more: Option<&[u8]>) -> Vec<f64> {
    let more = more.unwrap_or_default().chunks_exact(8);
    let more = more.map(|b| f64::from_le_bytes(b.try_into().expect("chunks of eight")));
    value.into_iter().chain(more).collect()
}

/// Reads a stored failure.
pub(crate) fn read_failure(value: Value, what: &str) -> Result<Failure, StoreError> {
    serde_json::from_value(value).map_err(|e| StoreError::Unreadable {
        what: format!("the failure of {what}"),
        why: e.to_string(),
    })
}

/// Lowercase hexadecimal, for hashes inside JSON.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes everything");
            text
        })
}

/// Reads 32 bytes of hexadecimal.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

/// Comes before the records in what a snapshot's identity is made of: no symbol is that long, so that
/// a record is never taken for a series.
const RECORDS_FOLLOW: [u8; 8] = u64::MAX.to_le_bytes();

/// The identity of a snapshot: BLAKE3 over its symbols and series hashes, then those of its records
/// if it has any, each in order of symbols.
pub(crate) fn snapshot_id(snapshot: &Snapshot) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let add = |hasher: &mut blake3::Hasher, pinned: &BTreeMap<String, [u8; 32]>| {
        for (symbol, hash) in pinned {
            let length = u64::try_from(symbol.len()).expect("a short name");
            hasher.update(&length.to_le_bytes());
            hasher.update(symbol.as_bytes());
            hasher.update(hash);
        }
    };
    add(&mut hasher, &snapshot.series);
    if !snapshot.records.is_empty() {
        hasher.update(&RECORDS_FOLLOW);
        add(&mut hasher, &snapshot.records);
    }
    *hasher.finalize().as_bytes()
}

/// The hashes of a snapshot as they stand in its columns.
pub(crate) fn pinned_text(hashes: &BTreeMap<String, [u8; 32]>) -> BTreeMap<&str, String> {
    let pinned = hashes.iter();
    pinned
        .map(|(symbol, hash)| (symbol.as_str(), hex(hash)))
        .collect()
}

/// Reads a column of a snapshot.
pub(crate) fn pinned_hashes(
    id: &[u8; 32],
    column: BTreeMap<String, String>,
) -> Result<BTreeMap<String, [u8; 32]>, StoreError> {
    let read = |(symbol, text): (String, String)| {
        let hash = unhex(&text).ok_or_else(|| StoreError::Unreadable {
            what: format!("snapshot b3:{}", hex(id)),
            why: format!("the hash of {symbol} is damaged"),
        })?;
        Ok((symbol, hash))
    };
    column.into_iter().map(read).collect()
}

/// A record that is to be stored, after a change of what `before` are the bytes of. Bytes that are no
/// record are an error only where a part of them is kept.
pub(crate) fn changed_record(
    before: Option<&[u8]>,
    change: &RecordChange,
) -> Result<Record, StoreError> {
    let whole =
        change.actions.is_some() && change.status.is_some() && change.fundamentals.is_some();
    let before = match before {
        Some(bytes) if !whole => {
            let read = Record::from_bytes(bytes).map_err(|fault| StoreError::Unreadable {
                what: format!("the record of {}", change.symbol),
                why: fault.to_string(),
            });
            Some(read?)
        }
        _ => None,
    };
    Record::changed(before, change.clone())
        .map_err(|fault| StoreError::Refused(fault.to_string().into()))
}

/// How many there are of what a record lists, for its columns.
pub(crate) fn count_of(listed: usize) -> u32 {
    u32::try_from(listed).expect("a record lists a few thousand at most")
}

/// The identity of a series or a record: BLAKE3 of its bytes.
pub(crate) fn content_hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// The day of a bar's local time.
pub(crate) fn day_of(seconds: i64) -> Result<chrono::NaiveDate, StoreError> {
    chrono::DateTime::from_timestamp(seconds, 0)
        .map(|t| t.date_naive())
        .ok_or_else(|| StoreError::Unreadable {
            what: "a series".to_owned(),
            why: format!("time {seconds}"),
        })
}

/// The text of a result document, unless it is too long.
pub(crate) fn result_text(result: &Value) -> Result<String, StoreError> {
    let text = result.to_string();
    if text.len() > MAX_RESULT_BYTES {
        let bytes = text.len();
        return Err(StoreError::Refused(
            format!("the result of a run has {bytes} bytes; at most {MAX_RESULT_BYTES} are kept")
                .into(),
        ));
    }
    Ok(text)
}

/// Reads a stored result document.
pub(crate) fn read_result(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Unreadable {
        what: "the result of a run".to_owned(),
        why: e.to_string(),
    })
}

/// The trials that the events of a page of history tell of: as few ranges of numbers as possible,
/// in order, and the last event that they are of.
#[derive(Debug)]
pub(crate) struct EventRanges {
    runs: Vec<(u32, u32)>,
    trials: u32,
    /// The last event taken.
    pub seq: i64,
    full: bool,
}

impl EventRanges {
    /// Nothing yet, after event `seq`.
    pub fn after(seq: i64) -> Self {
        Self {
            runs: Vec::new(),
            trials: 0,
            seq,
            full: false,
        }
    }

    /// Takes the next event with its runs of trials (first, count), cut to `numbers`, unless the page
    /// is full.
    pub fn take(&mut self, seq: i64, runs: &[(u32, u32)], numbers: &Range<u32>) -> bool {
        self.full |= self.trials >= HISTORY_PAGE;
        if self.full {
            return false;
        }
        for (first, count) in runs {
            let (from, to) = (
                (*first).max(numbers.start),
                (first + count).min(numbers.end),
            );
            if from < to {
                self.runs.push((from, to - from));
                self.trials += to - from;
            }
        }
        self.seq = seq;
        true
    }

    /// Whether an event was left out.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// How many trials there are.
    pub fn trials(&self) -> usize {
        self.trials as usize
    }

    /// First and last number of each range, neighbours joined.
    pub fn joined(mut self) -> Vec<(u32, u32)> {
        self.runs.retain(|(_, count)| *count > 0);
        self.runs.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::new();
        for (first, count) in self.runs {
            let last = first + (count - 1);
            match joined.last_mut() {
                Some((_, end)) if *end + 1 == first => *end = last,
                _ => joined.push((first, last)),
            }
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_snapshot_without_records_is_what_it_was() {
        let pinned = BTreeMap::from([("A".to_owned(), [1; 32]), ("BB".to_owned(), [2; 32])]);
        let series = Snapshot {
            series: pinned.clone(),
            ..Snapshot::default()
        };
        // Made of each symbol's length, name and hash by hand, as builds before records did.
        let mut bytes = Vec::new();
        for (length, name, hash) in [(1u64, "A", [1; 32]), (2, "BB", [2; 32])] {
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&hash);
        }
        assert_eq!(snapshot_id(&series), *blake3::hash(&bytes).as_bytes());
        let records = Snapshot {
            records: BTreeMap::from([("BB".to_owned(), [2; 32])]),
            series: BTreeMap::from([("A".to_owned(), [1; 32])]),
        };
        let both = Snapshot {
            records: pinned,
            ..series.clone()
        };
        let ids = [&series, &records, &both].map(snapshot_id);
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }
}
