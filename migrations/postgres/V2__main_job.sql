-- What a search that looks at its own results needs, and the results of runs.
-- Only additions, so that builds of V1 go on while workers are replaced.

alter table tasks add column adaptive boolean not null default false;
comment on column tasks.adaptive is
    'its sampler reads history: few trials may be unseen by it at a time, so few units are open';

alter table trials add column violation double precision;
-- Not valid: new rows are checked, and the old ones are not read for it while the table is locked
-- against readers. They have no violation, so there is nothing to validate.
alter table trials add constraint trials_violation_positive check (
    violation is null or violation > 0 and violation < 'Infinity') not valid;
comment on column trials.violation is
    'by how much an infeasible trial breaks its result constraints, in sum; null also where that is infinite: a metric is undefined';

-- One row per task of one run (a backtest, later a training or a prediction).
create table runs (
    task_id uuid constraint runs_pkey primary key
        constraint runs_task_fkey references tasks on delete cascade,
    result json not null,
    recorded_at timestamptz not null default now()
);
comment on column runs.result is 'the document, as it was given: json and not jsonb keeps every digit';
