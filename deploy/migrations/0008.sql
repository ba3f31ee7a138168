-- From schema 7 to 8. `public` is unchanged; `polyforge migrate` rebuilds the read tables from the log. Users and groups
-- now have numbers.
select 1;
