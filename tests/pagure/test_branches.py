"""Branches, tags and the default branch, made through Pagure's API: as good as pushed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.core import pushes
from app.git import refs, store
from events.projections.rebuild import rebuild
from tests.conftest import Client, Forge, commit, git
from tests.pagure.pulls import configure, opened
from tests.pagure.test_plugins import installed
from tests.pagure.test_sharing import (
    ADDRESSES,
    BLOCKED,
    NO_PROJECT,
    NOT_ALLOWED,
    NOT_HIGH_ENOUGH,
    collaborate,
    everywhere,
    grant,
)

MADE = {"message": "Project branch was created"}
GIT_ERROR = {"error": "An error occurred during a git operation", "error_code": "EGITERROR"}
INVALID = {"error": "Invalid or incomplete input submitted", "error_code": "EINVALIDREQ"}
BAD_NAMES = ["--option", "-x", "a..b", "a b", "HEAD", "a\x01b", "x.lock", "a//b", "x" * 10_000, "a/" * 120 + "a"]


def said(text: str) -> tuple[int, dict[str, str]]:
    return 400, {"error": text, "error_code": "ENOCODE"}


async def branches(client: Client, path: str = "/nethack") -> dict[str, str]:
    found: dict[str, str] = (await client.pagure(f"{path}/git/branches?with_commits=1"))[1]["branches"]
    return found


async def place(client: Client, settings: Settings, path: str = "/nethack") -> Path:
    return store.directory(settings.repositories, (await client.pagure(path))[1]["id"])


async def told(forge: Forge, type: str = "ref.updated") -> list[tuple[str, dict[str, Any]]]:
    rows = await forge.db.fetch("select actor, data from events where type = $1 order by position", type)
    return [(row["actor"], {key: row["data"][key] for key in row["data"] if key != "project_id"}) for row in rows]


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_branch_is_made_from_a_branch_or_a_commit_at_each_address(
    forge: Forge, alice: Client, tmp_path: Path, path: str
) -> None:
    await everywhere(alice)
    work = tmp_path / "work"
    await git("init", "-q", "-b", "main", str(work))
    first, second = await commit(work, "a"), await commit(work, "b")
    await git("push", "-q", alice.git_url(path[1:]), "main", cwd=work)
    for name, source in (("one", {"from_branch": "main"}), ("two", {"from_commit": first[:9]}), ("deep/er", {})):
        assert await alice.post(f"{path}/git/branch", branch=name, **source) == (200, MADE)
    found = {"deep/er": second, "main": second, "one": second, "two": first}
    assert await branches(forge.nobody, path) == found
    heads = (await git("ls-remote", "--heads", forge.nobody.git_url(path[1:]))).split()
    assert dict(zip(heads[1::2], heads[::2], strict=True)) == {f"refs/heads/{name}": id for name, id in found.items()}
    zeros = "0" * 40
    assert (await told(forge))[1:] == [
        ("alice", {"ref": f"refs/heads/{name}", "old": zeros, "new": new, "commit": new, "pull_request": None})
        for name, new in (("one", second), ("two", first), ("deep/er", second))
    ]


async def test_a_branch_starts_from_master_when_nothing_is_said_and_else_from_the_default_branch(
    nethack: Client,
) -> None:
    main = (await branches(nethack))["main"]
    assert await nethack.json("POST", "/api/0/nethack/git/branch", {"branch": "master"}) == (200, MADE)
    assert await branches(nethack) == {"main": main, "master": main}


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ({}, (400, INVALID)),
        ({"branch": ""}, (400, INVALID)),
        ({"branch": "x", "from_branch": "main", "from_commit": "abcdef"}, (400, INVALID)),
        ({"branch": "x", "from_branch": "gone"}, said('The "gone" branch does not exist')),
        ({"branch": "x", "from_branch": "-x"}, said('The "-x" branch does not exist')),
        ({"branch": "x", "from_branch": "y" * 9000}, said(f'The "{"y" * 9000}" branch does not exist')),
        ({"branch": "x", "from_commit": "f" * 40}, said(f'The commit "{"f" * 40}" does not exist')),
        ({"branch": "x", "from_commit": "main"}, said('The commit "main" does not exist')),
        ({"branch": "x", "from_commit": "--all"}, said('The commit "--all" does not exist')),
        ({"branch": "main"}, said('The branch "main" already exists')),
        ({"branch": "main/below"}, (400, GIT_ERROR)),
        *(({"branch": name}, (400, GIT_ERROR)) for name in BAD_NAMES),
    ],
)
async def test_branches_that_cannot_be_made(
    forge: Forge, nethack: Client, form: dict[str, str], answer: tuple[int, Any]
) -> None:
    before = await branches(nethack)
    assert await nethack.post("/nethack/git/branch", **form) == answer
    assert await branches(nethack) == before
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


@pytest.mark.parametrize("name", ["branch", "from_branch", "from_commit"])
@pytest.mark.parametrize("value", [5, True, ["x"], {"a": "b"}])
async def test_what_names_a_branch_is_a_text(nethack: Client, name: str, value: object) -> None:
    wish = {"branch": "x", name: value}
    assert await nethack.json("POST", "/api/0/nethack/git/branch", wish) == (400, INVALID)


async def test_names_with_half_characters_are_refused(nethack: Client) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("git/branch", "git/tags", "git/alias/new"):
        body = b'{"branch": "\\ud800", "tagname": "\\ud800", "commit_hash": "x", "alias_from": "\\ud800"}'
        status, answer = await nethack.request("POST", f"/api/0/nethack/{path}", data=body, headers=headers)
        assert (status, answer["error_code"]) == (400, "EINVALIDREQ")
    assert list(await branches(nethack)) == ["main"]


async def test_an_empty_repository_has_nothing_to_start_from(alice: Client) -> None:
    assert (await alice.post("/new", name="empty", description="d"))[0] == 200
    assert await alice.post("/empty/git/branch", branch="x") == said('The "master" branch does not exist')
    assert await alice.post("/empty/git/branches", branch_name="main") == (400, GIT_ERROR)
    assert await alice.post("/empty/git/tags", tagname="x", commit_hash="abcdef") == (400, GIT_ERROR)
    assert await alice.pagure("/empty/git/branches?with_commits=1") == (
        200, {"branches": {}, "default": {}, "total_branches": 0},
    )  # fmt: skip
    assert await alice.pagure("/empty/git/branches") == (200, {"branches": [], "default": None, "total_branches": 0})
    assert await alice.pagure("/empty/git/tags?with_commits=1") == (200, {"tags": {}, "total_tags": 0})
    assert await alice.pagure("/empty/git/tags") == (200, {"tags": [], "total_tags": 0})


async def test_whoever_may_push_to_a_branch_may_make_it(forge: Forge, nethack: Client) -> None:
    bob, carol, dave = [await forge.user(name) for name in ("bob", "carol", "dave")]
    await grant(nethack, "bob", "commit")
    await grant(nethack, "carol", "ticket")
    await collaborate(forge, (await nethack.pagure("/nethack"))[1]["id"], "dave", "feature/*")
    assert await bob.post("/nethack/git/branch", branch="bobs") == (200, MADE)
    assert await dave.post("/nethack/git/branch", branch="feature/x") == (200, MADE)
    for client, name in ((carol, "feature/y"), (dave, "other"), (await forge.user("erin"), "erins")):
        refusal = said("Remote hook declined the push: You may not push to this branch.")
        assert await client.post("/nethack/git/branch", branch=name) == refusal
    assert list(await branches(nethack)) == ["bobs", "feature/x", "main"]
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
async def test_writing_takes_a_token_that_is_meant_for_it(
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


async def test_a_branch_whose_process_died_is_found_again(
    forge: Forge, nethack: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def died(*arguments: Any, **options: Any) -> int:
        raise asyncio.CancelledError

    main = (await branches(nethack))["main"]
    for path, form in (
        ("branch", {"branch": "kept"}),
        ("tags", {"tagname": "v1", "commit_hash": main}),
        ("branches", {"branch_name": "kept"}),
    ):
        # What a SIGKILL between git's end and ours leaves behind: the disk says so, and the row of what was begun.
        monkeypatch.setattr(pushes, "record_refs", died)
        with pytest.raises(Exception, match="disconnected"):
            await nethack.post(f"/nethack/git/{path}", **form)
        monkeypatch.undo()
        await forge.db.execute("update open_pushes set lease_until = now()")
        assert await forge.db.fetchval("select count(*) from open_pushes") == 1
        await pushes.finish_abandoned(forge.db, settings.repositories)
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0
    found = (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]
    assert found == {"branches": {"kept": main, "main": main}, "default": {"kept": main}, "total_branches": 2}
    assert (await nethack.pagure("/nethack/git/tags?with_commits=1"))[1]["tags"] == {"v1": main}
    assert {actor for actor, _ in [*await told(forge), *await told(forge, "head.moved")]} == {"alice"}


async def test_what_a_push_may_not_make_the_api_does_not_make_either(
    forge: Forge, nethack: Client, bob: Client
) -> None:
    pulled = (await opened(bob))["commit_stop"]
    await forge.idle()
    unsigned = said(f"Remote hook declined the push: Commit {pulled} is not signed off.")
    alias = {"alias_from": "trunk", "alias_to": "main"}

    await installed(nethack, "Block Un-Signed commits")
    assert await nethack.post("/nethack/git/branch", branch="x", from_commit=pulled) == unsigned
    assert await nethack.post("/nethack/git/tags", tagname="v1", commit_hash=pulled) == unsigned
    assert await nethack.post("/nethack/git/branch", branch="old") == (200, MADE)

    await installed(nethack, "Prevent creating new branches by git push")
    none = said("Remote hook declined the push: This project takes no new branches.")
    assert await nethack.post("/nethack/git/branch", branch="x") == none
    assert await nethack.post("/nethack/git/alias/new", **alias) == none

    await configure(forge, nethack, pull_request_access_only=True)
    only = said("Remote hook declined the push: Branches of this project are changed by pull-requests only.")
    assert await nethack.post("/nethack/git/branch", branch="x") == only
    assert await nethack.post("/nethack/git/alias/new", **alias) == only
    assert list(await branches(nethack)) == ["main", "old"]
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


# ---------------------------------------------------------------- the default branch


@pytest.mark.parametrize("path", ADDRESSES)
async def test_the_default_branch_is_chosen_at_each_address(
    forge: Forge, alice: Client, settings: Settings, tmp_path: Path, path: str
) -> None:
    await everywhere(alice)
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
    assert await told(forge, "head.moved") == [
        ("alice", {"old": "main", "new": "devel"}),
        ("alice", {"old": "devel", "new": "main"}),
    ]
    assert store.look(await place(alice, settings, path)).head == "main"


async def test_a_new_default_branch_is_what_clones_check_out_and_forks_begin_with(
    forge: Forge, nethack: Client, tmp_path: Path
) -> None:
    await nethack.post("/nethack/git/branch", branch="devel")
    assert (await nethack.post("/nethack/git/branches", branch_name="devel"))[0] == 200
    assert (await nethack.post("/nethack/git/branches", branch_name="devel"))[0] == 200
    assert len(await told(forge, "head.moved")) == 1
    await git("clone", "-q", forge.nobody.git_url("nethack"), str(tmp_path / "clone"))
    assert (await git("branch", "--show-current", cwd=tmp_path / "clone")).strip() == "devel"
    bob = await forge.user("bob")
    assert (await bob.post("/fork", repo="nethack"))[0] == 200
    assert (await bob.pagure("/fork/bob/nethack/git/branches"))[1]["default"] == "devel"
    before = await forge.db.fetch("select * from projects order by project_id")
    await rebuild(forge.db)
    assert await forge.db.fetch("select * from projects order by project_id") == before


@pytest.mark.parametrize("name", [None, "", "gone", *BAD_NAMES])
async def test_only_a_branch_can_be_the_default_one(
    forge: Forge, nethack: Client, settings: Settings, name: str | None
) -> None:
    form = {} if name is None else {"branch_name": name}
    assert await nethack.post("/nethack/git/branches", **form) == (400, GIT_ERROR)
    assert await nethack.json("POST", "/api/0/nethack/git/branches", {"branch_name": "main"}) == (400, GIT_ERROR)
    assert store.look(await place(nethack, settings)).head == "main"
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_the_default_branch_is_for_administrators_to_choose(forge: Forge, nethack: Client) -> None:
    bob, carol = await forge.user("bob"), await forge.user("carol")
    await grant(nethack, "bob", "commit")
    await grant(nethack, "carol", "admin")
    await nethack.post("/nethack/git/branch", branch="devel")
    assert await bob.post("/nethack/git/branches", branch_name="devel") == (401, NOT_ALLOWED)
    assert (await nethack.pagure("/nethack/git/branches"))[1]["default"] == "main"
    assert (await carol.post("/nethack/git/branches", branch_name="devel"))[0] == 200


async def test_many_who_choose_at_once_end_in_agreement(forge: Forge, nethack: Client, settings: Settings) -> None:
    for name in ("one", "two"):
        await nethack.post("/nethack/git/branch", branch=name)
    choices = [nethack.post("/nethack/git/branches", branch_name=name) for name in ("one", "two", "main") * 4]
    assert {status for status, _ in await asyncio.gather(*choices)} == {200}
    on_disk = store.look(await place(nethack, settings)).head
    assert (await nethack.pagure("/nethack/git/branches"))[1]["default"] == on_disk
    moves = [move for _, move in await told(forge, "head.moved")]
    assert [move["new"] for move in moves][:-1] == [move["old"] for move in moves][1:]
    assert all(move["old"] != move["new"] for move in moves)


# ---------------------------------------------------------------- tags


async def test_a_tag_is_annotated_and_signed_by_its_maker(forge: Forge, nethack: Client, settings: Settings) -> None:
    main = (await branches(nethack))["main"]
    answer = {"tags": ["v1"], "total_tags": 1, "tag_created": True}
    assert await nethack.post("/nethack/git/tags", tagname="v1", commit_hash=main[:10], message="One\n") == (
        200,
        answer,
    )
    shown = await git("cat-file", "tag", "v1", cwd=await place(nethack, settings))
    lines = shown.splitlines()
    assert lines[:3] == [f"object {main}", "type commit", "tag v1"]
    assert lines[3].startswith("tagger alice <alice@example.org> ")
    assert lines[4:] == ["", "One"]
    [(actor, moved)] = await told(forge)
    assert (actor, moved["ref"], moved["commit"]) == ("alice", "refs/tags/v1", main)
    assert moved["new"] != main


async def test_a_tag_is_replaced_by_force_alone(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    first = (await branches(nethack))["main"]
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
async def test_a_tag_is_refused_for_its_name(forge: Forge, nethack: Client, name: str) -> None:
    main = (await branches(nethack))["main"]
    assert await nethack.post("/nethack/git/tags", tagname=name, commit_hash=main) == (400, GIT_ERROR)
    assert (await nethack.pagure("/nethack/git/tags"))[1]["tags"] == []
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


@pytest.mark.parametrize("target", ["main", "xyz", "f" * 40, "--all", "0", "a" * 10_000])
async def test_a_tag_is_refused_for_its_target(nethack: Client, target: str) -> None:
    for force in ("", "1"):
        wish = {"tagname": "v1", "commit_hash": target, "force": force}
        assert await nethack.post("/nethack/git/tags", **wish) == (400, GIT_ERROR)
    assert (await nethack.pagure("/nethack/git/tags"))[1]["tags"] == []


async def test_a_tag_takes_a_name_a_target_and_the_right_to_push(forge: Forge, nethack: Client) -> None:
    required = ["This field is required."]
    status, body = await nethack.post("/nethack/git/tags")
    assert (status, body) == (400, {**INVALID, "errors": {"tagname": required, "commit_hash": required}})
    bob = await forge.user("bob")
    await collaborate(forge, (await nethack.pagure("/nethack"))[1]["id"], "bob", "*")
    main = (await branches(nethack))["main"]
    assert await bob.post("/nethack/git/tags", tagname="v1", commit_hash=main) == (401, NOT_HIGH_ENOUGH)
    await grant(nethack, "bob", "commit")
    assert (await bob.post("/nethack/git/tags", tagname="v1", commit_hash=main))[0] == 200


# ---------------------------------------------------------------- aliases


@pytest.mark.parametrize("path", ADDRESSES)
async def test_an_alias_is_made_listed_and_dropped_at_each_address(
    forge: Forge, alice: Client, tmp_path: Path, path: str
) -> None:
    await everywhere(alice)
    work = tmp_path / "work"
    await git("init", "-q", "-b", "main", str(work))
    head = await commit(work, "a")
    await git("push", "-q", alice.git_url(path[1:]), "main", cwd=work)
    assert await forge.nobody.pagure(f"{path}/git/alias") == (200, {})
    known = {"refs/heads/trunk": "refs/heads/main"}
    assert await alice.post(f"{path}/git/alias/new", alias_from="trunk", alias_to="main") == (200, known)
    assert await forge.nobody.pagure(f"{path}/git/alias") == (200, known)
    assert await branches(alice, path) == {"main": head, "trunk": head}
    assert await alice.post(f"{path}/git/alias/drop", alias_from="main", alias_to="trunk") == (200, {})
    assert await branches(alice, path) == {"main": head}
    assert [(who, move["ref"], move["new"]) for who, move in (await told(forge))[1:]] == [
        ("alice", "refs/heads/trunk", head),
        ("alice", "refs/heads/trunk", "0" * 40),
    ]


async def test_an_alias_is_dropped_whichever_way_round_it_is_named(nethack: Client) -> None:
    names = {"alias_from": "trunk", "alias_to": "main"}
    assert (await nethack.json("POST", "/api/0/nethack/git/alias/new", names))[0] == 200
    assert await nethack.json("POST", "/api/0/nethack/git/alias/drop", names) == (200, {})
    assert (await nethack.post("/nethack/git/alias/new", **names))[0] == 200
    known = {"refs/heads/trunk": "refs/heads/main"}
    assert await nethack.post("/nethack/git/alias/drop", alias_from="other", alias_to="main") == (200, known)
    status, body = await nethack.post("/nethack/git/alias/drop", alias_from="main", alias_to="gone")
    assert (status, body["error_code"]) == (400, "EBRANCHNOTFOUND")
    assert await nethack.pagure("/nethack/git/alias") == (200, known)


async def test_an_alias_moves_with_its_branch_and_its_branch_with_it(
    forge: Forge, nethack: Client, tmp_path: Path
) -> None:
    await nethack.post("/nethack/git/alias/new", alias_from="trunk", alias_to="main")
    await nethack.post("/nethack/git/alias/new", alias_from="top", alias_to="trunk")
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    for n, name in enumerate(("main", "trunk", "top")):
        new = await commit(work, f"f{n}")
        await git("push", "-q", "origin", f"HEAD:{name}", cwd=work)
        assert await branches(nethack) == {"main": new, "top": new, "trunk": new}
    assert (await nethack.post("/nethack/git/branch", branch="devel"))[0] == 200
    assert (await nethack.post("/nethack/git/branches", branch_name="devel"))[0] == 200
    await git("push", "-q", "origin", ":main", cwd=work)
    assert await branches(nethack) == {"devel": new}


async def test_an_alias_that_is_the_default_branch_gives_way_to_its_branch(nethack: Client, settings: Settings) -> None:
    await nethack.post("/nethack/git/alias/new", alias_from="trunk", alias_to="main")
    assert (await nethack.post("/nethack/git/branches", branch_name="trunk"))[1]["default"] == "trunk"
    assert await nethack.post("/nethack/git/alias/drop", alias_from="trunk", alias_to="main") == (200, {})
    assert (await nethack.pagure("/nethack/git/branches"))[1]["default"] == "main"
    assert store.look(await place(nethack, settings)).head == "main"


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
async def test_aliases_that_cannot_be(nethack: Client, form: dict[str, str], status: int, code: str) -> None:
    for what in ("new", "drop"):
        answer, body = await nethack.post(f"/nethack/git/alias/{what}", **form)
        assert (answer, body["error_code"]) == (status, code)
    assert await nethack.pagure("/nethack/git/alias") == (200, {})


@pytest.mark.parametrize("name", ["main", "main/x", *BAD_NAMES])
async def test_an_alias_is_refused_for_its_name(forge: Forge, nethack: Client, name: str) -> None:
    refusal = said(f"Could not create alias from {name} to main. Reference already existing?")
    assert await nethack.post("/nethack/git/alias/new", alias_from=name, alias_to="main") == refusal
    assert await nethack.pagure("/nethack/git/alias") == (200, {})
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_both_names_of_an_alias_are_texts(nethack: Client) -> None:
    for what in ("new", "drop"):
        wish = {"alias_from": 5, "alias_to": "main"}
        assert await nethack.json("POST", f"/api/0/nethack/git/alias/{what}", wish) == (400, INVALID)


async def test_aliases_of_aliases_end_where_git_would_lose_its_way(
    forge: Forge, nethack: Client, tmp_path: Path
) -> None:
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
    assert list(await branches(nethack)) == ["other"]
    status, _ = await nethack.post("/nethack/git/alias/new", alias_from="main", alias_to="other")
    assert status == 400


async def test_aliases_are_for_those_who_may_push(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await collaborate(forge, (await nethack.pagure("/nethack"))[1]["id"], "bob", "*")
    names = {"alias_from": "trunk", "alias_to": "main"}
    for what in ("new", "drop"):
        assert await bob.post(f"/nethack/git/alias/{what}", **names) == (401, NOT_HIGH_ENOUGH)
    await grant(nethack, "bob", "commit")
    assert (await bob.post("/nethack/git/alias/new", **names))[0] == 200


async def test_a_project_whose_repository_is_being_made_has_none_yet(
    forge: Forge, nethack: Client, settings: Settings
) -> None:
    project_id = (await nethack.pagure("/nethack"))[1]["id"]
    await forge.db.execute("update projects set head = null where project_id = $1", project_id)
    for path in ("git/branches", "git/tags", "git/alias", "tree"):
        assert await nethack.pagure(f"/nethack/{path}") == (404, NO_PROJECT)
    for path in ("git/branch", "git/tags", "git/branches", "git/alias/new", "git/alias/drop"):
        assert await nethack.post(f"/nethack/{path}", branch="x") == (404, NO_PROJECT)
    assert list(refs.aliases(await place(nethack, settings))) == []
