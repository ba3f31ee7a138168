"""The proxy that git goes through."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from app.outgoing import proxy as proxies
from app.outgoing.guard import Guard
from app.outgoing.proxy import MAX_TUNNELS, Proxy, ProxyPass, open_proxy
from tests.outgoing.conftest import HERE, THERE, Listener, Names, talking
from tests.outgoing.test_client import SPELLINGS


@pytest.fixture
async def out(guard: Guard) -> AsyncIterator[Proxy]:
    async with open_proxy(guard) as out:
        yield out


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1000):
        writer.write(piece)
        await writer.drain()


class Asker:
    """A connection to the proxy, and what it answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def status(self) -> int:
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head.split()[1])

    async def rest(self) -> bytes:
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""


OPEN: list[asyncio.StreamWriter] = []


@pytest.fixture(autouse=True)
async def hang_up() -> AsyncIterator[None]:
    yield
    for writer in OPEN:
        writer.transport.abort()
    OPEN.clear()
    await asyncio.sleep(0)


async def ask(out: Proxy, request: str, *, user: str | None = None) -> Asker:
    host, _, port = out.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    OPEN.append(writer)
    credentials = f"Proxy-Authorization: Basic {b64encode(user.encode()).decode()}\r\n" if user is not None else ""
    writer.write(f"{request} HTTP/1.1\r\nHost: there.example\r\n{credentials}\r\n".encode())
    return Asker(reader, writer)


def user(admitted: ProxyPass) -> str:
    url = URL(admitted.url)
    return f"{url.user}:{url.password}"


async def answer(out: Proxy, request: str) -> tuple[int, str | None]:
    """The status for somebody with a pass, and what the pass says after it."""
    with out.admit() as admitted:
        asker = await ask(out, request, user=user(admitted))
        return await asker.status(), admitted.failure


async def test_a_tunnel_carries_bytes_both_ways(out: Proxy, names: Names) -> None:
    names["there.example"] = [[HERE, THERE]]
    async with talking(echo) as port:
        for target in (f"{THERE}:{port}", f"there.example:{port}"):
            with out.admit() as admitted:
                asker = await ask(out, f"CONNECT {target}", user=user(admitted))
                assert await asker.status() == 200
                asker.writer.write(b"x" * 300_000)
                asker.writer.write_eof()
                assert await asker.rest() == b"x" * 300_000
                assert admitted.failure is None


async def test_nobody_goes_through_without_a_pass(out: Proxy) -> None:
    reached = asyncio.Event()

    async def reach(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()

    with out.admit() as ended:
        pass
    async with talking(reach) as port:
        with out.admit() as admitted, out.admit() as other:
            name, _, secret = user(admitted).partition(":")
            wrong = [None, "", ":", name, f"{name}:", f"{name}:{secret[:-1]}", f":{secret}", f"\xff:{secret}",
                     f"{user(other).partition(':')[0]}:{secret}", user(ended)]  # fmt: skip
            for credentials in wrong:
                asker = await ask(out, f"CONNECT {THERE}:{port}", user=credentials)
                assert await asker.status() == 407, credentials
            assert not reached.is_set()
            asker = await ask(out, f"CONNECT {THERE}:{port}", user=user(admitted))
            assert await asker.status() == 200
            await reached.wait()


async def test_the_proxy_is_on_loopback_and_keeps_its_secrets(out: Proxy) -> None:
    assert out.address.startswith("127.0.0.1:")
    with out.admit() as one, out.admit() as two:
        assert one.secret != two.secret
        assert len(one.secret) >= 32
        assert one.secret not in repr(one)


@pytest.mark.parametrize("host", [*SPELLINGS.split(), "2130706433", "127.1", "0", "0177.0.0.1", "127.0.0.1."])
async def test_no_spelling_of_an_address_gets_through(out: Proxy, listener: Listener, names: Names, host: str) -> None:
    names["localhost."] = names["127.0.0.1."] = names["xn--rebnd-eta.example"] = [[HERE]]
    names["LOCALHOST"] = [[HERE]]
    status, failure = await answer(out, f"CONNECT {host}:{listener.port}")
    # Git asks for names in ASCII; others, and what holds a password, are no targets at all or have no address.
    assert (status, failure) in [(403, "refused")] + [(502, "unresolved"), (400, None)] * (
        not host.isascii() or "@" in host
    )
    assert await listener.untouched()


async def test_a_name_is_looked_up_once_and_reached_where_that_led(
    out: Proxy, listener: Listener, names: Names
) -> None:
    names["rebind.example"] = [[THERE], [HERE]]
    names["mixed.example"] = [[HERE, "::1", THERE]]
    names["bad.example"] = [[HERE, "::1"]]
    async with talking(echo, port=listener.port):
        assert await answer(out, f"CONNECT rebind.example:{listener.port}") == (200, None)
        assert await answer(out, f"CONNECT rebind.example:{listener.port}") == (403, "refused")
        assert await answer(out, f"CONNECT mixed.example:{listener.port}") == (200, None)
        assert await answer(out, f"CONNECT bad.example:{listener.port}") == (403, "refused")
    assert names.asked == ["rebind.example"] * 2 + ["mixed.example", "bad.example"]
    assert await listener.untouched()


async def test_what_cannot_be_reached_is_told_by_its_class(out: Proxy, names: Names) -> None:
    async with talking(echo) as port:
        pass
    assert await answer(out, f"CONNECT {THERE}:{port}") == (502, "unreachable")
    assert await answer(out, "CONNECT nowhere.example:443") == (502, "unresolved")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "connect"])
