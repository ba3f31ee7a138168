"""What goes on beside something else, and ends with it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """The work goes on for as long as the block runs, and has ended when it is left."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        # Not `await task`: from outside, its being cancelled cannot be told from ours, which must not be lost.
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
