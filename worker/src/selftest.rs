//! Whether this process can do what a unit asks of it: the checks of the preflight, a thread, and an
//! isolated child that evaluates a trial whose value is known.

use crate::child::{Ask, Setup};
use crate::cpu::Lane;
use crate::isolate;
use crate::options::WorkerOptions;
use crate::preflight::preflight;
use crate::running::Shared;
use serde_json::{Value, json};
use std::time::Duration;
use trialmill_common::objective::FUNCTION_METRIC;
use trialmill_common::spec::{BacktestSettings, FORM_VERSION};
use trialmill_common::state::TaskKind;

/// How long a child may take for a trial of microseconds, its start included: a busy machine is slow,
/// a hanging one is not fit for work.
const CHILD_LIMIT: Duration = Duration::from_secs(20);

/// Tests this worker.
///
/// # Errors
/// What it cannot do, in words.
pub(crate) async fn run(shared: &Shared) -> Result<(), String> {
    let found = preflight(shared.store.as_ref(), shared.broker.as_ref()).await;
    found.map_err(|fault| fault.to_string())?;
    // A number that no slot has: the thread ends with this function.
    let lane = Lane::spawn(shared.options.slots)
        .map_err(|error| format!("the system gives no thread: {error}"))?;
    let answer = lane.run(|| ()).await;
    answer.map_err(|_| "a thread ended before its work".to_owned())?;
    child(&shared.options).await
}

/// Whether an isolated child can be started and evaluates a trial: if not, the death of a child is
/// no trial's fault.
///
/// # Errors
/// What happened instead, in words.
pub(crate) async fn child(options: &WorkerOptions) -> Result<(), String> {
    let tried = tokio::time::timeout(CHILD_LIMIT, evaluate(options)).await;
    let late = || format!("an isolated child gave no answer within {CHILD_LIMIT:?}");
    tried.unwrap_or_else(|_| Err(late()))
}

async fn evaluate(options: &WorkerOptions) -> Result<(), String> {
    let failed = |what: &str, why: &dyn std::fmt::Display| format!("{what}: {why}");
    let mut running = isolate::spawn(options)
        .map_err(|error| failed("an isolated child cannot be started", &error))?;
    let setup = Setup {
        kind: TaskKind::HyperparameterOptimization,
        spec: probe(),
        trial: 0,
        series_bytes: Vec::new(),
        records_bytes: Vec::new(),
        memory_bytes: options.trial_memory_bytes,
        worker: "self-test".to_owned(),
    };
    isolate::ready(&mut running, (setup, Vec::new()))
        .await
        .map_err(|why| failed("an isolated child does not get ready", &why))?;
    let ask = Ask {
        number: 0,
        // The one parameter, 0.0.
        packed: 0.0_f64.to_le_bytes().to_vec(),
    };
    match isolate::exchange(&mut running, &ask).await {
        Ok(Some(reply)) if reply.is_value(0.0) => Ok(()),
        Ok(Some(_)) => Err("an isolated child gives a wrong value of a known function".to_owned()),
        Ok(None) => Err("an isolated child died on a trial of a known function".to_owned()),
        Err(error) => Err(failed("an isolated child does not answer", &error)),
    }
}

/// A search over the sphere, as it is stored.
fn probe() -> Value {
    json!({
        "version": FORM_VERSION, "task_name": "self-test", "strategy_name": "sphere",
        "stock_codes": [], "start_date": "2020-01-01", "end_date": "2020-12-31",
        "space": [["x", {"type": "float", "low": -1.0, "high": 1.0, "step": null, "log": false}]],
        "when": {}, "constraints": [], "fixed": {}, "first_points": [], "method": "random",
        "seed": 1, "n_trials": 1, "parallelism": null, "timeout": null, "trial_timeout": 10.0,
        "objectives": [{"metric": FUNCTION_METRIC, "direction": "minimize"}],
        "result_constraints": [], "backtest": BacktestSettings::default(), "pairs": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trialmill_common::spec::TaskSpec;

    #[test]
    fn the_probe_is_a_task_of_this_build() {
        let spec = TaskSpec::from_json(&probe()).unwrap();
        let zero = spec.space.unpack(&0.0_f64.to_le_bytes()).unwrap();
        assert_eq!(spec.space.pack(&zero), 0.0_f64.to_le_bytes());
    }
}
