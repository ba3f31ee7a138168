"""A receiver of deliveries that records their times of arrival. `python -m benchmarks.receiver PORT`."""

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


class RequestProtocol(asyncio.Protocol):
    """One connection with one request. `GET /` returns the times of arrival, `DELETE /` forgets them.

    `POST /dead` is never answered, `POST /aside` is answered; neither is recorded.
    """

    arrivals: ClassVar[list[float]] = []

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
                self.arrivals.append(time.perf_counter())
        elif head.startswith(b"DELETE"):
            self.arrivals.clear()
        else:
            text = orjson.dumps(self.arrivals)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(text), text)
        self.transport.write(answer)  # type: ignore[attr-defined]
        self.transport.close()


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(RequestProtocol, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


class Receiver:
    """A client of the receiver. Times are those of `time.perf_counter`, which all processes share."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"

    def ask(self, method: str) -> list[float]:
        with urllib.request.urlopen(urllib.request.Request(self.url, method=method), timeout=10) as answer:
            times: list[float] = orjson.loads(answer.read() or b"[]")
            return times

    async def wait_for_arrivals(self, count: int, seconds: float = 60.0) -> list[float]:
        """Wait for this number of deliveries and return their times of arrival."""
        until = time.perf_counter() + seconds
        while len(times := await asyncio.to_thread(self.ask, "GET")) < count:
            if time.perf_counter() > until:
                raise SystemExit(f"{len(times)} of {count} deliveries arrived within {seconds:.0f} s.")
            await asyncio.sleep(0.05)
        return times


@contextmanager
def run_receiver(port: int) -> Iterator[Receiver]:
    """Run the receiver in a process for the length of a block."""
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
