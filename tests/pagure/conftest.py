"""Fixtures for tests of issues and pull requests: a tracker, and a fork."""

from pathlib import Path

import pytest

from tests.conftest import Client, Forge, git
from tests.pagure import trackers
from tests.pagure.pulls import push_commit
from tests.pagure.trackers import Tracker


@pytest.fixture
async def tracker(forge: Forge, nethack: Client) -> Tracker:
    return await trackers.make_tracker(forge, nethack)


@pytest.fixture
async def bob(forge: Forge, nethack: Client, tmp_path: Path) -> Client:
    """Bob, with a fork of nethack whose branch `topic` is one commit ahead, and a work tree of it."""
    bob = await forge.user("bob")
    assert (await bob.post("/fork", repo="nethack"))[0] == 200
    await git("clone", "-q", bob.git_url("fork/bob/nethack"), str(tmp_path / "bob"))
    await push_commit(tmp_path / "bob", "topic", "one")
    return bob
