"""What killed processes leave on disk is swept, and nothing that a living one still uses."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from app.config import Settings
from app.disk import attachments
from app.git import leftovers, store
from tests.conftest import Client, Forge, commit, git, run_forge
from tests.git.repositories import create_bare
from workers import sweeping

# The beginning of a pack of a thousand objects, which git keeps as a pack while it arrives.
UNFINISHED_PACK = b"PACK" + (2).to_bytes(4, "big") + (1000).to_bytes(4, "big")


@pytest.fixture
async def repo_path(nethack: Client, settings: Settings) -> Path:
    return store.repository_path(settings.repositories, (await nethack.pagure("/nethack"))[1]["id"])


async def wait_until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def unfinished_push(client: Client, repo_path: Path) -> AsyncIterator[Path]:
    """A push whose pack does not go on; yields its quarantine."""
    gone = asyncio.Event()
    line = f"{'0' * 40} {'1' * 40} refs/heads/new\0 report-status".encode()

    async def body() -> AsyncIterator[bytes]:
        yield b"%04x%s0000" % (len(line) + 4, line)
        yield UNFINISHED_PACK
        await gone.wait()

    login = aiohttp.encode_basic_auth(client.name, client.token or "")
    headers = {"Content-Type": "application/x-git-receive-pack-request", "Authorization": login}
    url = f"{client.forge.url}/nethack.git/git-receive-pack"
    push = asyncio.create_task(client.forge.session.post(url, data=body(), headers=headers))
    try:
        await wait_until(lambda: list_quarantined(repo_path))
        [quarantine] = list_quarantines(repo_path)
        yield quarantine
    finally:
        gone.set()
        await asyncio.wait([push], timeout=10)
        push.cancel()


def list_quarantines(repo_path: Path) -> list[Path]:
    return list((repo_path / "objects").glob("*incoming-*"))


def list_quarantined(repo_path: Path) -> list[Path]:
    return [pack for quarantine in list_quarantines(repo_path) for pack in quarantine.glob("pack/tmp_pack_*")]


def make_old(path: Path) -> None:
    """Let nothing in a folder have changed for a day."""
    day_ago = time.time() - 86_400
    for folder, _, files in os.walk(path, topdown=False):
        for each in (*files, "."):
            os.utime(Path(folder, each), (day_ago, day_ago))


def list_processes(repo_path: Path) -> list[int]:
    """List the processes that work in a repository."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(repo_path).encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


