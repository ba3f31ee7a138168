"""The forge that the tests of one process share: started once, and emptied after each test.

Starting a forge costs more CPU time than most tests do: it builds every route, opens its connections and plans each
statement again. After a test, whatever it left running is cancelled or waited for; then tables, queue and files are
emptied while nothing runs. A forge that cannot be emptied, because something still runs, has ended or has changed the
schema, is closed, and the next test starts another one.
"""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
from redis.exceptions import RedisError

from app.config import Settings
from app.database import DB_ERRORS, Database, is_lost
from app.disk.folders import make_folders
from app.http.keys import DATABASE, TAIL
from app.http.rate_limits import RATE_LIMITS
from app.ops import embedded, migrate
from tests.databases import fresh_database, open_cleaner

Task: TypeAlias = "asyncio.Task[Any]"

SHARED_MEMORY, MIN_FREE = "/dev/shm", 2 << 30  # bytes
QUIET_TIMEOUT = 5.0  # seconds that whatever a test left running has to end
CLOSE_TIMEOUT = 60.0  # seconds; a connection that a test keeps for ever fails that test, and no other one
TESTS = str(Path(__file__).parent)
CONNECTION_HANDLER = "RequestHandler.start"  # aiohttp's task of one HTTP connection, which lasts as long as that does
# Where a background task waits for something to do, or for tasks that it has started.
WAITING_IN = {"sleep", "Event.wait", "_wait", "TaskGroup.__aexit__", "Worker.async_run", "async_generator_asend"}
RESET_SESSION = "select pg_advisory_unlock_all(); close all; unlisten *; reset all"
# The relay renews its lease once a second, and would number nothing until then.
GIVE_LEASE = """
    insert into leases (name, holder, until) values ('relay', $1, now() + interval '5 seconds')
    on conflict (name) do update set until = excluded.until where leases.holder = excluded.holder
"""
_background: set[Task] = set()  # the tasks that run for as long as a shared forge does


class CountingExecutor(ThreadPoolExecutor):
    """The event loop's threads, with a count of what they still have to do.

    A request that is cancelled leaves the work of its thread behind.
    """

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="asyncio")
        self.unfinished: set[Future[Any]] = set()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> "Future[Any]":
        future = super().submit(function, *arguments, **options)
        self.unfinished.add(future)
        future.add_done_callback(self.unfinished.discard)
        return future


class NotReusableError(Exception):
    """The forge cannot be given to another test; the message says why."""


class SharedForge:
    """Starts a forge when a test needs one, and keeps it for as long as it can be emptied."""

    def __init__(
        self,
        configure: Callable[[str, str, Path], Settings],
        run: Callable[[Settings], AbstractAsyncContextManager[Any]],
    ) -> None:
        self.forge: Any = None
        self._configure = configure
        self._run = run
        self._numbers = itertools.count()
        self._background: set[Task] = set()
        self._stack = AsyncExitStack()

    async def open(self, postgres_url: str) -> Any:
        """Return a forge in which nothing has happened but the creation of its administrator."""
        if self.forge is None:
            await self._start(postgres_url)
        elif self.forge.relay.leading:
            # Tests that use no event loop may have let it run out.
            await self.forge.db.execute(GIVE_LEASE, self.forge.relay.holder)
        self.forge.session = aiohttp.ClientSession()
        return self.forge

    async def empty(self) -> str | None:
        """Empty the forge for the next test, or close it and return the reason why it cannot be emptied."""
        try:
            await self.forge.session.close()
            await self._wait_until_quiet()
            with hold_connections(self.forge.db) as ours, hold_connections(self.forge.app[DATABASE]) as theirs:
                await self._empty_stores([*ours, *theirs])
                self._forget_head()
            await migrate.create_first_admin(self.forge.db, self.forge.settings)
            self.forge.relay.rung.set()
        except (NotReusableError, TimeoutError, RedisError, *DB_ERRORS) as error:
            await self.close()
            return f"{type(error).__name__}: {error}"
        except BaseException:  # a mistake in here must not reach the next test
            await self.close()
            raise
        return None

    async def close(self) -> None:
        if self.forge is not None:
            await self.forge.session.close()
        self.forge = None
        _background.difference_update(self._background)
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await self._stack.aclose()

    async def _start(self, postgres_url: str) -> None:
        self._threads = _count_threads()
        async with AsyncExitStack() as stack:
            self._folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="polyforge-test-", dir=find_memory_folder()))
            )
            valkey = embedded.start_valkey(self._folder, tied_to_parent=True)
            stack.callback(valkey.stop)
            database_url = await stack.enter_async_context(fresh_database(postgres_url))
            settings = self._configure(database_url, valkey.url, self._folder / "data")
            forge = await stack.enter_async_context(self._run(settings))
            await forge.session.close()
            self._cleaner = await stack.enter_async_context(open_cleaner(database_url))
            async with asyncio.timeout(10):
                while not all(is_waiting(task) for task in other_tasks()):
                    await asyncio.sleep(0.002)
            self._background = other_tasks()
            _background.update(self._background)
            self.forge, self._stack = forge, stack.pop_all()

    async def _wait_until_quiet(self) -> None:
        await _cancel({task for task in other_tasks() if _is_of_tests(task)})
        loop = asyncio.get_running_loop()
        end = loop.time() + QUIET_TIMEOUT
        while running := _find_running(self._background, self._threads):
            if loop.time() > end:
                raise NotReusableError(running)
            await asyncio.sleep(0.001)

    async def _empty_stores(self, connections: list[Any]) -> None:
        settings, old = self.forge.settings, self._folder / f"old-{next(self._numbers)}"
        settings.data.rename(old)  # removed when the forge is closed
        make_folders(settings)
        (old / settings.key_file.name).rename(settings.key_file)
        await self.forge.redis.flushall()
        if not await self._cleaner.clean():
            raise NotReusableError("the schema has changed")
        for connection in connections:
            await connection.execute(RESET_SESSION)
        if self.forge.relay.leading:
            await connections[0].execute(GIVE_LEASE, self.forge.relay.holder)

    def _forget_head(self) -> None:
        """Bring the tail, which knows how far the log has come, back to its beginning, and forget what was counted."""
        tail = self.forge.app[TAIL]
        if tail.closing or tail._commands or tail._groups:
            raise NotReusableError("a request still waits for events, or the tail is closed")
        tail.head = 0
        tail._recent.clear()
        self.forge.app[RATE_LIMITS].forget()


