"""Waiting for a task without holding a database connection or a thread."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import UUID

from aiohttp import web

from app.database import Row
from app.errors import NotFound, Subject
from app.http.keys import DATABASE, HELD_KEY, TAIL
from app.queries import tasks


async def wait_for_task(request: web.Request, task_id: UUID) -> Row:
    """Return the task once it has ended, or as it stands when this process shuts down. Raises NotFound."""

    async def find_task() -> Row:
        task = await tasks.find(request.config_dict[DATABASE], task_id)
        if task is None:
            raise NotFound(Subject.TASK)
        return task

    # A client with an idempotency key may hang up and ask for the response later, so it must not be cancelled.
    with nullcontext() if HELD_KEY in request else while_connected(request):
        return await wait_for_change(request, task_id, find_task)


async def wait_for_change(
    request: web.Request,
    task_id: UUID,
    find_task: Callable[[], Awaitable[Row]],
    seconds: float | None = None,
    *,
    after: int | None = None,
) -> Row:
    """Return the task once it has ended or its `seq` is past `after`, or as it stands when the time is up.

    `find_task` is called whenever the task may have changed; an exception that it raises ends the wait.
    """
    tail = request.config_dict[TAIL]
    deadline = None if seconds is None else time.monotonic() + seconds
    with tail.watch_command(task_id) as news:
        in_time = seconds != 0
        while True:
            news.clear()
            task = await find_task()
            changed = task["status"] in tasks.FINAL or (after is not None and task["seq"] > after)
            if changed or tail.closing or not in_time:
                return task
            in_time = await _wait_for_news(news, deadline)


async def _wait_for_news(news: asyncio.Event, deadline: float | None) -> bool:
    """Wait for the event; False if the deadline passes first."""
    try:
        async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.monotonic())):
            await news.wait()
    except TimeoutError:
        return False
    return True


@contextmanager
def while_connected(request: web.Request) -> Iterator[None]:
    """Cancel the block if the client hangs up meanwhile; for blocks that only wait."""
    connection: Any = request.protocol
    if connection.transport is None:  # the client has hung up before
        raise asyncio.CancelledError
    connection.waiting = True
    try:
        yield
    finally:
        connection.waiting = False
