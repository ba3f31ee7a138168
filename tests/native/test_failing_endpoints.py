"""Endpoints that answer with errors: retries, and the end of subscriptions."""

import asyncio

import pytest

from tests.conftest import Client
from tests.receiver import Receiver
from tests.subscriptions import list_deliveries, open_issue, subscribe, wait_for_delivery

pytestmark = pytest.mark.usefixtures("retried_at_once")


async def test_a_failed_delivery_is_sent_again_with_the_same_id(nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    receiver.responses = [500, 404, 302]
    await open_issue(nethack)
    got = await receiver.wait_for(4)
    assert len({each.id for each in got}) == 1
    row = await wait_for_delivery(nethack, subscription, status="delivered")
    assert [(attempt["status"], attempt["error"]) for attempt in row["attempts"]] == [
        (500, "status"), (404, "status"), (302, "status"), (200, None),
    ]  # fmt: skip
    assert (await nethack.get(f"/v1/subscriptions/{subscription['id']}"))[1]["failures"] == 0


async def test_nothing_is_sent_to_a_forbidden_address(nethack: Client, receiver: Receiver) -> None:
    """The tests allow one loopback address and no other."""
    url = receiver.url.replace("127.0.0.1", "127.0.0.2")
    subscription = await subscribe(nethack, receiver, url=url, types=["issue.*"])
    await open_issue(nethack)
    async with asyncio.timeout(20):
        while not (attempt := (await wait_for_delivery(nethack, subscription))["attempts"]):
            await asyncio.sleep(0.02)
    assert (attempt[0]["status"], attempt[0]["error"], attempt[0]["response_excerpt"]) == (None, "refused", None)


async def test_an_endpoint_that_is_gone_ends_its_subscription(nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    receiver.responses = [410]
    await open_issue(nethack)
    row = await wait_for_delivery(nethack, subscription, status="suppressed")
    assert row["reason"] == "The endpoint answered that it is gone."
    assert [len(attempt["at"]) for attempt in row["attempts"]] == [len("2026-11-21T15:03:17.824Z")]
    found = (await nethack.get(f"/v1/subscriptions/{subscription['id']}"))[1]
    assert (found["status"], found["active"]) == ("ended", False)
    assert (await nethack.json("PATCH", f"/v1/subscriptions/{subscription['id']}", {"active": True}))[0] == 409
    await open_issue(nethack)
    assert len(await list_deliveries(nethack, subscription)) == 1
