"""Redelivery, and replays of earlier events."""

import pytest
from aiohttp import web

from app.stores import deliveries as store
from tests.conftest import Client
from tests.receiver import ReceivedRequest, Receiver
from tests.subscriptions import list_deliveries, open_issue, subscribe, wait_for_delivery
from workers import delivery

pytestmark = pytest.mark.usefixtures("sent_at_once")


async def test_a_delivery_can_be_sent_again(nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    await open_issue(nethack)
    [got] = await receiver.wait_for(1)
    await wait_for_delivery(nethack, subscription, status="delivered")
    status, again = await nethack.json("POST", f"/v1/deliveries/{got.id}/redeliver")
    assert (status, again["id"]) == (202, got.id)
    first, second = await receiver.wait_for(2)
    assert (first.id, first.body) == (second.id, second.body)


async def test_a_redelivery_during_a_failing_attempt_counts(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither postponed, nor does the failure of the last attempt end the delivery."""
    monkeypatch.setattr(delivery, "SCHEDULE", (0.1,))
    subscription = await subscribe(nethack, receiver, types=["issue.*"])

    async def again(got: ReceivedRequest) -> web.StreamResponse:
        monkeypatch.setattr(delivery, "SCHEDULE", ())
        assert (await nethack.json("POST", f"/v1/deliveries/{got.id}/redeliver"))[0] == 202
        return web.Response(status=500)

    receiver.responses = [500, again]
    await open_issue(nethack)
    row = await wait_for_delivery(nethack, subscription, status="delivered")
    assert [attempt["status"] for attempt in row["attempts"]] == [500, 500, 200]

    monkeypatch.setattr(delivery, "SCHEDULE", (1000.0, 1000.0))

    async def press(got: ReceivedRequest) -> web.StreamResponse:
        assert (await nethack.json("POST", f"/v1/deliveries/{got.id}/redeliver"))[0] == 202
        return web.Response(status=500)

    receiver.responses = [press]
    await open_issue(nethack)
    await receiver.wait_for(5)
    row = await wait_for_delivery(nethack, subscription, status="delivered")
    assert [attempt["status"] for attempt in row["attempts"]] == [500, 200]


async def test_a_replay_sends_the_events_of_a_range_in_order(nethack: Client, receiver: Receiver) -> None:
    for n in range(5):
        await open_issue(nethack, title=str(n))
    await nethack.forge.numbered()
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    _, feed = await nethack.get("/v1/events?types=issue.*")
    seqs = [event["seq"] for event in feed["events"]]
    status, answer = await nethack.json(
        "POST", f"/v1/subscriptions/{subscription['id']}/replay", {"after": seqs[0], "to": seqs[3]}
    )
    assert (status, answer) == (202, {"count": 3})
    got = await receiver.wait_for(3)
    assert [each.json["data"]["seq"] for each in got] == seqs[1:4]
    assert [each["seq"] for each in await list_deliveries(nethack, subscription, f"?after={seqs[1]}")] == seqs[3:1:-1]


async def test_a_replay_of_too_many_events_is_refused(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_REPLAY", 3)
    monkeypatch.setattr(store, "REPLAY_SPAN", 2)
    for n in range(5):
        await open_issue(nethack, title=str(n))
    await nethack.forge.numbered()
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    _, feed = await nethack.get("/v1/events?types=issue.*")
    seqs = [event["seq"] for event in feed["events"]]
    here = f"/v1/subscriptions/{subscription['id']}/replay"
    status, problem = await nethack.json("POST", here, {"after": seqs[0]})
    assert (status, [error["pointer"] for error in problem["errors"]]) == (422, ["/after"])
    assert await list_deliveries(nethack, subscription) == []
    assert await nethack.json("POST", here, {"after": seqs[1]}) == (202, {"count": 3})
    assert [got.json["data"]["seq"] for got in await receiver.wait_for(3)] == seqs[2:]
