"""A webhook receiver on loopback, which records deliveries and answers as the test wants."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from app.ops import embedded

Answer = Callable[["ReceivedRequest"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class ReceivedRequest:
    headers: dict[str, str]
    body: bytes
    path: str
    raw_path: str = ""  # with the query, as it was asked for

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.received: list[ReceivedRequest] = []
        self.responses: list[int | Answer] = []  # to the next deliveries; after them 200

    async def take(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        got = ReceivedRequest(headers, await request.read(), request.path, request.raw_path)
        self.received.append(got)
        answer = self.responses.pop(0) if self.responses else 200
        return web.Response(status=answer) if isinstance(answer, int) else await answer(got)

    async def wait_for(self, count: int) -> list[ReceivedRequest]:
        """Wait for so many deliveries and return all of them."""
        async with asyncio.timeout(20):
            while len(self.received) < count:
                await asyncio.sleep(0.01)
        return self.received

    @property
    def types(self) -> list[str]:
        return [got.json["type"] for got in self.received]


@asynccontextmanager
async def run_receiver() -> AsyncIterator[Receiver]:
    port = embedded.free_port()
    receiver = Receiver(port)
    app = web.Application(client_max_size=8 << 20)
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield receiver
    finally:
        await runner.cleanup()
