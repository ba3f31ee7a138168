"""Git tags created through Pagure's API."""

from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from tests.conftest import Client, Forge, commit, git
from tests.pagure.refs import BAD_NAMES, INVALID, find_repository, git_error, list_branches, list_events
from tests.pagure.test_sharing import (
    NOT_HIGH_ENOUGH,
    add_collaborator,
    grant_access,
)


async def test_an_annotated_tag_names_its_creator(forge: Forge, nethack: Client, settings: Settings) -> None:
    main = (await list_branches(nethack))["main"]
    answer = {"tags": ["v1"], "total_tags": 1, "tag_created": True}
    assert await nethack.post("/nethack/git/tags", tagname="v1", commit_hash=main[:10], message="One\n") == (
        200,
        answer,
    )
    shown = await git("cat-file", "tag", "v1", cwd=await find_repository(nethack, settings))
    lines = shown.splitlines()
    assert lines[:3] == [f"object {main}", "type commit", "tag v1"]
    assert lines[3].startswith("tagger alice <alice@example.org> ")
    assert lines[4:] == ["", "One"]
    [(actor, moved)] = await list_events(forge)
    assert (actor, moved["ref"], moved["commit"]) == ("alice", "refs/tags/v1", main)
    assert moved["new"] != main


async def test_a_tag_is_replaced_only_by_force(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    first = (await list_branches(nethack))["main"]
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "work"))
    second = await commit(tmp_path / "work")
    await git("push", "-q", "origin", "HEAD:main", cwd=tmp_path / "work")
    asked = "/api/0/nethack/git/tags?with_commits=true"

    async def tag(**form: str) -> Any:
        return await nethack.request("POST", asked, data={"tagname": "v1", **form})

    made = {"tag_created": True, "total_tags": 1}
    assert await tag(commit_hash=first, force="1") == (200, {**made, "tags": {"v1": first}})
    assert await tag(commit_hash=second) == (200, {**made, "tags": {"v1": first}, "tag_created": False})
    assert await tag(commit_hash=second, force="False") == (
        200, {**made, "tags": {"v1": first}, "tag_created": False},
    )  # fmt: skip
    assert await tag(commit_hash=second, force="true") == (200, {**made, "tags": {"v1": second}})
    assert await forge.nobody.pagure("/nethack/git/tags?with_commits=1") == (
        200, {"tags": {"v1": second}, "total_tags": 1},
    )  # fmt: skip
    assert await forge.nobody.pagure("/nethack/git/tags") == (200, {"tags": ["v1"], "total_tags": 1})


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_tag_with_an_invalid_name_is_refused(forge: Forge, nethack: Client, name: str) -> None:
    main = (await list_branches(nethack))["main"]
    assert await nethack.post("/nethack/git/tags", tagname=name, commit_hash=main) == git_error(
        f'"{name}" cannot be the name of a new branch or tag'
    )
    assert (await nethack.pagure("/nethack/git/tags"))[1]["tags"] == []
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


@pytest.mark.parametrize("target", ["main", "xyz", "f" * 40, "--all", "0", "a" * 10_000])
async def test_a_tag_with_an_invalid_target_is_refused(nethack: Client, target: str) -> None:
    for force in ("", "1"):
        command = {"tagname": "v1", "commit_hash": target, "force": force}
        assert await nethack.post("/nethack/git/tags", **command) == git_error(f'The commit "{target}" does not exist')
    assert (await nethack.pagure("/nethack/git/tags"))[1]["tags"] == []


async def test_a_tag_takes_a_name_a_target_and_the_right_to_push(forge: Forge, nethack: Client) -> None:
    required = ["This field is required."]
    status, body = await nethack.post("/nethack/git/tags")
    assert (status, body) == (400, {**INVALID, "errors": {"tagname": required, "commit_hash": required}})
    bob = await forge.user("bob")
    await add_collaborator(forge, (await nethack.pagure("/nethack"))[1]["id"], "bob", "*")
    main = (await list_branches(nethack))["main"]
    assert await bob.post("/nethack/git/tags", tagname="v1", commit_hash=main) == (401, NOT_HIGH_ENOUGH)
    await grant_access(nethack, "bob", "commit")
    assert (await bob.post("/nethack/git/tags", tagname="v1", commit_hash=main))[0] == 200
