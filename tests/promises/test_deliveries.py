"""Processes killed while events are sent: everything arrives, in order within its lane, and is told to have arrived."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from app.config import Settings
from app.ops import embedded
from tests.promises.load import load
from tests.promises.parts import Parts, in_parts, kill, until
from tests.receiver import ReceivedRequest, Receiver, run_receiver

pytestmark = pytest.mark.slow


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[embedded.Service]:
    """A queue of the test's own, to be ended and emptied."""
    service = await asyncio.to_thread(embedded.valkey, tmp_path)
    yield service
    await asyncio.to_thread(service.stop)


@pytest.fixture
async def parts(own_settings: Settings, valkey: embedded.Service) -> AsyncIterator[Parts]:
    async with in_parts(own_settings.model_copy(update={"lease": 2.0, "redis_url": valkey.url})) as parts:
        yield parts


async def subscribed(parts: Parts, receiver: Receiver, path: str, **command: Any) -> Any:
    status, made = await parts.admin.json("POST", "/v1/subscriptions", {"url": receiver.url + path, **command})
    assert status == 201, made
    return made


async def feed(parts: Parts, query: str = "") -> list[Any]:
    """All of it, but for what is told of subscriptions."""
    events: list[Any] = []
    while True:
        after = events[-1]["seq"] if events else 0
        _, page = await parts.admin.get(f"/v1/events?limit=1000&after={after}{query}")
        events += page["events"]
        if page["next"] >= page["head"]:
            return [event for event in events if not event["type"].startswith("subscription.")]


async def all_sent(parts: Parts) -> None:
    async def nothing_waits() -> bool:
        open = "select (select count(*) from unnumbered) + (select count(*) from deliveries where status = 'waiting')"
        return bool(await parts.db.fetchval(open) == 0)

    await until(nothing_waits, 60)
    statuses = await parts.db.fetch("select distinct status from deliveries")
    assert [row["status"] for row in statuses] == ["delivered"]
    assert await parts.db.fetchval("select count(*) from lanes") == 0


def lanes_of(got: list[ReceivedRequest]) -> dict[int, list[int]]:
    """By project, the numbers as they came, repetitions included."""
    lanes: dict[int, list[int]] = {}
    for each in got:
        event = each.json["data"]
        lanes.setdefault(event["project"]["id"] if event["project"] else 0, []).append(event["seq"])
    return lanes


async def test_every_event_arrives_in_order_whatever_is_killed(
    parts: Parts, valkey: embedded.Service, tmp_path: Path
) -> None:
    running = {name: parts.start(name) for name in ("serve", "relay", "work")}
    await parts.ready()
    async with run_receiver() as receiver:
        ordered = await subscribed(parts, receiver, "/ordered")
        loose = await subscribed(parts, receiver, "/loose", ordered=False)

        async def kill_the_sender(got: ReceivedRequest) -> web.StreamResponse:
            running["work"].kill()
            return web.Response()

        async with load(parts, tmp_path / "clone", pause=0.05) as people:
            for _ in range(2):
                receiver.responses.append(kill_the_sender)
                await asyncio.to_thread(running["work"].wait, 20)
                running["work"] = parts.start("work")
                for name in ("relay", "serve"):
                    await asyncio.sleep(0.3)
                    await kill(running[name])
                    running[name] = parts.start(name)
                await parts.ready()
                valkey.process.kill()
                await asyncio.to_thread(valkey.process.wait, 20)
                await asyncio.sleep(0.3)
                valkey.process = (await asyncio.to_thread(valkey.again)).process
                await asyncio.sleep(0.3)
                async with Redis.from_url(valkey.url) as redis:
                    await redis.flushall()
        await people.nothing_is_lost()
        await all_sent(parts)
    told = {"/hook/ordered": ordered, "/hook/loose": loose}
    for path, made in told.items():
        got = [each for each in receiver.received if each.path == path]
        _, page = await parts.admin.get("/v1/events?types=subscription.created")
        [created] = [event["seq"] for event in page["events"] if event["data"]["subscription_id"] == made["id"]]
        wanted = [event["id"] for event in await feed(parts) if event["seq"] > created]
        assert set(wanted) <= {each.json["data"]["id"] for each in got}
        assert len(wanted) > 50
    in_order = [each for each in receiver.received if each.path == "/hook/ordered"]
    for numbers in lanes_of(in_order).values():
        assert numbers == sorted(numbers)  # what comes once more comes before what is next
    assert len(receiver.received) >= len({each.id for each in receiver.received}) + 2
