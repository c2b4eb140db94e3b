-- Keys of the API, what their active tasks weigh, and who did what: the tables of
-- migrations/postgres/V4__keys.sql.

create table api_keys (
    id integer constraint api_keys_pkey primary key autoincrement,
    name text not null,
    -- SHA-256 of the key, which is nowhere
    hash blob not null constraint api_keys_hash_unique unique
        constraint api_keys_hash_is_sha256 check (length(hash) = 32),
    scopes text not null,
    -- null: what the service says
    max_active_tasks integer constraint api_keys_tasks_positive check (max_active_tasks > 0),
    max_backlog_trials integer constraint api_keys_trials_positive check (max_backlog_trials > 0),
    created_by text not null,
    created_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    expires_at integer,
    revoked_at integer,
    -- at most once a minute per process
    last_used_at integer
) strict;
create unique index api_keys_name on api_keys (name) where revoked_at is null;

-- Per key (tasks.submitted_by, '' without one): its tasks that have not ended, and their trials.
create table key_loads (
    key text not null constraint key_loads_pkey primary key,
    active_tasks integer not null,
    planned_trials integer not null
) strict, without rowid;

create trigger tasks_load_begun after insert on tasks
when new.state in ('queued', 'running', 'paused')
begin
    insert into key_loads (key, active_tasks, planned_trials)
    values (coalesce(new.submitted_by, ''), 1, new.planned)
    on conflict (key) do update set active_tasks = active_tasks + 1,
        planned_trials = planned_trials + excluded.planned_trials;
end;

create trigger tasks_load_ended after update of state on tasks
when old.state in ('queued', 'running', 'paused')
    and new.state not in ('queued', 'running', 'paused')
begin
    update key_loads set active_tasks = active_tasks - 1,
        planned_trials = planned_trials - old.planned
    where key = coalesce(old.submitted_by, '');
end;

create trigger tasks_load_deleted after delete on tasks
when old.state in ('queued', 'running', 'paused')
begin
    update key_loads set active_tasks = active_tasks - 1,
        planned_trials = planned_trials - old.planned
    where key = coalesce(old.submitted_by, '');
end;

insert into key_loads (key, active_tasks, planned_trials)
select coalesce(submitted_by, ''), count(*), sum(planned) from tasks
where state in ('queued', 'running', 'paused') group by 1;

create table audit_events (
    id integer constraint audit_events_pkey primary key autoincrement,
    at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    -- name of the key; '' without one
    key text not null,
    action text not null,
    target text not null,
    detail text not null,
    -- above 1 for refused requests, which are gathered
    times integer not null default 1
) strict;
