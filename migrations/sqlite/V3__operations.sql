-- Stop rules, and tasks that begin with trials of another one: the columns of
-- migrations/postgres/V3__operations.sql.

-- the task ends itself when its best value is at least (or at most) this
alter table tasks add column stop_target real;
-- the task ends itself when so many trials have ended since the best one
alter table tasks add column stop_patience integer;
-- trials that have ended since the best one, in the order in which they were recorded
alter table tasks add column since_best integer not null default 0;
-- the task that it was made from; it may be deleted by now
alter table tasks add column origin_task text;
alter table tasks add column origin_how text constraint tasks_origin_known
    check (origin_how in ('retry', 'clone', 'extend'));
alter table tasks add column copied_trials integer not null default 0;
-- units with numbers below this hold the copied trials, closed from the start
alter table tasks add column copied_units integer not null default 0;
-- of these, the ones below next_number: the first so many; passed_trials are theirs
alter table tasks add column passed_units integer not null default 0;
alter table tasks add column passed_trials integer not null default 0;
