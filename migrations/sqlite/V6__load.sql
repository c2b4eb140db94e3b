-- What is done often reads what it needs and no more, however many tasks and units there are.
-- Only additions, so that builds of V5 go on.

-- Queued units of one task in order; a long search has thousands of closed ones beside them.
create index units_queued on units (task_id, number) where state = 'queued';
create index units_in_flight on units (publish_at) where state = 'queued' and publishes > 0;

-- What the reaper asks for every few seconds: both are empty most of the time.
create index tasks_timed on tasks (id)
    where timeout_seconds is not null and stop_requested is null and state = 'running';
create index tasks_without_unit on tasks (id)
    where open_units = 0 and state in ('queued', 'running', 'paused');

-- The totals of lists.
create index tasks_listed on tasks (kind, state, strategy);

-- The few trials that did not complete, found without reading the many that did.
create index trials_not_completed on trials (task_id, outcome, number)
    where outcome in ('failed', 'pruned');
