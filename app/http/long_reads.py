"""Reads of repositories that may take long: a few at once, fewer of one project, with a short queue before them.

They have threads of their own, so that they never hold those in which short work is done. Who would have to wait for
long hears so at once.
"""

import asyncio
import contextvars
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from aiohttp import web

from app.database import Row
from app.git.errors import NeedsSearch

T = TypeVar("T")

MAX_WAIT = 5.0  # seconds in the queue
RETRY_AFTER = "5"  # seconds
PROJECT_SHARE = 4  # one project gets no more than this part of the slots and of the queue


class Busy(web.HTTPServiceUnavailable):
    """Too many long reads go on already."""

    def __init__(self) -> None:
        super().__init__(
            reason="Too many long reads of repositories go on at once; try again in a moment.",
            headers={"Retry-After": RETRY_AFTER},
        )


class _Share:
    """The slots of one project."""

    def __init__(self, slots: int) -> None:
        self.slots = asyncio.Semaphore(slots)
        self.users = 0
        self.waiting = 0


class LongReads:
    """Admits `slots` reads at once and lets `queue` more wait, in one process."""

    def __init__(self, slots: int, queue: int) -> None:
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="long-read")
        self._slots = asyncio.Semaphore(slots)
        self._queue, self._waiting = queue, 0
        self._project_queue = max(1, queue // PROJECT_SHARE)
        self._shares: defaultdict[int, _Share] = defaultdict(lambda: _Share(max(1, slots // PROJECT_SHARE)))

    @asynccontextmanager
    async def admit(self, project_id: int) -> AsyncIterator[None]:
        """Hold one of the slots of a project in the block. Raises Busy."""
        share = self._shares[project_id]
        share.users += 1
        try:
            async with AsyncExitStack() as held:
                await self._wait(share, held)
                yield
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[project_id]

    async def _wait(self, share: _Share, held: AsyncExitStack) -> None:
        if self._waiting >= self._queue or share.waiting >= self._project_queue:
            raise Busy
        self._waiting, share.waiting = self._waiting + 1, share.waiting + 1
        try:
            async with asyncio.timeout(MAX_WAIT):
                await held.enter_async_context(share.slots)
                await held.enter_async_context(self._slots)
        except TimeoutError:
            raise Busy from None
        finally:
            self._waiting, share.waiting = self._waiting - 1, share.waiting - 1

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run blocking work in a thread. The caller has been admitted."""
        call = partial(contextvars.copy_context().run, work, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


LONG_READS = web.AppKey("long_reads", LongReads)
ADMITTED = web.RequestKey("admitted", bool)


@asynccontextmanager
async def hold_slot(request: web.Request, project: Row) -> AsyncIterator[LongReads]:
    """Hold a slot in the block, the same one if the request has one already. Raises Busy."""
    reads = request.config_dict[LONG_READS]
    if request.get(ADMITTED):
        yield reads
        return
    async with reads.admit(project["project_id"]):
        request[ADMITTED] = True
        try:
            yield reads
        finally:
            request[ADMITTED] = False


async def read_long(request: web.Request, project: Row, work: Callable[..., T], *arguments: Any) -> T:
    """Run blocking work that may take long. Raises Busy."""
    async with hold_slot(request, project) as reads:
        return await reads.run(work, *arguments)


async def read_quickly(request: web.Request, project: Row, work: Callable[..., T], *arguments: Any) -> T:
    """Run blocking work that seldom takes long: without its argument `search` it raises NeedsSearch. Raises Busy."""
    try:
        return await asyncio.to_thread(partial(work, *arguments, search=False))
    except NeedsSearch:
        return await read_long(request, project, partial(work, *arguments, search=True))
