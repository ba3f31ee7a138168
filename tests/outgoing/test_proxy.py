"""The proxy for outgoing git."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from app.outgoing import proxy as proxies
from app.outgoing.guard import Guard
from app.outgoing.proxy import MAX_TUNNELS, Proxy, ProxyPass, open_proxy
from tests.outgoing.conftest import ALLOWED_HOST, BLOCKED_HOST, Listener, Names, run_server
from tests.outgoing.test_client import SPELLINGS


@pytest.fixture
async def proxy(guard: Guard) -> AsyncIterator[Proxy]:
    async with open_proxy(guard) as proxy:
        yield proxy


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1000):
        writer.write(piece)
        await writer.drain()


class ProxyClient:
    """A connection to the proxy."""

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


async def connect(proxy: Proxy, request: str, *, credentials: str | None = None) -> ProxyClient:
    host, _, port = proxy.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    OPEN.append(writer)
    header = ""
    if credentials is not None:
        header = f"Proxy-Authorization: Basic {b64encode(credentials.encode()).decode()}\r\n"
    writer.write(f"{request} HTTP/1.1\r\nHost: there.example\r\n{header}\r\n".encode())
    return ProxyClient(reader, writer)


def credentials_of(proxy_pass: ProxyPass) -> str:
    url = URL(proxy_pass.url)
    return f"{url.user}:{url.password}"


async def request_tunnel(proxy: Proxy, request: str) -> tuple[int, str | None]:
    """Send a request with a valid pass; return the status, and the failure recorded in the pass."""
    with proxy.admit() as proxy_pass:
        client = await connect(proxy, request, credentials=credentials_of(proxy_pass))
        return await client.status(), proxy_pass.failure


async def test_a_tunnel_carries_bytes_both_ways(proxy: Proxy, names: Names) -> None:
    names["there.example"] = [[BLOCKED_HOST, ALLOWED_HOST]]
    async with run_server(echo) as port:
        for target in (f"{ALLOWED_HOST}:{port}", f"there.example:{port}"):
            with proxy.admit() as proxy_pass:
                client = await connect(proxy, f"CONNECT {target}", credentials=credentials_of(proxy_pass))
                assert await client.status() == 200
                client.writer.write(b"x" * 300_000)
                client.writer.write_eof()
                assert await client.rest() == b"x" * 300_000
                assert proxy_pass.failure is None


async def test_a_client_without_a_valid_pass_is_refused(proxy: Proxy) -> None:
    reached = asyncio.Event()

    async def reach(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()

    with proxy.admit() as ended:
        pass
    async with run_server(reach) as port:
        with proxy.admit() as proxy_pass, proxy.admit() as other:
            name, _, secret = credentials_of(proxy_pass).partition(":")
            wrong = [None, "", ":", name, f"{name}:", f"{name}:{secret[:-1]}", f":{secret}", f"\xff:{secret}",
                     f"{credentials_of(other).partition(':')[0]}:{secret}", credentials_of(ended)]  # fmt: skip
            for credentials in wrong:
                client = await connect(proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials)
                assert await client.status() == 407, credentials
            assert not reached.is_set()
            client = await connect(proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials_of(proxy_pass))
            assert await client.status() == 200
            await reached.wait()


async def test_the_proxy_listens_on_loopback_and_hides_its_secrets(proxy: Proxy) -> None:
    assert proxy.address.startswith("127.0.0.1:")
    with proxy.admit() as one, proxy.admit() as two:
        assert one.secret != two.secret
        assert len(one.secret) >= 32
        assert one.secret not in repr(one)


@pytest.mark.parametrize("host", [*SPELLINGS.split(), "2130706433", "127.1", "0", "0177.0.0.1", "127.0.0.1."])
async def test_no_spelling_of_a_blocked_address_gets_through(
    proxy: Proxy, listener: Listener, names: Names, host: str
) -> None:
    names["localhost."] = names["127.0.0.1."] = names["xn--rebnd-eta.example"] = [[BLOCKED_HOST]]
    names["LOCALHOST"] = [[BLOCKED_HOST]]
    status, failure = await request_tunnel(proxy, f"CONNECT {host}:{listener.port}")
    # Targets that are not ASCII or contain a password are malformed or have no address; git does not send them.
    assert (status, failure) in [(403, "refused")] + [(502, "unresolved"), (400, None)] * (
        not host.isascii() or "@" in host
    )
    assert await listener.is_untouched()


async def test_a_name_is_resolved_once_and_connected_at_that_address(
    proxy: Proxy, listener: Listener, names: Names
) -> None:
    names["rebind.example"] = [[ALLOWED_HOST], [BLOCKED_HOST]]
    names["mixed.example"] = [[BLOCKED_HOST, "::1", ALLOWED_HOST]]
    names["bad.example"] = [[BLOCKED_HOST, "::1"]]
    async with run_server(echo, port=listener.port):
        assert await request_tunnel(proxy, f"CONNECT rebind.example:{listener.port}") == (200, None)
        assert await request_tunnel(proxy, f"CONNECT rebind.example:{listener.port}") == (403, "refused")
        assert await request_tunnel(proxy, f"CONNECT mixed.example:{listener.port}") == (200, None)
        assert await request_tunnel(proxy, f"CONNECT bad.example:{listener.port}") == (403, "refused")
    assert names.lookups == ["rebind.example"] * 2 + ["mixed.example", "bad.example"]
    assert await listener.is_untouched()


async def test_an_unreachable_host_is_reported_by_the_class_of_failure(proxy: Proxy, names: Names) -> None:
    async with run_server(echo) as port:
        pass
    assert await request_tunnel(proxy, f"CONNECT {ALLOWED_HOST}:{port}") == (502, "unreachable")
    assert await request_tunnel(proxy, "CONNECT nowhere.example:443") == (502, "unresolved")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "connect"])
async def test_only_tunnels_are_served(proxy: Proxy, listener: Listener, method: str) -> None:
    async with run_server(echo, port=listener.port):
        assert (await request_tunnel(proxy, f"{method} http://{ALLOWED_HOST}:{listener.port}/"))[0] == 405
        assert (await request_tunnel(proxy, f"{method} {ALLOWED_HOST}:{listener.port}"))[0] == 405
    assert await listener.is_untouched()


MALFORMED = [
    *("", "there.example", "there.example:", ":443", "there.example:x", "/", "a b:443", "there.example:65979"),
    *("[::1:443", "x@there.example:443", "a" * 256 + ":443"),
]


@pytest.mark.parametrize("target", MALFORMED)
async def test_a_target_without_valid_host_and_port_is_refused(proxy: Proxy, names: Names, target: str) -> None:
    assert await request_tunnel(proxy, f"CONNECT {target}") == (400, None)
    assert names.lookups == []


async def test_an_incomplete_request_gets_no_response(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "REQUEST_TIMEOUT", 0.2)
    host, _, port = proxy.address.partition(":")
    for head in (b"CONNECT", b"x" * 200_000):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)
        OPEN.append(writer)
        assert await ProxyClient(reader, writer).rest() == b""


async def test_an_idle_tunnel_is_closed(guard: Guard) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(20)

    async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(10):
            writer.write(b"x")
            await asyncio.sleep(0.1)

    async with open_proxy(guard, idle=0.5) as proxy:
        for handler, received, failure in ((silent, b"", "timeout"), (one_way, b"x" * 10, None)):
            async with run_server(handler) as port:
                with proxy.admit() as proxy_pass:
                    client = await connect(
                        proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials_of(proxy_pass)
                    )
                    assert await client.status() == 200
                    assert await client.reader.readexactly(len(received)) == received
                    assert proxy_pass.failure is None
                    client.writer.write_eof()
                    assert await client.rest() == b""
                    assert proxy_pass.failure == failure


async def test_a_busy_tunnel_ends_after_its_lifetime(guard: Guard) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(60):
            writer.write(b"x")
            await asyncio.sleep(0.05)

    async with open_proxy(guard, lifetime=0.4) as proxy, run_server(drip) as port:
        with proxy.admit() as proxy_pass:
            client = await connect(proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials_of(proxy_pass))
            assert await client.status() == 200
            assert len(await client.rest()) < 60
            assert proxy_pass.failure == "timeout"


async def test_the_bytes_of_a_pass_are_limited(guard: Guard) -> None:
    async with open_proxy(guard, max_bytes=10_000) as proxy, run_server(echo) as port:
        with proxy.admit() as proxy_pass:
            for fits in (True, False):
                client = await connect(proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials_of(proxy_pass))
                assert await client.status() == 200
                client.writer.write(b"x" * 4000)
                client.writer.write_eof()
                assert (len(await client.rest()) == 4000) == fits
            assert proxy_pass.failure == "too large"


async def test_the_tunnels_of_a_pass_are_limited(proxy: Proxy) -> None:
    async with run_server(echo) as port:
        with proxy.admit() as proxy_pass:
            clients = [
                await connect(proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials_of(proxy_pass))
                for _ in range(MAX_TUNNELS)
            ]
            assert [await client.status() for client in clients] == [200] * MAX_TUNNELS
            assert (
                await (
                    await connect(proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials_of(proxy_pass))
                ).status()
                == 429
            )
            clients[0].writer.write_eof()
            assert await clients[0].rest() == b""
            assert (
                await (
                    await connect(proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials_of(proxy_pass))
                ).status()
                == 200
            )


async def test_tunnels_end_with_the_pass_and_with_the_proxy(guard: Guard) -> None:
    gone = asyncio.Queue[None]()

    async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        gone.put_nowait(None)

    async with run_server(wait_for_end) as port:
        async with open_proxy(guard) as proxy:
            with proxy.admit() as proxy_pass:
                ended = await connect(proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials_of(proxy_pass))
                assert await ended.status() == 200
            assert await ended.rest() == b""
            await gone.get()
            lasting = proxy.admit()
            proxy_pass = lasting.__enter__()
            cut = await connect(proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials_of(proxy_pass))
            assert await cut.status() == 200
        assert await cut.rest() == b""
        await gone.get()
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy, f"CONNECT {ALLOWED_HOST}:{port}", credentials=credentials_of(proxy_pass))
