alter table open_pushes rename column lease_until to due_at;
alter table open_pushes alter column due_at set default now();
update open_pushes set due_at = now();
alter table open_pushes add column begun_at timestamptz not null default now();
alter table open_pushes add column failures int not null default 0;
create index open_pushes_of_a_project on open_pushes (project_id);
