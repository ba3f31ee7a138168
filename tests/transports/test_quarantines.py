"""The folders in which git keeps what was pushed until it is checked: none is left, and none is taken from a push."""

from contextlib import closing
from pathlib import Path

import pytest

from app.config import Settings
from app.git import quarantines, store
from app.git.quarantines import PushLock
from tests.conftest import Client, commit, git


@pytest.fixture
async def work(nethack: Client, tmp_path: Path) -> Path:
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    return work


@pytest.fixture
async def left(nethack: Client, settings: Settings) -> Path:
    """The quarantine of a git that was killed."""
    repo_path = store.repository_path(settings.repositories, (await nethack.pagure("/nethack"))[1]["id"])
    folder = repo_path / "objects" / "tmp_objdir-incoming-Xk3f9a"
    (folder / "pack").mkdir(parents=True)
    (folder / "pack" / "tmp_pack_aBcDeF").write_bytes(b"PACK")
    return folder


async def test_the_next_push_removes_what_a_killed_one_has_left(work: Path, left: Path) -> None:
    await commit(work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    assert not left.exists()


async def test_a_quarantine_stays_while_a_push_is_running(work: Path, left: Path, settings: Settings) -> None:
    await commit(work)
    with closing(PushLock(left.parents[1])) as lock:
        lock.hold()
        left.mkdir(parents=True)  # its own, since it removes what others have left
        await git("push", "-q", "origin", "HEAD:main", cwd=work)
        quarantines.sweep_all(settings.repositories)
        assert left.exists()
    quarantines.sweep_all(settings.repositories)
    assert not left.exists()
