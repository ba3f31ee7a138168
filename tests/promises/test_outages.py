"""The database ended and started again under load: nothing acknowledged is lost, and everything comes back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from app.config import Settings
from app.ops import embedded, migrate
from tests.conftest import ADMIN_TOKEN
from tests.promises.load import load
from tests.promises.parts import Parts, in_parts

pytestmark = pytest.mark.slow


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[embedded.Service]:
    """A database of the test's own, which writes as it does in earnest."""
    service = await asyncio.to_thread(embedded.postgres, tmp_path / "database")
    await migrate.migrate(service.url)
    yield service
    await asyncio.to_thread(service.stop)


@pytest.fixture
async def parts(postgres: embedded.Service, services: tuple[str, str], tmp_path: Path) -> AsyncIterator[Parts]:
    settings = Settings(
        data=tmp_path,
        database_url=postgres.url,
        redis_url=services[1],
        port=embedded.free_port(),
        admin_token=SecretStr(ADMIN_TOKEN),
        lease=2.0,
    )
    async with in_parts(settings) as parts:
        yield parts


async def test_a_database_that_goes_and_comes_back_loses_nothing(
    parts: Parts, postgres: embedded.Service, tmp_path: Path
) -> None:
    running = [parts.start(name) for name in ("serve", "relay", "work")]
    await parts.ready()
    async with load(parts, tmp_path / "clone") as people:
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            await asyncio.sleep(1)
            acknowledged, refused = len(people.issues), people.unavailable
            postgres.process.send_signal(how)
            await asyncio.to_thread(postgres.process.wait, 20)
            assert await parts.admin.get("/healthz") == (200, {"status": "alive"})
            status, ready = await parts.admin.get("/readyz")
            assert (status, ready["checks"]["database"][:14], ready["checks"]["queue"]) == (
                503,
                "not responding",
                "ok",
            )
            await asyncio.sleep(1)
            postgres.process = (await asyncio.to_thread(postgres.again)).process
            await parts.ready()
            assert people.unavailable > refused
            assert acknowledged > 10
    assert people.unanswered == 0
    await people.nothing_is_lost()
    assert [process.poll() for process in running] == [None, None, None]


async def test_a_new_postmaster_waits_for_the_children_of_a_killed_one(postgres: embedded.Service) -> None:
    connection = await asyncpg.connect(postgres.url)
    child = connection.get_server_pid()
    os.kill(child, signal.SIGSTOP)
    postgres.process.kill()
    await asyncio.to_thread(postgres.process.wait, 20)
    starting = asyncio.create_task(asyncio.to_thread(postgres.again))
    try:
        await asyncio.sleep(0.7)
        assert not starting.done()
    finally:
        os.kill(child, signal.SIGCONT)
        postgres.process = (await starting).process
    connection.terminate()
    connection = await asyncpg.connect(postgres.url)
    assert await connection.fetchval("select version from schema_version") > 0
    await connection.close()
