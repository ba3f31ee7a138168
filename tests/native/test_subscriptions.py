"""Subscriptions and deliveries, with a real receiver."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from app.core import subscriptions as rules
from tests.conftest import Client, Forge
from tests.receiver import Got, Receiver, receiving
from workers import delivery


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once, or nobody would wait for these tests."""
    monkeypatch.setattr(delivery, "SCHEDULE", (0.1,) * 10)
    monkeypatch.setattr(delivery, "OPEN", 0.1)
    monkeypatch.setattr(delivery, "LONGEST_OPEN", 0.2)
    monkeypatch.setattr(delivery, "POLL", 0.05)


async def subscribed(client: Client, receiver: Receiver, **wish: Any) -> Any:
    body = {"url": receiver.url, "project": "nethack", **wish}
    status, made = await client.json("POST", "/v1/subscriptions", body)
    assert status == 201, made
    return made


async def open_issue(client: Client, project: str = "nethack", **form: str) -> None:
    status, _ = await client.post(f"/{project}/new_issue", **{"title": "t", "issue_content": "c", **form})
    assert status == 200


async def deliveries(client: Client, made: Any, query: str = "") -> Any:
    status, page = await client.get(f"/v1/subscriptions/{made['id']}/deliveries{query}")
    assert status == 200, page
    return page["deliveries"]


async def until(client: Client, made: Any, **wanted: Any) -> Any:
    """The newest delivery, once it says so."""
    async with asyncio.timeout(20):
        while True:
            found = await deliveries(client, made)
            if found and all(found[0][name] == value for name, value in wanted.items()):
                return found[0]
            await asyncio.sleep(0.02)


async def test_a_subscription_is_shown_without_its_secret_and_address(nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*", "ref.updated"])
    assert made.pop("secret").startswith("whsec_")
    assert made == {
        "id": made["id"],
        "owner": "alice",
        "project": "nethack",
        "types": ["issue.*", "ref.updated"],
        "format": "standard",
        "ordered": True,
        "host": "127.0.0.1",
        "active": True,
        "status": "active",
        "reason": None,
        "failures": 0,
        "failing_since": None,
        "created_at": made["created_at"],
        "changed_at": made["changed_at"],
    }
    assert await nethack.get(f"/v1/subscriptions/{made['id']}") == (200, made)
    assert await nethack.get("/v1/subscriptions") == (200, {"subscriptions": [made], "next": None})


async def test_neither_secret_nor_address_is_in_the_log(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    secret = "a-secret-of-sixteen-or-more"
    made = await subscribed(nethack, receiver, secret=secret, headers={"Authorization": "Bearer of-news"})
    await nethack.json("POST", f"/v1/subscriptions/{made['id']}/secret", {"secret": secret + "!"})
    await nethack.json("PATCH", f"/v1/subscriptions/{made['id']}", {"url": receiver.url + "/elsewhere"})
    everything = await forge.db.fetchval(
        "select (select string_agg(data::text, '') from events) || (select string_agg(body::text, '') from commands)"
    )
    for hidden in (secret, "/hook", "of-news"):
        assert hidden not in everything


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({"url": "ftp://example.org/"}, "/url"),
        ({"url": "https:///x"}, "/url"),
        ({"url": "https://user:pass@example.org/"}, "/url"),
        ({"url": "https://example.org/#x"}, "/url"),
        ({"url": "http://[::1"}, "/url"),
        ({"url": "https://example.org/" + "x" * 2048}, "/url"),
        ({"types": ["issue.exploded"]}, "/types"),
        ({"types": ["*"]}, "/types"),
        ({"format": "smoke-signals"}, "/format"),
        ({"secret": "short"}, "/secret"),
        ({"secret": "whsec_AAAA"}, "/secret"),
        ({"secret": "with blanks in the middle"}, "/secret"),
        ({"headers": {"Host": "example.org"}}, "/headers"),
        ({"headers": {"X-Forwarded-For": "::1"}}, "/headers"),
        ({"headers": {"webhook-id": "1"}}, "/headers"),
        ({"headers": {"X-A": "b\r\nX-C: d"}}, "/headers"),
        ({"headers": {"X A": "b"}}, "/headers"),
        ({"headers": {"X-A": 5}}, "/headers"),
        ({"headers": {f"X-{n}": "b" for n in range(21)}}, "/headers"),
        ({"project": None}, "/project"),
        ({"color": "red"}, "/color"),
    ],
)
async def test_what_cannot_be_sent_is_refused(nethack: Client, wish: dict[str, Any], pointer: str) -> None:
    body = {"url": "https://example.org/", "project": "nethack", **wish}
    status, problem = await nethack.json("POST", "/v1/subscriptions", body)
    assert (status, [error["pointer"] for error in problem["errors"]]) == (422, [pointer])
    assert await nethack.forge.db.fetchval("select count(*) from subscription_endpoints") == 0


