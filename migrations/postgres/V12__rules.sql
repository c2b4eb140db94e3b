-- Rules by which a search with several objectives ends itself.
-- Only additions, so that builds of V11 go on: tasks that have such rules are of a form that they leave
-- alone.

alter table tasks add column stop_aims jsonb;
comment on column tasks.stop_aims is
    'of several objectives with rules: the direction of each, and the target that it has; null: other tasks';
alter table tasks add column targets_reached boolean not null default false;
comment on column tasks.targets_reached is
    'whether one trial reached all targets of several objectives';
alter table tasks add column front bytea;
comment on column tasks.front is
    'the Pareto front of those with patience until they end: for each member its number (four bytes) and its costs (eight bytes each)';
comment on column tasks.since_best is
    'trials that have ended since the best one, in the order in which they were recorded; with stop_aims and patience, since the last one that joined the front';
