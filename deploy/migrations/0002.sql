-- From schema 1 to 2. The read tables are not changed here, since they are rebuilt from the log.
delete from idempotency_keys;
alter table idempotency_keys add column if not exists command_id uuid not null;
create index if not exists idempotency_keys_by_age on idempotency_keys (at);

create table if not exists unnumbered (
    position bigint not null primary key,
    txid     xid8   not null
);
insert into unnumbered (position, txid)
select position, txid
from   events
where  not exists (select 1 from numbers where numbers.position = events.position)
on conflict do nothing;
drop index if exists events_by_transaction;
