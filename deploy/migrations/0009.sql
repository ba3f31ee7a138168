-- From schema 8 to 9. Errors of work are counted apart from claims, which workers that are killed also use up. The claims
-- of unfinished work so far are not counted as errors, so it is tried a few times more than before.
alter table work add column if not exists failures int not null default 0;
