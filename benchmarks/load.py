"""A closed-loop HTTP load generator in a separate process: `python -m benchmarks.load` with a plan on stdin."""

import asyncio
import itertools
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import cast

import orjson
import uvloop

WARM_UP_SECONDS = 0.5  # requests in this time are not counted


@dataclass(frozen=True)
class Load:
    """The results of one run of the generator. `rate` is per second, times are in milliseconds."""

    rate: float
    p50: float
    p99: float
    count: int
    errors: int


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def build_get(path: str, port: int, token: str | None = None) -> str:
    """Build the text of a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{_authorization(token)}\r\n"


def build_post(path: str, port: int, token: str | None, body: dict[str, str]) -> str:
    """Build the text of a POST request with a JSON object."""
    text = orjson.dumps(body).decode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{_authorization(token)}"
        f"Content-Type: application/json\r\nContent-Length: {len(text.encode())}\r\n\r\n{text}"
    )


def _authorization(token: str | None) -> str:
    return f"Authorization: token {token}\r\n" if token else ""


def run_load(port: int, requests: list[str], connections: int, seconds: float) -> Load:
    """Send these requests in turn over this number of persistent connections, and measure."""
    plan = {"port": port, "requests": requests, "connections": connections, "seconds": seconds}
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=orjson.dumps(plan),
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 60,
    )
    return Load(**orjson.loads(result.stdout))


class Client(asyncio.Protocol):
    """One connection, which sends the next request as soon as the last one is answered."""

    def __init__(self, plan: "Plan") -> None:
        self.plan = plan
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's class is no subclass of it
        self._send()

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(next(self.plan.requests))

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end]
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) < end + 4 + length:
            return
        self.buffer = b""
        self.plan.record(self.sent, ok=head[9:10] == b"2")
        if time.perf_counter() < self.plan.until:
            self._send()
        else:
            self.transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.plan.close_connection()


class Plan:
    """The requests to send, the time to stop, and the results so far."""

    def __init__(self, requests: list[str], connections: int, seconds: float) -> None:
        self.requests = itertools.cycle([each.encode() for each in requests])
        self.open_connections = connections
        self.since = time.perf_counter() + WARM_UP_SECONDS
        self.until = self.since + seconds
        self.times: list[float] = []
        self.errors = 0
        self.over = asyncio.Event()

    def record(self, sent: float, *, ok: bool) -> None:
        now = time.perf_counter()
        if now > self.until or sent < self.since:
            return
        if ok:
            self.times.append((now - sent) * 1000)
        else:
            self.errors += 1

    def close_connection(self) -> None:
        self.open_connections -= 1
        if self.open_connections == 0:
            self.over.set()


async def _run(port: int, requests: list[str], connections: int, seconds: float) -> Load:
    plan = Plan(requests, connections, seconds)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Client(plan), "127.0.0.1", port)
    await asyncio.wait_for(plan.over.wait(), seconds + 30)
    times = plan.times or [0.0]
    return Load(
        rate=len(plan.times) / seconds,
        p50=quantile(times, 0.5),
        p99=quantile(times, 0.99),
        count=len(plan.times),
        errors=plan.errors,
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(_run(**orjson.loads(sys.stdin.buffer.read())))))
