"""Background tasks that are bound to a block, and loops that survive the failure of a step."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn

from app.database import is_unavailable
from app.logs import log

MAX_PAUSE = 60.0  # seconds
CANCEL_INTERVAL = 0.5  # seconds


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended.

    It is cancelled again until it has: libraries turn a cancellation into another error now and then, which a loop that
    survives errors then survives.
    """
    while not task.done():
        task.cancel()
        # `await task` would raise the same CancelledError for the task's cancellation as for our own.
        await asyncio.wait([task], timeout=CANCEL_INTERVAL)


def growing_pause(failures: int) -> float:
    """The seconds until the next attempt after this many failures in a row: 1, 2, 4 and so on, up to MAX_PAUSE."""
    return min(2.0 ** min(failures, 30), MAX_PAUSE)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def repeat(
    name: str,
    step: Callable[[], Awaitable[Any]],
    interval: float,
    woken: asyncio.Event | None = None,
    *,
    max_pause: float = MAX_PAUSE / 4,
) -> NoReturn:
    """Run a step again and again, until cancelled: every `interval` seconds, or earlier if `woken` is set.

    A step that fails is logged and tried again after a growing pause of up to `max_pause` seconds, so no error ends the
    loop or makes it busy.
    """
    failures = 0
    while True:
        try:
            await step()
        except (Exception, asyncio.CancelledError) as error:
            if _is_cancelled():  # otherwise a library has raised CancelledError for a reason of its own
                raise
            trace = failures == 0 and not is_unavailable(error)
            log.warning("step failed", loop=name, error=type(error).__name__, failures=failures, exc_info=trace)
            await asyncio.sleep(min(max(interval, growing_pause(failures) / 4), max_pause))
            failures += 1
            continue
        failures = 0
        if woken is None:
            await asyncio.sleep(interval)
            continue
        # Not wait_for, which before Python 3.12 can lose a cancellation that arrives together with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(interval):
                await woken.wait()
        woken.clear()


async def insist(step: Callable[[], Awaitable[Any]], seconds: float, interval: float = 0.25) -> Any:
    """Run a step and return its result; if the database is unavailable, again every `interval` seconds.

    Raises what the step raises otherwise, or after `seconds`.
    """
    until = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await step()
        except Exception as error:
            if not is_unavailable(error) or asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(interval)


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine in the background for the length of a block; it has ended when the block is left.

    If it fails by itself, its error is raised at the end of the block.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end_task(task)
    if not task.cancelled():
        task.result()
