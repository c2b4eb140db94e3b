//! Units: what the relay takes, what a worker claims and announces.

use super::PgError;
use super::task::{self, count, int};
use crate::rows::{
    AnnouncedTrial, Claim, DueUnit, Enqueued, HeldLease, NewReport, Reported, UnitRef,
};
use crate::{MIN_IN_FLIGHT, Timing, pack};
use deadpool_postgres::{Object, Transaction};
use std::collections::HashSet;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::protocol::Control;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::protocol::unable::{OTHER_BUILD_PAUSE, Unable};
use trialmill_common::state::{TaskId, TaskState, WorkerId};
use trialmill_common::trial::RunningTrial;
use uuid::Uuid;

/// What may be published, in order. Whatever is queued, it reads a few tasks of each key and a few
/// units of each of those: `$2` places are free, so nobody behind `$2` tasks that are not being
/// served can be among them. That a task has due units is asked one by one and by its own index:
/// `is true` hides the comparison from the index of all due units, which is long when many wait.
const LINE: &str = "
    with recursive keys as (
        (select coalesce(t.submitted_by, '') as key from tasks t
         where t.pool = $1 and t.state in ('queued', 'running') and t.stop_requested is null
         order by coalesce(t.submitted_by, '') limit 1)
        union all
        select (
            select coalesce(t.submitted_by, '') from tasks t
            where t.pool = $1 and t.state in ('queued', 'running') and t.stop_requested is null
                and coalesce(t.submitted_by, '') > keys.key
            order by coalesce(t.submitted_by, '') limit 1)
        from keys where keys.key is not null),
    busy as materialized (
        select u.task_id, coalesce(t.submitted_by, '') as key
        from units u join tasks t on t.id = u.task_id
        where u.state = 'leased' and t.pool = $1 and t.state in ('queued', 'running')
        union all
        select u.task_id, coalesce(t.submitted_by, '') as key
        from units u join tasks t on t.id = u.task_id
        where u.state = 'queued' and u.publishes > 0 and u.publish_at > now()
            and t.pool = $1 and t.state in ('queued', 'running')),
    served as (select task_id, count(*) as units from busy group by task_id),
    served_key as (select key, count(*) as units from busy group by key),
    line as (
        select u.task_id, u.number, a.priority, keys.key, a.name,
            u.first + u.recorded as first_trial, u.count - u.recorded as trials,
            coalesce(s.units, 0) + u.nth as place
        from keys
        cross join lateral (
            select t.id, t.priority, t.name from tasks t
            where t.pool = $1 and t.state in ('queued', 'running') and t.stop_requested is null
                and coalesce(t.submitted_by, '') = keys.key
                and coalesce(t.not_before, '-infinity'::timestamptz) <= now()
                and (select true from units u where u.task_id = t.id and u.state = 'queued'
                    and (u.publish_at <= now()) is true limit 1)
            order by t.priority, t.id
            limit $2 + (select count(*) from served)) a
        cross join lateral (
            select u.*, row_number() over (order by u.number) as nth from units u
            where u.task_id = a.id and u.state = 'queued' and (u.publish_at <= now()) is true
            order by u.number limit least($2, 32)) u
        left join served s on s.task_id = a.id
        where keys.key is not null),
    ordered as (
        select l.*, coalesce(k.units, 0) + row_number() over (
            partition by l.key order by l.priority, l.place, l.task_id) as key_place
        from line l left join served_key k on k.key = l.key)
    select task_id, number, name, first_trial, trials from ordered
    order by priority, key_place, place, task_id, number limit $2";

/// Units of a pool that are published and not claimed yet.
async fn in_flight(tx: &Transaction<'_>, pool: &str) -> Result<i64, PgError> {
    let statement = tx
        .prepare_cached(
            "select count(*) from units u join tasks t on t.id = u.task_id
             where u.state = 'queued' and u.publishes > 0 and u.publish_at > now()
                and t.pool = $1 and t.state in ('queued', 'running')",
        )
        .await?;
    Ok(tx.query_one(&statement, &[&pool]).await?.get(0))
}

