-- What is known of a symbol beside its bars: listing, special treatment, corporate actions.
-- Only additions, so that builds of V7 go on: they pin no records, and leave tasks that trade under
-- the rules of a market, which alone pin some, to builds that know these.

create table records (
    hash bytea constraint records_pkey primary key,
    symbol text not null,
    listed date,
    delisted date,
    treatments integer not null,
    actions integer not null,
    source text not null,
    stored_at timestamptz not null default now(),
    bytes bytea not null
);
comment on column records.treatments is 'times under special treatment';
comment on column records.actions is 'corporate actions';

create table symbol_records (
    symbol text constraint symbol_records_pkey primary key,
    record_hash bytea not null constraint symbol_records_record_fkey references records
);

alter table snapshots add column records jsonb not null default '{}';
comment on column snapshots.records is 'symbol to record hash (hex): what a task pinned';
