-- Rules by which a search with several objectives ends itself.
-- Only additions, so that builds of V11 go on: tasks that have such rules are of a form that they leave
-- alone.

-- of several objectives with rules: the direction of each, and the target that it has; null: other tasks
alter table tasks add column stop_aims text;
-- whether one trial reached all targets of several objectives
alter table tasks add column targets_reached integer not null default false;
-- the Pareto front of those with patience until they end: for each member its number (four bytes) and its costs (eight bytes each)
alter table tasks add column front blob;
