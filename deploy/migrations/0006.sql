-- From schema 5 to 6. `public` is unchanged; `polyforge migrate` rebuilds the read tables from the log. They now have
-- reasons instead of sentences.
select 1;
