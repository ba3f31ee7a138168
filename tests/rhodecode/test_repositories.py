"""Repositories of both dialects: what is shown of them, to whom, and by which names."""

from pathlib import Path
from typing import Any

import pytest

from app.dialects.jsonrpc import newest
from app.git import store
from tests.conftest import Client, commit, git
from tests.rpc import KALLITHEA, Rpc

KEYS = {
    "repo_id", "repo_name", "repo_type", "clone_uri", "push_uri", "url", "private", "created_on", "description",
    "landing_rev", "owner", "fork_of", "fork_of_id", "enable_statistics", "enable_downloads", "enable_locking",
    "last_changeset", "locked_by", "locked_date", "lock_reason",
}  # fmt: skip
ZERO = "0" * 40


pytestmark = pytest.mark.usefixtures("nethack")


async def test_a_repository_is_shown_whole(rpc: Rpc) -> None:
    shown = await rpc.ask("get_repo", repoid="nethack")
    kallithea = rpc.address == KALLITHEA
    assert shown.keys() == KEYS | {"members", "followers"} | (set() if kallithea else {"permissions"})
    assert (shown["repo_name"], shown["repo_type"], shown["owner"]) == ("nethack", "git", "alice")
    assert shown["url"] == f"{rpc.client.forge.url}/nethack"
    assert shown["clone_uri"] == (None if kallithea else "")
    assert (shown["private"], shown["fork_of"], shown["landing_rev"]) == (False, None, ["rev", "tip"])
    assert [each["username"] for each in shown["followers"]] == ["alice"]
    newest = shown["last_changeset"]
    assert (newest["revision"], newest["short_id"]) == (0, newest["raw_id"][:12])
    assert newest["author"].startswith("alice <")


async def test_the_newest_commit_follows_pushes(rpc: Rpc, tmp_path: Path) -> None:
    before = (await rpc.ask("get_repo", repoid="nethack"))["last_changeset"]
    await git("clone", "-q", rpc.client.git_url("nethack"), str(tmp_path / "work"))
    await git("checkout", "-qb", "topic", cwd=tmp_path / "work")
    newest = await commit(tmp_path / "work")
    await git("push", "-q", "origin", "topic", cwd=tmp_path / "work")
    for shown in (await rpc.ask("get_repo", repoid="nethack"), (await rpc.ask("get_repos"))[0]):
        assert (shown["last_changeset"]["raw_id"], shown["last_changeset"]["revision"]) == (newest, 1)
    await git("push", "-q", "origin", ":topic", cwd=tmp_path / "work")
    assert (await rpc.ask("get_repo", repoid="nethack"))["last_changeset"] == before


async def test_an_empty_repository_has_the_commit_of_zeros(rpc: Rpc) -> None:
    await rpc.client.post("/new", name="empty", description="d")
    newest = (await rpc.ask("get_repo", repoid="empty"))["last_changeset"]
    assert (newest["raw_id"], newest["revision"], newest["date"]) == (ZERO, -1, "1970-01-01T00:00:00")


async def test_a_repository_is_found_by_its_exact_name_and_by_number(rpc: Rpc, bob: Rpc) -> None:
    number = (await rpc.ask("get_repo", repoid="nethack"))["repo_id"]
    for reference in (number, str(number)):
        assert (await bob.ask("get_repo", repoid=reference))["repo_name"] == "nethack"
    unknown: list[Any] = ["Nethack", "/nethack", "nothing", number + 1, None, True, [], "x\x00"]
    for reference in unknown:
        assert await bob.fail("get_repo", repoid=reference) == f"repository `{reference}` does not exist"


async def test_a_hidden_repository_is_a_missing_one(rpc: Rpc, bob: Rpc, admin: Rpc) -> None:
    await rpc.client.post("/new", name="secret", description="d", private="1")
    number = (await rpc.ask("get_repo", repoid="alice/secret"))["repo_id"]
    for reference in ("alice/secret", number):
        assert await bob.fail("get_repo", repoid=reference) == f"repository `{reference}` does not exist"

    async def list_names(reader: Rpc) -> list[str]:
        return [each["repo_name"] for each in await reader.ask("get_repos")]

    assert await list_names(rpc) == await list_names(admin) == ["alice/secret", "nethack"]
    assert await list_names(bob) == ["nethack"]
    await rpc.client.post("/alice/secret/git/modifyacls", user_type="user", name="bob", acl="ticket")
    assert await list_names(bob) == ["alice/secret", "nethack"]
    assert (await bob.ask("get_repo", repoid="alice/secret"))["private"] is True


async def test_a_fork_names_what_it_comes_from_to_those_who_may_see_that(rpc: Rpc, bob: Rpc) -> None:
    await bob.client.post("/fork", repo="nethack")
    shown = await bob.ask("get_repo", repoid="fork/bob/nethack")
    assert (shown["fork_of"], shown["owner"]) == ("nethack", "bob")
    assert shown["fork_of_id"] == (await bob.ask("get_repo", repoid="nethack"))["repo_id"]
    assert (await (await rpc.client.limited(project="nethack")).post("/nethack/delete"))[0] == 200
    assert (await bob.ask("get_repo", repoid="fork/bob/nethack"))["fork_of"] is None


