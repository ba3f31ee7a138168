"""Who is woken by what goes by, and who sleeps on."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from app.feed.tail import MAX_RECENT, Tail, open_tail
from app.queries.feed import FeedFilter
from events.log import LogEntry
from tests.conftest import Client, Forge

ISSUES = FeedFilter(types=["issue.*"])


@pytest.fixture
async def tail(nethack: Client) -> AsyncIterator[Tail]:
    """A tail of this forge's log, in which nothing goes on."""
    await nethack.forge.idle()
    redis = Redis.from_url(nethack.forge.settings.required_redis_url())
    async with open_tail(nethack.forge.db, redis) as tail:
        yield tail
    await redis.aclose()


async def caught_up(tail: Tail, forge: Forge) -> int:
    """The head of the log, which the tail has come to."""
    await forge.idle()
    head = await forge.numbered()
    async with asyncio.timeout(10):
        while tail.head < head:
            await asyncio.sleep(0.01)
    return head


async def project(owner: Client, name: str) -> int:
    assert (await owner.post("/new", name=name, description="A game"))[0] == 200
    return int((await owner.pagure(f"/{name}"))[1]["id"])


async def issue(author: Client, repo: str = "nethack") -> None:
    assert (await author.post(f"/{repo}/new_issue", title="Crash", issue_content="Boom"))[0] == 200


@pytest.mark.parametrize("which", ["type", "project", "actor", "all of it"])
async def test_what_is_wanted_wakes_and_nothing_else_does(which: str, tail: Tail, nethack: Client) -> None:
    number = (await nethack.pagure("/nethack"))[1]["id"]
    wanted = {
        "type": ISSUES,
        "project": FeedFilter(project_id=number),
        "actor": FeedFilter(actor="alice"),
        "all of it": FeedFilter(types=["issue.opened"], project_id=number, actor="alice"),
    }[which]
    bob = await nethack.forge.user("bob")
    before = await caught_up(tail, nethack.forge)
    waiting = asyncio.create_task(tail.wait_past(before, 20, wanted))
    await project(bob, "angband")
    seq = await caught_up(tail, nethack.forge)
    assert seq > before
    assert not waiting.done()
    await issue(nethack)
    assert await waiting == (True, seq)


async def test_whoever_wants_everything_is_woken_by_anything(tail: Tail, nethack: Client) -> None:
    waiting = asyncio.create_task(tail.wait_past(tail.head, 20, FeedFilter()))
    before = tail.head
    await issue(nethack)
    assert await waiting == (True, before)


async def test_a_token_that_ends_wakes_everybody(tail: Tail, nethack: Client) -> None:
    _, issued = await nethack.json("POST", "/v1/users/alice/tokens", {"description": "short"})
    before = await caught_up(tail, nethack.forge)
    waiting = [
        asyncio.create_task(tail.wait_past(before, 20, wanted)) for wanted in (ISSUES, FeedFilter(project_id=10**6))
    ]
    await asyncio.sleep(0)
    assert (await nethack.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
    assert await asyncio.gather(*waiting) == [(True, before), (True, before)]


async def test_when_the_time_is_up_it_is_known_how_far_nothing_came(tail: Tail, nethack: Client) -> None:
    waiting = asyncio.create_task(tail.wait_past(tail.head, 2, ISSUES))
    await project(nethack, "angband")
    seq = await caught_up(tail, nethack.forge)
    assert await waiting == (False, seq)


async def test_what_comes_as_the_time_runs_out_is_not_passed_over(tail: Tail, nethack: Client) -> None:
    """The clock has struck, and before the waiter can stir its event goes by."""
    before = tail.head
    waiting = asyncio.create_task(tail.wait_past(before, 0.02, ISSUES))
    await asyncio.sleep(0)
    struck = asyncio.Event()

    def late() -> None:
        passed = LogEntry(before + 1, "issue.opened", 7, "alice", uuid4())
        tail._recent.append(passed)
        tail.head = passed.seq
        tail._wake(passed)
        struck.set()

    asyncio.get_running_loop().call_later(0.02, late)
    await struck.wait()
    assert await waiting in [(True, before), (False, before)]


async def test_what_has_gone_by_meanwhile_is_found_and_what_is_forgotten_is_looked_up(
    tail: Tail, nethack: Client
) -> None:
    before = tail.head
    await project(nethack, "angband")
    seq = await caught_up(tail, nethack.forge)
    assert await tail.wait_past(before, 0, ISSUES) == (False, seq)
    await issue(nethack)
    await caught_up(tail, nethack.forge)
    assert await tail.wait_past(before, 0, ISSUES) == (True, seq)
    tail._recent.clear()
    assert await tail.wait_past(before, 0, ISSUES) == (True, before)
    assert tail._recent.maxlen == MAX_RECENT


async def test_crowds_that_have_gone_home_are_forgotten(tail: Tail, nethack: Client) -> None:
    number = (await nethack.pagure("/nethack"))[1]["id"]
    before = tail.head
    waiting = [asyncio.create_task(tail.wait_past(before, 20, FeedFilter(project_id=number + n))) for n in range(10)]
    await asyncio.sleep(0)
    await issue(nethack)
    assert await waiting[0] == (True, before)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert tail._groups == {}


async def test_a_process_that_ends_answers_whoever_waits(tail: Tail) -> None:
    waiting = asyncio.create_task(tail.wait_past(tail.head, 20, ISSUES))
    await asyncio.sleep(0)
    tail.close()
    assert await waiting == (False, tail.head)
