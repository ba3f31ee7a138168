"""The HTTP client for URLs that users choose."""

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.outgoing import guard as guards
from app.outgoing.client import MAX_BODY, Client, open_client
from app.outgoing.failures import Failure, OutgoingError
from app.outgoing.guard import Guard
from tests.outgoing.conftest import (
    ALLOWED_HOST,
    BLOCKED_HOST,
    Authority,
    Handler,
    Listener,
    Names,
    run_server,
    run_site,
)

SPELLINGS = """
127.0.0.1 localhost LOCALHOST localhost. 0.0.0.0 0x7f000001 0x7f.1 0X7F.0.0.1 [::1] [::] [::ffff:127.0.0.1]
[::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1] [64:ff9b::7f00:1] ①②⑦.⓪.⓪.① 127。0。0。1 ｌｏｃａｌｈｏｓｔ
ⓛocalhost xn--rebnd-eta.example rebïnd.example user:password@127.0.0.1 public.example@127.0.0.1
"""


@pytest.fixture
async def client(guard: Guard) -> AsyncIterator[Client]:
    async with open_client(guard, connect=2.0, total=10.0) as client:
        yield client


async def get_failure(client: Client, url: str) -> Failure:
    with pytest.raises(OutgoingError) as caught:
        await client.send("POST", url, body=b"{}")
    # Shown or logged, the error reveals its class and nothing else.
    assert str(caught.value) == caught.value.failure.value
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.failure