async def test_only_tunnels_are_made(out: Proxy, listener: Listener, method: str) -> None:
    async with talking(echo, port=listener.port):
        assert (await answer(out, f"{method} http://{THERE}:{listener.port}/"))[0] == 405
        assert (await answer(out, f"{method} {THERE}:{listener.port}"))[0] == 405
    assert await listener.untouched()


MALFORMED = [
    *("", "there.example", "there.example:", ":443", "there.example:x", "/", "a b:443", "there.example:65979"),
    *("[::1:443", "x@there.example:443", "a" * 256 + ":443"),
]


@pytest.mark.parametrize("target", MALFORMED)
async def test_a_tunnel_has_a_host_and_a_port(out: Proxy, names: Names, target: str) -> None:
    assert await answer(out, f"CONNECT {target}") == (400, None)
    assert names.asked == []


async def test_a_request_without_an_end_gets_no_answer(out: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "MAX_HEAD", 0.2)
    host, _, port = out.address.partition(":")
    for head in (b"CONNECT", b"x" * 200_000):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)
        OPEN.append(writer)
        assert await Asker(reader, writer).rest() == b""


async def test_a_tunnel_in_which_nothing_moves_is_closed(guard: Guard) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(20)

    async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(10):
            writer.write(b"x")
            await asyncio.sleep(0.1)

    async with open_proxy(guard, idle=0.5) as out:
        for talk, said, failure in ((silent, b"", "timeout"), (one_way, b"x" * 10, None)):
            async with talking(talk) as port:
                with out.admit() as admitted:
                    asker = await ask(out, f"CONNECT {THERE}:{port}", user=user(admitted))
                    assert await asker.status() == 200
                    assert await asker.reader.readexactly(len(said)) == said
                    assert admitted.failure is None
                    asker.writer.write_eof()
                    assert await asker.rest() == b""
                    assert admitted.failure == failure


async def test_a_tunnel_ends_however_much_moves(guard: Guard) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(60):
            writer.write(b"x")
            await asyncio.sleep(0.05)

    async with open_proxy(guard, lifetime=0.4) as out, talking(drip) as port:
        with out.admit() as admitted:
            asker = await ask(out, f"CONNECT {THERE}:{port}", user=user(admitted))
            assert await asker.status() == 200
            assert len(await asker.rest()) < 60
            assert admitted.failure == "timeout"


async def test_one_pass_carries_so_many_bytes(guard: Guard) -> None:
    async with open_proxy(guard, bytes=10_000) as out, talking(echo) as port:
        with out.admit() as admitted:
            for fits in (True, False):
                asker = await ask(out, f"CONNECT {THERE}:{port}", user=user(admitted))
                assert await asker.status() == 200
                asker.writer.write(b"x" * 4000)
                asker.writer.write_eof()
                assert (len(await asker.rest()) == 4000) == fits
            assert admitted.failure == "too large"


async def test_one_pass_has_so_many_tunnels(out: Proxy) -> None:
    async with talking(echo) as port:
        with out.admit() as admitted:
            askers = [await ask(out, f"CONNECT {THERE}:{port}", user=user(admitted)) for _ in range(MAX_TUNNELS)]
            assert [await asker.status() for asker in askers] == [200] * MAX_TUNNELS
            assert await (await ask(out, f"CONNECT {THERE}:{port}", user=user(admitted))).status() == 429
            askers[0].writer.write_eof()
            assert await askers[0].rest() == b""
            assert await (await ask(out, f"CONNECT {THERE}:{port}", user=user(admitted))).status() == 200


async def test_tunnels_end_with_the_pass_and_with_the_proxy(guard: Guard) -> None:
    gone = asyncio.Queue[None]()

    async def mourn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        gone.put_nowait(None)

    async with talking(mourn) as port:
        async with open_proxy(guard) as out:
            with out.admit() as admitted:
                ended = await ask(out, f"CONNECT {THERE}:{port}", user=user(admitted))
                assert await ended.status() == 200
            assert await ended.rest() == b""
            await gone.get()
            lasting = out.admit()
            admitted = lasting.__enter__()
            cut = await ask(out, f"CONNECT {THERE}:{port}", user=user(admitted))
            assert await cut.status() == 200
        assert await cut.rest() == b""
        await gone.get()
        with pytest.raises(ConnectionRefusedError):
            await ask(out, f"CONNECT {THERE}:{port}", user=user(admitted))
