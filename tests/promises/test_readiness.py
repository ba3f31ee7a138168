"""A process says what it lacks to be of use, and that it is alive all the while."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.config import Settings
from app.http import health
from app.ops import embedded
from tests.conftest import Client, Forge
from tests.promises.parts import Parts, in_parts, until

pytestmark = pytest.mark.slow


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[embedded.Service]:
    """A queue of the test's own, to be ended."""
    service = await asyncio.to_thread(embedded.valkey, tmp_path)
    yield service
    await asyncio.to_thread(service.stop)


@pytest.fixture
async def parts(own_settings: Settings, valkey: embedded.Service) -> AsyncIterator[Parts]:
    async with in_parts(own_settings.model_copy(update={"redis_url": valkey.url})) as parts:
        yield parts


async def lacks(client: Client) -> dict[str, str]:
    """What the process is not ready for."""
    assert await client.get("/healthz") == (200, {"status": "alive"})
    status, found = await client.get("/readyz")
    checks: dict[str, str] = {name: said for name, said in found["checks"].items() if said != "ok"}
    assert set(found["checks"]) == {"database", "queue", "storage", "relay"}
    assert (status, found["status"]) == ((503, "not ready") if checks else (200, "ready"))
    return checks


async def test_a_process_is_ready_when_relay_queue_and_storage_are(parts: Parts, valkey: embedded.Service) -> None:
    parts.start("serve")

    async def answers() -> bool:
        try:
            return (await parts.admin.get("/healthz"))[0] == 200
        except aiohttp.ClientError:
            return False

    await until(answers, 30)
    assert await lacks(parts.admin) == {"relay": "no relay is running: run polyforge relay"}
    parts.start("relay")
    await parts.ready()
    assert await lacks(parts.admin) == {}
    valkey.process.kill()
    await asyncio.to_thread(valkey.process.wait, 20)
    assert (await lacks(parts.admin))["queue"].startswith("not responding")
    valkey.process = (await asyncio.to_thread(valkey.again)).process
    await parts.ready()
    place = parts.settings.repositories
    place.rename(place.with_name("away"))
    assert await lacks(parts.admin) == {"storage": f"{place} is not writable"}


async def test_a_relay_that_falls_behind_is_told_of(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that does not end keeps everything after it from its number."""
    monkeypatch.setattr(health, "MAX_LAG", 0.2)

    async def behind() -> bool:
        said: Any = await lacks(forge.nobody)
        return "for its number" in said.get("relay", "")

    async def ready() -> bool:
        return await lacks(forge.nobody) == {}

    await forge.idle()
    async with forge.db.acquire() as connection, connection.transaction():
        await connection.execute("select pg_current_xact_id()")
        assert (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[0] == 200
        await until(behind, 20)
    await until(ready, 20)
