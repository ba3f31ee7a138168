-- From schema 4 to 5. The read tables are not changed here, since they are rebuilt from the log.
create table if not exists mirrors (
    project_id  bigint      primary key,
    due_at      timestamptz not null,
    failures    int         not null default 0,      -- consecutive
    lease_until timestamptz,                         -- null: not leased
    token       uuid,
    constraint a_lease_has_a_token check ((lease_until is null) = (token is null))
);
create index if not exists due_mirrors on mirrors (due_at);
