//! Searches whose trials are run by clients: ask for a trial, report how it goes, tell what it came to.
//!
//! Each trial is a unit of its own, in a pool that no worker serves. An ask claims the first free one for
//! `trial_timeout` seconds, draws its parameters and announces it; a report prolongs the claim; a tell records
//! the trial and closes the unit. A client of which nothing is heard for so long has lost its trial, which goes to the next
//! who asks, with the same parameters; after three losses it fails.

mod study;

pub(crate) use study::ClientStudies;

use study::{Drawn, Turn};

use super::{find, searching, view};
use crate::answer::{AskAnswer, ReportAnswer, TellAnswer};
use crate::body::{read_json, read_optional_json};
use crate::extract::{Scope, TaskPath, TrialPath};
use crate::finish::to_the_end;
use crate::problem::{Class, Problem};
use crate::state::AppState;
use aide::OperationInput;
use axum::Json;
use axum::extract::{FromRequest, Request, State};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use trialmill_common::costs;
use trialmill_common::draft::{
    ClientLease, ToldEnd, ToldReport, check_report, check_told, parse_body,
};
use trialmill_common::fault::Fault;
use trialmill_common::judge::judge;
use trialmill_common::objective::CLIENT;
use trialmill_common::protocol::Control;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::reports::{self, MAX_REPORTS};
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::{TaskId, TaskState, WorkerId};
use trialmill_common::trial::{
    EndedTrial, Evaluation, Failure, FailureKind, MAX_TRIAL_CRASHES, Outcome, RunningTrial,
};
use trialmill_search::pruner::Reports;
use trialmill_store::UnitFlush;
use trialmill_store::rows::{
    Claim, HeldLease, NewReport, Reported, RunningRow, TaskRow, TrialRow, UnitRef,
};
use uuid::Uuid;

/// Who told the end of a trial, in its failure.
const TELLER: &str = "a client of the API";

/// A body of JSON.
pub(super) struct Body(pub Value);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_json(&parts.headers, body).await?;
        parse_body(&bytes).map(Self).map_err(Problem::invalid)
    }
}

impl OperationInput for Body {}

/// A body that must have nothing in it, if there is one.
pub(super) struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_optional_json(&parts.headers, body).await?;
        let empty = match bytes.is_empty() {
            true => true,
            false => {
                let body = parse_body(&bytes).map_err(Problem::invalid)?;
                body.as_object().is_some_and(serde_json::Map::is_empty)
            }
        };
        match empty {
            true => Ok(Self),
            false => {
                let detail = "an ask has no fields; send no body, or {}";
                Err(Problem::invalid(vec![Fault::new(
                    "",
                    "unknown_field",
                    detail,
                )]))
            }
        }
    }
}

impl OperationInput for NoBody {}

/// `POST .../{id}/ask`.
pub(super) async fn ask(
    State(state): State<AppState>,
    scope: Scope,
    TaskPath(id): TaskPath,
    _: NoBody,
) -> Result<Json<AskAnswer>, Problem> {
    let (task, spec) = at_client(&state, scope, id).await?;
    // A claim that nobody is told of would hold its trial for the whole of its time.
    to_the_end(async move {
        loop {
            let holder = WorkerId(Uuid::new_v4());
            let lease = silence(&spec);
            let Some(claim) = state.store.claim_next(id, holder, lease).await? else {
                return Err(nothing_to_ask(&state, scope, &task).await?);
            };
            if let Some(answer) = given(&state, &task, &spec, &claim, holder).await? {
                return Ok(Json(answer));
            }
        }
    })
    .await
}

/// A search whose trials clients run.
async fn at_client(
    state: &AppState,
    scope: Scope,
    id: TaskId,
) -> Result<(TaskRow, Arc<TaskSpec>), Problem> {
    let task = searching(find(state, scope, id).await?)?;
    let spec = view::spec_of(&task)?;
    if spec.runs_at_client() {
        return Ok((task, Arc::new(spec)));
    }
    let detail = format!(
        "the trials of task {id} are run by workers ({}); a task whose trials clients run has the strategy_name \
         {CLIENT}",
        task.strategy
    );
    Err(refused("not_at_client", detail))
}

fn refused(code: &str, detail: String) -> Problem {
    Problem::of_fault(Class::Conflict, Fault::new("", code, detail))
}

/// How long nothing need be heard of a trial.
fn silence(spec: &TaskSpec) -> Duration {
    Duration::from_secs_f64(spec.trial_timeout)
}

