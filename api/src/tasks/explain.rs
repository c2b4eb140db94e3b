//! Why a task moves or does not: the numbers of the store and the state of the broker, in words.

use super::{find, view};
use crate::answer::{Explanation, Reason, UnitCounts};
use crate::extract::{Scope, TaskPath};
use crate::problem::Problem;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use trialmill_broker::BrokerState;
use trialmill_common::protocol::unable::{MOST_UNABLE, MOST_UNABLE_BY_ONE};
use trialmill_common::state::TaskState;
use trialmill_store::StoreError;
use trialmill_store::rows::{TaskRow, UnitSummary};

/// Series that are no longer current and are looked for by hash, at most; each is read whole.
const MAX_SERIES_CHECKED: usize = 20;

pub(super) async fn explain(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
) -> Result<Json<Explanation>, Problem> {
    let task = find(&state, scope, id).await?;
    let units = state.store.unit_summary(id).await?;
    let missing = missing_series(&state, &task).await?;
    let broker = state.broker.state().borrow().clone();
    let path = scope.path_of(id);
    let reasons = reasons(&Situation {
        task: &task,
        units: &units,
        broker: &broker,
        missing,
        path: &path,
    });
    Ok(Json(Explanation {
        task_id: id.0,
        status: task.ledger.state.name().to_owned(),
        reasons,
        units: counts(&units),
    }))
}

