"""Relays killed while they number events: the feed stays one dense sequence, the same for all readers."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.promises.load import run_load
from tests.promises.parts import Parts, kill, read_log, wait_until

pytestmark = pytest.mark.slow


async def follow(parts: Parts, ended: asyncio.Event) -> list[tuple[int, str]]:
    """Follow the feed until it has ended, and return the numbers and ids of its events."""
    seen: list[tuple[int, str]] = []
    finished = False
    while not finished:
        finished = ended.is_set()
        after = seen[-1][0] if seen else 0
        status, page = await parts.admin.get(f"/v1/events?after={after}&wait=2&limit=1000")
        assert status == 200
        seen += [(event["seq"], event["id"]) for event in page["events"]]
    return seen


async def wait_for_leader(parts: Parts, relays: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Wait until one of the relays leads, and return it."""
    leaders: list[subprocess.Popen[bytes]] = []

    async def one_leads() -> bool:
        holder = await parts.db.fetchval("select holder from leases where name = 'relay' and until > now()")
        leaders[:] = [relay for relay in relays if holder is not None and holder in read_log(relay)]
        return bool(leaders)

    await wait_until(one_leads, 15)
    return leaders[0]


async def test_followers_miss_nothing_when_the_leading_relay_is_killed(parts: Parts, tmp_path: Path) -> None:
    for name in ("serve", "work"):
        parts.start(name)
    relays = [parts.start("relay"), parts.start("relay")]
    await parts.wait_until_ready()
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        followers = [group.create_task(follow(parts, ended)) for _ in range(2)]
        async with run_load(parts, tmp_path / "clone", pause=0.05) as load:
            for _ in range(5):
                leader = await wait_for_leader(parts, relays)
                await kill(leader)
                relays.remove(leader)
                relays.append(parts.start("relay"))
            await wait_for_leader(parts, relays)
        await load.check_nothing_is_lost()
        ended.set()
    first, second = (follower.result() for follower in followers)
    assert first == second
    in_order = [str(row["id"]) for row in await parts.db.fetch("select id from events order by txid, position")]
    assert first == list(enumerate(in_order, start=1))
    assert (load.unavailable, load.unanswered) == (0, 0)
