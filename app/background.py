"""Background tasks that are bound to a block."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine in the background for the length of a block; it has ended when the block is left.

    If it fails by itself, its error is raised at the end of the block.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        # `await task` would raise the same CancelledError for the task's cancellation as for our own.
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