async def test_a_fork_does_not_name_what_its_owner_may_no_longer_see(rpc: Rpc, bob: Rpc) -> None:
    await rpc.client.post("/new", name="secret", description="d", private="1")
    access = {"user_type": "user", "name": "bob"}
    await rpc.client.post("/alice/secret/git/modifyacls", **access, acl="ticket")
    await bob.client.post("/fork", namespace="alice", repo="secret")
    assert (await bob.ask("get_repo", repoid="fork/bob/alice/secret"))["fork_of"] == "alice/secret"
    await rpc.client.post("/alice/secret/git/modifyacls", **access, acl="")
    assert "repository.read" not in str((await rpc.ask("get_repo", repoid="alice/secret"))["members"])
    shown = await bob.ask("get_repo", repoid="fork/bob/alice/secret")
    assert (shown["fork_of"], shown["fork_of_id"]) == (None, None)


async def test_members_are_listed_in_the_order_of_the_dialect(rpc: Rpc, bob: Rpc) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    await rpc.client.post("/nethack/git/modifyacls", user_type="user", name="bob", acl="commit")
    await rpc.client.post("/nethack/git/modifyacls", user_type="group", name="hackers", acl="admin")
    shown = (await rpc.ask("get_repo", repoid="nethack"))["members"]
    rows = [(each["name"], each["permission"], each["type"]) for each in shown]
    explicit = [
        ("default", "repository.read", "user"),
        ("bob", "repository.write", "user"),
        ("hackers", "repository.admin", "user_group"),
    ]
    if rpc.address == KALLITHEA:
        assert rows == explicit
        assert "origin" not in shown[0]
    else:
        above = [("admin", "repository.admin", "user"), ("alice", "repository.admin", "user")]
        assert rows == [*above, *explicit]
        assert [each["origin"] for each in shown] == ["super-admin", "owner", *["permission"] * 3]


async def test_kallithea_lists_branches_and_tags_if_asked(nethack: Client, tmp_path: Path) -> None:
    rpc = Rpc(nethack, KALLITHEA)
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "work"))
    await git("tag", "-m", "One", "v1", cwd=tmp_path / "work")
    await git("push", "-q", "origin", "v1", "HEAD:topic", cwd=tmp_path / "work")
    head = (await git("rev-parse", "HEAD", cwd=tmp_path / "work")).strip()
    shown = await rpc.ask("get_repo", repoid="nethack", with_revision_names="true")
    assert shown["branches"] == {"main": head, "topic": head}
    assert (shown["tags"], shown["bookmarks"]) == ({"v1": head}, {})
    assert "branches" not in await rpc.ask("get_repo", repoid="nethack")


async def test_kallithea_takes_the_argument_about_pull_requests_but_shows_none(nethack: Client) -> None:
    rpc = Rpc(nethack, KALLITHEA)
    shown = await rpc.ask("get_repo", repoid="nethack")
    for value in (None, False, "false"):
        assert await rpc.ask("get_repo", repoid="nethack", with_pullrequests=value) == shown
    error = await rpc.fail("get_repo", repoid="nethack", with_pullrequests=True)
    assert error == "pull requests cannot be shown yet; call without `with_pullrequests`"


async def test_the_newest_commit_is_that_of_the_log(rpc: Rpc, tmp_path: Path) -> None:
    project_id = (await rpc.ask("get_repo", repoid="nethack"))["repo_id"]
    await git("clone", "-q", rpc.client.git_url("nethack"), str(tmp_path / "work"))
    first, second = [await commit(tmp_path / "work", name) for name in ("one", "two")]
    await git("push", "-q", "origin", f"{first}:refs/heads/topic", f"{second}:refs/heads/next", cwd=tmp_path / "work")
    await git("push", "-q", "origin", ":next", cwd=tmp_path / "work")
    on_disk = store.repository_path(rpc.client.forge.settings.repositories, project_id)
    await git("update-ref", "refs/heads/next", second, cwd=on_disk)
    shown = (await rpc.ask("get_repos"))[0]["last_changeset"]
    assert (shown["raw_id"], shown["revision"]) == (first, 1)


async def test_what_is_remembered_of_commits_is_limited(rpc: Rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        await rpc.client.post("/new", name=f"repo{number}", description="d", create_readme="1")
    remembered = newest.NewestCommits(max_size=3 * newest.ENTRY_SIZE)
    monkeypatch.setattr(newest, "newest_commits", remembered)
    shown = await rpc.ask("get_repos")
    assert [each["last_changeset"]["revision"] for each in shown] == [0] * 5
    assert 0 < remembered.size <= remembered.max_size
    assert await rpc.ask("get_repos") == shown
    monkeypatch.setattr(remembered, "max_size", newest.ENTRY_SIZE)  # no commit with a message is that small
    assert await rpc.ask("get_repos") == shown
    assert remembered.size == 0


async def test_repositories_are_listed_with_few_statements_and_read_once(
    rpc: Rpc, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await rpc.client.post("/new", name=f"repo{number}", description="d", create_readme="1", wait="0")
    await rpc.client.forge.idle()
    statements.clear()
    shown = await rpc.ask("get_repos")
    assert len(statements) == 3
    assert len(shown) == 21
    assert all(each.keys() == KEYS and each["last_changeset"]["revision"] == 0 for each in shown)

    def read_again(places: object) -> None:
        raise AssertionError("the newest commits are known")

    monkeypatch.setattr(newest, "_read_newest", read_again)
    statements.clear()
    assert await rpc.ask("get_repos") == shown
    assert len(statements) == 2
