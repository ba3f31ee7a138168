"""A stand-by takes over from a database that has died: writes go on there, with all that was acknowledged before."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from app.ops import embedded, migrate
from tests.processes import start_service
from tests.promises.parts import Parts, build_settings, open_parts, wait_until

pytestmark = pytest.mark.slow
USER = embedded.SYSTEM_USER if os.geteuid() == 0 else None  # who owns the clusters, if not the user of the tests


def run_program(name: str, *arguments: str | Path) -> None:
    """Run a program of PostgreSQL as the user who owns the cluster."""
    subprocess.run(
        [embedded.BIN / name, *arguments],
        check=True,
        capture_output=True,
        cwd="/",
        timeout=60,
        **embedded._run_as(USER),
    )


@pytest.fixture
async def primary(tmp_path: Path) -> AsyncIterator[embedded.Service]:
    service = await start_service(embedded.start_postgres, tmp_path / "primary")
    await migrate.migrate(service.url)
    yield service
    await asyncio.to_thread(service.stop)


@pytest.fixture
async def stand_by(primary: embedded.Service, tmp_path: Path) -> AsyncIterator[embedded.Service]:
    """A copy of the database that follows it, and without whose consent nothing is committed."""
    folder = tmp_path / "stand-by"
    folder.mkdir()
    shutil.copy(tmp_path / "primary" / "postgres.password", folder)
    if USER:
        embedded._let_reach_database(folder / "postgres", USER)
        shutil.chown(folder, USER)
    url = f"{primary.url}?application_name=stand-by"
    await asyncio.to_thread(run_program, "pg_basebackup", "-R", "-X", "stream", "-d", url, "-D", folder / "postgres")
    service = await start_service(embedded.start_postgres, folder)
    connection = await asyncpg.connect(primary.url)
    await connection.execute("alter system set synchronous_standby_names = '*'")
    await connection.execute("select pg_reload_conf()")
    await connection.close()
    yield service
    await asyncio.to_thread(service.stop)


@pytest.fixture
async def parts(
    primary: embedded.Service, stand_by: embedded.Service, services: tuple[str, str], tmp_path: Path
) -> AsyncIterator[Parts]:
    second = re.search(r"@([^/]+)/", stand_by.url)
    assert second is not None
    both = re.sub("(@[^/]+)/", rf"\1,{second[1]}/", primary.url)
    async with open_parts(build_settings(tmp_path, both, services[1])) as parts:
        yield parts


async def test_a_promoted_stand_by_takes_over_and_has_all_that_was_acknowledged(
    parts: Parts, primary: embedded.Service, tmp_path: Path
) -> None:
    for name in ("serve", "relay", "work"):
        parts.start(name)
    await parts.wait_until_ready()
    assert (await parts.admin.post("/new", name="game", description="d", create_readme="1", wait="1"))[0] == 200
    opened = [(await parts.admin.post("/game/new_issue", title=str(n), issue_content="c"))[1] for n in range(20)]
    primary.process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(primary.process.wait, 20)
    status, refused = await parts.admin.post("/game/new_issue", title="refused", issue_content="c")
    assert status == 503, refused
    await asyncio.to_thread(run_program, "pg_ctl", "promote", "-D", tmp_path / "stand-by" / "postgres")

    async def is_written() -> bool:
        return (await parts.admin.post("/game/new_issue", title="after", issue_content="c"))[0] == 200

    await wait_until(is_written, 30)
    listed = (await parts.admin.pagure("/game/issues?per_page=100&order=asc"))[1]["issues"]
    assert [issue["title"] for issue in listed] == [each["issue"]["title"] for each in opened] + ["after"]
    assert (await parts.admin.post("/new", name="more", description="d", create_readme="1", wait="1"))[0] == 200
    await parts.wait_until_ready()
