"""What goes on beside something else ends with it, and hides nothing from it."""

import asyncio

import pytest

from app.background import in_background


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_it_ends_with_the_block() -> None:
    before = asyncio.all_tasks()
    async with in_background(for_ever()):
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before


async def test_a_mistake_in_it_comes_out() -> None:
    async def mistaken() -> None:
        raise ValueError("mistaken")

    with pytest.raises(ValueError, match="mistaken"):
        async with in_background(mistaken()):
            await asyncio.sleep(0)


async def test_whoever_is_cancelled_while_it_ends_is_cancelled() -> None:
    ending, go_on = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await for_ever()
        finally:
            ending.set()
            await go_on.wait()

    async def somebody() -> None:
        async with in_background(slow_to_end()):
            await asyncio.sleep(0)

    task = asyncio.create_task(somebody())
    await ending.wait()
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
