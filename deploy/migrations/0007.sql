-- From schema 6 to 7. The read tables are not changed here, since they are rebuilt from the log. The program seals the
-- secrets afterwards, and takes the URLs out of the log (app/ops/sealing.py), since SQL has no key.
alter table subscription_endpoints add column if not exists project_id bigint;
alter table subscription_endpoints alter column secret drop not null;
alter table subscription_endpoints alter column headers drop default;
alter table subscription_endpoints alter column headers drop not null;
alter table subscription_endpoints alter column headers type text using headers::text;
alter table subscription_endpoints drop constraint if exists web_hooks_have_only_a_url;
alter table subscription_endpoints add constraint web_hooks_have_only_a_url
    check (num_nonnulls(secret, headers) = case when project_id is null then 2 else 0 end);
create index if not exists endpoints_of_a_project on subscription_endpoints (project_id) where project_id is not null;

create table if not exists secrets_check (
    id     int  primary key check (id = 1),
    sealed text not null
);

do $$ begin
    if exists (select 1 from information_schema.columns
               where  table_schema = 'public' and table_name = 'open_pushes' and column_name = 'lease_until') then
        alter table open_pushes rename column lease_until to due_at;
    end if;
end $$;
alter table open_pushes alter column due_at set default now();
update open_pushes set due_at = now();
alter table open_pushes add column if not exists begun_at timestamptz not null default now();
alter table open_pushes add column if not exists failures int not null default 0;
alter table open_pushes add column if not exists pull_request int;
create index if not exists open_pushes_of_a_project on open_pushes (project_id);

alter table work add column if not exists project_id bigint not null default 0;
update work
set    project_id = coalesce(events.project_id, 0)
from   events
where  events.position = work.position and work.done_at is null;
alter table work alter column project_id drop default;
create index if not exists due_work on work (queue, project_id, due_at, position) where done_at is null;

alter table idempotency_keys add column if not exists outcome jsonb;
alter table idempotency_keys add column if not exists project jsonb;
create index if not exists idempotency_keys_by_command on idempotency_keys (command_id);

create table if not exists heartbeats (
    holder      uuid        primary key,
    alive_until timestamptz not null
);
alter table work add column if not exists holder uuid;
alter table mirrors add column if not exists holder uuid;
alter table lanes add column if not exists holder uuid;

create table if not exists ref_fingerprints (
    project_id bigint primary key,
    disk       bytea  not null,
    log        bytea  not null
);
