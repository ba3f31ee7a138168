"""Processes killed in the middle of their work: nothing is lost, done twice or left behind."""

import asyncio
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pygit2
import pytest

from tests.conftest import git
from tests.promises.load import run_load
from tests.promises.parts import Parts, kill, read_log, wait_until

pytestmark = pytest.mark.slow

OBJECTS = 2000


@pytest.fixture
async def large(parts: Parts, tmp_path: Path) -> str:
    """The URL of a project with so many loose objects that a fork takes long enough to be interrupted."""
    for name in ("serve", "relay"):
        parts.start(name)
    maker = parts.start("work")
    await parts.wait_until_ready()
    assert (await parts.admin.post("/new", name="large", description="d"))[0] == 200
    await kill(maker)
    work = pygit2.init_repository(str(tmp_path / "work"))
    tree = work.TreeBuilder()
    for number in range(OBJECTS):
        tree.insert(f"{number}", work.create_blob(f"{number}".encode()), pygit2.enums.FileMode.BLOB)
    alice = pygit2.Signature("Alice", "alice@example.org")
    work.create_commit("refs/heads/main", alice, alice, "Add much", tree.write(), [])
    await git("push", "-q", parts.admin.git_url("large"), "refs/heads/main", cwd=tmp_path / "work")
    # Unpack them, as in a repository that was filled by many small pushes.
    [pack] = parts.settings.repositories.glob("*/*.git/objects/pack/*.pack")
    outside = pack.rename(tmp_path / "pack")
    pack.with_suffix(".idx").unlink()
    owner = pack.parents[2].stat()  # the user of the forge, if root runs the tests
    with outside.open("rb") as packed:
        subprocess.run(
            ["git", "unpack-objects", "-q"],
            stdin=packed,
            cwd=pack.parents[2],
            check=True,
            user=owner.st_uid,
            group=owner.st_gid,
            env={**os.environ, "HOME": "/nonexistent"},
        )
    return f"{parts.url}/large.git"


STAGING = "*/.*.git.*"  # staging directories of repositories


def list_staging_dirs(parts: Parts) -> list[Path]:
    return list(parts.settings.repositories.glob(STAGING))


async def stop_in_the_middle(parts: Parts, worker: subprocess.Popen[bytes], pattern: str) -> str:
    """Ask for a fork, and stop the worker as soon as a path matches the pattern. Returns the task's id."""
    _, queued = await parts.admin.post("/fork", repo="large", wait="0")

    def stop() -> None:
        deadline = time.monotonic() + 20
        while not any(parts.settings.repositories.glob(pattern)) and time.monotonic() < deadline:
            time.sleep(0.0005)
        worker.send_signal(signal.SIGSTOP)

    await asyncio.to_thread(stop)
    [staging_dir] = list_staging_dirs(parts)
    assert len(list(staging_dir.glob("objects/*/*"))) < OBJECTS
    assert len(list(parts.settings.repositories.glob("*/[0-9]*.git"))) == 1
    task: str = queued["taskid"]
    return task


async def check_fork(parts: Parts, source: str, task: str, tmp_path: Path) -> None:
    """Check that the task succeeded with one answer, and that the fork has the same objects as its source."""
    status, ended = await parts.admin.get(f"/v1/tasks/{task}?wait=40")
    assert (status, ended["status"]) == (200, "succeeded")
    assert ended["attempts"] >= 2

    async def is_told() -> bool:
        """The event has its number a moment after the task has ended."""
        _, feed = await parts.admin.get("/v1/events?types=repository.created&limit=100")
        return [event["command"] for event in feed["events"]].count(task) == 1

    await wait_until(is_told, 10)
    contents = []
    for index, url in enumerate((source, source.replace("large.git", "forks/admin/large.git"))):
        clone = tmp_path / f"clone-{index}"
        await git("clone", "-q", "--bare", url, str(clone))
        contents.append(await git("rev-list", "--objects", "--all", cwd=clone))
    assert contents[0] == contents[1]
    assert contents[0].count("\n") == OBJECTS + 2
    await parts.run_doctor()


async def test_another_worker_completes_a_fork_whose_worker_was_killed(
    parts: Parts, large: str, tmp_path: Path
) -> None:
    worker = parts.start("work")
    task = await stop_in_the_middle(parts, worker, f"{STAGING}/objects/??")
    await kill(worker)
    parts.start("work")
    await check_fork(parts, large, task, tmp_path)
    assert list_staging_dirs(parts) == []


async def test_a_worker_that_comes_back_after_its_lease_changes_nothing(
    parts: Parts, large: str, tmp_path: Path
) -> None:
    late = parts.start("work")
    task = await stop_in_the_middle(parts, late, STAGING)
    parts.start("work")
    await check_fork(parts, large, task, tmp_path)
    late.send_signal(signal.SIGCONT)

    def list_fork_jobs() -> list[str]:
        return [line for line in read_log(late).splitlines() if '"job":"fork-repository"' in line and '"ms"' in line]

    async def has_ended() -> bool:
        return bool(list_fork_jobs())

    await wait_until(has_ended, 20)
    assert '"outcome":"done"' not in list_fork_jobs()[0]
    await check_fork(parts, large, task, tmp_path / "again")
    assert list_staging_dirs(parts) == []


async def test_nothing_acknowledged_is_lost_when_api_processes_are_killed(parts: Parts, tmp_path: Path) -> None:
    for name in ("relay", "work"):
        parts.start(name)
    serving = [parts.start("serve"), parts.start("serve")]
    await parts.wait_until_ready()
    async with run_load(parts, tmp_path / "clone") as load:
        for _ in range(4):
            await asyncio.sleep(random.uniform(0.5, 1.0))
            await asyncio.gather(*(kill(process) for process in serving))
            serving = [parts.start("serve"), parts.start("serve")]
            await parts.wait_until_ready()
    await load.check_nothing_is_lost()
    assert load.unavailable == 0
    assert load.unanswered > 0