/// A task's place in the line counts what is already being served, then its own units in order; the
/// same for the key that submitted it. So tasks and keys take turns.
pub(super) async fn take_due(
    client: &mut Object,
    pool: &str,
    timing: &Timing,
) -> Result<Vec<DueUnit>, PgError> {
    let tx = client.transaction().await?;
    let live_slots = task::live_slots(&tx, pool, timing.lease).await?;
    let most = i64::from(live_slots.saturating_mul(2).max(MIN_IN_FLIGHT));
    let free = most - in_flight(&tx, pool).await?;
    if free <= 0 {
        return Ok(Vec::new());
    }
    let statement = tx.prepare_cached(LINE).await?;
    let rows = tx.query(&statement, &[&pool, &free]).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let tasks: Vec<uuid::Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let numbers: Vec<i32> = rows.iter().map(|row| row.get(1)).collect();
    let statement = tx
        .prepare_cached(
            "update units u set publish_at = now() + make_interval(secs => $3),
                publishes = u.publishes + 1
             from unnest($1::uuid[], $2::int4[]) as taken (task_id, number)
             where u.task_id = taken.task_id and u.number = taken.number and u.state = 'queued'
             returning u.task_id, u.number",
        )
        .await?;
    let grace = timing.publish_grace.as_secs_f64();
    let taken: HashSet<(uuid::Uuid, i32)> = tx
        .query(&statement, &[&tasks, &numbers, &grace])
        .await?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    if !taken.is_empty() {
        reach(FailPoint::RelayTaking);
    }
    tx.commit().await?;
    // A unit that was claimed or withdrawn between the two statements is not published.
    let due = rows
        .iter()
        .filter(|row| taken.contains(&(row.get(0), row.get(1))))
        .map(|row| DueUnit {
            unit: UnitRef {
                task: TaskId(row.get(0)),
                unit: count(row, 1),
            },
            task_name: row.get(2),
            first_trial: count(row, 3),
            trials: count(row, 4),
        });
    Ok(due.collect())
}

pub(super) async fn published(client: &mut Object, units: &[UnitRef]) -> Result<(), PgError> {
    let tasks: Vec<_> = units.iter().map(|u| u.task.0).collect();
    let numbers: Vec<i32> = units.iter().map(|u| int(u.unit)).collect();
    let statement = client
        .prepare_cached(
            "update units u set publish_at = now()
                + make_interval(mins => least(30, (2 ^ least(u.publishes - 1, 5))::int4))
             from unnest($1::uuid[], $2::int4[]) as p (task_id, number)
             where u.task_id = p.task_id and u.number = p.number and u.state = 'queued'
                and u.publishes > 0",
        )
        .await?;
    client.execute(&statement, &[&tasks, &numbers]).await?;
    Ok(())
}

pub(super) async fn queue_emptied(client: &mut Object, pool: &str) -> Result<u64, PgError> {
    let due = client
        .execute(
            "update units u set publish_at = now(), publishes = 0
             from tasks t
             where t.id = u.task_id and t.pool = $1 and u.state = 'queued'
                and u.publishes > 0 and u.publish_at > now()
                and (t.not_before is null or t.not_before <= now())",
            &[&pool],
        )
        .await?;
    Ok(due)
}

pub(super) async fn next_due(client: &mut Object, pool: &str) -> Result<Option<Duration>, PgError> {
    let statement = client
        .prepare_cached(
            "select greatest(0, extract(epoch from u.publish_at - now()))::float8
             from units u join tasks t on t.id = u.task_id
             where u.state = 'queued' and t.pool = $1 and t.state in ('queued', 'running')
                and t.stop_requested is null
             order by u.publish_at limit 1",
        )
        .await?;
    let row = client.query_opt(&statement, &[&pool]).await?;
    Ok(row.map(|row| Duration::from_secs_f64(row.get(0))))
}

