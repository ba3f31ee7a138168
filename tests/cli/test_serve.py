"""`polyforge serve`: where it listens, and with how many files."""

import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.config import Settings
from app.ops import embedded
from tests.cli.command import UNUSABLE_HOSTS, run_command
from tests.conftest import Forge

FIRST_FREE_PORT = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())

pytestmark = pytest.mark.slow


def build_environment(settings: Settings, port: int) -> dict[str, str]:
    return {
        "POLYFORGE_DATA": str(settings.data),
        "POLYFORGE_DATABASE_URL": settings.required_database_url(),
        "POLYFORGE_REDIS_URL": settings.required_redis_url(),
        "POLYFORGE_PORT": str(port),
    }


@contextlib.asynccontextmanager
async def run_serve(settings: Settings, port: int, *arguments: str, files: int = 1024) -> AsyncIterator[dict[str, Any]]:
    """Run a `serve` process; its log line about where it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "serve", *arguments, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **build_environment(settings, port)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, 256), files)),
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(40):
            while (line := json.loads(await process.stderr.readline()))["event"] != "listening":
                pass
        drain = asyncio.create_task(process.stderr.read())
        yield line
    finally:
        process.terminate()
        await process.wait()
        await drain


@pytest.mark.parametrize("first", [(), ("--api-processes", "2")], ids=["alone", "sharing"])
async def test_a_second_process_on_a_port_refuses_to_start(forge: Forge, first: tuple[str, ...]) -> None:
    port = embedded.free_port()
    async with run_serve(forge.settings, port, *first):
        code, lines, errors = await run_command("serve", **build_environment(forge.settings, port))
    assert (code, lines) == (1, [])
    assert f"Error: POLYFORGE_PORT (--port): port {port} of 127.0.0.1 is in use." in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(("host", "cause"), UNUSABLE_HOSTS.items())
async def test_an_address_that_cannot_be_listened_on_is_named(forge: Forge, host: str, cause: str) -> None:
    elsewhere = {**build_environment(forge.settings, 8080), "POLYFORGE_HOST": host}
    code, _, errors = await run_command("serve", **elsewhere)
    assert (code, errors.splitlines()[-1].startswith(f"Error: POLYFORGE_HOST: {cause}")) == (2, True), errors
    assert "Traceback" not in errors


# Only root becomes another user at the start, and some containers reserve no ports, so that nothing is refused.
@pytest.mark.skipif(os.geteuid() != 0 or FIRST_FREE_PORT <= 81, reason="port 81 is not reserved, or this is not root")
async def test_a_port_that_is_reserved_for_root_is_named(forge: Forge) -> None:
    """Root is given up before, so its right to listen there is gone."""
    code, _, errors = await run_command("serve", **build_environment(forge.settings, 81))
    assert (code, "Error: POLYFORGE_PORT (--port): this user may not listen on port 81." in errors) == (2, True)


async def test_ipv6_addresses_are_written_in_brackets(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYFORGE_HOST", "::1")
    port = embedded.free_port()
    async with run_serve(forge.settings, port) as line:
        assert line["address"] == f"http://[::1]:{port}"


async def test_processes_that_are_asked_to_share_a_port_do_and_say_where_they_listen(forge: Forge) -> None:
    port = embedded.free_port()
    sharing = ("--api-processes", "2")
    async with run_serve(forge.settings, port, *sharing) as line, run_serve(forge.settings, port, *sharing):
        assert (line["address"], line["processes"]) == (f"http://127.0.0.1:{port}", 2)
        database = forge.settings.required_database_url()
        assert line["database"] == database.rpartition("@")[2].partition("?")[0]
        assert line["version"]
        assert database not in json.dumps(line)


async def test_more_silent_connections_than_files_do_not_stop_the_api(forge: Forge) -> None:
    port = embedded.free_port()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(run_serve(forge.settings, port, files=400))
        for _ in range(420):
            silent = stack.enter_context(socket.socket())
            silent.setblocking(False)
            await asyncio.get_running_loop().sock_connect(silent, ("127.0.0.1", port))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with asyncio.timeout(10):
            for _ in range(5):
                async with session.get(f"http://127.0.0.1:{port}/healthz", headers={"Connection": "close"}) as answer:
                    assert answer.status == 200