def find_memory_folder() -> str | None:
    """Return a folder that is kept in memory and has room, if there is one; None stands for the usual place."""
    with suppress(OSError):
        if shutil.disk_usage(SHARED_MEMORY).free >= MIN_FREE and os.access(SHARED_MEMORY, os.W_OK):
            return SHARED_MEMORY
    return None


def other_tasks() -> set[Task]:
    """Return all tasks but the current one and those of the shared forge."""
    return asyncio.all_tasks() - _background - {asyncio.current_task()}


async def cancel_other_tasks() -> None:
    """End what a test has started on the event loop, which all tests share."""
    await _cancel({task for task in other_tasks() if not _is_connection(task)})


def is_waiting(task: Task) -> bool:
    """Whether the task waits for something to do, rather than for the answer to something it has begun."""
    name, step = "", task.get_coro()
    while hasattr(step, "cr_await"):
        if step.__qualname__ == "listen":  # for hints, which come whenever they come
            return True
        name, step = step.__qualname__, step.cr_await
    return name in WAITING_IN or name == CONNECTION_HANDLER or type(step).__name__ in WAITING_IN


@contextmanager
def hold_connections(db: Database) -> Iterator[list[Any]]:
    """Take every connection: whoever wants one waits until the block is left."""
    held, unopened = db._free, db.pool.get_max_size() - db._lent
    if db._lent != len(held) or any(is_lost(connection) for connection in held):
        raise NotReusableError("a database connection is in use or lost")
    db._free, db._lent = [], db.pool.get_max_size()
    try:
        yield held
    finally:
        db._lent -= unopened
        for connection in held:
            db._give(connection)
        for _ in range(unopened):
            db._offer_slot()


def _find_running(background: set[Task], threads: CountingExecutor) -> str:
    """Describe something that still runs; empty if nothing does."""
    if any(task.done() for task in background):
        ended = ", ".join(str(task.get_coro()) for task in background if task.done())
        raise NotReusableError(f"a part of the forge has ended: {ended}")
    for task in other_tasks():
        if not (_is_connection(task) and is_waiting(task)):
            return f"{task.get_coro()} still runs"
    for task in background:
        if not is_waiting(task):
            return f"{task.get_coro()} is busy"
    return "a thread still runs" if threads.unfinished else ""


def _count_threads() -> CountingExecutor:
    """Return the event loop's executor, which is replaced by one that counts."""
    loop = asyncio.get_running_loop()
    executor: Any = getattr(loop, "_default_executor", None)
    if not isinstance(executor, CountingExecutor):
        executor = CountingExecutor()
        loop.set_default_executor(executor)
    return executor


def _is_of_tests(task: Task) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename.startswith(TESTS)


def _is_connection(task: Task) -> bool:
    return getattr(task.get_coro(), "__qualname__", "") == CONNECTION_HANDLER


async def _cancel(tasks: set[Task]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=QUIET_TIMEOUT)
