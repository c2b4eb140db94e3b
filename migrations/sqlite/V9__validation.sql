-- Searches over the windows of a walk-forward, and the assessment of what a search found.
-- Only additions, so that builds of V8 go on; tasks that have either are of a form that they leave
-- alone.

-- searches that it is made of (task_windows); 0: it is one
alter table tasks add column windows integer not null default 0;
-- its result is assessed when its trials have ended
alter table tasks add column assessed integer not null default 0;
-- why its search ended, while the result is assessed; stop_reason once that is done
alter table tasks add column searched text;

-- The trial numbers of each search, and what is handed out of them.
create table task_windows (
    task_id text not null constraint task_windows_task_fkey references tasks on delete cascade,
    number integer not null,
    first integer not null,
    count integer not null constraint task_windows_count_positive check (count >= 1),
    next_number integer not null,
    ended integer not null,
    open_units integer not null,
    constraint task_windows_pkey primary key (task_id, number),
    constraint task_windows_numbers_bounded check (next_number between first and first + count),
    constraint task_windows_ended_bounded check (ended between 0 and count)
) without rowid;
