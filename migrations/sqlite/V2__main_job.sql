-- What a search that looks at its own results needs, and the results of runs: the columns and the
-- table of migrations/postgres/V2__main_job.sql.

-- its sampler reads history: few trials may be unseen by it at a time, so few units are open
alter table tasks add column adaptive integer not null default 0
    constraint tasks_adaptive_known check (adaptive in (0, 1));

-- by how much an infeasible trial breaks its result constraints, in sum; null also where that is
-- infinite: a metric is undefined
alter table trials add column violation real constraint trials_violation_positive
    check (violation is null or violation > 0 and violation <= 1.7976931348623157e308);

-- One row per task of one run (a backtest, later a training or a prediction).
create table runs (
    task_id text not null constraint runs_pkey primary key
        constraint runs_task_fkey references tasks on delete cascade,
    -- the document, as it was given
    result text not null,
    recorded_at integer not null
        default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000)
) strict;