/// Gives a claimed trial to the client; nothing where it has ended instead, or was lost meanwhile.
async fn given(
    state: &AppState,
    task: &TaskRow,
    spec: &Arc<TaskSpec>,
    claim: &Claim,
    holder: WorkerId,
) -> Result<Option<AskAnswer>, Problem> {
    let number = claim.first;
    let drawn = point_of(state, task.id, spec, claim).await;
    let (drawn, turn) = match drawn {
        Ok(found) => found,
        Err(problem) => {
            leave(state, claim, Vec::new(), UnitEnd::HandBack).await?;
            return Err(problem);
        }
    };
    let before = claim.announced.iter().find(|one| one.number == number);
    let crashes = before.map_or(0, |before| before.crashes);
    let failure = match &drawn {
        Drawn::None(_, why) => Some(no_point(number, why)),
        Drawn::Point(_) => (crashes >= MAX_TRIAL_CRASHES).then(|| forgotten(spec)),
    };
    let (Drawn::Point(point) | Drawn::None(point, _)) = drawn;
    if let Some(failure) = failure {
        let trial = EndedTrial {
            number,
            point,
            outcome: Outcome::Failed(failure),
            reports: None,
            duration_ms: 0.0,
            window: None,
        };
        leave(state, claim, vec![trial], UnitEnd::Split).await?;
        return Ok(None);
    }
    let trial = RunningTrial {
        number,
        unit: claim.lease.unit.unit,
        point: point.clone(),
        crashes,
    };
    let announced = state.store.start_trial(claim.lease, &trial).await?;
    // Whoever asks next sees that this point is being tried.
    drop(turn);
    match announced {
        Some(Control::Run) => {}
        // It was paused or stopped between the two.
        Some(Control::Pause | Control::Stop) => {
            leave(state, claim, Vec::new(), UnitEnd::HandBack).await?;
            return Ok(None);
        }
        None => return Ok(None),
    }
    let lease = ClientLease {
        token: claim.lease.token,
        recorded: claim.recorded,
        holder,
    };
    Ok(Some(AskAnswer {
        task_id: task.id.0,
        trial_number: number,
        params: view::parameters_of(spec, &point),
        lease: lease.to_string(),
        lease_seconds: spec.trial_timeout,
        lost_before: crashes,
    }))
}

/// The point of a claimed trial: the one that it has already, or one that is drawn; and the turn to draw, which is
/// kept until the trial is announced.
async fn point_of(
    state: &AppState,
    id: TaskId,
    spec: &Arc<TaskSpec>,
    claim: &Claim,
) -> Result<(Drawn, Option<Turn>), Problem> {
    let number = claim.first;
    if let Some(before) = claim.announced.iter().find(|one| one.number == number) {
        match spec.space.unpack(&before.params) {
            Ok(point) => return Ok((Drawn::Point(point), None)),
            Err(error) => {
                tracing::error!(task.id = %id, trial.number = number, %error, "its parameters cannot be read; they are drawn again");
            }
        }
    }
    let study = state.studies.of(id, spec)?;
    let turn = study.turn().await;
    let store = state.store.as_ref();
    let drawn = state.studies.draw(store, &study, number).await?;
    Ok((drawn, turn))
}

/// Why a trial failed for which there is no point.
fn no_point(number: u32, why: &str) -> Failure {
    Failure {
        kind: FailureKind::InvalidParameters,
        message: format!("there is no point for trial {number}: {why}"),
        causes: Vec::new(),
        hint: "a fault of this build; report it with the task, or choose another optimization_method. The \
               parameters shown were not tried"
            .to_owned(),
        worker: TELLER.to_owned(),
    }
}

/// Why a trial failed that was asked for again and again.
fn forgotten(spec: &TaskSpec) -> Failure {
    let seconds = spec.trial_timeout;
    Failure {
        kind: FailureKind::TrialTimeout,
        message: format!(
            "it was asked for {MAX_TRIAL_CRASHES} times, and each time nothing was heard of it for {seconds} s"
        ),
        causes: Vec::new(),
        hint: "report while it runs, or give a longer trial_timeout".to_owned(),
        worker: TELLER.to_owned(),
    }
}

/// Writes what there is of a claimed unit and leaves it.
async fn leave(
    state: &AppState,
    claim: &Claim,
    trials: Vec<EndedTrial>,
    end: UnitEnd,
) -> Result<Written, Problem> {
    write(state, claim.lease, claim.recorded, trials, end)
        .await
        .map(|(written, _)| written)
}

