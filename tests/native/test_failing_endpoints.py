"""Endpoints that answer with errors: when they are tried again, and when left alone."""

import asyncio

import pytest
from aiohttp import web

from tests.conftest import Client, Forge
from tests.receiver import Got, Receiver
from tests.subscriptions import deliveries, open_issue, subscribed, until
from workers import delivery

pytestmark = pytest.mark.usefixtures("retried_at_once")


async def test_what_failed_is_sent_again_with_the_same_id(nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"])
    receiver.answers = [500, 404, 302]
    await open_issue(nethack)
    got = await receiver.until(4)
    assert len({each.id for each in got}) == 1
    told = await until(nethack, made, status="delivered")
    assert [(tried["status"], tried["error"]) for tried in told["attempts"]] == [
        (500, "status"), (404, "status"), (302, "status"), (200, None),
    ]  # fmt: skip
    assert (await nethack.get(f"/v1/subscriptions/{made['id']}"))[1]["failures"] == 0


async def test_a_failing_endpoint_is_paused_by_the_days_and_wakes_up_again(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"])
    receiver.answers = [503] * 1000
    await open_issue(nethack)
    await receiver.until(2)
    await forge.db.execute("update circuits set failing_since = now() - interval '121 hours'")
    async with asyncio.timeout(20):
        while (found := (await nethack.get(f"/v1/subscriptions/{made['id']}"))[1])["status"] != "paused":
            await asyncio.sleep(0.02)
    assert found["reason"] == "The endpoint has failed for five days; it is tried once a day."
    _, feed = await nethack.get("/v1/events?types=subscription.changed")
    assert feed["events"][-1]["data"]["changed"]["status"] == "paused"
    await open_issue(nethack, title="meanwhile")
    receiver.answers = []
    assert (await nethack.json("PATCH", f"/v1/subscriptions/{made['id']}", {"active": True}))[0] == 200
    await until(nethack, made, status="delivered")
    assert (await nethack.get(f"/v1/subscriptions/{made['id']}"))[1]["status"] == "active"
    assert receiver.got[-1].said["data"]["data"]["title"] == "meanwhile"


async def test_the_whole_schedule(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt is put off as long as it should be, a fifth more or less; the clock is moved by hand."""
    schedule = [5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 86_400, 118_800]
    monkeypatch.setattr(delivery, "SCHEDULE", schedule)
    made = await subscribed(nethack, receiver, types=["issue.*"])
    receiver.answers = [503] * 11
    await open_issue(nethack)
    for n, pause in enumerate(schedule, 1):
        await receiver.until(n)
        async with asyncio.timeout(20):
            while not await forge.db.fetchval("select 1 from deliveries where attempts = $1", n):
                await asyncio.sleep(0.01)
        left = await forge.db.fetchval("select extract(epoch from due_at - now())::float from lanes")
        assert pause * 0.8 - 5 <= left <= pause * 1.2
        await forge.db.execute("update circuits set open_until = now()")
        await forge.db.execute("update lanes set due_at = now()")
    told = await until(nethack, made, status="failed")
    assert len(told["attempts"]) == 11


async def test_an_endpoint_may_ask_to_be_left_alone(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    async def later(got: Got) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "7000"})

    await subscribed(nethack, receiver, types=["issue.*"])
    receiver.answers = [later]
    await open_issue(nethack)
    await receiver.until(1)
    async with asyncio.timeout(20):
        while not (
            left := await forge.db.fetchval("select extract(epoch from open_until - now())::float from circuits")
        ):
            await asyncio.sleep(0.01)
    assert 6900 < left <= 7000


async def test_nothing_is_sent_to_where_nobody_may_aim(nethack: Client, receiver: Receiver) -> None:
    """These tests allow one address of loopback and no other."""
    url = receiver.url.replace("127.0.0.1", "127.0.0.2")
    made = await subscribed(nethack, receiver, url=url, types=["issue.*"])
    await open_issue(nethack)
    async with asyncio.timeout(20):
        while not (tried := (await until(nethack, made))["attempts"]):
            await asyncio.sleep(0.02)
    assert (tried[0]["status"], tried[0]["error"], tried[0]["response_excerpt"]) == (None, "refused", None)


async def test_a_failing_endpoint_is_left_alone_for_a_while(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many failures in a row nothing is sent, and no attempt is used up, until the circuit closes again."""
    monkeypatch.setattr(delivery, "OPEN", 1000.0)
    monkeypatch.setattr(delivery, "LONGEST_OPEN", 1000.0)
    made = await subscribed(nethack, receiver, types=["issue.*"])
    receiver.answers = [503] * 5
    await open_issue(nethack)
    await receiver.until(5)
    async with asyncio.timeout(20):
        while not await forge.db.fetchval("select 1 from circuits where open_until > now() + interval '900 seconds'"):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    assert len(receiver.got) == 5
    await forge.db.execute("update circuits set open_until = now()")
    told = await until(nethack, made, status="delivered")
    assert len(told["attempts"]) == 6


async def test_an_endpoint_that_is_gone_ends_its_subscription(nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"])
    receiver.answers = [410]
    await open_issue(nethack)
    told = await until(nethack, made, status="suppressed")
    assert told["reason"] == "The endpoint answered that it is gone."
    assert [len(tried["at"]) for tried in told["attempts"]] == [len("2026-11-21T15:03:17.824Z")]
    found = (await nethack.get(f"/v1/subscriptions/{made['id']}"))[1]
    assert (found["status"], found["active"]) == ("ended", False)
    assert (await nethack.json("PATCH", f"/v1/subscriptions/{made['id']}", {"active": True}))[0] == 409
    await open_issue(nethack)
    assert len(await deliveries(nethack, made)) == 1
