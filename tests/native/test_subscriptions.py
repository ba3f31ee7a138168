"""Subscriptions: creating, showing, changing and ending them."""

from typing import Any

import orjson
import pytest

from app.core import subscriptions as rules
from tests.conftest import Client, Forge
from tests.receiver import Receiver
from tests.subscriptions import list_deliveries, open_issue, subscribe, wait_for_delivery

pytestmark = pytest.mark.usefixtures("retried_at_once")


async def test_a_subscription_is_shown_without_its_secret_and_url(nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*", "ref.updated"])
    assert subscription.pop("secret").startswith("whsec_")
    assert subscription == {
        "id": subscription["id"],
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
        "created_at": subscription["created_at"],
        "changed_at": subscription["changed_at"],
    }
    assert await nethack.get(f"/v1/subscriptions/{subscription['id']}") == (200, subscription)
    assert await nethack.get("/v1/subscriptions") == (200, {"subscriptions": [subscription], "next": None})


async def test_neither_secret_nor_url_is_in_the_log(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    secret = "a-secret-of-sixteen-or-more"
    subscription = await subscribe(nethack, receiver, secret=secret, headers={"Authorization": "Bearer of-news"})
    await nethack.json("POST", f"/v1/subscriptions/{subscription['id']}/secret", {"secret": secret + "!"})
    await nethack.json("PATCH", f"/v1/subscriptions/{subscription['id']}", {"url": receiver.url + "/elsewhere"})
    everything = await forge.db.fetchval(
        "select (select string_agg(data::text, '') from events) || (select string_agg(body::text, '') from commands)"
    )
    for hidden in (secret, "/hook", "of-news"):
        assert hidden not in everything


@pytest.mark.parametrize(
    ("command", "pointer"),
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
async def test_an_invalid_subscription_is_refused(nethack: Client, command: dict[str, Any], pointer: str) -> None:
    body = {"url": "https://example.org/", "project": "nethack", **command}
    status, problem = await nethack.json("POST", "/v1/subscriptions", body)
    assert (status, [error["pointer"] for error in problem["errors"]]) == (422, [pointer])
    assert await nethack.forge.db.fetchval("select count(*) from subscription_endpoints") == 0


async def test_revoking_its_token_ends_a_subscription(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    _, issued = await nethack.json("POST", "/v1/users/alice/tokens", {"description": "hook"})
    subscription = await subscribe(Client(forge, issued["token"], "alice"), receiver, types=["issue.*"])
    assert (await nethack.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
    await open_issue(nethack)
    await forge.numbered()
    found = (await nethack.get(f"/v1/subscriptions/{subscription['id']}"))[1]
    assert (found["status"], found["reason"]) == ("ended", "Its token was revoked.")
    assert receiver.received == []


async def test_a_subscription_ends_with_its_token_that_expires(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    laptop = await nethack.limited(expires_at="2099-01-01T00:00:00Z")
    subscription = await subscribe(laptop, receiver, types=["issue.*"])
    await open_issue(nethack)
    await wait_for_delivery(nethack, subscription, status="delivered")
    await forge.db.execute("update tokens set expires_at = now() where expires_at is not null")
    await open_issue(nethack)
    await forge.numbered()
    row = await wait_for_delivery(nethack, subscription, status="suppressed")
    found = (await nethack.get(f"/v1/subscriptions/{subscription['id']}"))[1]
    assert (found["status"], found["reason"], row["reason"]) == ("ended", "Its token has expired.", found["reason"])
    await open_issue(nethack)
    await forge.numbered()
    assert (len(await list_deliveries(nethack, subscription)), len(receiver.received)) == (2, 1)


async def test_subscriptions_of_other_users_are_not_found(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    await open_issue(nethack)
    [got] = await receiver.wait_for(1)
    bob = await forge.user("bob")
    assert (await bob.get("/v1/subscriptions"))[1]["subscriptions"] == []
    here = f"/v1/subscriptions/{subscription['id']}"
    for method, path in [
        ("GET", here), ("PATCH", here), ("DELETE", here), ("POST", here + "/secret"), ("POST", here + "/ping"),
        ("POST", here + "/replay"), ("GET", here + "/deliveries"), ("GET", f"/v1/deliveries/{got.id}"),
        ("POST", f"/v1/deliveries/{got.id}/redeliver"), ("GET", "/v1/subscriptions/x"),
    ]:  # fmt: skip
        assert (await bob.json(method, path))[0] == 404, path
        assert (await forge.nobody.json(method, path))[0] == 401, path
    limited = await nethack.limited(acls=["modify_project"])
    assert (await limited.get(here))[0] == 403


async def test_a_user_has_a_limited_number_of_subscriptions(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MAX_SUBSCRIPTIONS", 2)
    first, _ = [await subscribe(nethack, receiver) for _ in range(2)]
    command = {"url": receiver.url, "project": "nethack"}
    assert (await nethack.json("POST", "/v1/subscriptions", command))[0] == 409
    assert await forge.db.fetchval("select count(*) from subscription_endpoints") == 2
    bob = await forge.user("bob")
    assert (await bob.json("POST", "/v1/subscriptions", command))[0] == 201
    assert (await nethack.json("DELETE", f"/v1/subscriptions/{first['id']}"))[0] == 204
    assert (await nethack.json("POST", "/v1/subscriptions", command))[0] == 201


async def test_nothing_is_sent_to_a_deleted_subscription(nethack: Client, receiver: Receiver) -> None:
    """The delivery to another subscription shows that its turn has passed."""
    subscription = await subscribe(nethack, receiver, url=receiver.url + "/deleted")
    await subscribe(nethack, receiver, types=["issue.*"])
    assert (await nethack.json("DELETE", f"/v1/subscriptions/{subscription['id']}"))[0] == 204
    assert (await nethack.get(f"/v1/subscriptions/{subscription['id']}"))[0] == 404
    assert await nethack.forge.db.fetchval("select count(*) from subscription_endpoints") == 1
    await open_issue(nethack)
    assert [got.path for got in await receiver.wait_for(1)] == ["/hook"]
    assert await nethack.forge.db.fetchval("select count(*) from deliveries") == 1


async def test_a_subscription_outlives_its_project_until_it_is_deleted(nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver)
    bound = await nethack.limited(project="nethack")
    assert (await bound.post("/nethack/delete"))[0] == 200
    address = f"/v1/subscriptions/{subscription['id']}"
    assert (await nethack.get(address))[1]["status"] == "ended"
    assert (await nethack.json("PATCH", address, {"types": ["issue.*"]}))[1]["types"] == ["issue.*"]
    assert (await nethack.request("DELETE", address))[0] == 204
    assert (await nethack.get(address))[0] == 404


async def test_an_inactive_subscription_gets_no_deliveries(nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver, active=False)
    await open_issue(nethack)
    await nethack.forge.numbered()
    assert await list_deliveries(nethack, subscription) == []
    assert (await nethack.json("PATCH", f"/v1/subscriptions/{subscription['id']}", {"active": True}))[1][
        "active"
    ] is True
    await open_issue(nethack, title="two")
    [got, *_] = await receiver.wait_for(1)
    assert orjson.loads(got.body)["data"]["data"]["title"] == "two"
