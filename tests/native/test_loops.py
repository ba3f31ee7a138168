"""Loop protection: receivers that change the forge do not trigger each other for ever."""

import pytest
from aiohttp import web

from tests.conftest import Client, Forge
from tests.receiver import Answer, ReceivedRequest, Receiver, run_receiver
from tests.subscriptions import list_deliveries, open_issue, subscribe, wait_for_delivery
from workers.delivery import MAX_CHAIN

pytestmark = pytest.mark.usefixtures("sent_at_once")


def comment_on_delivery(client: Client, header: str | None) -> Answer:
    """Comment on the issue of a delivery, with the delivery id in the given header as request id."""

    async def answer(got: ReceivedRequest) -> web.StreamResponse:
        headers = {"X-Request-Id": got.headers[header]} if header else {}
        form = {"comment": f"after {got.id}"}
        status, _ = await client.request("POST", "/api/0/nethack/issue/1/comment", data=form, headers=headers)
        return web.Response(status=200 if status == 200 else 500)

    return answer


@pytest.mark.parametrize(("payload_format", "header"), [("standard", "webhook-id"), ("pagure", "x-request-id")])
async def test_a_receiver_that_triggers_itself_is_stopped_after_the_longest_chain(
    payload_format: str, header: str, nethack: Client, receiver: Receiver
) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"], format=payload_format)
    receiver.responses = [comment_on_delivery(nethack, header)] * 20
    await open_issue(nethack)
    await wait_for_delivery(nethack, subscription, status="suppressed")
    comments = (await nethack.pagure("/nethack/issue/1"))[1]["comments"]
    assert len(comments) == MAX_CHAIN == len(receiver.received)
    last, *others = await list_deliveries(nethack, subscription)
    assert {each["status"] for each in others} == {"delivered"}
    reason = "Possible loop: 5 deliveries of this subscription led to each other and to this event."
    assert (last["status"], last["reason"], last["attempts"]) == ("suppressed", reason, [])
    _, found = await nethack.get(f"/v1/events/{last['seq']}")
    assert found["request"] == receiver.received[-1].id


async def test_changes_by_users_are_delivered_after_a_loop(nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    receiver.responses = [comment_on_delivery(nethack, "webhook-id")] * MAX_CHAIN
    await open_issue(nethack)
    await wait_for_delivery(nethack, subscription, status="suppressed")
    await nethack.post("/nethack/issue/1/comment", comment="Enough.")
    *_, last = await receiver.wait_for(MAX_CHAIN + 1)
    assert last.json["data"]["data"]["comment"] == "Enough."


async def test_a_request_with_an_unknown_delivery_id_is_delivered(nethack: Client, receiver: Receiver) -> None:
    await subscribe(nethack, receiver, types=["issue.*"])
    strange = ["0" * 32, "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000-x", "1-1"]
    for request in strange:
        headers = {"X-Request-Id": request}
        form = {"title": "t", "issue_content": "c"}
        assert (await nethack.request("POST", "/api/0/nethack/new_issue", data=form, headers=headers))[0] == 200
    got = await receiver.wait_for(len(strange))
    assert [each.json["data"]["request"] for each in got] == strange


async def test_a_loop_of_one_subscription_is_delivered_to_others(
    nethack: Client, receiver: Receiver, forge: Forge
) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    bobs = await forge.user("bob")
    async with run_receiver() as quiet:
        await subscribe(bobs, quiet, types=["issue.*"])
        receiver.responses = [comment_on_delivery(nethack, "webhook-id")] * 20
        await open_issue(nethack)
        await wait_for_delivery(nethack, subscription, status="suppressed")
        assert len(await quiet.wait_for(MAX_CHAIN + 1)) == MAX_CHAIN + 1


async def test_a_request_id_that_only_contains_a_delivery_id_ends_the_chain(
    nethack: Client, receiver: Receiver
) -> None:
    await subscribe(nethack, receiver, types=["issue.*"])
    receiver.responses = [comment_on_delivery(nethack, "webhook-id")]
    headers = {"X-Request-Id": "req-00000000-0000-0000-0000-000000000000"}
    form = {"title": "t", "issue_content": "c"}
    assert (await nethack.request("POST", "/api/0/nethack/new_issue", data=form, headers=headers))[0] == 200
    assert [got.json["type"] for got in await receiver.wait_for(2)] == ["issue.opened", "issue.commented"]