async fn write(
    state: &AppState,
    lease: HeldLease,
    recorded_before: u32,
    trials: Vec<EndedTrial>,
    end: UnitEnd,
) -> Result<(Written, Control), Problem> {
    let flush = UnitFlush {
        lease,
        recorded_before,
        trials,
        steps: 0,
        end,
        result: None,
        why: None,
    };
    let recorded = state.store.record(lease.unit.task, &[flush]).await?;
    let written = recorded.written.first().copied();
    Ok((written.unwrap_or(Written::Fenced), recorded.control))
}

/// Why there is no trial to be asked for now.
async fn nothing_to_ask(
    state: &AppState,
    scope: Scope,
    task: &TaskRow,
) -> Result<Problem, Problem> {
    let id = task.id;
    let task = find(state, scope, id).await?;
    let ledger = &task.ledger;
    if let Some(why) = over(&task) {
        return Ok(why);
    }
    if ledger.state == TaskState::Paused {
        let detail = format!("task {id} is paused; resume it, or wait");
        return Ok(waiting("task_paused", detail));
    }
    if let Some(start) = task.not_before
        && task.started_at.is_none()
        && state.store.unit_summary(id).await?.due == 0
    {
        let detail = format!("task {id} starts at {} at the earliest", start.to_rfc3339());
        return Ok(waiting("not_before", detail));
    }
    let running = task.leased_units;
    let (ended, planned) = (ledger.ended(), ledger.planned);
    let detail = if ended + running >= planned {
        format!(
            "the last {running} trials of task {id} are running; wait until their ends are told"
        )
    } else {
        format!(
            "{running} trials of task {id} are running, as many as may at a time; tell the end of one first, or \
             submit it with a higher parallelism. (A sampler that learns is kept from running ahead of what it \
             knows.)"
        )
    };
    Ok(waiting("all_running", detail))
}

/// The same may succeed in a second.
fn waiting(code: &str, detail: String) -> Problem {
    Problem {
        retry_after: Some(1),
        ..refused(code, detail)
    }
}

/// That a task has ended, or is about to.
fn over(task: &TaskRow) -> Option<Problem> {
    let ledger = &task.ledger;
    let ends = ledger.state.is_terminal() || ledger.stop_requested.is_some();
    ends.then(|| {
        let state = match ledger.state.is_terminal() {
            true => ledger.state.name(),
            false => "ending",
        };
        let detail = format!(
            "task {} is {state}: no trial of it starts any more",
            task.id
        );
        refused("task_ended", detail)
    })
}

/// `POST .../{id}/trials/{n}/tell`.
pub(super) async fn tell(
    State(state): State<AppState>,
    scope: Scope,
    TrialPath { task: id, number }: TrialPath,
    Body(body): Body,
) -> Result<Json<TellAnswer>, Problem> {
    let (task, spec) = at_client(&state, scope, id).await?;
    let told = check_told(&body, &spec).map_err(Problem::invalid)?;
    let row = running(&state, id, number).await?;
    let row = match row.filter(|row| row.worker == Some(told.lease.holder)) {
        Some(row) => row,
        None => {
            let ended = state.store.trial(id, number).await?;
            return ended_before(&task, &spec, number, ended.as_ref(), &told.end).map(Json);
        }
    };
    let reports = reported(&spec, &row)?;
    let outcome = outcome(&spec, told.end, reports.as_ref())?;
    let point = spec.space.unpack(&row.params).map_err(|error| {
        tracing::error!(task.id = %id, trial.number = number, %error, "unreadable");
        Problem::internal()
    })?;
    let infeasible = infeasible_of(&outcome);
    let state_name = outcome.end().name().to_owned();
    let trial = EndedTrial {
        number,
        point,
        outcome,
        reports: reports.filter(|reports| !reports.is_empty()),
        duration_ms: row.age.as_secs_f64() * 1e3,
        window: None,
    };
    let lease = held(id, &row, told.lease);
    to_the_end(async move {
        let end = UnitEnd::Split;
        let (written, control) =
            write(&state, lease, told.lease.recorded, vec![trial], end).await?;
        match written {
            Written::Recorded => Ok(Json(TellAnswer {
                task_id: id.0,
                trial_number: number,
                state: state_name,
                infeasible,
                control: control_name(control),
            })),
            Written::Ended => Err(refused(
                "task_ended",
                format!("task {id} ended by a rule of its own with a trial before trial {number}, which is not recorded"),
            )),
            Written::Fenced => Err(lost(id, number)),
        }
    })
    .await
}

fn infeasible_of(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Completed(evaluation) | Outcome::Pruned(evaluation) => {
            evaluation.infeasible.clone()
        }
        Outcome::Failed(_) => None,
    }
}

