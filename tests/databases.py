"""The tests' databases. Emptying one takes a tenth of the time that making one does."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from app.ops import migrate

TEMPLATE = "template_forge"
_numbers = itertools.count()
_spare: list[str] = []  # empty and in shape
_shape: list[str] = []

# What a database is like, by names: a rebuild makes tables anew, and leaves another schema behind if it is cut off.
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
# Of so few rows, deleting is a hundred times faster than truncating, which makes the files of every table anew. Most
# tables are empty, which is cheaper to ask than to delete nothing. A function keeps its plans from call to call.
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
    await migrate.migrate(_of(url, TEMPLATE))
    connection = await asyncpg.connect(_of(url, TEMPLATE))
    _shape[:] = [await connection.fetchval(SHAPE)]
    await connection.close()


@asynccontextmanager
async def fresh_database(url: str) -> AsyncIterator[str]:
    """The URL of a database with the schema and nothing else: a new one, or one that was left in shape."""
    admin = await asyncpg.connect(url)
    try:
        name = _spare.pop() if _spare else await _made(admin)
        yield _of(url, name)
        if await _emptied(admin, url, name):
            _spare.append(name)
        else:
            await admin.execute(f"drop database {name} with (force)")
    finally:
        await admin.close()


async def _made(admin: asyncpg.Connection) -> str:
    name = f"forge_{next(_numbers)}"
    await admin.execute(f"create database {name} template {TEMPLATE} strategy wal_log")
    return name


async def _emptied(admin: asyncpg.Connection, url: str, name: str) -> bool:
    """Whether the database is as good as new now. One whose shape a test has changed is not."""
    await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
    async with open_cleaner(_of(url, name)) as cleaner:
        return await cleaner.clean()


class Cleaner:
    """Empties a database as often as it is asked to. Nothing else may run there meanwhile."""

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
        # Neither triggers nor foreign keys, and no waiting for the lock of somebody who is gone.
        await connection.execute("set session_replication_role = replica; set lock_timeout = '1s'")
        statements = await connection.fetchval(CLEANING)
        await connection.execute(CREATE_CLEANER.format(statements=statements))
        yield Cleaner(connection)
    finally:
        await connection.close()


def _of(url: str, name: str) -> str:
    return url.rpartition("/")[0] + f"/{name}"
