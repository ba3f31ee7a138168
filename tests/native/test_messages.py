"""The content of deliveries and their signatures."""

import base64
import hashlib
import hmac

import pytest

from tests.conftest import Client
from tests.receiver import Receiver
from tests.subscriptions import open_issue, subscribe, wait_for_delivery

pytestmark = pytest.mark.usefixtures("retried_at_once")


async def test_an_event_is_sent_and_signed(nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"], headers={"X-Room": "12"})
    await open_issue(nethack)
    [got] = await receiver.wait_for(1)
    _, feed = await nethack.get("/v1/events?types=issue.*")
    [event] = feed["events"]
    assert got.json == {"type": "issue.opened", "timestamp": event["at"], "data": event}
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("polyforge/")
    assert got.headers["x-room"] == "12"
    key = base64.b64decode(subscription["secret"].removeprefix("whsec_"))
    signed = f"{got.id}.{got.headers['webhook-timestamp']}.".encode() + got.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert got.headers["webhook-signature"] == f"v1,{expected}"
    row = await wait_for_delivery(nethack, subscription, status="delivered")
    assert (row["id"], row["seq"], row["type"]) == (got.id, event["seq"], "issue.opened")
    assert [(attempt["status"], attempt["error"]) for attempt in row["attempts"]] == [(200, None)]
    assert await nethack.get(f"/v1/deliveries/{got.id}") == (200, row)


async def test_an_event_can_be_sent_as_a_cloudevent(nethack: Client, receiver: Receiver) -> None:
    await subscribe(nethack, receiver, types=["issue.opened"], format="cloudevents")
    await open_issue(nethack)
    [got] = await receiver.wait_for(1)
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert (got.json["specversion"], got.json["type"], got.json["source"]) == ("1.0", "issue.opened", nethack.forge.url)


async def test_a_ping_is_delivered_like_an_event(nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver)
    status, answer = await nethack.json("POST", f"/v1/subscriptions/{subscription['id']}/ping")
    assert (status, answer["delivery"]["type"], answer["delivery"]["seq"]) == (202, "ping", None)
    [got] = await receiver.wait_for(1)
    assert (got.id, got.json["type"]) == (answer["delivery"]["id"], "ping")
    await wait_for_delivery(nethack, subscription, status="delivered")


async def test_a_large_event_is_sent_as_a_link(nethack: Client, receiver: Receiver) -> None:
    await subscribe(nethack, receiver, types=["issue.*"])
    await open_issue(nethack, issue_content="x" * 300_000)
    [got] = await receiver.wait_for(1)
    event = got.json["data"]
    assert (event["data"], event["link"]) == (None, f"{nethack.forge.url}/v1/events/{event['seq']}")
    _, whole = await nethack.get(event["link"])
    assert len(whole["data"]["content"]) == 300_000
