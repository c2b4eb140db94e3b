-- A crash is charged only as long as the worker that was lost with the trial does not come back.
-- Only an addition, so that builds of V6 go on: what they charge stays charged.

alter table running_trials add column lost_workers uuid[] not null default '{}';
comment on column running_trials.lost_workers is
    'whose loss is counted in crashes; a worker that renews its leases again is taken out';
-- Empty most of the time: each renewal of a worker looks for itself.
create index running_trials_charged on running_trials (task_id, number)
    where lost_workers <> '{}';
