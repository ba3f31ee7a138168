"""Receivers that act on the forge because of what they are told do not keep each other busy for ever."""

import pytest
from aiohttp import web

from tests.conftest import Client, Forge
from tests.receiver import Answer, Got, Receiver, receiving
from tests.subscriptions import deliveries, open_issue, subscribed, until
from workers.delivery import MAX_CHAIN

pytestmark = pytest.mark.usefixtures("sent_at_once")


def commenting(client: Client, header: str | None) -> Answer:
    """Comments on the issue that it is told of, and says because of what, if it does, as it was told by this header."""

    async def answer(got: Got) -> web.StreamResponse:
        headers = {"X-Request-Id": got.headers[header]} if header else {}
        form = {"comment": f"after {got.id}"}
        status, _ = await client.request("POST", "/api/0/nethack/issue/1/comment", data=form, headers=headers)
        return web.Response(status=200 if status == 200 else 500)

    return answer


@pytest.mark.parametrize(("format", "header"), [("standard", "webhook-id"), ("pagure", "x-request-id")])
async def test_a_receiver_that_answers_itself_is_told_so_often_and_no_more(
    format: str, header: str, nethack: Client, receiver: Receiver
) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"], format=format)
    receiver.answers = [commenting(nethack, header)] * 20
    await open_issue(nethack)
    await until(nethack, made, status="suppressed")
    comments = (await nethack.pagure("/nethack/issue/1"))[1]["comments"]
    assert len(comments) == MAX_CHAIN == len(receiver.got)
    last, *others = await deliveries(nethack, made)
    assert {each["status"] for each in others} == {"delivered"}
    reason = "5 deliveries of this have led to each other and to this: it may go round in a circle."
    assert (last["status"], last["reason"], last["attempts"]) == ("suppressed", reason, [])
    _, found = await nethack.get(f"/v1/events/{last['seq']}")
    assert found["request"] == receiver.got[-1].id


async def test_what_people_do_after_that_is_told_again(nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"])
    receiver.answers = [commenting(nethack, "webhook-id")] * MAX_CHAIN
    await open_issue(nethack)
    await until(nethack, made, status="suppressed")
    await nethack.post("/nethack/issue/1/comment", comment="Enough.")
    *_, last = await receiver.until(MAX_CHAIN + 1)
    assert last.said["data"]["data"]["comment"] == "Enough."


async def test_a_request_that_names_what_was_never_delivered_is_told(nethack: Client, receiver: Receiver) -> None:
    await subscribed(nethack, receiver, types=["issue.*"])
    strange = ["0" * 32, "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000-x", "1-1"]
    for request in strange:
        headers = {"X-Request-Id": request}
        form = {"title": "t", "issue_content": "c"}
        assert (await nethack.request("POST", "/api/0/nethack/new_issue", data=form, headers=headers))[0] == 200
    got = await receiver.until(len(strange))
    assert [each.said["data"]["request"] for each in got] == strange


async def test_what_others_deliveries_have_led_to_is_told(nethack: Client, receiver: Receiver, forge: Forge) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"])
    bobs = await forge.user("bob")
    async with receiving() as quiet:
        await subscribed(bobs, quiet, types=["issue.*"])
        receiver.answers = [commenting(nethack, "webhook-id")] * 20
        await open_issue(nethack)
        await until(nethack, made, status="suppressed")
        assert len(await quiet.until(MAX_CHAIN + 1)) == MAX_CHAIN + 1


async def test_a_request_with_a_delivery_somewhere_in_its_name_ends_the_chain(
    nethack: Client, receiver: Receiver
) -> None:
    await subscribed(nethack, receiver, types=["issue.*"])
    receiver.answers = [commenting(nethack, "webhook-id")]
    headers = {"X-Request-Id": "req-00000000-0000-0000-0000-000000000000"}
    form = {"title": "t", "issue_content": "c"}
    assert (await nethack.request("POST", "/api/0/nethack/new_issue", data=form, headers=headers))[0] == 200
    assert [got.said["type"] for got in await receiver.until(2)] == ["issue.opened", "issue.commented"]
