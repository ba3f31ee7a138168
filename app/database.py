"""The connection pool. asyncpg executes all statements; SQLAlchemy Core composes those that vary."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import orjson
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import asyncpg as dialect
from sqlalchemy.sql.compiler import SQLCompiler

from app.keyring import Keyring

SCHEMA = 9  # the version of schema.sql that this program works with
SEARCH_PATH = "live, public"
DIALECT = dialect.dialect()  # type: ignore[no-untyped-call]
MAX_DEADLOCKS = 3  # after which a statement is retried only once more
CONNECT_TIMEOUT = 5.0  # seconds
# Raised by asyncpg for a lost connection; the last one if it was lost between two statements.
CONNECTION_LOST = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
DB_ERRORS = (*CONNECTION_LOST, asyncpg.PostgresError)  # all errors of a statement
UNAVAILABLE = (  # those that are temporary
    *CONNECTION_LOST,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,  # the server is no primary any more; another one is, or will be
)
# A full disk, an error of the file system, and what the server has no code for.
WRITE_ERRORS = (asyncpg.DiskFullError, asyncpg.PostgresSystemError, asyncpg.InternalServerError)
READ_ONLY = "the server is a stand-by or read-only"
# Assigns a transaction id, which a stand-by refuses.
SORT_ON_DISK = """
    with sorted as (select number from generate_series(1, 4000) as number order by -number offset 0)
    select current_setting('transaction_read_only')::bool, pg_current_xact_id(), (select count(*) from sorted)
"""
# Of a program whose tables a newer version has replaced, until it is restarted.
OUTDATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)
_compiled: dict[Any, SQLCompiler] = {}

Row: TypeAlias = asyncpg.Record


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """Sessions are never altered, so no round trip is needed to reset one when it is released."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """Runs statements; each call is one round trip and one transaction of its own.

    Connections belong to the pool, but intact ones are kept here and handed to the next waiter: releasing one to the
    pool starts a task, which costs more than a small query.
    """

    def __init__(self, pool: asyncpg.Pool, keyring: Keyring | None = None) -> None:
        self.pool = pool
        self._keyring = keyring
        self._free: list[Any] = []
        self._lent = 0
        self.generation = 0  # of the connections; those of an older one are closed when they are returned
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._closing = False

    @property
    def keyring(self) -> Keyring:
        """The keys that seal the secrets in this database."""
        if self._keyring is None:
            raise LookupError("The database was opened without keys.")
        return self._keyring

    def acquire(self) -> "ConnectionLease":
        """Lease a connection for the length of a block."""
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
        """Run a statement, and retry it after a deadlock: a statement is one transaction, so it has had no effect.

        A rebuild locks all read tables to swap them, and may deadlock with a query that holds one and needs another.
        """
        for _ in range(MAX_DEADLOCKS):
            try:
                async with ConnectionLease(self) as connection:
                    return await getattr(connection, method)(sql, *arguments)
            except asyncpg.DeadlockDetectedError:
                continue
        async with ConnectionLease(self) as connection:
            return await getattr(connection, method)(sql, *arguments)

    async def select(self, statement: ClauseElement) -> list[Row]:
        """Fetch the rows of a Core expression, which is compiled once per shape."""
        sql, arguments = compile_statement(statement)
        return await self.fetch(sql, *arguments)

    async def replace_connections(self) -> None:
        """Close all connections, leased ones when they are returned, because their server refuses to write."""
        self.generation += 1
        await self.pool.expire_connections()
        while self._free:
            await self._drop(self._free.pop())

    async def close(self) -> None:
        """Close all connections, after waiting for those that are leased."""
        self._closing = True
        while self._free:
            await self.pool.release(self._free.pop())
        await self.pool.close()

    async def _take(self) -> Any:
        if self._closing:
            raise asyncpg.InterfaceError("the database is being closed")
        while self._free:
            connection = self._free.pop()
            if not is_lost(connection):
                return connection
            await self._drop(connection)
        if self._lent < self.pool.get_max_size():
            self._lent += 1
            try:
                return await self.pool.acquire()
            except BaseException:  # cancellation included: the slot is free again
                self._lent -= 1
                self._offer_slot()
                raise
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            connection = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                await self._return(waiter.result())
            raise
        return connection if connection is not None else await self._take()

    def _give(self, connection: Any) -> None:
        """Hand a connection to the next waiter, or keep it; None tells the waiter to open one."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if connection is not None:
            self._free.append(connection)

    def _offer_slot(self) -> None:
        """Let the next waiter open a connection, since there is room for one."""
        self._give(None)

    async def _return(self, connection: Any) -> None:
        """Take back an intact connection. The pool waits for all connections when it closes, so none is kept then."""
        if self._closing and connection is not None:
            await self._drop(connection)
        else:
            self._give(connection)

    async def _drop(self, connection: Any) -> None:
        """Release a connection to the pool, which handles those that were lost or interrupted."""
        self._lent -= 1
        try:
            await self.pool.release(connection)
        finally:
            self._offer_slot()


