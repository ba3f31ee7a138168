"""Connections whose clients are silent, slow or many."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.config import Settings
from app.dialects.native import routes as native_routes
from app.http import connections
from app.transports import fetch_slots
from app.transports.smart_http import FETCH_SLOTS
from tests.conftest import Client, Forge, commit, git, wait_for_waiters

HEAD, PAUSE, KEEP_ALIVE = 0.6, 1.0, 0.4  # seconds
SIZE = 12 << 20  # bytes; more than fits into the buffers between the forge and a client
FETCH = "Content-Type: application/x-git-upload-pack-request"
FIRST_LINE = b"GET /healthz HTTP/1.1\r\nHost: forge\r\n"


@pytest.fixture
def settings(own_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Deadlines that a test can wait for."""
    monkeypatch.setattr(connections, "LOOK_INTERVAL", 0.1)
    update = {"head_timeout": HEAD, "client_pause": PAUSE, "keep_alive": KEEP_ALIVE}
    return own_settings.model_copy(update=update)


class Wire:
    """A connection to the forge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.opened = time.monotonic()

    async def read(self) -> tuple[bytes, float]:
        """Read until the forge closes the connection; what it sent, and how long that took since the start."""
        sent = b""
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):  # a reset must not take what came before it
                while piece := await self.reader.read(1 << 16):
                    sent += piece
        return sent, time.monotonic() - self.opened

    async def drip(self, piece: bytes, pause: float = 0.1) -> None:
        """Send a piece again and again until the forge hangs up."""
        with contextlib.suppress(ConnectionError):
            while not self.reader.at_eof():
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(pause)


@contextlib.asynccontextmanager
async def connect(forge: Forge, sent: bytes = b"", *, limit: int = 1 << 16) -> AsyncIterator[Wire]:
    wire = Wire(*await asyncio.open_connection("127.0.0.1", forge.settings.port, limit=limit))
    try:
        wire.writer.write(sent)
        yield wire
    finally:
        wire.writer.transport.abort()


def post(path: str, *headers: str, length: int = 1000) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: forge", f"Content-Length: {length}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def test_a_silent_connection_is_closed(forge: Forge) -> None:
    async with connect(forge) as wire:
        sent, seconds = await wire.read()
    assert sent == b""
    assert HEAD - 0.2 < seconds < HEAD + 2  # the forge counts from before the client does


@pytest.mark.parametrize("first", [b"", FIRST_LINE + b"\r\n"], ids=["first request", "second request"])
async def test_a_head_that_comes_too_slowly_ends_with_408(forge: Forge, first: bytes) -> None:
    async with connect(forge, first) as wire:
        if first:
            await wire.reader.readuntil(b'"alive"}')
        wire.writer.write(FIRST_LINE)
        dripping = asyncio.create_task(wire.drip(b"X-More: 1\r\n", 0.25))
        sent, seconds = await wire.read()
        await dripping
    assert sent.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive in time" in sent
    assert HEAD - 0.2 < seconds < HEAD + 2  # the forge counts from before the client does


async def test_an_idle_connection_is_kept_for_another_request_and_then_closed(forge: Forge) -> None:
    async with connect(forge, FIRST_LINE + b"\r\n") as wire:
        await wire.reader.readuntil(b'"alive"}')
        wire.writer.write(FIRST_LINE + b"\r\n")
        sent, seconds = await wire.read()
    assert sent.count(b'"alive"}') == 1
    assert seconds >= KEEP_ALIVE


@pytest.mark.parametrize(
    "path", ["/api/0/new", "/v1/users", "/nethack.git/git-upload-pack", "/nethack.git/git-receive-pack"]
)
@pytest.mark.parametrize("drips", [False, True], ids=["pausing", "dripping"])
async def test_a_body_that_comes_too_slowly_ends_with_408(
    forge: Forge, nethack: Client, path: str, drips: bool
) -> None:
    kind = f"application/x-{path.rpartition('/')[2]}-request" if ".git" in path else "application/json"
    head = post(path, f"Authorization: token {forge.admin.token}", f"Content-Type: {kind}", length=100_000)
    if "receive-pack" in path:
        head = head.replace(b"Authorization: token", b"Authorization: Bearer")
    async with connect(forge, head + b"ff") as wire:
        dripping = asyncio.create_task(wire.drip(b"f")) if drips else None
        sent, seconds = await wire.read()
        if dripping:
            await dripping
    assert sent.startswith(b"HTTP/1.1 408 "), sent
    assert b"did not arrive in time" in sent
    assert PAUSE <= seconds < PAUSE + 2


async def test_a_slow_but_steady_body_is_waited_for(forge: Forge) -> None:
    head = post("/v1/users", f"Authorization: token {forge.admin.token}", "Content-Type: application/json", length=3000)
    async with connect(forge, head) as wire:
        for _ in range(30):
            wire.writer.write(b" " * 100)
            await asyncio.sleep(PAUSE / 12)
        sent = await wire.reader.readuntil(b"\r\n\r\n")
        assert time.monotonic() - wire.opened > 2 * PAUSE
    assert sent.startswith(b"HTTP/1.1 400 ")


async def test_a_body_that_the_forge_does_not_read_yet_is_no_pause_of_its_client(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has sent all that the forge takes, so it is the forge that pauses."""
    from app.dialects.native import requests

    original = requests.read_json_object

    async def read_late(request: object) -> object:
        await asyncio.sleep(2 * PAUSE)
        return await original(request)  # type: ignore[arg-type]

    monkeypatch.setattr(requests, "read_json_object", read_late)
    size = 3 << 20
    head = post("/v1/users", f"Authorization: token {forge.admin.token}", "Content-Type: application/json", length=size)
    async with connect(forge, head) as wire:
        wire.writer.write(b" " * size)
        async with asyncio.timeout(10):
            assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


