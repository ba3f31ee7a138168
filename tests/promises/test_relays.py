"""Relays killed while they number: the feed stays one dense sequence, the same for all."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.promises.load import load
from tests.promises.parts import Parts, kill, said_by, until

pytestmark = pytest.mark.slow


async def follow(parts: Parts, ended: asyncio.Event) -> list[tuple[int, str]]:
    """The numbers and ids of the feed as a follower sees it, until the log has come to rest."""
    seen: list[tuple[int, str]] = []
    at_rest = False
    while not at_rest:
        at_rest = ended.is_set()
        after = seen[-1][0] if seen else 0
        status, page = await parts.admin.get(f"/v1/events?after={after}&wait=2&limit=1000")
        assert status == 200
        seen += [(event["seq"], event["id"]) for event in page["events"]]
    return seen


async def leading(parts: Parts, relays: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """The living relay that leads, once one does."""
    leaders: list[subprocess.Popen[bytes]] = []

    async def one_leads() -> bool:
        holder = await parts.db.fetchval("select holder from leases where until > now()")
        leaders[:] = [relay for relay in relays if holder is not None and holder in said_by(relay)]
        return bool(leaders)

    await until(one_leads, 15)
    return leaders[0]


async def test_followers_miss_nothing_when_the_leading_relay_is_killed(parts: Parts, tmp_path: Path) -> None:
    for name in ("serve", "work"):
        parts.start(name)
    relays = [parts.start("relay"), parts.start("relay")]
    await parts.ready()
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        followers = [group.create_task(follow(parts, ended)) for _ in range(2)]
        async with load(parts, tmp_path / "clone", pause=0.05) as people:
            for _ in range(5):
                leader = await leading(parts, relays)
                await kill(leader)
                relays.remove(leader)
                relays.append(parts.start("relay"))
            await leading(parts, relays)
        await people.nothing_is_lost()
        ended.set()
    first, second = (follower.result() for follower in followers)
    assert first == second
    in_order = [str(row["id"]) for row in await parts.db.fetch("select id from events order by txid, position")]
    assert first == list(enumerate(in_order, start=1))
    assert (people.unavailable, people.unanswered) == (0, 0)
