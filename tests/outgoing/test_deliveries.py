"""Deliveries aimed at this machine, in every form that an address can have: nothing comes to it."""

from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.outgoing.guard import Guard
from tests.conftest import Client, Forge, settled
from tests.outgoing.conftest import HERE, THERE, Listener, Names, talking
from tests.outgoing.test_client import SPELLINGS, saying
from tests.subscriptions import list_deliveries, open_issue, wait_for_delivery
from workers import delivery

NUMBERS = "2130706433 127.1 0 0177.0.0.1 127.0.0.1. 017700000001 127.0.0.01"
NAMES = {
    "localhost.": [HERE],
    "xn--rebnd-eta.example": [HERE],
    "several.example": [HERE, "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "0.0.0.0"],
}
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.fixture
async def settings(
    database_url: str,
    services: tuple[str, str],
    tmp_path: Path,
    listener: Listener,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """A forge that may send to THERE alone, and to public addresses at the listener's port."""
    monkeypatch.setattr(delivery, "POLL_INTERVAL", 0.05)
    monkeypatch.setattr(delivery, "Guard", partial(Guard, ports=frozenset({listener.port})))
    found = await settled(database_url, services, tmp_path)
    return found.model_copy(update={"webhook_allow": [IPv4Network(THERE)]})


async def aimed(client: Client, url: str) -> Any:
    """The subscription, or None if there can be none with such an address."""
    body = {"url": url, "project": "nethack", "types": ["issue.*"]}
    status, made = await client.json("POST", "/v1/subscriptions", body)
    assert status in (201, 422)
    return made if status == 201 else None


async def errors(client: Client, made: Any) -> set[str]:
    """How the attempts ended, once there was one."""
    while not (tried := (await wait_for_delivery(client, made))["attempts"]):
        pass
    assert {each["status"] for each in tried} == {None}
    return {each["error"] for each in tried}


async def test_no_form_of_an_address_gets_a_delivery(
    forge: Forge, nethack: Client, listener: Listener, names: Names
) -> None:
    for name, addresses in NAMES.items():
        names[name] = [addresses]
    hosts = [*SPELLINGS.split(), *NUMBERS.split(), *NAMES]
    made = {host: await aimed(nethack, f"http://{host}:{listener.port}/") for host in hosts}
    allowed = {host: subscription for host, subscription in made.items() if subscription is not None}
    assert len(allowed) > 20
    await open_issue(nethack)
    for host, subscription in allowed.items():
        assert await errors(nethack, subscription) <= {"refused", "invalid"}, host
    assert await errors(nethack, allowed[HERE]) == await errors(nethack, allowed["several.example"]) == {"refused"}
    assert await listener.untouched()


async def test_web_hooks_of_a_project_are_guarded_too(
    forge: Forge, nethack: Client, listener: Listener, names: Names
) -> None:
    hooks = "\n".join(f"http://{host}:{listener.port}/" for host in (HERE, "localhost", "[::ffff:127.0.0.1]", "[::1]"))
    assert (await nethack.post("/nethack/options/update", **{"Web-hooks": hooks}))[0] == 200
    _, page = await nethack.get("/v1/subscriptions")
    assert len(page["subscriptions"]) == 4
    for hook in page["subscriptions"]:
        assert await errors(nethack, hook) == {"refused"}
    assert await listener.untouched()


async def test_a_name_that_changes_its_address_between_two_deliveries_is_refused(
    forge: Forge, nethack: Client, listener: Listener, names: Names
) -> None:
    names["rebind.example"] = [[THERE], [HERE]]
    async with talking(saying(TAKEN), port=listener.port):
        made = await aimed(nethack, f"http://rebind.example:{listener.port}/")
        await open_issue(nethack)
        await wait_for_delivery(nethack, made, status="delivered")
        await open_issue(nethack)
        await forge.numbered()
        assert await errors(nethack, made) == {"refused"}
    assert [each["status"] for each in await list_deliveries(nethack, made)] == ["waiting", "delivered"]
    assert names.asked == ["rebind.example"] * 2
    assert await listener.untouched()


async def test_a_redirect_to_this_machine_is_a_failure_and_not_followed(
    forge: Forge, nethack: Client, listener: Listener
) -> None:
    there = f"HTTP/1.1 307 Go\r\nLocation: http://{HERE}:{listener.port}/\r\nContent-Length: 0\r\n\r\n"
    async with talking(saying(there.encode())) as port:
        made = await aimed(nethack, f"http://{THERE}:{port}/")
        await open_issue(nethack)
        while not (tried := (await wait_for_delivery(nethack, made))["attempts"]):
            pass
    assert (tried[0]["status"], tried[0]["error"]) == (307, "status")
    assert await listener.untouched()
