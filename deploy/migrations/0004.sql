-- From schema 3 to 4. Work that can no longer be cancelled says so.
alter table work add column if not exists irrevocable boolean not null default false;
