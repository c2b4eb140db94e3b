-- Fundamentals are a part of records.
-- Only an addition, so that builds of V9 go on: tasks that pin records with reports are of a form that
-- they leave alone.

-- reports of fundamentals
alter table records add column reports integer not null default 0;
