//! How an ended trial becomes columns, the same in both databases.

use crate::error::StoreError;
use serde_json::{Value, json};
use trialmill_common::protocol::Tally;
use trialmill_common::state::TrialEnd;
use trialmill_common::trial::{EndedTrial, Evaluation, Failure, Outcome};
use trialmill_search::{ParamValue, Point};

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
    pub metrics: Option<Value>,
    pub failure: Option<Value>,
    pub stats: Option<Vec<u8>>,
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
            metrics: None,
            failure: None,
            stats: None,
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
        match (self.end, &self.infeasible, self.value) {
            (TrialEnd::Pruned, ..) => Tally::Pruned,
            (TrialEnd::Failed, ..) => Tally::Failed,
            (TrialEnd::Completed, None, Some(value)) => Tally::Value(value),
            (TrialEnd::Completed, ..) => Tally::Infeasible,
        }
    }
}

/// Texts of a user's code may hold anything; PostgreSQL's hold no NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Eight bytes per parameter, as [`trialmill_search::Space::pack`] writes them.
pub(crate) fn pack_point(point: &Point) -> Vec<u8> {
    let bytes = |value: &ParamValue| match value {
        ParamValue::Float(value) => value.to_bits().to_le_bytes(),
        ParamValue::Int(value) => value.to_le_bytes(),
        ParamValue::Category(index) => i64::from(*index).to_le_bytes(),
    };
    point.values().iter().flat_map(bytes).collect()
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

/// The identity of a snapshot: BLAKE3 over its symbols and series hashes, in order of symbols.
pub(crate) fn snapshot_id(series: &std::collections::BTreeMap<String, [u8; 32]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (symbol, hash) in series {
        hasher.update(
            &u64::try_from(symbol.len())
                .expect("a short name")
                .to_le_bytes(),
        );
        hasher.update(symbol.as_bytes());
        hasher.update(hash);
    }
    *hasher.finalize().as_bytes()
}

/// The identity of a series: BLAKE3 of its bytes.
pub(crate) fn series_hash(bytes: &[u8]) -> [u8; 32] {
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
