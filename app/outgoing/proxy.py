"""A CONNECT proxy on loopback for outgoing git, which otherwise would resolve names itself and bypass the guard."""

import asyncio
import re
import secrets
from asyncio import StreamReader, StreamWriter
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from hmac import compare_digest

from app.outgoing.failures import Failure, OutgoingError
from app.outgoing.guard import CONNECT_TIMEOUT, Guard, connect

REQUEST_TIMEOUT = 5.0  # seconds to receive a request
IDLE_TIMEOUT = 60.0  # seconds without a byte in either direction
MAX_LIFETIME = 3600.0  # seconds of one tunnel
MAX_TUNNELS = 8  # of one pass at a time
MAX_BYTES = 2 << 30  # through all tunnels of one pass, both directions together
CHUNK = 1 << 16  # bytes
TARGET = re.compile(r"CONNECT (?:\[([0-9A-Fa-f:.]{2,45})\]|([^\s:/@\[\]]{1,255})):([0-9]{1,5}) HTTP/1\.[01]")
STATUS = {Failure.REFUSED: "403 Forbidden", Failure.TIMEOUT: "504 Gateway Timeout"}


@dataclass(eq=False)
class ProxyPass:
    """The credentials of one run of git. Its tunnels are closed when the run ends."""

    url: str = field(repr=False)  # of the proxy; contains the secret
    secret: str = field(repr=False)
    remaining: int  # bytes that may still be transferred
    failure: Failure | None = None  # why the latest tunnel was not opened, or broke
    tunnels: set["asyncio.Task[None] | None"] = field(default_factory=set)


class Proxy:
    """Accepts connections and serves tunnels; start one with `open_proxy`."""

    def __init__(self, guard: Guard, *, connect: float, idle: float, lifetime: float, max_bytes: int) -> None:
        self.address = ""
        self._guard = guard
        self._connect = connect
        self._idle = idle
        self._lifetime = lifetime
        self._max_bytes = max_bytes
        self._passes: dict[str, ProxyPass] = {}
        self.connections: set[asyncio.Task[None]] = set()

    @contextmanager
    def admit(self) -> Iterator[ProxyPass]:
        """Issue a pass that is valid for the length of the block."""
        name, secret = secrets.token_hex(8), secrets.token_hex(24)
        issued = ProxyPass(f"http://{name}:{secret}@{self.address}", secret, self._max_bytes)
        self._passes[name] = issued
        try:
            yield issued
        finally:
            del self._passes[name]
            for tunnel in issued.tunnels:
                if tunnel:
                    tunnel.cancel()

    def accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                request, *headers = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            proxy_pass = self._find_pass(headers)
            if proxy_pass is None:
                writer.write(_reply('407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="git"'))
            elif not request.startswith("CONNECT "):
                writer.write(_reply("405 Method Not Allowed\r\nAllow: CONNECT"))
            elif not (target := TARGET.fullmatch(request)) or int(target[3]) > 0xFFFF:
                writer.write(_reply("400 Bad Request"))
            elif len(proxy_pass.tunnels) >= MAX_TUNNELS:
                writer.write(_reply("429 Too Many Requests"))
            else:
                await self._open_tunnel(proxy_pass, target[1] or target[2], int(target[3]), reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client is gone or too slow, and gets no response
        finally:
            writer.close()

    def _find_pass(self, headers: list[str]) -> ProxyPass | None:
        """Return the pass whose name and secret the client has sent."""
        for header in headers:
            name, _, value = header.partition(":")
            scheme, _, credentials = value.strip().partition(" ")
            if (name.lower(), scheme.lower()) == ("proxy-authorization", "basic"):
                with suppress(ValueError):
                    pass_name, _, secret = b64decode(credentials, validate=True).decode("ascii").partition(":")
                    known = self._passes.get(pass_name)
                    return known if known and compare_digest(known.secret, secret) else None
        return None

    async def _open_tunnel(
        self, proxy_pass: ProxyPass, host: str, port: int, reader: StreamReader, writer: StreamWriter
    ) -> None:
        """Copy bytes between the client and the remote host until both have closed the connection."""
        remote_writer: StreamWriter | None = None
        task = asyncio.current_task()
        proxy_pass.tunnels.add(task)
        try:
            sock = await connect(self._guard, host, port, self._connect)
            remote_reader, remote_writer = await asyncio.open_connection(sock=sock)
            writer.write(_reply("200 Connection Established"))
            async with asyncio.timeout(self._lifetime), asyncio.timeout(self._idle) as idle:
                await self._copy_both_ways(proxy_pass, idle, (reader, remote_writer), (remote_reader, writer))
        except OutgoingError as error:
            proxy_pass.failure = error.failure
            if remote_writer is None:
                writer.write(_reply(STATUS.get(error.failure, "502 Bad Gateway")))
        except TimeoutError:
            proxy_pass.failure = Failure.TIMEOUT
        except OSError:
            proxy_pass.failure = Failure.RESET
        finally:
            proxy_pass.tunnels.discard(task)
            if remote_writer:
                remote_writer.close()

    async def _copy_both_ways(
        self, proxy_pass: ProxyPass, idle: asyncio.Timeout, *directions: tuple[StreamReader, StreamWriter]
    ) -> None:
        async def copy(source: StreamReader, sink: StreamWriter) -> None:
            while chunk := await source.read(CHUNK):
                proxy_pass.remaining -= len(chunk)
                if proxy_pass.remaining < 0:
                    raise OutgoingError(Failure.TOO_LARGE)
                idle.reschedule(asyncio.get_running_loop().time() + self._idle)
                sink.write(chunk)
                await sink.drain()
            sink.write_eof()

        tasks = [asyncio.create_task(copy(*direction)) for direction in directions]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


def _reply(status: str) -> bytes:
    length = "" if status.startswith("200") else "Content-Length: 0\r\nConnection: close\r\n"
    return f"HTTP/1.1 {status}\r\n{length}\r\n".encode()


@asynccontextmanager
async def open_proxy(
    guard: Guard,
    *,
    connect: float = CONNECT_TIMEOUT,
    idle: float = IDLE_TIMEOUT,
    lifetime: float = MAX_LIFETIME,
    max_bytes: int = MAX_BYTES,
) -> AsyncIterator[Proxy]:
    """Start a proxy on a loopback port, for the git processes of this process; it refuses clients without a pass.

    `connect`, `idle` and `lifetime` are seconds; `max_bytes` limits what all tunnels of one pass transfer together.
    """
    proxy = Proxy(guard, connect=connect, idle=idle, lifetime=lifetime, max_bytes=max_bytes)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, limit=CHUNK)
    host, port = server.sockets[0].getsockname()
    proxy.address = f"{host}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        running = list(proxy.connections)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
