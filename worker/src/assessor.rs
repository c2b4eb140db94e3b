//! The assess unit: what is needed to say what a search is worth is read, and said step by step on
//! the thread of the slot. The luck test uses the processors of idle slots as well.
//!
//! Its trials have ended and stand. So whatever is wrong here, the task completes: with an assessment,
//! or with the reason why there is none. The steps that were done are recorded with the lease, and
//! the next holder goes on after them.

use crate::assess::{Assessing, Case, LuckBounds, Market, Progress, metrics_read};
use crate::backoff::Backoff;
use crate::bars::PinnedData;
use crate::job::Job;
use crate::objective::panic_text;
use crate::running::Shared;
use crate::stop::Signal;
use crate::task::PreparedTask;
use crate::trials::Halt;
use crate::unit::{Cannot, HeldUnit};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use trialmill_backtest::bars::BarSeries;
use trialmill_common::draft::DEFAULT_TRIAL;
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::protocol::ASSESS_STEPS;
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::TrialEnd;
use trialmill_common::trial::{EndedTrial, Evaluation, Failure, FailureKind, Outcome};
use trialmill_search::Choice;
use trialmill_store::rows::{EarlierWork, TrialFilter, TrialRow};
use trialmill_store::{MAX_PAGE, StoreError};

/// After so many lost workers an assessment is given up: it may be what kills them.
pub(crate) const MOST_CRASHES: u32 = 3;

/// What the store says of a search that has ended.
pub(crate) struct Found {
    trials: Vec<EndedTrial>,
    earlier: EarlierWork,
    /// The default parameters of the request, if it gave all of them.
    default_params: Option<BTreeMap<String, Choice>>,
    /// What an earlier holder has done.
    kept: Option<Progress>,
}

/// The document of an assessment that could not be made.
pub(crate) fn failed(message: &str) -> Value {
    json!({"failed": message})
}

/// Gives the assessment up: the task completes without one.
pub(crate) fn give_up(unit: &HeldUnit, why: &str) {
    tracing::error!(why, "a search cannot be assessed");
    unit.assessed_whole(failed(why));
}

/// Reads what is needed, however long the store is away. Nothing: the unit is to be left.
pub(crate) async fn read(shared: &Shared, unit: &HeldUnit, spec: &TaskSpec) -> Option<Found> {
    let mut backoff = Backoff::new();
    loop {
        let error = match read_once(shared, unit, spec).await {
            Ok(found) => return Some(found),
            Err(error) => error,
        };
        if error.is_transient() {
            tracing::warn!(%error, "what is to be assessed could not be read yet");
            tokio::select! {
                () = tokio::time::sleep(backoff.delay()) => {}
                () = unit.changed.notified() => {}
            }
        } else {
            let why = format!("what is to be assessed cannot be read: {error}");
            unit.cannot_run(Cannot::anywhere(shared, &why));
        }
        if unit.signal.get() > Signal::Run {
            return None;
        }
    }
}

async fn read_once(shared: &Shared, unit: &HeldUnit, spec: &TaskSpec) -> Result<Found, StoreError> {
    let (store, id) = (&shared.store, unit.task());
    let wanted = metrics_read(spec);
    let mut trials: Vec<EndedTrial> = Vec::new();
    loop {
        let filter = TrialFilter {
            after: trials.last().map(|trial| trial.number),
            end: None,
            limit: MAX_PAGE,
        };
        let page = store.trials(id, filter).await?;
        if page.is_empty() {
            break;
        }
        for row in page {
            trials.push(ended(&row, spec, &wanted)?);
        }
    }
    let kept = store.run_result(id).await?;
    let kept = kept.and_then(|kept| serde_json::from_value(kept["progress"].clone()).ok());
    let earlier = store.earlier_work(id).await?;
    let resolved = store.task(id).await?.map(|row| row.resolved);
    let took_defaults = resolved.is_some_and(|resolved| resolved[DEFAULT_TRIAL].is_u64());
    let first = took_defaults.then(|| spec.first_points.first()).flatten();
    Ok(Found {
        trials,
        earlier,
        default_params: first.map(|point| spec.named(point)),
        kept,
    })
}

/// A row as the trial that it was, of its metrics those that are wanted.
fn ended(row: &TrialRow, spec: &TaskSpec, wanted: &[String]) -> Result<EndedTrial, StoreError> {
    let number = row.number;
    // What the figures of chance rest on; of the other windows it would only take memory.
    let deployed = spec.windows().last();
    let judges_by_returns = deployed.is_none_or(|window| window.trials.contains(&number));
    let point = spec.space.unpack(&row.params);
    let point = point.map_err(|error| StoreError::Unreadable {
        what: format!("trial {number}"),
        why: error.to_string(),
    })?;
    let metric = |name: &String| {
        let found = row.metrics.as_ref()?.get(name)?;
        let value = found.as_f64().ok_or_else(|| {
            let reason = found["reason"].as_str();
            reason.unwrap_or("it has no value").to_owned()
        });
        Some((name.clone(), value))
    };
    let evaluation = || Evaluation {
        values: row.values.clone(),
        metrics: wanted.iter().filter_map(metric).collect(),
        infeasible: row.infeasible.clone(),
        violation: row.violation,
        stats: row.stats.clone().filter(|_| judges_by_returns),
    };
    let outcome = match row.end {
        TrialEnd::Completed => Outcome::Completed(evaluation()),
        TrialEnd::Pruned => Outcome::Pruned(evaluation()),
        TrialEnd::Failed => Outcome::Failed(row.failure.clone().unwrap_or(Failure {
            kind: FailureKind::Panic,
            message: String::new(),
            causes: Vec::new(),
            hint: String::new(),
            worker: String::new(),
        })),
    };
    Ok(EndedTrial {
        number,
        point,
        outcome,
        reports: None,
        duration_ms: row.duration_ms,
        window: row.window,
    })
}

