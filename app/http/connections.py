"""Client connections: how long a client may be silent, how slow it may be, and how many connections it may have.

Nothing here runs for each request. All connections are looked at once a second, so a limit may be exceeded by as much.
"""

import asyncio
import heapq
import resource
import struct
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from socket import IPPROTO_TCP, TCP_INFO
from typing import Any

from aiohttp import web

from app.config import Settings
from app.logs import log
from app.metrics import CLOSED_CONNECTIONS

LOOK_INTERVAL = 1.0  # seconds
RESERVED_FILES = 64  # besides a quarter of all: for the database, repositories and pipes to git
DISPLACED_SHARE = 16  # this part of the connections is closed at once where there is no room for another
MIN_STALL = 2.0  # seconds after which a client that is being served can be displaced
RETRY_AFTER = "5"  # seconds, for a connection that is refused
BYTES_ACKED = slice(120, 128)  # tcpi_bytes_acked in Linux's struct tcp_info

Render = Callable[[int, dict[str, str] | None], bytes]  # a whole response for a connection that has no request


@dataclass(frozen=True)
class Limits:
    """Times in seconds, `rate` in bytes per second, and numbers of connections."""

    head: float
    pause: float
    keep_alive: float
    rate: float
    per_address: int
    total: int

    @classmethod
    def from_settings(cls, settings: Settings) -> "Limits":
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls(
            head=settings.head_timeout,
            pause=settings.client_pause,
            keep_alive=settings.keep_alive,
            rate=settings.min_client_rate,
            per_address=settings.connections_per_address,
            total=max(1, files - files // 4 - RESERVED_FILES),
        )


class Pace:
    """How fast a client moves bytes that the forge waits for: at least `rate` on average in each period of `pause`."""

    __slots__ = ("_mark", "_marked_at", "_moved", "_moved_at")

    def __init__(self) -> None:
        self.rest()

    def rest(self) -> None:
        """Forget what was seen, since nothing is expected of the client."""
        self._mark = self._moved = 0
        self._marked_at: float | None = None
        self._moved_at = 0.0

    def is_too_slow(self, moved: int, now: float, limits: Limits) -> bool:
        """Note how many bytes have moved so far, and return whether they are too few."""
        if self._marked_at is None or moved - self._mark >= max(1.0, limits.rate * limits.pause):
            self._mark, self._marked_at = moved, now
        if self._moved_at == 0.0 or moved != self._moved:
            self._moved, self._moved_at = moved, now
        return now - self._marked_at > limits.pause

    def stalled_for(self, now: float) -> float:
        """Return the seconds for which not one byte has moved that should have."""
        return 0.0 if self._marked_at is None else now - self._moved_at


class Connection(web.RequestHandler):
    """A client connection. While `waiting` is set, its request only waits for news and is cancelled on a hang-up."""

    __slots__ = (
        "address", "begun_at", "connections", "idle_since", "reading", "received", "requests", "sending",
        "unparsed_from", "waiting", "wire",
    )  # fmt: skip

    def __init__(self, *arguments: Any, connections: "Connections", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.waiting = False
        self.connections = connections
        self.address = ""
        self.wire: Any = None  # the transport, which aiohttp forgets when it begins to close it
        self.received = 0  # bytes
        self.requests = 0  # how many there had been when the connection was last found between two of them,
        self.unparsed_from = 0  # and the bytes received by then
        self.begun_at: float | None = None  # when the next request was seen to begin
        self.idle_since = 0.0
        self.sending, self.reading = Pace(), Pace()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.wire = transport
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        self.idle_since = self.begun_at = self._loop.time()  # a new connection must not be silent
        self.connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        task = self._task_handler
        self.connections.discard(self)
        super().connection_lost(exc)
        if self.waiting and task is not None:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        super().data_received(data)

    @property
    def is_serving(self) -> bool:
        """Whether the head of a request has arrived that is not answered yet."""
        return self._request_in_progress or bool(self._messages)

    def stalled_for(self, now: float) -> float:
        """Return the seconds for which the client has neither read nor sent what it should."""
        return max(self.sending.stalled_for(now), self.reading.stalled_for(now))

    def look(self, now: float, limits: Limits) -> None:
        """End the connection if its client is too slow."""
        if self._is_reader_too_slow(now, limits):
            self.end("unread")
        elif not self.is_serving:
            self.sending.rest()
            self._look_between_requests(now, limits)
        elif (request := self._current_request) is not None and self._is_sender_too_slow(request, now, limits):
            self._fail_body(request)

    def _is_reader_too_slow(self, now: float, limits: Limits) -> bool:
        buffered = self.wire.get_write_buffer_size()
        if not buffered:
            self.reading.rest()
            return False
        acknowledged = _count_acknowledged_bytes(self.wire)
        return self.reading.is_too_slow(-buffered if acknowledged is None else acknowledged, now, limits)

    def _is_sender_too_slow(self, request: web.BaseRequest, now: float, limits: Limits) -> bool:
        # While reading is paused, it is the forge that has not taken yet what the client has sent.
        if request.content.is_eof() or self._reading_paused or self._buffer_paused:
            self.sending.rest()
            return False
        return self.sending.is_too_slow(self.received, now, limits)

    def _look_between_requests(self, now: float, limits: Limits) -> None:
        """Close the connection if the head of the next request is late, or if none has begun for too long."""
        if self.requests != self._request_count:
            self.requests, self.unparsed_from, self.begun_at = self._request_count, self.received, None
            self.idle_since = now
        elif self.begun_at is None and self.received > self.unparsed_from:
            self.begun_at = now
        if self.begun_at is None:
            if now - self.idle_since > limits.keep_alive:
                self.force_close()
        elif now - self.begun_at > limits.head:
            if self.received == self.unparsed_from or self._close:
                self.end("head", at_once=False)
            else:
                # Closed at the next look: while the client still sends, closing now could take the answer from it.
                self.wire.write(self.connections.render(408, None))
                self.close()

    def _fail_body(self, request: web.BaseRequest) -> None:
        """Let whatever reads the body fail with 408, and close the connection after the response."""
        request.content.set_exception(web.HTTPRequestTimeout())
        request.content.feed_eof()
        self.close()
        CLOSED_CONNECTIONS.labels("body").inc()

    def end(self, reason: str, *, at_once: bool = True) -> None:
        """Close the connection. Unless `at_once`, what has been written is sent first, if the client reads it."""
        CLOSED_CONNECTIONS.labels(reason).inc()
        if at_once:
            self.wire.abort()
        else:
            self.force_close()


class Connections:
    """All client connections of a server."""

    def __init__(self, limits: Limits, render: Render) -> None:
        self.limits = limits
        self.render = render
        self._all: set[Connection] = set()
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: Connection) -> None:
        """Take a connection, if need be in the place of those whose clients have kept the forge waiting for longest."""
        address, limits = connection.address, self.limits
        if self._by_address[address] >= limits.per_address:
            self._displace([each for each in self._all if each.address == address])
        if len(self._all) >= limits.total:
            self._displace(self._all)
        self._all.add(connection)
        self._by_address[address] += 1
        if self._by_address[address] > limits.per_address or len(self._all) > limits.total:
            connection.wire.write(self.render(503, {"Retry-After": RETRY_AFTER}))
            connection.end("too many", at_once=False)

    def discard(self, connection: Connection) -> None:
        if connection in self._all:
            self._all.remove(connection)
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def _displace(self, candidates: Collection[Connection]) -> None:
        """Close some that wait for their clients: without a request, or stalled in one."""
        now = asyncio.get_running_loop().time()
        ages = {each: now - each.idle_since for each in candidates if not each.is_serving}
        stalled = {each: each.stalled_for(now) for each in candidates if each.is_serving}
        ages |= {each: seconds for each, seconds in stalled.items() if seconds > MIN_STALL}
        for connection in heapq.nlargest(max(1, len(candidates) // DISPLACED_SHARE), ages, key=ages.__getitem__):
            connection.end("displaced")
            self.discard(connection)

    async def watch(self) -> None:
        """Look at all connections, for ever. What goes wrong with one does not keep the others from being looked at."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            now = asyncio.get_running_loop().time()
            for connection in list(self._all):
                try:
                    connection.look(now, self.limits)
                except Exception:  # a bug with one connection must not end the watch; it is logged
                    log.exception("connection", address=connection.address)


def _count_acknowledged_bytes(transport: Any) -> int | None:
    """Return how many bytes the client's machine has acknowledged; None if the system does not say."""
    try:
        info = transport.get_extra_info("socket").getsockopt(IPPROTO_TCP, TCP_INFO, BYTES_ACKED.stop)
        acknowledged: int = struct.unpack("Q", info[BYTES_ACKED])[0]
    except (OSError, AttributeError, struct.error):
        return None
    return acknowledged