fn control_name(control: Control) -> String {
    let name = match control {
        Control::Run => "run",
        Control::Pause => "pause",
        Control::Stop => "stop",
    };
    name.to_owned()
}

/// The row of a running trial.
async fn running(state: &AppState, id: TaskId, number: u32) -> Result<Option<RunningRow>, Problem> {
    let numbers = number..number.saturating_add(1);
    Ok(state.store.running_trials(id, numbers).await?.pop())
}

fn held(id: TaskId, row: &RunningRow, lease: ClientLease) -> HeldLease {
    HeldLease {
        unit: UnitRef {
            task: id,
            unit: row.unit,
        },
        token: lease.token,
    }
}

/// The lease is another client's by now, or nobody's.
fn lost(id: TaskId, number: u32) -> Problem {
    let detail = format!(
        "nothing was heard of trial {number} of task {id} within its lease, so it was taken back, or the task has \
         ended; nothing was recorded: ask for another trial, and report in time or submit with a longer \
         trial_timeout"
    );
    refused("lease_lost", detail)
}

/// The answer to an end that is told of a trial that does not run under the lease: again, or too late.
fn ended_before(
    task: &TaskRow,
    spec: &TaskSpec,
    number: u32,
    ended: Option<&TrialRow>,
    told: &ToldEnd,
) -> Result<TellAnswer, Problem> {
    let id = task.id;
    let Some(row) = ended else {
        if number >= task.ledger.planned {
            return Err(Problem::not_found(format!(
                "task {id} has no trial {number}; its trials are 0 to {}",
                task.ledger.planned.saturating_sub(1)
            )));
        }
        return Err(lost(id, number));
    };
    let reports = row
        .reports
        .as_deref()
        .and_then(|bytes| reports::unpack(bytes, spec.objectives.len()));
    let same = match outcome(spec, told.clone(), reports.as_ref())? {
        Outcome::Failed(failure) => {
            row.failure.as_ref().map(|known| &known.message) == Some(&failure.message)
        }
        told @ (Outcome::Completed(_) | Outcome::Pruned(_)) => {
            let (Outcome::Completed(evaluation) | Outcome::Pruned(evaluation)) = &told else {
                unreachable!("matched above")
            };
            told.end() == row.end
                && evaluation.values == row.values
                && evaluation.infeasible == row.infeasible
        }
    };
    if !same {
        let detail = format!(
            "trial {number} of task {id} has ended before ({}), and otherwise than told now; what is recorded \
             stands",
            row.end
        );
        return Err(refused("already_ended", detail));
    }
    Ok(TellAnswer {
        task_id: id.0,
        trial_number: number,
        state: row.end.name().to_owned(),
        infeasible: row.infeasible.clone(),
        control: control_name(task.ledger.control()),
    })
}

fn reported(spec: &TaskSpec, row: &RunningRow) -> Result<Option<Reports>, Problem> {
    let objectives = spec.objectives.len();
    let Some(bytes) = &row.reports else {
        return Ok(None);
    };
    let found = reports::unpack(bytes, objectives);
    if found.is_none() {
        tracing::error!(trial.number = row.number, "its reports are unreadable");
        return Err(Problem::internal());
    }
    Ok(found)
}

/// What is to be recorded of a trial.
fn outcome(spec: &TaskSpec, told: ToldEnd, reports: Option<&Reports>) -> Result<Outcome, Problem> {
    let judged = |metrics: Vec<(String, Result<f64, String>)>| {
        judge(&spec.objectives, &spec.result_constraints, metrics).map_err(|error| {
            let fault = Fault::new("/values", "not_finite", error.to_string());
            Problem::invalid(vec![fault])
        })
    };
    Ok(match told {
        ToldEnd::Completed(metrics) => Outcome::Completed(judged(metrics)?),
        ToldEnd::Pruned(values) => {
            let last = || -> Option<Vec<f64>> {
                let reports = reports.filter(|reports| !reports.is_empty())?;
                let of = |objective| reports.costs(objective)?.last().copied();
                (0..reports.objectives()).map(of).collect()
            };
            Outcome::Pruned(Evaluation {
                values: values.or_else(last).unwrap_or_default(),
                ..Evaluation::default()
            })
        }
        ToldEnd::Failed(message) => Outcome::Failed(Failure {
            kind: FailureKind::ToldByClient,
            message,
            causes: Vec::new(),
            hint: "the client that ran it told so; look at its own log".to_owned(),
            worker: TELLER.to_owned(),
        }),
    })
}

