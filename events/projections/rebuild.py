"""Rebuild of the read tables: replay the log into new tables beside the live ones, then swap them.

Writers wait only while the last few events are replayed and the tables are swapped.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Protocol

import asyncpg

from events.projections import projection_sql
from events.upcasts import current_data_sql

BATCH_SIZE = 500  # events
MAX_ATTEMPTS = 20
LOCK = 0x72656275  # key of the advisory lock; arbitrary, but it must never change

TABLES = """
    select c.relname
    from   pg_class c join pg_namespace n on n.oid = c.relnamespace
    where  n.nspname = $1 and c.relkind = 'r'
    order by c.relname
"""
# `create table … like … including indexes` would rename the indexes; these statements keep their names. Constraints
# come first.
INDEXES = """
    select   case when c.oid is null
             then replace(pg_get_indexdef(i.indexrelid), ' ON live.', ' ON rebuilt.')
             else format('alter table rebuilt.%I add constraint %I %s',
                         t.relname, c.conname, pg_get_constraintdef(c.oid))
             end as statement
    from     pg_index i
    join     pg_class t on t.oid = i.indrelid
    join     pg_namespace n on n.oid = t.relnamespace and n.nspname = 'live'
    left join pg_constraint c on c.conindid = i.indexrelid and c.contype in ('p', 'u', 'x')
    order by c.oid is null, i.indexrelid
"""
# Numbered events are replayed first, by number; the rest follow once writers are locked out.
NUMBERED = """
    select   numbers.seq, events.position, events.type
    from     numbers join events using (position)
    where    numbers.seq > $1
    order by numbers.seq
    limit    $2
"""
UNNUMBERED = """
    select   events.position, events.type
    from     events
    where    not exists (select 1 from numbers where numbers.position = events.position)
    order by events.txid, events.position
"""


CURRENT_EVENT = """
    select position, txid, id, stream, version, type, {data} as data, actor, project_id, command_id, cause, request, at
    from   events
    where  position = $1
"""


@cache
def _replay_sql(event_type: str) -> str | None:
    """The statement that projects one stored event, given by its position; None if nothing projects this type."""
    parts, _ = projection_sql(event_type)
    if not parts:
        return None
    return f"with event as ({CURRENT_EVENT.format(data=current_data_sql())}){parts} select 1"


class RebuildRunning(Exception):
    """Another rebuild is running. Two at once would drop each other's tables."""


class ConnectionPool(Protocol):
    """A pool of connections, as app.database has it."""

    def acquire(self) -> AbstractAsyncContextManager[asyncpg.Connection]: ...


async def rebuild(
    db: ConnectionPool,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    definition: str | None = None,
    on_swap: str = "",
) -> int:
    """Rebuild the read tables and return the number of events replayed.

    The new tables are those of `definition`, statements which fill the schema `rebuilt`; without it they are like the
    present ones. The statements of `on_swap` take effect at the moment of the swap.

    Raises RebuildRunning if another rebuild is running, TimeoutError if the tables could not be locked for the swap.
    """
    for attempt in range(MAX_ATTEMPTS):
        try:
            async with db.acquire() as connection:
                if not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):
                    raise RebuildRunning("Another rebuild of the read tables is running.")
                await connection.execute("set search_path = rebuilt, public")
                try:
                    return await _rebuild(connection, progress, definition, on_swap)
                finally:
                    await connection.execute("set search_path = live, public")
                    await connection.fetchval("select pg_advisory_unlock($1)", LOCK)
        except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
            # A writer held one table and waited for another: let it finish, then start again.
            await asyncio.sleep(0.1 * (attempt + 1))
    raise TimeoutError("The read tables could not be locked for the swap; try again when there are fewer writers.")


async def _rebuild(
    db: asyncpg.Connection, progress: Callable[[int, int], None], definition: str | None, on_swap: str
) -> int:
    await db.execute("drop schema if exists rebuilt cascade; create schema rebuilt")
    await (db.execute(definition) if definition else _copy_tables(db))
    done, seq = 0, 0
    while True:
        head = await db.fetchval("select count(*) from numbers")
        seq, replayed = await _replay_numbered(db, seq)
        done += replayed
        progress(done, head)
        if not replayed:
            break
    for table in await _list_tables(db, "rebuilt"):
        await db.execute(f"analyze rebuilt.{table}")
    async with db.transaction():
        await _lock_tables(db, await _list_tables(db, "live"))
        done += await _replay_rest(db, seq)
        await db.execute("alter schema live rename to replaced")
        await db.execute("alter schema rebuilt rename to live")
        await db.execute("drop schema replaced cascade")
        if on_swap:
            await db.execute(on_swap)
    return done


async def _list_tables(db: asyncpg.Connection, schema: str) -> list[str]:
    return [row["relname"] for row in await db.fetch(TABLES, schema)]


async def _copy_tables(db: asyncpg.Connection) -> None:
    """Create empty twins of the live tables in the schema `rebuilt`."""
    for table in await _list_tables(db, "live"):
        await db.execute(f"create table rebuilt.{table} (like live.{table} including all excluding indexes)")
    for row in await db.fetch(INDEXES):
        await db.execute(row["statement"])


async def _lock_tables(db: asyncpg.Connection, tables: list[str]) -> None:
    """Lock out writers and readers. One statement takes all locks, so that no writer is caught between two tables."""
    await db.execute("set local lock_timeout = '2s'")
    names = ", ".join(f"live.{table}" for table in tables)
    await db.execute(f"lock table {names}, events, numbers in access exclusive mode")


async def _replay_rest(db: asyncpg.Connection, seq: int) -> int:
    """Replay what was written since `seq`, numbered or not, and return the number of events."""
    done = 0
    while True:
        seq, replayed = await _replay_numbered(db, seq)
        done += replayed
        if not replayed:
            break
    for row in await db.fetch(UNNUMBERED):
        await _project_event(db, row["position"], row["type"])
        done += 1
    return done


async def _replay_numbered(db: asyncpg.Connection, seq: int) -> tuple[int, int]:
    """Replay the next batch of numbered events after `seq`. Returns the last number and the count of events."""
    rows = await db.fetch(NUMBERED, seq, BATCH_SIZE)
    for row in rows:
        await _project_event(db, row["position"], row["type"])
    return (rows[-1]["seq"] if rows else seq), len(rows)


async def _project_event(db: asyncpg.Connection, position: int, event_type: str) -> None:
    statement = _replay_sql(event_type)
    if statement:
        await db.execute(statement, position)
