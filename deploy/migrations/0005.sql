-- From schema 4 to 5. The read tables are not touched here: they are made anew from the log.
create table if not exists mirrors (
    project_id  bigint      primary key,
    due_at      timestamptz not null,
    failures    int         not null default 0,      -- in a row
    lease_until timestamptz,                         -- null: nobody is at it
    token       uuid,
    constraint a_lease_has_a_token check ((lease_until is null) = (token is null))
);
create index if not exists due_mirrors on mirrors (due_at);
