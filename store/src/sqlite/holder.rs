//! What the holder of a lease does before its results: claim, announce, renew.

use super::columns::{json, maybe_hash, maybe_worker, micros, named, unable};
use super::{Tx, tasks, timers};
use crate::error::StoreError;
use crate::pack::pack_point;
use crate::rows::{
    AnnouncedTrial, Claim, Enqueued, HeldLease, LeaseOutcome, NewReport, Reported, UnitRef,
};
use rusqlite::{OptionalExtension, params};
use std::ops::Range;
use std::time::Duration;
use trialmill_common::protocol::Control;
use trialmill_common::state::{TaskId, UnitState, WorkerId};
use trialmill_common::trial::RunningTrial;

/// Takes the lease of a free unit of a task that runs.
pub(super) fn claim(
    tx: &Tx,
    unit: UnitRef,
    worker: WorkerId,
    lease: i64,
) -> Result<Option<Claim>, StoreError> {
    let Some(mut head) = tasks::head(tx, unit.task)? else {
        return Ok(None);
    };
    if !head.ledger.claimable() {
        return Ok(None);
    }
    let task = unit.task.to_string();
    let mut statement = tx.connection.prepare_cached(
        "select u.first, u.count, u.recorded, u.crashes, u.lease_token, u.state,
            u.owner, u.unable, u.unable_by, u.unable_by_others, t.spec, t.snapshot_id, t.kind,
            u.kind as unit_kind, (select w.number from task_windows w
                where w.task_id = u.task_id
                    and u.first >= w.first and u.first < w.first + w.count) as window_number
         from units u join tasks t on t.id = u.task_id
         where u.task_id = ?1 and u.number = ?2
            and (u.state = 'queued' or (u.state = 'leased' and u.lease_until <= ?3))
            and (t.not_before is null or t.not_before <= ?3)",
    )?;
    let mut rows = statement.query(params![task, unit.unit, tx.now])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let (count, recorded): (u32, u32) = (row.get("count")?, row.get("recorded")?);
    let lost = named::<UnitState>(row, "state")? == UnitState::Leased;
    let crashes_before: u32 = row.get("crashes")?;
    let crashes = crashes_before + u32::from(lost);
    let token = row.get::<_, i64>("lease_token")? + 1;
    if lost {
        // The lease ran out and nobody came back: found by this claim, not by the reaper.
        let loss = timers::Loss {
            token: token - 1,
            crashes: crashes_before,
            count,
            owner: maybe_worker(row, "owner")?,
            unable: unable(row)?,
        };
        loss.charge(tx, unit)?;
    }
    tx.connection
        .prepare_cached(
            "update units set state = 'leased', lease_token = ?3, owner = ?4, lease_until = ?5,
                publish_at = null, publishes = 0, crashes = ?6
             where task_id = ?1 and number = ?2",
        )?
        .execute(params![
            task,
            unit.unit,
            token,
            worker.to_string(),
            tx.now.saturating_add(lease),
            crashes
        ])?;
    let effects = head.ledger.claimed();
    let first = row.get::<_, u32>("first")? + recorded;
    if !effects.events.is_empty() {
        tasks::save(tx, unit.task, &head, &effects)?;
    }
    Ok(Some(Claim {
        lease: HeldLease { unit, token },
        first,
        count: count - recorded,
        recorded,
        crashes,
        kind: named(row, "kind")?,
        unit_kind: named(row, "unit_kind")?,
        window: row.get("window_number")?,
        spec: json(row, "spec")?,
        snapshot: maybe_hash(row, "snapshot_id")?,
        announced: announced(tx, unit, first..first + (count - recorded))?,
    }))
}

/// The first unit of a task that is free.
pub(super) fn claim_next(
    tx: &Tx,
    task: TaskId,
    holder: WorkerId,
    lease: Duration,
) -> Result<Option<Claim>, StoreError> {
    let number = tx
        .connection
        .prepare_cached(
            "select number from units
             where task_id = ?1 and kind = 'trials'
                and (state = 'queued' or state = 'leased' and lease_until <= ?2)
             order by first limit 1",
        )?
        .query_row(params![task.to_string(), tx.now], |row| row.get(0))
        .optional()?;
    match number {
        Some(unit) => claim(tx, UnitRef { task, unit }, holder, micros(lease)),
        None => Ok(None),
    }
}