/// Takes the lease of a unit that is queued, or (`lost`) whose holder let it expire.
async fn lease_unit(
    tx: &Transaction<'_>,
    unit: UnitRef,
    worker: WorkerId,
    lease: Duration,
    lost: bool,
) -> Result<Option<Row>, PgError> {
    // A cancel that runs at the same time voids this unit or finds it leased: the row lock
    // decides, and the guard is evaluated again after waiting for it. A lease that ran
    // out while the server was down may be renewed for one full lease before anybody takes over.
    let guard = match lost {
        false => "u.state = 'queued'",
        true => {
            "u.state = 'leased' and u.lease_until < now()
                and (u.lease_until > pg_postmaster_start_time()
                    or now() > pg_postmaster_start_time() + make_interval(secs => $4))"
        }
    };
    let query = format!(
        "update units u set state = 'leased', lease_token = u.lease_token + 1, owner = $3,
            lease_until = now() + make_interval(secs => $4), publish_at = null, publishes = 0,
            crashes = u.crashes + {}
         from tasks t
         where u.task_id = $1 and u.number = $2 and t.id = u.task_id
            and t.state in ('queued', 'running') and t.stop_requested is null
            and (t.not_before is null or t.not_before <= now()) and {guard}
         returning u.lease_token, u.first, u.count, u.recorded, u.crashes, t.state, t.spec,
            t.snapshot_id, t.kind, u.kind, (select w.number from task_windows w
                where w.task_id = u.task_id
                    and u.first >= w.first and u.first < w.first + w.count)",
        i32::from(lost)
    );
    let Ok(number) = i32::try_from(unit.unit) else {
        // No unit has such a number; a message may name anything.
        return Ok(None);
    };
    let seconds = lease.as_secs_f64();
    let losing = match lost {
        true => {
            // The row is about to forget who had it.
            let statement = tx
                .prepare_cached(
                    "select owner, unable, unable_by, unable_by_others from units
                     where task_id = $1 and number = $2 and state = 'leased'
                     for no key update",
                )
                .await?;
            tx.query_opt(&statement, &[&unit.task.0, &number]).await?
        }
        false => None,
    };
    let statement = tx.prepare_cached(&query).await?;
    let row = tx
        .query_opt(&statement, &[&unit.task.0, &number, &worker.0, &seconds])
        .await?;
    let Some(row) = row else { return Ok(None) };
    if let Some(losing) = losing {
        let before = Loss {
            token: row.get::<_, i64>(0) - 1,
            crashes: count(&row, 4) - 1,
            count: count(&row, 2),
            owner: losing.get(0),
            unable: unable(&losing, 1),
        };
        before.charge(tx, unit).await?;
    }
    Ok(Some(row))
}

/// Takes back what was charged for the loss of a worker ($1) that lives after all: it was frozen,
/// starved or cut off. A row that is locked is left for the next renewal.
pub(super) const UNCHARGE: &str = "
    update running_trials r set lost_workers = array_remove(r.lost_workers, $1),
        crashes = greatest(0, r.crashes - cardinality(array_positions(r.lost_workers, $1)))
    from (
        select task_id, number from running_trials
        where lost_workers <> '{}' and $1 = any(lost_workers)
        for no key update skip locked) mine
    where r.task_id = mine.task_id and r.number = mine.number";

/// A unit as it was when it lost its worker.
pub(super) struct Loss {
    /// Token of the lost lease.
    pub token: i64,
    /// Workers lost before this one.
    pub crashes: u32,
    /// Trials of the unit.
    pub count: u32,
    /// The worker that is lost.
    pub owner: Option<Uuid>,
    /// How often it could not be run before.
    pub unable: Unable<Uuid>,
}

/// The three columns, from `column` on, that say how often a unit could not be run.
pub(super) fn unable(row: &Row, column: usize) -> Unable<Uuid> {
    Unable {
        times: count(row, column),
        by: row.get(column + 1),
        by_others: row.get(column + 2),
    }
}

/// How long a unit that is left like this is not due.
pub(super) fn pause(end: UnitEnd, unable: &Unable<Uuid>) -> Duration {
    match end {
        UnitEnd::Unable => unable.pause(),
        UnitEnd::OtherBuild => OTHER_BUILD_PAUSE,
        UnitEnd::Keep | UnitEnd::Close | UnitEnd::Split | UnitEnd::HandBack | UnitEnd::Isolate => {
            Duration::ZERO
        }
    }
}

