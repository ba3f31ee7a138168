"""Readiness checks: a process reports what it lacks, and stays alive meanwhile."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.config import Settings
from app.http import health
from app.ops import embedded
from tests.conftest import Client, Forge
from tests.processes import restart_service, start_service
from tests.promises.parts import Parts, open_parts, read_log, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[embedded.Service]:
    """A Valkey of its own, which the test kills."""
    service = await start_service(embedded.start_valkey, tmp_path)
    yield service
    await asyncio.to_thread(service.stop)


@pytest.fixture
async def parts(own_settings: Settings, valkey: embedded.Service) -> AsyncIterator[Parts]:
    async with open_parts(own_settings.model_copy(update={"redis_url": valkey.url})) as parts:
        yield parts


async def failed_checks(client: Client) -> dict[str, str]:
    """The readiness checks that fail, with their messages."""
    assert await client.get("/healthz") == (200, {"status": "alive"})
    status, report = await client.get("/readyz")
    failed: dict[str, str] = {name: result for name, result in report["checks"].items() if result != "ok"}
    assert set(report["checks"]) == {"database", "queue", "storage", "relay"}
    assert (status, report["status"]) == ((503, "not ready") if failed else (200, "ready"))
    return failed


async def test_a_process_is_ready_when_relay_queue_and_storage_are(parts: Parts, valkey: embedded.Service) -> None:
    parts.start("serve")

    async def answers() -> bool:
        try:
            return (await parts.admin.get("/healthz"))[0] == 200
        except aiohttp.ClientError:
            return False

    await wait_until(answers, 30)
    assert await failed_checks(parts.admin) == {"relay": "no relay is running: run polyforge relay"}
    parts.start("relay")
    await parts.wait_until_ready()
    assert await failed_checks(parts.admin) == {}
    valkey.process.kill()
    await asyncio.to_thread(valkey.process.wait, 20)
    assert (await failed_checks(parts.admin))["queue"].startswith("not responding")
    await restart_service(valkey)
    await parts.wait_until_ready()
    for name in ("repositories", "attachments"):
        folder = parts.settings.data / name
        folder.rename(folder.with_name("away"))

        async def is_told(folder: Path = folder) -> bool:
            problem = f"{folder} is not writable (No such file or directory)"
            return await failed_checks(parts.admin) == {"storage": problem}

        await wait_until(is_told, 10)
        doctor = parts.start("doctor")
        assert await asyncio.to_thread(doctor.wait, 30) == 1
        assert f"{folder} is not writable" in read_log(doctor)
        folder.with_name("away").rename(folder)


async def test_a_relay_that_falls_behind_is_not_ready(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open transaction keeps all later events from being numbered."""
    monkeypatch.setattr(health, "MAX_LAG", 0.2)

    async def is_behind() -> bool:
        checks: Any = await failed_checks(forge.nobody)
        return "unnumbered event" in checks.get("relay", "")

    async def is_ready() -> bool:
        return await failed_checks(forge.nobody) == {}

    await forge.idle()
    async with forge.db.acquire() as connection, connection.transaction():
        await connection.execute("select pg_current_xact_id()")
        assert (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[0] == 200
        await wait_until(is_behind, 20)
    await wait_until(is_ready, 20)


async def test_a_database_that_cannot_write_is_not_ready(forge: Forge, nethack: Client) -> None:
    """A file stands where the server makes its temporary files, so that writing fails as on a full disk."""
    folder = await forge.db.fetchval("select current_setting('data_directory')")
    temporary = Path(folder, "base", "pgsql_tmp")

    async def is_told() -> bool:
        return "refuses to write" in (await failed_checks(forge.nobody)).get("database", "")

    async def is_ready() -> bool:
        return await failed_checks(forge.nobody) == {}

    await wait_until(is_ready, 20)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.touch()
    try:
        await wait_until(is_told, 20)
        assert (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[0] == 200
    finally:
        temporary.unlink()
    await wait_until(is_ready, 20)


async def test_all_folders_are_made_at_start_for_their_owner_alone(parts: Parts) -> None:
    serve = parts.start("serve")

    async def are_there() -> bool:
        assert serve.poll() is None
        return all((parts.settings.data / name).exists() for name in ("repositories", "attachments"))

    await wait_until(are_there, 30)
    for name in ("repositories", "attachments"):
        found = (parts.settings.data / name).stat()
        assert (found.st_mode & 0o777, found.st_uid) == (0o700, parts.settings.data.stat().st_uid)
