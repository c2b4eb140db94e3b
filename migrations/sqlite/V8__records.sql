-- What is known of a symbol beside its bars: listing, special treatment, corporate actions.
-- Only additions, so that builds of V7 go on: they pin no records, and leave tasks that trade under
-- the rules of a market, which alone pin some, to builds that know these.

create table records (
    hash blob not null constraint records_pkey primary key,
    symbol text not null,
    listed text,
    delisted text,
    -- times under special treatment
    treatments integer not null,
    -- corporate actions
    actions integer not null,
    source text not null,
    stored_at integer not null default (cast(round(unixepoch('subsec') * 1000) as integer) * 1000),
    bytes blob not null
) strict;

create table symbol_records (
    symbol text not null constraint symbol_records_pkey primary key,
    record_hash blob not null constraint symbol_records_record_fkey references records
) strict;

-- symbol to record hash (hex): what a task pinned
alter table snapshots add column records text not null default '{}';