def is_lost(connection: Any) -> bool:
    """Return whether the server has closed the connection; the pool has then reclaimed it already."""
    try:
        closed: bool = connection.is_closed()
    except asyncpg.InterfaceError:
        return True
    return closed


class ConnectionLease:
    """An async context manager for a connection, which is reused afterwards unless the block failed."""

    __slots__ = ("connection", "db", "generation")

    def __init__(self, db: Database) -> None:
        self.db = db

    async def __aenter__(self) -> Any:
        self.connection = await self.db._take()
        self.generation = self.db.generation
        return self.connection

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        current = self.generation == self.db.generation
        if kind is None and current and not is_lost(self.connection):
            await self.db._return(self.connection)
            return
        if current and isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            await self.db.replace_connections()
        await self.db._drop(self.connection)


def is_unavailable(error: BaseException) -> bool:
    """Return whether the error means that the database is temporarily unavailable."""
    # Errors of files are OSErrors too; those of the network have no file name.
    return isinstance(error, UNAVAILABLE) and getattr(error, "filename", None) is None


def compile_statement(statement: ClauseElement) -> tuple[str, list[Any]]:
    """Return the SQL of a statement and its arguments, in the order of their numbers."""
    key = statement._generate_cache_key()
    compiled = _compiled.get(key.key) if key else None
    if compiled is None:
        # The key lets the compiler extract the parameters of later statements of the same shape.
        compiled = DIALECT.statement_compiler(DIALECT, statement, cache_key=key)
        if key:
            _compiled[key.key] = compiled
    values = compiled.construct_params(extracted_parameters=key.bindparams if key else None)
    return compiled.string, [values[name] for name in compiled.positiontup or []]


async def prepare_connection(connection: asyncpg.Connection) -> None:
    """Pass JSON arguments as text that the caller has encoded, and decode JSON results."""
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=orjson.loads)


def choose_server(url: str) -> dict[str, str]:
    """Return the options that make asyncpg choose a server that writes, unless the URL says which one to choose."""
    chosen = "target_session_attrs=" in url or "PGTARGETSESSIONATTRS" in os.environ
    return {} if chosen else {"target_session_attrs": "read-write"}


async def find_refused_writes(db: Database) -> str | None:
    """Return why the database does not take writes, such as a full disk; None if it does.

    A sort that does not fit into memory goes to the disk, and leaves nothing behind there.
    """
    try:
        async with db.acquire() as connection, connection.transaction():
            await connection.execute("set local work_mem = '64kB'; set local synchronous_commit = off")
            read_only = await connection.fetchval(SORT_ON_DISK)
    except asyncpg.ReadOnlySQLTransactionError:
        return READ_ONLY
    except WRITE_ERRORS as error:
        return str(error)
    if read_only:
        await db.replace_connections()
        return READ_ONLY
    return None


async def open_pool(url: str, size: int) -> asyncpg.Pool:
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        connection_class=Connection,
        init=prepare_connection,
        statement_cache_size=500,
        timeout=CONNECT_TIMEOUT,
        **choose_server(url),
        server_settings={
            "search_path": SEARCH_PATH,
            "jit": "off",
            "idle_in_transaction_session_timeout": "10s",
            "timezone": "UTC",
        },
    )


@asynccontextmanager
async def database(url: str, size: int, keyring: Keyring | None = None) -> AsyncIterator[Database]:
    """Open a pool of at most `size` connections. The `keyring` is needed to read or write secrets."""
    db = Database(await open_pool(url, size), keyring)
    try:
        yield db
    finally:
        await db.close()
