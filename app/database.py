"""The connection pool. SQLAlchemy Core composes what varies, asyncpg executes everything."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import orjson
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import asyncpg as dialect
from sqlalchemy.sql.compiler import SQLCompiler

SCHEMA = 6  # the version of schema.sql that this program works with
SEARCH_PATH = "live, public"
DIALECT = dialect.dialect()  # type: ignore[no-untyped-call]
DEADLOCKS = 3  # that a statement may lose before it gives up
CONNECT = 5.0  # seconds for a connection to come about
# What asyncpg says of a connection that is not there any more; the last one when the news came between two statements.
GONE = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
DB_ERRORS = (*GONE, asyncpg.PostgresError)  # whatever a statement can end in
UNAVAILABLE = (  # the part of it that is nobody's mistake and passes
    *GONE,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
_compiled: dict[Any, SQLCompiler] = {}

Row: TypeAlias = asyncpg.Record


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """Our sessions are never altered, so giving one back needs no round trip to reset it."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """Runs statements; each call is one round trip and, by itself, one transaction.

    Connections are the pool's, but those that come back whole are kept at hand and passed on to whoever waits: the
    pool's own release starts a task each time, which costs more than a small query does.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self._free: list[Any] = []
        self._lent = 0
        self._waiting: deque[asyncio.Future[Any]] = deque()

    def acquire(self) -> "ConnectionLease":
        """A connection for the length of a block."""
        return ConnectionLease(self)

    async def fetch(self, sql: str, *arguments: Any) -> list[Row]:
        rows: list[Row] = await self._run("fetch", sql, *arguments)
        return rows

    async def fetchrow(self, sql: str, *arguments: Any) -> Row | None:
        return await self._run("fetchrow", sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        return await self._run("fetchval", sql, *arguments)

    async def execute(self, sql: str, *arguments: Any) -> str:
        tag: str = await self._run("execute", sql, *arguments)
        return tag

    async def _run(self, method: str, sql: str, *arguments: Any) -> Any:
        """One statement is one transaction, so one that lost a deadlock has done nothing and may be sent again.

        A rebuild that swaps the read tables locks all of them, and may meet a query that has one and wants another.
        """
        for _ in range(DEADLOCKS):
            try:
                async with ConnectionLease(self) as connection:
                    return await getattr(connection, method)(sql, *arguments)
            except asyncpg.DeadlockDetectedError:
                continue
        async with ConnectionLease(self) as connection:
            return await getattr(connection, method)(sql, *arguments)

    async def select(self, statement: ClauseElement) -> list[Row]:
        """The rows of a Core expression, compiled once per shape."""
        sql, arguments = compile_statement(statement)
        return await self.fetch(sql, *arguments)

    async def close(self) -> None:
        while self._free:
            await self.pool.release(self._free.pop())
        await self.pool.close()

    async def _take(self) -> Any:
        while self._free:
            connection = self._free.pop()
            if not is_lost(connection):
                return connection
            await self._drop(connection)
        if self._lent < self.pool.get_max_size():
            self._lent += 1
            try:
                return await self.pool.acquire()
            except BaseException:  # whoever gave up waiting included: the place is free again, and it is raised again
                self._lent -= 1
                self._invite()
                raise
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            connection = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(turn.result())
            raise
        return connection if connection is not None else await self._take()

    def _give(self, connection: Any) -> None:
        """To the next in line, or into the drawer."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if connection is not None:
            self._free.append(connection)

    def _invite(self) -> None:
        """There is room for one more connection: whoever is next may open it."""
        self._give(None)

    async def _drop(self, connection: Any) -> None:
        """Back to the pool, which looks after connections that were lost or interrupted."""
        self._lent -= 1
        try:
            await self.pool.release(connection)
        finally:
            self._invite()


def is_lost(connection: Any) -> bool:
    """Whether the other side has hung up; the pool has then taken the connection back already."""
    try:
        closed: bool = connection.is_closed()
    except asyncpg.InterfaceError:
        return True
    return closed


class ConnectionLease:
    """`async with`: a connection, passed on afterwards unless the block failed."""

    __slots__ = ("connection", "db")

    def __init__(self, db: Database) -> None:
        self.db = db

    async def __aenter__(self) -> Any:
        self.connection = await self.db._take()
        return self.connection

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None and not is_lost(self.connection):
            self.db._give(self.connection)
        else:
            await self.db._drop(self.connection)


def is_unavailable(error: Exception) -> bool:
    """Whether this says that the database cannot be asked at the moment. Asking again may help."""
    # Trouble with a file is an OSError too, but no network's.
    return isinstance(error, UNAVAILABLE) and getattr(error, "filename", None) is None


def compile_statement(statement: ClauseElement) -> tuple[str, list[Any]]:
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


async def prepare_connection(connection: asyncpg.Connection) -> None:
    """JSON travels as text that has been encoded already, and is decoded on the way back."""
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=orjson.loads)


async def open_pool(url: str, size: int) -> asyncpg.Pool:
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        connection_class=Connection,
        init=prepare_connection,
        statement_cache_size=500,
        timeout=CONNECT,
        server_settings={
            "search_path": SEARCH_PATH,
            "jit": "off",
            "idle_in_transaction_session_timeout": "10s",
            "timezone": "UTC",
        },
    )


@asynccontextmanager
async def database(url: str, size: int) -> AsyncIterator[Database]:
    db = Database(await open_pool(url, size))
    try:
        yield db
    finally:
        await db.close()