/// The trials of a unit that have their parameters already: announced and enqueued ones.
fn announced(tx: &Tx, unit: UnitRef, left: Range<u32>) -> Result<Vec<AnnouncedTrial>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select number, params, crashes from running_trials where task_id = ?1 and unit = ?2
         union all
         select number, params, 0 from enqueued_trials e
         where task_id = ?1 and number >= ?3 and number < ?4 and not exists (
            select 1 from running_trials r where r.task_id = e.task_id and r.number = e.number)
         order by number",
    )?;
    let of_unit = params![unit.task.to_string(), unit.unit, left.start, left.end];
    let mut rows = statement.query(of_unit)?;
    let mut announced = Vec::new();
    while let Some(row) = rows.next()? {
        announced.push(AnnouncedTrial {
            number: row.get("number")?,
            params: row.get("params")?,
            crashes: row.get("crashes")?,
        });
    }
    Ok(announced)
}

/// Whether the lease is the unit's present one; expired or not does not matter.
fn held(tx: &Tx, lease: HeldLease) -> Result<bool, StoreError> {
    let holds = tx
        .connection
        .prepare_cached(
            "select 1 from units where task_id = ?1 and number = ?2 and state = 'leased'
                and lease_token = ?3",
        )?
        .exists(params![
            lease.unit.task.to_string(),
            lease.unit.unit,
            lease.token
        ])?;
    Ok(holds)
}

/// Announces a trial; a row that is there keeps its parameters and crashes.
pub(super) fn start_trial(
    tx: &Tx,
    lease: HeldLease,
    trial: &RunningTrial,
) -> Result<Option<Control>, StoreError> {
    if !held(tx, lease)? {
        return Ok(None);
    }
    let Some(head) = tasks::head(tx, lease.unit.task)? else {
        return Ok(None);
    };
    let control = head.ledger.control();
    if control == Control::Run {
        tx.connection
            .prepare_cached(
                "insert into running_trials
                    (task_id, number, unit, lease_token, params, crashes, started_at)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 on conflict (task_id, number) do update set unit = excluded.unit,
                    lease_token = excluded.lease_token, started_at = excluded.started_at,
                    reports = iif(lease_token = excluded.lease_token, reports, null)",
            )?
            .execute(params![
                lease.unit.task.to_string(),
                trial.number,
                lease.unit.unit,
                lease.token,
                pack_point(&trial.point),
                trial.crashes,
                tx.now
            ])?;
    }
    Ok(Some(control))
}

/// The client that holds the lease lives, and may have something to report.
pub(super) fn report(
    tx: &Tx,
    lease: HeldLease,
    holder: WorkerId,
    go_on: Duration,
    report: Option<&NewReport>,
) -> Result<Reported, StoreError> {
    timers::uncharge(tx, holder)?;
    let task = lease.unit.task.to_string();
    let head = match held(tx, lease)? {
        true => tasks::head(tx, lease.unit.task)?,
        false => None,
    };
    let Some(head) = head else {
        return Ok(Reported::Lost);
    };
    if let Some(report) = report {
        let of_trial = params![task, report.number, lease.token];
        let before: Option<Option<Vec<u8>>> = tx
            .connection
            .prepare_cached(
                "select reports from running_trials
                 where task_id = ?1 and number = ?2 and lease_token = ?3",
            )?
            .query_row(of_trial, |row| row.get(0))
            .optional()?;
        let Some(mut reports) = before
            .map(Option::unwrap_or_default)
            .filter(|before| before.len() == report.before)
        else {
            return Ok(Reported::Overtaken);
        };
        reports.extend(&report.added);
        tx.connection
            .prepare_cached(
                "update running_trials set reports = ?3 where task_id = ?1 and number = ?2",
            )?
            .execute(params![task, report.number, reports])?;
    }
    tx.connection
        .prepare_cached("update units set lease_until = ?3 where task_id = ?1 and number = ?2")?
        .execute(params![
            task,
            lease.unit.unit,
            tx.now.saturating_add(micros(go_on))
        ])?;
    Ok(Reported::Kept(head.ledger.control()))
}

