"""Forks that are deleted right after something happened in them: their pull requests lose nothing."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.git import store
from tests.conftest import Client, Forge, git
from tests.pagure.pulls import open_pull_request, push_commit
from workers.reactions import REACTIONS

ONE = "/nethack/pull-request/1"
DONE = (200, {"message": "Changes merged!"})


@contextmanager
def held(*names: str) -> Iterator[Callable[[], None]]:
    """Hold these reactions until the function is called."""
    go_on, works = asyncio.Event(), {name: REACTIONS[name].work for name in names}

    def hold(name: str) -> Any:
        async def wait(*arguments: Any) -> Any:
            await go_on.wait()
            return await works[name](*arguments)

        return wait

    for name in names:
        object.__setattr__(REACTIONS[name], "work", hold(name))
    try:
        yield go_on.set
    finally:
        go_on.set()
        for name, work in works.items():
            object.__setattr__(REACTIONS[name], "work", work)


@pytest.fixture
async def fork(forge: Forge, bob: Client) -> Path:
    """The repository of bob's fork, once his push to it has been followed."""
    await forge.idle()
    return store.repository_path(forge.settings.repositories, (await bob.pagure("/fork/bob/nethack"))[1]["id"])


async def delete_fork(bob: Client, *, removed: Path | None = None) -> None:
    """Delete bob's fork; with `removed`, wait until this repository is gone."""
    owner = await bob.limited(project="fork/bob/nethack")
    assert (await owner.post("/fork/bob/nethack/delete"))[0] == 200
    async with asyncio.timeout(10):
        while removed is not None and removed.exists():
            await asyncio.sleep(0.01)


async def read_head(nethack: Client, ref: str = "refs/heads/main") -> str:
    listed = await git("ls-remote", nethack.git_url("nethack"), ref)
    return listed.split()[0]


async def test_a_fork_deleted_right_after_opening_loses_nothing(
    forge: Forge, nethack: Client, bob: Client, fork: Path
) -> None:
    with held("keep-pull-request"):
        found = await open_pull_request(bob)
        await delete_fork(bob, removed=fork)
        assert await read_head(nethack, "refs/pull/1/head") == found["commit_stop"]
        assert await nethack.post(f"{ONE}/merge") == DONE
    assert await read_head(nethack) == found["commit_stop"]
    await forge.idle()


async def test_a_push_right_before_the_deletion_is_part_of_the_request(
    forge: Forge, nethack: Client, bob: Client, fork: Path, tmp_path: Path
) -> None:
    await open_pull_request(bob)
    await forge.idle()
    with held("follow-branch"):
        made = await push_commit(tmp_path / "bob", "topic", "two")
        await delete_fork(bob, removed=fork)
    await forge.idle()
    _, found = await nethack.pagure(ONE)
    assert (found["commit_stop"], found["cached_merge_status"], found["repo_from"]) == (made, "FFORWARD", None)
    assert await nethack.post(f"{ONE}/merge") == DONE
    assert await read_head(nethack) == made


async def test_a_reopened_request_has_what_was_pushed_before_the_deletion(
    forge: Forge, nethack: Client, bob: Client, fork: Path, tmp_path: Path
) -> None:
    await open_pull_request(bob)
    assert (await bob.post(f"{ONE}/close"))[0] == 200
    made = await push_commit(tmp_path / "bob", "topic", "two")
    await forge.idle()
    with held("catch-up"):
        assert (await bob.post(f"{ONE}/reopen"))[0] == 200
        await delete_fork(bob, removed=fork)
    await forge.idle()
    assert (await nethack.pagure(ONE))[1]["commit_stop"] == made
    assert await nethack.post(f"{ONE}/merge") == DONE
    assert await read_head(nethack) == made


async def test_a_request_closed_before_its_commits_were_copied_can_be_reopened_and_merged(
    forge: Forge, nethack: Client, bob: Client, fork: Path
) -> None:
    with held("keep-pull-request"):
        found = await open_pull_request(bob)
        assert (await bob.post(f"{ONE}/close"))[0] == 200
        await delete_fork(bob, removed=fork)
    await forge.idle()
    assert (await nethack.post(f"{ONE}/reopen"))[0] == 200
    assert await nethack.post(f"{ONE}/merge") == DONE
    assert await read_head(nethack) == found["commit_stop"]


async def test_a_request_is_merged_before_its_deleted_fork_is_removed(
    forge: Forge, nethack: Client, bob: Client, fork: Path
) -> None:
    with held("keep-pull-request", "remove-repository"):
        found = await open_pull_request(bob)
        await delete_fork(bob)
        assert await nethack.post(f"{ONE}/merge") == DONE
        assert fork.exists()
    await forge.idle()
    assert not fork.exists()
    assert await read_head(nethack) == found["commit_stop"]


async def test_a_fork_is_removed_although_the_target_was_deleted_too(
    forge: Forge, nethack: Client, bob: Client, fork: Path
) -> None:
    await open_pull_request(bob)
    owner = await nethack.limited(project="nethack")
    assert (await owner.post("/nethack/delete"))[0] == 200
    await delete_fork(bob, removed=fork)
    await forge.idle()
    assert not list(forge.settings.repositories.glob("*/*.git"))