impl Loss {
    /// Charges the loss to the trial that the lost holder had announced, if that trial ran alone:
    /// the unit was isolated already, or has no other. A unit runs its trials one at a time and
    /// in order, so the last one announced under the lost lease is the one that ran; those before
    /// it had ended and were not recorded yet. A holder that comes back takes the charge away
    /// again ([`UNCHARGE`]).
    pub async fn charge(&self, tx: &Transaction<'_>, unit: UnitRef) -> Result<(), PgError> {
        if self.crashes > 0 || self.count == 1 {
            let statement = tx
                .prepare_cached(
                    "update running_trials set crashes = crashes + 1,
                        lost_workers = lost_workers || array_remove(array[$4::uuid], null)
                     where task_id = $1 and unit = $2 and lease_token = $3
                        and number = (select max(number) from running_trials
                            where task_id = $1 and unit = $2 and lease_token = $3)",
                )
                .await?;
            let (number, owner) = (int(unit.unit), self.owner);
            tx.execute(&statement, &[&unit.task.0, &number, &self.token, &owner])
                .await?;
        }
        self.count_unable(tx, unit).await
    }

    /// A unit that was isolated announces each trial before it starts. Lost without one, it took
    /// its worker down before any trial, or its worker died for a reason of its own.
    async fn count_unable(&self, tx: &Transaction<'_>, unit: UnitRef) -> Result<(), PgError> {
        let Some(owner) = self.owner.filter(|_| self.crashes > 0) else {
            return Ok(());
        };
        let after = self.unable.again(owner);
        let statement = tx
            .prepare_cached(
                "update units set unable = $3, unable_by = $4, unable_by_others = $5,
                    unable_reason = 'its worker '
                        || coalesce((select name from workers where id = $6), $6::text)
                        || ' was lost with it before any trial of it began'
                 where task_id = $1 and number = $2 and not exists (
                    select from running_trials
                    where task_id = $1 and unit = $2 and lease_token = $7)",
            )
            .await?;
        tx.execute(
            &statement,
            &[
                &unit.task.0,
                &int(unit.unit),
                &int(after.times),
                &after.by,
                &after.by_others,
                &owner,
                &self.token,
            ],
        )
        .await?;
        Ok(())
    }
}

pub(super) async fn claim(
    client: &mut Object,
    unit: UnitRef,
    worker: WorkerId,
    lease: Duration,
) -> Result<Option<Claim>, PgError> {
    let tx = client.transaction().await?;
    claim_within(tx, unit, worker, lease).await
}

/// The first unit of a task that is free.
pub(super) async fn claim_next(
    client: &mut Object,
    task: TaskId,
    holder: WorkerId,
    lease: Duration,
) -> Result<Option<Claim>, PgError> {
    let tx = client.transaction().await?;
    // One that another client is being given now is passed over.
    let statement = tx
        .prepare_cached(
            "select number from units
             where task_id = $1 and kind = 'trials'
                and (state = 'queued' or state = 'leased' and lease_until < now()
                    and (lease_until > pg_postmaster_start_time()
                        or now() > pg_postmaster_start_time() + make_interval(secs => $2)))
             order by first limit 1 for no key update skip locked",
        )
        .await?;
    let seconds = lease.as_secs_f64();
    let Some(row) = tx.query_opt(&statement, &[&task.0, &seconds]).await? else {
        return Ok(None);
    };
    let unit = UnitRef {
        task,
        unit: count(&row, 0),
    };
    claim_within(tx, unit, holder, lease).await
}

