"""Aliases of branches in Pagure's API."""

from pathlib import Path

import pytest

from app.config import Settings
from app.git import store
from tests.conftest import Client, Forge, commit, git
from tests.pagure.refs import BAD_NAMES, INVALID, find_repository, list_branches, list_events, message_error
from tests.pagure.test_sharing import (
    ADDRESSES,
    NOT_HIGH_ENOUGH,
    add_collaborator,
    four_projects,
    grant_access,
)


@pytest.mark.parametrize("path", ADDRESSES)
async def test_an_alias_is_created_listed_and_dropped_under_each_path(
    forge: Forge, alice: Client, tmp_path: Path, path: str
) -> None:
    await four_projects(alice)
    work = tmp_path / "work"
    await git("init", "-q", "-b", "main", str(work))
    head = await commit(work, "a")
    await git("push", "-q", alice.git_url(path[1:]), "main", cwd=work)
    assert await forge.nobody.pagure(f"{path}/git/alias") == (200, {})
    known = {"refs/heads/trunk": "refs/heads/main"}
    assert await alice.post(f"{path}/git/alias/new", alias_from="trunk", alias_to="main") == (200, known)
    assert await forge.nobody.pagure(f"{path}/git/alias") == (200, known)
    assert await list_branches(alice, path) == {"main": head, "trunk": head}
    assert await alice.post(f"{path}/git/alias/drop", alias_from="main", alias_to="trunk") == (200, {})
    assert await list_branches(alice, path) == {"main": head}
    assert [(who, move["ref"], move["new"]) for who, move in (await list_events(forge))[1:]] == [
        ("alice", "refs/heads/trunk", head),
        ("alice", "refs/heads/trunk", "0" * 40),
    ]


async def test_an_alias_is_dropped_in_either_order_of_the_names(nethack: Client) -> None:
    names = {"alias_from": "trunk", "alias_to": "main"}
    assert (await nethack.json("POST", "/api/0/nethack/git/alias/new", names))[0] == 200
    assert await nethack.json("POST", "/api/0/nethack/git/alias/drop", names) == (200, {})
    assert (await nethack.post("/nethack/git/alias/new", **names))[0] == 200
    known = {"refs/heads/trunk": "refs/heads/main"}
    assert await nethack.post("/nethack/git/alias/drop", alias_from="other", alias_to="main") == (200, known)
    status, body = await nethack.post("/nethack/git/alias/drop", alias_from="main", alias_to="gone")
    assert (status, body["error_code"]) == (400, "EBRANCHNOTFOUND")
    assert await nethack.pagure("/nethack/git/alias") == (200, known)


async def test_an_alias_and_its_branch_move_together(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    await nethack.post("/nethack/git/alias/new", alias_from="trunk", alias_to="main")
    await nethack.post("/nethack/git/alias/new", alias_from="top", alias_to="trunk")
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    for n, name in enumerate(("main", "trunk", "top")):
        new = await commit(work, f"f{n}")
        await git("push", "-q", "origin", f"HEAD:{name}", cwd=work)
        assert await list_branches(nethack) == {"main": new, "top": new, "trunk": new}
    assert (await nethack.post("/nethack/git/branch", branch="devel"))[0] == 200
    assert (await nethack.post("/nethack/git/branches", branch_name="devel"))[0] == 200
    await git("push", "-q", "origin", ":main", cwd=work)
    assert await list_branches(nethack) == {"devel": new}


async def test_a_default_branch_that_is_an_alias_is_replaced_by_its_branch(nethack: Client, settings: Settings) -> None:
    await nethack.post("/nethack/git/alias/new", alias_from="trunk", alias_to="main")
    assert (await nethack.post("/nethack/git/branches", branch_name="trunk"))[1]["default"] == "trunk"
    assert await nethack.post("/nethack/git/alias/drop", alias_from="trunk", alias_to="main") == (200, {})
    assert (await nethack.pagure("/nethack/git/branches"))[1]["default"] == "main"
    assert store.read_state(await find_repository(nethack, settings)).head == "main"


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({}, 400, "EINVALIDREQ"),
        ({"alias_from": "x"}, 400, "EINVALIDREQ"),
        ({"alias_to": "main"}, 400, "EINVALIDREQ"),
        ({"alias_from": "x", "alias_to": "gone"}, 400, "EBRANCHNOTFOUND"),
        *(({"alias_from": "x", "alias_to": name}, 400, "EBRANCHNOTFOUND") for name in BAD_NAMES),
    ],
)
async def test_invalid_aliases_are_refused(nethack: Client, form: dict[str, str], status: int, code: str) -> None:
    for what in ("new", "drop"):
        answer, body = await nethack.post(f"/nethack/git/alias/{what}", **form)
        assert (answer, body["error_code"]) == (status, code)
    assert await nethack.pagure("/nethack/git/alias") == (200, {})


@pytest.mark.parametrize("name", ["main", "main/x", *BAD_NAMES])
async def test_an_alias_with_an_invalid_name_is_refused(forge: Forge, nethack: Client, name: str) -> None:
    refusal = message_error(f"Could not create alias from {name} to main. Reference already existing?")
    assert await nethack.post("/nethack/git/alias/new", alias_from=name, alias_to="main") == refusal
    assert await nethack.pagure("/nethack/git/alias") == (200, {})
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_both_names_of_an_alias_must_be_texts(nethack: Client) -> None:
    for what in ("new", "drop"):
        command = {"alias_from": 5, "alias_to": "main"}
        assert await nethack.json("POST", f"/api/0/nethack/git/alias/{what}", command) == (400, INVALID)


async def test_chains_of_aliases_are_as_long_as_git_allows(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    before = "main"
    for name in ("a1", "a2", "a3"):
        assert (await nethack.post("/nethack/git/alias/new", alias_from=name, alias_to=before))[0] == 200
        before = name
    status, _ = await nethack.post("/nethack/git/alias/new", alias_from="a4", alias_to="a3")
    assert status == 400
    assert (await nethack.post("/nethack/git/branches", branch_name="a3"))[0] == 200
    await git("clone", "-q", forge.nobody.git_url("nethack"), str(tmp_path / "clone"))
    assert (await nethack.post("/nethack/git/branch", branch="other", from_branch="main"))[0] == 200
    assert (await nethack.post("/nethack/git/branches", branch_name="other"))[0] == 200
    await git("push", "-q", nethack.git_url("nethack"), ":main", cwd=tmp_path / "clone")
    assert list(await list_branches(nethack)) == ["other"]
    status, _ = await nethack.post("/nethack/git/alias/new", alias_from="main", alias_to="other")
    assert status == 400


async def test_aliases_take_the_right_to_push(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await add_collaborator(forge, (await nethack.pagure("/nethack"))[1]["id"], "bob", "*")
    names = {"alias_from": "trunk", "alias_to": "main"}
    for what in ("new", "drop"):
        assert await bob.post(f"/nethack/git/alias/{what}", **names) == (401, NOT_HIGH_ENOUGH)
    await grant_access(nethack, "bob", "commit")
    assert (await bob.post("/nethack/git/alias/new", **names))[0] == 200
