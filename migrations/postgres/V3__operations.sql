-- Stop rules, and tasks that begin with trials of another one (retry, extend) or name it (clone).
-- Only additions, so that builds of V2 go on while workers are replaced: they leave tasks with rules
-- or copied trials alone, whose stored form is of a version that they do not read.

alter table tasks add column stop_target double precision;
alter table tasks add column stop_patience integer;
alter table tasks add column since_best integer not null default 0;
alter table tasks add column origin_task uuid;
alter table tasks add column origin_how text;
alter table tasks add column copied_trials integer not null default 0;
alter table tasks add column copied_units integer not null default 0;
alter table tasks add column passed_units integer not null default 0;
alter table tasks add column passed_trials integer not null default 0;
-- Not valid: new rows are checked, and the old ones, which have none of it, are not read for it.
alter table tasks add constraint tasks_origin_is_whole check (
    (origin_task is null) = (origin_how is null)) not valid;
alter table tasks add constraint tasks_origin_known check (
    origin_how in ('retry', 'clone', 'extend')) not valid;
alter table tasks add constraint tasks_passed_bounded check (
    passed_units between 0 and copied_units and passed_trials between 0 and copied_trials) not valid;
comment on column tasks.stop_target is
    'the task ends itself when its best value is at least (or at most) this';
comment on column tasks.stop_patience is
    'the task ends itself when so many trials have ended since the best one';
comment on column tasks.since_best is
    'trials that have ended since the best one, in the order in which they were recorded';
comment on column tasks.origin_task is 'the task that it was made from; it may be deleted by now';
comment on column tasks.copied_units is
    'units with numbers below this hold the copied trials, closed from the start';
comment on column tasks.passed_units is
    'of these, the ones below next_number: the first so many; passed_trials are theirs';
