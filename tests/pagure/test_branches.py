"""Branches created through Pagure's API, and rules for every change of a ref."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.core import pushes
from app.git import refs
from tests.conftest import Client, Forge, commit, git
from tests.pagure.pulls import configure_project, open_pull_request
from tests.pagure.refs import (
    BAD_NAMES,
    GIT_ERROR,
    INVALID,
    MADE,
    find_repository,
    list_branches,
    list_events,
    message_error,
)
from tests.pagure.test_plugins import install_plugin
from tests.pagure.test_sharing import (
    ADDRESSES,
    BLOCKED,
    NO_PROJECT,
    add_collaborator,
    four_projects,
    grant_access,
)


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_branch_is_created_from_a_branch_or_commit_under_each_path(
    forge: Forge, alice: Client, tmp_path: Path, path: str
) -> None:
    await four_projects(alice)
    work = tmp_path / "work"
    await git("init", "-q", "-b", "main", str(work))
    first, second = await commit(work, "a"), await commit(work, "b")
    await git("push", "-q", alice.git_url(path[1:]), "main", cwd=work)
    for name, source in (("one", {"from_branch": "main"}), ("two", {"from_commit": first[:9]}), ("deep/er", {})):
        assert await alice.post(f"{path}/git/branch", branch=name, **source) == (200, MADE)
    found = {"deep/er": second, "main": second, "one": second, "two": first}
    assert await list_branches(forge.nobody, path) == found
    heads = (await git("ls-remote", "--heads", forge.nobody.git_url(path[1:]))).split()
    assert dict(zip(heads[1::2], heads[::2], strict=True)) == {
        f"refs/heads/{name}": commit_id for name, commit_id in found.items()
    }
    zeros = "0" * 40
    assert (await list_events(forge))[1:] == [
        (
            "alice",
            {
                "ref": f"refs/heads/{name}",
                "old": zeros,
                "new": new,
                "commit": new,
                "pull_request": None,
                "options": [],
            },
        )
        for name, new in (("one", second), ("two", first), ("deep/er", second))
    ]


async def test_a_branch_starts_from_master_or_the_default_branch(
    nethack: Client,
) -> None:
    main = (await list_branches(nethack))["main"]
    assert await nethack.json("POST", "/api/0/nethack/git/branch", {"branch": "master"}) == (200, MADE)
    assert await list_branches(nethack) == {"main": main, "master": main}


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ({}, (400, INVALID)),
        ({"branch": ""}, (400, INVALID)),
        ({"branch": "x", "from_branch": "main", "from_commit": "abcdef"}, (400, INVALID)),
        ({"branch": "x", "from_branch": "gone"}, message_error('The "gone" branch does not exist')),
        ({"branch": "x", "from_branch": "-x"}, message_error('The "-x" branch does not exist')),
        ({"branch": "x", "from_branch": "y" * 9000}, message_error(f'The "{"y" * 9000}" branch does not exist')),
        ({"branch": "x", "from_commit": "f" * 40}, message_error(f'The commit "{"f" * 40}" does not exist')),
        ({"branch": "x", "from_commit": "main"}, message_error('The commit "main" does not exist')),
        ({"branch": "x", "from_commit": "--all"}, message_error('The commit "--all" does not exist')),
        ({"branch": "main"}, message_error('The branch "main" already exists')),
        ({"branch": "main/below"}, (400, GIT_ERROR)),
        *(({"branch": name}, (400, GIT_ERROR)) for name in BAD_NAMES),
    ],
)
async def test_invalid_branches_are_refused(
    forge: Forge, nethack: Client, form: dict[str, str], answer: tuple[int, Any]
) -> None:
    before = await list_branches(nethack)
    assert await nethack.post("/nethack/git/branch", **form) == answer
    assert await list_branches(nethack) == before
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


@pytest.mark.parametrize("name", ["branch", "from_branch", "from_commit"])
@pytest.mark.parametrize("value", [5, True, ["x"], {"a": "b"}])
async def test_the_names_of_branches_must_be_texts(nethack: Client, name: str, value: object) -> None:
    command = {"branch": "x", name: value}
    assert await nethack.json("POST", "/api/0/nethack/git/branch", command) == (400, INVALID)


async def test_names_with_surrogates_are_refused(nethack: Client) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("git/branch", "git/tags", "git/alias/new"):
        body = b'{"branch": "\\ud800", "tagname": "\\ud800", "commit_hash": "x", "alias_from": "\\ud800"}'
        status, answer = await nethack.request("POST", f"/api/0/nethack/{path}", data=body, headers=headers)
        assert (status, answer["error_code"]) == (400, "EINVALIDREQ")
    assert list(await list_branches(nethack)) == ["main"]


async def test_an_empty_repository_has_no_branch_to_start_from(alice: Client) -> None:
    assert (await alice.post("/new", name="empty", description="d"))[0] == 200
    assert await alice.post("/empty/git/branch", branch="x") == message_error('The "master" branch does not exist')
    assert await alice.post("/empty/git/branches", branch_name="main") == (400, GIT_ERROR)
    assert await alice.post("/empty/git/tags", tagname="x", commit_hash="abcdef") == (400, GIT_ERROR)
    assert await alice.pagure("/empty/git/branches?with_commits=1") == (
        200, {"branches": {}, "default": {}, "total_branches": 0},
    )  # fmt: skip
    assert await alice.pagure("/empty/git/branches") == (200, {"branches": [], "default": None, "total_branches": 0})
    assert await alice.pagure("/empty/git/tags?with_commits=1") == (200, {"tags": {}, "total_tags": 0})
    assert await alice.pagure("/empty/git/tags") == (200, {"tags": [], "total_tags": 0})


async def test_users_who_may_push_to_a_branch_may_create_it(forge: Forge, nethack: Client) -> None:
    bob, carol, dave = [await forge.user(name) for name in ("bob", "carol", "dave")]
    await grant_access(nethack, "bob", "commit")
    await grant_access(nethack, "carol", "ticket")
    await add_collaborator(forge, (await nethack.pagure("/nethack"))[1]["id"], "dave", "feature/*")
    assert await bob.post("/nethack/git/branch", branch="bobs") == (200, MADE)
    assert await dave.post("/nethack/git/branch", branch="feature/x") == (200, MADE)
    for client, name in ((carol, "feature/y"), (dave, "other"), (await forge.user("erin"), "erins")):
        refusal = message_error("Remote hook declined the push: You may not push to this branch.")
        assert await client.post("/nethack/git/branch", branch=name) == refusal
    assert list(await list_branches(nethack)) == ["bobs", "feature/x", "main"]
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/git/branch", "create_branch"),
        ("/git/tags", "modify_project, tag_project"),
        ("/git/branches", "modify_project"),
        ("/git/alias/new", "create_git_alias, modify_git_alias, modify_project"),
        ("/git/alias/drop", "delete_git_alias, modify_git_alias, modify_project"),
    ],
)
async def test_every_change_takes_a_token_with_its_scope(
    forge: Forge, nethack: Client, path: str, missing: str
) -> None:
    status, body = await forge.nobody.post(f"/nethack{path}")
    assert (status, body["error_code"], body["errors"]) == (401, "EINVALIDTOK", "Invalid token")
    other = await nethack.limited(acls=["issue_create"])
    status, body = await other.post(f"/nethack{path}")
    assert (status, body["error_code"], body["errors"]) == (401, "EINVALIDTOK", f"Missing ACLs: {missing}")
    assert (await nethack.post("/new", name="other", description="d"))[0] == 200
    bound = await nethack.limited(project="other")
    status, body = await bound.post(f"/nethack{path}")
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    meant = await nethack.limited(acls=missing.split(", ")[:1], project="nethack")
    assert (await meant.post(f"/nethack{path}"))[1]["error_code"] in ("EINVALIDREQ", "EGITERROR")
    bob = await forge.user("bob")
    assert await bob.post(f"/missing{path}") == (404, NO_PROJECT)
    assert (await nethack.post("/new", name="secret", description="d", private="1"))[0] == 200
    assert await bob.post(f"/alice/secret{path}") == (404, NO_PROJECT)
    keeper = await nethack.limited(project="nethack")
    assert (await keeper.post("/nethack/blockuser", username="bob"))[0] == 200
    assert await bob.post(f"/nethack{path}") == (403, BLOCKED)


async def test_a_branch_whose_process_died_is_recorded_later(
    forge: Forge, nethack: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def died(*arguments: Any, **options: Any) -> int:
        raise asyncio.CancelledError

    main = (await list_branches(nethack))["main"]
    for path, form in (
        ("branch", {"branch": "kept"}),
        ("tags", {"tagname": "v1", "commit_hash": main}),
        ("branches", {"branch_name": "kept"}),
    ):
        # What a SIGKILL after git's end leaves behind: the branch on disk, and the row of the open push.
        monkeypatch.setattr(pushes, "record_refs", died)
        with pytest.raises(Exception, match="disconnected"):
            await nethack.post(f"/nethack/git/{path}", **form)
        monkeypatch.undo()
        assert await forge.db.fetchval("select count(*) from open_pushes") == 1
        await pushes.finish_abandoned(forge.db, settings.repositories)
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0
    found = (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]
    assert found == {"branches": {"kept": main, "main": main}, "default": {"kept": main}, "total_branches": 2}
    assert (await nethack.pagure("/nethack/git/tags?with_commits=1"))[1]["tags"] == {"v1": main}
    assert {actor for actor, _ in [*await list_events(forge), *await list_events(forge, "head.moved")]} == {"alice"}


async def test_the_api_obeys_the_rules_for_pushes(forge: Forge, nethack: Client, bob: Client) -> None:
    pulled = (await open_pull_request(bob))["commit_stop"]
    await forge.idle()
    unsigned = message_error(f"Remote hook declined the push: Commit {pulled} is not signed off.")
    alias = {"alias_from": "trunk", "alias_to": "main"}

    await install_plugin(nethack, "Block Un-Signed commits")
    assert await nethack.post("/nethack/git/branch", branch="x", from_commit=pulled) == unsigned
    assert await nethack.post("/nethack/git/tags", tagname="v1", commit_hash=pulled) == unsigned
    assert await nethack.post("/nethack/git/branch", branch="old") == (200, MADE)

    await install_plugin(nethack, "Prevent creating new branches by git push")
    none = message_error("Remote hook declined the push: This project takes no new branches.")
    assert await nethack.post("/nethack/git/branch", branch="x") == none
    assert await nethack.post("/nethack/git/alias/new", **alias) == none

    await configure_project(forge, nethack, pull_request_access_only=True)
    only = message_error("Remote hook declined the push: Branches of this project are changed by pull-requests only.")
    assert await nethack.post("/nethack/git/branch", branch="x") == only
    assert await nethack.post("/nethack/git/alias/new", **alias) == only
    assert list(await list_branches(nethack)) == ["main", "old"]
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_a_repository_that_is_being_created_is_not_found(
    forge: Forge, nethack: Client, settings: Settings
) -> None:
    project_id = (await nethack.pagure("/nethack"))[1]["id"]
    await forge.db.execute("update projects set head = null where project_id = $1", project_id)
    for path in ("git/branches", "git/tags", "git/alias", "tree"):
        assert await nethack.pagure(f"/nethack/{path}") == (404, NO_PROJECT)
    for path in ("git/branch", "git/tags", "git/branches", "git/alias/new", "git/alias/drop"):
        assert await nethack.post(f"/nethack/{path}", branch="x") == (404, NO_PROJECT)
    assert list(refs.list_aliases(await find_repository(nethack, settings))) == []
