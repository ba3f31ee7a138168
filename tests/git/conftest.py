"""The work tree that tests of pushes share."""

from pathlib import Path

import pytest

from tests.conftest import Client, commit, git


@pytest.fixture
async def work(nethack: Client, tmp_path: Path) -> Path:
    """Alice's work tree, with a commit that is not pushed."""
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    await commit(work)
    return work