def answer_with(answer: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return handle


@pytest.mark.parametrize("host", SPELLINGS.split())
async def test_no_spelling_of_an_address_gets_past_the_guard(
    client: Client, listener: Listener, names: Names, host: str
) -> None:
    names["localhost."] = names["xn--rebnd-eta.example"] = [[BLOCKED_HOST]]
    assert await get_failure(client, f"http://{host}:{listener.port}/") == "refused"
    assert await listener.is_untouched()


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0", "0177.0.0.1", "127.0.0.1.", "017700000001", "127.0.0.01"])
async def test_numeric_hosts_that_some_parsers_accept_as_addresses_are_refused(
    client: Client, listener: Listener, host: str
) -> None:
    assert await get_failure(client, f"http://{host}:{listener.port}/") in ("invalid", "refused")
    assert await listener.is_untouched()


@pytest.mark.parametrize(
    "url", ["", "/", "http://", "ftp://there.example/", "file:///etc/passwd", "ws://there.example/", "http://a:b:c/",
            "http://there.example:99999/", "unix:///run/x", "http://[::1", "http://\udc80/", "http://a\r\nb/"],
)  # fmt: skip
async def test_only_http_urls_are_requested(client: Client, names: Names, url: str) -> None:
    assert await get_failure(client, url) in ("invalid", "unresolved")
    assert not [name for name in names.lookups if name == "there.example"]


async def test_only_the_allowed_addresses_of_a_name_are_connected_to(
    client: Client, listener: Listener, names: Names
) -> None:
    answer = answer_with(b"HTTP/1.1 204 No Content\r\n\r\n")
    names["mixed.example"] = [[BLOCKED_HOST, "::1", "::ffff:127.0.0.1", ALLOWED_HOST, "0.0.0.0"]]
    names["bad.example"] = [[BLOCKED_HOST, "::1", "0.0.0.0"]]
    async with run_server(answer, port=listener.port):
        assert (await client.send("POST", f"http://mixed.example:{listener.port}/")).status == 204
        assert await get_failure(client, f"http://bad.example:{listener.port}/") == "refused"
    assert await listener.is_untouched()


async def test_a_name_is_refused_once_its_address_has_changed(client: Client, listener: Listener, names: Names) -> None:
    names["rebind.example"] = [[ALLOWED_HOST], [BLOCKED_HOST]]
    # A client that reuses the connection or caches the address would pass.
    answer = answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
    async with run_server(answer, port=listener.port):
        url = f"http://rebind.example:{listener.port}/"
        assert (await client.send("POST", url)).body == b"ok"
        assert await get_failure(client, url) == "refused"
    assert names.lookups == ["rebind.example"] * 2
    assert await listener.is_untouched()


async def test_only_ports_80_and_443_are_allowed(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "is_public", lambda address: True)
    monkeypatch.setattr(guards, "is_own_address", lambda address: False)
    async with open_client(Guard()) as client:
        assert await get_failure(client, f"http://{BLOCKED_HOST}:{listener.port}/") == "refused"
    assert await listener.is_untouched()


async def test_a_redirect_is_returned_and_not_followed(client: Client, listener: Listener) -> None:
    paths = []

    async def redirect(request: web.Request) -> web.Response:
        paths.append(request.path)
        raise web.HTTPTemporaryRedirect(
            "/next" if request.path == "/near" else f"http://{BLOCKED_HOST}:{listener.port}/"
        )

    async with run_site(redirect) as url:
        for path in ("/near", "/far"):
            assert (await client.send("POST", url + path)).status == 307
    assert paths == ["/near", "/far"]
    assert await listener.is_untouched()


async def test_proxies_and_passwords_in_the_environment_are_ignored(
    guard: Guard, listener: Listener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{BLOCKED_HOST}:{listener.port}")
    (tmp_path / "netrc").write_text(f"machine {ALLOWED_HOST} login alice password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    async def echo(request: web.Request) -> web.Response:
        return web.json_response(dict(request.headers))

    async with run_site(echo) as url, open_client(guard) as client:
        answer = await client.send("POST", url, headers={"X-Mine": "1"})
    assert b"X-Mine" in answer.body
    assert b"Authorization" not in answer.body
    assert b"Accept-Encoding" not in answer.body
    assert await listener.is_untouched()


async def test_cookies_are_not_stored(client: Client, names: Names) -> None:
    names["there.example"] = [[ALLOWED_HOST]]

    async def cookies(request: web.Request) -> web.Response:
        answer = web.json_response(dict(request.cookies))
        answer.set_cookie("session", "1")
        return answer

    async with run_site(cookies) as url:
        by_name = url.replace(ALLOWED_HOST, "there.example")
        assert [(await client.send("POST", by_name)).body for _ in range(2)] == [b"{}", b"{}"]


async def test_a_response_is_read_up_to_its_limit(client: Client) -> None:
    async def long(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Retry-After": "7"})
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 4096)

    async def fitting(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * MAX_BODY)

    async with run_site(long) as url:
        answer = await client.send("POST", url)
        assert (answer.status, answer.headers["retry-after"], len(answer.body), answer.cut) == (
            200,
            "7",
            MAX_BODY,
            True,
        )
    async with run_site(fitting) as url:
        answer = await client.send("POST", url)
        assert (len(answer.body), answer.cut) == (MAX_BODY, False)


async def test_a_compressed_response_is_not_decompressed(client: Client) -> None:
    packed = gzip.compress(b"x" * 10_000_000)

    async def bomb(request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with run_site(bomb) as url:
        assert (await client.send("POST", url)).body == packed[:MAX_BODY]


async def test_a_response_that_trickles_in_ends_at_the_deadline(guard: Guard) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
        for _ in range(40):
            writer.write(b"x")
            await asyncio.sleep(0.05)

    async def headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(40):
            writer.write(b"X-Drop: 1\r\n")
            await asyncio.sleep(0.05)
        writer.write(b"Content-Length: 0\r\n\r\n")

    async with open_client(guard, total=0.4) as client:
        for handler in (drip, headers):
            async with run_server(handler) as port:
                assert await get_failure(client, f"http://{ALLOWED_HOST}:{port}/") == "timeout"


@pytest.mark.parametrize("early", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nhalf"])
async def test_a_request_that_is_not_read_ends_at_the_deadline(guard: Guard, early: bytes) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(early)
        await asyncio.sleep(2)

    async with open_client(guard, total=0.4) as client, run_server(deaf) as port:
        with pytest.raises(OutgoingError, match=r"^timeout$"):
            await client.send("POST", f"http://{ALLOWED_HOST}:{port}/", body=b"x" * 1_000_000)


async def test_connecting_has_a_deadline_of_its_own(
    guard: Guard, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)

    async with open_client(guard, connect=0.3, total=30.0) as client:
        async with run_server(no_handshake) as port:
            assert await get_failure(client, f"https://{ALLOWED_HOST}:{port}/") == "timeout"

        def slow(*arguments: Any, **options: Any) -> Any:
            time.sleep(2)
            raise socket.gaierror(socket.EAI_NONAME, "no such name")

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        assert await get_failure(client, "http://slow.example/") == "timeout"


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "reset"),
        (b"SSH-2.0-OpenSSH_9.2 secret\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 20000 + b"\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Many: x\r\n" * 20000 + b"\r\n", "malformed"),
    ],
)
async def test_an_incomplete_or_malformed_response_is_a_failure(client: Client, answer: bytes, failure: str) -> None:
    async with run_server(answer_with(answer)) as port:
        assert await get_failure(client, f"http://{ALLOWED_HOST}:{port}/") == failure


async def test_a_connection_that_is_cut_is_a_failure(client: Client) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with run_server(cut) as port:
        assert await get_failure(client, f"http://{ALLOWED_HOST}:{port}/") == "reset"
        assert await get_failure(client, f"https://{ALLOWED_HOST}:{port}/") == "reset"
    assert await get_failure(client, f"http://{ALLOWED_HOST}:{port}/") == "unreachable"


async def test_a_name_without_an_address_is_a_failure(client: Client, names: Names) -> None:
    names["empty.example"] = [[]]
    assert await get_failure(client, "http://empty.example/") == "unresolved"
    assert await get_failure(client, "http://nowhere.example/") == "unresolved"


async def test_certificates_are_checked(guard: Guard, client: Client, names: Names, authority: Authority) -> None:
    names["there.example"] = names["other.example"] = [[ALLOWED_HOST]]

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async with run_site(hello, authority.serving) as url, open_client(guard, tls=authority.trusting) as trusting:
        port = url.rpartition(":")[2]
        assert await get_failure(client, url) == "tls"
        assert await get_failure(trusting, f"https://other.example:{port}/") == "tls"
        assert (await trusting.send("GET", f"https://there.example:{port}/")).body == b"hello"
        assert (await trusting.send("GET", url)).body == b"hello"

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        await reader.read(1)

    async with run_server(no_tls) as plain:
        assert await get_failure(client, f"https://{ALLOWED_HOST}:{plain}/") == "tls"
