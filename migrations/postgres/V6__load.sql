-- Very many tasks at a time: what is done often reads what it needs and no more.
-- Only additions, so that builds of V5 go on while workers are replaced.

-- First, since it reads all trials: writers wait for it, and nobody else.
-- The few trials that did not complete, found without reading the many that did.
create index trials_not_completed on trials (task_id, outcome, number)
    where outcome in ('failed', 'pruned');

-- Requests and specs of new rows are stored out of line, whatever their size: a row that is counted,
-- listed by state or updated by every flush is then some 400 bytes and not thousands. Room on the
-- page lets an update stay beside the row it replaces.
alter table tasks set (toast_tuple_target = 256, fillfactor = 70);
-- Not those by which tasks are listed and counted.
alter table tasks
    alter column kind set storage main,
    alter column name set storage main,
    alter column strategy set storage main,
    alter column pool set storage main,
    alter column engine set storage main,
    alter column submitted_by set storage main,
    alter column state set storage main,
    alter column stop_requested set storage main,
    alter column stop_reason set storage main,
    alter column direction set storage main;

-- The line of the relay: tasks of a key by priority and age, without those that start later.
create index tasks_line on tasks (
    pool, coalesce(submitted_by, ''), priority, id, coalesce(not_before, '-infinity'::timestamptz))
    where state in ('queued', 'running') and stop_requested is null;
-- Queued units of one task in order; a long search has thousands of closed ones beside them.
create index units_queued on units (task_id, number) where state = 'queued';
create index units_in_flight on units (publish_at) where state = 'queued' and publishes > 0;

-- What the reaper asks for every few seconds: both are empty most of the time.
create index tasks_timed on tasks (id)
    where timeout_seconds is not null and stop_requested is null and state = 'running';
create index tasks_without_unit on tasks (id)
    where open_units = 0 and state in ('queued', 'running', 'paused');

-- The totals of lists, from an index with few different entries. New rows are counted without
-- looking at them once a vacuum has seen them: after a twentieth of the table, not a fifth.
create index tasks_listed on tasks (kind, state, strategy);
alter table tasks set (autovacuum_vacuum_insert_scale_factor = 0.05);

-- What a key has in work, where its bound seems to be passed.
create index tasks_of_key on tasks ((coalesce(submitted_by, '')))
    where state in ('queued', 'running', 'paused');
