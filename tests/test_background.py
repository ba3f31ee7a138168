"""Background tasks end with their block, and their errors reach it."""

import asyncio
from typing import Any

import asyncpg
import pytest

from app.background import end_task, in_background, insist, repeat


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_background_task_ends_with_the_block() -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def note_task_and_wait() -> None:
        tasks.append(asyncio.current_task())
        await for_ever()

    async with in_background(note_task_and_wait()):
        await asyncio.sleep(0)
        [task] = tasks
        assert task is not None
        assert not task.done()
    assert task.cancelled()


async def test_an_error_in_a_background_task_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("mistaken")

    with pytest.raises(ValueError, match="mistaken"):
        async with in_background(fail()):
            await asyncio.sleep(0)


async def test_a_cancellation_during_the_end_of_the_block_is_not_lost() -> None:
    ending, go_on = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await for_ever()
        finally:
            ending.set()
            await go_on.wait()

    async def run_block() -> None:
        async with in_background(slow_to_end()):
            await asyncio.sleep(0)

    task = asyncio.create_task(run_block())
    await ending.wait()
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_step_is_insisted_on_while_the_database_is_away() -> None:
    errors: list[Exception] = [asyncpg.CannotConnectNowError("starting up"), ConnectionRefusedError()]

    async def step() -> None:
        if errors:
            raise errors.pop()

    await insist(step, 5, interval=0.01)
    assert not errors


@pytest.mark.parametrize(("error", "seconds"), [(ValueError("a bug"), 60), (ConnectionRefusedError(), 0.05)])
async def test_an_error_of_another_kind_or_that_lasts_is_raised(error: Exception, seconds: float) -> None:
    async def step() -> None:
        raise error

    async with asyncio.timeout(5):
        with pytest.raises(type(error)):
            await insist(step, seconds, interval=0.01)


async def test_a_step_that_a_library_cancels_does_not_end_its_loop() -> None:
    calls, again = 0, asyncio.Event()

    async def step() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise asyncio.CancelledError
        again.set()

    loop = asyncio.create_task(repeat("test", step, 0.0))
    async with asyncio.timeout(5):
        await again.wait()
    await end_task(loop)
    assert loop.cancelled()


async def test_a_loop_that_must_not_pause_for_long_is_repeated_at_once() -> None:
    calls, often = 0, asyncio.Event()

    async def fail() -> None:
        nonlocal calls
        calls += 1
        if calls == 10:
            often.set()
        raise ValueError("mistaken")

    async with in_background(repeat("test", fail, 0.0, max_pause=0.0)), asyncio.timeout(5):
        await often.wait()
