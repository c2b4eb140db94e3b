//! A run: one evaluation whose whole result is kept, and, for a replay, held against the record of
//! the trial that it repeats.

use crate::job::Evaluated;
use crate::objective::{Interrupted, Objective, Shown};
use crate::stop::StopSource;
use serde_json::{Value, json};
use std::io;
use trialmill_backtest::result::BacktestResult;
use trialmill_common::spec::{Replay, RunSpec};
use trialmill_common::trial::{Evaluation, Failure, FailureKind, Outcome};
use trialmill_store::MAX_RESULT_BYTES;

/// Runs it. Its document is a [`BacktestResult`]; for several backtests the metrics, and a
/// [`Breakdown`](crate::objective::Breakdown) of them; for a test function the metrics alone. The
/// comparison is under `replay` if it repeats a trial.
///
/// A repetition that fails is a result too: the run completes, is infeasible for that reason, and
/// the comparison says whether the record is of the same failure.
pub(crate) fn evaluate(
    run: &RunSpec,
    objective: &Objective,
    stop: &StopSource<'_>,
    worker: &str,
) -> Result<Evaluated, Interrupted> {
    let (outcome, shown) = objective.evaluate_in_full(&run.params, stop, worker)?;
    let ended = ended(run, outcome, shown);
    Ok(kept_within(MAX_RESULT_BYTES, ended, worker))
}

/// What is kept of a run that ended so, wherever it was found to have.
pub(crate) fn ended(run: &RunSpec, outcome: Outcome, shown: Option<Shown>) -> Evaluated {
    let mut document = document(&outcome, shown);
    let Some(replay) = &run.replay_of else {
        let document = match &outcome {
            Outcome::Failed(_) => None,
            Outcome::Completed(_) | Outcome::Pruned(_) => Some(document),
        };
        return Evaluated {
            outcome,
            reports: None,
            document,
        };
    };
    document["replay"] = compare(replay, &outcome);
    let outcome = match outcome {
        Outcome::Failed(failure) => Outcome::Completed(Evaluation {
            infeasible: Some(format!("the trial failed: {}", failure.message)),
            ..Evaluation::default()
        }),
        ended @ (Outcome::Completed(_) | Outcome::Pruned(_)) => ended,
    };
    Evaluated {
        outcome,
        reports: None,
        document: Some(document),
    }
}

/// The same, or a failure that says why its result cannot be kept.
fn kept_within(bound: usize, evaluated: Evaluated, worker: &str) -> Evaluated {
    let bytes = evaluated.document.as_ref().map_or(0, length);
    if bytes <= bound {
        return evaluated;
    }
    Evaluated::outcome(Outcome::Failed(Failure {
        kind: FailureKind::InvalidParameters,
        message: format!(
            "its result has {bytes} bytes even without its trades; at most {bound} are kept"
        ),
        causes: Vec::new(),
        hint: "run it on fewer symbols or fewer days".to_owned(),
        worker: worker.to_owned(),
    }))
}

/// Bytes of a document as JSON.
pub(crate) fn length(document: &Value) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, document)
        .expect("a value has a JSON form, and this writer takes all");
    count.0
}

/// The document of the result, without its trades if it would be too long for a row with them.
fn document(outcome: &Outcome, shown: Option<Shown>) -> Value {
    let mut result: BacktestResult = match shown {
        Some(Shown::One(result)) => *result,
        Some(Shown::Several(breakdown)) => {
            let mut document = serde_json::to_value(breakdown).expect("figures have a JSON form");
            document["metrics"] = metrics(outcome);
            return document;
        }
        None => return json!({"metrics": metrics(outcome)}),
    };
    let trades = result.trades.len();
    let document = serde_json::to_value(&result).expect("a result has a JSON form");
    // Room for the comparison of a replay, whose values and texts are bounded.
    if length(&document) + (1 << 20) <= MAX_RESULT_BYTES {
        return document;
    }
    result.trades = Vec::new();
    let mut document = serde_json::to_value(&result).expect("a result has a JSON form");
    document["trades_left_out"] = json!(trades);
    document
}

fn metrics(outcome: &Outcome) -> Value {
    let (Outcome::Completed(evaluation) | Outcome::Pruned(evaluation)) = outcome else {
        return Value::Null;
    };
    let entry = |(name, value): &(String, Result<f64, String>)| {
        let value = match value {
            Ok(value) => json!(value),
            Err(reason) => json!({"value": null, "reason": reason}),
        };
        (name.clone(), value)
    };
    Value::Object(evaluation.metrics.iter().map(entry).collect())
}

/// Holds a repetition against the record: values by their bits, reasons by their text, failures by
/// their kind.
fn compare(replay: &Replay, outcome: &Outcome) -> Value {
    let recorded = &replay.recorded;
    let (values, infeasible, failure) = match outcome {
        Outcome::Completed(e) | Outcome::Pruned(e) => {
            (e.values.as_slice(), e.infeasible.as_deref(), None)
        }
        Outcome::Failed(failure) => (&[][..], None, Some(failure.kind)),
    };
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let identical = outcome.end() == recorded.end
        && bits(values) == bits(&recorded.values)
        && infeasible == recorded.infeasible.as_deref()
        && failure == recorded.failure;
    let named = |values: &[f64]| {
        let pairs = replay.objectives.iter().zip(values);
        let named = pairs.map(|(objective, value)| (objective.metric.clone(), json!(value)));
        Value::Object(named.collect())
    };
    let kind = |failure: Option<trialmill_common::trial::FailureKind>| failure.map(|f| f.name());
    json!({
        "task_id": replay.task,
        "trial_number": replay.trial_number,
        "identical": identical,
        "recorded": {
            "state": recorded.end.name(),
            "values": named(&recorded.values),
            "infeasible": recorded.infeasible,
            "failure": kind(recorded.failure),
        },
        "replayed": {
            "state": outcome.end().name(),
            "values": named(values),
            "infeasible": infeasible,
            "failure": kind(failure),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_too_long_to_be_kept_fails_the_run_in_plain_words() {
        let document = json!({"equity": [1.5, 2.25], "name": "\u{0}终"});
        let bytes = document.to_string().len();
        assert_eq!(length(&document), bytes);
        let evaluated = || Evaluated {
            reports: None,
            outcome: Outcome::Completed(Evaluation::default()),
            document: Some(document.clone()),
        };
        let kept = kept_within(bytes, evaluated(), "here");
        assert_eq!(kept.document.as_ref(), Some(&document));
        assert!(matches!(kept.outcome, Outcome::Completed(_)));
        let refused = kept_within(bytes - 1, evaluated(), "here");
        assert!(refused.document.is_none());
        let Outcome::Failed(failure) = refused.outcome else {
            panic!("it fails, not {:?}", refused.outcome);
        };
        let expected = format!(
            "has {bytes} bytes even without its trades; at most {}",
            bytes - 1
        );
        assert!(failure.message.contains(&expected), "{failure:?}");
        assert_eq!(failure.worker, "here");
    }
}
