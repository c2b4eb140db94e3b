-- Trials that clients run, what trials report while they run, and points that wait for a trial.
-- Only additions, so that builds of V10 go on: tasks that have any of it are of a form that they leave
-- alone. (Points that wait they do not know: a unit that such a build claims runs without them.)

-- its trials are run by clients, who ask for one at a time: each is a unit of its own
alter table tasks add column by_client integer not null default 0;

-- what it reported: for each report a step (four bytes) and a packed double for each objective
alter table trials add column reports blob;
alter table running_trials add column reports blob;

-- parameters that a user has chosen for trials that nobody has started
create table enqueued_trials (
    task_id text not null constraint enqueued_trials_task_fkey references tasks on delete cascade,
    number integer not null,
    params blob not null,
    enqueued_at integer not null,
    constraint enqueued_trials_pkey primary key (task_id, number)
);