/// Does the steps that are left: on the thread of the slot, and beside it for the slots that are idle.
pub(crate) fn run(
    shared: &Shared,
    task: &PreparedTask,
    unit: &HeldUnit,
    recorded: u32,
    found: &Found,
) -> Halt {
    let Job::Search(spec) = &task.job else {
        give_up(unit, "only a search can be assessed");
        return Halt::Done;
    };
    let steps = || step_by_step(shared, task, spec, unit, recorded, found);
    match catch_unwind(AssertUnwindSafe(steps)) {
        Ok(halt) => halt,
        Err(payload) => {
            let text = panic_text(payload.as_ref());
            give_up(unit, &format!("the assessment panicked: {text}"));
            Halt::Done
        }
    }
}

/// What the luck test may take.
fn bounds(luck: Duration) -> LuckBounds {
    let most = LuckBounds::default();
    LuckBounds {
        permutations: if luck.is_zero() { 0 } else { most.permutations },
        seconds: luck.as_secs_f64(),
        easy_seconds: most.easy_seconds.min(luck.as_secs_f64()),
    }
}

/// A shuffled market is a copy of the bars, the same laid out for a backtest, and sums over windows of it:
/// about so many times the bars.
const MARKET_IN_BARS: u64 = 4;

/// How many shuffled markets are held at a time: as many as fit into another cache.
fn most_at_once(cache_bytes: u64, bars: usize) -> u32 {
    let bars = u64::try_from(bars.max(1)).unwrap_or(u64::MAX);
    let fit = cache_bytes / bars.saturating_mul(MARKET_IN_BARS);
    u32::try_from(fit).unwrap_or(u32::MAX).max(1)
}

fn step_by_step(
    shared: &Shared,
    task: &PreparedTask,
    spec: &Arc<TaskSpec>,
    unit: &HeldUnit,
    recorded: u32,
    found: &Found,
) -> Halt {
    if let Some(reason) = task.objective.unusable() {
        give_up(unit, reason);
        return Halt::Done;
    }
    let pairs = (!spec.pairs.is_empty()).then_some(&spec.pairs);
    let make = |series: &[Arc<BarSeries>], first, last| {
        // Dividends are of the days as they were: shuffled ones have none.
        let pinned = series.iter().zip(&task.data.series);
        let are_pinned = pinned
            .into_iter()
            .all(|(one, other)| Arc::ptr_eq(one, other));
        let data = PinnedData {
            series: series.to_vec(),
            records: if are_pinned {
                task.data.records.clone()
            } else {
                Vec::new()
            },
        };
        let config = spec.backtest.config().map_err(|error| error.to_string())?;
        data.backtest(pairs, &config, (first, last))
    };
    let case = Case {
        spec,
        trials: &found.trials,
        default_params: found.default_params.clone(),
        prior_trials: u32::try_from(found.earlier.trials).unwrap_or(u32::MAX),
        earlier_looks: found.earlier.holdout_looks,
        market: Some(Market {
            series: task.data.series.clone(),
            backtest: &make,
        }),
        bounds: bounds(shared.options.luck),
    };
    let mut assessing = Assessing::new(&case, found.kept.clone());
    let mut told = recorded;
    let stop = || unit.signal.get() > Signal::Run;
    let most = most_at_once(shared.options.cache_bytes, task.data.memory_bytes());
    loop {
        let lent = shared.borrow_idle_slots(most - 1);
        let stepped = assessing.step(1 + lent.count(), &stop);
        drop(lent);
        match stepped {
            Err(_) => return Halt::Signalled,
            Ok(Some(document)) => {
                unit.assessed_whole(json!({"assessment": document}));
                reach(FailPoint::AssessDone);
                return Halt::Done;
            }
            Ok(None) => {
                let (done, total) = (assessing.steps_done(), assessing.steps_total().max(1));
                // The last percent is the document's.
                let percent = (ASSESS_STEPS * done / total).clamp(told, ASSESS_STEPS - 1);
                let progress = json!({"progress": assessing.progress()});
                if !unit.assessed(percent - told, progress) {
                    return Halt::Signalled;
                }
                reach(FailPoint::AssessStepped);
                told = percent;
            }
        }
        if stop() {
            return Halt::Signalled;
        }
    }
}
