"""Endpoints that answer with errors: when they are tried again, and when left alone."""

import asyncio

import pytest

from tests.conftest import Client
from tests.receiver import Receiver
from tests.subscriptions import deliveries, open_issue, subscribed, until

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


async def test_nothing_is_sent_to_where_nobody_may_aim(nethack: Client, receiver: Receiver) -> None:
    """These tests allow one address of loopback and no other."""
    url = receiver.url.replace("127.0.0.1", "127.0.0.2")
    made = await subscribed(nethack, receiver, url=url, types=["issue.*"])
    await open_issue(nethack)
    async with asyncio.timeout(20):
        while not (tried := (await until(nethack, made))["attempts"]):
            await asyncio.sleep(0.02)
    assert (tried[0]["status"], tried[0]["error"], tried[0]["response_excerpt"]) == (None, "refused", None)


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
