"""Processes killed in the middle of what they do: nothing is lost, nothing is done twice, nothing is left lying."""

import asyncio
import signal
import subprocess
import time
from pathlib import Path

import pygit2
import pytest

from tests.conftest import git
from tests.promises.load import load
from tests.promises.parts import Parts, kill, said_by, until

pytestmark = pytest.mark.slow

OBJECTS = 2000


@pytest.fixture
async def large(parts: Parts, tmp_path: Path) -> str:
    """The URL of a project with so many loose objects that one can watch it being forked."""
    for name in ("serve", "relay"):
        parts.start(name)
    maker = parts.start("work")
    await parts.ready()
    assert (await parts.admin.post("/new", name="large", description="d"))[0] == 200
    await kill(maker)
    work = pygit2.init_repository(str(tmp_path / "work"))
    tree = work.TreeBuilder()
    for n in range(OBJECTS):
        tree.insert(f"{n}", work.create_blob(f"{n}".encode()), pygit2.enums.FileMode.BLOB)
    alice = pygit2.Signature("Alice", "alice@example.org")
    work.create_commit("refs/heads/main", alice, alice, "Add much", tree.write(), [])
    await git("push", "-q", parts.admin.git_url("large"), "refs/heads/main", cwd=tmp_path / "work")
    # As they lie in a repository that was filled by many small pushes.
    [pack] = parts.settings.repositories.glob("*/*.git/objects/pack/*.pack")
    outside = pack.rename(tmp_path / "pack")
    pack.with_suffix(".idx").unlink()
    with outside.open("rb") as packed:
        subprocess.run(["git", "unpack-objects", "-q"], stdin=packed, cwd=pack.parents[2], check=True)
    return f"{parts.url}/large.git"


BENCH = "*/.*.git.*"  # where a repository is being made


def benches(parts: Parts) -> list[Path]:
    return list(parts.settings.repositories.glob(BENCH))


async def stopped_in_the_middle(parts: Parts, worker: subprocess.Popen[bytes], sign: str) -> str:
    """Ask for a fork, and stop the worker as soon as there is such a path in its folder; the task's id."""
    _, queued = await parts.admin.post("/fork", repo="large", wait="0")

    def stop() -> None:
        deadline = time.monotonic() + 20
        while not any(parts.settings.repositories.glob(sign)) and time.monotonic() < deadline:
            time.sleep(0.0005)
        worker.send_signal(signal.SIGSTOP)

    await asyncio.to_thread(stop)
    [staging_dir] = benches(parts)
    assert len(list(staging_dir.glob("objects/*/*"))) < OBJECTS
    assert len(list(parts.settings.repositories.glob("*/[0-9]*.git"))) == 1
    task: str = queued["taskid"]
    return task


async def one_whole_fork(parts: Parts, source: str, task: str, tmp_path: Path) -> None:
    """The task has ended well, in one answer, with a repository that is its source's equal."""
    status, ended = await parts.admin.get(f"/v1/tasks/{task}?wait=40")
    assert (status, ended["status"]) == (200, "succeeded")
    assert ended["attempts"] >= 2
    _, feed = await parts.admin.get("/v1/events?types=repository.created&limit=100")
    assert [event["command"] for event in feed["events"]].count(task) == 1
    contents = []
    for n, url in enumerate((source, source.replace("large.git", "forks/admin/large.git"))):
        clone = tmp_path / f"clone-{n}"
        await git("clone", "-q", "--bare", url, str(clone))
        contents.append(await git("rev-list", "--objects", "--all", cwd=clone))
    assert contents[0] == contents[1]
    assert contents[0].count("\n") == OBJECTS + 2
    await parts.doctor()


async def test_a_fork_whose_worker_was_killed_is_made_whole_by_another(
    parts: Parts, large: str, tmp_path: Path
) -> None:
    worker = parts.start("work")
    task = await stopped_in_the_middle(parts, worker, f"{BENCH}/objects/??")
    await kill(worker)
    parts.start("work")
    await one_whole_fork(parts, large, task, tmp_path)
    assert benches(parts) == []


async def test_a_worker_that_comes_back_after_its_lease_changes_nothing(
    parts: Parts, large: str, tmp_path: Path
) -> None:
    late = parts.start("work")
    task = await stopped_in_the_middle(parts, late, BENCH)
    parts.start("work")
    await one_whole_fork(parts, large, task, tmp_path)
    late.send_signal(signal.SIGCONT)

    def forked() -> list[str]:
        return [line for line in said_by(late).splitlines() if '"job":"fork-repository"' in line and '"ms"' in line]

    async def has_ended() -> bool:
        return bool(forked())

    await until(has_ended, 20)
    assert '"outcome":"done"' not in forked()[0]
    await one_whole_fork(parts, large, task, tmp_path / "again")
    assert benches(parts) == []


async def test_nothing_acknowledged_is_lost_when_api_processes_are_killed(parts: Parts, tmp_path: Path) -> None:
    for name in ("relay", "work"):
        parts.start(name)
    serving = [parts.start("serve"), parts.start("serve")]
    await parts.ready()
    abandoned = 0

    async def open_pushes() -> int:
        count: int = await parts.db.fetchval("select count(*) from open_pushes")
        return count

    async def a_push_is_open() -> bool:
        return await open_pushes() > 0

    async with load(parts, tmp_path / "clone") as people:
        for _ in range(4):
            await asyncio.sleep(0.5)
            await until(a_push_is_open, 10, pause=0.002)
            await asyncio.gather(*(kill(process) for process in serving))
            abandoned += await open_pushes()
            serving = [parts.start("serve"), parts.start("serve")]
            await parts.ready()
    await people.nothing_is_lost()
    assert people.unavailable == 0
    assert min(people.unanswered, abandoned) > 0
