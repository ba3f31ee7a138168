"""Idle long polls and streams, held open by a separate process: `python -m benchmarks.waiters PORT COUNT REQUEST`.

It prints `ready` when all requests are sent, then for each line on stdin the number of answered and of lost requests
and the time of the last answer.
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

CONNECT_BATCH = 100  # connections opened at once


def raise_file_limit(files: int) -> None:
    """Raise the limit of open files to `files`; child processes inherit it. Exits if the system does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise SystemExit(f"This measure needs {files} open files, but the hard limit is {hard}; see `ulimit -Hn`.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), hard))


class Waiter(asyncio.Protocol):
    """One connection. Data counts as an answer only once all requests have been sent."""

    def __init__(self, group: "WaiterGroup") -> None:
        self.group = group
        self.answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.group.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self.group.counting and not self.answered:
            self.answered = True
            self.group.answered += 1
            self.group.last = time.perf_counter()

    def connection_lost(self, _: Exception | None) -> None:
        self.group.lost += 1


class WaiterGroup:
    """All connections of the process, and the counts that it reports."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.counting = False
        self.answered = self.lost = 0
        self.last = 0.0
        self.connections: list[object] = []


async def _run(port: int, count: int, request: bytes) -> None:
    group, loop = WaiterGroup(request), asyncio.get_running_loop()
    while len(group.connections) < count:
        opening = [
            loop.create_connection(lambda: Waiter(group), "127.0.0.1", port)
            for _ in range(min(CONNECT_BATCH, count - len(group.connections)))
        ]
        group.connections += await asyncio.gather(*opening)
    await asyncio.sleep(2.0)
    group.counting = True
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        counts = {"answered": group.answered, "lost": group.lost, "last": group.last}
        print(orjson.dumps(counts).decode(), flush=True)


class Waiters:
    """A client of the waiting process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def ask(self) -> dict[str, float]:
        """Return the current counts."""
        assert self.process.stdin is not None and self.process.stdout is not None  # noqa: PT018 - pipes
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        counts: dict[str, float] = orjson.loads(self.process.stdout.readline())
        return counts


@contextmanager
def run_waiters(port: int, count: int, request: str) -> Iterator[Waiters]:
    """Hold this number of waiting requests open for the length of a block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.waiters", str(port), str(count), request],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        if process.stdout is None or process.stdout.readline().strip() != "ready":
            raise SystemExit("The waiters did not become ready.")
        yield Waiters(process)
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()))
