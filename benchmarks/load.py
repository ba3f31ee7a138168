"""A closed-loop HTTP load generator in a process of its own: `python -m benchmarks.load` with a plan on stdin."""

import asyncio
import itertools
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import cast

import orjson
import uvloop

WARM_UP = 0.5  # seconds whose requests are not counted


@dataclass(frozen=True)
class Load:
    """What one run of the generator saw. Times are in milliseconds."""

    rate: float
    p50: float
    p99: float
    count: int
    errors: int


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def get(path: str, port: int, token: str | None = None) -> str:
    """A GET as it goes over the wire."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{_authorization(token)}\r\n"


def post(path: str, port: int, token: str | None, body: dict[str, str]) -> str:
    """A POST of a JSON object as it goes over the wire."""
    text = orjson.dumps(body).decode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{_authorization(token)}"
        f"Content-Type: application/json\r\nContent-Length: {len(text.encode())}\r\n\r\n{text}"
    )


def _authorization(token: str | None) -> str:
    return f"Authorization: token {token}\r\n" if token else ""


def drive(port: int, requests: list[str], connections: int, seconds: float) -> Load:
    """Send these requests in turn over so many kept-alive connections, and measure."""
    plan = {"port": port, "requests": requests, "connections": connections, "seconds": seconds}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=orjson.dumps(plan),
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 60,
    )
    return Load(**orjson.loads(done.stdout))


class Client(asyncio.Protocol):
    """One connection: sends the next request as soon as the last one is answered."""

    def __init__(self, plan: "Plan") -> None:
        self.plan = plan
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own, which is none by class
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
        self.plan.note(self.sent, ok=head[9:10] == b"2")
        if time.perf_counter() < self.plan.until:
            self._send()
        else:
            self.transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.plan.gone()


class Plan:
    """What to send, until when, and what came of it."""

    def __init__(self, requests: list[str], connections: int, seconds: float) -> None:
        self.requests = itertools.cycle([each.encode() for each in requests])
        self.open = connections
        self.since = time.perf_counter() + WARM_UP
        self.until = self.since + seconds
        self.times: list[float] = []
        self.errors = 0
        self.over = asyncio.Event()

    def note(self, sent: float, *, ok: bool) -> None:
        now = time.perf_counter()
        if now > self.until or sent < self.since:
            return
        if ok:
            self.times.append((now - sent) * 1000)
        else:
            self.errors += 1

    def gone(self) -> None:
        self.open -= 1
        if self.open == 0:
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
