"""Databases of the tests. Emptying one takes a tenth of the time that creating one takes."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from app.ops import migrate

TEMPLATE = "template_forge"
_numbers = itertools.count()
_spare: list[str] = []  # empty databases with the right shape
_shape: list[str] = []

# The shape of a database, by names: a rebuild recreates tables, and leaves another schema behind if it is interrupted.
SHAPE = """
    select md5(string_agg(line, ',' order by line))
    from (
        select concat(n.nspname, c.relname, c.relkind, a.attname, a.atttypid::regtype, a.attnotnull) as line
        from   pg_namespace n
        left join pg_class c on c.relnamespace = n.oid
        left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where  n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
        union all
        select concat(c.relname, t.tgname, t.tgenabled) from pg_trigger t join pg_class c on c.oid = t.tgrelid
        where  not t.tgisinternal
        union all
        select concat(tablename, rulename) from pg_rules where schemaname in ('public', 'live')
        union all
        select concat(conname, contype) from pg_constraint
        union all
        select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where  n.nspname in ('public', 'live')
        union all
        select version::text from public.schema_version) as lines
"""
# For few rows, deleting is a hundred times faster than truncating, which recreates the files of every table. Most
# tables are empty, and checking that is cheaper than deleting nothing. A function keeps its plans between calls.
CREATE_CLEANER = """
    create function pg_temp.clean() returns void language plpgsql as $$ begin {statements} end $$
"""
CLEANING = """
    select string_agg(statement, ' ')
    from (
        select format('if exists (select from %1$I.%2$I) then delete from %1$I.%2$I; end if;', schemaname, tablename)
        from   pg_tables
        where  schemaname in ('public', 'live') and tablename <> 'schema_version'
        union all
        select format('perform setval(%L, %s, false);', format('public.%I', sequencename), start_value)
        from   pg_sequences
        where  schemaname = 'public') as cleaning (statement)
"""


async def make_template(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"create database {TEMPLATE}")
    await connection.close()
    await migrate.migrate(_database_url(url, TEMPLATE))
    connection = await asyncpg.connect(_database_url(url, TEMPLATE))
    _shape[:] = [await connection.fetchval(SHAPE)]
    await connection.close()


@asynccontextmanager
async def fresh_database(url: str) -> AsyncIterator[str]:
    """Yield the URL of a database with the schema and nothing else: a new one, or an emptied one."""
    admin = await asyncpg.connect(url)
    try:
        name = _spare.pop() if _spare else await _create(admin)
        yield _database_url(url, name)
        if await _empty(admin, url, name):
            _spare.append(name)
        else:
            await admin.execute(f"drop database {name} with (force)")
    finally:
        await admin.close()


async def _create(admin: asyncpg.Connection) -> str:
    name = f"forge_{next(_numbers)}"
    await admin.execute(f"create database {name} template {TEMPLATE} strategy wal_log")
    return name


async def _empty(admin: asyncpg.Connection, url: str, name: str) -> bool:
    """Empty the database. False if a test has changed its shape."""
    await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
    async with open_cleaner(_database_url(url, name)) as cleaner:
        return await cleaner.clean()


class Cleaner:
    """Empties a database, repeatedly. Nothing else may use it at that time."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def clean(self) -> bool:
        """Return False, and empty nothing, if the shape of the database has changed."""
        if await self.connection.fetchval(SHAPE) != _shape[0]:
            return False
        await self.connection.execute("select pg_temp.clean()")
        return True


@asynccontextmanager
async def open_cleaner(url: str) -> AsyncIterator[Cleaner]:
    connection = await asyncpg.connect(url)
    try:
        # Without triggers and foreign keys, and without waiting for locks of dead connections.
        await connection.execute("set session_replication_role = replica; set lock_timeout = '1s'")
        statements = await connection.fetchval(CLEANING)
        await connection.execute(CREATE_CLEANER.format(statements=statements))
        yield Cleaner(connection)
    finally:
        await connection.close()


def _database_url(url: str, name: str) -> str:
    return url.rpartition("/")[0] + f"/{name}"
