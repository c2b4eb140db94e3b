-- Tasks, units, trials, events, workers and market data: the tables of
-- migrations/postgres/V1__wire.sql with the types SQLite has. uuid is text (hyphenated, lower
-- case), a time is an integer (microseconds since 1970 by SQLite's clock, whose step is a
-- millisecond), jsonb and arrays are JSON text, a date is text (YYYY-MM-DD).

create table tasks (
    id text not null constraint tasks_pkey primary key,
    kind text not null constraint tasks_kind_known
        check (kind in ('hyperparameter_optimization', 'backtest', 'training', 'prediction')),
    name text not null,
    strategy text not null,
    stock_codes text not null,
    pool text not null,
    request text not null,
    spec text not null,
    resolved text not null,
    warnings text not null,
    seed integer not null,
    priority integer not null,
    not_before integer,
    timeout_seconds real,
    snapshot_id blob,
    engine text not null,
    submitted_by text,
    -- the ledger of the protocol
    state text not null constraint tasks_state_known
        check (state in ('queued', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    stop_requested text,
    stop_reason text,
    parallelism integer constraint tasks_parallelism_positive check (parallelism >= 1),
    direction text not null constraint tasks_direction_known
        check (direction in ('maximize', 'minimize')),
    n_trials integer not null,
    -- trials that are handed out: fewer than n_trials where the space has fewer points
    planned integer not null,
    -- the first trial number that is in no unit yet
    next_number integer not null,
    next_unit integer not null,
    open_units integer not null constraint tasks_open_units_not_negative check (open_units >= 0),
    completed integer not null default 0,
    pruned integer not null default 0,
    failed integer not null default 0,
    infeasible integer not null default 0,
    best_number integer,
    best_value real,
    -- number of the last event
    seq integer not null,
    -- unpaused time: what is summed up, and since when it runs
    active_seconds real not null default 0,
    active_since integer,
    created_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    started_at integer,
    completed_at integer,
    error text,
    constraint tasks_planned_bounded check (planned between 0 and n_trials),
    constraint tasks_numbers_bounded check (next_number between 0 and planned),
    constraint tasks_counters_bounded check (completed + pruned + failed <= planned),
    constraint tasks_end_is_whole check (
        (state in ('completed', 'failed', 'cancelled'))
        = (completed_at is not null and open_units = 0)),
    constraint tasks_completed_has_reason check ((state = 'completed') = (stop_reason is not null))
) strict;
create index tasks_alive on tasks (priority, id) where state in ('queued', 'running', 'paused');

create table units (
    task_id text not null constraint units_task_fkey references tasks on delete cascade,
    number integer not null,
    kind text not null constraint units_kind_known check (kind in ('trials', 'assess', 'run')),
    first integer not null,
    count integer not null constraint units_count_positive check (count >= 1),
    -- trials recorded: always the first ones, since a unit runs its trials in order
    recorded integer not null default 0,
    state text not null constraint units_state_known
        check (state in ('queued', 'leased', 'closed', 'void')),
    lease_token integer not null default 0,
    owner text,
    lease_until integer,
    -- when the relay may publish the unit: a queued unit with a due publish_at is the outbox
    publish_at integer,
    publishes integer not null default 0,
    -- workers lost: above 0 its trials run one at a time in a child process
    crashes integer not null default 0,
    created_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    constraint units_pkey primary key (task_id, number),
    constraint units_recorded_bounded check (recorded between 0 and count),
    constraint units_lease_is_whole check (
        (state = 'leased') = (owner is not null and lease_until is not null)),
    constraint units_queued_has_due check ((state = 'queued') = (publish_at is not null))
) strict, without rowid;
create index units_due on units (publish_at) where state = 'queued';
create index units_leased on units (lease_until) where state = 'leased';

-- Ended trials only; append-only. No foreign key, as in PostgreSQL.
create table trials (
    task_id text not null,
    number integer not null,
    unit integer not null,
    outcome text not null constraint trials_outcome_known
        check (outcome in ('completed', 'pruned', 'failed')),
    window_number integer,
    -- eight bytes per parameter, little endian, in the order of their names: float bits,
    -- integer, or index of the choice
    params blob not null,
    value real,
    -- objectives after the first: packed doubles
    more_values blob,
    infeasible text,
    metrics text,
    failure text,
    -- per-period Sharpe, skew, kurtosis, rows, and 16 block sums of returns and squared returns
    stats blob,
    duration_ms real not null,
    -- the event that told of it
    seq integer not null,
    ended_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    constraint trials_pkey primary key (task_id, number),
    constraint trials_failed_has_reason check ((outcome = 'failed') = (failure is not null)),
    constraint trials_feasible_has_value check (
        outcome <> 'completed' or infeasible is not null or value is not null),
    -- a NaN is stored as null here, which the constraint above refuses
    constraint trials_value_finite check (
        value is null or abs(value) <= 1.7976931348623157e308)
) strict, without rowid;

-- Slow trials, announced before they start; a trial that is claimed again reuses its parameters.
create table running_trials (
    task_id text not null constraint running_trials_task_fkey references tasks on delete cascade,
    number integer not null,
    unit integer not null,
    lease_token integer not null,
    params blob not null,
    crashes integer not null default 0,
    started_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    constraint running_trials_pkey primary key (task_id, number)
) strict, without rowid;

create table task_events (
    task_id text not null constraint task_events_task_fkey references tasks on delete cascade,
    seq integer not null,
    at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    event text not null,
    constraint task_events_pkey primary key (task_id, seq)
) strict, without rowid;

create table idempotency_keys (
    scope text not null,
    key text not null,
    body_hash blob not null,
    task_id text not null,
    created_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    constraint idempotency_keys_pkey primary key (scope, key)
) strict, without rowid;
create index idempotency_keys_age on idempotency_keys (created_at);

create table workers (
    id text not null constraint workers_pkey primary key,
    name text not null,
    slots integer not null,
    pool text not null,
    strategies text not null,
    version text not null,
    started_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    seen_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    left_at integer
) strict;

-- Bars: immutable, found by the hash of their bytes; a symbol points at its current series.
create table series (
    hash blob not null constraint series_pkey primary key,
    symbol text not null,
    frequency text not null,
    rows integer not null,
    first_day text not null,
    last_day text not null,
    source text not null,
    stored_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    bytes blob not null
) strict;

create table symbols (
    symbol text not null constraint symbols_pkey primary key,
    series_hash blob not null constraint symbols_series_fkey references series
) strict;

create table snapshots (
    id blob not null constraint snapshots_pkey primary key,
    -- symbol to series hash (hex): what a task pinned
    series text not null,
    created_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000)
) strict;
