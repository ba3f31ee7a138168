"""HTTP to where users aim it."""

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
from tests.outgoing.conftest import HERE, THERE, Authority, Listener, Names, Talk, site, talking

SPELLINGS = """
127.0.0.1 localhost LOCALHOST localhost. 0.0.0.0 0x7f000001 0x7f.1 0X7F.0.0.1 [::1] [::] [::ffff:127.0.0.1]
[::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1] [64:ff9b::7f00:1] ①②⑦.⓪.⓪.① 127。0。0。1 ｌｏｃａｌｈｏｓｔ
ⓛocalhost xn--rebnd-eta.example rebïnd.example user:password@127.0.0.1 public.example@127.0.0.1
"""


@pytest.fixture
async def sender(guard: Guard) -> AsyncIterator[Client]:
    async with open_client(guard, connect=2.0, total=10.0) as sender:
        yield sender


async def fails(sender: Client, url: str) -> Failure:
    with pytest.raises(OutgoingError) as caught:
        await sender.send("POST", url, body=b"{}")
    # Whoever shows or logs it shows the class alone.
    assert str(caught.value) == caught.value.failure.value
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.failure


def saying(answer: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return talk


@pytest.mark.parametrize("host", SPELLINGS.split())
async def test_no_spelling_of_an_address_gets_past_the_guard(
    sender: Client, listener: Listener, names: Names, host: str
) -> None:
    names["localhost."] = names["xn--rebnd-eta.example"] = [[HERE]]
    assert await fails(sender, f"http://{host}:{listener.port}/") == "refused"
    assert await listener.untouched()


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0", "0177.0.0.1", "127.0.0.1.", "017700000001", "127.0.0.01"])
async def test_numbers_that_only_some_take_for_addresses_are_no_urls(
    sender: Client, listener: Listener, host: str
) -> None:
    assert await fails(sender, f"http://{host}:{listener.port}/") in ("invalid", "refused")
    assert await listener.untouched()


@pytest.mark.parametrize(
    "url", ["", "/", "http://", "ftp://there.example/", "file:///etc/passwd", "ws://there.example/", "http://a:b:c/",
            "http://there.example:99999/", "unix:///run/x", "http://[::1", "http://\udc80/", "http://a\r\nb/"],
)  # fmt: skip
async def test_what_is_no_url_of_the_web_goes_nowhere(sender: Client, names: Names, url: str) -> None:
    assert await fails(sender, url) in ("invalid", "unresolved")
    assert not [name for name in names.asked if name == "there.example"]


async def test_a_name_with_several_addresses_leads_to_the_allowed_ones_only(
    sender: Client, listener: Listener, names: Names
) -> None:
    answer = saying(b"HTTP/1.1 204 No Content\r\n\r\n")
    names["mixed.example"] = [[HERE, "::1", "::ffff:127.0.0.1", THERE, "0.0.0.0"]]
    names["bad.example"] = [[HERE, "::1", "0.0.0.0"]]
    async with talking(answer, port=listener.port):
        assert (await sender.send("POST", f"http://mixed.example:{listener.port}/")).status == 204
        assert await fails(sender, f"http://bad.example:{listener.port}/") == "refused"
    assert await listener.untouched()


async def test_a_name_that_changes_its_address_is_refused_when_it_has(
    sender: Client, listener: Listener, names: Names
) -> None:
    names["rebind.example"] = [[THERE], [HERE]]
    # The connection of the first request could be kept, and its name remembered.
    answer = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
    async with talking(answer, port=listener.port):
        url = f"http://rebind.example:{listener.port}/"
        assert (await sender.send("POST", url)).body == b"ok"
        assert await fails(sender, url) == "refused"
    assert names.asked == ["rebind.example"] * 2
    assert await listener.untouched()


async def test_the_port_is_one_of_the_webs(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "is_public", lambda address: True)
    monkeypatch.setattr(guards, "is_own_address", lambda address: False)
    async with open_client(Guard()) as sender:
        assert await fails(sender, f"http://{HERE}:{listener.port}/") == "refused"
    assert await listener.untouched()


async def test_a_redirect_is_an_answer_and_not_followed(sender: Client, listener: Listener) -> None:
    paths = []

    async def elsewhere(request: web.Request) -> web.Response:
        paths.append(request.path)
        raise web.HTTPTemporaryRedirect("/next" if request.path == "/near" else f"http://{HERE}:{listener.port}/")

    async with site(elsewhere) as url:
        for path in ("/near", "/far"):
            assert (await sender.send("POST", url + path)).status == 307
    assert paths == ["/near", "/far"]
    assert await listener.untouched()


async def test_the_environment_names_no_proxy_and_no_password(
    guard: Guard, listener: Listener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{HERE}:{listener.port}")
    (tmp_path / "netrc").write_text(f"machine {THERE} login alice password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    async def echo(request: web.Request) -> web.Response:
        return web.json_response(dict(request.headers))

    async with site(echo) as url, open_client(guard) as sender:
        answer = await sender.send("POST", url, headers={"X-Mine": "1"})
    assert b"X-Mine" in answer.body
    assert b"Authorization" not in answer.body
    assert b"Accept-Encoding" not in answer.body
    assert await listener.untouched()


async def test_no_cookie_is_kept(sender: Client, names: Names) -> None:
    names["there.example"] = [[THERE]]

    async def cookies(request: web.Request) -> web.Response:
        answer = web.json_response(dict(request.cookies))
        answer.set_cookie("session", "1")
        return answer

    async with site(cookies) as url:
        named = url.replace(THERE, "there.example")
        assert [(await sender.send("POST", named)).body for _ in range(2)] == [b"{}", b"{}"]


async def test_an_answer_is_read_up_to_its_limit(sender: Client) -> None:
    async def long(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Retry-After": "7"})
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 4096)

    async def fitting(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * MAX_BODY)

    async with site(long) as url:
        answer = await sender.send("POST", url)
        assert (answer.status, answer.headers["retry-after"], len(answer.body), answer.cut) == (
            200,
            "7",
            MAX_BODY,
            True,
        )
    async with site(fitting) as url:
        answer = await sender.send("POST", url)
        assert (len(answer.body), answer.cut) == (MAX_BODY, False)


async def test_a_compressed_answer_is_not_unpacked(sender: Client) -> None:
    packed = gzip.compress(b"x" * 10_000_000)

    async def bomb(request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with site(bomb) as url:
        assert (await sender.send("POST", url)).body == packed[:MAX_BODY]


async def test_an_answer_that_drips_ends_with_the_deadline(guard: Guard) -> None:
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

    async with open_client(guard, total=0.4) as sender:
        for talk in (drip, headers):
            async with talking(talk) as port:
                assert await fails(sender, f"http://{THERE}:{port}/") == "timeout"


@pytest.mark.parametrize("early", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nhalf"])
async def test_a_receiver_that_does_not_listen_ends_with_the_deadline(guard: Guard, early: bytes) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(early)
        await asyncio.sleep(2)

    async with open_client(guard, total=0.4) as sender, talking(deaf) as port:
        with pytest.raises(OutgoingError, match=r"^timeout$"):
            await sender.send("POST", f"http://{THERE}:{port}/", body=b"x" * 1_000_000)


async def test_a_connection_has_a_deadline_of_its_own(
    guard: Guard, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)

    async with open_client(guard, connect=0.3, total=30.0) as sender:
        async with talking(no_handshake) as port:
            assert await fails(sender, f"https://{THERE}:{port}/") == "timeout"

        def slow(*arguments: Any, **options: Any) -> Any:
            time.sleep(2)
            raise socket.gaierror(socket.EAI_NONAME, "no such name")

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        assert await fails(sender, "http://slow.example/") == "timeout"


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
async def test_what_is_no_whole_answer_is_a_failure(sender: Client, answer: bytes, failure: str) -> None:
    async with talking(saying(answer)) as port:
        assert await fails(sender, f"http://{THERE}:{port}/") == failure


async def test_a_connection_that_is_cut_is_a_failure(sender: Client) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with talking(cut) as port:
        assert await fails(sender, f"http://{THERE}:{port}/") == "reset"
        assert await fails(sender, f"https://{THERE}:{port}/") == "reset"
    assert await fails(sender, f"http://{THERE}:{port}/") == "unreachable"


async def test_a_name_without_an_address_is_a_failure(sender: Client, names: Names) -> None:
    names["empty.example"] = [[]]
    assert await fails(sender, "http://empty.example/") == "unresolved"
    assert await fails(sender, "http://nowhere.example/") == "unresolved"


async def test_certificates_are_checked(guard: Guard, sender: Client, names: Names, authority: Authority) -> None:
    names["there.example"] = names["other.example"] = [[THERE]]

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async with site(hello, authority.serving) as url, open_client(guard, tls=authority.trusting) as trusting:
        port = url.rpartition(":")[2]
        assert await fails(sender, url) == "tls"
        assert await fails(trusting, f"https://other.example:{port}/") == "tls"
        assert (await trusting.send("GET", f"https://there.example:{port}/")).body == b"hello"
        assert (await trusting.send("GET", url)).body == b"hello"

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        await reader.read(1)

    async with talking(no_tls) as plain:
        assert await fails(sender, f"https://{THERE}:{plain}/") == "tls"
