"""Commits of a repository as Kallithea shows them."""

from pathlib import Path
from typing import Any

import pytest

from app.dialects.kallithea import code
from tests.conftest import Client, commit, git
from tests.rpc import KALLITHEA, Rpc

KEYS = {"raw_id", "short_id", "revision", "message", "date", "author", "parents", "branch"}


@pytest.fixture
def rpc(nethack: Client) -> Rpc:
    return Rpc(nethack, KALLITHEA)


@pytest.fixture
async def ids(rpc: Rpc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Four commits of nethack: three of 2012, 2013 and 2014 on the branch old, and then the README on main."""
    work = tmp_path / "work"
    await git("clone", "-q", rpc.client.git_url("nethack"), str(work))
    readme = (await git("rev-parse", "HEAD", cwd=work)).strip()
    await git("checkout", "-q", "--orphan", "old", cwd=work)
    ids = []
    for year in (2012, 2013, 2014):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"{year}-02-24T00:00:00+0000")
        ids.append(await commit(work, f"file{year}"))
    await git("push", "-q", "origin", "old", cwd=work)
    return [*ids, readme]


async def list_ids(rpc: Rpc, **sent: Any) -> list[str]:
    return [each["raw_id"] for each in await rpc.ask("get_changesets", repoid="nethack", **sent)]


async def test_a_commit_is_shown_with_its_files(rpc: Rpc, ids: list[str]) -> None:
    shown = await rpc.ask("get_changeset", repoid="nethack", raw_id=ids[1])
    assert shown.keys() == KEYS | {"id", "added", "changed", "removed"}
    assert (shown["raw_id"], shown["id"], shown["revision"]) == (ids[1], ids[1], 1)
    assert shown["author"] == {"name": "Alice", "email": "alice@example.org"}
    assert shown["date"] == "2013-02-24T00:00:00"
    assert (shown["added"], shown["changed"], shown["removed"]) == (["file2013"], [], [])
    for raw_id in (1, "1", ids[1][:12]):
        assert await rpc.ask("get_changeset", repoid="nethack", raw_id=raw_id) == shown
    with_reviews = await rpc.ask("get_changeset", repoid="nethack", raw_id=1, with_reviews="true")
    assert with_reviews == {**shown, "reviews": []}


async def test_an_unknown_commit_is_named(rpc: Rpc, ids: list[str]) -> None:
    for raw_id in ("nothing", "f" * 40, 99):
        error = await rpc.fail("get_changeset", repoid="nethack", raw_id=raw_id)
        assert error == f"Changeset {raw_id} does not exist"


async def test_commits_are_listed_by_date(rpc: Rpc, ids: list[str]) -> None:
    shown = await rpc.ask("get_changesets", repoid="nethack")
    assert [each["raw_id"] for each in shown] == ids
    assert [each["revision"] for each in shown] == [0, 1, 2, 3]
    assert all(each.keys() == KEYS for each in shown)
    assert shown[0]["author"] == "Alice <alice@example.org>"
    assert await list_ids(rpc, reverse=True) == ids[::-1]


async def test_a_list_has_bounds_that_belong_to_it(rpc: Rpc, ids: list[str]) -> None:
    assert await list_ids(rpc, start=0, end=2) == ids[:3]
    assert await list_ids(rpc, start="1", end=ids[2]) == ids[1:3]
    assert await list_ids(rpc, start="", end="main") == ids
    error = await rpc.fail("get_changesets", repoid="nethack", start="2", end=1)
    assert error == "Changeset 2 is newer than 1"
    for bound in ({"start": "nothing"}, {"end": 99}, {"branch_name": "nothing"}):
        [name] = bound.values()
        assert await rpc.fail("get_changesets", repoid="nethack", **bound) == f"Changeset {name} does not exist"


async def test_a_list_is_limited_by_date_branch_and_number(rpc: Rpc, ids: list[str]) -> None:
    dates = {"start_date": "2013-02-24T00:00:00", "end_date": "2014-02-24T00:00:00"}
    assert await list_ids(rpc, **dates) == ids[1:3]
    assert await list_ids(rpc, branch_name="old") == ids[:3]
    assert await list_ids(rpc, branch_name="main") == ids[3:]
    assert await list_ids(rpc, max_revisions="2") == ids[2:]
    assert await list_ids(rpc, branch_name="old", max_revisions=2) == ids[1:3]
    assert await list_ids(rpc, max_revisions=2, start=0, end=2) == ids[2:3]
    assert await list_ids(rpc, max_revisions=0) == []
    error = await rpc.fail("get_changesets", repoid="nethack", start_date="yesterday")
    assert error == "yesterday is no time like 2011-02-24T00:00:00"


async def test_files_are_listed_if_asked(rpc: Rpc, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = await rpc.ask("get_changesets", repoid="nethack", with_file_list="1", end=1)
    assert [(each["added"], each["changed"], each["removed"]) for each in shown] == [
        (["README.md", "file2012"], [], []), (["file2013"], [], []),
    ]  # fmt: skip
    monkeypatch.setattr(code, "MAX_WITH_FILES", 3)
    error = await rpc.fail("get_changesets", repoid="nethack", with_file_list="1")
    assert error == "This is too much for one answer; ask for fewer commits."
    assert len(await list_ids(rpc)) == 4


async def test_an_empty_repository_has_no_commits(rpc: Rpc) -> None:
    await rpc.client.post("/new", name="empty", description="d")
    assert await rpc.fail("get_changesets", repoid="empty") == "Repository is empty"
    assert await rpc.fail("get_changeset", repoid="empty", raw_id="tip") == "Changeset tip does not exist"


async def test_a_hidden_repository_is_a_missing_one(rpc: Rpc) -> None:
    await rpc.client.post("/new", name="secret", description="d", private="1")
    bob = Rpc(await rpc.client.forge.user("bob"), KALLITHEA)
    error = "repository `alice/secret` does not exist"
    assert await bob.fail("get_changesets", repoid="alice/secret") == error
    assert await bob.fail("get_changeset", repoid="alice/secret", raw_id="tip") == error
