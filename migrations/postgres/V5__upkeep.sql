-- Units that nobody can run, workers that look after themselves, retention, and builds of several
-- versions on one schema. Only additions: builds of V2 to V4 go on.

alter table tasks add column events_from bigint not null default 1;
comment on column tasks.events_from is
    'number of the first event that is kept; those before it were removed some time after the end';
alter table tasks add column events_trimmed boolean not null default false;
comment on column tasks.events_trimmed is 'only the last event is kept';
alter table tasks add column gave_up boolean not null default false;
comment on column tasks.gave_up is
    'it failed because a unit of it could be run by nobody; tasks.error says why';
-- What retention looks for. Neither has a column that a flush changes.
create index tasks_ended on tasks (completed_at) where completed_at is not null;
create index tasks_untrimmed on tasks (completed_at)
    where completed_at is not null and not events_trimmed;

alter table units add column unable integer not null default 0;
comment on column units.unable is
    'how often in a row a holder could not run it, or was lost before a trial of it began';
alter table units add column unable_by uuid;
comment on column units.unable_by is 'the worker that could not run it first';
alter table units add column unable_by_others boolean not null default false;
alter table units add column unable_reason text;
comment on column units.unable_reason is
    'why it was given back last; with unable 0 it wants a worker of another build';
create index units_unable on units (task_id) where unable > 0 and state = 'queued';

alter table workers add column quarantined_at timestamptz;
comment on column workers.quarantined_at is
    'since when it takes no units because of failures of its own; its slots do not count as live';
alter table workers add column quarantine text;
comment on column workers.quarantine is 'why it is in quarantine';
alter table workers add column speaks jsonb;
comment on column workers.speaks is
    'versions that it reads: of the schema, of the stored form of a task, of a message';

-- Tasks whose rows are gone and whose trials are being removed, some thousands at a time.
create table deleted_tasks (
    task_id uuid constraint deleted_tasks_pkey primary key,
    next_number integer not null default 0,
    deleted_at timestamptz not null default now()
);
comment on column deleted_tasks.next_number is 'trials below it are removed';

-- Who may use this schema. A migration that builds of some version cannot live with raises it.
create table schema_compatibility (
    only_row boolean constraint schema_compatibility_pkey primary key default true
        constraint schema_compatibility_one_row check (only_row),
    oldest_build integer not null,
    reason text not null
);
comment on column schema_compatibility.oldest_build is
    'a build whose own newest migration is older than this refuses to start';
insert into schema_compatibility (oldest_build, reason) values (2, 'only additions since');
