//! What the demo claims is tried here, on the database that the search has written: every trial is
//! recorded once, no promise is broken, and the best trial run again gives the same bits. The
//! figures it is compared with come from the same engine over the same bars.

use super::search::Found;
use crate::failure::Failure;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::engine::hold;
use trialmill_backtest::market::Record;
use trialmill_backtest::metrics::evaluate_all;
use trialmill_backtest::result::{BacktestResult, PairResult};
use trialmill_common::spec::TaskSpec;
use trialmill_common::trial::{Evaluation, Outcome};
use trialmill_search::Choice;
use trialmill_store::MAX_PAGE;
use trialmill_store::rows::{TrialFilter, TrialRow};
use trialmill_worker::bars::PinnedData;
use trialmill_worker::objective::{Objective, Shown, Subject};
use trialmill_worker::{SignalCell, StopSource};

/// One backtest of the demo takes milliseconds.
const ONE_TRIAL: Duration = Duration::from_secs(60);

/// What was found in order.
pub struct Checks {
    /// Parameters and metrics of the strategy as it comes.
    pub default_params: (Value, Value),
    /// Metrics of holding both legs.
    pub hold: Value,
    /// The best trial beside holding both legs.
    pub pair: PairResult,
}

/// Tries every claim.
///
/// # Errors
/// The first claim that does not hold, in a sentence.
pub async fn check(found: &Found) -> Result<Checks, Failure> {
    let spec = TaskSpec::from_json(&found.task.spec).map_err(|e| Failure::reason(e.to_string()))?;
    let spec = Arc::new(spec);
    let data = pinned_data(found).await?;
    let objective = Objective::prepare(Subject::of_trial(&spec, found.best.number), &data);

    let point = spec
        .space
        .unpack(&found.best.params)
        .map_err(|e| Failure::reason(e.to_string()))?;
    let (again, result) = evaluate(&objective, &spec.named(&point))?;
    if let Some(difference) = difference(&found.best, &again) {
        return Err(Failure::reason(format!(
            "trial {} run again is not what is recorded: {difference}",
            found.best.number
        )));
    }
    // The example request has the strategy's defaults, which make the first trial.
    let default = spec.first_points.first().cloned();
    let default =
        default.ok_or_else(|| Failure::reason("the request has no default parameters"))?;
    let named = spec.named(&default);
    let default_metrics = metrics_document(&evaluate(&objective, &named)?.0.metrics);
    let pair = result.and_then(|result| result.pair);
    Ok(Checks {
        default_params: (json!(named), default_metrics),
        hold: held(&spec, &data)?,
        pair: pair.ok_or_else(|| Failure::reason("the best trial was no backtest of a pair"))?,
    })
}

/// No promise is broken in the database, and every trial of the searches is recorded once; how many
/// there are.
///
/// # Errors
/// The first claim that does not hold, in a sentence.
pub async fn recorded_once<'a>(
    first: &'a Found,
    later: impl Iterator<Item = &'a Found>,
) -> Result<u32, Failure> {
    let violations = first.store.verify().await?;
    if !violations.is_empty() {
        let told: Vec<String> = violations
            .iter()
            .map(|v| format!("{}: task {}: {}", v.rule, v.task_id, v.detail))
            .collect();
        return Err(Failure::reason(format!(
            "verify found: {}",
            told.join("; ")
        )));
    }
    let mut recorded = 0;
    for found in std::iter::once(first).chain(later) {
        recorded += count_trials(found).await?;
    }
    Ok(recorded)
}

/// Reads every trial back: the numbers must be 0 to n - 1, each once.
async fn count_trials(found: &Found) -> Result<u32, Failure> {
    let mut next: u32 = 0;
    loop {
        let after = next.checked_sub(1);
        let filter = TrialFilter {
            after,
            end: None,
            limit: MAX_PAGE,
        };
        let page = found.store.trials(found.task.id, filter).await?;
        if page.is_empty() {
            break;
        }
        for trial in page {
            if trial.number != next {
                let number = trial.number;
                return Err(Failure::reason(format!(
                    "trial {number} is where {next} should be"
                )));
            }
            next += 1;
        }
    }
    let planned = found.task.ledger.planned;
    if next == planned {
        return Ok(next);
    }
    Err(Failure::reason(format!(
        "{next} trials are recorded, {planned} were to be"
    )))
}

