"""The role with which the forge uses its embedded PostgreSQL: it can add to the log, and not rewrite or empty it."""

import re

import asyncpg

ROLE = "polyforge"
CREATE = f"""
    do $$ begin
        if not exists (select 1 from pg_roles where rolname = '{ROLE}') then
            create role {ROLE} login;
        end if;
    end $$
"""
# `maintain` lets a rebuild of the read tables lock the log; it implies neither `truncate` nor `trigger`.
GRANT = f"""
    alter role {ROLE} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
    grant connect, create, temporary on database {{database}} to {ROLE};
    grant usage on schema public to {ROLE};
    grant select, insert, update, delete, maintain on all tables in schema public to {ROLE};
    grant usage, select, update on all sequences in schema public to {ROLE};
    revoke update, delete on public.events, public.commands from {ROLE};
    revoke insert, update, delete on public.schema_version from {ROLE};
    alter schema live owner to {ROLE};
"""
TABLES = "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = any ($1)"
PASSWORD = re.compile(r"[A-Za-z0-9_-]{16,}\Z")


async def prepare_role(url: str, password: str) -> str:
    """Create or update the role, and return the URL with which the forge connects. `url` is that of a superuser.

    Raises ValueError for a password that a statement or a URL could not contain.
    """
    if not PASSWORD.match(password):
        raise ValueError("The password must have at least 16 letters, digits, hyphens and underscores.")
    connection = await asyncpg.connect(url)
    try:
        database = await connection.fetchval("select quote_ident(current_database())")
        async with connection.transaction():
            await connection.execute(CREATE)
            await connection.execute(f"alter role {ROLE} password '{password}'")
            await connection.execute(GRANT.format(database=database))
            for row in await connection.fetch(TABLES, ["live", "rebuilt"]):
                await connection.execute(f"alter table {row['name']} owner to {ROLE}")
            # A rebuild that was interrupted leaves it behind, and the next one drops it.
            if await connection.fetchval("select to_regnamespace('rebuilt') is not null"):
                await connection.execute(f"alter schema rebuilt owner to {ROLE}")
    finally:
        await connection.close()
    return re.sub(r"//[^@/]*@", f"//{ROLE}:{password}@", url)
