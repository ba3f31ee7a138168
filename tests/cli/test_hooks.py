"""`polyforge hooks listen`: verification of signatures and output."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from app.feed import signing
from app.ops import embedded
from tests.cli.command import UNUSABLE_HOSTS, RunningCommand, start_command
from tests.conftest import Client

pytestmark = pytest.mark.slow

SECRET = "whsec_" + "c2VjcmV0" * 4
TEXT = "a-secret-of-text-alone"
OTHER = "whsec_" + "b3RoZXIh" * 4
BODY = b'{"type":"issue.opened","data":{}}'


@asynccontextmanager
async def listen(*options: str, secret: str = "", terminal: bool = False) -> AsyncIterator[tuple[RunningCommand, str]]:
    port = embedded.free_port()
    async with start_command(
        "hooks", "listen", "--port", str(port), *options, terminal=terminal, TERM="dumb", POLYFORGE_HOOK_SECRET=secret
    ) as command:
        assert await command.read_error() == f"Listening at http://127.0.0.1:{port}/"
        yield command, f"http://127.0.0.1:{port}/hook"


def sign(secret: str = SECRET, *, at: float = 0, delivery_id: str = "1", body: bytes = BODY) -> dict[str, str]:
    """Return the headers of a signed delivery, sent `at` seconds from now."""
    key, timestamp = signing.signing_key(secret), int(time.time() + at)
    assert key
    signature = signing.sign([key], delivery_id, timestamp, body)
    return {"webhook-id": delivery_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}


async def post(url: str, headers: dict[str, str], body: bytes = BODY) -> int:
    async with aiohttp.ClientSession() as session, session.post(url, headers=headers, data=body) as answer:
        return answer.status


def sign_and_change(name: str, value: str) -> dict[str, str]:
    return {**sign(), name: value}


def sign_without(name: str) -> dict[str, str]:
    return {key: value for key, value in sign().items() if key != name}


def sign_with_each(*secrets: str) -> dict[str, str]:
    signed = [sign(secret) for secret in secrets]
    return {**signed[0], "webhook-signature": " ".join(headers["webhook-signature"] for headers in signed)}


async def test_deliveries_of_the_forge_are_verified(nethack: Client) -> None:
    for secret, payload_format in ((SECRET, "standard"), (TEXT, "cloudevents")):
        async with listen(secret=secret) as (command, url):
            body = {"url": url, "project": "nethack", "types": ["issue.*"], "secret": secret, "format": payload_format}
            status, made = await nethack.json("POST", "/v1/subscriptions", body)
            assert status == 201
            assert (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[0] == 200
            delivery = await command.read_json()
            assert delivery == {
                "at": delivery["at"], "id": delivery["id"], "type": "issue.opened", "verified": True, "reason": None,
                "answer": 204, "body": delivery["body"],
            }  # fmt: skip
            _, event = await nethack.get(f"/v1/events/{delivery['body']['data']['seq']}")
            assert delivery["body"]["data"] == event
            async with asyncio.timeout(20):
                while (await nethack.get(f"/v1/deliveries/{delivery['id']}"))[1]["status"] != "delivered":
                    await asyncio.sleep(0.05)
            assert (await nethack.json("DELETE", f"/v1/subscriptions/{made['id']}"))[0] == 204
            assert await command.wait(signal.SIGINT) == 0


async def test_only_valid_signatures_are_verified() -> None:
    wrong_one = "webhook-signature does not match the secret and the body"
    wrong_pagure = "X-Pagure-Signature-256 does not match the secret and the body"
    pagure = {"X-Pagure-Signature-256": signing.sign_pagure(SECRET, BODY)["X-Pagure-Signature-256"]}
    async with listen(secret=SECRET) as (command, url):
        cases: list[tuple[dict[str, str], str | None]] = [
            (sign(), None),
            (sign_with_each(OTHER, SECRET), None),
            (sign_with_each(SECRET, OTHER), None),
            (sign(at=-200), None),
            (pagure, None),
            ({**sign(), **pagure}, None),
            ({}, "it has no signature"),
            (sign(OTHER), wrong_one),
            (sign_with_each(OTHER, TEXT), wrong_one),
            (sign(body=BODY + b" "), wrong_one),
            (sign_and_change("webhook-id", "2"), wrong_one),
            (sign_and_change("webhook-timestamp", str(int(time.time()) - 60)), wrong_one),
            (sign_and_change("webhook-signature", ""), wrong_one),
            (sign_without("webhook-id"), wrong_one),
            (sign_without("webhook-timestamp"), "webhook-timestamp is missing or not a number"),
            (sign_and_change("webhook-timestamp", "soon"), "webhook-timestamp is missing or not a number"),
            (sign(at=-400), "it is more than five minutes old"),
            (sign(at=400), "it is more than five minutes early"),
            ({**sign(), "X-Pagure-Signature-256": "0" * 64}, wrong_pagure),
            ({**pagure, **sign(OTHER)}, wrong_one),
        ]
        for headers, reason in cases:
            assert await post(url, headers) == (401 if reason else 204), headers
            delivery = await command.read_json()
            assert (delivery["verified"], delivery["reason"], delivery["id"]) == (
                not reason,
                reason,
                headers.get("webhook-id"),
            )


async def test_a_signature_that_is_not_ascii_is_invalid() -> None:
    async with listen(secret=SECRET) as (command, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].removesuffix("/hook")))
        lines = [f"{name}: {value}" for name, value in sign_and_change("webhook-signature", "v1,\xfc").items()]
        request = "\r\n".join(["POST / HTTP/1.0", *lines, "Content-Length: 0", "", ""])
        writer.write(request.encode("latin-1"))
        assert (await reader.readline()).split()[1] == b"401"
        assert (await command.read_json())["reason"] == "webhook-signature does not match the secret and the body"
        writer.close()


async def test_without_a_secret_everything_is_accepted_but_not_verified() -> None:
    async with listen() as (command, url):
        for body, payload in ((BODY, {"type": "issue.opened", "data": {}}), (b"[1]", [1]), (b"\xff", None)):
            assert await post(url, sign(), body) == 204
            delivery = await command.read_json()
            assert (delivery["verified"], delivery["reason"], delivery["body"]) == (
                False,
                "no secret was given",
                payload,
            )


@pytest.mark.parametrize("secret", [SECRET, OTHER])
async def test_the_status_of_responses_can_be_chosen(secret: str) -> None:
    async with listen("--answer", "503", secret=SECRET) as (command, url):
        assert await post(url, sign(secret)) == 503
        delivery: Any = await command.read_json()
        assert (delivery["answer"], delivery["verified"]) == (503, secret == SECRET)


async def test_terminal_output_is_one_line_per_delivery() -> None:
    async with listen(secret=SECRET, terminal=True) as (command, url):
        await post(url, sign(), BODY.replace(b"issue.opened", b"\\u001b[2J"))
        line = await command.read_line()
        assert "\x1b" not in line
        assert line.split()[-1] == "401"
        await post(url, sign())
        assert (await command.read_line()).split()[1:] == ["issue.opened", "1", "verified", "204"]


async def test_a_bad_secret_or_a_taken_port_is_reported() -> None:
    async with start_command("hooks", "listen", "--port", "8000", POLYFORGE_HOOK_SECRET="short") as command:
        assert await command.wait() == 2
    async with listen() as (_, url):
        port = url.split(":")[2].removesuffix("/hook")
        async with start_command("hooks", "listen", "--port", port) as second:
            while "Listening" in (error := await second.read_error()):
                pass
            assert error == f"Error: Cannot listen: port {port} of 127.0.0.1 is in use."
            assert await second.wait() == 1


async def test_a_request_that_is_no_delivery_is_shown_as_one_without_type_and_id() -> None:
    async with listen(terminal=True) as (command, url):
        await post(url, {}, b"[]")
        line = await command.read_line()
        assert line.split()[1:3] == ["-", "-"]
        assert "None" not in line


@pytest.mark.parametrize(("host", "cause"), UNUSABLE_HOSTS.items())
async def test_an_address_that_cannot_be_listened_on_is_named(host: str, cause: str) -> None:
    async with start_command("hooks", "listen", "--port", "8080", "--host", host) as command:
        error = await command.read_error()
        assert error.startswith(f"Error: Cannot listen: {cause}")
        assert await command.wait() == 1