/// What the task has pinned, as the database gives it back.
async fn pinned_data(found: &Found) -> Result<PinnedData, Failure> {
    let gone = || Failure::reason("the market data that the task has pinned is not stored");
    let id = found.task.snapshot.ok_or_else(gone)?;
    let snapshot = found.store.snapshot(id).await?.ok_or_else(gone)?;
    let hashes: Vec<[u8; 32]> = snapshot.series.into_values().collect();
    let mut data = PinnedData::default();
    for bytes in found.store.series_bytes(&hashes).await? {
        let series = BarSeries::from_bytes(&bytes);
        let series = series.map_err(|error| Failure::reason(error.to_string()))?;
        data.series.push(Arc::new(series));
    }
    let hashes: Vec<[u8; 32]> = snapshot.records.into_values().collect();
    for bytes in found.store.record_bytes(&hashes).await? {
        let record = Record::from_bytes(&bytes);
        let record = record.map_err(|fault| Failure::reason(fault.to_string()))?;
        data.records.push(Arc::new(record));
    }
    Ok(data)
}

fn evaluate(
    objective: &Objective,
    parameters: &BTreeMap<String, Choice>,
) -> Result<(Evaluation, Option<BacktestResult>), Failure> {
    let signal = SignalCell::default();
    let stop = StopSource::new(&signal, Instant::now() + ONE_TRIAL);
    match objective.evaluate_in_full(parameters, &stop, "trialmill demo") {
        Ok((Outcome::Completed(evaluation), shown)) => {
            let result = shown.and_then(|shown| match shown {
                Shown::One(result) => Some(*result),
                Shown::Several(_) => None,
            });
            Ok((evaluation, result))
        }
        Ok((Outcome::Failed(failure), _)) => Err(Failure::reason(failure.message)),
        Ok((Outcome::Pruned(_), _)) => Err(Failure::reason("a trial was pruned without a pruner")),
        Err(_) => Err(Failure::reason(
            "a trial was interrupted though nobody asked for it",
        )),
    }
}

/// What differs between a recorded trial and the same trial run again, by bits; nothing is good.
fn difference(recorded: &TrialRow, again: &Evaluation) -> Option<String> {
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    if bits(&recorded.values) != bits(&again.values) {
        return Some(format!(
            "values {:?}, recorded {:?}",
            again.values, recorded.values
        ));
    }
    let stored = recorded.metrics.as_ref().unwrap_or(&Value::Null);
    let differs = |(name, value): &&(String, Result<f64, String>)| match value {
        Ok(value) => stored[name].as_f64().map(f64::to_bits) != Some(value.to_bits()),
        Err(reason) => stored[name]["reason"].as_str() != Some(reason),
    };
    let (name, value) = again.metrics.iter().find(differs)?;
    Some(format!("{name} {value:?}, recorded {}", stored[name]))
}

/// Metrics by name: a number, or null with its reason.
fn metrics_document(metrics: &[(String, Result<f64, String>)]) -> Value {
    let entry = |(name, value): &(String, Result<f64, String>)| {
        let value = match value {
            Ok(value) => json!(value),
            Err(reason) => json!({"value": null, "reason": reason}),
        };
        (name.clone(), value)
    };
    Value::Object(metrics.iter().map(entry).collect())
}

/// Holding both legs over the same period, with the costs of the task.
fn held(spec: &TaskSpec, data: &PinnedData) -> Result<Value, Failure> {
    let told = |error: &dyn std::fmt::Display| Failure::reason(error.to_string());
    let data = data.over(Some(&spec.pairs), spec.start_date, spec.end_date);
    let data = data.map_err(|e| told(&e))?;
    let config = spec.backtest.config().map_err(|e| told(&e))?;
    let report = hold(&data, &config).map_err(|e| told(&e))?;
    let metrics: Vec<(String, Result<f64, String>)> = evaluate_all(&report)
        .into_iter()
        .map(|(metric, value)| {
            (
                metric.name().to_owned(),
                value.map_err(|undefined| undefined.reason.to_owned()),
            )
        })
        .collect();
    Ok(metrics_document(&metrics))
}