/// Symbols of the pinned snapshot whose series are gone; all of them when the snapshot is.
async fn missing_series(state: &AppState, task: &TaskRow) -> Result<Vec<String>, Problem> {
    let Some(snapshot) = task.snapshot else {
        return Ok(Vec::new());
    };
    if task.ledger.state.is_terminal() {
        return Ok(Vec::new());
    }
    let Some(pinned) = state.store.snapshot(snapshot).await? else {
        return Ok(task.stock_codes.clone());
    };
    let symbols: Vec<String> = pinned.series.keys().cloned().collect();
    let current = state.store.series_info(&symbols).await?;
    let replaced = pinned.series.iter().filter(|(symbol, hash)| {
        !current
            .iter()
            .any(|info| info.symbol == **symbol && info.hash == **hash)
    });
    let mut missing = Vec::new();
    for (symbol, hash) in replaced.take(MAX_SERIES_CHECKED) {
        match state.store.series_bytes(&[*hash]).await {
            Ok(found) if found.is_empty() => missing.push(symbol.clone()),
            Ok(_) => {}
            Err(StoreError::Unreadable { .. }) => missing.push(symbol.clone()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(missing)
}

/// All that a reason follows from.
struct Situation<'a> {
    task: &'a TaskRow,
    units: &'a UnitSummary,
    broker: &'a BrokerState,
    missing: Vec<String>,
    path: &'a str,
}

fn reason(code: &str, text: impl Into<String>, remedy: impl Into<Option<String>>) -> Reason {
    Reason {
        code: code.to_owned(),
        text: text.into(),
        remedy: remedy.into(),
    }
}

/// The reasons, the one to act on first.
fn reasons(now: &Situation<'_>) -> Vec<Reason> {
    let Situation { task, units, .. } = now;
    let ledger = &task.ledger;
    if ledger.state.is_terminal() {
        let why = match (&ledger.stop_reason, &task.error) {
            (_, Some(error)) => format!(": {}", error.message),
            (Some(reason), None) => format!(", stop reason {reason}"),
            (None, None) => String::new(),
        };
        return vec![reason(
            "ended",
            format!("the task is {}{why}", ledger.state),
            None,
        )];
    }
    let mut found = Vec::new();
    if let Some(stop) = ledger.stop_requested {
        found.push(reason(
            "stopping",
            format!(
                "the task was asked to end ({stop}) and waits for {} leased units to let go",
                units.leased
            ),
            None,
        ));
    } else if ledger.state == TaskState::Paused {
        found.push(reason(
            "paused",
            "the task is paused: running trials end, no new one starts",
            format!("POST {}/resume, or: trialmill resume {}", now.path, task.id),
        ));
    } else {
        found.extend(obstacles(now));
    }
    if units.expired > 0 {
        found.push(reason(
            "leases_expired",
            format!(
                "{} leased units were not renewed in time: their worker died, hangs or cannot \
                 reach the database",
                units.expired
            ),
            "nothing: they are queued again within one lease; see /api/v1/workers and the \
             worker's log if it happens again"
                .to_owned(),
        ));
    }
    if let Some(percent) = task.assessed_percent {
        found.push(reason(
            "assessing",
            format!(
                "its trials have ended; what the result is worth is being assessed: {percent} %"
            ),
            None,
        ));
    }
    let working = units.leased.saturating_sub(units.expired);
    if working > 0 && task.assessed_percent.is_none() {
        let rate = view::rate(task).map_or_else(
            || "none has ended yet".to_owned(),
            |rate| format!("{rate:.1} trials per second so far"),
        );
        found.push(reason(
            "running",
            format!("{working} units run now, one trial each at a time; {rate}"),
            None,
        ));
    }
    found
}

/// What a task waits for whose trials clients run.
fn for_clients(now: &Situation<'_>) -> Vec<Reason> {
    let units = now.units;
    if units.queued == 0 {
        return Vec::new();
    }
    vec![reason(
        "waits_for_clients",
        format!(
            "its trials are run by clients, and {} of them can be asked for now",
            units.queued
        ),
        format!(
            "POST {}/ask; trials that are running: GET {}/trials?state=running",
            now.path, now.path
        ),
    )]
}

/// What keeps queued units of a task that may run from being claimed.
fn obstacles(now: &Situation<'_>) -> Vec<Reason> {
    let Situation { task, units, .. } = now;
    if task.ledger.by_client {
        return for_clients(now);
    }
    let mut found = Vec::new();
    let pool = &task.pool;
    if !now.missing.is_empty() {
        let symbols = now.missing.join(", ");
        found.push(reason(
            "missing_market_data",
            format!("the pinned market data of {symbols} is no longer in the database"),
            "restore it from a backup, or submit the task again after 'trialmill data import'"
                .to_owned(),
        ));
    }
    if let Some(why) = &units.unable_reason {
        found.push(unable(units.unable, why));
    }
    if units.quarantined_slots > 0 {
        found.push(reason(
            "workers_in_quarantine",
            format!(
                "workers with {} slots of pool {pool} take no units, after a run of failures of \
                 their own",
                units.quarantined_slots
            ),
            "see /api/v1/workers for their reasons; each tests itself and comes back when it passes"
                .to_owned(),
        ));
    }
    if units.live_slots == 0 {
        found.push(reason(
            "no_live_worker",
            format!("no worker of pool {pool} is live"),
            "start trialmill-worker with the same DATABASE_URL and AMQP_URL".to_owned(),
        ));
    } else if units.capable_slots == 0 {
        found.push(reason(
            "no_capable_worker",
            format!(
                "none of the {} live slots of pool {pool} announced the strategy {}",
                units.live_slots, task.strategy
            ),
            "start a worker of a build that has it; /api/v1/workers lists what each can run"
                .to_owned(),
        ));
    }
    match now.broker {
        BrokerState::Connected => {}
        BrokerState::Disconnected { reason: why, .. } => found.push(reason(
            "broker_down",
            format!("this service is not connected to the broker: {why}"),
            "start the broker or mend AMQP_URL; units are published as soon as it is back"
                .to_owned(),
        )),
        BrokerState::Blocked { reason: why } => found.push(reason(
            "broker_blocked",
            format!("the broker takes no messages: {why}"),
            "free memory or disk of the broker; publishing goes on by itself".to_owned(),
        )),
    }
    if units.queued == 0 {
        return found;
    }
    if let Some(start) = task.not_before
        && task.started_at.is_none()
        && units.due == 0
        && units.published == 0
    {
        found.push(reason(
            "not_before",
            format!(
                "the task starts at {} at the earliest, as asked",
                start.to_rfc3339()
            ),
            None,
        ));
    }
    if units.ahead > 0 {
        found.push(reason(
            "waiting_behind",
            format!(
                "{} units of other tasks come before its {} queued ones",
                units.ahead, units.queued
            ),
            "start more workers, or submit with priority high".to_owned(),
        ));
    }
    if units.live_slots > 0 && units.busy_slots >= units.live_slots {
        found.push(reason(
            "slots_busy",
            format!(
                "all {} live slots of pool {pool} are busy",
                units.live_slots
            ),
            "wait, or start more workers".to_owned(),
        ));
    }
    if found.is_empty() && units.leased == 0 {
        found.push(reason(
            "about_to_start",
            format!(
                "{} units are queued, {} of them published to the broker; a free slot takes them \
                 at any moment",
                units.queued, units.published
            ),
            None,
        ));
    }
    found
}

/// A unit was given back by a worker that could not run it.
fn unable(times: u32, why: &str) -> Reason {
    if times == 0 {
        return reason(
            "needs_another_build",
            format!("a unit waits for a worker of another build: {why}"),
            "start a worker of the build that accepted the task; /api/v1/workers lists what each \
             one reads"
                .to_owned(),
        );
    }
    reason(
        "unit_cannot_be_run",
        format!("a unit could not be run {times} times in a row, the last time: {why}"),
        format!(
            "see to the reason; the unit is tried again, later each time, and after {MOST_UNABLE} \
             failures by two workers or more ({MOST_UNABLE_BY_ONE} by one) the task fails with it"
        ),
    )
}

fn counts(units: &UnitSummary) -> UnitCounts {
    UnitCounts {
        queued: units.queued,
        leased: units.leased,
        published: units.published,
        due: units.due,
        expired: units.expired,
        crashes: units.crashes,
        ahead: units.ahead,
        live_slots: units.live_slots,
        capable_slots: units.capable_slots,
        busy_slots: units.busy_slots,
        quarantined_slots: units.quarantined_slots,
        unable: units.unable,
    }
}
