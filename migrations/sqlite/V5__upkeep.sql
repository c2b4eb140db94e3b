-- Units that nobody can run, workers that look after themselves, retention, and builds of several
-- versions on one schema: the columns and tables of migrations/postgres/V5__upkeep.sql.

-- number of the first event that is kept; those before it were removed some time after the end
alter table tasks add column events_from integer not null default 1;
-- only the last event is kept
alter table tasks add column events_trimmed integer not null default 0
    constraint tasks_events_trimmed_known check (events_trimmed in (0, 1));
-- it failed because a unit of it could be run by nobody; tasks.error says why
alter table tasks add column gave_up integer not null default 0
    constraint tasks_gave_up_known check (gave_up in (0, 1));
create index tasks_ended on tasks (completed_at) where completed_at is not null;
create index tasks_untrimmed on tasks (completed_at)
    where completed_at is not null and not events_trimmed;

-- how often in a row a holder could not run it, or was lost before a trial of it began
alter table units add column unable integer not null default 0;
-- the worker that could not run it first
alter table units add column unable_by text;
alter table units add column unable_by_others integer not null default 0
    constraint units_unable_by_others_known check (unable_by_others in (0, 1));
-- why it was given back last; with unable 0 it wants a worker of another build
alter table units add column unable_reason text;
create index units_unable on units (task_id) where unable > 0 and state = 'queued';

-- since when it takes no units because of failures of its own; its slots do not count as live
alter table workers add column quarantined_at integer;
-- why it is in quarantine
alter table workers add column quarantine text;
-- versions that it reads: of the schema, of the stored form of a task, of a message
alter table workers add column speaks text;

-- Tasks whose rows are gone and whose trials are being removed, some thousands at a time.
create table deleted_tasks (
    task_id text not null constraint deleted_tasks_pkey primary key,
    -- trials below it are removed
    next_number integer not null default 0,
    deleted_at integer not null
        default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000)
) strict;

-- Who may use this schema. A migration that builds of some version cannot live with raises it.
create table schema_compatibility (
    only_row integer not null constraint schema_compatibility_pkey primary key default 1
        constraint schema_compatibility_one_row check (only_row = 1),
    -- a build whose own newest migration is older than this refuses to start
    oldest_build integer not null,
    reason text not null
) strict;
insert into schema_compatibility (oldest_build, reason) values (2, 'only additions since');