async fn claim_within(
    tx: Transaction<'_>,
    unit: UnitRef,
    worker: WorkerId,
    lease: Duration,
) -> Result<Option<Claim>, PgError> {
    let row = match lease_unit(&tx, unit, worker, lease, false).await? {
        Some(row) => Some(row),
        None => lease_unit(&tx, unit, worker, lease, true).await?,
    };
    let Some(row) = row else { return Ok(None) };
    if task::named::<TaskState>(&row, 5)? == TaskState::Queued {
        let locked = task::lock(&tx, unit.task).await?;
        // A pause or a stop may have come between the two: then nothing was claimed.
        let Some(mut locked) = locked.filter(|locked| locked.ledger.claimable()) else {
            return Ok(None);
        };
        let effects = locked.ledger.claimed();
        if !effects.events.is_empty() {
            locked.save(&tx, &effects).await?;
        }
    }
    let statement = tx
        .prepare_cached(
            "select number, params, crashes from running_trials
             where task_id = $1 and unit = $2
             union all
             select number, params, 0 from enqueued_trials e
             where task_id = $1 and number >= $3 and number < $4 and not exists (
                select from running_trials r
                where r.task_id = e.task_id and r.number = e.number)
             order by number",
        )
        .await?;
    let (first, recorded): (i32, i32) = (row.get(1), row.get(3));
    let end = first + row.get::<_, i32>(2);
    let of_unit: [&(dyn ToSql + Sync); 4] =
        [&unit.task.0, &int(unit.unit), &(first + recorded), &end];
    let announced = tx.query(&statement, &of_unit).await?;
    reach(FailPoint::ClaimCommitting);
    tx.commit().await?;
    let recorded = count(&row, 3);
    let snapshot: Option<Vec<u8>> = row.get(7);
    Ok(Some(Claim {
        lease: HeldLease {
            unit,
            token: row.get(0),
        },
        first: count(&row, 1) + recorded,
        count: count(&row, 2) - recorded,
        recorded,
        crashes: count(&row, 4),
        kind: task::named(&row, 8)?,
        unit_kind: task::named(&row, 9)?,
        window: row
            .get::<_, Option<i32>>(10)
            .and_then(|number| u16::try_from(number).ok()),
        spec: row.get::<_, Json<serde_json::Value>>(6).0,
        snapshot: snapshot.and_then(|bytes| bytes.try_into().ok()),
        announced: announced
            .iter()
            .map(|row| AnnouncedTrial {
                number: count(row, 0),
                params: row.get(1),
                crashes: count(row, 2),
            })
            .collect(),
    }))
}

pub(super) async fn start_trial(
    client: &mut Object,
    lease: HeldLease,
    trial: &RunningTrial,
) -> Result<Option<Control>, PgError> {
    let statement = client
        .prepare_cached(
            "with mine as (
                select u.task_id, u.lease_token from units u
                where u.task_id = $1 and u.number = $2 and u.lease_token = $3
                    and u.state = 'leased'
                for share),
             told as (
                select mine.*, case when t.stop_requested is not null then 'stop'
                    when t.state = 'paused' then 'pause' else 'run' end as control
                from mine join tasks t on t.id = mine.task_id),
             announced as (
                insert into running_trials as r (task_id, number, unit, lease_token, params, crashes)
                select told.task_id, $4, $2, told.lease_token, $5, $6 from told
                where told.control = 'run'
                on conflict (task_id, number) do update
                    set unit = excluded.unit, lease_token = excluded.lease_token,
                        started_at = now(), reports = case
                            when r.lease_token = excluded.lease_token then r.reports end)
             select control from told",
        )
        .await?;
    let HeldLease { unit, token } = lease;
    let params = pack::pack_point(&trial.point);
    let row = client
        .query_opt(
            &statement,
            &[
                &unit.task.0,
                &int(unit.unit),
                &token,
                &int(trial.number),
                &params,
                &int(trial.crashes),
            ],
        )
        .await?;
    Ok(row.map(|row| match row.get(0) {
        "stop" => Control::Stop,
        "pause" => Control::Pause,
        _ => Control::Run,
    }))
}

