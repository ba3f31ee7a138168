"""Who is woken by what goes by, and who sleeps on."""

import asyncio
from unittest.mock import Mock
from uuid import uuid4

import pytest

from app.queries.feed import FeedFilter
from app.tail import REMEMBERED, Tail
from events.log import Passed


class Log(Tail):
    """A tail whose log is written by the test."""

    def __init__(self) -> None:
        super().__init__(Mock(), Mock())
        self.written: list[Passed] = []

    async def _passed(self) -> list[Passed]:
        return [each for each in self.written if each.seq > self.head]

    async def write(self, type: str, project_id: int | None = None, actor: str = "alice") -> None:
        self.written.append(Passed(len(self.written) + 1, type, project_id, actor, uuid4()))
        await self._advance()


ISSUES = FeedFilter(types=["issue.*"])


EVERY = FeedFilter(types=["issue.opened"], project_id=7, actor="alice")


@pytest.mark.parametrize("wanted", [FeedFilter(), ISSUES, FeedFilter(project_id=7), FeedFilter(actor="alice"), EVERY])
async def test_what_is_wanted_wakes_and_nothing_else_does(wanted: FeedFilter) -> None:
    log = Log()
    waiting = asyncio.create_task(log.past(0, 20, wanted))
    await asyncio.sleep(0)
    if wanted != FeedFilter():
        await log.write("project.created", 8, "bob")
    await asyncio.sleep(0)
    assert not waiting.done()
    seq = len(log.written)
    await log.write("issue.opened", 7)
    assert await waiting == (True, seq)


async def test_a_token_that_ends_wakes_everybody() -> None:
    log = Log()
    waiting = [asyncio.create_task(log.past(0, 20, wanted)) for wanted in (ISSUES, FeedFilter(project_id=7))]
    await asyncio.sleep(0)
    await log.write("token.revoked")
    assert await asyncio.gather(*waiting) == [(True, 0), (True, 0)]


async def test_when_the_time_is_up_it_is_known_how_far_nothing_came() -> None:
    log = Log()
    waiting = asyncio.create_task(log.past(0, 0.05, ISSUES))
    await asyncio.sleep(0)
    await log.write("project.created", 7)
    assert await waiting == (False, 1)


async def test_what_comes_as_the_time_runs_out_is_not_passed_over() -> None:
    """The clock has struck, and before the waiter can stir its event goes by."""
    log = Log()
    waiting = asyncio.create_task(log.past(0, 0.02, ISSUES))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    struck = asyncio.Event()

    def late() -> None:
        log.written.append(Passed(1, "issue.opened", 7, "alice", uuid4()))
        log._recent.append(log.written[0])
        log.head = 1
        log._wake(log.written[0])
        struck.set()

    loop.call_later(0.02, late)
    await struck.wait()
    assert await waiting in [(True, 0), (False, 0)]


async def test_what_has_gone_by_meanwhile_is_found_and_what_is_forgotten_is_looked_up() -> None:
    log = Log()
    for _ in range(3):
        await log.write("project.created", 7)
    assert await log.past(1, 0, ISSUES) == (False, 3)
    await log.write("issue.opened", 7)
    assert await log.past(1, 0, ISSUES) == (True, 3)
    log._recent.clear()
    assert await log.past(1, 0, ISSUES) == (True, 1)
    assert log._recent.maxlen == REMEMBERED


async def test_crowds_that_have_gone_home_are_forgotten() -> None:
    log = Log()
    waiting = [asyncio.create_task(log.past(0, 20, FeedFilter(project_id=n))) for n in range(10)]
    await asyncio.sleep(0)
    await log.write("issue.opened", 3)
    assert await waiting[3] == (True, 0)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert log._crowds == {}


async def test_a_process_that_ends_answers_whoever_waits() -> None:
    log = Log()
    waiting = asyncio.create_task(log.past(0, 20, ISSUES))
    await asyncio.sleep(0)
    log.close()
    assert await waiting == (False, 0)
