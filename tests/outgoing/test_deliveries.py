"""Deliveries to addresses of this machine in every spelling are refused."""

from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.outgoing.guard import Guard
from tests.conftest import Client, Forge, prepare_settings
from tests.outgoing.conftest import ALLOWED_HOST, BLOCKED_HOST, Listener, Names, run_server
from tests.outgoing.test_client import SPELLINGS, answer_with
from tests.subscriptions import list_deliveries, open_issue, wait_for_delivery
from workers import delivery

NUMBERS = "2130706433 127.1 0 0177.0.0.1 127.0.0.1. 017700000001 127.0.0.01"
NAMES = {
    "localhost.": [BLOCKED_HOST],
    "xn--rebnd-eta.example": [BLOCKED_HOST],
    "several.example": [BLOCKED_HOST, "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "0.0.0.0"],
}
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.fixture
async def settings(
    database_url: str,
    services: tuple[str, str],
    tmp_path: Path,
    listener: Listener,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """A forge that may send to ALLOWED_HOST, and to public addresses at the port of the listener."""
    monkeypatch.setattr(delivery, "POLL_INTERVAL", 0.05)
    monkeypatch.setattr(delivery, "Guard", partial(Guard, ports=frozenset({listener.port})))
    found = await prepare_settings(database_url, services, tmp_path)
    return found.model_copy(update={"webhook_allow": [IPv4Network(ALLOWED_HOST)]})


async def subscribe(client: Client, url: str) -> Any:
    """Create a subscription; None if its address is invalid."""
    body = {"url": url, "project": "nethack", "types": ["issue.*"]}
    status, made = await client.json("POST", "/v1/subscriptions", body)
    assert status in (201, 422)
    return made if status == 201 else None


async def wait_for_errors(client: Client, made: Any) -> set[str]:
    """Wait for the first attempt; return the failures of all attempts."""
    while not (attempts := (await wait_for_delivery(client, made))["attempts"]):
        pass
    assert {attempt["status"] for attempt in attempts} == {None}
    return {attempt["error"] for attempt in attempts}


async def test_no_spelling_of_a_blocked_address_gets_a_delivery(
    forge: Forge, nethack: Client, listener: Listener, names: Names
) -> None:
    for name, addresses in NAMES.items():
        names[name] = [addresses]
    hosts = [*SPELLINGS.split(), *NUMBERS.split(), *NAMES]
    made = {host: await subscribe(nethack, f"http://{host}:{listener.port}/") for host in hosts}
    allowed = {host: subscription for host, subscription in made.items() if subscription is not None}
    assert len(allowed) > 20
    await open_issue(nethack)
    for host, subscription in allowed.items():
        assert await wait_for_errors(nethack, subscription) <= {"refused", "invalid"}, host
    assert (
        await wait_for_errors(nethack, allowed[BLOCKED_HOST])
        == await wait_for_errors(nethack, allowed["several.example"])
        == {"refused"}
    )
    assert await listener.is_untouched()


async def test_web_hooks_of_a_project_are_guarded_too(
    forge: Forge, nethack: Client, listener: Listener, names: Names
) -> None:
    hooks = "\n".join(
        f"http://{host}:{listener.port}/" for host in (BLOCKED_HOST, "localhost", "[::ffff:127.0.0.1]", "[::1]")
    )
    assert (await nethack.post("/nethack/options/update", **{"Web-hooks": hooks}))[0] == 200
    _, page = await nethack.get("/v1/subscriptions")
    assert len(page["subscriptions"]) == 4
    for hook in page["subscriptions"]:
        assert await wait_for_errors(nethack, hook) == {"refused"}
    assert await listener.is_untouched()


async def test_a_name_that_changes_its_address_between_two_deliveries_is_refused(
    forge: Forge, nethack: Client, listener: Listener, names: Names
) -> None:
    names["rebind.example"] = [[ALLOWED_HOST], [BLOCKED_HOST]]
    async with run_server(answer_with(NO_CONTENT), port=listener.port):
        made = await subscribe(nethack, f"http://rebind.example:{listener.port}/")
        await open_issue(nethack)
        await wait_for_delivery(nethack, made, status="delivered")
        await open_issue(nethack)
        await forge.numbered()
        assert await wait_for_errors(nethack, made) == {"refused"}
    assert [delivery["status"] for delivery in await list_deliveries(nethack, made)] == ["waiting", "delivered"]
    assert names.lookups == ["rebind.example"] * 2
    assert await listener.is_untouched()


async def test_a_redirect_to_this_machine_is_a_failure_and_not_followed(
    forge: Forge, nethack: Client, listener: Listener
) -> None:
    answer = f"HTTP/1.1 307 Go\r\nLocation: http://{BLOCKED_HOST}:{listener.port}/\r\nContent-Length: 0\r\n\r\n"
    async with run_server(answer_with(answer.encode())) as port:
        made = await subscribe(nethack, f"http://{ALLOWED_HOST}:{port}/")
        await open_issue(nethack)
        while not (attempts := (await wait_for_delivery(nethack, made))["attempts"]):
            pass
    assert (attempts[0]["status"], attempts[0]["error"]) == (307, "status")
    assert await listener.is_untouched()
