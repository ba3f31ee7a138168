"""The outcome of deliveries, with real receivers and workers."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from app.feed import formats
from app.stores import deliveries as store
from tests.conftest import Client, Forge
from tests.receiver import ReceivedRequest, Receiver, run_receiver
from tests.subscriptions import (
    has_attempts,
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
DUE = "update circuits set open_until = now(); update lanes set due_at = now() - interval '1 hour'"
LEFT = """
    select (select count(*) from lanes), (select count(*) from circuits), (select count(*) from subscription_endpoints),
           (select count(*) from deliveries where status = 'waiting')
"""


@pytest.mark.usefixtures("retried_at_once")
async def wait_for_suppressed(forge: Forge, subscription: dict[str, Any]) -> str:
    """Wait until a delivery is suppressed, which its owner may not see; returns the reason."""
    async with asyncio.timeout(10):
        while True:
            reason: str | None = await forge.db.fetchval(
                "select reason from deliveries where subscription_id = $1 and status = 'suppressed'", subscription["id"]
            )
            if reason is not None:
                return reason
            await asyncio.sleep(0.02)


async def test_a_user_who_has_lost_access_is_sent_nothing(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    """The event is recorded before access is revoked, and would be sent after."""
    bob = await forge.user("bob")
    await nethack.post("/new", name="cave", description="d", private="1")
    grant = {"user_type": "user", "name": "bob", "acl": "commit"}
    assert (await nethack.post("/alice/cave/git/modifyacls", **grant))[0] == 200
    subscription = await subscribe(bob, receiver, project="alice/cave", types=["issue.*"])
    receiver.responses = [503] * 1000
    await open_issue(nethack, "alice/cave")
    await receiver.wait_for(1)
    assert (await nethack.post("/alice/cave/git/modifyacls", **(grant | {"acl": ""})))[0] == 200
    assert await wait_for_suppressed(forge, subscription) == "Its owner may no longer read the project."
    assert (await bob.get(f"/v1/subscriptions/{subscription['id']}/deliveries"))[1]["deliveries"] == []


async def test_a_subscription_does_not_send_private_issues_to_strangers(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    bob = await forge.user("bob")
    subscription = await subscribe(bob, receiver, types=["issue.*"])
    await open_issue(nethack, private="1")
    await wait_for_suppressed(forge, subscription)
    assert receiver.received == []


@pytest.mark.own_forge
async def test_a_worker_that_stops_finishes_its_attempt_and_releases_its_lease(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    in_hand, done = asyncio.Event(), asyncio.Event()

    async def held(got: ReceivedRequest) -> web.StreamResponse:
        in_hand.set()
        await done.wait()
        return web.Response()

    receiver.responses = [held]
    for _ in range(5):
        await open_issue(nethack)
    await in_hand.wait()
    await forge.numbered()
    forge.worker.cancel()
    await asyncio.sleep(0.1)
    done.set()
    await asyncio.wait([forge.worker])
    statuses = [row["status"] for row in await list_deliveries(nethack, subscription)]
    assert statuses.count("delivered") == len(receiver.received) == 1
    assert await forge.db.fetchval("select lease_until from lanes") is None
    async with run_another_worker(forge):
        await receiver.wait_for(5)


async def test_a_subscription_that_is_deleted_during_an_attempt_leaves_no_rows(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"])

    async def delete(got: ReceivedRequest) -> web.StreamResponse:
        await nethack.forge.numbered()
        assert (await nethack.json("DELETE", f"/v1/subscriptions/{subscription['id']}"))[0] == 204
        return web.Response(status=500)

    gate = asyncio.Event()

    async def wait(got: ReceivedRequest) -> web.StreamResponse:
        await gate.wait()
        return await delete(got)

    receiver.responses = [wait]
    for _ in range(3):
        await open_issue(nethack)
    gate.set()
    await wait_for(lambda: _ended(forge))
    relay = Relay(forge.db, queue.connect(forge.settings.required_redis_url()))
    await relay.tidy()
    await relay.redis.aclose()
    assert tuple(await forge.db.fetchrow(LEFT) or ()) == (0, 0, 0, 0)
    reasons = await forge.db.fetch("select status, reason from deliveries")
    assert {tuple(row) for row in reasons} == {("suppressed", "The subscription was deleted.")}
    assert len(receiver.received) == 1


async def _ended(forge: Forge) -> bool:
    row = await forge.db.fetchrow(
        "select count(*) filter (where status = 'waiting') as n, count(*) as m from deliveries"
    )
    return row is not None and (row["n"], row["m"]) == (0, 3)


async def test_deleting_an_inactive_subscription_ends_its_waiting_deliveries(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    subscription = await subscribe(nethack, receiver, active=False)
    assert (await nethack.json("POST", f"/v1/subscriptions/{subscription['id']}/ping"))[0] == 202
    await wait_for(lambda: has_no_lanes(forge))
    assert (await list_deliveries(nethack, subscription))[0]["status"] == "waiting"
    assert (await nethack.json("DELETE", f"/v1/subscriptions/{subscription['id']}"))[0] == 204
    async with asyncio.timeout(20):
        while await forge.db.fetchval("select status from deliveries") != "suppressed":
            await asyncio.sleep(0.02)


async def test_no_delivery_is_given_up_while_the_read_tables_are_rebuilt(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ORPHAN_PAUSE", 0.1)
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    receiver.responses = [503]
    await open_issue(nethack)
    await receiver.wait_for(1)
    await wait_for(lambda: has_attempts(nethack, subscription))
    await forge.db.execute("create table aside as select * from subscriptions; delete from subscriptions")
    await forge.db.execute(DUE)
    relay = Relay(forge.db, queue.connect(forge.settings.required_redis_url()))
    await relay.tidy()
    await relay.redis.aclose()
    await wait_for(lambda: _put_off(forge))
    assert await forge.db.fetchval("select status from deliveries") == "waiting"
    await forge.db.execute("insert into subscriptions select * from aside; drop table aside")
    await forge.db.execute(DUE)
    await wait_for_delivery(nethack, subscription, status="delivered")


async def _put_off(forge: Forge) -> bool:
    """Whether a worker has postponed the lane that was due."""
    return bool(await forge.db.fetchval("select due_at > now() - interval '30 minutes' from lanes"))


async def test_an_endpoint_without_a_subscription_is_deleted(forge: Forge, nethack: Client) -> None:
    async with run_receiver() as receiver:
        await subscribe(nethack, receiver)
    [kept] = await forge.db.fetch("select url from subscription_endpoints")
    await forge.db.execute("""
        update subscription_endpoints set kept_at = now() - interval '2 hours';
        insert into subscription_endpoints (subscription_id, url, secret, headers, kept_at)
        values (gen_random_uuid(), 'dead', 's', 'h', now() - interval '2 hours'),
               (gen_random_uuid(), 'being created', 's', 'h', now())
    """)
    await store.delete_orphans(forge.db)
    left = await forge.db.fetch("select url from subscription_endpoints order by kept_at")
    assert [row["url"] for row in left] == [kept["url"], "being created"]


async def test_old_deliveries_are_deleted(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DELETE_BATCH", 1)
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    for _ in range(3):
        await open_issue(nethack)
    await wait_for_delivery(nethack, subscription, status="delivered")
    newest, *older = [row["id"] for row in await list_deliveries(nethack, subscription)]
    age = "update deliveries set ended_at = now() - $2::interval where delivery_id = any ($1)"
    await forge.db.execute(age, older, timedelta(days=30, hours=1))
    await forge.db.execute(age, [newest], timedelta(days=29))
    async with asyncio.timeout(20):
        while len(found := await list_deliveries(nethack, subscription)) > 1:
            await asyncio.sleep(0.05)
    assert [row["id"] for row in found] == [newest]
    assert await forge.db.fetchval("select count(*) from delivery_attempts") == 1


async def test_an_internal_error_is_retried_like_any_failure(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SCHEDULE", (0.1,) * 10)
    subscription = await subscribe(nethack, receiver, types=["issue.*"])

    def mistaken(*_: Any) -> formats.Message:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(formats, "build_message", mistaken)
        await open_issue(nethack)
        await wait_for(lambda: has_attempts(nethack, subscription))
    row = await wait_for_delivery(nethack, subscription, status="delivered")
    attempt = [(each["status"], each["error"]) for each in row["attempts"]]
    assert (attempt[0], attempt[-1]) == ((None, "internal"), (200, None))
