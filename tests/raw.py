"""A raw HTTP client, for requests that no ordinary client sends."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from app.dialects.pagure.errors import MESSAGES
from tests.conftest import Client, Forge

Text = str | bytes

FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
FETCH = ("Content-Type", "application/x-git-upload-pack-request")
PUSH = ("Content-Type", "application/x-git-receive-pack-request")
COUNTS = "select " + ", ".join(
    f"(select count(*) from {table}) as {table}"
    for table in ("commands", "events", "work", "projects", "issues", "issue_comments", "users", "tokens",
                  "token_secrets", "passwords", "open_pushes")
)  # fmt: skip


def encode(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


async def send(
    port: int, method: Text, target: Text, headers: Sequence[tuple[Text, Text]] = (), body: Text = b"", wait: float = 15
) -> Answer:
    """Send a request on a new connection, with minimal headers besides the given ones."""
    given = {encode(name).lower() for name, _ in headers}
    least = [(b"Host", b"forge"), (b"Content-Length", str(len(encode(body))).encode()), (b"Connection", b"close")]
    if b"transfer-encoding" in given:
        given.add(b"content-length")
    sent = [*headers, *(each for each in least if each[0].lower() not in given)]
    lines = [encode(method) + b" " + encode(target) + b" HTTP/1.1", *(encode(n) + b": " + encode(v) for n, v in sent)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    try:
        async with asyncio.timeout(wait):
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + encode(body))
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b" 100 " not in head[:16]:
                    break
            first, *rest = head.decode("latin-1").split("\r\n")
            found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
            length = found.get("content-length")
            got = await (
                reader.read() if length is None else reader.readexactly(0 if method == "HEAD" else int(length))
            )
            return Answer(int(first.split(" ")[1]), found, got)
    finally:
        writer.close()


class Stranger:
    """A client that sends raw requests with a user's token and checks every response."""

    def __init__(self, forge: Forge, client: Client) -> None:
        self.forge = forge
        self.token = ("Authorization", f"token {client.token}")

    async def counts(self) -> dict[str, int]:
        row = await self.forge.db.fetchrow(COUNTS)
        assert row is not None
        return dict(row)

    async def __call__(
        self, method: Text, target: str, *headers: tuple[Text, Text], body: Text = b"", token: bool = True
    ) -> Answer:
        """Send a request; a refusal must be in the dialect of the path and change nothing."""
        before = await self.counts()
        given = [self.token, *headers] if token else list(headers)
        answer = await send(self.forge.settings.port, method, target, given, body)
        assert answer.status < 500, answer
        if answer.status >= 400:
            assert await self.counts() == before
            if method != "HEAD":
                check_dialect(target, answer)
        return answer

    async def form(self, target: str, fields: dict[str, str]) -> Answer:
        return await self("POST", target, FORM, body=urlencode(fields, errors="surrogatepass"))

    async def json(self, target: str, body: Any, method: str = "POST") -> Answer:
        return await self(method, target, JSON, body=json.dumps(body))


def check_dialect(target: str, answer: Answer) -> None:
    """Check that an error has the form of the path's dialect."""
    if target.startswith("/api/0/"):
        assert answer.media in ("application/json", "application/problem+json"), answer
        assert {"error", "error_code"} <= answer.json.keys()
        code, message = answer.json["error_code"], answer.json["error"]
        assert code in MESSAGES
        assert (
            code == "ENOCODE" or message.partition(" Please visit")[0] == MESSAGES[code].partition(" Please visit")[0]
        )
    elif target.startswith("/v1/"):
        assert answer.media == "application/problem+json", answer
        assert answer.json["type"].startswith("/problems/")
        assert answer.json["title"]
        assert (answer.json["status"], answer.json["instance"]) == (answer.status, answer.headers["x-request-id"])
        assert answer.status != 422 or all({"pointer", "detail"} == set(error) for error in answer.json["errors"])
    else:
        assert answer.media in ("text/plain", "application/problem+json"), answer
    for word in (b"Traceback", b"Exception", b"app/"):
        assert word not in answer.body
