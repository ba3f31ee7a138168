"""The way out for git: a CONNECT proxy on loopback that asks the guard, since git would look names up by itself."""

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

MAX_HEAD = 5.0  # seconds for a request to be there
IDLE_TIMEOUT = 60.0  # seconds in which some byte has to pass, either way
MAX_LIFETIME = 3600.0  # seconds of one tunnel
MAX_TUNNELS = 8  # of one pass, at once
MAX_BYTES = 2 << 30  # through the tunnels of one pass, both ways together
CHUNK = 1 << 16
TARGET = re.compile(r"CONNECT (?:\[([0-9A-Fa-f:.]{2,45})\]|([^\s:/@\[\]]{1,255})):([0-9]{1,5}) HTTP/1\.[01]")
STATUS = {Failure.REFUSED: "403 Forbidden", Failure.TIMEOUT: "504 Gateway Timeout"}


@dataclass(eq=False)
class ProxyPass:
    """What one run of git shows. It ends with the run, and so do the tunnels dug with it."""

    url: str = field(repr=False)  # of the proxy; holds the secret
    secret: str = field(repr=False)
    left: int  # bytes
    failure: Failure | None = None  # why the latest tunnel was not dug, or broke
    tunnels: set["asyncio.Task[None] | None"] = field(default_factory=set)


class Proxy:
    """Made by `proxy`, below."""

    def __init__(self, guard: Guard, *, connect: float, idle: float, lifetime: float, bytes: int) -> None:
        self.address = ""
        self._guard = guard
        self._connect = connect
        self._idle = idle
        self._lifetime = lifetime
        self._bytes = bytes
        self._passes: dict[str, ProxyPass] = {}
        self.open: set[asyncio.Task[None]] = set()

    @contextmanager
    def admit(self) -> Iterator[ProxyPass]:
        """A pass for the length of the block."""
        name, secret = secrets.token_hex(8), secrets.token_hex(24)
        issued = ProxyPass(f"http://{name}:{secret}@{self.address}", secret, self._bytes)
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
        self.open.add(task)
        task.add_done_callback(self.open.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            async with asyncio.timeout(MAX_HEAD):
                request, *headers = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            shown = self._shown(headers)
            if shown is None:
                writer.write(_reply('407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="git"'))
            elif not request.startswith("CONNECT "):
                writer.write(_reply("405 Method Not Allowed\r\nAllow: CONNECT"))
            elif not (target := TARGET.fullmatch(request)) or int(target[3]) > 0xFFFF:
                writer.write(_reply("400 Bad Request"))
            elif len(shown.tunnels) >= MAX_TUNNELS:
                writer.write(_reply("429 Too Many Requests"))
            else:
                await self._dig(shown, target[1] or target[2], int(target[3]), reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever it was is gone, or took too long, and gets no answer
        finally:
            writer.close()

    def _shown(self, headers: list[str]) -> ProxyPass | None:
        """The pass that is named, with its secret."""
        for header in headers:
            name, _, value = header.partition(":")
            scheme, _, credentials = value.strip().partition(" ")
            if (name.lower(), scheme.lower()) == ("proxy-authorization", "basic"):
                with suppress(ValueError):
                    who, _, secret = b64decode(credentials, validate=True).decode("ascii").partition(":")
                    known = self._passes.get(who)
                    return known if known and compare_digest(known.secret, secret) else None
        return None

    async def _dig(self, shown: ProxyPass, host: str, port: int, reader: StreamReader, writer: StreamWriter) -> None:
        """Carry bytes between whoever asked and the other side, until both have ended."""
        outward: StreamWriter | None = None
        task = asyncio.current_task()
        shown.tunnels.add(task)
        try:
            sock = await connect(self._guard, host, port, self._connect)
            inward, outward = await asyncio.open_connection(sock=sock)
            writer.write(_reply("200 Connection Established"))
            async with asyncio.timeout(self._lifetime), asyncio.timeout(self._idle) as idle:
                await self._both(shown, idle, (reader, outward), (inward, writer))
        except OutgoingError as failed:
            shown.failure = failed.failure
            if outward is None:
                writer.write(_reply(STATUS.get(failed.failure, "502 Bad Gateway")))
        except TimeoutError:
            shown.failure = Failure.TIMEOUT
        except OSError:
            shown.failure = Failure.RESET
        finally:
            shown.tunnels.discard(task)
            if outward:
                outward.close()

    async def _both(self, shown: ProxyPass, idle: asyncio.Timeout, *ways: tuple[StreamReader, StreamWriter]) -> None:
        async def carry(source: StreamReader, sink: StreamWriter) -> None:
            while piece := await source.read(CHUNK):
                shown.left -= len(piece)
                if shown.left < 0:
                    raise OutgoingError(Failure.TOO_LARGE)
                idle.reschedule(asyncio.get_running_loop().time() + self._idle)
                sink.write(piece)
                await sink.drain()
            sink.write_eof()

        pumps = [asyncio.create_task(carry(*way)) for way in ways]
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()


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
    bytes: int = MAX_BYTES,
) -> AsyncIterator[Proxy]:
    """A proxy on a port of loopback's, for this process's own runs of git: without a pass it does nothing.

    `connect`, `idle` and `lifetime` are seconds; `bytes` is what all tunnels of one pass may carry together.
    """
    made = Proxy(guard, connect=connect, idle=idle, lifetime=lifetime, bytes=bytes)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0, limit=CHUNK)
    host, port = server.sockets[0].getsockname()
    made.address = f"{host}:{port}"
    try:
        yield made
    finally:
        server.close()
        running = list(made.open)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
