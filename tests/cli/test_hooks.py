"""`polyforge hooks listen`: deliveries are believed when they are signed, and only then."""

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
from tests.cli.command import Command, running
from tests.conftest import Client

pytestmark = pytest.mark.slow

SECRET = "whsec_" + "c2VjcmV0" * 4
TEXT = "a-secret-of-text-alone"
OTHER = "whsec_" + "b3RoZXIh" * 4
BODY = b'{"type":"issue.opened","data":{}}'


@asynccontextmanager
async def listening(*options: str, terminal: bool = False) -> AsyncIterator[tuple[Command, str]]:
    port = embedded.free_port()
    async with running("hooks", "listen", "--port", str(port), *options, terminal=terminal, TERM="dumb") as command:
        assert await command.warning() == f"Listening at http://127.0.0.1:{port}/"
        yield command, f"http://127.0.0.1:{port}/hook"


def signed(secret: str = SECRET, *, at: float = 0, id: str = "1", body: bytes = BODY) -> dict[str, str]:
    """The headers of a delivery, `at` seconds from now."""
    key, timestamp = signing.signing_key(secret), int(time.time() + at)
    assert key
    signature = signing.sign([key], id, timestamp, body)
    return {"webhook-id": id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}


async def post(url: str, headers: dict[str, str], body: bytes = BODY) -> int:
    async with aiohttp.ClientSession() as session, session.post(url, headers=headers, data=body) as answer:
        return answer.status


def changed(name: str, value: str) -> dict[str, str]:
    return {**signed(), name: value}


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in signed().items() if key != name}


def several(*secrets: str) -> dict[str, str]:
    each = [signed(secret) for secret in secrets]
    return {**each[0], "webhook-signature": " ".join(headers["webhook-signature"] for headers in each)}


async def test_what_the_forge_sends_is_verified(nethack: Client) -> None:
    for secret, format in ((SECRET, "standard"), (TEXT, "cloudevents")):
        async with listening("--secret", secret) as (command, url):
            asked = {"url": url, "project": "nethack", "types": ["issue.*"], "secret": secret, "format": format}
            status, made = await nethack.json("POST", "/v1/subscriptions", asked)
            assert status == 201
            assert (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[0] == 200
            got = await command.json()
            assert got == {
                "at": got["at"], "id": got["id"], "type": "issue.opened", "verified": True, "reason": None,
                "answer": 204, "body": got["body"],
            }  # fmt: skip
            _, event = await nethack.get(f"/v1/events/{got['body']['data']['seq']}")
            assert got["body"]["data"] == event
            async with asyncio.timeout(20):
                while (await nethack.get(f"/v1/deliveries/{got['id']}"))[1]["status"] != "delivered":
                    await asyncio.sleep(0.05)
            assert (await nethack.json("DELETE", f"/v1/subscriptions/{made['id']}"))[0] == 204
            assert await command.end(signal.SIGINT) == 0


async def test_only_what_is_signed_is_believed() -> None:
    wrong_one = "webhook-signature does not match the secret and the body"
    wrong_pagure = "X-Pagure-Signature-256 does not match the secret and the body"
    pagure = {"X-Pagure-Signature-256": signing.sign_pagure(SECRET, BODY)["X-Pagure-Signature-256"]}
    async with listening("--secret", SECRET) as (command, url):
        cases: list[tuple[dict[str, str], str | None]] = [
            (signed(), None),
            (several(OTHER, SECRET), None),
            (several(SECRET, OTHER), None),
            (signed(at=-200), None),
            (pagure, None),
            ({**signed(), **pagure}, None),
            ({}, "it has no signature"),
            (signed(OTHER), wrong_one),
            (several(OTHER, TEXT), wrong_one),
            (signed(body=BODY + b" "), wrong_one),
            (changed("webhook-id", "2"), wrong_one),
            (changed("webhook-timestamp", str(int(time.time()) - 60)), wrong_one),
            (changed("webhook-signature", ""), wrong_one),
            (without("webhook-id"), wrong_one),
            (without("webhook-timestamp"), "webhook-timestamp is missing or not a number"),
            (changed("webhook-timestamp", "soon"), "webhook-timestamp is missing or not a number"),
            (signed(at=-400), "it is more than five minutes old"),
            (signed(at=400), "it is more than five minutes early"),
            ({**signed(), "X-Pagure-Signature-256": "0" * 64}, wrong_pagure),
            ({**pagure, **signed(OTHER)}, wrong_one),
        ]
        for headers, reason in cases:
            assert await post(url, headers) == (401 if reason else 204), headers
            got = await command.json()
            assert (got["verified"], got["reason"], got["id"]) == (not reason, reason, headers.get("webhook-id"))


async def test_bytes_that_are_no_text_are_no_signature() -> None:
    async with listening("--secret", SECRET) as (command, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].removesuffix("/hook")))
        lines = [f"{name}: {value}" for name, value in changed("webhook-signature", "v1,\xfc").items()]
        request = "\r\n".join(["POST / HTTP/1.0", *lines, "Content-Length: 0", "", ""])
        writer.write(request.encode("latin-1"))
        assert (await reader.readline()).split()[1] == b"401"
        assert (await command.json())["reason"] == "webhook-signature does not match the secret and the body"
        writer.close()


async def test_without_a_secret_everything_is_taken_and_nothing_believed() -> None:
    async with listening() as (command, url):
        for body, said in ((BODY, {"type": "issue.opened", "data": {}}), (b"[1]", [1]), (b"\xff", None)):
            assert await post(url, signed(), body) == 204
            got = await command.json()
            assert (got["verified"], got["reason"], got["body"]) == (False, "no secret was given", said)


@pytest.mark.parametrize("secret", [SECRET, OTHER])
async def test_the_answer_may_be_chosen(secret: str) -> None:
    async with listening("--secret", SECRET, "--answer", "503") as (command, url):
        assert await post(url, signed(secret)) == 503
        got: Any = await command.json()
        assert (got["answer"], got["verified"]) == (503, secret == SECRET)


async def test_people_at_a_terminal_get_a_line() -> None:
    async with listening("--secret", SECRET, terminal=True) as (command, url):
        await post(url, signed(), BODY.replace(b"issue.opened", b"\\u001b[2J"))
        line = await command.line()
        assert "\x1b" not in line
        assert line.split()[-1] == "401"
        await post(url, signed())
        assert (await command.line()).split()[1:] == ["issue.opened", "1", "verified", "204"]


async def test_what_cannot_be_listened_with_is_refused_in_a_sentence() -> None:
    async with running("hooks", "listen", "--port", "8000", "--secret", "short") as command:
        assert await command.end() == 2
    async with listening() as (_, url):
        port = url.split(":")[2].removesuffix("/hook")
        async with running("hooks", "listen", "--port", port) as second:
            while "Listening" in (said := await second.warning()):
                pass
            assert said.startswith(f"No: 127.0.0.1:{port} cannot be listened on: ")
            assert await second.end() == 1