@pytest.fixture
async def big(nethack: Client, tmp_path: Path) -> str:
    """A project with a file of SIZE bytes."""
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    (work / "big").write_bytes(os.urandom(SIZE))
    await git("config", "core.compression", "0", cwd=work)
    await git("add", "big", cwd=work)
    await git("commit", "-qm", "big", cwd=work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    return "nethack"


def build_clone(path: str, tip: str) -> bytes:
    body = f"0032want {tip}\n00000009done\n".encode()
    return post(f"/{path}.git/git-upload-pack", FETCH, length=len(body)) + body


async def find_tip(client: Client, path: str) -> str:
    return str((await client.pagure(f"/{path}/git/branches?with_commits=1"))[1]["branches"]["main"])


def count_git_processes() -> int:
    """Count the git processes whose parent is this process."""
    count = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            count += name == "git" and int(rest.split()[1]) == os.getpid()
    return count


@pytest.mark.slow
@pytest.mark.parametrize("what", ["clone", "file"])
async def test_a_response_that_is_not_read_is_ended_with_its_git_process(
    forge: Forge, nethack: Client, big: str, what: str
) -> None:
    request = build_clone(big, await find_tip(nethack, big))
    if what == "file":
        request = f"GET /{big}/raw/main/f/big HTTP/1.1\r\nHost: forge\r\n\r\n".encode()
    async with connect(forge, request, limit=1024):
        async with asyncio.timeout(5):
            while not count_git_processes():
                await asyncio.sleep(0.02)
        started = time.monotonic()
        async with asyncio.timeout(10):
            slots = forge.app[FETCH_SLOTS]
            while count_git_processes() or len(forge.runner.connections) > 1 or slots._running:
                await asyncio.sleep(0.05)
        assert time.monotonic() - started > PAUSE / 2


@pytest.mark.slow
async def test_a_reader_above_the_least_rate_gets_everything(forge: Forge, nethack: Client, big: str) -> None:
    request = f"GET /{big}/raw/main/f/big HTTP/1.1\r\nHost: forge\r\nConnection: close\r\n\r\n".encode()
    size = 0
    async with connect(forge, request, limit=1024) as wire:
        while chunk := await wire.reader.read(1 << 20):
            size += len(chunk)
            await asyncio.sleep(0.005)
    assert size > SIZE


async def test_silent_connections_make_room_for_a_client_that_asks(forge: Forge) -> None:
    forge.runner.connections.limits = replace(forge.runner.connections.limits, head=30, total=60)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(100):
            await stack.enter_async_context(connect(forge))
        for _ in range(5):
            async with connect(forge, FIRST_LINE + b"\r\n") as wire:
                assert b'"alive"}' in await wire.reader.readuntil(b"}")
        assert len(forge.runner.connections) <= 60


async def test_an_address_that_has_all_its_connections_in_use_is_refused_another(forge: Forge) -> None:
    forge.runner.connections.limits = replace(forge.runner.connections.limits, per_address=4)
    path = f"/v1/events?wait=30&types=user.created&after={await forge.numbered()}"
    poll = f"GET {path} HTTP/1.1\r\nHost: forge\r\n\r\n".encode()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(connect(forge, poll))
        await wait_for_waiters(4)
        async with connect(forge, FIRST_LINE + b"\r\n") as wire:
            sent, _ = await wire.read()
        assert sent.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 5\r\n" in sent
    await wait_for_waiters(0)
    async with connect(forge, FIRST_LINE + b"\r\n") as wire:
        assert b'"alive"}' in await wire.reader.readuntil(b"}")


@pytest.mark.slow
async def test_a_client_works_on_while_others_are_silent_half_done_or_do_not_read(
    forge: Forge, nethack: Client, big: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_slots, "STALL", 1.0)
    limits = forge.runner.connections.limits
    forge.runner.connections.limits = replace(limits, head=30, pause=30, keep_alive=30)
    half = post("/api/0/new", f"Authorization: token {nethack.token}", "Content-Type: application/json") + b"{"
    half_fetch = post(f"/{big}.git/git-upload-pack", FETCH) + b"0032want"
    unread = build_clone(big, await find_tip(nethack, big))
    async with contextlib.AsyncExitStack() as stack:
        for sent in [b""] * 500 + [half] * 50 + [half_fetch] * 50 + [unread] * 50:
            await stack.enter_async_context(connect(forge, sent, limit=1024))
        slowest = 0.0
        for number in range(20):
            before = time.monotonic()
            assert (await nethack.pagure("/nethack"))[0] == 200
            assert (await nethack.post("/nethack/new_issue", title=f"{number}", issue_content="c"))[0] == 200
            slowest = max(slowest, time.monotonic() - before)
        work = tmp_path / "other"
        await git("clone", "-q", "--depth=1", nethack.git_url("nethack"), str(work))
        await commit(work)
        await git("push", "-q", "origin", "HEAD:main", cwd=work)
        assert count_git_processes() <= forge.settings.fetches
        assert slowest < 2


async def test_a_request_whose_client_hung_up_before_it_waits_is_ended(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    identify = native_routes.identify_with_row

    async def hang_up_and_identify(request: web.Request, *arguments: Any) -> Any:
        request.protocol.wire.abort()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        return await identify(request, *arguments)

    monkeypatch.setattr(native_routes, "identify_with_row", hang_up_and_identify)
    with pytest.raises(aiohttp.ClientError):
        await forge.admin.get("/v1/events?after=1000&wait=30")
    async with asyncio.timeout(5):
        while any("_handle_request" in str(task.get_coro()) for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
