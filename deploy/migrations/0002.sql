-- From schema 1 to 2. The read tables are not touched here: they are made anew from the log.
delete from idempotency_keys;
alter table idempotency_keys add column if not exists command_id uuid not null;
create index if not exists idempotency_keys_by_age on idempotency_keys (at);
