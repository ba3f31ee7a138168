"""The connection pool. SQLAlchemy Core composes what varies, asyncpg executes everything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import orjson
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import asyncpg as dialect
from sqlalchemy.sql.compiler import SQLCompiler

SEARCH_PATH = "live, public"
DIALECT = dialect.dialect()  # type: ignore[no-untyped-call]
_compiled: dict[Any, SQLCompiler] = {}

Row: TypeAlias = asyncpg.Record


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """Our sessions are never altered, so giving one back needs no round trip to reset it."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """Runs statements; each call is one round trip and, by itself, one transaction."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def fetch(self, sql: str, *arguments: Any) -> list[Row]:
        rows: list[Row] = await self.pool.fetch(sql, *arguments)
        return rows

    async def fetchrow(self, sql: str, *arguments: Any) -> Row | None:
        return await self.pool.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        return await self.pool.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: Any) -> str:
        tag: str = await self.pool.execute(sql, *arguments)
        return tag

    async def select(self, statement: ClauseElement) -> list[Row]:
        """The rows of a Core expression, compiled once per shape."""
        sql, arguments = compiled(statement)
        return await self.fetch(sql, *arguments)

    def acquire(self) -> Any:
        return self.pool.acquire()


def compiled(statement: ClauseElement) -> tuple[str, list[Any]]:
    """The statement as PostgreSQL text and its arguments, in the order of their numbers."""
    key = statement._generate_cache_key()
    found = _compiled.get(key.key) if key else None
    if found is None:
        # With its key, the compiler can give a later statement of the same shape its own parameters.
        found = DIALECT.statement_compiler(DIALECT, statement, cache_key=key)
        if key:
            _compiled[key.key] = found
    values = found.construct_params(extracted_parameters=key.bindparams if key else None)
    return found.string, [values[name] for name in found.positiontup or []]


async def prepare(connection: asyncpg.Connection) -> None:
    """JSON travels as text that has been encoded already, and is decoded on the way back."""
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=orjson.loads)


async def open_pool(url: str, size: int) -> asyncpg.Pool:
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        connection_class=Connection,
        init=prepare,
        statement_cache_size=500,
        server_settings={
            "search_path": SEARCH_PATH,
            "jit": "off",
            "idle_in_transaction_session_timeout": "10s",
            "timezone": "UTC",
        },
    )


@asynccontextmanager
async def database(url: str, size: int) -> AsyncIterator[Database]:
    pool = await open_pool(url, size)
    try:
        yield Database(pool)
    finally:
        await pool.close()
