"""The tail of the log: which events wake which waiters."""

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
    """A tail of this forge's log, while no work is running."""
    await nethack.forge.idle()
    redis = Redis.from_url(nethack.forge.settings.required_redis_url())
    async with open_tail(nethack.forge.db, redis) as tail:
        yield tail
    await redis.aclose()


async def wait_until_caught_up(tail: Tail, forge: Forge) -> int:
    """Wait until the tail has reached the head of the log, and return the head."""
    await forge.idle()
    head = await forge.numbered()
    async with asyncio.timeout(10):
        while tail.head < head:
            await asyncio.sleep(0.01)
    return head


async def create_project(owner: Client, name: str) -> int:
    assert (await owner.post("/new", name=name, description="A game"))[0] == 200
    return int((await owner.pagure(f"/{name}"))[1]["id"])


async def open_issue(author: Client, repo: str = "nethack") -> None:
    assert (await author.post(f"/{repo}/new_issue", title="Crash", issue_content="Boom"))[0] == 200


@pytest.mark.parametrize("which", ["type", "project", "actor", "all"])
async def test_only_a_matching_event_wakes_a_waiter(which: str, tail: Tail, nethack: Client) -> None:
    number = (await nethack.pagure("/nethack"))[1]["id"]
    wanted = {
        "type": ISSUES,
        "project": FeedFilter(project_id=number),
        "actor": FeedFilter(actor="alice"),
        "all": FeedFilter(types=["issue.opened"], project_id=number, actor="alice"),
    }[which]
    bob = await nethack.forge.user("bob")
    before = await wait_until_caught_up(tail, nethack.forge)
    waiting = asyncio.create_task(tail.wait_past(before, 20, wanted))
    await create_project(bob, "angband")
    seq = await wait_until_caught_up(tail, nethack.forge)
    assert seq > before
    assert not waiting.done()
    await open_issue(nethack)
    assert await waiting == (True, seq)


async def test_any_event_wakes_a_waiter_without_a_filter(tail: Tail, nethack: Client) -> None:
    waiting = asyncio.create_task(tail.wait_past(tail.head, 20, FeedFilter()))
    before = tail.head
    await open_issue(nethack)
    assert await waiting == (True, before)


async def test_a_revoked_token_wakes_every_waiter(tail: Tail, nethack: Client) -> None:
    _, issued = await nethack.json("POST", "/v1/users/alice/tokens", {"description": "short"})
    before = await wait_until_caught_up(tail, nethack.forge)
    waiting = [
        asyncio.create_task(tail.wait_past(before, 20, wanted)) for wanted in (ISSUES, FeedFilter(project_id=10**6))
    ]
    await asyncio.sleep(0)
    assert (await nethack.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
    assert await asyncio.gather(*waiting) == [(True, before), (True, before)]


async def test_a_timeout_reports_up_to_which_number_nothing_matched(tail: Tail, nethack: Client) -> None:
    waiting = asyncio.create_task(tail.wait_past(tail.head, 2, ISSUES))
    await create_project(nethack, "angband")
    seq = await wait_until_caught_up(tail, nethack.forge)
    assert await waiting == (False, seq)


async def test_an_event_that_arrives_at_the_timeout_is_not_skipped(tail: Tail, nethack: Client) -> None:
    """The timeout has fired, and the event arrives before the waiter runs again."""
    before = tail.head
    waiting = asyncio.create_task(tail.wait_past(before, 0.02, ISSUES))
    await asyncio.sleep(0)
    arrived = asyncio.Event()

    def add_entry() -> None:
        entry = LogEntry(before + 1, "issue.opened", 7, "alice", uuid4())
        tail._recent.append(entry)
        tail.head = entry.seq
        tail._wake_groups(entry)
        arrived.set()

    asyncio.get_running_loop().call_later(0.02, add_entry)
    await arrived.wait()
    assert await waiting in [(True, before), (False, before)]


async def test_recent_events_are_searched_and_older_ones_are_left_to_the_log(tail: Tail, nethack: Client) -> None:
    before = tail.head
    await create_project(nethack, "angband")
    seq = await wait_until_caught_up(tail, nethack.forge)
    assert await tail.wait_past(before, 0, ISSUES) == (False, seq)
    await open_issue(nethack)
    await wait_until_caught_up(tail, nethack.forge)
    assert await tail.wait_past(before, 0, ISSUES) == (True, seq)
    tail._recent.clear()
    assert await tail.wait_past(before, 0, ISSUES) == (True, before)
    assert tail._recent.maxlen == MAX_RECENT


async def test_groups_without_waiters_are_forgotten(tail: Tail, nethack: Client) -> None:
    number = (await nethack.pagure("/nethack"))[1]["id"]
    before = tail.head
    waiting = [asyncio.create_task(tail.wait_past(before, 20, FeedFilter(project_id=number + n))) for n in range(10)]
    await asyncio.sleep(0)
    await open_issue(nethack)
    assert await waiting[0] == (True, before)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert tail._groups == {}


async def test_closing_the_tail_answers_every_waiter(tail: Tail) -> None:
    waiting = asyncio.create_task(tail.wait_past(tail.head, 20, ISSUES))
    await asyncio.sleep(0)
    tail.close()
    assert await waiting == (False, tail.head)
