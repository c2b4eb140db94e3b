//! Units: what the relay takes, what a worker claims and announces.

use super::PgError;
use super::task::{self, count, int};
use crate::rows::{AnnouncedTrial, Claim, DueUnit, HeldLease, UnitRef};
use crate::{MIN_IN_FLIGHT, Timing, pack};
use deadpool_postgres::Object;
use std::time::Duration;
use tokio_postgres::types::Json;
use trialmill_common::protocol::Control;
use trialmill_common::state::{TaskId, TaskState, WorkerId};
use trialmill_common::trial::RunningTrial;

/// Tasks that one round of the relay looks at: the first ones by priority and age.
const TASKS_PER_ROUND: i64 = 500;

pub(super) async fn take_due(
    client: &mut Object,
    pool: &str,
    timing: &Timing,
) -> Result<Vec<DueUnit>, PgError> {
    let tx = client.transaction().await?;
    let live_slots = task::live_slots(&tx, pool, timing.lease).await?;
    let limit = i64::from(live_slots.saturating_mul(2).max(MIN_IN_FLIGHT));
    // A task's place in the line counts what is already being served, then its own units in
    // order; the same for the key that submitted it. So tasks and keys take turns.
    let statement = tx
        .prepare_cached(
            "with alive as (
                select t.id, t.priority, coalesce(t.submitted_by, '') as key, t.name
                from tasks t
                where t.pool = $1 and t.state in ('queued', 'running')
                    and t.stop_requested is null
                    and exists (select from units u where u.task_id = t.id
                        and u.state = 'queued' and u.publish_at <= now())
                order by t.priority, t.id limit $3),
            served as (
                select u.task_id, count(*) as units from units u
                join tasks t on t.id = u.task_id
                where t.pool = $1 and (u.state = 'leased'
                    or u.state = 'queued' and u.publishes > 0 and u.publish_at > now())
                group by u.task_id),
            in_flight as (
                select count(*) as units from units u join tasks t on t.id = u.task_id
                where t.pool = $1 and u.state = 'queued' and u.publishes > 0
                    and u.publish_at > now() and t.state in ('queued', 'running')),
            line as (
                select u.task_id, u.number, a.priority, a.key, a.name,
                    u.first + u.recorded as first_trial, u.count - u.recorded as trials,
                    coalesce(s.units, 0)
                        + row_number() over (partition by u.task_id order by u.number) as place
                from units u join alive a on a.id = u.task_id
                left join served s on s.task_id = u.task_id
                where u.state = 'queued' and u.publish_at <= now()),
            ordered as (
                select l.*, row_number() over (
                    partition by l.key order by l.place, l.task_id) as key_place
                from line l),
            taken as (
                select * from ordered
                order by priority, key_place, place, task_id, number
                limit greatest(0, $2 - (select units from in_flight)))
            update units u set publish_at = now() + make_interval(secs => $4),
                publishes = u.publishes + 1
            from taken
            where u.task_id = taken.task_id and u.number = taken.number and u.state = 'queued'
            returning u.task_id, u.number, taken.name, taken.first_trial, taken.trials,
                taken.priority, taken.key_place, taken.place",
        )
        .await?;
    let grace = timing.publish_grace.as_secs_f64();
    let rows = tx
        .query(&statement, &[&pool, &limit, &TASKS_PER_ROUND, &grace])
        .await?;
    tx.commit().await?;
    let mut due: Vec<((i16, i64, i64), DueUnit)> = rows
        .iter()
        .map(|row| {
            let unit = UnitRef {
                task: TaskId(row.get(0)),
                unit: count(row, 1),
            };
            let due = DueUnit {
                unit,
                task_name: row.get(2),
                first_trial: count(row, 3),
                trials: count(row, 4),
            };
            ((row.get(5), row.get(6), row.get(7)), due)
        })
        .collect();
    due.sort_by_key(|(place, due)| (*place, due.unit));
    Ok(due.into_iter().map(|(_, due)| due).collect())
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
                and u.publish_at > now()
                and (t.not_before is null or t.not_before <= now())",
            &[&pool],
        )
        .await?;
    Ok(due)
}

pub(super) async fn next_due(client: &mut Object, pool: &str) -> Result<Option<Duration>, PgError> {
    let statement = client
        .prepare_cached(
            "select greatest(0, extract(epoch from min(u.publish_at) - now()))::float8
             from units u join tasks t on t.id = u.task_id
             where u.state = 'queued' and t.pool = $1 and t.state in ('queued', 'running')
                and t.stop_requested is null",
        )
        .await?;
    let row = client.query_one(&statement, &[&pool]).await?;
    Ok(row.get::<_, Option<f64>>(0).map(Duration::from_secs_f64))
}

pub(super) async fn claim(
    client: &mut Object,
    unit: UnitRef,
    worker: WorkerId,
    lease: Duration,
) -> Result<Option<Claim>, PgError> {
    let tx = client.transaction().await?;
    // A cancel that runs at the same time voids this unit or finds it leased: the row lock
    // decides, and the guard is evaluated again after waiting for it.
    let statement = tx
        .prepare_cached(
            "update units u set state = 'leased', lease_token = u.lease_token + 1, owner = $3,
                lease_until = now() + make_interval(secs => $4), publish_at = null,
                publishes = 0,
                crashes = u.crashes + case when u.state = 'leased' then 1 else 0 end
             from tasks t
             where u.task_id = $1 and u.number = $2 and t.id = u.task_id
                and t.state in ('queued', 'running') and t.stop_requested is null
                and (t.not_before is null or t.not_before <= now())
                and (u.state = 'queued' or u.state = 'leased' and u.lease_until < now())
             returning u.lease_token, u.first, u.count, u.recorded, u.crashes, t.state, t.spec,
                t.snapshot_id",
        )
        .await?;
    let seconds = lease.as_secs_f64();
    let claimed = tx
        .query_opt(
            &statement,
            &[&unit.task.0, &int(unit.unit), &worker.0, &seconds],
        )
        .await?;
    let Some(row) = claimed else { return Ok(None) };
    if task::named::<TaskState>(&row, 5)? == TaskState::Queued
        && let Some(mut locked) = task::lock(&tx, unit.task).await?
    {
        let effects = locked.ledger.claimed();
        if !effects.events.is_empty() {
            locked.save(&tx, &effects).await?;
        }
    }
    let statement = tx
        .prepare_cached(
            "select number, params, crashes from running_trials
             where task_id = $1 and unit = $2 order by number",
        )
        .await?;
    let announced = tx
        .query(&statement, &[&unit.task.0, &int(unit.unit)])
        .await?;
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
                for key share)
             insert into running_trials as r (task_id, number, unit, lease_token, params)
             select mine.task_id, $4, $2, mine.lease_token, $5 from mine
             on conflict (task_id, number) do update
                set unit = excluded.unit, lease_token = excluded.lease_token, started_at = now()
             returning (select case when t.stop_requested is not null then 'stop'
                when t.state = 'paused' then 'pause' else 'run' end
                from tasks t where t.id = r.task_id)",
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
            ],
        )
        .await?;
    Ok(row.map(|row| match row.get(0) {
        "stop" => Control::Stop,
        "pause" => Control::Pause,
        _ => Control::Run,
    }))
}

pub(super) async fn charge_crash(
    client: &mut Object,
    lease: HeldLease,
    number: u32,
) -> Result<Option<u32>, PgError> {
    let row = client
        .query_opt(
            "update running_trials r set crashes = r.crashes + 1
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
            ],
        )
        .await?;
    Ok(row.map(|row| count(&row, 0)))
}