async def test_an_event_is_sent_and_signed(nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"], headers={"X-Room": "12"})
    await open_issue(nethack)
    [got] = await receiver.until(1)
    _, feed = await nethack.get("/v1/events?types=issue.*")
    [event] = feed["events"]
    assert got.said == {"type": "issue.opened", "timestamp": event["at"], "data": event}
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("polyforge/")
    assert got.headers["x-room"] == "12"
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    signed = f"{got.id}.{got.headers['webhook-timestamp']}.".encode() + got.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert got.headers["webhook-signature"] == f"v1,{expected}"
    told = await until(nethack, made, status="delivered")
    assert (told["id"], told["seq"], told["type"]) == (got.id, event["seq"], "issue.opened")
    assert [(tried["status"], tried["error"]) for tried in told["attempts"]] == [(200, None)]
    assert await nethack.get(f"/v1/deliveries/{got.id}") == (200, told)


async def test_an_event_can_be_sent_as_a_cloudevent(nethack: Client, receiver: Receiver) -> None:
    await subscribed(nethack, receiver, types=["issue.opened"], format="cloudevents")
    await open_issue(nethack)
    [got] = await receiver.until(1)
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert (got.said["specversion"], got.said["type"], got.said["source"]) == ("1.0", "issue.opened", nethack.forge.url)


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


async def test_a_lane_keeps_its_order_and_another_does_not_wait(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one is refused until the other has told everything."""
    monkeypatch.setattr(delivery, "SCHEDULE", (0.1,) * 1000)
    await nethack.post("/new", name="angband", description="d")
    status, _ = await forge.admin.json("POST", "/v1/subscriptions", {"url": receiver.url, "types": ["issue.opened"]})
    assert status == 201

    def titles() -> list[str]:
        return [got.said["data"]["data"]["title"] for got in receiver.got]

    async def refuse(got: Got) -> web.StreamResponse:
        theirs = got.said["data"]["project"]["path"] == "nethack"
        return web.Response(status=503 if theirs and "a2" not in titles() else 200)

    receiver.answers = [refuse] * 1000
    for n in range(3):
        await open_issue(nethack, title=f"n{n}")
        await open_issue(nethack, "angband", title=f"a{n}")
    async with asyncio.timeout(20):
        while "n2" not in titles():
            await asyncio.sleep(0.02)
    assert [title for title in titles() if title[0] == "a"] == ["a0", "a1", "a2"]
    assert sorted(set(titles()), key=titles().index)[-2:] == ["n1", "n2"]


async def test_without_order_nothing_waits_for_what_failed(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SCHEDULE", (1000.0,) * 10)
    made = await subscribed(nethack, receiver, types=["issue.*"], ordered=False)
    receiver.answers = [503]
    await open_issue(nethack, title="one")
    await receiver.until(1)
    await open_issue(nethack, title="two")
    await until(nethack, made, status="delivered")
    assert [got.said["data"]["data"]["title"] for got in receiver.got] == ["one", "two"]
    assert [each["status"] for each in await deliveries(nethack, made)] == ["delivered", "waiting"]


async def test_whoever_may_no_longer_see_it_is_sent_nothing(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    """The event is there before the right ends, and sent after."""
    bob = await forge.user("bob")
    await nethack.post("/new", name="cave", description="d", private="1")
    grant = {"user_type": "user", "name": "bob", "acl": "commit"}
    assert (await nethack.post("/alice/cave/git/modifyacls", **grant))[0] == 200
    made = await subscribed(bob, receiver, project="alice/cave", types=["issue.*"])
    receiver.answers = [503] * 1000
    await open_issue(nethack, "alice/cave")
    await receiver.until(1)
    assert (await nethack.post("/alice/cave/git/modifyacls", **(grant | {"acl": ""})))[0] == 200
    told = await until(bob, made, status="suppressed")
    assert told["reason"] == "The subscription's owner may not see this event."
    assert {tried["status"] for tried in told["attempts"]} == {503}


async def test_a_strangers_subscription_tells_no_private_issue(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    bob = await forge.user("bob")
    made = await subscribed(bob, receiver, types=["issue.*"])
    await open_issue(nethack, private="1")
    await until(bob, made, status="suppressed")
    assert receiver.got == []


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


async def test_revoking_its_token_ends_a_subscription(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    _, issued = await nethack.json("POST", "/v1/users/alice/tokens", {"description": "hook"})
    made = await subscribed(Client(forge, issued["token"], "alice"), receiver, types=["issue.*"])
    assert (await nethack.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
    await open_issue(nethack)
    await forge.numbered()
    found = (await nethack.get(f"/v1/subscriptions/{made['id']}"))[1]
    assert (found["status"], found["reason"]) == ("ended", "Its token was revoked.")
    assert receiver.got == []


async def test_nothing_is_sent_to_where_nobody_may_aim(nethack: Client, receiver: Receiver) -> None:
    """These tests allow one address of loopback and no other."""
    url = receiver.url.replace("127.0.0.1", "127.0.0.2")
    made = await subscribed(nethack, receiver, url=url, types=["issue.*"])
    await open_issue(nethack)
    async with asyncio.timeout(20):
        while not (tried := (await until(nethack, made))["attempts"]):
            await asyncio.sleep(0.02)
    assert (tried[0]["status"], tried[0]["error"], tried[0]["response_excerpt"]) == (None, "refused", None)


async def test_a_ping_goes_the_way_of_events(nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver)
    status, answer = await nethack.json("POST", f"/v1/subscriptions/{made['id']}/ping")
    assert (status, answer["delivery"]["type"], answer["delivery"]["seq"]) == (202, "ping", None)
    [got] = await receiver.until(1)
    assert (got.id, got.said["type"]) == (answer["delivery"]["id"], "ping")
    await until(nethack, made, status="delivered")


async def test_what_was_delivered_can_be_sent_again(nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"])
    await open_issue(nethack)
    [got] = await receiver.until(1)
    await until(nethack, made, status="delivered")
    status, again = await nethack.json("POST", f"/v1/deliveries/{got.id}/redeliver")
    assert (status, again["id"]) == (202, got.id)
    first, second = await receiver.until(2)
    assert (first.id, first.body) == (second.id, second.body)


async def test_a_replay_tells_everything_since_in_order(nethack: Client, receiver: Receiver) -> None:
    for n in range(5):
        await open_issue(nethack, title=str(n))
    await nethack.forge.numbered()
    made = await subscribed(nethack, receiver, types=["issue.*"])
    _, feed = await nethack.get("/v1/events?types=issue.*")
    seqs = [event["seq"] for event in feed["events"]]
    status, answer = await nethack.json(
        "POST", f"/v1/subscriptions/{made['id']}/replay", {"after": seqs[0], "to": seqs[3]}
    )
    assert (status, answer) == (202, {"count": 3})
    got = await receiver.until(3)
    assert [each.said["data"]["seq"] for each in got] == seqs[1:4]
    assert [each["seq"] for each in await deliveries(nethack, made, f"?after={seqs[1]}")] == seqs[3:1:-1]


async def test_what_is_too_large_is_sent_thin(nethack: Client, receiver: Receiver) -> None:
    await subscribed(nethack, receiver, types=["issue.*"])
    await open_issue(nethack, issue_content="x" * 300_000)
    [got] = await receiver.until(1)
    event = got.said["data"]
    assert (event["data"], event["link"]) == (None, f"{nethack.forge.url}/v1/events/{event['seq']}")
    _, whole = await nethack.get(event["link"])
    assert len(whole["data"]["content"]) == 300_000


async def test_others_subscriptions_are_not_found(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"])
    await open_issue(nethack)
    [got] = await receiver.until(1)
    bob = await forge.user("bob")
    assert (await bob.get("/v1/subscriptions"))[1]["subscriptions"] == []
    here = f"/v1/subscriptions/{made['id']}"
    for method, path in [
        ("GET", here), ("PATCH", here), ("DELETE", here), ("POST", here + "/secret"), ("POST", here + "/ping"),
        ("POST", here + "/replay"), ("GET", here + "/deliveries"), ("GET", f"/v1/deliveries/{got.id}"),
        ("POST", f"/v1/deliveries/{got.id}/redeliver"), ("GET", "/v1/subscriptions/x"),
    ]:  # fmt: skip
        assert (await bob.json(method, path))[0] == 404, path
        assert (await forge.nobody.json(method, path))[0] == 401, path
    limited = await nethack.limited(acls=["modify_project"])
    assert (await limited.get(here))[0] == 403


async def test_nobody_has_more_than_so_many(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST", 2)
    first, _ = [await subscribed(nethack, receiver) for _ in range(2)]
    wish = {"url": receiver.url, "project": "nethack"}
    assert (await nethack.json("POST", "/v1/subscriptions", wish))[0] == 409
    assert await forge.db.fetchval("select count(*) from subscription_endpoints") == 2
    bob = await forge.user("bob")
    assert (await bob.json("POST", "/v1/subscriptions", wish))[0] == 201
    assert (await nethack.json("DELETE", f"/v1/subscriptions/{first['id']}"))[0] == 204
    assert (await nethack.json("POST", "/v1/subscriptions", wish))[0] == 201


async def test_a_deleted_subscription_is_sent_nothing(nethack: Client, receiver: Receiver) -> None:
    """What another is sent tells that it has been its turn."""
    made = await subscribed(nethack, receiver, url=receiver.url + "/deleted")
    await subscribed(nethack, receiver, types=["issue.*"])
    assert (await nethack.json("DELETE", f"/v1/subscriptions/{made['id']}"))[0] == 204
    assert (await nethack.get(f"/v1/subscriptions/{made['id']}"))[0] == 404
    assert await nethack.forge.db.fetchval("select count(*) from subscription_endpoints") == 1
    await open_issue(nethack)
    assert [got.path for got in await receiver.until(1)] == ["/hook"]
    assert await nethack.forge.db.fetchval("select count(*) from deliveries") == 1


async def test_a_subscription_outlives_its_project_until_it_is_deleted(nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver)
    bound = await nethack.limited(project="nethack")
    assert (await bound.post("/nethack/delete"))[0] == 200
    address = f"/v1/subscriptions/{made['id']}"
    assert (await nethack.get(address))[1]["status"] == "ended"
    assert (await nethack.json("PATCH", address, {"types": ["issue.*"]}))[1]["types"] == ["issue.*"]
    assert (await nethack.request("DELETE", address))[0] == 204
    assert (await nethack.get(address))[0] == 404


async def test_a_subscription_at_rest_keeps_nothing_and_is_sent_nothing(nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver, active=False)
    await open_issue(nethack)
    await nethack.forge.numbered()
    assert await deliveries(nethack, made) == []
    assert (await nethack.json("PATCH", f"/v1/subscriptions/{made['id']}", {"active": True}))[1]["active"] is True
    await open_issue(nethack, title="two")
    [got, *_] = await receiver.until(1)
    assert orjson.loads(got.body)["data"]["data"]["title"] == "two"
