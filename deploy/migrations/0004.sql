-- From schema 3 to 4. Marks work that can no longer be cancelled.
alter table work add column if not exists irrevocable boolean not null default false;
