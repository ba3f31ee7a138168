"""Changing the default branch."""

import asyncio
from pathlib import Path

import pytest

from app.config import Settings
from app.git import store
from events.projections.rebuild import rebuild
from tests.conftest import Client, Forge, commit, git
from tests.pagure.refs import BAD_NAMES, find_repository, git_error, list_events
from tests.pagure.test_sharing import (
    ADDRESSES,
    NOT_ALLOWED,
    four_projects,
    grant_access,
)


@pytest.mark.parametrize("path", ADDRESSES)
async def test_the_default_branch_is_changed_under_each_path(
    forge: Forge, alice: Client, settings: Settings, tmp_path: Path, path: str
) -> None:
    await four_projects(alice)
    work = tmp_path / "work"
    await git("init", "-q", "-b", "main", str(work))
    head = await commit(work, "a")
    await git("push", "-q", alice.git_url(path[1:]), "main", "main:devel", cwd=work)
    answer = {"branches": ["devel", "main"], "default": "devel", "total_branches": 2}
    assert await alice.post(f"{path}/git/branches", branch_name="devel") == (200, answer)
    assert await forge.nobody.pagure(f"{path}/git/branches") == (200, answer)
    asked = f"/api/0{path}/git/branches?branch_name=main&with_commits=1"
    assert await alice.request("POST", asked, data={"branch_name": "devel"}) == (
        200, {"branches": {"devel": head, "main": head}, "default": {"main": head}, "total_branches": 2},
    )  # fmt: skip
    assert await list_events(forge, "head.moved") == [
        ("alice", {"old": "main", "new": "devel"}),
        ("alice", {"old": "devel", "new": "main"}),
    ]
    assert store.read_state(await find_repository(alice, settings, path)).head == "main"


async def test_clones_and_forks_use_the_new_default_branch(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    await nethack.post("/nethack/git/branch", branch="devel")
    assert (await nethack.post("/nethack/git/branches", branch_name="devel"))[0] == 200
    assert (await nethack.post("/nethack/git/branches", branch_name="devel"))[0] == 200
    assert len(await list_events(forge, "head.moved")) == 1
    await git("clone", "-q", forge.nobody.git_url("nethack"), str(tmp_path / "clone"))
    assert (await git("branch", "--show-current", cwd=tmp_path / "clone")).strip() == "devel"
    bob = await forge.user("bob")
    assert (await bob.post("/fork", repo="nethack"))[0] == 200
    assert (await bob.pagure("/fork/bob/nethack/git/branches"))[1]["default"] == "devel"
    before = await forge.db.fetch("select * from projects order by project_id")
    await rebuild(forge.db)
    assert await forge.db.fetch("select * from projects order by project_id") == before


@pytest.mark.parametrize("name", [None, "", "gone", *BAD_NAMES])
async def test_only_an_existing_branch_can_be_the_default(
    forge: Forge, nethack: Client, settings: Settings, name: str | None
) -> None:
    form = {} if name is None else {"branch_name": name}
    assert await nethack.post("/nethack/git/branches", **form) == git_error(
        f'The "{name}" branch does not exist' if name else "The name of the branch is missing"
    )
    unread = await nethack.json("POST", "/api/0/nethack/git/branches", {"branch_name": "main"})
    assert unread == git_error("The name of the branch is missing")
    assert store.read_state(await find_repository(nethack, settings)).head == "main"
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_only_administrators_change_the_default_branch(forge: Forge, nethack: Client) -> None:
    bob, carol = await forge.user("bob"), await forge.user("carol")
    await grant_access(nethack, "bob", "commit")
    await grant_access(nethack, "carol", "admin")
    await nethack.post("/nethack/git/branch", branch="devel")
    assert await bob.post("/nethack/git/branches", branch_name="devel") == (401, NOT_ALLOWED)
    assert (await nethack.pagure("/nethack/git/branches"))[1]["default"] == "main"
    assert (await carol.post("/nethack/git/branches", branch_name="devel"))[0] == 200


async def test_concurrent_changes_of_the_default_branch_end_consistently(
    forge: Forge, nethack: Client, settings: Settings
) -> None:
    for name in ("one", "two"):
        await nethack.post("/nethack/git/branch", branch=name)
    choices = [nethack.post("/nethack/git/branches", branch_name=name) for name in ("one", "two", "main") * 4]
    assert {status for status, _ in await asyncio.gather(*choices)} == {200}
    on_disk = store.read_state(await find_repository(nethack, settings)).head
    assert (await nethack.pagure("/nethack/git/branches"))[1]["default"] == on_disk
    moves = [move for _, move in await list_events(forge, "head.moved")]
    assert [move["new"] for move in moves][:-1] == [move["old"] for move in moves][1:]
    assert all(move["old"] != move["new"] for move in moves)
