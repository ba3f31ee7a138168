"""The URLs of subscriptions: asked for as they are given, and kept where nobody can read them."""

import pytest

from tests.conftest import Client, Forge
from tests.receiver import Receiver
from tests.subscriptions import subscribe

TARGETS = (
    "/hook?sig=rX7AnN6H6BGSzbXpbUQsY%2FXCC2w%3D", "/x?sp=%2Ftriggers%2Fmanual%2Frun", "/x?to=a%40b.c", "/%41", "/x?",
    "/a/../b", "/a//b", "/x?a=b&&c", "/x?q=+%20", "?x", "/;a=(b)!$'*,", "/%7e/%7E~", "/x?=&=", "/x?a?b",
)  # fmt: skip


async def test_an_endpoint_is_asked_for_byte_for_byte(nethack: Client, receiver: Receiver, sent_at_once: None) -> None:
    base = receiver.url.removesuffix("/hook")
    for count, target in enumerate(TARGETS, 1):
        made = await subscribe(nethack, receiver, url=base + target)
        assert (await nethack.json("POST", f"/v1/subscriptions/{made['id']}/ping"))[0] == 202
        asked = (await receiver.wait_for(count))[-1]
        assert asked.raw_path == (target if target.startswith("/") else f"/{target}")


@pytest.mark.parametrize("url", ["http://a b/", "http://h/a b", "http://h/%zz", "http://h:99999/", "http://h/\u00fc"])
async def test_what_is_no_url_is_refused(nethack: Client, receiver: Receiver, url: str) -> None:
    made = await subscribe(nethack, receiver)
    for method, path in (("POST", "/v1/subscriptions"), ("PATCH", f"/v1/subscriptions/{made['id']}")):
        body = {"url": url, **({"project": "nethack"} if method == "POST" else {})}
        status, problem = await nethack.json(method, path, body)
        assert (status, [each["pointer"] for each in problem["errors"]]) == (422, ["/url"])


async def test_nothing_of_an_endpoint_is_stored_in_clear(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    url, secret = receiver.url + "?key=canary-in-url", "canary-secret-of-hook"
    made = await subscribe(nethack, receiver, url=url, secret=secret, headers={"X-Key": "canary-in-header"})
    [stored] = await forge.db.fetch("select t::text as row from subscription_endpoints t")
    assert "canary" not in stored["row"]
    here = f"/v1/subscriptions/{made['id']}"
    assert (await nethack.json("POST", here + "/secret", {"secret": "canary-next-secret"}))[0] == 200
    assert (await nethack.json("PATCH", here, {"headers": {"X-Key": "canary-changed"}}))[0] == 200
    assert (await nethack.json("POST", here + "/ping"))[0] == 202
    [got] = await receiver.wait_for(1)
    assert (got.raw_path, got.headers["x-key"]) == ("/hook?key=canary-in-url", "canary-changed")
    assert len(got.headers["webhook-signature"].split(" ")) == 2
    for row in await forge.db.fetch("select t::text as row from subscription_endpoints t"):
        assert "canary" not in row["row"]
    sealed = await forge.db.fetchrow("select secret, previous_secret from subscription_endpoints")
    assert sealed is not None
    assert sealed["secret"] != sealed["previous_secret"]


async def test_a_sealed_value_opens_in_its_own_row_only(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    """Who can write to the database cannot have one subscription's secret shown by another."""
    first, second = [await subscribe(nethack, receiver) for _ in range(2)]
    await forge.db.execute(
        """
        update subscription_endpoints set url = other.url from subscription_endpoints as other
        where  subscription_endpoints.subscription_id = $1 and other.subscription_id = $2
        """,
        first["id"],
        second["id"],
    )
    for made in (first, second):
        assert (await nethack.json("POST", f"/v1/subscriptions/{made['id']}/ping"))[0] == 202
    await receiver.wait_for(1)
    assert (await nethack.get(f"/v1/subscriptions/{first['id']}/deliveries"))[1]["deliveries"][0]["status"] == "waiting"
