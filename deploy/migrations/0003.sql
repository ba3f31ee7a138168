-- From schema 2 to 3. The read tables are not touched here: they are made anew from the log.
create table if not exists project_secrets (
    project_id bigint not null,
    name       text   not null,
    secret     text   not null,
    primary key (project_id, name)
);