/// `POST .../{id}/trials/{n}/report`.
pub(super) async fn report(
    State(state): State<AppState>,
    scope: Scope,
    TrialPath { task: id, number }: TrialPath,
    Body(body): Body,
) -> Result<Json<ReportAnswer>, Problem> {
    let (_, spec) = at_client(&state, scope, id).await?;
    let ToldReport { lease, report } = check_report(&body, &spec).map_err(Problem::invalid)?;
    loop {
        let Some(row) = running(&state, id, number).await? else {
            return Err(lost(id, number));
        };
        if row.worker != Some(lease.holder) {
            // It is another client's by now. That this one lives all the same takes back what its loss charged.
            let held = held(id, &row, lease);
            state
                .store
                .report(held, lease.holder, silence(&spec), None)
                .await?;
            return Err(lost(id, number));
        }
        let objectives = spec.objectives.len();
        let mut known = reported(&spec, &row)?.unwrap_or_else(|| Reports::new(objectives));
        let new = match &report {
            Some((step, values)) => added(&mut known, number, &row, *step, values)?,
            None => None,
        };
        let held = held(id, &row, lease);
        let said = state
            .store
            .report(held, lease.holder, silence(&spec), new)
            .await?;
        let control = match said {
            Reported::Kept(control) => control,
            // The same client reports twice at a time: look again at what is known.
            Reported::Overtaken => continue,
            Reported::Lost => return Err(lost(id, number)),
        };
        let should_prune = report.is_some() && prunes(&state, id, &spec, number, &known).await?;
        return Ok(Json(ReportAnswer {
            task_id: id.0,
            trial_number: number,
            should_prune,
            control: control_name(control),
            lease_seconds: spec.trial_timeout,
        }));
    }
}

/// Adds a report to those known; nothing where it is the last one again.
fn added(
    known: &mut Reports,
    number: u32,
    row: &RunningRow,
    step: u32,
    values: &[f64],
) -> Result<Option<NewReport>, Problem> {
    let fault = |pointer: &str, code: &str, detail: String| {
        Problem::invalid(vec![Fault::new(pointer, code, detail).value(&step.into())])
    };
    if known.last_step() == Some(step) {
        let last = |objective| known.costs(objective).and_then(<[f64]>::last).copied();
        let same = (0..values.len()).all(|at| last(at) == Some(values[at]));
        if same {
            return Ok(None);
        }
    }
    if known.len() >= MAX_REPORTS {
        let detail = format!(
            "{MAX_REPORTS} reports of one trial are kept, and there are as many; report less often (leave step \
             and values out to say that it lives)"
        );
        return Err(fault("/step", "too_many", detail));
    }
    let mut one = Reports::new(values.len());
    known
        .push(step, values)
        .and_then(|()| one.push(step, values))
        .map_err(|error| fault("/step", "step_not_ascending", error.to_string()))?;
    Ok(Some(NewReport {
        number,
        before: row.reports.as_ref().map_or(0, Vec::len),
        added: reports::pack(&one),
    }))
}

/// Whether the task's pruner would stop a trial with these reports.
async fn prunes(
    state: &AppState,
    id: TaskId,
    spec: &Arc<TaskSpec>,
    number: u32,
    known: &Reports,
) -> Result<bool, Problem> {
    let pruner = spec.pruner().map_err(|error| {
        tracing::error!(task.id = %id, %error, "a stored task is unreadable");
        Problem::internal()
    })?;
    let Some(pruner) = pruner else {
        return Ok(false);
    };
    let study = state.studies.of(id, spec)?;
    let own = costs::of_reports(spec, known);
    let store = state.store.as_ref();
    state
        .studies
        .prunes(store, &study, pruner, own, number)
        .await
}

/// Describes the body of a tell.
pub(super) fn told_schema() -> Value {
    serde_json::json!({
        "type": "object", "required": ["lease"], "additionalProperties": false,
        "properties": {
            "lease": {"type": "string", "description": "as it came with the trial"},
            "state": {"type": ["string", "null"], "enum": ["completed", "pruned", "failed", null], "default": "completed"},
            "values": {"description": "of a completed trial: a number where there is one objective, a list in their \
                order, or an object by metric, with further metrics if you like and null where there is no value"},
            "error": {"type": ["string", "null"], "description": "why it failed"},
        },
    })
}

/// Describes the body of a report.
pub(super) fn report_schema() -> Value {
    serde_json::json!({
        "type": "object", "required": ["lease"], "additionalProperties": false,
        "properties": {
            "lease": {"type": "string", "description": "as it came with the trial"},
            "step": {"type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX, "description": "above that of the last report"},
            "values": {"description": "of the objectives at this step: a number, a list, or an object by metric"},
        },
    })
}
