"""A receiver of deliveries that says when each came. `python -m benchmarks.receiver PORT`."""

import asyncio
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import orjson
import uvloop


class Take(asyncio.Protocol):
    """One connection with one request, answered as soon as it is whole; `GET /` tells the times, `DELETE /` forgets.

    `POST /dead` is never answered; neither it nor `POST /aside` is counted.
    """

    came: ClassVar[list[float]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length:")
        if not end or len(body) < (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0):
            return
        text = b""
        if head.startswith(b"POST /dead"):
            return
        if head.startswith(b"POST"):
            if not head.startswith(b"POST /aside"):
                self.came.append(time.perf_counter())
        elif head.startswith(b"DELETE"):
            self.came.clear()
        else:
            text = orjson.dumps(self.came)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(text), text)
        self.transport.write(answer)  # type: ignore[attr-defined]
        self.transport.close()


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Take, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


class Receiver:
    """The receiver as the measures see it; times are of `time.perf_counter`, which all processes share."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"

    def ask(self, method: str) -> list[float]:
        with urllib.request.urlopen(urllib.request.Request(self.url, method=method), timeout=10) as answer:
            times: list[float] = orjson.loads(answer.read() or b"[]")
            return times

    async def came(self, count: int, seconds: float = 60.0) -> list[float]:
        """When each came, once it is so many."""
        until = time.perf_counter() + seconds
        while len(times := await asyncio.to_thread(self.ask, "GET")) < count:
            if time.perf_counter() > until:
                raise SystemExit(f"{len(times)} of {count} deliveries came within {seconds:.0f} s.")
            await asyncio.sleep(0.05)
        return times


@contextmanager
def receiving(port: int) -> Iterator[Receiver]:
    """The receiver, for as long as the block runs."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.receiver", str(port)])
    receiver = Receiver(port)
    try:
        for _ in range(100):
            try:
                receiver.ask("GET")
                break
            except OSError:
                time.sleep(0.05)
        yield receiver
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
