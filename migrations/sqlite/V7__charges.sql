-- A crash is charged only as long as the worker that was lost with the trial does not come back.
-- Only an addition, so that builds of V6 go on: what they charge stays charged.

-- Ids, each followed by a comma.
alter table running_trials add column lost_workers text not null default '';
create index running_trials_charged on running_trials (task_id, number) where lost_workers <> '';