/// The client that holds the lease lives, and may have something to report.
pub(super) async fn report(
    client: &mut Object,
    lease: HeldLease,
    holder: WorkerId,
    go_on: Duration,
    report: Option<&NewReport>,
) -> Result<Reported, PgError> {
    let HeldLease { unit, token } = lease;
    let tx = client.transaction().await?;
    tx.execute(UNCHARGE, &[&holder.0]).await?;
    let statement = tx
        .prepare_cached(
            "update units u set lease_until = now() + make_interval(secs => $4)
             from tasks t
             where u.task_id = $1 and u.number = $2 and u.lease_token = $3 and u.state = 'leased'
                and t.id = u.task_id
             returning t.state, t.stop_requested is not null",
        )
        .await?;
    let seconds = go_on.as_secs_f64();
    let of_unit: [&(dyn ToSql + Sync); 4] = [&unit.task.0, &int(unit.unit), &token, &seconds];
    let Some(row) = tx.query_opt(&statement, &of_unit).await? else {
        // What was taken back stays so.
        tx.commit().await?;
        return Ok(Reported::Lost);
    };
    let control = Control::of(task::named(&row, 0)?, row.get(1));
    if let Some(report) = report {
        let statement = tx
            .prepare_cached(
                "update running_trials set reports = coalesce(reports, '') || $4
                 where task_id = $1 and number = $2 and lease_token = $3
                    and coalesce(length(reports), 0) = $5",
            )
            .await?;
        let (number, before) = (
            int(report.number),
            i32::try_from(report.before).unwrap_or(-1),
        );
        let values: [&(dyn ToSql + Sync); 5] =
            [&unit.task.0, &number, &token, &report.added, &before];
        if tx.execute(&statement, &values).await? == 0 {
            tx.rollback().await?;
            return Ok(Reported::Overtaken);
        }
    }
    tx.commit().await?;
    Ok(Reported::Kept(control))
}

/// Has the first trial that nobody was given take a point. From then on the request alone does not say what
/// the search tries: `resolved.reproducible` is false.
pub(super) async fn enqueue(
    client: &mut Object,
    id: TaskId,
    from: u32,
    params: &[u8],
) -> Result<Enqueued, PgError> {
    let tx = client.transaction().await?;
    let enqueued = enqueue_within(&tx, id, from, params).await?;
    match enqueued {
        Enqueued::For(_) => tx.commit().await?,
        // Dropped, it would hold the units past the answer, and who asks next would pass over them.
        _ => tx.rollback().await?,
    }
    Ok(enqueued)
}

/// Units are locked before the task, so that none of them is claimed meanwhile.
async fn enqueue_within(
    tx: &Transaction<'_>,
    id: TaskId,
    from: u32,
    params: &[u8],
) -> Result<Enqueued, PgError> {
    let queued = tx
        .query(
            "select first + recorded, first + count from units
             where task_id = $1 and state = 'queued' and kind = 'trials'
             order by number for no key update",
            &[&id.0],
        )
        .await?;
    let Some(locked) = task::lock(tx, id).await? else {
        return Ok(Enqueued::NotFound);
    };
    let queued: Vec<_> = queued
        .iter()
        .map(|row| count(row, 0)..count(row, 1))
        .collect();
    let waiting = tx
        .query(
            "select number from enqueued_trials where task_id = $1",
            &[&id.0],
        )
        .await?;
    if waiting.len() >= crate::MAX_ENQUEUED as usize {
        return Ok(Enqueued::Full);
    }
    let announced = tx
        .query(
            "select number from running_trials where task_id = $1",
            &[&id.0],
        )
        .await?;
    let taken = waiting.iter().chain(&announced).map(|row| count(row, 0));
    let number = match locked.ledger.first_free(from, &queued, &taken.collect()) {
        Err(refused) => return Ok(Enqueued::NotAllowed(refused)),
        Ok(None) => return Ok(Enqueued::NoneLeft),
        Ok(Some(number)) => number,
    };
    tx.execute(
        "insert into enqueued_trials (task_id, number, params) values ($1, $2, $3)",
        &[&id.0, &int(number), &params],
    )
    .await?;
    tx.execute(
        "update tasks set resolved = jsonb_set(resolved, '{reproducible}', 'false') where id = $1",
        &[&id.0],
    )
    .await?;
    Ok(Enqueued::For(number))
}

pub(super) async fn charge_crash(
    client: &mut Object,
    lease: HeldLease,
    number: u32,
    crashes: u32,
) -> Result<Option<u32>, PgError> {
    let row = client
        .query_opt(
            "update running_trials r set crashes = greatest(r.crashes, $5)
             from units u
             where r.task_id = $1 and r.number = $4 and u.task_id = r.task_id
                and u.number = $2 and u.lease_token = $3 and u.state = 'leased'
                and r.unit = u.number
             returning r.crashes",
            &[
                &lease.unit.task.0,
                &int(lease.unit.unit),
                &lease.token,
                &int(number),
                &int(crashes),
            ],
        )
        .await?;
    Ok(row.map(|row| count(&row, 0)))
}
