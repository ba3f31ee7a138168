"""Idle long polls and streams, held open by a process of their own: `python -m benchmarks.waiters PORT COUNT REQUEST`.
Says `ready` when all are sent, then for each line on stdin how many have been answered, and when the
last one was.
"""

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import uvloop

AT_ONCE = 100


def raise_limit(files: int) -> None:
    """As many open files as this takes, if the system allows it; processes that are started inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise SystemExit(f"This wants {files} open files, and the hard limit is {hard}: see `ulimit -Hn`.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), hard))


class Waiter(asyncio.Protocol):
    """One connection; `heard` is told of bytes that come once all have been sent."""

    def __init__(self, crowd: "Crowd") -> None:
        self.crowd = crowd
        self.heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.crowd.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self.crowd.listening and not self.heard:
            self.heard = True
            self.crowd.heard += 1
            self.crowd.last = time.perf_counter()

    def connection_lost(self, _: Exception | None) -> None:
        self.crowd.lost += 1


class Crowd:
    def __init__(self, request: bytes) -> None:
        self.request = request
        self.listening = False
        self.heard = self.lost = 0
        self.last = 0.0
        self.all: list[object] = []


async def _run(port: int, count: int, request: bytes) -> None:
    crowd, loop = Crowd(request), asyncio.get_running_loop()
    while len(crowd.all) < count:
        opening = [
            loop.create_connection(lambda: Waiter(crowd), "127.0.0.1", port)
            for _ in range(min(AT_ONCE, count - len(crowd.all)))
        ]
        crowd.all += await asyncio.gather(*opening)
    await asyncio.sleep(2.0)
    crowd.listening = True
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(orjson.dumps({"heard": crowd.heard, "lost": crowd.lost, "last": crowd.last}).decode(), flush=True)


class Waiters:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def ask(self) -> dict[str, float]:
        assert self.process.stdin is not None and self.process.stdout is not None  # noqa: PT018 - pipes
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said: dict[str, float] = orjson.loads(self.process.stdout.readline())
        return said


@contextmanager
def waiting(port: int, count: int, request: str) -> Iterator[Waiters]:
    """So many requests that wait, for as long as the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.waiters", str(port), str(count), request],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        if process.stdout is None or process.stdout.readline().strip() != "ready":
            raise SystemExit("The waiters did not come to wait.")
        yield Waiters(process)
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()))
