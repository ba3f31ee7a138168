"""Replay the log into fresh tables beside the live ones, then swap. Writers wait only for the last few events."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Protocol

import asyncpg

from events.projections import projection_sql
from events.upcasts import current_data_sql

BATCH = 500
MAX_TRIES = 20
LOCK = 0x72656275  # any number, as long as it is always this one

TABLES = """
    select c.relname
    from   pg_class c join pg_namespace n on n.oid = c.relnamespace
    where  n.nspname = 'live' and c.relkind = 'r'
    order by c.relname
"""
# A copied table would give its indexes names of its own; these keep theirs, constraints first.
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
# Numbered events first, in their order; then, once nobody writes, those that were not numbered yet.
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


AS_OF_TODAY = """
    select position, txid, id, stream, version, type, {data} as data, actor, project_id, command_id, cause, request, at
    from   events
    where  position = $1
"""


@cache
def _replay_sql(type: str) -> str | None:
    """The projections of an event, over the event as the log has it."""
    parts, _ = projection_sql(type)
    if not parts:
        return None
    return f"with event as ({AS_OF_TODAY.format(data=current_data_sql())}){parts} select 1"


class RebuildRunning(Exception):
    """Two at once would each drop what the other has made."""


class Lender(Protocol):
    """Whatever lends connections for the length of a block."""

    def acquire(self) -> AbstractAsyncContextManager[asyncpg.Connection]: ...


async def rebuild(db: Lender, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
    """Returns the number of events replayed. Raises Busy when somebody else is at it."""
    for attempt in range(MAX_TRIES):
        try:
            async with db.acquire() as connection:
                if not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):
                    raise RebuildRunning("The read tables are being rebuilt by somebody else.")
                await connection.execute("set search_path = rebuilt, public")
                try:
                    return await _rebuild(connection, progress)
                finally:
                    await connection.execute("set search_path = live, public")
                    await connection.fetchval("select pg_advisory_unlock($1)", LOCK)
        except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
            # A writer held one table and wanted another: let it go first and begin again.
            await asyncio.sleep(0.1 * (attempt + 1))
    raise TimeoutError("The read tables were never free for the swap.")


async def _rebuild(db: asyncpg.Connection, progress: Callable[[int, int], None]) -> int:
    tables = [row["relname"] for row in await db.fetch(TABLES)]
    await db.execute("drop schema if exists rebuilt cascade; create schema rebuilt")
    for table in tables:
        await db.execute(f"create table rebuilt.{table} (like live.{table} including all excluding indexes)")
    for row in await db.fetch(INDEXES):
        await db.execute(row["statement"])
    done, seq = 0, 0
    while True:
        head = await db.fetchval("select count(*) from numbers")
        seq, replayed = await _is_numbered(db, seq)
        done += replayed
        progress(done, head)
        if not replayed:
            break
    await db.execute("; ".join(f"analyze rebuilt.{table}" for table in tables))
    async with db.transaction():
        await db.execute("set local lock_timeout = '2s'")
        # Taken together, so that no writer is left between two of them; readers wait for an instant.
        names = ", ".join(f"live.{table}" for table in tables)
        await db.execute(f"lock table {names}, events, numbers in access exclusive mode")
        while True:
            seq, replayed = await _is_numbered(db, seq)
            done += replayed
            if not replayed:
                break
        for row in await db.fetch(UNNUMBERED):
            await _project_one(db, row["position"], row["type"])
            done += 1
        await db.execute("alter schema live rename to replaced")
        await db.execute("alter schema rebuilt rename to live")
        await db.execute("drop schema replaced cascade")
    return done


async def _is_numbered(db: asyncpg.Connection, seq: int) -> tuple[int, int]:
    rows = await db.fetch(NUMBERED, seq, BATCH)
    for row in rows:
        await _project_one(db, row["position"], row["type"])
    return (rows[-1]["seq"] if rows else seq), len(rows)


async def _project_one(db: asyncpg.Connection, position: int, type: str) -> None:
    statement = _replay_sql(type)
    if statement:
        await db.execute(statement, position)