/// Has the first trial that nobody was given take a point. From then on the request alone does not say what
/// the search tries: `resolved.reproducible` is false.
pub(super) fn enqueue(
    tx: &Tx,
    id: TaskId,
    from: u32,
    point: &[u8],
) -> Result<Enqueued, StoreError> {
    let Some(head) = tasks::head(tx, id)? else {
        return Ok(Enqueued::NotFound);
    };
    let task = id.to_string();
    let numbers = |of: &str| -> Result<Vec<u32>, StoreError> {
        let mut statement = tx
            .connection
            .prepare_cached(&format!("select number from {of} where task_id = ?1"))?;
        let numbers = statement.query_map([&task], |row| row.get(0))?;
        Ok(numbers.collect::<Result<_, _>>()?)
    };
    let waiting = numbers("enqueued_trials")?;
    if waiting.len() >= crate::MAX_ENQUEUED as usize {
        return Ok(Enqueued::Full);
    }
    let announced = numbers("running_trials")?;
    let queued: Vec<Range<u32>> = tx
        .connection
        .prepare_cached(
            "select first + recorded, first + count from units
             where task_id = ?1 and state = 'queued' and kind = 'trials'",
        )?
        .query_map([&task], |row| Ok(row.get(0)?..row.get(1)?))?
        .collect::<Result<_, _>>()?;
    let taken = waiting.into_iter().chain(announced).collect();
    let number = match head.ledger.first_free(from, &queued, &taken) {
        Err(refused) => return Ok(Enqueued::NotAllowed(refused)),
        Ok(None) => return Ok(Enqueued::NoneLeft),
        Ok(Some(number)) => number,
    };
    tx.connection
        .prepare_cached(
            "insert into enqueued_trials (task_id, number, params, enqueued_at)
             values (?1, ?2, ?3, ?4)",
        )?
        .execute(params![task, number, point, tx.now])?;
    tx.connection
        .prepare_cached(
            "update tasks set resolved = json_set(resolved, '$.reproducible', json('false'))
             where id = ?1",
        )?
        .execute([&task])?;
    Ok(Enqueued::For(number))
}

/// Charges a crash to an announced trial of a held unit.
pub(super) fn charge_crash(
    tx: &Tx,
    lease: HeldLease,
    number: u32,
    crashes: u32,
) -> Result<Option<u32>, StoreError> {
    if !held(tx, lease)? {
        return Ok(None);
    }
    let crashes = tx
        .connection
        .prepare_cached(
            "update running_trials set crashes = max(crashes, ?4)
             where task_id = ?1 and unit = ?2 and number = ?3 returning crashes",
        )?
        .query_row(
            params![
                lease.unit.task.to_string(),
                lease.unit.unit,
                number,
                crashes
            ],
            |row| row.get(0),
        )
        .optional()?;
    Ok(crashes)
}

/// The worker lives and holds these leases.
pub(super) fn renew(
    tx: &Tx,
    worker: WorkerId,
    leases: &[HeldLease],
) -> Result<Vec<LeaseOutcome>, StoreError> {
    tx.connection
        .prepare_cached("update workers set seen_at = ?2, left_at = null where id = ?1")?
        .execute(params![worker.to_string(), tx.now])?;
    timers::uncharge(tx, worker)?;
    let mut update = tx.connection.prepare_cached(
        "update units set lease_until = ?4
         where task_id = ?1 and number = ?2 and state = 'leased' and lease_token = ?3",
    )?;
    let until = tx.now.saturating_add(tx.lease);
    let mut outcomes = Vec::with_capacity(leases.len());
    for lease in leases {
        let task = lease.unit.task;
        let held = update.execute(params![
            task.to_string(),
            lease.unit.unit,
            lease.token,
            until
        ])? > 0;
        let head = if held { tasks::head(tx, task)? } else { None };
        outcomes.push(head.map_or(LeaseOutcome::Lost, |h| {
            LeaseOutcome::Held(h.ledger.control())
        }));
    }
    Ok(outcomes)
}

/// What the holders of leases of each task are to do; to stop where the task is gone.
pub(super) fn controls(tx: &Tx, tasks: &[TaskId]) -> Result<Vec<Control>, StoreError> {
    let mut statement = tx.connection.prepare_cached(
        "select state, stop_requested is not null as stopping from tasks where id = ?1",
    )?;
    let mut controls = Vec::with_capacity(tasks.len());
    for id in tasks {
        let mut rows = statement.query([id.to_string()])?;
        controls.push(match rows.next()? {
            Some(row) => Control::of(named(row, "state")?, row.get("stopping")?),
            None => Control::Stop,
        });
    }
    Ok(controls)
}
