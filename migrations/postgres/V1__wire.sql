-- Tasks, units, trials, events, workers and market data. Words as in the README's glossary;
-- times are this database's clock; "state" columns repeat the names of the Rust enums.

create table tasks (
    id uuid constraint tasks_pkey primary key,
    kind text not null constraint tasks_kind_known
        check (kind in ('hyperparameter_optimization', 'backtest', 'training', 'prediction')),
    name text not null,
    strategy text not null,
    stock_codes text[] not null,
    pool text not null,
    request jsonb not null,
    spec jsonb not null,
    resolved jsonb not null,
    warnings jsonb not null,
    seed bigint not null,
    priority smallint not null,
    not_before timestamptz,
    timeout_seconds double precision,
    snapshot_id bytea,
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
    planned integer not null,
    next_number integer not null,
    next_unit integer not null,
    open_units integer not null constraint tasks_open_units_not_negative check (open_units >= 0),
    completed integer not null default 0,
    pruned integer not null default 0,
    failed integer not null default 0,
    infeasible integer not null default 0,
    best_number integer,
    best_value double precision,
    seq bigint not null,
    -- unpaused time: what is summed up, and since when it runs
    active_seconds double precision not null default 0,
    active_since timestamptz,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    completed_at timestamptz,
    error jsonb,
    constraint tasks_planned_bounded check (planned between 0 and n_trials),
    constraint tasks_numbers_bounded check (next_number between 0 and planned),
    constraint tasks_counters_bounded check (completed + pruned + failed <= planned),
    constraint tasks_end_is_whole check (
        (state in ('completed', 'failed', 'cancelled'))
        = (completed_at is not null and open_units = 0)),
    constraint tasks_completed_has_reason check ((state = 'completed') = (stop_reason is not null))
);
comment on column tasks.planned is
    'trials that are handed out: fewer than n_trials where the space has fewer points';
comment on column tasks.next_number is 'the first trial number that is in no unit yet';
comment on column tasks.seq is 'number of the last event';
create index tasks_alive on tasks (priority, id) where state in ('queued', 'running', 'paused');

create table units (
    task_id uuid not null constraint units_task_fkey references tasks on delete cascade,
    number integer not null,
    kind text not null constraint units_kind_known check (kind in ('trials', 'assess', 'run')),
    first integer not null,
    count integer not null constraint units_count_positive check (count >= 1),
    recorded integer not null default 0,
    state text not null constraint units_state_known
        check (state in ('queued', 'leased', 'closed', 'void')),
    lease_token bigint not null default 0,
    owner uuid,
    lease_until timestamptz,
    publish_at timestamptz,
    publishes integer not null default 0,
    crashes integer not null default 0,
    created_at timestamptz not null default now(),
    constraint units_pkey primary key (task_id, number),
    constraint units_recorded_bounded check (recorded between 0 and count),
    constraint units_lease_is_whole check (
        (state = 'leased') = (owner is not null and lease_until is not null)),
    constraint units_queued_has_due check ((state = 'queued') = (publish_at is not null))
) with (fillfactor = 70);
comment on column units.recorded is
    'trials recorded: always the first ones, since a unit runs its trials in order';
comment on column units.publish_at is
    'when the relay may publish the unit: a queued unit with a due publish_at is the outbox';
comment on column units.crashes is
    'workers lost: above 0 its trials run one at a time in a child process';
create index units_due on units (publish_at) where state = 'queued';
create index units_leased on units (lease_until) where state = 'leased';

-- Ended trials only; append-only. No foreign key, so that it can be partitioned and dropped by
-- range later.
create table trials (
    task_id uuid not null,
    number integer not null,
    unit integer not null,
    outcome text not null constraint trials_outcome_known
        check (outcome in ('completed', 'pruned', 'failed')),
    window_number smallint,
    params bytea not null,
    value double precision,
    more_values bytea,
    infeasible text,
    metrics jsonb,
    failure jsonb,
    stats bytea,
    duration_ms double precision not null,
    seq bigint not null,
    ended_at timestamptz not null default now(),
    constraint trials_pkey primary key (task_id, number),
    constraint trials_failed_has_reason check ((outcome = 'failed') = (failure is not null)),
    constraint trials_feasible_has_value check (
        outcome <> 'completed' or infeasible is not null or value is not null),
    constraint trials_value_finite check (
        value is null or value not in ('NaN', 'Infinity', '-Infinity'))
);
comment on column trials.params is
    'eight bytes per parameter, little endian, in the order of their names: float bits, integer, or index of the choice';
comment on column trials.more_values is 'objectives after the first: packed doubles';
comment on column trials.stats is
    'per-period Sharpe, skew, kurtosis, rows, and 16 block sums of returns and squared returns';
comment on column trials.seq is 'the event that told of it';

create table running_trials (
    task_id uuid not null constraint running_trials_task_fkey references tasks on delete cascade,
    number integer not null,
    unit integer not null,
    lease_token bigint not null,
    params bytea not null,
    crashes integer not null default 0,
    started_at timestamptz not null default now(),
    constraint running_trials_pkey primary key (task_id, number)
);
comment on table running_trials is
    'slow trials, announced before they start; a trial that is claimed again reuses its parameters';

create table task_events (
    task_id uuid not null constraint task_events_task_fkey references tasks on delete cascade,
    seq bigint not null,
    at timestamptz not null default now(),
    event jsonb not null,
    constraint task_events_pkey primary key (task_id, seq)
);

create table idempotency_keys (
    scope text not null,
    key text not null,
    body_hash bytea not null,
    task_id uuid not null,
    created_at timestamptz not null default now(),
    constraint idempotency_keys_pkey primary key (scope, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);

create table workers (
    id uuid constraint workers_pkey primary key,
    name text not null,
    slots integer not null,
    pool text not null,
    strategies text[] not null,
    version text not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    left_at timestamptz
);

-- Bars: immutable, found by the hash of their bytes; a symbol points at its current series.
create table series (
    hash bytea constraint series_pkey primary key,
    symbol text not null,
    frequency text not null,
    rows integer not null,
    first_day date not null,
    last_day date not null,
    source text not null,
    stored_at timestamptz not null default now(),
    bytes bytea not null
);
alter table series alter column bytes set storage external;

create table symbols (
    symbol text constraint symbols_pkey primary key,
    series_hash bytea not null constraint symbols_series_fkey references series
);

create table snapshots (
    id bytea constraint snapshots_pkey primary key,
    series jsonb not null,
    created_at timestamptz not null default now()
);
comment on column snapshots.series is 'symbol to series hash (hex): what a task pinned';
