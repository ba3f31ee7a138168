"""Endpoints that accept connections and do not answer properly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from app.ops import embedded
from app.stores import lanes
from tests.conftest import Client
from tests.receiver import Receiver
from tests.subscriptions import has_attempts, list_deliveries, open_issue, subscribe, wait_for, wait_for_delivery
from workers import delivery, messages

pytestmark = pytest.mark.usefixtures("sent_at_once")


class DeadEndpoint:
    """An endpoint that mistreats its connections. `open` counts those it has now, `most` the maximum, `seen` all."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.port = embedded.free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.open = 0
        self.most = 0
        self.seen = 0
        self.transports: set[asyncio.WriteTransport] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open, self.seen = self.open + 1, self.seen + 1
        self.most = max(self.most, self.open)
        self.transports.add(writer.transport)
        try:
            await reader.readuntil(b"\r\n\r\n")
            if self.kind == "resets":
                writer.transport.abort()
            elif self.kind == "drips":
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
                    writer.write(bytes([byte]))
                    await asyncio.sleep(1)
            elif self.kind == "never ends":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while not writer.is_closing():
                    writer.write(b"x" * 4096)
                    await writer.drain()
            while await reader.read(65536):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self.transports.discard(writer.transport)
            writer.close()


@asynccontextmanager
async def serve_dead_endpoint(kind: str) -> AsyncIterator[DeadEndpoint]:
    endpoint = DeadEndpoint(kind)
    if kind == "refuses":
        yield endpoint
        return
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", endpoint.port)
    try:
        yield endpoint
    finally:
        server.close()
        for transport in list(endpoint.transports):
            transport.abort()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers wait longer for an answer than any test does."""
    monkeypatch.setattr(delivery, "open_client", partial(delivery.open_client, total=1000.0))


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", ["never answers", "drips", "resets", "refuses", "never ends"])
async def test_a_dead_endpoint_does_not_delay_others(nethack: Client, receiver: Receiver, kind: str) -> None:
    """The others get everything while the first attempt to the dead endpoint is open or waits to be retried."""
    async with serve_dead_endpoint(kind) as endpoint:
        subscription = await subscribe(nethack, receiver, url=endpoint.url, types=["issue.*"])
        for n in range(19):
            await subscribe(nethack, receiver, url=f"{receiver.url}/{n}", types=["issue.*"])
        for _ in range(3):
            await open_issue(nethack)
        got = await receiver.wait_for(19 * 3)
        assert {path: [each.path for each in got].count(path) for path in {each.path for each in got}} == {
            f"/hook/{n}": 3 for n in range(19)
        }
        if kind in ("never answers", "drips"):
            assert (endpoint.open, endpoint.seen) == (1, 1)
            assert [row["attempts"] for row in await list_deliveries(nethack, subscription)] == [[], [], []]
        elif kind == "never ends":
            row = await wait_for_delivery(nethack, subscription, status="delivered")
            assert len(row["attempts"][0]["response_excerpt"]) == messages.MAX_EXCERPT
            await wait_for(lambda: endpoint.open == 0)
        else:
            await wait_for(lambda: has_attempts(nethack, subscription))
            errors = {
                attempt["error"] for row in await list_deliveries(nethack, subscription) for attempt in row["attempts"]
            }
            assert errors == {"reset" if kind == "resets" else "unreachable"}


async def test_a_dead_endpoint_with_many_lanes_gets_only_its_share_of_lanes(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MAX_LANES", 3)
    monkeypatch.setattr(delivery, "MAX_LANES_PER_SUBSCRIPTION", 2)
    async with serve_dead_endpoint("never answers") as endpoint:
        await subscribe(nethack, receiver, url=endpoint.url, types=["issue.*"], ordered=False)
        for _ in range(6):
            await open_issue(nethack)
        await wait_for(lambda: endpoint.open == 2)
        for n in range(3):
            await subscribe(nethack, receiver, url=f"{receiver.url}/{n}", types=["issue.*"])
        for _ in range(3):
            await open_issue(nethack)
        await receiver.wait_for(9)
        assert (endpoint.open, endpoint.seen, endpoint.most) == (2, 2, 2)


async def test_an_attempt_is_cancelled_when_its_lease_ends(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This happens when the database is unavailable for too long; another worker may then send the delivery."""

    async def unreachable(*_: Any) -> set[Any]:
        raise OSError

    monkeypatch.setattr(lanes, "renew", unreachable)
    async with serve_dead_endpoint("never answers") as endpoint:
        await subscribe(nethack, receiver, url=endpoint.url, types=["issue.*"])
        await open_issue(nethack)
        await wait_for(lambda: endpoint.seen >= 2)
        assert endpoint.most == 1
