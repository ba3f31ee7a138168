"""Lanes: their order, their workers and their end."""

import asyncio
import random
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from app.stores import deliveries as store
from tests.conftest import Client, Forge
from tests.receiver import ReceivedRequest, Receiver
from tests.subscriptions import (
    has_no_lanes,
    list_deliveries,
    open_issue,
    run_another_worker,
    subscribe,
    wait_for,
    wait_for_delivery,
)
from workers import delivery, queue
from workers.relay import Relay

pytestmark = pytest.mark.usefixtures("sent_at_once")
FORGOTTEN = """
    select count(*)
    from   deliveries
    left join lanes using (subscription_id, lane)
    left join subscriptions using (subscription_id)
    where  deliveries.status = 'waiting' and lanes.due_at is null and subscriptions.status is distinct from 'inactive'
"""


@pytest.mark.usefixtures("retried_at_once")
async def test_a_lane_keeps_its_order_and_does_not_delay_another_lane(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lane fails until the other has delivered everything."""
    monkeypatch.setattr(delivery, "SCHEDULE", (0.1,) * 1000)
    await nethack.post("/new", name="angband", description="d")
    status, _ = await forge.admin.json("POST", "/v1/subscriptions", {"url": receiver.url, "types": ["issue.opened"]})
    assert status == 201

    def titles() -> list[str]:
        return [got.json["data"]["data"]["title"] for got in receiver.received]

    async def refuse(got: ReceivedRequest) -> web.StreamResponse:
        theirs = got.json["data"]["project"]["path"] == "nethack"
        return web.Response(status=503 if theirs and "a2" not in titles() else 200)

    receiver.responses = [refuse] * 1000
    for n in range(3):
        await open_issue(nethack, title=f"n{n}")
        await open_issue(nethack, "angband", title=f"a{n}")
    async with asyncio.timeout(20):
        while "n2" not in titles():
            await asyncio.sleep(0.02)
    assert [title for title in titles() if title[0] == "a"] == ["a0", "a1", "a2"]
    assert sorted(set(titles()), key=titles().index)[-2:] == ["n1", "n2"]


@pytest.mark.usefixtures("retried_at_once")
async def test_an_unordered_delivery_does_not_wait_for_a_failed_one(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SCHEDULE", (1000.0,) * 10)
    subscription = await subscribe(nethack, receiver, types=["issue.*"], ordered=False)
    receiver.responses = [503]
    await open_issue(nethack, title="one")
    await receiver.wait_for(1)
    await open_issue(nethack, title="two")
    await wait_for_delivery(nethack, subscription, status="delivered")
    assert [got.json["data"]["data"]["title"] for got in receiver.received] == ["one", "two"]
    assert [each["status"] for each in await list_deliveries(nethack, subscription)] == ["delivered", "waiting"]


async def test_two_workers_never_send_the_same_lane_at_once(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    """The endpoint takes longer than a lease, which the first worker renews."""
    await subscribe(nethack, receiver, types=["issue.*"])
    at_once = most = 0

    async def slow(got: ReceivedRequest) -> web.StreamResponse:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(2.5 * forge.settings.lease)
        at_once -= 1
        return web.Response()

    receiver.responses = [slow, slow]
    async with run_another_worker(forge):
        await open_issue(nethack)
        await open_issue(nethack)
        await receiver.wait_for(2)
    assert most == 1
    assert len({got.id for got in receiver.received}) == 2


@pytest.mark.own_forge
async def test_a_busy_lane_yields_to_another_lane(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MAX_LANES", 1)
    monkeypatch.setattr(delivery, "BATCH_SIZE", 2)
    await subscribe(nethack, receiver, url=receiver.url + "/busy", types=["issue.*"])
    await subscribe(nethack, receiver, url=receiver.url + "/other", types=["issue.*"])
    forge.worker.cancel()
    await asyncio.wait([forge.worker])
    for _ in range(6):
        await open_issue(nethack)
    await forge.numbered()
    async with run_another_worker(forge):
        await receiver.wait_for(12)
    assert {got.path for got in receiver.received[:4]} == {"/hook/busy", "/hook/other"}


async def test_changes_of_a_subscription_apply_to_a_busy_lane(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "CACHE_SECONDS", 0.0)
    subscription = await subscribe(nethack, receiver, types=["issue.*"])

    async def stop(got: ReceivedRequest) -> web.StreamResponse:
        status, _ = await nethack.json("PATCH", f"/v1/subscriptions/{subscription['id']}", {"active": False})
        assert status == 200
        return web.Response()

    gate = asyncio.Event()

    async def wait(got: ReceivedRequest) -> web.StreamResponse:
        await gate.wait()
        return await stop(got)

    receiver.responses = [wait]
    for _ in range(3):
        await open_issue(nethack)
    await nethack.forge.numbered()
    gate.set()
    await wait_for_delivery(nethack, subscription, status="waiting", next_attempt_at=None)
    assert len(receiver.received) == 1
    assert (await nethack.json("PATCH", f"/v1/subscriptions/{subscription['id']}", {"active": True}))[0] == 200
    await receiver.wait_for(3)


async def test_finished_lanes_are_deleted(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    await subscribe(nethack, receiver, types=["issue.*"], ordered=False)
    await subscribe(nethack, receiver, types=["issue.*"])
    for _ in range(5):
        await open_issue(nethack)
    await receiver.wait_for(10)
    await wait_for(lambda: has_no_lanes(forge))


async def test_a_lane_that_was_not_woken_is_found_by_the_relay(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that activated the subscription died before it woke its lanes."""
    subscription = await subscribe(nethack, receiver, active=False)
    await nethack.json("POST", f"/v1/subscriptions/{subscription['id']}/ping")
    await wait_for(lambda: has_no_lanes(forge))

    async def died(*_: Any) -> None:
        pass

    with monkeypatch.context() as patch:
        patch.setattr(store, "wake", died)
        assert (await nethack.json("PATCH", f"/v1/subscriptions/{subscription['id']}", {"active": True}))[0] == 200
    assert await forge.db.fetchval(FORGOTTEN) == 1
    relay = Relay(forge.db, queue.connect(forge.settings.required_redis_url()))
    await relay.tidy()
    await relay.redis.aclose()
    await wait_for_delivery(nethack, subscription, status="delivered")
    assert await forge.db.fetchval(FORGOTTEN) == 0


async def test_an_endpoint_that_recovers_gets_the_deliveries_of_all_lanes(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the daily probe of one lane succeeds, the other lanes do not wait for theirs."""
    subscription = await subscribe(nethack, receiver, types=["issue.*"], ordered=False)
    receiver.responses = [503] * 3
    for _ in range(3):
        await open_issue(nethack)
    await receiver.wait_for(3)
    await wait_for(lambda: _all_tried(forge, 3))
    monkeypatch.setattr(delivery, "FAILURES_TO_OPEN", 1)
    await forge.db.execute("update circuits set failing_since = now() - interval '121 hours', open_until = now()")
    receiver.responses = [503]
    await forge.db.execute("update lanes set due_at = now() + interval '1 day'")
    await forge.db.execute("update lanes set due_at = now() where lane = (select min(lane) from lanes)")
    async with asyncio.timeout(20):
        while (await nethack.get(f"/v1/subscriptions/{subscription['id']}"))[1]["status"] != "paused":
            await asyncio.sleep(0.02)
    await forge.db.execute("update circuits set open_until = now()")
    await forge.db.execute("update lanes set due_at = now() where lane = (select min(lane) from lanes)")
    await receiver.wait_for(7)
    await wait_for(lambda: has_no_lanes(forge))


async def _all_tried(forge: Forge, count: int) -> bool:
    return bool(await forge.db.fetchval("select count(*) from deliveries where attempts > 0") == count)


async def press_some_button(dice: random.Random, nethack: Client, subscription: Any) -> None:
    here = f"/v1/subscriptions/{subscription['id']}"
    match dice.randrange(5):
        case 0:
            await nethack.json("POST", here + "/ping")
        case 1:
            for row in (await list_deliveries(nethack, subscription))[:3]:
                await nethack.json("POST", f"/v1/deliveries/{row['id']}/redeliver")
        case 2:
            await nethack.json("POST", here + "/replay", {"after": dice.randrange(20)})
        case 3:
            await nethack.json("PATCH", here, {"active": dice.random() < 0.5})
        case 4:
            await open_issue(nethack, dice.choice(["nethack", "angband"]))


async def test_no_delivery_is_lost_whatever_happens_to_subscriptions(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, an unreliable endpoint, and an owner who uses all endpoints of the API at random."""
    for name, value in (
        ("SCHEDULE", (0.02,) * 10),
        ("OPEN_SECONDS", 0.02),
        ("MAX_OPEN_SECONDS", 0.05),
        ("BATCH_SIZE", 3),
    ):
        monkeypatch.setattr(delivery, name, value)
    dice = random.Random(7)
    await nethack.post("/new", name="angband", description="d")
    subscriptions = [await subscribe(nethack, receiver, project=name, ordered=ordered, types=["issue.*"])
             for name in ("nethack", "angband") for ordered in (True, False)]  # fmt: skip

    async def moody(got: ReceivedRequest) -> web.StreamResponse:
        await asyncio.sleep(dice.random() * 0.05)
        return web.Response(status=dice.choice([200, 200, 500]))

    async with run_another_worker(forge):
        for _ in range(30):
            receiver.responses += [moody] * 10
            await asyncio.gather(*(press_some_button(dice, nethack, subscription) for subscription in subscriptions))
            assert await forge.db.fetchval(FORGOTTEN) == 0
        receiver.responses.clear()
        for subscription in subscriptions:
            status, _ = await nethack.json("PATCH", f"/v1/subscriptions/{subscription['id']}", {"active": True})
            assert status == 200
            await store.wake(forge.db, UUID(subscription["id"]))
        await forge.numbered()
        await wait_for(lambda: has_no_lanes(forge))
    assert await forge.db.fetchval("select count(*) from deliveries where status not in ('delivered', 'failed')") == 0
