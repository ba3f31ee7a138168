"""Flags on commits."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from app.actor import Actor
from app.core import commands
from app.core.flags import FlagCommit
from app.errors import Invalid
from tests.conftest import Client, Forge, commit, git
from tests.pagure.test_sharing import ADDRESSES, four_projects

NO_COMMIT = {"error": "No such commit found in this repository", "error_code": "ENOCOMMIT"}
PASSED = {"username": "CI", "comment": " passed ", "url": " https://ci.example.org/1 ", "status": "success"}


async def push_commit(alice: Client, path: str, work: Path) -> str:
    """A commit in the project."""
    await git("clone", "-q", alice.git_url(path.strip("/")), str(work))
    made = await commit(work, text=path)
    await git("push", "-q", "origin", "HEAD:refs/heads/main", cwd=work)
    return made


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_flag_is_added_changed_and_listed(forge: Forge, alice: Client, path: str, tmp_path: Path) -> None:
    await four_projects(alice)
    flag = f"{path}/c/{await push_commit(alice, path, tmp_path / 'work')}/flag"
    assert await forge.nobody.pagure(flag) == (200, {"flags": [], "total_flags": 0})
    bob = await forge.user("bob", acls=["commit_flag"])
    status, answer = await bob.post(flag, **PASSED, percent=" 100 ", uid="u")
    shown = answer["flag"]
    assert (status, answer.keys(), answer["message"], answer["uid"]) == (
        200,
        {"flag", "message", "uid"},
        "Flag added",
        "u",
    )
    assert shown == {
        "comment": "passed",
        "commit_hash": flag.split("/")[-2],
        "date_created": shown["date_created"],
        "date_updated": shown["date_created"],
        "percent": 100,
        "status": "success",
        "url": "https://ci.example.org/1",
        "user": {
            "default_email": "bob@example.org",
            "emails": ["bob@example.org"],
            "full_url": f"{forge.url}/user/bob",
            "fullname": "bob",
            "name": "bob",
            "url_path": "user/bob",
        },
        "username": "CI",
    }
    assert shown["date_created"].isdigit()
    change: dict[str, Any] = {"username": "other", "comment": "failed", "url": "http://localhost", "status": "failure"}
    status, answer = await alice.json("POST", f"/api/0{flag}", {**change, "uid": "u", "percent": 7})
    changed = {**shown, **change, "percent": 7, "username": "CI", "date_updated": answer["flag"]["date_updated"]}
    public = {key: shown["user"][key] for key in ("full_url", "fullname", "name", "url_path")}
    changed["user"] = public  # others do not see the e-mail address
    assert (status, answer["message"], answer["flag"]) == (200, "Flag updated", changed)
    status, answer = await alice.post(flag, **PASSED, percent=" ")
    assert (answer["message"], len(answer["uid"]), answer["flag"]["percent"]) == ("Flag added", 32, None)
    _, listed = await forge.nobody.pagure(flag)
    assert listed["total_flags"] == 2
    assert listed["flags"][0] == changed
    assert [each["user"].keys() for each in listed["flags"]] == [public.keys()] * 2


async def test_flags_are_ordered_by_their_last_change(nethack: Client, tmp_path: Path) -> None:
    made = await push_commit(nethack, "nethack", tmp_path / "work")
    for uid in ("one", "two", "three", "one"):
        assert (await nethack.post(f"/nethack/c/{made}/flag", **{**PASSED, "username": uid}, uid=uid))[0] == 200
    for named in (made, made[:7], made.upper()):
        _, listed = await nethack.pagure(f"/nethack/c/{named}/flag")
        assert [each["username"] for each in listed["flags"]] == ["two", "three", "one"]


async def test_a_uid_is_unique_per_commit_and_project(alice: Client, tmp_path: Path) -> None:
    assert (await alice.post("/new", name="nethack", description="d", create_readme="1"))[0] == 200
    first = await push_commit(alice, "nethack", tmp_path / "one")
    assert (await alice.post("/fork", repo="nethack"))[0] == 200
    second = await push_commit(alice, "fork/alice/nethack", tmp_path / "two")
    for path in (f"/nethack/c/{first}", f"/fork/alice/nethack/c/{first}", f"/fork/alice/nethack/c/{second}"):
        assert (await alice.post(f"{path}/flag", **PASSED, uid="u"))[1]["message"] == "Flag added"
    for path in (f"/nethack/c/{first}", f"/fork/alice/nethack/c/{first}", f"/fork/alice/nethack/c/{second}"):
        assert (await alice.pagure(f"{path}/flag"))[1]["total_flags"] == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("username", "", "This field is required."), ("comment", " ", "This field is required."),
        ("url", "", "This field is required."), ("url", "example.org", "Invalid input."),
        ("status", "", "This field is required."), ("status", "great", "Not a valid choice"),
        ("percent", "half", "Not a valid integer value."), ("percent", "1.5", "Not a valid integer value."),
        ("uid", "u" * 33, "Field cannot be longer than 32 characters."),
    ],
)  # fmt: skip
async def test_invalid_flags_are_refused(nethack: Client, tmp_path: Path, field: str, value: str, message: str) -> None:
    flag = f"/nethack/c/{await push_commit(nethack, 'nethack', tmp_path / 'work')}/flag"
    status, body = await nethack.post(flag, **{**PASSED, field: value})
    assert (status, body["error_code"], body["errors"]) == (400, "EINVALIDREQ", {field: [message]})
    status, body = await nethack.post(flag)
    required = {key: ["This field is required."] for key in ("comment", "status", "url", "username")}
    assert (status, body["errors"]) == (400, required)
    assert (await nethack.pagure(flag))[1]["total_flags"] == 0


async def test_a_commit_can_be_abbreviated(nethack: Client, tmp_path: Path) -> None:
    work = tmp_path / "work"
    made = await push_commit(nethack, "nethack", work)
    parent, tree = (await git("log", "-1", "--format=%P %T", cwd=work)).split()
    seconds = int(await git("log", "-1", "--format=%ct", cwd=work))
    info = {
        "author": "Alice", "commit_time": seconds, "commit_time_offset": 0, "committer": "Alice", "hash": made,
        "message": "Add file\n", "parent_ids": [parent], "tree_id": tree,
    }  # fmt: skip
    for named in (made, made[:7]):
        assert await nethack.forge.nobody.pagure(f"/nethack/c/{named}/info") == (200, info)
    for named in (tree, "0" * 40, "abc", "main", "HEAD", "z" * 40, made + "0", "%00"):
        assert await nethack.pagure(f"/nethack/c/{named}/info") == (404, NO_COMMIT), named
        assert await nethack.post(f"/nethack/c/{named}/flag") == (404, NO_COMMIT), named
    for named in ("abc", "main", "z" * 40, made + "0", "%00"):
        assert await nethack.pagure(f"/nethack/c/{named}/flag") == (404, NO_COMMIT), named
    for named in ("0" * 40, "0" * 39, "beef"):
        assert await nethack.pagure(f"/nethack/c/{named}/flag") == (200, {"flags": [], "total_flags": 0})


async def test_a_flag_has_one_of_five_statuses(forge: Forge, nethack: Client) -> None:
    project = (await nethack.pagure("/nethack"))[1]["id"]
    command = FlagCommit(
        project_id=project, commit="1" * 40, uid="u", username="CI", status="maybe", percent=None, comment="c", url=""
    )
    with pytest.raises(Invalid, match="status"):
        await commands.execute(forge.db, Actor("alice"), command, command_id=uuid.uuid4())
