"""Commits of a repository as RhodeCode shows them."""

from pathlib import Path
from typing import Any

import pytest

from app.dialects.rhodecode import code
from tests.conftest import Client, commit, git
from tests.rpc import RHODECODE, Rpc

KEYS = {"raw_id", "short_id", "revision", "message", "date", "author", "parents", "branch", "diff"}


@pytest.fixture
def rpc(nethack: Client) -> Rpc:
    return Rpc(nethack, RHODECODE)


@pytest.fixture
async def ids(rpc: Rpc, tmp_path: Path) -> list[str]:
    """The commits of nethack: its README, a file, and one that adds, changes and removes files."""
    work = tmp_path / "work"
    await git("clone", "-q", rpc.client.git_url("nethack"), str(work))
    ids = [(await git("rev-parse", "HEAD", cwd=work)).strip(), await commit(work, "old", "one\ntwo\n")]
    await git("rm", "-q", "README.md", cwd=work)
    (work / "old").write_text("one\n2\n3\n")
    (work / "bin").write_bytes(b"\0\1\2")
    await git("add", ".", cwd=work)
    ids.append(await commit(work, "new", "diff --git\n+x\n"))
    await git("tag", "-m", "One", "v1", cwd=work)
    await git("push", "-q", "origin", "HEAD:topic", "v1", cwd=work)
    return ids


async def ask(rpc: Rpc, revision: Any, **more: Any) -> dict[str, Any]:
    return await rpc.ask("get_repo_changeset", repoid="nethack", revision=revision, **more)  # type: ignore[no-any-return]


async def test_a_commit_is_shown_whole(rpc: Rpc, ids: list[str]) -> None:
    shown = await ask(rpc, "tip")
    assert shown.keys() == KEYS
    assert (shown["raw_id"], shown["short_id"], shown["revision"]) == (ids[2], ids[2][:12], 2)
    assert (shown["author"], shown["message"]) == ("Alice <alice@example.org>", "Add new\n")
    assert (shown["parents"], shown["branch"], shown["diff"]) == ([{"raw_id": ids[1]}], "topic", [])
    for revision in ("topic", "v1", "2", ids[2], ids[2][:10]):
        assert await ask(rpc, revision) == shown
    assert (await ask(rpc, "1"))["branch"] is None
    assert (await ask(rpc, "0"))["parents"] == []


async def test_the_changes_of_a_commit_come_added_then_changed_then_removed(rpc: Rpc, ids: list[str]) -> None:
    changes = (await ask(rpc, "tip", details="extended"))["diff"]
    assert [(each["op"], each["filename"]) for each in changes] == [
        ("A", "bin"), ("A", "new"), ("M", "old"), ("D", "README.md"),
    ]  # fmt: skip
    nothing = {"new_revision": None, "old_revision": None, "raw_diff": None}
    assert changes[0] == {
        "op": "A",
        "filename": "bin",
        **nothing,
        "stats": dict.fromkeys(("added", "binary", "deleted")),
    }


async def test_full_details_have_patches_and_refs(rpc: Rpc, ids: list[str], tmp_path: Path) -> None:
    shown = await ask(rpc, "tip", details="full")
    assert shown["refs"] == {"branches": ["topic"], "bookmarks": [], "tags": ["v1"]}
    added_binary, added, changed, removed = shown["diff"]
    assert added_binary["stats"] == {"added": 0, "deleted": 0, "binary": True}
    assert added["stats"] == {"added": 2, "deleted": 0, "binary": False}
    assert changed["stats"] == {"added": 2, "deleted": 1, "binary": False}
    assert removed["stats"]["deleted"] > 0
    blob = (await git("rev-parse", "HEAD:old", cwd=tmp_path / "work")).strip()
    assert changed["new_revision"] == blob
    assert changed["raw_diff"].startswith("diff --git a/old b/old\n")
    assert changed["raw_diff"].endswith(" one\n-two\n+2\n+3\n")
    assert removed["new_revision"] == "0" * 40


async def test_a_change_of_type_is_one_change(rpc: Rpc, ids: list[str], tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "old").unlink()
    (work / "old").symlink_to("new")
    await git("add", "old", cwd=work)
    await commit(work, "zzz", "last\n")
    await git("push", "-q", "origin", "HEAD:topic", cwd=work)
    changes = (await ask(rpc, "tip", details="full"))["diff"]
    assert [(each["op"], each["filename"]) for each in changes] == [("A", "zzz"), ("M", "old")]
    assert changes[0]["raw_diff"].endswith("+last\n")


@pytest.mark.parametrize("details", ["basic", "extended", "full"])
async def test_an_unknown_commit_is_the_one_of_zeros(rpc: Rpc, details: str) -> None:
    for revision in ("nothing", "99", "f" * 40):
        shown = await ask(rpc, revision, details=details)
        assert (shown["raw_id"], shown["revision"], shown["diff"]) == ("0" * 40, -1, [])


async def test_commits_are_listed_forward_in_time(rpc: Rpc, ids: list[str]) -> None:
    async def list_ids(start: str, limit: Any) -> list[str]:
        listed = await rpc.ask("get_repo_changesets", repoid="nethack", start_rev=start, limit=limit)
        return [each["raw_id"] for each in listed]

    assert await list_ids("0", -1) == await list_ids(ids[0], "10") == ids
    assert await list_ids("1", 1) == ids[1:2]
    assert await list_ids("tip", 5) == ids[2:]
    assert await list_ids("0", 0) == []


async def test_what_cannot_be_listed_is_refused(rpc: Rpc, monkeypatch: pytest.MonkeyPatch, ids: list[str]) -> None:
    async def fail(start: Any, limit: Any, **more: Any) -> str:
        return await rpc.fail(
            "get_repo_changesets", **{"repoid": "nethack", "start_rev": start, "limit": limit, **more}
        )

    assert await fail("nothing", 1) == "Error occurred during commit fetching"
    assert await fail("0", "many") == "Internal server error"
    assert await fail(0, 1) == "commit_id must be a string value"
    assert await fail("0", 1, details="x") == "ret_type must be one of basic,extended,full"
    error = await rpc.fail("get_repo_changeset", repoid="nethack", revision="tip", details="x")
    assert error == "ret_type must be one of basic,extended,full"
    await rpc.client.post("/new", name="empty", description="d")
    assert await fail("tip", 1, repoid="empty") == "Error occurred during commit fetching"
    monkeypatch.setitem(code.MAX_COMMITS, "basic", 2)
    assert await fail("0", -1) == "This is too much for one answer; ask for fewer commits."
