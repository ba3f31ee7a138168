"""Fixtures for commands that wait for tasks."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from events.event import StoredEvent
from events.record import NewEvent
from workers.reactions import REACTIONS, WorkerContext


@pytest.fixture
async def gate() -> AsyncIterator[asyncio.Event]:
    """Repositories are not created before this event is set."""
    reaction, gate = REACTIONS["create-repository"], asyncio.Event()
    original = reaction.work

    async def work(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        ctx.progress.report("copy", 40)
        await gate.wait()
        return await original(ctx, cause)

    object.__setattr__(reaction, "work", work)
    yield gate
    gate.set()
    object.__setattr__(reaction, "work", original)
