"""The database stopped and started again under load: nothing acknowledged is lost, and every process recovers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from app.ops import embedded, migrate
from tests.processes import restart_service, start_service
from tests.promises.load import run_load
from tests.promises.parts import Parts, build_settings, open_parts

pytestmark = pytest.mark.slow


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[embedded.Service]:
    """A database of its own, with the durability settings of production."""
    service = await start_service(embedded.start_postgres, tmp_path / "database")
    await migrate.migrate(service.url)
    yield service
    await asyncio.to_thread(service.stop)


@pytest.fixture
async def parts(postgres: embedded.Service, services: tuple[str, str], tmp_path: Path) -> AsyncIterator[Parts]:
    async with open_parts(build_settings(tmp_path, postgres.url, services[1])) as parts:
        yield parts


async def test_a_restart_of_the_database_loses_nothing(
    parts: Parts, postgres: embedded.Service, tmp_path: Path
) -> None:
    running = [parts.start(name) for name in ("serve", "relay", "work")]
    await parts.wait_until_ready()
    async with run_load(parts, tmp_path / "clone") as load:
        for kill_signal in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            await asyncio.sleep(1)
            acknowledged, refused = len(load.issues), load.unavailable
            postgres.process.send_signal(kill_signal)
            await asyncio.to_thread(postgres.process.wait, 20)
            assert await parts.admin.get("/healthz") == (200, {"status": "alive"})
            status, ready = await parts.admin.get("/readyz")
            assert (status, ready["checks"]["database"][:14], ready["checks"]["queue"]) == (
                503,
                "not responding",
                "ok",
            )
            await asyncio.sleep(1)
            await restart_service(postgres)
            await parts.wait_until_ready()
            assert load.unavailable > refused
            assert acknowledged > 10
    assert load.unanswered == 0
    await load.check_nothing_is_lost()
    assert [process.poll() for process in running] == [None, None, None]


async def test_a_restart_waits_for_the_child_processes_of_a_killed_postmaster(postgres: embedded.Service) -> None:
    connection = await asyncpg.connect(postgres.url)
    child = connection.get_server_pid()
    os.kill(child, signal.SIGSTOP)
    postgres.process.kill()
    await asyncio.to_thread(postgres.process.wait, 20)
    starting = asyncio.create_task(restart_service(postgres))
    try:
        await asyncio.sleep(0.7)
        assert not starting.done()
    finally:
        os.kill(child, signal.SIGCONT)
        await starting
    connection.terminate()
    connection = await asyncpg.connect(postgres.url)
    assert await connection.fetchval("select version from schema_version") > 0
    await connection.close()
