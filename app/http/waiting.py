"""Wait for a task without holding a connection or a thread."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import UUID

from aiohttp import web

from app.database import Row
from app.errors import NotFound, Subject
from app.http.keys import COMMAND_ID, DATABASE, TAIL
from app.queries import tasks


async def wait_for_task(request: web.Request, task_id: UUID) -> Row:
    """The task once it has ended, or as it stands when this process is about to."""

    async def look() -> Row:
        task = await tasks.find(request.config_dict[DATABASE], task_id)
        if task is None:
            raise NotFound(Subject.TASK)
        return task

    # Whoever brought a key may hang up and come back for the answer.
    with nullcontext() if COMMAND_ID in request else while_connected(request):
        return await wait_until_moved(request, task_id, look)


async def wait_until_moved(
    request: web.Request,
    task_id: UUID,
    look: Callable[[], Awaitable[Row]],
    seconds: float | None = None,
    *,
    after: int | None = None,
) -> Row:
    """The task once it has ended or moved past `after`, or as it stands when the time is up.

    `look` is asked for it whenever there may be something new, and raises what ends the waiting.
    """
    tail = request.config_dict[TAIL]
    deadline = None if seconds is None else time.monotonic() + seconds
    with tail.watch_command(task_id) as news:
        heard = seconds != 0
        while True:
            news.clear()
            task = await look()
            moved = task["status"] in tasks.FINAL or (after is not None and task["seq"] > after)
            if moved or tail.closing or not heard:
                return task
            heard = await _wait_for_news(news, deadline)


async def _wait_for_news(news: asyncio.Event, deadline: float | None) -> bool:
    try:
        async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.monotonic())):
            await news.wait()
    except TimeoutError:
        return False
    return True


@contextmanager
def while_connected(request: web.Request) -> Iterator[None]:
    """A block that only waits: it is cancelled when its client hangs up."""
    connection: Any = request.protocol
    connection.waiting = True
    try:
        yield
    finally:
        connection.waiting = False
