-- Keys of the API, what their active tasks weigh, and who did what.
-- Only additions, so that builds of earlier versions go on while processes are replaced: the loads
-- are kept by triggers, whichever build writes the task.

create table api_keys (
    id bigint generated always as identity constraint api_keys_pkey primary key,
    name text not null,
    hash bytea not null constraint api_keys_hash_unique unique
        constraint api_keys_hash_is_sha256 check (octet_length(hash) = 32),
    scopes text[] not null constraint api_keys_has_scope check (cardinality(scopes) > 0),
    max_active_tasks bigint constraint api_keys_tasks_positive check (max_active_tasks > 0),
    max_backlog_trials bigint constraint api_keys_trials_positive check (max_backlog_trials > 0),
    created_by text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
create unique index api_keys_name on api_keys (name) where revoked_at is null;
comment on column api_keys.hash is 'SHA-256 of the key, which is nowhere';
comment on column api_keys.max_active_tasks is 'null: what the service says';
comment on column api_keys.last_used_at is 'at most once a minute per process';

create table key_loads (
    key text not null constraint key_loads_pkey primary key,
    active_tasks bigint not null,
    planned_trials bigint not null
) with (fillfactor = 50);
comment on table key_loads is
    'per key (tasks.submitted_by, '''' without one): its tasks that have not ended, and their trials';

create function count_load_of_key() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into key_loads as l (key, active_tasks, planned_trials)
        values (coalesce(new.submitted_by, ''), 1, new.planned)
        on conflict (key) do update set active_tasks = l.active_tasks + 1,
            planned_trials = l.planned_trials + excluded.planned_trials;
    else
        update key_loads set active_tasks = active_tasks - 1,
            planned_trials = planned_trials - old.planned
        where key = coalesce(old.submitted_by, '');
    end if;
    return null;
end
$$;

-- Deferred: the row of the key is locked last and briefly, after every other lock.
create constraint trigger tasks_load_begun after insert on tasks
    deferrable initially deferred for each row
    when (new.state in ('queued', 'running', 'paused'))
    execute function count_load_of_key();
create constraint trigger tasks_load_ended after update of state on tasks
    deferrable initially deferred for each row
    when (old.state in ('queued', 'running', 'paused')
        and new.state not in ('queued', 'running', 'paused'))
    execute function count_load_of_key();
create constraint trigger tasks_load_deleted after delete on tasks
    deferrable initially deferred for each row
    when (old.state in ('queued', 'running', 'paused'))
    execute function count_load_of_key();

-- After the triggers, which keep other writers of tasks out until this is committed.
insert into key_loads (key, active_tasks, planned_trials)
select coalesce(submitted_by, ''), count(*), sum(planned) from tasks
where state in ('queued', 'running', 'paused') group by 1;

create table audit_events (
    id bigint generated always as identity constraint audit_events_pkey primary key,
    at timestamptz not null default now(),
    key text not null,
    action text not null,
    target text not null,
    detail text not null,
    times bigint not null default 1
);
comment on column audit_events.key is 'name of the key; '''' without one';
comment on column audit_events.times is 'above 1 for refused requests, which are gathered';
