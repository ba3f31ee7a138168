"""Processes killed during delivery: every event arrives, in order within its lane, and is recorded as delivered."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from app.config import Settings
from app.ops import embedded
from tests.processes import restart_service, start_service
from tests.promises.load import run_load
from tests.promises.parts import Parts, kill, open_parts, wait_until
from tests.receiver import ReceivedRequest, Receiver, run_receiver

pytestmark = pytest.mark.slow


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[embedded.Service]:
    """A Valkey of its own, which the test kills and empties."""
    service = await start_service(embedded.start_valkey, tmp_path)
    yield service
    await asyncio.to_thread(service.stop)


@pytest.fixture
async def parts(own_settings: Settings, valkey: embedded.Service) -> AsyncIterator[Parts]:
    async with open_parts(own_settings.model_copy(update={"lease": 2.0, "redis_url": valkey.url})) as parts:
        yield parts


async def subscribe(parts: Parts, receiver: Receiver, path: str, **fields: Any) -> Any:
    status, subscription = await parts.admin.json("POST", "/v1/subscriptions", {"url": receiver.url + path, **fields})
    assert status == 201, subscription
    return subscription


async def read_feed(parts: Parts, query: str = "") -> list[Any]:
    """Read all events except those of subscriptions."""
    events: list[Any] = []
    while True:
        after = events[-1]["seq"] if events else 0
        _, page = await parts.admin.get(f"/v1/events?limit=1000&after={after}{query}")
        events += page["events"]
        if page["next"] >= page["head"]:
            return [event for event in events if not event["type"].startswith("subscription.")]


async def check_all_delivered(parts: Parts) -> None:
    async def nothing_waits() -> bool:
        waiting = (
            "select (select count(*) from unnumbered) + (select count(*) from deliveries where status = 'waiting')"
        )
        return bool(await parts.db.fetchval(waiting) == 0)

    await wait_until(nothing_waits, 60)
    statuses = await parts.db.fetch("select distinct status from deliveries")
    assert [row["status"] for row in statuses] == ["delivered"]
    assert await parts.db.fetchval("select count(*) from lanes") == 0


def group_by_lane(got: list[ReceivedRequest]) -> dict[int, list[int]]:
    """Map each project to the event numbers in the order of arrival, repetitions included."""
    lanes: dict[int, list[int]] = {}
    for each in got:
        event = each.json["data"]
        lanes.setdefault(event["project"]["id"] if event["project"] else 0, []).append(event["seq"])
    return lanes


async def check_arrivals(parts: Parts, receiver: Receiver, path: str, subscription: Any) -> None:
    """Check that every event since the subscription's creation arrived at this path."""
    got = [each for each in receiver.received if each.path == path]
    _, page = await parts.admin.get("/v1/events?types=subscription.created")
    [created] = [event["seq"] for event in page["events"] if event["data"]["subscription_id"] == subscription["id"]]
    expected = [event["id"] for event in await read_feed(parts) if event["seq"] > created]
    assert set(expected) <= {each.json["data"]["id"] for each in got}
    assert len(expected) > 50


async def test_every_event_arrives_in_order_whatever_is_killed(
    parts: Parts, valkey: embedded.Service, tmp_path: Path
) -> None:
    running = {name: parts.start(name) for name in ("serve", "relay", "work")}
    await parts.wait_until_ready()
    async with run_receiver() as receiver:
        ordered = await subscribe(parts, receiver, "/ordered")
        unordered = await subscribe(parts, receiver, "/unordered", ordered=False)

        async def kill_worker(got: ReceivedRequest) -> web.StreamResponse:
            running["work"].kill()
            return web.Response()

        async with run_load(parts, tmp_path / "clone", pause=0.05) as load:
            for _ in range(2):
                receiver.responses.append(kill_worker)
                await asyncio.to_thread(running["work"].wait, 20)
                running["work"] = parts.start("work")
                for name in ("relay", "serve"):
                    await asyncio.sleep(0.3)
                    await kill(running[name])
                    running[name] = parts.start(name)
                await parts.wait_until_ready()
                valkey.process.kill()
                await asyncio.to_thread(valkey.process.wait, 20)
                await asyncio.sleep(0.3)
                await restart_service(valkey)
                await asyncio.sleep(0.3)
                async with Redis.from_url(valkey.url) as redis:
                    await redis.flushall()
        await load.check_nothing_is_lost()
        await check_all_delivered(parts)
    await check_arrivals(parts, receiver, "/hook/ordered", ordered)
    await check_arrivals(parts, receiver, "/hook/unordered", unordered)
    in_order = [each for each in receiver.received if each.path == "/hook/ordered"]
    for numbers in group_by_lane(in_order).values():
        assert numbers == sorted(numbers)  # a repetition comes before the next event
    assert len(receiver.received) >= len({each.id for each in receiver.received}) + 2