async def test_the_quarantine_of_a_killed_push_is_swept(
    nethack: Client, settings: Settings, repo_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with unfinished_push(nethack, repo_path) as quarantine:
        for pid in list_processes(repo_path):
            os.kill(pid, signal.SIGKILL)
        await wait_until(lambda: not leftovers.has_writers(repo_path))
    assert quarantine.exists()
    assert (await sweeping.sweep(settings)).count == 0  # it is not old enough
    make_old(quarantine)
    logged: list[tuple[str, dict[str, int]]] = []
    monkeypatch.setattr(sweeping, "log", SimpleNamespace(info=lambda event, **fields: logged.append((event, fields))))
    assert (await sweeping.sweep(settings)).count == 1
    assert not quarantine.exists()
    [(event, fields)] = logged
    assert (event, fields["count"]) == ("leftovers removed", 1)
    assert fields["bytes"] >= len(UNFINISHED_PACK)


async def test_the_quarantine_of_a_push_that_still_runs_is_kept_however_old_it_is(
    nethack: Client, settings: Settings, repo_path: Path
) -> None:
    async with unfinished_push(nethack, repo_path) as quarantine:
        make_old(quarantine)
        assert (await sweeping.sweep(settings)).count == 0
        assert list_quarantined(repo_path)


async def test_a_git_process_whose_parent_was_killed_still_protects_what_it_writes(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    (repo_path / "objects/pack/tmp_pack_old").touch()
    with leftovers.writing(repo_path) as descriptor:
        sleeper = await asyncio.create_subprocess_exec("sleep", "60", pass_fds=[descriptor])
    assert leftovers.remove_leftovers(repo_path, 0).count == 0
    sleeper.kill()
    await sleeper.wait()
    assert leftovers.remove_leftovers(repo_path, 0).count == 1


async def test_the_next_push_removes_the_quarantine_of_a_killed_one(
    nethack: Client, repo_path: Path, tmp_path: Path
) -> None:
    (quarantine := repo_path / "objects/tmp_objdir-incoming-x/pack").mkdir(parents=True)
    await git("clone", "-q", nethack.git_url("nethack"), str(work := tmp_path / "work"))
    await commit(work)
    with leftovers.writing(repo_path):
        await git("push", "-q", "origin", "HEAD:main", cwd=work)
        assert quarantine.exists()
    await commit(work, "another")
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    assert not quarantine.parent.exists()


@pytest.mark.parametrize(
    "name",
    ["tmp_objdir-incoming-x/pack/tmp_pack_y", "incoming-x/17/tmp_obj_y", "tmp_objdir-bulk-fsync-x/bulk_fsync_y",
     "tmp_object_git2_x", "pack/tmp_pack_x", "pack/tmp_idx_x", "pack/tmp_rev_x", "pack/.tmp-1-pack-x.pack"],
)  # fmt: skip
async def test_every_kind_of_leftover_is_swept_and_nothing_else(tmp_path: Path, name: str) -> None:
    repo_path = await create_bare(tmp_path)
    kept = repo_path / "objects/pack/pack-1.pack"
    for file in (kept, repo_path / "objects" / name):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    folders = {folder.name for folder in (repo_path / "objects").iterdir()} - {Path(name).parts[0]}
    make_old(repo_path / "objects")
    assert leftovers.remove_leftovers(repo_path, 3600).count == 1
    assert not (repo_path / "objects" / name).exists()
    assert kept.exists()
    assert {folder.name for folder in (repo_path / "objects").iterdir()} - {"pack"} == folders - {"pack"}


async def test_a_quarantine_to_which_something_was_added_lately_is_kept(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    quarantine = repo_path / "objects/tmp_objdir-incoming-x"
    (quarantine / "pack").mkdir(parents=True)
    make_old(quarantine)
    (quarantine / "pack/tmp_pack_y").touch()
    os.utime(quarantine / "pack", (0, 0))
    assert leftovers.remove_leftovers(repo_path, 3600).count == 0


async def test_a_repository_that_cannot_be_swept_does_not_stop_the_sweep(
    forge: Forge, nethack: Client, settings: Settings, repo_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await nethack.post("/new", name="angband", description="Another")
    other = store.repository_path(settings.repositories, (await nethack.pagure("/angband"))[1]["id"])
    (other / "objects/pack/tmp_pack_x").touch()
    make_old(other)
    remove = sweeping.remove_leftovers

    def fail(path: Path, age: float) -> leftovers.Removed:
        if path == repo_path:
            raise PermissionError(path)
        return remove(path, age)

    monkeypatch.setattr(sweeping, "remove_leftovers", fail)
    assert (await sweeping.sweep(settings)).count == 1


def test_files_of_issues_that_were_being_written_are_swept(tmp_path: Path) -> None:
    stored = attachments.store(tmp_path, 7, "a.txt", b"content").name
    unfinished = attachments.directory(tmp_path, 7) / ".0123-unfinished"
    unfinished.touch()
    assert attachments.remove_unfinished(tmp_path, 3600) == 0
    make_old(tmp_path)
    assert attachments.remove_unfinished(tmp_path, 3600) == 1
    assert attachments.read(tmp_path, 7, stored) == b"content"


@pytest.mark.own_forge
async def test_workers_sweep_by_themselves(own_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "INTERVAL", 0.05)
    repository = store.repository_path(own_settings.repositories, 999)
    leftover = repository / "objects/pack/tmp_pack_x"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    make_old(repository)
    async with run_forge(own_settings):
        await wait_until(lambda: not leftover.exists())
